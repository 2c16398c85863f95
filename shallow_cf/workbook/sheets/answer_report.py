"""The sheet `answer_report`: what a run changed, laid out as Solver's Answer Report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import pandas as pd

from shallow_cf.workbook.canvas import Canvas, Content


class Report(Protocol):
    """A title, what was done, and tables: `shallow_cf.reports.Report`."""

    @property
    def title(self) -> str:
        """The first line."""
        ...

    @property
    def facts(self) -> dict[str, list[str]]:
        """Heading -> lines below it."""
        ...

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Heading -> table."""
        ...


def draw(reports: Iterable[Report], name: str = "answer_report") -> Canvas:
    """Draw one report below the other: titles in column A, what belongs to them from B."""
    canvas, row = Canvas(name), 1
    for report in reports:
        canvas.put(row, 1, report.title, "heading")
        row += 1
        for heading, lines in report.facts.items():
            row = _fact(canvas, row, heading, lines)
        for heading, table in report.tables.items():
            row = _table(canvas, row + 2, heading, table)
        row += 3
    canvas.width([1], 3)
    canvas.width([2], 12)
    canvas.width([3], 34)
    canvas.width([4, 5], 16)
    canvas.width([6], 24)
    canvas.width([7], 12)
    return canvas


def _fact(canvas: Canvas, row: int, heading: str, lines: list[str]) -> int:
    """A line such as ``Worksheet: dotprod``, or a heading with its lines below it."""
    if len(lines) == 1:
        canvas.put(row, 1, f"{heading}: {lines[0]}", "subheading")
        return row + 1
    canvas.put(row, 1, heading, "subheading")
    return canvas.lines(row + 1, 2, lines)


def _table(canvas: Canvas, row: int, heading: str, table: pd.DataFrame) -> int:
    canvas.put(row, 1, heading, "subheading")
    if table.empty:
        canvas.put(row + 1, 2, "NONE")
        return row + 2
    for c, column in enumerate(table.columns):
        canvas.put(row + 1, 2 + c, str(column), "label")
    for r, values in enumerate(table.itertuples(index=False), row + 2):
        for c, value in enumerate(values):
            canvas.put(r, 2 + c, _content(value), "beside" if isinstance(value, str) else "number")
    return row + 2 + len(table)


def _content(value: Any) -> Content:
    """A number, a text, or nothing for NaN."""
    if isinstance(value, str):
        return value
    return None if value != value else float(value)
