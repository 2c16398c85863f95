"""What the factors mean: items sorted along them, and their principal components.

A factor has no meaning by itself: turning P and Q by the same rotation leaves every
prediction as it is, and training ends at any one of these. What does not depend on the
rotation are the directions along which the items differ most, their principal components.
With c_i = q_i - mean of q, and C the table whose rows are these, the singular value
decomposition (thin, singular values descending)

    (18a)  C = U S V'

gives the directions, the rows of V'; each item's coordinates along them,

    (18b)  C V = U S

and the share of a component in the variance of the items, s_k^2 over the sum of all s^2.
(Pearson 1901, "On lines and planes of closest fit to systems of points in space".) A
direction and its opposite are the same to (18a): the one is taken whose largest number is
positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shallow_cf.parameters import FloatArray, IntArray
from shallow_cf.ranking import top_n


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The directions along which items differ most.

    Attributes
    ----------
    items : DataFrame
        ``item_id``, each item's coordinates ``component 1``, ``component 2``, ..., and
        ``title`` where titles were given.
    directions : (n, n_factors) array of float
        A row a component, of length 1, in terms of the factors.
    share : (n,) array of float
        Share of each component in the variance of the items' factors.

    Examples
    --------
    Three items whose factors differ along one line only:

    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", 1], ["ann", 2], ["ann", 3]], [5, 4, 1])
    >>> theta = scf.Parameters([[1.0, 1.0]], [[6.0, 8.0], [3.0, 4.0], [-9.0, -12.0]])
    >>> found = scf.MatrixFactorization.from_parameters(ratings, theta).principal_components(1)
    >>> found.directions.round(2), found.share.round(2)
    (array([[0.6, 0.8]]), array([1.]))
    >>> found.items.round(2)
       item_id  component 1
    0        1         10.0
    1        2          5.0
    2        3        -15.0
    """

    items: pd.DataFrame
    directions: FloatArray
    share: FloatArray


def components(factors: FloatArray, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The first n principal components of embeddings.

    Parameters
    ----------
    factors : (n_embeddings, n_factors) array of float
        At least one.
    n : int
        At most n_embeddings and n_factors.

    Returns
    -------
    coordinates : (n_embeddings, n) array
        Equation (18b).
    directions : (n, n_factors) array
    share : (n,) array
        Of the variance; zeros where there is none.
    """
    U, s, Vt = np.linalg.svd(factors - factors.mean(axis=0), full_matrices=False)  # (18a)
    largest = np.take_along_axis(Vt, np.abs(Vt).argmax(axis=1)[:, None], axis=1)[:, 0]
    sign = np.where(largest < 0, -1.0, 1.0)
    total = float(s @ s)
    share = s**2 / total if total > 0 else np.zeros_like(s)
    coordinates = U * (s * sign)  # (18b)
    return coordinates[:, :n], (sign[:, None] * Vt)[:n], share[:n]


def extremes(values: FloatArray, n: int) -> tuple[IntArray, IntArray]:
    """Where the n lowest (the lowest first) and the n highest (the highest first) stand."""
    return top_n(-values[None], n)[0], top_n(values[None], n)[0]
