r"""Small least-squares problems, one a row, all at once: what ALS and variational Bayes share.

With the items' numbers fixed, each user's are a small regression of their own (and with the
users' fixed, each item's: users and items change places). In the notation of `fold_in`: of
user u with the items I(u), x = (p_u, b_u) is sought, a_i = (q_i, 1) is known, and

    (20a)  t_ui = r_ui - mu - b_i = a_i . x + noise          (without biases b_i = 0, a_i = q_i)
    (20b)  A_u  = sum over i in I(u) of a_i a_i'             (d, d),  d = n_factors (+ 1)
    (20c)  c_u  = sum over i in I(u) of a_i t_ui             (d,)
    (20d)  s_u  = sum over i in I(u) of t_ui^2

Least squares with the penalty lambda solves (A_u + lambda I) x = c_u, which is (17c).

All of (20b) to (20d) is found in the sums, over a user's items, of y_i y_i', y_i, r_ui y_i, where
y_i = (q_i, b_i) is an item's row of numbers (r_ui less mu): for instance the sum of q_i b_i
is what (20c) takes from that of q_i r_ui. Where the numbers are random variables, as in `vb`,
E[y_i y_i'] stands for y_i y_i', and nothing else changes. So every item has one row

    (20e)  T_i = (upper triangle of y_i y_i', y_i)

and all users' sums are two products of matrices: that of ones where there is a rating with T,
and that of the ratings with Y. No loop goes over users or ratings.

The busiest rows come first, on both sides. That puts most ratings into one corner, which is so
full that a product there is quicker as one of dense matrices, zeros and all; what lies outside
stays sparse.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shallow_cf.parameters import IntArray, Parameters, RealArray
from shallow_cf.ratings import Ratings

DTYPES = ("float32", "float64")
#: Rows whose equations are handled together. Blocks do not depend on who computes them, so
#: that neither does the result.
BLOCK_ROWS = 256
#: Share of a column's cells in a block from which on it is quicker as dense (measured).
_DENSE_SHARE = 0.15
#: Numbers in a stack of matrices that fit the processor's cache (measured).
_CACHED = 131072


class Rows(NamedTuple):
    """What one side's half-step needs of the other side, m rows."""

    table: RealArray  # T of (20e), (m, d (d + 1) / 2 + d)
    means: RealArray  # y, (m, d)

    @classmethod
    def of(cls, means: RealArray, covariance: RealArray | float = 0.0) -> Rows:
        """From means, (m, d), and packed covariances, (m, d (d + 1) / 2)."""
        j, k = np.triu_indices(means.shape[1])
        T = np.hstack((means[:, j] * means[:, k] + covariance, means))  # (20e)
        return cls(T, means)

    @property
    def covariance(self) -> RealArray:
        """What `of` was given, packed, (m, d (d + 1) / 2), but for rounding."""
        d = self.means.shape[1]
        return self.table[:, :-d] - Rows.of(self.means).table[:, :-d]


class Sums(NamedTuple):
    """Sums over the ratings of each row of a block of n rows; y as in (20e)."""

    second: RealArray  # of y y', packed; (n, d (d + 1) / 2)
    first: RealArray  # of y; (n, d)
    weighted: RealArray  # of r y; (n, d)


@dataclass(frozen=True)
class RowBlock:
    """The ratings of a few neighbouring rows, n of them.

    Parameters
    ----------
    head, tail : (n, m) and (n, n_columns - m) csr_array of float
        Stars less their mean: of the first m columns, which most of the rows have rated, and
        of the others.
    rating, square, count : (n,) arrays of float
        Of each row's ratings, less their mean, the sum, that of the squares, and how many.
    """

    head: sparse.csr_array
    tail: sparse.csr_array
    rating: RealArray
    square: RealArray
    count: RealArray

    @classmethod
    def of(cls, ratings: sparse.csr_array) -> RowBlock:
        """Part the ratings, (n, n_columns) csr_array, into head and tail."""
        n_rows, n_columns = ratings.shape
        rated = np.bincount(ratings.indices, minlength=n_columns)
        m = int(np.count_nonzero(rated >= _DENSE_SHARE * n_rows))
        count = np.asarray(_counts(ratings), ratings.dtype)
        square = np.asarray(with_data(ratings, ratings.data**2).sum(axis=1), ratings.dtype)
        rating = np.asarray(ratings.sum(axis=1), ratings.dtype)
        return cls(ratings[:, :m], ratings[:, m:], rating, square, count)

    def __len__(self) -> int:
        return len(self.count)

    def sums(self, other: Rows) -> Sums:
        """What (20b) to (20d) are made of, given the rows of the other side."""
        m, d = self.head.shape[1], other.means.shape[1]
        both = _ones(self.tail) @ other.table[m:]
        weighted = self.tail @ other.means[m:]
        if m:
            both += _ones(self.head).toarray() @ other.table[:m]
            weighted += self.head.toarray() @ other.means[:m]
        return Sums(both[:, :-d], both[:, -d:], weighted)

    def squared_error(self, x: RealArray, y: RealArray) -> float:
        """Sum of (r - x . y)^2, rows x and columns y as `multiplied` gives them."""
        (n, m), columns = self.head.shape, self.head.indices
        in_head = (x @ y[:m].T).ravel()
        place = np.repeat(m * np.arange(n), _counts(self.head)) + columns
        e_head = self.head.data - in_head.take(place)
        x_tail, y_tail = x.repeat(_counts(self.tail), axis=0), y[m:].take(self.tail.indices, axis=0)
        e_tail = self.tail.data - np.einsum("nk,nk->n", x_tail, y_tail)
        return float(e_head @ e_head) + float(e_tail @ e_tail)

    def pieces(self, d: int) -> Iterator[slice]:
        """The rows in pieces, so that a stack of (d, d) matrices stays in the cache."""
        size = max(_CACHED // d**2, 64)
        return (slice(start, start + size) for start in range(0, len(self), size))


def with_data(matrix: sparse.csr_array, data: RealArray) -> sparse.csr_array:
    """The same cells with other numbers."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _ones(matrix: sparse.csr_array) -> sparse.csr_array:
    """1 where there is a rating."""
    return with_data(matrix, np.ones(matrix.nnz, matrix.dtype))


def _counts(matrix: sparse.csr_array) -> IntArray:
    """How many ratings each row has."""
    return np.diff(matrix.indptr)


def multiplied(own: RealArray, other: RealArray, *, bias: bool) -> tuple[RealArray, RealArray]:
    """Rows x = (p, b_u) and y = (q, b_i) as the vectors whose product is p . q + b_u + b_i."""
    if not bias:
        return own, other
    one = np.ones((len(own), 1), own.dtype), np.ones((len(other), 1), other.dtype)
    k = own.shape[1] - 1
    return np.hstack((own, one[0])), np.hstack((other[:, :k], one[1], other[:, k:]))


class Regression(NamedTuple):
    """The equations of n rows. The rows come last, so that each number of a small matrix is a
    vector over them, and NumPy works on all matrices of a stack at once."""

    A: RealArray  # (d, d, n)
    c: RealArray  # (d, n)
    s: RealArray  # (n,)


def regression(block: RowBlock, sums: Sums, rows: slice, *, bias: bool) -> Regression:
    """Equations (20b) to (20d) of some of a block's rows, put together from its sums."""
    second, first, weighted = (part[rows].T.copy() for part in sums)
    rating, square, count = block.rating[rows], block.square[rows], block.count[rows]
    d = len(first)
    place = packed_places(d)
    if not bias:
        return Regression(second[place], weighted, square)
    k, b = d - 1, place[-1]  # the bias comes last, and b says where its products stand
    A = second[place]  # (20b)
    A[k, :k] = A[:k, k] = first[:k]  # in a_i, 1 stands where y_i has b_i
    A[k, k] = count
    c = weighted
    t_squared = square - 2 * weighted[k] + second[b[k]]  # (20d) with t = r - b of (20a)
    c[:k] -= second[b[:k]]  # (20c), t once more r - b
    c[k] = rating - first[k]
    return Regression(A, c, t_squared)


@functools.cache
def packed_places(d: int) -> IntArray:
    """Where the entries of a symmetric (d, d) matrix stand among those of its upper triangle."""
    place = np.empty((d, d), np.intp)
    upper = np.triu_indices(d)
    place[upper] = place.T[upper] = np.arange(len(upper[0]))
    return place


def invert(A: RealArray) -> RealArray:
    """Invert positive definite matrices in place; return the logarithms of their determinants.

    Gauss and Jordan's elimination; such matrices need no pivoting. The last axis goes over
    the matrices.

    Parameters
    ----------
    A : (d, d, n) array of float

    Returns
    -------
    (n,) array of float

    Examples
    --------
    >>> import numpy as np
    >>> A = np.array([[4.0, 1.0], [1.0, 2.0]])[:, :, None]
    >>> invert(A).round(4), (7 * A[:, :, 0]).round()
    (array([1.9459]), array([[ 2., -1.],
           [-1.,  4.]]))
    """
    log_det = np.zeros(A.shape[-1], A.dtype)
    product = np.empty_like(A)
    for j in range(len(A)):
        pivot = A[j, j].copy()
        log_det += np.log(pivot)
        column = A[:, j].copy()
        column[j] = 0.0
        A[:, j] = 0.0
        A[j, j] = 1.0
        A[j] /= pivot
        A -= np.multiply(column[:, None], A[j], out=product)
    return log_det


class Compressed(NamedTuple):
    """Ratings in order of the rows, busiest first, once by users and once by items."""

    by_user: sparse.csr_array  # (n_users, n_items), stars less their mean
    by_item: sparse.csr_array  # (n_items, n_users)
    user_order: IntArray  # which user each row is of
    item_order: IntArray


def compressed(ratings: Ratings, mean: float, dtype: npt.DTypeLike) -> Compressed:
    """Sort the ratings by users and by items, in time that grows with their number only."""
    n_users, n_items = ratings.n_users, ratings.n_items
    n_by_user = np.bincount(ratings.user_idx, minlength=n_users)
    n_by_item = np.bincount(ratings.item_idx, minlength=n_items)
    user_order, item_order = (np.argsort(-n, kind="stable") for n in (n_by_user, n_by_item))
    column = np.empty(n_items, np.int32)
    column[item_order] = np.arange(n_items)
    stars = np.empty(len(ratings), dtype)  # in 64 bits until the mean is off, a few at a time
    np.subtract(ratings.rating, mean, out=stars, dtype=np.float64, casting="same_kind")
    ends = np.append(0, np.cumsum(n_by_user))  # `Ratings` are sorted by users
    if len(stars) < 2**31:
        ends = ends.astype(np.int32)  # as the indices are, or SciPy makes them wider
    parts = stars, column[ratings.item_idx], ends
    by_user = sparse.csr_array(parts, shape=(n_users, n_items))[user_order]
    return Compressed(by_user, by_user.tocsc().T, user_order, item_order)


def row_blocks(matrix: sparse.csr_array) -> list[RowBlock]:
    """The rows of a matrix in blocks."""
    starts = range(0, matrix.shape[0], BLOCK_ROWS)
    return [RowBlock.of(matrix[start : start + BLOCK_ROWS]) for start in starts]


def rows_of(parameters: Parameters, data: Compressed, dtype: npt.DTypeLike) -> list[RealArray]:
    """The users' and the items' numbers y = (factors, bias) in the order of the rows."""
    P, Q, *biases = parameters.blocks()
    users, items = [
        np.column_stack((factors, *biases[side : side + 1]))[order].astype(dtype)
        for side, (factors, order) in enumerate(((P, data.user_order), (Q, data.item_order)))
    ]
    return [users, items]


def parameters_of(
    users: RealArray, items: RealArray, data: Compressed, like: Parameters
) -> Parameters:
    """What `rows_of` took apart."""
    k = like.n_factors
    u, i = np.empty(users.shape), np.empty(items.shape)
    u[data.user_order], i[data.item_order] = users, items
    biases = (u[:, k], i[:, k]) if like.has_bias else ()
    return like.with_blocks((u[:, :k], i[:, :k], *biases))
