"""What the arguments of commands share: kinds of values, the options all have, ratings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NoReturn

from shallow_cf.commands.shared import BAD_INPUT, DEFAULT_SEED, Outcome
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


def one_of(choices: Iterable[str]) -> dict[str, Any]:
    """For an option with a choice: its names are in the help, where there is room for them."""
    return {"choices": tuple(choices), "metavar": "NAME"}


def in_words(choices: Iterable[str]) -> str:
    """Names for people: 'sgd, als or vb'."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


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
    """Errors on one line, with what was probably meant; help on one page."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **settings)
        #: Name -> parser, of a parser that has commands.
        self.commands: dict[str, Parser] = {}
        #: A command line that works where the files it names are.
        self.example = ""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with a command line, and where to read what is right."""
        line = " ".join(message.split())
        self.exit(BAD_INPUT, f"{self.prog}: error: {line} (see {self.prog} --help)\n")

    def refuse_command(self, name: str) -> NoReturn:
        """Say that there is no such command."""
        self.error(f"there is no command {name!r}{_meant(name, self.commands)}")

    def refuse_rest(self, rest: list[str]) -> NoReturn:
        """Say that arguments are unknown or too many."""
        known = [option for action in self._actions for option in action.option_strings]
        unknown = next((text for text in rest if text.startswith("-")), "")
        guess = _meant(unknown.partition("=")[0], known) if unknown else ""
        self.error(f"unrecognized arguments: {' '.join(rest)}{guess}")


class _Help(argparse.HelpFormatter):
    """Short pages: what must be given in the usage line, a line an option where that will do."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._action_max_length = 14  # argparse forgets that commands are indented twice

    def add_usage(
        self, usage: Any, actions: Iterable[Any], groups: Iterable[Any], prefix: Any = None
    ) -> None:
        required = [group for group in groups if group.required]
        of_groups = [action for group in required for action in group._group_actions]
        needed = [it for it in actions if not it.option_strings or it.required or it in of_groups]
        if not any(action.nargs == argparse.PARSER for action in needed):
            needed.append(argparse.Action([], "options", metavar="[options]"))
        super().add_usage(usage, needed, required, prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """`-o, --output FILE` and `--[no-]bias`, in which nothing stands twice."""
        if isinstance(action, argparse.BooleanOptionalAction):
            return f"--[no-]{action.option_strings[0].removeprefix('--')}"
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def _meant(text: str, known: Iterable[str]) -> str:
    """A guess at what was meant, to put behind a complaint; empty where nothing is near."""
    near = get_close_matches(text, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], Outcome],
    example: str,
    *,
    writes: bool = True,
) -> Parser:
    """A command with what all of them have; `writes` says whether it has an output."""
    description = (run.__doc__ or "").strip()
    summary = description.split("\n\n")[0]
    parser: Parser = commands.add_parser(
        name, help=summary, description=description, epilog=f"Example: {example}"
    )
    parser.example = example
    parser.set_defaults(run=run, prog=parser.prog)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print one JSON object, not text")
    shown.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    if writes:
        parser.add_argument(
            "--force", action="store_true", help="replace an output file that exists"
        )
    return parser


def add_seed(parser: argparse.ArgumentParser, of: str = "all that is drawn at random") -> None:
    """The seed of a command that draws random numbers; the default makes runs the same."""
    parser.add_argument(
        "--seed", type=whole_number(0), default=DEFAULT_SEED, metavar="SEED",
        help=f"of {of} (default: %(default)s)",
    )  # fmt: skip


def add_titles(parser: argparse.ArgumentParser, *, beside: str) -> None:
    """A file with what the items are called."""
    parser.add_argument(
        "--titles", metavar="FILE", type=file_name,
        help="movies.csv, movies.dat or u.item, with the items' titles (default: the one beside "
        f"the {beside})",
    )  # fmt: skip


def add_ratings(
    parser: argparse.ArgumentParser,
    *,
    optional: bool = False,
    most: str = "all",
    with_timestamp: bool = False,
) -> None:
    """A file of ratings, its columns and how much of it; `most` says what the default is."""
    parser.add_argument(
        "ratings", metavar="RATINGS", nargs="?" if optional else None, type=file_name,
        help="ratings.csv, u.data or ratings.dat; may be gzipped"
        + (" (default: the lesson's 206 ratings)" if optional else ""),
    )  # fmt: skip
    for name in ("users", "items"):
        parser.add_argument(
            f"--{name}", type=whole_number(1), metavar="N",
            help=f"{name} with the most ratings to take (default: {most})",
        )  # fmt: skip
    add_columns(parser, with_timestamp=with_timestamp)


def add_columns(parser: argparse.ArgumentParser, *, with_timestamp: bool = False) -> None:
    """How to read a file of ratings."""
    group = parser.add_argument_group("how to read the ratings (default: columns are found)")
    for role in ("user", "item", "rating", *["timestamp"] * with_timestamp):
        group.add_argument(f"--{role}-column", metavar="NAME", help=f"where the {role} stands")
    group.add_argument(
        "--duplicates", default=DUPLICATES[0], **one_of(DUPLICATES),
        help=f"{in_words(DUPLICATES)}, of two ratings of an item (default: %(default)s)",
    )  # fmt: skip
