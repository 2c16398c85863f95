r"""The loss on the straight line between two solutions, and which line that is.

Two runs end at different numbers. Is there a hill between the two places, or are they one
place seen from two sides? Most of the difference means nothing: many parameters predict the
same stars, and all these give the same p_u . q_i + b_u + b_i, for any invertible A, any
vectors c and d, and any number s:
    (23a)  P A and Q A^-T;   with biases also  P + 1 c' and b_i - Q c,   Q + 1 d' and b_u - P d,
           b_u + s and b_i - s
A line between two of these crosses a hill that no search would ever have to climb. So each
solution is first brought into one form that depends on what it predicts (almost) alone.
Biases take up what is common to all users or all items, and half of the constant each:
    (23b)  sum over u of p_u = 0,   sum over i of q_i = 0,   mean b_u = mean b_i
and both sides' factors get one size, with U S V' the singular value decomposition of P Q':
    (23c)  P = U S^1/2,   Q = V S^1/2           so that P'P = Q'Q = S
Of all pairs with these dot products X = P Q' this one has the smallest |P|^2 + |Q|^2 (Srebro,
Rennie and Jaakkola 2005, "Maximum-Margin Matrix Factorization"). What is still open is a
rotation: with Z the rows of P and of Q in one table, P'P = Q'Q makes P P' = (X X')^1/2 and
Q Q' = (X'X)^1/2, so that X settles all of Z Z', and with it Z but for one orthogonal R, Z R.
Of these the nearest to the other solution's is taken:
    (23d)  R = L M'  with L D M' the singular value decomposition of Z_b' Z_a
which makes |Z_b R - Z_a| least (orthogonal Procrustes; Schoenemann 1966, "A Generalized
Solution of the Orthogonal Procrustes Problem"). Two solutions with the same predictions are
the same point now, and the line between them is flat. Of two others, nearest does not mean
that the hill is lowest, and a curved way may have none: what a line shows is a hill on one way.

On the line, theta(t) = (1 - t) theta_a + t theta_b, every number is linear in t and every dot
product quadratic. With dp_u = p_u(b) - p_u(a), and dq_i alike, t^2 comes with dp_u . dq_i and
with nothing else; the rest follows from the ends, e(0) = e(a) and e(1) = e(b):
    (23e)  e_ui(t) = e0 + t e1 + t^2 e2,   e2 = dp_u . dq_i,  e0 = e(a),  e1 = e(b) - e(a) - e2
Its square is of degree 4, and so is half_sse (3a), here without penalty:
    (23f)  half_sse(t) = 1/2 e0.e0 + t e0.e1 + t^2 (1/2 e1.e1 + e0.e2) + t^3 e1.e2 + t^4 1/2 e2.e2
each product a sum over the rated cells: one pass through the ratings gives the whole line.
Such a curve has at most one hill between two hollows. With a rating range the scores are
quadratic in t, but the stars are not: there the loss is computed at every t by itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.polynomial import Polynomial
from scipy.linalg import orthogonal_procrustes

from shallow_cf import objective
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings


def balanced(parameters: Parameters) -> Parameters:
    """The same predictions, both sides' factors of one size. Equations (23b) and (23c).

    Parameters
    ----------
    parameters : Parameters

    Returns
    -------
    Parameters
        The same for all parameters with the same predictions, but for a rotation of the
        factors.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> found = balanced(scf.Parameters([[8.0], [6.0]], [[0.1], [0.4]]))
    >>> found.predict_all().round(4).tolist()  # as they were
    [[0.8, 3.2], [0.6, 2.4]]
    >>> [round(float((block**2).sum()), 4) for block in found.blocks()]  # were 100 and 0.17
    [4.1231, 4.1231]
    """
    P, Q = parameters.user_factors, parameters.item_factors
    if parameters.biases is None:
        return parameters.with_blocks(_one_size(P, Q))
    bu, bi = parameters.biases
    bi, P = bi + Q @ P.mean(axis=0), P - P.mean(axis=0)  # (23a), (23b)
    bu, Q = bu + P @ Q.mean(axis=0), Q - Q.mean(axis=0)  # (23a), (23b)
    half = (bu.mean() - bi.mean()) / 2
    return parameters.with_blocks([*_one_size(P, Q), bu - half, bi + half])  # (23b)


def aligned(other: Parameters, to: Parameters) -> Parameters:
    """The same predictions, the factors turned to lie nearest to another solution's. (23d).

    Parameters
    ----------
    other : Parameters
        What to turn.
    to : Parameters
        What to turn it to; of the same sizes. Where both are `balanced` first, solutions
        with the same predictions come to lie on each other.

    Raises
    ------
    ValueError
        If one is no point in the other's space: sizes, biases, mean or range differ.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> to = scf.Parameters([[1, 2], [3, 4]], [[5, 6]])
    >>> swapped = scf.Parameters([[2, 1], [4, 3]], [[6, 5]])  # factors in another order
    >>> aligned(swapped, to).user_factors.round(6).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    _check_pair(to, other)
    Z_b, Z_a = (np.vstack((each.user_factors, each.item_factors)) for each in (other, to))
    R = orthogonal_procrustes(Z_b, Z_a)[0]  # (23d)
    P, Q, *biases = other.blocks()
    return other.with_blocks([P @ R, Q @ R, *biases])


def half_sse_along(ratings: Ratings, a: Parameters, b: Parameters) -> Polynomial:
    """Half the squared error at (1 - t) a + t b, a polynomial in t, stars**2. Equation (23f).

    Parameters
    ----------
    ratings : Ratings
    a, b : Parameters
        As they are: nothing is turned here. Without a rating range.

    Returns
    -------
    numpy.polynomial.Polynomial
        Of degree 4.

    Raises
    ------
    ValueError
        If `a` and `b` do not fit each other or the ratings, or have a rating range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", 1]], [4])
    >>> a, b = scf.Parameters([[2]], [[2]]), scf.Parameters([[-2]], [[-2]])  # both predict 4
    >>> loss = half_sse_along(ratings, a, b)  # in the middle 0 is predicted
    >>> loss(0), loss(0.5), loss(1)
    (np.float64(0.0), np.float64(8.0), np.float64(0.0))
    """
    _check_pair(a, b)
    if a.rating_range is not None:
        raise ValueError(f"with a rating_range the loss is no polynomial along a line, got {a!r}")
    e0 = objective.residual(ratings, a)
    dP, dQ = b.user_factors - a.user_factors, b.item_factors - a.item_factors
    e2 = Parameters(dP, dQ).predict(ratings.user_idx, ratings.item_idx)  # (23e)
    e1 = objective.residual(ratings, b) - e0 - e2  # (23e)
    return Polynomial(
        [e0 @ e0 / 2, e0 @ e1, e1 @ e1 / 2 + e0 @ e2, e1 @ e2, e2 @ e2 / 2],  # (23f)
        symbol="t",
    )


def rmse_along(ratings: Ratings, a: Parameters, b: Parameters, t: npt.ArrayLike) -> FloatArray:
    """RMSE at (1 - t) a + t b for every t, stars.

    Parameters
    ----------
    ratings : Ratings
    a, b : Parameters
        As they are: nothing is turned here.
    t : (n,) array of float
        0 is `a`, 1 is `b`; it may go beyond both.

    Returns
    -------
    (n,) array of float

    Raises
    ------
    ValueError
        If `a` and `b` do not fit each other or the ratings.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", 1]], [4])
    >>> a, b = scf.Parameters([[2]], [[2]]), scf.Parameters([[-2]], [[-2]])
    >>> rmse_along(ratings, a, b, [0, 0.5, 1])  # the same predictions, and a hill between
    array([0., 4., 0.])
    >>> rmse_along(ratings, a, aligned(b, a), [0, 0.5, 1])
    array([0., 0., 0.])
    """
    _check_pair(a, b)
    share = np.asarray(t, np.float64)
    if a.rating_range is not None:
        points = (a.unpack((1 - x) * a.pack() + x * b.pack()) for x in share)
        return np.array([objective.rmse(ratings, point) for point in points])  # (3b)
    half_sse = half_sse_along(ratings, a, b)(share).clip(min=0)  # rounding may leave less
    return np.asarray(np.sqrt(2 * half_sse / ratings.n_ratings))  # (3b)


def _one_size(P: FloatArray, Q: FloatArray) -> list[FloatArray]:
    """The same dot products from tables with P'P = Q'Q."""
    # The large table P Q' is never made: its decomposition is that of R_P R_Q' between.
    (basis_P, R_P), (basis_Q, R_Q) = np.linalg.qr(P), np.linalg.qr(Q)
    U, S, Vt = np.linalg.svd(R_P @ R_Q.T, full_matrices=False)
    root = np.sqrt(S)
    sides = basis_P @ (U * root), basis_Q @ (Vt.T * root)  # (23c)
    # Fewer users or items than factors leave less than n_factors columns; the rest is 0.
    return [np.pad(side, ((0, 0), (0, P.shape[1] - len(S)))) for side in sides]


def _check_pair(a: Parameters, b: Parameters) -> None:
    kinds = [
        ([block.shape for block in each.blocks()], each.global_mean, each.rating_range)
        for each in (a, b)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"there is a line only between parameters of one kind, got {a!r} and {b!r}"
        )
    if not (a.is_finite() and b.is_finite()):
        raise ValueError("both ends of a line must be finite, got NaN or infinity")
