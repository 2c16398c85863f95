"""Where everything stands on a sheet, and the formulas between the places.

A `Layout` is the meeting point of writer and reader: `published_layout` computes the
places of the published workbook for any size, `shallow_cf.workbook.reader` finds them
in a foreign sheet by its formulas. Nothing here knows openpyxl.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings

#: Limits of the Solver and of the grid that come with Excel.
MAX_VARIABLE_CELLS = 200
MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384
#: More predictions than anybody looks at; a workbook of them takes minutes to open.
MAX_PREDICTIONS = 1_000_000
#: Whole numbers up to here are exact in a cell; spreadsheets compute in doubles.
MAX_EXACT = 2**53


@cache
def column_letters(column: int) -> str:
    """Letters of a column counted from 1: 1 is A, 27 is AA."""
    letters = ""
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def column_number(letters: str) -> int:
    """Number of a column, counted from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def cell_position(address: str) -> tuple[int, int]:
    """Row and column, counted from 1, of an address such as ``H19``."""
    match = re.fullmatch(r"([A-Z]{1,3})([1-9]\d*)", address)
    if match is None:
        raise ValueError(f"not a cell address: {address!r}")
    return int(match[2]), column_number(match[1])


def cell_address(row: int, column: int, *, fix_row: bool = False, fix_column: bool = False) -> str:
    """Address such as ``H19``, with ``$`` before the parts that are fixed."""
    return f"{'$' * fix_column}{column_letters(column)}{'$' * fix_row}{row}"


@dataclass(frozen=True)
class Block:
    """A rectangle of cells; rows and columns of the sheet count from 1."""

    row: int
    column: int
    n_rows: int = 1
    n_columns: int = 1

    @property
    def last_row(self) -> int:
        """The sheet's row of the bottom cells."""
        return self.row + self.n_rows - 1

    @property
    def last_column(self) -> int:
        """The sheet's column of the rightmost cells."""
        return self.column + self.n_columns - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.n_rows, self.n_columns

    def covers(self, other: Block) -> bool:
        """Whether all cells of the other block are cells of this one."""
        down = self.row <= other.row and other.last_row <= self.last_row
        return down and self.column <= other.column and other.last_column <= self.last_column

    def cell(self, r: int = 0, c: int = 0, *, fixed: bool = False) -> str:
        """Address of a cell of this block, counted from its top left corner at 0, 0."""
        return cell_address(self.row + r, self.column + c, fix_row=fixed, fix_column=fixed)

    def row_block(self, r: int) -> Block:
        """One row of this block, counted from 0."""
        return Block(self.row + r, self.column, 1, self.n_columns)

    def column_block(self, c: int) -> Block:
        """One column of this block, counted from 0."""
        return Block(self.row, self.column + c, self.n_rows, 1)

    def addresses(self) -> list[list[str]]:
        """Addresses of all cells, a list a row."""
        return [[self.cell(r, c) for c in range(self.n_columns)] for r in range(self.n_rows)]

    def range(self, *, fixed: bool = False) -> str:
        """The block as a range such as ``H19:V23`` or, fixed, ``$H$19:$V$23``."""
        first = cell_address(self.row, self.column, fix_row=fixed, fix_column=fixed)
        last = cell_address(self.last_row, self.last_column, fix_row=fixed, fix_column=fixed)
        return f"{first}:{last}" if first != last else first


@dataclass(frozen=True)
class Layout:
    """The places of one model on one sheet.

    Attributes
    ----------
    ratings : Block, (n_users, n_items)
    user_ids : Block, (n_users, 1), left of the ratings
    item_ids : Block, (1, n_items), above the ratings
    item_factors : Block, (n_factors, n_items)
        Q turned: a column an item.
    user_factors : Block, (n_users, n_factors)
    predictions : Block, (n_users, n_items)
    item_bias, user_bias : Block, (1, n_items) and (n_users, 1), or None
    loss : Block of one cell, or None where a foreign sheet has none
    item_titles : Block, (1, n_items), above the item factors, or None
    blanks : {"zero", "biases", "prediction", "nothing"}
        What a prediction cell shows where nothing is rated: 0; the sum of the biases (the
        published workbook's ``bias`` sheet); the prediction all the same (no IF in the
        formula); no number.
    """

    ratings: Block
    user_ids: Block
    item_ids: Block
    item_factors: Block
    user_factors: Block
    predictions: Block
    item_bias: Block | None = None
    user_bias: Block | None = None
    loss: Block | None = None
    item_titles: Block | None = None
    blanks: str = "zero"

    @property
    def n_users(self) -> int:
        """Rows of the crosstab."""
        return self.ratings.n_rows

    @property
    def n_items(self) -> int:
        """Columns of the crosstab."""
        return self.ratings.n_columns

    @property
    def n_factors(self) -> int:
        """Numbers in an embedding."""
        return self.user_factors.n_columns

    @property
    def has_bias(self) -> bool:
        """Whether there are bias cells."""
        return self.bias_blocks is not None

    @property
    def bias_blocks(self) -> tuple[Block, Block] | None:
        """The cells of b_u and of b_i, or None without biases."""
        if self.user_bias is None or self.item_bias is None:
            return None
        return self.user_bias, self.item_bias

    def prediction_formula(self, u: int, i: int) -> str:
        """The formula of one prediction: (1) where there is a rating, 0 where there is none.

        The biases stand inside the IF, unlike in the published workbook: engines
        disagree on what SUMXMY2 does with a number beside a blank.
        """
        rating = self.ratings.cell(u, i)
        p, q = self.user_factors, self.item_factors
        p_u = ":".join(
            cell_address(p.row + u, column, fix_column=True) for column in (p.column, p.last_column)
        )
        q_i = ":".join(cell_address(row, q.column + i, fix_row=True) for row in (q.row, q.last_row))
        bias = ""
        if self.bias_blocks is not None:
            users, items = self.bias_blocks
            b_i = cell_address(items.row, items.column + i, fix_row=True)
            b_u = cell_address(users.row + u, users.column, fix_column=True)
            bias = f"+{b_i}+{b_u}"
        return f'=IF({rating}="",0,MMULT({p_u},{q_i}){bias})'  # (1)

    def loss_formula(self) -> str:
        """The formula of the loss, (3b)."""
        r, r_hat = self.ratings.range(), self.predictions.range()
        return f"=SQRT(SUMXMY2({r},{r_hat})/COUNT({r}))"  # (3b)

    def variable_blocks(self) -> list[Block]:
        """Solver's variable cells as blocks, biases joined to their factors where they touch."""
        item = _joined(self.item_bias, self.item_factors)
        return [*item, *_joined(self.user_bias, self.user_factors)]

    def parameter_cells(self, parameters: Parameters) -> dict[str, float]:
        """Address and value of every embedding and bias cell."""
        cells = block_cells(self.user_factors, parameters.user_factors)
        cells |= block_cells(self.item_factors, parameters.item_factors.T)
        if self.bias_blocks is not None and parameters.biases is not None:
            for block, bias in zip(self.bias_blocks, parameters.biases, strict=True):
                cells |= block_cells(block, bias)
        return cells

    def shown_predictions(self, ratings: Ratings, parameters: Parameters) -> FloatArray:
        """What the prediction cells compute, (n_users, n_items), stars."""
        rated = np.zeros((ratings.n_users, ratings.n_items), dtype=bool)
        rated[ratings.user_idx, ratings.item_idx] = True
        return np.where(rated, parameters.predict_all(), self.shown_in_blanks(parameters))

    def shown_in_blanks(self, parameters: Parameters) -> FloatArray:
        """What prediction cells would compute if nothing were rated, NaN for no number."""
        if self.blanks == "prediction":
            return parameters.predict_all()
        if self.blanks == "biases" and parameters.biases is not None:
            return np.add.outer(*parameters.biases)
        return np.full(self.predictions.shape, np.nan if self.blanks == "nothing" else 0.0)


def _joined(bias: Block | None, factors: Block) -> list[Block]:
    """Bias and factor cells as one block where one continues the other, else as they are."""
    if bias is None:
        return [factors]
    above = bias.column == factors.column and bias.row + 1 == factors.row
    left = bias.row == factors.row and bias.column + 1 == factors.column
    if above and bias.n_columns == factors.n_columns:
        return [Block(bias.row, bias.column, factors.n_rows + 1, factors.n_columns)]
    if left and bias.n_rows == factors.n_rows:
        return [Block(bias.row, bias.column, factors.n_rows, factors.n_columns + 1)]
    return [bias, factors]


def block_cells(block: Block, values: FloatArray) -> dict[str, float]:
    """Address and value of every cell of a block that shall have one (NaN: none)."""
    table = np.reshape(values, (block.n_rows, block.n_columns))
    return {
        address: float(value)
        for addresses, row in zip(block.addresses(), table, strict=True)
        for address, value in zip(addresses, row, strict=True)
        if not math.isnan(value)
    }


def published_layout(
    n_users: int, n_items: int, n_factors: int, *, bias: bool, titles: bool = False
) -> Layout:
    """The places of the published workbook, for any size.

    From top to bottom: the ratings with movie ids above and user ids to the left; two
    free rows, the second for titles; the movie embeddings, a column a movie; the
    predictions, with the user embeddings to the left; the loss at the bottom right.
    Biases are one more row above the movie embeddings and column A.

    Raises
    ------
    ValueError
        If that does not fit on a worksheet.
    """
    label, first_item = n_factors + 2, n_factors + 3
    item_top = n_users + 4
    header = item_top + n_factors + bias
    layout = Layout(
        ratings=Block(2, first_item, n_users, n_items),
        user_ids=Block(2, label, n_users, 1),
        item_ids=Block(1, first_item, 1, n_items),
        item_factors=Block(item_top + bias, first_item, n_factors, n_items),
        user_factors=Block(header + 1, 2, n_users, n_factors),
        predictions=Block(header + 1, first_item, n_users, n_items),
        item_bias=Block(item_top, first_item, 1, n_items) if bias else None,
        user_bias=Block(header + 1, 1, n_users, 1) if bias else None,
        loss=Block(header + n_users + 2, first_item + n_items - 1),
        item_titles=Block(item_top - 1, first_item, 1, n_items) if titles else None,
    )
    last_row, last_column = header + n_users + 20, first_item + n_items
    too_large = last_row > MAX_ROWS or last_column > MAX_COLUMNS
    if too_large or n_users * n_items > MAX_PREDICTIONS:
        raise ValueError(
            f"{n_users} users x {n_items} items with {n_factors} factors are too many for a "
            f"worksheet (at most {MAX_COLUMNS:,} columns and {MAX_PREDICTIONS:,} predictions): "
            "ask for fewer users or items"
        )
    return layout


@dataclass(frozen=True)
class ObjectiveFormula:
    """What an objective cell computes from the squared errors: their sum or their mean, and
    the root of that or not; both makes it the RMSE."""

    divided_by_count: bool = True
    square_root: bool = True

    def value(self, rmse: float, n_ratings: int) -> float:
        """The objective for an RMSE (stars) over `n_ratings` rated cells."""
        root = rmse if self.divided_by_count else rmse * math.sqrt(n_ratings)
        return root if self.square_root else root**2

    def rmse(self, value: float, n_ratings: int) -> float:
        """The RMSE (stars) at which the cell shows a value >= 0; the inverse of `value`."""
        root = value if self.square_root else math.sqrt(value)
        return root if self.divided_by_count else root / math.sqrt(n_ratings)
