"""Finding a model on a sheet whose predictions were pasted as values.

Without prediction formulas only places are left: the Solver model names the embeddings
and the objective, and the ids stand twice, around the ratings and around the
predictions. Such a guess is believed only where the numbers prove it: most of the
predictions found must be what the embeddings found give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import dropwhile, islice, pairwise, product, takewhile
from typing import Any, NamedTuple

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.formulas import objectives
from shallow_cf.workbook.hints import Hints, Position
from shallow_cf.workbook.layout import Block, Layout, ObjectiveFormula
from shallow_cf.workbook.package import WorkbookError
from shallow_cf.workbook.tables import Evidence, Found

#: Guesses that are tried, how large the tables may be, and the sheets whose labels are read.
_MAX_GUESSES, _MAX_CELLS, _MAX_SHEET = 24, 100_000, 100_000
#: Predictions that agree to so much (stars) are those of the embeddings.
_CLOSE = 1e-6

_BESIDE = "numbers beside the ids"

Numbers = Mapping[Position, Any]


class _Guess(NamedTuple):
    """Where the parts of a model may be."""

    ratings: Block
    predictions: Block
    user_factors: Block
    item_factors: Block
    from_ratings: str  # what says so
    from_factors: str
    user_bias: Block | None = None
    item_bias: Block | None = None

    def with_biases(self) -> list[_Guess]:
        """The guess as it is, and as it is if there are biases beside or among the factors."""
        p, q = self.user_factors, self.item_factors
        guesses = [self]
        if p.n_columns > 1 and q.n_rows > 1:
            inner = self._replace(
                user_factors=Block(p.row, p.column + 1, p.n_rows, p.n_columns - 1),
                item_factors=Block(q.row + 1, q.column, q.n_rows - 1, q.n_columns),
            )
            guesses.append(inner._beside())
        if p.column > 1 and q.row > 1:
            guesses.append(self._beside())
        return guesses

    def _beside(self) -> _Guess:
        p, q = self.user_factors, self.item_factors
        return self._replace(
            user_bias=Block(p.row, p.column - 1, p.n_rows, 1),
            item_bias=Block(q.row - 1, q.column, 1, q.n_columns),
        )


def find_pasted(cells: Numbers, formulas: Mapping[Position, str], hints: Hints) -> Found | None:
    """The model that the numbers of a sheet prove.

    Parameters
    ----------
    cells
        (row, column) -> number or text, of every cell that is not blank.
    formulas
        (row, column) -> formula text. Where predictions are formulas, nothing is guessed.
    hints : Hints

    Returns
    -------
    Found or None

    Raises
    ------
    WorkbookError
        If labels alone show several.
    """
    by_labels: dict[Block, Found] = {}
    for guess in islice(_guesses(cells, formulas, hints), _MAX_GUESSES):
        tried = (_proved(exact, cells, formulas, hints) for exact in guess.with_biases())
        found = next((it for it in tried if it is not None), None)
        if found is not None and guess.from_factors != _BESIDE:
            return found
        if found is not None:
            by_labels.setdefault(found.layout.predictions, found)
    if len(by_labels) > 1:
        shown = "; ".join(
            f"{block.range()} of the ratings {found.layout.ratings.range()}"
            for block, found in list(by_labels.items())[:4]
        )
        raise WorkbookError(
            f"{hints.sheet}: several tables of predictions, and Solver's names do not say which "
            f"one counts: {shown}. Choose one with `ratings`, or with `factors`"
        )
    return next(iter(by_labels.values()), None)


# --- guesses ----------------------------------------------------------------------------


def _guesses(cells: Numbers, formulas: Mapping[Position, str], hints: Hints) -> Iterator[_Guess]:
    """Guesses by what was given, by the Solver model and the objective, and by the labels."""
    compared = [
        (it.ratings, it.predictions, "what the objective compares")
        for it in objectives(formulas, hints.objective)
    ]
    by_ids = [(r, r_hat, "ids that stand around both") for r, r_hat in _labelled(cells)]
    tables = [
        pair
        for pair in compared + by_ids
        if pair[0].shape == pair[1].shape and hints.ratings in (None, pair[0])
    ]
    for factors, why in ((hints.factors, "given"), (hints.changing, "Solver's changing cells")):
        for p, q in _pairs(factors):
            predictions = Block(p.row, q.column, p.n_rows, q.n_columns)
            if hints.ratings is not None:
                yield _Guess(hints.ratings, predictions, p, q, "given", why)
            for ratings, r_hat, from_ratings in tables:
                if r_hat == predictions:
                    yield _Guess(ratings, predictions, p, q, from_ratings, why)
        if hints.factors:
            return
    for ratings, predictions, why in tables:
        place = _beside_labels(cells, predictions)
        if place is not None:
            yield _Guess(ratings, predictions, *place, why, _BESIDE)


def _pairs(blocks: tuple[Block, ...]) -> list[tuple[Block, Block]]:
    """Two blocks that can be multiplied, users' and items', as they may be read."""
    pairs = product(blocks[:_MAX_GUESSES], repeat=2)
    return [(p, q) for p, q in pairs if p is not q and p.n_columns == q.n_rows]


def _labelled(cells: Numbers) -> list[tuple[Block, Block]]:
    """Two tables with the same ids to the left and above each: ratings and predictions."""
    if len(cells) > _MAX_SHEET:
        return []
    turned = {(column, row): value for (row, column), value in cells.items()}
    headers = [
        (n, above, below, column)
        for n, places in _repeated(cells)
        for (above, column), (below, other_column) in pairwise(places)
        if column == other_column
    ]
    labels = [
        (n, first, second, column)
        for n, places in _repeated(turned)
        for (column, first), (other_column, second) in pairwise(places)
        if column == other_column
    ]
    found = [
        (Block(first, column, n_users, n_items), Block(second, column, n_users, n_items))
        for n_items, above, below, column in headers[:_MAX_GUESSES]
        for n_users, first, second, label in labels[:_MAX_GUESSES]
        if above < first <= below < second and label < column and n_users * n_items <= _MAX_CELLS
    ]
    return sorted(found, key=lambda pair: -pair[0].n_rows * pair[0].n_columns)


def _repeated(cells: Numbers) -> list[tuple[int, list[Position]]]:
    """Rows of different ids that stand there more than once, the longest first.

    Each as its length and the cells where it begins. A label may stand before the first id and
    after the last.
    """
    starts: dict[tuple[Any, ...], list[Position]] = defaultdict(list)
    rows: dict[int, list[int]] = defaultdict(list)
    for row, column in sorted(cell for cell, value in cells.items() if _may_be_id(value)):
        rows[row].append(column)
    for row, columns in rows.items():
        breaks = [k for k in range(1, len(columns)) if columns[k] != columns[k - 1] + 1]
        for start, stop in pairwise([0, *breaks, len(columns)]):
            for first, last in product((start, start + 1), (stop, stop - 1)):
                values = tuple(cells[row, column] for column in columns[first:last])
                if len(values) > 1 and len(set(values)) == len(values):
                    starts[values].append((row, columns[first]))
    repeated = [(len(values), places) for values, places in starts.items() if len(places) > 1]
    return sorted(repeated, key=lambda found: -found[0])


def _may_be_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, float) and value.is_integer())


def _beside_labels(cells: Numbers, predictions: Block) -> tuple[Block, Block] | None:
    """The numbers to the left of the ids of predictions, and those above their other ids."""
    rows = range(predictions.row, predictions.last_row + 1)
    columns = range(predictions.column, predictions.last_column + 1)
    left = _full_lines(
        ([(row, column) for row in rows] for column in range(predictions.column - 1, 0, -1)), cells
    )
    above = _full_lines(
        ([(row, column) for column in columns] for row in range(predictions.row - 1, 0, -1)), cells
    )
    n_factors = min(len(left), len(above))
    if n_factors == 0:
        return None
    (_, first_column), (first_row, _) = left[n_factors - 1][0], above[n_factors - 1][0]
    return (
        Block(predictions.row, first_column, predictions.n_rows, n_factors),
        Block(first_row, predictions.column, n_factors, predictions.n_columns),
    )


def _full_lines(lines: Iterator[list[Position]], cells: Numbers) -> list[list[Position]]:
    """Lines next to each other that are full of numbers: the nearest beyond the line of ids."""
    beyond_ids = dropwhile(lambda line: not any(cell in cells for cell in line), lines)
    next(beyond_ids, None)
    full = dropwhile(lambda line: not _is_full(line, cells), beyond_ids)
    return list(takewhile(lambda line: _is_full(line, cells), full))


def _is_full(line: list[Position], cells: Numbers) -> bool:
    return all(isinstance(cells.get(cell), float) for cell in line)


# --- proof ------------------------------------------------------------------------------


def _proved(
    guess: _Guess, cells: Numbers, formulas: Mapping[Position, str], hints: Hints
) -> Found | None:
    """The layout of a guess if its numbers agree."""
    blocks = [block for block in guess if isinstance(block, Block)]
    if any(block.n_rows * block.n_columns > _MAX_CELLS for block in blocks):
        return None
    if guess.ratings.shape != guess.predictions.shape or 1 in (
        guess.ratings.row,
        guess.ratings.column,
    ):
        return None
    if any(cell in formulas for cell in _positions(guess.predictions)):
        return None  # formulas that are not understood compute something else
    ratings, stored = _table(cells, guess.ratings), _table(cells, guess.predictions)
    with np.errstate(all="ignore"):
        biases: FloatArray | float = 0.0
        if guess.user_bias is not None and guess.item_bias is not None:
            biases = _table(cells, guess.user_bias) + _table(cells, guess.item_bias)
        expected = _table(cells, guess.user_factors) @ _table(cells, guess.item_factors) + biases
        rated = ~np.isnan(ratings)
        if not _agree(stored, expected, rated):
            return None
        blanks = _shown_in_blanks(stored, expected, biases, ~rated)
        sse = float(np.sum((ratings - expected)[rated] ** 2))
    layout = Layout(
        ratings=guess.ratings,
        user_ids=Block(guess.ratings.row, guess.ratings.column - 1, guess.ratings.n_rows, 1),
        item_ids=Block(guess.ratings.row - 1, guess.ratings.column, 1, guess.ratings.n_columns),
        item_factors=guess.item_factors,
        user_factors=guess.user_factors,
        predictions=guess.predictions,
        item_bias=guess.item_bias,
        user_bias=guess.user_bias,
        loss=None if hints.objective is None else Block(*hints.objective),
        blanks=blanks,
    )
    layout, computes = _with_loss(layout, cells, formulas, hints, sse, int(rated.sum()))
    return Found(layout, computes, _how(layout, guess), (_NOTE.format(guess.predictions.range()),))


_NOTE = (
    "the predictions in {} are numbers, not formulas: the places were found by their numbers, "
    "and Excel would not compute the predictions anew"
)


def _agree(stored: FloatArray, expected: FloatArray | float, among: Any) -> bool:
    """Whether most of the numbers among some are those expected."""
    close = np.abs(stored - expected) <= _CLOSE
    return bool(np.sum(close & among) * 2 > np.sum(among))


def _shown_in_blanks(
    stored: FloatArray, expected: FloatArray, biases: FloatArray | float, blank: Any
) -> str:
    """What predictions show where nothing is rated, see `Layout`."""
    for name, shown in (("zero", 0.0), ("biases", biases), ("prediction", expected)):
        if _agree(stored, shown, blank):
            return name
    return "nothing" if blank.any() else "zero"


def _with_loss(
    layout: Layout,
    cells: Numbers,
    formulas: Mapping[Position, str],
    hints: Hints,
    sse: float,
    n_ratings: int,
) -> tuple[Layout, ObjectiveFormula | None]:
    """The layout with its objective cell, and what that computes: by formula or by number."""
    for it in objectives(formulas, hints.objective):
        if (it.ratings, it.predictions) == (layout.ratings, layout.predictions):
            return replace(layout, loss=Block(*it.cell)), it.computes
    value = None if hints.objective is None else cells.get(hints.objective)
    if isinstance(value, float) and hints.objective not in formulas:
        rmse = float(np.sqrt(sse / n_ratings))
        for computes in (ObjectiveFormula(a, b) for a in (True, False) for b in (True, False)):
            if abs(computes.value(rmse, n_ratings) - value) <= _CLOSE:
                return layout, computes
    return layout, None


def _how(layout: Layout, guess: _Guess) -> tuple[Evidence, ...]:
    proved = "and the predictions agree"
    how = [
        Evidence("ratings", layout.ratings.range(), guess.from_ratings),
        Evidence("predictions", layout.predictions.range(), "numbers: users' rows, items' columns"),
        Evidence("user factors", layout.user_factors.range(), f"{guess.from_factors}, {proved}"),
        Evidence("item factors", layout.item_factors.range(), f"{guess.from_factors}, {proved}"),
    ]
    if layout.bias_blocks is not None:
        users, items = layout.bias_blocks
        how.append(Evidence("user biases", users.range(), f"beside the factors, {proved}"))
        how.append(Evidence("item biases", items.range(), f"above the factors, {proved}"))
    if layout.loss is not None:
        how.append(Evidence("objective", layout.loss.range(), "Solver's objective"))
    return tuple(how)


def _positions(block: Block) -> list[Position]:
    return [
        (row, column)
        for row in range(block.row, block.last_row + 1)
        for column in range(block.column, block.last_column + 1)
    ]


def _table(cells: Numbers, block: Block) -> FloatArray:
    """The numbers of a block, NaN for other cells."""
    values = [cells.get(position) for position in _positions(block)]
    numbers = [value if isinstance(value, float) else np.nan for value in values]
    return np.array(numbers).reshape(block.shape)
