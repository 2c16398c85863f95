r"""Variational Bayes: every number of the model is a distribution, and nothing is set by hand.

The model, with x_u = (p_u, b_u) and y_i = (q_i, b_i) as in `normal_equations`:

    (22a)  r_ui = mu + b_u + b_i + p_u . q_i + noise,   noise ~ N(0, 1/tau)
    (22b)  x_u ~ N(W' f_u, Lambda^-1)                   and the same for y_i with its own W, Lambda

f_u are features of the row: 1, so that W has the prior's mean, and what can be told from
which items the user has rated, whatever the stars (`vb_start.Patterns`).

What is sought is a distribution q(x, y) = prod q(x_u) prod q(y_i) near that of the unknowns given
the ratings. The evidence lower bound says how near; it bounds the logarithm of the ratings'
probability from below:

    (22c)  L = E_q[log p(r | x, y)] + E_q[log p(x)] + E_q[log p(y)] - E_q[log q] + log priors

Each of the following steps maximises L over some of its variables, so that L never falls.

Rows, q(x_u) = N(m_u, S_u), given the other side: (21a) with the prior for penalty, and with
E[y y'] = m m' + S for y y' in (20b) to (20d)
    (22d)  S_u = (Lambda + tau A_u)^-1
    (22e)  m_u = S_u (Lambda W' f_u + tau c_u)

The noise, from the expected squared errors, which (21d) has with E[x x'] for x x',
    (22f)  E = sum over u of s_u - 2 m_u . c_u + tr(A_u E[x_u x_u'])
    (22g)  1/tau = (E + epsilon) / (n_ratings + 1)       or, if that is more, what rounding leaves

The prior of a side, from its n rows, F with the rows f_u, X with the rows m_u:
    (22h)  W = (F'F + D)^-1 F'X                         D = I but 0 for the mean: weights of
                                                        patterns have a prior N(0, Lambda^-1)
    (22i)  Lambda^-1 = (sum of E[(x - W'f)(x - W'f)'] + W' D W + m V) / (n + n_patterns + m)

Taking turns is slow where both sides have to move together, so a sweep begins with a leap: the
items' means go on nearly as far as the sweep before took them,
    (22k)  m_i + 0.8 (m_i - m_i before)
and if L is lower after a sweep from there, the sweep is made again without it.

epsilon is worth one rating and V is worth m = 5 rows; they keep small data from certainty. Both
are shares of the ratings' variance: while training lasts, ratings are counted in standard
deviations of theirs, so that ratings a million times as large give numbers of the same digits.
(Without biases and without a mean, it is the root of their mean square.)

Sources: Lim and Teh (2007), "Variational Bayesian Approach to Movie Rating Prediction"; Raiko,
Ilin and Karhunen (2007), "Principal Component Analysis for Large Scale Problems with Lots of
Missing Values"; full covariances in the priors as in Salakhutdinov and Mnih (2008), "Bayesian
Probabilistic Matrix Factorization", and rows' means from who rated what as in their
"Probabilistic Matrix Factorization" (2007), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shallow_cf import objective
from shallow_cf._checks import check_choice, check_int, check_share
from shallow_cf._jobs import Map
from shallow_cf.parameters import FloatArray, IntArray, Parameters, RealArray
from shallow_cf.posterior import Posterior, RowPrior
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.alternating import alternate
from shallow_cf.solvers.normal_equations import (
    DTYPES,
    Compressed,
    RowBlock,
    Rows,
    compressed,
    invert,
    multiplied,
    packed_places,
    parameters_of,
    regression,
    row_blocks,
)
from shallow_cf.solvers.result import (
    Callback,
    SolverResult,
    TraceRow,
    check_linear,
    check_start,
)
from shallow_cf.solvers.vb_start import Patterns, patterns, start

# In units of `_unit`.
#: Spread of factors and of biases that the first sweep takes for granted, and of the noise
#: (measured: a prior too wide or too narrow takes more sweeps).
_FACTOR_VARIANCE = 0.1
_BIAS_VARIANCE = 1.0
_NOISE_VARIANCE = 0.8
_START_VARIANCE = 0.01
#: epsilon of (22g); the diagonal of V in (22i), and how many rows it is worth (measured on parts
#: of the 15 x 15 crosstab: with one row biases are taken for chance).
_LEAST_ERROR = 0.01
_PRIOR_VARIANCE = 0.05
_PRIOR_ROWS = 5
#: How much of the last sweep's way a leap goes (measured; with 1 it drifts where nothing holds it).
_LEAP = 0.8
#: The least noise, 1/tau, in roundings of the numbers computed with. With less, a sum of tau A_u
#: and Lambda would lose Lambda.
_ROUNDINGS = 1000


@dataclass(frozen=True)
class VBOptions:
    """Settings of variational Bayes; the model's only one is how many factors it has.

    Parameters
    ----------
    n_iterations : int
        Most sweeps: users given the items, then items given the users.
    n_patterns : int
        Features of who rated what that the means of the priors depend on; 0 does without. No
        more than one for ten users or items are made.
    tol : float
        From 0 to 1: stop when a sweep changes the evidence lower bound by no larger share.
    dtype : {"float32", "float64"}
        Numbers to compute with; the first takes half the time and memory.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> model = scf.MatrixFactorization(
    ...     3, bias=True, global_mean=True, solver="vb", random_state=0)
    >>> model = model.fit(scf.load_crosstab())
    >>> bool(model.history_["elbo"].iloc[1:].is_monotonic_increasing)
    True
    """

    n_iterations: int = 20
    n_patterns: int = 20
    tol: float = 1e-3
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_int("n_iterations", self.n_iterations, 1)
        check_int("n_patterns", self.n_patterns, 0)
        check_share("tol", self.tol)
        check_choice("dtype", self.dtype, DTYPES)


class Block(NamedTuple):
    """Some rows: their ratings, and their features f, (n, f + 1)."""

    ratings: RowBlock
    features: RealArray


class Prior(NamedTuple):
    """That of a side's rows (22b)."""

    weights: FloatArray  # W, (f + 1, d)
    precision: FloatArray  # Lambda, (d, d)


class Totals(NamedTuple):
    """What the noise, the prior and the bound need of rows: sums over those with ratings.

    What has not been found yet is not a number.
    """

    squared_error: float  # (22f)
    misfit: float  # sum of squared errors of the means
    log_det: float  # of log |S|
    second: FloatArray  # of E[x x'], (d, d)
    cross: FloatArray  # F'X, (f + 1, d)
    features: FloatArray  # F'F, (f + 1, f + 1)
    n: int  # how many rows


def half_step(
    block: Block,
    other: Rows,
    prior: Prior,
    noise_precision: float,
    *,
    bias: bool,
    is_last: bool = False,
) -> tuple[Rows, Totals]:
    """The distributions of a block's rows, given the other side's.

    A function of what it is given and nothing else, so that it can run anywhere. In the last
    half of a sweep it also looks how well the means fit.
    """
    ratings, F = block
    dtype = other.means.dtype
    tau, precision = dtype.type(noise_precision), prior.precision.astype(dtype)
    sums, d = ratings.sums(other), len(precision)
    pull = (F @ prior.weights.astype(dtype) @ precision).T  # (22b): Lambda W' f
    upper = np.triu_indices(d)
    table = np.empty((len(ratings), len(upper[0]) + d), dtype)
    error = log_det = 0.0
    for rows in ratings.pieces(d):
        A, c, s = regression(ratings, sums, rows, bias=bias)
        S = tau * A + precision[:, :, None]
        log_det -= float(invert(S)[ratings.count[rows] > 0].sum())  # (22d)
        m = np.einsum("jkn,kn->jn", S, tau * c + pull[:, rows])  # (22e)
        S += m[:, None] * m  # from here on it is E[x x']
        error += float((s - 2 * np.einsum("jn,jn->n", m, c) + np.einsum("jkn,jkn->n", S, A)).sum())
        table[rows, :-d], table[rows, -d:] = S[upper].T, m.T
    found = Rows(table, table[:, -d:].copy())
    misfit = math.nan
    if is_last:
        misfit = ratings.squared_error(*multiplied(found.means, other.means, bias=bias))
    return found, _totals(found, F, ratings.count > 0, (error, misfit, log_det))  # (22f)


def _totals(
    found: Rows,
    features: RealArray,
    seen: npt.NDArray[np.bool_],
    numbers: tuple[float, float, float],
) -> Totals:
    d = found.means.shape[1]
    second = found.table[seen, :-d].sum(axis=0, dtype=np.float64)
    F, X = features[seen].astype(np.float64), found.means[seen].astype(np.float64)
    return Totals(*numbers, second[packed_places(d)], F.T @ X, F.T @ F, len(F))


class Side(NamedTuple):
    """Distributions of all rows of one side, their prior, and what the bound needs of them."""

    rows: Rows
    prior: Prior
    totals: Totals

    @property
    def spread(self) -> FloatArray:
        """Sum over the rows of E[(x - W'f)(x - W'f)'], (d, d)."""
        W, explained = self.prior.weights, self.prior.weights.T @ self.totals.cross
        return self.totals.second - explained - explained.T + W.T @ self.totals.features @ W


class State(NamedTuple):
    """Where a run stands."""

    users: Side
    items: Side
    noise_precision: float  # tau, 1/stars**2
    squared_error: float  # E, stars**2
    items_before: RealArray | None = None  # the items' means a sweep ago


def update_rows(
    blocks: Sequence[Block],
    side: Side,
    other: Side,
    noise_precision: float,
    bias: bool,
    map: Map,
    *,
    is_last: bool = False,
) -> Side:
    """Equations (22d) and (22e) for all rows of a side."""
    step = partial(
        half_step,
        other=other.rows,
        prior=side.prior,
        noise_precision=noise_precision,
        bias=bias,
        is_last=is_last,
    )
    found, totals = zip(*map(step, blocks), strict=True)
    rows = Rows._make(np.concatenate(parts) for parts in zip(*found, strict=True))
    return Side(rows, side.prior, Totals._make(sum(parts) for parts in zip(*totals, strict=True)))


def update_prior(side: Side) -> Side:
    """Equations (22h) and (22i)."""
    totals = side.totals
    D = _pattern_penalty(len(totals.features))
    W = np.asarray(np.linalg.solve(totals.features + D, totals.cross), np.float64)  # (22h)
    side = Side(side.rows, Prior(W, side.prior.precision), totals)
    scatter, weight = _scatter(side)
    precision = np.asarray(np.linalg.inv(scatter / weight), np.float64)  # (22i)
    return side._replace(prior=Prior(W, precision))


def _scatter(side: Side) -> tuple[FloatArray, int]:
    """What (22i) divides, (d, d), and by what: rows, weights of patterns and V together."""
    W = side.prior.weights
    D = _pattern_penalty(len(W))
    scatter = side.spread + W.T @ D @ W + _PRIOR_ROWS * _PRIOR_VARIANCE * np.eye(W.shape[1])
    return scatter, side.totals.n + len(D) - 1 + _PRIOR_ROWS


def _pattern_penalty(n_features: int) -> FloatArray:
    """D of (22h): the mean is free."""
    D = np.eye(n_features)
    D[0, 0] = 0.0
    return D


def update_noise(state: State, latest: Totals, n_ratings: int) -> State:
    """Equation (22g), from the totals of the rows updated last."""
    error = latest.squared_error
    least = _ROUNDINGS * float(np.finfo(state.users.rows.means.dtype).eps)
    variance = max((error + _LEAST_ERROR) / (n_ratings + 1), least)  # (22g)
    return state._replace(squared_error=error, noise_precision=1 / variance)


def leap(state: State) -> Side:
    """The items, further on in the direction of the sweep before. Equation (22k)."""
    items, before = state.items, state.items_before
    if before is None:
        return items
    means = items.rows.means
    further = means + means.dtype.type(_LEAP) * (means - before)  # (22k)
    return items._replace(rows=Rows.of(further, items.rows.covariance))


def evidence_lower_bound(state: State, n_ratings: int) -> float:
    """L of (22c), up to a constant; not a number before both sides have been updated."""
    tau = state.noise_precision
    log_normal = math.log(tau / (2 * math.pi))  # (22a)
    of_ratings = (n_ratings * log_normal - tau * state.squared_error) / 2
    of_noise = (math.log(tau) - tau * _LEAST_ERROR) / 2
    return of_ratings + of_noise + _side_bound(state.users) + _side_bound(state.items)  # (22c)


def _side_bound(side: Side) -> float:
    """What a side's rows and their prior have in L."""
    totals, precision = side.totals, side.prior.precision
    scatter, weight = _scatter(side)
    log_det = float(np.linalg.slogdet(precision)[1])
    entropy = totals.log_det + totals.n * len(precision)  # twice that of the rows, but for 2 pi
    return (weight * log_det - float((precision * scatter).sum()) + entropy) / 2


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: VBOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
    *,
    valid: Ratings | None = None,
    map: Map = map,
) -> SolverResult:
    """Train by variational Bayes.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Only their form matters (sizes, biases, mean): the start is found from the ratings.
    options : VBOptions, optional
    callback : callable, optional
        Called after each sweep with the row of the trace: ``iteration``, ``train_rmse``,
        ``valid_rmse`` and ``noise_std`` (stars), ``elbo`` and ``seconds``. Returning True stops.
    random_state : int or Generator, optional
        Of the start.
    valid : Ratings, optional
        Of the same users and items, to measure on.
    map : callable, optional
        What calls the half-steps, a block of rows at a time: Python's `map`, or one that
        does so in threads or on other machines. The outcome is the same.

    Returns
    -------
    SolverResult
        With the means as parameters, and all else in its ``posterior``. Ctrl-C ends a run
        with the last full sweep.

    Raises
    ------
    ValueError
        If the parameters do not fit the ratings, are not finite or have a rating range.
    """
    options = options or VBOptions()
    check_start(ratings, parameters)
    check_linear(parameters, "vb")
    # Biases with priors whose means are free can take up any shift: of those that are the same
    # model, the one with the mean has the fewest digits to lose.
    mean = ratings.mean_rating if parameters.has_bias else parameters.offset
    data = compressed(ratings, mean, options.dtype)
    unit = _unit(ratings, mean)
    for matrix in (data.by_user, data.by_item):
        matrix.data /= matrix.dtype.type(unit)
    stars = np.array([math.sqrt(unit)] * parameters.n_factors + [unit] * parameters.has_bias)
    shift = np.zeros(len(stars))
    shift[parameters.n_factors :] = mean - parameters.offset
    n, bias = ratings.n_ratings, parameters.has_bias
    state, sides = _begin(data, parameters, options, np.random.default_rng(random_state))
    blocks = [_blocks(matrix, side) for matrix, side in zip(data[:2], sides, strict=True)]
    state = state._replace(items=_with_misfit(blocks[1], state.items, state.users, bias))

    def both_halves(state: State, items: Side) -> State:
        tau = state.noise_precision
        users = update_rows(blocks[0], state.users, items, tau, bias, map)
        state = update_noise(state._replace(users=update_prior(users)), users.totals, n)
        tau = state.noise_precision
        found = update_rows(blocks[1], items, state.users, tau, bias, map, is_last=True)
        return update_noise(state._replace(items=update_prior(found)), found.totals, n)

    def sweep(state: State) -> State:
        found = both_halves(state, leap(state))
        if evidence_lower_bound(found, n) < evidence_lower_bound(state, n):
            found = both_halves(state, state.items)
        return found._replace(items_before=state.items.rows.means)

    def found(state: State) -> Parameters:
        users, items = (side.rows.means * stars for side in (state.users, state.items))
        return parameters_of(users, items + shift, data, parameters)

    def measure(state: State) -> TraceRow:
        return {
            "train_rmse": (state.items.totals.misfit / n) ** 0.5 * unit,
            "valid_rmse": np.nan if valid is None else objective.rmse(valid, found(state)),
            "elbo": evidence_lower_bound(state, n),
            "noise_std": state.noise_precision**-0.5 * unit,
        }

    begun = found(state)
    state, trace, message = alternate(state, sweep, measure, "elbo", options, callback)
    return SolverResult(
        parameters=found(state),
        trace=trace,
        code=None,
        message=message,
        seconds=trace[-1]["seconds"],
        start=begun,
        n_function=len(trace),
        n_gradient=0,
        posterior=_posterior(state, sides, data, stars, shift, unit),
    )


def _unit(ratings: Ratings, mean: float) -> float:
    """How far ratings are from `mean`, stars; their size where that is as good as nothing."""
    size = float(np.abs(ratings.rating).max())
    e = np.subtract(ratings.rating, mean, dtype=np.float64)
    deviation = float(np.sqrt(e @ e / len(e)))
    return deviation if deviation > 1e-6 * size else size or 1.0


def _begin(
    data: Compressed, like: Parameters, options: VBOptions, rng: np.random.Generator
) -> tuple[State, tuple[Patterns, Patterns]]:
    """The state before the first sweep, and the patterns of both sides."""
    k, bias = like.n_factors, like.has_bias
    sides = patterns(data, options.n_patterns, rng)
    means = start(data, k, rng, bias=bias)
    variances = np.array([_FACTOR_VARIANCE] * k + [_BIAS_VARIANCE] * bias)
    users, items = (
        _first(of, side.features.shape[1], variances) for of, side in zip(means, sides, strict=True)
    )
    return State(users, items, 1 / _NOISE_VARIANCE, math.nan), sides


def _first(means: RealArray, n_features: int, variances: FloatArray) -> Side:
    """A side before its first half-step: means, little variance, and a prior about the means."""
    d = len(variances)
    covariance = np.zeros(d * (d + 1) // 2, means.dtype)
    covariance[np.diagonal(packed_places(d))] = _START_VARIANCE
    weights = np.zeros((n_features, d))
    weights[0] = means.mean(axis=0, dtype=np.float64)
    prior = Prior(weights, np.diag(1 / variances))
    gram = np.zeros((n_features, n_features))
    totals = Totals(math.nan, math.nan, math.nan, np.zeros((d, d)), prior.weights, gram, 0)
    return Side(Rows.of(means, covariance), prior, totals)


def _with_misfit(blocks: Sequence[Block], side: Side, other: Side, bias: bool) -> Side:
    """The side, and in its totals how well the means fit at the start."""
    x, y = multiplied(side.rows.means, other.rows.means, bias=bias)
    parts = np.split(x, np.cumsum([len(block.ratings) for block in blocks])[:-1])
    misfit = sum(
        block.ratings.squared_error(part, y) for block, part in zip(blocks, parts, strict=True)
    )
    return side._replace(totals=side.totals._replace(misfit=misfit))


def _blocks(matrix: sparse.csr_array, side: Patterns) -> list[Block]:
    parts = row_blocks(matrix)
    ends = np.cumsum([len(part) for part in parts])
    return list(map(Block, parts, np.split(side.features, ends[:-1])))


def _posterior(
    state: State,
    sides: tuple[Patterns, Patterns],
    data: Compressed,
    stars: FloatArray,
    shift: FloatArray,
    unit: float,
) -> Posterior:
    """All but the means, users and items in the order of the ratings' ids.

    `stars` times a row's numbers, plus `shift` for an item, and `unit` times a rating are those
    in stars.
    """
    users, items = state.users, state.items
    item_prior = _row_prior(sides[1], data.user_order, items.prior, stars)
    item_prior.weights[0] += shift
    return Posterior(
        _covariance(users.rows, data.user_order, stars),
        _covariance(items.rows, data.item_order, stars),
        _row_prior(sides[0], data.item_order, users.prior, stars),
        item_prior,
        state.noise_precision**-0.5 * unit,
    )


def _covariance(rows: Rows, order: IntArray, stars: FloatArray) -> RealArray:
    d, covariance = rows.means.shape[1], rows.covariance
    diagonal = np.diagonal(packed_places(d))
    covariance[:, diagonal] = covariance[:, diagonal].clip(min=0.0)  # rounding can leave -1e-9
    units = np.outer(stars, stars)[np.triu_indices(d)].astype(covariance.dtype)
    return _ordered(covariance * units, order)


def _row_prior(side: Patterns, order: IntArray, prior: Prior, stars: FloatArray) -> RowPrior:
    precision = prior.precision / np.outer(stars, stars)
    return RowPrior(_ordered(side.vectors, order), side.span, prior.weights * stars, precision)


def _ordered(rows: RealArray, order: IntArray) -> RealArray:
    """Rows in the order of the ids."""
    ordered = np.empty_like(rows)
    ordered[order] = rows
    return ordered
