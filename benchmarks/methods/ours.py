"""This package's own solvers. A new one is a line in `ROWS`."""

from typing import Any, NamedTuple

import numpy as np

import shallow_cf as scf
from methods.method import Method, grid
from shallow_cf.solvers import SOLVERS

PACKAGES = ("scipy", "pandas")


class Row(NamedTuple):
    """A solver: the settings it always has, those to try, whether threads are its matter.

    Settings named as one of the model's go to the model, the others to the solver's options.
    """

    solver: str
    always: dict[str, Any]
    grid: list[dict[str, Any]]
    takes_jobs: bool = False


BIASED = {"bias": True, "global_mean": True}
NORMAL = {**BIASED, "init": "normal", "init_scale": 0.03}
LARGE_BATCHES = {"learning_rate": 0.03, "batch_size": 4096, "row_limit": 32, "dtype": "float32"}
ROWS = {
    "SGD": Row("sgd", NORMAL | LARGE_BATCHES, grid(
        n_factors=[20, 50], n_epochs=[10, 20], reg=[8.0, 12.0], rating_range=[None, (0.0, 5.5)],
    ), True),
    "ALS": Row("als", BIASED, grid(
        n_factors=[5, 10, 20], reg=[8.0, 12.0], n_iterations=[10], dtype=["float32"],
    ), True),
    "VB": Row("vb", BIASED, grid(n_factors=[5, 10, 20, 30]), True),
    "VB, 4 sweeps": Row("vb", BIASED, grid(n_factors=[5, 10], n_iterations=[4]), True),
}  # fmt: skip

#: Why a row is not measured.
SKIPPED = [
    f"{name}: shallow_cf {scf.__version__} has no solver {row.solver!r}"
    for name, row in ROWS.items()
    if row.solver not in SOLVERS
]


def model_of(row, settings, threads, seed):
    """The estimator with these settings."""
    settings = row.always | settings
    known = scf.MatrixFactorization().get_params(deep=False)
    own = {name: value for name, value in settings.items() if name in known}
    own |= {"solver": row.solver, "random_state": seed}
    if row.takes_jobs:
        own["n_jobs"] = threads
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
