"""Ranking: does the top of each user's list hold what the user liked?

Recommenders show lists, not stars. For each user all items are ranked by predicted stars,
those rated in training left out, and the first k are compared with the user's *relevant*
items: those rated in the test part with so many stars or more. With

    rel_j = 1 if the item at place j of the list is relevant, otherwise 0
    n     = number of the user's relevant items
    hits  = rel_1 + ... + rel_k

the metrics of one user are

    (r1)  precision@k = hits / k
    (r2)  recall@k    = hits / n
    (r3)  NDCG@k      = sum_{j<=k} rel_j / log2(j+1)  /  sum_{j<=min(k,n)} 1 / log2(j+1)
    (r4)  AP@k        = sum_{j<=k} rel_j * precision@j  /  min(k, n)

and what is reported is their mean over all users who have a relevant item (MAP@k is the
mean of AP@k); nothing can be said about the others. What is said of all lists together is

    (r5)  coverage    = share of the items that stand in at least one of these users' lists

Gains in (r3) are 0 and 1, as an item without a rating has no stars to gain: Järvelin and
Kekäläinen (2002), "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), with
the discount log2(j+1) that is usual today. (r1), (r2), (r4): Manning, Raghavan and Schütze
(2008), "Introduction to Information Retrieval", ch. 8, cut off at place k; dividing (r4) by
min(k, n) lets a perfect list have 1. Items that nobody rated count as not relevant although
the user might have liked them, so all numbers are low and serve to compare models only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shallow_cf._checks import check_int, check_number, shown
from shallow_cf._ids import index_of
from shallow_cf.evaluation.errors import FloatArray, Predictor
from shallow_cf.ranking import top_n
from shallow_cf.ratings import Ratings, check_ratings

IntArray = npt.NDArray[np.intp]


def ranking_metrics(
    model: Predictor,
    test: Ratings,
    train: Ratings | None = None,
    *,
    k: int = 10,
    relevant: float = 4.0,
    batch_size: int = 1024,
    callback: Callable[[dict[str, int]], object] | None = None,
) -> dict[str, float]:
    """Precision, recall, NDCG, MAP and coverage of the first `k` places.

    The definitions open this module. Items with the same predicted stars are ranked in the
    order of their ids.

    Parameters
    ----------
    model : object with ``predict(user_ids, item_ids)``
        And, if it has it, ``predict_all(user_ids)``, (n, n_items), in the order of its
        ``item_ids_``.
    test : Ratings
        What lists are compared with. All its items are ranked.
    train : Ratings, optional
        What the users have seen already, with the ids of `test`; left out of their lists.
    k : int
        Length of the lists.
    relevant : float
        Stars from which on an item is relevant.
    batch_size : int
        Users whose lists are made at once. Tables of so many times n_items numbers have to
        fit into memory.
    callback : callable, optional
        Called after each batch with how many ``users`` of ``n_users`` are done (a dict).

    Returns
    -------
    dict of str to float
        ``precision@k``, ``recall@k``, ``ndcg@k``, ``map@k`` (with the number for k) and
        ``coverage``, each from 0 to 1.

    Raises
    ------
    ValueError
        If no test rating is relevant, ids differ, a rating is in both parts, or a
        prediction is not finite.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> train, test = scf.split(scf.load_crosstab(), random_state=1)
    >>> found = scf.ranking_metrics(scf.BiasesOnly().fit(train), test, train, k=3)
    >>> round(found["precision@3"], 2), round(found["ndcg@3"], 2)
    (0.61, 0.74)
    """
    check_ratings(test)
    k, batch_size = check_int("k", k, 1), check_int("batch_size", batch_size, 1)
    # In 64 bits, so that a limit is not rounded to the 32 bits of the stars.
    liked = test.rating >= np.float64(check_number("relevant", relevant, -np.inf))
    if not liked.any():
        raise ValueError(f"`relevant`: no test rating has {relevant:g} stars or more")
    is_relevant = test.subset(liked).to_sparse()
    is_seen = None if train is None else _seen(train, test)
    users = np.unique(test.user_idx[liked])
    lists: list[_Lists] = []
    for start in range(0, len(users), batch_size):
        u = users[start : start + batch_size]
        scores = _scores(model, test, u)
        if is_seen is not None:
            scores[_places(is_seen, u)] = -np.inf
        lists.append(_Lists.of(scores, is_relevant, u, k))
        if callback is not None:
            callback({"users": start + len(u), "n_users": len(users)})
    return _metrics(lists, k, test.n_items)


class _Lists(NamedTuple):
    """What is known of the lists of a batch of users."""

    hit: npt.NDArray[np.bool_]  # rel_j, (n, up to k)
    n_relevant: IntArray  # n, (n,)
    items: IntArray  # that stand in any of the lists

    @classmethod
    def of(cls, scores: FloatArray, is_relevant: sparse.csr_array, u: IntArray, k: int) -> _Lists:
        """Make the lists of users `u` and compare them with what is relevant."""
        table = np.zeros(scores.shape, bool)
        table[_places(is_relevant, u)] = True
        top = top_n(scores, k)
        unseen = np.isfinite(np.take_along_axis(scores, top, axis=1))
        return cls(
            np.take_along_axis(table, top, axis=1), table.sum(axis=1), np.unique(top[unseen])
        )


def _metrics(lists: list[_Lists], k: int, n_items: int) -> dict[str, float]:
    hit = np.concatenate([batch.hit for batch in lists])
    n = np.concatenate([batch.n_relevant for batch in lists])
    hits = hit.sum(axis=1)
    place = np.arange(1, hit.shape[1] + 1)
    gain = 1 / np.log2(np.arange(1, k + 1) + 1)
    most = np.minimum(k, n)
    best = np.cumsum(gain)[most - 1]  # the gain of a list that begins with all that is relevant
    precision_at = np.cumsum(hit, axis=1) / place
    per_user = {
        f"precision@{k}": hits / k,  # (r1)
        f"recall@{k}": hits / n,  # (r2)
        f"ndcg@{k}": hit @ gain[: len(place)] / best,  # (r3)
        f"map@{k}": (hit * precision_at).sum(axis=1) / most,  # (r4)
    }
    shown_items = np.unique(np.concatenate([batch.items for batch in lists]))
    means = {name: float(values.mean()) for name, values in per_user.items()}
    return {**means, "coverage": len(shown_items) / n_items}  # (r5)


def _scores(model: Predictor, ratings: Ratings, u: IntArray) -> FloatArray:
    """Predicted stars of users `u` for all items of the ratings, (n, n_items)."""
    users = ratings.user_ids[u]
    if hasattr(model, "predict_all") and hasattr(model, "item_ids_"):
        scores = np.array(model.predict_all(users), np.float64)
        columns = index_of(model.item_ids_, ratings.item_ids, "item")
        if not np.array_equal(columns, np.arange(scores.shape[1])):
            scores = scores[:, columns]  # in the order of the ratings
    else:
        items = ratings.item_ids[None, :]
        scores = np.array(model.predict(users[:, None], items), np.float64)
    is_finite = np.isfinite(scores)
    if not is_finite.all():
        row, i = np.argwhere(~is_finite)[0]
        raise ValueError(
            f"predictions must be finite, got {scores[row, i]} for user {shown(users[row])}, "
            f"item {shown(ratings.item_ids[i])}"
        )
    return scores


def _places(table: sparse.csr_array, u: IntArray) -> tuple[IntArray, IntArray]:
    """Rows (counted among users `u`) and columns of what is stored for these users."""
    row, column = table[u].tocoo().coords
    return row.astype(np.intp), column.astype(np.intp)


def _seen(train: Ratings, test: Ratings) -> sparse.csr_array:
    """The training ratings as a table that fits the test ratings."""
    check_ratings(train)
    for kind in ("user", "item"):
        ours, theirs = getattr(train, f"{kind}_ids"), getattr(test, f"{kind}_ids")
        if not np.array_equal(ours, theirs):
            raise ValueError(
                f"`train` and `test` must have the same {kind} ids, as the parts of a split have"
            )
    both = np.flatnonzero(np.isin(_pairs(test), _pairs(train), assume_unique=True))
    if both.size:
        user = test.user_ids[test.user_idx[both[0]]]
        item = test.item_ids[test.item_idx[both[0]]]
        raise ValueError(
            f"`train` and `test` must not share a rating, but both have user {shown(user)}, "
            f"item {shown(item)}"
        )
    return train.to_sparse()


def _pairs(ratings: Ratings) -> IntArray:
    """One number for each pair of a user and an item."""
    pairs: IntArray = ratings.user_idx.astype(np.int64) * ratings.n_items + ratings.item_idx
    return pairs
