"""The cells of a canvas as a worksheet's XML.

openpyxl writes formulas without their results and numbers with 16 digits; here every
formula carries its result, and numbers come back bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import groupby
from xml.sax.saxutils import escape

from shallow_cf.workbook.canvas import Canvas, Cell, Content
from shallow_cf.workbook.layout import cell_address, column_letters

#: What Excel would take for an escaped character, such as _x0041_ for A.
_LIKE_AN_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
#: What a spreadsheet shows for a number that is too large.
_OVERFLOW = "#NUM!"


def sheet_data(canvas: Canvas, style_ids: Mapping[str, int]) -> bytes:
    """The ``sheetData`` element of a canvas; a style without a number is drawn plainly."""
    letters = {column: column_letters(column) for _, column in canvas.cells}
    rows = []
    for row, places in groupby(sorted(canvas.cells), key=lambda place: place[0]):
        cells = "".join(
            _cell(f"{letters[column]}{row}", canvas.cells[row, column], style_ids)
            for _, column in places
        )
        height = canvas.heights.get(row)
        tall = "" if height is None else f' ht="{height:g}" customHeight="1"'
        rows.append(f'<row r="{row}"{tall}>{cells}</row>')
    return f"<sheetData>{''.join(rows)}</sheetData>".encode()


def extent(canvas: Canvas) -> str:
    """The range from A1 to the last cell."""
    return f"A1:{cell_address(*canvas.extent)}"


def _cell(address: str, cell: Cell, style_ids: Mapping[str, int]) -> str:
    number = style_ids.get(cell.style, 0)
    head = f'<c r="{address}" s="{number}"' if number else f'<c r="{address}"'
    if cell.formula is None:
        return head + _content(cell.value)
    formula = escape(cell.formula.removeprefix("="))
    if isinstance(cell.value, str):
        return f'{head} t="str"><f>{formula}</f><v>{_text(cell.value)}</v></c>'
    if cell.value is None or not math.isfinite(cell.value):
        return f'{head} t="e"><f>{formula}</f><v>{_OVERFLOW}</v></c>'
    return f"{head}><f>{formula}</f><v>{_text(cell.value)}</v></c>"


def _content(value: Content) -> str:
    if value is None:
        return "/>"
    if isinstance(value, str):
        return f' t="inlineStr"><is><t xml:space="preserve">{_text(value)}</t></is></c>'
    return f"><v>{_text(value)}</v></c>"


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return escape(_LIKE_AN_ESCAPE.sub("_x005F_", value))
    return number_text(value)


def number_text(value: float) -> str:
    """The shortest text that reads back as the same double; whole numbers without a point."""
    return repr(float(value)).removesuffix(".0")
