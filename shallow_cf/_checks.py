"""Argument checks: one line a rule, one wording for all errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_int(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int, or raise naming the argument, the rule and the value."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be a whole number, got {value!r}")
    if value < minimum:
        raise ValueError(f"`{name}` must be >= {minimum}, got {value}")
    return int(value)


def check_bool(name: str, value: Any) -> bool:
    """Return `value` as a bool; a text such as "no" is none."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False, got {value!r}")
    return bool(value)


def check_number(name: str, value: Any, minimum: float, *, above: bool = False) -> float:
    """Return `value` as a finite float that is at least (or, with `above`, more than) `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < minimum or (above and number == minimum):
        rules = [] if math.isfinite(number) else ["finite"]
        if math.isfinite(minimum):
            rules.append(f"{'>' if above else '>='} {minimum:g}")
        raise ValueError(f"`{name}` must be {' and '.join(rules)}, got {value}")
    return number


def check_share(name: str, value: Any) -> float:
    """Return `value` as a float from 0 to 1."""
    number = check_number(name, value, 0.0)
    if number > 1:
        raise ValueError(f"`{name}` must be <= 1, got {value}")
    return number


def check_range(name: str, value: Any) -> tuple[float, float] | None:
    """Return two finite numbers, the first below the second; None is no range."""
    if value is None:
        return None
    if isinstance(value, str) or np.shape(np.asarray(value, dtype=object)) != (2,):
        raise TypeError(f"`{name}` must be two numbers or None, got {value!r}")
    low, high = (check_number(name, number, -math.inf) for number in value)
    if not low < high:
        raise ValueError(f"`{name}` must go from a lower to a higher number, got {value!r}")
    return low, high


def check_random_state(value: Any) -> None:
    """Refuse what is no seed: None, a whole number >= 0 or a NumPy Generator."""
    if value is None or isinstance(value, np.random.Generator):
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`random_state` must be a whole number or a Generator, got {value!r}")
    check_int("random_state", value, 0)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")
    return str(value)


def shown(value: Any) -> str:
    """A value as Python writes it, without NumPy's wrapping: inf, not np.float64(inf)."""
    if isinstance(value, np.datetime64):
        return str(value.item())
    return _cut(repr(value.item() if isinstance(value, np.generic) else value))


def listed(names: Iterable[object], most: int = 12) -> str:
    """Names in one short line, for error messages."""
    texts = [_cut(" ".join(str(name).split())) or "''" for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "no columns"


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
