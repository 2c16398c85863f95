"""Sheets of a workbook that was read, drawn once more as `write_workbook` would draw them.

Nobody but a spreadsheet program can compute any formula; but where the formulas of a
sheet are those that we write, their results are those that we draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf.parameters import Parameters
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import Block, cell_position
from shallow_cf.workbook.reader import SheetCells, WorkbookModel
from shallow_cf.workbook.sheets import FOLLOWING, crosstab, factors, gradients, sgd
from shallow_cf.workbook.sheets.inputs import Inputs
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
        if there is None or not _refers_to(there, source) or source.layout.loss is None:
            continue
        inputs = _inputs(source, name, there)
        drawn = None if inputs is None else draw(source, inputs)
        if drawn is None or not _is_drawn(there, drawn):
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


def _refers_to(there: SheetCells, source: Source) -> bool:
    """Whether any formula of a sheet refers to the model's sheet."""
    return any(source.prefix in formula for formula in there.formulas.values())


def _is_drawn(there: SheetCells, drawn: Canvas) -> bool:
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
    except (KeyError, TypeError, ValueError):
        return None
    return Inputs()


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"must be > 0, got {number}")
    return number
