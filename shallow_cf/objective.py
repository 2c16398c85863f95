r"""The mathematics: model, objectives, gradients, and a check of gradients.

Notation: user *u* has the embedding (row) :math:`p_u` of P, item *i* has
:math:`q_i` of Q, both of ``n_factors`` numbers indexed by *k*; :math:`b_u` and
:math:`b_i` are their biases; :math:`I(u)` are the items that *u* rated,
:math:`U(i)` the users who rated *i*; *n* is the number of ratings. Every sum over
(u, i) runs over rated cells only: a blank cell is not a zero.

Model
    (1)   r_hat_ui = mu + p_u . q_i + b_u + b_i     (the spreadsheet's has no mu; without
                                                     biases: the dot product)
With a rating range (low, high), a sigmoid makes stars of the score
s_ui = c + p_u . q_i + b_u + b_i:
    (1s)  r_hat_ui = low + (high - low) sigma(s_ui),   sigma(s) = 1 / (1 + exp(-s))
where c = log((mu - low) / (high - mu)), so that mu is predicted where all else is 0
(the lessons' have no mu: c = 0).

Residual
    (2)   e_ui = r_hat_ui - r_ui                     (prediction minus rating, stars)

Objectives
    (3a)  half_sse = 1/2 sum e_ui^2
                     + reg/2 (|P|^2 + |Q|^2 + |b_u|^2 + |b_i|^2)          stars^2
    (3b)  rmse     = sqrt(1/n sum e_ui^2)                                  stars

(3a) is a sum, not a mean, and carries the 1/2 that cancels the 2 of the
derivative; SGD descends it. (3b) is the spreadsheet's red cell; Solver
minimises it. With reg = 0 both have the same minimisers, and so has
    (3c)  mse      = 1/n sum e_ui^2 + reg/2 (|P|^2 + ...)                  stars^2
which the notebooks train on: being a mean, it lets one learning rate serve
batches of all sizes.

Partial derivatives of half_sse, by the chain rule d(1/2 e^2) = e de = e dr_hat:
    (4a)  d/dP_uk = sum over i in I(u) of e_ui Q_ik + reg P_uk     as dr_hat_ui/dP_uk = Q_ik
    (4b)  d/dQ_ik = sum over u in U(i) of e_ui P_uk + reg Q_ik     as dr_hat_ui/dQ_ik = P_uk
    (4c)  d/db_u  = sum over i in I(u) of e_ui      + reg b_u      as dr_hat_ui/db_u  = 1
    (4d)  d/db_i  = sum over u in U(i) of e_ui      + reg b_i      as dr_hat_ui/db_i  = 1
With a rating range one more link comes into the chain, dr_hat = dr_hat/ds ds. As
sigma' = sigma (1 - sigma),
    (2s)  dr_hat_ui/ds_ui = (r_hat_ui - low) (high - r_hat_ui) / (high - low)
and everywhere in (4a) to (5) e_ui dr_hat_ui/ds_ui stands for e_ui.

Gradient of rmse: with S = sum e^2 (so grad S = 2 grad half_sse at reg = 0),
rmse = sqrt(S/n) gives
    (5)   grad rmse = grad S / (2 n rmse) = (grad half_sse at reg = 0) / (n rmse)

At rmse = 0 the square root has no derivative; zero is returned there, because
that point is a minimum.

Gradient of mse: each of its terms is 2/n of the one in half_sse, and the penalty is whole:
    (5m)  grad mse  = 2/n (grad half_sse at reg = 0) + reg theta

With E the (n_users, n_items) table of residuals, 0 in blank cells, (4a) and (4b)
are two matrix products, E Q and E^T P, and (4c) and (4d) are E's row and column
sums. E is stored sparsely; the few ratings of a mini-batch are added up row by row
instead, which is sooner done than E is made. Adding with ``G[u] += ...`` instead would be wrong:
NumPy keeps only the last of several additions to one row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from shallow_cf._checks import check_number
from shallow_cf.parameters import FloatArray, IntArray, Mapper, Parameters
from shallow_cf.ratings import Ratings

#: Up to here adding up row by row is faster than making a sparse table (measured).
_FEW_NUMBERS = 16384


class GradientError(ValueError):
    """A gradient differs from the finite difference of its function.

    Examples
    --------
    >>> import numpy as np
    >>> try:
    ...     check_gradient(lambda x: x @ x, lambda x: 3 * x, np.array([1.0]))
    ... except GradientError as error:
    ...     print(error)
    entry 0: gradient 3, central difference 2
    """


def check_fit(ratings: Ratings, parameters: Parameters) -> None:
    """Raise ValueError where parameters are of other sizes than the ratings.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> check_fit(scf.load_crosstab(), scf.Parameters.random(15, 15))
    >>> check_fit(scf.load_crosstab(), scf.Parameters.random(15, 16))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: Parameters(15 users, 16 items, 5 factors, no biases) do not fit Ratings(...)
    """
    if (parameters.n_users, parameters.n_items) != (ratings.n_users, ratings.n_items):
        raise ValueError(f"{parameters!r} do not fit {ratings!r}")


def residual(ratings: Ratings, parameters: Parameters, *, run: Mapper = map) -> FloatArray:
    """Prediction minus rating for every rating, (n_ratings,), stars. Equation (2).

    `run` is that of `Parameters.predict`.

    Raises
    ------
    ValueError
        If the parameters are of other sizes than the ratings.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> objective.residual(ratings, Parameters([[1], [2]], [[2], [1]]))  # predicts 2, 1 and 4
    array([-2., -2., -1.])
    """
    check_fit(ratings, parameters)
    e: FloatArray = parameters.predict(ratings.user_idx, ratings.item_idx, run=run) - ratings.rating
    return e  # (2)


def rmse(ratings: Ratings, parameters: Parameters, *, run: Mapper = map) -> float:
    """Root mean squared error over rated cells, stars. Equation (3b).

    `run` is that of `Parameters.predict`.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> parameters = Parameters([[1], [2]], [[2], [1]])  # residuals -2, -2, -1
    >>> round(objective.rmse(ratings, parameters), 4)  # sqrt(9 / 3)
    1.7321
    """
    e = residual(ratings, parameters, run=run)
    return float(np.sqrt(e @ e / ratings.n_ratings))  # (3b)


def half_sse(ratings: Ratings, parameters: Parameters, reg: float = 0.0) -> float:
    """Half the sum of squared errors plus L2 penalty, stars**2. Equation (3a).

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
    reg : float
        Weight lambda >= 0 of the penalty.

    Raises
    ------
    ValueError
        If `reg` is negative.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> parameters = Parameters([[1], [2]], [[2], [1]])  # residuals -2, -2, -1
    >>> objective.half_sse(ratings, parameters)
    4.5
    >>> objective.half_sse(ratings, parameters, reg=0.5)  # 4.5 + 0.5/2 (1 + 4 + 4 + 1)
    7.0
    """
    e = residual(ratings, parameters)
    return float(e @ e) / 2 + _penalty(parameters, reg)  # (3a)


def mse(ratings: Ratings, parameters: Parameters, reg: float = 0.0) -> float:
    """Mean squared error plus L2 penalty, stars**2. Equation (3c).

    Parameters and errors are those of `half_sse`.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> parameters = Parameters([[1], [2]], [[2], [1]])  # residuals -2, -2, -1
    >>> objective.mse(ratings, parameters), objective.mse(ratings, parameters, reg=0.5)
    (3.0, 5.5)
    """
    e = residual(ratings, parameters)
    return float(e @ e) / ratings.n_ratings + _penalty(parameters, reg)  # (3c)


def _penalty(parameters: Parameters, reg: float) -> float:
    reg = check_number("reg", reg, 0.0)
    return reg / 2 * sum(float(np.sum(block**2)) for block in parameters.blocks())


def half_sse_gradient(ratings: Ratings, parameters: Parameters, reg: float = 0.0) -> Parameters:
    """Gradient of `half_sse`, a number for every parameter. Equations (4a) to (4d).

    Raises
    ------
    ValueError
        If `reg` is negative.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> parameters = Parameters([[1], [2]], [[2], [1]])  # residuals -2, -2, -1
    >>> gradient = objective.half_sse_gradient(ratings, parameters)
    >>> gradient.user_factors.tolist()  # ann: -2 * 2 - 2 * 1, bob: -1 * 2
    [[-6.0], [-2.0]]
    """
    _, e = _residuals(ratings, parameters)
    return _penalised(_sums(ratings, parameters, e), parameters, reg)


def mse_gradient(ratings: Ratings, parameters: Parameters, reg: float = 0.0) -> Parameters:
    """Gradient of `mse`, a number for every parameter. Equation (5m).

    Raises
    ------
    ValueError
        If `reg` is negative.

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> parameters = Parameters([[1], [2]], [[2], [1]])
    >>> objective.mse_gradient(ratings, parameters).pack().round(2)  # 2/3 of that of half_sse
    array([-4.  , -1.33, -2.67, -1.33])
    """
    _, e = _residuals(ratings, parameters)
    return _penalised(_sums(ratings, parameters, 2 / ratings.n_ratings * e), parameters, reg)


def rmse_gradient(ratings: Ratings, parameters: Parameters) -> Parameters:
    """Gradient of `rmse`, a number for every parameter. Equation (5).

    Examples
    --------
    >>> from shallow_cf import Parameters, Ratings, objective
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> downhill = Parameters([[1], [2]], [[2], [1]])
    >>> for _ in range(3):
    ...     print(round(objective.rmse(ratings, downhill), 2))
    ...     slope = objective.rmse_gradient(ratings, downhill).pack()
    ...     downhill = downhill.unpack(downhill.pack() - 0.2 * slope)
    1.73
    1.28
    0.8
    """
    e, e_slope = _residuals(ratings, parameters)
    value = np.sqrt(e @ e / ratings.n_ratings)  # (3b)
    weight = e_slope / (ratings.n_ratings * value) if value > 0 else np.zeros_like(e)  # (5)
    return _sums(ratings, parameters, weight)


def _penalised(sums: Parameters, parameters: Parameters, reg: float) -> Parameters:
    reg = check_number("reg", reg, 0.0)
    blocks = zip(sums.blocks(), parameters.blocks(), strict=True)
    return Parameters(*(slope + reg * value for slope, value in blocks))  # (4a)-(4d), (5m), reg


def _residuals(ratings: Ratings, parameters: Parameters) -> tuple[FloatArray, FloatArray]:
    check_fit(ratings, parameters)
    return batch_residuals(parameters, ratings.user_idx, ratings.item_idx, ratings.rating)


def _sums(ratings: Ratings, parameters: Parameters, e: FloatArray) -> Parameters:
    return weighted_sums(parameters, ratings.user_idx, ratings.item_idx, e)


def batch_residuals(
    parameters: Parameters, u: IntArray, i: IntArray, r: FloatArray, *, run: Mapper = map
) -> tuple[FloatArray, FloatArray]:
    """Residuals of any ratings, (n,), and what stands for them in a gradient.

    The two differ with a rating range only: the second is e dr_hat/ds of (2s). `run` is that
    of `Parameters.predict`.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, objective
    >>> parameters = Parameters([[0]], [[0]], rating_range=(0.5, 5.5))  # predicts the middle, 3
    >>> one = np.array([0])
    >>> objective.batch_residuals(parameters, one, one, np.array([5.0]))  # dr_hat/ds = 1.25
    (array([-2.]), array([-2.5]))
    """
    prediction = parameters.predict(u, i, run=run)
    e = prediction - r  # (2)
    return e, e * parameters.slope(prediction)  # (2s)


def weighted_sums(parameters: Parameters, u: IntArray, i: IntArray, e: FloatArray) -> Parameters:
    """The sums of (4a) to (4d) without the penalty, over any ratings.

    Parameters and result are those of `packed_sums`, the result unpacked.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, objective
    >>> parameters = Parameters([[1], [2]], [[2], [1]])
    >>> u, i, e = np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([-2.0, -2.0, -1.0])
    >>> objective.weighted_sums(parameters, u, i, e).item_factors.tolist()
    [[-4.0], [-2.0]]
    """
    return Parameters(*parameters.unpack(packed_sums(parameters, u, i, e)).blocks())


def packed_sums(
    parameters: Parameters, u: IntArray, i: IntArray, e: FloatArray, *, run: Mapper = map
) -> FloatArray:
    """The sums of (4a) to (4d) without the penalty, over any ratings, as one vector.

    Parameters
    ----------
    parameters : Parameters
    u, i : (n,) arrays of int
        Which users and items the ratings are of.
    e : (n,) array of float
        Residuals, or multiples of them.
    run : callable
        As in `Parameters.predict`.

    Returns
    -------
    (n_params,) array of float
        In the precision of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, objective
    >>> parameters = Parameters([[1], [2]], [[2], [1]])
    >>> u, i, e = np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([-2.0, -2.0, -1.0])
    >>> objective.packed_sums(parameters, u, i, e)  # two users' sums, then two items'
    array([-6., -2., -4., -2.])
    """
    if e.size * parameters.n_factors <= _FEW_NUMBERS:
        return _sums_by_place(parameters, u, i, e)
    return _sums_by_products(parameters, u, i, e, run)


def _sums_by_place(parameters: Parameters, u: IntArray, i: IntArray, e: FloatArray) -> FloatArray:
    """Every rating has a part for each parameter of its user and of its item.

    In theta the rows of Q follow those of P, and the biases follow in the same order.
    ``bincount`` adds up all parts that belong in one place.
    """
    P, Q, k = parameters.user_factors, parameters.item_factors, parameters.n_factors
    row, weight = np.concatenate([u, len(P) + i], dtype=np.intp), np.concatenate([e, e])
    part = weight[:, None] * np.concatenate([Q.take(i, axis=0), P.take(u, axis=0)])  # (4a), (4b)
    place = row[:, None] * k + np.arange(k)
    sums = np.bincount(place.ravel(), part.ravel(), parameters.n_params)
    if parameters.has_bias:
        sums[P.size + Q.size :] = np.bincount(row, weight, len(P) + len(Q))  # (4c), (4d)
    return sums.astype(P.dtype, copy=False)  # NumPy adds in float64, or nothing in whole numbers


def _sums_by_products(
    parameters: Parameters, u: IntArray, i: IntArray, e: FloatArray, run: Mapper
) -> FloatArray:
    """The same as products of matrices.

    Users in ascending order, as in `Ratings`, are the rows of E one after another, and need
    no sorting.
    """
    P, Q = parameters.user_factors, parameters.item_factors
    if (u[1:] < u[:-1]).any():
        order = np.argsort(u, kind="stable")
        u, i, e = u[order], i[order], e[order]
    ends = np.searchsorted(u, np.arange(len(P) + 1))
    E = sparse.csr_array((e, i, ends), shape=(len(P), len(Q)))
    sums = np.empty(parameters.n_params, P.dtype)
    parts = parameters.view(sums)

    def of_users() -> None:
        parts.user_factors[:] = np.asarray(E @ Q)  # (4a)
        if parts.user_bias is not None:
            parts.user_bias[:] = np.bincount(u, e, len(P))  # (4c)

    def of_items() -> None:
        parts.item_factors[:] = np.asarray(E.T @ P)  # (4b)
        if parts.item_bias is not None:
            parts.item_bias[:] = np.bincount(i, e, len(Q))  # (4d)

    list(run(lambda side: side(), (of_users, of_items)))
    return sums


def forward_difference(
    function: Callable[[FloatArray], float], theta: FloatArray, step: float | FloatArray
) -> FloatArray:
    """Gradient estimated as (f(x + h) - f(x)) / h, one coordinate at a time.

    The error is about h/2 times the second derivative.

    Parameters
    ----------
    function : callable
        From theta, (n_params,), to a number.
    theta : (n_params,) array of float
    step : float or (n_params,) array of float
        h > 0, one for all coordinates or one for each.

    Returns
    -------
    (n_params,) array of float

    Examples
    --------
    >>> import numpy as np
    >>> forward_difference(lambda x: np.sum(x**2), np.array([1.0, -2.0]), 0.01).round(4)
    array([ 2.01, -3.99])
    """
    theta = np.asarray(theta, np.float64)
    here = function(theta)
    estimate = np.empty_like(theta)
    for j, h in enumerate(np.broadcast_to(step, theta.shape)):
        ahead = theta.copy()
        ahead[j] += h
        estimate[j] = (function(ahead) - here) / (ahead[j] - theta[j])
    return estimate


def central_difference(
    function: Callable[[FloatArray], float], theta: FloatArray, step: float | FloatArray
) -> FloatArray:
    """Gradient estimated as (f(x + h) - f(x - h)) / 2h, one coordinate at a time.

    The error is about h**2/6 times the third derivative: none at all for `half_sse`, which
    is quadratic along every coordinate, so that any step serves there. Parameters and
    result are those of `forward_difference`.

    Examples
    --------
    >>> import numpy as np
    >>> central_difference(lambda x: np.sum(x**2), np.array([1.0, -2.0]), 0.1).round(4)
    array([ 2., -4.])
    >>> central_difference(lambda x: np.sum(x**3), np.array([1.0, -2.0]), 0.1).round(4)
    array([ 3.01, 12.01])
    """
    theta = np.asarray(theta, np.float64)
    estimate = np.empty_like(theta)
    for j, h in enumerate(np.broadcast_to(step, theta.shape)):
        ahead, behind = theta.copy(), theta.copy()
        ahead[j] += h
        behind[j] -= h
        estimate[j] = (function(ahead) - function(behind)) / (ahead[j] - behind[j])
    return estimate


def check_gradient(
    function: Callable[[FloatArray], float],
    gradient: Callable[[FloatArray], FloatArray],
    theta: FloatArray,
    *,
    step: float = 1e-4,
    rtol: float = 1e-6,
) -> float:
    """Compare a gradient with central differences.

    Parameters
    ----------
    function, gradient : callable
        From theta, (n_params,), to a number and to an (n_params,) array.
    theta : (n_params,) array of float
        Where to compare.
    step : float
        Step h of the differences.
    rtol : float
        Largest difference allowed, relative to the largest entry of the estimate.

    Returns
    -------
    float
        The largest difference, relative to the largest entry of the estimate.

    Raises
    ------
    GradientError
        If it exceeds `rtol`, naming the entry that differs most.

    Examples
    --------
    >>> import numpy as np
    >>> bool(check_gradient(lambda x: x @ x, lambda x: 2 * x, np.array([1.0, -2.0])) < 1e-8)
    True
    >>> check_gradient(lambda x: x @ x, lambda x: 2.002 * x, np.array([1.0, -2.0]))
    Traceback (most recent call last):
        ...
    shallow_cf.objective.GradientError: entry 1: gradient -4.004, central difference -4
    """
    step = check_number("step", step, 0.0, above=True)
    analytic = np.asarray(gradient(theta))
    estimate = central_difference(function, theta, step)
    if analytic.shape != estimate.shape:
        raise GradientError(f"gradient of shape {analytic.shape} for {estimate.size} parameters")
    scale = max(float(np.abs(estimate).max()), np.finfo(float).tiny)
    difference = np.abs(analytic - estimate) / scale
    worst = int(np.argmax(difference))
    if not difference[worst] <= rtol:
        raise GradientError(
            f"entry {worst}: gradient {analytic[worst]:.6g}, "
            f"central difference {estimate[worst]:.6g}"
        )
    return float(difference[worst])
