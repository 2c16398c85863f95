"""Ranking: the first n of each row of a table, and among which to look."""

from __future__ import annotations

import numpy as np

from shallow_cf.parameters import FloatArray, IntArray


def top_n(scores: FloatArray, n: int) -> IntArray:
    """Columns of the n largest numbers of each row, the largest first.

    Of equal numbers the one further left comes first, so the answer does not depend on how
    the sorting is done. All rows at once: `np.partition` finds the n-th largest number of
    each row without sorting the row; whatever is larger belongs to the n, and of those
    that equal it the first fill up what is left.

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
    n = min(n, scores.shape[1])
    if n == 0:
        return np.zeros((len(scores), 0), np.intp)
    nth = np.partition(scores, -n, axis=1)[:, [-n]]
    above, equal = scores > nth, scores == nth
    room = n - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= room))
    columns = np.nonzero(chosen)[1].reshape(len(scores), n)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


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
