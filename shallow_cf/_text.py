"""Text files of ratings or titles: what their first line tells, and the table in them."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from shallow_cf._checks import listed

#: Column names that are understood without being told; case and punctuation do not matter.
_KNOWN_NAMES = {
    "user": ("userId", "user", "uid"),
    "item": ("movieId", "itemId", "movie", "item", "iid"),
    "rating": ("rating", "stars"),
    "timestamp": ("timestamp",),
    "id": ("movieId", "itemId", "movie", "item", "iid", "id"),
    "title": ("title", "movieTitle", "itemTitle", "movieName", "itemName", "name"),
}
#: What is looked for, where the argument that names its column is called otherwise.
_ARGUMENTS = {"id": "item"}
GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Text:
    """A text file in memory, and what its first line tells about it."""

    name: str
    content: bytes
    encoding: str
    separator: str
    fields: list[str]  # of the first line that is not blank
    line: int  # where that line stands in the file
    holds: str = "ratings"  # or titles
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    is_double_colon: bool = False  # in the file; in `content` a tab stands for it

    def part(self, content: bytes) -> Text:
        """Another part of the same file."""
        content = content.replace(b"::", b"\t") if self.is_double_colon else content
        return replace(self, content=content)

    @property
    def has_header(self) -> bool:
        """Whether the first line names the columns: not when it begins with numbers.

        Ratings begin with two, titles with one.
        """
        n_ids = 2 if self.holds == "ratings" else 1
        return not all(_is_number(field) for field in self.fields[:n_ids])


def read_text(path: str | os.PathLike[str], holds: str = "ratings") -> Text:
    """Read a file, whatever its compression, encoding, line ends and separator."""
    return as_text(Path(path).name, _uncompressed(Path(path), holds), holds)


def as_text(name: str, content: bytes, holds: str = "ratings") -> Text:
    """A text and what its first line tells about it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", errors="replace").encode()  # Excel's "Unicode text"
    if b"\0" in content:
        raise ValueError(
            f"{name} is not a text file of {holds} (it holds binary data): save it as CSV"
        )
    content = content.removeprefix(codecs.BOM_UTF8)
    encoding = encoding_of(content)
    lines = enumerate(_lines(content, encoding), 1)
    line, first = next(((n, text) for n, text in lines if text.strip()), (0, ""))
    if not first:
        raise ValueError(f"{name} is empty")
    separator, is_double_colon = max("\t;,", key=first.count), False
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    if holds == "titles" and re.match(r"[^\t;,:|]+\|", first):
        separator, quoting = "|", csv.QUOTE_NONE
    elif "::" in first:
        # pandas reads "::" only with its slow engine; a tab cannot stand in this form.
        content, first = content.replace(b"::", b"\t"), first.replace("::", "\t")
        separator, is_double_colon = "\t", True
        # Quotation marks are part of a title here: "Great Performances" Cats.
        quoting = csv.QUOTE_NONE if holds == "titles" else quoting
    # Cut where csv would raise its own error: only a file that is no table has such a field.
    first = first[: csv.field_size_limit()]
    form: dict[str, Any] = {"delimiter": separator, "quoting": quoting}
    fields = [field.strip() for field in next(csv.reader([first], skipinitialspace=True, **form))]
    return Text(name, content, encoding, separator, fields, line, holds, quoting, is_double_colon)


def check_file(path: Path, holds: str = "ratings") -> None:
    """Refuse what is no file, before it is opened."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file of {holds}")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")


def _uncompressed(path: Path, holds: str) -> bytes:
    """The bytes of a file, out of gzip where it is in it."""
    check_file(path, holds)
    data = path.read_bytes()
    if data.startswith(_ZIP_MAGIC):
        raise ValueError(
            f"{path.name} is an Excel workbook or a zip archive, not a text file of {holds}: "
            "save the sheet as CSV, or unpack the archive"
        )
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name}: damaged gzip file ({error})") from error


def encoding_of(content: bytes) -> str:
    """What the bytes of a text seem to be encoded in."""
    if content.isascii():
        return "utf-8"
    # cp1252 is what Excel's plain CSV has in western Europe, and nearly all of MovieLens'
    # older latin-1 files; latin-1 has a character for every byte.
    for encoding in ("utf-8", "cp1252"):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _lines(content: bytes, encoding: str) -> io.TextIOWrapper:
    """The lines of a text, whatever line ends it has."""
    return io.TextIOWrapper(io.BytesIO(content), encoding)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def find_columns(text: Text, told: dict[str, str | None]) -> dict[str, int]:
    """Where the columns stand: by the names told, by their usual names, or in front."""
    if text.has_header:
        found = {role: _find_column(text, role, name) for role, name in told.items()}
        missing = [role for role, column in found.items() if column is None]
        if missing:
            raise ValueError(_missing(text, told, missing))
        return {role: column for role, column in found.items() if column is not None}
    if any(name is not None for name in told.values()):
        raise ValueError(f"{text.name} has no header line, so columns cannot be named")
    if len(text.fields) < len(told):
        *others, last = told
        raise ValueError(
            f"{text.name} line {text.line}: {', '.join(others)} and {last} expected, "
            f"got only {listed(text.fields)}"
        )
    return {role: column for column, role in enumerate(told)}


def _find_column(text: Text, role: str, told: str | None) -> int | None:
    names = text.fields if told is not None else [_plain(field) for field in text.fields]
    wanted = (told,) if told is not None else [_plain(name) for name in _KNOWN_NAMES[role]]
    for name in wanted:
        if name in names:
            return names.index(name)
    return None


def _missing(text: Text, told: dict[str, str | None], roles: list[str]) -> str:
    """What to say of columns that are not found: of the first, and how to name them all."""
    name = told[roles[0]]
    usual = f"for the {roles[0]} (such as {_KNOWN_NAMES[roles[0]][0]})"
    said = (
        f"{text.name} line {text.line}: column {usual if name is None else repr(name)} is missing; "
        f"found: {listed(text.fields)}"
    )
    arguments = [f"{_ARGUMENTS.get(role, role)}='...'" for role in roles if told[role] is None]
    if not arguments or len(text.fields) < len(told):
        return said
    what = "it" if len(arguments) == 1 else "them"
    return f"{said}; name {what}, as in read_{text.holds}(path, {', '.join(arguments)})"


def find_timestamp(text: Text, told: str | None) -> dict[str, int]:
    """Where the column of times stands, if there is one: named, or as MovieLens has it."""
    if told is not None:
        return find_columns(text, {"timestamp": told})
    if not text.has_header:
        return {"timestamp": 3} if len(text.fields) > 3 else {}
    usual = [_plain(field) in _KNOWN_NAMES["timestamp"] for field in text.fields]
    return {"timestamp": usual.index(True)} if any(usual) else {}


def _plain(name: str) -> str:
    """A column's name without case and punctuation: user_id, userId and User ID are one."""
    return "".join(c for c in name.lower() if c.isalnum())


def parse(text: Text, **options: Any) -> pd.DataFrame:
    """The table in a text, its columns numbered from 0; a row's label is its number."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame: pd.DataFrame = pd.read_csv(
                io.BytesIO(text.content),
                encoding=text.encoding,
                sep=text.separator,
                names=range(len(text.fields)),
                index_col=False,
                skipinitialspace=True,
                quoting=text.quoting,
                # Only an empty field is blank: "n/a" is shown as it stands, and a user may be "NA".
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
                **{"header": 0 if text.has_header else None, **options},
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(_parser_message(text, str(error))) from error
    return frame


def _parser_message(text: Text, said: str) -> str:
    """What pandas says about a file it cannot read, with the line and in the file's own terms."""
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        return f"{text.name} line {match[2]}: expected {match[1]} fields, got {match[3]}"
    if match := re.search(r"EOF inside string starting at row (\d+)", said):
        line = int(match[1]) + 1
        return f"{text.name} line {line}: a quotation mark opens here and is never closed"
    if "Length of header" in said:
        return f"{text.name} line {line_of(text, 0)}: more fields than the {len(text.fields)} named"
    return f"{text.name} cannot be read as a table: {said.strip()}"


def keep_leading_zeros(frame: pd.DataFrame, ids: dict[str, int], text: Text) -> None:
    """Where ids begin with a zero, such as 007, put them back as they were written."""
    if has_leading_zeros(text):  # most files end here and are read only once
        written = parse(text, usecols=list(ids.values()), dtype=str)
        for name, column in ids.items():
            if written[column].str.match(r"-?0\d").any():
                frame[name] = written[column]


def has_leading_zeros(text: Text) -> bool:
    """Whether any number, an id or not, begins with a zero and another digit."""
    # One quick search a neighbour.
    before = (b"\n", b"\r", b" ", b'"', text.separator.encode())
    return bool(re.match(rb"-?0\d", text.content)) or any(
        re.search(byte + rb"-?0\d", text.content) for byte in before
    )


def line_of(text: Text, row: int) -> int:
    """The line of the file on which a row begins; blank lines and quoted line ends count too."""
    form: dict[str, Any] = {"delimiter": text.separator, "quoting": text.quoting}
    reader = csv.reader(_lines(text.content, text.encoding), **form)
    begin, records = 1, row + text.has_header
    try:
        for fields in reader:
            if len(fields) > 1 or "".join(fields).strip():
                if records == 0:
                    break
                records -= 1
            begin = reader.line_num + 1
    except csv.Error:
        pass  # a field without end: the record is the one that begins here
    return begin
