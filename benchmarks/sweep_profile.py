"""Where the time of a sweep of variational Bayes goes, beside what the machine could do.

    OPENBLAS_NUM_THREADS=1 python benchmarks/sweep_profile.py [--data ml-100k/u.data]
        [--factors 10 20] [--sweeps 5]

Without data: a million synthetic ratings (see scale.py). One thread. The parts are timed where
they are called; `sums` are also given in multiplications a second, counted for ratings only
(zeros that the dense corner multiplies do not count), beside those of a product of dense
matrices and of a sparse with a dense one of the same shapes, in the same run.
"""

import argparse
import time
from collections import defaultdict

import numpy as np
from scale import synthetic
from scipy import sparse

import shallow_cf as scf
from shallow_cf.solvers import normal_equations, vb

#: Part of a sweep -> the functions that do it, as (owner, name).
PARTS = {
    "sums over ratings (20)": [(normal_equations.RowBlock, "sums")],
    "putting equations together": [(vb, "regression")],
    "inverting (22d)": [(vb, "invert")],
    "sums for prior and bound": [(vb, "_totals")],
    "error of the means": [(normal_equations.RowBlock, "squared_error")],
    "prior (22h), (22i)": [(vb, "update_prior")],
    "leap (22k)": [(vb, "leap")],
}


def main():
    """A table for each number of factors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="file of ratings")
    parser.add_argument("--factors", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--sweeps", type=int, default=5)
    given = parser.parse_args()
    ratings = scf.read_ratings(given.data) if given.data else synthetic(1_000_000)
    print(f"{ratings}, one thread\n")
    for n_factors in given.factors:
        profile(ratings, n_factors, given.sweeps)


def profile(ratings, n_factors, n_sweeps):
    """Train with stop-watches in place, and print what they show."""
    seconds = defaultdict(float)
    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, timed(getattr(owner, name), part, seconds))
    model = scf.MatrixFactorization(
        n_factors, bias=True, global_mean=True, solver="vb", random_state=0,
        solver_options=scf.VBOptions(n_iterations=n_sweeps, tol=0.0),
    )  # fmt: skip
    started = time.perf_counter()
    model.fit(ratings)
    whole = time.perf_counter() - started
    for places in PARTS.values():
        for owner, name in places:
            setattr(owner, name, getattr(owner, name).__wrapped__)
    sweep = model.history_.seconds.iloc[-1] / n_sweeps
    print(f"{n_factors} factors: start {whole - sweep * n_sweeps:.3f} s, a sweep {sweep:.3f} s")
    parts = {part: seconds[part] / n_sweeps for part in PARTS}
    parts["all else"] = sweep - sum(parts.values())
    for part, each in parts.items():
        print(f"  {part:<28}{1e3 * each:>8.1f} ms {each / sweep:>6.0%}")
    d = n_factors + 1
    width = d * (d + 1) // 2 + 2 * d
    rate = 2 * ratings.n_ratings * width / parts["sums over ratings (20)"] / 1e9
    dense, thin = reference_rates(ratings, width)
    print(
        f"  sums: {rate:.1f} G multiplications of ratings a second; "
        f"sparse times dense {thin:.1f}, dense times dense {dense:.1f}\n"
    )


def timed(function, part, seconds):
    """The function with a stop-watch."""

    def wrapped(*args, **keywords):
        started = time.perf_counter()
        try:
            return function(*args, **keywords)
        finally:
            seconds[part] += time.perf_counter() - started

    wrapped.__wrapped__ = function
    return wrapped


def reference_rates(ratings, width):
    """G multiplications a second of one BLAS product and of one of SciPy's, the best of five."""
    rng = np.random.default_rng(0)
    block, table = (
        rng.random(shape, np.float32)
        for shape in ((256, ratings.n_items), (ratings.n_items, width))
    )
    pattern = sparse.csr_array(
        (
            np.ones(ratings.n_ratings, np.float32),
            ratings.item_idx,
            np.searchsorted(ratings.user_idx, np.arange(ratings.n_users + 1)).astype(np.int32),
        ),
        shape=(ratings.n_users, ratings.n_items),
    )
    dense = block.size * width / best(lambda: block @ table) / 1e9
    return dense, ratings.n_ratings * width / best(lambda: pattern @ table) / 1e9


def best(function):
    """Least seconds of five calls."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
