"""The sheet `new_user`: ratings of somebody new, and only that user's numbers to find.

A row a movie: a yellow cell for the rating, the movie's numbers as the model's sheet has
them, the prediction, rated or not. Above stand the numbers of the user, x; they are the
variable cells of a Solver model of this sheet's own. Its objective is least where phi is,
equation (17a) of `shallow_cf.fold_in`: for n ratings

    loss = sqrt(2 phi / n) = sqrt((sum of e_i^2 + lambda |x|^2) / n)

which for lambda = 0 is the RMSE (3b). With lambda > 0 there is one best x, and below the
movies the normal equations (17c) give it without Solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shallow_cf.parameters import FloatArray
from shallow_cf.workbook.canvas import Canvas, Choice, Content, Scale
from shallow_cf.workbook.layout import Block, cell_address
from shallow_cf.workbook.sheets import rows
from shallow_cf.workbook.sheets.crosstab import stars_choice
from shallow_cf.workbook.sheets.inputs import Inputs, NewUser
from shallow_cf.workbook.sheets.source import Source
from shallow_cf.workbook.solver_model import model_names

NAME = "new_user"
HEADING = "A new user: only these numbers are new"
#: lambda at first. RMSE, in stars, of what users of the lesson's table rated besides n
#: ratings, each kept from training and folded in (ten draws each):
#:
#:     n   lambda = 0    0.1    0.3    1      3      10
#:     2           1.51   1.47   1.47   1.55   1.87   2.63
#:     4           3.34   1.72   1.40   1.26   1.39   2.01
#:     6           14.2   1.81   1.46   1.23   1.24   1.69
#:     8           1.74   1.52   1.35   1.18   1.14   1.44
#:
#: Larger data bear a larger one, see `fold_in.DEFAULT_REG`.
_FIRST_REG = 1.0
#: From a thousandth on programs agree on the inverse in (17c), whoever rated how little.
_PARTS = 1000  # a whole number, because Gnumeric writes 0.001 with more digits
_LOSS, _RMSE, _REG = Block(6, 2), Block(7, 2), Block(8, 2)
_HEADER = 10
_YOU, _EXACT, _FIRST = _HEADER + 1, _HEADER + 2, _HEADER + 3
_RATING_COLUMN = 2
_TEXTS = (
    "Type your stars for movies that you know into the yellow column, and press Solve (Data > "
    "Solver opens filled in): it changes the orange cells, your embedding, and nothing else.",
    "The movies keep the numbers that {sheet} has for them (solve that sheet first). Predictions "
    "stand beside all movies: those that you have not rated are what this is for.",
    "The ratings there are an example to type over: every other rating of the user with the most.",
)
_BESIDE_CELLS = (
    (_LOSS, "what Solver makes small: root of (sum of error² + penalty x sum of number²) / count"),
    (_RMSE, "the same without the penalty: root mean squared error over your ratings, in stars"),
    (
        _REG,
        "on large numbers; with 0 and fewer ratings than numbers, many answers fit equally well "
        "and most of them predict badly",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class NewUserLayout:
    """Where everything stands.

    Attributes
    ----------
    names, rating : Block, (n_items, 1)
    item_numbers : Block, (n_items, numbers)
        Those of an embedding, the bias last.
    prediction, squared_error, exact_prediction : Block, (n_items, 1)
    numbers, exact : Block, (1, numbers)
        The user's, to be changed; and where the normal equations hold.
    matrix, right_side : Block, (numbers, numbers) and (numbers, 1)
        Of the normal equations.
    reg : Block of one cell
        lambda.
    """

    names: Block
    rating: Block
    item_numbers: Block
    prediction: Block
    squared_error: Block
    exact_prediction: Block
    numbers: Block
    exact: Block
    matrix: Block
    right_side: Block
    reg: Block = _REG


def layout_for(source: Source) -> NewUserLayout:
    """Columns side by side from A; the user's numbers above the movies', the equations below."""
    n, k = source.layout.n_items, len(source.number_names)
    first = _RATING_COLUMN + 1
    beside, below = first + k, _FIRST + n + 2
    return NewUserLayout(
        names=Block(_FIRST, 1, n, 1),
        rating=Block(_FIRST, _RATING_COLUMN, n, 1),
        item_numbers=Block(_FIRST, first, n, k),
        prediction=Block(_FIRST, beside, n, 1),
        squared_error=Block(_FIRST, beside + 1, n, 1),
        exact_prediction=Block(_FIRST, beside + 2, n, 1),
        numbers=Block(_YOU, first, 1, k),
        exact=Block(_EXACT, first, 1, k),
        matrix=Block(below, first, k, k),
        right_side=Block(below, beside, k, 1),
    )


def example(source: Source) -> NewUser:
    """Half of the ratings of the user who gave the most; numbers 0, nothing being known."""
    u = int(np.bincount(source.ratings.user_idx).argmax())
    rating = source.rating_table[u].copy()
    rating[np.flatnonzero(~np.isnan(rating))[1::2]] = np.nan
    return NewUser(rating, np.zeros(len(source.number_names)), _FIRST_REG)


@np.errstate(over="ignore", invalid="ignore")
def predict(source: Source, x: FloatArray) -> FloatArray:
    """Equation (1) for a user with the numbers x, stars."""
    k = source.parameters.n_factors
    _, q = source.embeddings
    predicted: FloatArray = q[:, :k] @ x[:k] + q[:, k:].sum(axis=1) + x[k:].sum()  # (1)
    return predicted


@np.errstate(over="ignore", invalid="ignore")
def errors(source: Source, new: NewUser) -> tuple[float, float | None]:
    """The loss and the RMSE, stars; no RMSE where nothing is rated."""
    e = (predict(source, new.numbers) - new.rating)[new.is_rated]  # (2)
    n, sse = len(e), float(e @ e)
    loss = np.sqrt((sse + new.reg * float(new.numbers @ new.numbers)) / max(1, n))  # (17a)
    return float(loss), float(np.sqrt(sse / n)) if n else None  # (3b)


@np.errstate(over="ignore", invalid="ignore")
def normal_equations(source: Source, new: NewUser) -> tuple[FloatArray, FloatArray]:
    """Matrix and right side of (17c)."""
    k = source.parameters.n_factors
    q = source.embeddings[1][new.is_rated]
    A = q.copy()
    A[:, k:] = 1.0  # in place of the movie's bias, which is known
    t = new.rating[new.is_rated] - q[:, k:].sum(axis=1)  # (17b)
    return A.T @ A + new.reg * np.eye(A.shape[1]), A.T @ t  # (17c)


def exact(source: Source, new: NewUser) -> FloatArray | None:
    """Their solution; None where lambda is too small for a sheet to find it.

    NaN, which a sheet shows as an error, if the numbers are too large to compute with.
    """
    if _PARTS * new.reg < 1:
        return None
    matrix, right_side = normal_equations(source, new)
    try:
        return np.asarray(np.linalg.solve(matrix, right_side), np.float64)  # (17c)
    except np.linalg.LinAlgError:
        return np.full(len(right_side), np.nan)


def draw(source: Source, inputs: Inputs) -> Canvas:
    """Draw the sheet."""
    new = example(source) if inputs.new_user is None else inputs.new_user
    places = layout_for(source)
    names = model_names(NAME, _LOSS, [places.numbers])
    canvas = Canvas(NAME, one_page=True, solver_names=names)
    _head(canvas, source, places, new)
    _movies(canvas, source, places, new)
    found = exact(source, new)
    _numbers(canvas, source, places, new, found)
    _predictions(canvas, source, places, new, found)
    _equations(canvas, source, places, new)
    _view(canvas, source, places)
    return canvas


def _head(canvas: Canvas, source: Source, places: NewUserLayout, new: NewUser) -> None:
    """What to do, and the three cells that say how well it went."""
    canvas.put(1, 1, HEADING, "heading")
    canvas.lines(2, 1, (text.format(sheet=source.sheet) for text in _TEXTS))
    loss, rmse = errors(source, new)
    x, r, e = places.numbers.range(), places.rating.range(), places.squared_error.range()
    penalty = f"{places.reg.cell()}*SUMPRODUCT({x},{x})"
    objective = f"=SQRT((SUM({e})+{penalty})/MAX(1,COUNT({r})))"  # (17a)
    canvas.formula(_LOSS.row, _LOSS.column, objective, loss, "loss")
    shown: Content = "" if rmse is None else rmse
    formula = f'=IF(COUNT({r})=0,"",SQRT(SUM({e})/COUNT({r})))'  # (3b)
    canvas.formula(_RMSE.row, _RMSE.column, formula, shown, "error")
    canvas.put(places.reg.row, places.reg.column, new.reg, "input")
    for name, (block, text) in zip(("loss", "RMSE", "penalty"), _BESIDE_CELLS, strict=True):
        canvas.label(block.row, 1, name)
        canvas.put(block.row, block.column + 1, text, "beside")


def _movies(canvas: Canvas, source: Source, places: NewUserLayout, new: NewUser) -> None:
    """The names, a cell for each rating, and the numbers that the model's sheet has."""
    canvas.label(_HEADER, 1, "movie")
    canvas.label(_HEADER, _RATING_COLUMN, "your rating")
    for c, name in enumerate(source.number_names):
        canvas.label(_HEADER, places.numbers.column + c, name)
    canvas.numbers(places.rating, new.rating, "input")
    _, numbers = source.embeddings
    labels = source.layout.item_titles or source.layout.item_ids
    names: Sequence[Content] = source.titles or source.item_labels
    for i, shown in enumerate(names):
        row = places.names.row + i
        canvas.formula(row, 1, f"={source.cell(labels, 0, i)}", shown, "name")
        _, cells = rows.number_cells(source, 0, i)
        for c, (cell, value) in enumerate(zip(cells, numbers[i].tolist(), strict=True)):
            column = places.item_numbers.column + c
            canvas.formula(row, column, f"={cell}", value, "item embedding")


def _numbers(
    canvas: Canvas, source: Source, places: NewUserLayout, new: NewUser, found: FloatArray | None
) -> None:
    """The user's numbers, and below them those that solve the normal equations."""
    canvas.label(_YOU, 1, "you")
    canvas.numbers(places.numbers, new.numbers, "user embedding")
    canvas.label(_EXACT, 1, "exact")
    reg, matrix, right = places.reg.cell(), places.matrix, places.right_side
    for c in range(places.exact.n_columns):
        solution = f"INDEX(MMULT(MINVERSE({matrix.range()}),{right.range()}),{c + 1},1)"
        if matrix.n_rows == 1:
            solution = f"{right.cell()}/{matrix.cell()}"
        formula = f'=IF({_PARTS}*{reg}<1,"",{solution})'  # (17c)
        value: Content = "" if found is None else float(found[c])
        canvas.formula(_EXACT, places.exact.column + c, formula, value, "error")


def _predictions(
    canvas: Canvas, source: Source, places: NewUserLayout, new: NewUser, found: FloatArray | None
) -> None:
    """For every movie the prediction by either numbers; where it is rated, the squared error."""
    columns = places.prediction.column, places.squared_error.column, places.exact_prediction.column
    for column, text in zip(columns, ("prediction", "error²", "exact"), strict=True):
        canvas.label(_HEADER, column, text)
    shown = predict(source, new.numbers)
    squared = (shown - new.rating) ** 2
    by_exact = None if found is None else predict(source, found)
    for i in range(places.names.n_rows):
        row = places.names.row + i
        formula = f"={_predicted(source, places, places.numbers, i)}"
        canvas.formula(row, columns[0], formula, float(shown[i]), "prediction", places.prediction)
        r, r_hat = (rows.in_row(b, i, 0) for b in (places.rating, places.prediction))
        value: Content = float(squared[i]) if new.is_rated[i] else ""
        formula = f'=IF({r}="","",({r_hat}-{r})^2)'
        canvas.formula(row, columns[1], formula, value, "error", places.squared_error)
        first = places.exact.cell(fixed=True)
        formula = f'=IF({first}="","",{_predicted(source, places, places.exact, i)})'
        value = "" if by_exact is None else float(by_exact[i])
        place = places.exact_prediction
        canvas.formula(row, columns[2], formula, value, "prediction", place)


def _predicted(source: Source, places: NewUserLayout, user: Block, i: int) -> str:
    """Equation (1) for movie i and the user's numbers in one of the two rows."""
    k = source.parameters.n_factors
    x = Block(user.row, user.column, 1, k).range(fixed=True)
    items = places.item_numbers
    q = rows.span(Block(items.row, items.column, items.n_rows, k), i)
    biases = f"+{user.cell(0, k, fixed=True)}+{rows.in_row(items, i, k)}"
    return f"SUMPRODUCT({x},{q})" + (biases if source.layout.has_bias else "")  # (1)


def _equations(canvas: Canvas, source: Source, places: NewUserLayout, new: NewUser) -> None:
    """The normal equations (17c): a row and a column for each of the user's numbers."""
    matrix, right = places.matrix, places.right_side
    text = "Exact, without Solver: matrix x your numbers = right side"
    canvas.put(matrix.row - 1, 1, text, "subheading")
    canvas.label(right.row - 1, right.column, "right side")
    values, right_values = normal_equations(source, new)
    k, r = source.parameters.n_factors, places.rating.range()
    rated = f'({r}<>"")'
    columns = [places.item_numbers.column_block(c).range() for c in range(matrix.n_rows)]
    known = f"({r}-{columns[k]})" if source.layout.has_bias else r
    factors = [f"*{column}" for column in columns[:k]] + ["*1"] * source.layout.has_bias
    for a, own in enumerate(factors):
        canvas.label(matrix.row + a, 1, source.number_names[a])
        for b, other in enumerate(factors):
            penalty = f"+{places.reg.cell(fixed=True)}" if a == b else ""
            formula = f"=SUMPRODUCT({rated}{own}{other}){penalty}"  # (17c)
            canvas.formula(matrix.row + a, matrix.column + b, formula, float(values[a, b]), "error")
        formula = f"=SUMPRODUCT({rated}*{known}{own})"  # (17c)
        canvas.formula(right.row + a, right.column, formula, float(right_values[a]), "error")
    rated_by = "(rating - movie's bias)" if source.layout.has_bias else "rating"
    canvas.lines(matrix.last_row + 2, 1, (
        "Where the loss is least no number has a slope. Over what you rated, the matrix adds up "
        "products of two of a movie's numbers (penalty on the diagonal),",
        f"the right side {rated_by} x number. The row \"exact\" solves this with MINVERSE, for a "
        f"penalty of at least {1 / _PARTS:g}.",
        f"Without Excel: shallow-cf solve BOOK.xlsx --sheet {NAME} -o SOLVED.xlsx writes the exact "
        "numbers into the orange cells. In Python: model.fold_in_user(ratings, reg=penalty).",
    ))  # fmt: skip


def _view(canvas: Canvas, source: Source, places: NewUserLayout) -> None:
    """What may be typed, colours of the predictions, widths."""
    rating = source.ratings.rating
    stars = stars_choice(places.rating, rating)
    canvas.choices += [] if stars is None else [stars]
    reg = places.reg.cell()
    test = f"AND(ISNUMBER({reg}),{reg}>=0)"
    canvas.choices.append(Choice(reg, "custom", test, "Penalty", "0 or more."))
    ends = float(rating.min()), float(rating.max())
    for block in (places.prediction, places.exact_prediction):
        canvas.scales.append(Scale(block.range(), "stars", ends))
    canvas.width([1], source.name_width)
    canvas.width([_RATING_COLUMN], 11)
    canvas.width(range(places.prediction.column, places.exact_prediction.column + 1), 10)
    canvas.freeze = cell_address(_FIRST, _RATING_COLUMN + 1)
