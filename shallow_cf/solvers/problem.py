"""The Solver dialog's problem as functions of theta: objective cell, variables, bounds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.options import SolverOptions, variable_bounds
from shallow_cf.solvers.table import Table

#: Largest entry of the reduced gradient that counts as zero (stars per unit): code 0.
OPTIMALITY_TOLERANCE = 1e-6


class Point(NamedTuple):
    """A point, how far along the line searched it lies, and what is found there."""

    theta: FloatArray
    rmse: float
    merit: float
    alpha: float = 0.0


class Problem:
    """What to do with the objective cell, by changing which cells, within which bounds.

    Inside the solvers everything is minimised: the `merit` is the RMSE for ``to="min"``,
    its negative for ``"max"``, and the squared distance from the value wanted for
    ``"value_of"``; `weight` is its derivative with respect to the RMSE.
    """

    def __init__(self, ratings: Ratings, like: Parameters, options: SolverOptions) -> None:
        self.ratings, self.like, self.options = ratings, like, options
        self.lower, self.upper = variable_bounds(options, like)
        self.is_bounded = bool((np.isfinite(self.lower) | np.isfinite(self.upper)).any())
        self.table = Table(ratings, like)

    def project(self, theta: FloatArray) -> FloatArray:
        """The nearest point within the bounds; what rounding left short of one is put on it."""
        if not self.is_bounded:
            return theta
        theta = np.clip(theta, self.lower, self.upper)
        for bound in (self.lower, self.upper):
            theta = np.where(np.abs(theta - bound) <= 1e-14 * (1 + np.abs(theta)), bound, theta)
        return theta

    def at(self, theta: FloatArray, alpha: float = 0.0) -> Point:
        """A point and what is found there."""
        rmse = self.table.value(theta)
        return Point(theta, rmse, self.merit(rmse), alpha)

    def slope(self, theta: FloatArray) -> FloatArray:
        """The gradient of the objective cell, (n_params,), by the derivatives asked for."""
        if self.options.derivatives == "analytic":
            return self.table.gradient(theta)
        is_central = self.options.derivatives == "central"
        return self.table.differences(theta, difference_step(theta), central=is_central)

    def merit(self, rmse: float) -> float:
        """What is minimised, for a value of the objective cell."""
        if self.options.to == "value_of":
            return (rmse - self.options.value) ** 2
        return -rmse if self.options.to == "max" else rmse

    def weight(self, rmse: float) -> float:
        """The derivative of the merit with respect to the objective cell."""
        if self.options.to == "value_of":
            return 2 * (rmse - self.options.value)
        return -1.0 if self.options.to == "max" else 1.0

    def misses(self, rmse: float) -> bool:
        """Whether a value is wanted of the objective cell and this is not it."""
        wanted = self.options.value
        return self.options.to == "value_of" and not math.isclose(
            rmse, wanted, rel_tol=self.options.precision, abs_tol=self.options.precision
        )

    def is_reached(self, rmse: float) -> bool:
        """Whether a value is wanted of the objective cell and this is it."""
        return self.options.to == "value_of" and not self.misses(rmse)

    def free(self, theta: FloatArray, uphill: FloatArray) -> npt.NDArray[np.bool_]:
        """Which variables may move downhill: all but those that a bound holds.

        Parameters
        ----------
        theta, uphill : (n_params,) arrays
            A point and the gradient of the merit there.
        """
        if not self.is_bounded:
            return np.full(theta.shape, True)
        at_lower, at_upper = theta <= self.lower, theta >= self.upper
        held: npt.NDArray[np.bool_] = (at_lower & (uphill > 0)) | (at_upper & (uphill < 0))
        return ~held

    def longest_step(self, theta: FloatArray, d: FloatArray) -> float:
        """The largest alpha for which theta + alpha d is within the bounds."""
        if not self.is_bounded:
            return math.inf
        bound = np.where(d > 0, self.upper, self.lower)
        moves = d != 0
        return float(np.min((bound[moves] - theta[moves]) / d[moves], initial=math.inf))

    def scale(self, theta: FloatArray) -> FloatArray:
        """The unit of each variable, (n_params,): its size at the start, or 1."""
        if not self.options.use_automatic_scaling:
            return np.ones_like(theta)
        return np.where(theta != 0, np.abs(theta), 1.0)


def difference_step(theta: FloatArray) -> FloatArray:
    """GRG2's step for differences, (n_params,): 1e-4 of the value, at least 1e-5."""
    return np.maximum(1e-4 * np.abs(theta), 1e-5)
