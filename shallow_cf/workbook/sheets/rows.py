"""What the sheets with a rating a row share: the head, the ids, the prediction, its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.layout import Block, cell_address
from shallow_cf.workbook.sheets.source import Source

#: The row of the column headers; a heading, two lines, the loss and groups of columns above.
HEADER = 7
FIRST = HEADER + 1
_LOSS = Block(4, 2)


def side_by_side(n_rows: int, n_columns: Sequence[int]) -> list[Block]:
    """Blocks of so many columns each, one right of the other from A, below the header."""
    blocks, column = [], 1
    for width in n_columns:
        blocks.append(Block(FIRST, column, n_rows, width))
        column += width
    return blocks


def in_row(block: Block, n: int, c: int) -> str:
    """A cell of row n, its column fixed."""
    return cell_address(block.row + n, block.column + c, fix_column=True)


def in_header(block: Block, c: int) -> str:
    """The header of a column, its row fixed."""
    return cell_address(HEADER, block.column + c, fix_row=True)


def span(block: Block, n: int) -> str:
    """The block's cells in row n, their columns fixed."""
    first, last = in_row(block, n, 0), in_row(block, n, block.n_columns - 1)
    return first if first == last else f"{first}:{last}"


def looked_up(cells: str, *index: str) -> str:
    """A cell of a range by its number or by row and column, counted from 1."""
    # Gnumeric's INDEX of a single cell is #REF!, and where there is one there is no choice.
    return f"INDEX({cells},{','.join(index)})" if ":" in cells else cells


def number_cells(source: Source, u: int, i: int) -> tuple[list[str], list[str]]:
    """Where the numbers of a user and of an item stand on the crosstab sheet, the bias last."""
    layout, factors = source.layout, range(source.parameters.n_factors)
    user = [source.cell(layout.user_factors, u, k) for k in factors]
    item = [source.cell(layout.item_factors, k, i) for k in factors]
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        user.append(source.cell(users, u))
        item.append(source.cell(items, 0, i))
    return user, item


def head(
    canvas: Canvas,
    source: Source,
    texts: Sequence[str],
    squared_error: Block,
    rmse: float,
    loss_label: str = "RMSE",
) -> None:
    """The heading, what the sheet shows, and the loss (stars) over all rows."""
    heading, *lines = (text.format(sheet=source.sheet) for text in texts)
    canvas.put(1, 1, heading, "heading")
    canvas.lines(2, 1, lines)
    canvas.label(_LOSS.row, 1, loss_label)
    errors = squared_error.range()
    formula = f"=SQRT(SUM({errors})/COUNT({errors}))"  # (3b)
    canvas.formula(_LOSS.row, _LOSS.column, formula, rmse, "loss")
    _completeness(canvas, source, squared_error)
    canvas.freeze = cell_address(FIRST, 4)
    canvas.width([1], 13)
    canvas.width([2, 3], 10)


def _completeness(canvas: Canvas, source: Source, squared_error: Block) -> None:
    """A warning that appears when a rating was typed where the export had none."""
    here, there = f"COUNT({squared_error.range()})", f"COUNT({source.range(source.layout.ratings)})"
    text = f"A rating was added on {source.sheet} after the export: it has no row here."
    quoted = text.replace('"', '""')
    canvas.formula(_LOSS.row + 1, 4, f'=IF({here}={there},"","{quoted}")', "", "warning")


def headers(canvas: Canvas, columns: Mapping[str, Block]) -> None:
    """Headers of single columns; "userId, movieId" stands above two."""
    for text, block in columns.items():
        for c, part in enumerate(text.split(", ")):
            canvas.label(HEADER, block.column + c, part)


def embedding_headers(canvas: Canvas, source: Source, block: Block, heading: str) -> None:
    """Headers of the numbers of an embedding."""
    canvas.put(HEADER - 1, block.column, heading, "subheading")
    for c, name in enumerate(source.number_names):
        canvas.label(HEADER, block.column + c, name)


def ids(canvas: Canvas, source: Source, block: Block, n: int, u: int, i: int) -> None:
    """The ids of row n, linked to the crosstab."""
    source.link_user(canvas, block.row + n, block.column, u)
    source.link_item(canvas, block.row + n, block.column + 1, i)


def rating(canvas: Canvas, source: Source, block: Block, n: int, u: int, i: int) -> None:
    """The stars of row n, linked to the crosstab; a rating that was cleared is none here."""
    cell = source.cell(source.layout.ratings, u, i)
    stars = float(source.rating_table[u, i])
    canvas.formula(block.row + n, block.column, f'=IF({cell}="","",{cell})', stars, "rating")


def prediction_and_error(
    canvas: Canvas,
    source: Source,
    n: int,
    u: int,
    i: int,
    stars: Block,
    embeddings: tuple[Block, Block],
    places: tuple[Block, Block],
) -> None:
    """Row n's dot product, with both biases where there are any, and its squared error."""
    prediction, error = places
    canvas.formula(
        stars.row + n,
        prediction.column,
        f"={predicted(source, n, *embeddings)}",
        float(source.parameters.predict(u, i)),
        "prediction",
        prediction,
    )
    squared_error(canvas, n, float(source.residual[u, i]), stars, prediction, error)


def squared_error(
    canvas: Canvas, n: int, e: float, stars: Block, prediction: Block, place: Block
) -> None:
    """Row n's squared error, e being the error; a rating that was cleared has none."""
    r, r_hat = in_row(stars, n, 0), in_row(prediction, n, 0)
    formula = f'=IF({r}="","",({r_hat}-{r})^2)'
    canvas.formula(place.row + n, place.column, formula, e * e, "error", place)


def predicted(source: Source, n: int, users: Block, items: Block) -> str:
    """Equation (1) for the embeddings in row n, the bias being the last of their numbers."""
    k = source.parameters.n_factors
    p, q = (Block(block.row, block.column, block.n_rows, k) for block in (users, items))
    product = f"SUMPRODUCT({span(p, n)},{span(q, n)})"
    if not source.layout.has_bias:
        return product  # (1)
    return f"{product}+{in_row(users, n, k)}+{in_row(items, n, k)}"  # (1)
