"""Ranking: the first n of each row of a table, and among which to look."""

from __future__ import annotations

import numpy as np

from shallow_cf.parameters import FloatArray, IntArray


def top_n(scores: FloatArray, n: int) -> IntArray:
    """Columns of the n largest numbers of each row, the largest first.

    Of equal numbers the one further left comes first, so the answer does not depend on how
    the sorting is done. A partition finds the n largest without sorting the row, but takes
    any of several equal ones; only rows in which that mattered are sorted in full.

    Parameters
    ----------
    scores : (n_rows, n_columns) array of float
        Without NaN.
    n : int
        At least 0; more than there are columns means all of them.

    Returns
    -------
    (n_rows, min(n, n_columns)) array of int

    Examples
    --------
    >>> top_n(np.array([[3.0, 5.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0]]), 2)
    array([[1, 3],
           [0, 1]])
    """
    n_columns = scores.shape[1]
    n = min(n, n_columns)
    if n == 0:
        return np.zeros((len(scores), 0), np.intp)
    top = np.argpartition(scores, n_columns - n, axis=1)[:, n_columns - n :]
    values = np.take_along_axis(scores, top, axis=1)
    lowest = values.min(axis=1, keepdims=True)
    is_open = (scores == lowest).sum(axis=1) > (values == lowest).sum(axis=1)
    top[is_open] = np.argsort(-scores[is_open], axis=1, kind="stable")[:, :n]
    top.sort(axis=1)  # so that the stable sort keeps the order of equal ones
    values = np.take_along_axis(scores, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)


def often_rated(count: IntArray, min_ratings: int = 0, most_rated: int | None = None) -> IntArray:
    """Indices of those with many ratings, ascending.

    Parameters
    ----------
    count : (n,) array of int
        How many ratings each has.
    min_ratings : int
        Only those with so many or more.
    most_rated : int, optional
        Only so many, those with the most ratings; of equals the first. All of them if
        there are no more.
    """
    kept = np.flatnonzero(count >= min_ratings)
    if most_rated is None:
        return kept
    order = np.argsort(-count[kept], kind="stable")
    return np.sort(kept[order[:most_rated]])
