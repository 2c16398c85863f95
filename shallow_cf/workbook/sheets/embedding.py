"""The sheet `embedding`: the same as `one_hot` by look-ups, which is what an embedding is.

Multiplying by a one-hot vector picks one row of a matrix. MATCH finds the row's number and
INDEX picks it, without all the products with 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.layout import Block
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.source import Source

_TEXTS = (
    "Look-ups: an embedding is a one-hot product done cheaply",
    "A rating a row. MATCH finds the number of the user's row, INDEX picks that row of the user "
    "embeddings; the same for the movie.",
    "Type another id that the sheet {sheet} has into a grey cell, and its rating, embeddings and "
    "prediction follow.",
)


@dataclass(frozen=True)
class EmbeddingLayout:
    """The columns of the table, with a row for each rating."""

    ids: Block
    rating: Block
    positions: Block
    user_embedding: Block
    item_embedding: Block
    prediction: Block
    squared_error: Block
    title: Block | None = None


def layout_for(source: Source) -> EmbeddingLayout:
    """Columns side by side from A; titles, where there are any, last."""
    n_numbers = source.parameters.n_factors + source.layout.has_bias
    widths = [2, 1, 2, n_numbers, n_numbers, 1, 1, *([1] if source.titles else [])]
    return EmbeddingLayout(*rows.side_by_side(source.ratings.n_ratings, widths))


def draw(source: Source) -> Canvas:
    """Draw the sheet."""
    canvas, places = Canvas("embedding"), layout_for(source)
    rows.head(canvas, source, _TEXTS, places.squared_error, source.rmse)
    _headers(canvas, source, places)
    for n, (u, i) in enumerate(source.pairs()):
        rows.ids(canvas, source, places.ids, n, u, i)
        _positions(canvas, places, source, n, (u, i))
        _looked_up(canvas, places, source, n, (u, i))
        rows.prediction_and_error(
            canvas, source, n, u, i, places.rating,
            (places.user_embedding, places.item_embedding),
            (places.prediction, places.squared_error),
        )  # fmt: skip
    return canvas


def _headers(canvas: Canvas, source: Source, places: EmbeddingLayout) -> None:
    canvas.put(rows.HEADER - 1, places.positions.column, "number in its list", "subheading")
    rows.embedding_headers(canvas, source, places.user_embedding, "user embedding")
    rows.embedding_headers(canvas, source, places.item_embedding, "movie embedding")
    rows.headers(canvas, {
        "userId, movieId": places.ids, "rating": places.rating, "user, movie": places.positions,
        "prediction": places.prediction, "error²": places.squared_error,
    })  # fmt: skip
    if places.title is not None:
        rows.headers(canvas, {"title": places.title})
        canvas.width([places.title.column], 34)


def _positions(
    canvas: Canvas, places: EmbeddingLayout, source: Source, n: int, here: tuple[int, int]
) -> None:
    for c, labels in enumerate((source.users, source.items)):
        lookup = labels.position(rows.in_row(places.ids, n, c))
        column = places.positions.column_block(c)
        canvas.formula(column.row + n, column.column, f"={lookup}", here[c] + 1.0, "count", column)


def _looked_up(
    canvas: Canvas, places: EmbeddingLayout, source: Source, n: int, here: tuple[int, int]
) -> None:
    """The rating, both embeddings and the title at the positions found."""
    layout, (u, i) = source.layout, here
    row = places.rating.row + n
    user, item = (rows.in_row(places.positions, n, c) for c in (0, 1))
    rating = rows.looked_up(source.range(layout.ratings), user, item)
    stars = float(source.rating_table[u, i])
    formula = f'=IF({rating}="","",{rating})'
    canvas.formula(row, places.rating.column, formula, stars, "rating", places.rating)
    p, q = source.embeddings
    for k, (column, value) in enumerate(zip(source.user_columns, p[u].tolist(), strict=True)):
        block = places.user_embedding.column_block(k)
        formula = f"={rows.looked_up(column, user)}"
        canvas.formula(row, block.column, formula, value, "user embedding", block)
    for k, (line, value) in enumerate(zip(source.item_rows, q[i].tolist(), strict=True)):
        block = places.item_embedding.column_block(k)
        formula = f"={rows.looked_up(line, '1', item)}"
        canvas.formula(row, block.column, formula, value, "item embedding", block)
    if places.title is not None and layout.item_titles is not None and source.titles is not None:
        formula = f"={rows.looked_up(source.range(layout.item_titles), '1', item)}"
        canvas.formula(row, places.title.column, formula, source.titles[i], "beside", places.title)
