"""Where variational Bayes starts, and what who rated what says before any rating is looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from shallow_cf.parameters import IntArray, RealArray
from shallow_cf.solvers.normal_equations import Compressed, with_data
from shallow_cf.solvers.subspace import leading_vectors

#: Size of the factors at the start, and by how many ratings of 0 biases shrink (both measured).
_SCALE = 0.2
_SHRINKAGE = 5.0
#: Mean of the ratings, stars, from which on one factor can take the part of biases.
_LEAST_MEAN = 1e-3
#: Rows there must be for each pattern, for its weights to be learned from.
_ROWS_A_PATTERN = 10


class Patterns(NamedTuple):
    """Patterns of one side's rows, found in which columns they have rated.

    With the binary matrix of who rated what, N, and its leading right singular vectors V, the
    features of a row are ``sum over its columns j of V_j / sqrt(how many)``, the normalisation
    of SVD++ (Koren 2008, "Factorization Meets the Neighborhood"). They are held to what rows with
    ratings have: where everybody rated much, nothing was learned of a row with few or none.
    """

    vectors: RealArray  # V, (n_columns, f), scaled such that features have standard deviation 1
    span: RealArray  # lowest and highest features of rows with ratings, (2, f)
    features: RealArray  # (n_rows, f + 1), the first of them 1


def patterns(data: Compressed, n: int, rng: np.random.Generator) -> tuple[Patterns, Patterns]:
    """Those of the users' rows and of the items' rows."""
    by_user, by_item = (
        with_data(side, np.ones_like(side.data)) for side in (data.by_user, data.by_item)
    )
    n = min(n, min(by_user.shape) // _ROWS_A_PATTERN)
    rated = leading_vectors(by_user, n, rng)
    raters = np.linalg.qr(by_user @ rated)[0]
    return _patterns(by_user, rated), _patterns(by_item, raters)


def _patterns(ones: sparse.csr_array, vectors: RealArray) -> Patterns:
    count = np.diff(ones.indptr)[:, None]
    features = (ones @ vectors) / np.sqrt(np.maximum(count, 1)).astype(vectors.dtype)
    deviation = features.std(axis=0)
    deviation[deviation < 1e-6] = 1.0  # the same for all rows
    features /= deviation
    rated = features[count[:, 0] > 0]
    span = np.stack((rated.min(axis=0), rated.max(axis=0)))
    ones_first = np.column_stack((np.ones(len(features), vectors.dtype), features.clip(*span)))
    return Patterns(vectors / deviation, span, ones_first)


def pattern_features(vectors: RealArray, span: RealArray, columns: IntArray) -> RealArray:
    """The features of one more row, (f + 1,), that has rated these columns."""
    features = vectors[columns].sum(axis=0) / np.sqrt(max(len(columns), 1))
    return np.append(1.0, features.clip(*span))


def start(
    data: Compressed, k: int, rng: np.random.Generator, *, bias: bool
) -> tuple[RealArray, RealArray]:
    """First numbers of the users' rows and of the items', (n_users, d) and (n_items, d).

    Biases are shrunk towards 0, and the factors are leading directions of what those leave
    unexplained. The residuals are divided by the root of how often their user and their item
    rated, so that the busiest do not have all directions to themselves.

    Without biases one factor takes their part: with m the ratings' mean,
    (sqrt(m) + b_u / sqrt(m)) (sqrt(m) + b_i / sqrt(m)) is nearly m + b_u + b_i.
    """
    by_user, by_item = data.by_user, data.by_item
    mean = float(by_user.data.mean(dtype=np.float64))  # what no global mean has taken off
    if not bias and mean < _LEAST_MEAN:
        mean = 0.0
    bi = _shrunk_means(by_item, np.zeros_like(by_user.data, shape=by_user.shape[0]), mean)
    bu = _shrunk_means(by_user, bi, mean)
    users, items = np.zeros((len(bu), k + bias), bu.dtype), np.zeros((len(bi), k + bias), bu.dtype)
    first = 0
    if bias:
        users[:, k], items[:, k] = bu + mean / 2, bi + mean / 2
    elif mean > 0:
        root, first = mean**0.5, 1
        users[:, 0], items[:, 0] = root + bu / root, root + bi / root
    else:
        bu[:], bi[:] = 0.0, 0.0
    scales = [1 / np.sqrt(np.diff(side.indptr) + 1).astype(side.dtype) for side in data[:2]]
    left = _residuals(by_user, mean + bu, bi, *scales)
    n = min(k - first, *by_user.shape)
    size = by_user.dtype.type(_SCALE * len(items) ** 0.5)
    items[:, first:k] = _SCALE * rng.normal(size=(len(items), k - first))
    items[:, first : first + n] = size * leading_vectors(left, n, rng)
    return users, items


def _shrunk_means(ratings: sparse.csr_array, other_bias: RealArray, mean: float) -> RealArray:
    """Each row's mean of what the mean and the other side's biases leave, and a few zeros."""
    count = np.diff(ratings.indptr).astype(ratings.dtype)
    explained = with_data(ratings, other_bias[ratings.indices])
    total = ratings.sum(axis=1) - explained.sum(axis=1) - count * ratings.dtype.type(mean)
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
    return with_data(ratings, e * np.repeat(scale, count) * other_scale[ratings.indices])
