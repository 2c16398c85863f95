"""Ratings: who gave what how many stars.

A table of ratings is kept as triplets (user, item, stars), because most cells of a
real crosstab are blank. Ids are what the user's file says; indices ``0 .. n - 1``
are ours, in the order of the ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from shallow_cf._checks import check_choice, check_int, listed, shown
from shallow_cf._columns import Stars, as_seconds, as_stars, in_float32
from shallow_cf._ids import as_ids, clean_ids, index_ids
from shallow_cf._pairs import repeats, sorted_pairs

DUPLICATES = ("error", "mean", "last")
#: An index of an id is an int32.
_MOST_IDS = 2**31 - 1
_ARRAYS = ("user_ids", "item_ids", "user_idx", "item_idx", "rating", "timestamp")


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings as triplets, sorted by user and then by item.

    The sorted order is the spreadsheet's own (row by row), and it makes everything
    downstream independent of the order of lines in a file.

    Parameters
    ----------
    user_ids : (n_users,) array of int, datetime64 or str
        Ids of the users; a user without ratings may be among them. Dates without a time
        zone are kept as datetime64[us], which Python's datetime fits into.
    item_ids : (n_items,) array of int, datetime64 or str
        Ids of the items.
    user_idx, item_idx : (n_ratings,) array of int
        Which user rated which item, as indices into the ids. Kept as int32.
    rating : (n_ratings,) array of float
        Stars. Kept as float32 if they are given so, else as float64. NumPy adds up float32
        in float32, which for very many is not exact: see `mean_rating`.
    timestamp : (n_ratings,) array of int, optional
        When each rating was given, in seconds since 1970.

    Raises
    ------
    ValueError
        If the arrays do not fit together, an id or a pair stands twice, a rating is not
        finite, or there are 2**31 users or items.
    TypeError
        If the indices or the timestamps are not whole numbers.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings(["ann", "bob"], [10, 20], [1, 0, 0], [0, 1, 0], [4, 3.5, 5])
    >>> ratings
    Ratings(2 users x 2 items, 3 ratings)
    >>> ratings.rating.tolist()  # ann's for 10 and 20, bob's for 10
    [5.0, 3.5, 4.0]
    """

    user_ids: npt.NDArray[Any]
    item_ids: npt.NDArray[Any]
    user_idx: npt.NDArray[Any]
    item_idx: npt.NDArray[Any]
    rating: npt.NDArray[Any]
    timestamp: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for kind, given in (("user", self.user_ids), ("item", self.item_ids)):
            _check_number_of_ids(kind, np.size(given))
        # Ids are copied (and the rest is sorted into new arrays), so that freezing them
        # below leaves the caller's own arrays as they were.
        user_ids, item_ids = as_ids(self.user_ids), as_ids(self.item_ids)
        u, i = np.asarray(self.user_idx), np.asarray(self.item_idx)
        r = np.asarray(self.rating)
        r = r if r.dtype == np.float32 else r.astype(np.float64, copy=False)
        _check_shapes(user_ids, item_ids, u, i, r)
        _check_ids("user", user_ids, u)
        _check_ids("item", item_ids, i)
        if not np.isfinite(r).all():
            raise ValueError(f"`rating` must be finite, got {r[~np.isfinite(r)][0]}")
        timestamp = self.timestamp
        if timestamp is not None:
            timestamp = _checked_timestamp(timestamp, r.shape)
        order, u, i = sorted_pairs(
            u.astype(np.int32), i.astype(np.int32), len(user_ids), len(item_ids)
        )
        is_repeat = repeats(u, i)
        if is_repeat.any():
            k = int(np.argmax(is_repeat))
            raise ValueError(_said_twice(user_ids[u[k]], item_ids[i[k]]))
        self._hold(user_ids, item_ids, u, i, _reordered(r, order), _reordered(timestamp, order))

    def _hold(
        self,
        user_ids: npt.NDArray[Any],
        item_ids: npt.NDArray[Any],
        user_idx: npt.NDArray[Any],
        item_idx: npt.NDArray[Any],
        rating: npt.NDArray[Any],
        timestamp: npt.NDArray[Any] | None,
    ) -> None:
        """Keep arrays that are checked, sorted and nobody else's, and freeze them."""
        arrays = (user_ids, item_ids, user_idx, item_idx, rating, timestamp)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def _of(cls, *arrays: Any) -> Ratings:
        """Ratings of arrays as `_hold` takes them, without checking them a second time."""
        ratings = object.__new__(cls)
        ratings._hold(*arrays)
        return ratings

    @property
    def mean_rating(self) -> float:
        """Mean of the stars; they are added up in float64, whatever they are kept as.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> round(scf.load_crosstab().mean_rating, 4)
        3.9903
        """
        return float(self.rating.mean(dtype=np.float64))

    @property
    def n_users(self) -> int:
        """Number of users, those without ratings included."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items, those without ratings included."""
        return len(self.item_ids)

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return len(self.rating)

    def __len__(self) -> int:
        return self.n_ratings

    def __repr__(self) -> str:
        return f"Ratings({self.n_users} users x {self.n_items} items, {self.n_ratings} ratings)"

    def equals(self, other: Ratings) -> bool:
        """Whether ids, their order, every rating and every timestamp are equal.

        Examples
        --------
        >>> import pandas as pd, shallow_cf as scf
        >>> lines = pd.DataFrame({"user_id": [7, 9], "item_id": [1, 1], "rating": [5, 4]})
        >>> ratings = scf.Ratings.from_frame(lines)
        >>> ratings.equals(scf.Ratings.from_frame(lines[::-1]))  # the order of lines plays no part
        True
        """
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _ARRAYS)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        user: str = "user_id",
        item: str = "item_id",
        rating: str = "rating",
        duplicates: str = "error",
        timestamp: str | None = None,
    ) -> Ratings:
        """Make ratings from a table with one rating a row.

        Parameters
        ----------
        frame : DataFrame
            One row a rating; further columns are ignored.
        user, item, rating : str
            Names of the columns with user ids, item ids and stars.
        duplicates : {"error", "mean", "last"}
            What to do when a user rated an item more than once. The mean has the latest
            of their timestamps.
        timestamp : str, optional
            Name of the column that says when: whole seconds since 1970, or dates (UTC
            where they name no zone). Without a name the ratings have no timestamps.

        Returns
        -------
        Ratings
            Ids in ascending order.

        Raises
        ------
        ValueError
            If a column is missing, an id is missing, a rating is not a finite number, a
            timestamp is no time, or a pair stands twice (with ``duplicates="error"``).
            "row 3" in a message is ``frame.iloc[3]``.

        Examples
        --------
        >>> import pandas as pd
        >>> df = pd.DataFrame({"userId": [7, 7, 9], "movieId": [1, 2, 1], "rating": [5, 3.5, 4]})
        >>> Ratings.from_frame(df, user="userId", item="movieId")
        Ratings(2 users x 2 items, 3 ratings)
        """
        _check_frame("frame", frame)
        names = [user, item, rating] + ([] if timestamp is None else [timestamp])
        for name in names:
            count = list(frame.columns).count(name)
            if count == 0:
                raise ValueError(f"column {name!r} is missing; found: {listed(frame.columns)}")
            if count > 1:
                raise ValueError(f"column {name!r} must be there once, found {count} of that name")
        columns = (frame[name] for name in names)
        return from_columns(*columns, duplicates=duplicates, place=_row)

    @classmethod
    def from_arrays(cls, X: Any, y: Any, duplicates: str = "error") -> Ratings:
        """Make ratings from pairs of ids and stars, as scikit-learn passes them around.

        Parameters
        ----------
        X : (n_ratings, 2) array or DataFrame
            A row a rating: user id, item id.
        y : (n_ratings,) array
            Stars.
        duplicates : {"error", "mean", "last"}
            What to do when a user rated an item more than once.

        Raises
        ------
        ValueError
            If the shapes do not fit, or as in `from_frame`.

        Examples
        --------
        >>> Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [5, 3.5, 4])
        Ratings(2 users x 2 items, 3 ratings)
        """
        pairs, stars = pd.DataFrame(X, copy=False), pd.Series(y, copy=False)
        if pairs.shape != (len(stars), 2):
            raise ValueError(
                f"`X` must have two columns and as many rows as `y`, which has {len(stars)}, "
                f"got shape {pairs.shape}"
            )
        user, item = pairs.iloc[:, 0], pairs.iloc[:, 1]
        return from_columns(user, item, stars, duplicates=duplicates, place=_row)

    @classmethod
    def from_sparse(
        cls,
        matrix: Any,
        user_ids: npt.ArrayLike | None = None,
        item_ids: npt.ArrayLike | None = None,
    ) -> Ratings:
        """Make ratings from a SciPy sparse matrix, users down and items across.

        Every stored entry is a rating, a stored zero too; what is not stored is not rated.

        Parameters
        ----------
        matrix : (n_users, n_items) sparse array or matrix
            Stars, in any format.
        user_ids, item_ids : arrays of ids, optional
            Of the rows and of the columns; 0, 1, 2, ... by themselves.

        Raises
        ------
        TypeError
            If it is no sparse matrix.
        ValueError
            If it has no two dimensions or another number of ids, an entry is stored twice,
            or as in the constructor.

        Examples
        --------
        >>> from scipy import sparse
        >>> Ratings.from_sparse(sparse.coo_array([[5.0, 0], [3, 4]]))
        Ratings(2 users x 2 items, 3 ratings)
        """
        is_sparse: bool = sparse.issparse(matrix)
        if not is_sparse:
            kind = type(matrix).__name__
            raise TypeError(f"`matrix` must be a SciPy sparse matrix, got {kind}")
        if matrix.ndim != 2:
            raise ValueError(f"`matrix` must have two dimensions, got {matrix.ndim}")
        rows = np.arange(matrix.shape[0]) if user_ids is None else np.asarray(user_ids)
        columns = np.arange(matrix.shape[1]) if item_ids is None else np.asarray(item_ids)
        if (len(rows), len(columns)) != matrix.shape:
            raise ValueError(
                f"`user_ids` and `item_ids` must fit a matrix of shape {matrix.shape}, "
                f"got {len(rows)} and {len(columns)} ids"
            )
        entries = matrix.tocoo()
        user_idx, item_idx = entries.coords
        return cls(rows, columns, user_idx, item_idx, entries.data)

    def to_sparse(self) -> sparse.csr_array:
        """The ratings as a SciPy sparse array of float64, (n_users, n_items).

        Stars of 0 are stored.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> table = scf.load_crosstab().to_sparse()
        >>> table.shape, table.nnz
        ((15, 15), 206)
        """
        # The triplets are in the order in which such a table keeps them.
        starts = np.searchsorted(self.user_idx, np.arange(self.n_users + 1, dtype=np.int32))
        entries = self.rating.astype(np.float64), self.item_idx.copy(), starts
        return sparse.csr_array(entries, shape=(self.n_users, self.n_items))

    @classmethod
    def from_crosstab(cls, table: pd.DataFrame) -> Ratings:
        """Make ratings from a crosstab: users down, items across, blank where unrated.

        Parameters
        ----------
        table : (n_users, n_items) DataFrame
            Index = user ids, columns = item ids, values = stars, NaN where there is
            no rating.

        Raises
        ------
        ValueError
            If a cell is neither a finite number nor blank, naming user and item; if an
            id is missing or stands twice; if every cell is blank.

        Examples
        --------
        >>> import pandas as pd, shallow_cf as scf
        >>> table = pd.DataFrame({10: [5, 4], 20: [3.5, None]}, index=["ann", "bob"])
        >>> scf.Ratings.from_crosstab(table)
        Ratings(2 users x 2 items, 3 ratings)
        """
        _check_frame("table", table)
        for name, labels in (("user ids down", table.index), ("item ids across", table.columns)):
            if labels.nlevels > 1:
                raise ValueError(f"`table` must have one level of {name}, got {labels.nlevels}")
        user_ids = clean_ids(np.asarray(table.index), "user id", _row)
        item_ids = clean_ids(np.asarray(table.columns), "item id", lambda k: f"column {k}: ")
        user_idx, item_idx = np.nonzero(~table.isna().to_numpy(bool))
        cells = table.astype(object).to_numpy()

        def place(k: int) -> str:
            user, item = user_ids[user_idx[k]], item_ids[item_idx[k]]
            return f"user {shown(user)}, item {shown(item)}: "

        rating = as_stars(pd.Series(cells[user_idx, item_idx], dtype=object), place)
        return cls(user_ids, item_ids, user_idx, item_idx, rating)

    def to_crosstab(self) -> pd.DataFrame:
        """The ratings as a table, user ids down and item ids across.

        Returns
        -------
        (n_users, n_items) DataFrame
            Stars; NaN where there is no rating.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> table = scf.load_crosstab().to_crosstab()
        >>> table.shape, int(table.isna().sum().sum())  # with its blanks
        ((15, 15), 19)
        >>> float(table.loc[30, 110])  # user 30's stars for movie 110
        5.0
        """
        cells = np.full((self.n_users, self.n_items), np.nan)
        cells[self.user_idx, self.item_idx] = self.rating
        return pd.DataFrame(
            cells,
            index=pd.Index(self.user_ids, name="user_id"),
            columns=pd.Index(self.item_ids, name="item_id"),
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a rating: ``user_id``, ``item_id``, ``rating`` (stars).

        And ``timestamp`` (seconds since 1970) where there are timestamps.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.load_crosstab().to_frame().head(3)
           user_id  item_id  rating
        0       15        1     2.0
        1       15      110     3.0
        2       15      260     5.0
        """
        columns = {
            "user_id": self.user_ids[self.user_idx],
            "item_id": self.item_ids[self.item_idx],
            "rating": self.rating,
        }
        if self.timestamp is not None:
            columns["timestamp"] = self.timestamp
        return pd.DataFrame(columns)

    def subset(self, index: npt.ArrayLike) -> Ratings:
        """The ratings at some positions; all ids are kept, so indices mean the same.

        Parameters
        ----------
        index : array of int or (n_ratings,) array of bool
            Positions in the order of the triplets, each at most once, or which to keep.

        Raises
        ------
        ValueError
            If a position is out of range or there twice, or nothing is left.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> ratings.subset(ratings.rating == 5)
        Ratings(15 users x 15 items, 66 ratings)
        """
        kept = np.flatnonzero(self._kept(index))
        if kept.size == 0:
            raise ValueError("there are no ratings")
        timestamp = None if self.timestamp is None else self.timestamp.take(kept)
        triplets = (column.take(kept) for column in (self.user_idx, self.item_idx, self.rating))
        return Ratings._of(self.user_ids, self.item_ids, *triplets, timestamp)

    def _kept(self, index: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """A mask of the ratings from a mask or from positions that are there once."""
        positions = np.asarray(index)
        if positions.dtype == bool:
            if positions.shape != (self.n_ratings,):
                raise ValueError(
                    f"`index` must have shape ({self.n_ratings},), got {positions.shape}"
                )
            return positions
        positions = _positions(positions, self.n_ratings)
        kept = np.zeros(self.n_ratings, bool)
        kept[positions] = True
        if np.count_nonzero(kept) < len(positions):
            k = np.flatnonzero(np.bincount(positions, minlength=self.n_ratings) > 1)[0]
            pair = self.user_ids[self.user_idx[k]], self.item_ids[self.item_idx[k]]
            raise ValueError(_said_twice(*pair))
        return kept

    def top(self, n_users: int | None = None, n_items: int | None = None) -> Ratings:
        """Keep the users with the most ratings and the items with the most ratings.

        Both are counted over all ratings, as in the lesson; among equals the one
        that comes first in the order of ids is kept.

        Parameters
        ----------
        n_users, n_items : int, optional
            How many to keep; None keeps all.

        Raises
        ------
        ValueError
            If there are fewer users or items than asked for, or no rating is left.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.load_crosstab().top(n_users=5, n_items=5)  # the most rated have no blanks
        Ratings(5 users x 5 items, 25 ratings)
        """
        if n_users is None and n_items is None:
            return self  # which nobody can change
        users = _most_rated("n_users", "users", self.user_idx, self.n_users, n_users)
        items = _most_rated("n_items", "items", self.item_idx, self.n_items, n_items)
        new_u, new_i = (np.full(n, -1, np.int32) for n in (self.n_users, self.n_items))
        new_u[users], new_i[items] = np.arange(len(users)), np.arange(len(items))
        u, i = new_u[self.user_idx], new_i[self.item_idx]
        kept = np.flatnonzero((u >= 0) & (i >= 0))
        if kept.size == 0:
            raise ValueError(
                f"the top {len(users)} users rated none of the top {len(items)} items; "
                "ask for more of either"
            )
        few = self.subset(kept)
        ids = self.user_ids[users], self.item_ids[items]
        # Both keep the order of the ids, so the triplets are sorted still.
        return Ratings._of(*ids, u[kept], i[kept], few.rating, few.timestamp)


def from_columns(
    user: pd.Series[Any],
    item: pd.Series[Any],
    rating: pd.Series[Any],
    timestamp: pd.Series[Any] | None = None,
    *,
    duplicates: str,
    place: Callable[[int], str],
) -> Ratings:
    """Make ratings from columns; `place` names a row (by position) in error messages.

    Examples
    --------
    >>> import pandas as pd
    >>> columns = [pd.Series(column) for column in (["ann", "ann"], [10, 10], [5, 4])]
    >>> from_columns(*columns, duplicates="mean", place="row {}: ".format).rating
    array([4.5])
    """
    check_choice("duplicates", duplicates, DUPLICATES)
    if len(rating) == 0:
        raise ValueError("there are no ratings")
    stars = as_stars(rating, place)
    seconds = None if timestamp is None else as_seconds(timestamp, place)
    user_ids, u = index_ids(user, "user id", place)
    item_ids, i = index_ids(item, "item id", place)
    for kind, ids in (("user", user_ids), ("item", item_ids)):
        _check_number_of_ids(kind, len(ids))
    order, u, i = sorted_pairs(u, i, len(user_ids), len(item_ids))
    stars, seconds = _reordered(stars, order), _reordered(seconds, order)
    is_repeat = repeats(u, i)
    if not is_repeat.any():
        return Ratings._of(user_ids, item_ids, u, i, stars, seconds)
    if duplicates == "error":
        again = np.flatnonzero(is_repeat)
        rows = again if order is None else order[again]
        k = int(np.argmin(rows))
        pair = user_ids[u[again[k]]], item_ids[i[again[k]]]
        raise ValueError(
            f"{place(int(rows[k]))}{_said_twice(*pair)}; duplicates='mean' or 'last' accepts that"
        )
    first = np.flatnonzero(~is_repeat)  # where each pair's rows begin
    last = np.append(first[1:], len(u)) - 1
    if duplicates == "mean":
        stars = _means(stars, first)
        seconds = None if seconds is None else np.maximum.reduceat(seconds, first)
    else:
        stars = stars[last]
        seconds = None if seconds is None else seconds[last]
    return Ratings._of(user_ids, item_ids, u[last], i[last], stars, seconds)


def _means(stars: Stars, first: npt.NDArray[np.intp]) -> Stars:
    """The means of stars from each place up to the next; float32 stays so where it can."""
    count = np.diff(first, append=len(stars))
    means = np.add.reduceat(stars, first, dtype=np.float64) / count
    return in_float32(means) if stars.dtype == np.float32 else means


def _reordered(array: Any, order: npt.NDArray[Any] | None) -> Any:
    """A new array in another order, None being the one it has; nothing if there is none."""
    if array is None:
        return None
    return array.copy() if order is None else array.take(order)


def _said_twice(user: Any, item: Any) -> str:
    return f"user {shown(user)} rated item {shown(item)} more than once"


def check_ratings(value: object, name: str = "ratings") -> None:
    """Refuse what is no `Ratings`, saying how to make them.

    Examples
    --------
    >>> check_ratings([[5, 4], [3, 5]])
    Traceback (most recent call last):
        ...
    TypeError: `ratings` must be Ratings (see Ratings.from_frame), got list
    """
    if not isinstance(value, Ratings):
        kind = type(value).__name__
        raise TypeError(f"`{name}` must be Ratings (see Ratings.from_frame), got {kind}")


def _check_frame(name: str, value: object) -> None:
    if not isinstance(value, pd.DataFrame):
        raise TypeError(f"`{name}` must be a pandas DataFrame, got {type(value).__name__}")


def _check_shapes(
    user_ids: npt.NDArray[Any],
    item_ids: npt.NDArray[Any],
    u: npt.NDArray[Any],
    i: npt.NDArray[Any],
    r: npt.NDArray[np.float64],
) -> None:
    if not (u.shape == i.shape == r.shape and r.ndim == 1):
        raise ValueError(
            "`user_idx`, `item_idx` and `rating` must be vectors of one length, "
            f"got {u.shape}, {i.shape} and {r.shape}"
        )
    if not user_ids.ndim == item_ids.ndim == 1:
        raise ValueError(
            "`user_ids` and `item_ids` must be vectors, "
            f"got shapes {user_ids.shape} and {item_ids.shape}"
        )
    if r.size == 0:
        raise ValueError("there are no ratings")


def _checked_timestamp(value: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    timestamp = np.asarray(value)
    if not np.issubdtype(timestamp.dtype, np.integer):
        raise TypeError(
            f"`timestamp` must be whole numbers, seconds since 1970, got {timestamp.dtype}"
        )
    if timestamp.shape != shape:
        raise ValueError(f"`timestamp` must have shape {shape}, got {timestamp.shape}")
    return timestamp.astype(np.int64)


def _positions(positions: npt.NDArray[Any], n: int) -> npt.NDArray[np.intp]:
    """Positions, checked to be among `n`."""
    if positions.size == 0:
        return np.empty(0, np.intp)
    if not np.issubdtype(positions.dtype, np.integer) or positions.ndim != 1:
        raise ValueError(
            "`index` must be a vector of whole numbers or of True and False, "
            f"got {positions.dtype} of shape {positions.shape}"
        )
    _check_below("index", positions, n)
    return positions.astype(np.intp, copy=False)


def _row(k: int) -> str:
    """A place in a table, for error messages."""
    return f"row {k}: "


def _check_ids(kind: str, ids: npt.NDArray[Any], idx: npt.NDArray[Any]) -> None:
    """Check that ids differ and that indices are whole numbers that point at them."""
    if not np.issubdtype(idx.dtype, np.integer):
        raise TypeError(f"`{kind}_idx` must be whole numbers, got {idx.dtype}")
    _check_below(f"{kind}_idx", idx, len(ids))
    values, count = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        twice = shown(values[count > 1][0])
        raise ValueError(f"{kind} ids must differ, but {twice} is there more than once")


def _check_number_of_ids(kind: str, n: int) -> None:
    if n > _MOST_IDS:
        raise ValueError(f"`{kind}_ids` must be fewer than 2**31, got {n}")


def _check_below(name: str, idx: npt.NDArray[Any], n: int) -> None:
    """Check that indices are >= 0 and < n, naming the first that is not."""
    if idx.min() >= 0 and idx.max() < n:
        return
    outside = idx[(idx < 0) | (idx >= n)][0]
    raise ValueError(f"`{name}` must be >= 0 and < {n}, got {outside}")


def _most_rated(
    name: str, kind: str, idx: npt.NDArray[np.intp], n: int, wanted: int | None
) -> npt.NDArray[np.intp]:
    """Indices of the `wanted` most often rated, ascending."""
    if wanted is None:
        return np.arange(n)
    wanted = check_int(name, wanted, 1)
    if wanted > n:
        raise ValueError(f"`{name}`: asked for {wanted} {kind}, but there are only {n}")
    count = np.bincount(idx, minlength=n)
    return np.sort(np.argsort(-count, kind="stable")[:wanted])
