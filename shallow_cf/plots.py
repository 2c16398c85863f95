"""Pictures of what was learned, with matplotlib.

matplotlib is an extra: ``pip install shallow_cf[plot]``. Each function draws on the axes it is
given, ``ax=``, returns them, and touches nothing else. Without axes it makes a new figure by
``pyplot.subplots``, as large as the picture needs, just as pandas does: a notebook shows it
below the cell, and in a script ``pyplot.show()`` opens a window. On a server, or in a loop,
where figures that pyplot keeps would pile up, make the figure yourself:

>>> from matplotlib.figure import Figure
>>> import shallow_cf as scf
>>> from shallow_cf import plots
>>> figure = Figure(figsize=(8, 5), layout="constrained")
>>> ax = plots.plot_crosstab(scf.load_crosstab(), ax=figure.subplots())
>>> figure.savefig("crosstab.png", dpi=100)  # as ``ax.figure.savefig`` with any figure

A notebook shows such a figure where it is the last line of a cell. Light and dark, marks and
dashes tell things apart, so that a picture can be printed in grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf import landscape
from shallow_cf._checks import check_choice, check_number, check_range
from shallow_cf._using import Titles, Using, names_of
from shallow_cf.evaluation.errors import Predictor
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings, check_ratings
from shallow_cf.solvers.result import SolverResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import BboxBase

#: The two ends of a scale, and lines: a dark blue and a light orange.
_DARK, _LIGHT = "#1f3b73", "#e8943a"

#: Curves that are drawn on one axes, one after another: color and dashes.
_CURVES = (
    (_DARK, "-"), (_LIGHT, "--"), ("#3f8f6b", "-."), ("#9c4f8b", ":"),
    ("#777777", (0, (6, 2, 1, 2))),
)  # fmt: skip
_MARKERS = "osD^v"

#: What a crosstab may show, its title and how its numbers are written.
_SHOWN = {
    "ratings": ("Ratings, stars", "g"),
    "predictions": ("Predictions, stars (framed: not rated)", ".1f"),
    "errors": ("Prediction minus rating, stars", "+.1f"),
}
_ZEROS = {"-0.0": "0.0", "+0.0": "0.0"}  # a 0 has no sign
#: The most users or items of a crosstab that can be read.
_MOST = 30

#: Where a label may stand: offset from its point, in points, and the side it begins at.
_PLACES = (
    (5, 0, "left", "center"),
    (-5, 0, "right", "center"),
    (0, 5, "center", "bottom"),
    (0, -5, "center", "top"),
    (4, 4, "left", "bottom"),
    (-4, 4, "right", "bottom"),
    (4, -4, "left", "top"),
    (-4, -4, "right", "top"),
)


class _Placed(Protocol):
    """A model with parameters of its own: `MatrixFactorization`."""

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """The parameters of these ratings' users and items, in the order of their ids."""


def plot_crosstab(
    ratings: Ratings,
    model: Predictor | None = None,
    *,
    show: str = "ratings",
    titles: Titles | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A ratings table as a heat map with its numbers: a row a user, a column an item.

    Parameters
    ----------
    ratings : Ratings
        At most 30 users and 30 items; ``ratings.top(15, 15)`` makes such a table.
    model : object with ``predict(user_ids, item_ids)``, optional
        `MatrixFactorization`, `EmbeddingNet`, or any other that `rmse` takes; what is
        predicted, for the other two kinds of pictures.
    show : {"ratings", "predictions", "errors"}
        Stars, blank where there is no rating; predictions of all cells, those of the blank
        ones in a dashed frame and bold italics; or prediction minus rating, blue where it is
        too low and orange where it is too high, blank where there is no rating.
    titles : dict, optional
        Item id -> title, for the labels; ids where there is none.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the table is too large to be read, `show` is unknown, or there is no model to
        predict.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> ratings = scf.load_crosstab()
    >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
    >>> one, two = Figure(figsize=(16, 6)).subplots(1, 2)
    >>> len(plots.plot_crosstab(ratings, ax=one).texts)  # a number a rating
    206
    >>> ax = plots.plot_crosstab(ratings, model, show="predictions", ax=two)
    >>> len(ax.texts), len(ax.patches)  # a number a cell, a frame a blank
    (225, 19)
    """
    check_ratings(ratings)
    check_choice("show", show, tuple(_SHOWN))
    if max(ratings.n_users, ratings.n_items) > _MOST:
        raise ValueError(
            f"a table of more than {_MOST} users or items cannot be read: draw a part, such as "
            f"`ratings.top(15, 15)`, got {ratings!r}"
        )
    if show != "ratings" and model is None:
        raise ValueError(f"`show={show!r}` needs a model that predicts: pass `model`")
    stars = ratings.to_crosstab().to_numpy()
    columns = _names(ratings.item_ids, titles, 25)
    values = stars if model is None or show == "ratings" else _predictions(ratings, model)
    values = values - stars if show == "errors" else values
    ax = _axes(ax, 2 + 0.45 * ratings.n_items, 2 + 0.33 * ratings.n_users)
    colors = _heat(ax, values, stars, centred=show == "errors")
    _label_table(ax, ratings, columns)
    title, form = _SHOWN[show]
    ax.set_title(title, pad=10)
    is_blank = np.isnan(stars)
    if show == "predictions":
        _frame(ax, is_blank)
    _write_numbers(ax, values, colors, is_blank, form)
    return ax


def plot_item_map(
    model: Using,
    *,
    components: tuple[int, int] = (1, 2),
    most_rated: int | None = 50,
    titles: Titles | None = None,
    n_labels: int = 50,
    ax: Axes | None = None,
) -> Axes:
    """Items as points: near each other where the same users like them.

    Parameters
    ----------
    model : MatrixFactorization
    components : (int, int)
        Which principal components go across and up, counted from 1.
    most_rated : int or None
        Only so many items, those with the most ratings; None for all.
    titles : dict, optional
        Item id -> title, for the labels; ids where there is none.
    n_labels : int
        At most so many labels. A label that would cover another one is left out.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are not so many components, or `most_rated` needs ratings that were not
        kept.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(scf.load_crosstab())
    >>> ax = plots.plot_item_map(model, titles={260: "Star Wars"}, ax=Figure().subplots())
    >>> len(ax.collections[0].get_offsets())  # a point an item
    15
    """
    across, up = components
    if min(across, up) < 1 or across == up:
        raise ValueError(f"`components` must be two different numbers >= 1, got {components}")
    found = model.principal_components(max(across, up), most_rated=most_rated)
    ax = _axes(ax, 9, 7)
    items = found.items
    x = items[f"component {across}"].to_numpy(float)
    y = items[f"component {up}"].to_numpy(float)
    ax.scatter(x, y, s=18, color=_DARK)
    names = _names(items["item_id"], titles)
    ax.margins(0.12)
    ax.set_xlabel(f"component {across} ({found.share[across - 1]:.0%} of the variance)")
    ax.set_ylabel(f"component {up} ({found.share[up - 1]:.0%} of the variance)")
    ax.set_title("Items by their factors")
    # Those far from the middle say most, so they get their labels first.
    far = np.argsort(-((x / (np.std(x) or 1)) ** 2 + (y / (np.std(y) or 1)) ** 2), kind="stable")
    _label(ax, x, y, names, far[:n_labels])
    return ax


def plot_biases(
    model: Using,
    *,
    n: int = 10,
    side: str = "item",
    min_ratings: int = 0,
    most_rated: int | None = None,
    titles: Titles | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The lowest and the highest biases as bars. Parameters are those of `bias_list`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> model = scf.MatrixFactorization(2, bias=True, solver="varpro", random_state=0)
    >>> ax = plots.plot_biases(model.fit(scf.load_crosstab()), n=3, ax=Figure().subplots())
    >>> len(ax.patches), ax.get_xlabel()  # a bar an item
    (6, 'bias, stars')
    """
    table = model.bias_list(n, side=side, min_ratings=min_ratings, most_rated=most_rated)
    ax = _axes(ax, 8, 2 + 0.26 * len(table))
    _bars(ax, table, side, "bias", titles)
    unit = "score" if model.parameters_.rating_range is not None else "stars"
    ax.set_xlabel(f"bias, {unit}")
    ax.set_title(f"Lowest and highest {side} biases")
    return ax


def plot_factor_extremes(
    model: Using,
    *,
    factor: int = 1,
    n: int = 5,
    components: bool = True,
    min_ratings: int = 0,
    most_rated: int | None = None,
    titles: Titles | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The items at both ends of a factor as bars.

    Parameters
    ----------
    model : MatrixFactorization
    factor : int
        Which one, counted from 1.
    n : int
        How many items at each end.
    components : bool
        Whether it is a principal component (their order and direction mean something) or
        a factor as it was learned.
    min_ratings, most_rated, titles
        As in `MatrixFactorization.factor_extremes`.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no such factor.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import shallow_cf as scf
    >>> from shallow_cf import plots
    >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(scf.load_crosstab())
    >>> ax = plots.plot_factor_extremes(model, factor=2, n=3, ax=Figure().subplots())
    >>> len(ax.patches), ax.get_xlabel()  # a bar an item
    (6, 'component 2')
    """
    n_factors = model.parameters_.n_factors
    if not 1 <= factor <= n_factors:
        raise ValueError(f"`factor` must be from 1 to {n_factors}, got {factor}")
    every = model.factor_extremes(
        n,
        components=factor if components else None,
        min_ratings=min_ratings,
        most_rated=most_rated,
    )
    name = f"{'component' if components else 'factor'} {factor}"
    table = every[every["factor"] == name]
    ax = _axes(ax, 8, 2 + 0.26 * len(table))
    _bars(ax, table, "item", "value", titles)
    ax.set_xlabel(name)
    ax.set_title(f"Items at both ends of {name}")
    return ax


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
    ax = _axes(ax, 7, 4.5)
    curves = {"train_rmse": ("training", _DARK, "-"), "valid_rmse": ("validation", _LIGHT, "--")}
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
    ax = _axes(ax, 7, 4.5)
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
    ax = _axes(ax, 7, 4.5)
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
    ax = _axes(ax, 7, 4.5)
    ax.plot(found["learning_rate"], found["loss"], color=_DARK)
    if suggestion is not None:
        label = f"suggestion: {suggestion:.2g}"
        ax.axvline(suggestion, color=_LIGHT, linestyle="--", label=label)
        ax.legend(frameon=False)
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    return ax


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure, without the frame above and to the right."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "plots need matplotlib, which is not installed: pip install shallow_cf[plot]"
            ) from error
        _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _predictions(ratings: Ratings, model: Predictor) -> FloatArray:
    """Stars of every user for every item, (n_users, n_items)."""
    users, items = ratings.user_ids, ratings.item_ids
    pairs = np.repeat(users, len(items)), np.tile(items, len(users))
    return np.asarray(model.predict(*pairs), np.float64).reshape(len(users), len(items))


def _heat(ax: Axes, values: FloatArray, stars: FloatArray, *, centred: bool) -> FloatArray:
    """Color the cells that have a number; returns the colors, (rows, columns, 4)."""
    from matplotlib.colors import LinearSegmentedColormap

    if centred:
        high = max(float(np.nanmax(np.abs(values))), 0.5)  # small errors are to look small
        low, ends = -high, [_DARK, "white", _LIGHT]
    else:  # what is predicted outside the ratings' range gets the color of its edge
        low, high = float(np.nanmin(stars)), float(np.nanmax(stars))
        low, ends = min(low, high - 1), ["#eef3fa", _DARK]
    scale = LinearSegmentedColormap.from_list("stars", ends)
    image = ax.imshow(values, cmap=scale, vmin=low, vmax=high, aspect="auto")
    return np.asarray(image.to_rgba(np.ma.masked_invalid(values)))


def _label_table(ax: Axes, ratings: Ratings, columns: list[str]) -> None:
    """Users at the left, items above, white lines between the cells."""
    n_users, n_items = ratings.n_users, ratings.n_items
    ax.set_yticks(np.arange(n_users), _names(ratings.user_ids, None, 20), fontsize=8)
    # A letter of this size is some 5 points wide. Names wider than a column are turned.
    are_long = 5 * max(map(len, columns)) > _cell_size(ax, (n_users, n_items))[0] - 2
    ax.set_xticks(
        np.arange(n_items), columns, fontsize=8, rotation_mode="anchor",
        rotation=60 if are_long else 0, ha="left" if are_long else "center",
    )  # fmt: skip
    ax.set_xticks(np.arange(n_items + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n_users + 1) - 0.5, minor=True)
    ax.grid(visible=False)  # which many styles have, through the middles of the cells
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(top=False, bottom=False, left=False, labeltop=True, labelbottom=False)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(False)
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("item")
    ax.set_ylabel("user")


def _cell_size(ax: Axes, shape: tuple[int, ...]) -> tuple[float, float]:
    """Width and height of a cell, points, of a table of so many rows and columns."""
    figure = ax.figure.canvas.figure
    figure.draw_without_rendering()  # lays the axes out, so that sizes are known
    box = ax.get_window_extent()
    return 72 / figure.dpi * box.width / shape[1], 72 / figure.dpi * box.height / shape[0]


def _frame(ax: Axes, is_blank: npt.NDArray[np.bool_]) -> None:
    """Dashed frames around cells."""
    from matplotlib.patches import Rectangle

    for u, i in np.argwhere(is_blank).tolist():
        ax.add_patch(
            Rectangle((i - 0.42, u - 0.42), 0.84, 0.84, fill=False, ec=_LIGHT, lw=1.5, ls="--")
        )


def _write_numbers(
    ax: Axes, values: FloatArray, colors: FloatArray, is_blank: npt.NDArray[np.bool_], form: str
) -> None:
    """The number in each cell, white on dark, as large as the cells allow."""
    width, height = _cell_size(ax, values.shape)
    numbers = {place: format(value, form) for place, value in np.ndenumerate(values)}
    numbers = {place: _ZEROS.get(number, number) for place, number in numbers.items()}
    longest = max(map(len, numbers.values()))
    size = float(np.clip(min(width / (0.75 * longest), 0.6 * height), 4, 10))
    luminance = colors[..., :3] @ (0.299, 0.587, 0.114)
    for (u, i), number in numbers.items():
        if np.isfinite(values[u, i]):
            style, weight = ("italic", "bold") if is_blank[u, i] else ("normal", "normal")
            text = ax.text(
                i, u, number, ha="center", va="center", fontsize=size, fontstyle=style,
                fontweight=weight, color="white" if luminance[u, i] < 0.46 else "black",
            )  # fmt: skip
            text.set_in_layout(False)  # it stays inside: no need to measure hundreds of numbers


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


def _names(
    ids: pd.Series[Any] | npt.NDArray[Any], titles: Titles | None, longest: int = 40
) -> list[str]:
    """Titles, ids where there is none; long ones are cut."""
    keys = ids.tolist()
    names = [name or str(key) for key, name in zip(keys, names_of(keys, titles), strict=True)]
    return [name if len(name) <= longest else name[: longest - 3] + "..." for name in names]


def _bars(ax: Axes, table: pd.DataFrame, side: str, column: str, titles: Titles | None) -> None:
    """Bars across, the highest on top; what is at both ends is drawn once."""
    rows = table.drop_duplicates(f"{side}_id").sort_values(column, kind="stable")
    color = [_LIGHT if end == "lowest" else _DARK for end in rows["end"]]
    place = np.arange(len(rows))
    ax.barh(place, rows[column], color=color)
    ax.margins(y=0.02)
    ax.set_yticks(place, labels=_names(rows[f"{side}_id"], titles))
    ax.axvline(0, color="black", linewidth=0.8)


def _label(
    ax: Axes,
    x: FloatArray,
    y: FloatArray,
    names: list[str],
    order: IntArray,
) -> None:
    """Write names beside points: at the first free place, or not at all."""
    ax.figure.canvas.figure.draw_without_rendering()  # lays the axes out, so that places are known
    points = ax.transData.transform(np.column_stack((x, y)))
    taken: list[BboxBase] = []
    for k in order.tolist():
        others = np.arange(len(points)) != k
        text = ax.annotate(names[k], (x[k], y[k]), (0, 0), textcoords="offset points", fontsize=8)
        text.set_in_layout(False)  # so that the axes stay where they were measured
        for dx, dy, ha, va in _PLACES:
            text.set(position=(dx, dy), horizontalalignment=ha, verticalalignment=va)
            box = text.get_window_extent()
            inside = ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
            covers = box.count_overlaps(taken) or box.padded(4).count_contains(points[others])
            if inside and not covers:
                taken.append(box)
                break
        else:
            text.remove()
