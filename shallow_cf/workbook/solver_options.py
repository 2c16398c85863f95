"""The Solver model of a workbook that was read, as `SolverOptions`."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from typing import Any

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.solvers.options import Constraint, SolverOptions
from shallow_cf.workbook.hints import reference_cells
from shallow_cf.workbook.layout import Block, Layout
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.reader import WorkbookModel, read_workbook

_NO_LIMIT = 2**31 - 1
_PART = r"(?:'[^']*'|[^',])+"  # between commas; a sheet's name in quotes may hold commas
_RELATIONS = {1: "<=", 2: "=", 3: ">="}
_TARGETS = {1: "max", 2: "min", 3: "value_of"}


def solver_options(book: WorkbookModel | str | os.PathLike[str]) -> SolverOptions:
    """What the Solver dialog of the sheet says, the defaults where it says nothing.

    Parameters
    ----------
    book : WorkbookModel or path
        As `read_workbook` gives it; of a path, the sheet that it reads if not told one.

    Returns
    -------
    SolverOptions
        Constraints on embeddings and biases are bounds; numbers that are not among the
        changing cells are held by bounds, too. Constraints on predictions hold for what the
        cells show: if those without a rating show 0, that has to agree already; if they
        show the sum of the biases, the constraint is on that.

    Raises
    ------
    TypeError
        If `book` is neither.
    WorkbookError
        If a setting is no number or out of its range, the objective is another cell than
        the error of the predictions, the changing cells are others than embeddings and
        biases, or a constraint is not on those or predictions, or its right side is neither
        a number nor one cell with a number.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import shallow_cf as scf
    >>> theta = scf.Parameters.random(15, 15, 5, random_state=0)
    >>> options = scf.SolverOptions(constraints=[scf.Constraint("rated_predictions", "<=", 5)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "book.xlsx"
    ...     scf.write_workbook(file, scf.load_crosstab(), theta, solver_options=options, sheets=[])
    ...     book = scf.read_workbook(file)
    >>> scf.solver_options(book).constraints
    (Constraint(rated_predictions <= 5),)
    """
    book = _read(book)
    _check_objective(book)
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
    return replace(options, constraints=(*_kept(book), *_constraints(book)))


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


def _blocks(book: WorkbookModel, text: str | None) -> list[Block] | None:
    """The blocks that a text names, if each of its parts is one of this sheet."""
    parts = re.findall(_PART, text or "")
    areas = [part.strip().rpartition("!") for part in parts]
    sheets = {re.sub("^'|'$", "", sheet).replace("''", "'") for sheet, _, _ in areas}
    blocks = [block for _, _, area in areas for block in reference_cells(area)]
    whole = parts and ",".join(parts) == text and len(blocks) == len(parts)
    return blocks if whole and sheets <= {"", book.sheet} else None


def _read(book: Any) -> WorkbookModel:
    if isinstance(book, str | os.PathLike):
        return read_workbook(book)
    if not isinstance(book, WorkbookModel):
        kind = type(book).__name__
        raise TypeError(f"`book` must be a path or what read_workbook gives, got {kind}")
    return book


def _check_objective(book: WorkbookModel) -> None:
    text = _text(book, "solver_opt")
    named = _blocks(book, text)
    if named and named != [book.layout.loss]:
        raise WorkbookError(
            f"{book.sheet}: Solver's objective is {text}, not the cell that computes the error "
            "of the predictions"
        )


def _kept(book: WorkbookModel) -> list[Constraint]:
    """Bounds that hold the numbers that are not among the changing cells."""
    text = _text(book, "solver_adj")
    changing = _blocks(book, text)
    if changing is None:  # none stored, or damaged by another program: all change
        return []
    found: list[Constraint] = []
    covered = 0
    for name, place in _variables(book.layout).items():
        moves = np.any([_inside(place, block) for block in changing], axis=0)
        covered += int(moves.sum())
        if not moves.all():
            value = getattr(book.parameters, name)
            stays = ~_like_parameters(name, moves, value.shape)
            found += _with_value(name, "=", value, stays)
    if covered != sum(math.prod(block.shape) for block in changing):
        raise WorkbookError(
            f"{book.sheet}: not all of Solver's changing cells {text} are embeddings or biases"
        )
    return found


def _like_parameters(name: str, cells: Any, shape: tuple[int, ...]) -> Any:
    """A table of the sheet turned as `Parameters` hold it: the sheet's items are columns."""
    return (cells.T if name == "item_factors" else cells).reshape(shape)


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
            value = math.nan
        if not math.isfinite(value):
            raise WorkbookError(f"{where}: the right side must be a number, got {right!r}")
        blocks = _blocks(book, left) or []
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
    parts = []
    for name, place in _variables(book.layout).items():
        inside = _inside(place, block)
        if inside.any():
            on = _like_parameters(name, inside, getattr(book.parameters, name).shape)
            parts.append((int(inside.sum()), _with_value(name, relation, value, on)))
    inside = _inside(book.layout.predictions, block)
    if inside.any():
        found = _on_predictions(book, inside, relation, value, where)
        parts.append((int(inside.sum()), found))
    return parts


def _variables(layout: Layout) -> dict[str, Block]:
    places = {"user_factors": layout.user_factors, "item_factors": layout.item_factors}
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


def _on_predictions(
    book: WorkbookModel, inside: Any, relation: str, value: float, where: str
) -> list[Constraint]:
    """Constraints on prediction cells; those without a rating may show something else."""
    blanks = book.layout.blanks
    if blanks == "prediction":
        return _with_value("predictions", relation, value, inside)
    u, i = book.ratings.user_idx, book.ratings.item_idx
    blank = inside.copy()
    blank[u, i] = False
    zero_agrees = {"<=": value >= 0, ">=": value <= 0, "=": value == 0}[relation]
    if blanks == "zero" and blank.any() and not zero_agrees:
        raise WorkbookError(
            f"{where}: prediction cells without a rating show 0, which is not {relation} {value:g}"
        )
    found = _with_value("rated_predictions", relation, value, inside[u, i])
    if blanks == "biases" and blank.any():
        found.append(Constraint(_sums_of_biases(book, blank), relation, value))
    return found


def _sums_of_biases(book: WorkbookModel, cells: Any) -> FloatArray:
    """The matrix whose product with theta is b_u + b_i for each of the cells."""
    places = book.parameters.places()
    u, i = np.nonzero(cells)
    matrix = np.zeros((len(u), book.parameters.n_params))
    matrix[np.arange(len(u)), places["user_bias"][u]] = 1.0
    matrix[np.arange(len(u)), places["item_bias"][i]] = 1.0
    return matrix


def _with_value(name: str, relation: str, value: float | FloatArray, on: Any) -> list[Constraint]:
    """Constraints on some of the cells of a name: on the others they say nothing."""
    if on.all():
        return [Constraint(name, relation, value)]
    sides = ("<=", ">=") if relation == "=" else (relation,)
    nothing = {"<=": np.inf, ">=": -np.inf}
    return [Constraint(name, side, np.where(on, value, nothing[side])) for side in sides]
