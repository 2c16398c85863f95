"""What commands share: outcomes, ratings and titles read, outputs checked, progress shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shallow_cf.datasets import find_titles, read_ratings, read_titles
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.result import SolverResult

#: Exit statuses.
DONE, CHECK_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

#: What the parser found: an `argparse.Namespace`.
Args = Any

#: Characters on a line of text for people, as far as names of files allow.
LINE_WIDTH = 100

#: One of the five in six whose start leads the Solver path to the best known optimum.
DEFAULT_SEED = 1


@dataclass
class Outcome:
    """What a command found: for `--json`, for people, and as an exit status."""

    data: dict[str, Any]
    text: str
    status: int = DONE


# --- input ------------------------------------------------------------------------------


def read(args: Args, path: str | None = None) -> Ratings:
    """All ratings of the file that a command was given."""
    with reading(args) as step:
        return read_ratings(
            args.ratings if path is None else path,
            user=args.user_column,
            item=args.item_column,
            rating=args.rating_column,
            timestamp=getattr(args, "timestamp_column", None),
            duplicates=args.duplicates,
            progress=step,
        )


def titles_for(path: str | None, *, beside: str | None) -> dict[Any, str] | None:
    """What the items are called, by the file given or the one beside another."""
    if path is not None:
        return read_titles(path)
    found = None if beside is None else find_titles(beside)
    return None if found is None else read_titles(found)


# --- output -----------------------------------------------------------------------------


def check_output(
    path: Path, force: bool, suffix: str = "", *, source: str | None = None, hint: str = ""
) -> None:
    """Refuse a place that cannot be written, before the work rather than after it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"no permission to write in the folder {path.parent}")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"{path} is the input and is not overwritten{hint}")
    if path.suffix.lower() != suffix and suffix:
        raise ValueError(f"the name of the output must end in {suffix}, got {path.name}")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already; pass --force to replace it")


def sizes(ratings: Ratings) -> dict[str, int]:
    """How many users, items and ratings, for JSON."""
    return {"users": ratings.n_users, "items": ratings.n_items, "ratings": ratings.n_ratings}


def size_words(ratings: Ratings) -> str:
    """How many users, items and ratings, for people."""
    return f"{ratings.n_users} users x {ratings.n_items} items, {ratings.n_ratings} ratings"


def finite(number: float) -> float | None:
    """A number as JSON takes it: infinity and NaN are null."""
    return number if np.isfinite(number) else None


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them: NaN is null, a date its ISO text."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return id_text(value.to_datetime64())
    return None if value != value else value


def id_text(value: Any) -> str:
    """An id as people write it, a date without the time where that is midnight."""
    if not isinstance(value, np.datetime64):
        return str(value)
    return str(value.astype("datetime64[us]").item()).removesuffix(" 00:00:00").replace(" ", "T")


def table_lines(table: pd.DataFrame, formats: dict[str, str]) -> list[str]:
    """A table for people: numbers to the right, texts to the left.

    `formats` says how to write the columns that are not shown as they are, such as ".2f".
    """
    columns = []
    for name in table.columns:
        spec = formats.get(name, "")
        cells = [format(value, spec) if spec else id_text(value) for value in table[name].array]
        width = max(len(cell) for cell in [str(name), *cells])
        is_text = not pd.api.types.is_numeric_dtype(table[name])
        columns.append([f"{cell:{'<' if is_text else '>'}{width}}" for cell in [str(name), *cells]])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def error_lines(errors: dict[str, dict[str, float]]) -> list[str]:
    """RMSE and MAE of models, a row each, for people."""
    table = pd.DataFrame.from_dict(errors, orient="index")[["rmse", "mae"]]
    table = table.set_axis(["RMSE", "MAE"], axis="columns")
    table.insert(0, "", list(errors))
    return table_lines(table, {"RMSE": ".4f", "MAE": ".4f"})


# --- interruption -------------------------------------------------------------------------


def is_interrupted(result: SolverResult) -> bool:
    """Whether Ctrl-C ended a run; the callbacks here never ask to stop.

    Solver has a code for that, the methods without codes say it.
    """
    return result.code == 6 or result.message.startswith("Interrupted")


# --- progress ---------------------------------------------------------------------------

#: Called with what is known of a step; fits wherever a callback is taken.
Step = Callable[[Mapping[str, float]], None]


@contextmanager
def progress(
    args: Args, name: str, steps: str = "steps", total: int | None = None
) -> Iterator[Step | None]:
    """A progress line for long runs, on a terminal with tqdm installed; else nothing.

    Where the `total` is known there is a bar, from the first moment on.
    """
    if not _shows_progress(args):
        yield None
        return
    from tqdm import tqdm

    delay = 1.0 if total is None else 0.0
    with tqdm(desc=name, unit=f" {steps}", total=total, delay=delay, leave=False) as bar:

        def step(row: Mapping[str, float]) -> None:
            figures = {"RMSE": row.get("train_rmse"), "valid": row.get("valid_rmse")}
            known = {key: f"{it:.6f}" for key, it in figures.items() if it is not None and it == it}
            bar.set_postfix(known, refresh=False)
            bar.update()

        yield step


@contextmanager
def reading(args: Args, name: str = "reading") -> Iterator[Callable[[int, int], None] | None]:
    """A bar for a file that takes longer than a second to read; where, is said by `progress`."""
    if not _shows_progress(args):
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit="B", unit_scale=True, delay=1.0, leave=False) as bar:

        def step(done: int, size: int) -> None:
            bar.total = size
            bar.update(done - bar.n)

        yield step


def _shows_progress(args: Args) -> bool:
    is_watched = sys.stderr is not None and sys.stderr.isatty() and not args.quiet
    return is_watched and find_spec("tqdm") is not None
