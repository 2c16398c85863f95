"""The arguments of the commands that get or make ratings."""

from __future__ import annotations

from typing import Any

from shallow_cf.arguments.shared import add_seed, command, file_name, in_words, one_of, whole_number
from shallow_cf.commands.data import run_download, run_synthetic
from shallow_cf.movielens import DATA_SETS
from shallow_cf.synthetic import NOISE

#: Users, items and ratings of ml-100k.
_SIZE = {"users": 943, "items": 1682, "ratings": 100_000}


def add_commands(commands: Any) -> None:
    """Add download and synthetic."""
    download = command(
        commands, "download", run_download, "shallow-cf download ml-latest-small", writes=False
    )
    download.add_argument("name", **one_of(DATA_SETS), help=f"the data set: {in_words(DATA_SETS)}")
    download.add_argument(
        "--licence", action="store_true", help="show the conditions of use, and do nothing else"
    )
    download.add_argument(
        "--accept-licence", action="store_true",
        help="accept the conditions of use (default: asks, at a terminal)",
    )  # fmt: skip
    download.add_argument(
        "--from-file", metavar="ZIP", type=file_name,
        help="the archive, where it is at hand: no network is used",
    )  # fmt: skip
    download.add_argument(
        "--folder", metavar="DIR", type=file_name,
        help="where data sets are kept (default: SHALLOW_CF_DATA or the system's cache)",
    )  # fmt: skip

    synthetic = command(
        commands, "synthetic", run_synthetic,
        "shallow-cf synthetic --ratings 9000 --items 300 -o made_up.csv",
    )  # fmt: skip
    for name, number in _SIZE.items():
        synthetic.add_argument(
            f"--{name}", type=whole_number(1), default=number, metavar="N",
            help=f"how many {name} (default: %(default)s)",
        )  # fmt: skip
    synthetic.add_argument(
        "--factors", type=whole_number(1), default=5, metavar="K",
        help="numbers in a planted embedding (default: %(default)s)",
    )  # fmt: skip
    synthetic.add_argument(
        "--noise", type=float, default=NOISE, metavar="STARS",
        help="standard deviation of what no model can know (default: %(default)s)",
    )  # fmt: skip
    add_seed(synthetic)
    synthetic.add_argument(
        "-o", "--output", metavar="FILE", required=True, type=file_name, help="csv to write"
    )
