"""Finding a model on a sheet: prediction formulas that belong together.

What most of the formulas say is the layout; a formula that was damaged or overwritten
is left to `shallow-cf check` to find. Where formulas form several tables, the Solver
model decides, then an objective cell, then the user.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from shallow_cf.workbook.formulas import Objective, Relative, objectives, prediction
from shallow_cf.workbook.hints import Hints, Position
from shallow_cf.workbook.layout import Block, Layout, ObjectiveFormula
from shallow_cf.workbook.package import WorkbookError


class Evidence(NamedTuple):
    """How something was found: what it is, its range, and what says so."""

    what: str
    where: str
    why: str


@dataclass(frozen=True)
class Found:
    """A model on a sheet.

    Attributes
    ----------
    layout : Layout
    objective_formula : ObjectiveFormula or None
        None if there is none, or if it is none that is understood.
    how : tuple of Evidence
    notes : tuple of str
        What the reader of the sheet should know, such as where parts of it disagree.
    """

    layout: Layout
    objective_formula: ObjectiveFormula | None
    how: tuple[Evidence, ...]
    notes: tuple[str, ...] = ()


class _Table(NamedTuple):
    """Prediction formulas that belong together."""

    relative: Relative
    block: Block
    ratings: Block | None  # None where neither a formula nor an objective says so
    n_cells: int
    whole: Block | None  # the ratings of all of the table, where this is a part of it

    def part(self, ratings: Block) -> _Table:
        """The part of it that predicts some of its ratings."""
        whole = self.ratings or ratings
        row = self.block.row + ratings.row - whole.row
        column = self.block.column + ratings.column - whole.column
        return self._replace(block=Block(row, column, *ratings.shape), ratings=ratings)

    def shown(self) -> str:
        """What it is, for error messages."""
        ratings = "" if self.ratings is None else f" of the ratings {self.ratings.range()}"
        return f"{self.block.range()}{ratings}"


def find_layout(formulas: Mapping[Position, str], hints: Hints) -> Found | None:
    """The layout that the formulas of a sheet describe.

    Parameters
    ----------
    formulas
        (row, column) -> formula text, of every formula on the sheet.
    hints : Hints

    Returns
    -------
    Found or None
        None if there is no table of predictions on the sheet.

    Raises
    ------
    WorkbookError
        If there are several, and neither the hints nor an objective tell which one counts.
    """
    compared = objectives(formulas, hints.objective)
    tables = _tables(formulas, compared, hints)
    if not tables:
        return None
    table, why = _chosen(tables, compared, hints)
    objective = _objective_of(table.block, table.relative, compared, exactly=True)
    if table.ratings is None or 1 in (table.ratings.row, table.ratings.column):
        return None  # predictions of nothing, or no room for the ids
    loss = objective.cell if objective is not None else hints.objective
    if objective is None and hints.given and any(it.cell == loss for it in compared):
        loss = None  # it is the objective of something else than what is asked for
    layout = _layout(table, loss)
    _check_factors(layout, hints)
    how = _how(layout, table, objective, hints, why)
    notes = _notes(layout, objective, compared, hints)
    return Found(layout, None if objective is None else objective.computes, how, notes)


def _layout(table: _Table, loss: Position | None = None) -> Layout:
    relative, predictions = table.relative, table.block
    ratings = table.ratings or predictions
    whole = table.whole or ratings
    row, column = predictions.row, predictions.column
    n_users, n_items = predictions.shape
    first_factor, last_factor = relative.user_columns
    first_row, last_row = relative.item_rows
    user_row = row + relative.user_row_offset
    item_column = column + relative.item_column_offset
    user_bias = item_bias = None
    if relative.user_bias is not None and relative.item_bias is not None:
        user_bias = Block(row + relative.user_bias[0], relative.user_bias[1], n_users, 1)
        item_bias = Block(relative.item_bias[0], column + relative.item_bias[1], 1, n_items)
    return Layout(
        ratings=ratings,
        user_ids=Block(ratings.row, whole.column - 1, n_users, 1),
        item_ids=Block(whole.row - 1, ratings.column, 1, n_items),
        item_factors=Block(first_row, item_column, last_row - first_row + 1, n_items),
        user_factors=Block(user_row, first_factor, n_users, last_factor - first_factor + 1),
        predictions=predictions,
        item_bias=item_bias,
        user_bias=user_bias,
        loss=None if loss is None else Block(*loss),
        blanks=relative.blanks,
    )


# --- which table ------------------------------------------------------------------------

#: So many lines without a formula, and what follows is another table.
_GAP = 3
#: So many kinds of formulas are looked at, those of which there are most.
_MAX_TABLES = 50


def _tables(
    formulas: Mapping[Position, str], compared: list[Objective], hints: Hints
) -> list[_Table]:
    """The tables of predictions on a sheet, the largest first."""
    alike: dict[Relative, list[Position]] = defaultdict(list)
    unequal: list[tuple[Position, str]] = []
    for position, formula in formulas.items():
        relative = prediction(position, formula, unequal)
        if relative is not None:
            alike[relative].append(position)
    if len(unequal) > sum(map(len, alike.values())):
        position, why = unequal[0]
        raise WorkbookError(f"{hints.sheet}!{Block(*position).cell()}: {why}")
    most = sorted(alike.items(), key=lambda item: -len(item[1]))[:_MAX_TABLES]
    tables = [
        _table(relative, cells, compared)
        for relative, all_cells in most
        for cells in _apart(all_cells, compared)
    ]
    tables.sort(key=lambda table: -table.n_cells)
    # Single formulas elsewhere, and those that others surround, are damaged or somebody's notes.
    return tables[:1] + [
        table
        for table in tables[1:]
        if table.n_cells > 1 and not tables[0].block.covers(table.block)
    ]


def _table(relative: Relative, cells: list[Position], compared: list[Objective]) -> _Table:
    """A table around some formulas, or all of it that an objective compares.

    Where all formulas of a user were overwritten, the objective still knows that there is one.
    """
    block = _around(cells)
    objective = _objective_of(block, relative, compared)
    ratings = None
    if objective is not None:
        block, ratings = objective.predictions, objective.ratings
    elif relative.rating_offset is not None:
        down, right = relative.rating_offset
        ratings = Block(block.row + down, block.column + right, *block.shape)
    return _Table(relative, block, ratings, len(cells), ratings)


def _apart(cells: list[Position], compared: list[Objective]) -> list[list[Position]]:
    """Formulas that are alike, as one list for each place where many are close together."""
    whole = _around(cells)
    if any(whole == objective.predictions for objective in compared):
        return [cells]
    groups = [cells]
    for axis in (0, 1):
        groups = [part for group in groups for part in _split(group, axis)]
    tables = [group for group in groups if len(group) > 1]
    return sorted(tables, key=len, reverse=True)[:_MAX_TABLES] or [cells]


def _split(cells: list[Position], axis: int) -> list[list[Position]]:
    """Cells apart where more than a few rows (axis 0) or columns (axis 1) between are empty."""
    lines = sorted({cell[axis] for cell in cells})
    starts = [b for a, b in pairwise(lines) if b - a > _GAP + 1]
    parts: dict[int, list[Position]] = defaultdict(list)
    start_of, k = {}, 0
    for line in lines:
        k += k < len(starts) and line >= starts[k]
        start_of[line] = k
    for cell in cells:
        parts[start_of[cell[axis]]].append(cell)
    return list(parts.values())


def _chosen(tables: list[_Table], compared: list[Objective], hints: Hints) -> tuple[_Table, str]:
    """The table that counts, and what says so where there are several."""
    if hints.ratings is not None:
        tables = _predicting(tables, hints.ratings, hints)
    if hints.factors:
        matching = [table for table in tables if _has_factors(table, hints.factors)]
        tables = matching or tables[:1]  # without a match, `_check_factors` tells
    if len(tables) == 1:
        return tables[0], ""

    def compared_by(table: _Table, compared: list[Objective]) -> bool:
        return _objective_of(table.block, table.relative, compared) is not None

    told = [objective for objective in compared if objective.cell == hints.objective]
    for reasons, why in (
        ([compared_by(table, told) for table in tables], "Solver's objective compares these"),
        ([compared_by(table, compared) for table in tables], "an objective compares these"),
        ([_is_changed(table, hints) for table in tables], "Solver changes their embeddings"),
    ):
        named = [table for table, reason in zip(tables, reasons, strict=True) if reason]
        if len(named) == 1:
            return named[0], f"; of {len(tables)} tables, {why}"
    shown = "; ".join(table.shown() for table in tables[:4])
    more = f"; and {len(tables) - 4} more" if len(tables) > 4 else ""
    raise WorkbookError(
        f"{hints.sheet}: several tables of predictions, and neither Solver's names nor an "
        f"objective cell say which one counts: {shown}{more}. Choose one with `ratings`, such as "
        f"{(tables[0].ratings or tables[0].block).range()}, or with `factors`"
    )


def _predicting(tables: list[_Table], ratings: Block, hints: Hints) -> list[_Table]:
    """The tables that predict the given ratings, cut to those."""
    found = [
        table.part(ratings)
        for table in tables
        if (
            table.block.shape == ratings.shape
            if table.ratings is None
            else table.ratings.covers(ratings)
        )
    ]
    if not found:
        known = [(table.ratings or table.block).range() for table in tables[:4]]
        raise WorkbookError(
            f"{hints.sheet}: `ratings`: {ratings.range()} is not what the prediction formulas "
            f"refer to, which is {' or '.join(known)}"
        )
    return found


def _has_factors(table: _Table, factors: tuple[Block, ...]) -> bool:
    layout = _layout(table)
    return set(factors) in (
        {layout.user_factors, layout.item_factors},
        set(layout.variable_blocks()),
    )


def _check_factors(layout: Layout, hints: Hints) -> None:
    found = {layout.user_factors, layout.item_factors}
    if hints.factors and set(hints.factors) not in (found, set(layout.variable_blocks())):
        given = ",".join(factors.range() for factors in hints.factors)
        raise WorkbookError(
            f"{hints.sheet}: `factors`: {given} is not what the prediction formulas refer to, "
            f"which is {layout.user_factors.range()},{layout.item_factors.range()}"
        )


def _is_changed(table: _Table, hints: Hints) -> bool:
    layout = _layout(table)
    return all(
        any(changing.covers(factors) for changing in hints.changing)
        for factors in (layout.user_factors, layout.item_factors)
    )


# --- the objective ---------------------------------------------------------------------


def _objective_of(
    block: Block, relative: Relative, compared: list[Objective], *, exactly: bool = False
) -> Objective | None:
    """The first objective that compares all of some predictions, or just those, with ratings."""
    for objective in compared:
        ratings, predictions = objective.ratings, objective.predictions
        offset = ratings.row - predictions.row, ratings.column - predictions.column
        if (
            (predictions == block if exactly else predictions.covers(block))
            and ratings.shape == predictions.shape
            and relative.rating_offset in (None, offset)
        ):
            return objective
    return None


# --- what is told -----------------------------------------------------------------------


def _how(
    layout: Layout, table: _Table, objective: Objective | None, hints: Hints, why: str
) -> tuple[Evidence, ...]:
    """Each block of a layout, and what says that it is there."""
    formulas = "the prediction formulas"
    solved = f"{formulas} and Solver's changing cells"
    alike = "formula" if table.n_cells == 1 else "formulas alike"
    by_formula = table.relative.rating_offset is not None
    ratings = formulas if by_formula else "what the objective compares"
    if hints.ratings is not None:
        ratings = f"given, and {formulas}" if by_formula else "given"
    how = [
        Evidence("ratings", layout.ratings.range(), ratings),
        Evidence("predictions", layout.predictions.range(), f"{table.n_cells} {alike}{why}"),
    ]
    places = {"user factors": layout.user_factors, "item factors": layout.item_factors}
    if layout.bias_blocks is not None:
        places["user biases"], places["item biases"] = layout.bias_blocks
    for what, place in places.items():
        changes = any(changing.covers(place) for changing in hints.changing)
        how.append(Evidence(what, place.range(), solved if changes else formulas))
    if layout.loss is not None:
        told = (
            "Solver's objective" if objective is None or objective.cell == hints.objective else ""
        )
        compares = "" if objective is None else "its formula compares ratings and predictions"
        why = ", and ".join(reason for reason in (told, compares) if reason)
        how.append(Evidence("objective", layout.loss.range(), why))
    return tuple(how)


def _notes(
    layout: Layout, objective: Objective | None, compared: list[Objective], hints: Hints
) -> tuple[str, ...]:
    """Where the parts of a sheet do not agree."""
    notes = []
    places = [layout.user_factors, layout.item_factors, *(layout.bias_blocks or ())]
    if objective is not None and hints.objective not in (None, objective.cell):
        notes.append(
            f"Solver's objective is {Block(*hints.objective).cell()}, but "
            f"{Block(*objective.cell).cell()} compares ratings and predictions"
        )
    other = compared[0] if compared and objective is None and hints.ratings is None else None
    if other is not None and other.ratings != layout.predictions:
        notes.append(
            f"the cell {Block(*other.cell).cell()} compares {other.ratings.range()} with "
            f"{other.predictions.range()}, but the prediction formulas are in "
            f"{layout.predictions.range()} and refer to {layout.ratings.range()}: mend one of "
            "them, or choose with `ratings`"
        )
    unchanged = [p for p in places if not any(block.covers(p) for block in hints.changing)]
    if hints.changing and unchanged:
        changing = ",".join(block.range() for block in hints.changing)
        kept = ",".join(place.range() for place in unchanged)
        notes.append(
            f"Solver's changing cells {changing} do not hold all of {kept}, which the prediction "
            "formulas refer to"
        )
    return tuple(notes)


def _around(cells: list[Position]) -> Block:
    """The smallest block that holds all the cells."""
    rows, columns = [row for row, _ in cells], [column for _, column in cells]
    row, column = min(rows), min(columns)
    return Block(row, column, max(rows) - row + 1, max(columns) - column + 1)
