"""The .xlsx file as a package: is it one, and how are single cells changed in it.

openpyxl writes formulas without their results and cuts numbers to 16 digits, and it
loses what it does not know (pivot tables, drawings). Both matter here: previews,
pandas and Excel's Protected View show stored results, embeddings shall come back bit
for bit, and solving somebody's workbook must not cost them their pivot tables. So
numbers are put straight into the sheets' XML, and all else is copied as it is.
"""

from __future__ import annotations

import codecs
import datetime
import math
import posixpath
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import IO
from xml.etree import ElementTree
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from defusedxml import DefusedXmlException, EntitiesForbidden
from defusedxml import ElementTree as SafeElementTree

from shallow_cf._files import source_date
from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import cell_address, column_number
from shallow_cf.workbook.sheet_xml import stored, worksheet

#: More than this, uncompressed, is no workbook of ours but a mistake or a zip bomb.
_MAX_BYTES = 400 * 2**20
_MAX_RATIO = 150
_SMALL = 2 * 2**20
_MAX_PARTS = 10_000
#: Parts that openpyxl turns into objects before a sheet is asked for, which takes seconds
#: for a few MB: what real workbooks have there is a tenth of this or less.
_MAX_SIZES = {
    "xl/workbook.xml": 3 * 2**19,
    "xl/_rels/workbook.xml.rels": 2**20,
    "[Content_Types].xml": 2**20,
    "xl/styles.xml": 3 * 2**20,
    "xl/sharedStrings.xml": 4 * 2**20,
}
#: An Excel sheet has no more.
_MAX_ROWS, _MAX_COLUMNS = 1_048_576, 16_384
#: Rows left out, all sheets together; each is counted by itself.
_MAX_GAPS = 4 * _MAX_ROWS

_OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_WORKBOOK_PART = "xl/workbook.xml"
_STYLES_PART, _CORE_PART = "xl/styles.xml", "docProps/core.xml"
_RELATIONS_PART, _TYPES_PART = "xl/_rels/workbook.xml.rels", "[Content_Types].xml"
_OFFICE = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET_TYPE = _OFFICE + b"/worksheet"
_SHEET_CONTENT = b"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_FONT_ORDER = (
    "b", "i", "strike", "condense", "extend", "outline", "shadow", "u", "vertAlign", "sz",
    "color", "name", "family", "charset", "scheme",
)  # fmt: skip
_ADDRESS = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})", re.ASCII)
_FULL_CALC = re.compile(rb'\sfullCalcOnLoad="(?:1|true)"')


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
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a workbook")
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
    except MemoryError:
        raise
    except Exception as error:  # BadZipFile, and what zipfile stumbles over before it sees that
        raise WorkbookError(f"{path.name} is not an .xlsx workbook") from error
    names = {member.filename for member in members}
    if _WORKBOOK_PART not in names:
        raise WorkbookError(f"{path.name} is not an .xlsx workbook (it has no {_WORKBOOK_PART})")
    if len(members) > _MAX_PARTS or len(members) > len(names):
        raise WorkbookError(
            f"{path.name} declares {len(members):,} parts of {len(names):,} names: "
            "refused as damaged or hostile"
        )
    for member in members:
        largest = _MAX_SIZES.get(member.filename, _MAX_BYTES)
        if member.file_size > largest:
            raise WorkbookError(
                f"{path.name}: {member.filename} has {member.file_size / 2**20:.1f} MB, more than "
                f"{largest / 2**20:g}: refused as damaged or hostile"
            )
    bombs = [m for m in members if m.file_size > max(_SMALL, _MAX_RATIO * m.compress_size)]
    total = sum(member.file_size for member in bombs or members)
    if bombs or total > _MAX_BYTES:
        raise WorkbookError(
            f"{path.name} declares {total / 2**20:.0f} MB of content in "
            f"{path.stat().st_size / 2**20:.1f} MB: refused as damaged or hostile"
        )


def check_sheets(path: Path) -> None:
    """Refuse workbooks whose sheets openpyxl would confuse.

    Raises
    ------
    WorkbookError
        If two sheets have one name or one content, or one has no content.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        owners: dict[str, str] = {}
        for sheet, part in _sheet_parts(archive).items():
            if part not in names:
                # openpyxl leaves it out and gives its Solver model to the sheet after it.
                raise WorkbookError(f"the content of sheet {sheet!r} is not in the file")
            if part in owners:
                raise WorkbookError(f"sheets {owners[part]!r} and {sheet!r} have one content")
            owners[part] = sheet


def check_cells(path: Path, sheet: str, gaps: int = 0) -> int:
    """Refuse a sheet of which openpyxl would lose cells, or count to rows that no sheet has.

    It takes on trust that rows and cells stand in their order: cells that do not are
    dropped without a word, and a row numbered 10**12 is counted up to.

    Parameters
    ----------
    path : Path
    sheet : str
        Name of the sheet.
    gaps : int
        How many rows the sheets read before leave out.

    Returns
    -------
    int
        How many it is together with this one.

    Raises
    ------
    WorkbookError
        If rows or cells are out of order, there twice, or beyond the end of the sheet; if
        a number is spelled as Python alone understands it; if too many rows are left out.
    DefusedXmlException
        If the sheet declares XML entities.
    """
    with zipfile.ZipFile(path) as archive, archive.open(_sheet_parts(archive)[sheet]) as file:
        gaps += _SheetCheck(sheet).parse(file)
    if gaps > _MAX_GAPS:
        raise WorkbookError(f"its sheets leave out {gaps:,} rows: refused as hostile")
    return gaps


def one_line(error: BaseException) -> str:
    """What an error says; where that is long, what the error behind it says."""
    while error.__cause__ is not None and "\n" in str(error):
        error = error.__cause__
    if isinstance(error, DefusedXmlException):
        return "it declares XML entities, as hostile files do"
    return " ".join(str(error).split()) or type(error).__name__


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
        sheets = {part: cells[sheet] for sheet, part in _sheet_parts(old).items()}
        for name in old.namelist():
            content = old.read(name)
            if name in sheets:
                content = _filled(content, *sheets[name])
            elif name == _STYLES_PART:
                content = _fonts_in_order(content)
            elif name == _CORE_PART:
                content = re.sub(rb'(?<=W3CDTF">)[^<]*', stamp, content)
            new.writestr(_member(name), content, zipfile.ZIP_DEFLATED, compresslevel=9)


def _document_time() -> datetime.datetime:
    """The time that reproducible builds ask for, or the first day a zip file knows."""
    first = datetime.datetime(1980, 1, 1)
    return max(first, source_date() or first)


def _member(name: str) -> zipfile.ZipInfo:
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
    for font in root.iter(f"{{{_MAIN}}}font"):
        font[:] = sorted(font, key=lambda child: _FONT_ORDER.index(child.tag.rpartition("}")[2]))
    ElementTree.register_namespace("", _MAIN)
    ordered: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return ordered


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
        parts = _sheet_parts(old)
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
            elif member.filename == _WORKBOOK_PART and not _FULL_CALC.search(content):
                # Formulas elsewhere that depend on the new numbers are computed on opening.
                content = re.sub(rb'\sfullCalcOnLoad="\w*"', b"", content)
                content = re.sub(rb"<(\w+:)?calcPr\b", rb'\g<0> fullCalcOnLoad="1"', content)
            new.writestr(member, content, zipfile.ZIP_DEFLATED)
        for part, content in sheets.items():
            new.writestr(_member(part), content, zipfile.ZIP_DEFLATED)


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


def sheet_names(path: Path) -> list[str]:
    """Names of all sheets, those that hold only a chart included."""
    with zipfile.ZipFile(path) as archive:
        return list(_sheet_parts(archive))


def _sheet_parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name -> name of its XML part in the package."""
    folder = posixpath.dirname(_WORKBOOK_PART)
    relations = SafeElementTree.fromstring(archive.read(f"{folder}/_rels/workbook.xml.rels"))
    targets: dict[str | None, str] = {}
    for relation in relations:
        target = relation.get("Target", "")
        absolute = target.startswith("/")
        part = target[1:] if absolute else posixpath.normpath(posixpath.join(folder, target))
        if relation.get("TargetMode") != "External":
            targets[relation.get("Id")] = part
    parts: dict[str, str] = {}
    seen: set[str] = set()
    for element in SafeElementTree.fromstring(archive.read(_WORKBOOK_PART)).iter():
        if element.tag.endswith("}sheet"):
            relation_id = next((v for k, v in element.attrib.items() if k.endswith("}id")), None)
            name = element.get("name", "")
            if name.lower() in seen:
                raise WorkbookError(f"two sheets have the name {name!r}")
            seen.add(name.lower())
            parts[name] = targets.get(relation_id, "")
    return parts


class _SheetCheck:
    """Reads a sheet's XML once from end to end, keeping nothing; see `check_sheets`."""

    def __init__(self, sheet: str) -> None:
        self._sheet = sheet
        self._row = self._column = self._gaps = 0
        self._in_data = self._in_value = False
        self._type = "n"

    def parse(self, file: IO[bytes]) -> int:
        """How many rows the sheet leaves out before its last."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse_entity
        parser.ParseFile(file)
        return self._gaps

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise EntitiesForbidden(name, None, None, None, None, None)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "sheetData":
            self._in_data = True
        elif self._in_data and local == "row":
            self._start_row(attributes.get("r"))
        elif self._in_data and local == "c":
            self._start_cell(attributes)
        elif self._in_data and local == "v":
            self._in_value = True

    def _end(self, name: str) -> None:
        local = name.rpartition(":")[2]
        if local == "v":
            self._in_value = False
        elif local == "sheetData":
            self._in_data = False

    def _start_row(self, number: str | None) -> None:
        row = self._row + 1 if number is None else _whole(number)
        if not self._row < row <= _MAX_ROWS:
            raise WorkbookError(
                f"sheet {self._sheet!r}: row {_short(number)} after row {self._row}, rows must "
                f"stand in their order up to {_MAX_ROWS}"
            )
        self._gaps += row - self._row - 1
        self._row, self._column = row, 0

    def _start_cell(self, attributes: dict[str, str]) -> None:
        address = attributes.get("r")
        row, column = self._row, self._column + 1
        if address:
            match = _ADDRESS.fullmatch(address)
            row, column = (int(match[2]), column_number(match[1])) if match else (0, 0)
        if row != self._row or not self._column < column <= _MAX_COLUMNS:
            raise WorkbookError(
                f"sheet {self._sheet!r}, row {self._row}: cell {_short(address)} after column "
                f"{self._column}, cells must stand in their row and in their order"
            )
        self._column = column
        self._type = attributes.get("t", "n")

    def _text(self, text: str) -> None:
        if not self._in_value:
            return
        python_only = self._type == "n" and ("_" in text or not text.isascii())
        if python_only or (self._type == "s" and "-" in text):
            cell = cell_address(self._row, self._column)
            raise WorkbookError(f"{self._sheet}!{cell}: {_short(text)} is no number")


def _whole(text: str) -> int:
    """A row number; 0, which is none, for what is none."""
    try:
        return int(float(text)) if float(text).is_integer() else 0
    except (ValueError, OverflowError):
        return 0


def _short(text: str | None) -> str:
    """A text of the file as it can stand in a message."""
    return repr(text if text is None or len(text) <= 40 else f"{text[:40]}...")


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
    book = archive.read(_WORKBOOK_PART)
    taken = set(re.findall(rb'Id="([^"]*)"', relations))
    relation = next(name for n in count(1) if (name := b"rId%d" % n) not in taken)
    number = max(map(int, re.findall(rb'sheetId="(\d+)"', book)), default=0) + 1
    listed = SafeElementTree.fromstring(book).iterfind("{*}sheets/{*}sheet")
    id_names = [key for entry in listed for key in entry.attrib if key.endswith("}id")]
    if not id_names:
        raise WorkbookError(f"{_WORKBOOK_PART} lists no sheet in a way that is understood")
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
        _WORKBOOK_PART: (book, b"sheets", b"sheet " + attributes),
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
    if _STYLES_PART not in archive.namelist():
        return {}
    root = SafeElementTree.fromstring(archive.read(_STYLES_PART))
    formats = [xf.get("xfId") for xf in root.iterfind(f"{{{_MAIN}}}cellXfs/{{{_MAIN}}}xf")]
    return {
        style.get("name", ""): formats.index(style.get("xfId"))
        for style in root.iterfind(f"{{{_MAIN}}}cellStyles/{{{_MAIN}}}cellStyle")
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
