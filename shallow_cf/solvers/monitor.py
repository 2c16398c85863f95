"""Follows a run from iteration to iteration and says when Solver would stop."""

from __future__ import annotations

import math
import time

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.solvers.result import Callback, TraceRow

#: Iterations in a row that have to change the objective by less than `convergence`.
_QUIET_ITERATIONS = 5


class Monitor:
    """The trace of a run, its last point, and Solver's rules for stopping.

    Convergence, as documented by Frontline Systems and in GRG2's published source: stop
    when the relative change of the objective has been below `convergence` for five
    iterations. The value compared with is reset only when the change exceeds
    `convergence`, so that slow drift adds up.

    Parameters
    ----------
    convergence : float
    iterations : int or None
        Most iterations.
    max_time : float or None
        Most seconds.
    callback : callable or None
        Called with each row but the first; returning True stops.

    Attributes
    ----------
    theta : (n_params,) array
        The point of the last row.
    trace : list of dict
    """

    theta: FloatArray

    def __init__(
        self,
        convergence: float,
        iterations: int | None,
        max_time: float | None,
        callback: Callback | None,
    ) -> None:
        self.convergence, self.iterations, self.max_time = convergence, iterations, max_time
        self.callback = callback
        self.started = time.perf_counter()
        self.trace: list[TraceRow] = []
        self._reference, self._quiet = math.nan, 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    @property
    def rmse(self) -> float:
        """The objective at the last point, stars."""
        return self.trace[-1]["train_rmse"]

    def note(
        self,
        theta: FloatArray,
        rmse: float,
        gradient_norm: float = math.nan,
        *,
        is_feasible: bool = True,
    ) -> int | None:
        """Add a row for a point: the start first, then one an iteration.

        Returns
        -------
        int or None
            The result code if the run is to stop here.
        """
        step = float(np.linalg.norm(theta - self.theta)) if self.trace else 0.0
        row: TraceRow = {
            "iteration": len(self.trace),
            "train_rmse": rmse,
            "step": step,
            "gradient_norm": gradient_norm,
            "seconds": self.seconds,
        }
        self.theta = theta
        self.trace.append(row)
        if row["iteration"] == 0:
            self._reference = rmse
            return None
        if self.callback is not None and self.callback(row):
            return 6
        if self._has_converged(rmse, is_feasible):
            return 1
        if self.iterations is not None and row["iteration"] >= self.iterations:
            return 3
        if self.max_time is not None and row["seconds"] >= self.max_time:
            return 10
        return None

    def begin_again(self) -> None:
        """Forget how quiet the run was, as another objective is minimised from here on."""
        self._reference, self._quiet = math.nan, 0

    def settle(self, theta: FloatArray, rmse: float, gradient_norm: float) -> None:
        """Make another point, the best of the run, that of the last row."""
        self.theta = theta
        self.trace[-1] |= {"train_rmse": rmse, "gradient_norm": gradient_norm}

    def _has_converged(self, rmse: float, is_feasible: bool) -> bool:
        is_quiet = abs(rmse - self._reference) <= self.convergence * abs(self._reference)
        if is_quiet and is_feasible:
            self._quiet += 1
        else:
            self._reference, self._quiet = rmse, 0
        return self._quiet >= _QUIET_ITERATIONS
