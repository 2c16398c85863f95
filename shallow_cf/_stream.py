"""Files of ratings read block by block, so that memory holds the ratings and not the text.

Only a plain file is read so: each line is a rating with all its fields, none of them quoted;
each column of ids has whole numbers without leading zeros, or texts; every rating is a finite
number, and every time, where there are times, a whole one. Of such a file any piece can be
understood without the rest, and a row's line follows from its number. All others are left to
a reader that sees the whole file, which understands more and says what is wrong where.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf._columns import in_float32
from shallow_cf._text import GZIP_MAGIC, Text, as_text, encoding_of, has_leading_zeros, parse

#: Called with the bytes of the file read so far and with all there are.
Progress = Callable[[int, int], object]
#: From what the first line tells to where the columns stand.
FindColumns = Callable[[Text], dict[str, int]]

#: Bytes of text at a time.
BLOCK = 1 << 24


class NotPlain(Exception):
    """The file has something that takes the whole of it to understand."""


@dataclass(frozen=True)
class Plain:
    """The columns of a plain file."""

    user: pd.Series[Any]
    item: pd.Series[Any]
    rating: npt.NDArray[Any]
    timestamp: npt.NDArray[np.int64] | None
    first_line: int  # where in the file the first rating stands


def read_plain(path: Path, find_columns: FindColumns, progress: Progress | None = None) -> Plain:
    """Read a plain file of ratings.

    Raises
    ------
    NotPlain
        If it is none; `progress` may have been called by then.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        columns: _Columns | None = None
        for block in _blocks(gzip.GzipFile(fileobj=file) if is_packed else file):
            if columns is None:
                text, first_line = _begun(path.name, block)
                columns = _Columns(_found(find_columns, text), first_line)
            else:
                text = text.part(block)
            if text.content:  # more than a header
                columns.add(text)
            if progress is not None:
                progress(file.tell(), size)
    if columns is None or columns.is_empty:
        raise NotPlain("no ratings")
    return columns.joined()


def _blocks(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The text in blocks of whole lines."""
    rest = b""
    while new := _read(file):
        block = rest + new
        end = block.rfind(b"\n") + 1
        if end:
            yield block[:end]
        elif len(block) >= BLOCK:
            raise NotPlain("a line as long as a block, or other line ends")
        rest = block[end:]
    if rest:
        yield rest


def _read(file: IO[bytes] | gzip.GzipFile) -> bytes:
    try:
        return file.read(BLOCK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise NotPlain("damaged") from error


def _begun(name: str, block: bytes) -> tuple[Text, int]:
    """The lines of ratings in the first block, and the number of the first of them."""
    if b"\0" in block:
        raise NotPlain("binary")
    try:
        text = as_text(name, block)
    except ValueError as error:
        raise NotPlain("blank") from error
    if text.line != 1:
        raise NotPlain("blank lines above the first")
    if not text.has_header:
        return text, 1
    header, _, lines = text.content.partition(b"\n")
    if header.count(b'"') % 2:
        raise NotPlain("a header of several lines")
    return replace(text, content=lines), 2


def _found(find_columns: FindColumns, text: Text) -> dict[str, int]:
    try:
        return find_columns(text)
    except ValueError as error:
        raise NotPlain("another column expected") from error


class _Columns:
    """The columns of a file, growing block by block."""

    def __init__(self, where: dict[str, int], first_line: int) -> None:
        self._where = where
        self._first_line = first_line
        self._ids: list[_Numbers | _Texts] = []
        self._ratings: list[npt.NDArray[Any]] = []
        self._timestamps: list[npt.NDArray[np.int64]] = []

    @property
    def is_empty(self) -> bool:
        """Whether there was no line yet."""
        return not self._ratings

    def add(self, text: Text) -> None:
        """Take in the next lines."""
        frame = _parsed(text, self._where)
        ids = [frame[self._where[name]] for name in ("user", "item")]
        if not self._ids:
            self._ids = [_Numbers() if _is_whole(column) else _Texts() for column in ids]
        for known, column in zip(self._ids, ids, strict=True):
            known.add(column)
        if any(map(_is_whole, ids)) and has_leading_zeros(text):
            raise NotPlain("007 is not 7")
        self._ratings.append(_stars(frame[self._where["rating"]]))
        if "timestamp" in self._where:
            self._timestamps.append(_whole(frame[self._where["timestamp"]]))

    def joined(self) -> Plain:
        """All lines in one; the pieces are given up on the way."""
        user, item = (ids.joined() for ids in self._ids)
        timestamp = _joined(self._timestamps) if self._timestamps else None
        return Plain(user, item, _joined(self._ratings), timestamp, self._first_line)


class _Numbers:
    """A column of whole numbers."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[Any]] = []

    def add(self, column: pd.Series[Any]) -> None:
        numbers = _whole(column)
        short = numbers.astype(np.int32)
        self._parts.append(short if np.array_equal(short, numbers) else numbers)

    def joined(self) -> pd.Series[Any]:
        return pd.Series(_joined(self._parts), copy=False)


class _Texts:
    """A column of texts, each kept once."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}
        self._parts: list[npt.NDArray[np.int32]] = []

    def add(self, column: pd.Series[Any]) -> None:
        if not pd.api.types.is_string_dtype(column):  # which a blank would make it as well
            raise NotPlain("ids of another kind, or missing")
        code, texts = pd.factorize(column)
        known = [self._code.setdefault(text, len(self._code)) for text in texts]
        self._parts.append(np.array(known, np.int32)[code])

    def joined(self) -> pd.Series[Any]:
        texts = pd.Index(list(self._code), dtype=object)
        return pd.Series(pd.Categorical.from_codes(_joined(self._parts), texts), copy=False)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Parts of a column in one; the list is emptied."""
    column = np.concatenate(parts)
    parts.clear()
    return column


def _parsed(text: Text, where: dict[str, int]) -> pd.DataFrame:
    """The columns wanted, by their place in the file, a row for each line."""
    content = text.content
    n_lines = content.count(b"\n") + (not content.endswith(b"\n"))
    n_separators = n_lines * (len(text.fields) - 1)
    if (
        b'"' in content
        or b"\0" in content
        or content.count(b"\r") != content.count(b"\r\n")
        or content.count(text.separator.encode()) != n_separators
        or encoding_of(content) != "utf-8"
    ):
        raise NotPlain("quotes, other line ends, fields missing or too many, an old encoding")
    try:
        frame = parse(text, header=None, usecols=list(where.values()))
    except ValueError as error:
        raise NotPlain("no table") from error
    if len(frame) != n_lines:
        raise NotPlain("blank lines")
    return frame


def _is_whole(column: pd.Series[Any]) -> bool:
    return column.dtype == np.int64


def _whole(column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    if not _is_whole(column):
        raise NotPlain("no whole numbers")
    return column.to_numpy()


def _stars(column: pd.Series[Any]) -> npt.NDArray[Any]:
    if not (_is_whole(column) or column.dtype == np.float64):
        raise NotPlain("no numbers")
    stars = column.to_numpy(np.float64)
    if not np.isfinite(stars).all():
        raise NotPlain("no finite numbers")
    return in_float32(stars)
