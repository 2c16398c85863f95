"""What the arguments of commands share: kinds of values, the options all have, ratings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from shallow_cf.commands.shared import BAD_INPUT, Outcome
from shallow_cf.ratings import DUPLICATES

# --- kinds of values --------------------------------------------------------------------


def whole_number(minimum: int) -> Callable[[str], int]:
    """For `type`: a whole number that is at least `minimum`."""

    def convert(text: str) -> int:
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be >= {minimum}, got {text}")
        return value

    convert.__name__ = "whole number"  # argparse: "invalid whole number value: '1.5'"
    return convert


def share(text: str) -> float:
    """For `type`: a number from 0 to less than 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be >= 0 and < 1, got {text}")
    return value


def file_name(text: str) -> str:
    """For `type`: any name, but not none, which pathlib takes for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a file name, got ''")
    return text


# --- parsers ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Errors on one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with a command line, and where to read what is right."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], Outcome],
    example: str,
    *,
    writes: bool = True,
) -> argparse.ArgumentParser:
    """A command with what all of them have; `writes` says whether it has an output."""
    description = (run.__doc__ or "").strip()
    summary = description.split("\n\n")[0]
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"Example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, prog=parser.prog)
    parser.add_argument("--json", action="store_true", help="print one JSON object, not text")
    if writes:
        parser.add_argument(
            "--force", action="store_true", help="replace an output file that exists"
        )
    return parser


def add_ratings(
    parser: argparse.ArgumentParser, *, optional: bool = False, most: str = "all"
) -> None:
    """A file of ratings, its columns and how much of it; `most` says what the default is."""
    parser.add_argument(
        "ratings", metavar="RATINGS", nargs="?" if optional else None, type=file_name,
        help="ratings.csv, u.data or ratings.dat, or one of them gzipped"
        + (" (default: the lesson's 206 ratings)" if optional else ""),
    )  # fmt: skip
    for name in ("users", "items"):
        parser.add_argument(
            f"--{name}", type=whole_number(1), metavar="N",
            help=f"how many {name}, those with the most ratings (default: {most})",
        )  # fmt: skip
    add_columns(parser)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """How to read a file of ratings."""
    for role in ("user", "item", "rating"):
        parser.add_argument(
            f"--{role}-column", metavar="NAME", help=f"column with the {role} (default: found)"
        )
    parser.add_argument(
        "--duplicates", choices=DUPLICATES, default=DUPLICATES[0],
        help="when a user rated an item more than once (default: %(default)s)",
    )  # fmt: skip
