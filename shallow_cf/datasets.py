"""Ratings and titles from files, and the lesson's own ratings."""

from __future__ import annotations

import io
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shallow_cf._checks import check_choice, listed
from shallow_cf._columns import as_seconds, as_stars, in_float32
from shallow_cf._ids import index_ids
from shallow_cf._stream import FindColumns, NotPlain, Progress, read_plain
from shallow_cf._text import (
    Text,
    check_file,
    find_columns,
    find_timestamp,
    keep_leading_zeros,
    line_of,
    parse,
    read_text,
)
from shallow_cf.ratings import DUPLICATES, Ratings, from_columns

#: Where MovieLens has the titles, beside its ratings.
_TITLE_FILES = ("movies.csv", "movies.dat", "u.item")
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
    table = _embedded("crosstab_15x15.csv")
    table.columns = table.columns.astype(np.int64)
    return Ratings.from_crosstab(table)


def load_crosstab_titles() -> dict[int, str]:
    """What the 15 movies of the lesson's crosstab are called.

    The films' names as people say them, written down for this project: not the titles of
    MovieLens, which are longer and have the year ("Star Wars: Episode IV - A New Hope (1977)").
    For those see `read_titles`.

    Returns
    -------
    dict of int to str
        MovieLens id -> title, in the order of the crosstab's columns.

    Examples
    --------
    >>> titles = load_crosstab_titles()
    >>> [titles[movie] for movie in (260, 296, 1196)]
    ['Star Wars', 'Pulp Fiction', 'The Empire Strikes Back']
    """
    table = _embedded("crosstab_titles.csv")
    return dict(zip(table.index.tolist(), table["title"].tolist(), strict=True))


def _embedded(name: str) -> pd.DataFrame:
    """A table that the package brings along, its first column as index."""
    file = resources.files("shallow_cf") / "data" / name
    return pd.read_csv(io.StringIO(file.read_text(encoding="utf-8")), index_col=0)


def read_ratings(
    path: str | os.PathLike[str],
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    duplicates: str = "error",
    progress: Progress | None = None,
) -> Ratings:
    r"""Read ratings from a text file, a rating a line.

    Three forms are told apart by the first line: ``::`` between fields (MovieLens
    ratings.dat); a first line that begins with two numbers (MovieLens u.data: user, item,
    rating, timestamp, no header); a header with the names of the columns (ratings.csv), in
    any order, further columns ignored. Fields may be separated by comma, tab or semicolon;
    each form may be compressed with gzip. Ids such as 007 stay text, so that 007 and 7 are
    two users.

    A file in which every line is a rating, without blanks, quotes and dates, is read block by
    block, so that memory holds the ratings and not the text; any other is read in one piece.

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
    progress : callable, optional
        Called as ``progress(done, size)`` while the file is read, with the bytes read so far
        and the size of the file (as it is on the disk, where it is compressed).

    Returns
    -------
    Ratings
        The stars as float32 if that holds each of them exactly, as it does half stars, else
        as float64.

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
    path = Path(path)
    check_file(path)

    def columns_of(text: Text) -> dict[str, int]:
        told = {"user": user, "item": item, "rating": rating}
        return find_columns(text, told) | find_timestamp(text, timestamp)

    try:
        plain = read_plain(path, columns_of, progress)
    except NotPlain:
        ratings = _read_whole(path, columns_of, timestamp is not None, duplicates)
        if progress is not None:
            size = path.stat().st_size
            progress(size, size)
        return ratings

    def place(k: int) -> str:
        return f"{path.name} line {plain.first_line + k}: "

    stars = pd.Series(plain.rating, copy=False)
    when = None if plain.timestamp is None else pd.Series(plain.timestamp, copy=False)
    return from_columns(plain.user, plain.item, stars, when, duplicates=duplicates, place=place)


def _read_whole(
    path: Path, columns_of: FindColumns, is_time_named: bool, duplicates: str
) -> Ratings:
    """Ratings from a file with blanks, quotes, dates, decimal commas or mistakes."""
    text = read_text(path)
    columns = columns_of(text)
    frame = parse(text)[list(columns.values())].set_axis(list(columns), axis="columns")
    frame = frame.dropna(how="all", subset=["user", "item", "rating"])
    if frame.empty:
        raise ValueError(f"{text.name} has a header but no ratings")
    keep_leading_zeros(frame, {name: columns[name] for name in ("user", "item")}, text)
    if text.separator != "," and not pd.api.types.is_numeric_dtype(frame["rating"]):
        # Where a comma is no separator it is the decimal sign, as in Europe's Excel.
        frame["rating"] = frame["rating"].str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)

    def place(k: int) -> str:
        return f"{text.name} line {line_of(text, int(frame.index[k]))}: "

    when = frame.get("timestamp")
    if when is not None and not is_time_named and not _are_times(when):
        when = None
    stars = pd.Series(in_float32(as_stars(frame["rating"], place)))
    triplets = frame["user"], frame["item"], stars
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
    text = read_text(path, "titles")
    columns = find_columns(text, {"id": item, "title": title})
    table = parse(text, dtype={columns["title"]: str})
    frame = table[list(columns.values())].set_axis(list(columns), axis="columns")
    frame = frame.dropna(how="all")
    if frame.empty:
        raise ValueError(f"{text.name} has a header but no titles")
    keep_leading_zeros(frame, {"id": columns["id"]}, text)

    def place(k: int) -> str:
        return f"{text.name} line {line_of(text, int(frame.index[k]))}: "

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


def _are_times(column: pd.Series[Any]) -> bool:
    try:
        as_seconds(column, str)
    except ValueError:
        return False
    return True
