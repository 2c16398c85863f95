"""Splits: which ratings a model learns from, and which are kept back to judge it.

Both parts keep the ids of all users and all items, so that an index means the same in the
whole, in the training part and in the test part. A user or item all of whose ratings are
in the test part is *cold*: the model has learned nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from shallow_cf._checks import check_choice, check_int, check_number, check_random_state
from shallow_cf.ratings import Ratings, check_ratings

#: The training part and the test part.
Split = tuple[Ratings, Ratings]


def split(
    ratings: Ratings,
    test_size: float = 0.2,
    random_state: int | np.random.Generator | None = None,
) -> Split:
    """Keep back ratings drawn at random.

    Parameters
    ----------
    ratings : Ratings
    test_size : float
        Share of the ratings in the test part, more than 0 and less than 1; rounded down.
    random_state : int or Generator, optional
        Same seed, same parts.

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    ValueError
        If a part would be empty.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> train, test = scf.split(scf.load_crosstab(), test_size=0.1, random_state=1)
    >>> len(train), len(test)
    (186, 20)
    """
    check_ratings(ratings)
    n_test = _n_test(ratings, test_size)
    check_random_state(random_state)
    order = np.random.default_rng(random_state).permutation(len(ratings))
    return _parts(ratings, order[:n_test])


def lesson_split(ratings: Ratings, test_size: float = 0.2, seed: int = 42) -> Split:
    """The split of the fast.ai lesson of 2018, bit for bit.

    Its ``get_cv_idxs`` takes the first fifth of ``np.random.permutation(n)`` after
    ``np.random.seed(42)``, as positions of rows. Here the positions are those in the order
    of user and item. The lesson's own file, ratings.csv of ml-latest-small, stands in that
    order, so the parts are the lesson's; a file in another order, such as u.data of
    ml-100k, is split just as well but not as the lesson would.

    Parameters
    ----------
    ratings : Ratings
    test_size : float
        Share of the ratings in the test part, rounded down.
    seed : int
        Of NumPy's old generator, ``RandomState``.

    Returns
    -------
    train, test : Ratings

    Examples
    --------
    >>> import shallow_cf as scf
    >>> train, test = scf.lesson_split(scf.load_crosstab())
    >>> len(train), len(test)
    (165, 41)
    """
    check_ratings(ratings)
    n_test = _n_test(ratings, test_size)
    order = np.random.RandomState(check_int("seed", seed, 0)).permutation(len(ratings))
    return _parts(ratings, order[:n_test])


def split_by_time(ratings: Ratings, test_size: float = 0.2) -> Split:
    """Keep back the latest ratings: learn from the past, be judged by the future.

    Every rating in the test part is later than every one in the training part. Ratings of
    one moment are never divided: those at the border go to the training part, so the test
    part may be smaller than asked for. Who appears only later is cold.

    Parameters
    ----------
    ratings : Ratings
        With timestamps.
    test_size : float
        Largest share of the ratings in the test part.

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    ValueError
        If there are no timestamps, or no border divides the ratings so.

    Examples
    --------
    >>> import pandas as pd, shallow_cf as scf
    >>> table = pd.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 1, 2], "rating": [5, 4, 3, 2]})
    >>> table["when"] = [10, 40, 20, 30]
    >>> ratings = scf.Ratings.from_frame(table, "user", "item", timestamp="when")
    >>> train, test = scf.split_by_time(ratings, test_size=0.25)
    >>> test.to_frame()[["user_id", "item_id", "rating"]]
       user_id  item_id  rating
    0        1        2     4.0
    """
    check_ratings(ratings)
    n_test = _n_test(ratings, test_size)
    timestamp = _timestamps(ratings)
    last_of_train = np.partition(timestamp, -n_test - 1)[-n_test - 1]
    is_later = timestamp > last_of_train
    if not is_later.any():
        raise ValueError(
            f"`test_size` {test_size:g}: the latest {n_test} ratings and the one before them are "
            "of one moment; ask for more"
        )
    return _parts(ratings, np.flatnonzero(is_later))


def leave_k_out(
    ratings: Ratings,
    k: int = 1,
    by: str = "random",
    random_state: int | np.random.Generator | None = None,
) -> Split:
    """Keep back `k` ratings of every user; users with `k` or fewer keep them all in train.

    Parameters
    ----------
    ratings : Ratings
    k : int
    by : {"random", "time"}
        Which ones: drawn at random, or each user's latest (at one moment, the one whose
        item comes last in the order of ids).
    random_state : int or Generator, optional
        Same seed, same parts.

    Returns
    -------
    train, test : Ratings

    Raises
    ------
    ValueError
        If no user has more than `k` ratings, or there are no timestamps to go by.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> train, test = scf.leave_k_out(scf.load_crosstab(), k=2, random_state=1)
    >>> len(train), len(test)
    (176, 30)
    """
    check_ratings(ratings)
    k = check_int("k", k, 1)
    check_choice("by", by, ("random", "time"))
    check_random_state(random_state)
    rng = np.random.default_rng(random_state)
    key = rng.random(len(ratings)) if by == "random" else _timestamps(ratings)
    u = ratings.user_idx
    order = _by_user(u, key)  # users one after the other, each one's ratings by the key
    n_rated = np.bincount(u, minlength=ratings.n_users)
    end = np.cumsum(n_rated)  # where each user's ratings end in this order; u is ascending
    is_left_out = (np.arange(len(u)) >= end[u] - k) & (n_rated[u] > k)
    if not is_left_out.any():
        raise ValueError(f"`k`: no user has more than {k} ratings")
    return _parts(ratings, order[is_left_out])


def k_fold(
    ratings: Ratings,
    n_folds: int = 5,
    random_state: int | np.random.Generator | None = None,
) -> Iterator[Split]:
    """Keep back each rating exactly once: one split a fold, at random.

    Parameters
    ----------
    ratings : Ratings
    n_folds : int
        At least 2; the sizes of the test parts differ by 1 at most.
    random_state : int or Generator, optional
        Same seed, same folds.

    Returns
    -------
    iterator of (train, test)

    Raises
    ------
    ValueError
        If there are more folds than ratings.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> [len(test) for train, test in scf.k_fold(scf.load_crosstab(), 4, random_state=1)]
    [52, 52, 51, 51]
    """
    check_ratings(ratings)
    n_folds = check_int("n_folds", n_folds, 2)
    if n_folds > len(ratings):
        raise ValueError(f"`n_folds` must be <= {len(ratings)}, one rating a fold, got {n_folds}")
    check_random_state(random_state)
    order = np.random.default_rng(random_state).permutation(len(ratings))
    return (_parts(ratings, fold) for fold in np.array_split(order, n_folds))


def _parts(ratings: Ratings, test: npt.NDArray[np.intp]) -> Split:
    """The ratings that are not at some positions, and those that are."""
    is_test = np.zeros(len(ratings), bool)
    is_test[test] = True
    return ratings.subset(~is_test), ratings.subset(is_test)


def _by_user(u: npt.NDArray[np.int32], key: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where the ratings stand, sorted by user and then by a key, equal keys as they stand.

    As ``np.lexsort((key, u))``, but the second sort is one of numbers that hold the user and
    the place in the first, which is several times as fast.
    """
    by_key = np.argsort(key, kind="stable")
    bits = len(u).bit_length()
    place = u[by_key].astype(np.int64) << bits
    place |= np.arange(len(u))
    place.sort()
    place &= (1 << bits) - 1
    order: npt.NDArray[np.int64] = by_key[place]
    return order


def _n_test(ratings: Ratings, test_size: float) -> int:
    n_test = int(check_number("test_size", test_size, 0.0, above=True) * len(ratings))
    if not 1 <= n_test < len(ratings):
        raise ValueError(
            f"`test_size` must leave a rating on each side, got {test_size} of {len(ratings)}"
        )
    return n_test


def _timestamps(ratings: Ratings) -> npt.NDArray[np.int64]:
    if ratings.timestamp is None:
        raise ValueError(
            "these ratings have no timestamps: name their column, as in "
            "read_ratings(path, timestamp='date')"
        )
    return ratings.timestamp
