"""Solvers: one file a method, one shape for all.

``solve(ratings, parameters, options, callback, random_state) -> SolverResult``. A new
solver is one file beside these and one line in `SOLVERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from shallow_cf.solvers import descent, grg, options, sgd, varpro
from shallow_cf.solvers.result import SolverResult


class Solver(NamedTuple):
    """What the estimator needs to know of a solver."""

    options: type[Any]
    solve: Callable[..., SolverResult]


SOLVERS = {
    "sgd": Solver(descent.SGDOptions, sgd.solve),
    "grg": Solver(options.SolverOptions, grg.solve),
    "varpro": Solver(varpro.VarproOptions, varpro.solve),
}
