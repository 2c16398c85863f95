"""The sheet `gradients`: the slope of the loss along every embedding number.

The sheet has the shape of the crosstab sheet: the derivative with respect to a number
stands at the address where that number stands over there. In place of the ratings are
the residuals, E; the slopes are E Q and E^T P over n times RMSE, equation (5) of
`shallow_cf.objective`, written out as sums of products. Below, for a user and a movie
that the reader picks, each slope is compared with a finite difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from shallow_cf import objective
from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas, Choice, Content, Scale
from shallow_cf.workbook.layout import Block
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source

_NOTES = (
    "Where {sheet} has a rating, here is the residual: prediction minus rating (a dot where "
    "nothing is rated).",
    "Where {sheet} has an embedding number, here is the slope of the RMSE along it: residuals "
    "times the other side's embeddings, added up, over n x RMSE.",
    "Downhill is against the slope: number - learning rate x slope. At the bottom all slopes "
    "are 0.",
    "The tables change one number by h up and down, as Solver does, and compare: yellow cells "
    "are yours to change.",
)  # fmt: skip
_Place = tuple[str, str]
_CHECK_COLUMNS = ("number", "RMSE +h", "RMSE -h", "estimate", "slope", "difference")


@dataclass(frozen=True)
class GradientsLayout:
    """Places that the crosstab sheet does not have; all else stands where it stands there.

    Attributes
    ----------
    user_residuals, user_rated : Block, (1, n_items)
        Of the chosen user, below the table of residuals.
    item_residuals, item_rated : Block, (n_users, 1)
        Of the chosen movie, to its right.
    n_ratings, rmse, scale, step, user, item, user_number, item_number : Block of one cell
    user_check, item_check : Block, (numbers of an embedding, columns of the comparison)
    notes : Block of one cell
    """

    user_residuals: Block
    user_rated: Block
    item_residuals: Block
    item_rated: Block
    n_ratings: Block
    rmse: Block
    scale: Block
    step: Block
    user: Block
    user_number: Block
    item: Block
    item_number: Block
    user_check: Block
    item_check: Block
    notes: Block


def layout_for(source: Source) -> GradientsLayout:
    """The comparison stands where the crosstab sheet has its predictions."""
    layout = source.layout
    table, top, column = layout.ratings, layout.predictions.row, layout.predictions.column
    n_numbers = layout.n_factors + layout.has_bias
    below = [Block(table.last_row + k, table.column, 1, layout.n_items) for k in (1, 2)]
    right = [Block(table.row, table.last_column + k, layout.n_users, 1) for k in (1, 2)]
    scalars = [Block(top + k, column + 2) for k in range(8)]
    first = top + len(scalars) + 2
    checks = [
        Block(first + k * (n_numbers + 2), column + 1, n_numbers, len(_CHECK_COLUMNS))
        for k in (0, 1)
    ]
    notes_row = max(checks[1].last_row, layout.user_factors.last_row) + 2
    blocks = [*below, *right, *scalars, *checks, Block(notes_row, 2)]
    return GradientsLayout(*blocks)


def draw(source: Source, inputs: Inputs) -> Canvas:
    """Draw the sheet."""
    canvas, places = Canvas("gradients", one_page=True), layout_for(source)
    _labels(canvas, source)
    _residuals(canvas, source)
    _scalars(canvas, source, places, inputs)
    _slopes(canvas, source, places)
    _chosen(canvas, source, places, inputs)
    _checks(canvas, source, places, inputs)
    canvas.lines(
        places.notes.row, places.notes.column, (text.format(sheet=source.sheet) for text in _NOTES)
    )
    _view(canvas, source, places)
    return canvas


def _labels(canvas: Canvas, source: Source) -> None:
    layout = source.layout
    label_column = layout.user_ids.column
    for u in range(layout.n_users):
        for row in (layout.user_ids.row + u, layout.user_factors.row + u):
            source.link_user(canvas, row, label_column, u)
    for i in range(layout.n_items):
        source.link_item(canvas, layout.item_ids.row, layout.item_ids.column + i, i)
    source.label_numbers(canvas)
    canvas.label(1, label_column, "movieId")


def _residuals(canvas: Canvas, source: Source) -> None:
    """E: equation (2) in rated cells, 0 in the others."""
    layout = source.layout
    for u in range(layout.n_users):
        for i in range(layout.n_items):
            rating, prediction = (
                source.prefix + block.cell(u, i) for block in (layout.ratings, layout.predictions)
            )
            formula = f'=IF({rating}="",0,{prediction}-{rating})'  # (2)
            row, column = layout.ratings.row + u, layout.ratings.column + i
            canvas.formula(row, column, formula, float(source.residual[u, i]), "residual")


def _scalars(canvas: Canvas, source: Source, places: GradientsLayout, inputs: Inputs) -> None:
    layout, ratings = source.layout, source.ratings
    n, rmse = places.n_ratings.cell(), places.rmse.cell()
    user = source.users.position(places.user.cell())
    item = source.items.position(places.item.cell())
    count = f"=COUNT({source.range(layout.ratings)})"
    chosen = source.user_labels[inputs.user], source.item_labels[inputs.item]
    for text, place, content, formula, style in (
        ("n: ratings", places.n_ratings, float(ratings.n_ratings), count, "count"),
        ("RMSE", places.rmse, source.rmse, f"={source.cell(source.loss)}", "loss"),
        ("n x RMSE", places.scale, ratings.n_ratings * source.rmse, f"={n}*{rmse}", "number"),
        ("h", places.step, inputs.step, None, "input"),
        ("user", places.user, chosen[0], None, "input"),
        ("... its row", places.user_number, inputs.user + 1.0, f"={user}", "count"),
        ("movie", places.item, chosen[1], None, "input"),
        ("... its column", places.item_number, inputs.item + 1.0, f"={item}", "count"),
    ):
        canvas.put(place.row, place.column - 2, text)
        if formula is None:
            canvas.put(place.row, place.column, content, style)
        else:
            canvas.formula(place.row, place.column, formula, content, style)
    canvas.choices += [
        Choice(places.user.cell(), "list", source.users.cells, "User", "One of the user ids."),
        Choice(places.item.cell(), "list", source.items.cells, "Movie", "One of the movie ids."),
    ]  # fmt: skip


def _slopes(canvas: Canvas, source: Source, places: GradientsLayout) -> None:
    """Equation (5), number by number: a row or column of E times one of Q or P."""
    layout, table = source.layout, source.layout.ratings
    gradient, scale = source.rmse_gradient, places.scale.cell(fixed=True)

    def write(block: Block, r: int, c: int, total: str, value: float, style: str) -> None:
        formula = f"=IF({scale}=0,0,{total}/{scale})"  # (5)
        canvas.formula(block.row + r, block.column + c, formula, value, style)

    for k in range(layout.n_factors):
        q_k = source.range(layout.item_factors.row_block(k))
        p_k = source.range(layout.user_factors.column_block(k))
        for u in range(layout.n_users):
            total = f"SUMPRODUCT({table.row_block(u).range()},{q_k})"  # (4a)
            value = float(gradient.user_factors[u, k])
            write(layout.user_factors, u, k, total, value, "user gradient")
        for i in range(layout.n_items):
            total = f"SUMPRODUCT({table.column_block(i).range()},{p_k})"  # (4b)
            value = float(gradient.item_factors[i, k])
            write(layout.item_factors, k, i, total, value, "item gradient")
    if layout.bias_blocks is None or gradient.biases is None:
        return
    (users, items), (bu, bi) = layout.bias_blocks, gradient.biases
    for u in range(layout.n_users):
        total = f"SUM({table.row_block(u).range()})"  # (4c)
        write(users, u, 0, total, float(bu[u]), "user gradient")
    for i in range(layout.n_items):
        total = f"SUM({table.column_block(i).range()})"  # (4d)
        write(items, 0, i, total, float(bi[i]), "item gradient")


def _chosen(canvas: Canvas, source: Source, places: GradientsLayout, inputs: Inputs) -> None:
    """The residuals of the chosen user and of the chosen movie, and which of them count."""
    layout = source.layout
    table, rated = layout.ratings, ~np.isnan(source.rating_table)
    user, item = _user_in_column(places), _item_in_row(places)
    label_column = layout.user_ids.column
    canvas.label(places.user_residuals.row, label_column, "chosen user")
    canvas.label(places.user_rated.row, label_column, "rated?")
    canvas.label(1, places.item_residuals.column, "chosen")
    canvas.label(1, places.item_rated.column, "rated?")

    def write(
        residuals: Block, flags: Block, place: tuple[int, int], number: _Place, line: Block,
        e: float, is_rated: bool,
    ) -> None:  # fmt: skip
        r, c = place
        here = f"={rows.looked_up(line.range(), *number)}"
        canvas.formula(residuals.row + r, residuals.column + c, here, e, "residual")
        there = f'=IF({rows.looked_up(source.range(line), *number)}="",0,1)'
        canvas.formula(flags.row + r, flags.column + c, there, float(is_rated), "one hot")

    for i in range(layout.n_items):
        u, line = inputs.user, table.column_block(i)
        write(places.user_residuals, places.user_rated, (0, i), user, line,
              float(source.residual[u, i]), bool(rated[u, i]))  # fmt: skip
    for u in range(layout.n_users):
        i, line = inputs.item, table.row_block(u)
        write(places.item_residuals, places.item_rated, (u, 0), item, line,
              float(source.residual[u, i]), bool(rated[u, i]))  # fmt: skip


def _user_in_column(places: GradientsLayout) -> _Place:
    """Where the chosen user stands in a column: row, column."""
    return places.user_number.cell(fixed=True), "1"


def _item_in_row(places: GradientsLayout) -> _Place:
    """Where the chosen movie stands in a row: row, column."""
    return "1", places.item_number.cell(fixed=True)


class _Side(NamedTuple):
    """One of the two comparisons: of the chosen user's numbers or of the chosen movie's."""

    heading: str
    check: Block
    residuals: Block
    rated: Block
    line_index: _Place
    own: list[Block]  # where the numbers stand, a block for each factor, the bias last
    other: list[str]  # what each is multiplied with in a prediction
    places: list[int]  # in theta


def _checks(canvas: Canvas, source: Source, places: GradientsLayout, inputs: Inputs) -> None:
    step = places.step.cell(fixed=True)
    theta, slopes = source.parameters.pack(), source.rmse_gradient.pack()
    for side in _sides(source, places, inputs):
        header = side.check.row - 1
        canvas.put(header, side.check.column - 1, side.heading, "subheading")
        for c, text in enumerate(_CHECK_COLUMNS):
            canvas.label(header, side.check.column + c, text)
        for k, (name, place) in enumerate(zip(source.number_names, side.places, strict=True)):
            row = side.check.row + k
            canvas.label(row, side.check.column - 1, name)
            ahead, behind = _moved(source, theta, place, inputs.step)
            estimate = (ahead - behind) / (2 * inputs.step)
            up, down, guess, slope = side.check.row_block(k).addresses()[0][1:5]
            formulas = (
                f"={rows.looked_up(source.range(side.own[k]), *side.line_index)}",
                _rmse_moved(places, side, k, f"+{step}"),
                _rmse_moved(places, side, k, f"-{step}"),
                f"=({up}-{down})/(2*{step})",
                f"={rows.looked_up(side.own[k].range(), *side.line_index)}",
                f"={guess}-{slope}",
            )
            results: list[Content] = [
                float(theta[place]), ahead, behind, estimate, float(slopes[place]),
                estimate - float(slopes[place]),
            ]  # fmt: skip
            styles = ("number",) * 5 + ("difference",)
            for c, written in enumerate(zip(formulas, results, styles, strict=True)):
                canvas.formula(row, side.check.column + c, *written)


def _sides(source: Source, places: GradientsLayout, inputs: Inputs) -> list[_Side]:
    layout, index = source.layout, source.parameters.places()
    p = [layout.user_factors.column_block(k) for k in range(layout.n_factors)]
    q = [layout.item_factors.row_block(k) for k in range(layout.n_factors)]
    of_user = index["user_factors"][inputs.user].tolist()
    of_item = index["item_factors"][inputs.item].tolist()
    other_of_user, other_of_item = ([source.range(block) for block in side] for side in (q, p))
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        p, q = [*p, users], [*q, items]
        of_user.append(int(index["user_bias"][inputs.user]))
        of_item.append(int(index["item_bias"][inputs.item]))
        other_of_user.append("1")
        other_of_item.append("1")
    return [
        _Side("user", places.user_check, places.user_residuals, places.user_rated,
              _user_in_column(places), p, other_of_user, of_user),
        _Side("movie", places.item_check, places.item_residuals, places.item_rated,
              _item_in_row(places), q, other_of_item, of_item),
    ]  # fmt: skip


def _rmse_moved(places: GradientsLayout, side: _Side, k: int, step: str) -> str:
    """The RMSE with one number moved: only the chosen line's residuals change."""
    n, rmse = places.n_ratings.cell(fixed=True), places.rmse.cell(fixed=True)
    e, rated = side.residuals.range(fixed=True), side.rated.range(fixed=True)
    changed = f"SUMPRODUCT({rated},({e}{step}*{side.other[k]})^2-{e}^2)"
    return f"=SQRT(({n}*{rmse}^2+{changed})/{n})"  # (3b)


def _moved(source: Source, theta: FloatArray, place: int, step: float) -> tuple[float, float]:
    """The RMSE with one number of theta moved ahead and back."""

    def rmse(by: float) -> float:
        there = theta.copy()
        there[place] += by
        return objective.rmse(source.ratings, source.parameters.unpack(there))

    return rmse(step), rmse(-step)


def _view(canvas: Canvas, source: Source, places: GradientsLayout) -> None:
    layout = source.layout
    canvas.width(range(1, layout.user_ids.column), 8.5)
    canvas.width([layout.user_ids.column], 12)
    last = max(layout.ratings.last_column, places.user_check.last_column)
    canvas.width(range(layout.ratings.column, last + 1), 9)
    canvas.freeze = layout.ratings.cell()
    slopes: list[Block] = [layout.user_factors, layout.item_factors, *(layout.bias_blocks or ())]
    canvas.scales += [Scale(block.range(), "sign") for block in (layout.ratings, *slopes)]
