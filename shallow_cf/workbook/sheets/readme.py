"""The sheet `readme`: what is where, what the colours mean, what to try."""

from __future__ import annotations

from collections.abc import Collection

from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.sheets.source import Source

#: What is on each sheet, in the order of the tabs.
SHEETS = {
    "readme": "this page",
    "dotprod": "the model: ratings, embeddings, predictions = dot products, and their RMSE",
    "bias": "the same with a bias for each user and each movie",
    "one_hot": "an embedding as one-hot vector x matrix, a rating a row",
    "embedding": "the same by look-up (MATCH, INDEX): an embedding is that product done cheaply",
    "gradients": "the slope of the RMSE along every number, checked by finite differences",
    "sgd": "one epoch of stochastic gradient descent, rating by rating",
    "history": "the RMSE after each step of training, with a chart",
    "factors": "movies sorted by each factor, and a map of them",
    "new_user": "your own ratings, and what they make of all movies: only your numbers to find",
    "word_emb": "the same look-up for the words of a sentence",
    "answer_report": "what solving changed, from what to what",
}
_COLOURS = (
    ("rating", "ratings, in stars; blank where a user has not rated a movie"),
    ("item embedding", "movie embeddings: random numbers at first, then trained"),
    ("user embedding", "user embeddings, the same"),
    ("prediction", "predictions"),
    ("loss", "the loss, RMSE in stars: what training makes small"),
    ("input", "on other sheets: yours to change"),
)
_EXERCISES = (
    "1. Press Solve. On {sheet}: Data > Solver. The dialog is filled in: minimise the red cell "
    "by changing the green and orange ones. Solve, and watch it fall.",
    "2. Change one rating and watch: its prediction stays, its error and the RMSE move, and on "
    "gradients the slopes of that user and that movie. Solve again: which embeddings follow?",
    "3. Add your own ratings as a new user: on {sheet} type your name over one of the user ids, "
    "your stars over that user's ratings, and clear what you have not seen. Solve. The predictions "
    "for the cleared cells are 0 on the sheet; take the dot product yourself: "
    "=MMULT(your row of orange numbers, a movie's column of green ones).",
)
#: The first where the embeddings are solved already.
_SOLVED = (
    "1. Press Solve. The numbers on {sheet} are solved already, so spoil them first: type 1 over "
    "some of the green and orange ones, and the red cell rises. Then Data > Solver, where the "
    "dialog is filled in: minimise the red cell by changing those. Solve, and watch it fall back."
)
#: The third where there is a sheet for it; what it needs first where the model is not solved.
_NEW_USER = (
    "3. Be a new user: {first}type your stars on new_user, and solve there. Only your "
    "numbers change, and the predictions for what you have not seen are what you came for."
)
_SOLVER = (
    "Excel on Windows: File > Options > Add-ins > Manage: Excel Add-ins > Go > tick Solver "
    "Add-in. It then stands at the right end of the Data tab.",
    "Excel on a Mac: Tools > Excel Add-ins > tick Solver Add-In. It then stands on the Data tab.",
    "If Excel opened the file in Protected View, press Enable Editing first.",
    "Without Excel: shallow-cf solve BOOK.xlsx -o SOLVED.xlsx does what Solver does. LibreOffice "
    "and Gnumeric show and compute all sheets.",
)


def draw(source: Source, sheets: Collection[str]) -> Canvas:
    """Draw the sheet.

    Parameters
    ----------
    source : Source
        The model that exercises are about.
    sheets : collection of str
        Names of the sheets that the workbook has.
    """
    canvas, ratings = Canvas("readme", one_page=True), source.ratings
    canvas.put(1, 1, "Collaborative filtering in a spreadsheet", "heading")
    n_numbers = source.parameters.n_factors
    row = canvas.lines(2, 1, (
        f"{ratings.n_ratings} ratings that {ratings.n_users} users gave {ratings.n_items} movies; "
        f"{n_numbers} numbers for each user and each movie; prediction = their dot product.",
        "Every number is live: change one, and all that follows from it follows.",
    ))  # fmt: skip
    row = _section(canvas, row + 1, "The sheets")
    for sheet in sheets:
        canvas.put(row, 1, sheet, "subheading")
        canvas.put(row, 2, SHEETS[sheet], "beside")
        row += 1
    row = _section(canvas, row + 1, "The colours")
    for style, text in _COLOURS:
        canvas.put(row, 1, None, style)
        canvas.put(row, 2, text, "beside")
        row += 1
    for heading, texts in (("Try it", _exercises(source, sheets)), ("Solver", _SOLVER)):
        row = _section(canvas, row + 1, heading)
        for text in texts:
            canvas.put(row, 2, text, "wrapped text")
            canvas.heights[row] = 15.0 * -(-len(text) // 112)
            row += 1
    if source.note is not None:
        canvas.put(row, 2, source.note, "warning")
    canvas.width([1], 16)
    canvas.width([2], 92)
    return canvas


def _exercises(source: Source, sheets: Collection[str]) -> list[str]:
    """What to try, with a model that is solved or is not."""
    solve, change, add_user = _EXERCISES
    if "new_user" in sheets:
        first = "" if source.is_solved else f"solve {source.sheet}, "
        add_user = _NEW_USER.format(first=first)
    texts = _SOLVED if source.is_solved else solve, change, add_user
    return [text.format(sheet=source.sheet) for text in texts]


def _section(canvas: Canvas, row: int, heading: str) -> int:
    canvas.put(row, 1, heading, "heading")
    return row + 1
