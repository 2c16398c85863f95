"""Dask: the half-steps of "als" and "vb" on the workers of a cluster, for ``fit(..., map=)``.

A half-step is a pure function of a block of rows and of the other side, and Dask moves both.
The blocks are the same in every sweep, so they are sent once and stay with the workers; the
other side is new in every half-step, so it is sent once a half-step, and workers pass it on to
each other. What comes back are the rows found. Dask's scheduler and workers, ``distributed``,
are an extra: ``pip install "shallow_cf[dask]"``. The recipe: ``docs/beyond_one_machine.md``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from operator import is_
from typing import TYPE_CHECKING, Any

from shallow_cf._jobs import Map

if TYPE_CHECKING:
    from distributed import Client, Future

#: Seconds to wait before another attempt: the scheduler has to notice that a worker is gone.
_PAUSES = (0.1, 1.0, 5.0)


def dask_map(client: Client) -> Map:
    """What ``fit(..., map=)`` takes to work on a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Not an asynchronous one. Its workers need shallow_cf, and the same versions of it,
        NumPy and SciPy as this process has.

    Returns
    -------
    callable
        With the signature of `map`. Blocks of rows that it has sent it does not send again.
        They stay on the cluster as long as it lives, or until others take their place: those
        of one fit at most.

    Raises
    ------
    ImportError
        If Dask's ``distributed`` is not installed.
    TypeError
        If `client` is something else.
    ValueError
        If `client` is asynchronous.

    Notes
    -----
    The model has the bits that one process gives, where the workers compute as this process
    does: same versions, same kind of processor, as many BLAS threads (Dask's workers have one).
    When a worker is lost, the half-step is done once more, with the blocks sent anew; three
    times at most, then Dask's error is the caller's.

    Examples
    --------
    With Dask, here on a cluster in this process; ``Client("tcp://scheduler:8786")`` is one of
    other machines:

    >>> import shallow_cf as scf
    >>> from shallow_cf.dask import dask_map
    >>> from distributed import Client  # doctest: +SKIP
    >>> ratings = scf.load_crosstab()
    >>> model = scf.MatrixFactorization(3, solver="als", random_state=0)
    >>> with Client(processes=False, dashboard_address=":0") as client:  # doctest: +SKIP
    ...     there = model.fit(ratings, map=dask_map(client)).parameters_
    >>> there.equals(model.fit(ratings).parameters_)  # doctest: +SKIP
    True
    """
    _check(client)
    return _OnCluster(client)


class _OnCluster:
    """A map that remembers what it has sent."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # Two lists of blocks: a fit has the users' and the items'.
        self._sent: deque[tuple[list[Any], list[Future]]] = deque(maxlen=2)

    def __call__(self, function: Callable[[Any], Any], blocks: Iterable[Any]) -> list[Any]:
        blocks = list(blocks)
        for pause in _PAUSES:
            try:
                return self._run(function, blocks)
            except (CancelledError, OSError):  # a worker is gone, and with it what it was sent
                self._sent.clear()
                time.sleep(pause)
        return self._run(function, blocks)

    def _run(self, function: Callable[[Any], Any], blocks: list[Any]) -> list[Any]:
        # The function holds the other side. Not `broadcast=True`: when a worker is lost
        # meanwhile, that tries to reach it again and again and never returns.
        there = self._client.scatter([function], hash=False)
        # Not pure: for the name of a pure task Dask would read through all arguments.
        tasks = self._client.map(_call, there * len(blocks), self._scattered(blocks), pure=False)
        try:
            return list(self._client.gather(tasks))
        finally:
            for task in tasks:  # else an error would keep them: its traceback comes by here
                task.release()

    def _scattered(self, blocks: list[Any]) -> list[Future]:
        """Where the blocks are on the cluster."""
        for known, futures in self._sent:
            if len(known) == len(blocks) and all(map(is_, known, blocks)):
                return futures
        futures = list(self._client.scatter(blocks, hash=False))
        self._sent.append((blocks, futures))
        return futures


def _call(function: Callable[[Any], Any], block: Any) -> Any:
    return function(block)


def _check(client: Client) -> None:
    """Say how to install what is missing, where Python would only say what."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            f'Dask needs {error.name}, which is not installed: pip install "shallow_cf[dask]"'
        ) from error
    if not isinstance(client, Client):
        raise TypeError(f"`client` must be a Client of distributed, got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("`client` must wait for results, got one with asynchronous=True")
