"""Excel's Solver (GRG Nonlinear), mirrored on `scipy.optimize`.

The problem of the spreadsheet has no constraints, and then the generalised reduced
gradient method of Lasdon, Waren, Jain and Ratner (1978, "Design and testing of a
generalized reduced gradient code for nonlinear programming", ACM TOMS 4(1)) is a
quasi-Newton method: the reduced gradient is the gradient, the search direction comes
from a BFGS approximation of the Hessian, or from conjugate gradients when that matrix
would be too large. scipy supplies both; what makes it Solver is mirrored here, as
documented by Frontline Systems and by GRG2's published source (not confirmed in Excel
itself):

- the objective is `objective.rmse`, the spreadsheet's red cell;
- derivatives by forward or central differences with GRG2's step
  h = max(1e-4 |x|, 1e-5), or, beyond what Solver offers, the analytic gradient;
- Solver's Convergence rule: stop when the relative change of the objective has been
  below `convergence` for the last five iterations. As in GRG2 the value compared with
  is reset only when the change exceeds `convergence`, so slow drift adds up;
- result codes and messages in Solver's words.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from shallow_cf import objective
from shallow_cf._checks import check_choice, check_int, check_number
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.result import Callback, SolverResult, TraceRow, check_start

MESSAGES = {
    0: "Solver found a solution. All constraints and optimality conditions are satisfied.",
    1: "Solver has converged to the current solution. All constraints are satisfied.",
    2: "Solver cannot improve the current solution. All constraints are satisfied.",
    3: "Stop chosen when the maximum iteration limit was reached.",
    6: "Solver stopped at user's request.",
    9: "Solver encountered an error value in the objective cell or a constraint cell.",
    10: "Stop chosen when the maximum time limit was reached.",
}
DERIVATIVES = ("forward", "central", "analytic")

#: Iterations in a row that have to change the objective by less than `convergence`.
_QUIET_ITERATIONS = 5
#: Largest gradient entry that counts as zero (stars per unit): code 0.
_OPTIMALITY_TOLERANCE = 1e-6
#: Above this many variables BFGS, whose iterations cost n**3 in scipy, gives way to
#: conjugate gradients.
_MAX_BFGS_VARIABLES = 1000


@dataclass(frozen=True)
class SolverOptions:
    """The Solver dialog's options that matter without constraints, with its defaults.

    Parameters
    ----------
    convergence : float
        Between 0 and 1: the relative change of the objective that counts as none.
    derivatives : {"forward", "central", "analytic"}
        How the gradient is found: by differences as in Excel, or by equation (5).
        Differences cost an evaluation of the RMSE (or two) for every parameter; beyond
        some hundred parameters take the analytic gradient.
    iterations : int, optional
        Most iterations; None for no limit.
    max_time : float, optional
        Most seconds; None for no limit.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.
    """

    convergence: float = 1e-4
    derivatives: str = "forward"
    iterations: int | None = None
    max_time: float | None = None

    def __post_init__(self) -> None:
        if check_number("convergence", self.convergence, 0.0) > 1:
            raise ValueError(f"`convergence` must be <= 1, got {self.convergence}")
        check_choice("derivatives", self.derivatives, DERIVATIVES)
        if self.iterations is not None:
            check_int("iterations", self.iterations, 1)
        if self.max_time is not None:
            check_number("max_time", self.max_time, 0.0, above=True)


class _Monitor:
    """Follows a run from iteration to iteration and says when Solver would stop."""

    def __init__(
        self, theta: FloatArray, value: float, options: SolverOptions, callback: Callback | None
    ) -> None:
        self.options, self.callback = options, callback
        self.started = time.perf_counter()
        self.theta = theta
        self.trace: list[TraceRow] = [{"iteration": 0, "train_rmse": value, "seconds": 0.0}]
        self.reference, self.quiet = value, 0
        self.code: int | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def __call__(self, intermediate_result: optimize.OptimizeResult) -> None:
        # scipy passes an OptimizeResult to a callback with this parameter name.
        value = float(intermediate_result.fun)
        self.theta = np.array(intermediate_result.x)
        row: TraceRow = {
            "iteration": len(self.trace), "train_rmse": value, "seconds": self.seconds
        }  # fmt: skip
        self.trace.append(row)
        if abs(value - self.reference) > self.options.convergence * abs(self.reference):
            self.reference, self.quiet = value, 0
        else:
            self.quiet += 1
        if self.callback is not None and self.callback(row):
            self.code = 6
        elif self.quiet >= _QUIET_ITERATIONS:
            self.code = 1
        elif self.options.iterations is not None and row["iteration"] >= self.options.iterations:
            self.code = 3
        elif self.options.max_time is not None and row["seconds"] >= self.options.max_time:
            self.code = 10
        if self.code is not None:
            raise StopIteration


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: SolverOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
) -> SolverResult:
    """Minimise the RMSE over rated cells as Excel's Solver does.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where to start; left as they are.
    options : SolverOptions, optional
    callback : callable, optional
        Called after each iteration with the row of the trace: ``iteration``,
        ``train_rmse``, ``seconds``. Returning True stops (code 6), and so does Ctrl-C;
        what was reached is kept.
    random_state : int or Generator, optional
        Not used: the method draws nothing. It is there so that all solvers are called
        in one way.

    Returns
    -------
    SolverResult
        With Solver's result code and message.

    Raises
    ------
    ValueError
        If the parameters do not fit the ratings or are not finite.
    """
    options = options or SolverOptions()
    check_start(ratings, parameters)
    theta = parameters.pack()

    def rmse(theta: FloatArray) -> float:
        return objective.rmse(ratings, parameters.unpack(theta))

    def gradient(theta: FloatArray) -> FloatArray:
        if options.derivatives == "forward":
            return objective.forward_difference(rmse, theta, difference_step(theta))
        if options.derivatives == "central":
            return objective.central_difference(rmse, theta, difference_step(theta))
        return objective.rmse_gradient(ratings, parameters.unpack(theta)).pack()

    # Overflow in a trial step of the line search is no error: the step is shortened.
    with np.errstate(over="ignore", invalid="ignore"):
        monitor = _Monitor(theta, rmse(theta), options, callback)
        if not np.isfinite(monitor.reference):
            return SolverResult(parameters, monitor.trace, 9, MESSAGES[9], monitor.seconds)
        try:
            outcome = optimize.minimize(
                rmse,
                theta,
                jac=gradient,
                method="BFGS" if theta.size <= _MAX_BFGS_VARIABLES else "CG",
                callback=monitor,
                # The limit of iterations is the monitor's: scipy's own default is 200 n.
                options={"gtol": _OPTIMALITY_TOLERANCE, "maxiter": np.iinfo(np.int32).max},
            )
            code = monitor.code if monitor.code is not None else (0 if outcome.success else 2)
        except KeyboardInterrupt:
            code = 6
    found = parameters.unpack(monitor.theta)
    return SolverResult(found, monitor.trace, code, MESSAGES[code], monitor.seconds)


def difference_step(theta: FloatArray) -> FloatArray:
    """GRG2's step for differences, (n_params,): 1e-4 of the value, at least 1e-5."""
    return np.maximum(1e-4 * np.abs(theta), 1e-5)
