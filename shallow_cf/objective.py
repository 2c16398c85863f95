r"""The mathematics: model, objectives, gradients, and a check of gradients.

Notation: user *u* has the embedding (row) :math:`p_u` of P, item *i* has
:math:`q_i` of Q, both of ``n_factors`` numbers indexed by *k*; :math:`b_u` and
:math:`b_i` are their biases; :math:`I(u)` are the items that *u* rated,
:math:`U(i)` the users who rated *i*; *n* is the number of ratings. Every sum over
(u, i) runs over rated cells only: a blank cell is not a zero.

Model
    (1)   r_hat_ui = p_u . q_i + b_u + b_i          (without biases: the dot product)

Residual
    (2)   e_ui = r_hat_ui - r_ui                     (prediction minus rating, stars)

Objectives
    (3a)  half_sse = 1/2 sum e_ui^2
                     + reg/2 (|P|^2 + |Q|^2 + |b_u|^2 + |b_i|^2)          stars^2
    (3b)  rmse     = sqrt(1/n sum e_ui^2)                                  stars

    (3a) is a sum, not a mean, and carries the 1/2 that cancels the 2 of the
    derivative; SGD descends it. (3b) is the spreadsheet's red cell; Solver
    minimises it. With reg = 0 both have the same minimisers.

Partial derivatives of half_sse, by the chain rule d(1/2 e^2) = e de = e dr_hat:
    (4a)  d/dP_uk = sum over i in I(u) of e_ui Q_ik + reg P_uk     as dr_hat_ui/dP_uk = Q_ik
    (4b)  d/dQ_ik = sum over u in U(i) of e_ui P_uk + reg Q_ik     as dr_hat_ui/dQ_ik = P_uk
    (4c)  d/db_u  = sum over i in I(u) of e_ui      + reg b_u      as dr_hat_ui/db_u  = 1
    (4d)  d/db_i  = sum over u in U(i) of e_ui      + reg b_i      as dr_hat_ui/db_i  = 1

Gradient of rmse: with S = sum e^2 (so grad S = 2 grad half_sse at reg = 0),
rmse = sqrt(S/n) gives
    (5)   grad rmse = grad S / (2 n rmse) = (grad half_sse at reg = 0) / (n rmse)

    At rmse = 0 the square root has no derivative; zero is returned there, because
    that point is a minimum.

With E the (n_users, n_items) table of residuals, 0 in blank cells, (4a) and (4b)
are two matrix products, E Q and E^T P, and (4c) and (4d) are E's row and column
sums. E is stored sparsely. Adding with ``G[u] += ...`` instead would be wrong:
NumPy keeps only the last of several additions to one row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from shallow_cf._checks import check_number
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings


class GradientError(ValueError):
    """A gradient differs from the finite difference of its function."""


def check_fit(ratings: Ratings, parameters: Parameters) -> None:
    """Raise ValueError where parameters are of other sizes than the ratings."""
    if (parameters.n_users, parameters.n_items) != (ratings.n_users, ratings.n_items):
        raise ValueError(f"{parameters!r} do not fit {ratings!r}")


def residual(ratings: Ratings, parameters: Parameters) -> FloatArray:
    """Prediction minus rating for every rating, (n_ratings,), stars. Equation (2).

    Raises
    ------
    ValueError
        If the parameters are of other sizes than the ratings.
    """
    check_fit(ratings, parameters)
    return parameters.predict(ratings.user_idx, ratings.item_idx) - ratings.rating  # (2)


def rmse(ratings: Ratings, parameters: Parameters) -> float:
    """Root mean squared error over rated cells, stars. Equation (3b)."""
    e = residual(ratings, parameters)
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
    """
    reg = check_number("reg", reg, 0.0)
    e = residual(ratings, parameters)
    penalty = sum(float(np.sum(block**2)) for block in parameters.blocks())
    return float(e @ e) / 2 + reg / 2 * penalty  # (3a)


def half_sse_gradient(ratings: Ratings, parameters: Parameters, reg: float = 0.0) -> Parameters:
    """Gradient of `half_sse`, a number for every parameter. Equations (4a) to (4d).

    Raises
    ------
    ValueError
        If `reg` is negative.
    """
    reg = check_number("reg", reg, 0.0)
    unpenalised = _weighted_sums(ratings, parameters, residual(ratings, parameters))
    blocks = zip(unpenalised.blocks(), parameters.blocks(), strict=True)
    return Parameters(*(slope + reg * value for slope, value in blocks))  # (4a)-(4d), reg


def rmse_gradient(ratings: Ratings, parameters: Parameters) -> Parameters:
    """Gradient of `rmse`, a number for every parameter. Equation (5)."""
    e = residual(ratings, parameters)
    value = np.sqrt(e @ e / ratings.n_ratings)  # (3b)
    weight = e / (ratings.n_ratings * value) if value > 0 else np.zeros_like(e)  # (5)
    return _weighted_sums(ratings, parameters, weight)


def _weighted_sums(ratings: Ratings, parameters: Parameters, e: FloatArray) -> Parameters:
    """The sums of (4a) to (4d) without the penalty, for residuals (or scaled ones) `e`."""
    shape = (ratings.n_users, ratings.n_items)
    E = sparse.csr_array((e, (ratings.user_idx, ratings.item_idx)), shape=shape)
    dP = np.asarray(E @ parameters.item_factors)  # (4a)
    dQ = np.asarray(E.T @ parameters.user_factors)  # (4b)
    if not parameters.has_bias:
        return Parameters(dP, dQ)
    dbu: FloatArray = E.sum(axis=1)  # (4c)
    dbi: FloatArray = E.sum(axis=0)  # (4d)
    return Parameters(dP, dQ, dbu, dbi)


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
