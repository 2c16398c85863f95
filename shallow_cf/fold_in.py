r"""Fold-in: numbers for a new user while everybody else's stay as they are.

Training turns all numbers at once; a user who comes later need not wait for the next
training. With the items' numbers fixed, those of one user are a small problem of their
own. It is written here for a user; for an item, users and items change places (`turned`).

Notation beside that of `objective`: x = (p_u, b_u) is sought, a_i = (q_i, 1) is known; without
biases x = p_u and a_i = q_i. A has the rows a_i of the items that the user rated, r their
ratings, and lambda = reg. The part of half_sse (3a) that the user has a share in is

    (17a)  phi(x) = 1/2 sum over i in I(u) of e_i^2 + lambda/2 |x|^2
           e_i    = r_hat_i - r_i                                               (2)
           r_hat_i is made of the score s_i = mu + b_i + a_i . x                (1), (1s)

Its gradient is (4a) and (4c), and where it is zero is what training would look for.

Without a rating range e = A x - t is linear in x, and the gradient A'(A x - t) + lambda x
is zero where the normal equations hold:
    (17b)  t_i = r_i - mu - b_i
    (17c)  (A'A + lambda I) x = A' t

The penalty is as good as one more row for each number: sqrt(lambda) x should be 0. So x
solves a least-squares problem without A'A, whose rounding errors are those of A squared;
of several solutions (lambda = 0 and few ratings) it is the shortest:
    (17d)  x = argmin |B x - c|^2,   B = [A; sqrt(lambda) I],   c = [t; 0]

With a rating range e is not linear. The same rows, and by (2s) their derivatives, are
    (17e)  f(x) = [e; sqrt(lambda) x],   phi = 1/2 |f|^2
    (17f)  J    = [diag(dr_hat_i/ds_i) A; sqrt(lambda) I],   grad phi = J' f
and each step of Levenberg and Marquardt's solves (17d) anew for a tangent, J d = -f,
with a bound on its length. It starts at x = 0: a user of whom nothing is known.

Where a rating stands at an end of the range and lambda = 0, phi may have no minimum: the
further x goes, the better. The search then ends where the slope is as good as zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, sparse

from shallow_cf._checks import listed
from shallow_cf._ids import as_ids, find_ids
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.posterior import Posterior
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import vb
from shallow_cf.solvers.normal_equations import RowBlock, Rows
from shallow_cf.solvers.vb_start import pattern_features

#: Penalty that serves where none is given, chosen by ``benchmarks/fold_in.py``: a tenth of
#: the users of MovieLens 100K was kept from training and folded in from half of their
#: ratings, 43 on average. RMSE, stars, of the other half, for several penalties:
#:
#:     model                                          0       1       3       5      10
#:     least squares, 5 factors, biases, mean     1.014   0.948   0.940   0.939   0.944
#:     least squares, 10 factors, biases, mean   18.650   0.966   0.945   0.941   0.943
#:     least squares, 20 factors, biases, mean    4.010   0.992   0.953   0.946   0.947
#:     least squares, 5 factors, dot products     0.993   0.963   0.965   0.976   1.018
#:     least squares, 10 factors, dot products    1.598   0.985   0.978   0.988   1.028
#:     AdamW, 5 factors, sigmoid, decay 0.1       1.036   0.946   0.946   0.948   0.955
#:     AdamW, 50 factors, sigmoid, decay 0.1      1.623   0.972   0.941   0.936   0.940
#:     AdamW, 50 factors, sigmoid, decay 0.2      1.624   0.940   0.930   0.932   0.942
#:
#: 3 is at most 0.008 from the best of nine penalties tried in each line; each of the others
#: is further from it in some line.
DEFAULT_REG = 3.0


def best_numbers(
    parameters: Parameters, item_idx: IntArray, rating: FloatArray, reg: float
) -> FloatArray:
    """The numbers of a new user that minimise (17a), given the items'.

    Parameters
    ----------
    parameters : Parameters
        Only those of the items, the mean and the range are looked at.
    item_idx : (n,) array of int
        What the user rated; nothing gives zeros.
    rating : (n,) array of float
        Stars.
    reg : float
        Penalty lambda >= 0.

    Returns
    -------
    (n_factors,) or (n_factors + 1,) array of float
        p_u, and b_u behind it if there are biases.
    """
    A = parameters.item_factors[item_idx]
    known = np.full(len(A), parameters.offset)
    if parameters.item_bias is not None:
        A = np.column_stack((A, np.ones(len(A))))
        known += parameters.item_bias[item_idx]
    if len(A) == 0:
        return np.zeros(A.shape[1])
    penalty = np.sqrt(reg) * np.eye(A.shape[1])
    if parameters.rating_range is None:
        t = rating - known  # (17b)
        B, c = np.vstack((A, penalty)), np.append(t, np.zeros(A.shape[1]))
        x: FloatArray = np.linalg.lstsq(B, c)[0]  # (17d)
        return x
    squashed = Parameters(A, A, rating_range=parameters.rating_range)  # for its sigmoid alone

    def rows(x: FloatArray) -> FloatArray:
        return np.append(squashed.squash(known + A @ x) - rating, penalty @ x)  # (17e)

    def jacobian(x: FloatArray) -> FloatArray:
        slope = squashed.slope(squashed.squash(known + A @ x))  # (2s)
        return np.vstack((np.asarray(slope)[:, None] * A, penalty))  # (17f)

    start = np.zeros(A.shape[1])
    found = optimize.least_squares(rows, start, jacobian, ftol=1e-15, xtol=1e-15, gtol=1e-13)
    return np.asarray(found.x, np.float64)


def posterior_numbers(
    parameters: Parameters, posterior: Posterior, item_idx: IntArray, rating: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of a new user's numbers, given the items' distributions.

    Equations (22d) and (22e) of `solvers.vb` for one more row.

    Parameters
    ----------
    parameters : Parameters
        Of these only the items' and the mean are looked at.
    posterior : Posterior
    item_idx : (n,) array of int
        What the user rated; nothing gives the prior.
    rating : (n,) array of float
        Stars.

    Returns
    -------
    x : (d,) array
        p_u, and b_u behind it if there are biases.
    covariance : (d (d + 1) / 2,) array
        Its upper triangle, row by row.
    """
    Q, *bi = turned(parameters).blocks()[::2]
    known = np.column_stack((Q, *bi))
    prior, n_items = posterior.user_prior, len(known)
    row = (rating - parameters.offset, item_idx, [0, len(item_idx)])
    block = vb.Block(
        RowBlock.of(sparse.csr_array(row, shape=(1, n_items))),
        pattern_features(prior.vectors, prior.span, item_idx)[None],
    )
    found, _ = vb.half_step(
        block,
        Rows.of(known, posterior.item_covariance),
        vb.Prior(prior.weights, prior.precision),
        posterior.noise_std**-2,
        bias=parameters.has_bias,
    )
    return found.means[0], found.covariance[0]


def with_user(parameters: Parameters, x: FloatArray) -> Parameters:
    """The parameters with one more user, whose numbers `best_numbers` found, at the end."""
    k = parameters.n_factors
    P, Q = np.vstack((parameters.user_factors, x[:k])), parameters.item_factors
    if parameters.biases is None:
        return parameters.with_blocks((P, Q))
    bu, bi = parameters.biases
    return parameters.with_blocks((P, Q, np.append(bu, x[k]), bi))


def turned(parameters: Parameters) -> Parameters:
    """The parameters with users for items and items for users."""
    blocks = (parameters.item_factors, parameters.user_factors)
    if parameters.biases is None:
        return parameters.with_blocks(blocks)
    return parameters.with_blocks((*blocks, *parameters.biases[::-1]))


def with_ratings(
    ratings: Ratings, side: str, ids: npt.NDArray[Any], idx: IntArray, rating: FloatArray
) -> Ratings:
    """The ratings with those of one more user (or item, as `side` says) at the end of `ids`."""
    new = np.full(len(idx), len(ids) - 1)
    user_ids, item_ids = (ids, ratings.item_ids) if side == "user" else (ratings.user_ids, ids)
    u, i = (new, idx) if side == "user" else (idx, new)
    return Ratings(
        user_ids,
        item_ids,
        np.append(ratings.user_idx, u),
        np.append(ratings.item_idx, i),
        np.append(ratings.rating, rating),
    )


def check_given(
    given: Any, ids: npt.NDArray[Any], kind: str, rating_range: tuple[float, float] | None
) -> tuple[IntArray, FloatArray]:
    """Indices and stars of a dict from ids to ratings.

    Raises
    ------
    TypeError
        If it is no dict (or Series).
    ValueError
        Naming the ids that are not among `ids`, or a rating that is no finite number or
        lies outside the range; or if an id stands twice. `kind` says what the ids are of.
    """
    if not isinstance(given, Mapping | pd.Series):
        raise TypeError(
            f"`ratings` must be a dict of {kind} ids and ratings, got {type(given).__name__}"
        )
    pairs: list[tuple[Any, Any]] = list(given.items())
    keys = [key for key, _ in pairs]
    idx = find_ids(ids, pd.Index(keys, dtype=object, tupleize_cols=False))
    unknown = [key for key, k in zip(keys, idx.tolist(), strict=True) if k < 0]
    if unknown:
        raise ValueError(
            f"{kind} ids must be among the {len(ids)} known ones, such as {ids[0]}, "
            f"got {listed(unknown)}"
        )
    if len(set(idx.tolist())) < len(idx):  # in a Series, or a date beside its text
        raise ValueError(f"`ratings` must have each {kind} id once")
    low, high = (-math.inf, math.inf) if rating_range is None else rating_range
    for key, value in pairs:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and low <= value <= high):
            rule = "a finite number" if rating_range is None else f"in [{low:g}, {high:g}]"
            raise ValueError(f"rating of {kind} {key} must be {rule}, got {value!r}")
    return idx, np.array([float(value) for _, value in pairs])


def with_id(ids: npt.NDArray[Any], new: Any, kind: str) -> npt.NDArray[Any]:
    """The ids with one more at the end: `new`, or if that is None one that is free.

    Raises
    ------
    ValueError
        If the new id is in use already or of another type than the others.
    """
    if new is None and ids.dtype.kind not in "iU":
        raise ValueError(f"`{kind}_id` must be given where ids are dates")
    if new is None:
        new = int(ids.max()) + 1 if ids.dtype.kind == "i" else f"new {kind}"
    more = np.array([new], ids.dtype) if ids.dtype.kind == "M" else as_ids([new])
    if more.dtype.kind != ids.dtype.kind:
        rule = "a whole number" if ids.dtype.kind == "i" else "a text"
        raise ValueError(f"`{kind}_id` must be {rule} as the other ids are, got {new!r}")
    if (ids == more[0]).any():
        raise ValueError(f"`{kind}_id` must be a new id, but {new!r} is in use")
    return np.concatenate((ids, more))
