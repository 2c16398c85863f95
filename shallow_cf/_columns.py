"""Columns of a table, checked: stars as numbers, times as seconds since 1970."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf._checks import shown

#: Stars, float32 or float64.
Stars = npt.NDArray[Any]


def as_stars(column: pd.Series[Any], place: Callable[[int], str]) -> Stars:
    """Check and convert a column of stars; `place` names a row (by position) in messages.

    Those in float32 stay so, all others become float64.
    """
    stars = _numbers(column)
    bad = np.flatnonzero(~np.isfinite(stars))
    if bad.size:
        k = int(bad[0])
        got = column.iloc[k]
        raise ValueError(f"{place(k)}rating must be a finite number, got {_shown_cell(got)}")
    return stars


def in_float32(stars: Stars) -> Stars:
    """The stars in float32, half the size, if that holds every one of them exactly.

    Half stars are such numbers, 3.3 is none.
    """
    with np.errstate(over="ignore"):
        half = stars.astype(np.float32)
    return half if np.array_equal(half, stars) else stars


def as_seconds(column: pd.Series[Any], place: Callable[[int], str]) -> npt.NDArray[np.int64]:
    """Check and convert a column of times to seconds since 1970.

    Whole numbers are such seconds. Dates are in UTC where they name no zone, texts of them
    are in the form of ISO 8601; fractions of their seconds are cut off.
    """
    column = column.infer_objects()
    if pd.api.types.is_signed_integer_dtype(column) and not column.hasnans:
        return column.to_numpy(np.int64)
    if _are_dates(column):
        moments = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
        bad = np.flatnonzero(moments.isna())
        seconds = moments.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    else:
        seconds = _numbers(column)
        bad = np.flatnonzero(~(np.abs(seconds) < 2**53) | (seconds != np.floor(seconds)))
    if bad.size:
        k = int(bad[0])
        raise ValueError(
            f"{place(k)}timestamp must be a whole number of seconds or a date, "
            f"got {_shown_cell(column.iloc[k])}"
        )
    return seconds.astype(np.int64)


def _are_dates(column: pd.Series[Any]) -> bool:
    """Whether a column holds dates, or texts none of which is a number."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    is_date = isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M"
    return is_date or bool(pd.to_numeric(column, errors="coerce").isna().all())


def _shown_cell(value: Any) -> str:
    return "a blank" if pd.api.types.is_scalar(value) and pd.isna(value) else shown(value)


def _numbers(column: pd.Series[Any]) -> Stars:
    """A column as floats, NaN where there is no number."""
    if column.dtype == np.float32:
        return column.to_numpy()
    if pd.api.types.is_integer_dtype(column) or pd.api.types.is_float_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    # True, False and dates become numbers in pandas too, but they are nobody's stars.
    numbers = [v if _may_be_number(v) else None for v in column]
    return np.asarray(pd.to_numeric(pd.Series(numbers), errors="coerce"), dtype=np.float64)


def _may_be_number(value: object) -> bool:
    return isinstance(value, str | Real | Decimal) and not isinstance(value, bool)
