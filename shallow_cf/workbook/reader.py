"""Workbooks read back: ratings, embeddings and stored results."""

from __future__ import annotations

import datetime
import math
import os
import re
import sys
import warnings
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import openpyxl

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.workbook.hints import (
    Hints,
    Position,
    given_factors,
    given_range,
    reference_cells,
)
from shallow_cf.workbook.layout import (
    MAX_EXACT,
    MAX_PREDICTIONS,
    Block,
    Layout,
    ObjectiveFormula,
    cell_position,
)
from shallow_cf.workbook.package import (
    WorkbookError,
    check_cells,
    check_package,
    check_sheets,
    one_line,
)
from shallow_cf.workbook.pasted import find_pasted
from shallow_cf.workbook.tables import Evidence, Found, find_layout

#: The mark in front of what only looks like an escaped character: _x005F_x0041_ is _x0041_.
_ESCAPED = re.compile(r"_x005F_(?=x[0-9A-Fa-f]{4}_)")
_WHOLE_NUMBER = re.compile(r"-?[1-9]\d{15,18}", re.ASCII)
#: Products and squares of larger numbers overflow; nobody's ratings come near.
_LARGEST = 1e70
#: Characters in what a defined name stands for: more than any program writes.
_LONGEST_NAME = 2**16


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
        cell of this sheet with a number in it, that number, and without the sheet's own
        name before a cell where that is in quotes. Where `ratings` or `factors` ask for
        other cells than Solver's, without its objective and its changing cells.
    how : tuple of Evidence
        What was found, in which range, and what says that it is there.
    notes : tuple of str
        What to know before relying on that, such as where parts of the sheet disagree.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> theta = scf.Parameters.random(15, 15, 5, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, scf.load_crosstab(), theta, sheets=[])
    ...     book = scf.read_workbook(file)
    >>> book.sheet, book.parameters, round(book.objective, 2)
    ('dotprod', Parameters(15 users, 15 items, 5 factors, no biases), 2.73)
    >>> [(found.what, found.where) for found in book.how[:2]]
    [('ratings', 'H2:V16'), ('predictions', 'H25:V39')]
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
    how: tuple[Evidence, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


def read_workbook(
    path: str | os.PathLike[str],
    sheet: str | None = None,
    *,
    ratings: str | None = None,
    factors: str | None = None,
) -> WorkbookModel:
    """Read the model on a sheet of an .xlsx workbook.

    The sheet is understood by its formulas, so published editions, our own exports and
    what Excel, LibreOffice or Gnumeric made of either are all read. Where the predictions
    were pasted as values, the Solver model and the ids are believed instead if the numbers
    agree.

    Ids are whole numbers if all of them are, else texts. Beyond 2**53, where spreadsheets
    have no exact numbers, digits that stand as text count as a whole number.

    Parameters
    ----------
    path : path
    sheet : str, optional
        Name of the sheet; if None, the active sheet if it holds a model, otherwise the
        only one that does.
    ratings : str, optional
        The range of the ratings, such as ``"H2:V16"``, where there are several tables or
        only a part of one is meant. Without `sheet` it is one of the active sheet.
    factors : str, optional
        The ranges of the users' and the items' embeddings, such as ``"B25:F39,H19:V23"``.

    Returns
    -------
    WorkbookModel

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WorkbookError
        If it is no workbook, or no model is found, or several that could be meant, or a
        cell of one holds what it should not (naming sheet and cell).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> theta = scf.Parameters.random(15, 15, 5, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, ratings, theta, sheets=[])
    ...     book = scf.read_workbook(file)
    >>> book.ratings.equals(ratings), book.parameters.equals(theta)
    (True, True)
    """
    given = Hints(
        "",
        ratings=None if ratings is None else given_range("ratings", ratings),
        factors=() if factors is None else given_factors(factors),
    )
    with _Book(Path(path)) as book:
        if sheet is not None or given.given:
            return _told(book, sheet, given)
        active = None if book.active is None else _model(book, book.active)
        if active is not None:
            return active
        others = _models(book, [name for name in book.names if name != book.active])
    if len(others) > 1:
        raise WorkbookError(
            f"{book.path.name}: the sheet that opens holds no model, but several others do: "
            f"choose `sheet` from {', '.join(model.sheet for model in others)}"
        )
    return others[0]


@dataclass(frozen=True)
class SheetCells:
    """The cells of a sheet.

    Attributes
    ----------
    formulas : dict
        (row, column) -> formula, as it stands in the file.
    values : dict
        (row, column) -> number or text; of formulas their stored results, if they were read.
    """

    formulas: dict[Position, str]
    values: dict[Position, Any]

    def at(self, block: Block) -> Any:
        """The value in a block of one cell."""
        return self.values[block.row, block.column]


def read_cells(path: str | os.PathLike[str], sheets: Iterable[str]) -> dict[str, SheetCells]:
    """The cells, without results, of those of the named sheets that the workbook has.

    Raises
    ------
    WorkbookError
        If the workbook is damaged or not understood.
    """
    with _Book(Path(path)) as book:
        grids = [book.grid(name) for name in sheets if name in book.names]
    return {grid.name: SheetCells(grid.formulas, grid.values) for grid in grids}


def read_all(
    path: str | os.PathLike[str], sheets: Iterable[str] = ()
) -> tuple[list[WorkbookModel], dict[str, SheetCells]]:
    """The models of all sheets that hold one, and what is in the cells of these and other sheets.

    Parameters
    ----------
    path : path
    sheets : iterable of str
        The others, as far as the workbook has them.

    Returns
    -------
    list of WorkbookModel
        As `read_workbook` reads them.
    dict of str to SheetCells
        With stored results.

    Raises
    ------
    WorkbookError
        If the workbook is damaged or not understood, or there is no model.
    """
    with _Book(Path(path)) as book:
        models = _models(book, book.names)
        names = [*(model.sheet for model in models), *sheets]
        grids = [book.with_results(name) for name in names if name in book.names]
    return models, {grid.name: SheetCells(grid.formulas, grid.values) for grid in grids}


def _told(book: _Book, sheet: str | None, given: Hints) -> WorkbookModel:
    """The model on a given sheet or, with given ranges only, on the one that opens."""
    name = book.active if sheet is None else sheet
    if name is None or name not in book.names:
        raise WorkbookError(
            f"{book.path.name} has no sheet {name!r}; it has: {', '.join(book.names)}"
        )
    model = _model(book, name, given)
    if model is None:
        book.check_cells()
        raise WorkbookError(f"{book.path.name}, sheet {name!r}: {_NOTHING_FOUND}")
    return model


def _models(book: _Book, names: list[str]) -> list[WorkbookModel]:
    """All models by formulas or Solver names; if there is none, those that labels show."""
    book.check_order(*names)
    for by_labels in (False, True):
        models = [
            model
            for name in names
            if (model := _model(book, name, by_labels=by_labels)) is not None
        ]
        if models:
            return models
    book.check_cells()
    raise WorkbookError(f"{book.path.name}: {_NOTHING_FOUND} on any of its sheets")


_NOTHING_FOUND = 'no model found (predictions such as =IF(H2="",0,MMULT($B25:$F25,H$19:H$23)))'


@dataclass
class _Grid:
    """The cells of one sheet, (row, column) -> what is there."""

    name: str
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


class _Book:
    """A workbook whose sheets are parsed when they are asked for.

    Stored results come from a second pass: openpyxl shows either formulas or results.
    """

    def __init__(self, path: Path) -> None:
        check_package(path)
        self.path = path
        self._grids: dict[str, _Grid] = {}
        self._results: set[str] = set()
        self._checked: set[str] = set()
        self._gaps = 0

    def __enter__(self) -> _Book:
        self._file = self.path.open("rb")
        try:
            with self._reading():
                check_sheets(self.path)
                # Read-only, because openpyxl's full load raises on some pivot tables; as an
                # open file, because openpyxl goes by the name's ending otherwise.
                self._formulas = openpyxl.load_workbook(self._file, read_only=True)
                self._values: Any = None
                self.names = [sheet.title for sheet in self._formulas.worksheets]
                active = self._formulas.active
                self.active = active.title if active in self._formulas.worksheets else None
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for book in (self._formulas, self._values):
            if book is not None:
                book.close()
        self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Whatever openpyxl stumbles over in a damaged file becomes a WorkbookError."""
        try:
            with warnings.catch_warnings():
                # openpyxl warns of what it does not know; nothing of that matters to a reader.
                warnings.simplefilter("ignore")
                yield
        except MemoryError:
            raise
        except Exception as error:
            raise WorkbookError(
                f"{self.path.name} is damaged or not understood: {one_line(error)}"
            ) from error

    def grid(self, name: str) -> _Grid:
        """A sheet's formulas, and what is in its other cells."""
        if name not in self._grids:
            self.check_order(name)
            with self._reading():
                self._grids[name] = _grid(self._formulas[name])
        return self._grids[name]

    def check_order(self, *names: str) -> None:
        """Refuse sheets of which openpyxl would lose cells, before it spends time on any."""
        with self._reading():
            for name in names:
                if name not in self._checked:
                    self._gaps = check_cells(self.path, name, self._gaps)
                    self._checked.add(name)

    def with_results(self, name: str) -> _Grid:
        """The same with the formulas' stored results."""
        grid = self.grid(name)
        if grid.formulas and name not in self._results:
            with self._reading():
                if self._values is None:
                    self._values = openpyxl.load_workbook(
                        self._file, read_only=True, data_only=True
                    )
                _add_values(grid, self._values[name], only=grid.formulas)
            self._results.add(name)
        return grid

    def check_cells(self) -> None:
        """Refuse a workbook without any cells."""
        grids = [self.grid(name) for name in self.names]
        if not any(grid.values or grid.formulas for grid in grids):
            raise WorkbookError(
                f"{self.path.name}: no cells found; if Excel shows some, save it there as Excel "
                "Workbook (.xlsx), not as Strict Open XML"
            )


def _grid(sheet: Any) -> _Grid:
    """One sheet, from openpyxl's view of it with formulas."""
    grid = _Grid(sheet.title)
    # References of a sheet to itself: its name adds nothing, and names may hold anything.
    quoted = re.escape("'" + sheet.title.replace("'", "''") + "'!")
    own = re.compile(rf"{quoted}|(?<![\w.'\]]){re.escape(sheet.title)}!", re.IGNORECASE)
    for cell in _cells(sheet):
        if cell.data_type == "f":
            text = str(getattr(cell.value, "text", cell.value))  # of an array formula
            grid.formulas[cell.row, cell.column] = own.sub("", text) if "!" in text else text
        else:
            _add_value(grid, cell)
    for name, defined in sheet.defined_names.items():
        if name.lower().startswith("solver_"):
            text = str(defined.attr_text or "")
            if len(text) > _LONGEST_NAME:
                raise WorkbookError(
                    f"sheet {sheet.title!r}: {name} has {len(text):,} characters, refused as "
                    "hostile (Excel takes 8,192)"
                )
            grid.solver_names[name.lower()] = re.sub(quoted, "", text)
    return grid


def _add_values(grid: _Grid, sheet: Any, only: Container[Position]) -> None:
    for cell in _cells(sheet):
        if (cell.row, cell.column) in only:
            _add_value(grid, cell)


def _add_value(grid: _Grid, cell: Any) -> None:
    is_text = isinstance(cell.value, str)
    value = _ESCAPED.sub("_", cell.value) if is_text else cell.value
    grid.values[cell.row, cell.column] = value
    if cell.data_type == "e":
        grid.errors.add((cell.row, cell.column))


def _cells(sheet: Any) -> list[Any]:
    sheet.reset_dimensions()  # what the file declares of its size may be wrong
    cells, n_rows = [], 0
    try:
        for row in sheet.iter_rows():
            n_rows += 1
            if row:  # not so for the rows, up to a million, that the file leaves out
                cells += [cell for cell in row if cell.value is not None]
    except ValueError as error:
        raise ValueError(f"sheet {sheet.title!r}, after row {n_rows}: {one_line(error)}") from error
    return cells


#: The Solver names that say where something is: objective and changing cells.
_PLACES = ("solver_opt", "solver_adj")


def _hints(grid: _Grid, given: Hints | None) -> Hints:
    """What the Solver model of a sheet says, and what the user does."""
    hints = replace(given, sheet=grid.name) if given is not None else Hints(grid.name)
    objective, changing = (
        list(reference_cells(grid.solver_names.get(name, ""), grid.name)) for name in _PLACES
    )
    return replace(
        hints,
        objective=(objective[0].row, objective[0].column) if objective else None,
        changing=tuple(changing),
    )


def _found(book: _Book, name: str, hints: Hints, *, by_labels: bool) -> Found | None:
    """What is on a sheet: by its formulas, or else by what proves itself."""
    grid = book.grid(name)
    found = find_layout(grid.formulas, hints)
    if found is None and (by_labels or hints.given or hints.objective or hints.changing):
        grid = book.with_results(name)
        cells = {
            cell: float(value) if _is_number(value) else value
            for cell, value in grid.values.items()
            if not grid.is_blank(cell)
        }
        found = find_pasted(cells, grid.formulas, hints)
    return found


def _model(
    book: _Book, name: str, given: Hints | None = None, *, by_labels: bool = True
) -> WorkbookModel | None:
    hints = _hints(book.grid(name), given)
    found = _found(book, name, hints, by_labels=by_labels)
    if found is None:
        return None
    grid, layout = book.with_results(name), found.layout
    if layout.n_users * layout.n_items > MAX_PREDICTIONS:
        # A few formulas far apart must not make us reserve all memory for what lies between.
        raise WorkbookError(
            f"{grid.name}!{layout.ratings.range()}: more than {MAX_PREDICTIONS:,} ratings cells "
            "are refused"
        )
    if layout.n_factors * (layout.n_users + layout.n_items) > MAX_PREDICTIONS:
        raise WorkbookError(
            f"{grid.name}!{layout.user_factors.range()}: more than {MAX_PREDICTIONS:,} embedding "
            "cells are refused"
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
    solver_names = {name: _resolved(grid, name) for name in grid.solver_names}
    notes = found.notes
    if hints.given and not _is_solved(layout, hints):
        solver_names = {k: v for k, v in solver_names.items() if k not in _PLACES}
        notes = (
            "Solver's dialog names another objective or other changing cells than those of these "
            "ranges: the RMSE and all embeddings of the ranges count instead",
        )
    objective = None if layout.loss is None else _stored(grid, layout.loss)[0, 0]
    return WorkbookModel(
        path=book.path,
        sheet=grid.name,
        ratings=ratings,
        parameters=parameters,
        objective=None if objective is None or math.isnan(objective) else float(objective),
        stored_predictions=_stored(grid, layout.predictions),
        layout=layout,
        objective_formula=found.objective_formula,
        solver_names=solver_names,
        how=(*found.how, *_labels_found(layout)),
        notes=notes,
    )


def _is_solved(layout: Layout, hints: Hints) -> bool:
    """Whether the Solver model of the sheet, if there is one, is about this layout."""
    loss = None if layout.loss is None else (layout.loss.row, layout.loss.column)
    places = [*layout.variable_blocks(), layout.user_factors, layout.item_factors]
    places += layout.bias_blocks or ()
    return hints.objective in (None, loss) and all(
        any(place.covers(changing) for place in places) for changing in hints.changing
    )


def _labels_found(layout: Layout) -> tuple[Evidence, Evidence]:
    return (
        Evidence("user ids", layout.user_ids.range(), "the nearest cells left of the ratings"),
        Evidence("item ids", layout.item_ids.range(), "the nearest cells above the ratings"),
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
    numbers = [value if isinstance(value, int) else _large_number(value) for value in values]
    whole = [number for number in numbers if number is not None]
    all_whole = len(whole) == len(values)
    ids = np.array(whole, np.int64) if all_whole else np.array([str(v) for v in values], np.str_)
    seen: set[Any] = set()
    for address, value in zip(addresses, ids.tolist(), strict=True):
        if value in seen:
            raise WorkbookError(f"{grid.name}!{address}: {kind} id {value!r} stands there twice")
        seen.add(value)
    return ids


def _large_number(text: str) -> int | None:
    """The whole number of 64 bits that stands as text because no cell holds it exactly."""
    if not _WHOLE_NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if abs(number) > MAX_EXACT and -(2**63) <= number < 2**63 else None


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
