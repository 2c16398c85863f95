"""Constraints on cells that are not variables, by sequential quadratic programming.

GRG2 makes as many variables as there are active constraints follow from the others, by
Newton's method at every step. That part is not rebuilt here: scipy's SLSQP (Kraft 1988,
"A software package for sequential quadratic programming", DFVLR-FB 88-28) takes its place,
with Solver's derivatives, its rules for stopping, and its result codes.

Derivatives of the cells with respect to the variables:
    (13a)  predictions   dr_hat_ui/dP_uk = Q_ik,  dr_hat_ui/dQ_ik = P_uk,  and 1 for biases
    (13b)  norms         d|p_u|/dP_uk = P_uk / |p_u|, 0 where the norm is 0
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize

from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.monitor import Monitor
from shallow_cf.solvers.options import Constraint, fitted
from shallow_cf.solvers.problem import OPTIMALITY_TOLERANCE, Point, Problem, difference_step

#: How near to its limit a cell has to be to count as held by it, at most.
_NEAREST = 1e-5
#: Iterations without a constraint being missed by less, before it is given up: code 5.
_PATIENCE = 50
#: A step that no problem with a minimum allows downhill: code 4.
_FAR = 1e12

BoolArray = npt.NDArray[np.bool_]


class Limit(NamedTuple):
    """One constraint ready for use: lower <= values(theta) <= upper."""

    constraint: Constraint
    values: Callable[[FloatArray], FloatArray]
    jacobian: Callable[[FloatArray], FloatArray]
    lower: FloatArray
    upper: FloatArray

    def violation(self, theta: FloatArray) -> FloatArray:
        """By how much each cell misses the constraint; 0 where it holds."""
        values = self.values(theta)
        return np.maximum(np.maximum(self.lower - values, values - self.upper), 0.0)


def limits(ratings: Ratings, like: Parameters, constraints: tuple[Constraint, ...]) -> list[Limit]:
    """The constraints that are not bounds, as functions of theta.

    Raises
    ------
    ValueError
        If a constraint's values or matrix do not fit its cells.
    """
    found = []
    for constraint in constraints:
        if constraint.is_bound:
            continue
        values, jacobian = _cells(constraint, ratings, like)
        value = fitted(constraint, _shape(constraint, values, like)).ravel()
        free = np.full(value.shape, np.inf)
        found.append(
            Limit(
                constraint,
                values,
                jacobian,
                -free if constraint.relation == "<=" else value,
                free if constraint.relation == ">=" else value,
            )
        )
    return found


def minimise(problem: Problem, here: Point, monitor: Monitor) -> tuple[int, FloatArray | None]:
    """Minimise the merit under all constraints; the result code and the reduced gradient."""
    found = limits(problem.ratings, problem.like, problem.options.constraints)
    if not all(np.isfinite(limit.values(here.theta)).all() for limit in found):
        monitor.note(here.theta, here.rmse)
        return 9, None
    run = _Run(problem, found, monitor)
    run.note(here.theta)
    try:
        with warnings.catch_warnings():
            # Older scipys say so when rounding leads a point out of its bounds.
            warnings.filterwarnings("ignore", "Values in x were outside bounds", RuntimeWarning)
            outcome = optimize.minimize(  # type: ignore[call-overload]
                lambda theta: run.at(theta).merit,
                here.theta,
                jac=run.merit_slope,
                method="SLSQP",
                bounds=optimize.Bounds(problem.lower, problem.upper),
                constraints=[part for limit in found for part in _in_scipys_words(limit)],
                callback=run.after_iteration,
                # When to stop is the monitor's to say.
                options={"ftol": 1e-15, "maxiter": np.iinfo(np.int32).max},
            )
        run.note(problem.project(outcome.x))
        code = 1 if outcome.success else 2
    except _Stop as stop:
        code = stop.code
    except KeyboardInterrupt:
        code = 6
    run.return_to_best()
    reduced = run.reduced_gradient(monitor.theta)
    if code in (1, 2):
        code = run.verdict(code)
    return code, reduced


def multipliers(
    found: list[Limit],
    theta: FloatArray,
    slope: FloatArray,
    held: BoolArray,
    precision: float,
) -> tuple[FloatArray, list[FloatArray]]:
    """What of a slope the active constraints account for.

    Parameters
    ----------
    found : list of Limit
    theta, slope : (n_params,) arrays
        A point and the gradient of the objective there.
    held : (n_params,) array of bool
        Variables that stand at a bound.
    precision : float
        A constraint is active where the cell is this near to its limit, relatively.

    Returns
    -------
    reduced : (n_params,) array
        The reduced gradient: the slope less J' lambda with lambda found by least squares over
        the variables that are not held.
    lambdas : list of arrays
        For each constraint its cells' Lagrange multipliers, 0 where it is not active: the
        change of the objective for each unit by which the limit is moved.
    """
    active = [_active(limit, theta, precision) for limit in found]
    J = np.concatenate(
        [limit.jacobian(theta)[on] for limit, on in zip(found, active, strict=True)]
        or [np.empty((0, theta.size))]
    )
    solved = np.linalg.lstsq(J[:, ~held].T, slope[~held], rcond=None)[0]
    lambdas, first = [], 0
    for on in active:
        values = np.zeros(on.shape)
        values[on] = solved[first : first + on.sum()]
        first += int(on.sum())
        lambdas.append(values)
    return slope - J.T @ solved, lambdas


class _Stop(Exception):
    """Leads out of scipy's loop."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Run:
    """What a run remembers: the last slope, and the best point so far."""

    def __init__(self, problem: Problem, found: list[Limit], monitor: Monitor) -> None:
        self.problem, self.found, self.monitor = problem, found, monitor
        self.precision = problem.options.precision
        self._fruitless = 0
        self._here: Point | None = None
        self._slope_at: tuple[FloatArray, FloatArray] | None = None
        self._best: tuple[tuple[float, float], FloatArray] | None = None

    def at(self, theta: FloatArray) -> Point:
        """What is found at a point, once where it is asked for twice."""
        if self._here is None or not np.array_equal(self._here.theta, theta):
            self._here = self.problem.at(theta.copy())
        return self._here

    def slope(self, theta: FloatArray) -> FloatArray:
        """The gradient of the objective cell, found once where it is asked for twice."""
        if self._slope_at is None or not np.array_equal(self._slope_at[0], theta):
            self._slope_at = theta.copy(), self.problem.slope(theta)
        return self._slope_at[1]

    def merit_slope(self, theta: FloatArray) -> FloatArray:
        """The gradient of what is minimised."""
        return self.problem.weight(self.at(theta).rmse) * self.slope(theta)

    def after_iteration(self, xk: FloatArray) -> None:
        """Note the point, and stop where Solver would."""
        code = self.note(self.problem.project(xk))
        if self.problem.is_reached(self.monitor.rmse) and self.is_feasible(self.monitor.theta):
            raise _Stop(0)
        if code is not None:
            raise _Stop(code)
        if np.isnan(self._worst(self.monitor.theta)):
            raise _Stop(9)
        if self._fruitless > _PATIENCE:
            raise _Stop(5)

    def note(self, theta: FloatArray) -> int | None:
        """Add a row to the trace."""
        rmse = self.at(theta).rmse
        worst = self._worst(theta)
        is_feasible = worst <= self.precision
        missed = 0.0 if is_feasible else worst
        rank = (missed, self.problem.merit(rmse))
        before = np.inf if self._best is None else self._best[0][0]
        # Once a point has kept all constraints, missing them on the way is no failure.
        is_better = before == 0 or missed < 0.99 * before
        self._fruitless = 0 if is_better else self._fruitless + 1
        if self._best is None or rank < self._best[0]:
            self._best = rank, theta.copy()
        return self.monitor.note(theta.copy(), rmse, self.norm(theta), is_feasible=is_feasible)

    def return_to_best(self) -> None:
        """Make the best point the last row's."""
        if self._best is not None and not np.array_equal(self._best[1], self.monitor.theta):
            theta = self._best[1]
            self.monitor.settle(theta, self.at(theta).rmse, self.norm(theta))

    def verdict(self, code: int) -> int:
        """The result code at the end of a run that nobody stopped."""
        theta = self.monitor.theta
        if np.isnan(self._worst(theta)):
            return 9
        if not self.is_feasible(theta):
            return 5
        if self.problem.is_reached(self.monitor.rmse):
            return 0
        if self.norm(theta) <= OPTIMALITY_TOLERANCE and self._pushes_outwards(theta):
            return 0
        return 4 if self._runs_away(theta) else code

    def _pushes_outwards(self, theta: FloatArray) -> bool:
        """Whether every active limit holds the merit back, as at a minimum it must."""
        slope = self.problem.weight(self.at(theta).rmse) * self.slope(theta)
        lambdas = multipliers(self.found, theta, slope, self._held(theta), self.precision)[1]
        for limit, weights in zip(self.found, lambdas, strict=True):
            values = limit.values(theta)
            at_upper = np.abs(values - limit.upper) < np.abs(values - limit.lower)
            inwards = np.where(at_upper, weights, -weights)[limit.lower != limit.upper]
            if (inwards > OPTIMALITY_TOLERANCE).any():
                return False
        return True

    def _runs_away(self, theta: FloatArray) -> bool:
        """Whether the merit falls without end where no constraint is in the way."""
        d = -self.problem.weight(self.monitor.rmse) * self.reduced_gradient(theta)
        touched = np.any([limit.jacobian(theta).any(axis=0) for limit in self.found], axis=0)
        for still in (self._held(theta), self._held(theta) | touched):
            along = np.where(still, 0.0, d)
            far = theta + _FAR / max(float(np.linalg.norm(along)), 1e-300) * along
            is_allowed = self.is_feasible(far) and bool((far == self.problem.project(far)).all())
            if is_allowed and self.problem.at(far).merit < -_FAR / 1e6:
                return True
        return False

    def is_feasible(self, theta: FloatArray) -> bool:
        """Whether all constraints hold, to Constraint Precision."""
        return self._worst(theta) <= self.precision

    def _worst(self, theta: FloatArray) -> float:
        return float(np.max([limit.violation(theta).max(initial=0.0) for limit in self.found]))

    def _at_bounds(self, theta: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Which variables stand at their lower, and which at their upper bound."""
        reach = self.precision * np.maximum(1.0, np.abs(theta))
        return theta <= self.problem.lower + reach, theta >= self.problem.upper - reach

    def _held(self, theta: FloatArray) -> BoolArray:
        return np.logical_or(*self._at_bounds(theta))

    def reduced_gradient(self, theta: FloatArray) -> FloatArray:
        """The slope less what constraints on other cells account for."""
        held = self._held(theta)
        return multipliers(self.found, theta, self.slope(theta), held, self.precision)[0]

    def norm(self, theta: FloatArray) -> float:
        """The largest entry of the reduced gradient along which a variable may move."""
        downhill = -self.problem.weight(self.at(theta).rmse) * self.reduced_gradient(theta)
        at_lower, at_upper = self._at_bounds(theta)
        stuck = (at_lower & (downhill < 0)) | (at_upper & (downhill > 0))
        return float(np.abs(downhill[~stuck]).max(initial=0.0))


def _in_scipys_words(limit: Limit) -> list[dict[str, Any]]:
    """Equalities and inequalities >= 0, of the cells that have such a limit."""
    parts: list[dict[str, Any]] = []
    for kind, on, sign, bound in (
        ("eq", limit.lower == limit.upper, 1.0, limit.lower),
        ("ineq", np.isfinite(limit.lower) & (limit.lower != limit.upper), 1.0, limit.lower),
        ("ineq", np.isfinite(limit.upper) & (limit.lower != limit.upper), -1.0, limit.upper),
    ):
        if on.any():
            parts.append(_part(limit, kind, on, sign, bound))
    return parts


def _part(limit: Limit, kind: str, on: BoolArray, sign: float, bound: FloatArray) -> dict[str, Any]:
    return {
        "type": kind,
        "fun": lambda theta: sign * (limit.values(theta)[on] - bound[on]),
        "jac": lambda theta: sign * limit.jacobian(theta)[on],
    }


def _active(limit: Limit, theta: FloatArray, precision: float) -> BoolArray:
    values = limit.values(theta)
    reach = min(10 * precision, _NEAREST) * np.maximum(1.0, np.abs(values))
    return (values <= limit.lower + reach) | (values >= limit.upper - reach)


def _cells(
    constraint: Constraint, ratings: Ratings, like: Parameters
) -> tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]:
    """The cells of a constraint as a function of theta, (m,), and its Jacobian, (m, n_params)."""
    cells = constraint.cells
    if isinstance(cells, np.ndarray):
        if cells.shape[1] != like.n_params:
            raise ValueError(
                f"{constraint!r}: the matrix must have {like.n_params} columns, one for each "
                f"variable, got {cells.shape[1]}"
            )
        matrix: FloatArray = cells
        return (lambda theta: matrix @ theta), (lambda theta: matrix)
    if not isinstance(cells, str):
        function = cells

        def values(theta: FloatArray) -> FloatArray:
            return np.asarray(function(like.unpack(theta)), np.float64).ravel()

        return values, lambda theta: _differences(values, theta)
    if cells in ("predictions", "rated_predictions"):
        u, i = ratings.user_idx, ratings.item_idx
        if cells == "predictions":
            u, i = (index.ravel() for index in np.indices((like.n_users, like.n_items)))
        return (
            lambda theta: like.unpack(theta).predict(u, i),
            lambda theta: _prediction_jacobian(like.unpack(theta), u, i),
        )
    side = "user_factors" if cells == "user_norms" else "item_factors"
    return (
        lambda theta: np.linalg.norm(getattr(like.unpack(theta), side), axis=1),
        lambda theta: _norm_jacobian(like.unpack(theta), side),
    )


def _prediction_jacobian(parameters: Parameters, u: IntArray, i: IntArray) -> FloatArray:
    """Equation (13a), (m, n_params)."""
    J = np.zeros((len(u), parameters.n_params))
    rows, places = np.arange(len(u)), parameters.places()
    J[rows[:, None], places["user_factors"][u]] = parameters.item_factors[i]  # (13a)
    J[rows[:, None], places["item_factors"][i]] = parameters.user_factors[u]  # (13a)
    if parameters.has_bias:
        J[rows, places["user_bias"][u]] = 1.0  # (13a)
        J[rows, places["item_bias"][i]] = 1.0  # (13a)
    return J


def _norm_jacobian(parameters: Parameters, side: str) -> FloatArray:
    """Equation (13b), (n_users or n_items, n_params)."""
    factors = getattr(parameters, side)
    norms = np.linalg.norm(factors, axis=1, keepdims=True)
    slopes = np.divide(factors, norms, out=np.zeros_like(factors), where=norms > 0)  # (13b)
    J = np.zeros((len(factors), parameters.n_params))
    J[np.arange(len(factors))[:, None], parameters.places()[side]] = slopes
    return J


def _differences(values: Callable[[FloatArray], FloatArray], theta: FloatArray) -> FloatArray:
    """The Jacobian of a user's function by central differences, (m, n_params)."""
    J = np.empty((len(values(theta)), theta.size))
    for j, h in enumerate(difference_step(theta)):
        ahead, behind = theta.copy(), theta.copy()
        ahead[j] += h
        behind[j] -= h
        J[:, j] = (values(ahead) - values(behind)) / (ahead[j] - behind[j])
    return J


def _shape(
    constraint: Constraint, values: Callable[[FloatArray], FloatArray], like: Parameters
) -> tuple[int, ...]:
    """The shape in which values for the cells may be given."""
    if callable(constraint.cells):
        return np.shape(constraint.cells(like))
    if isinstance(constraint.cells, str) and constraint.cells == "predictions":
        return like.n_users, like.n_items
    return values(like.pack()).shape
