"""Workbooks changed: new embeddings in a copy in which all else stays as it was."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from shallow_cf import objective
from shallow_cf._files import whole_file
from shallow_cf.fold_in import best_numbers
from shallow_cf.parameters import Parameters
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import block_cells
from shallow_cf.workbook.package import WorkbookError, sheet_names
from shallow_cf.workbook.patch import patch_cells
from shallow_cf.workbook.reader import SheetCells, WorkbookModel, read_all, read_cells
from shallow_cf.workbook.redraw import (
    is_drawn,
    new_user_of,
    redraw,
    redrawn_errors,
    refers_to,
    source_of,
)
from shallow_cf.workbook.sheets import FOLLOWING, answer_report, new_user
from shallow_cf.workbook.sheets.answer_report import Report
from shallow_cf.workbook.sheets.inputs import Inputs, NewUser
from shallow_cf.workbook.sheets.source import Source

_REPORT_SHEET = "answer_report"
#: What stands in A1 of a report of ours.
_OUR_REPORT = re.compile(r"shallow_cf \w+ Report")
_NO_CELLS = SheetCells({}, {})


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
        If the file is not what was read any more, a cell cannot be changed, or no cell can
        hold an embedding, a prediction or the loss.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, ratings, model.result_.start, sheets=[])
    ...     book = scf.read_workbook(file)
    ...     outdated = scf.update_workbook(book, model.parameters_, file, overwrite=True)
    ...     solved = scf.read_workbook(file)
    >>> round(book.objective, 2), round(solved.objective, 2)
    (2.73, 0.39)
    """
    shapes = [[block.shape for block in p.blocks()] for p in (parameters, model.parameters)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{parameters!r} do not fit the sheet's {model.parameters!r}")
    parameters.check_plain("a workbook")
    numbers = {model.sheet: model.layout.parameter_cells(parameters)}
    own = _model_results(model, parameters)
    unheld = dict.fromkeys(model.layout.parameter_cells(model.parameters), math.nan)
    _check_finite(model.sheet, unheld | numbers[model.sheet], own)
    sheets = read_cells(model.path, [model.sheet, *FOLLOWING])
    if model.sheet not in sheets:
        raise WorkbookError(f"{model.path.name}: there is no sheet {model.sheet!r}")
    source = source_of(model, parameters, sheets)
    drawn, outdated = redraw(source, sheets)
    results = {name: _results(canvas) for name, canvas in drawn.items()}
    results[model.sheet] = redrawn_errors(source, sheets) | own
    added = [answer_report.draw(reports, _report_name(model.path))] if reports else []
    with whole_file(path, overwrite=overwrite) as temporary:
        patch_cells(model.path, temporary, numbers, results, added)
    return outdated


@dataclass(frozen=True, eq=False)
class NewUserSolution:
    """What was found for the user of the sheet `new_user`.

    Attributes
    ----------
    sheet : str
        The model's, whose movies' numbers were used.
    numbers : dict of str to float
        Name of a number ("factor 1", ..., "bias") -> the number.
    n_ratings : int
        How many were typed.
    reg : float
        The penalty lambda that stands on the sheet.
    loss_before, loss_after : float
        The objective of the sheet's Solver model, stars.
    rmse_before, rmse_after : float or None
        Over the ratings typed, stars; None if there is none.
    predictions : DataFrame
        Of the movies not rated, best first: ``item_id``, ``prediction`` (stars), and ``title``
        where the sheet has titles.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> theta = scf.Parameters.random(15, 15, 2, bias=True, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, scf.load_crosstab(), theta, sheets=["new_user"])
    ...     found = scf.solve_new_user(file, file, overwrite=True)
    >>> found.sheet, found.n_ratings, found.reg, list(found.numbers)
    ('bias', 8, 1.0, ['factor 1', 'factor 2', 'bias'])
    >>> len(found.predictions), found.predictions.columns.tolist()
    (7, ['item_id', 'prediction'])
    """

    sheet: str
    numbers: dict[str, float]
    n_ratings: int
    reg: float
    loss_before: float
    loss_after: float
    rmse_before: float | None
    rmse_after: float | None
    predictions: pd.DataFrame


def has_new_user(path: str | os.PathLike[str]) -> bool:
    """Whether a workbook has our sheet `new_user`, not somebody else's of that name."""
    there = read_cells(path, [new_user.NAME]).get(new_user.NAME, _NO_CELLS)
    return there.values.get((1, 1)) == new_user.HEADING


def solve_new_user(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> NewUserSolution:
    """Copy a workbook with the numbers of the new user found, from the ratings on `new_user`.

    They are those that `MatrixFactorization.fold_in_user` gives for the ratings and the
    penalty typed there, which is where the objective of the sheet's Solver model is least.
    Only they change, and the stored results of that sheet; all else stays as it is.

    Parameters
    ----------
    path : path
        Workbook with the sheet ``new_user``, as `write_workbook` wrote it; other programs
        may have saved it since.
    target : path
        The copy.
    overwrite : bool
        Whether a file that stands there may be replaced, the workbook itself included.

    Returns
    -------
    NewUserSolution

    Raises
    ------
    FileExistsError
        If `target` exists and `overwrite` is false.
    WorkbookError
        If there is no such sheet, somebody changed its formulas, a cell to type into holds
        no number, or no cell can hold what is found.

    Examples
    --------
    The sheet comes with ratings to type over; these are solved here:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> theta = scf.Parameters.random(15, 15, 2, bias=True, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file, solved = Path(folder) / "book.xlsx", Path(folder) / "solved.xlsx"
    ...     scf.write_workbook(file, scf.load_crosstab(), theta, sheets=["new_user"])
    ...     found = scf.solve_new_user(file, solved)
    >>> round(found.rmse_before, 2), round(found.rmse_after, 2)
    (3.23, 1.13)
    """
    path = Path(path)
    models, sheets = read_all(path, [new_user.NAME])
    if new_user.NAME not in sheets:
        raise WorkbookError(f"{path.name}: there is no sheet {new_user.NAME!r}")
    there = sheets[new_user.NAME]
    sources = (source_of(model, model.parameters, sheets) for model in models)
    source = next((it for it in sources if refers_to(there, it)), None)
    if source is None:
        raise WorkbookError(f"{path.name}, sheet {new_user.NAME!r}: refers to no model")
    before = new_user_of(source, there)
    (rated,) = np.nonzero(before.is_rated)
    x = best_numbers(source.parameters, rated, before.rating[rated], before.reg)
    after = replace(before, numbers=x)
    drawn = new_user.draw(source, Inputs(new_user=after))
    if not is_drawn(there, drawn):
        raise WorkbookError(
            f"{path.name}, sheet {new_user.NAME!r}: its formulas are not those that the export "
            "wrote, so what stands where is not known: export the workbook anew"
        )
    numbers = block_cells(new_user.layout_for(source).numbers, x)
    _check_finite(new_user.NAME, numbers)
    with whole_file(target, overwrite=overwrite) as temporary:
        results = {new_user.NAME: _results(drawn)}
        patch_cells(path, temporary, {new_user.NAME: numbers}, results)
    errors = [new_user.errors(source, it) for it in (before, after)]
    named = dict(zip(source.number_names, x.tolist(), strict=True))
    return NewUserSolution(
        source.sheet, named, len(rated), before.reg,
        loss_before=errors[0][0], loss_after=errors[1][0],
        rmse_before=errors[0][1], rmse_after=errors[1][1],
        predictions=_not_rated(source, after),
    )  # fmt: skip


def _not_rated(source: Source, new: NewUser) -> pd.DataFrame:
    """What the new user should give the movies not rated, best first."""
    table = pd.DataFrame(
        {"item_id": source.ratings.item_ids, "prediction": new_user.predict(source, new.numbers)}
    )
    if source.titles is not None:
        table["title"] = source.titles
    return table[~new.is_rated].sort_values(
        "prediction", ascending=False, kind="stable", ignore_index=True
    )


def _results(canvas: Canvas) -> dict[str, Content]:
    return {address: result for address, (_, result) in canvas.results().items()}


def _model_results(model: WorkbookModel, parameters: Parameters) -> dict[str, Content]:
    """The predictions and the loss."""
    layout, loss = model.layout, model.objective_formula
    shown = layout.shown_predictions(model.ratings, parameters)
    results: dict[str, Content] = {**block_cells(layout.predictions, shown)}
    if layout.loss is not None and loss is not None:
        rmse = objective.rmse(model.ratings, parameters)
        results[layout.loss.cell()] = loss.value(rmse, model.ratings.n_ratings)
    return results


def _check_finite(sheet: str, *contents: Mapping[str, Content]) -> None:
    """Refuse NaN and infinity, naming the cell."""
    for address, value in (item for cells in contents for item in cells.items()):
        if isinstance(value, float) and not math.isfinite(value):
            raise WorkbookError(f"{sheet}!{address}: no cell can hold {value}")


def _report_name(path: Path) -> str:
    """The sheet for the report: a new one, or ours of an earlier run, never somebody else's."""
    there = {name.lower(): name for name in sheet_names(path)}  # as spreadsheets compare them
    wanted, number = _REPORT_SHEET, 1
    while (name := there.get(wanted)) is not None:
        title = read_cells(path, [name]).get(name, _NO_CELLS).values.get((1, 1))
        if _OUR_REPORT.fullmatch(str(title)):
            return name
        number += 1
        wanted = f"{_REPORT_SHEET}_{number}"
    return wanted
