"""The Solver model of a sheet: hidden names that fill Excel's Solver dialog.

Excel keeps a Solver model as hidden defined names of the sheet. Their meanings are
documented by Frontline Systems ("Solver model in defined names") and readable in any
workbook that Solver has touched.
"""

from __future__ import annotations

from shallow_cf.workbook.layout import MAX_VARIABLE_CELLS, Layout

_NO_LIMIT = "2147483647"

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


def solver_names(sheet: str, layout: Layout) -> dict[str, str]:
    """Name and text of every hidden Solver name of a sheet.

    Parameters
    ----------
    sheet : str
        A sheet name that needs no quotes in a formula.
    layout : Layout
        With a loss cell.
    """
    if layout.loss is None:
        raise ValueError("a Solver model needs a loss cell")
    variables = (f"{sheet}!{block.range(fixed=True)}" for block in layout.variable_blocks())
    places = {
        "solver_opt": f"{sheet}!{layout.loss.range(fixed=True)}",
        "solver_adj": ",".join(variables),
    }
    return places | _OPTIONS


def limit_note(n_variables: int) -> str | None:
    """What to tell the reader of a model that Excel's own Solver refuses, or None."""
    if n_variables <= MAX_VARIABLE_CELLS:
        return None
    return (
        f"NB: this model has {n_variables} variable cells; the Solver that comes with Excel "
        f"takes at most {MAX_VARIABLE_CELLS}. Use: shallow-cf solve"
    )
