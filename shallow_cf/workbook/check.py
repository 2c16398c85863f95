"""Does a workbook store what its formulas should give?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shallow_cf import objective
from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import cell_position
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import (
    SheetCells,
    WorkbookModel,
    read_all,
    read_workbook,
)
from shallow_cf.workbook.redraw import redraw, source_of
from shallow_cf.workbook.sheets import FOLLOWING

#: Largest difference that passes (stars): engines round their last digits differently.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class SheetCheck:
    """Comparison of one sheet with NumPy.

    A sheet that explains a model is compared if its formulas are those that
    `write_workbook` wrote; of one that somebody changed no cells are.

    Attributes
    ----------
    sheet : str
    cells : int
        How many cells were compared: of a model every prediction, and the loss where its
        formula is understood; of a sheet that explains it every formula.
    max_difference : float
        Largest absolute difference, stars; infinite where a number or text is missing, or
        a text is another.
    worst_cell : str
        Address of the cell with that difference.
    loss_checked : bool
        Whether the loss of a model was among them.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> found = {"max_difference": 0.5, "worst_cell": "H25", "loss_checked": True}
    >>> scf.SheetCheck("dotprod", cells=226, **found).ok
    False
    """

    sheet: str
    cells: int
    max_difference: float
    worst_cell: str
    loss_checked: bool

    @property
    def ok(self) -> bool:
        """Whether all differences are within the tolerance."""
        return self.max_difference <= TOLERANCE


def check_workbook(
    path: str | os.PathLike[str],
    sheet: str | None = None,
    *,
    ratings: str | None = None,
    factors: str | None = None,
) -> list[SheetCheck]:
    """Recompute every prediction and the loss of every model, and the sheets that explain it.

    Parameters
    ----------
    path : path
    sheet, ratings, factors : str, optional
        Check one model only, as `read_workbook` finds it with these.

    Returns
    -------
    list of SheetCheck
        One for each sheet that holds a model, and after these those that explain it.

    Raises
    ------
    WorkbookError
        If there is no model, or results are not stored.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> theta = scf.Parameters.random(15, 15, 2, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, scf.load_crosstab(), theta, sheets=["new_user"])
    ...     checks = scf.check_workbook(file)
    >>> [(check.sheet, check.cells, check.ok) for check in checks]
    [('dotprod', 226, True), ('new_user', 100, True)]
    """
    if sheet is ratings is factors is None:
        models, sheets = read_all(path, FOLLOWING)
        checks = [check_model(model) for model in models]
        return checks + [it for model in models for it in _check_explaining(model, sheets)]
    return [check_model(read_workbook(path, sheet, ratings=ratings, factors=factors))]


def _check_explaining(model: WorkbookModel, sheets: Mapping[str, SheetCells]) -> list[SheetCheck]:
    drawn, changed = redraw(source_of(model, model.parameters, sheets), sheets)
    checks = [_check_drawn(canvas, sheets[name]) for name, canvas in drawn.items()]
    return checks + [SheetCheck(name, 0, 0.0, "", True) for name in changed]


def _check_drawn(canvas: Canvas, there: SheetCells) -> SheetCheck:
    worst, worst_cell = 0.0, ""
    results = canvas.results()
    for address, (_, expected) in results.items():
        difference = _difference(there.values.get(cell_position(address)), expected)
        if difference > worst or not worst_cell:
            worst, worst_cell = difference, address
    return SheetCheck(canvas.name, len(results), worst, worst_cell, True)


def _difference(stored: Any, expected: Content) -> float:
    """How far a stored result is from the one expected; a text is right or wrong."""
    if isinstance(expected, int | float) and isinstance(stored, int | float):
        return abs(stored - expected)
    if isinstance(expected, float) and not np.isfinite(expected):
        return 0.0 if str(stored).startswith("#") else np.inf
    return 0.0 if (stored or "") == (expected or "") else np.inf


def check_model(model: WorkbookModel) -> SheetCheck:
    """Compare the stored results of one sheet with those computed here."""
    layout, ratings, parameters = model.layout, model.ratings, model.parameters
    stored, expected = model.stored_predictions, _recomputed(model)
    compared = ~np.isnan(expected)
    missing = np.argwhere(compared & np.isnan(stored))
    if missing.size:
        u, i = missing[0]
        raise WorkbookError(
            f"{model.sheet}!{layout.predictions.cell(u, i)}: no number is stored as the "
            "prediction; open the workbook in Excel or LibreOffice, mend the cell if it shows "
            "an error, save it and check again"
        )
    difference = np.where(compared, np.abs(stored - expected), 0.0)
    u, i = np.unravel_index(np.argmax(difference), difference.shape)
    worst, worst_cell = float(difference[u, i]), layout.predictions.cell(int(u), int(i))
    loss = model.objective_formula
    if loss is not None and layout.loss is not None:
        if model.objective is None:
            raise WorkbookError(f"{model.sheet}!{layout.loss.cell()}: no number is stored there")
        rmse = objective.rmse(ratings, parameters)
        loss_difference = abs(model.objective - loss.value(rmse, ratings.n_ratings))
        if not loss_difference <= worst:
            worst, worst_cell = loss_difference, layout.loss.cell()
    cells = int(compared.sum()) + (loss is not None)
    return SheetCheck(model.sheet, cells, worst, worst_cell, loss is not None)


def _recomputed(model: WorkbookModel) -> FloatArray:
    """Every prediction cell anew, (n_users, n_items), NaN where there shall be no number.

    Cell by cell in the order of the formulas' own sums, not by the one matrix product
    that wrote them, so that a mistake there shows here.
    """
    ratings, parameters = model.ratings, model.parameters
    predictions = model.layout.shown_in_blanks(parameters)
    u, i = ratings.user_idx, ratings.item_idx
    predictions[u, i] = parameters.predict(u, i)
    return predictions
