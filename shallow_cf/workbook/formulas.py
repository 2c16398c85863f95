"""What a formula says: a prediction, or an objective that compares two ranges.

Editions of the workbook differ in size, places, biases and objective, and other
programs rewrite formulas a little when they save. So nothing is looked up at fixed
addresses: every prediction formula says itself where its rating, its two embeddings
and its biases stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from shallow_cf.workbook.hints import CELL as _CELL
from shallow_cf.workbook.hints import RANGE as _RANGE
from shallow_cf.workbook.hints import Position, block_of, corners
from shallow_cf.workbook.layout import Block, ObjectiveFormula, cell_position

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


#: Nobody has more; what a damaged or hostile sheet has beyond that is not looked at.
_MAX_OBJECTIVES = 50


class Relative(NamedTuple):
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


class Objective(NamedTuple):
    """A cell that compares ratings and predictions."""

    cell: Position
    ratings: Block
    predictions: Block
    computes: ObjectiveFormula


def _holds(function: str, formula: str) -> bool:
    """Whether a function is named in a formula: quick, as most formulas are others."""
    return function in formula or function in formula.upper()


def prediction(
    position: Position, formula: str, unequal: list[tuple[Position, str]]
) -> Relative | None:
    """What a formula refers to, if it is a prediction: a user's row times an item's column.

    A formula with anything else in it is none: its numbers would not be ours. Where only the
    numbers of factors differ, that is noted in `unequal`.
    """
    if not _holds("MMULT", formula):
        return None
    formula = plain(formula)
    match = _GUARDED.fullmatch(formula) or _BARE.fullmatch(formula)
    if match is None:
        return None
    (row1, column1), (row2, column2) = corners(match["p_u"])
    (row3, column3), (row4, column4) = corners(match["q_i"])
    if row1 != row2 or column3 != column4:
        return None
    if column2 - column1 != row4 - row3:
        why = (
            f"the formula multiplies {column2 - column1 + 1} factors of a user ({match['p_u']}) "
            f"with {row4 - row3 + 1} of an item ({match['q_i']})"
        )
        unequal.append((position, why))
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
    return Relative(
        user_row_offset=row1 - row,
        user_columns=(column1, column2),
        item_column_offset=column3 - column,
        item_rows=(row3, row4),
        rating_offset=rating_offset,
        user_bias=user_bias,
        item_bias=item_bias,
        blanks=blanks,
    )


def objectives(formulas: Mapping[Position, str], told: Position | None) -> list[Objective]:
    """The cells that compare two ranges, the one that Solver is told first.

    Without a COUNT either range may be the ratings: such a cell is listed both ways.
    """
    found: list[Objective] = []
    first = [told] if told is not None and told in formulas else []
    for position in [*first, *formulas]:
        if len(found) >= _MAX_OBJECTIVES:
            break
        formula = formulas[position]
        match = _OBJECTIVE.fullmatch(plain(formula)) if _holds("SUMXMY2", formula) else None
        if match is None:
            continue
        computes = ObjectiveFormula(match["count"] is not None, match["root"] is not None)
        pair = block_of(match["a"]), block_of(match["b"])
        for ratings, predictions in (pair, pair[::-1]):
            if match["count"] is None or block_of(match["count"]) == ratings:
                found.append(Objective(position, ratings, predictions, computes))
    return found
