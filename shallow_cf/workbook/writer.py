"""Workbooks written: live formulas, exact numbers, stored results, a Solver model."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import openpyxl
from openpyxl.workbook import Workbook
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties

from shallow_cf import objective
from shallow_cf._checks import check_choice
from shallow_cf._files import whole_file
from shallow_cf.parameters import Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.options import SolverOptions
from shallow_cf.solvers.result import TraceRow
from shallow_cf.workbook.assemble import assemble
from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.charts import add_chart
from shallow_cf.workbook.layout import (
    column_letters,
    published_layout,
)
from shallow_cf.workbook.sheet_xml import extent, sheet_data
from shallow_cf.workbook.sheets import TEACHING_SHEETS, TEACHING_SIZE, draw_book
from shallow_cf.workbook.sheets.answer_report import Report
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source
from shallow_cf.workbook.solver_model import solver_names
from shallow_cf.workbook.styles import add_styles, colour_scale, style_ids


class Model(Protocol):
    """A fitted model that knows the parameters of given users and items."""

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """Parameters in the order of the ratings' ids."""
        ...

    def solver_options_for(self, ratings: Ratings) -> Any:
        """The settings of its solver, for the ratings' users and items."""
        ...


def write_workbook(
    path: str | os.PathLike[str],
    ratings: Ratings,
    *models: Parameters | Model,
    overwrite: bool = False,
    solver_options: SolverOptions | None = None,
    sheets: Sequence[str] | None = None,
    titles: Mapping[Any, str] | None = None,
    runs: Mapping[str, Sequence[TraceRow]] | None = None,
    reports: Sequence[Report] = (),
) -> None:
    """Write ratings and embeddings as a live .xlsx workbook.

    A model without biases becomes the sheet ``dotprod``, one with biases the sheet
    ``bias``, each laid out as in the published workbook and with a Solver model. Further
    sheets explain it, see `TEACHING_SHEETS`.

    Parameters
    ----------
    path : path
    ratings : Ratings
    *models : MatrixFactorization or Parameters
        One, or one without and one with biases. A fitted model may know more users and
        items than the ratings.
    overwrite : bool
        Whether a file that stands there may be replaced.
    solver_options : SolverOptions, optional
        What the Solver dialog of each sheet shows. If None: the settings of a model fitted
        with solver="grg", else those of the published workbook.
    sheets : sequence of str, optional
        Which of `TEACHING_SHEETS` to add; by default all for up to 30 users and 30 items,
        none for more. ``history`` and ``answer_report`` are there only when there is
        something to show.
    titles : mapping of item id to str, optional
        Shown beside the ids; an item without a title shows its id.
    runs : mapping of str to sequence of dict, optional
        Name of a run -> its trace (`SolverResult.trace`), for ``history``; by default the
        runs of the fitted models.
    reports : sequence of Report, optional
        For ``answer_report``, see `shallow_cf.answer_report`.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ValueError
        If models and ratings do not fit together, a model has a global mean or a rating
        range (the sheets' formulas do not), the table is too large for a
        worksheet, an id or title cannot stand in a cell, or the dialog cannot hold a
        constraint: then give the `solver_options` to write.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> model = scf.MatrixFactorization(bias=True, solver="varpro", random_state=0).fit(ratings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, ratings, model, sheets=["new_user"])
    ...     [check.sheet for check in scf.check_workbook(file)]
    ['bias', 'new_user']
    """
    _check_options(solver_options)
    sources = _sources(ratings, models, titles, solver_options)
    is_small = max(ratings.n_users, ratings.n_items) <= TEACHING_SIZE
    wanted = (TEACHING_SHEETS if is_small else ()) if sheets is None else sheets
    for sheet in wanted:
        check_choice("sheets", sheet, TEACHING_SHEETS)
    traces = _traces(models) if runs is None else runs
    canvases = draw_book(sources, wanted, Inputs(), traces, reports)
    with whole_file(path, overwrite=overwrite) as temporary:
        draft, cells = _draft(canvases, sources)
        assemble(draft, temporary, cells)


def _sources(
    ratings: Ratings,
    models: Sequence[Parameters | Model],
    titles: Mapping[Any, str] | None,
    solver_options: SolverOptions | None,
) -> list[Source]:
    """The sheets of the models, the one without biases first."""
    if not models:
        raise ValueError("a workbook needs at least one model")
    shown = None
    if titles is not None:
        shown = tuple(str(titles.get(item) or item) for item in ratings.item_ids.tolist())
    sources: dict[str, Source] = {}
    for model in models:
        parameters = model if isinstance(model, Parameters) else model.parameters_for(ratings)
        objective.check_fit(ratings, parameters)
        parameters.check_plain("a workbook")
        if not parameters.is_finite():
            raise ValueError("the parameters hold NaN or infinity, which no cell can hold")
        sheet = "bias" if parameters.has_bias else "dotprod"
        if sheet in sources:
            raise ValueError(f"two models for the sheet {sheet!r}: give one with and one without")
        layout = published_layout(
            ratings.n_users, ratings.n_items, parameters.n_factors,
            bias=parameters.has_bias, titles=shown is not None,
        )  # fmt: skip
        options = _own_options(model, ratings) if solver_options is None else solver_options
        names = solver_names(sheet, layout, options, ratings)
        sources[sheet] = Source(sheet, layout, ratings, parameters, names, shown)
    return [sources[name] for name in ("dotprod", "bias") if name in sources]


def _check_options(value: object) -> None:
    if not isinstance(value, SolverOptions | None):
        raise TypeError(f"`solver_options` must be SolverOptions, got {type(value).__name__}")


def _own_options(model: Parameters | Model, ratings: Ratings) -> SolverOptions | None:
    """The settings a model was fitted with, where they are those of the dialog."""
    options = None if isinstance(model, Parameters) else model.solver_options_for(ratings)
    return options if isinstance(options, SolverOptions) else None


def _traces(models: Sequence[Parameters | Model]) -> dict[str, Sequence[TraceRow]]:
    """The runs of fitted models, by the name of their sheet."""
    found = {}
    for model in models:
        result = getattr(model, "result_", None)
        if result is not None:
            found["bias" if result.parameters.has_bias else "dotprod"] = result.trace
    return found


def _draft(
    canvases: Sequence[Canvas], sources: Sequence[Source]
) -> tuple[io.BytesIO, dict[str, tuple[str, bytes]]]:
    """A workbook without cells, and for each sheet its extent and its cells."""
    book = openpyxl.Workbook()
    book.properties.creator = "shallow_cf"
    add_styles(book)
    ids = style_ids(book.worksheets[0])  # which a new workbook has, and ours does not
    book.remove(book.worksheets[0])
    models = {source.sheet for source in sources}
    cells = {}
    for canvas in canvases:
        sheet = _add_sheet(book, canvas)
        cells[canvas.name] = (extent(canvas), sheet_data(canvas, ids))
        for key, text in canvas.solver_names.items():
            sheet.defined_names[key] = DefinedName(key, attr_text=text, hidden=True)
        if canvas.name in models:
            # The last model is what opens, and what `read_workbook` takes if not told a sheet.
            book.active = sheet
    draft = io.BytesIO()
    book.save(draft)
    return draft, cells


def _add_sheet(book: Workbook, canvas: Canvas) -> Any:
    """A sheet with everything of a canvas but its cells."""
    sheet = book.create_sheet(canvas.name)
    for (first, last), width in canvas.width_groups():
        dimension = sheet.column_dimensions[column_letters(first)]
        dimension.min, dimension.max, dimension.width = first, last, width
    sheet.freeze_panes = canvas.freeze
    for scale in canvas.scales:
        sheet.conditional_formatting.add(scale.cells, colour_scale(scale.kind, scale.ends))
    for choice in canvas.choices:
        rule = DataValidation(
            type=choice.kind, formula1=choice.formula, allow_blank=True, showErrorMessage=True,
            errorTitle=choice.title, error=choice.message,
        )  # fmt: skip
        rule.add(choice.cells)
        sheet.add_data_validation(rule)
    for chart in canvas.charts:
        add_chart(sheet, chart)
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 1 if canvas.one_page else 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    return sheet
