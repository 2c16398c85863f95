"""Numbers and texts of the teaching sheets that are no formulas; most are the reader's."""

from __future__ import annotations

from dataclasses import dataclass

from shallow_cf.parameters import FloatArray


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
    """

    user: int = 0
    item: int = 0
    step: float = 1e-4
    learning_rate: float | None = None
    sentence: str = "the movie was long but the story was good"
    directions: FloatArray | None = None
