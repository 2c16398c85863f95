"""The sheet `history`: the loss after each step of each run, with a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from shallow_cf.solvers.result import TraceRow
from shallow_cf.workbook.canvas import Canvas, Chart, Series
from shallow_cf.workbook.layout import Block

#: Steps in the chart: most of the way is gone by then, and short runs stay visible.
_IN_CHART = 100
_HEADER = 5


def draw(runs: Mapping[str, Sequence[TraceRow]]) -> Canvas:
    """Draw the sheet: a column a run, named after it; row by row the steps from the start."""
    canvas, runs = Canvas("history"), {name: trace for name, trace in runs.items() if trace}
    canvas.put(1, 1, "Training: RMSE after each step of each run, in stars", "heading")
    canvas.put(2, 1, "A step is an epoch of SGD, an iteration of Solver or variable projection, "
                     "or a search of multistart; step 0 is the start.")  # fmt: skip
    canvas.put(3, 1, f"The chart shows the first {_IN_CHART} steps; its axis is logarithmic.")
    canvas.label(_HEADER, 1, "step")
    n_steps = max(len(trace) for trace in runs.values())
    canvas.numbers(Block(_HEADER + 1, 1, n_steps, 1), range(n_steps), "count")
    losses = []
    for column, (name, trace) in enumerate(runs.items(), 2):
        canvas.label(_HEADER, column, name)
        values = [row["train_rmse"] for row in trace]
        losses += values[:_IN_CHART]
        canvas.numbers(Block(_HEADER + 1, column, len(trace), 1), values, "number")
        canvas.width([column], max(10, len(name) + 3))
    canvas.freeze = Block(_HEADER + 1, 2).cell()
    canvas.charts.append(_chart(runs, losses))
    return canvas


def _chart(runs: Mapping[str, Sequence[TraceRow]], losses: list[float]) -> Chart:
    n_shown = min(_IN_CHART + 1, max(len(trace) for trace in runs.values()))
    steps = Block(_HEADER + 1, 1, n_shown, 1)
    series = []
    for column, trace in enumerate(runs.values(), 2):
        block = Block(_HEADER + 1, column, min(n_shown, len(trace)), 1)
        title = Block(_HEADER, column)
        series.append(Series(*(f"history!{b.range(fixed=True)}" for b in (title, block, steps))))
    positive = [loss for loss in losses if 0 < loss < math.inf]
    return Chart(
        "line", "RMSE while training", "step", "RMSE, stars (log)", series,
        Block(_HEADER, len(runs) + 3).cell(), _rounded(positive),
    )  # fmt: skip


def _rounded(values: Sequence[float]) -> tuple[float, float] | None:
    """Powers of 2 around the values: the ends of the logarithmic axis."""
    if not values:
        return None
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    return 2.0**low, 2.0 ** max(high, low + 1)
