"""All solvers from many starts: how often the best optimum is found, and at what cost.

Run: python benchmarks/solvers.py [--starts 100] [--problems crosstab bias ...] [--csv runs.csv]

Every method gets the same uniform(0, 1) starts, seeds 0, 1, 2, ..., on the same objective
(`solvers.table.Table`). scipy's methods are called directly with the analytic gradient and
run until its largest entry is 1e-6 (scipy stops earlier where rounding ends its search).
A start counts as successful when its end is within a relative 1e-5 of the lowest RMSE that
any method found, and as near within 1e-3: in the right valley, not at its bottom. Multistart
makes a tenth of the starts, each of them many searches, and none on the largest problem, where
that takes minutes. Last comes the cost of one gradient
against its lower bound, the residual table and two matrix products.
"""

import os
import platform
import timeit

# The matrices are small: on a busy machine BLAS threads mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import csv
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import optimize

import shallow_cf as scf
from shallow_cf.solvers import grg, sgd, varpro
from shallow_cf.solvers.table import Table

EXACT = {"convergence": 1e-9, "derivatives": "analytic"}


@dataclass
class Run:
    """What a method made of one start."""

    rmse: float
    iterations: int
    evaluations: int
    seconds: float


def ours(solve, options):
    """A method of this package."""

    def run(ratings, start, seed):
        result = solve(ratings, start, options, random_state=seed)
        return Run(result.rmse_after, result.iterations, result.n_function, result.seconds)

    return run


def scipys(method, **options):
    """A method of scipy.optimize, called directly."""

    def run(ratings, start, seed):
        table = Table(ratings, start)
        began = time.perf_counter()
        found = optimize.minimize(
            table.value, start.pack(), jac=table.gradient, method=method,
            options={"maxiter": 20_000, "gtol": 1e-6, **options},
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return Run(found.fun, found.nit, table.n_function, seconds)

    return run


METHODS = {
    "grg, Solver's defaults": ours(grg.solve, scf.SolverOptions()),
    "grg newton, 1e-4": ours(grg.solve, scf.SolverOptions(derivatives="analytic")),
    "grg conjugate, 1e-4": ours(
        grg.solve, scf.SolverOptions(derivatives="analytic", search="conjugate")
    ),
    "grg newton, 1e-9": ours(grg.solve, scf.SolverOptions(**EXACT)),
    "grg conjugate, 1e-9": ours(
        grg.solve, scf.SolverOptions(**EXACT, search="conjugate", iterations=2000)
    ),
    "scipy BFGS": scipys("BFGS"),
    "scipy L-BFGS-B": scipys("L-BFGS-B", ftol=1e-15, maxfun=100_000),
    "scipy CG": scipys("CG"),
    "SGD": ours(sgd.solve, scf.SGDOptions()),
    "varpro, gauss_newton": ours(
        varpro.solve, scf.VarproOptions(hessian="gauss_newton", iterations=1000)
    ),
    "varpro": ours(varpro.solve, scf.VarproOptions()),
    "grg, multistart": ours(grg.solve, scf.SolverOptions(multistart=True)),
    "varpro, multistart": ours(varpro.solve, scf.VarproOptions(multistart=True)),
}


def synthetic(n_users, n_items, n_factors, blank, seed=0):
    """Planted factors, biases and noise of half a star, rounded to half stars."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 1, (n_users, n_factors)) @ rng.normal(0, 1, (n_factors, n_items))
    stars = (
        3.5 + 0.7 * signal / np.sqrt(n_factors)
        + rng.normal(0, 0.4, (n_users, 1)) + rng.normal(0, 0.4, n_items)
        + rng.normal(0, 0.5, (n_users, n_items))
    )  # fmt: skip
    stars = np.clip(np.round(2 * stars) / 2, 0.5, 5)
    u, i = np.nonzero(rng.random((n_users, n_items)) >= blank)
    return scf.Ratings(np.arange(n_users), np.arange(n_items), u, i, stars[u, i])


#: Name -> ratings, factors, biases, share of --starts.
PROBLEMS = {
    "crosstab": (scf.load_crosstab, 5, False, 1.0),
    "crosstab with biases": (scf.load_crosstab, 5, True, 1.0),
    "synthetic 15x15 rank 3": (lambda: synthetic(15, 15, 3, 0.08), 3, False, 0.2),
    "synthetic 30x30 rank 5": (lambda: synthetic(30, 30, 5, 0.1), 5, False, 0.2),
    "synthetic 50x40 rank 5, 60% blank": (lambda: synthetic(50, 40, 5, 0.6), 5, False, 0.1),
}


def runs_of(name, n_starts):
    """Method -> runs from the same starts."""
    load, n_factors, bias, _ = PROBLEMS[name]
    ratings = load()
    starts = [
        scf.Parameters.random(
            ratings.n_users, ratings.n_items, n_factors, bias=bias, random_state=seed
        )
        for seed in range(n_starts)
    ]
    return {
        method: [
            run(ratings, start, seed)
            for seed, start in enumerate(starts)
            if "multistart" not in method or seed < n_starts // 10
        ]
        for method, run in METHODS.items()
        if "multistart" not in method or ratings.n_users < 50
    }


def table_of(runs):
    """The lines of a Markdown table."""
    best = min(run.rmse for method in runs.values() for run in method)
    columns = ["method", "starts", "success", "near", "RMSE 25%", "median", "75%"]
    columns += ["iterations", "evaluations", "seconds"]
    yield f"| {' | '.join(columns)} |"
    yield f"|---{'|---:' * (len(columns) - 1)}|"
    for method, done in runs.items():
        rmse = np.array([run.rmse for run in done])
        quartiles = " | ".join(f"{q:.5f}" for q in np.quantile(rmse, [0.25, 0.5, 0.75]))
        success, near = (np.mean(rmse <= best * (1 + by)) for by in (1e-5, 1e-3))
        iterations, evaluations, seconds = (
            np.median([getattr(run, field) for run in done])
            for field in ("iterations", "evaluations", "seconds")
        )
        shares = f"{len(done)} | {success:.0%} | {near:.0%}"
        costs = f"{iterations:.0f} | {evaluations:.0f} | {seconds:.3f}"
        yield f"| {method} | {shares} | {quartiles} | {costs} |"


def gradient_ratio(n, n_pairs=201):
    """Median over pairs of timings: a gradient of `Table` over its lower bound, n x n cells."""
    rng = np.random.default_rng(0)
    rated = rng.random((n, n)) < 0.9
    u, i = np.nonzero(rated)
    ratings = scf.Ratings(np.arange(n), np.arange(n), u, i, rng.integers(1, 11, len(u)) / 2)
    start = scf.Parameters.random(n, n, 5, random_state=0)
    table, theta = Table(ratings, start), start.pack()
    P, Q = start.user_factors, start.item_factors
    rating, mask = np.zeros((n, n)), rated.astype(float)
    rating[u, i] = ratings.rating

    def bare():
        E = mask * (P @ Q.T - rating)
        return E @ Q, E.T @ P

    number = max(10, 100_000 // n**2)
    pairs = [
        (timeit.timeit(lambda: table.gradient(theta), number=number),
         timeit.timeit(bare, number=number))
        for _ in range(n_pairs)
    ]  # fmt: skip
    return float(np.median([gradient / bound for gradient, bound in pairs]))


def main():
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--problems", nargs="*", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--csv", help="also write every run to this file")
    args = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
          f"{packages}, one BLAS thread\n")  # fmt: skip
    rows = []
    for name in args.problems:
        n_starts = max(5, round(args.starts * PROBLEMS[name][3]))
        runs = runs_of(name, n_starts)
        best = min(run.rmse for method in runs.values() for run in method)
        print(f"{name}, {n_starts} starts, best RMSE {best:.7f}:\n", flush=True)
        print("\n".join(table_of(runs)), end="\n\n", flush=True)
        rows += [
            [name, method, seed, run.rmse, run.iterations, run.evaluations, run.seconds]
            for method, done in runs.items() for seed, run in enumerate(done)
        ]  # fmt: skip
    print("One gradient over its lower bound (median of 201 pairs of timings):")
    print(", ".join(f"{gradient_ratio(n):.2f} at {n}x{n}" for n in (15, 200)))
    if args.csv:
        with Path(args.csv).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["problem", "method", "seed", "rmse", "iterations", "evaluations", "seconds"]
            )
            writer.writerows(rows)


if __name__ == "__main__":
    main()
