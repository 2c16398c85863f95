"""Models that sweep over several blocks of rows, and what it means that two are the same."""

import numpy as np

import shallow_cf as scf

SOLVERS = {"als": scf.ALSOptions, "vb": scf.VBOptions}
N_BLOCKS = 5 + 3  # of 256 rows: those of the users and of the items of the ratings below


def ratings_in_blocks() -> scf.Ratings:
    """8,000 ratings of 1,200 users for 600 items."""
    rng = np.random.default_rng(0)
    u, i = np.divmod(rng.choice(1200 * 600, 8000, replace=False), 600)
    stars = rng.normal(3, 0.3, 1200)[u] + rng.normal(0, 0.5, 600)[i] + rng.normal(0, 0.3, 8000)
    return scf.Ratings(np.arange(1200), np.arange(600), u, i, stars)


def model(solver, n_jobs=1, n_iterations=3):
    """Sweeps to count: `tol=0` does not end them early."""
    return scf.MatrixFactorization(
        3, bias=True, global_mean=True, solver=solver, random_state=0, n_jobs=n_jobs,
        solver_options=SOLVERS[solver](n_iterations=n_iterations, tol=0),
    )  # fmt: skip


def assert_same_bits(found, expected):
    """Everything that two models learned, but for the seconds, which no two runs share."""
    assert found.parameters_.equals(expected.parameters_)
    numbers = [each.history_.drop(columns="seconds").to_numpy() for each in (found, expected)]
    np.testing.assert_array_equal(*numbers)
    assert (found.posterior_ is None) == (expected.posterior_ is None)
    if expected.posterior_ is not None:
        for name in ("user_covariance", "item_covariance", "noise_std"):
            ours, theirs = (getattr(each.posterior_, name) for each in (found, expected))
            np.testing.assert_array_equal(ours, theirs)
