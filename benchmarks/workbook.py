"""Time and size of exported workbooks, beside openpyxl writing the same cells.

Run: python benchmarks/workbook.py

The lesson's table with all sheets, and one of 200 x 200 with 50 factors as `dotprod`
alone. openpyxl, in its fast write-only mode, writes the same numbers, texts and formulas
without styles and without the formulas' results. Medians of several runs in turn.
"""

import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openpyxl

import shallow_cf as scf

RUNS = 7


def lesson():
    """The lesson's table, solved with and without biases; everything there is to show."""
    ratings = scf.load_crosstab()
    models = [
        scf.MatrixFactorization(bias=bias, solver="grg", random_state=1).fit(ratings)
        for bias in (False, True)
    ]
    sheets = ("dotprod", "bias")
    reports = [
        scf.answer_report(ratings, model.result_, scf.SolverOptions(), sheet=sheet)
        for model, sheet in zip(models, sheets, strict=True)
    ]
    return lambda path: scf.write_workbook(path, ratings, *models, overwrite=True, reports=reports)


def large():
    """200 users x 200 items, all rated, 50 factors."""
    rng = np.random.default_rng(0)
    u, i = np.indices((200, 200)).reshape(2, -1)
    ratings = scf.Ratings(np.arange(200), np.arange(200), u, i, rng.integers(1, 11, 40_000) / 2)
    parameters = scf.Parameters.random(200, 200, 50, scale=0.3, random_state=0)
    return lambda path: scf.write_workbook(path, ratings, parameters, overwrite=True)


def by_openpyxl(source):
    """A function that writes the cells of a workbook with openpyxl alone."""
    book = openpyxl.load_workbook(source)
    sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}

    def write(path):
        plain = openpyxl.Workbook(write_only=True)
        for name, rows in sheets.items():
            sheet = plain.create_sheet(name)
            for row in rows:
                sheet.append(row)
        plain.save(path)

    return write


def seconds(write, path):
    """How long one write takes."""
    started = time.perf_counter()
    write(path)
    return time.perf_counter() - started


def main():
    """Print a table."""
    names = ("numpy", "openpyxl")
    print(", ".join(f"{name} {version(name)}" for name in names), "| Python", end=" ")
    print(platform.python_version(), f"| median of {RUNS} runs")
    print(f"{'workbook':<28}{'kB':>7}{'write s':>9}{'openpyxl s':>12}{'ratio':>7}{'read s':>8}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours.xlsx"), Path(folder, "theirs.xlsx")
        for title, make in (("15 x 15 x 5, all sheets", lesson), ("200 x 200 x 50", large)):
            write = make()
            write(ours)
            peer = by_openpyxl(ours)
            pairs = [(seconds(write, ours), seconds(peer, theirs)) for _ in range(RUNS)]
            ratio = statistics.median(a / b for a, b in pairs)
            mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            read = statistics.median(seconds(scf.read_workbook, ours) for _ in range(3))
            size = ours.stat().st_size / 1000
            print(f"{title:<28}{size:>7.0f}{mine:>9.2f}{other:>12.2f}{ratio:>7.2f}{read:>8.2f}")


if __name__ == "__main__":
    main()
