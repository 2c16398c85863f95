"""The sheet `sgd`: one epoch of stochastic gradient descent, a rating a row.

Each row takes the two embeddings as the rows above it left them, predicts, and moves
both against the slope of half the squared error: equations (4a) to (4d) of
`shallow_cf.objective` for a single rating. It is what `shallow_cf.solvers.sgd` does with
``batch_size=1`` and ``shuffle=False``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.layout import Block
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source

_FIRST_LEARNING_RATE, _HALVINGS = 0.05, 20
_TEXTS = (
    "Stochastic gradient descent: an epoch, rating by rating",
    "A row takes both embeddings as they are by then (coloured: from {sheet}, white: from a row "
    "above), predicts, and moves them: new = old - learning rate x error x the other's old.",
    "Change the yellow learning rate and watch the RMSE at the end. For another epoch copy the "
    "embeddings at the far right and paste them as values on {sheet} (the movies' transposed).",
)


@dataclass(frozen=True)
class SGDLayout:
    """The columns of the table, a row a rating; right of it the embeddings at the end."""

    ids: Block
    rating: Block
    user_before: Block
    item_before: Block
    prediction: Block
    error: Block
    user_gradient: Block
    item_gradient: Block
    user_after: Block
    item_after: Block
    last_prediction: Block
    squared_error: Block
    user_end: Block
    item_end: Block
    learning_rate: Block
    rmse_before: Block


def layout_for(source: Source) -> SGDLayout:
    """Columns side by side from A; after a free column the embeddings at the end."""
    ratings = source.ratings
    k = source.parameters.n_factors + source.layout.has_bias
    blocks = rows.side_by_side(ratings.n_ratings, (2, 1, k, k, 1, 1, k, k, k, k, 1, 1))
    column = blocks[-1].last_column + 2
    user_end = Block(rows.FIRST, column + 1, ratings.n_users, k)
    item_end = Block(rows.FIRST, column + k + 3, ratings.n_items, k)
    blocks += [user_end, item_end, Block(5, 2), Block(4, 8)]
    return SGDLayout(*blocks)


def draw(source: Source, inputs: Inputs) -> Canvas:
    """Draw the sheet."""
    canvas, places = Canvas("sgd"), layout_for(source)
    rate = inputs.learning_rate
    steps = epoch(source, rate) if rate else suitable_epoch(source)
    rows.head(canvas, source, _TEXTS, places.squared_error, steps.rmse, "RMSE after")
    _head(canvas, source, places, steps.learning_rate)
    _headers(canvas, source, places)
    last_row_of: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for n, (u, i) in enumerate(source.pairs()):
        rows.ids(canvas, source, places.ids, n, u, i)
        rows.rating(canvas, source, places.rating, n, u, i)
        _before(canvas, source, places, steps, n, (u, i), last_row_of)
        _step(canvas, source, places, steps, n)
        last_row_of[0][u], last_row_of[1][i] = n, n
        _at_the_end(canvas, source, places, steps, n, (u, i))
    _ends(canvas, source, places, steps, last_row_of)
    return canvas


@dataclass(frozen=True)
class Epoch:
    """What every row of the epoch sees and does; users first, then items.

    Attributes
    ----------
    learning_rate : float
    before, gradient, after : pairs of (n_ratings, numbers) arrays
    prediction, error : (n_ratings,) arrays, stars
    ends : pair of arrays, (n_users, numbers) and (n_items, numbers)
    last_prediction : (n_ratings,) array
        Stars predicted with the embeddings at the end.
    rmse : float
        Of those, stars.
    """

    learning_rate: float
    before: tuple[FloatArray, FloatArray]
    gradient: tuple[FloatArray, FloatArray]
    after: tuple[FloatArray, FloatArray]
    prediction: FloatArray
    error: FloatArray
    ends: tuple[FloatArray, FloatArray]
    last_prediction: FloatArray
    rmse: float


def suitable_epoch(source: Source) -> Epoch:
    """An epoch with the largest learning rate of 0.05, 0.025, ... that does not go astray.

    Astray means: to an RMSE above that of the start and above the spread of the ratings.
    """
    bound = max(source.rmse, float(np.std(source.ratings.rating, dtype=np.float64)))
    learning_rate = _FIRST_LEARNING_RATE
    for _ in range(_HALVINGS):
        steps = epoch(source, learning_rate)
        if steps.rmse <= bound:  # not so for NaN
            return steps
        learning_rate /= 2
    return epoch(source, learning_rate)


@np.errstate(over="ignore", invalid="ignore")
def epoch(source: Source, learning_rate: float) -> Epoch:
    """Go once through the ratings, one at a time, keeping every number on the way."""
    ratings, k = source.ratings, source.parameters.n_factors
    p, q = (block.copy() for block in source.embeddings)
    shape = (ratings.n_ratings, p.shape[1])
    before, gradient, after = ((np.empty(shape), np.empty(shape)) for _ in range(3))
    prediction, error = np.empty(ratings.n_ratings), np.empty(ratings.n_ratings)
    for n, (u, i) in enumerate(source.pairs()):
        before[0][n], before[1][n] = p[u], q[i]
        prediction[n] = _predict(p[u], q[i], k)  # (1)
        error[n] = e = prediction[n] - ratings.rating[n]  # (2)
        gradient[0][n], gradient[1][n] = e * q[i], e * p[u]  # (4a), (4b)
        gradient[0][n, k:] = gradient[1][n, k:] = e  # (4c), (4d)
        p[u] -= learning_rate * gradient[0][n]
        q[i] -= learning_rate * gradient[1][n]
        after[0][n], after[1][n] = p[u], q[i]
    last = np.array([_predict(p[u], q[i], k) for u, i in source.pairs()])
    e_end = last - ratings.rating
    rmse = float(np.sqrt(e_end @ e_end / len(last)))  # (3b)
    ends = p, q
    return Epoch(learning_rate, before, gradient, after, prediction, error, ends, last, rmse)


def _predict(p: FloatArray, q: FloatArray, k: int) -> float:
    """Equation (1) for numbers of which those after the first k are biases."""
    return float(p[:k] @ q[:k] + p[k:].sum() + q[k:].sum())  # (1)


def _head(canvas: Canvas, source: Source, places: SGDLayout, learning_rate: float) -> None:
    canvas.label(places.learning_rate.row, 1, "learning rate")
    canvas.put(places.learning_rate.row, places.learning_rate.column, learning_rate, "input")
    row, column = places.rmse_before.row, places.rmse_before.column
    canvas.put(row, column - 2, "RMSE before:")
    canvas.formula(row, column, f"={source.cell(source.loss)}", source.rmse, "loss")


def _headers(canvas: Canvas, source: Source, places: SGDLayout) -> None:
    rows.headers(canvas, {
        "userId, movieId": places.ids, "rating": places.rating,
        "prediction": places.prediction, "error": places.error,
        "at the end": places.last_prediction, "error²": places.squared_error,
    })  # fmt: skip
    for block, text in (
        (places.user_before, "user embedding before"),
        (places.item_before, "movie embedding before"),
        (places.user_gradient, "slope: error x movie's numbers"),
        (places.item_gradient, "slope: error x user's numbers"),
        (places.user_after, "user embedding after"),
        (places.item_after, "movie embedding after"),
        (places.user_end, "users at the end of the epoch"),
        (places.item_end, "movies at the end of the epoch"),
    ):
        rows.embedding_headers(canvas, source, block, text)


def _before(
    canvas: Canvas,
    source: Source,
    places: SGDLayout,
    steps: Epoch,
    n: int,
    here: tuple[int, int],
    last_row_of: tuple[dict[int, int], dict[int, int]],
) -> None:
    """The embeddings as the last row with this user, and the last with this movie, left them."""
    starts = rows.number_cells(source, *here)
    sides = (places.user_before, places.user_after), (places.item_before, places.item_after)
    for side, (block, after) in enumerate(sides):
        last = last_row_of[side].get(here[side])
        style = ("user embedding", "item embedding")[side] if last is None else "number"
        for c, link in enumerate(_left_by(last, after, starts[side])):
            value = float(steps.before[side][n, c])
            canvas.formula(block.row + n, block.column + c, f"={link}", value, style)


def _left_by(last: int | None, after: Block, starts: list[str]) -> list[str]:
    """Where an embedding stands as the last row that moved it left it, or as it started."""
    return starts if last is None else after.row_block(last).addresses()[0]


def _step(canvas: Canvas, source: Source, places: SGDLayout, steps: Epoch, n: int) -> None:
    """Prediction, error, slopes, and the embeddings moved against them."""
    row, k = places.rating.row + n, source.parameters.n_factors
    formula = f"={rows.predicted(source, n, places.user_before, places.item_before)}"  # (1)
    prediction = float(steps.prediction[n])
    place = places.prediction
    canvas.formula(row, place.column, formula, prediction, "prediction", place)
    r, r_hat, e = (rows.in_row(b, n, 0) for b in (places.rating, places.prediction, places.error))
    # A rating that was cleared makes no step.
    error = float(steps.error[n])
    formula = f'=IF({r}="",0,{r_hat}-{r})'
    canvas.formula(row, places.error.column, formula, error, "residual", places.error)
    eta = places.learning_rate.cell(fixed=True)
    sides = (
        (places.user_before, places.item_before, places.user_gradient, places.user_after),
        (places.item_before, places.user_before, places.item_gradient, places.item_after),
    )
    for side, (own, other, slope, after) in enumerate(sides):
        kind = ("user", "item")[side]
        for c in range(own.n_columns):
            factor = f"*{other.cell(n, c)}" if c < k else ""
            value = float(steps.gradient[side][n, c])
            block = slope.column_block(c)
            formula = f"={e}{factor}"  # (4a)-(4d)
            canvas.formula(row, block.column, formula, value, f"{kind} gradient", block)
            step = f"={own.cell(n, c)}-{eta}*{slope.cell(n, c)}"
            value = float(steps.after[side][n, c])
            canvas.formula(row, after.column + c, step, value, f"{kind} embedding", after)


def _at_the_end(
    canvas: Canvas, source: Source, places: SGDLayout, steps: Epoch, n: int, here: tuple[int, int]
) -> None:
    """The prediction for row n with the embeddings at the end, and its squared error."""
    row, (u, i) = places.rating.row + n, here
    users = Block(places.user_end.row + u - n, places.user_end.column, 1, places.user_end.n_columns)
    items = Block(places.item_end.row + i - n, places.item_end.column, 1, places.item_end.n_columns)
    formula = f"={rows.predicted(source, n, users, items)}"
    value = float(steps.last_prediction[n])
    canvas.formula(row, places.last_prediction.column, formula, value, "prediction")
    e = value - float(source.ratings.rating[n])
    rows.squared_error(canvas, n, e, places.rating, places.last_prediction, places.squared_error)


def _ends(
    canvas: Canvas,
    source: Source,
    places: SGDLayout,
    steps: Epoch,
    last_row_of: tuple[dict[int, int], dict[int, int]],
) -> None:
    """Every embedding as the epoch leaves it: unmoved where a user or movie has no rating."""
    sides = (
        (places.user_end, places.user_after, source.link_user, "user embedding"),
        (places.item_end, places.item_after, source.link_item, "item embedding"),
    )
    for side, (block, after, link_label, style) in enumerate(sides):
        for index in range(block.n_rows):
            link_label(canvas, block.row + index, block.column - 1, index)
            last = last_row_of[side].get(index)
            here = (index, 0) if side == 0 else (0, index)
            starts = rows.number_cells(source, *here)[side]
            for c, link in enumerate(_left_by(last, after, starts)):
                value = float(steps.ends[side][index, c])
                canvas.formula(block.row + index, block.column + c, f"={link}", value, style)
