"""The arguments of the commands about the spreadsheet."""

from __future__ import annotations

import argparse
from typing import Any

from shallow_cf.arguments.shared import (
    add_ratings,
    add_seed,
    add_titles,
    command,
    file_name,
    whole_number,
)
from shallow_cf.commands.workbook import (
    DEMO_WORKBOOK,
    LESSON_SIZE,
    run_check,
    run_crosstab,
    run_demo,
    run_export,
    run_import,
    run_screenshot,
    run_solve,
)
from shallow_cf.screenshot import DPI
from shallow_cf.solvers import SOLVERS
from shallow_cf.solvers.options import DERIVATIVES, SEARCHES, TARGETS
from shallow_cf.workbook.sheets import TEACHING_SHEETS, TEACHING_SIZE


def add_commands(commands: Any) -> None:
    """Add demo, crosstab, export, solve, import, check and screenshot."""
    demo = command(commands, "demo", run_demo, "shallow-cf demo --seed 7")
    add_seed(demo, "the start")
    demo.add_argument(
        "-o", "--output", metavar="FILE", type=file_name,
        help=f"workbook to write (default: {DEMO_WORKBOOK}, numbered where one stands)",
    )  # fmt: skip

    crosstab = command(
        commands, "crosstab", run_crosstab,
        "shallow-cf crosstab ratings.csv --users 15 --items 15 -o crosstab.csv",
    )  # fmt: skip
    add_ratings(crosstab, most=f"up to {LESSON_SIZE}")
    crosstab.add_argument(
        "-o", "--output", metavar="FILE", type=file_name,
        help="csv to write (default: print the table)",
    )  # fmt: skip

    export = command(
        commands, "export", run_export, "shallow-cf export ratings.csv --bias -o book.xlsx"
    )
    add_ratings(export, optional=True, most=f"up to {LESSON_SIZE}")
    export.add_argument(
        "-o", "--output", metavar="FILE", required=True, type=file_name, help="workbook to write"
    )
    export.add_argument(
        "--factors", type=whole_number(1), default=5, metavar="K",
        help="numbers in an embedding (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--bias", action="store_true", help="add the sheet with a bias for each user and item"
    )
    add_seed(export, "the random embeddings")
    export.add_argument(
        "--sheets", type=_sheet_names, metavar="LIST",
        help="sheets to add, with commas between them, or none; of: "
        f"{', '.join(('bias', *TEACHING_SHEETS))} (default: all but bias for tables up to "
        f"{TEACHING_SIZE} x {TEACHING_SIZE}, else none)",
    )  # fmt: skip
    add_titles(export, beside="ratings")
    export.add_argument(
        "--solve", action="store_true", help="write solved embeddings instead of random ones"
    )

    solve = command(commands, "solve", run_solve, "shallow-cf solve book.xlsx -o solved.xlsx")
    _add_workbook(solve)
    target = solve.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", metavar="FILE", type=file_name, help="workbook to write")
    target.add_argument("--in-place", action="store_true", help="overwrite the workbook itself")
    _add_solver(solve)

    import_ = command(commands, "import", run_import, "shallow-cf import book.xlsx -o model.npz")
    _add_workbook(import_)
    import_.add_argument(
        "-o", "--output", metavar="FILE", type=file_name, help="model to write (.npz)"
    )
    import_.add_argument(
        "-v", "--verbose", action="store_true", help="show what was found where, and how"
    )

    check = command(commands, "check", run_check, "shallow-cf check book.xlsx", writes=False)
    _add_workbook(check, sheets="each that holds a model")

    screenshot = command(
        commands, "screenshot", run_screenshot, "shallow-cf screenshot book.xlsx -o png/"
    )
    screenshot.add_argument(
        "workbook", metavar="BOOK.xlsx", type=file_name, help="workbook to draw"
    )
    screenshot.add_argument(
        "-o", "--output", metavar="FOLDER", default=".", type=file_name,
        help="where the pictures go, made if need be (default: here)",
    )  # fmt: skip
    screenshot.add_argument(
        "--dpi", type=whole_number(1), default=DPI, metavar="N",
        help="dots an inch (default: %(default)s)",
    )  # fmt: skip


def _add_workbook(parser: argparse.ArgumentParser, sheets: str = "the one that opens") -> None:
    parser.add_argument("workbook", metavar="BOOK.xlsx", type=file_name, help="workbook to read")
    parser.add_argument("--sheet", metavar="NAME", help=f"sheet to read (default: {sheets})")
    parser.add_argument(
        "--ratings-at", metavar="RANGE",
        help="where the ratings are, such as H2:V16 (default: found)",
    )  # fmt: skip
    parser.add_argument(
        "--factors-at", metavar="RANGES",
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
        "--seed", type=whole_number(0), metavar="SEED",
        help="of all that is drawn at random (default: the workbook's, else new each time)",
    )  # fmt: skip
    dialog = parser.add_argument_group(
        "the Solver dialog (default: with grg the workbook's, else the method's own)"
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
    dialog.add_argument("--max-time", type=float, metavar="SECONDS", help="most seconds")
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
