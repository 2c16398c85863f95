"""The loop of the methods that take turns: users given the items, items given the users."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from shallow_cf.solvers.result import Callback, TraceRow

State = TypeVar("State")


class HasLimits(Protocol):
    """Settings of the loop."""

    @property
    def n_iterations(self) -> int:
        """Most sweeps."""

    @property
    def tol(self) -> float:
        """Relative change of the objective that counts as none."""


def alternate(
    state: State,
    sweep: Callable[[State], State],
    measure: Callable[[State], TraceRow],
    objective: str,
    options: HasLimits,
    callback: Callback | None,
) -> tuple[State, list[TraceRow], str]:
    """Sweep until the objective stands still.

    Parameters
    ----------
    state : object
        Where to start.
    sweep : callable
        From a state to the next one, a new object.
    measure : callable
        What the trace has to say of a state.
    objective : str
        Which of its columns is to stand still.
    options : object with ``n_iterations`` and ``tol``
    callback : callable, optional
        Called with each row of the trace; returning True stops.

    Returns
    -------
    state, trace, message
        The last state, a row for each, and why it ended. Ctrl-C ends with the last full sweep.
    """
    started = time.perf_counter()

    def row(iteration: int, state: State) -> TraceRow:
        numbers = measure(state)
        return {"iteration": iteration, **numbers, "seconds": time.perf_counter() - started}

    trace = [row(0, state)]
    message = f"Ran {_sweeps(options.n_iterations)}."
    try:
        for iteration in range(1, options.n_iterations + 1):
            found = sweep(state)
            line = row(iteration, found)
            state, trace = found, [*trace, line]  # both at once: Ctrl-C cannot come between
            if callback is not None and callback(line):
                message = f"Stopped at the user's request after {_sweeps(iteration)}."
                break
            now, before = line[objective], trace[-2][objective]
            if abs(now - before) <= options.tol * abs(now):
                message = f"Converged after {_sweeps(iteration)}."
                break
    except KeyboardInterrupt:
        message = f"Interrupted after {_sweeps(len(trace) - 1)}."
    return state, trace, message


def _sweeps(n: int) -> str:
    return f"{n} sweep" if n == 1 else f"{n} sweeps"
