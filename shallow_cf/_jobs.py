"""Many calls of one function, one after the other or in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from shallow_cf._checks import check_int

#: `map`, or what calls a function on each of many things elsewhere and keeps their order.
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def check_jobs(n_jobs: object) -> int:
    """Return how many threads `n_jobs` means: -1 is one a core."""
    if n_jobs == -1 and not isinstance(n_jobs, bool):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores()
    return check_int("n_jobs", n_jobs, 1)


def _cores() -> int:
    return os.cpu_count() or 1


@contextmanager
def mapping(n_jobs: int) -> Iterator[Map]:
    """`map` with so many threads.

    Threads serve here, because NumPy and SciPy let go of the interpreter's lock in their
    inner loops.
    """
    threads = check_jobs(n_jobs)
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map
