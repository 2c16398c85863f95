"""The sheets `dotprod` and `bias`: the crosstab, the embeddings, the predictions, the loss."""

from __future__ import annotations

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas, Choice, Scale
from shallow_cf.workbook.layout import Block, Layout
from shallow_cf.workbook.sheets.source import Source

#: The lesson's ratings: half a star to five, in halves.
_LOWEST, _HIGHEST = 0.5, 5.0


def draw(source: Source) -> Canvas:
    """Draw the sheet that holds the model itself."""
    layout, parameters = source.layout, source.parameters
    canvas = Canvas(source.sheet, one_page=True, solver_names=source.solver_names)
    canvas.numbers(layout.ratings, source.rating_table, "rating")
    canvas.numbers(layout.item_factors, parameters.item_factors.T, "item embedding")
    canvas.numbers(layout.user_factors, parameters.user_factors, "user embedding")
    if layout.bias_blocks is not None and parameters.biases is not None:
        styles = "user embedding", "item embedding"
        for block, bias, style in zip(layout.bias_blocks, parameters.biases, styles, strict=True):
            canvas.numbers(block, bias, style)
    shown = layout.shown_predictions(source.ratings, parameters)
    for u in range(layout.n_users):
        for i in range(layout.n_items):
            row, column = layout.predictions.row + u, layout.predictions.column + i
            formula = layout.prediction_formula(u, i)
            canvas.formula(row, column, formula, float(shown[u, i]), "prediction")
    _labels(canvas, source)
    draw_errors(canvas, source)
    _notes(canvas, source)
    stars = stars_choice(layout.ratings, source.ratings.rating)
    canvas.choices += [] if stars is None else [stars]
    _view(canvas, source)
    return canvas


def _labels(canvas: Canvas, source: Source) -> None:
    """The ids around the ratings and once more around the predictions; titles; the factors."""
    layout = source.layout
    below = layout.predictions.row - layout.ratings.row
    for u, user in enumerate(source.ratings.user_ids.tolist()):
        for row in (layout.user_ids.row + u, layout.user_ids.row + u + below):
            canvas.label(row, layout.user_ids.column, user)
    for i, item in enumerate(source.ratings.item_ids.tolist()):
        for row in (layout.item_ids.row, layout.item_ids.row + below):
            canvas.label(row, layout.item_ids.column + i, item)
    if layout.item_titles is not None and source.titles is not None:
        for i, title in enumerate(source.titles):
            canvas.label(layout.item_titles.row, layout.item_titles.column + i, title, "title")
    canvas.label(1, layout.user_ids.column, "movieId")
    canvas.label(2, layout.user_ids.column - 1, "userId")
    source.label_numbers(canvas)


def draw_errors(canvas: Canvas, source: Source) -> None:
    """The loss, and beside the predictions the same for each user alone and each movie alone."""
    layout, loss = source.layout, source.loss
    canvas.label(loss.row, loss.column - 1, "RMSE")
    canvas.formula(loss.row, loss.column, layout.loss_formula(), source.rmse, "loss")
    ratings, predictions = layout.ratings, layout.predictions
    of_users, of_items = _error_blocks(layout)
    canvas.label(of_users.row - 1, of_users.column, "RMSE")
    canvas.label(of_items.row, layout.user_ids.column, "RMSE")
    by_user, by_item = _rmse_along(source, 1), _rmse_along(source, 0)
    for u, value in enumerate(by_user):
        formula = _rmse_of(ratings.row_block(u), predictions.row_block(u))
        canvas.formula(of_users.row + u, of_users.column, formula, _or_nothing(value), "error")
    for i, value in enumerate(by_item):
        formula = _rmse_of(ratings.column_block(i), predictions.column_block(i))
        canvas.formula(of_items.row, of_items.column + i, formula, _or_nothing(value), "error")


def _error_blocks(layout: Layout) -> tuple[Block, Block]:
    """Where the errors of users and of movies stand: right of the predictions and below them."""
    table = layout.predictions
    right = Block(table.row, table.last_column + 1, layout.n_users, 1)
    return right, Block(table.last_row + 1, table.column, 1, layout.n_items)


def _rmse_of(ratings: Block, predictions: Block) -> str:
    """The loss (3b) of one user or movie; nothing where there is no rating."""
    r, r_hat = ratings.range(), predictions.range()
    return f'=IF(COUNT({r})=0,"",SQRT(SUMXMY2({r},{r_hat})/COUNT({r})))'  # (3b)


def _rmse_along(source: Source, axis: int) -> FloatArray:
    idx = source.ratings.item_idx if axis == 0 else source.ratings.user_idx
    count = np.bincount(idx, minlength=source.residual.shape[1 - axis])
    with np.errstate(invalid="ignore", divide="ignore"):
        root: FloatArray = np.sqrt((source.residual**2).sum(axis=axis) / count)  # (3b)
    return np.where(count > 0, root, np.nan)


def _or_nothing(value: float) -> float | str:
    return "" if np.isnan(value) else float(value)


def _notes(canvas: Canvas, source: Source) -> None:
    """What the colours mean, what to do."""
    layout = source.layout
    row = canvas.extent[0] + 2
    biases = " + both biases" if layout.has_bias else ""
    for style, text in (
        (
            "rating",
            "blue, at the top: ratings, in stars; a blank cell does not count",
        ),
        ("item embedding", "green, below them: movie embeddings, a column for each movie"),
        ("user embedding", "orange, at the left: user embeddings, a row for each user"),
        (
            "prediction",
            "purple, between the two: predictions = user . movie embedding"
            f"{biases}, the darker the more stars; 0 where not rated",
        ),
        ("loss", "red, in the corner: the loss, root mean squared error over the rated cells"),
        (
            "error",
            "grey, at the edges: the same for one user or one movie, darker is worse",
        ),
    ):
        canvas.put(row, 2, None, style)
        canvas.put(row, 3, text, "beside")
        row += 1
    row = canvas.lines(
        row + 1,
        2,
        (
            "Green and orange start as random numbers; training turns them until red is small.",
            "In Excel: Data > Solver opens filled in (Min, GRG Nonlinear); press Solve.",
            "Without Excel: shallow-cf solve BOOK.xlsx -o SOLVED.xlsx",
        ),
    )
    if source.note is not None:
        canvas.put(row, 2, source.note, "warning")


def stars_choice(cells: Block, rating: FloatArray) -> Choice | None:
    """Only stars may be typed as ratings: halves, where the data has nothing else."""
    in_halves = np.all(rating * 2 == np.floor(rating * 2))
    if rating.min() < _LOWEST or rating.max() > _HIGHEST or not in_halves:
        return None  # another scale, of which we do not know the ends
    first = cells.cell()
    in_range = f"{first}>={_LOWEST:g},{first}<={_HIGHEST:g}"
    test = f"AND(ISNUMBER({first}),{in_range},{first}*2=INT({first}*2))"
    message = "0.5 to 5 stars in halves; or clear the cell: not rated."
    return Choice(cells.range(), "custom", test, "Stars", message)


def _view(canvas: Canvas, source: Source) -> None:
    layout = source.layout
    label_column = layout.user_ids.column
    canvas.width(range(1, label_column), 8.5)
    canvas.width([label_column], 11)
    canvas.width(range(layout.ratings.column, layout.ratings.last_column + 1), 7.5)
    canvas.width([layout.ratings.last_column], 10)  # for the loss
    if layout.item_titles is not None:
        canvas.heights[layout.item_titles.row] = 120
    canvas.freeze = layout.ratings.cell()
    rating = source.ratings.rating
    ends = float(rating.min()), float(rating.max())
    canvas.scales.append(Scale(layout.predictions.range(), "stars", ends))
    canvas.scales += [Scale(block.range(), "error") for block in _error_blocks(layout)]
