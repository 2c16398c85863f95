"""Baselines: what any model with embeddings has to beat.

Both predict without a single dot product. How much of a model's success they explain
already is the first thing to ask of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

from shallow_cf._checks import check_number
from shallow_cf._ids import find_ids
from shallow_cf.ratings import Ratings, check_ratings

FloatArray = npt.NDArray[np.float64]


class GlobalMean:
    """Predicts mu, the mean of all ratings it was fitted on, for everyone and everything.

    Attributes
    ----------
    global_mean_ : float
        mu, stars.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> scf.GlobalMean().fit(scf.load_crosstab()).predict([15, 30], 1).round(2)
    array([3.99, 3.99])
    """

    global_mean_: float
    item_ids_: npt.NDArray[Any]

    def fit(self, ratings: Ratings) -> GlobalMean:
        """Take the mean of the ratings; returns this object."""
        check_ratings(ratings)
        self.global_mean_ = ratings.mean_rating
        self.item_ids_ = ratings.item_ids
        return self

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """The mean, stars, in the shape that users and items broadcast to."""
        _check_fitted(self)
        shape = np.broadcast_shapes(np.shape(user_ids), np.shape(item_ids))
        return np.full(shape, self.global_mean_)

    def predict_all(self, user_ids: npt.ArrayLike) -> FloatArray:
        """The mean for these users and every item, (n, n_items), stars."""
        _check_fitted(self)
        return np.full((np.size(user_ids), len(self.item_ids_)), self.global_mean_)

    def __repr__(self) -> str:
        return "GlobalMean()"


class BiasesOnly:
    """Predicts mu + b_u + b_i: some users are generous, some items are liked.

    mu is the mean of the ratings. The biases minimise a ridge regression, half-SSE plus L2:

        1/2 * sum (mu + b_u + b_i - r)**2  +  reg/2 * (sum b_u**2 + sum b_i**2)

    Koren, Bell and Volinsky (2009), "Matrix Factorization Techniques for
    Recommender Systems", IEEE Computer 42(8), eq. 3.

    Parameters
    ----------
    reg : float
        lambda > 0, in ratings: a bias is pulled to 0 as if its user or item had that many
        more ratings of just mu. The default was the best of 1, 2, 3, 4, 5, 6, 8 and 10 in
        ten folds of MovieLens 100K (RMSE 0.938) and in the lesson's split of
        ml-latest-small (0.884).

    Attributes
    ----------
    global_mean_ : float
        mu, stars.
    user_bias_, item_bias_ : (n_users,) and (n_items,) arrays
        b_u and b_i, stars; 0 without ratings.
    user_ids_, item_ids_ : arrays of ids

    Raises
    ------
    ValueError, TypeError
        If `reg` is no number above 0.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> model = scf.BiasesOnly().fit(ratings)
    >>> round(scf.rmse(model, ratings), 2)
    0.83
    """

    global_mean_: float
    user_bias_: FloatArray
    item_bias_: FloatArray
    user_ids_: npt.NDArray[Any]
    item_ids_: npt.NDArray[Any]

    def __init__(self, reg: float = 3.0) -> None:
        self.reg = check_number("reg", reg, 0.0, above=True)

    def fit(self, ratings: Ratings) -> BiasesOnly:
        """Solve the ridge regression; returns this object."""
        check_ratings(ratings)
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.global_mean_ = ratings.mean_rating
        biases = _solve(ratings, ratings.rating - np.float64(self.global_mean_), self.reg)
        self.user_bias_, self.item_bias_ = np.split(biases, [ratings.n_users])
        return self

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """mu + b_u + b_i, stars, in the shape that users and items broadcast to.

        A user or item that was not there in `fit` has a bias of 0.
        """
        _check_fitted(self)
        bu = _bias_of(self.user_ids_, self.user_bias_, user_ids)
        bi = _bias_of(self.item_ids_, self.item_bias_, item_ids)
        return self.global_mean_ + bu + bi

    def predict_all(self, user_ids: npt.ArrayLike) -> FloatArray:
        """mu + b_u + b_i of these users and every item, (n, n_items), stars."""
        _check_fitted(self)
        return self.predict(np.ravel(user_ids)[:, None], self.item_ids_)

    def __repr__(self) -> str:
        return f"BiasesOnly(reg={self.reg:g})"


#: What to print beside every result, with default settings.
BASELINES: dict[str, type[GlobalMean | BiasesOnly]] = {
    "global mean": GlobalMean,
    "biases only": BiasesOnly,
}


def _solve(ratings: Ratings, deviation: FloatArray, reg: float) -> FloatArray:
    """The biases, users before items, at which the gradient of the ridge regression is 0.

    That is one equation a user and one an item, n being its number of ratings:

        (n_u + reg) * b_u + sum of b_i over the items u rated  = sum of u's deviations
        (n_i + reg) * b_i + sum of b_u over the users of i     = sum of i's deviations

    Conjugate gradients need about 20 products with the sparse table of these equations.
    (Solving for users and items in turn needs hundreds of rounds: adding to all b_u what is
    taken from all b_i changes no prediction, so that only `reg` holds them in place.)
    """
    deviations, is_rated = ratings.to_sparse(), ratings.to_sparse()
    deviations.data[:], is_rated.data[:] = deviation, 1  # stored in the order of the triplets
    sums = np.concatenate([deviations.sum(axis=1), deviations.sum(axis=0)])
    others: Any = sparse.block_array([[None, is_rated], [is_rated.T, None]], format="csr")
    n = others.sum(axis=1)
    rough = sparse.diags_array(1 / (n + reg))  # the solution if the others' biases were 0
    biases, _ = cg(others + sparse.diags_array(n + reg), sums, rtol=1e-10, M=rough)
    return np.asarray(biases, np.float64)


def _bias_of(ids: npt.NDArray[Any], bias: FloatArray, wanted: npt.ArrayLike) -> FloatArray:
    found: FloatArray = np.append(bias, 0.0)[find_ids(ids, wanted)]  # unknown: -1, the last
    return found


def _check_fitted(model: GlobalMean | BiasesOnly) -> None:
    if not hasattr(model, "global_mean_"):
        raise ValueError("this model is not fitted yet: call fit(ratings) first")
