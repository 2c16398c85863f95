"""Workbooks written: live formulas, exact numbers, stored results, a Solver model."""

from __future__ import annotations

import io
import os
from typing import Protocol

import openpyxl
from openpyxl.workbook import Workbook
from openpyxl.workbook.defined_name import DefinedName

from shallow_cf import objective
from shallow_cf._files import whole_file
from shallow_cf.parameters import Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.workbook.crosstab_sheet import draw
from shallow_cf.workbook.layout import Layout, ObjectiveFormula, block_cells, published_layout
from shallow_cf.workbook.package import check_package, patch_cells
from shallow_cf.workbook.reader import WorkbookModel
from shallow_cf.workbook.solver_model import solver_names
from shallow_cf.workbook.styles import add_styles


class Model(Protocol):
    """A fitted model that knows the parameters of given users and items."""

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """Parameters in the order of the ratings' ids."""
        ...


def write_workbook(
    path: str | os.PathLike[str],
    ratings: Ratings,
    *models: Parameters | Model,
    overwrite: bool = False,
) -> None:
    """Write ratings and embeddings as a live .xlsx workbook.

    A model without biases becomes the sheet ``dotprod``, one with biases the sheet
    ``bias``, each laid out as in the published workbook and with a Solver model.

    Parameters
    ----------
    path : path
    ratings : Ratings
    *models : MatrixFactorization or Parameters
        One, or one without and one with biases. A fitted model may know more users and
        items than the ratings.
    overwrite : bool
        Whether a file that stands there may be replaced.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ValueError
        If models and ratings do not fit together, the table is too large for a
        worksheet, or an id cannot stand in a cell.
    """
    if not models:
        raise ValueError("a workbook needs at least one model")
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    book.properties.creator = "shallow_cf"
    add_styles(book)
    numbers: dict[str, dict[str, float]] = {}
    results: dict[str, dict[str, float]] = {}
    for model in models:
        parameters = model if isinstance(model, Parameters) else model.parameters_for(ratings)
        objective.check_fit(ratings, parameters)
        if not parameters.is_finite():
            raise ValueError("the parameters hold NaN or infinity, which no cell can hold")
        sheet = "bias" if parameters.has_bias else "dotprod"
        if sheet in numbers:
            raise ValueError(f"two models for the sheet {sheet!r}: give one with and one without")
        layout = published_layout(
            ratings.n_users, ratings.n_items, parameters.n_factors, bias=parameters.has_bias
        )
        _add_sheet(book, sheet, layout, ratings, parameters)
        numbers[sheet] = layout.parameter_cells(parameters) | _rating_cells(layout, ratings)
        results[sheet] = _result_cells(layout, ObjectiveFormula(), ratings, parameters)
    # The last one is what opens, and what `read_workbook` takes if it is not told a sheet.
    book.active = len(book.worksheets) - 1
    draft = io.BytesIO()
    book.save(draft)
    with whole_file(path, overwrite=overwrite) as temporary:
        patch_cells(draft, temporary, numbers, results)


def update_workbook(
    model: WorkbookModel,
    parameters: Parameters,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> None:
    """Copy a workbook that was read, with other embeddings and the results that follow.

    Everything else in the file stays as it is, what openpyxl does not know included.

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

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ValueError
        If the parameters have other shapes.
    """
    shapes = [[block.shape for block in p.blocks()] for p in (parameters, model.parameters)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{parameters!r} do not fit the sheet's {model.parameters!r}")
    check_package(model.path)
    numbers = model.layout.parameter_cells(parameters)
    results = _result_cells(model.layout, model.objective_formula, model.ratings, parameters)
    with whole_file(path, overwrite=overwrite) as temporary:
        patch_cells(model.path, temporary, {model.sheet: numbers}, {model.sheet: results})


def _add_sheet(
    book: Workbook, name: str, layout: Layout, ratings: Ratings, parameters: Parameters
) -> None:
    sheet = book.create_sheet(name)
    draw(sheet, layout, ratings, parameters)
    for key, text in solver_names(name, layout).items():
        sheet.defined_names[key] = DefinedName(key, attr_text=text, hidden=True)


def _rating_cells(layout: Layout, ratings: Ratings) -> dict[str, float]:
    places = zip(ratings.user_idx.tolist(), ratings.item_idx.tolist(), strict=True)
    addresses = [layout.ratings.cell(u, i) for u, i in places]
    return dict(zip(addresses, ratings.rating.tolist(), strict=True))


def _result_cells(
    layout: Layout, loss: ObjectiveFormula | None, ratings: Ratings, parameters: Parameters
) -> dict[str, float]:
    results = block_cells(layout.predictions, layout.shown_predictions(ratings, parameters))
    if layout.loss is not None and loss is not None:
        rmse = objective.rmse(ratings, parameters)
        results[layout.loss.cell()] = loss.value(rmse, ratings.n_ratings)
    return results
