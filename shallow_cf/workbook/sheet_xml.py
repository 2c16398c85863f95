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
from shallow_cf.workbook.layout import Block, cell_address, column_letters
from shallow_cf.workbook.package import MAIN

#: What Excel would take for an escaped character, such as _x0041_ for A.
_LIKE_AN_ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
#: What a spreadsheet shows for a number that is too large.
_OVERFLOW = "#NUM!"


def sheet_data(canvas: Canvas, style_ids: Mapping[str, int]) -> bytes:
    """The ``sheetData`` element of a canvas; a style without a number is drawn plainly."""
    shared = dict.fromkeys(cell.shared for cell in canvas.cells.values())
    numbers = {block: n for n, block in enumerate(shared)}
    letters = {column: column_letters(column) for _, column in canvas.cells}
    rows = []
    for row, places in groupby(sorted(canvas.cells), key=lambda place: place[0]):
        cells = "".join(
            _cell(f"{letters[column]}{row}", canvas.cells[row, column], style_ids, numbers)
            for _, column in places
        )
        height = canvas.heights.get(row)
        tall = "" if height is None else f' ht="{height:g}" customHeight="1"'
        rows.append(f'<row r="{row}"{tall}>{cells}</row>')
    return f"<sheetData>{''.join(rows)}</sheetData>".encode()


def worksheet(canvas: Canvas, style_ids: Mapping[str, int]) -> bytes:
    """A whole worksheet part, of a canvas that has only cells and widths."""
    columns = "".join(
        f'<col min="{first}" max="{last}" width="{width:g}" customWidth="1"/>'
        for (first, last), width in canvas.width_groups()
    )
    head = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<worksheet xmlns="{MAIN}"><sheetPr><pageSetUpPr fitToPage="1"/></sheetPr>'
        f'<dimension ref="{extent(canvas)}"/><cols>{columns}</cols>'
    )
    # Printed as the writer's own sheets are: as wide as the paper, or on one page.
    high = int(canvas.one_page)
    tail = f'<pageSetup orientation="landscape" fitToHeight="{high}"/></worksheet>'
    return head.encode() + sheet_data(canvas, style_ids) + tail.encode()


def extent(canvas: Canvas) -> str:
    """The range from A1 to the last cell."""
    return f"A1:{cell_address(*canvas.extent)}"


def _cell(
    address: str, cell: Cell, style_ids: Mapping[str, int], numbers: Mapping[Block | None, int]
) -> str:
    number = style_ids.get(cell.style, 0)
    head = f'<c r="{address}" s="{number}"' if number else f'<c r="{address}"'
    if cell.formula is None:
        return head + _content(cell.value)
    kind, text = stored(cell.value)
    formula, share = escape(cell.formula.removeprefix("=")), ""
    if cell.shared is not None:  # the block's first cell has the text, the others refer to it
        share = f' t="shared" si="{numbers[cell.shared]}"'
        if address != cell.shared.cell():
            return f"{head}{kind}><f{share}/><v>{text}</v></c>"
        share += f' ref="{cell.shared.range()}"'
    return f"{head}{kind}><f{share}>{formula}</f><v>{text}</v></c>"


def stored(value: Content) -> tuple[str, str]:
    """A formula's result as XML: the attribute that tells its type, and the text."""
    if isinstance(value, str):
        return ' t="str"', _text(value)
    if value is None or not math.isfinite(value):
        return ' t="e"', _OVERFLOW
    return "", number_text(value)


def _content(value: Content) -> str:
    if value is None:
        return "/>"
    if isinstance(value, str):
        return f' t="inlineStr"><is><t xml:space="preserve">{_text(value)}</t></is></c>'
    if not math.isfinite(value):
        return f' t="e"><v>{_OVERFLOW}</v></c>'
    return f"><v>{_text(value)}</v></c>"


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return escape(_LIKE_AN_ESCAPE.sub("_x005F_", value))
    return number_text(value)


def number_text(value: float) -> str:
    """The shortest text that reads back as the same double; whole numbers without a point."""
    return repr(float(value)).removesuffix(".0")
