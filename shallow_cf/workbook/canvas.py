"""A sheet before there is a file: what stands in each cell, and how it shall look.

Every formula is put down together with the number that NumPy computed for it, so that
previews, pandas and Excel's Protected View show numbers although nobody has calculated
the sheet yet; and a workbook that was solved can be given the results of all its sheets
by drawing them once more. Nothing here knows openpyxl.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from shallow_cf.workbook.layout import MAX_EXACT, Block, cell_address

#: Characters a cell can hold.
_MAX_TEXT = 32_767
#: Characters that XML cannot hold, or that would not come back (a carriage return).
_UNPRINTABLE = {chr(code) for code in range(32)} - {"\t", "\n"} | {"\ufffe", "\uffff"}

Content = float | str | None
Id = int | str | datetime.datetime


class Cell(NamedTuple):
    """A cell: its content or the result of its formula, the kind it is drawn as, the formula.

    A result that is NaN or infinite is the error that a spreadsheet shows for it. Cells
    of one block may share a formula that differs as if it had been filled in.
    """

    value: Content
    style: str
    formula: str | None = None
    shared: Block | None = None


@dataclass(frozen=True)
class Series:
    """A line or a point of a chart, as ranges with their sheet: ``history!$B$3``."""

    title: str
    y: str
    x: str


@dataclass(frozen=True)
class Chart:
    """A native chart.

    Attributes
    ----------
    kind : {"line", "points"}
        Lines over steps with a logarithmic axis of stars; or a labelled point a series.
    title, x_title, y_title : str
    series : sequence of Series
    place : str
        Address of the cell under its top left corner.
    y_range : (low, high), optional
        Ends of the vertical axis.
    """

    kind: Literal["line", "points"]
    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    place: str
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Choice:
    """What may be typed into cells: one of a list's cells, or what a formula accepts.

    Attributes
    ----------
    cells : str
        Range.
    kind : {"list", "custom"}
    formula : str
        The list's range, or a test written for the first cell.
    title, message : str
        What Excel says when something else is typed.
    """

    cells: str
    kind: Literal["list", "custom"]
    formula: str
    title: str
    message: str


class Scale(NamedTuple):
    """A colour scale: its cells, its kind in `shallow_cf.workbook.styles`, and where the
    colours end; by default at the smallest and the largest number."""

    cells: str
    kind: str
    ends: tuple[float, float] | None = None


@dataclass
class Canvas:
    """One sheet as it shall be written.

    Attributes
    ----------
    name : str
        Of the sheet.
    cells : dict
        (row, column), counted from 1, -> `Cell`.
    widths, heights : dict of int to float
        Column or row -> width in characters or height in points, where it is not the usual.
    freeze : str or None
        The first cell that scrolls.
    scales : list of Scale
    choices : list of Choice
    charts : list of Chart
    one_page : bool
        Whether the sheet is printed on one page, not only as wide as one.
    solver_names : dict of str to str
        The hidden names of its Solver model, see `shallow_cf.workbook.solver_model`.
    """

    name: str
    cells: dict[tuple[int, int], Cell] = field(default_factory=dict)
    widths: dict[int, float] = field(default_factory=dict)
    heights: dict[int, float] = field(default_factory=dict)
    freeze: str | None = None
    scales: list[Scale] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    one_page: bool = False
    solver_names: Mapping[str, str] = field(default_factory=dict)

    def put(self, row: int, column: int, value: Content, style: str = "text") -> None:
        """Write a number or a text; None leaves the cell empty, but drawn."""
        self.cells[row, column] = Cell(value, style)

    def formula(
        self,
        row: int,
        column: int,
        formula: str,
        result: Content,
        style: str,
        shared: Block | None = None,
    ) -> None:
        """Write a formula with the result that NumPy has for it.

        `shared` is the block whose formulas are all the same but for references that move
        with the cell: the file then holds the text once.
        """
        self.cells[row, column] = Cell(result, style, formula, shared)

    def numbers(self, block: Block, values: Any, style: str) -> None:
        """Write a table of numbers; NaN leaves a cell empty."""
        table = np.reshape(np.asarray(values, np.float64), block.shape).tolist()
        for r, row in enumerate(table):
            for c, value in enumerate(row):
                shown = None if value != value else value
                self.cells[block.row + r, block.column + c] = Cell(shown, style)

    def lines(self, row: int, column: int, texts: Iterable[str]) -> int:
        """Write texts one below the other; the row after the last."""
        for text in texts:
            self.put(row, column, text)
            row += 1
        return row

    def label(self, row: int, column: int, value: Id, style: str = "label") -> None:
        """Write an id: a whole number, or text that stays text whatever it looks like."""
        self.put(row, column, as_content(value), style)

    def width(self, columns: Iterable[int], width: float) -> None:
        """Set the width of columns, in characters."""
        self.widths.update(dict.fromkeys(columns, width))

    def width_groups(self) -> list[tuple[tuple[int, int], float]]:
        """First and last column of neighbours of one width, and the width."""
        groups: list[tuple[tuple[int, int], float]] = []
        for column, width in sorted(self.widths.items()):
            (first, last), before = groups[-1] if groups else ((0, -1), width)
            if last + 1 == column and before == width:
                groups[-1] = (first, column), width
            else:
                groups.append(((column, column), width))
        return groups

    @property
    def extent(self) -> tuple[int, int]:
        """The last row and the last column that hold anything."""
        return max(row for row, _ in self.cells), max(column for _, column in self.cells)

    def results(self) -> dict[str, tuple[str, Content]]:
        """Address -> formula and result, of every formula."""
        return {
            cell_address(*place): (cell.formula, cell.value)
            for place, cell in self.cells.items()
            if cell.formula is not None
        }


def as_content(value: Id) -> Content:
    """An id as a cell holds it.

    A whole number with more digits than a double has becomes text, which keeps them all,
    and so does a date.

    Raises
    ------
    ValueError
        If a text is empty, too long or holds characters that no cell can hold.
    """
    if isinstance(value, int):
        return float(value) if abs(value) <= MAX_EXACT else str(value)
    if isinstance(value, datetime.datetime):
        return str(value)
    if len(value) > _MAX_TEXT:
        raise ValueError(f"an id of {len(value)} characters cannot stand in a cell")
    if not value or not _UNPRINTABLE.isdisjoint(value):
        raise ValueError(f"id {value!r} cannot stand in a cell")
    return value
