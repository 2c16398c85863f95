"""The RMSE and its gradient for one table, laid out once: for solvers that ask often.

`objective.rmse` and `objective.rmse_gradient` say what is computed; here the same numbers
come as functions of theta, fast enough to be asked thousands of times. Biases are factors
whose partner is 1: with the rows

    left_u = (p_u, b_u, 1)    and    right_i = (q_i, 1, b_i)

equation (1) is r_hat_ui = left_u . right_i, and the products E right and E^T left hold the
sums of (4a) to (4d). Where at least one cell in `_FULL_UP_TO` is rated, the residuals stand
in a full table with zeros in the blanks; otherwise in a sparse matrix.

Differences, one evaluation of the objective for every parameter, are found as a
spreadsheet finds them: when one cell changes, only the cells that depend on it are
computed again. A number of user u changes the errors of u's ratings and no other:

    n rmse(theta + h)^2 = S - S_u + sum over i in I(u) of (e_ui + h right_ik)^2

with S the sum of all squared errors and S_u that of u's. So all of them together cost as
much as n_factors evaluations, and not as many as there are parameters.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse

from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings

#: Up to so many cells a rating the full table is the faster one (measured).
_FULL_UP_TO = 8

_Sides = tuple[FloatArray, FloatArray]


class Table:
    """A table of ratings and the shapes of its parameters; counts what it is asked.

    Parameters
    ----------
    ratings : Ratings
    like : Parameters
        Of the shapes that theta packs.

    Attributes
    ----------
    n_function, n_gradient : int
        Evaluations of the objective so far, those of differences included, and of its
        gradient.
    """

    def __init__(self, ratings: Ratings, like: Parameters) -> None:
        self.n = ratings.n_ratings
        self.n_function = self.n_gradient = 0
        self._k, self._has_bias = like.n_factors, like.has_bias
        self._ends = np.cumsum([block.size for block in like.blocks()]).tolist()
        width = self._k + 2 * like.has_bias
        self._ones = np.ones((like.n_users, width)), np.ones((like.n_items, width))
        # Room for the sums of (4a) to (4d); without biases they fall into place by themselves.
        self._slope = np.empty(like.n_params)
        self._sums = self._sides(self._slope)
        is_full = like.n_users * like.n_items <= _FULL_UP_TO * self.n
        self._cells: _Full | _Sparse = _Full(ratings) if is_full else _Sparse(ratings)

    def value(self, theta: FloatArray) -> float:
        """`objective.rmse` at theta, stars."""
        self.n_function += 1
        e = self._cells.residual(*self._sides(theta))
        return math.sqrt(float(e @ e) / self.n)  # (3b)

    def gradient(self, theta: FloatArray) -> FloatArray:
        """`objective.rmse_gradient` at theta, (n_params,)."""
        self.n_gradient += 1
        left, right = self._sides(theta)
        e = self._cells.residual(left, right)
        value = math.sqrt(float(e @ e) / self.n)  # (3b)
        self._cells.products(e, left, right, self._sums)
        slope = self._packed(*self._sums) if self._has_bias else self._slope
        return slope * (1 / (self.n * value) if value > 0 else 0.0)  # (5)

    def differences(self, theta: FloatArray, step: FloatArray, *, central: bool) -> FloatArray:
        """The gradient estimated by differences, (n_params,).

        Parameters
        ----------
        theta : (n_params,) array
        step : (n_params,) array
            h > 0 of every parameter.
        central : bool
            (f(x + h) - f(x - h)) / 2h, two evaluations a parameter, or (f(x + h) - f(x)) / h.
        """
        self.n_gradient += 1
        ahead = theta + step
        after = self._after_moves(theta, ahead - theta)
        if central:
            behind = theta - step
            return (after - self._after_moves(theta, behind - theta)) / (ahead - behind)
        return (after - self.value(theta)) / (ahead - theta)

    def _after_moves(self, theta: FloatArray, h: FloatArray) -> FloatArray:
        """The RMSE after moving each parameter alone by its h, (n_params,)."""
        self.n_function += theta.size
        left, right = self._sides(theta)
        e = self._cells.residual(left, right)
        squares = self._cells.squares_after_moves(e, left, right, *self._sides(h))
        return np.sqrt(self._packed(*squares) / self.n)  # (3b)

    def _sides(self, theta: FloatArray) -> _Sides:
        """The rows left_u and right_i; without biases they are P and Q, as views of theta."""
        p, q = self._ends[:2]
        P, Q = theta[:p].reshape(-1, self._k), theta[p:q].reshape(-1, self._k)
        if not self._has_bias:
            return P, Q
        left, right = self._ones[0].copy(), self._ones[1].copy()
        left[:, :-2], left[:, -2] = P, theta[q : self._ends[2]]
        right[:, :-2], right[:, -1] = Q, theta[self._ends[2] :]
        return left, right

    def _packed(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """Numbers in the places of left_u and right_i in the order of theta."""
        if not self._has_bias:
            return np.concatenate((left, right), axis=None)
        return np.concatenate((left[:, :-2], right[:, :-2], left[:, -2], right[:, -1]), axis=None)


class _Full:
    """Residuals as a full table with zeros where nothing is rated."""

    def __init__(self, ratings: Ratings) -> None:
        self.rated = np.zeros((ratings.n_users, ratings.n_items))
        self.rating = np.zeros_like(self.rated)
        self.rated[ratings.user_idx, ratings.item_idx] = 1.0
        self.rating[ratings.user_idx, ratings.item_idx] = ratings.rating
        self.E = np.empty_like(self.rated)
        self.e = self.E.ravel()  # the same numbers in one vector

    def residual(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """The table's residuals, row by row in one vector."""
        np.matmul(left, right.T, out=self.E)  # (1)
        self.E -= self.rating  # (2)
        self.E *= self.rated
        return self.e

    def products(self, e: FloatArray, left: FloatArray, right: FloatArray, out: _Sides) -> None:
        """Write E right and E^T left to `out`."""
        # np.dot and not @: for small tables its shorter way to the product shows.
        np.dot(self.E, right, out=out[0])  # (4a) and (4c)
        np.dot(self.E.T, left, out=out[1])  # (4b) and (4d)

    def squares_after_moves(
        self,
        e: FloatArray,
        left: FloatArray,
        right: FloatArray,
        h_left: FloatArray,
        h_right: FloatArray,
    ) -> _Sides:
        """The sum of squared errors after each number of a side alone moves by its h."""
        E = self.E
        rest = e @ e - np.einsum("ui,ui->u", E, E), e @ e - np.einsum("ui,ui->i", E, E)
        # (width, n_users, n_items): for each column of a side a table of its own.
        moved = h_left.T[:, :, None] * right.T[:, None, :]
        moved *= self.rated
        moved += E
        squares_left = rest[0] + np.einsum("kui,kui->ku", moved, moved)
        np.multiply(left.T[:, :, None], h_right.T[:, None, :], out=moved)
        moved *= self.rated
        moved += E
        squares_right = rest[1] + np.einsum("kui,kui->ki", moved, moved)
        return squares_left.T, squares_right.T


class _Sparse:
    """Residuals of the ratings alone, sorted by user and then by item."""

    def __init__(self, ratings: Ratings) -> None:
        order = np.lexsort((ratings.item_idx, ratings.user_idx))
        self.u, self.i = ratings.user_idx[order], ratings.item_idx[order]
        self.rating = ratings.rating[order].astype(np.float64)
        shape = (ratings.n_users, ratings.n_items)
        self.matrix = sparse.csr_array((self.rating.copy(), (self.u, self.i)), shape=shape)

    def residual(self, left: FloatArray, right: FloatArray) -> FloatArray:
        """The ratings' residuals."""
        e: FloatArray = np.einsum("nk,nk->n", left[self.u], right[self.i])  # (1)
        e -= self.rating  # (2)
        return e

    def products(self, e: FloatArray, left: FloatArray, right: FloatArray, out: _Sides) -> None:
        """Write E right and E^T left to `out`."""
        self.matrix.data[:] = e  # in the order of `u` and `i`
        out[0][:] = np.asarray(self.matrix @ right)  # (4a) and (4c)
        out[1][:] = np.asarray(self.matrix.T @ left)  # (4b) and (4d)

    def squares_after_moves(
        self,
        e: FloatArray,
        left: FloatArray,
        right: FloatArray,
        h_left: FloatArray,
        h_right: FloatArray,
    ) -> _Sides:
        """The sum of squared errors after each number of a side alone moves by its h."""
        u, i = self.u, self.i
        squares = np.empty_like(left), np.empty_like(right)
        for own, partner, h, other, out in (
            (u, i, h_left, right, squares[0]),
            (i, u, h_right, left, squares[1]),
        ):
            rest = e @ e - np.bincount(own, e**2, minlength=len(out))
            for k in range(out.shape[1]):
                moved = h[own, k] * other[partner, k] + e
                out[:, k] = rest + np.bincount(own, moved**2, minlength=len(out))
        return squares
