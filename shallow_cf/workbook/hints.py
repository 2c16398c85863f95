"""What is known of a sheet besides its formulas: the Solver model, and what the user says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shallow_cf.workbook.layout import MAX_COLUMNS, MAX_ROWS, Block, cell_position, column_letters
from shallow_cf.workbook.package import WorkbookError

Position = tuple[int, int]

CELL = r"[A-Z]{1,3}[1-9]\d*"
RANGE = rf"{CELL}(?::{CELL})?"


@dataclass(frozen=True)
class Hints:
    """What helps to understand a sheet.

    Attributes
    ----------
    sheet : str
        Its name, for error messages.
    ratings : Block or None
        The ratings, if the user says where.
    factors : tuple of Block
        The two blocks of embeddings in any order, if the user says where; else empty.
    objective : (row, column) or None
        The cell that the Solver model names as its objective.
    changing : tuple of Block
        The cells that the Solver model may change; empty if it does not say.
    """

    sheet: str
    ratings: Block | None = None
    factors: tuple[Block, ...] = ()
    objective: Position | None = None
    changing: tuple[Block, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the user says where something is."""
        return self.ratings is not None or bool(self.factors)


def corners(text: str) -> tuple[Position, Position]:
    """Top left and bottom right cell of a range without ``$``, whichever come first in it."""
    first, _, last = text.partition(":")
    (row1, column1), (row2, column2) = cell_position(first), cell_position(last or first)
    top_left = min(row1, row2), min(column1, column2)
    return top_left, (max(row1, row2), max(column1, column2))


def block_of(text: str) -> Block:
    """The block of a range without ``$``, such as ``H2:V16``."""
    (row, column), (last_row, last_column) = corners(text)
    return Block(row, column, last_row - row + 1, last_column - column + 1)


def reference_cells(text: str, sheet: str | None = None) -> Iterator[Block]:
    """The blocks that the text of a Solver name refers to, such as ``bias!$H$19:$V$24,...``.

    With `sheet` those of that sheet only, or of none that is named.
    """
    for part in text.split(","):
        name, _, cells = part.strip().removeprefix("=").rpartition("!")
        area = cells.replace("$", "").strip()
        is_here = sheet is None or name.strip("'").lower() in ("", sheet.lower())
        if is_here and re.fullmatch(RANGE, area):
            yield block_of(area)


def given_range(name: str, text: str) -> Block:
    """A range as a user types it.

    Parameters
    ----------
    name : str
        Of the argument, for error messages.
    text : str
        Such as ``H2:V16``; ``$`` and lower case are fine.
    """
    area = text.replace("$", "").strip().upper()
    if not re.fullmatch(RANGE, area):
        raise WorkbookError(f"`{name}`: {text!r} is not a range such as H2:V16")
    found = block_of(area)
    if found.last_row > MAX_ROWS or found.last_column > MAX_COLUMNS:
        raise WorkbookError(
            f"`{name}`: {text!r} is not on a sheet, whose last cell is "
            f"{column_letters(MAX_COLUMNS)}{MAX_ROWS}"
        )
    return found


def given_factors(text: str) -> tuple[Block, Block]:
    """The two ranges of embeddings as a user types them, such as ``B25:F39,H19:V23``."""
    parts = re.split("[,;]", text)
    if len(parts) != 2:
        raise WorkbookError(
            f"`factors`: {text!r} is not two ranges such as B25:F39,H19:V23 (users', items')"
        )
    first, second = (given_range("factors", part) for part in parts)
    if first.n_columns != second.n_rows and second.n_columns != first.n_rows:
        raise WorkbookError(
            f"`factors`: {text!r}: one must have as many columns (users', a row each) as the "
            f"other has rows (items', a column each), got {_size(first)} and {_size(second)}"
        )
    return first, second


def _size(found: Block) -> str:
    return f"{found.n_rows} x {found.n_columns}"
