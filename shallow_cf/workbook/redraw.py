"""Sheets of a workbook that was read, drawn once more as `write_workbook` would draw them.

Nobody but a spreadsheet program can compute any formula; but where the formulas of a
sheet are those that we write, their results are those that we draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import Block, cell_position
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import SheetCells, WorkbookModel
from shallow_cf.workbook.sheets import FOLLOWING, crosstab, factors, gradients, new_user, sgd
from shallow_cf.workbook.sheets.inputs import Inputs, NewUser
from shallow_cf.workbook.sheets.source import Source


def source_of(
    model: WorkbookModel, parameters: Parameters, sheets: Mapping[str, SheetCells]
) -> Source:
    """What our sheets are drawn from: a model with parameters, which may be others than its own.

    Titles are those that stand where `write_workbook` puts them.
    """
    layout, values = model.layout, sheets[model.sheet].values
    above = (layout.item_bias or layout.item_factors).row - 1
    block = Block(max(above, 1), layout.item_factors.column, 1, layout.n_items)
    titles = [values.get(cell_position(address)) for address in block.addresses()[0]]
    if above < 1 or not all(isinstance(title, str) for title in titles):
        return Source(model.sheet, layout, model.ratings, parameters, model.solver_names)
    return Source(
        model.sheet, replace(layout, item_titles=block), model.ratings, parameters,
        model.solver_names, tuple(map(str, titles)),
    )  # fmt: skip


def redraw(source: Source, sheets: Mapping[str, SheetCells]) -> tuple[dict[str, Canvas], list[str]]:
    """The sheets that explain a model, drawn once more.

    Parameters
    ----------
    source : Source
        The model, see `source_of`.
    sheets : mapping of str to SheetCells
        The model's sheet and those of `FOLLOWING` that the workbook has.

    Returns
    -------
    dict of str to Canvas
        Those of them whose formulas are the ones that `write_workbook` wrote.
    list of str
        Those that somebody changed.
    """
    canvases: dict[str, Canvas] = {}
    changed = []
    for name, draw in FOLLOWING.items():
        there = sheets.get(name)
        if there is None or not refers_to(there, source) or source.layout.loss is None:
            continue
        inputs = _inputs(source, name, there)
        drawn = None if inputs is None else draw(source, inputs)
        if drawn is None or not is_drawn(there, drawn):
            changed.append(name)
        else:
            canvases[name] = drawn
    return canvases, changed


def redrawn_errors(source: Source, sheets: Mapping[str, SheetCells]) -> dict[str, Content]:
    """Address -> error of a user or a movie, where it stands beside the predictions (stars)."""
    if source.layout.loss is None:
        return {}
    drawn = Canvas(source.sheet)
    crosstab.draw_errors(drawn, source)
    there = sheets[source.sheet].formulas
    return {
        address: result
        for address, (formula, result) in drawn.results().items()
        if there.get(cell_position(address)) == formula
    }


def refers_to(there: SheetCells, source: Source) -> bool:
    """Whether any formula of a sheet refers to the model's sheet."""
    return any(source.prefix in formula for formula in there.formulas.values())


def is_drawn(there: SheetCells, drawn: Canvas) -> bool:
    """Whether the formulas of a sheet are the drawn ones, all and no others."""
    expected = {
        cell_position(address): formula for address, (formula, _) in drawn.results().items()
    }
    return there.formulas == expected


def _inputs(source: Source, name: str, there: SheetCells) -> Inputs | None:
    """What stands in the yellow cells of a sheet, and other numbers that formulas need."""
    try:
        if name == "gradients":
            places = gradients.layout_for(source)
            return Inputs(
                user=source.user_labels.index(there.at(places.user)),
                item=source.item_labels.index(there.at(places.item)),
                step=_positive(there.at(places.step)),
            )
        if name == "sgd":
            rate = _positive(there.at(sgd.layout_for(source).learning_rate))
            return Inputs(learning_rate=rate)
        if name == "factors":
            block = factors.layout_for(source).directions
            rows = [[float(there.values[cell_position(a)]) for a in r] for r in block.addresses()]
            return Inputs(directions=np.array(rows))
        if name == new_user.NAME:
            return Inputs(new_user=new_user_of(source, there))
    except (KeyError, TypeError, ValueError):
        return None
    return Inputs()


def new_user_of(source: Source, there: SheetCells) -> NewUser:
    """What stands in the yellow and the orange cells of the sheet `new_user`.

    Raises
    ------
    WorkbookError
        If one of them holds no number, or the penalty is below 0.
    """
    places = new_user.layout_for(source)

    def numbers(block: Block, blank: float) -> FloatArray:
        return np.array([
            _number(there, address, blank) for row in block.addresses() for address in row
        ])  # fmt: skip

    reg = _number(there, places.reg.cell(), 0.0)  # as the sheet takes a blank cell
    if reg < 0:
        raise WorkbookError(f"{new_user.NAME}!{places.reg.cell()}: must be >= 0, got {reg:g}")
    return NewUser(numbers(places.rating, np.nan), numbers(places.numbers, 0.0), reg)


def _number(there: SheetCells, address: str, blank: float) -> float:
    position = cell_position(address)
    value: Any = there.values.get(position)
    if value is None and position not in there.formulas:
        return blank
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and np.isfinite(value) and position not in there.formulas:
        return float(value)
    shown = there.formulas.get(position, value)
    raise WorkbookError(f"{new_user.NAME}!{address}: must be a number, got {shown!r}")


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"must be > 0, got {number}")
    return number
