"""What the teaching sheets are drawn from: a model and the sheet that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shallow_cf import objective
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.workbook.canvas import Canvas, Content, as_content
from shallow_cf.workbook.layout import Block, Layout
from shallow_cf.workbook.solver_model import limit_note, n_constraints, quoted

#: Characters of a text that MATCH can look for.
_LONGEST_MATCH = 255
#: Ids up to which each is compared in a term of its own: formulas have 8,192 characters.
_MOST_TERMS = 60
#: Length of the slope of the RMSE, stars, below which there is nothing left to gain. Solver
#: and gradient descent stop at some 0.001, random embeddings have 0.4.
_FLAT = 0.01
#: Width of a column of item ids, and of the widest with titles, in characters.
_NARROW, _WIDE = 12, 36


@dataclass(frozen=True)
class Source:
    """A model and the crosstab sheet that other sheets take their numbers from.

    Attributes
    ----------
    sheet : str
        Name of the crosstab sheet.
    layout : Layout
        Where everything stands on it.
    ratings : Ratings
    parameters : Parameters
    solver_names : dict of str to str
        The sheet's Solver model.
    titles : tuple of str, optional
        A title an item.
    """

    sheet: str
    layout: Layout
    ratings: Ratings
    parameters: Parameters
    solver_names: dict[str, str]
    titles: tuple[str, ...] | None = None

    @property
    def prefix(self) -> str:
        """The sheet's name as it stands in front of a reference."""
        return f"{quoted(self.sheet)}!"

    @property
    def note(self) -> str | None:
        """What to tell the reader of a model that Excel's own Solver refuses."""
        n_limited = n_constraints(self.solver_names, self.layout)
        return limit_note(self.parameters.n_params, n_limited)

    @property
    def loss(self) -> Block:
        """The loss cell of the crosstab sheet."""
        if self.layout.loss is None:
            raise ValueError("the sheet needs a loss cell")
        return self.layout.loss

    def cell(self, block: Block, r: int = 0, c: int = 0) -> str:
        """A reference to one cell of a block of the crosstab sheet."""
        return self.prefix + block.cell(r, c, fixed=True)

    def range(self, block: Block) -> str:
        """A reference to a block of the crosstab sheet."""
        return self.prefix + block.range(fixed=True)

    @cached_property
    def rating_table(self) -> FloatArray:
        """The crosstab, (n_users, n_items), stars; NaN where nothing is rated."""
        return self.ratings.to_crosstab().to_numpy()

    @cached_property
    def residual(self) -> FloatArray:
        """Equation (2) as a table, (n_users, n_items), stars; 0 where nothing is rated."""
        e = np.zeros((self.ratings.n_users, self.ratings.n_items))
        where = self.ratings.user_idx, self.ratings.item_idx
        e[where] = objective.residual(self.ratings, self.parameters)  # (2)
        return e

    @cached_property
    def rmse(self) -> float:
        """The loss, stars."""
        return objective.rmse(self.ratings, self.parameters)

    @cached_property
    def rmse_gradient(self) -> Parameters:
        """Its slope along every embedding number, equation (5)."""
        return objective.rmse_gradient(self.ratings, self.parameters)

    @cached_property
    def is_solved(self) -> bool:
        """Whether the embeddings are where Solver ends: along no number the RMSE has a slope."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.linalg.norm(self.rmse_gradient.pack())) < _FLAT

    @cached_property
    def number_names(self) -> list[str]:
        """Names of the numbers of an embedding, that of the bias last."""
        names = [f"factor {k + 1}" for k in range(self.layout.n_factors)]
        return [*names, "bias"] if self.layout.has_bias else names

    @cached_property
    def embeddings(self) -> tuple[FloatArray, FloatArray]:
        """Embeddings of users and of items with the bias, where there is one, as last number."""
        parameters = self.parameters
        if parameters.biases is None:
            return parameters.user_factors, parameters.item_factors
        bu, bi = parameters.biases
        users = np.column_stack((parameters.user_factors, bu))
        return users, np.column_stack((parameters.item_factors, bi))

    @cached_property
    def user_columns(self) -> list[str]:
        """References to the columns of the user matrix, that of the biases last."""
        factors, bias = self.layout.user_factors, self.layout.user_bias
        columns = [factors.column_block(k) for k in range(factors.n_columns)]
        return [self.range(column) for column in [*columns, *([bias] if bias else [])]]

    @cached_property
    def item_rows(self) -> list[str]:
        """References to the rows of the item matrix, that of the biases last."""
        factors, bias = self.layout.item_factors, self.layout.item_bias
        lines = [factors.row_block(k) for k in range(factors.n_rows)]
        return [self.range(line) for line in [*lines, *([bias] if bias else [])]]

    @cached_property
    def user_labels(self) -> list[Content]:
        """User ids as cells hold them."""
        return [as_content(user) for user in self.ratings.user_ids.tolist()]

    @cached_property
    def item_labels(self) -> list[Content]:
        """Item ids as cells hold them."""
        return [as_content(item) for item in self.ratings.item_ids.tolist()]

    @cached_property
    def name_width(self) -> int:
        """Width of a column with what the items are called, in characters."""
        longest = max(map(len, self.titles or ("",)))
        return min(max(longest + 2, _NARROW), _WIDE)  # some letters are wider than digits

    @cached_property
    def users(self) -> Labels:
        """The column of user ids, for look-ups."""
        return Labels(self.user_labels, self.prefix, self.layout.user_ids)

    @cached_property
    def items(self) -> Labels:
        """The row of item ids, for look-ups."""
        return Labels(self.item_labels, self.prefix, self.layout.item_ids)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """User index and item index of every rating, row by row of the crosstab."""
        return zip(self.ratings.user_idx.tolist(), self.ratings.item_idx.tolist(), strict=True)

    def label_numbers(self, canvas: Canvas) -> None:
        """Name the numbers of the embeddings, on a sheet laid out as the crosstab sheet."""
        layout = self.layout
        label_column, header = layout.user_ids.column, layout.predictions.row - 1
        columns = [layout.user_factors.column + k for k in range(layout.n_factors)]
        lines = [layout.item_factors.row + k for k in range(layout.n_factors)]
        if layout.bias_blocks is not None:
            users, items = layout.bias_blocks
            columns.append(users.column)
            lines.append(items.row)
        for name, column, line in zip(self.number_names, columns, lines, strict=True):
            canvas.label(header, column, name)
            canvas.label(line, label_column, name)

    def link_user(self, canvas: Canvas, row: int, column: int, u: int) -> None:
        """A label that shows a user's id."""
        link = f"={self.cell(self.layout.user_ids, u)}"
        canvas.formula(row, column, link, self.user_labels[u], "label")

    def link_item(self, canvas: Canvas, row: int, column: int, i: int) -> None:
        """A label that shows an item's id."""
        link = f"={self.cell(self.layout.item_ids, 0, i)}"
        canvas.formula(row, column, link, self.item_labels[i], "label")


class Labels:
    """Ids in a row or column of cells, to be compared and looked up by formulas.

    ``=`` and MATCH do not tell capital letters from small ones, and MATCH takes ``*``,
    ``?`` and ``~`` in a text for wildcards; where ids have such, EXACT does the work.

    Parameters
    ----------
    ids : list
        As cells hold them.
    prefix : str
        Name of their sheet as it stands in front of a reference.
    block : Block
        One row or one column.

    Attributes
    ----------
    cells : str
        The range of the labels.
    """

    def __init__(self, ids: list[Content], prefix: str, block: Block) -> None:
        self.cells = prefix + block.range(fixed=True)
        self._prefix, self._block = prefix, block
        texts = [value.casefold() for value in ids if isinstance(value, str)]
        has_wildcards = any(not {"*", "?", "~"}.isdisjoint(text) for text in texts)
        too_long = any(len(text) > _LONGEST_MATCH for text in texts)
        self._exact = has_wildcards or too_long or len(set(texts)) < len(texts)

    def is_same(self, cell: str, other: str) -> str:
        """A test of two ids for equality."""
        return f"EXACT({cell},{other})" if self._exact else f"{cell}={other}"

    def position(self, cell: str) -> str:
        """The position of an id among the labels, counted from 1; #N/A where it is none."""
        if not self._exact:
            return f"MATCH({cell},{self.cells},0)"
        number = self._sum_of_positions(cell)
        return f"IF({number}=0,NA(),{number})"

    def _sum_of_positions(self, cell: str) -> str:
        """The position, or 0: a term for each label, because Gnumeric has no EXACT of a range."""
        labels = [
            self._prefix + self._block.cell(r, c, fixed=True)
            for r in range(self._block.n_rows)
            for c in range(self._block.n_columns)
        ]
        if len(labels) <= _MOST_TERMS:
            return "+".join(f"{n}*EXACT({cell},{label})" for n, label in enumerate(labels, 1))
        count = "ROW" if self._block.n_columns == 1 else "COLUMN"
        numbers = f"({count}({self.cells})-{count}({labels[0]})+1)"
        return f"SUMPRODUCT(EXACT({cell},{self.cells})*{numbers})"
