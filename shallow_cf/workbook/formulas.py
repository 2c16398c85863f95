"""Finding a model on a sheet by its formulas.

Editions of the workbook differ in size, places, biases and objective, and other
programs rewrite formulas a little when they save. So nothing is looked up at fixed
addresses: every prediction formula says itself where its rating, its two embeddings
and its biases stand. What most of the formulas say is the layout; a formula that was
damaged or overwritten is left to `shallow-cf check` to find.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shallow_cf.workbook.layout import (
    Block,
    Layout,
    ObjectiveFormula,
    cell_position,
)

Position = tuple[int, int]

_CELL = r"[A-Z]{1,3}[1-9]\d*"
_RANGE = rf"{_CELL}(?::{_CELL})?"
_MMULT = re.compile(rf"MMULT\(({_RANGE}),({_RANGE})\)")
_CONDITION = re.compile(rf"IF\((?:ISBLANK\()?({_CELL})\b[^,]*,")
_SINGLE = re.compile(rf"(?<![A-Z\d:])({_CELL})(?![\d:(])")
_OBJECTIVE = re.compile(
    rf"(?P<root>SQRT\()?SUMXMY2\((?P<a>{_RANGE}),(?P<b>{_RANGE})\)"
    rf"(?P<count>/COUNT\({_RANGE}\))?(?(root)\))"
)


class _Relative(NamedTuple):
    """What one prediction formula refers to, seen from its own cell.

    Rows and columns that move along with the cell are offsets from it, those that
    stay are the sheet's own; so all formulas of one table give the same.
    """

    user_row_offset: int
    user_columns: tuple[int, int]
    item_column_offset: int
    item_rows: tuple[int, int]
    rating_offset: Position | None
    user_bias: Position | None  # row offset, column
    item_bias: Position | None  # row, column offset
    bias_in_blanks: bool


def plain(formula: str) -> str:
    """A formula without what programs add or drop: ``$``, blanks, ``@`` and its function."""
    return re.sub(r"[$@\s]|_XLFN\.SINGLE", "", formula.upper()).removeprefix("=")


def find_layout(
    formulas: Mapping[Position, str], objective_cell: Position | None
) -> tuple[Layout, ObjectiveFormula | None] | None:
    """The layout that the formulas of a sheet describe.

    Parameters
    ----------
    formulas
        (row, column) -> formula text, of every formula on the sheet.
    objective_cell
        Where the Solver model says the objective is, if it does.

    Returns
    -------
    (Layout, ObjectiveFormula or None) or None
        None if there is no table of predictions on the sheet. The objective formula is
        None if there is none, or if it is none that is understood.
    """
    found = {}
    for position, formula in formulas.items():
        relative = _prediction(position, plain(formula))
        if relative is not None:
            found[position] = relative
    if not found:
        return None
    relative = Counter(found.values()).most_common(1)[0][0]
    cells = [position for position, other in found.items() if other == relative]
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    row, column = min(rows), min(columns)
    n_users, n_items = max(rows) - row + 1, max(columns) - column + 1
    predictions = Block(row, column, n_users, n_items)
    loss, ratings, objective = _objective(formulas, objective_cell, predictions)
    if relative.rating_offset is not None:
        down, right = relative.rating_offset
        ratings = Block(row + down, column + right, n_users, n_items)
    if ratings is None or ratings.row < 2 or ratings.column < 2:
        return None  # predictions of nothing, or no room for the ids
    first_factor, last_factor = relative.user_columns
    first_row, last_row = relative.item_rows
    user_row = row + relative.user_row_offset
    item_column = column + relative.item_column_offset
    user_bias = item_bias = None
    if relative.user_bias is not None and relative.item_bias is not None:
        user_bias = Block(row + relative.user_bias[0], relative.user_bias[1], n_users, 1)
        item_bias = Block(relative.item_bias[0], column + relative.item_bias[1], 1, n_items)
    layout = Layout(
        ratings=ratings,
        user_ids=Block(ratings.row, ratings.column - 1, n_users, 1),
        item_ids=Block(ratings.row - 1, ratings.column, 1, n_items),
        item_factors=Block(first_row, item_column, last_row - first_row + 1, n_items),
        user_factors=Block(user_row, first_factor, n_users, last_factor - first_factor + 1),
        predictions=predictions,
        item_bias=item_bias,
        user_bias=user_bias,
        loss=loss,
        bias_in_blanks=relative.bias_in_blanks,
    )
    return layout, objective


def _prediction(position: Position, formula: str) -> _Relative | None:
    """What a formula refers to, if it is a prediction: a user's row times an item's column."""
    product = _MMULT.search(formula)
    if product is None:
        return None
    (row1, column1), (row2, column2) = _corners(product[1])
    (row3, column3), (row4, column4) = _corners(product[2])
    if row1 != row2 or column3 != column4 or column2 - column1 != row4 - row3:
        return None
    row, column = position
    condition = _CONDITION.search(formula)
    rating_offset = None
    after = ""
    if condition is not None:
        rating_row, rating_column = cell_position(condition[1])
        rating_offset = (rating_row - row, rating_column - column)
        after = formula[_closing(formula, condition.start() + 2) + 1 :]
    user_bias = item_bias = None
    rest = formula.replace(product[0], "")
    for cell in _SINGLE.findall(rest if condition is None else rest.replace(condition[0], "")):
        cell_row, cell_column = cell_position(cell)
        if cell_column - column == column3 - column:
            item_bias = (cell_row, cell_column - column)
        elif cell_row == row1:
            user_bias = (cell_row - row, cell_column)
    if (user_bias is None) != (item_bias is None):
        return None
    return _Relative(
        user_row_offset=row1 - row,
        user_columns=(column1, column2),
        item_column_offset=column3 - column,
        item_rows=(row3, row4),
        rating_offset=rating_offset,
        user_bias=user_bias,
        item_bias=item_bias,
        bias_in_blanks=bool(_SINGLE.search(after)),
    )


def _objective(
    formulas: Mapping[Position, str], told: Position | None, predictions: Block
) -> tuple[Block | None, Block | None, ObjectiveFormula | None]:
    """The loss cell, the ratings it compares with, and what it computes."""
    candidates = [told] if told in formulas else []
    for position in [*candidates, *formulas]:
        match = _OBJECTIVE.fullmatch(plain(formulas[position]))
        if match is None:
            continue
        blocks = [_block(match["a"]), _block(match["b"])]
        if predictions in blocks:
            blocks.remove(predictions)
            computes = ObjectiveFormula(match["count"] is not None, match["root"] is not None)
            return Block(*position), blocks[0], computes
    return (None if told is None else Block(*told)), None, None


def _corners(text: str) -> tuple[Position, Position]:
    first, _, last = text.partition(":")
    return cell_position(first), cell_position(last or first)


def _block(text: str) -> Block:
    (row, column), (last_row, last_column) = _corners(text)
    return Block(row, column, last_row - row + 1, last_column - column + 1)


def _closing(formula: str, opening: int) -> int:
    """Where the parenthesis that opens at `opening` closes."""
    depth = 0
    for place in range(opening, len(formula)):
        depth += (formula[place] == "(") - (formula[place] == ")")
        if depth == 0:
            return place
    return len(formula)


def reference_cells(text: str) -> Iterator[Block]:
    """The blocks that the text of a Solver name refers to, such as ``bias!$H$19:$V$24,...``."""
    for part in text.split(","):
        area = part.rpartition("!")[2].replace("$", "")
        if re.fullmatch(_RANGE, area):
            yield _block(area)
