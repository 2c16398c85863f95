"""
Pressing Solve
==============

What Solver's dialog offers, and what each option does: differences, convergence, bounds,
constraints, many starts, and the Answer Report. Every run begins with the same numbers, from
which Solver ends in a valley that is not the best one.

**Look at** the RMSE in the first column: the wrong valley goes down to 0.4015, the best one known
to 0.3929.

**Then try** another start (``random_state``): most end in the best valley at once.
"""

import numpy as np

import shallow_cf as scf
from shallow_cf.solvers import grg, varpro

ratings = scf.load_crosstab()
start = scf.Parameters.random(15, 15, 5, random_state=0)


def show(title, result):
    """One line on how a run ended."""
    cost = f"{result.iterations:6} steps {result.n_function:8} evaluations"
    print(f"{title:34}{result.rmse_after:9.6f}{cost}  {result.code}: {result.message}")


# %%
# The dialog's options
# --------------------
# More exact slopes, another search, more iterations: none of them leads out of the valley. That
# "no negative numbers" misses it is luck, as another start would be.

dialog = {
    "Solver's defaults": scf.SolverOptions(),
    "central derivatives": scf.SolverOptions(derivatives="central"),
    "conjugate gradients": scf.SolverOptions(search="conjugate"),
    "Convergence 1e-9, by formula": scf.SolverOptions(convergence=1e-9, derivatives="analytic"),
    "ten iterations": scf.SolverOptions(iterations=10),
    "no negative numbers": scf.SolverOptions(non_negative=True, derivatives="analytic"),
    "RMSE of 0.5, please": scf.SolverOptions(to="value_of", value=0.5),
    "RMSE of 0.1, please": scf.SolverOptions(to="value_of", value=0.1),
}
runs = {title: grg.solve(ratings, start, options) for title, options in dialog.items()}
for title, result in runs.items():
    show(title, result)

# %%
# Constraints
# -----------
# All 225 predictions are to stay on the scale, as in Solver's "Subject to the Constraints". The
# Answer Report says which stand at a limit ("Binding").

within_the_scale = scf.SolverOptions(
    derivatives="analytic",
    constraints=(scf.Constraint("predictions", ">=", 0.5), scf.Constraint("predictions", "<=", 5)),
)
constrained = grg.solve(ratings, start, within_the_scale)
show("every prediction from 0.5 to 5", constrained)

answer = scf.answer_report(ratings, constrained, within_the_scale)
binding = answer.tables["Constraints"].query("Status == 'Binding'")
print(f"\n{len(binding)} predictions stand at a limit:")
print(binding[["Cell", "Name", "Cell Value", "Formula"]].head(4).to_string(index=False))

# %%
# Out of the valley
# -----------------
# "Use Multistart" searches from many starts. Variable projection finds the best valley from this
# start as it is.

many = scf.SolverOptions(multistart=True)
show("many starts", grg.solve(ratings, start, many, random_state=0))
best = varpro.solve(ratings, start)
show("variable projection", best)

# %%
# What the wrong valley looks like
# --------------------------------
# It has no bottom. A pattern of numbers grows in the cells without a rating, where nothing holds it
# back, and buys ever less for ever larger numbers.

blank = ratings.to_crosstab().isna().to_numpy()
stuck = runs["Convergence 1e-9, by formula"]
for title, result in (("0.40147", stuck), ("0.39290", best)):
    largest = np.abs(result.parameters.predict_all()[blank]).max()
    print(f"the valley at {title}: largest prediction in a blank cell {largest:.1f} stars")

# %%
# The picture
# -----------
# How far four of the runs are above the best known RMSE, iteration by iteration. The wrong valley
# is the level at 0.009, on which a search may go on for as long as it likes.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    from shallow_cf import plots

    shown = {title: runs[title] for title in ("Solver's defaults", "no negative numbers")}
    shown |= {"Convergence 1e-9": stuck, "variable projection": best}
    ax = plots.plot_trace(shown, above=0.3929)
    ax.set_xscale("symlog", linthresh=1)  # logarithmic from 1 on, and has a place for 0
    ax.set_xlim(left=0)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("11_pressing_solve.png")
        print("Picture: 11_pressing_solve.png")
