"""The command line: each command returns what it found, `main` prints it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import shallow_cf
from shallow_cf import objective
from shallow_cf._files import whole_file
from shallow_cf.datasets import load_crosstab, read_ratings
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.parameters import Parameters
from shallow_cf.ratings import DUPLICATES, Ratings
from shallow_cf.solvers import grg
from shallow_cf.solvers.options import DERIVATIVES, SolverOptions
from shallow_cf.solvers.result import Callback, SolverResult, TraceRow
from shallow_cf.workbook import (
    check_workbook,
    read_workbook,
    update_workbook,
    write_workbook,
)
from shallow_cf.workbook.check import TOLERANCE, check_model
from shallow_cf.workbook.layout import published_layout

DONE, CHECK_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

#: One of the five in six whose start leads the Solver path to the best known optimum.
_DEFAULT_SEED = 1
#: The lesson's table.
_LESSON_SIZE = 15
_DEMO_WORKBOOK = "collab_filter.xlsx"
#: The lesson's question: user and movie under their MovieLens ids.
_LESSON_QUESTION = (294, 296)


@dataclass
class Outcome:
    """What a command found: for `--json`, for people, and as an exit status."""

    data: dict[str, Any]
    text: str
    status: int = DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status (0 done, 1 a check failed, 2 bad input)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Ids in letters the terminal does not have stay different from each other.
            stream.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        with np.errstate(over="raise"):
            outcome: Outcome = args.run(args)
        _print(json.dumps(outcome.data) if args.json else outcome.text)
    except (ValueError, OSError) as error:
        return _fail(args, _one_line(error))
    except FloatingPointError:
        return _fail(args, "the ratings are too large to compute with")
    except MemoryError:
        return _fail(args, "not enough memory for data of this size")
    except KeyboardInterrupt:
        print(f"{args.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return outcome.status


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader of our output went away (such as `head`): no more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(args: argparse.Namespace, reason: str) -> int:
    print(f"{args.prog}: error: {_in_options(args, reason)}", file=sys.stderr)
    return BAD_INPUT


def _in_options(args: argparse.Namespace, reason: str) -> str:
    """A message of the library in the words of the command line: `max_time` is --max-time."""

    def option(match: re.Match[str]) -> str:
        name = match[1].removeprefix("n_")
        return f"--{name.replace('_', '-')}" if hasattr(args, name) else match[0]

    reason = reason.replace("duplicates='mean' or 'last'", "--duplicates mean or last")
    return re.sub(r"`(\w+)`", option, reason)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        if isinstance(error, PermissionError) and os.name == "nt":
            reason += " (is the file open in Excel?)"
        # Of the two names in a failed replacement the second is the one people know.
        name = error.filename2 or error.filename
        return f"{name}: {reason}" if name else reason
    return " ".join(str(error).split())


# --- commands ---------------------------------------------------------------------------


def run_demo(args: argparse.Namespace) -> Outcome:
    """The whole spreadsheet once: train two ways, write the workbook, read it back."""
    path = Path(_DEMO_WORKBOOK if args.output is None else args.output)
    if args.output is None and not args.force:
        path = _free_path(path)
    _check_output(path, args.force, ".xlsx")
    ratings = load_crosstab()
    models = {}
    for solver in ("sgd", "grg"):
        with _progress(solver) as callback:
            model = MatrixFactorization(solver=solver, random_state=args.seed)
            models[solver] = model.fit(ratings, callback)
    sgd, solved = models["sgd"].result_, models["grg"].result_
    write_workbook(path, ratings, models["grg"], overwrite=args.force)
    book = read_workbook(path)
    check = check_model(book)
    written = book.parameters.pack() - solved.parameters.pack()
    difference = max(check.max_difference, float(np.abs(written).max()))
    cells = check.cells + written.size
    predictions = _blank_predictions(ratings, models)
    data = {
        "users": ratings.n_users,
        "items": ratings.n_items,
        "ratings": ratings.n_ratings,
        "seed": args.seed,
        "start_rmse": solved.rmse_before,
        "sgd": {"rmse": sgd.rmse_after, "seconds": sgd.seconds, "epochs": sgd.iterations},
        "grg": {
            "rmse": solved.rmse_after,
            "seconds": solved.seconds,
            "code": solved.code,
            "message": solved.message,
            "iterations": solved.iterations,
        },
        "predictions": predictions,
        "workbook": str(path),
        "cells": cells,
        "max_difference": difference,
    }
    user, item = _LESSON_QUESTION
    lines = [
        f"{ratings.n_users} users x {ratings.n_items} movies, {ratings.n_ratings} ratings, "
        f"{ratings.n_users * ratings.n_items - ratings.n_ratings} blanks (MovieLens).",
        f"Five numbers per user and per movie, uniform(0, 1), seed {args.seed}: "
        f"RMSE {solved.rmse_before:.4f} stars.",
        "",
        f"{'method':<24}{'steps':>16}{'seconds':>9}{'RMSE':>10}",
        f"{'mini-batch SGD':<24}{f'{sgd.iterations} epochs':>16}{sgd.seconds:>9.2f}"
        f"{sgd.rmse_after:>10.6f}",
        f"{'Solver (GRG Nonlinear)':<24}{f'{solved.iterations} iterations':>16}"
        f"{solved.seconds:>9.2f}{solved.rmse_after:>10.6f}",
        f"Solver says: {solved.message}",
        "",
        "Predictions for blank cells, stars:",
        f"{'user':>8}{'movie':>8}{'SGD':>8}{'Solver':>8}",
        *(
            f"{row['user']:>8}{row['item']:>8}{row['sgd']:>8.2f}{row['grg']:>8.2f}"
            for row in predictions
        ),
        f"(User {user} and movie {item} are the lesson's question: "
        f"its workbook calls them 293 and 49.)",
        "",
        f"Wrote {path} and read it back: {cells} embeddings and results, largest difference "
        f"between the workbook's numbers and NumPy's {difference:.1e}.",
    ]
    return Outcome(data, "\n".join(lines), DONE if difference <= TOLERANCE else CHECK_FAILED)


def run_crosstab(args: argparse.Namespace) -> Outcome:
    """The users and items with the most ratings, as a table."""
    if args.output is not None:
        _check_output(Path(args.output), args.force, source=args.ratings)
    ratings = _read(args)
    table = ratings.to_crosstab()
    text = table.to_csv(index_label="userId", float_format=_as_typed, lineterminator="\n")
    summary = _size_words(ratings)
    if args.output is None:
        shown = text.rstrip()
    else:
        with whole_file(args.output, overwrite=args.force) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        shown = f"{args.output}: {summary}"
    data = {**_sizes(ratings), "output": args.output}
    if args.output is None:
        data["user_ids"] = ratings.user_ids.tolist()
        data["item_ids"] = ratings.item_ids.tolist()
        data["table"] = [
            [None if np.isnan(r) else r for r in row] for row in table.to_numpy().tolist()
        ]
    return Outcome(data, shown)


def run_export(args: argparse.Namespace) -> Outcome:
    """Ratings and embeddings as a live workbook."""
    _check_output(Path(args.output), args.force, ".xlsx", source=args.ratings)
    ratings = _read(args)
    published_layout(ratings.n_users, ratings.n_items, args.factors, bias=args.bias)  # or no room
    sheets: dict[str, Parameters] = {}
    notes = []
    for bias in (False, True) if args.bias else (False,):
        sheet = "bias" if bias else "dotprod"
        sheets[sheet] = Parameters.random(
            ratings.n_users, ratings.n_items, args.factors, bias=bias, random_state=args.seed
        )
        if args.solve:
            with _progress(sheet) as callback:
                result = grg.solve(ratings, sheets[sheet], callback=callback)
            sheets[sheet] = result.parameters
            notes.append(f"{sheet}: {result.message}")
    write_workbook(args.output, ratings, *sheets.values(), overwrite=args.force)
    rmse = {name: objective.rmse(ratings, parameters) for name, parameters in sheets.items()}
    shown = list(sheets)[-1]
    data = {
        **_sizes(ratings),
        "factors": args.factors,
        "bias": args.bias,
        "solved": args.solve,
        "rmse": rmse[shown],
        "sheets": rmse,
        "output": args.output,
    }
    lines = [
        *notes,
        f"{args.output}: {_size_words(ratings)}, {args.factors} factors; RMSE "
        + ", ".join(f"{value:.6f} on sheet {name}" for name, value in rmse.items()),
    ]
    return Outcome(data, "\n".join(lines))


def run_solve(args: argparse.Namespace) -> Outcome:
    """What pressing Solve does, without Excel; Ctrl-C keeps what was reached.

    It minimises the RMSE with the options given here; those stored in the workbook are not
    read.
    """
    source = Path(args.workbook)
    output = source if args.in_place else Path(args.output)
    if args.in_place:
        _check_output(output, force=True)
    else:
        # A copy of a workbook with macros is one with macros; Excel goes by the name.
        suffix = ".xlsm" if source.suffix.lower() == ".xlsm" else ".xlsx"
        _check_output(
            output, args.force, suffix, source=args.workbook, hint="; pass --in-place to do so"
        )
    options = SolverOptions(
        convergence=args.convergence,
        derivatives=args.derivatives,
        iterations=args.iterations,
        max_time=args.max_time,
    )
    book = read_workbook(source, args.sheet)
    with _progress("Solver") as callback:
        result: SolverResult = grg.solve(book.ratings, book.parameters, options, callback)
    update_workbook(book, result.parameters, output, overwrite=args.in_place or args.force)
    data = {
        "sheet": book.sheet,
        "method": "grg",
        "code": result.code,
        "message": result.message,
        "rmse_before": result.rmse_before,
        "rmse_after": result.rmse_after,
        "iterations": result.iterations,
        "seconds": result.seconds,
        "output": str(output),
    }
    text = (
        f"{result.message}\n"
        f"{output}, sheet {book.sheet}: RMSE {result.rmse_before:.6f} -> "
        f"{result.rmse_after:.6f} in {result.iterations} iterations, {result.seconds:.2f} s"
    )
    return Outcome(data, text)


def run_import(args: argparse.Namespace) -> Outcome:
    """What a workbook holds; with -o as a model for Python."""
    if args.output is not None:
        _check_output(Path(args.output), args.force, ".npz", source=args.workbook)
    book = read_workbook(args.workbook, args.sheet)
    rmse = objective.rmse(book.ratings, book.parameters)
    if args.output is not None:
        MatrixFactorization.from_parameters(book.ratings, book.parameters).save(args.output)
    parameters = book.parameters
    data = {
        "sheet": book.sheet,
        **_sizes(book.ratings),
        "factors": parameters.n_factors,
        "bias": parameters.has_bias,
        "stored_objective": book.objective,
        "rmse": rmse,
        "output": args.output,
    }
    stored = "none stored" if book.objective is None else f"{book.objective:.16g}"
    lines = [
        f"sheet              {book.sheet}",
        f"users x items      {parameters.n_users} x {parameters.n_items}",
        f"ratings            {book.ratings.n_ratings}",
        f"factors            {parameters.n_factors}",
        f"bias               {'yes' if parameters.has_bias else 'no'}",
        f"stored objective   {stored}",
        f"recomputed RMSE    {rmse:.16g}",
    ]
    if args.output is not None:
        lines.append(f"model              {args.output}")
    return Outcome(data, "\n".join(lines))


def run_check(args: argparse.Namespace) -> Outcome:
    """Whether a workbook's stored results are what its formulas should give."""
    checks = check_workbook(args.workbook)
    ok = all(check.ok for check in checks)
    data = {
        "cells": sum(check.cells for check in checks),
        "max_difference": max(check.max_difference for check in checks),
        "ok": ok,
        "sheets": {
            check.sheet: {
                "cells": check.cells,
                "max_difference": check.max_difference,
                "worst_cell": check.worst_cell,
                "loss_checked": check.loss_checked,
                "ok": check.ok,
            }
            for check in checks
        },
    }
    lines = [
        f"{check.sheet}: {check.cells} cells, largest difference {check.max_difference:.1e} "
        f"at {check.worst_cell}: {'ok' if check.ok else 'DIFFERS'}"
        + ("" if check.loss_checked else " (objective cell not understood, not compared)")
        for check in checks
    ]
    return Outcome(data, "\n".join(lines), DONE if ok else CHECK_FAILED)


# --- pieces of commands -----------------------------------------------------------------


def _read(args: argparse.Namespace) -> Ratings:
    """The ratings a command asks for: a file's or the embedded ones, cut to size."""
    if args.ratings is None:
        ratings = load_crosstab()
    else:
        ratings = read_ratings(
            args.ratings,
            user=args.user_column,
            item=args.item_column,
            rating=args.rating_column,
            duplicates=args.duplicates,
        )
    n_users = min(_LESSON_SIZE, ratings.n_users) if args.users is None else args.users
    n_items = min(_LESSON_SIZE, ratings.n_items) if args.items is None else args.items
    return ratings.top(n_users, n_items)


def _sizes(ratings: Ratings) -> dict[str, int]:
    return {"users": ratings.n_users, "items": ratings.n_items, "ratings": ratings.n_ratings}


def _size_words(ratings: Ratings) -> str:
    return f"{ratings.n_users} users x {ratings.n_items} items, {ratings.n_ratings} ratings"


def _blank_predictions(
    ratings: Ratings, models: dict[str, MatrixFactorization]
) -> list[dict[str, Any]]:
    """Predictions for the lesson's question and a few more blank cells."""
    blank = ratings.to_crosstab().isna().to_numpy()
    pairs = [(ratings.user_ids[u], ratings.item_ids[i]) for u, i in np.argwhere(blank)]
    pairs = [_LESSON_QUESTION, *(pair for pair in pairs[::5] if pair != _LESSON_QUESTION)]
    return [
        {
            "user": int(user),
            "item": int(item),
            **{name: float(model.predict(user, item)) for name, model in models.items()},
        }
        for user, item in pairs
    ]


def _as_typed(rating: Any) -> str:
    """A rating with all its digits, a whole one without a point."""
    return repr(float(rating)).removesuffix(".0")


def _check_output(
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


def _free_path(path: Path) -> Path:
    """`path`, or with a number where a file stands: the demo never replaces your workbook."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


@contextmanager
def _progress(name: str) -> Iterator[Callback | None]:
    """A progress line for long runs, on a terminal with tqdm installed; else nothing."""
    if not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit=" steps", delay=1.0, leave=False) as bar:

        def callback(row: TraceRow) -> None:
            bar.set_postfix(RMSE=f"{row['train_rmse']:.6f}", refresh=False)
            bar.update()

        yield callback


# --- arguments --------------------------------------------------------------------------


def _whole_number(minimum: int) -> Callable[[str], int]:
    """For `type`: a whole number that is at least `minimum`."""

    def convert(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be >= {minimum}, got {text}")
        return value

    convert.__name__ = "whole number"  # argparse: "invalid whole number value: '1.5'"
    return convert


def _file_name(text: str) -> str:
    """For `type`: any name, but not none, which pathlib takes for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a file name, got ''")
    return text


class _Parser(argparse.ArgumentParser):
    """Errors on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="shallow-cf",
        description="The fast.ai collaborative filtering spreadsheet, in NumPy.",
        epilog="Example: shallow-cf demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=shallow_cf.__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", run_demo, "shallow-cf demo --seed 7")
    demo.add_argument(
        "--seed", type=_whole_number(0), default=_DEFAULT_SEED, metavar="S",
        help="of the start (default: %(default)s)",
    )  # fmt: skip
    demo.add_argument(
        "-o", "--output", metavar="FILE", type=_file_name,
        help=f"workbook to write (default: {_DEMO_WORKBOOK}, numbered where one stands)",
    )  # fmt: skip

    crosstab = _command(
        commands, "crosstab", run_crosstab,
        "shallow-cf crosstab ratings.csv --users 15 --items 15 -o crosstab.csv",
    )  # fmt: skip
    _add_ratings(crosstab, optional=False)
    crosstab.add_argument(
        "-o", "--output", metavar="FILE", type=_file_name,
        help="csv to write (default: print the table)",
    )  # fmt: skip

    export = _command(
        commands, "export", run_export, "shallow-cf export ratings.csv --bias -o book.xlsx"
    )
    _add_ratings(export, optional=True)
    export.add_argument(
        "-o", "--output", metavar="FILE", required=True, type=_file_name, help="workbook to write"
    )
    export.add_argument(
        "--factors", type=_whole_number(1), default=5, metavar="K",
        help="numbers in an embedding (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--bias", action="store_true", help="add the sheet with a bias for each user and item"
    )
    export.add_argument(
        "--seed", type=_whole_number(0), default=_DEFAULT_SEED, metavar="S",
        help="of the random embeddings (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--solve", action="store_true", help="write solved embeddings instead of random ones"
    )

    solve = _command(commands, "solve", run_solve, "shallow-cf solve book.xlsx -o solved.xlsx")
    _add_workbook(solve)
    target = solve.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="FILE", type=_file_name, help="workbook to write")
    target.add_argument("--in-place", action="store_true", help="overwrite the workbook itself")
    defaults = SolverOptions()
    solve.add_argument(
        "--convergence", type=float, default=defaults.convergence, metavar="C",
        help="relative change of the objective that counts as none (default: %(default)s)",
    )  # fmt: skip
    solve.add_argument(
        "--derivatives", choices=DERIVATIVES, default=defaults.derivatives,
        help="differences as in Excel, or the formula (default: %(default)s)",
    )  # fmt: skip
    solve.add_argument(
        "--iterations", type=int, metavar="N", help="most iterations (default: no limit)"
    )
    solve.add_argument(
        "--max-time", type=float, metavar="S", help="most seconds (default: no limit)"
    )

    import_ = _command(commands, "import", run_import, "shallow-cf import book.xlsx -o model.npz")
    _add_workbook(import_)
    import_.add_argument(
        "-o", "--output", metavar="FILE", type=_file_name, help="model to write (.npz)"
    )

    check = _command(commands, "check", run_check, "shallow-cf check book.xlsx")
    check.add_argument(
        "workbook", metavar="BOOK.xlsx", type=_file_name, help="workbook with stored results"
    )
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], Outcome], example: str
) -> argparse.ArgumentParser:
    summary = (run.__doc__ or "").strip()
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example: {example}", allow_abbrev=False
    )
    parser.set_defaults(run=run, prog=parser.prog)
    parser.add_argument("--json", action="store_true", help="print one JSON object, not text")
    if name != "check":
        parser.add_argument(
            "--force", action="store_true", help="replace an output file that exists"
        )
    return parser


def _add_workbook(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workbook", metavar="BOOK.xlsx", type=_file_name, help="workbook to read")
    parser.add_argument(
        "--sheet", metavar="NAME", help="sheet to read (default: the one that opens)"
    )


def _add_ratings(parser: argparse.ArgumentParser, *, optional: bool) -> None:
    parser.add_argument(
        "ratings", metavar="RATINGS", nargs="?" if optional else None, type=_file_name,
        help="ratings.csv, u.data or ratings.dat, or one of them gzipped"
        + (" (default: the lesson's 206 ratings)" if optional else ""),
    )  # fmt: skip
    for name in ("users", "items"):
        parser.add_argument(
            f"--{name}", type=_whole_number(1), metavar="N",
            help=f"how many {name}, those with the most ratings (default: up to {_LESSON_SIZE})",
        )  # fmt: skip
    for role in ("user", "item", "rating"):
        parser.add_argument(
            f"--{role}-column", metavar="NAME", help=f"column with the {role} (default: found)"
        )
    parser.add_argument(
        "--duplicates", choices=DUPLICATES, default=DUPLICATES[0],
        help="when a user rated an item more than once (default: %(default)s)",
    )  # fmt: skip
