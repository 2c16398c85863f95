"""Judging models: all metrics of one, several side by side, one on several folds."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf.evaluation.baselines import BASELINES
from shallow_cf.evaluation.errors import FloatArray, Predictor, mae, rmse
from shallow_cf.evaluation.ranking import ranking_metrics
from shallow_cf.evaluation.splits import k_fold
from shallow_cf.ratings import Ratings


class Model(Protocol):
    """What can be cross-validated: anything that learns from ratings and predicts."""

    def fit(self, ratings: Ratings) -> Any:
        """Learn from the ratings."""

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """Stars, in the shape that users and items broadcast to."""


def evaluate(
    model: Predictor,
    test: Ratings,
    train: Ratings | None = None,
    *,
    k: int = 10,
    relevant: float = 4.0,
    batch_size: int = 1024,
    callback: Callable[[dict[str, int]], object] | None = None,
) -> dict[str, float]:
    """All metrics of a model on ratings it has not seen.

    Parameters
    ----------
    model, test, train, k, relevant, batch_size, callback
        As for `ranking_metrics`.

    Returns
    -------
    dict of str to float
        ``rmse`` and ``mae`` (stars), and what `ranking_metrics` returns.

    Examples
    --------
    >>> import pandas as pd, shallow_cf as scf
    >>> train, test = scf.split(scf.load_crosstab(), random_state=1)
    >>> found = scf.evaluate(scf.BiasesOnly().fit(train), test, train, k=3)
    >>> pd.Series(found).round(2)
    rmse           0.98
    mae            0.76
    precision@3    0.61
    recall@3       0.78
    ndcg@3         0.74
    map@3          0.68
    coverage       0.87
    dtype: float64
    """
    errors = {"rmse": rmse(model, test), "mae": mae(model, test)}
    return errors | ranking_metrics(
        model, test, train, k=k, relevant=relevant, batch_size=batch_size, callback=callback
    )


def compare(
    models: Predictor | Mapping[str, Predictor],
    train: Ratings,
    test: Ratings,
    *,
    k: int = 10,
    relevant: float = 4.0,
    batch_size: int = 1024,
    callback: Callable[[dict[str, int]], object] | None = None,
) -> pd.DataFrame:
    """Models beside the two baselines, a row each.

    Parameters
    ----------
    models : model or dict of name to model
        Fitted on `train`.
    train, test : Ratings
        Parts of a split; the baselines are fitted here.
    k, relevant, batch_size, callback
        As for `ranking_metrics`.

    Returns
    -------
    DataFrame
        Rows ``global mean``, ``biases only`` and the models; columns as in `evaluate`.

    Raises
    ------
    ValueError
        If a model has the name of a baseline, or as in `ranking_metrics`.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> train, test = scf.split(scf.load_crosstab(), random_state=1)
    >>> models = {"strict": scf.BiasesOnly(reg=20).fit(train)}
    >>> scf.compare(models, train, test, k=3)["rmse"].round(2).to_dict()
    {'global mean': 1.0, 'biases only': 0.98, 'strict': 0.98}
    """
    named = models if isinstance(models, Mapping) else {type(models).__name__: models}
    baselines: dict[str, Predictor] = {name: kind().fit(train) for name, kind in BASELINES.items()}
    for name in baselines:
        if name in named:
            raise ValueError(f"`models`: {name!r} is the name of a baseline")
    settings: dict[str, Any] = {
        "k": k, "relevant": relevant, "batch_size": batch_size, "callback": callback,
    }  # fmt: skip
    rows = {
        name: evaluate(model, test, train, **settings)
        for name, model in (baselines | dict(named)).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def cross_validate(
    model: Model,
    ratings: Ratings,
    n_folds: int = 5,
    random_state: int | np.random.Generator | None = None,
    callback: Callable[[dict[str, float]], object] | None = None,
) -> pd.DataFrame:
    """RMSE and MAE of a model on each fold, fitted on the other folds.

    Parameters
    ----------
    model : object with ``fit(ratings)`` and ``predict(user_ids, item_ids)``
        Copied for each fold; it is left as it is itself.
    ratings : Ratings
    n_folds : int
        At least 2.
    random_state : int or Generator, optional
        Of the folds. Same seed, same folds.
    callback : callable, optional
        Called with each row (a dict) as it comes; returning True stops there.

    Returns
    -------
    DataFrame
        A row a fold, counted from 1: ``fold``, ``rmse`` and ``mae`` (stars), ``seconds``
        (of fitting and predicting).

    Examples
    --------
    >>> import shallow_cf as scf
    >>> folds = scf.cross_validate(scf.BiasesOnly(), scf.load_crosstab(), 4, random_state=1)
    >>> folds["rmse"].round(2).tolist()
    [0.98, 0.83, 1.12, 0.9]
    """
    rows: list[dict[str, float]] = []
    for fold, (train, test) in enumerate(k_fold(ratings, n_folds, random_state), 1):
        start = time.perf_counter()
        fitted = copy.deepcopy(model)
        fitted.fit(train)
        row = {"fold": fold, "rmse": rmse(fitted, test), "mae": mae(fitted, test)}
        rows.append(row | {"seconds": time.perf_counter() - start})
        if callback is not None and callback(rows[-1]) is True:
            break
    return pd.DataFrame(rows)
