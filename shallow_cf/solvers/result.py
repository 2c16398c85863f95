"""What every solver takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shallow_cf.objective import check_fit
from shallow_cf.parameters import Parameters
from shallow_cf.posterior import Posterior
from shallow_cf.ratings import Ratings

TraceRow = dict[str, float]
#: Called with each new row of the trace; a solver stops when it returns True.
Callback = Callable[[TraceRow], bool | None]

#: Solver's result codes and what it says.
MESSAGES = {
    0: "Solver found a solution. All constraints and optimality conditions are satisfied.",
    1: "Solver has converged to the current solution. All constraints are satisfied.",
    2: "Solver cannot improve the current solution. All constraints are satisfied.",
    3: "Stop chosen when the maximum iteration limit was reached.",
    4: "The Objective Cell values do not converge.",
    5: "Solver could not find a feasible solution.",
    6: "Solver stopped at user's request.",
    9: "Solver encountered an error value in the objective cell or a constraint cell.",
    10: "Stop chosen when the maximum time limit was reached.",
    17: "Solver converged in probability to a global solution.",
    18: "All variables must have both upper and lower bounds.",
    20: "Lower and upper bounds on variables allow no feasible solution.",
}
#: Result codes that come without a solution.
WITHOUT_SOLUTION = (4, 5, 9, 18, 20)


@dataclass(frozen=True)
class SolverResult:
    """Outcome of a run.

    Attributes
    ----------
    parameters : Parameters
        What was found; always finite.
    trace : list of dict
        A row an epoch (SGD), an iteration (GRG, variable projection), a sweep (alternating
        least squares, variational Bayes) or a search
        (multistart), the start first: its number, the RMSE over all ratings
        (``train_rmse``, stars: the objective cell) and the seconds since the start. The
        solvers that search along a line add ``step``, how far the parameters moved, and
        ``gradient_norm``, the largest entry of the reduced gradient.
    code : int or None
        Solver's result code, a key of `MESSAGES`; None for the methods that have none.
    message : str
        Why the run ended.
    seconds : float
        Wall time.
    start : Parameters
        Where the run started.
    n_function, n_gradient : int
        Evaluations of the objective, those made for differences included, and of its
        gradient. SGD counts an epoch as one of each.
    reduced_gradient : Parameters or None
        Slope of the RMSE along each parameter at the end, stars per unit, less what
        constraints account for; None where the solver did not find it.
    row : int
        Row of the trace that `parameters` belong to: the last, or the best with patience.
    posterior : Posterior or None
        How sure variational Bayes is of the parameters, which are its means.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> options = scf.SGDOptions(n_epochs=20)
    >>> model = scf.MatrixFactorization(solver_options=options, random_state=0)
    >>> result = model.fit(scf.load_crosstab()).result_
    >>> result.message, result.iterations, result.rmse_after < result.rmse_before
    ('Ran 20 epochs.', 20, True)
    """

    parameters: Parameters
    trace: list[TraceRow]
    code: int | None
    message: str
    seconds: float
    start: Parameters
    n_function: int
    n_gradient: int
    reduced_gradient: Parameters | None = None
    row: int = -1
    posterior: Posterior | None = None

    @property
    def rmse_before(self) -> float:
        """The objective, RMSE, at the start, stars.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings, options = scf.load_crosstab(), scf.SGDOptions(n_epochs=20)
        >>> model = scf.MatrixFactorization(solver_options=options, random_state=0).fit(ratings)
        >>> model.result_.rmse_before == model.result_.trace[0]["train_rmse"]
        True
        """
        return self.trace[0]["train_rmse"]

    @property
    def rmse_after(self) -> float:
        """The objective, RMSE, of what was found, stars.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings, options = scf.load_crosstab(), scf.SGDOptions(n_epochs=20)
        >>> model = scf.MatrixFactorization(solver_options=options, random_state=0).fit(ratings)
        >>> abs(model.result_.rmse_after - model.rmse(ratings)) < 1e-9
        True
        """
        return self.trace[self.row]["train_rmse"]

    @property
    def iterations(self) -> int:
        """How many epochs or iterations were made.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> options = scf.SGDOptions(n_epochs=20)
        >>> model = scf.MatrixFactorization(solver_options=options, random_state=0)
        >>> model.fit(scf.load_crosstab()).result_.iterations
        20
        """
        return len(self.trace) - 1


def check_start(ratings: Ratings, parameters: Parameters) -> None:
    """Refuse parameters that do not fit the ratings or are not finite.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> start = scf.Parameters([[1], [float("nan")]], [[2], [3]])
    >>> check_start(scf.Ratings.from_arrays([["ann", 1], ["bob", 2]], [5, 4]), start)
    Traceback (most recent call last):
        ...
    ValueError: the parameters to start from must be finite, got NaN or infinity
    """
    check_fit(ratings, parameters)
    if not parameters.is_finite():
        raise ValueError("the parameters to start from must be finite, got NaN or infinity")


def check_linear(parameters: Parameters, solver: str) -> None:
    """Refuse a rating range, whose sigmoid makes regressions of one side no longer linear.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> check_linear(scf.Parameters([[1]], [[2]], rating_range=(0.5, 5.5)), "als")
    Traceback (most recent call last):
        ...
    ValueError: solver 'als' works without a `rating_range`: use 'sgd' for a model with a range
    """
    if parameters.rating_range is not None:
        raise ValueError(
            f"solver {solver!r} works without a `rating_range`: use 'sgd' for a model with a range"
        )
