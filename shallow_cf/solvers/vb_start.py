"""Where variational Bayes starts, and what who rated what says before any rating is looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from shallow_cf.parameters import IntArray, RealArray
from shallow_cf.solvers.normal_equations import Compressed
from shallow_cf.solvers.subspace import leading_vectors

#: Size of the factors at the start, and by how many ratings of 0 biases shrink (both measured).
_SCALE = 0.2
_SHRINKAGE = 5.0
#: Rows there must be for each pattern, for its weights to be learned from.
_ROWS_A_PATTERN = 10


class Patterns(NamedTuple):
    """Patterns of one side's rows, found in which columns they have rated.

    With the binary matrix of who rated what, N, and its leading right singular vectors V, the
    features of a row are ``sum over its columns j of V_j / sqrt(how many)``, the normalisation
    of SVD++ (Koren 2008, "Factorization Meets the Neighborhood").
    """

    vectors: RealArray  # V, (n_columns, f), scaled such that features have standard deviation 1
    features: RealArray  # (n_rows, f + 1), the first of them 1


def patterns(data: Compressed, n: int, rng: np.random.Generator) -> tuple[Patterns, Patterns]:
    """Those of the users' rows and of the items' rows."""
    by_user, by_item = (
        _with_data(side, np.ones_like(side.data)) for side in (data.by_user, data.by_item)
    )
    n = min(n, min(by_user.shape) // _ROWS_A_PATTERN)
    rated = leading_vectors(by_user, by_item, n, rng)
    raters = np.linalg.qr(by_user @ rated)[0]
    return _patterns(by_user, rated), _patterns(by_item, raters)


def _patterns(ones: sparse.csr_array, vectors: RealArray) -> Patterns:
    count = np.diff(ones.indptr)[:, None]
    features = (ones @ vectors) / np.sqrt(np.maximum(count, 1)).astype(vectors.dtype)
    deviation = features.std(axis=0)
    deviation[deviation < 1e-6] = 1.0  # the same for all rows
    features = np.column_stack((np.ones(len(features), vectors.dtype), features / deviation))
    return Patterns(vectors / deviation, features)


def pattern_features(vectors: RealArray, columns: IntArray) -> RealArray:
    """The features of one more row, (f + 1,), that has rated these columns."""
    if len(columns) == 0:
        return np.append(1.0, np.zeros(vectors.shape[1]))
    return np.append(1.0, vectors[columns].sum(axis=0) / np.sqrt(len(columns)))


class Start(NamedTuple):
    """First numbers of both sides: factors, and the bias behind them."""

    users: RealArray
    items: RealArray


def start(data: Compressed, k: int, rng: np.random.Generator, *, bias: bool) -> Start:
    """Biases shrunk towards 0, and factors from what they leave unexplained.

    The residuals are divided by the root of how often their user and their item rated, so
    that the busiest do not have all directions to themselves.
    """
    by_user, by_item = data.by_user, data.by_item
    n_users, n_items = by_user.shape
    bi = _shrunk_means(by_item, np.zeros(n_users, by_item.dtype)) * bias
    bu = _shrunk_means(by_user, bi) * bias
    scales = [1 / np.sqrt(np.diff(side.indptr) + 1).astype(side.dtype) for side in data[:2]]
    residuals = (
        _residuals(by_user, bu, bi, *scales),
        _residuals(by_item, bi, bu, *scales[::-1]),
    )
    Q = rng.normal(size=(n_items, k)).astype(by_user.dtype) * _SCALE
    found = leading_vectors(*residuals, min(k, n_users, n_items), rng)
    Q[:, : found.shape[1]] = found * np.sqrt(n_items).astype(found.dtype) * _SCALE
    P = np.zeros((n_users, k), by_user.dtype)
    return Start(np.column_stack((P, bu)), np.column_stack((Q, bi))) if bias else Start(P, Q)


def _shrunk_means(ratings: sparse.csr_array, other_bias: RealArray) -> RealArray:
    """Each row's mean of what the other side's biases leave, as if there were a few zeros more."""
    count = np.diff(ratings.indptr).astype(ratings.dtype)
    explained = _with_data(ratings, other_bias[ratings.indices])
    total = ratings.sum(axis=1) - explained.sum(axis=1)
    return np.asarray(total / (count + _SHRINKAGE), ratings.dtype)


def _residuals(
    ratings: sparse.csr_array,
    bias: RealArray,
    other_bias: RealArray,
    scale: RealArray,
    other_scale: RealArray,
) -> sparse.csr_array:
    count = np.diff(ratings.indptr)
    e = ratings.data - np.repeat(bias, count) - other_bias[ratings.indices]
    return _with_data(ratings, e * np.repeat(scale, count) * other_scale[ratings.indices])


def _with_data(matrix: sparse.csr_array, data: RealArray) -> sparse.csr_array:
    """The same cells with other numbers."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
