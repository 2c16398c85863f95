"""Stochastic gradient descent on matrix factorisation, vectorised over mini-batches.

With the default settings a batch B moves every parameter against its part of the gradient of
`objective.half_sse`:

    P_u <- P_u - eta (sum over (u, i) in B of e_ui Q_i + |B|/n reg P_u)      (4a), (16a)
    Q_i <- Q_i - eta (sum over (u, i) in B of e_ui P_u + |B|/n reg Q_i)      (4b), (16a)
    b_u <- b_u - eta (sum over (u, i) in B of e_ui     + |B|/n reg b_u)      (4c), (16a)
    b_i <- b_i - eta (sum over (u, i) in B of e_ui     + |B|/n reg b_i)      (4d), (16a)

With batch_size = 1 and no penalty these are Funk's updates (2006, "Netflix Update: Try This
at Home"), all factors at once; with batch_size = n_ratings this is plain gradient descent.
Batches of thousands take the limit (16c), without which rows with many ratings overshoot.
`descent` has the loop, `optimizers` other rules of what to do with a gradient, `schedules`
how the learning rate changes: by default it falls linearly over the epochs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from shallow_cf import objective
from shallow_cf.parameters import FloatArray, IntArray, Mapper, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import descent
from shallow_cf.solvers.descent import Keeper, Progress, SGDOptions
from shallow_cf.solvers.result import Callback, SolverResult, check_start

#: Numbers of a batch's embeddings from which on threads may share it: in smaller batches they
#: wait for each other longer than they save (measured: twice as long with 200,000 numbers).
_SHARED = 2**20


@dataclass(frozen=True)
class Factorization:
    """Matrix factorisation as `descent` sees it; `form` has the shapes, mean and range.

    `run` is that of `Parameters.predict`.
    """

    ratings: Ratings
    form: Parameters
    valid: Ratings | None = None
    run: Mapper = map
    _last: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def n_ratings(self) -> int:
        """Ratings to train on."""
        return self.ratings.n_ratings

    def gradient(self, theta: FloatArray, batch: IntArray) -> FloatArray:
        """Gradient of 1/2 sum e^2 over a batch. Equations (4a) to (4d)."""
        parameters, (u, i, r) = self.form.view(theta), self._triplets(batch)
        r = r.astype(theta.dtype, copy=False)
        run = self.run if len(batch) * parameters.n_factors >= _SHARED else map
        _, e = objective.batch_residuals(parameters, u, i, r, run=run)
        return objective.packed_sums(parameters, u, i, e, run=run)

    def limit_rows(self, g: FloatArray, batch: IntArray, limit: int) -> None:
        """Shrink in place what rows with more than `limit` ratings in a batch get. (16c)."""
        rows, (u, i, _) = self.form.view(g), self._triplets(batch)
        for idx, factors, bias in (
            (u, rows.user_factors, rows.user_bias),
            (i, rows.item_factors, rows.item_bias),
        ):
            count = np.bincount(idx, minlength=len(factors))
            busy = np.flatnonzero(count > limit)
            share = (limit / count[busy]).astype(g.dtype)  # (16c)
            factors[busy] *= share[:, None]
            if bias is not None:
                bias[busy] *= share

    def batch_mse(self, theta: FloatArray, batch: IntArray) -> float:
        """Mean squared error of a batch, stars**2."""
        e, _ = objective.batch_residuals(self.form.view(theta), *self._triplets(batch))
        return float(e @ e) / len(e)  # (3c)

    def _triplets(self, batch: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """The ratings of a batch, looked up once for `gradient` and `limit_rows`."""
        if self._last.get("batch") is not batch:
            data = self.ratings
            columns = data.user_idx.take(batch), data.item_idx.take(batch), data.rating.take(batch)
            self._last.update(batch=batch, triplets=columns)
        found: tuple[IntArray, IntArray, FloatArray] = self._last["triplets"]
        return found

    def rmse(self, theta: FloatArray) -> float:
        """RMSE over the training ratings, stars."""
        return objective.rmse(self.ratings, self.form.view(theta), run=self.run)

    def valid_rmse(self, theta: FloatArray) -> float:
        """RMSE over the validation ratings, stars; NaN without any."""
        if self.valid is None:
            return np.nan
        return objective.rmse(self.valid, self.form.view(theta), run=self.run)


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: SGDOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
    *,
    valid: Ratings | None = None,
    keep: Keeper | None = None,
    progress: Progress | None = None,
    run: Mapper = map,
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
        ``valid_rmse``, ``learning_rate``, ``seconds``. Returning True stops.
    random_state : int or Generator, optional
        Of the order of ratings.
    valid : Ratings, optional
        Of the same users and items, to measure on and for the options' ``patience``.
    keep : callable, optional
        Called with the state of the run after each epoch; ``dataclasses.replace(state)``
        makes a snapshot.
    progress : Progress, optional
        State to go on from, instead of the start; left as it is. With the same settings the
        outcome has the same bits as that of a run without interruption.
    run : callable
        Like the built-in ``map``, to do independent pieces of large batches: with the ``map``
        of a pool of threads they are done by several, with the same bits.

    Returns
    -------
    SolverResult
        Ctrl-C ends a run with the last full epoch.

    Raises
    ------
    DivergenceError
        If the error grows beyond all bounds.
    ValueError
        If the parameters do not fit the ratings or are not finite, or patience is asked for
        without validation ratings.
    """
    options = options or SGDOptions()
    check_start(ratings, parameters)
    if valid is not None:
        objective.check_fit(valid, parameters)
    problem = Factorization(ratings, parameters, valid, run)
    rng = np.random.default_rng(random_state)
    if progress is None:
        progress = descent.begin(problem, parameters.pack(), options, rng)
    progress = replace(progress)  # a snapshot of the caller's
    message = descent.descend(
        problem,
        options,
        progress,
        rng,
        largest_rating=float(np.abs(ratings.rating).max()),
        callback=callback,
        keep=keep,
    )
    return SolverResult(
        parameters=parameters.unpack(descent.found(progress, options)),
        trace=progress.trace,
        code=None,
        message=message,
        seconds=progress.trace[-1]["seconds"],
        start=parameters,
        n_function=len(progress.trace),
        n_gradient=len(progress.trace) - 1,
        row=-1 if options.patience is None else progress.best_epoch,
    )
