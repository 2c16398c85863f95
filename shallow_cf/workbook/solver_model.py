"""The Solver model of a sheet: hidden names that fill Excel's Solver dialog.

Excel keeps a Solver model as hidden defined names of the sheet. Their meanings are
documented by Frontline Systems ("Solver model in defined names") and readable in any
workbook that Solver has touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.options import Constraint, SolverOptions, fitted
from shallow_cf.workbook.hints import reference_cells
from shallow_cf.workbook.layout import MAX_VARIABLE_CELLS, Block, Layout

_NO_LIMIT = "2147483647"
#: Cells that are not variables and that Excel's Solver takes constraints on, at most. Bounds
#: on variables do not count (Frontline, "Dealing with Problem Size Limits").
MAX_CONSTRAINTS = 100
#: Entries of bounds: as many as all variables that Excel's Solver takes can have.
_MAX_BOUNDS = 2 * MAX_VARIABLE_CELLS
#: Names that a formula can hold without quotes; not those that it would take for a cell.
_BARE_NAME = re.compile(r"(?!(?:[a-z]{1,3}\d+|r\d*(?:c\d*)?|c\d*)$)[a-z_][a-z0-9_.]*", re.I | re.A)
_RELATIONS = {"<=": "1", "=": "2", ">=": "3"}
_TARGETS = {"max": "1", "min": "2", "value_of": "3"}

#: What the published workbook holds, among it central differences; the dialog's own default,
#: and so that of `SolverOptions`, is forward.
_OPTIONS = {
    "solver_typ": "2",  # 1 max, 2 min, 3 value of
    "solver_val": "0",  # the value, for 3
    "solver_eng": "1",  # 1 GRG Nonlinear, 2 Simplex LP, 3 Evolutionary
    "solver_neg": "2",  # 1 makes unconstrained variables non-negative, 2 does not
    "solver_num": "0",  # constraints
    "solver_cvg": "0.0001",  # Convergence
    "solver_drv": "2",  # derivatives: 1 forward, 2 central
    "solver_pre": "0.000001",  # constraint precision
    "solver_scl": "2",  # 1 automatic scaling, 2 none
    "solver_est": "1",  # estimates: 1 tangent
    "solver_nwt": "1",  # search: 1 Newton, 2 conjugate
    "solver_tim": _NO_LIMIT,  # seconds
    "solver_itr": _NO_LIMIT,  # iterations
    "solver_nod": _NO_LIMIT,  # subproblems
    "solver_mip": _NO_LIMIT,  # feasible solutions
    "solver_tol": "0.01",  # integer optimality
    "solver_rlx": "2",  # 1 ignores integer constraints
    "solver_sho": "2",  # 1 shows iteration results
    "solver_msl": "2",  # 1 multistart
    "solver_ssz": "100",  # population size
    "solver_rsd": "0",  # random seed
    "solver_rbv": "2",  # 1 requires bounds on variables
    "solver_mrt": "0.075",  # mutation rate
    "solver_mni": "30",  # seconds without improvement
    "solver_ver": "3",  # version of this list
}


def solver_names(
    sheet: str,
    layout: Layout,
    options: SolverOptions | None = None,
    ratings: Ratings | None = None,
) -> dict[str, str]:
    """Name and text of every hidden Solver name of a sheet.

    Parameters
    ----------
    sheet : str
    layout : Layout
        With a loss cell.
    options : SolverOptions, optional
        What the dialog shows; the published workbook's settings if None. Derivatives by
        formula, which the dialog does not have, are shown as central ones.
    ratings : Ratings, optional
        Those on the sheet; needed for constraints on predictions.

    Raises
    ------
    ValueError
        If there is no loss cell, or the dialog cannot hold an option: a constraint on what
        no cell shows, or more constraints than it takes.
    """
    if layout.loss is None:
        raise ValueError("a Solver model needs a loss cell")
    names = model_names(sheet, layout.loss, layout.variable_blocks())
    if options is None:
        return names
    prefix = quoted(sheet) + "!"
    return names | _settings(options) | _listed(prefix, layout, options, ratings)


def model_names(sheet: str, objective: Block, variables: Iterable[Block]) -> dict[str, str]:
    """The names of a model with the published settings: make a cell small by changing others."""
    prefix = quoted(sheet) + "!"
    places = {
        "solver_opt": prefix + objective.range(fixed=True),
        "solver_adj": ",".join(prefix + block.range(fixed=True) for block in variables),
    }
    return places | _OPTIONS


def limit_note(n_variables: int, n_constraints: int = 0) -> str | None:
    """What to tell the reader of a model that Excel's own Solver refuses, or None."""
    if n_variables > MAX_VARIABLE_CELLS:
        model, most = f"{n_variables} variable cells", MAX_VARIABLE_CELLS
    elif n_constraints > MAX_CONSTRAINTS:
        model, most = f"constraints on {n_constraints} prediction cells", MAX_CONSTRAINTS
    else:
        return None
    return (
        f"NB: this model has {model}; the Solver that comes with Excel "
        f"takes at most {most}. Use: shallow-cf solve"
    )


def n_constraints(names: dict[str, str], layout: Layout) -> int:
    """How many of Excel's constraints the Solver names of a sheet hold: bounds do not count."""
    blocks = (
        block
        for name, text in names.items()
        if name.startswith("solver_lhs")
        for block in reference_cells(text)
    )
    return sum(b.n_rows * b.n_columns for b in blocks if layout.predictions.covers(b))


def quoted(sheet: str) -> str:
    """A sheet's name as formulas have it."""
    return sheet if _BARE_NAME.fullmatch(sheet) else "'" + sheet.replace("'", "''") + "'"


def _settings(options: SolverOptions) -> dict[str, str]:
    for name in ("population_size", "random_seed"):
        value = getattr(options, name)
        if value > int(_NO_LIMIT):
            raise ValueError(f"`{name}` must be <= {_NO_LIMIT} in Solver's dialog, got {value}")
    return {
        "solver_typ": _TARGETS[options.to],
        "solver_val": _number(options.value),
        "solver_neg": _switch(options.non_negative),
        "solver_cvg": _number(options.convergence),
        "solver_drv": "1" if options.derivatives == "forward" else "2",
        "solver_pre": _number(options.precision),
        "solver_scl": _switch(options.use_automatic_scaling),
        "solver_nwt": "1" if options.search == "newton" else "2",
        "solver_tim": _limit(options.max_time),
        "solver_itr": _limit(options.iterations),
        "solver_msl": _switch(options.multistart),
        "solver_ssz": str(options.population_size),
        "solver_rsd": str(options.random_seed),
        "solver_rbv": _switch(options.require_bounds),
    }


def _switch(on: bool) -> str:
    return "1" if on else "2"


def _limit(value: float | None) -> str:
    return _NO_LIMIT if value is None or value >= int(_NO_LIMIT) else _number(value)


def _number(value: float) -> str:
    """A number as formulas have it, every digit kept."""
    value = float(value) + 0.0  # never -0
    if value == 0 or 1e-15 <= abs(value) < 1e15:
        return np.format_float_positional(value, trim="-")
    return repr(value).upper()


def _listed(
    prefix: str, layout: Layout, options: SolverOptions, ratings: Ratings | None
) -> dict[str, str]:
    """The dialog's list "Subject to the Constraints": an entry a rectangle of equal values."""
    names: dict[str, str] = {}
    found = {True: 0, False: 0}  # bounds and others
    number = 0
    for constraint in options.constraints:
        is_bound = constraint.is_bound
        most = _MAX_BOUNDS if is_bound else MAX_CONSTRAINTS
        place, table = _on_cells(constraint, layout, ratings)
        for block, value in _rectangles(place, table):
            number += 1
            found[is_bound] += 1
            if found[is_bound] > most:
                kind = "bounds on ranges of equal values" if is_bound else "constraints"
                raise ValueError(
                    f"{constraint!r}: Excel's Solver takes at most {most} {kind}, these options "
                    "need more: give more cells the same value, or leave it out"
                )
            names |= {
                f"solver_lhs{number}": prefix + block.range(fixed=True),
                f"solver_rel{number}": _RELATIONS[constraint.relation],
                f"solver_rhs{number}": _number(value),
            }
    return {"solver_num": str(number)} | names


def _on_cells(
    constraint: Constraint, layout: Layout, ratings: Ratings | None
) -> tuple[Block, FloatArray]:
    """The cells that a constraint is on, and the value for each; infinity or NaN for none."""
    name = constraint.cells if isinstance(constraint.cells, str) else None
    if name in ("predictions", "rated_predictions"):
        return layout.predictions, _on_predictions(constraint, layout, ratings)
    if not constraint.is_bound:
        raise ValueError(
            f"{constraint!r}: no cell of the workbook shows this, so Solver's dialog cannot hold "
            "it: leave it out of the solver_options to write"
        )
    if name == "user_factors":
        return layout.user_factors, fitted(constraint, layout.user_factors.shape)
    if name == "item_factors":  # Q is turned: a column an item
        return layout.item_factors, fitted(constraint, layout.item_factors.shape[::-1]).T
    if layout.bias_blocks is None:
        raise ValueError(
            f"{constraint!r}: the sheet has no biases: leave it out of the solver_options to write"
        )
    place = layout.bias_blocks[name == "item_bias"]
    return place, fitted(constraint, (max(place.shape),)).reshape(place.shape)


def _on_predictions(constraint: Constraint, layout: Layout, ratings: Ratings | None) -> FloatArray:
    """The value for each prediction cell; on those without a rating it needs to make sense."""
    if ratings is None:
        raise ValueError(f"{constraint!r}: constraints on predictions need the ratings")
    shape = layout.predictions.shape
    rated = np.zeros(shape, dtype=bool)
    rated[ratings.user_idx, ratings.item_idx] = True
    if constraint.cells == "predictions":
        table = fitted(constraint, shape)
        if layout.blanks != "prediction" and np.isfinite(table[~rated]).any():
            raise ValueError(
                f"{constraint!r}: prediction cells without a rating do not show the prediction, "
                "so no constraint can be on it: constrain rated_predictions"
            )
        return table
    values = fitted(constraint, (ratings.n_ratings,))
    low, high = values.min(), values.max()
    zero_agrees = {"<=": low >= 0, "=": low == 0, ">=": low <= 0}[constraint.relation]
    if low == high and layout.blanks == "zero" and zero_agrees:
        return np.full(shape, low)  # in one piece: cells without a rating show 0, and may
    table = np.full(shape, np.nan)
    table[ratings.user_idx, ratings.item_idx] = values
    return table


def _rectangles(place: Block, table: FloatArray) -> Iterator[tuple[Block, float]]:
    """Blocks of equal finite values that together are all the cells which have one."""
    left = np.where(np.isfinite(table), table, np.nan)
    while (cells := np.flatnonzero(~np.isnan(left))).size:
        r, c = divmod(int(cells[0]), place.n_columns)
        same = left[r:, c:] == left[r, c]
        width, height = _run(same[0]), _run(same[:, 0])
        wide = (_run(same[:, :width].all(axis=1)), width)
        tall = (height, _run(same[:height].all(axis=0)))
        n_rows, n_columns = max(wide, tall, key=np.prod)
        yield Block(place.row + r, place.column + c, n_rows, n_columns), float(left[r, c])
        left[r : r + n_rows, c : c + n_columns] = np.nan


def _run(on: FloatArray) -> int:
    """How many at the beginning are true."""
    return int(np.argmin(np.append(on, False)))
