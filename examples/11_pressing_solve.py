"""Pressing Solve: the dialog's options, bounds and constraints, many starts, reports.

Every run starts from the same numbers, a start from which Solver ends in a valley that is
not the best one.
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
for title, options in dialog.items():
    show(title, grg.solve(ratings, start, options))

within_the_scale = scf.SolverOptions(
    derivatives="analytic",
    constraints=(scf.Constraint("predictions", ">=", 0.5), scf.Constraint("predictions", "<=", 5)),
)
constrained = grg.solve(ratings, start, within_the_scale)
show("every prediction from 0.5 to 5", constrained)

many = scf.SolverOptions(multistart=True)
show("many starts", grg.solve(ratings, start, many, random_state=0))
best = varpro.solve(ratings, start)
show("variable projection", best)

answer = scf.answer_report(ratings, constrained, within_the_scale)
binding = answer.tables["Constraints"].query("Status == 'Binding'")
print(f"\n{len(binding)} predictions stand at a limit:")
print(binding[["Cell", "Name", "Cell Value", "Formula"]].head(4).to_string(index=False))

blank = ratings.to_crosstab().isna().to_numpy()
stuck = grg.solve(ratings, start, dialog["Convergence 1e-9, by formula"])
for title, result in (("0.40147", stuck), ("0.39290", best)):
    largest = np.abs(result.parameters.predict_all()[blank]).max()
    print(
        f"\nthe valley at {title}: largest prediction in a blank cell {largest:.1f} stars", end=""
    )
print()
