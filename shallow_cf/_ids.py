"""Ids: what a file calls its users and items, and where each stands among them.

There are three kinds. Whole numbers are int64, dates and times are datetime64[us], and
all else is text. Microseconds are what Python's own datetime counts, so ``tolist`` gives
every date back as it came.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf._checks import shown

#: How many numbers a table may span that has fewer rows (the look-up is quick all the same).
_SMALL_TABLE = 1 << 16
#: Rows at a time.
_BLOCK = 1 << 16


def as_ids(ids: npt.ArrayLike) -> npt.NDArray[Any]:
    """A copy of ids as int64, as datetime64[us] or as str; ValueError for anything else."""
    array = np.asarray(ids)
    if array.dtype.kind in "iu" and np.array_equal(array, array.astype(np.int64)):
        return array.astype(np.int64)
    if array.dtype.kind in "UT" or all(isinstance(value, str) for value in array.ravel()):
        return array.astype(np.str_)  # never Python objects, which could not be saved safely
    dates = _as_dates(array)
    if dates is not None:
        return dates
    raise ValueError(
        "ids must be whole numbers of 64 bits, texts or dates, "
        f"got {shown(array.ravel()[:3].tolist())}"
    )


def index_of(ids: npt.NDArray[Any], wanted: npt.ArrayLike, kind: str) -> npt.NDArray[np.intp]:
    """Indices of the wanted ids, in the shape of `wanted`.

    Raises
    ------
    ValueError
        Naming the first id that is not among `ids`; `kind` says what they are.
    """
    found = find_ids(ids, wanted)
    if (found < 0).any():
        unknown = np.asarray(wanted)[found < 0].ravel()[0]
        raise ValueError(
            f"{kind} id {shown(unknown)} is not among the {len(ids)} known {kind}s, "
            f"such as {shown(ids[0])}"
        )
    return found


def find_ids(ids: npt.NDArray[Any], wanted: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Indices of the wanted ids, in the shape of `wanted`; -1 for one that is not known.

    Ids that are dates are found by their ISO text as well, which is what a workbook has.
    """
    asked = np.asarray(wanted)
    flat = pd.Index(asked.ravel(), tupleize_cols=False)
    if ids.dtype.kind == "M" and not pd.api.types.is_numeric_dtype(flat):
        moments = pd.to_datetime(flat.astype(str), format="ISO8601", errors="coerce", utc=True)
        flat = moments.tz_localize(None)
    return np.asarray(pd.Index(ids).get_indexer(flat), np.intp).reshape(asked.shape)


def check_kind(ids: npt.NDArray[Any], wanted: npt.ArrayLike, kind: str) -> None:
    """Refuse ids that are all of another type than the known ones, such as texts for numbers.

    For where an unknown id is no error: none of these could be known.
    """
    asked = np.asarray(wanted).ravel()
    inferred = pd.api.types.infer_dtype(asked)
    is_number = inferred in ("integer", "floating", "mixed-integer-float", "boolean")
    if (ids.dtype.kind == "i" and inferred == "string") or (ids.dtype.kind != "i" and is_number):
        raise ValueError(
            f"{kind} ids such as {shown(asked[0])} are of another type than the known ones, "
            f"such as {shown(ids[0])}"
        )


def index_ids(
    column: pd.Series[Any], name: str, place: Callable[[int], str]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """The different ids of a column, ascending, and each row's index among them."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu":
        indexed = _index_whole_numbers(column.to_numpy())
        if indexed is not None:
            return indexed
    code, values = pd.factorize(column, use_na_sentinel=False)
    ids = clean_ids(np.asarray(values), name, lambda k: place(int(np.argmax(code == k))))
    ids, position = np.unique(ids, return_inverse=True)
    return ids, position.astype(np.int32)[code]


def _index_whole_numbers(
    values: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]] | None:
    """As `index_ids`, by a table of all numbers from the lowest to the highest.

    That is one look-up a row, where a hash table needs several and sorting needs many. None
    where the numbers lie so far apart that the table would be larger than the column.
    """
    low, high = int(values.min()), int(values.max())
    if high - low >= max(_SMALL_TABLE, len(values)) or high > np.iinfo(np.int64).max:
        return None
    # In blocks, so that the distances from the lowest stay in the processor's cache.
    blocks = [slice(k, k + _BLOCK) for k in range(0, len(values), _BLOCK)]
    is_there = np.zeros(high - low + 1, bool)
    for block in blocks:
        is_there[values[block].astype(np.int64, copy=False) - low] = True
    position = np.cumsum(is_there, dtype=np.int32) - np.int32(1)
    index = np.empty(len(values), np.int32)
    for block in blocks:
        distance = values[block].astype(np.int64, copy=False) - low
        position.take(distance, out=index[block], mode="clip")  # all are there: no check
    return np.flatnonzero(is_there) + low, index


def clean_ids(values: npt.NDArray[Any], name: str, place: Callable[[int], str]) -> npt.NDArray[Any]:
    """Ids as int64 where all are whole numbers, as datetime64[us] where all are dates.

    Others become text. `place` names a position in error messages.
    """
    column = pd.Series(values).infer_objects()
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise ValueError(f"{place(int(missing[0]))}{name} is missing")
    if pd.api.types.is_float_dtype(column):
        whole = np.isfinite(column) & (column == np.floor(column)) & (np.abs(column) < 2**53)
        if not whole.all():
            k = int(np.flatnonzero(~whole)[0])
            raise ValueError(f"{place(k)}{name} must be a whole number or text, got {column[k]}")
        return column.to_numpy().astype(np.int64)
    if pd.api.types.is_integer_dtype(column) and (column <= np.iinfo(np.int64).max).all():
        return column.to_numpy().astype(np.int64)
    dates = _as_dates(column.to_numpy())
    if dates is not None:
        return dates
    return np.array([str(value) for value in column], dtype=np.str_)


def _as_dates(values: npt.NDArray[Any]) -> npt.NDArray[np.datetime64] | None:
    """The values as datetime64[us], or None where one of them is no such date.

    None as well for dates in a time zone and for dates beside dates with a time.
    """
    kinds = {type(value) for value in values.ravel()} if values.dtype.kind == "O" else set()
    if kinds in ({datetime.date}, {datetime.datetime}, {pd.Timestamp}):
        if any(getattr(value, "tzinfo", None) is not None for value in values.ravel()):
            return None
        values = pd.Series(values.ravel(), dtype=object).infer_objects().to_numpy()
        values = values.astype("datetime64") if values.dtype.kind == "O" else values
    if values.dtype.kind != "M":
        return None
    dates = values.astype("datetime64[us]")
    return dates if np.array_equal(dates, values) else None  # not with NaT or nanoseconds
