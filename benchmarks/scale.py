"""Seconds a sweep and memory of variational Bayes, from one million to 25 million ratings.

    python benchmarks/scale.py [--sizes 1 5 25] [--factors 10] [--jobs 2] [--sweeps 4]

The ratings are synthetic (`scf.synthetic_ratings`): as many as MovieLens 25M has of its users
and movies (162,541 and 59,047); a smaller number of ratings is of as many times fewer. Each
size is trained in a process of its own, which reads the arrays from disk, so that its peak is
that of training: ids to indices, sorting, start and sweeps. "Beyond Python" is the peak less
what the process has once NumPy, SciPy and pandas are imported.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_USERS, N_ITEMS, N_RATINGS = 162_541, 59_047, 25_000_095


def synthetic(n, seed=0):
    """Planted ratings in the shape of MovieLens 25M, for fewer with as many times fewer users."""
    import shallow_cf as scf

    n_users = max(round(N_USERS * n / N_RATINGS), 1000)
    # At least ten times as many pairs as ratings, or the popular ones run out.
    n_items = max(round(N_ITEMS * n / N_RATINGS), 10 * n // n_users)
    return scf.synthetic_ratings(n_users, n_items, n, random_state=seed)


def peak_mb():
    """Most memory this process has had, MB; on Linux without what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder, n_factors, n_jobs, n_sweeps):
    """Train on the arrays in a folder and print a line of the table."""
    import shallow_cf as scf

    python = peak_mb()
    started = time.perf_counter()
    pairs, stars = np.load(folder / "pairs.npy"), np.load(folder / "stars.npy")
    ratings = scf.Ratings.from_arrays(pairs, stars)
    del pairs, stars
    made = time.perf_counter() - started
    model = scf.MatrixFactorization(
        n_factors, bias=True, global_mean=True, solver="vb", random_state=0, n_jobs=n_jobs,
        solver_options=scf.VBOptions(n_iterations=n_sweeps, tol=0.0),
    )  # fmt: skip
    started = time.perf_counter()
    model.fit(ratings)
    fitted = time.perf_counter() - started
    sweeps = np.diff(model.history_.seconds)
    print(
        f"| {ratings.n_ratings:,} | {ratings.n_users:,} x {ratings.n_items:,} | {made:.1f} | "
        f"{fitted - sweeps.sum():.1f} | {np.median(sweeps):.2f} | "
        f"{np.median(sweeps) / ratings.n_ratings * 1e6:.3f} | {peak_mb() - python:.0f} | "
        f"{model.history_.train_rmse.iloc[-1]:.4f} |",
        flush=True,
    )


def main():
    """A line of the table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 5, 25], metavar="MILLIONS")
    parser.add_argument("--factors", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sweeps", type=int, default=4)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.factors, given.jobs, given.sweeps)
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, {given.factors} factors, "
        f"n_jobs={given.jobs}\n\n"
        "| ratings | users x items | to `Ratings`, s | start, s | a sweep, s | "
        "a sweep, us a rating | beyond Python, MB | train RMSE |\n"
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
        flush=True,
    )
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as name:
            ratings = synthetic(round(size * 1e6))
            order = np.random.default_rng(0).permutation(len(ratings))
            pairs = np.column_stack((ratings.user_idx, ratings.item_idx))[order]
            np.save(Path(name) / "pairs.npy", pairs)
            np.save(Path(name) / "stars.npy", ratings.rating[order])
            del ratings, order, pairs
            again = [sys.executable, __file__, "--measure", name, "--factors", str(given.factors)]
            again += ["--jobs", str(given.jobs), "--sweeps", str(given.sweeps)]
            # One process a core: BLAS is not to start threads of its own beside ours.
            subprocess.run(again, check=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
