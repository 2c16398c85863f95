"""Numbers and texts of the teaching sheets that are no formulas; most are the reader's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shallow_cf.parameters import FloatArray


@dataclass(frozen=True, eq=False)
class NewUser:
    """What stands in the yellow and the orange cells of `new_user`.

    Attributes
    ----------
    rating : (n_items,) array
        Stars; NaN where nothing is typed.
    numbers : (n_factors,) or (n_factors + 1,) array
        The user's, the bias last.
    reg : float
        Penalty lambda >= 0 on them.
    """

    rating: FloatArray
    numbers: FloatArray
    reg: float

    @property
    def is_rated(self) -> npt.NDArray[np.bool_]:
        """Which movies have a rating, (n_items,)."""
        return ~np.isnan(self.rating)


@dataclass(frozen=True)
class Inputs:
    """What stands in the yellow cells.

    Attributes
    ----------
    user, item : int
        Indices of the user and the movie whose slopes are checked on `gradients`.
    step : float
        h of the finite differences there.
    learning_rate : float, optional
        eta of the sheet `sgd`; by default one that suits the ratings.
    sentence : str
        To be looked up on `word_emb`.
    directions : array, (components, n_factors), optional
        Of the map on `factors`; by default the first principal ones.
    new_user : NewUser, optional
        By default an example.
    """

    user: int = 0
    item: int = 0
    step: float = 1e-4
    learning_rate: float | None = None
    sentence: str = "the movie was long but the story was good"
    directions: FloatArray | None = None
    new_user: NewUser | None = None
