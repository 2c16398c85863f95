"""The sheet `factors`: what the numbers of the movies have come to mean.

Movies beside their numbers; for each factor, and for the bias, all movies in falling
order; and a map of the movies by the first two principal components of their factors
(Pearson, 1901, "On lines and planes of closest fit"). The sorting is live; the directions
of the two components are numbers that NumPy found when the sheet was made, and the map
moves along them when the factors change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas, Chart, Scale, Series
from shallow_cf.workbook.layout import Block, cell_address
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source

_HEADER = 6
_TEXTS = (
    "What the factors mean: movies sorted by each of them",
    "Nobody told the model what the factors are: read a list from the top and from the bottom and "
    "ask what the movies at an end have in common.",
    "Order and map follow {sheet}; the two directions of the map were found by NumPy when this "
    "sheet was made.",
)


@dataclass(frozen=True)
class FactorsLayout:
    """Where everything stands.

    Attributes
    ----------
    names, numbers, scores, ranks : Block
        A row a movie: id or title, its numbers (the bias last), its place on the map, its
        rank by each number.
    means, directions : Block
        Below them: the mean factors, and a row for each component.
    sorted : list of Block
        For each number two columns: the movie and its number, in falling order.
    chart : Block of one cell
    """

    names: Block
    numbers: Block
    scores: Block
    ranks: Block
    means: Block
    directions: Block
    sorted: list[Block]
    chart: Block


def layout_for(source: Source) -> FactorsLayout:
    """Table, ranks and lists side by side; means, directions and chart below."""
    n_items, n_factors = source.layout.n_items, source.layout.n_factors
    n_numbers = n_factors + source.layout.has_bias
    n_scores = min(2, n_factors, n_items)
    first = _HEADER + 1
    numbers = Block(first, 2, n_items, n_numbers)
    scores = Block(first, numbers.last_column + 1, n_items, n_scores)
    ranks = Block(first, scores.last_column + 1, n_items, n_numbers)
    below = numbers.last_row + 2
    lists = [Block(first, ranks.last_column + 2 + 3 * k, n_items, 2) for k in range(n_numbers)]
    return FactorsLayout(
        Block(first, 1, n_items, 1), numbers, scores, ranks,
        Block(below, 2, 1, n_factors), Block(below + 1, 2, n_scores, n_factors),
        lists, Block(below + n_scores + 2, 1),
    )  # fmt: skip


def draw(source: Source, inputs: Inputs) -> Canvas:
    """Draw the sheet."""
    canvas, places = Canvas("factors"), layout_for(source)
    heading, *lines = (text.format(sheet=source.sheet) for text in _TEXTS)
    canvas.put(1, 1, heading, "heading")
    canvas.lines(2, 1, lines)
    _, numbers = source.embeddings
    _names(canvas, source, places)
    _numbers(canvas, source, places, numbers)
    _map(canvas, source, places, inputs)
    ranks = rank(numbers)
    _ranks(canvas, source, places, ranks)
    _sorted(canvas, source, places, numbers, ranks)
    canvas.width([1], source.name_width)
    canvas.freeze = cell_address(_HEADER + 1, 2)
    canvas.scales += [
        Scale(places.numbers.column_block(c).range(), "sign") for c in range(numbers.shape[1])
    ]
    return canvas


def rank(numbers: FloatArray) -> FloatArray:
    """Rank of each movie by each number, 1 for the largest; equals in the order of movies."""
    order = np.argsort(-numbers, axis=0, kind="stable")
    ranks = np.empty(numbers.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, len(numbers) + 1)[:, None], axis=0)
    return ranks


def components(factors: FloatArray, n: int) -> FloatArray:
    """The first n principal directions of the rows, (n, n_factors); largest entries positive."""
    directions = np.linalg.svd(factors - factors.mean(axis=0), full_matrices=False)[2][:n]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    turned: FloatArray = directions * signs[:, None]
    return turned


def _names(canvas: Canvas, source: Source, places: FactorsLayout) -> None:
    canvas.label(_HEADER, 1, "movie")
    for i, name in enumerate(source.item_labels):
        block = source.layout.item_titles or source.layout.item_ids
        shown = name if source.titles is None else source.titles[i]
        link = f"={source.cell(block, 0, i)}"
        canvas.formula(places.names.row + i, places.names.column, link, shown, "name")


def _numbers(canvas: Canvas, source: Source, places: FactorsLayout, numbers: FloatArray) -> None:
    for c, name in enumerate(source.number_names):
        canvas.label(_HEADER, places.numbers.column + c, name)
    for i, values in enumerate(numbers.tolist()):
        _, cells = rows.number_cells(source, 0, i)
        for c, (cell, value) in enumerate(zip(cells, values, strict=True)):
            column = places.numbers.column + c
            canvas.formula(places.numbers.row + i, column, f"={cell}", value, "item embedding")


def _map(canvas: Canvas, source: Source, places: FactorsLayout, inputs: Inputs) -> None:
    """The principal components: scores = (factors - their means) . direction."""
    factors = source.parameters.item_factors
    n = places.scores.n_columns
    directions = components(factors, n) if inputs.directions is None else inputs.directions
    scores = (factors - factors.mean(axis=0)) @ directions.T
    canvas.label(places.means.row, 1, "mean")
    for k in range(places.means.n_columns):
        column = places.numbers.column_block(k).range()
        canvas.formula(
            places.means.row, places.means.column + k, f"=AVERAGE({column})",
            float(factors[:, k].mean()), "number",
        )  # fmt: skip
    canvas.numbers(places.directions, directions, "number")
    for c in range(n):
        canvas.label(places.directions.row + c, 1, f"direction {c + 1}")
        canvas.label(_HEADER, places.scores.column + c, f"component {c + 1}")
        direction = places.directions.row_block(c).range(fixed=True)
        for i in range(places.scores.n_rows):
            own = Block(places.numbers.row + i, places.numbers.column, 1, factors.shape[1])
            formula = f"=SUMPRODUCT({own.range()}-{places.means.range(fixed=True)},{direction})"
            place = places.scores.row + i, places.scores.column + c
            canvas.formula(*place, formula, float(scores[i, c]), "number")
    canvas.width(range(places.scores.column, places.scores.last_column + 1), 13)
    if n == 2:
        canvas.charts.append(_chart(places))


def _chart(places: FactorsLayout) -> Chart:
    """A point a movie, each a series of its own: so every program can label it by its title."""
    series = [
        Series(
            *(
                f"factors!{block.cell(i, c, fixed=True)}"
                for block, c in ((places.names, 0), (places.scores, 1), (places.scores, 0))
            )
        )
        for i in range(places.names.n_rows)
    ]
    return Chart(
        "points", "Movies by the first two principal components of their factors",
        "component 1", "component 2", series, places.chart.cell(),
    )  # fmt: skip


def _ranks(canvas: Canvas, source: Source, places: FactorsLayout, ranks: FloatArray) -> None:
    for c, name in enumerate(source.number_names):
        canvas.label(_HEADER, places.ranks.column + c, f"rank {name.removeprefix('factor ')}")
        column = places.numbers.column_block(c)
        top = cell_address(column.row, column.column, fix_row=True)
        for i, value in enumerate(ranks[:, c].tolist()):
            cell = column.cell(i)
            # Not RANK + COUNTIF: LibreOffice tells in the one what it does not in the other.
            larger = f"SUMPRODUCT(({column.range(fixed=True)}>{cell})*1)"
            formula = f"={larger}+SUMPRODUCT(({top}:{cell}={cell})*1)"
            canvas.formula(places.ranks.row + i, places.ranks.column + c, formula, value, "count")


def _sorted(
    canvas: Canvas, source: Source, places: FactorsLayout, numbers: FloatArray, ranks: FloatArray
) -> None:
    """For each number the movies in falling order: the k-th is the one of rank k."""
    names = source.titles or source.item_labels
    for c, (block, name) in enumerate(zip(places.sorted, source.number_names, strict=True)):
        canvas.label(_HEADER, block.column, f"by {name}")
        canvas.label(_HEADER, block.column + 1, name)
        canvas.width([block.column], source.name_width)
        canvas.width([block.column - 1], 3)
        order = np.argsort(ranks[:, c])
        rank_column = places.ranks.column_block(c).range(fixed=True)
        for k, i in enumerate(order.tolist()):
            row = block.row + k
            here = f"MATCH({k + 1},{rank_column},0)"
            for offset, values, result, style in (
                (0, places.names, names[i], "name"),
                (1, places.numbers.column_block(c), float(numbers[i, c]), "item embedding"),
            ):
                formula = f"={rows.looked_up(values.range(fixed=True), here)}"
                canvas.formula(row, block.column + offset, formula, result, style)
