"""Single cells of a workbook changed, sheets added, and all else left as it is.

openpyxl would lose what it does not know (pivot tables, drawings), and solving somebody's
workbook must not cost them that. So values are put straight into the sheets' XML.
"""

from __future__ import annotations

import codecs
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from defusedxml import ElementTree as SafeElementTree

from shallow_cf.workbook.assemble import new_member
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.package import (
    MAIN,
    STYLES_PART,
    WORKBOOK_PART,
    WorkbookError,
    one_line,
    sheet_parts,
)
from shallow_cf.workbook.sheet_xml import stored, worksheet

_RELATIONS_PART, _TYPES_PART = "xl/_rels/workbook.xml.rels", "[Content_Types].xml"
_OFFICE = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET_TYPE = _OFFICE + b"/worksheet"
_SHEET_CONTENT = b"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_FULL_CALC = re.compile(rb'\sfullCalcOnLoad="(?:1|true)"')


def patch_cells(
    source: Path | IO[bytes],
    target: Path,
    numbers: Mapping[str, Mapping[str, float]],
    results: Mapping[str, Mapping[str, Content]],
    added: Sequence[Canvas] = (),
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
        Sheet -> address -> number or text that becomes the stored result of the cell's
        formula (or its content where it holds none).
    added
        Sheets to add at the end, or to put in the place of sheets of the same name.

    Raises
    ------
    WorkbookError
        If a sheet or a cell is not there, a number is NaN or infinite, or a cell that
        shall become a number holds a formula.
    """
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        parts = sheet_parts(old)
        sheets = _added(old, parts, added)
        edits = {}
        for sheet in {**numbers, **results}:
            if sheet not in parts:
                raise WorkbookError(f"there is no sheet {sheet!r}")
            edits[parts[sheet]] = (sheet, numbers.get(sheet, {}), results.get(sheet, {}))
        for member in old.infolist():
            content = sheets.pop(member.filename, None) or _content(old, member)
            if member.filename in edits:
                content = _patch_sheet(content, *edits[member.filename])
            elif member.filename == WORKBOOK_PART and not _FULL_CALC.search(content):
                # Formulas elsewhere that depend on the new numbers are computed on opening.
                content = re.sub(rb'\sfullCalcOnLoad="\w*"', b"", content)
                content = re.sub(rb"<(\w+:)?calcPr\b", rb'\g<0> fullCalcOnLoad="1"', content)
            new.writestr(member, content, zipfile.ZIP_DEFLATED)
        for part, content in sheets.items():
            new.writestr(new_member(part), content, zipfile.ZIP_DEFLATED)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A part of the package, unpacked; also one that reading the numbers did not need."""
    try:
        return archive.read(member)
    except MemoryError:
        raise
    except Exception as error:  # what zipfile and zlib stumble over in a damaged archive
        raise WorkbookError(
            f"{member.filename} in the workbook is damaged: {one_line(error)}"
        ) from error


def _added(
    archive: zipfile.ZipFile, parts: Mapping[str, str], added: Sequence[Canvas]
) -> dict[str, bytes]:
    """Parts, new or changed, that a workbook with further sheets needs: name -> content."""
    changed: dict[str, bytes] = {}
    ids = _style_ids(archive) if added else {}
    for canvas in added:
        xml = worksheet(canvas, ids)
        if canvas.name in parts:
            changed[parts[canvas.name]] = xml
            continue
        number = next(n for n in count(1) if _sheet_part(n) not in archive.namelist())
        changed[_sheet_part(number)] = xml
        changed |= _listed(archive, canvas.name, _sheet_part(number))
    return changed


def _sheet_part(number: int) -> str:
    return f"xl/worksheets/sheet{number}.xml"


def _listed(archive: zipfile.ZipFile, sheet: str, part: str) -> dict[str, bytes]:
    """The package's three lists of sheets with one more at the end, else unchanged."""
    relations, types = archive.read(_RELATIONS_PART), archive.read(_TYPES_PART)
    book = archive.read(WORKBOOK_PART)
    taken = set(re.findall(rb'Id="([^"]*)"', relations))
    relation = next(name for n in count(1) if (name := b"rId%d" % n) not in taken)
    number = max(map(int, re.findall(rb'sheetId="(\d+)"', book)), default=0) + 1
    listed = SafeElementTree.fromstring(book).iterfind("{*}sheets/{*}sheet")
    id_names = [key for entry in listed for key in entry.attrib if key.endswith("}id")]
    if not id_names:
        raise WorkbookError(f"{WORKBOOK_PART} lists no sheet in a way that is understood")
    # The prefix of the others may be declared in each of them alone, as lxml does.
    namespace = id_names[0][1:].partition("}")[0]
    attributes = f'name={quoteattr(sheet)} sheetId="{number}"'.encode()
    attributes += f" xmlns:rel={quoteattr(namespace)} ".encode() + b'rel:id="%s"' % relation
    entries = {
        _RELATIONS_PART: (
            relations, b"Relationships",
            b'Relationship Id="%s" Type="%s" Target="/%s"' % (relation, _SHEET_TYPE, part.encode()),
        ),
        _TYPES_PART: (
            types, b"Types",
            b'Override PartName="/%s" ContentType="%s"' % (part.encode(), _SHEET_CONTENT),
        ),
        WORKBOOK_PART: (book, b"sheets", b"sheet " + attributes),
    }  # fmt: skip
    return {name: _with_entry(name, *entry) for name, entry in entries.items()}


def _with_entry(part: str, xml: bytes, around: bytes, entry: bytes) -> bytes:
    """A list's XML with one more entry before its end tag, in the same namespace."""
    end = re.search(rb"</(\w+:)?%s\s*>" % around, xml)
    if end is None:
        raise WorkbookError(f"{part} is not understood: no sheet can be added")
    return xml[: end.start()] + b"<%s%s/>" % (end[1] or b"", entry) + xml[end.start() :]


def _style_ids(archive: zipfile.ZipFile) -> dict[str, int]:
    """Name of a cell style -> the number by which cells refer to it."""
    if STYLES_PART not in archive.namelist():
        return {}
    root = SafeElementTree.fromstring(archive.read(STYLES_PART))
    formats = [xf.get("xfId") for xf in root.iterfind(f"{{{MAIN}}}cellXfs/{{{MAIN}}}xf")]
    return {
        style.get("name", ""): formats.index(style.get("xfId"))
        for style in root.iterfind(f"{{{MAIN}}}cellStyles/{{{MAIN}}}cellStyle")
        if style.get("xfId") in formats
    }


def _patch_sheet(
    xml: bytes, sheet: str, numbers: Mapping[str, float], results: Mapping[str, Content]
) -> bytes:
    """A sheet's XML with new values in some cells, every other byte as it was."""
    if xml.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise WorkbookError(f"sheet {sheet!r} is in UTF-16: open and save the workbook in Excel")
    finder = _CellFinder(sheet, set(numbers) | set(results))
    finder.parse(xml)
    missing = (set(numbers) | set(results)) - {cell.address for cell in finder.cells}
    if missing:
        raise WorkbookError(f"{sheet}!{min(missing)}: there is no such cell in the file")
    pieces, done = [], 0
    for cell in finder.cells:
        is_result = cell.address in results
        value = results[cell.address] if is_result else numbers[cell.address]
        if not is_result and not math.isfinite(numbers[cell.address]):
            raise WorkbookError(f"{sheet}!{cell.address}: no cell can hold {value}")
        if cell.formula and not is_result:
            raise WorkbookError(
                f"{sheet}!{cell.address}: an embedding must be a plain number to be changed, "
                "got a formula: copy the cells and paste them as values"
            )
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

    def tag(self, formula: bytes, value: Content) -> bytes:
        """The element with another value."""
        kept = "".join(f" {k}={quoteattr(v)}" for k, v in self.attributes.items() if k != "t")
        kind, text = stored(value)
        prefix = self.name[:-1]  # of the namespace, where the writer used one
        head = f"<{self.name}{kept}{kind}>".encode()
        return head + formula + f"<{prefix}v>{text}</{prefix}v></{self.name}>".encode()


class _CellFinder:
    """Finds cell elements and their byte offsets with expat, without changing the XML."""

    def __init__(self, sheet: str, wanted: set[str]) -> None:
        self.sheet, self.wanted = sheet, wanted
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
        raise WorkbookError(f"sheet {self.sheet!r} declares a document type: refused as hostile")

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
