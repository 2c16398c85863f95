r"""Alternating least squares: with one side's numbers fixed, the other side's are a regression.

The objective half_sse (3a) has no simple minimum, but with Q and b_i fixed it is quadratic in
all P and b_u, and falls apart into one problem a user (17a), with the normal equations

    (21a)  (A_u + lambda_u I) x_u = c_u          A_u, c_u of (20b), (20c)

Solving them for all users, then their like for all items, is a sweep. Each half of it
minimises (3a) over half of the parameters, so that it never rises. There is no learning rate.

Two conventions are in use for the penalty:
    (21b)  lambda_u = lambda                     plain: the penalty of (3a), as in all solvers
    (21c)  lambda_u = lambda |I(u)|              weighted: Zhou, Wilkinson, Schreiber and Pan (2008,
                                                 "Large-Scale Parallel Collaborative Filtering
                                                 for the Netflix Prize", ALS-WR); Spark's
The weighted one minimises 1/2 sum e^2 + lambda/2 (sum over u of |I(u)| |x_u|^2 + the same for
items). After Bell and Koren (2007, "Scalable Collaborative Filtering with Jointly Derived
Neighborhood Interpolation Weights").

The minimum of a half is known without another pass through the ratings:
    (21d)  sum over i in I(u) of e_ui^2 = s_u - 2 x_u . c_u + x_u' A_u x_u
As a difference of large numbers it is good to some units in the last place of s_u, no better.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from shallow_cf import objective
from shallow_cf._checks import check_bool, check_choice, check_int, check_number, check_share
from shallow_cf._jobs import Map
from shallow_cf.parameters import Parameters, RealArray
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.alternating import alternate
from shallow_cf.solvers.normal_equations import (
    DTYPES,
    RowBlock,
    Rows,
    compressed,
    invert,
    parameters_of,
    regression,
    row_blocks,
    rows_of,
)
from shallow_cf.solvers.result import Callback, SolverResult, TraceRow, check_linear, check_start

#: A larger penalty leaves nothing of any rating, and may exceed what 32 bits hold.
_LARGEST_REG = 1e15
#: Rise of the loss that sound rounding does not explain: units in the last place of the sum of
#: the squared ratings.
_ROUNDING = 1000


@dataclass(frozen=True)
class ALSOptions:
    """Settings of alternating least squares.

    The defaults were chosen on validation parts of MovieLens 100K and ml-latest-small, for
    models with biases and the global mean: ``benchmarks/als_settings.py``. A small table
    wants a smaller `reg`, and one that grows with the count a much smaller one: 0.1 or so.

    Parameters
    ----------
    n_iterations : int
        Most sweeps: users given the items, then items given the users.
    reg : float
        Penalty on the squares of all numbers, biases included: 0 < lambda <= 1e15.
    weighted : bool
        Whether the penalty of a user, or an item, grows with how many ratings there are
        (21c), as in ALS-WR and Spark. If not (21b), it is that of the other solvers.
    tol : float
        From 0 to 1: stop when a sweep changes the loss by no larger share of it.
    dtype : {"float64", "float32"}
        Numbers to compute with; the second takes half the time and memory.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    The spreadsheet's model, with the penalty that Spark would call ``regParam=0.01``:

    >>> import shallow_cf as scf
    >>> options = scf.ALSOptions(reg=0.01, weighted=True)
    >>> model = scf.MatrixFactorization(5, solver="als", solver_options=options, random_state=0)
    >>> round(model.fit(scf.load_crosstab()).rmse(scf.load_crosstab()), 2)
    0.39

    A model of real data has biases and the mean; its factors are then small, and so should
    be those it starts from:

    >>> model = scf.MatrixFactorization(
    ...     10, bias=True, global_mean=True, solver="als", init="normal", init_scale=0.1,
    ...     random_state=0)
    >>> losses = model.fit(scf.load_crosstab()).history_["loss"]
    >>> bool(losses.is_monotonic_decreasing)
    True
    """

    n_iterations: int = 50
    reg: float = 12.0
    weighted: bool = False
    tol: float = 1e-4
    dtype: str = "float64"

    def __post_init__(self) -> None:
        check_int("n_iterations", self.n_iterations, 1)
        check_number("reg", self.reg, 0.0, above=True)
        if self.reg > _LARGEST_REG:
            raise ValueError(f"`reg` must be <= {_LARGEST_REG:g}, got {self.reg:g}")
        check_bool("weighted", self.weighted)
        check_share("tol", self.tol)
        check_choice("dtype", self.dtype, DTYPES)


class Half(NamedTuple):
    """What a half-step finds for rows of one side."""

    means: RealArray  # x, (n, d)
    squared_error: float  # (21d), all rows together


def half_step(block: RowBlock, other: Rows, *, reg: float, weighted: bool, bias: bool) -> Half:
    """The best numbers of a block's rows, given the other side's.

    A function of what it is given and nothing else, so that it can run anywhere.
    """
    sums = block.sums(other)
    means = np.empty_like(other.means, shape=(len(block), other.means.shape[1]))
    strength = penalties(block.count, reg, weighted=weighted)
    error = 0.0
    for rows in block.pieces(means.shape[1]):
        A, c, s = regression(block, sums, rows, bias=bias)
        inverse = A.copy()
        np.einsum("jjn->jn", inverse)[:] += strength[rows]  # a view of their diagonals
        with np.errstate(all="ignore"):  # a penalty too small shows in the loss, see `solve`
            invert(inverse)
            x = np.einsum("jkn,kn->jn", inverse, c)  # (21a)
            e_squared = s + np.einsum("jn,jn->n", x, np.einsum("jkn,kn->jn", A, x) - 2 * c)
        error += float(np.maximum(e_squared, 0).sum())  # (21d), below 0 by rounding only
        means[rows] = x.T
    return Half(means, error)


def penalties(count: RealArray, reg: float, *, weighted: bool) -> RealArray:
    """lambda_u of each row, (n,), from how many ratings it has; a row without any has one."""
    one = np.ones_like(count)
    return reg * (np.maximum(count, one) if weighted else one)  # (21c), (21b)


class State(NamedTuple):
    """Numbers of both sides and the sum of squared errors."""

    users: RealArray
    items: RealArray
    squared_error: float


def solve(
    ratings: Ratings,
    parameters: Parameters,
    options: ALSOptions | None = None,
    callback: Callback | None = None,
    random_state: int | np.random.Generator | None = None,
    *,
    valid: Ratings | None = None,
    map: Map = map,
) -> SolverResult:
    """Train by alternating least squares.

    Parameters
    ----------
    ratings : Ratings
    parameters : Parameters
        Where to start; only the items' numbers matter.
    options : ALSOptions, optional
    callback : callable, optional
        Called after each sweep with the row of the trace: ``iteration``, ``train_rmse``,
        ``valid_rmse``, ``loss`` (stars**2: half the squared errors and the penalty) and
        ``seconds``. Returning True stops.
    random_state : int or Generator, optional
        Not used: nothing here is random.
    valid : Ratings, optional
        Of the same users and items, to measure on.
    map : callable, optional
        What calls the half-steps, a block of rows at a time: Python's `map`, or one that
        does so in threads or on other machines. The outcome is the same.

    Returns
    -------
    SolverResult
        Ctrl-C ends a run with the last full sweep.

    Raises
    ------
    ValueError
        If the parameters do not fit the ratings, are not finite or have a rating range; if
        the penalty is too small to make equations (21a) solvable in numbers of that size.
    """
    options = options or ALSOptions()
    check_start(ratings, parameters)
    check_linear(parameters, "als")
    data = compressed(ratings, parameters.offset, options.dtype)
    blocks = row_blocks(data.by_user), row_blocks(data.by_item)
    strengths = [
        penalties(np.concatenate([block.count for block in side]), options.reg,
                  weighted=options.weighted)[:, None]
        for side in blocks
    ]  # fmt: skip
    unit = float(np.finfo(options.dtype).eps) * sum(float(part.square.sum()) for part in blocks[0])
    step = partial(half_step, reg=options.reg, weighted=options.weighted, bias=parameters.has_bias)

    def half(side: list[RowBlock], other: RealArray) -> Half:
        parts = list(map(partial(step, other=Rows.of(other)), side))
        means = np.concatenate([part.means for part in parts])
        return Half(means, sum(part.squared_error for part in parts))

    def loss(state: State) -> float:
        penalty = sum(
            float((strength * side**2).sum(dtype=np.float64))
            for strength, side in zip(strengths, state[:2], strict=True)
        )
        return (state.squared_error + penalty) / 2

    def sweep(state: State) -> State:
        users = half(blocks[0], state.items)
        items = half(blocks[1], users.means)
        swept = State(users.means, items.means, items.squared_error)
        _check_solved(loss(swept), loss(state) + _ROUNDING * unit, options)
        return swept

    def found(state: State) -> Parameters:
        return parameters_of(state.users, state.items, data, parameters)

    def measure(state: State) -> TraceRow:
        return {
            "train_rmse": (state.squared_error / ratings.n_ratings) ** 0.5,
            "valid_rmse": np.nan if valid is None else objective.rmse(valid, found(state)),
            "loss": loss(state),
        }

    users, items = rows_of(parameters, data, options.dtype)
    start = State(users, items, 2 * objective.half_sse(ratings, parameters))
    state, trace, message = alternate(start, sweep, measure, "loss", options, callback)
    return SolverResult(
        parameters=found(state),
        trace=trace,
        code=None,
        message=message,
        seconds=trace[-1]["seconds"],
        start=parameters,
        n_function=len(trace),
        n_gradient=0,
    )


def _check_solved(loss: float, most: float, options: ALSOptions) -> None:
    """Refuse what equations have led to that are singular but for rounding."""
    if not loss <= most:
        raise ValueError(
            f"`reg` must be larger with dtype {options.dtype!r}, got {options.reg:g}: rounding "
            "leaves no solution to someone's equations"
        )
