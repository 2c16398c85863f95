"""The Solver dialog: its options and constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shallow_cf._checks import check_bool, check_choice, check_int, check_number, check_share
from shallow_cf.parameters import FloatArray, IntArray, Parameters

DERIVATIVES = ("forward", "central", "analytic")
SEARCHES = ("newton", "conjugate")
TARGETS = ("min", "max", "value_of")
RELATIONS = ("<=", "=", ">=")
#: Cells that are variables: a constraint on them is a bound.
BLOCKS = ("user_factors", "item_factors", "user_bias", "item_bias")
#: Cells that follow from the variables.
CELLS = ("predictions", "rated_predictions", "user_norms", "item_norms")


@dataclass(frozen=True, kw_only=True)
class MultistartOptions:
    """Options of the search from many starts, the same for every solver that has them.

    Parameters
    ----------
    multistart : bool
        Whether to search from many starts and return the best end.
    population_size : int
        Starts at most, 10 or more (the dialog's own rule).
    random_seed : int
        Of the starts; 0 takes the `random_state` given to the solver, and fresh numbers
        each time if there is none, as in Excel.

    Examples
    --------
    >>> MultistartOptions(multistart=True, population_size=20, random_seed=1)
    MultistartOptions(multistart=True, population_size=20, random_seed=1)
    """

    multistart: bool = False
    population_size: int = 100
    random_seed: int = 0

    def __post_init__(self) -> None:
        check_bool("multistart", self.multistart)
        check_int("population_size", self.population_size, 10)
        check_int("random_seed", self.random_seed, 0)


@dataclass(frozen=True, eq=False)
class Constraint:
    """A line of the dialog's list "Subject to the Constraints": cells, relation, value.

    Parameters
    ----------
    cells : str, callable or 2-d array
        Variables: ``"user_factors"``, ``"item_factors"``, ``"user_bias"`` or
        ``"item_bias"``; a constraint on them is a bound. Or what follows from them:
        ``"predictions"`` (of every user for every item, stars), ``"rated_predictions"``
        (where there is a rating), ``"user_norms"`` and ``"item_norms"`` (Euclidean
        lengths of the embeddings). Or a function from `Parameters` to an array of cells
        (its derivatives are found by central differences). Or a matrix A of shape (m,
        n_params): linear constraints on the m cells A theta, theta as `Parameters.pack`
        orders it.
    relation : {"<=", "=", ">="}
    value : float or array
        One for all cells, or an array that broadcasts against them; in an array for <=
        inf, in one for >= -inf, leaves a cell free.

    Raises
    ------
    TypeError, ValueError
        If one of them is not as above.

    Examples
    --------
    >>> Constraint("predictions", "<=", 5)
    Constraint(predictions <= 5)
    """

    cells: str | Callable[[Parameters], npt.ArrayLike] | npt.NDArray[Any]
    relation: str
    value: float | FloatArray

    def __post_init__(self) -> None:
        if isinstance(self.cells, str):
            check_choice("cells", self.cells, BLOCKS + CELLS)
        elif not callable(self.cells):
            matrix = np.asarray(self.cells, np.float64)
            if matrix.ndim != 2 or not np.isfinite(matrix).all():
                raise ValueError(
                    "`cells` must be a name, a function or a finite matrix with a row a cell, "
                    f"got an array of shape {matrix.shape}"
                )
            object.__setattr__(self, "cells", matrix)
        check_choice("relation", self.relation, RELATIONS)
        try:
            value = np.asarray(self.value, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"`value` must be a number or an array, got {self.value!r}") from None
        nothing = {"<=": np.inf, ">=": -np.inf}.get(self.relation, np.nan)
        if not (np.isfinite(value) | (value == nothing)).all():
            raise ValueError(f"`value` for {self.relation} must be finite, got {self.value!r}")
        object.__setattr__(self, "value", float(value) if value.ndim == 0 else value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constraint):
            return NotImplemented
        ours, theirs = self.cells, other.cells
        if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
            same = np.array_equal(ours, theirs)
        else:
            same = type(ours) is type(theirs) and ours == theirs
        return same and self.relation == other.relation and np.array_equal(self.value, other.value)

    def __hash__(self) -> int:
        return hash((self.label, self.relation))

    def __str__(self) -> str:
        value = (
            f"{self.value:g}" if isinstance(self.value, float) else f"{self.value.shape} numbers"
        )
        return f"{self.label} {self.relation} {value}"

    def __repr__(self) -> str:
        return f"Constraint({self})"

    @property
    def label(self) -> str:
        """What the cells are, in a word.

        Examples
        --------
        >>> import numpy as np
        >>> Constraint("user_norms", "<=", 1).label, Constraint(np.ones((2, 150)), "=", 1).label
        ('user_norms', 'matrix of 2 rows')
        """
        if isinstance(self.cells, str):
            return self.cells
        if isinstance(self.cells, np.ndarray):
            return f"matrix of {self.cells.shape[0]} rows"
        return getattr(self.cells, "__name__", "function")

    @property
    def is_bound(self) -> bool:
        """Whether the cells are variables.

        Examples
        --------
        >>> Constraint("user_factors", ">=", 0).is_bound
        True
        >>> Constraint("predictions", "<=", 5).is_bound
        False
        """
        return isinstance(self.cells, str) and self.cells in BLOCKS


@dataclass(frozen=True, kw_only=True)
class SolverOptions(MultistartOptions):
    """The Solver dialog, in its own words.

    The defaults are the dialog's own, except for three that would change the lesson's
    problem and that the published workbook sets likewise: variables may be negative,
    no automatic scaling, no bounds required. (And time and iterations are unlimited, as
    in both.)

    Parameters
    ----------
    to : {"min", "max", "value_of"}
        What to do with the objective cell, the RMSE.
    value : float
        The one wanted (stars) for ``to="value_of"``.
    constraints : sequence of Constraint
        On variables (bounds) and on other cells. With the latter scipy's SLSQP makes the
        steps: `search` and `use_automatic_scaling` are not used.
    non_negative : bool
        Make Unconstrained Variables Non-Negative: a lower bound of 0 for each variable
        that has none.
    precision : float
        Constraint Precision: how far a constraint, and a value wanted of the objective,
        may be missed.
    use_automatic_scaling : bool
        Measure each variable in units of its size at the start.
    convergence : float
        Between 0 and 1: the relative change of the objective that counts as none.
    derivatives : {"forward", "central", "analytic"}
        How the gradient is found: by differences as in Excel, or by equation (5).
    search : {"newton", "conjugate"}
        The direction of each step: quasi-Newton (BFGS), or conjugate gradients. With
        more than 2000 variables it is always the second.
    require_bounds : bool
        Refuse multistart (code 18) unless every variable has both bounds.
    max_time : float, optional
        Most seconds; None for no limit.
    iterations : int, optional
        Most iterations; None for no limit.
    multistart, population_size, random_seed
        See `MultistartOptions`.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> options = scf.SolverOptions(
    ...     derivatives="analytic", iterations=5,
    ...     constraints=[scf.Constraint("user_factors", ">=", 0)])
    >>> model = scf.MatrixFactorization(solver="grg", solver_options=options, random_state=0)
    >>> bool(model.fit(scf.load_crosstab()).parameters_.user_factors.min() >= 0)
    True
    >>> model.result_.message
    'Stop chosen when the maximum iteration limit was reached.'
    """

    to: str = "min"
    value: float = 0.0
    constraints: tuple[Constraint, ...] = ()
    non_negative: bool = False
    precision: float = 1e-6
    use_automatic_scaling: bool = False
    convergence: float = 1e-4
    derivatives: str = "forward"
    search: str = "newton"
    require_bounds: bool = False
    max_time: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("to", self.to, TARGETS)
        check_number("value", self.value, 0.0)
        one = isinstance(self.constraints, Constraint)
        constraints = (self.constraints,) if one else tuple(self.constraints)
        for constraint in constraints:
            if not isinstance(constraint, Constraint):
                raise TypeError(f"`constraints` must hold Constraint objects, got {constraint!r}")
        object.__setattr__(self, "constraints", constraints)
        for name in ("non_negative", "use_automatic_scaling", "require_bounds"):
            check_bool(name, getattr(self, name))
        check_share("convergence", self.convergence)
        check_share("precision", self.precision)
        check_choice("derivatives", self.derivatives, DERIVATIVES)
        check_choice("search", self.search, SEARCHES)
        check_limits(self.iterations, self.max_time)


def variable_bounds(options: SolverOptions, like: Parameters) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bound of every variable, each (n_params,); infinite where there is none.

    Raises
    ------
    ValueError
        If a constraint is on biases that are not there, or its values are of another shape.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> limit = Constraint("user_factors", "<=", 2)
    >>> options = SolverOptions(constraints=[limit], non_negative=True)
    >>> variable_bounds(options, scf.Parameters([[1]], [[1]]))
    (array([0., 0.]), array([ 2., inf]))
    """
    lower, upper = np.full(like.n_params, -np.inf), np.full(like.n_params, np.inf)
    lows, highs = like.unpack(lower), like.unpack(upper)  # views: filled block by block
    for constraint in options.constraints:
        if not constraint.is_bound:
            continue
        low, high = getattr(lows, str(constraint.cells)), getattr(highs, str(constraint.cells))
        if low is None:
            raise ValueError(f"{constraint!r}: these parameters have no {constraint.cells}")
        value = fitted(constraint, low.shape)
        if constraint.relation != "<=":
            np.maximum(low, value, out=low)
        if constraint.relation != ">=":
            np.minimum(high, value, out=high)
    if options.non_negative:
        lower[np.isneginf(lower)] = 0.0
    return lower, upper


def draw_start(rng: np.random.Generator, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Random numbers between the bounds, (n_params,); where one is missing 1 from the other.

    Without bounds that is uniform(0, 1), as the lesson's ``=RAND()``.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = draw_start(np.random.default_rng(0), np.array([0.0, 4.0]), np.array([0.1, np.inf]))
    >>> bool(0 <= drawn[0] <= 0.1), bool(4 <= drawn[1] <= 5)
    (True, True)
    """
    low = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper - 1, 0.0))
    high = np.where(np.isfinite(upper), upper, low + 1)
    return rng.uniform(low, high)


def fitted(constraint: Constraint, shape: tuple[int, ...]) -> FloatArray:
    """The value for each of the cells; ValueError where it is of another shape.

    Examples
    --------
    >>> fitted(Constraint("user_bias", "<=", 1), (3,))
    array([1., 1., 1.])
    """
    try:
        return np.broadcast_to(constraint.value, shape)
    except ValueError:
        raise ValueError(
            f"{constraint!r}: the value must be one number or fit {shape}, "
            f"got shape {np.shape(constraint.value)}"
        ) from None


def select_constraints(
    constraints: Iterable[Constraint], like: Parameters, user_idx: IntArray, item_idx: IntArray
) -> tuple[Constraint, ...]:
    """The constraints for some users and items only, as `Parameters.select` takes them.

    Parameters
    ----------
    constraints : sequence of Constraint
    like : Parameters
        Of all users and items, which the constraints were made for.
    user_idx, item_idx : (n,) and (m,) int arrays

    Raises
    ------
    ValueError
        If a constraint is on parameters as a whole (a function, a matrix), or holds a value
        for each of the ratings.

    Examples
    --------
    >>> import numpy as np, shallow_cf as scf
    >>> limits = [Constraint("user_bias", "<=", np.array([1.0, 2.0, 3.0]))]
    >>> like = scf.Parameters.random(3, 2, bias=True)
    >>> select_constraints(limits, like, np.array([2, 0]), np.array([0, 1]))[0].value
    array([3., 1.])
    """
    every = (np.arange(like.n_users), np.arange(like.n_items))
    if np.array_equal(user_idx, every[0]) and np.array_equal(item_idx, every[1]):
        return tuple(constraints)
    n_users, n_items, n_factors = like.n_users, like.n_items, like.n_factors
    whole: dict[str, tuple[tuple[int, ...], Any]] = {
        "user_factors": ((n_users, n_factors), user_idx),
        "item_factors": ((n_items, n_factors), item_idx),
        "user_bias": ((n_users,), user_idx),
        "item_bias": ((n_items,), item_idx),
        "user_norms": ((n_users,), user_idx),
        "item_norms": ((n_items,), item_idx),
        "predictions": ((n_users, n_items), np.ix_(user_idx, item_idx)),
    }
    selected = []
    for constraint in constraints:
        name = constraint.cells if isinstance(constraint.cells, str) else None
        if name is not None and np.ndim(constraint.value) == 0:
            selected.append(constraint)
        elif name in whole:
            shape, of = whole[name]
            selected.append(replace(constraint, value=fitted(constraint, shape)[of]))
        else:
            raise ValueError(
                f"{constraint!r}: holds for the users, items and ratings it was made for as a "
                "whole, not for some of them or in another order"
            )
    return tuple(selected)


def as_json(options: Any) -> dict[str, Any]:
    """A solver's settings in JSON's types; constraints on functions are left out.

    Examples
    --------
    >>> as_json(MultistartOptions(multistart=True))
    {'multistart': True, 'population_size': 100, 'random_seed': 0}
    """
    settings = {field.name: getattr(options, field.name) for field in fields(options)}
    if "constraints" in settings:
        settings["constraints"] = [
            {
                "cells": c.cells if isinstance(c.cells, str) else np.asarray(c.cells).tolist(),
                "relation": c.relation,
                "value": np.asarray(c.value).tolist(),
            }
            for c in settings["constraints"]
            if not callable(c.cells)
        ]
    rules = {name: value for name, value in settings.items() if is_dataclass(value)}
    for name, rule in rules.items():  # such as an optimiser
        settings[name] = {"name": type(rule).__name__.lower(), **as_json(rule)}
    return settings


def from_json(kind: type[Any], settings: dict[str, Any]) -> Any:
    """The settings that `as_json` took apart.

    Examples
    --------
    >>> options = SolverOptions(constraints=[Constraint("predictions", "<=", 5)])
    >>> from_json(SolverOptions, as_json(options)) == options
    True
    """
    constraints = [Constraint(**c) for c in settings.get("constraints", [])]
    return kind(**settings | ({"constraints": constraints} if constraints else {}))


def check_limits(iterations: int | None, max_time: float | None) -> None:
    """Refuse limits of a run that are no limits.

    Examples
    --------
    >>> check_limits(iterations=100, max_time=None)
    >>> check_limits(iterations=0, max_time=None)
    Traceback (most recent call last):
        ...
    ValueError: `iterations` must be >= 1, got 0
    """
    if iterations is not None:
        check_int("iterations", iterations, 1)
    if max_time is not None:
        check_number("max_time", max_time, 0.0, above=True)
