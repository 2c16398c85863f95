"""The sheet `word_emb`: the same look-up, on language.

A sentence becomes words, the words become their numbers in a vocabulary, the numbers pick
rows of a matrix. The embeddings are random numbers here: a language model would train
them as the other sheets train those of users and movies.
"""

from __future__ import annotations

import numpy as np

from shallow_cf.workbook.canvas import Canvas, Content
from shallow_cf.workbook.layout import Block, cell_address
from shallow_cf.workbook.sheets.inputs import Inputs

#: Number 1 stands for every word that is not known.
_UNKNOWN = "<unknown>"
VOCABULARY = (
    _UNKNOWN, "a", "and", "bad", "but", "film", "funny", "good", "great", "i", "in", "is",
    "it", "long", "loved", "movie", "not", "of", "sad", "story", "the", "this", "was", "with",
)  # fmt: skip
_N_NUMBERS = 5
_N_WORDS = 12
#: Characters of the sentence that are looked at, and as many blanks between its words; 125
#: words of one letter, so spread, just fit into a cell.
_LENGTH = 250
_SENTENCE = Block(4, 2)
_WORDS = Block(7, 1, _N_WORDS, 2 + _N_NUMBERS)
_TABLE = Block(_WORDS.last_row + 4, 1, len(VOCABULARY), 2 + _N_NUMBERS)


def embeddings() -> np.ndarray:
    """The vocabulary's embeddings: standard normal, always the same."""
    return np.random.default_rng(0).normal(size=(len(VOCABULARY), _N_NUMBERS)).round(2)


def draw(inputs: Inputs) -> Canvas:
    """Draw the sheet."""
    canvas = Canvas("word_emb", one_page=True)
    canvas.put(1, 1, "Words: the same look-up, on language", "heading")
    canvas.put(2, 1, "Each word has a number in the vocabulary below, each number a row of "
                     "embeddings: MATCH, then INDEX, as for users and movies.")  # fmt: skip
    canvas.put(_SENTENCE.row, 1, "sentence", "label")
    canvas.put(_SENTENCE.row, _SENTENCE.column, inputs.sentence, "input text")
    for column in range(_SENTENCE.column + 1, _WORDS.last_column + 1):
        canvas.put(_SENTENCE.row, column, None, "input text")
    _headers(canvas, _WORDS.row - 1, "word")
    _headers(canvas, _TABLE.row - 1, "vocabulary")
    table = embeddings()
    _vocabulary(canvas, table)
    _looked_up(canvas, table, inputs.sentence)
    canvas.put(_TABLE.last_row + 2, 1, "Change the yellow sentence (up to 12 words). The "
               "numbers here are random; a language model trains them.")  # fmt: skip
    canvas.width([1], 14)
    canvas.freeze = cell_address(_WORDS.row, 3)
    return canvas


def words_of(sentence: str) -> list[str]:
    """The words of a sentence as the sheet's formulas cut them, without capital letters."""
    trimmed = " ".join(word for word in sentence.lower().split(" ") if word)
    return [word for word in trimmed[:_LENGTH].split(" ") if word][:_N_WORDS]


def _headers(canvas: Canvas, row: int, first: str) -> None:
    canvas.label(row, 1, first)
    canvas.label(row, 2, "number")
    for k in range(_N_NUMBERS):
        canvas.label(row, 3 + k, f"factor {k + 1}")


def _vocabulary(canvas: Canvas, table: np.ndarray) -> None:
    for r, (word, numbers) in enumerate(zip(VOCABULARY, table.tolist(), strict=True)):
        canvas.put(_TABLE.row + r, 1, word, "word")
        canvas.put(_TABLE.row + r, 2, r + 1.0, "count")
        for k, value in enumerate(numbers):
            canvas.put(_TABLE.row + r, 3 + k, value, "user embedding")


def _looked_up(canvas: Canvas, table: np.ndarray, sentence: str) -> None:
    words = words_of(sentence)
    listed = _TABLE.column_block(0).range(fixed=True)
    for n in range(_N_WORDS):
        row = _WORDS.row + n
        word_cell, id_cell = (cell_address(row, c, fix_column=True) for c in (1, 2))
        word: Content = words[n] if n < len(words) else ""
        canvas.formula(row, 1, f"={_nth_word(n)}", word, "word")
        found = VOCABULARY.index(str(word)) if word in VOCABULARY else 0
        number: Content = "" if word == "" else found + 1.0
        lookup = f"IFERROR(MATCH({_literal(word_cell)},{listed},0),1)"
        canvas.formula(row, 2, f'=IF({word_cell}="","",{lookup})', number, "count")
        for k in range(_N_NUMBERS):
            column = _TABLE.column_block(2 + k).range(fixed=True)
            value: Content = "" if word == "" else float(table[found, k])
            formula = f'=IF({id_cell}="","",INDEX({column},{id_cell}))'
            canvas.formula(row, 3 + k, formula, value, "user embedding")


def _nth_word(n: int) -> str:
    """Blanks made so wide that each stretch of the sentence holds one word."""
    sentence = f"LEFT(TRIM({_SENTENCE.cell(fixed=True)}),{_LENGTH})"
    spread = f'SUBSTITUTE({sentence}," ",REPT(" ",{_LENGTH}))'
    return f"LOWER(TRIM(MID({spread},{n * _LENGTH + 1},{_LENGTH})))"


def _literal(cell: str) -> str:
    """A word as MATCH shall take it: with ~ before what it would take for a wildcard."""
    for character in "~*?":
        cell = f'SUBSTITUTE({cell},"{character}","~{character}")'
    return cell
