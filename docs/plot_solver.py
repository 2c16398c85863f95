"""The pictures of docs/solver.md. Needs matplotlib.

Run: python benchmarks/solvers.py --problems crosstab "crosstab with biases" --csv runs.csv
     python docs/plot_solver.py runs.csv [engines.csv]

engines.csv is what `benchmarks/engine_solvers.py --csv` writes.
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import shallow_cf as scf
from shallow_cf import plots
from shallow_cf.solvers import grg

IMAGES = Path(__file__).parent / "images"
BEST = {"crosstab": 0.3929008, "crosstab with biases": 0.3186550}
#: Seeds of starts from which the search ends in the best optimum and in the valley at 0.40147.
SEED_OF_BEST, SEED_OF_VALLEY = 1, 0


def read_runs(runs, engines):
    """The benchmark's runs, those of other spreadsheets' solvers below them."""
    table = pd.read_csv(runs)
    if engines is not None:
        other = pd.read_csv(engines)
        problem = np.where(other["bias"].astype(int) == 1, "crosstab with biases", "crosstab")
        other = other.assign(problem=problem, method=other["engine"])
        # LibreOffice's end far outside the picture: docs/solver.md has them in a table.
        other = other[other["engine"] == "gnumeric"]
        table = pd.concat([table, other[["problem", "method", "seed", "rmse", "iterations"]]])
    return table[table["problem"].isin(BEST)]


def draw_runs(table, path):
    """Where every start ended, and after how many iterations, a row a method."""
    methods = list(dict.fromkeys(table["method"]))[::-1]
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharey=True, layout="constrained")
    rng = np.random.default_rng(0)
    for row, (problem, best) in zip(axes, BEST.items(), strict=True):
        runs = table[table["problem"] == problem]
        place = runs["method"].map(methods.index) + rng.uniform(-0.28, 0.28, len(runs))
        for axis, column in zip(row, ("rmse", "iterations"), strict=True):
            axis.plot(runs[column], place, "o", ms=3, alpha=0.4, color="#1f4e79", mew=0)
            axis.grid(axis="x", color="0.9")
        row[0].axvline(best, color="0.4", lw=0.8)
        row[0].set(xlabel="RMSE at the end, stars", title=f"{problem}: best known {best:.7f}")
        row[0].set_xlim(best - 0.001, best + 0.015)
        row[1].set(xscale="log", xlabel="iterations (multistart: searches)")
        row[0].set_yticks(range(len(methods)), methods)
    figure.savefig(path, dpi=110)


def solved(seed, convergence):
    """The embeddings that a search from one start ends at."""
    start = scf.Parameters.random(15, 15, 5, random_state=seed)
    options = scf.SolverOptions(derivatives="analytic", convergence=convergence)
    return grg.solve(scf.load_crosstab(), start, options).parameters


def draw_between(path):
    """The loss on the way from one optimum to another, and a search that has no end."""
    ratings = scf.load_crosstab()
    best = solved(SEED_OF_BEST, 1e-9)
    swapped = scf.Parameters(best.user_factors[:, ::-1], best.item_factors[:, ::-1])
    valley = solved(SEED_OF_VALLEY, 1e-4)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = ("the best optimum", "the other end")
    for other, align, label in (
        (valley, True, "to the valley at 0.40147"),
        (swapped, False, "to itself, factors in another order"),
    ):
        plots.plot_line(ratings, best, other, names=names, align=align, label=label, ax=left)
    left.set_title("Along a straight line between two solutions")

    blank = ratings.to_crosstab().isna().to_numpy()
    rows = []
    for iterations in np.unique(np.geomspace(1, 4000, 60).astype(int)):
        start = scf.Parameters.random(15, 15, 5, random_state=SEED_OF_VALLEY)
        options = scf.SolverOptions(
            derivatives="analytic", convergence=0.0, iterations=int(iterations)
        )
        result = grg.solve(ratings, start, options)
        predicted = np.abs(result.parameters.predict_all()[blank]).max()
        rows.append((result.iterations, result.rmse_after, predicted))
    iterations, rmse, predicted = np.array(rows).T
    right.loglog(iterations, predicted, color="#1f4e79", label="largest prediction in a blank cell")
    right.loglog(iterations, rmse, "--", color="#1f4e79", label="RMSE over the rated cells")
    right.set(xlabel="iteration", ylabel="stars", title="A search on its way into the valley")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    runs, *engines = sys.argv[1:]
    draw_runs(read_runs(runs, engines[0] if engines else None), IMAGES / "solver_runs.png")
    draw_between(IMAGES / "between_optima.png")
