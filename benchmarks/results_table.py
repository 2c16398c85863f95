"""The results table of the README: RMSE on the crosstab, ten seeds, all solvers.

Run: python benchmarks/results_table.py
"""

import os
import platform
from importlib.metadata import version

# The matrices are small: on a busy machine BLAS threads mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import shallow_cf as scf

SEEDS = range(10)
RUNS = {
    "SGD, defaults": ("sgd", None),
    "Solver path, Convergence 1e-4 (defaults)": ("grg", None),
    "Solver path, Convergence 1e-9, analytic gradient": (
        "grg",
        scf.SolverOptions(convergence=1e-9, derivatives="analytic"),
    ),
    "Solver path, multistart": ("grg", scf.SolverOptions(multistart=True)),
    "Variable projection": ("varpro", None),
}


def rows(ratings, bias):
    """A row of the table for each run: RMSE of every seed, median steps and seconds."""
    for name, (solver, options) in RUNS.items():
        results = [
            scf.MatrixFactorization(
                bias=bias, solver=solver, solver_options=options, random_state=seed
            )
            .fit(ratings)
            .result_
            for seed in SEEDS
        ]
        errors = [f"{result.rmse_after:.5f}" for result in results]
        steps = np.median([result.iterations for result in results])
        seconds = np.median([result.seconds for result in results])
        yield f"| {name} | {' | '.join(errors)} | {steps:.0f} | {seconds:.2f} |"


def main():
    """Print both tables as Markdown."""
    ratings = scf.load_crosstab()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"Python {platform.python_version()}, {packages}\n")
    for bias in (False, True):
        print("With biases:\n" if bias else "Without biases:\n")
        print(f"| seed | {' | '.join(map(str, SEEDS))} | steps | seconds |")
        print("|---" * (len(SEEDS) + 3) + "|")
        print("\n".join(rows(ratings, bias)), end="\n\n")


if __name__ == "__main__":
    main()
