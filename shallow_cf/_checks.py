"""Argument checks: one line a rule, one wording for all errors."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def check_int(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int, or raise naming the argument, the rule and the value."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be a whole number, got {value!r}")
    if value < minimum:
        raise ValueError(f"`{name}` must be >= {minimum}, got {value}")
    return int(value)


def check_number(name: str, value: Any, minimum: float, *, above: bool = False) -> float:
    """Return `value` as a finite float that is at least (or, with `above`, more than) `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < minimum or (above and number == minimum):
        sign = ">" if above else ">="
        raise ValueError(f"`{name}` must be {sign} {minimum:g}, got {value}")
    return number


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")
    return str(value)
