"""Excel's Solver (GRG Nonlinear), mirrored.

The generalised reduced gradient method of Lasdon, Waren, Jain and Ratner (1978, "Design
and testing of a generalized reduced gradient code for nonlinear programming", ACM TOMS
4(1)), which Excel's Solver is built on, for a problem whose only constraints are bounds:

    x <- x + alpha d, alpha no larger than the first bound allows

- *Reduced gradient*: the variables that stand at a bound and would leave it downhill are
  out of the basis; the others, the free ones, are those that move. Without bounds all are
  free and the reduced gradient is the gradient.
- *Derivatives* by forward or central differences with GRG2's step
  h = max(1e-4 |x|, 1e-5), or, beyond what Solver offers, by equation (5).
- *Search direction* d: quasi-Newton, d = -H g with H the BFGS estimate of the inverse
  Hessian,

      (7)   H <- H + (1 + y'Hy / s'y) ss' / s'y - (Hy s' + s y'H) / s'y

  for the last move s and the change y of the gradient over it; or conjugate gradients,
  d = -g + beta d with beta = max(0, g'(g - g_before) / g_before'g_before) (Polak and
  Ribiere). Both start, and start again where they lead nowhere, downhill.
- *Step length* alpha by values of the objective alone, since a gradient by differences
  costs more than all else: double the step until the objective rises, or halve it until
  it falls, then take the lowest point of the parabola through the last three.
- *Convergence*, result codes and messages: `monitor.Monitor`, `result.MESSAGES`.

Constraints on other cells are `constrained`'s, many starts `multistart`'s. What this
shares with Excel's Solver and what it does not: docs/solver.md. Nothing here was confirmed
in Excel itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import constrained
from shallow_cf.solvers.monitor import Monitor
from shallow_cf.solvers.multistart import multistart
from shallow_cf.solvers.options import SolverOptions, draw_start
from shallow_cf.solvers.problem import OPTIMALITY_TOLERANCE, Point, Problem
from shallow_cf.solvers.result import MESSAGES, Callback, SolverResult, check_start

#: Above this many variables the matrix H gives way to conjugate gradients.
_MAX_NEWTON_VARIABLES = 2000
#: Halvings (or doublings) of a step before the search along a line is given up.
_MAX_HALVINGS = 60
#: An objective beyond this does not converge: code 4 (GRG2's number).
_INFINITE = 1e30
#: Convergence of the last search of a multistart, and towards a value wanted.
_FINAL_CONVERGENCE = 1e-9


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: SolverOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
) -> SolverResult:
    """Turn the parameters until the RMSE over rated cells is small, as Excel's Solver does.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where to start; left as they are. What lies outside its bounds starts at the bound.
    options : SolverOptions, optional
    callback : callable, optional
        Called after each iteration with the row of the trace: ``iteration``,
        ``train_rmse``, ``step``, ``gradient_norm``, ``seconds`` (with multistart after
        each search, see `multistart.multistart`). Returning True stops (code 6), and so
        does Ctrl-C; the best point so far is kept.
    random_state : int or Generator, optional
        Of multistart's starts where ``options.random_seed`` is 0; nothing else is drawn.

    Returns
    -------
    SolverResult
        With Solver's result code and message.

    Raises
    ------
    ValueError
        If the parameters do not fit the ratings, the constraints do not fit the
        parameters, or a number is not finite.
    """
    options = options or SolverOptions()
    check_start(ratings, parameters)
    parameters.check_plain("solver grg")
    problem = Problem(ratings, parameters, options)
    refusal = _refusal(problem)
    if options.multistart and refusal is None:
        return multistart(
            lambda start, local: solve(ratings, start, local),
            lambda rng: draw_start(rng, problem.lower, problem.upper),
            parameters,
            options,
            _to_the_end(options),
            callback,
            random_state,
            lambda run: problem.merit(run.rmse_after),
        )
    # A value wanted of the objective is reached or not; slow progress is no end of it.
    convergence = (_to_the_end(options) if options.to == "value_of" else options).convergence
    monitor = Monitor(convergence, options.iterations, options.max_time, callback)
    # Overflow in a trial step of the line search is no error: the step is shortened.
    with np.errstate(over="ignore", invalid="ignore"):
        code, slope = _run(problem, parameters.pack(), refusal, monitor)
        if code in (0, 1, 2) and problem.misses(monitor.rmse):
            code = 5
    return SolverResult(
        parameters=parameters.unpack(monitor.theta),
        trace=monitor.trace,
        code=code,
        message=MESSAGES[code],
        seconds=monitor.seconds,
        start=parameters,
        n_function=problem.table.n_function,
        n_gradient=problem.table.n_gradient,
        reduced_gradient=None if slope is None else parameters.unpack(slope),
    )


def _to_the_end(options: SolverOptions) -> SolverOptions:
    """Options of a multistart's last search: only the digits of the best end are wanted."""
    derivatives = "central" if options.derivatives == "forward" else options.derivatives
    convergence = min(options.convergence, _FINAL_CONVERGENCE)
    return replace(options, convergence=convergence, derivatives=derivatives)


def _refusal(problem: Problem) -> int | None:
    """The code with which Solver does not even start, or None."""
    if (problem.lower > problem.upper).any():
        return 20
    is_bounded = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    if problem.options.multistart and problem.options.require_bounds and not is_bounded.all():
        return 18
    return None


def _run(
    problem: Problem, theta: FloatArray, refusal: int | None, monitor: Monitor
) -> tuple[int, FloatArray | None]:
    """The result code and the reduced gradient at the end, None where there is none."""
    here = problem.at(theta)
    if refusal is not None or not math.isfinite(here.rmse):
        monitor.note(here.theta, here.rmse)
        return (9 if refusal is None else refusal), None
    within = problem.project(theta)
    if not np.array_equal(within, theta):  # the first step leads into the bounds
        monitor.note(here.theta, here.rmse)
        here = problem.at(within)
    if any(not constraint.is_bound for constraint in problem.options.constraints):
        return constrained.minimise(problem, here, monitor)
    return _minimise(problem, here, monitor)


def _minimise(problem: Problem, here: Point, monitor: Monitor) -> tuple[int, FloatArray]:
    """The reduced gradient method from a point."""
    is_newton = problem.options.search == "newton" and here.theta.size <= _MAX_NEWTON_VARIABLES
    search = (_Newton if is_newton else _Conjugate)(problem.scale(here.theta))
    try:
        slope = problem.slope(here.theta)
        while True:
            uphill = problem.weight(here.rmse) * slope
            free = problem.free(here.theta, uphill)
            norm = float(np.abs(slope[free]).max(initial=0.0))
            code = monitor.note(here.theta, here.rmse, norm)
            if problem.is_reached(here.rmse) or norm <= OPTIMALITY_TOLERANCE:
                return 0, slope
            if code is not None:
                return code, slope
            found = _next_point(problem, here, search, np.where(free, uphill, 0.0), free)
            if found is None:
                return 2, slope
            if found.rmse > _INFINITE:
                return 4, slope
            there = problem.slope(found.theta)
            change = problem.weight(found.rmse) * there - uphill
            search.update(found.theta - here.theta, change)
            here, slope = found, there
    except KeyboardInterrupt:
        if not monitor.trace:
            monitor.note(here.theta, here.rmse)
        return 6, problem.slope(monitor.theta)


def _next_point(
    problem: Problem,
    here: Point,
    search: _Newton | _Conjugate,
    uphill: FloatArray,
    free: npt.NDArray[np.bool_],
) -> Point | None:
    """The end of a search along a line, from scratch where the direction leads nowhere."""
    while True:
        search.restrict(free)
        d = np.where(free, search.direction(uphill), 0.0)
        found = None
        if d @ uphill < 0:  # else it leads up, as conjugate directions may
            found = _search_line(problem, here, d, search.first_alpha(d), search.n_parabolas)
        if found is not None or search.is_fresh:
            return found
        search.reset()


def _search_line(
    problem: Problem, here: Point, d: FloatArray, alpha: float, n_parabolas: int
) -> Point | None:
    """A lower point on x + alpha d, up to the first bound; None if there is none."""
    longest = problem.longest_step(here.theta, d)

    def at(alpha: float) -> Point:
        return problem.at(problem.project(here.theta + alpha * d), alpha)

    here = here._replace(alpha=0.0)
    left, middle, right = here, here, at(min(alpha, longest))
    if right.merit < here.merit:
        for _ in range(_MAX_HALVINGS):  # double it until the objective rises
            if right.alpha >= longest:
                return right
            left, middle, right = middle, right, at(min(2 * right.alpha, longest))
            if not right.merit < middle.merit or right.rmse > _INFINITE:
                break
    else:
        for _ in range(_MAX_HALVINGS):  # halve it until the objective falls
            middle = at(right.alpha / 2)
            if middle.merit < here.merit:
                break
            right = middle
        else:
            return None
    for _ in range(n_parabolas):
        vertex = at(_vertex(left, middle, right))
        if not vertex.merit < middle.merit:
            break
        if vertex.alpha < middle.alpha:
            middle, right = vertex, middle
        else:
            left, middle = middle, vertex
    return right if right.merit < middle.merit else middle


def _vertex(left: Point, middle: Point, right: Point) -> float:
    """Where the parabola through three points of a line is lowest; NaN if it is straight."""
    (a, fa), (b, fb), (c, fc) = ((p.alpha, p.merit) for p in (left, middle, right))
    toward, away = (b - a) * (fb - fc), (b - c) * (fb - fa)
    if toward == away:
        return math.nan
    return b - ((b - a) * toward - (b - c) * away) / (2 * (toward - away))


class _Newton:
    """Quasi-Newton directions; `scale` holds the unit of each variable."""

    n_parabolas = 1

    def __init__(self, scale: FloatArray) -> None:
        self.scale = scale
        self.reset()

    def reset(self) -> None:
        """Forget the estimate: the next direction is downhill."""
        self.H = np.diag(self.scale**2)
        self.unit, self.free = 1.0, np.full(self.scale.shape, True)
        self.is_fresh = True

    def restrict(self, free: npt.NDArray[np.bool_]) -> None:
        """Take the variables that a bound now holds out of H, and those it lets go back in.

        Without variable j the inverse of the Hessian is H - h_j h_j' / H_jj.
        """
        for j in np.flatnonzero(self.free & ~free):
            self.H -= np.outer(self.H[j], self.H[j] / self.H[j, j])
            self.H[j], self.H[:, j] = 0.0, 0.0
        for j in np.flatnonzero(free & ~self.free):
            self.H[j, j] = self.unit * self.scale[j] ** 2
        self.free = free

    def direction(self, uphill: FloatArray) -> FloatArray:
        """d = -H g."""
        return -(self.H @ uphill)

    def first_alpha(self, d: FloatArray) -> float:
        """Newton's step is 1; the first, of unknown length, moves by one unit."""
        return 1 / max(float(np.linalg.norm(d / self.scale)), 1e-300) if self.is_fresh else 1.0

    def update(self, s: FloatArray, y: FloatArray) -> None:
        """Take in the last move s and the gradient's change y. Equation (7)."""
        s, y = np.where(self.free, s, 0.0), np.where(self.free, y, 0.0)
        sy = float(s @ y)
        if not sy > 1e-10 * float(np.linalg.norm(s) * np.linalg.norm(y)):
            return  # no curvature seen along s: H would not stay positive definite
        if self.is_fresh:
            # The first curvature seen says how long steps should be (Nocedal and Wright,
            # "Numerical Optimization", equation 6.20).
            self.unit = sy / float(y @ (self.H @ y))
            self.H *= self.unit
            self.is_fresh = False
        Hy = self.H @ y
        v = (1 + float(y @ Hy) / sy) / sy * s - Hy / sy
        # s v' - Hy s'/sy, as one product of two thin matrices.
        self.H += np.column_stack((s, -Hy / sy)) @ np.vstack((v, s))  # (7)


class _Conjugate:
    """Conjugate gradients; `scale` holds the unit of each variable."""

    n_parabolas = 3

    def __init__(self, scale: FloatArray) -> None:
        self.scale = scale
        self.alpha_d = 1.0
        self.reset()

    def reset(self) -> None:
        """Forget the last direction: the next is downhill."""
        self.before: tuple[FloatArray, FloatArray] | None = None
        self.is_fresh = True

    def restrict(self, free: npt.NDArray[np.bool_]) -> None:
        """Nothing to do: a direction is cut to the free variables where it is used."""

    def direction(self, uphill: FloatArray) -> FloatArray:
        """d = -g + beta d, in units of the variables."""
        d = -(self.scale**2) * uphill
        if self.before is not None:
            g, d_before = self.before
            size = float(g @ (self.scale**2 * g))
            beta = max(0.0, -float(d @ (uphill - g)) / size) if size > 0 else 0.0
            d = d + beta * d_before
            self.is_fresh = beta == 0
        self.before = uphill, d
        return d

    def first_alpha(self, d: FloatArray) -> float:
        """As far as the last move."""
        return self.alpha_d / max(float(np.linalg.norm(d / self.scale)), 1e-300)

    def update(self, s: FloatArray, y: FloatArray) -> None:
        """Take in the last move."""
        self.alpha_d = float(np.linalg.norm(s / self.scale)) or 1.0
