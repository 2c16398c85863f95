"""Pairs of a user and an item: in order, and those that stand twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]


def sorted_pairs(
    u: Indices, i: Indices, n_users: int, n_items: int
) -> tuple[npt.NDArray[Any] | None, Indices, Indices]:
    """Sort pairs by user and then by item; equal pairs stay in the order in which they stand.

    Parameters
    ----------
    u, i : (n,) arrays of int32
        Indices below `n_users` and `n_items`.

    Returns
    -------
    order : (n,) array of int or None
        Where each pair of the sorted ones stood; None if they are sorted already.
    u, i : (n,) arrays of int32
        The sorted pairs; the given arrays themselves if they are sorted already.

    Examples
    --------
    >>> u, i = np.array([1, 0, 1], np.int32), np.array([0, 2, 0], np.int32)
    >>> order, u, i = sorted_pairs(u, i, 2, 3)
    >>> order.tolist(), u.tolist(), i.tolist()
    ([1, 0, 2], [0, 1, 1], [2, 0, 0])
    """
    if _are_sorted(u, i):
        return None, u, i
    order = _order(u, i, n_users, n_items)
    return order, u.take(order), i.take(order)


def repeats(u: Indices, i: Indices) -> npt.NDArray[np.bool_]:
    """Which of the sorted pairs are the same as the one before, (n,).

    Examples
    --------
    >>> repeats(np.array([0, 1, 1], np.int32), np.array([2, 0, 0], np.int32))
    array([False, False,  True])
    """
    is_repeat = np.zeros(len(u), bool)
    np.equal(u[1:], u[:-1], out=is_repeat[1:])
    is_repeat[1:] &= i[1:] == i[:-1]
    return is_repeat


def _are_sorted(u: Indices, i: Indices) -> bool:
    is_in_place = u[1:] == u[:-1]
    is_in_place &= i[1:] >= i[:-1]
    is_in_place |= u[1:] > u[:-1]
    return bool(is_in_place.all())


def _order(u: Indices, i: Indices, n_users: int, n_items: int) -> npt.NDArray[np.int64]:
    """Where the pairs stand in sorted order.

    A pair and its position are packed into one number of 64 bits: sorting numbers is several
    times as fast as sorting positions by numbers that stand elsewhere, and none are equal.
    """
    bits = len(u).bit_length()
    if (n_users * n_items) << bits > np.iinfo(np.int64).max:
        return np.lexsort((i, u))
    key = u.astype(np.int64)
    key *= n_items
    key += i
    key <<= bits
    key |= np.arange(len(u))
    key.sort()
    key &= (1 << bits) - 1
    return key
