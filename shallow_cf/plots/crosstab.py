"""The table of ratings, its predictions and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shallow_cf._checks import check_choice
from shallow_cf._using import Titles
from shallow_cf.evaluation.errors import Predictor
from shallow_cf.parameters import FloatArray
from shallow_cf.plots._axes import DARK, LIGHT, axes_for, names_for
from shallow_cf.ratings import Ratings, check_ratings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a crosstab may show, its title and how its numbers are written.
_SHOWN = {
    "ratings": ("Ratings, stars (hatched: not rated)", "g"),
    "predictions": ("Predictions, stars (framed: not rated)", ".1f"),
    "errors": ("Prediction minus rating, stars (hatched: not rated)", "+.1f"),
}

_ZEROS = {"-0.0": "0.0", "+0.0": "0.0"}  # a 0 has no sign

#: Lines across the cells without a number: light enough to read past, darker than one star.
_HATCH = "#b8b8b8"

#: The most users or items of a crosstab that can be read.
_MOST = 30


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
        Stars, hatched where there is no rating; predictions of all cells, those without a
        rating in a dashed frame and bold italics; or prediction minus rating, blue where it is
        too low and orange where it is too high, hatched where there is no rating.
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
    >>> ax = plots.plot_crosstab(ratings, ax=one)
    >>> len(ax.texts), len(ax.patches)  # a number a rating, a hatched cell a blank
    (206, 19)
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
    columns = names_for(ratings.item_ids, titles, 25)
    values = stars if model is None or show == "ratings" else _predictions(ratings, model)
    values = values - stars if show == "errors" else values
    ax = axes_for(ax, 2 + 0.45 * ratings.n_items, 2 + 0.33 * ratings.n_users)
    colors = _heat(ax, values, stars, centred=show == "errors")
    _label_table(ax, ratings, columns)
    title, form = _SHOWN[show]
    ax.set_title(title, pad=10)
    is_blank = np.isnan(stars)
    if show == "predictions":
        _mark(ax, is_blank, 0.84, ec=LIGHT, lw=1.5, ls="--")
    else:
        _mark(ax, is_blank, 1, ec=_HATCH, lw=0, hatch="////")
    _write_numbers(ax, values, colors, is_blank, form)
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
        low, ends = -high, [DARK, "white", LIGHT]
    else:  # what is predicted outside the ratings' range gets the color of its edge
        low, high = float(np.nanmin(stars)), float(np.nanmax(stars))
        low, ends = min(low, high - 1), ["#eef3fa", DARK]
    scale = LinearSegmentedColormap.from_list("stars", ends)
    image = ax.imshow(values, cmap=scale, vmin=low, vmax=high, aspect="auto")
    return np.asarray(image.to_rgba(np.ma.masked_invalid(values)))


def _label_table(ax: Axes, ratings: Ratings, columns: list[str]) -> None:
    """Users at the left, items above, white lines between the cells."""
    n_users, n_items = ratings.n_users, ratings.n_items
    ax.set_yticks(np.arange(n_users), names_for(ratings.user_ids, None, 20), fontsize=8)
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


def _mark(ax: Axes, is_blank: npt.NDArray[np.bool_], size: float, **look: Any) -> None:
    """Rectangles in cells, of a share of their width and height."""
    from matplotlib.patches import Rectangle

    for u, i in np.argwhere(is_blank).tolist():
        corner = (i - size / 2, u - size / 2)
        ax.add_patch(Rectangle(corner, size, size, fill=False, **look))


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
