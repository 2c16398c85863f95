"""Stochastic gradient descent, vectorised over mini-batches.

Each epoch goes once through the ratings, as a rule in random order, a batch B at a time,
and moves every parameter against its part of the gradient of `objective.half_sse`:

    P_u <- P_u - eta sum over (u, i) in B of (e_ui Q_i + reg / |I(u)| P_u)      (4a)
    Q_i <- Q_i - eta sum over (u, i) in B of (e_ui P_u + reg / |U(i)| Q_i)      (4b)
    b_u <- b_u - eta sum over (u, i) in B of (e_ui     + reg / |I(u)| b_u)      (4c)
    b_i <- b_i - eta sum over (u, i) in B of (e_ui     + reg / |U(i)| b_i)      (4d)

Each rating carries its share of the penalty: over an epoch the shares of a user or item
add up to the whole, and a batch touches only the rows it holds. (Users and items without
ratings stay where they start.) With batch_size = 1 the updates have the form of Funk's
(2006, "Netflix Update: Try This at Home"), all factors at once; with batch_size =
n_ratings this is plain gradient descent.

The learning rate falls linearly over the epochs, to 1/n_epochs of its first value: large
steps first, and in the end the noise of the batches dies out, which is the idea of Robbins
and Monro (1951), "A Stochastic Approximation Method".
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from shallow_cf import objective
from shallow_cf._checks import check_int, check_number
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.result import Callback, SolverResult, TraceRow, check_start


class DivergenceError(ValueError):
    """The learning rate was too large: the error grew beyond all bounds.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 1, in which it happened.
    learning_rate : float
        The first step size of that run.
    """

    def __init__(self, epoch: int, learning_rate: float) -> None:
        self.epoch, self.learning_rate = epoch, learning_rate
        super().__init__(
            f"diverged in epoch {epoch} with learning_rate {learning_rate:g}: "
            f"try learning_rate={learning_rate / 4:g}, a smaller batch_size, "
            "or a smaller init_scale when there are many factors"
        )

    def __reduce__(self) -> tuple[type[DivergenceError], tuple[int, float]]:
        return type(self), (self.epoch, self.learning_rate)  # to be pickled between processes


@dataclass(frozen=True)
class SGDOptions:
    """Settings of stochastic gradient descent.

    Parameters
    ----------
    n_epochs : int
        How often to go through the ratings.
    learning_rate : float
        First step size eta; it falls linearly.
    batch_size : int
        Ratings a step; more than there are means all of them. Steps are sums over the
        batch, so a larger one needs a smaller learning rate (0.01 for all 206 ratings of
        the crosstab at once).
    reg : float
        L2 penalty lambda >= 0 of `objective.half_sse`.
    shuffle : bool
        Whether each epoch goes through the ratings in another random order; if not, it
        goes row by row through the crosstab, as the workbook's sheet `sgd` does.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.
    """

    n_epochs: int = 1000
    learning_rate: float = 0.05
    batch_size: int = 32
    reg: float = 0.0
    shuffle: bool = True

    def __post_init__(self) -> None:
        check_int("n_epochs", self.n_epochs, 1)
        check_number("learning_rate", self.learning_rate, 0.0, above=True)
        check_int("batch_size", self.batch_size, 1)
        check_number("reg", self.reg, 0.0)


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: SGDOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
) -> SolverResult:
    """Train by mini-batch stochastic gradient descent.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where to start; left as they are.
    options : SGDOptions, optional
    callback : callable, optional
        Called after each epoch with the row of the trace: ``epoch``, ``train_rmse``,
        ``learning_rate``, ``seconds``. Returning True stops.
    random_state : int or Generator, optional
        Of the order of ratings.

    Returns
    -------
    SolverResult

    Raises
    ------
    DivergenceError
        If the error grows beyond all bounds.
    ValueError
        If the parameters do not fit the ratings or are not finite.
    """
    options = options or SGDOptions()
    check_start(ratings, parameters)
    rng = np.random.default_rng(random_state)
    started = time.perf_counter()
    found = Parameters(*(block.copy() for block in parameters.blocks()))
    share_u = options.reg / np.maximum(np.bincount(ratings.user_idx, minlength=ratings.n_users), 1)
    share_i = options.reg / np.maximum(np.bincount(ratings.item_idx, minlength=ratings.n_items), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        start_rmse = objective.rmse(ratings, found)
    if not np.isfinite(start_rmse):
        raise ValueError("the parameters to start from are so large that the error overflows")
    # No useful run ends a million times worse than both its start and the ratings' size.
    bound = 1e6 * max(start_rmse, float(np.abs(ratings.rating).max()))
    trace: list[TraceRow] = [
        {"epoch": 0, "train_rmse": start_rmse, "learning_rate": np.nan, "seconds": 0.0}
    ]
    message = f"Ran {options.n_epochs} epochs."
    for epoch in range(options.n_epochs):
        eta = options.learning_rate * (1 - epoch / options.n_epochs)
        n = ratings.n_ratings
        order = rng.permutation(n) if options.shuffle else np.arange(n)
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, ratings.n_ratings, options.batch_size):
                batch = order[first : first + options.batch_size]
                u, i = ratings.user_idx[batch], ratings.item_idx[batch]
                _step(found, u, i, ratings.rating[batch], eta, share_u, share_i)
            error = objective.rmse(ratings, found)
        if not error <= bound or not found.is_finite():
            raise DivergenceError(epoch + 1, options.learning_rate)
        seconds = time.perf_counter() - started
        row: TraceRow = {
            "epoch": epoch + 1, "train_rmse": error, "learning_rate": eta, "seconds": seconds
        }  # fmt: skip
        trace.append(row)
        if callback is not None and callback(row):
            message = f"Stopped at the user's request after {epoch + 1} epochs."
            break
    return SolverResult(
        parameters=found,
        trace=trace,
        code=None,
        message=message,
        seconds=time.perf_counter() - started,
        start=parameters,
        n_function=len(trace),
        n_gradient=len(trace) - 1,
    )


def _step(
    found: Parameters,
    u: IntArray,
    i: IntArray,
    r: FloatArray,
    eta: float,
    share_u: FloatArray,
    share_i: FloatArray,
) -> None:
    """One batch: change `found` in place.

    ``np.subtract.at`` and not ``P[u] -= ...``: a user may stand in a batch more than
    once, and every one of the ratings counts.
    """
    P, Q = found.user_factors, found.item_factors
    p, q = P[u], Q[i]
    e = found.predict(u, i) - r  # (2)
    np.subtract.at(P, u, eta * (e[:, None] * q + share_u[u, None] * p))  # (4a)
    np.subtract.at(Q, i, eta * (e[:, None] * p + share_i[i, None] * q))  # (4b)
    if found.biases is not None:
        bu, bi = found.biases
        np.subtract.at(bu, u, eta * (e + share_u[u] * bu[u]))  # (4c)
        np.subtract.at(bi, i, eta * (e + share_i[i] * bi[i]))  # (4d)
