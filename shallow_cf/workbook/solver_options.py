"""The Solver model of a workbook that was read, as `SolverOptions`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.solvers.options import Constraint, SolverOptions
from shallow_cf.workbook.formulas import reference_cells
from shallow_cf.workbook.layout import Block, Layout
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import WorkbookModel

_NO_LIMIT = 2**31 - 1
_RELATIONS = {1: "<=", 2: "=", 3: ">="}
_TARGETS = {1: "max", 2: "min", 3: "value_of"}


def solver_options(book: WorkbookModel) -> SolverOptions:
    """What the Solver dialog of the sheet says, the defaults where it says nothing.

    Parameters
    ----------
    book : WorkbookModel
        As `read_workbook` gives it.

    Returns
    -------
    SolverOptions
        Constraints on embeddings and biases are bounds; those on predictions hold where
        there is a rating, since the other prediction cells show 0.

    Raises
    ------
    WorkbookError
        If a setting is no number or out of its range, or a constraint is not on
        embeddings, biases or predictions, or its other side is not a number.
    """
    settings: dict[str, Any] = {
        "to": _TARGETS.get(_whole(book, "solver_typ", 2) or 2, "min"),
        "non_negative": _whole(book, "solver_neg", 2) == 1,
        "precision": _number(book, "solver_pre"),
        "use_automatic_scaling": _whole(book, "solver_scl", 2) == 1,
        "convergence": _number(book, "solver_cvg"),
        "derivatives": {1: "forward", 2: "central"}.get(_whole(book, "solver_drv", 1) or 1),
        "search": {1: "newton", 2: "conjugate"}.get(_whole(book, "solver_nwt", 1) or 1),
        "max_time": _limit(_number(book, "solver_tim")),
        "iterations": _limit(_whole(book, "solver_itr", None)),
        "multistart": _whole(book, "solver_msl", 2) == 1,
        "population_size": _population(_whole(book, "solver_ssz", None)),
        "random_seed": _whole(book, "solver_rsd", 0),
        "require_bounds": _whole(book, "solver_rbv", 2) == 1,
    }
    if settings["to"] == "value_of":
        settings["value"] = _wanted(book, _number(book, "solver_val") or 0.0)
    try:
        options = SolverOptions(**{name: v for name, v in settings.items() if v is not None})
    except ValueError as error:
        raise WorkbookError(f"{book.sheet}, Solver's options: {error}") from error
    return replace(options, constraints=tuple(_constraints(book)))


def _text(book: WorkbookModel, name: str) -> str | None:
    text = book.solver_names.get(name)
    return None if text is None else text.strip().removeprefix("=").strip()


def _number(book: WorkbookModel, name: str) -> float | None:
    text = _text(book, name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise WorkbookError(f"{book.sheet}, Solver's {name}: must be a number, got {text!r}")
    return number


def _whole(book: WorkbookModel, name: str, default: int | None) -> int | None:
    number = _number(book, name)
    return default if number is None else round(number)


def _limit(value: Any) -> Any:
    """A limit of time or iterations; None for what means no limit."""
    return None if value is None or value >= _NO_LIMIT or value <= 0 else value


def _population(value: int | None) -> int | None:
    """Excel takes a population below 10 for its default."""
    return None if value is None or value < 10 else value


def _wanted(book: WorkbookModel, value: float) -> float:
    """The RMSE at which the objective cell shows a value."""
    if book.objective_formula is None:
        raise WorkbookError(
            f"{book.sheet}: Solver's objective is to have the value {value:g}, but what the "
            "objective cell computes is not understood"
        )
    if value < 0:
        raise WorkbookError(f"{book.sheet}: Solver's objective cannot have the value {value:g}")
    return book.objective_formula.rmse(value, book.ratings.n_ratings)


def _constraints(book: WorkbookModel) -> list[Constraint]:
    found = []
    for number in range(1, (_whole(book, "solver_num", 0) or 0) + 1):
        left, right = (_text(book, f"solver_{side}{number}") for side in ("lhs", "rhs"))
        relation = _RELATIONS.get(_whole(book, f"solver_rel{number}", 0) or 0)
        where = f"{book.sheet}, Solver's constraint {number} on {left}"
        if relation is None:
            raise WorkbookError(f"{where}: only <=, = and >= are supported, no whole numbers")
        try:
            value = float(right or "")
        except ValueError:
            raise WorkbookError(
                f"{where}: the right side must be a number, got {right!r}"
            ) from None
        blocks = list(reference_cells(left or ""))
        covered = sum(math.prod(block.shape) for block in blocks)
        parts = [c for block in blocks for c in _on_block(book, block, relation, value, where)]
        if not blocks or sum(count for count, _ in parts) != covered:
            raise WorkbookError(f"{where}: not all of it is embeddings, biases or predictions")
        found += [constraint for _, constraints in parts for constraint in constraints]
    return found


def _on_block(
    book: WorkbookModel, block: Block, relation: str, value: float, where: str
) -> list[tuple[int, list[Constraint]]]:
    """Cells covered and the constraints on them, for each of the sheet's parts in a block."""
    layout = book.layout
    parts = []
    for name, place in _places(layout).items():
        inside = _inside(place, block)
        if not inside.any():
            continue
        on = inside.T if name == "item_factors" else inside
        if name == "predictions":
            on = _rated(book, inside, relation, value, where)[None]
            name = "rated_predictions"
        elif name.endswith("_bias"):
            on = inside.ravel()
        else:
            on = on.reshape(-1, layout.n_factors)
        parts.append((int(inside.sum()), _with_value(name, relation, value, on)))
    return parts


def _places(layout: Layout) -> dict[str, Block]:
    places = {
        "user_factors": layout.user_factors,
        "item_factors": layout.item_factors,
        "predictions": layout.predictions,
    }
    if layout.bias_blocks is not None:
        places["user_bias"], places["item_bias"] = layout.bias_blocks
    return places


def _inside(place: Block, block: Block) -> Any:
    """Which cells of a place are cells of the block."""
    rows = np.arange(place.row, place.last_row + 1)
    columns = np.arange(place.column, place.last_column + 1)
    down = (block.row <= rows) & (rows <= block.last_row)
    across = (block.column <= columns) & (columns <= block.last_column)
    return down[:, None] & across


def _rated(book: WorkbookModel, inside: Any, relation: str, value: float, where: str) -> Any:
    """Which ratings' predictions are meant; the cells without a rating must agree already."""
    shown = book.layout.shown_in_blanks(book.parameters)
    blank = inside.copy()
    blank[book.ratings.user_idx, book.ratings.item_idx] = False
    agrees = {"<=": shown <= value, ">=": shown >= value, "=": shown == value}[relation]
    if book.layout.blanks == "zero" and (blank & ~agrees).any():
        raise WorkbookError(
            f"{where}: prediction cells without a rating show 0, which is not {relation} {value:g}"
        )
    return inside[book.ratings.user_idx, book.ratings.item_idx]


def _with_value(name: str, relation: str, value: float, on: Any) -> list[Constraint]:
    if on.all():
        return [Constraint(name, relation, value)]
    on = on.ravel() if name == "rated_predictions" else on
    sides = ("<=", ">=") if relation == "=" else (relation,)
    return [Constraint(name, side, _where(on, value, side)) for side in sides]


def _where(on: Any, value: float, side: str) -> FloatArray:
    return np.where(on, value, np.inf if side == "<=" else -np.inf)
