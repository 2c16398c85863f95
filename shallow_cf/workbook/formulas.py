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
_PRODUCT = rf"MMULT\((?P<p_u>{_RANGE}),(?P<q_i>{_RANGE})\)"
_SUM = rf"(?P<first>(?:{_CELL}\+)*){_PRODUCT}(?P<last>(?:\+{_CELL})*)"  # biases on either side
_BRACKETS = re.compile(r"(?<![A-Z])\(((?:[^()]+\+)?MMULT\([^()]+\)(?:\+[^()]+)?)\)")
#: What stands where nothing is rated: 0, nothing, a text or #N/A.
_BLANK = r'(?:0|"[^"]*"|NA\(\))?'
_TEST = rf"[^,!]*?(?<![A-Z\d_.])(?P<rating>{_CELL})(?![\dA-Z_.(])[^,!]*?"
_IN_IF = rf"IF\({_TEST},(?:(?P<then>{_BLANK}),)?{_SUM}(?:,(?P<otherwise>{_BLANK}))?\)"
_GUARDED = re.compile(rf"(?P<before>(?:{_CELL}\+)*){_IN_IF}(?P<after>(?:\+{_CELL})*)")
_BARE = re.compile(_SUM)
_OBJECTIVE = re.compile(
    rf"(?P<root>SQRT\()?SUMXMY2\((?P<a>{_RANGE}),(?P<b>{_RANGE})\)"
    rf"(?:/COUNT\((?P<count>{_RANGE})\))?(?(root)\))"
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
    blanks: str  # as in Layout


def plain(formula: str) -> str:
    """A formula without what programs add or drop: ``$``, blanks, ``@``, outer brackets."""
    bare = re.sub(r"[$@\s]|_XLFN\.SINGLE", "", formula.upper()).removeprefix("=")
    return _BRACKETS.sub(r"\1", bare)


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
    loss, ratings, predictions, objective = _objective(formulas, objective_cell, _around(cells))
    row, column = predictions.row, predictions.column
    n_users, n_items = predictions.n_rows, predictions.n_columns
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
        blanks=relative.blanks,
    )
    return layout, objective


def _prediction(position: Position, formula: str) -> _Relative | None:
    """What a formula refers to, if it is a prediction: a user's row times an item's column.

    A formula with anything else in it is none: its numbers would not be ours.
    """
    match = _GUARDED.fullmatch(formula) or _BARE.fullmatch(formula)
    if match is None:
        return None
    (row1, column1), (row2, column2) = _corners(match["p_u"])
    (row3, column3), (row4, column4) = _corners(match["q_i"])
    if row1 != row2 or column3 != column4 or column2 - column1 != row4 - row3:
        return None
    row, column = position
    parts = match.groupdict(default="")
    inside = re.findall(_CELL, parts["first"] + parts["last"])
    outside = re.findall(_CELL, parts.get("before", "") + parts.get("after", ""))
    user_bias = item_bias = rating_offset = None
    for cell_row, cell_column in map(cell_position, inside + outside):
        if cell_row == row1 and user_bias is None:
            user_bias = (cell_row - row, cell_column)
        elif cell_column == column3 and item_bias is None:
            item_bias = (cell_row, cell_column - column)
        else:
            return None  # one term more than (1) has
    if (user_bias is None) != (item_bias is None) or (inside and outside):
        return None
    blanks = "prediction"
    if "rating" in parts:
        rating_row, rating_column = cell_position(parts["rating"])
        rating_offset = (rating_row - row, rating_column - column)
        shown = match["otherwise"] if match["then"] is None else match["then"]
        is_zero = shown in ("", "0")  # an argument left empty counts as 0, a missing one as FALSE
        blanks = "nothing" if not is_zero else "biases" if outside else "zero"
    return _Relative(
        user_row_offset=row1 - row,
        user_columns=(column1, column2),
        item_column_offset=column3 - column,
        item_rows=(row3, row4),
        rating_offset=rating_offset,
        user_bias=user_bias,
        item_bias=item_bias,
        blanks=blanks,
    )


def _around(cells: list[Position]) -> Block:
    """The smallest block that holds all the cells."""
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    row, column = min(rows), min(columns)
    return Block(row, column, max(rows) - row + 1, max(columns) - column + 1)


def _objective(
    formulas: Mapping[Position, str], told: Position | None, found: Block
) -> tuple[Block | None, Block | None, Block, ObjectiveFormula | None]:
    """The loss cell, the ratings and the predictions it compares, and what it computes.

    The predictions are the ones found or more than those: where all formulas of a user
    were overwritten, the objective still knows that there is one.
    """
    candidates = [told] if told is not None and told in formulas else []
    for position in [*candidates, *formulas]:
        match = _OBJECTIVE.fullmatch(plain(formulas[position]))
        if match is None:
            continue
        ratings, predictions = _block(match["a"]), _block(match["b"])
        if not predictions.covers(found):
            ratings, predictions = predictions, ratings
        counts_others = match["count"] is not None and _block(match["count"]) != ratings
        if not predictions.covers(found) or ratings.shape != predictions.shape or counts_others:
            continue
        computes = ObjectiveFormula(match["count"] is not None, match["root"] is not None)
        return Block(*position), ratings, predictions, computes
    return (None if told is None else Block(*told)), None, found, None


def _corners(text: str) -> tuple[Position, Position]:
    first, _, last = text.partition(":")
    return cell_position(first), cell_position(last or first)


def _block(text: str) -> Block:
    (row, column), (last_row, last_column) = _corners(text)
    return Block(row, column, last_row - row + 1, last_column - column + 1)


def reference_cells(text: str) -> Iterator[Block]:
    """The blocks that the text of a Solver name refers to, such as ``bias!$H$19:$V$24,...``."""
    for part in text.split(","):
        area = part.rpartition("!")[2].replace("$", "")
        if re.fullmatch(_RANGE, area):
            yield _block(area)
