"""Ratings from files, and the lesson's own."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shallow_cf.ratings import Ratings, from_columns

#: Column names that are understood without being told, in lower case without punctuation.
_KNOWN_NAMES = {
    "user": ("userid", "user", "uid"),
    "item": ("movieid", "itemid", "movie", "item", "iid"),
    "rating": ("rating", "stars"),
}
_GZIP_MAGIC = b"\x1f\x8b"


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
    duplicates: str = "error",
) -> Ratings:
    """Read ratings from a text file, a rating a line.

    Three forms are told apart by the first line: ``::`` between fields (MovieLens
    ratings.dat); a first line of numbers (MovieLens u.data: user, item, rating,
    timestamp, no header); a header with the names of the columns (ratings.csv), in any
    order, further columns ignored. Fields may be separated by comma, tab or semicolon;
    each form may be compressed with gzip.

    Parameters
    ----------
    path : path
    user, item, rating : str, optional
        Names of the columns, where they are not the usual ones (userId, movieId,
        rating and their like).
    duplicates : {"error", "mean", "last"}
        What to do when a user rated an item more than once.

    Returns
    -------
    Ratings

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing (listing those found), a rating is not a finite number,
        an id is missing or a pair stands twice; errors name the line.
    """
    name = Path(path).name
    content, encoding = _content(path)
    first_line = content.lstrip(b"\r\n").partition(b"\n")[0].decode(encoding).strip("\r")
    if not first_line.strip():
        raise ValueError(f"{name} is empty")
    if "::" in first_line:
        # pandas reads "::" only with its slow engine; a tab cannot stand in this form.
        content, first_line = content.replace(b"::", b"\t"), first_line.replace("::", "\t")
    separator = max("\t;,", key=first_line.count)
    has_header = not all(_is_number(field) for field in first_line.split(separator)[:3])
    try:
        frame = pd.read_csv(
            io.BytesIO(content),
            encoding=encoding,
            sep=separator,
            header=0 if has_header else None,
            # Blank lines stay in, so that a row's position tells its line in the file.
            skip_blank_lines=False,
            low_memory=False,
            index_col=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{name}: {str(error).strip()}") from error
    if has_header:
        columns = _find_columns(frame, {"user": user, "item": item, "rating": rating}, name)
    elif user or item or rating:
        raise ValueError(f"{name} has no header line, so columns cannot be named")
    elif frame.shape[1] < 3:
        raise ValueError(f"{name} line 1: user, item and rating expected, got {first_line!r}")
    else:
        columns = frame.iloc[:, :3]
    columns = columns.dropna(how="all")
    if columns.empty:
        raise ValueError(f"{name} has a header but no ratings")
    lines = columns.index.to_numpy() + (2 if has_header else 1)
    return from_columns(
        columns.iloc[:, 0],
        columns.iloc[:, 1],
        columns.iloc[:, 2],
        duplicates,
        lambda k: f"{name} line {lines[k]}: ",
    )


def _content(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """The uncompressed bytes of a text file and their encoding."""
    data = Path(path).read_bytes()
    name = Path(path).name
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{name}: damaged gzip file ({error})") from error
    if b"\0" in data[:4096]:
        raise ValueError(f"{name} is not a text file of ratings (it holds binary data)")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data, "latin-1"  # what MovieLens' older files use; every byte has a letter in it
    return data, "utf-8-sig"


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _find_columns(frame: pd.DataFrame, told: dict[str, str | None], name: str) -> pd.DataFrame:
    """The columns user, item, rating, by the names told or by their usual names."""
    plain: dict[str, Any] = {}
    for column in frame.columns:
        plain.setdefault("".join(c for c in str(column).lower() if c.isalnum()), column)
    chosen = []
    for role, known in _KNOWN_NAMES.items():
        wanted = told[role]
        if wanted is not None:
            column = wanted if wanted in frame.columns else None
        else:
            column = next((plain[k] for k in known if k in plain), None)
        if column is None:
            expected = repr(wanted) if wanted else f"for the {role} (such as {known[0]!r})"
            found = ", ".join(str(c) for c in frame.columns)
            raise ValueError(f"{name}: column {expected} is missing; found: {found}")
        chosen.append(column)
    return frame[chosen]
