"""Workbooks read back: ratings, embeddings and stored results."""

from __future__ import annotations

import datetime
import math
import os
import re
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import openpyxl

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.workbook.formulas import Position, find_layout, reference_cells
from shallow_cf.workbook.layout import (
    MAX_EXACT,
    MAX_PREDICTIONS,
    Block,
    Layout,
    ObjectiveFormula,
    cell_position,
)
from shallow_cf.workbook.package import WorkbookError, check_package, one_line

#: Products and squares of larger numbers overflow; nobody's ratings come near.
_LARGEST = 1e70


@dataclass(frozen=True, eq=False)
class WorkbookModel:
    """What a sheet of a workbook holds.

    Attributes
    ----------
    path : Path
    sheet : str
        Name of the sheet.
    ratings : Ratings
        In the order of the sheet's rows and columns.
    parameters : Parameters
        The embeddings, and the biases if there are any.
    objective : float or None
        The objective cell's stored result; None if there is none.
    stored_predictions : (n_users, n_items) array of float
        The prediction cells' stored results, stars; NaN where none is stored.
    layout : Layout
        Where all that stands.
    objective_formula : ObjectiveFormula or None
        What the objective cell computes; None if it is not understood.
    solver_names : dict of str to str
        The sheet's Solver model as it stands in the file, see
        `shallow_cf.workbook.solver_options`; but where the right side of a constraint is a
        cell of this sheet with a number in it, that number.
    """

    path: Path
    sheet: str
    ratings: Ratings
    parameters: Parameters
    objective: float | None
    stored_predictions: FloatArray = field(repr=False)
    layout: Layout = field(repr=False)
    objective_formula: ObjectiveFormula | None
    solver_names: dict[str, str] = field(repr=False)


def read_workbook(path: str | os.PathLike[str], sheet: str | None = None) -> WorkbookModel:
    """Read the model on a sheet of an .xlsx workbook.

    The sheet is understood by its formulas, so published editions, our own exports and
    what Excel, LibreOffice or Gnumeric made of either are all read.

    Parameters
    ----------
    path : path
    sheet : str, optional
        Name of the sheet; if None, the active sheet if it holds a model, otherwise the
        first that does.

    Returns
    -------
    WorkbookModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WorkbookError
        If it is no workbook, or no model is found, or a cell of one holds what it
        should not (naming sheet and cell).
    """
    grids = _load(Path(path))
    if sheet is not None:
        if sheet not in grids:
            raise WorkbookError(
                f"{Path(path).name} has no sheet {sheet!r}; it has: {', '.join(grids)}"
            )
        model = _model(Path(path), grids[sheet])
        if model is None:
            raise WorkbookError(f"{Path(path).name}, sheet {sheet!r}: {_NOTHING_FOUND}")
        return model
    for grid in sorted(grids.values(), key=lambda grid: not grid.active):
        model = _model(Path(path), grid)
        if model is not None:
            return model
    raise WorkbookError(f"{Path(path).name}: {_NOTHING_FOUND} on any of its sheets")


def read_all_models(path: str | os.PathLike[str]) -> list[WorkbookModel]:
    """The models of all sheets that hold one, as `read_workbook` reads them."""
    models = [_model(Path(path), grid) for grid in _load(Path(path)).values()]
    found = [model for model in models if model is not None]
    if not found:
        raise WorkbookError(f"{Path(path).name}: {_NOTHING_FOUND} on any of its sheets")
    return found


_NOTHING_FOUND = 'no model found (predictions such as =IF(H2="",0,MMULT($B25:$F25,H$19:H$23)))'


@dataclass
class _Grid:
    """The cells of one sheet, (row, column) -> what is there."""

    name: str
    active: bool
    formulas: dict[Position, str] = field(default_factory=dict)
    values: dict[Position, Any] = field(default_factory=dict)
    errors: set[Position] = field(default_factory=set)  # cells with #VALUE! and its like
    solver_names: dict[str, str] = field(default_factory=dict)

    def filled(self) -> list[Position]:
        """The cells that hold anything."""
        return [cell for cell in {*self.values, *self.formulas} if not self.is_blank(cell)]

    def is_blank(self, position: Position) -> bool:
        """Whether nothing is in a cell; a formula that nobody has computed yet is something."""
        value = self.values.get(position)
        return value == "" or (value is None and position not in self.formulas)

    def shown(self, position: Position) -> str:
        """What is in a cell, for error messages."""
        value = self.values.get(position)
        if value is None and position in self.formulas:
            return "a formula without a stored result: open the workbook in Excel and save it"
        if self.is_blank(position):
            return "a blank cell"
        if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
            return f"the date or time {value}"
        return f"the error {value}" if position in self.errors else repr(value)


def _load(path: Path) -> dict[str, _Grid]:
    """Formulas and stored values of all sheets."""
    check_package(path)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # openpyxl warns of what it does not know; nothing of that matters to a reader.
            warnings.simplefilter("ignore")
            # Read-only, because openpyxl's full load raises on some pivot tables; as an open
            # file, because openpyxl goes by the name's ending otherwise.
            formula_book = openpyxl.load_workbook(file, read_only=True)
            value_book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            try:
                active = formula_book.active
                grids = {
                    sheet.title: _grid(sheet, value_book[sheet.title], is_active=sheet is active)
                    for sheet in formula_book.worksheets
                }
            finally:
                formula_book.close()
                value_book.close()
    except MemoryError:
        raise
    except Exception as error:  # whatever openpyxl stumbles over in a damaged file
        raise WorkbookError(
            f"{path.name} is damaged or not understood: {one_line(error)}"
        ) from error
    if not any(grid.values or grid.formulas for grid in grids.values()):
        raise WorkbookError(
            f"{path.name}: no cells found; if Excel shows some, save it there as Excel Workbook "
            "(.xlsx), not as Strict Open XML"
        )
    return grids


def _grid(formula_sheet: Any, value_sheet: Any, *, is_active: bool) -> _Grid:
    """One sheet, from openpyxl's two views of it: with formulas and with stored results."""
    grid = _Grid(formula_sheet.title, is_active)
    for cell in _cells(formula_sheet):
        if cell.data_type == "f":
            text = getattr(cell.value, "text", cell.value)  # of an array formula
            grid.formulas[cell.row, cell.column] = str(text)
    for cell in _cells(value_sheet):
        grid.values[cell.row, cell.column] = cell.value
        if cell.data_type == "e":
            grid.errors.add((cell.row, cell.column))
    grid.solver_names = {
        name.lower(): str(defined.attr_text or "")
        for name, defined in formula_sheet.defined_names.items()
        if name.lower().startswith("solver_")
    }
    return grid


def _cells(sheet: Any) -> list[Any]:
    sheet.reset_dimensions()  # what the file declares of its size may be wrong
    cells, n_rows = [], 0
    try:
        for row in sheet.iter_rows():
            cells += [cell for cell in row if cell.value is not None]
            n_rows += 1
    except ValueError as error:
        raise ValueError(f"sheet {sheet.title!r}, after row {n_rows}: {one_line(error)}") from error
    return cells


def _objective_cell(grid: _Grid) -> Position | None:
    blocks = list(reference_cells(grid.solver_names.get("solver_opt", "")))
    return (blocks[0].row, blocks[0].column) if blocks else None


def _model(path: Path, grid: _Grid) -> WorkbookModel | None:
    found = find_layout(grid.formulas, _objective_cell(grid))
    if found is None:
        return None
    layout, objective_formula = found
    if layout.n_users * layout.n_items > MAX_PREDICTIONS:
        # A few formulas far apart must not make us reserve all memory for what lies between.
        raise WorkbookError(
            f"{grid.name}!{layout.ratings.range()}: more than {MAX_PREDICTIONS:,} ratings cells "
            "are refused"
        )
    layout = replace(
        layout,
        user_ids=_nearest_column(grid, layout.user_ids),
        item_ids=_nearest_row(grid, layout.item_ids),
    )
    user_ids = _ids(grid, layout.user_ids, "user")
    item_ids = _ids(grid, layout.item_ids, "item")
    rating = _numbers(grid, layout.ratings, "rating", blank_allowed=True)
    user_idx, item_idx = np.nonzero(~np.isnan(rating))
    if user_idx.size == 0:
        raise WorkbookError(f"{grid.name}!{layout.ratings.range()}: there are no ratings")
    ratings = Ratings(user_ids, item_ids, user_idx, item_idx, rating[user_idx, item_idx])
    P = _numbers(grid, layout.user_factors, "embedding")
    Q = _numbers(grid, layout.item_factors, "embedding").T
    biases = [_numbers(grid, block, "bias").ravel() for block in layout.bias_blocks or ()]
    parameters = Parameters(P, np.ascontiguousarray(Q), *biases)
    objective = None if layout.loss is None else _stored(grid, layout.loss)[0, 0]
    return WorkbookModel(
        path=path,
        sheet=grid.name,
        ratings=ratings,
        parameters=parameters,
        objective=None if objective is None or math.isnan(objective) else float(objective),
        stored_predictions=_stored(grid, layout.predictions),
        layout=layout,
        objective_formula=objective_formula,
        solver_names={name: _resolved(grid, name) for name in grid.solver_names},
    )


def _resolved(grid: _Grid, name: str) -> str:
    """The text of a Solver name; of a right side that is one cell, the number in it."""
    text = grid.solver_names[name]
    cell = re.fullmatch(r"=?(?:(.+)!)?(\$?[A-Z]{1,3}\$?[1-9]\d*)", text.strip())
    if not name.startswith("solver_rhs") or cell is None:
        return text
    value = grid.values.get(cell_position(cell[2].replace("$", "")))
    is_here = (cell[1] or grid.name).strip("'") == grid.name
    return repr(float(value)) if is_here and _is_number(value) else text


def _is_number(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # not so for NaN


def _nearest_column(grid: _Grid, block: Block) -> Block:
    """The block, moved left to the first column that holds anything in its rows."""
    rows = range(block.row, block.last_row + 1)
    filled = {c for r, c in grid.filled() if r in rows and c <= block.column}
    return replace(block, column=max(filled, default=block.column))


def _nearest_row(grid: _Grid, block: Block) -> Block:
    """The block, moved up to the first row that holds anything in its columns."""
    columns = range(block.column, block.last_column + 1)
    filled = {r for r, c in grid.filled() if c in columns and r <= block.row}
    return replace(block, row=max(filled, default=block.row))


def _numbers(grid: _Grid, block: Block, kind: str, *, blank_allowed: bool = False) -> FloatArray:
    """The numbers of a block; NaN for blanks where they are allowed."""
    numbers = np.full((block.n_rows, block.n_columns), np.nan)
    for r, addresses in enumerate(block.addresses()):
        for c, address in enumerate(addresses):
            position = cell_position(address)
            value = grid.values.get(position)
            if _is_number(value) and abs(value) < _LARGEST:
                numbers[r, c] = value
            elif _is_number(value):
                raise WorkbookError(
                    f"{grid.name}!{address}: {kind} is too large to compute with, got {value:g}"
                )
            elif not (blank_allowed and grid.is_blank(position)):
                raise WorkbookError(
                    f"{grid.name}!{address}: {kind} must be a finite number, "
                    f"got {grid.shown(position)}"
                )
    return numbers


def _stored(grid: _Grid, block: Block) -> FloatArray:
    """Stored results of a block of formulas; NaN where there is none, or no number."""
    values = [
        grid.values.get(cell_position(address)) for row in block.addresses() for address in row
    ]
    numbers = [float(value) if _is_number(value) else np.nan for value in values]
    return np.array(numbers).reshape(block.n_rows, block.n_columns)


def _ids(grid: _Grid, block: Block, kind: str) -> npt.NDArray[Any]:
    """The ids in a row or column of labels."""
    addresses = [address for row in block.addresses() for address in row]
    values = [_id(grid, address, kind) for address in addresses]
    all_whole = all(isinstance(value, int) for value in values)
    ids = np.array(values, np.int64) if all_whole else np.array([str(v) for v in values], np.str_)
    seen: set[Any] = set()
    for address, value in zip(addresses, ids.tolist(), strict=True):
        if value in seen:
            raise WorkbookError(f"{grid.name}!{address}: {kind} id {value!r} stands there twice")
        seen.add(value)
    return ids


def _id(grid: _Grid, address: str, kind: str) -> int | str:
    position = cell_position(address)
    value = grid.values.get(position)
    if grid.is_blank(position):
        raise WorkbookError(f"{grid.name}!{address}: {kind} id is missing")
    if isinstance(value, str) and position not in grid.errors:
        return value
    if not _is_number(value) or abs(value) > MAX_EXACT or value != int(value):
        raise WorkbookError(
            f"{grid.name}!{address}: {kind} id must be text or a whole number up to "
            f"{MAX_EXACT}, got {grid.shown(position)}"
        )
    return int(value)
