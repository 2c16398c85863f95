"""Ratings made of planted numbers, for everyone without data and for checking what is found."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from shallow_cf._checks import check_bool, check_int, check_number, check_random_state
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings

#: Of the planted scores, stars; with the noise they are about those of MovieLens ml-100k and
#: ml-latest-small, found there by variational Bayes with 10 factors.
_MEAN, _USER_SPREAD, _ITEM_SPREAD, _DOT_SPREAD, NOISE = 3.6, 0.4, 0.45, 0.45, 0.85
_LOWEST, _HIGHEST, _STEP = 0.5, 5.0, 0.5

#: Shift, as a share of all and at most, and power of (s2). What they lead to stands in the
#: docstring of `synthetic_ratings`.
_ACTIVITY, _POPULARITY = (0.1, np.inf, 1.5), (0.05, 100, 1.4)

#: From so many ratings a cell on (an eighth) all cells are drawn at once: see `_drawn`.
_DENSE = 8

#: When users come, seconds since 1970 (2006 to 2016), and how long one goes on rating.
_FIRST, _LAST, _STAY = 1_136_073_600, 1_451_606_400, 30 * 86_400


@overload
def synthetic_ratings(
    n_users: int,
    n_items: int,
    n_ratings: int,
    *,
    n_factors: int = ...,
    noise: float = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[False] = ...,
) -> Ratings: ...


@overload
def synthetic_ratings(
    n_users: int,
    n_items: int,
    n_ratings: int,
    *,
    n_factors: int = ...,
    noise: float = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[True],
) -> tuple[Ratings, Parameters]: ...


def synthetic_ratings(
    n_users: int,
    n_items: int,
    n_ratings: int,
    *,
    n_factors: int = 5,
    noise: float = NOISE,
    random_state: int | np.random.Generator | None = None,
    return_truth: bool = False,
) -> Ratings | tuple[Ratings, Parameters]:
    r"""Ratings whose factors and biases are known, because they were planted.

    Stars are what the model (1) of `shallow_cf.objective` predicts with planted numbers, plus
    noise, to the nearest half star from 0.5 to 5:

    .. math::
        r_{ui} = \text{half star}(\mu + b_u + b_i + p_u \cdot q_i + \varepsilon_{ui}),
        \qquad \varepsilon_{ui} \sim N(0, \text{noise}^2) \tag{s1}

    with mu = 3.6, biases normal with standard deviations of 0.4 (users) and 0.45 (items), and
    normal factors whose dot products have 0.45. As shipped, the planted numbers themselves have
    an RMSE of about 0.80: a good model comes near it on ratings it has not seen, and none does
    better by much.

    Few items get most ratings and few users give most. Pairs are drawn one after the other, each
    with a chance in proportion to the activity of the user times the popularity of the item, and
    no pair twice. Both are power laws of the rank k = 0, 1, ... among n:

    .. math:: (s + k)^{-a} \tag{s2}

    with s = n / 20, but at most 100, and a = 1.4 for items, s = n / 10 and a = 1.5 for users, in
    random order of their ids. Before that everyone gets one rating, if there are enough for it.

    Parameters
    ----------
    n_users, n_items : int
        How many; their ids are 1, 2, 3, ...
    n_ratings : int
        How many, up to n_users * n_items. From max(n_users, n_items) on, everyone has one.
    n_factors : int
        Numbers in a planted embedding.
    noise : float
        Standard deviation of what no model can know, stars.
    random_state : int, Generator or None
        Same seed, same ratings.
    return_truth : bool
        Whether to return the planted numbers as well.

    Returns
    -------
    Ratings, or (Ratings, Parameters)
        With timestamps: a user comes at any time in ten years and then stays for about a month.
        The planted numbers have a row for each of ``ratings.user_ids`` and
        ``ratings.item_ids``. Factors can be found only up to a rotation, predictions as such.

    Raises
    ------
    ValueError
        If a number is too small, or there are more ratings than pairs.
    TypeError
        If a number is none.

    Notes
    -----
    The tenth of the items that have most hold 42% of the ratings in the shape of ml-100k, where
    the real ones hold 43%, and 62% in that of ml-latest-small (2016), really 60%; the busiest
    tenth of the users give 34% (really 32%) and 37% (46%). What people rate says nothing here
    about how they like it; in real data it does.

    25 million ratings take about a minute and 2.5 GB of memory.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings, truth = scf.synthetic_ratings(200, 100, 4000, random_state=0, return_truth=True)
    >>> ratings, truth
    (Ratings(200 users x 100 items, 4000 ratings), ...)
    """
    n_users = check_int("n_users", n_users, 1)
    n_items = check_int("n_items", n_items, 1)
    n_ratings = check_int("n_ratings", n_ratings, 1)
    if n_ratings > n_users * n_items:
        raise ValueError(
            f"`n_ratings` must be <= {n_users * n_items}, as {n_users} users and {n_items} items "
            f"make no more pairs, got {n_ratings}"
        )
    n_factors = check_int("n_factors", n_factors, 1)
    noise = check_number("noise", noise, 0.0)
    check_random_state(random_state)
    check_bool("return_truth", return_truth)
    rng = np.random.default_rng(random_state)

    truth = _planted(rng, n_users, n_items, n_factors)
    u, i = _pairs(rng, n_users, n_items, n_ratings)
    stars = _half_stars(truth.predict(u, i) + noise * rng.standard_normal(n_ratings))
    when = rng.integers(_FIRST, _LAST, n_users)[u]
    when += rng.exponential(_STAY, n_ratings).astype(np.int64)
    user_ids, item_ids = (np.arange(1, n + 1) for n in (n_users, n_items))
    ratings = Ratings(user_ids, item_ids, u, i, stars, when)
    return (ratings, truth) if return_truth else ratings


# --- stars ------------------------------------------------------------------------------


def _planted(rng: np.random.Generator, n_users: int, n_items: int, n_factors: int) -> Parameters:
    # The variance of a dot product of normal numbers is n_factors * scale**4.
    scale = (_DOT_SPREAD**2 / n_factors) ** 0.25
    P, Q = (rng.normal(0, scale, (n, n_factors)) for n in (n_users, n_items))
    bu, bi = rng.normal(0, _USER_SPREAD, n_users), rng.normal(0, _ITEM_SPREAD, n_items)
    return Parameters(P, Q, bu, bi, global_mean=_MEAN)


def _half_stars(score: FloatArray) -> FloatArray:
    """The nearest stars there are; as float32, which holds them exactly."""
    score /= _STEP
    np.round(score, out=score)
    score *= _STEP
    return np.clip(score, _LOWEST, _HIGHEST, out=score).astype(np.float32)


# --- pairs ------------------------------------------------------------------------------


def _pairs(
    rng: np.random.Generator, n_users: int, n_items: int, n_ratings: int
) -> tuple[IntArray, IntArray]:
    """Who rates what, sorted by user and item."""
    by_user, by_item = _shares(rng, n_users, *_ACTIVITY), _shares(rng, n_items, *_POPULARITY)
    cells = np.empty(0, np.int64)
    if n_ratings >= max(n_users, n_items):
        cells = np.sort(_one_each(rng, by_user, by_item))
    draw = _drawn_from_all if n_users * n_items <= _DENSE * n_ratings else _drawn
    more = draw(rng, by_user, by_item, n_ratings - len(cells), cells)
    u, i = np.divmod(np.sort(np.concatenate((cells, more)), kind="stable"), n_items)
    return u, i


def _shares(
    rng: np.random.Generator, n: int, shift: float, most: float, power: float
) -> FloatArray:
    """How often each of `n` is drawn, adding up to 1, in random order."""
    weights = rng.permutation((min(shift * n, most) + np.arange(n)) ** -power)  # (s2)
    shares: FloatArray = weights / weights.sum()
    return shares


def _one_each(rng: np.random.Generator, by_user: FloatArray, by_item: FloatArray) -> IntArray:
    """Cells, as u * n_items + i, in which each user and each item is found.

    Each of the more numerous side stands in one. So many of them as the other side has share
    out that whole side, and the rest have partners by popularity.
    """
    few, many = sorted((by_user, by_item), key=len)
    members = rng.permutation(len(many))
    drawn = rng.choice(len(few), len(many) - len(few), p=few)
    partners = np.concatenate((np.arange(len(few)), drawn))
    u, i = (partners, members) if few is by_user else (members, partners)
    return u * len(by_item) + i


def _drawn(
    rng: np.random.Generator, by_user: FloatArray, by_item: FloatArray, n: int, taken: IntArray
) -> IntArray:
    """`n` cells that are not among the sorted `taken`: those drawn again do not count."""
    found = np.empty(0, np.int64)
    cumulative = np.cumsum(by_item)
    while len(found) < n:
        size = n - len(found)  # and no more: to drop some would hit those most likely, too
        # Users are drawn by how often each comes up, which puts them in order on the way.
        u = np.repeat(np.arange(len(by_user)), rng.multinomial(size, by_user))
        i = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
        u *= len(by_item)
        fresh = np.unique(u + i)
        fresh = fresh[~_is_among(fresh, taken) & ~_is_among(fresh, found)]
        found = np.sort(np.concatenate((found, fresh)), kind="stable")
    return found


def _drawn_from_all(
    rng: np.random.Generator, by_user: FloatArray, by_item: FloatArray, n: int, taken: IntArray
) -> IntArray:
    """The same where most pairs are wanted and most draws would be in vain.

    An exponential waiting time for each cell, with its chance as the rate: the first `n` to
    arrive are distributed as if drawn one after the other (Efraimidis and Spirakis 2006).
    """
    waiting = rng.standard_exponential((len(by_user), len(by_item)))
    waiting /= by_user[:, None]
    waiting /= by_item
    waiting = waiting.ravel()
    waiting[taken] = np.inf
    return np.argpartition(waiting, n - 1)[:n] if n else np.empty(0, np.int64)


def _is_among(cells: IntArray, taken: IntArray) -> npt.NDArray[np.bool_]:
    """Which of the sorted `cells` are among the sorted `taken`."""
    if not len(taken):
        return np.zeros(len(cells), bool)
    at = np.minimum(np.searchsorted(taken, cells), len(taken) - 1)
    among: npt.NDArray[np.bool_] = taken[at] == cells
    return among
