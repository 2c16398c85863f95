"""The .xlsx file as a package: is it one, and how are single cells changed in it.

openpyxl writes formulas without their results and cuts numbers to 16 digits, and it
loses what it does not know (pivot tables, drawings). Both matter here: previews,
pandas and Excel's Protected View show stored results, embeddings shall come back bit
for bit, and solving somebody's workbook must not cost them their pivot tables. So
numbers are put straight into the sheets' XML, and all else is copied as it is.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from xml.parsers import expat

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeElementTree

#: More than this, uncompressed, is no workbook of ours but a mistake or a zip bomb.
_MAX_BYTES = 400 * 2**20
_MAX_RATIO = 150

_OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_WORKBOOK_PART = "xl/workbook.xml"

_Numbers = Mapping[str, float]


class WorkbookError(ValueError):
    """A workbook is damaged, or does not hold what is expected; names file, sheet or cell."""


def check_package(path: Path) -> None:
    """Refuse what is no .xlsx workbook, before anything is unpacked.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WorkbookError
        If it is no workbook, or declares absurd amounts of content.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == _OLE_MAGIC:
        raise WorkbookError(
            f"{path.name} is an old .xls workbook or has a password: "
            "save it as .xlsx without a password"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise WorkbookError(f"{path.name} is not an .xlsx workbook") from error
    if _WORKBOOK_PART not in (member.filename for member in members):
        raise WorkbookError(f"{path.name} is not an .xlsx workbook (it has no {_WORKBOOK_PART})")
    for member in members:
        suspicious = member.file_size > 2**20 * 16 and (
            member.file_size > _MAX_RATIO * member.compress_size
        )
        if suspicious or sum(m.file_size for m in members) > _MAX_BYTES:
            raise WorkbookError(
                f"{path.name} declares {member.file_size / 2**20:.0f} MB in {member.filename}: "
                "refused as damaged or hostile"
            )


def patch_cells(
    source: Path | IO[bytes],
    target: Path,
    numbers: Mapping[str, _Numbers],
    results: Mapping[str, _Numbers],
) -> None:
    """Copy a workbook with some cells' values changed and all else as it is.

    Parameters
    ----------
    source
        Workbook to copy.
    target
        File to write.
    numbers
        Sheet -> address -> number that becomes the cell's content.
    results
        Sheet -> address -> number that becomes the stored result of the cell's formula
        (or its content where it holds none).

    Raises
    ------
    WorkbookError
        If a sheet or a cell is not there.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        parts = _sheet_parts(old)
        edits = {}
        for sheet in {**numbers, **results}:
            if sheet not in parts:
                raise WorkbookError(f"there is no sheet {sheet!r}")
            edits[parts[sheet]] = (sheet, numbers.get(sheet, {}), results.get(sheet, {}))
        for member in old.infolist():
            content = old.read(member)
            if member.filename in edits:
                content = _patch_sheet(content, *edits[member.filename])
            elif member.filename == _WORKBOOK_PART and b"fullCalcOnLoad" not in content:
                # Formulas elsewhere that depend on the new numbers are computed on opening.
                content = re.sub(rb"<(\w+:)?calcPr\b", rb'\g<0> fullCalcOnLoad="1"', content)
            new.writestr(member, content, zipfile.ZIP_DEFLATED)


def _sheet_parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name -> name of its XML part in the package."""
    folder = posixpath.dirname(_WORKBOOK_PART)
    relations = SafeElementTree.fromstring(archive.read(f"{folder}/_rels/workbook.xml.rels"))
    targets: dict[str | None, str] = {}
    for relation in relations:
        target = relation.get("Target", "")
        absolute = target.startswith("/")
        part = target[1:] if absolute else posixpath.normpath(posixpath.join(folder, target))
        targets[relation.get("Id")] = part
    parts: dict[str, str] = {}
    for element in SafeElementTree.fromstring(archive.read(_WORKBOOK_PART)).iter():
        if element.tag.endswith("}sheet"):
            relation_id = next(v for k, v in element.attrib.items() if k.endswith("}id"))
            parts[element.get("name", "")] = targets[relation_id]
    return parts


def _patch_sheet(xml: bytes, sheet: str, numbers: _Numbers, results: _Numbers) -> bytes:
    """A sheet's XML with new values in some cells, every other byte as it was."""
    finder = _CellFinder(set(numbers) | set(results))
    finder.parse(xml)
    missing = (set(numbers) | set(results)) - {cell.address for cell in finder.cells}
    if missing:
        raise WorkbookError(f"{sheet}!{min(missing)}: there is no such cell in the file")
    pieces, done = [], 0
    for cell in finder.cells:
        is_result = cell.address in results
        value = results[cell.address] if is_result else numbers[cell.address]
        formula = xml[slice(*cell.formula)] if is_result and cell.formula else b""
        pieces += [xml[done : cell.start], cell.tag(formula, value)]
        done = cell.end
    return b"".join([*pieces, xml[done:]])


class _Cell:
    """One cell element: where it stands in the XML, and its attributes."""

    def __init__(self, name: str, attributes: dict[str, str], start: int) -> None:
        self.name, self.attributes, self.start = name, attributes, start
        self.address = attributes["r"]
        self.end = -1
        self.formula: tuple[int, int] | None = None

    def tag(self, formula: bytes, value: float) -> bytes:
        """The element with a number as its value."""
        # The type goes: a missing one means a number. repr() gives the shortest text that
        # reads back as the same double; %.16g, which openpyxl writes, does not.
        kept = "".join(f' {k}="{v}"' for k, v in self.attributes.items() if k != "t")
        prefix = self.name[:-1]  # of the namespace, where the writer used one
        head = f"<{self.name}{kept}>".encode()
        return head + formula + f"<{prefix}v>{float(value)!r}</{prefix}v></{self.name}>".encode()


class _CellFinder:
    """Finds cell elements and their byte offsets with expat, without changing the XML."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self.cells: list[_Cell] = []
        self._open: _Cell | None = None
        self._formula_start = -1

    def parse(self, xml: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        self._parser, self._xml = parser, xml
        parser.Parse(xml, True)

    def _refuse(self, *_: object) -> None:
        raise WorkbookError("a sheet declares a document type: refused as hostile")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        here = self._parser.CurrentByteIndex
        local = name.rpartition(":")[2]
        if local == "c" and attributes.get("r") in self.wanted:
            self._open = _Cell(name, attributes, here)
        elif local == "f" and self._open is not None:
            self._formula_start = here

    def _end(self, name: str) -> None:
        if self._open is None:
            return
        local = name.rpartition(":")[2]
        after = self._parser.CurrentByteIndex
        if self._xml.startswith(f"</{name}".encode(), after):  # not so after <f ... />
            after = self._xml.index(b">", after) + 1
        if local == "f":
            self._open.formula = (self._formula_start, after)
        elif local == "c":
            self._open.end = after
            self.cells.append(self._open)
            self._open = None


#: What damaged or hostile XML makes the parsers raise.
XML_ERRORS = (expat.ExpatError, SafeElementTree.ParseError, DefusedXmlException)
