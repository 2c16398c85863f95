"""One workbook of every kind that the project writes, small enough to look through.

python tests/kinds_of_export.py FOLDER      writes them all into a folder
python tests/kinds_of_export.py --golden    writes tests/golden anew, see golden.py
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
from golden import write_golden

import shallow_cf as scf
from shallow_cf import cli

SHARED = Path(__file__).parents[2] / "shared"
PUBLISHED = SHARED / "reference" / "collab_filter_v3.xlsx"


def table(
    n_users: int, n_items: int, *, text_ids: tuple[str, ...] = (), sparse: bool = False
) -> scf.Ratings:
    """Ratings of 0.5 to 5 stars, every fifth cell blank or, if sparse, every fifth rated."""
    u, i = np.divmod(np.arange(n_users * n_items), n_items)
    rated = ((u + 2 * i) % 5 == 4) == sparse
    rated[0] = True
    stars = ((3 * u + 5 * i) % 10 + 1) / 2
    users = np.array(text_ids) if text_ids else np.arange(n_users) * 3 + 1
    items = np.array(text_ids) if text_ids else np.arange(n_items) + 100
    return scf.Ratings(users, items, u[rated], i[rated], stars[rated])


def numbers(n_users: int, n_items: int, n_factors: int, *, bias: bool = False) -> scf.Parameters:
    """Parameters that no generator has to make the same in every version."""
    like = scf.Parameters.random(n_users, n_items, n_factors, bias=bias, random_state=0)
    theta = (np.arange(like.n_params) * 0.6180339887498949) % 1
    return like.unpack(theta)


def _report() -> scf.Report:
    """A report as a run leaves it, of a run that was never made."""
    cells = ["Cell", "Name", "Original Value", "Final Value"]
    return scf.Report(
        "shallow_cf Answer Report",
        {
            "Worksheet": ["bias"],
            "Result": ["Solver has converged to the current solution."],
            "Solver Engine": ["Engine: GRG Nonlinear", "Iterations: 2"],
        },
        {
            "Objective Cell (Min)": pd.DataFrame([["$V$42", "RMSE", 2.5, 0.5]], columns=cells),
            "Variable Cells": pd.DataFrame(
                [["$H$19", "item 100, bias", 0.25, float("nan")]], columns=cells
            ),
            "Constraints": pd.DataFrame([], columns=cells),
        },
    )


def _dotprod(path: Path) -> None:
    runs = {"dotprod: Solver": [{"iteration": k, "train_rmse": 3.0 / 2**k} for k in range(4)]}
    scf.write_workbook(path, table(3, 2), numbers(3, 2, 2), runs=runs)


def _bias(path: Path) -> None:
    scf.write_workbook(path, table(3, 4), numbers(3, 4, 2, bias=True))


def _both(path: Path) -> None:
    scf.write_workbook(path, table(4, 3), numbers(4, 3, 2), numbers(4, 3, 2, bias=True))


def _titles(path: Path) -> None:
    titles = {100: "Amélie & <friends> (2001)", 101: '=HYPERLINK("x")', 102: "  spaces  "}
    scf.write_workbook(
        path, table(3, 4), numbers(3, 4, 2, bias=True), titles=titles, reports=[_report()]
    )


def _text_ids(path: Path) -> None:
    ids = ("=1+1", "#N/A", "TRUE", "007", "O'Brien & <b>", " Amélie ", "_x0041_", "映画 🎬")
    scf.write_workbook(path, table(8, 8, text_ids=ids), numbers(8, 8, 2))


def _solved(path: Path) -> None:
    ratings = table(4, 5)
    models = [
        scf.MatrixFactorization(n_factors=2, bias=bias, solver="grg", random_state=0).fit(ratings)
        for bias in (False, True)
    ]
    makers = (scf.answer_report, scf.sensitivity_report, scf.limits_report)
    reports = [make(ratings, model.result_) for model in models for make in makers]
    scf.write_workbook(path, ratings, *models, reports=reports)


def _smallest(path: Path) -> None:
    scf.write_workbook(path, table(1, 1), numbers(1, 1, 1), numbers(1, 1, 1, bias=True))


def _largest_with_all_sheets(path: Path) -> None:
    scf.write_workbook(path, table(30, 30, sparse=True), numbers(30, 30, 1, bias=True))


def _larger(path: Path) -> None:
    scf.write_workbook(path, table(60, 40), numbers(60, 40, 5))


def _constraints(path: Path) -> None:
    options = scf.SolverOptions(
        to="value_of", value=0.5, multistart=True, population_size=20, random_seed=3,
        non_negative=True, use_automatic_scaling=True, derivatives="central",
        search="conjugate", max_time=60, iterations=500,
        constraints=(
            scf.Constraint("user_factors", "<=", 2.0),
            scf.Constraint("item_factors", ">=", -1.0),
            scf.Constraint("rated_predictions", "<=", 5.0),
        ),
    )  # fmt: skip
    scf.write_workbook(path, table(3, 3), numbers(3, 3, 2), solver_options=options)


def _overflow(path: Path) -> None:
    """Predictions too large for a number: stored as errors."""
    parameters = numbers(2, 2, 1)
    parameters = parameters.unpack(np.full(parameters.n_params, 1e200))
    with np.errstate(over="ignore", invalid="ignore"):
        scf.write_workbook(path, table(2, 2), parameters)


def _updated(path: Path) -> None:
    """Solved twice: the first run adds a report, the second replaces it."""
    first, second = path.with_suffix(".first.xlsx"), path.with_suffix(".second.xlsx")
    _both(first)
    for source, target in ((first, second), (second, path)):
        book = scf.read_workbook(source)
        theta = book.parameters.pack() / 2
        scf.update_workbook(book, book.parameters.unpack(theta), target, reports=[_report()])
        source.unlink()


def _updated_published(path: Path) -> None:
    book = scf.read_workbook(PUBLISHED, "bias")
    theta = book.parameters.pack() + 0.001
    scf.update_workbook(book, book.parameters.unpack(theta), path, reports=[_report()])


def _command(*words: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = cli.main([*words, "-o", str(path)])
        if status != 0:
            raise RuntimeError(f"shallow-cf {' '.join(words)}: exit status {status}\n{said}")

    return write


#: Name of a kind -> what writes it.
KINDS: dict[str, Callable[[Path], None]] = {
    "dotprod": _dotprod,
    "bias": _bias,
    "both": _both,
    "titles": _titles,
    "text_ids": _text_ids,
    "solved": _solved,
    "smallest": _smallest,
    "largest_with_all_sheets": _largest_with_all_sheets,
    "larger": _larger,
    "constraints": _constraints,
    "overflow": _overflow,
    "updated": _updated,
    "exported": _command("export", "--bias", "--users", "6", "--items", "5"),
    "exported_solved": _command("export", "--bias", "--solve", "--users", "6", "--items", "5"),
    "demo": _command("demo"),
}
if PUBLISHED.exists():
    KINDS["updated_published"] = _updated_published

#: Kinds whose numbers come from arithmetic alone, so that every machine writes the same.
GOLDEN = ("dotprod", "titles")


def write_plain(path: Path) -> None:
    """What openpyxl saves by itself, in which Microsoft's validator finds something.

    With this a validator shows that it can find anything at all.
    """
    openpyxl.Workbook().save(path)


def write_kinds(folder: Path, kinds: Iterable[str]) -> None:
    """Write some kinds into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        KINDS[kind](folder / f"{kind}.xlsx")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="where to write every kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--plain", type=Path, metavar="FILE", help="write what openpyxl saves")
    parser.add_argument("--golden", action="store_true", help="write tests/golden anew")
    args = parser.parse_args()
    if args.folder is not None:
        write_kinds(args.folder, args.kinds)
    if args.plain is not None:
        write_plain(args.plain)
    if args.golden:
        with tempfile.TemporaryDirectory() as folder:
            for kind in GOLDEN:
                KINDS[kind](Path(folder) / "golden.xlsx")
                write_golden(kind, Path(folder) / "golden.xlsx")
                (Path(folder) / "golden.xlsx").unlink()


if __name__ == "__main__":
    main()
