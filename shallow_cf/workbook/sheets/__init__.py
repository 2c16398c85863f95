"""The sheets of a workbook, one module each: from a model to a canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from shallow_cf.solvers.result import TraceRow
from shallow_cf.workbook.canvas import Canvas
from shallow_cf.workbook.sheets import (
    answer_report,
    crosstab,
    embedding,
    factors,
    gradients,
    history,
    new_user,
    one_hot,
    readme,
    sgd,
    word_emb,
)
from shallow_cf.workbook.sheets.answer_report import Report
from shallow_cf.workbook.sheets.inputs import Inputs
from shallow_cf.workbook.sheets.source import Source

#: The sheets that explain a model, in the order of the tabs; those of the models come second.
TEACHING_SHEETS = tuple(name for name in readme.SHEETS if name not in ("dotprod", "bias"))
#: Those of them whose results follow from a model's embeddings: name -> drawing.
FOLLOWING: dict[str, Callable[[Source, Inputs], Canvas]] = {
    "one_hot": lambda source, _: one_hot.draw(source),
    "embedding": lambda source, _: embedding.draw(source),
    "gradients": gradients.draw,
    "sgd": sgd.draw,
    "factors": factors.draw,
    new_user.NAME: new_user.draw,
}
#: Users and items up to which they are drawn unasked.
TEACHING_SIZE = 30


def draw_book(
    sources: Sequence[Source],
    wanted: Iterable[str],
    inputs: Inputs,
    runs: Mapping[str, Sequence[TraceRow]],
    reports: Sequence[Report],
) -> list[Canvas]:
    """Draw the models' sheets and those that explain them, in the order of the tabs.

    `one_hot`, `embedding`, `gradients`, `sgd` and `new_user` explain the first model,
    `factors` the last, which has biases if any has. `history` needs runs and
    `answer_report` reports; without them they are left out.
    """
    first, last = sources[0], sources[-1]
    models = [crosstab.draw(source) for source in sources]
    makers: dict[str, Callable[[], Canvas]] = {
        name: partial(draw, last if name == "factors" else first, inputs)
        for name, draw in FOLLOWING.items()
    }
    makers |= {
        "history": lambda: history.draw(runs),
        "word_emb": lambda: word_emb.draw(inputs),
        "answer_report": lambda: answer_report.draw(reports),
    }
    without = {"history": not any(runs.values()), "answer_report": not reports}
    names = {name for name in wanted if not without.get(name)}
    explaining = [makers[name]() for name in TEACHING_SHEETS if name in makers and name in names]
    if "readme" not in names:
        return [*models, *explaining]
    tabs = ["readme", *(canvas.name for canvas in (*models, *explaining))]
    return [readme.draw(first, tabs), *models, *explaining]
