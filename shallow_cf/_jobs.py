"""Many calls of one function, one after the other or in threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from shallow_cf._checks import check_int

#: `map`, or what calls a function on each of many things elsewhere and keeps their order.
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def check_jobs(n_jobs: object) -> int:
    """Return how many threads `n_jobs` means: -1 is one a core."""
    threads = check_int("n_jobs", n_jobs, -sys.maxsize)
    if threads < -1 or threads == 0:
        raise ValueError(f"`n_jobs` must be >= 1, or -1 for one a core, got {threads}")
    if threads == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores()
    return threads


def _cores() -> int:
    return os.cpu_count() or 1


@contextmanager
def mapping(n_jobs: int) -> Iterator[Map]:
    """`map` with so many threads.

    Threads serve here, because NumPy and SciPy let go of the interpreter's lock in their
    inner loops.
    """
    threads = check_jobs(n_jobs)
    with _one_thread_each():
        if threads == 1:
            yield map
            return
        with ThreadPoolExecutor(threads) as pool:
            yield pool.map


def _one_thread_each() -> AbstractContextManager[Any]:
    """Keep the linear algebra below NumPy from starting threads beside ours.

    Its products here are small, so that its threads cost more than they bring. Only
    threadpoolctl can tell it so while it runs; without that package the environment variable
    OPENBLAS_NUM_THREADS (or MKL_NUM_THREADS), set to 1 before Python starts, does the same.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def checked(map: Map) -> Map:
    """A map that came from outside, held to what Python's does: one result of each thing.

    Fewer results would end as rows of the model that nobody found; and what runs elsewhere
    often gives promises of results, which `map` has to wait for. The half-steps' are tuples.
    """
    if not callable(map):
        raise TypeError(f"`map` must be a function, got {map!r}")

    def one_of_each(function: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
        things = list(things)
        given = map(function, things)
        if not isinstance(given, Iterable):
            raise TypeError(f"`map` must return the results in order, got {type(given).__name__}")
        results = list(given)
        if len(results) != len(things):
            raise ValueError(
                f"`map` must return a result for each of {len(things)} blocks of rows, "
                f"got {len(results)}"
            )
        for result in results:
            if not isinstance(result, tuple):
                raise TypeError(
                    f"`map` must return what the function returned, got {type(result).__name__}: "
                    "wait for the results and gather them"
                )
        return results

    return one_of_each
