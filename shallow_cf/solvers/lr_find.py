"""Learning rate finder: raise the rate step by step and watch the error.

Smith (2017), "Cyclical Learning Rates for Training Neural Networks", section 3.3, as fast.ai
has it: from a copy of the start, batch after batch, the learning rate grows by the same factor
each time. Far too small rates change nothing, then the error falls, and where the steps become
too large it rises again.

One thing is done otherwise. fast.ai looks at the error of each batch before its step, averaged
over time. A batch of 64 ratings says little: on ml-100k the lowest average was among the very
first in three of eight sweeps, by chance. Here the error is measured on the same ratings after
every step, so that all differences come from the steps, and nothing needs to be smoothed.

The suggestion is a tenth of the rate at which the error was lowest: one of fast.ai's rules. At
the lowest point single steps are just about to become too large; a tenth leaves room for a run
that is many times as long. Measured (the suggestion, what training with it ends with, and the
best rate of a coarse grid; batches of 32 and 64):

    crosstab, 1000 epochs, training RMSE     half_sse, SGD     0.0038    0.42    best 0.05:  0.397
                                             mse, Adam         0.009     0.40    best 0.03:  0.393
    ml-100k, 5 epochs, validation RMSE       mse, SGD          0.8       0.94    best 2:     0.917
                                             mse, momentum     0.12      0.94    best 0.1:   0.937
                                             mse, AdamW        0.014     0.92    best 0.005: 0.903

So it is a rate that works, within a factor of about ten of the best: try three times more and
three times less. The rate where the error falls fastest, another of fast.ai's rules, was better
on the crosstab, but on ml-100k almost twenty times too large for AdamW; fast.ai's "valley" was
at least forty times too small on both, as without noise the error falls from the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from shallow_cf._checks import check_int, check_number, check_random_state
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import descent
from shallow_cf.solvers.descent import Descendable, SGDOptions
from shallow_cf.solvers.optimizers import start
from shallow_cf.solvers.result import check_start
from shallow_cf.solvers.sgd import Factorization

#: Ratings to measure the error on after every step.
_SAMPLE = 2000
#: The sweep ends where the error is so many times the lowest (fast.ai's).
_TOO_LARGE = 4.0


@runtime_checkable
class Measurable(Protocol):
    """A `Descendable` that can measure some of its ratings; without this, all are measured."""

    def batch_mse(self, theta: FloatArray, batch: IntArray) -> float:
        """Mean squared error of the ratings at the positions `batch`, stars**2."""


@dataclass(frozen=True, eq=False)
class LearningRates:
    """What a sweep over learning rates found.

    Attributes
    ----------
    table : DataFrame
        A row a step: its ``learning_rate`` and the ``loss`` after it, the mean squared error
        (stars**2) of the same ratings in all rows. Plot it with a logarithmic first axis.
    suggestion : float
        A tenth of the rate with the lowest loss; NaN where none was below that of the start.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> model = scf.MatrixFactorization(random_state=0)
    >>> rates = model.lr_find(scf.load_crosstab())
    >>> rates.table.columns.tolist()
    ['learning_rate', 'loss']
    >>> lowest = rates.table.loc[rates.table["loss"].idxmin(), "learning_rate"]
    >>> float(round(lowest / rates.suggestion, 6))
    10.0
    """

    table: pd.DataFrame
    suggestion: float


def lr_find(
    ratings: Ratings,
    parameters: Parameters,
    options: SGDOptions | None = None,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    n_steps: int = 100,
    random_state: int | np.random.Generator | None = None,
) -> LearningRates:
    """Find a learning rate for `sgd.solve` with these settings.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where the training is to start; left as they are.
    options : SGDOptions, optional
        Loss, optimiser, batch size and penalty; learning rate and schedule play no part.
    lowest, highest : float
        First and last rate.
    n_steps : int
        Steps, a batch each, at least 2.
    random_state : int or Generator, optional
        Of the order of ratings and of those that are measured on.

    Returns
    -------
    LearningRates

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range, or the start does not fit the ratings, is not
        finite or so large that the error overflows.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> start = scf.Parameters.random(15, 15, 5, random_state=0)
    >>> options = scf.SGDOptions(loss="mse", optimizer="adam", schedule="onecycle")
    >>> rates = scf.lr_find(ratings, start, options, random_state=0)
    >>> 0.005 < rates.suggestion < 0.05
    True
    """
    check_start(ratings, parameters)
    return sweep(
        Factorization(ratings, parameters),
        parameters.pack(),
        options or SGDOptions(),
        lowest=lowest,
        highest=highest,
        n_steps=n_steps,
        random_state=random_state,
    )


def sweep(
    problem: Descendable,
    theta: FloatArray,
    options: SGDOptions,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    n_steps: int = 100,
    random_state: int | np.random.Generator | None = None,
) -> LearningRates:
    """`lr_find` for anything that can be trained, from `theta`, which is left as it is.

    Where `problem` is no `Measurable`, the error is measured on all its ratings by ``rmse``.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> start_at = scf.Parameters.random(15, 15, 5, random_state=0)
    >>> problem = Factorization(scf.load_crosstab(), start_at)
    >>> rates = sweep(problem, start_at.pack(), SGDOptions(), n_steps=20, random_state=0)
    >>> rates.table["learning_rate"].head(3).round(9).tolist()  # the same factor each time
    [1e-07, 2.64e-07, 6.95e-07]
    """
    lowest = check_number("lowest", lowest, 0.0, above=True)
    highest = check_number("highest", highest, lowest, above=True)
    n_steps = check_int("n_steps", n_steps, 2)
    check_random_state(random_state)
    rng = np.random.default_rng(random_state)
    sample = rng.permutation(problem.n_ratings)[:_SAMPLE]
    rates, losses = np.geomspace(lowest, highest, n_steps), []
    theta = theta.astype(options.dtype)
    memory = start(options.rule, theta)
    batches = _batches(problem.n_ratings, options, rng)
    with np.errstate(over="ignore", invalid="ignore"):
        best = at_start = _loss(problem, theta, sample)
        if not np.isfinite(at_start):
            raise ValueError(descent.OVERFLOWS)
        for eta, batch in zip(rates, batches, strict=False):
            g = descent.batch_gradient(problem, options, theta, batch)
            descent.apply(options.rule, theta, g, memory, float(eta), None)
            loss = _loss(problem, theta, sample)
            if not np.isfinite(loss):
                break
            losses.append(loss)
            best = min(best, loss)
            if loss > _TOO_LARGE * best:
                break
    table = pd.DataFrame({"learning_rate": rates[: len(losses)], "loss": losses})
    fell = best < at_start
    return LearningRates(table, float(rates[np.argmin(losses)]) / 10 if fell else np.nan)


def _batches(n: int, options: SGDOptions, rng: np.random.Generator) -> Iterator[IntArray]:
    """Batches without end, epoch after epoch."""
    while True:
        for _, batch in descent.batches(n, options, rng):
            yield batch


def _loss(problem: Descendable, theta: FloatArray, sample: IntArray) -> float:
    """Mean squared error, stars**2."""
    if isinstance(problem, Measurable):
        return problem.batch_mse(theta, sample)
    return problem.rmse(theta) ** 2
