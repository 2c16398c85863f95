"""This package's own solvers. A new one is a line in `ROWS`."""

from typing import Any, NamedTuple

import numpy as np

import shallow_cf as scf
from methods.method import Method, grid
from shallow_cf.solvers import SOLVERS

PACKAGES = ("scipy", "pandas")


class Row(NamedTuple):
    """A solver: what the model always has, the settings to try, whether threads are its matter.

    Settings named as one of the model's go to the model, the others to the solver's options.
    """

    solver: str
    model: dict[str, Any]
    grid: list[dict[str, Any]]
    takes_jobs: bool = False


BIASED = {"bias": True, "global_mean": True}
NORMAL = {**BIASED, "init": "normal", "init_scale": 0.05}
ROWS = {
    "SGD": Row("sgd", NORMAL,
        grid(
            n_factors=[10, 20], n_epochs=[15, 30], learning_rate=[0.04], batch_size=[1000],
            reg=[8.0, 12.0], loss=["half_sse"], schedule=["linear"],
        ) + grid(
            n_factors=[10], n_epochs=[5, 10], learning_rate=[0.03], batch_size=[1000],
            loss=["mse"], optimizer=[{"name": "adamw", "weight_decay": 0.5}], schedule=["onecycle"],
        )),
    "ALS": Row("als", BIASED, grid(
        n_factors=[5, 10, 20], reg=[8.0, 12.0], n_iterations=[10], dtype=["float32"],
    ), True),
    "VB": Row("vb", BIASED, grid(n_factors=[5, 10, 20], n_iterations=[10, 20]), True),
}  # fmt: skip

#: Why a row is not measured.
SKIPPED = [
    f"{name}: shallow_cf {scf.__version__} has no solver {row.solver!r}"
    for name, row in ROWS.items()
    if row.solver not in SOLVERS
]


def model_of(row, settings, threads, seed):
    """The estimator with these settings."""
    own = dict(row.model, solver=row.solver, random_state=seed)
    if row.takes_jobs:
        own["n_jobs"] = threads
    known = scf.MatrixFactorization().get_params(deep=False)
    own |= {name: value for name, value in settings.items() if name in known}
    options = {name: value for name, value in settings.items() if name not in known}
    return scf.MatrixFactorization(
        **own, solver_options=SOLVERS[row.solver].options(**options) if options else None
    )


def fit_predict(row):
    """What the benchmark calls for a row."""

    def run(task, settings):
        ids = np.arange(task.n_users), np.arange(task.n_items)
        ratings = scf.Ratings(*ids, task.train_u, task.train_i, task.train_r)
        model = model_of(row, settings, task.threads, task.seed).fit(ratings)
        return model.predict(task.test_u, task.test_i)

    return run


METHODS = {
    name: Method(fit_predict(row), row.grid) for name, row in ROWS.items() if row.solver in SOLVERS
}
