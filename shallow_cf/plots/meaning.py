"""What was learned about items and users: a map, biases, ends of factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shallow_cf._using import Titles, Using
from shallow_cf.parameters import FloatArray, IntArray
from shallow_cf.plots._axes import DARK, LIGHT, axes_for, names_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import BboxBase

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
    ax = axes_for(ax, 9, 7)
    items = found.items
    x = items[f"component {across}"].to_numpy(float)
    y = items[f"component {up}"].to_numpy(float)
    ax.scatter(x, y, s=18, color=DARK)
    names = names_for(items["item_id"], titles)
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
    ax = axes_for(ax, 8, 2 + 0.26 * len(table))
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
    ax = axes_for(ax, 8, 2 + 0.26 * len(table))
    _bars(ax, table, "item", "value", titles)
    ax.set_xlabel(name)
    ax.set_title(f"Items at both ends of {name}")
    return ax


def _bars(ax: Axes, table: pd.DataFrame, side: str, column: str, titles: Titles | None) -> None:
    """Bars across, the highest on top; what is at both ends is drawn once."""
    rows = table.drop_duplicates(f"{side}_id").sort_values(column, kind="stable")
    color = [LIGHT if end == "lowest" else DARK for end in rows["end"]]
    place = np.arange(len(rows))
    ax.barh(place, rows[column], color=color)
    ax.margins(y=0.02)
    ax.set_yticks(place, labels=names_for(rows[f"{side}_id"], titles))
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
