"""Multistart: one solver from many starts, until another optimum is improbable.

Excel's Solver draws starts at random, runs GRG from them and stops by a Bayesian test.
What is documented of it goes back to Rinnooy Kan and Timmer (1987), "Stochastic global
optimization methods", and Boender and Rinnooy Kan (1987), "Bayesian stopping rules for
multistart global optimization methods" (both Mathematical Programming): if N searches
have ended in w different optima, the expected share of starts that lead to optima not
seen yet is

    (6)   w (w + 1) / (N (N - 1))

Below 1% the search has "converged in probability to a global solution".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.solvers.result import MESSAGES, Callback, SolverResult, TraceRow

#: Expected share of starts that lead elsewhere, below which the search ends: code 17.
_UNSEEN = 0.01
#: Ends whose objectives differ by less than this, relatively, count as one optimum.
_SAME = 1e-3

#: Result codes of searches that end nowhere.
_FAILED = (5, 9)

LocalSolve = Callable[[Parameters, Any], SolverResult]


def multistart(
    solve: LocalSolve,
    draw: Callable[[np.random.Generator], FloatArray],
    parameters: Parameters,
    options: Any,
    final_options: Any,
    callback: Callback | None,
    random_state: int | np.random.Generator | None,
    merit: Callable[[SolverResult], float],
) -> SolverResult:
    """The best end of many local searches, the first from the given parameters.

    Parameters
    ----------
    solve : callable
        A local search from a start, with options: (parameters, options) -> SolverResult.
    draw : callable
        Draws a start, (n_params,), from a generator.
    parameters : Parameters
        The first start.
    options : dataclass with the fields of `MultistartOptions` and ``max_time``
        Of the local searches.
    final_options
        Of the last search, which goes on from the best end.
    callback : callable or None
        Called after each local search with ``search`` (its number), ``train_rmse`` (the
        best so far, stars), ``seconds``; returning True stops (code 6).
    random_state : int, Generator or None
        Of the starts, where ``options.random_seed`` is 0.
    merit : callable
        What the searches minimise: from a SolverResult to the number at its end.

    Returns
    -------
    SolverResult
        Code 17 if the test was met; else that of the best search, or why it stopped.
    """
    began = time.perf_counter()
    # A child of the seed's generator, which may have drawn the first start already.
    (rng,) = np.random.default_rng(options.random_seed or random_state).spawn(1)
    local = replace(options, multistart=False)
    is_value_wanted = getattr(options, "to", "min") == "value_of"
    runs: list[SolverResult] = []
    trace: list[TraceRow] = []
    code: int | None = None

    def search(start: Parameters, settings: Any) -> SolverResult:
        left = {}
        if options.max_time is not None:
            left["max_time"] = max(began + options.max_time - time.perf_counter(), 1e-3)
        return solve(start, replace(settings, **left))

    def best() -> SolverResult:
        return min(runs, key=lambda run: (run.code in _FAILED, _order(merit(run))))

    def kept() -> list[SolverResult]:
        return [run for run in runs if run.code not in _FAILED]

    def note() -> TraceRow:
        seconds = time.perf_counter() - began
        trace.append({"search": len(trace), "train_rmse": best().rmse_after, "seconds": seconds})
        return trace[-1]

    for number in range(options.population_size):
        start = parameters if number == 0 else parameters.unpack(draw(rng))
        runs.append(search(start, local))
        if number == 0:
            trace.append({"search": 0, "train_rmse": runs[0].rmse_before, "seconds": 0.0})
        row = note()
        if runs[-1].code in (4, 6, 10, 18, 20):
            code = runs[-1].code  # no other start would change that
        elif callback is not None and _is_stopped(callback, row):
            code = 6
        elif is_value_wanted and runs[-1].code == 0:
            code = 0
        elif unseen_share([merit(run) for run in kept()]) < _UNSEEN:
            code = 17
        if code is not None:
            break
    found = best()
    if code in (None, 17):
        runs.append(search(found.parameters, replace(final_options, multistart=False)))
        note()
        found = best()
        # The test says nothing of a last search that was cut short, or not made.
        code = runs[-1].code if runs[-1].code in (6, 10) or code is None else code
    ended = 0 if code is None else code
    return SolverResult(
        parameters=found.parameters,
        trace=trace,
        code=ended,
        message=MESSAGES[ended],
        seconds=time.perf_counter() - began,
        start=parameters,
        n_function=sum(run.n_function for run in runs),
        n_gradient=sum(run.n_gradient for run in runs),
        reduced_gradient=found.reduced_gradient,
    )


def unseen_share(ends: list[float]) -> float:
    """Expected share of starts that lead to optima not among these ends. Equation (6).

    Parameters
    ----------
    ends : list of float
        Objectives at the ends of the searches made; equal ones are one optimum.
    """
    N = len(ends)
    if N < 2:
        return 1.0
    values = np.sort([end for end in ends if math.isfinite(end)])
    gaps = np.diff(values) > _SAME * np.abs(values[1:])
    w = 1 + int(gaps.sum())
    return w * (w + 1) / (N * (N - 1))  # (6)


def _is_stopped(callback: Callback, row: TraceRow) -> bool:
    """Whether the callback asks to stop; Ctrl-C in it does."""
    try:
        return bool(callback(row))
    except KeyboardInterrupt:
        return True


def _order(merit: float) -> float:
    return merit if math.isfinite(merit) else math.inf
