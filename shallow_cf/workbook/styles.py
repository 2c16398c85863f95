"""The colours of the lesson: one named style for each kind of cell, and the colour scales."""

from __future__ import annotations

from typing import NamedTuple

from openpyxl.formatting.rule import ColorScale, FormatObject, Rule
from openpyxl.styles import Alignment, Border, Color, Font, NamedStyle, PatternFill, Side
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

_TWO_DECIMALS = "0.00"
_AS_TYPED = "General"


class _Kind(NamedTuple):
    """How a kind of cell looks."""

    fill: str | None
    colour: str = "353535"
    number_format: str = _AS_TYPED
    bold: bool = False
    align: str = "right"
    size: int = 11
    turned: bool = False  # 90 degrees, for titles above narrow columns
    framed: bool = False  # the reader may change it
    wrapped: bool = False
    indent: int = 0


#: Kind of cell -> how it looks. Lightness differs, not only hue, for printing in grey.
KINDS = {
    "rating": _Kind("DCE9F7", "1F4E79"),  # blue
    "prediction": _Kind("E6DDF1", "4B2E83", _TWO_DECIMALS),  # purple
    "loss": _Kind("F4B6B6", "8B0000", "0.0000", bold=True),  # red
    "item embedding": _Kind("DDEFD6", "2F5B1D", _TWO_DECIMALS),  # green
    "user embedding": _Kind("FBE3CF", "8A4507", _TWO_DECIMALS),  # orange
    "label": _Kind("E6E6E6", "353535", bold=True, align="center"),  # grey, as published
    "title": _Kind("E6E6E6", align="center", size=9, turned=True, wrapped=True),
    "error": _Kind("F2F2F2", "404040", _TWO_DECIMALS),
    "residual": _Kind("F2F2F2", "404040", '0.00;-0.00;"·"'),
    "user gradient": _Kind("FDF1E7", "8A4507", "0.0000"),
    "item gradient": _Kind("EEF7EA", "2F5B1D", "0.0000"),
    "difference": _Kind("F2F2F2", "404040", "0.0E+00"),
    "one hot": _Kind("FFFFFF", "1F4E79", '0;-0;"·"', align="center"),
    "number": _Kind(None, number_format="0.0000"),
    "count": _Kind(None, number_format="0"),
    "input": _Kind("FFF7C2", "000000", framed=True),  # yellow: to be changed by the reader
    "input text": _Kind("FFF7C2", "000000", framed=True, align="left"),
    "word": _Kind("DCE9F7", "1F4E79", align="center"),
    "heading": _Kind(None, "1F4E79", bold=True, align="left", size=14),
    "subheading": _Kind(None, "1F4E79", bold=True, align="left"),
    "text": _Kind(None, align="left"),
    "beside": _Kind(None, align="left", indent=1),  # explains the cell to its left
    "name": _Kind("E6E6E6", align="left", indent=1),
    "wrapped text": _Kind(None, align="left", wrapped=True, indent=1),
    "warning": _Kind(None, "8B0000", bold=True, align="left"),
}


def add_styles(book: Workbook) -> None:
    """Register the named styles with a workbook."""
    white, dark = Side(style="thin", color="FFFFFF"), Side(style="thin", color="7F6000")
    for name, kind in KINDS.items():
        style = NamedStyle(name=name)
        if kind.fill is not None:
            style.fill = PatternFill("solid", fgColor=kind.fill)
            edge = dark if kind.framed else white
            style.border = Border(left=edge, right=edge, top=edge, bottom=edge)
        style.font = Font(name="Calibri", size=kind.size, color=kind.colour, bold=kind.bold)
        style.number_format = kind.number_format
        style.alignment = Alignment(
            horizontal=kind.align,
            vertical="top" if kind.wrapped and not kind.turned else "bottom",
            wrap_text=kind.wrapped or None,
            indent=kind.indent,
            text_rotation=90 if kind.turned else 0,
        )
        book.add_named_style(style)


def style_ids(sheet: Worksheet) -> dict[str, int]:
    """Kind of cell -> the number by which a cell's XML refers to its style."""
    ids, cell = {}, sheet.cell(1, 1)
    for name in KINDS:
        cell.style = name
        ids[name] = cell.style_id
    return ids


#: Kind of colour scale -> its colours, from the smallest number to the largest.
_SCALES = {
    "stars": ("FFFFFF", "B79FD8"),
    "error": ("FFFFFF", "A6A6A6"),
    "sign": ("A9C9EA", "FFFFFF", "E8964F"),
}


def colour_scale(kind: str, ends: tuple[float, float] | None) -> Rule:
    """A conditional format whose lightness alone tells small from large.

    ``stars`` goes from white to purple, ``error`` from white to grey; ``sign`` marks
    negative numbers in light blue and positive ones in a darker orange.
    """
    colours = _SCALES[kind]
    low, high = ends or (None, None)
    stops = [
        FormatObject(type="min" if low is None else "num", val=low),
        *([FormatObject(type="num", val=0)] if len(colours) == 3 else []),
        FormatObject(type="max" if high is None else "num", val=high),
    ]
    scale = ColorScale(cfvo=stops, color=[Color(colour) for colour in colours])
    return Rule(type="colorScale", colorScale=scale)
