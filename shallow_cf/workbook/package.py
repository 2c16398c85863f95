"""The .xlsx file as a package: is it one, and may it be read?

openpyxl trusts what it reads: it counts up to any row number, drops cells that are out of
order without a word, and turns lists of any length into objects. What it must not meet is
refused here.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from pathlib import Path
from typing import IO
from xml.parsers import expat

from defusedxml import DefusedXmlException, EntitiesForbidden
from defusedxml import ElementTree as SafeElementTree

from shallow_cf.workbook.layout import MAX_COLUMNS, MAX_ROWS, cell_address, column_number

_OLE_MAGIC = b"\xd0\xcf\x11\xe0"
WORKBOOK_PART = "xl/workbook.xml"
STYLES_PART = "xl/styles.xml"
_STRINGS_PART = "xl/sharedStrings.xml"
#: The namespace of sheets, styles and the list of sheets.
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

#: More than this, uncompressed, is no workbook of ours but a mistake or a zip bomb.
_MAX_BYTES = 400 * 2**20
_MAX_RATIO = 150
_SMALL = 2 * 2**20
_MAX_PARTS = 10_000
#: Parts that openpyxl turns into objects before a sheet is asked for, which takes seconds
#: for a few MB: what real workbooks have there is a tenth of this or less.
_MAX_SIZES = {
    WORKBOOK_PART: 3 * 2**19,
    "xl/_rels/workbook.xml.rels": 2**20,
    "[Content_Types].xml": 2**20,
    STYLES_PART: 3 * 2**19,
    _STRINGS_PART: 64 * 2**20,
}
#: Tags in the table of texts, four a text: what counts there is their number, not their length.
_MAX_TAGS = 400_000
#: Rows left out, all sheets together; each is counted by itself.
_MAX_GAPS = 4 * MAX_ROWS
_ADDRESS = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6})", re.ASCII)


class WorkbookError(ValueError):
    """A workbook is damaged, or does not hold what is expected; names file, sheet or cell.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     n_characters = file.write_text("user;item;rating")
    ...     try:
    ...         scf.read_workbook(file)
    ...     except scf.WorkbookError as error:
    ...         print(error)
    book.xlsx is not an .xlsx workbook
    """


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
    if WORKBOOK_PART not in names:
        raise WorkbookError(f"{path.name} is not an .xlsx workbook (it has no {WORKBOOK_PART})")
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
        If two sheets have one name or one content, or one has no content, or there are more
        texts than can be read in seconds.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        owners: dict[str, str] = {}
        for sheet, part in sheet_parts(archive).items():
            if part not in names:
                # openpyxl leaves it out and gives its Solver model to the sheet after it.
                raise WorkbookError(f"the content of sheet {sheet!r} is not in the file")
            if part in owners:
                raise WorkbookError(f"sheets {owners[part]!r} and {sheet!r} have one content")
            owners[part] = sheet
        if _STRINGS_PART in names and _tags(archive, _STRINGS_PART) > _MAX_TAGS:
            raise WorkbookError(f"it has more than {_MAX_TAGS // 4:,} texts: refused as hostile")


def _tags(archive: zipfile.ZipFile, part: str) -> int:
    """How many tags a part has, without reading it as XML."""
    with archive.open(part) as file:
        return sum(chunk.count(b"<") for chunk in iter(lambda: file.read(2**20), b""))


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
    with zipfile.ZipFile(path) as archive, archive.open(sheet_parts(archive)[sheet]) as file:
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


def sheet_names(path: Path) -> list[str]:
    """Names of all sheets, those that hold only a chart included."""
    with zipfile.ZipFile(path) as archive:
        return list(sheet_parts(archive))


def sheet_parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name -> name of its XML part in the package."""
    folder = posixpath.dirname(WORKBOOK_PART)
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
    for element in SafeElementTree.fromstring(archive.read(WORKBOOK_PART)).iter():
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
        if not self._row < row <= MAX_ROWS:
            raise WorkbookError(
                f"sheet {self._sheet!r}: row {_short(number)} after row {self._row}, rows must "
                f"stand in their order up to {MAX_ROWS}"
            )
        self._gaps += row - self._row - 1
        self._row, self._column = row, 0

    def _start_cell(self, attributes: dict[str, str]) -> None:
        address = attributes.get("r")
        row, column = self._row, self._column + 1
        if address:
            match = _ADDRESS.fullmatch(address)
            row, column = (int(match[2]), column_number(match[1])) if match else (0, 0)
        if row != self._row or not self._column < column <= MAX_COLUMNS:
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
