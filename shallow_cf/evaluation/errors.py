"""Errors of predicted stars: RMSE and MAE of a model on ratings it has not seen."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from shallow_cf.ratings import Ratings, check_ratings

FloatArray = npt.NDArray[np.float64]

#: Pairs that are predicted at once: what a model gathers for them stays in memory.
_BATCH = 1_000_000


class Predictor(Protocol):
    """What can be judged: anything that predicts stars for pairs of ids."""

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """Stars, in the shape that users and items broadcast to."""


def residual(model: Predictor, ratings: Ratings) -> FloatArray:
    """e = r_hat - r, (n_ratings,), stars."""
    check_ratings(ratings)
    e: FloatArray = np.negative(ratings.rating, dtype=np.float64)
    for start in range(0, len(ratings), _BATCH):
        part = slice(start, start + _BATCH)
        users = ratings.user_ids[ratings.user_idx[part]]
        items = ratings.item_ids[ratings.item_idx[part]]
        e[part] += model.predict(users, items)
    return e


def rmse(model: Predictor, ratings: Ratings) -> float:
    """Root mean squared error, stars: sqrt(mean(e**2)).

    Parameters
    ----------
    model : object with ``predict(user_ids, item_ids)``
    ratings : Ratings
        Such as the test part of a split.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> round(scf.rmse(scf.GlobalMean().fit(ratings), ratings), 4)
    0.9399
    """
    return float(np.sqrt(np.mean(residual(model, ratings) ** 2)))


def mae(model: Predictor, ratings: Ratings) -> float:
    """Mean absolute error, stars: mean(abs(e)).

    Parameters
    ----------
    model : object with ``predict(user_ids, item_ids)``
    ratings : Ratings
        Such as the test part of a split.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> round(scf.mae(scf.GlobalMean().fit(ratings), ratings), 4)
    0.7414
    """
    return float(np.mean(np.abs(residual(model, ratings))))
