"""The sheet `one_hot`: an embedding as the product of a one-hot vector and a matrix.

A rating a row. The vector with a 1 at the user's place and 0 elsewhere, times the matrix
of user embeddings, gives that user's embedding; the same for the movie. So looking up an
embedding is a linear layer, which is how a neural network sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.layout import Block
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.source import Source

_TEXTS = (
    "One-hot vectors: an embedding is a matrix product",
    "A rating a row. One-hot user vector x user embeddings = that user's embedding; the same for "
    "the movie.",
    "The dot product of the two is the prediction: the same numbers, and the same loss, as on the "
    "sheet {sheet}.",
)


@dataclass(frozen=True)
class OneHotLayout:
    """The columns of the table, with a row for each rating."""

    ids: Block
    rating: Block
    user_one_hot: Block
    user_activations: Block
    item_one_hot: Block
    item_activations: Block
    prediction: Block
    squared_error: Block


def layout_for(source: Source) -> OneHotLayout:
    """Columns side by side from A."""
    n, n_numbers = source.ratings.n_ratings, source.parameters.n_factors + source.layout.has_bias
    n_users, n_items = source.ratings.n_users, source.ratings.n_items
    return OneHotLayout(*rows.side_by_side(n, (2, 1, n_users, n_numbers, n_items, n_numbers, 1, 1)))


def draw(source: Source) -> Canvas:
    """Draw the sheet."""
    canvas, places = Canvas("one_hot"), layout_for(source)
    rows.head(canvas, source, _TEXTS, places.squared_error, source.rmse)
    _headers(canvas, source, places)
    for n, (u, i) in enumerate(source.pairs()):
        rows.ids(canvas, source, places.ids, n, u, i)
        rows.rating(canvas, source, places.rating, n, u, i)
        _one_hot(canvas, places, source, n, (u, i))
        _activations(canvas, places, source, n, (u, i))
        rows.prediction_and_error(
            canvas, source, n, u, i, places.rating,
            (places.user_activations, places.item_activations),
            (places.prediction, places.squared_error),
        )  # fmt: skip
    one_hot = range(places.user_one_hot.column, places.user_one_hot.last_column + 1)
    canvas.width(one_hot, 5.5)
    canvas.width(range(places.item_one_hot.column, places.item_one_hot.last_column + 1), 5.5)
    return canvas


def _headers(canvas: Canvas, source: Source, places: OneHotLayout) -> None:
    header = rows.HEADER
    canvas.put(header - 1, places.user_one_hot.column, "one-hot user vector", "subheading")
    canvas.put(header - 1, places.item_one_hot.column, "one-hot movie vector", "subheading")
    for u in range(source.ratings.n_users):
        source.link_user(canvas, header, places.user_one_hot.column + u, u)
    for i in range(source.ratings.n_items):
        source.link_item(canvas, header, places.item_one_hot.column + i, i)
    rows.embedding_headers(canvas, source, places.user_activations, "user embedding")
    rows.embedding_headers(canvas, source, places.item_activations, "movie embedding")
    rows.headers(canvas, {
        "userId, movieId": places.ids, "rating": places.rating,
        "prediction": places.prediction, "error²": places.squared_error,
    })  # fmt: skip


def _one_hot(
    canvas: Canvas, places: OneHotLayout, source: Source, n: int, here: tuple[int, int]
) -> None:
    """1 where the header has the row's id, 0 elsewhere."""
    pairs = (
        (places.user_one_hot, source.users, here[0], 0),
        (places.item_one_hot, source.items, here[1], 1),
    )
    for block, labels, index, id_column in pairs:
        row = block.row + n
        row_id = rows.in_row(places.ids, n, id_column)
        for c in range(block.n_columns):
            header = rows.in_header(block, c)
            formula = f"=IF({labels.is_same(row_id, header)},1,0)"
            canvas.formula(row, block.column + c, formula, float(c == index), "one hot", block)


def _activations(
    canvas: Canvas, places: OneHotLayout, source: Source, n: int, here: tuple[int, int]
) -> None:
    """One-hot vector times matrix, one number of the embedding after the other.

    The movie matrix stands turned on the sheet, so there the same sum is a SUMPRODUCT.
    """
    # Ranges even where they are one cell, other than `rows.span`: vectors of a matrix product.
    one_hot_u, one_hot_i = (
        f"{rows.in_row(block, n, 0)}:{rows.in_row(block, n, block.n_columns - 1)}"
        for block in (places.user_one_hot, places.item_one_hot)
    )
    row, (u, i) = places.rating.row + n, here
    p, q = source.embeddings
    for k, (column, value) in enumerate(zip(source.user_columns, p[u].tolist(), strict=True)):
        formula = f"=MMULT({one_hot_u},{column})"
        canvas.formula(row, places.user_activations.column + k, formula, value, "user embedding")
    for k, (line, value) in enumerate(zip(source.item_rows, q[i].tolist(), strict=True)):
        formula = f"=SUMPRODUCT({one_hot_i},{line})"
        canvas.formula(row, places.item_activations.column + k, formula, value, "item embedding")
