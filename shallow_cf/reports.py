"""Solver's three reports on a run: Answer, Sensitivity, Limits.

Contents and wording follow the reports of Excel's Solver, as documented by Frontline
Systems; addresses are those of the sheet that was solved, or of the one that
`write_workbook` would write. Where Solver makes a name of the first texts to the left of
a cell and above it, these name the user, the item and the factor.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from shallow_cf import objective
from shallow_cf._files import source_date
from shallow_cf.parameters import FloatArray, Parameters
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import SOLVERS
from shallow_cf.solvers.constrained import Limit, limits, multipliers
from shallow_cf.solvers.options import Constraint, SolverOptions, fitted, variable_bounds
from shallow_cf.solvers.result import SolverResult
from shallow_cf.solvers.table import Table
from shallow_cf.workbook.layout import Block, Layout, cell_address, published_layout

#: What a solver is called, by its options.
_ENGINES = {solver.options: solver.words for solver in SOLVERS.values()}
#: Where the search for a limit gives up: there is none.
_FAR = 1e6
#: How exactly a limit is found.
_LIMIT_PRECISION = 1e-9


@dataclass(frozen=True)
class Report:
    """A report: a title, what was done, and tables.

    Attributes
    ----------
    title : str
    facts : dict
        Heading -> lines below it.
    tables : dict of str to DataFrame
        Heading -> table.

    Examples
    --------
    >>> import pandas as pd
    >>> import shallow_cf as scf
    >>> table = pd.DataFrame({"Cell": ["$V$41"], "Name": ["RMSE"], "Value": [0.39]})
    >>> print(scf.Report("A Report", {"Worksheet": ["dotprod"]}, {"Objective": table}))
    A Report
    Worksheet: dotprod
    <BLANKLINE>
    Objective
       Cell Name  Value
      $V$41 RMSE   0.39
    """

    title: str
    facts: dict[str, list[str]]
    tables: dict[str, pd.DataFrame]

    def __str__(self) -> str:
        lines = [self.title]
        for heading, below in self.facts.items():
            inline = len(below) == 1
            lines += [f"{heading}: {below[0]}"] if inline else [heading, *(f"  {b}" for b in below)]
        for heading, table in self.tables.items():
            shown = table.to_string(index=False, na_rep="#N/A", float_format="{:.9g}".format)
            lines += ["", heading, *(f"  {line}".rstrip() for line in shown.splitlines())]
        return "\n".join(lines)


def answer_report(
    ratings: Ratings,
    result: SolverResult,
    options: Any = None,
    *,
    layout: Layout | None = None,
    sheet: str | None = None,
) -> Report:
    """What was changed, from what to what, and how the constraints stand.

    Parameters
    ----------
    ratings : Ratings
        That were solved.
    result : SolverResult
    options : SolverOptions, SGDOptions, VarproOptions, ALSOptions or VBOptions, optional
        That were used. Without them the report does not name the engine.
    layout : Layout, optional
        Of the sheet; by default the one that `write_workbook` uses.
    sheet : str, optional
        Name of the sheet.

    Returns
    -------
    Report
        Tables "Objective Cell (Min)" (stars), "Variable Cells", "Constraints".

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Brazil"]], [4, 2])
    >>> options = scf.SolverOptions(constraints=[scf.Constraint("predictions", "<=", 3)])
    >>> model = scf.MatrixFactorization(1, solver="grg", solver_options=options, random_state=0)
    >>> report = scf.answer_report(ratings, model.fit(ratings).result_, options)
    >>> report.tables["Objective Cell (Min)"].round(2)
       Cell  Name  Original Value  Final Value
    0  $E$9  RMSE            3.05         0.71
    >>> report.tables["Constraints"][["Name", "Formula", "Status"]]
                                    Name  Formula       Status
    0   prediction, user ann, item Alien  $D$7<=3      Binding
    1  prediction, user ann, item Brazil  $E$7<=3  Not Binding
    """
    engine = [] if options is None else [f"Engine: {_ENGINES[type(options)]}"]
    option_lines = {} if options is None else {"Solver Options": _option_lines(options)}
    options = SolverOptions() if options is None else options
    layout = layout or _layout(result.parameters)
    target = {"min": "Min", "max": "Max", "value_of": "Value Of"}[getattr(options, "to", "min")]
    objective_cell = pd.DataFrame(
        [[*_objective_cell(layout), result.rmse_before, result.rmse_after]],
        columns=["Cell", "Name", "Original Value", "Final Value"],
    )
    start, end = result.start.pack(), result.parameters.pack()
    variables = pd.DataFrame(
        [
            [cell.address, cell.name, start[cell.place], end[cell.place], "Contin"]
            for cell in _variables(ratings, result.parameters, layout)
        ],
        columns=["Cell", "Name", "Original Value", "Final Value", "Integer"],
    )
    constraints = pd.DataFrame(
        list(_constraint_rows(ratings, result.parameters, options, layout)),
        columns=["Cell", "Name", "Cell Value", "Formula", "Status", "Slack"],
    )
    return Report(
        "shallow_cf Answer Report",
        _facts(result, sheet)
        | {
            "Solver Engine": [
                *engine,
                *_solution_time(result),
                f"Iterations: {result.iterations} Function evaluations: {result.n_function} "
                f"Gradients: {result.n_gradient}",
            ]
        }
        | option_lines,
        {
            f"Objective Cell ({target})": objective_cell,
            "Variable Cells": variables,
            "Constraints": constraints,
        },
    )


def sensitivity_report(
    ratings: Ratings,
    result: SolverResult,
    options: Any = None,
    *,
    layout: Layout | None = None,
    sheet: str | None = None,
) -> Report:
    """How much the objective would gain: reduced gradients and Lagrange multipliers.

    Parameters and return value are those of `answer_report`; the tables are "Variable
    Cells" (reduced gradient: stars per unit of the variable) and "Constraints"
    (multiplier: stars per unit by which the limit is moved).

    Examples
    --------
    Alien is rated 4, but no more than 3 may be predicted; raising that limit takes 0.71 stars
    off the RMSE for each star:

    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Brazil"]], [4, 2])
    >>> options = scf.SolverOptions(constraints=[scf.Constraint("predictions", "<=", 3)])
    >>> model = scf.MatrixFactorization(1, solver="grg", solver_options=options, random_state=0)
    >>> report = scf.sensitivity_report(ratings, model.fit(ratings).result_, options)
    >>> report.tables["Constraints"].round(2)
       Cell                               Name  Final Value  Lagrange Multiplier
    0  $D$7   prediction, user ann, item Alien          3.0                -0.71
    1  $E$7  prediction, user ann, item Brazil          2.0                 0.00
    """
    options = SolverOptions() if options is None else options
    layout = layout or _layout(result.parameters)
    theta = result.parameters.pack()
    found, low, high = _limits(ratings, result.parameters, options)
    slope = objective.rmse_gradient(ratings, result.parameters).pack()
    held = (theta <= low) | (theta >= high)
    precision = getattr(options, "precision", 1e-6)
    reduced, lambdas = multipliers(found, theta, slope, held, precision)
    variables = pd.DataFrame(
        [
            [cell.address, cell.name, theta[cell.place], reduced[cell.place]]
            for cell in _variables(ratings, result.parameters, layout)
        ],
        columns=["Cell", "Name", "Final Value", "Reduced Gradient"],
    )
    rows = [
        [address, name, value, weight]
        for limit, weights in zip(found, lambdas, strict=True)
        for (address, name), value, weight, is_limited in zip(
            _names(limit.constraint, ratings, result.parameters, layout, weights.size),
            limit.values(theta),
            weights,
            np.isfinite(limit.lower) | np.isfinite(limit.upper),
            strict=True,
        )
        if is_limited
    ]
    constraints = pd.DataFrame(rows, columns=["Cell", "Name", "Final Value", "Lagrange Multiplier"])
    return Report(
        "shallow_cf Sensitivity Report",
        _facts(result, sheet),
        {"Variable Cells": variables, "Constraints": constraints},
    )


def limits_report(
    ratings: Ratings,
    result: SolverResult,
    options: Any = None,
    *,
    layout: Layout | None = None,
    sheet: str | None = None,
) -> Report:
    """How far each variable alone could go within the constraints, and what it would cost.

    Parameters and return value are those of `answer_report`; the tables are "Objective"
    and "Variable Cells". A limit that is not there is NaN.

    Examples
    --------
    Brazil is rated 2; its number could go on to the limit of 3, but the RMSE would be 1:

    >>> import shallow_cf as scf
    >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Brazil"]], [4, 2])
    >>> limits = [scf.Constraint("user_factors", "=", 1), scf.Constraint("predictions", "<=", 3)]
    >>> options = scf.SolverOptions(constraints=limits)
    >>> model = scf.MatrixFactorization(1, solver="grg", solver_options=options, random_state=0)
    >>> report = scf.limits_report(ratings, model.fit(ratings).result_, options)
    >>> columns = ["Name", "Value", "Upper Limit", "Objective at Upper"]
    >>> report.tables["Variable Cells"][columns].round(2)
                        Name  Value  Upper Limit  Objective at Upper
    0   item Alien, factor 1    3.0          3.0                0.71
    1  item Brazil, factor 1    2.0          3.0                1.00
    2     user ann, factor 1    1.0          1.0                0.71
    """
    options = SolverOptions() if options is None else options
    layout = layout or _layout(result.parameters)
    theta = result.parameters.pack()
    found, low, high = _limits(ratings, result.parameters, options)
    table = Table(ratings, result.parameters)
    rows = []
    for cell in _variables(ratings, result.parameters, layout):
        row: list[Any] = [cell.address, cell.name, theta[cell.place]]
        row += _limit(theta, cell.place, low[cell.place], -1.0, found, table)
        row += _limit(theta, cell.place, high[cell.place], 1.0, found, table)
        rows.append(row)
    columns = ["Cell", "Name", "Value", "Lower Limit", "Objective at Lower", "Upper Limit"]
    return Report(
        "shallow_cf Limits Report",
        _facts(result, sheet),
        {
            "Objective": pd.DataFrame(
                [[*_objective_cell(layout), result.rmse_after]], columns=["Cell", "Name", "Value"]
            ),
            "Variable Cells": pd.DataFrame(rows, columns=[*columns, "Objective at Upper"]),
        },
    )


class _Cell(NamedTuple):
    """A variable: where it stands, what it is, and its place in theta."""

    address: str
    name: str
    place: int


def _layout(parameters: Parameters) -> Layout:
    return published_layout(
        parameters.n_users, parameters.n_items, parameters.n_factors, bias=parameters.has_bias
    )


def _fixed(row: int, column: int) -> str:
    return cell_address(row, column, fix_row=True, fix_column=True)


def _objective_cell(layout: Layout) -> tuple[str, str]:
    loss = layout.loss
    return (_fixed(loss.row, loss.column) if loss is not None else ""), "RMSE"


def _variables(ratings: Ratings, like: Parameters, layout: Layout) -> Iterator[_Cell]:
    """All variables in the order in which Solver lists their cells."""
    index = like.places()
    places: dict[tuple[int, int], tuple[str, int]] = {}

    def note(block: Block, r: int, c: int, name: str, number: int) -> None:
        places[block.row + r, block.column + c] = name, int(number)

    for i, item in enumerate(ratings.item_ids.tolist()):
        for k in range(like.n_factors):
            name = f"item {item}, factor {k + 1}"
            note(layout.item_factors, k, i, name, index["item_factors"][i, k])
    for u, user in enumerate(ratings.user_ids.tolist()):
        for k in range(like.n_factors):
            name = f"user {user}, factor {k + 1}"
            note(layout.user_factors, u, k, name, index["user_factors"][u, k])
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        for u, user in enumerate(ratings.user_ids.tolist()):
            note(users, u, 0, f"user {user}, bias", index["user_bias"][u])
        for i, item in enumerate(ratings.item_ids.tolist()):
            note(items, 0, i, f"item {item}, bias", index["item_bias"][i])
    for block in layout.variable_blocks():
        for row in range(block.row, block.last_row + 1):
            for column in range(block.column, block.last_column + 1):
                name, number = places[row, column]
                yield _Cell(_fixed(row, column), name, number)


def _limits(
    ratings: Ratings, parameters: Parameters, options: Any
) -> tuple[list[Limit], FloatArray, FloatArray]:
    """The constraints on other cells, and the variables' bounds."""
    if not isinstance(options, SolverOptions):
        free = np.full(parameters.n_params, np.inf)
        return [], -free, free
    return (
        limits(ratings, parameters, options.constraints),
        *variable_bounds(options, parameters),
    )


def _constraint_rows(
    ratings: Ratings, parameters: Parameters, options: Any, layout: Layout
) -> Iterator[list[Any]]:
    if not isinstance(options, SolverOptions):
        return
    theta = parameters.pack()
    others = {limit.constraint: limit for limit in limits(ratings, parameters, options.constraints)}
    for constraint in options.constraints:
        if constraint.is_bound:
            block = getattr(parameters, str(constraint.cells))
            values, wanted = block.ravel(), fitted(constraint, block.shape).ravel()
        else:
            limit = others[constraint]
            values = limit.values(theta)
            wanted = limit.upper if constraint.relation == "<=" else limit.lower
        names = _names(constraint, ratings, parameters, layout, values.size)
        for (address, name), value, bound in zip(names, values, wanted, strict=True):
            if np.isinf(bound):
                continue
            slack = float(value - bound) * (-1 if constraint.relation == "<=" else 1)
            reach = options.precision * max(1.0, abs(bound))
            status = "Binding" if abs(slack) <= 10 * reach else "Not Binding"
            shown = slack if status == "Not Binding" else 0.0
            formula = f"{address or name}{constraint.relation}{bound:g}"
            yield [address, name, value, formula, status, shown]


def _names(
    constraint: Constraint, ratings: Ratings, like: Parameters, layout: Layout, n_cells: int
) -> list[tuple[str, str]]:
    """Address and name of each cell of a constraint; no address where no cell shows it."""
    users, items = ratings.user_ids.tolist(), ratings.item_ids.tolist()
    if constraint.is_bound:
        cells = {cell.place: cell for cell in _variables(ratings, like, layout)}
        places = like.places()[str(constraint.cells)].ravel().tolist()
        return [(cells[place].address, cells[place].name) for place in places]
    if isinstance(constraint.cells, str) and constraint.cells.endswith("predictions"):
        pairs = np.column_stack((ratings.user_idx, ratings.item_idx))
        if constraint.cells == "predictions":
            pairs = np.indices((len(users), len(items))).reshape(2, -1).T
        block = layout.predictions
        return [
            (
                _fixed(block.row + int(u), block.column + int(i)),
                f"prediction, user {users[u]}, item {items[i]}",
            )
            for u, i in pairs
        ]
    if isinstance(constraint.cells, str):
        kind, ids = ("user", users) if constraint.cells == "user_norms" else ("item", items)
        return [("", f"norm of {kind} {one}") for one in ids]
    return [("", f"{constraint.label}, cell {row + 1}") for row in range(n_cells)]


def _limit(
    theta: FloatArray, j: int, bound: float, sign: float, found: list[Limit], table: Table
) -> list[float]:
    """How far variable j can go towards a bound within the constraints, and the RMSE there."""

    def moved(by: float) -> FloatArray:
        there = theta.copy()
        there[j] += sign * by
        return there

    def is_allowed(by: float) -> bool:
        return all(limit.violation(moved(by)).max() <= allowed for limit in found)

    # What is missed as it stands, within Constraint Precision, is no reason to go back.
    allowed = max((limit.violation(theta).max() for limit in found), default=0.0) + 1e-12
    far = float(abs(bound - theta[j])) if np.isfinite(bound) else _FAR
    if not is_allowed(far):
        near = 0.0
        while far - near > _LIMIT_PRECISION * max(1.0, far):
            middle = (near + far) / 2
            near, far = (middle, far) if is_allowed(middle) else (near, middle)
        far = near
    if far == _FAR and np.isinf(bound):
        return [np.nan, np.nan]
    return [theta[j] + sign * far, table.value(moved(far))]


def _facts(result: SolverResult, sheet: str | None) -> dict[str, list[str]]:
    created = f"{source_date() or datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
    where = {} if sheet is None else {"Worksheet": [sheet]}
    return where | {"Report Created": [created], "Result": [result.message]}


def _solution_time(result: SolverResult) -> list[str]:
    """How long it took; not in reproducible builds, as it is another time each time."""
    return [] if source_date() else [f"Solution Time: {result.seconds:.3f} Seconds."]


def _option_lines(options: Any) -> list[str]:
    if not isinstance(options, SolverOptions):
        return [", ".join(f"{f.name} {getattr(options, f.name)}" for f in fields(options))]
    unlimited = "Unlimited"
    scaling = ", Use Automatic Scaling" if options.use_automatic_scaling else ""
    bounds = ", Require Bounds" if options.require_bounds else ""
    return [
        f"Max Time {options.max_time or unlimited}, Iterations {options.iterations or unlimited}, "
        f"Precision {options.precision:g}{scaling}",
        f"Convergence {options.convergence:g}, Population Size {options.population_size}, Random "
        f"Seed {options.random_seed}, Derivatives {options.derivatives.capitalize()}{bounds}",
        f"Search {options.search.capitalize()}, Multistart {'on' if options.multistart else 'off'}"
        + (", Assume NonNegative" if options.non_negative else ""),
    ]
