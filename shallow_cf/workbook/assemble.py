"""A workbook put together: sheets filled with their cells, equal bytes for equal input."""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from defusedxml import ElementTree as SafeElementTree

from shallow_cf._files import source_date
from shallow_cf.workbook.package import MAIN, STYLES_PART, sheet_parts

_CORE_PART = "docProps/core.xml"
_FONT_ORDER = (
    "b", "i", "strike", "condense", "extend", "outline", "shadow", "u", "vertAlign", "sz",
    "color", "name", "family", "charset", "scheme",
)  # fmt: skip


def assemble(draft: IO[bytes], target: Path, cells: Mapping[str, tuple[str, bytes]]) -> None:
    """Fill the sheets of a draft that openpyxl saved, so that equal input gives equal bytes.

    Parameters
    ----------
    draft
        A workbook without cells.
    target
        File to write.
    cells
        Sheet -> the range it fills, and its ``sheetData`` element.
    """
    stamp = f"{_document_time().isoformat()}Z".encode()
    with zipfile.ZipFile(draft) as old, zipfile.ZipFile(target, "w") as new:
        sheets = {part: cells[sheet] for sheet, part in sheet_parts(old).items()}
        for name in old.namelist():
            content = old.read(name)
            if name in sheets:
                content = _filled(content, *sheets[name])
            elif name == STYLES_PART:
                content = _fonts_in_order(content)
            elif name == _CORE_PART:
                content = re.sub(rb'(?<=W3CDTF">)[^<]*', stamp, content)
            new.writestr(new_member(name), content, zipfile.ZIP_DEFLATED, compresslevel=9)


def _document_time() -> datetime.datetime:
    """The time that reproducible builds ask for, or the first day a zip file knows."""
    first = datetime.datetime(1980, 1, 1)
    return max(first, source_date() or first)


def new_member(name: str) -> zipfile.ZipInfo:
    """The entry of a part in the archive; zipfile by itself takes the time of day for it."""
    member = zipfile.ZipInfo(name, _document_time().timetuple()[:6])
    member.external_attr = 0o600 << 16
    return member


def _filled(xml: bytes, extent: str, cells: bytes) -> bytes:
    """A sheet's XML with its cells."""
    dimension = f'<dimension ref="{extent}"'.encode()
    xml = re.sub(rb'<dimension ref="[^"]*"', dimension, xml, count=1)
    # A function, because in a replacement text backslashes would have a meaning.
    return re.sub(rb"<sheetData ?/>|<sheetData>.*?</sheetData>", lambda _: cells, xml, count=1)


def _fonts_in_order(xml: bytes) -> bytes:
    """Styles with the children of every font in the order that the format prescribes.

    openpyxl writes them in another one, which Microsoft's validator reports.
    """
    root = SafeElementTree.fromstring(xml)
    for font in root.iter(f"{{{MAIN}}}font"):
        font[:] = sorted(font, key=lambda child: _FONT_ORDER.index(child.tag.rpartition("}")[2]))
    ElementTree.register_namespace("", MAIN)
    ordered: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return ordered
