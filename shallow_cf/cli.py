"""The command line: what may be asked, and how the answer is shown."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

import shallow_cf
from shallow_cf.arguments import completion, data, models, workbook
from shallow_cf.arguments.shared import Parser
from shallow_cf.commands.shared import BAD_INPUT, INTERRUPTED, Outcome

#: Names in the library whose option is called otherwise: where an argument is there, its option.
_SPELLED = {
    "value": [("value", "--value-of")],
    "rating_range": [("range", "--range")],
    "test_size": [("valid_size", "--valid-size")],
    "ratings": [("ratings_at", "--ratings-at")],
    "factors": [("factors_at", "--factors-at")],
    "k": [("k", "-k")],
    "random_state": [("seed", "--seed")],
}
#: Advice on Python, and what to type instead.
_CODE = {
    "duplicates='mean' or 'last'": "--duplicates mean or last",
}
#: Advice on naming columns: of ratings, for which there are options, and of titles.
_NAMED = re.compile(r", as in read_ratings\(path, ([^()]*)\)")
_TITLES_NAMED = re.compile(r"; name (?:it|them), as in read_titles\([^()]*\)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status.

    That is 0 when done, 1 when a check failed or there is no solution, 2 on bad input, 130
    after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Ids in letters the terminal does not have stay different from each other.
            stream.reconfigure(errors="backslashreplace")
    args = _parsed(sys.argv[1:] if argv is None else list(argv))
    try:
        with np.errstate(over="raise"):
            outcome: Outcome = args.run(args)
        if not args.quiet:
            _print(f"{json.dumps(outcome.data) if args.json else outcome.text}\n")
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


def _parsed(argv: list[str]) -> argparse.Namespace:
    """What the command line asks for; help and complaints end the program here."""
    parser = make_parser()
    if argv[:1] in ([], ["help"]):
        argv = [*argv[1:2], "--help"]
    if not argv[0].startswith("-") and argv[0] not in parser.commands:
        parser.refuse_command(argv[0])
    try:
        args, rest = parser.parse_known_args(argv)
    except SystemExit:
        with suppress(OSError):  # the help is out, or nobody reads it
            _print("")
        raise
    if rest:
        parser.commands[args.command].refuse_rest(rest)
    return args


def _print(text: str) -> None:
    """Print all of it, to a reader that may have gone."""
    try:
        print(text, end="", flush=True)
    except OSError as error:
        # Else Python would try once more at its end, and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def _fail(args: argparse.Namespace, reason: str) -> int:
    print(f"{args.prog}: error: {_in_options(args, reason)}", file=sys.stderr)
    return BAD_INPUT


def _in_options(args: argparse.Namespace, reason: str) -> str:
    """A message of the library in the words of the command line: `max_time` is --max-time."""

    def option(match: re.Match[str]) -> str:
        name = match[1].removeprefix("n_")
        for other, spelled in _SPELLED.get(name, ()):
            if hasattr(args, other):
                return spelled
        return f"--{name.replace('_', '-')}" if hasattr(args, name) else match[0]

    for code, spelled in _CODE.items():
        reason = reason.replace(code, spelled)
    reason = _NAMED.sub(lambda advice: _columns_by_option(advice[1]), reason)
    reason = _TITLES_NAMED.sub("", reason)
    return re.sub(r"`(\w+)`", option, reason)


def _columns_by_option(arguments: str) -> str:
    """`user='...', item='...'` is by --user-column and --item-column."""
    names = re.findall(r"(\w+)=", arguments)
    return f" by {' and '.join(f'--{name}-column' for name in names)}"


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        if isinstance(error, PermissionError) and os.name == "nt":
            reason += " (is the file open in Excel?)"
        # Of the two names in a failed replacement the second is the one people know.
        name = error.filename2 or error.filename
        return f"{name}: {reason}" if name else reason
    return " ".join(str(error).split())


def make_parser() -> Parser:
    """All commands and their arguments, for help, for completion and for tests."""
    parser = Parser(
        prog="shallow-cf",
        description="The fast.ai collaborative filtering spreadsheet, in NumPy.",
        epilog="Help on a command: shallow-cf help COMMAND, or shallow-cf COMMAND --help.\n"
        "Example: shallow-cf demo",
    )
    parser.add_argument("--version", action="version", version=shallow_cf.__version__)
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command", prog=parser.prog
    )
    workbook.add_commands(commands)
    models.add_commands(commands)
    data.add_commands(commands)
    completion.add_commands(commands, parser)
    parser.commands = dict(commands.choices)
    return parser
