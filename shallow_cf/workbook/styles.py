"""The colours of the lesson, one named style for each kind of cell."""

from __future__ import annotations

from openpyxl.styles import Alignment, Border, Font, NamedStyle, PatternFill, Side
from openpyxl.workbook import Workbook

_TWO_DECIMALS = "0.00"
_AS_TYPED = "General"

#: Kind of cell -> fill, font colour, number format, bold.
KINDS = {
    "rating": ("DCE9F7", "1F4E79", _AS_TYPED, False),  # blue
    "prediction": ("E6DDF1", "4B2E83", _TWO_DECIMALS, False),  # purple
    "loss": ("F4B6B6", "8B0000", "0.0000", True),  # red
    "item embedding": ("DDEFD6", "2F5B1D", _TWO_DECIMALS, False),  # green
    "user embedding": ("FBE3CF", "8A4507", _TWO_DECIMALS, False),  # orange
    "label": ("E6E6E6", "353535", _AS_TYPED, True),  # grey, as published
}


def add_styles(book: Workbook) -> None:
    """Register the named styles with a workbook."""
    edge = Side(style="thin", color="FFFFFF")
    for name, (fill, colour, number_format, bold) in KINDS.items():
        style = NamedStyle(name=name)
        style.fill = PatternFill("solid", fgColor=fill)
        style.font = Font(name="Calibri", size=11, color=colour, bold=bold)
        style.number_format = number_format
        style.border = Border(left=edge, right=edge, top=edge, bottom=edge)
        style.alignment = Alignment(horizontal="center" if name == "label" else "right")
        book.add_named_style(style)
