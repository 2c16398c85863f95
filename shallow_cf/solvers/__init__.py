"""Solvers: one file a method, one shape for all.

``solve(ratings, parameters, options, callback, random_state) -> SolverResult``. A new
solver is one file beside these and one line in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from shallow_cf.solvers import als, descent, grg, options, sgd, varpro, vb
from shallow_cf.solvers.result import SolverResult


class Solver(NamedTuple):
    """What the estimator needs to know of a solver, and what people call its method.

    `accepts` has what goes beyond the spreadsheet's model and the arguments of all:
    "global_mean" and "rating_range" in the parameters, "start" where it goes on from the
    parameters given, "checkpoint" (as ``keep`` and ``progress``), "valid", "threads" (as
    ``run``) and "map", which can be that of threads too.
    """

    options: type[Any]
    solve: Callable[..., SolverResult]
    words: str
    accepts: frozenset[str] = frozenset({"start"})


SOLVERS = {
    "sgd": Solver(
        descent.SGDOptions,
        sgd.solve,
        "mini-batch SGD",
        frozenset({"global_mean", "rating_range", "start", "checkpoint", "valid", "threads"}),
    ),
    "grg": Solver(options.SolverOptions, grg.solve, "GRG Nonlinear"),
    "varpro": Solver(varpro.VarproOptions, varpro.solve, "variable projection"),
    "als": Solver(
        als.ALSOptions,
        als.solve,
        "alternating least squares",
        frozenset({"global_mean", "start", "valid", "map"}),
    ),
    "vb": Solver(
        vb.VBOptions, vb.solve, "variational Bayes", frozenset({"global_mean", "valid", "map"})
    ),
}


def solvers_that_accept(what: str) -> str:
    """Their names, for error messages: 'sgd' or 'als'."""
    return " or ".join(repr(name) for name, solver in SOLVERS.items() if what in solver.accepts)
