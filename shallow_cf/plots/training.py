"""How training went: losses, solvers side by side, learning rates, between solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from shallow_cf import landscape
from shallow_cf._checks import check_choice, check_number, check_range
from shallow_cf.parameters import Parameters
from shallow_cf.plots._axes import DARK, LIGHT, axes_for
from shallow_cf.ratings import Ratings, check_ratings
from shallow_cf.solvers.result import SolverResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Curves that are drawn on one axes, one after another: color and dashes.
_CURVES = (
    (DARK, "-"), (LIGHT, "--"), ("#3f8f6b", "-."), ("#9c4f8b", ":"),
    ("#777777", (0, (6, 2, 1, 2))),
)  # fmt: skip

_MARKERS = "osD^v"


class _Placed(Protocol):
    """A model with parameters of its own: `MatrixFactorization`."""

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """The parameters of these ratings' users and items, in the order of their ids."""


def plot_history(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How the error fell during training.

    Parameters
    ----------
    history : DataFrame
        A row an epoch (or ``iteration``, or ``search``), such as ``model.history_``:
        ``epoch``, ``train_rmse`` and, if there is one, ``valid_rmse``, stars.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a column is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> train, valid = scf.split(scf.load_crosstab(), random_state=0)
    >>> model = scf.MatrixFactorization(solver_options=scf.SGDOptions(20), random_state=0)
    >>> ax = plots.plot_history(model.fit(train, valid=valid).history_, ax=Figure().subplots())
    >>> [curve.get_label() for curve in ax.lines]
    ['training', 'validation']
    """
    step = next((name for name in ("epoch", "iteration", "search") if name in history), None)
    if step is None or "train_rmse" not in history:
        raise ValueError(
            "`history` must have columns epoch and train_rmse, "
            f"got {', '.join(map(str, history.columns))}"
        )
    ax = axes_for(ax, 7, 4.5)
    curves = {"train_rmse": ("training", DARK, "-"), "valid_rmse": ("validation", LIGHT, "--")}
    for column, (label, color, style) in curves.items():
        if column in history:
            ax.plot(history[step], history[column], style, color=color, label=label)
    ax.set_xlabel(step)
    ax.set_ylabel("RMSE, stars")
    ax.legend(frameon=False)
    return ax


def plot_trace(
    results: SolverResult | Mapping[str, SolverResult],
    *,
    x: str = "iteration",
    above: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """How the RMSE fell in one or several solvers' runs, on a logarithmic scale.

    Parameters
    ----------
    results : SolverResult or dict
        ``model.result_``, or name -> result to compare several.
    x : {"iteration", "seconds"}
        What goes across: rows of the trace (iterations, epochs, sweeps or searches, which
        are not the same work), or the time they took.
    above : float
        Draw by how much the RMSE lies above this one, stars, such as the best known: on
        this scale the last digits are seen, too, and steps of one length mean that each
        iteration takes the same share off. A point at or below it is left out.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If something is no SolverResult.
    ValueError
        If there is no result, `x` is unknown, or no RMSE is above `above`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> ratings = scf.load_crosstab()
    >>> results = {
    ...     name: scf.MatrixFactorization(solver=solver, random_state=0).fit(ratings).result_
    ...     for name, solver in (("Solver", "grg"), ("variable projection", "varpro"))
    ... }
    >>> ax = plots.plot_trace(results, above=0.3929, ax=Figure().subplots())
    >>> [curve.get_label() for curve in ax.lines], ax.get_yscale()
    (['Solver', 'variable projection'], 'log')
    """
    runs = results if isinstance(results, Mapping) else {"": results}
    _check_runs(runs)
    check_choice("x", x, ("iteration", "seconds"))
    above = check_number("above", above, 0.0)
    curves = [np.array([row["train_rmse"] for row in run.trace]) - above for run in runs.values()]
    curves = [np.where(curve > 0, curve, np.nan) for curve in curves]
    if not np.isfinite(np.concatenate(curves)).any():
        raise ValueError(f"`above` must be below an RMSE of the runs, got {above:g}")
    ax = axes_for(ax, 7, 4.5)
    for k, (name, run, curve) in enumerate(zip(runs, runs.values(), curves, strict=True)):
        at = [row["seconds"] for row in run.trace] if x == "seconds" else np.arange(len(curve))
        color, dashes = _CURVES[k % len(_CURVES)]
        # Some marks are enough; the first and the last are among them.
        marked = np.unique(np.linspace(0, len(curve) - 1, 9).astype(int)).tolist()
        ax.plot(
            at, curve, color=color, linestyle=dashes, marker=_MARKERS[k % len(_MARKERS)],
            markersize=4, markevery=marked, label=name,
        )  # fmt: skip
    _log_scale(ax)
    ax.set_xlabel(x if x == "seconds" else _steps(runs))
    ax.set_ylabel(f"RMSE - {above:g}, stars" if above else "RMSE, stars")
    if isinstance(results, Mapping):
        ax.legend(frameon=False)
    return ax


def plot_line(
    ratings: Ratings,
    a: Parameters | SolverResult | _Placed,
    b: Parameters | SolverResult | _Placed,
    *,
    names: tuple[str, str] = ("a", "b"),
    align: bool = True,
    span: tuple[float, float] = (-0.25, 1.25),
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The RMSE along the straight line between two solutions: is there a hill between?

    Drawn again on the same axes, the next line gets other dashes.

    Parameters
    ----------
    ratings : Ratings
    a, b : MatrixFactorization, SolverResult or Parameters
        Both ends, marked by dots; results and parameters must be those of these ratings.
    names : (str, str)
        What they are called below the picture.
    align : bool
        Whether to bring both into one form first and turn `b` to lie nearest to `a`, as
        `shallow_cf.landscape` derives: the predictions stay, and what lies
        between two forms of one solution becomes flat. False takes the numbers as they are.
    span : (float, float)
        From where to where to go: 0 is `a`, 1 is `b`.
    label : str, optional
        For the legend.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If an end has no parameters such as `Parameters`.
    ValueError
        If the ends do not fit each other or the ratings.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> ratings = scf.load_crosstab()
    >>> best = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings).parameters_
    >>> swapped = scf.Parameters(best.user_factors[:, ::-1], best.item_factors[:, ::-1])
    >>> ax = Figure().subplots()
    >>> for align in (False, True):
    ...     ax = plots.plot_line(ratings, best, swapped, align=align, ax=ax)
    >>> hill, flat = [curve.get_ydata() for curve in ax.lines]  # the same predictions
    >>> bool(hill.max() > 0.5), [round(float(edge), 4) for edge in (flat.min(), flat.max())]
    (True, [0.3929, 0.3929])
    """
    check_ratings(ratings)
    start, end = _parameters("a", a, ratings), _parameters("b", b, ratings)
    low, high = check_range("span", span) or (-0.25, 1.25)
    if align:
        start = landscape.balanced(start)
        end = landscape.aligned(landscape.balanced(end), start)
    t = np.union1d(np.linspace(low, high, 301), [at for at in (0, 1) if low <= at <= high])
    rmse = landscape.rmse_along(ratings, start, end, t)
    ax = axes_for(ax, 7, 4.5)
    color, dashes = _CURVES[len(ax.lines) % len(_CURVES)]
    marked = np.flatnonzero((t == 0) | (t == 1)).tolist()
    ax.plot(t, rmse, color=color, linestyle=dashes, marker="o", ms=5, markevery=marked, label=label)
    ax.set_xlabel(f"share of the way from {names[0]} (0) to {names[1]} (1)")
    ax.set_ylabel("RMSE, stars")
    if label is not None:
        ax.legend(frameon=False)
    return ax


def plot_learning_rates(
    found: pd.DataFrame, *, suggestion: float | None = None, ax: Axes | None = None
) -> Axes:
    """The loss at each learning rate that was tried.

    Parameters
    ----------
    found : DataFrame
        ``learning_rate`` and ``loss``, a row a try.
    suggestion : float, optional
        A learning rate to mark.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a column is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> found = scf.MatrixFactorization(random_state=0).lr_find(scf.load_crosstab())
    >>> ax = plots.plot_learning_rates(
    ...     found.table, suggestion=found.suggestion, ax=Figure().subplots()
    ... )
    >>> ax.get_xscale()
    'log'
    """
    missing = [name for name in ("learning_rate", "loss") if name not in found]
    if missing:
        raise ValueError(f"`found` must have columns learning_rate and loss, got no {missing[0]}")
    ax = axes_for(ax, 7, 4.5)
    ax.plot(found["learning_rate"], found["loss"], color=DARK)
    if suggestion is not None:
        label = f"suggestion: {suggestion:.2g}"
        ax.axvline(suggestion, color=LIGHT, linestyle="--", label=label)
        ax.legend(frameon=False)
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    return ax


def _log_scale(ax: Axes) -> None:
    """A logarithmic scale upwards; over a decade or two with numbers as one writes them."""
    from matplotlib.ticker import LogLocator, NullLocator

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    if high < 50 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")


def _check_runs(runs: Mapping[str, object]) -> None:
    if not runs:
        raise ValueError("`results` must name at least one result, got an empty dict")
    for run in runs.values():
        if not isinstance(run, SolverResult):
            kind = type(run).__name__
            raise TypeError(
                f"`results` must be a SolverResult or a dict of name -> SolverResult, got {kind}"
            )


def _steps(runs: Mapping[str, SolverResult]) -> str:
    """What the runs' traces count: "epoch", or "iteration or epoch" where they differ."""
    kinds = ("iteration", "epoch", "search")
    return " or ".join(kind for kind in kinds if any(kind in run.trace[0] for run in runs.values()))


def _parameters(
    name: str, end: Parameters | SolverResult | _Placed, ratings: Ratings
) -> Parameters:
    """The parameters of a solution for the users and items of these ratings."""
    if isinstance(end, Parameters):
        return end
    if isinstance(end, SolverResult):
        return end.parameters
    if hasattr(end, "parameters_for"):
        return end.parameters_for(ratings)
    kind = type(end).__name__
    raise TypeError(
        f"`{name}` must be a MatrixFactorization, SolverResult or Parameters, got {kind}"
    )
