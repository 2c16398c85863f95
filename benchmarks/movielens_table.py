"""The Markdown table of `movielens.py`, from runs alone."""

from typing import NamedTuple

import numpy as np
from methods import OURS
from movielens_data import RANDOM


class Figure(NamedTuple):
    """What a cell of the table is made of: medians over the runs, and the errors' range."""

    rmse: float
    lowest: float
    highest: float
    seconds: float


def figure(runs_of_splits):
    """One figure for a split's runs, or for several splits: the mean over them run by run.

    Parameters
    ----------
    runs_of_splits : list of lists of Run
    """
    rmse, seconds = (
        np.mean([[getattr(run, field) for run in runs] for runs in runs_of_splits], axis=0)
        for field in ("rmse", "seconds")
    )
    return Figure(np.median(rmse), rmse.min(), rmse.max(), np.median(seconds))


def figures(measured):
    """Row -> heading -> Figure, from row -> split -> runs. The folds become their mean."""
    return {
        row: {
            heading: figure([runs[split] for split in splits])
            for heading, splits in headings(list(runs)).items()
        }
        for row, runs in measured.items()
    }


def headings(splits):
    """Heading -> the splits below it."""
    folds = [split for split in splits if split != RANDOM]
    groups = {RANDOM: [RANDOM]} if RANDOM in splits else {}
    if folds:
        groups[folds[0] if len(folds) == 1 else f"mean of {', '.join(folds)}"] = folds
    return groups


def label(row):
    """A row's name in the table."""
    return f"{'shallow_cf' if row.worker == OURS else row.worker} {row.method}, {row.kind}"


def markdown(rows, against=None):
    """The lines of the table, the most exact method first.

    Parameters
    ----------
    rows : dict
        Row -> heading -> Figure.
    against : Row, optional
        Whose time the others' are divided by.
    """
    columns = list(next(iter(rows.values())))
    titles = ["method"]
    for heading in columns:
        titles += [f"{heading}: RMSE", "seconds"]
        titles += [f"time / {label(against)}"] if against else []
    yield f"| {' | '.join(titles)} |"
    yield f"|---{'|---:' * (len(titles) - 1)}|"
    for row in sorted(rows, key=lambda row: rows[row][columns[0]].rmse):
        cells = [label(row)]
        for heading in columns:
            one = rows[row][heading]
            cells += [
                f"{one.rmse:.4f} ({one.lowest:.4f} to {one.highest:.4f})",
                two_digits(one.seconds),
            ]
            cells += [two_digits(one.seconds / rows[against][heading].seconds)] if against else []
        yield f"| {' | '.join(cells)} |"


def two_digits(value):
    """A number to two digits that count."""
    return f"{value:.0f}" if value >= 10 else f"{value:#.2g}".rstrip(".")
