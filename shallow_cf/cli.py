"""The command line: what may be asked, and how the answer is shown."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

import shallow_cf
from shallow_cf.commands import (
    DEFAULT_SEED,
    DEMO_WORKBOOK,
    LESSON_SIZE,
    Outcome,
    run_check,
    run_crosstab,
    run_demo,
    run_export,
    run_import,
    run_screenshot,
    run_solve,
)
from shallow_cf.ratings import DUPLICATES
from shallow_cf.screenshot import DPI
from shallow_cf.solvers import SOLVERS
from shallow_cf.solvers.options import DERIVATIVES, SEARCHES, TARGETS
from shallow_cf.workbook.sheets import TEACHING_SHEETS, TEACHING_SIZE

BAD_INPUT, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    That is 0 when done, 1 when a check failed or there is no solution, 2 on bad input.
    """
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
        if match[1] == "value" and hasattr(args, "value"):
            return "--value-of"
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


def _sheet_names(text: str) -> list[str]:
    """For `type`: names of sheets with commas between them, or none."""
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    known = ("dotprod", "bias", *TEACHING_SHEETS)
    for name in names:
        if name == "none":
            raise argparse.ArgumentTypeError(f"none stands alone, got {text!r}")
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"there is no sheet {name!r}; known: {', '.join(known)}, or none"
            )
    return names


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
        "--seed", type=_whole_number(0), default=DEFAULT_SEED, metavar="S",
        help="of the start (default: %(default)s)",
    )  # fmt: skip
    demo.add_argument(
        "-o", "--output", metavar="FILE", type=_file_name,
        help=f"workbook to write (default: {DEMO_WORKBOOK}, numbered where one stands)",
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
        "--seed", type=_whole_number(0), default=DEFAULT_SEED, metavar="S",
        help="of the random embeddings (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--sheets", type=_sheet_names, metavar="LIST",
        help="sheets to add, with commas between them, or none; of: "
        f"{', '.join(('bias', *TEACHING_SHEETS))} (default: all but bias for tables up to "
        f"{TEACHING_SIZE} x {TEACHING_SIZE}, else none)",
    )  # fmt: skip
    export.add_argument(
        "--titles", metavar="FILE", type=_file_name,
        help="movies.csv, movies.dat or u.item with what the items are called (default: such a "
        "file beside the ratings)",
    )  # fmt: skip
    export.add_argument(
        "--solve", action="store_true", help="write solved embeddings instead of random ones"
    )

    solve = _command(commands, "solve", run_solve, "shallow-cf solve book.xlsx -o solved.xlsx")
    _add_workbook(solve)
    target = solve.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="FILE", type=_file_name, help="workbook to write")
    target.add_argument("--in-place", action="store_true", help="overwrite the workbook itself")
    _add_solver(solve)

    import_ = _command(commands, "import", run_import, "shallow-cf import book.xlsx -o model.npz")
    _add_workbook(import_)
    import_.add_argument(
        "-o", "--output", metavar="FILE", type=_file_name, help="model to write (.npz)"
    )
    import_.add_argument(
        "-v", "--verbose", action="store_true", help="show what was found where, and how"
    )

    check = _command(commands, "check", run_check, "shallow-cf check book.xlsx")
    _add_workbook(check, sheets="each that holds a model")

    screenshot = _command(
        commands, "screenshot", run_screenshot, "shallow-cf screenshot book.xlsx -o png/"
    )
    screenshot.add_argument(
        "workbook", metavar="BOOK.xlsx", type=_file_name, help="workbook to draw"
    )
    screenshot.add_argument(
        "-o", "--output", metavar="FOLDER", default=".", type=_file_name,
        help="where the pictures go, made if need be (default: here)",
    )  # fmt: skip
    screenshot.add_argument(
        "--dpi", type=_whole_number(1), default=DPI, metavar="N",
        help="dots an inch (default: %(default)s)",
    )  # fmt: skip
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


def _add_workbook(parser: argparse.ArgumentParser, sheets: str = "the one that opens") -> None:
    parser.add_argument("workbook", metavar="BOOK.xlsx", type=_file_name, help="workbook to read")
    parser.add_argument("--sheet", metavar="NAME", help=f"sheet to read (default: {sheets})")
    parser.add_argument(
        "--ratings", metavar="RANGE", help="where the ratings are, such as H2:V16 (default: found)"
    )
    parser.add_argument(
        "--factors", metavar="RANGES",
        help="where users' and items' embeddings are, such as B25:F39,H19:V23 (default: found)",
    )  # fmt: skip


def _add_solver(parser: argparse.ArgumentParser) -> None:
    """The Solver dialog; None stands for what the workbook says."""
    parser.add_argument(
        "--method", choices=tuple(SOLVERS), default="grg",
        help="Excel's Solver, or another way to the same minimum (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--report", action="store_true", help="print the Answer, Sensitivity and Limits reports"
    )
    parser.add_argument(
        "--seed", type=_whole_number(0), metavar="S",
        help="of multistart's starts and of SGD (default: other numbers each time)",
    )  # fmt: skip
    dialog = parser.add_argument_group(
        "options of the Solver dialog (default: with grg the workbook's, else the method's own)"
    )
    aim = dialog.add_mutually_exclusive_group()
    aim.add_argument("--to", choices=TARGETS[:2], help="what to do with the objective")
    aim.add_argument("--value-of", dest="value", type=float, metavar="V", help="RMSE to reach")
    dialog.add_argument(
        "--non-negative", action=argparse.BooleanOptionalAction,
        help="make unconstrained variables non-negative",
    )  # fmt: skip
    dialog.add_argument(
        "--convergence", type=float, metavar="C",
        help="relative change of the objective that counts as none",
    )  # fmt: skip
    dialog.add_argument(
        "--precision", type=float, metavar="P", help="by how much a constraint may be missed"
    )
    dialog.add_argument(
        "--derivatives", choices=DERIVATIVES, help="differences as in Excel, or the formula"
    )
    dialog.add_argument("--search", choices=SEARCHES, help="quasi-Newton or conjugate directions")
    dialog.add_argument(
        "--use-automatic-scaling", action=argparse.BooleanOptionalAction,
        help="measure variables by their size at the start",
    )  # fmt: skip
    dialog.add_argument("--iterations", type=int, metavar="N", help="most iterations")
    dialog.add_argument("--max-time", type=float, metavar="S", help="most seconds")
    dialog.add_argument(
        "--multistart", action=argparse.BooleanOptionalAction,
        help="search from many random starts and keep the best end",
    )  # fmt: skip
    dialog.add_argument(
        "--require-bounds", action=argparse.BooleanOptionalAction,
        help="refuse a multistart unless all variables have bounds",
    )  # fmt: skip
    dialog.add_argument(
        "--population-size", type=int, metavar="N", help="most starts of a multistart"
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
            help=f"how many {name}, those with the most ratings (default: up to {LESSON_SIZE})",
        )  # fmt: skip
    for role in ("user", "item", "rating"):
        parser.add_argument(
            f"--{role}-column", metavar="NAME", help=f"column with the {role} (default: found)"
        )
    parser.add_argument(
        "--duplicates", choices=DUPLICATES, default=DUPLICATES[0],
        help="when a user rated an item more than once (default: %(default)s)",
    )  # fmt: skip
