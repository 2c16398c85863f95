"""Recommendations, neighbours, and where a prediction comes from.

Functions of parameters and indices; `MatrixFactorization` has methods of the same names
that take and give ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ranking import top_n
from shallow_cf.ratings import Ratings

#: How alike two embeddings are.
MEASURES = ("cosine", "dot")

#: Predictions in a block of users: 32 MB of them, as much again for each step of the sorting.
_BLOCK = 2**22


def best_items(
    parameters: Parameters,
    user_idx: IntArray,
    n: int,
    candidates: IntArray,
    seen: Ratings | None = None,
) -> tuple[IntArray, IntArray, FloatArray]:
    """The n items with the highest predictions for each of the users.

    One matrix product gives the predictions of a block of users for all candidates.

    Parameters
    ----------
    parameters : Parameters
    user_idx : (n_asked,) array of int
        For whom; a user may be there twice.
    n : int
        Items for each; fewer where there are not so many.
    candidates : (n_candidates,) array of int
        The items to choose from, ascending.
    seen : Ratings, optional
        Items that a user rated here are not recommended to this user.

    Returns
    -------
    row, item_idx : arrays of int
        Position in `user_idx` and item of each recommendation: one asker after the other,
        the highest prediction first; of equal ones the item that comes first.
    prediction : array of float
        Stars.
    """
    rows, items, predictions = [], [], []
    for block in _blocks(len(user_idx), len(candidates)):
        u = user_idx[block]
        r_hat = parameters.select(u, candidates).predict_all()  # (1), (1s)
        if seen is not None:
            r_hat[_cells_seen(seen, u, candidates)] = -np.inf
        columns = top_n(r_hat, n)
        best = np.take_along_axis(r_hat, columns, axis=1)
        row, place = np.nonzero(best > -np.inf)
        rows.append(row + block.start)
        items.append(candidates[columns[row, place]])
        predictions.append(best[row, place])
    return np.concatenate(rows), np.concatenate(items), np.concatenate(predictions)


def _blocks(n_users: int, n_items: int) -> Iterator[slice]:
    """Users in blocks with at most `_BLOCK` predictions; at least one, if an empty one."""
    size = max(_BLOCK // max(n_items, 1), 1)
    for first in range(0, max(n_users, 1), size):
        yield slice(first, first + size)


def _cells_seen(
    ratings: Ratings, user_idx: IntArray, candidates: IntArray
) -> tuple[IntArray, IntArray]:
    """Row and column of what was rated in the table of these users and candidates."""
    # Ratings are sorted by user. In 32 bits, or NumPy would make a copy of all in 64.
    ends = np.array((user_idx, user_idx + 1), np.int32)
    first, last = np.searchsorted(ratings.user_idx, ends)
    count = last - first
    row = np.repeat(np.arange(len(user_idx)), count)
    start = np.cumsum(count) - count  # where in `row` each user begins
    k = np.arange(len(row)) + (first - start)[row]  # first, first + 1, ... for each user
    place = np.full(ratings.n_items, -1)
    place[candidates] = np.arange(len(candidates))
    column = place[ratings.item_idx[k]]
    return row[column >= 0], column[column >= 0]


def nearest(
    factors: FloatArray, k: int, n: int, measure: str, candidates: IntArray
) -> tuple[IntArray, FloatArray]:
    """The n embeddings most like the k-th, which is left out.

    Parameters
    ----------
    factors : (n_embeddings, n_factors) array of float
        P or Q.
    k : int
    n : int
        How many; fewer where there are not so many.
    measure : {"cosine", "dot"}
        x . y / (|x| |y|), and 0 where either is a zero vector; or x . y.
    candidates : (n_candidates,) array of int
        Among which, ascending.

    Returns
    -------
    (n,) array of int and (n,) array of float
        Which, the most similar first, and how similar.
    """
    candidates = candidates[candidates != k]
    similarity = factors[candidates] @ factors[k]
    if measure == "cosine":
        norm = np.linalg.norm(factors[candidates], axis=1) * np.linalg.norm(factors[k])
        similarity = np.divide(similarity, norm, out=np.zeros_like(similarity), where=norm > 0)
    best = top_n(similarity[None], n)[0]
    return candidates[best], similarity[best]


def terms(parameters: Parameters, u: int, i: int) -> pd.DataFrame:
    """The terms of (1) that add up to the score of user u for item i, a row each.

    Columns: ``term``; ``user`` and ``item``, the numbers of either (NaN where a term has
    none); ``product``, what the term adds to the score.
    """
    nan = np.nan
    rows: list[tuple[str, float, float, float]] = []
    if parameters.global_mean is not None:
        rows.append(("global mean", nan, nan, parameters.offset))
    if parameters.biases is not None:
        bu, bi = parameters.biases
        rows += [("user bias", bu[u], nan, bu[u]), ("item bias", nan, bi[i], bi[i])]
    pairs = zip(parameters.user_factors[u], parameters.item_factors[i], strict=True)
    rows += [(f"factor {k}", p, q, p * q) for k, (p, q) in enumerate(pairs, start=1)]
    return pd.DataFrame(rows, columns=["term", "user", "item", "product"])


@dataclass(frozen=True, eq=False)
class Explanation:
    """How a prediction comes about. ``print`` shows it as a table.

    Attributes
    ----------
    user_id, item_id : int or str
    title : str
        What the item is called, or "".
    terms : DataFrame
        A row for each term of the sum: ``term`` ("global mean", "user bias", "factor 1",
        ...), ``user`` and ``item`` with the numbers of either, and ``product``, which is
        what the term adds.
    prediction : float
        Stars.
    rating_range : (float, float) or None
        Between which the sigmoid keeps the prediction; without a range the prediction is
        the score.
    rating : float or None
        What the user gave the item, stars, where that is known.
    rated : DataFrame
        The items rated by this user that are nearest to this one: ``item_id``,
        ``similarity`` (cosine), ``rating`` (stars), and ``title`` where titles were given.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Brazil"]], [4, 5])
    >>> theta = scf.Parameters([[2.0, 1.0]], [[1.0, 2.0], [2.0, 1.5]], [0.25], [-0.5, 0.0])
    >>> model = scf.MatrixFactorization.from_parameters(ratings, theta)
    >>> print(model.explain("ann", "Alien", n=1))
    user ann, item Alien: 3.75 stars
    <BLANKLINE>
                     user     item   product
    user bias       0.250              0.250
    item bias               -0.500    -0.500
    factor 1        2.000    1.000     2.000
    factor 2        1.000    2.000     2.000
    sum                                3.750
    rating given                       4.000
    <BLANKLINE>
    Nearest of the items that this user rated:
    item_id  similarity  rating
     Brazil        0.89    5.00
    """

    user_id: Any
    item_id: Any
    title: str
    terms: pd.DataFrame
    prediction: float
    rating_range: tuple[float, float] | None
    rating: float | None
    rated: pd.DataFrame

    @property
    def score(self) -> float:
        """The sum of the terms."""
        return float(self.terms["product"].sum())

    def __str__(self) -> str:
        name = f"{self.item_id}, {self.title}" if self.title else f"{self.item_id}"
        lines = [f"user {self.user_id}, item {name}: {self.prediction:.2f} stars", ""]
        lines.append(f"{'':<12}{'user':>9}{'item':>9}{'product':>10}")
        for term, user, item, product in self.terms.itertuples(index=False, name=None):
            cells = ("" if np.isnan(number) else f"{number:.3f}" for number in (user, item))
            lines.append("{:<12}{:>9}{:>9}".format(term, *cells) + f"{product:>10.3f}")
        lines.append(f"{'sum':<30}{self.score:>10.3f}")
        if self.rating_range is not None:
            between = "from {:g} to {:g}".format(*self.rating_range)
            lines.append(f"{'sigmoid, ' + between:<30}{self.prediction:>10.3f}")
        if self.rating is not None:
            lines.append(f"{'rating given':<30}{self.rating:>10.3f}")
        if len(self.rated):
            table = self.rated.to_string(index=False, float_format="{:.2f}".format)
            lines += ["", "Nearest of the items that this user rated:", table]
        return "\n".join(lines)
