"""What may be passed for ratings, and ratings of one model brought together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from shallow_cf._checks import shown
from shallow_cf._ids import index_of
from shallow_cf.ratings import Ratings, check_ratings


def as_ratings(ratings: Any, y: Any = None) -> Ratings:
    """Ratings from what `fit` takes."""
    if isinstance(ratings, Ratings):
        if y is not None:
            raise TypeError(f"`y` must be left out with Ratings, got {type(y).__name__}")
        return ratings
    if sparse.issparse(ratings):
        if y is not None:
            raise TypeError(f"`y` must be left out with a sparse matrix, got {type(y).__name__}")
        return Ratings.from_sparse(ratings)
    if y is not None:
        return Ratings.from_arrays(ratings, y)
    if isinstance(ratings, pd.DataFrame):
        return Ratings.from_frame(ratings)
    raise TypeError(
        "`ratings` must be Ratings, a table with user_id, item_id and rating, a sparse matrix, "
        f"or pairs of ids with their stars as `y`, got {type(ratings).__name__}"
    )


def check_in_range(ratings: Ratings, rating_range: tuple[float, float] | None) -> None:
    """Refuse a rating that no prediction can reach, naming the first."""
    low, high = rating_range or (-np.inf, np.inf)
    low, high = np.float64(low), np.float64(high)  # not to be rounded to 32 bits
    outside = np.flatnonzero((ratings.rating < low) | (ratings.rating > high))
    if outside.size:
        k = outside[0]
        user = shown(ratings.user_ids[ratings.user_idx[k]])
        item = shown(ratings.item_ids[ratings.item_idx[k]])
        raise ValueError(
            f"rating of item {item} by user {user} must be in the `rating_range` "
            f"[{low:g}, {high:g}], got {ratings.rating[k]:g}"
        )


def id_columns(pairs: Any) -> tuple[Any, Any]:
    """User ids and item ids from a table of two columns."""
    if np.ndim(pairs) != 2 or np.shape(pairs)[1] != 2:
        raise ValueError(
            "pass user ids and item ids, or one table with two columns (user id, item id); "
            f"got shape {np.shape(pairs)}"
        )
    table = pd.DataFrame(pairs)  # a column for each: NumPy would make texts of numbers beside texts
    return table.iloc[:, 0].to_numpy(), table.iloc[:, 1].to_numpy()


def aligned(ratings: Ratings, to: Ratings) -> Ratings:
    """The ratings with the ids, and so the indices, of another table.

    Raises
    ------
    ValueError
        If a user or item with a rating is not there.
    """
    check_ratings(ratings)
    if np.array_equal(ratings.user_ids, to.user_ids) and np.array_equal(
        ratings.item_ids, to.item_ids
    ):
        return ratings
    u = index_of(to.user_ids, ratings.user_ids[ratings.user_idx], "user")
    i = index_of(to.item_ids, ratings.item_ids[ratings.item_idx], "item")
    return Ratings(to.user_ids, to.item_ids, u, i, ratings.rating, ratings.timestamp)


def joined(known: npt.NDArray[Any], others: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
    """The known ids, and behind them those of the others that are new."""
    if known.dtype.kind != others.dtype.kind:
        raise ValueError(
            f"{kind} ids such as {others[:1].tolist()[0]!r} are of another type than the known "
            f"ones, such as {known[:1].tolist()[0]!r}"
        )
    return np.concatenate([known, others[~np.isin(others, known)]])


def overlaid(
    earlier: Ratings, later: Ratings, user_ids: npt.NDArray[Any], item_ids: npt.NDArray[Any]
) -> Ratings:
    """Earlier ratings and later ones, which count where both have a pair.

    Timestamps are kept where both have them.
    """
    frame = pd.concat([earlier.to_frame(), later.to_frame()], ignore_index=True)
    frame = frame.drop_duplicates(["user_id", "item_id"], keep="last")
    u = index_of(user_ids, frame["user_id"].to_numpy(), "user")
    i = index_of(item_ids, frame["item_id"].to_numpy(), "item")
    has_times = earlier.timestamp is not None and later.timestamp is not None
    times = frame["timestamp"].to_numpy(np.int64) if has_times else None
    return Ratings(user_ids, item_ids, u, i, frame["rating"].to_numpy(), times)
