"""Ratings and titles from files, and the lesson's own ratings."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from shallow_cf._checks import check_choice, listed
from shallow_cf._columns import as_seconds
from shallow_cf._ids import index_ids
from shallow_cf.ratings import DUPLICATES, Ratings, from_columns

#: Column names that are understood without being told; case and punctuation do not matter.
_KNOWN_NAMES = {
    "user": ("userId", "user", "uid"),
    "item": ("movieId", "itemId", "movie", "item", "iid"),
    "rating": ("rating", "stars"),
    "timestamp": ("timestamp",),
    "id": ("movieId", "itemId", "movie", "item", "iid", "id"),
    "title": ("title", "movieTitle", "itemTitle", "movieName", "itemName", "name"),
}
#: Where MovieLens has the titles, beside its ratings.
_TITLE_FILES = ("movies.csv", "movies.dat", "u.item")
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_DECIMAL_COMMA = r"^([+-]?\d+),(\d+)$"


def load_crosstab() -> Ratings:
    """The lesson's 15 x 15 crosstab: 206 ratings, 19 blanks.

    The users and movies with the most ratings in MovieLens ml-latest-small (2016),
    under their MovieLens ids. Harper and Konstan (2015), "The MovieLens Datasets:
    History and Context", ACM TiiS 5(4); the conditions of use stand beside the file.

    Returns
    -------
    Ratings

    Examples
    --------
    >>> load_crosstab()
    Ratings(15 users x 15 items, 206 ratings)
    """
    file = resources.files("shallow_cf") / "data" / "crosstab_15x15.csv"
    table = pd.read_csv(io.StringIO(file.read_text(encoding="utf-8")), index_col=0)
    table.columns = table.columns.astype(np.int64)
    return Ratings.from_crosstab(table)


def read_ratings(
    path: str | os.PathLike[str],
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    duplicates: str = "error",
) -> Ratings:
    r"""Read ratings from a text file, a rating a line.

    Three forms are told apart by the first line: ``::`` between fields (MovieLens
    ratings.dat); a first line that begins with two numbers (MovieLens u.data: user, item,
    rating, timestamp, no header); a header with the names of the columns (ratings.csv), in
    any order, further columns ignored. Fields may be separated by comma, tab or semicolon;
    each form may be compressed with gzip. Ids such as 007 stay text, so that 007 and 7 are
    two users.

    Parameters
    ----------
    path : path
    user, item, rating : str, optional
        Names of the columns, where they are not the usual ones (userId, movieId,
        rating and their like).
    timestamp : str, optional
        Name of the column that says when: whole seconds since 1970, or dates as
        2016-12-31 or 2016-12-31 23:59:58. A column of the usual name (timestamp), or the
        fourth without header, is taken unasked if there is a time in every row.
    duplicates : {"error", "mean", "last"}
        What to do when a user rated an item more than once. The mean has the latest of
        their timestamps.

    Returns
    -------
    Ratings

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing (listing those found), a rating is not a finite number,
        an id is missing, a named timestamp is no time, a pair stands twice or a line has
        too many fields; errors name the line.

    Examples
    --------
    >>> import tempfile, shallow_cf as scf
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "ratings.csv")
    ...     _ = path.write_text("movieId,userId,rating\n10,007,5\n20,007,3.5\n10,7,4\n")
    ...     ratings = scf.read_ratings(path)
    >>> ratings.user_ids.tolist()
    ['007', '7']
    """
    check_choice("duplicates", duplicates, DUPLICATES)
    text = _read_text(path)
    columns = _find_columns(text, {"user": user, "item": item, "rating": rating})
    columns |= _find_timestamp(text, timestamp)
    frame = _parse(text)[list(columns.values())].set_axis(list(columns), axis="columns")
    frame = frame.dropna(how="all", subset=["user", "item", "rating"])
    if frame.empty:
        raise ValueError(f"{text.name} has a header but no ratings")
    _keep_leading_zeros(frame, {name: columns[name] for name in ("user", "item")}, text)
    if text.separator != "," and not pd.api.types.is_numeric_dtype(frame["rating"]):
        # Where a comma is no separator it is the decimal sign, as in Europe's Excel.
        frame["rating"] = frame["rating"].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)

    def place(k: int) -> str:
        return f"{text.name} line {_line_of(text, int(frame.index[k]))}: "

    when = frame.get("timestamp")
    if when is not None and timestamp is None and not _are_times(when):
        when = None
    triplets = frame["user"], frame["item"], frame["rating"]
    return from_columns(*triplets, when, duplicates=duplicates, place=place)


def read_titles(
    path: str | os.PathLike[str], *, item: str | None = None, title: str | None = None
) -> dict[int | str, str]:
    r"""Read what the items are called, an item a line.

    The forms are told apart by the first line: ``|`` between fields (MovieLens u.item: id,
    title, ..., no header); ``::`` (movies.dat, likewise); a header with the names of the
    columns (movies.csv), in any order, further columns ignored. A first line that begins
    with a number is no header.

    Parameters
    ----------
    path : path
    item, title : str, optional
        Names of the columns, where they are not the usual ones (movieId, title and their
        like).

    Returns
    -------
    dict of int or str to str
        Id -> title, in the file's order; the ids as `read_ratings` has them. Items without
        a title are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing (listing those found), an id is missing or has two titles,
        or a line has too many fields; errors name the line.

    Examples
    --------
    >>> import tempfile, shallow_cf as scf
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "movies.csv")
    ...     _ = path.write_text("movieId,title\n1,Toy Story (1995)\n110,Braveheart (1995)\n")
    ...     scf.read_titles(path)
    {1: 'Toy Story (1995)', 110: 'Braveheart (1995)'}
    """
    text = _read_text(path, "titles")
    columns = _find_columns(text, {"id": item, "title": title})
    table = _parse(text, dtype={columns["title"]: str})
    frame = table[list(columns.values())].set_axis(list(columns), axis="columns")
    frame = frame.dropna(how="all")
    if frame.empty:
        raise ValueError(f"{text.name} has a header but no titles")
    _keep_leading_zeros(frame, {"id": columns["id"]}, text)

    def place(k: int) -> str:
        return f"{text.name} line {_line_of(text, int(frame.index[k]))}: "

    ids, index = index_ids(frame["id"], "item id", place)
    known: list[int | str] = ids.tolist()
    titles: dict[int | str, str] = {}
    for k, (i, shown) in enumerate(
        zip(index.tolist(), frame["title"].fillna("").str.strip().tolist(), strict=True)
    ):
        if shown and titles.setdefault(known[i], shown) != shown:
            raise ValueError(
                f"{place(k)}item {listed([known[i]])} has two titles, "
                f"{listed([titles[known[i]]])!r} and {listed([shown])!r}"
            )
    return titles


def find_titles(ratings_path: str | os.PathLike[str]) -> Path | None:
    """The file of titles beside a file of ratings, or None.

    That is MovieLens' movies.csv, movies.dat or u.item in the same folder, the first there is.

    Examples
    --------
    >>> import tempfile, shallow_cf as scf
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "movies.csv").touch()
    ...     scf.find_titles(Path(folder, "ratings.csv")).name
    'movies.csv'
    """
    ratings = Path(ratings_path)
    beside = [ratings.with_name(name) for name in _TITLE_FILES if name != ratings.name]
    return next((path for path in beside if path.is_file()), None)


@dataclass(frozen=True)
class _Text:
    """A text file in memory, and what its first line tells about it."""

    name: str
    content: bytes
    encoding: str
    separator: str
    fields: list[str]  # of the first line that is not blank
    line: int  # where that line stands in the file
    holds: str = "ratings"  # or titles
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL

    @property
    def has_header(self) -> bool:
        """Whether the first line names the columns: not when it begins with numbers.

        Ratings begin with two, titles with one.
        """
        n_ids = 2 if self.holds == "ratings" else 1
        return not all(_is_number(field) for field in self.fields[:n_ids])


def _read_text(path: str | os.PathLike[str], holds: str = "ratings") -> _Text:
    """Read a file, whatever its compression, encoding, line ends and separator."""
    name = Path(path).name
    content = _uncompressed(Path(path), holds)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", errors="replace").encode()  # Excel's "Unicode text"
    if b"\0" in content:
        raise ValueError(
            f"{name} is not a text file of {holds} (it holds binary data): save it as CSV"
        )
    content = content.removeprefix(codecs.BOM_UTF8)
    encoding = _encoding(content)
    lines = enumerate(_lines(content, encoding), 1)
    line, first = next(((n, text) for n, text in lines if text.strip()), (0, ""))
    if not first:
        raise ValueError(f"{name} is empty")
    separator = max("\t;,", key=first.count)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    if holds == "titles" and re.match(r"[^\t;,:|]+\|", first):
        separator, quoting = "|", csv.QUOTE_NONE
    elif "::" in first:
        # pandas reads "::" only with its slow engine; a tab cannot stand in this form.
        content, first = content.replace(b"::", b"\t"), first.replace("::", "\t")
        separator = "\t"
        # Quotation marks are part of a title here: "Great Performances" Cats.
        quoting = csv.QUOTE_NONE if holds == "titles" else quoting
    # Cut where csv would raise its own error: only a file that is no table has such a field.
    first = first[: csv.field_size_limit()]
    form: dict[str, Any] = {"delimiter": separator, "quoting": quoting}
    fields = [field.strip() for field in next(csv.reader([first], skipinitialspace=True, **form))]
    return _Text(name, content, encoding, separator, fields, line, holds, quoting)


def _uncompressed(path: Path, holds: str) -> bytes:
    """The bytes of a file, out of gzip where it is in it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file of {holds}")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    data = path.read_bytes()
    if data.startswith(_ZIP_MAGIC):
        raise ValueError(
            f"{path.name} is an Excel workbook or a zip archive, not a text file of {holds}: "
            "save the sheet as CSV, or unpack the archive"
        )
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name}: damaged gzip file ({error})") from error


def _encoding(content: bytes) -> str:
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


def _find_columns(text: _Text, told: dict[str, str | None]) -> dict[str, int]:
    """Where the columns stand: by the names told, by their usual names, or in front."""
    if text.has_header:
        return {role: _find_column(text, role, name) for role, name in told.items()}
    if any(name is not None for name in told.values()):
        raise ValueError(f"{text.name} has no header line, so columns cannot be named")
    if len(text.fields) < len(told):
        *others, last = told
        raise ValueError(
            f"{text.name} line {text.line}: {', '.join(others)} and {last} expected, "
            f"got only {listed(text.fields)}"
        )
    return {role: column for column, role in enumerate(told)}


def _find_column(text: _Text, role: str, told: str | None) -> int:
    names = text.fields if told is not None else [_plain(field) for field in text.fields]
    wanted = (told,) if told is not None else [_plain(name) for name in _KNOWN_NAMES[role]]
    for name in wanted:
        if name in names:
            return names.index(name)
    column = repr(told) if told is not None else f"for the {role} (such as {_KNOWN_NAMES[role][0]})"
    raise ValueError(
        f"{text.name} line {text.line}: column {column} is missing; found: {listed(text.fields)}"
    )


def _find_timestamp(text: _Text, told: str | None) -> dict[str, int]:
    """Where the column of times stands, if there is one: named, or as MovieLens has it."""
    if told is not None:
        return _find_columns(text, {"timestamp": told})
    if not text.has_header:
        return {"timestamp": 3} if len(text.fields) > 3 else {}
    usual = [_plain(field) in _KNOWN_NAMES["timestamp"] for field in text.fields]
    return {"timestamp": usual.index(True)} if any(usual) else {}


def _are_times(column: pd.Series[Any]) -> bool:
    try:
        as_seconds(column, str)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    """A column's name without case and punctuation: user_id, userId and User ID are one."""
    return "".join(c for c in name.lower() if c.isalnum())


def _parse(text: _Text, **options: Any) -> pd.DataFrame:
    """The table in a text, its columns numbered from 0; a row's label is its number."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame: pd.DataFrame = pd.read_csv(
                io.BytesIO(text.content),
                encoding=text.encoding,
                sep=text.separator,
                header=0 if text.has_header else None,
                names=range(len(text.fields)),
                index_col=False,
                skipinitialspace=True,
                quoting=text.quoting,
                # Only an empty field is blank: "n/a" is shown as it stands, and a user may be "NA".
                keep_default_na=False,
                na_values=[""],
                low_memory=False,
                **options,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(_parser_message(text, str(error))) from error
    return frame


def _parser_message(text: _Text, said: str) -> str:
    """What pandas says about a file it cannot read, with the line and in the file's own terms."""
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        return f"{text.name} line {match[2]}: expected {match[1]} fields, got {match[3]}"
    if match := re.search(r"EOF inside string starting at row (\d+)", said):
        line = int(match[1]) + 1
        return f"{text.name} line {line}: a quotation mark opens here and is never closed"
    if "Length of header" in said:
        return (
            f"{text.name} line {_line_of(text, 0)}: more fields than the {len(text.fields)} named"
        )
    return f"{text.name} cannot be read as a table: {said.strip()}"


def _keep_leading_zeros(frame: pd.DataFrame, ids: dict[str, int], text: _Text) -> None:
    """Where ids begin with a zero, such as 007, put them back as they were written."""
    # One quick search a neighbour; most files end here and are read only once.
    before = (b"\n", b"\r", b" ", b'"', text.separator.encode())
    if any(re.match(r"-?0\d", field) for field in text.fields) or any(
        re.search(byte + rb"-?0\d", text.content) for byte in before
    ):
        written = _parse(text, usecols=list(ids.values()), dtype=str)
        for name, column in ids.items():
            if written[column].str.match(r"-?0\d").any():
                frame[name] = written[column]


def _line_of(text: _Text, row: int) -> int:
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
