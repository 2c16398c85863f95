"""Workbooks changed: new embeddings in a copy in which all else stays as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf import objective
from shallow_cf._files import whole_file
from shallow_cf.parameters import Parameters
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import Block, block_cells, cell_position
from shallow_cf.workbook.package import WorkbookError, check_package, patch_cells
from shallow_cf.workbook.reader import SheetCells, WorkbookModel, read_cells
from shallow_cf.workbook.sheets import (
    answer_report,
    crosstab,
    embedding,
    factors,
    gradients,
    one_hot,
    sgd,
)
from shallow_cf.workbook.sheets.answer_report import Report
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source

_REPORT_SHEET = "answer_report"
#: The sheets whose results follow from the embeddings: name -> drawing.
_FOLLOWING = {
    "one_hot": lambda source, _: one_hot.draw(source),
    "embedding": lambda source, _: embedding.draw(source),
    "gradients": gradients.draw,
    "sgd": sgd.draw,
    "factors": factors.draw,
}


def update_workbook(
    model: WorkbookModel,
    parameters: Parameters,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    reports: Sequence[Report] = (),
) -> list[str]:
    """Copy a workbook that was read, with other embeddings and the results that follow.

    Everything else in the file stays as it is, what openpyxl does not know included. The
    sheets of ours that explain the model get the results of the new embeddings as well,
    as far as their formulas are those that `write_workbook` wrote; other formulas keep
    their stored results until a spreadsheet program computes them, which it is told to do.

    Parameters
    ----------
    model : WorkbookModel
        As read from the workbook to copy.
    parameters : Parameters
        Of the same shapes as ``model.parameters``.
    path : path
        The copy.
    overwrite : bool
        Whether a file that stands there may be replaced, the workbook itself included.
    reports : sequence of Report
        For the sheet ``answer_report``, which is added or, if an earlier run wrote it,
        replaced.

    Returns
    -------
    list of str
        Sheets of ours that somebody changed, so that their stored results are old ones.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ValueError
        If the parameters have other shapes.
    WorkbookError
        If the file is not what was read any more, or a cell cannot be changed.
    """
    shapes = [[block.shape for block in p.blocks()] for p in (parameters, model.parameters)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{parameters!r} do not fit the sheet's {model.parameters!r}")
    check_package(model.path)
    sheets = read_cells(model.path, [model.sheet, *_FOLLOWING, _REPORT_SHEET])
    if model.sheet not in sheets:
        raise WorkbookError(f"{model.path.name}: there is no sheet {model.sheet!r}")
    results, outdated = _following(model, parameters, sheets)
    results[model.sheet] = _errors(model, parameters, sheets) | _model_results(model, parameters)
    numbers = {model.sheet: model.layout.parameter_cells(parameters)}
    added = [answer_report.draw(reports, _report_name(sheets))] if reports else []
    with whole_file(path, overwrite=overwrite) as temporary:
        patch_cells(model.path, temporary, numbers, results, added)
    return outdated


def _model_results(model: WorkbookModel, parameters: Parameters) -> dict[str, Content]:
    """The predictions and the loss."""
    layout, loss = model.layout, model.objective_formula
    shown = layout.shown_predictions(model.ratings, parameters)
    results: dict[str, Content] = {**block_cells(layout.predictions, shown)}
    if layout.loss is not None and loss is not None:
        rmse = objective.rmse(model.ratings, parameters)
        results[layout.loss.cell()] = loss.value(rmse, model.ratings.n_ratings)
    return results


def _source(
    model: WorkbookModel, parameters: Parameters, sheets: Mapping[str, SheetCells]
) -> Source:
    """What our sheets would be drawn from; titles where `write_workbook` puts them."""
    layout, values = model.layout, sheets[model.sheet].values
    above = (layout.item_bias or layout.item_factors).row - 1
    block = Block(above, layout.item_factors.column, 1, layout.n_items)
    titles = [values.get(cell_position(address)) for address in block.addresses()[0]]
    if not all(isinstance(title, str) for title in titles):
        return Source(model.sheet, layout, model.ratings, parameters, model.solver_names)
    return Source(
        model.sheet, replace(layout, item_titles=block), model.ratings, parameters,
        model.solver_names, tuple(map(str, titles)),
    )  # fmt: skip


def _errors(
    model: WorkbookModel, parameters: Parameters, sheets: Mapping[str, SheetCells]
) -> dict[str, Content]:
    """The errors of each user and each movie, where they stand beside the predictions."""
    if model.layout.loss is None:
        return {}
    drawn = Canvas(model.sheet)
    crosstab.draw_errors(drawn, _source(model, parameters, sheets))
    there = sheets[model.sheet].formulas
    return {
        address: result
        for address, (formula, result) in drawn.results().items()
        if there.get(cell_position(address)) == formula
    }


def _following(
    model: WorkbookModel, parameters: Parameters, sheets: Mapping[str, SheetCells]
) -> tuple[dict[str, dict[str, Content]], list[str]]:
    """New results of the sheets that explain the model, and the sheets that were changed."""
    source = _source(model, parameters, sheets)
    results: dict[str, dict[str, Content]] = {}
    outdated = []
    for name, draw in _FOLLOWING.items():
        there = sheets.get(name)
        if there is None or not _refers_to(there, source) or model.layout.loss is None:
            continue
        inputs = _inputs(source, name, there)
        drawn = None if inputs is None else draw(source, inputs)
        if drawn is None or not _is_drawn(there, drawn):
            outdated.append(name)
            continue
        results[name] = {cell: result for cell, (_, result) in drawn.results().items()}
    return results, outdated


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


def _report_name(sheets: Mapping[str, SheetCells]) -> str:
    """The sheet for the report: not one of that name that is somebody else's."""
    there = sheets.get(_REPORT_SHEET)
    is_ours = there is None or "Answer Report" in str(there.values.get((1, 1)))
    return _REPORT_SHEET if is_ours else f"shallow_cf {_REPORT_SHEET}"
