"""The command line: what each command says, writes and returns, and how it refuses.

Commands run in this process through `main(argv)`, a few in one of their own. What they
report is never compared with the package's own arithmetic: the tests read the files that
were written with openpyxl, csv and zipfile and do the sums in plain loops.
"""

import contextlib
import csv
import io
import math
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from command_line import ok, random_ratings, refused, run, snapshot, write_ratings

import shallow_cf as scf
from shallow_cf import cli
from shallow_cf.cli import main
from shallow_cf.commands import shared, workbook

# --- tools ----------------------------------------------------------------------------------


class Sheet:
    """A sheet of a workbook of ours, read with openpyxl: its blocks, found by their labels."""

    def __init__(self, path, name, n_users, n_items, n_factors):
        values = openpyxl.load_workbook(path, data_only=True)[name]
        bias = name == "bias"
        left, top, header = n_factors + 2, n_users + 4 + bias, n_users + n_factors + 4 + bias
        users, items, factors = range(n_users), range(n_items), range(n_factors)

        def cell(row, column):
            return values.cell(row, column).value

        assert cell(1, left) == "movieId"
        assert cell(header + n_users + 2, left + n_items - 1) == "RMSE"
        self.users = [cell(2 + u, left) for u in users]
        self.items = [cell(1, left + 1 + i) for i in items]
        self.ratings = [[cell(2 + u, left + 1 + i) for i in items] for u in users]
        self.Q = [[cell(top + k, left + 1 + i) for k in factors] for i in items]
        self.P = [[cell(header + 1 + u, 2 + k) for k in factors] for u in users]
        self.b_i = [cell(top - 1, left + 1 + i) if bias else 0.0 for i in items]
        self.b_u = [cell(header + 1 + u, 1) if bias else 0.0 for u in users]
        self.predictions = [[cell(header + 1 + u, left + 1 + i) for i in items] for u in users]
        self.loss = cell(header + n_users + 2, left + n_items)

    def predict(self, u, i):
        dot = sum(p * q for p, q in zip(self.P[u], self.Q[i], strict=True))
        return dot + self.b_u[u] + self.b_i[i]

    def rated(self):
        return [
            (u, i, r) for u, row in enumerate(self.ratings) for i, r in enumerate(row)
            if r is not None
        ]  # fmt: skip

    def rmse(self):
        squares = [(self.predict(u, i) - r) ** 2 for u, i, r in self.rated()]
        return math.sqrt(sum(squares) / len(squares))

    def largest_difference(self):
        """Between the stored results and these loops."""
        rated = {(u, i) for u, i, _ in self.rated()}
        differences = [
            abs(stored - (self.predict(u, i) if (u, i) in rated else 0))
            for u, row in enumerate(self.predictions)
            for i, stored in enumerate(row)
        ]
        return max(*differences, abs(self.loss - self.rmse()))


def top_of(triplets, n_users, n_items):
    """The ids of the users and items with the most ratings, by counting; ties: lower id first."""

    def most(ids, n):
        count = Counter(ids)
        return sorted(sorted(count, key=lambda k: (-count[k], k))[:n])

    return most((u for u, _, _ in triplets), n_users), most((i for _, i, _ in triplets), n_items)


@pytest.fixture
def ratings_csv():
    """`ratings.csv` in the current folder; gives its triplets."""
    triplets = random_ratings()
    write_ratings("ratings.csv", triplets)
    return triplets


SIZE = ("--users", 6, "--items", 5, "--factors", 2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small workbook of random embeddings: 6 users, 5 items, 2 factors."""
    with contextlib.chdir(tmp_path_factory.mktemp("exported")):
        write_ratings("ratings.csv", random_ratings())
        ok("export", "ratings.csv", *SIZE, "--sheets", "none", "-o", "book.xlsx")
        return Path("book.xlsx").read_bytes(), Sheet("book.xlsx", "dotprod", 6, 5, 2)


@pytest.fixture
def book(ratings_csv, exported):
    """That workbook as `book.xlsx` in the current folder, and what is on its sheet."""
    content, sheet = exported
    Path("book.xlsx").write_bytes(content)
    return sheet


# --- demo -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Two runs in one folder: `demo`, then `demo --seed 7 --json`."""
    folder = tmp_path_factory.mktemp("demo")
    with contextlib.chdir(folder):
        text, first = ok("demo"), Path("collab_filter.xlsx").read_bytes()
        data = ok("demo", "--seed", 7, "--json")
    return folder, text.out, first, data


def test_demo_tells_the_whole_story(demo):
    _, text, _, _ = demo
    assert "15 users x 15 items, 206 ratings, 19 blanks" in text
    assert max(map(len, text.splitlines())) <= 100
    assert 2.7 < float(re.search(r"seed 1: RMSE (\d\.\d+) stars", text)[1]) < 3.0
    assert re.search(r"^mini-batch SGD +1000 epochs +\d+\.\d\d +0\.39\d{4}$", text, re.M)
    assert re.search(
        r"^Solver \(GRG Nonlinear\) +\d+ iterations +\d+\.\d\d +0\.39\d{4}$", text, re.M
    )
    assert "Solver says: Solver has converged to the current solution." in text
    # What would user 294 give movie 296? Around three and a half stars, both methods say.
    blank = re.search(r"^ +294 +296 +(\d\.\d\d) +(\d\.\d\d)  Pulp Fiction$", text, re.M)
    sgd, grg = blank.groups()
    assert 3 < float(sgd) < 4
    assert 3 < float(grg) < 4
    assert "Wrote collab_filter.xlsx and read it back: 376 embeddings and results" in text
    assert float(re.search(r"NumPy's (\d\.\de[-+]\d+)\.$", text.strip())[1]) <= 1e-9


def test_demo_in_numbers(demo):
    data = demo[3].json
    assert (data["users"], data["items"], data["ratings"]) == (15, 15, 206)
    assert 2.7 < data["start_rmse"] < 3.0
    assert data["sgd"]["rmse"] < 0.3935
    assert data["grg"]["rmse"] < 0.3931
    assert data["sgd"]["seconds"] > 0
    assert data["grg"]["seconds"] > 0
    assert data["grg"]["code"] in (0, 1)
    assert data["grg"]["message"].startswith("Solver ")
    assert data["grg"]["iterations"] > 10
    assert data["max_difference"] <= 1e-9
    assert data["output"] == "collab_filter-2.xlsx"
    titles = scf.load_crosstab_titles()
    assert all(row["title"] == titles[row["item_id"]] for row in data["predictions"])


def test_demo_never_overwrites_a_workbook(demo):
    folder, _, first, _ = demo
    files = snapshot(folder)
    assert [Path(name).name for name in sorted(files)] == [
        "collab_filter-2.xlsx",
        "collab_filter.xlsx",
    ]
    assert (folder / "collab_filter.xlsx").read_bytes() == first


def test_the_demos_workbook_holds_what_the_demo_says(demo):
    data = demo[3].json
    sheet = Sheet(demo[0] / data["output"], "dotprod", 15, 15, 5)
    assert len(sheet.rated()) == data["ratings"]
    assert sheet.rmse() == pytest.approx(data["grg"]["rmse"], abs=1e-12)
    assert sheet.largest_difference() < 1e-12
    first, *others = ((row["user_id"], row["item_id"]) for row in data["predictions"])
    assert first == (294, 296)
    assert len(others) > 1
    for row in data["predictions"]:
        u, i = sheet.users.index(row["user_id"]), sheet.items.index(row["item_id"])
        assert sheet.ratings[u][i] is None  # a blank cell, as promised
        assert row["grg"] == pytest.approx(sheet.predict(u, i), abs=1e-12)


# --- crosstab -------------------------------------------------------------------------------


def parsed_crosstab(text):
    """(user ids, item ids, rows of stars or None) of a crosstab's csv."""
    header, *rows = csv.reader(io.StringIO(text))
    assert header[0] == "userId"
    stars = [[float(r) if r else None for r in row[1:]] for row in rows]
    return [int(row[0]) for row in rows], [int(i) for i in header[1:]], stars


def expected_crosstab(triplets, n_users, n_items):
    users, items = top_of(triplets, n_users, n_items)
    rated = {(u, i): r for u, i, r in triplets}
    return users, items, [[rated.get((u, i)) for i in items] for u in users]


@pytest.mark.parametrize(("n_users", "n_items"), [(15, 15), (3, 20), (18, 1), (1, 1)])
def test_crosstab_is_the_table_of_those_with_the_most_ratings(ratings_csv, n_users, n_items):
    size = ("--users", n_users, "--items", n_items)
    expected = expected_crosstab(ratings_csv, n_users, n_items)
    assert parsed_crosstab(ok("crosstab", "ratings.csv", *size).out) == expected

    done = ok("crosstab", "ratings.csv", *size, "-o", "crosstab.csv")
    content = Path("crosstab.csv").read_bytes()
    assert parsed_crosstab(content.decode("utf-8")) == expected
    assert b"\r" not in content
    n_ratings = sum(r is not None for row in expected[2] for r in row)
    assert done.out == f"crosstab.csv: {n_users} users x {n_items} items, {n_ratings} ratings\n"


def test_crosstab_json(ratings_csv):
    users, items, stars = expected_crosstab(ratings_csv, 4, 6)
    size = ("--users", 4, "--items", 6, "--json")
    data = ok("crosstab", "ratings.csv", *size).json
    assert (data["user_ids"], data["item_ids"], data["table"]) == (users, items, stars)
    assert (data["users"], data["items"]) == (4, 6)
    assert data["ratings"] == sum(r is not None for row in stars for r in row)
    assert data["output"] is None
    data = ok("crosstab", "ratings.csv", *size, "-o", "c.csv").json
    assert data["output"] == "c.csv"


def test_crosstab_of_everything_there_is_where_that_is_little():
    write_ratings("ratings.csv", [(1, 10, 4), (2, 10, 2.5), (2, 20, 1)])
    assert ok("crosstab", "ratings.csv").out == "userId,10,20\n1,4,\n2,2.5,1\n"


def test_crosstab_writes_every_digit():
    rows = "1,7,4\n1,7,5\n1,7,2\n2,7,3.141592653589793\n2,8,1234567.5\n"
    Path("r.csv").write_text("userId,movieId,rating\n" + rows)
    text = ok("crosstab", "r.csv", "--duplicates", "mean").out
    assert text == "userId,7,8\n1,3.6666666666666665,\n2,3.141592653589793,1234567.5\n"


def test_columns_by_name_and_duplicates():
    Path("r.csv").write_text("who;what;stars?\nann;Alien;4\nann;Alien;2\nbob;Alien;5\n")
    names = ("--user-column", "who", "--item-column", "what", "--rating-column", "stars?")
    assert refused("crosstab", "r.csv").endswith(
        "r.csv line 1: column for the user (such as userId) is missing; found: who, what, stars?; "
        "name them by --user-column and --item-column"
    )
    error = refused("crosstab", "r.csv", *names[:2], *names[4:])
    assert error.endswith("found: who, what, stars?; name it by --item-column")
    Path("titles.csv").write_text("film,called\nAlien,Alien\n")
    titles = ("--titles", "titles.csv", "-o", "out.xlsx")
    error = refused("export", "r.csv", *names, "--duplicates", "last", *titles)
    assert error.endswith("for the id (such as movieId) is missing; found: film, called")
    error = refused("crosstab", "r.csv", *names)
    assert "r.csv line 3: user 'ann' rated item 'Alien' more than once" in error
    assert error.endswith("; --duplicates mean or last accepts that")
    out = ok("crosstab", "r.csv", *names, "--duplicates", "last").out
    assert out == "userId,Alien\nann,2\nbob,5\n"


# --- export ---------------------------------------------------------------------------------


def test_export_writes_the_ratings_and_random_embeddings(ratings_csv):
    size = ("--users", 7, "--items", 4, "--factors", 3, "--seed", 5)
    data = ok("export", "ratings.csv", *size, "--bias", "-o", "book.xlsx", "--json").json
    users, items, stars = expected_crosstab(ratings_csv, 7, 4)
    for name in ("dotprod", "bias"):
        sheet = Sheet("book.xlsx", name, 7, 4, 3)
        assert (sheet.users, sheet.items, sheet.ratings) == (users, items, stars)
        numbers = [x for row in sheet.P + sheet.Q for x in row]
        numbers += sheet.b_u + sheet.b_i if name == "bias" else []
        assert all(0 <= x < 1 for x in numbers)
        assert len(set(numbers)) == len(numbers)
        assert sheet.largest_difference() < 1e-12
        assert data["sheets"][name] == pytest.approx(sheet.rmse(), abs=1e-12)
    assert data["rmse"] == data["sheets"]["bias"]
    assert (data["users"], data["items"], data["factors"], data["bias"]) == (7, 4, 3, True)
    assert data["ratings"] == len(sheet.rated())
    assert data["output"] == "book.xlsx"
    assert data["solved"] is False


def test_export_text_and_one_sheet_without_bias(ratings_csv):
    size = ("--users", 7, "--items", 4)
    done = ok("export", "ratings.csv", *size, "--sheets", "none", "-o", "book.xlsx")
    sheet = Sheet("book.xlsx", "dotprod", 7, 4, 5)
    assert openpyxl.load_workbook("book.xlsx").sheetnames == ["dotprod"]
    assert done.out == (
        f"book.xlsx: 7 users x 4 items, {len(sheet.rated())} ratings, 5 factors; "
        f"RMSE {sheet.rmse():.6f} on sheet dotprod\n"
    )


def test_export_without_a_file_takes_the_lessons_crosstab():
    data = ok("export", "-o", "book.xlsx", "--json").json
    assert (data["users"], data["items"], data["ratings"], data["factors"]) == (15, 15, 206, 5)
    assert data["bias"] is False
    sheet = Sheet("book.xlsx", "dotprod", 15, 15, 5)
    assert len(sheet.rated()) == 206
    assert 294 in sheet.users
    assert 296 in sheet.items


def test_the_same_seed_gives_the_same_embeddings(ratings_csv):
    def embeddings(seed, name):
        ok("export", "ratings.csv", "--seed", seed, "--sheets", "none", "-o", name)
        return Sheet(name, "dotprod", 15, 15, 5).P

    assert embeddings(3, "a.xlsx") == embeddings(3, "b.xlsx")
    assert embeddings(4, "c.xlsx") != embeddings(3, "d.xlsx")


def test_export_solved_embeddings(ratings_csv):
    size = ("--users", 6, "--items", 5, "--factors", 2)
    start = ok("export", "ratings.csv", *size, "-o", "start.xlsx", "--json").json
    data = ok("export", "ratings.csv", *size, "--solve", "-o", "solved.xlsx", "--json").json
    sheet = Sheet("solved.xlsx", "dotprod", 6, 5, 2)
    assert data["solved"] is True
    assert data["rmse"] == pytest.approx(sheet.rmse(), abs=1e-12)
    assert data["rmse"] < start["rmse"] / 2
    assert sheet.largest_difference() < 1e-12
    text = ok("export", "ratings.csv", *size, "--solve", "-o", "solved2.xlsx").out
    assert re.match(r"dotprod: Solver \w+.*\nsolved2.xlsx: 6 users x 5 items", text)


def test_export_notes_where_excels_solver_gives_up_and_solve_does_not(ratings_csv):
    # 15 * 7 + 15 * 7 = 210 cells
    ok("export", "ratings.csv", "--factors", 7, "--sheets", "none", "-o", "book.xlsx")
    cells = [c.value for row in openpyxl.load_workbook("book.xlsx")["dotprod"] for c in row]
    assert any("210 variable cells" in cell for cell in cells if isinstance(cell, str))
    solve = ("solve", "book.xlsx", "-o", "out.xlsx", "--derivatives", "analytic", "--json")
    data = ok(*solve, "--iterations", 20).json
    assert data["rmse_after"] < data["rmse_before"]


# --- solve ----------------------------------------------------------------------------------

QUICK = ("--derivatives", "analytic")


def test_solve_writes_a_new_workbook_with_a_smaller_loss(book):
    before = Path("book.xlsx").read_bytes()
    data = ok("solve", "book.xlsx", "-o", "solved.xlsx", "--json").json
    assert Path("book.xlsx").read_bytes() == before
    solved = Sheet("solved.xlsx", "dotprod", 6, 5, 2)
    assert solved.ratings == book.ratings
    assert data["method"] == "grg"
    assert data["sheet"] == "dotprod"
    assert data["rmse_before"] == pytest.approx(book.rmse(), abs=1e-12)
    assert data["rmse_after"] == pytest.approx(solved.rmse(), abs=1e-12)
    assert data["rmse_after"] < data["rmse_before"] / 2
    assert solved.largest_difference() < 1e-12
    assert data["code"] in (0, 1)
    assert data["message"].startswith("Solver ")
    assert data["iterations"] > 5
    assert data["seconds"] > 0
    assert data["output"] == "solved.xlsx"


def test_solve_text(book):
    text = ok("solve", "book.xlsx", "-o", "solved.xlsx", *QUICK).out
    before, after = f"{book.rmse():.6f}", f"{Sheet('solved.xlsx', 'dotprod', 6, 5, 2).rmse():.6f}"
    assert re.fullmatch(
        rf"Solver [^\n]+\nsolved.xlsx, sheet dotprod: RMSE {before} -> {after} "
        r"in \d+ iterations, \d+\.\d\d s\n",
        text,
    )


def test_solve_chooses_the_sheet(ratings_csv):
    size = ("--users", 6, "--items", 5, "--factors", 2)
    ok("export", "ratings.csv", *size, "--bias", "-o", "book.xlsx")
    before = {name: Sheet("book.xlsx", name, 6, 5, 2) for name in ("dotprod", "bias")}
    for chosen, other, option in (
        ("bias", "dotprod", ()),  # the one that opens
        ("dotprod", "bias", ("--sheet", "dotprod")),
    ):
        data = ok("solve", "book.xlsx", "-o", f"{chosen}.xlsx", *QUICK, *option, "--json").json
        assert data["sheet"] == chosen
        assert data["rmse_before"] == pytest.approx(before[chosen].rmse(), abs=1e-12)
        after = Sheet(f"{chosen}.xlsx", chosen, 6, 5, 2)
        assert data["rmse_after"] == pytest.approx(after.rmse(), abs=1e-12)
        untouched = Sheet(f"{chosen}.xlsx", other, 6, 5, 2)
        assert (untouched.P, untouched.Q) == (before[other].P, before[other].Q)


def test_solve_stops_where_it_is_told(book):
    data = ok("solve", "book.xlsx", "-o", "a.xlsx", "--iterations", 3, *QUICK, "--json").json
    assert (data["code"], data["iterations"]) == (3, 3)
    assert data["message"] == "Stop chosen when the maximum iteration limit was reached."
    data = ok("solve", "book.xlsx", "-o", "b.xlsx", "--max-time", 1e-9, *QUICK, "--json").json
    assert (data["code"], data["iterations"]) == (10, 1)
    rough = ok("solve", "book.xlsx", "-o", "c.xlsx", "--convergence", 0.5, *QUICK, "--json").json
    fine = ok("solve", "book.xlsx", "-o", "d.xlsx", "--convergence", 1e-8, *QUICK, "--json").json
    assert rough["iterations"] < fine["iterations"]
    assert rough["rmse_after"] > fine["rmse_after"]


def test_solve_goes_on_from_where_it_was(book):
    ok("solve", "book.xlsx", "-o", "half.xlsx", "--iterations", 5, *QUICK)
    half = Sheet("half.xlsx", "dotprod", 6, 5, 2).rmse()
    data = ok("solve", "half.xlsx", "-o", "full.xlsx", *QUICK, "--json").json
    assert data["rmse_before"] == pytest.approx(half, abs=1e-12)
    assert data["rmse_after"] < half


@pytest.mark.parametrize("name", ["book.xlsx", "./book.xlsx", "sub/../book.xlsx", "link.xlsx"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_solve_does_not_overwrite_its_input_unless_told(book, name, force):
    Path("sub").mkdir()
    try:
        Path("link.xlsx").symlink_to("book.xlsx")
    except OSError:
        pytest.skip("no permission to make links here")
    error = refused("solve", "book.xlsx", "-o", name, *force)
    assert error.endswith("is the input and is not overwritten; pass --in-place to do so")


def test_solve_in_place(book):
    data = ok("solve", "book.xlsx", "--in-place", *QUICK, "--json").json
    assert data["output"] == "book.xlsx"
    after = Sheet("book.xlsx", "dotprod", 6, 5, 2)
    assert data["rmse_after"] == pytest.approx(after.rmse(), abs=1e-12)
    assert after.rmse() < book.rmse() / 2
    assert set(snapshot()) == {"book.xlsx", "ratings.csv"}


def test_rmse_is_in_stars_whatever_the_workbooks_objective_computes(book):
    n = len(book.rated())
    tamper("book.xlsx", lambda xml: re.sub(r"/COUNT\([^)]*\)", "", xml))
    data = ok("import", "book.xlsx", "--json").json
    assert data["rmse"] == pytest.approx(book.rmse(), abs=1e-12)
    assert data["stored_objective"] == book.loss
    data = ok("solve", "book.xlsx", "-o", "solved.xlsx", *QUICK, "--json").json
    solved = Sheet("solved.xlsx", "dotprod", 6, 5, 2)
    assert data["rmse_after"] == pytest.approx(solved.rmse(), abs=1e-12)
    # and the objective cell holds its own formula's result, SQRT(SUMXMY2(...))
    assert solved.loss == pytest.approx(solved.rmse() * math.sqrt(n), rel=1e-12)
    assert run("check", "solved.xlsx").status == 0


def solver_names(path, **texts):
    """Give the sheet's Solver model other texts, as Excel's dialog would."""

    def change(xml):
        for name, text in texts.items():
            start = f'<definedName name="solver_{name}" localSheetId="0" hidden="1">'
            xml = re.sub(f"{re.escape(start)}[^<]*</definedName>", "", xml)
            xml = xml.replace("</definedNames>", f"{start}{text}</definedName></definedNames>")
        return xml

    tamper(path, change, "xl/workbook.xml")


class TestTheDialogInTheWorkbook:
    """`solve` does what the stored Solver model says, and the command line overrides it."""

    def test_limits_and_convergence(self, book):
        solver_names("book.xlsx", itr="4", cvg="0.000000001")
        data = ok("solve", "book.xlsx", "-o", "a.xlsx", "--json").json
        assert (data["code"], data["iterations"]) == (3, 4)
        data = ok("solve", "book.xlsx", "-o", "b.xlsx", "--iterations", 7, "--json").json
        assert (data["code"], data["iterations"]) == (3, 7)

    def test_derivatives(self, book):
        # 22 variables: an iteration with central differences costs 44 evaluations more.
        n = 6 * 2 + 5 * 2
        per_gradient = {}
        for drv in ("1", "2"):
            solver_names("book.xlsx", drv=drv, itr="5")
            data = ok("solve", "book.xlsx", "-o", f"{drv}.xlsx", "--json").json
            per_gradient[drv] = data["function_evaluations"] // data["gradient_evaluations"]
        assert n <= per_gradient["1"] < 2 * n <= per_gradient["2"] < 3 * n

    def test_non_negative(self, book):
        # Users' and items' factors that have to be of one sign, starting from solved ones.
        ok("solve", "book.xlsx", "-o", "free.xlsx", "--convergence", 1e-9, *QUICK)
        free = Sheet("free.xlsx", "dotprod", 6, 5, 2)
        assert min(map(min, free.P + free.Q)) < 0
        solver_names("free.xlsx", neg="1")
        ok("solve", "free.xlsx", "-o", "bound.xlsx", "--convergence", 1e-9, *QUICK)
        bound = Sheet("bound.xlsx", "dotprod", 6, 5, 2)
        assert min(map(min, bound.P + bound.Q)) >= 0
        assert bound.rmse() >= free.rmse()
        ok("solve", "free.xlsx", "-o", "again.xlsx", "--no-non-negative", *QUICK)
        assert min(map(min, Sheet("again.xlsx", "dotprod", 6, 5, 2).P)) < 0

    def test_constraints(self, book):
        P, predictions = "dotprod!$B$13:$C$18", "dotprod!$E$13:$I$18"
        solver_names(
            "book.xlsx", num="2", lhs1=P, rel1="1", rhs1="1.5",
            lhs2=predictions, rel2="1", rhs2="4",
        )  # fmt: skip
        data = ok("solve", "book.xlsx", "-o", "out.xlsx", "--report", "--json", *QUICK).json
        out = Sheet("out.xlsx", "dotprod", 6, 5, 2)
        assert max(map(max, out.P)) <= 1.5
        rows = data["reports"]["shallow_cf Answer Report"]["Constraints"]
        assert len(rows) == 6 * 2 + len(out.rated())
        assert {row["Formula"] for row in rows} >= {"$B$13<=1.5", "$C$18<=1.5"}
        assert all(row["Cell Value"] <= float(row["Formula"].split("=")[1]) + 1e-6 for row in rows)
        assert any(row["Status"] == "Binding" for row in rows)

    def test_a_limit_that_stands_in_a_cell(self, book):
        # $E$2 holds a rating of the first user, or nothing: then it is refused (below).
        rated = next((u, i) for u, i, _ in book.rated())
        address = f"${'EFGHI'[rated[1]]}${2 + rated[0]}"
        limit = book.ratings[rated[0]][rated[1]]
        solver_names(
            "book.xlsx", num="1", lhs1="dotprod!$B$13:$C$18", rel1="3", rhs1=f"dotprod!{address}"
        )
        ok("solve", "book.xlsx", "-o", "out.xlsx", *QUICK)
        assert min(map(min, Sheet("out.xlsx", "dotprod", 6, 5, 2).P)) >= limit

    def test_changing_cells(self, book):
        # Only the users' embeddings are variables: the movies' stay as they are.
        solver_names("book.xlsx", adj="dotprod!$B$13:$C$18")
        data = ok("solve", "book.xlsx", "-o", "out.xlsx", "--json", *QUICK).json
        out = Sheet("out.xlsx", "dotprod", 6, 5, 2)
        assert out.Q == book.Q
        assert out.P != book.P
        assert data["rmse_after"] < data["rmse_before"]
        error = refused("solve", "book.xlsx", "-o", "x.xlsx", "--method", "varpro")
        assert error.endswith("use --method grg")

    def test_a_seed_on_the_command_line_comes_first(self, book):
        solver_names("book.xlsx", rsd="5", msl="1", ssz="10", cvg="0.1")
        arguments = ("solve", "book.xlsx", *QUICK, "--json", "--iterations", 2)
        ends = [
            ok(*arguments, "-o", f"{i}.xlsx", *seed).json["rmse_after"]
            for i, seed in enumerate([(), (), ("--seed", 1), ("--seed", 2), ("--seed", 1)])
        ]
        assert ends[0] == ends[1]  # the workbook's own seed
        assert ends[2] == ends[4]
        assert len({ends[0], ends[2], ends[3]}) == 3

    def test_a_value_wanted(self, book):
        solver_names("book.xlsx", typ="3", val="1.25")
        data = ok("solve", "book.xlsx", "-o", "out.xlsx", "--json", *QUICK).json
        assert data["code"] == 0
        assert data["rmse_after"] == pytest.approx(1.25, abs=1e-5)

    @pytest.mark.parametrize(
        ("texts", "complaint"),
        [
            ({"cvg": "much"}, "dotprod, Solver's solver_cvg: must be a number, got 'much'"),
            ({"cvg": "7"}, "dotprod, Solver's options: --convergence must be <= 1, got 7.0"),
            (
                {"num": "1", "lhs1": "dotprod!$B$12:$C$17", "rel1": "4", "rhs1": "integer"},
                "dotprod, Solver's constraint 1 on dotprod!$B$12:$C$17: only <=, = and >= are "
                "supported, no whole numbers",
            ),
            (
                {"opt": "dotprod!$A$1"},
                "dotprod: Solver's objective is dotprod!$A$1, not the cell that computes the error "
                "of the predictions",
            ),
            (
                {"adj": "dotprod!$B$13:$C$18,dotprod!$E$2"},
                "dotprod: not all of Solver's changing cells dotprod!$B$13:$C$18,dotprod!$E$2 are "
                "embeddings or biases",
            ),
            (
                {"num": "1", "lhs1": "Sheet9!$B$13:$C$18", "rel1": "1", "rhs1": "1"},
                "dotprod, Solver's constraint 1 on Sheet9!$B$13:$C$18: not all of it is "
                "embeddings, biases or predictions",
            ),
            (
                {"num": "1", "lhs1": "dotprod!$B$13,name", "rel1": "1", "rhs1": "1"},
                "dotprod, Solver's constraint 1 on dotprod!$B$13,name: not all of it is "
                "embeddings, biases or predictions",
            ),
            (
                {"num": "1", "lhs1": "dotprod!$B$13", "rel1": "3", "rhs1": "inf"},
                "dotprod, Solver's constraint 1 on dotprod!$B$13: the right side must be a number, "
                "got 'inf'",
            ),
            (
                {"num": "1", "lhs1": "dotprod!$E$13:$I$18", "rel1": "3", "rhs1": "0.5"},
                "dotprod, Solver's constraint 1 on dotprod!$E$13:$I$18: prediction cells without "
                "a rating show 0, which is not >= 0.5",
            ),
            (
                {"num": "1", "lhs1": "dotprod!$B$13", "rel1": "1", "rhs1": "dotprod!$A$1"},
                "dotprod, Solver's constraint 1 on dotprod!$B$13: the right side must be a number, "
                "got 'dotprod!$A$1'",
            ),
            (
                {"num": "1", "lhs1": "dotprod!$A$1:$B$12", "rel1": "1", "rhs1": "1"},
                "dotprod, Solver's constraint 1 on dotprod!$A$1:$B$12: not all of it is "
                "embeddings, biases or predictions",
            ),
        ],
    )
    def test_models_that_are_not_understood(self, book, texts, complaint):
        solver_names("book.xlsx", **texts)
        assert refused("solve", "book.xlsx", "-o", "out.xlsx").endswith(complaint)
        assert not Path("out.xlsx").exists()

    def test_another_engine(self, book):
        solver_names("book.xlsx", eng="3")
        text = ok("solve", "book.xlsx", "-o", "out.xlsx", *QUICK).out
        assert "NB: the workbook's Solver is set to Evolutionary; this was GRG Nonlinear." in text

    def test_a_method_that_knows_no_constraints(self, book):
        solver_names("book.xlsx", neg="1")
        error = refused("solve", "book.xlsx", "-o", "out.xlsx", "--method", "varpro")
        assert error.endswith("which --method varpro does not know: use --method grg")


def test_solve_without_a_solution_writes_nothing(book):
    before = snapshot()
    done = run("solve", "book.xlsx", "-o", "out.xlsx", "--value-of", 1e-9, *QUICK)
    assert done.status == 1
    assert done.out == "Solver could not find a feasible solution.\nout.xlsx was not written.\n"
    assert snapshot() == before


def test_solve_by_other_methods(book):
    for method in ("varpro", "sgd"):
        arguments = ("--method", method, "--seed", 1)
        data = ok("solve", "book.xlsx", "-o", f"{method}.xlsx", *arguments, "--json").json
        assert data["method"] == method
        solved = Sheet(f"{method}.xlsx", "dotprod", 6, 5, 2)
        assert data["rmse_after"] == pytest.approx(solved.rmse(), abs=1e-12)
        assert data["rmse_after"] < book.rmse() / 2
    error = refused("solve", "book.xlsx", "-o", "x.xlsx", "--value-of", -1)
    assert error.endswith("error: --value-of must be >= 0, got -1.0")
    refused("solve", "book.xlsx", "-o", "x.xlsx", "--value-of", 1, "--to", "max")
    error = refused("solve", "book.xlsx", "-o", "x.xlsx", "--method", "sgd", "--search", "newton")
    assert error.endswith("--search does not go with --method sgd")


def test_solve_from_many_starts(book):
    arguments = ("solve", "book.xlsx", "--multistart", "--seed", 1, *QUICK, "--json")
    data = ok(*arguments, "-o", "out.xlsx").json
    assert data["message"] == "Solver converged in probability to a global solution."
    alone = ok("solve", "book.xlsx", "-o", "alone.xlsx", "--convergence", 1e-9, *QUICK, "--json")
    assert data["rmse_after"] <= alone.json["rmse_after"] + 1e-9
    assert ok(*arguments, "-o", "again.xlsx").json["rmse_after"] == data["rmse_after"]


def test_solve_reports(book):
    text = ok("solve", "book.xlsx", "-o", "out.xlsx", "--report", *QUICK).out
    titles = [line for line in text.splitlines() if line.startswith("shallow_cf")]
    assert titles == [f"shallow_cf {name} Report" for name in ("Answer", "Sensitivity", "Limits")]
    out = Sheet("out.xlsx", "dotprod", 6, 5, 2)
    # A variable's line: address, name, original value, final value.
    address, *_, before, after, _ = next(
        line for line in text.splitlines() if "$B$13 " in line
    ).split()
    assert address == "$B$13"
    assert float(before) == pytest.approx(book.P[0][0], rel=1e-8)
    assert float(after) == pytest.approx(out.P[0][0], rel=1e-8)
    data = ok("solve", "book.xlsx", "-o", "out2.xlsx", "--report", "--json", *QUICK).json
    limits = data["reports"]["shallow_cf Limits Report"]["Variable Cells"]
    assert len(limits) == 22
    assert {row["Lower Limit"] for row in limits} == {None}


def test_ctrl_c_during_solve_keeps_what_was_reached(book, monkeypatch):
    from shallow_cf.solvers.table import Table

    gradient, calls = Table.gradient, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return gradient(*args)

    monkeypatch.setattr(Table, "gradient", interrupted)
    done = run("solve", "book.xlsx", "-o", "solved.xlsx", *QUICK, "--json")
    assert (done.status, done.err) == (130, "")
    data = done.json
    assert (data["code"], data["message"]) == (6, "Solver stopped at user's request.")
    assert 0 < data["iterations"] < 10
    solved = Sheet("solved.xlsx", "dotprod", 6, 5, 2)
    assert data["rmse_after"] == pytest.approx(solved.rmse(), abs=1e-12)
    assert solved.rmse() < book.rmse()
    assert run("check", "solved.xlsx").status == 0


@pytest.mark.parametrize("when", ["read_workbook", "update_workbook"])
def test_ctrl_c_at_other_times_writes_nothing(book, monkeypatch, when):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(workbook, when, interrupted)
    before = snapshot()
    done = run("solve", "book.xlsx", "-o", "solved.xlsx", *QUICK)
    assert (done.status, done.out, done.err) == (130, "", "shallow-cf solve: interrupted\n")
    assert snapshot() == before


# --- import ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_import_says_what_a_workbook_holds(ratings_csv, bias):
    size = ("--users", 6, "--items", 5, "--factors", 2)
    ok("export", "ratings.csv", *size, *["--bias"] * bias, "-o", "book.xlsx")
    name = "bias" if bias else "dotprod"
    sheet = Sheet("book.xlsx", name, 6, 5, 2)
    done = ok("import", "book.xlsx", "--json")
    assert done.json == {
        "sheet": name, "users": 6, "items": 5, "ratings": len(sheet.rated()), "factors": 2,
        "bias": bias, "stored_objective": sheet.loss,
        "rmse": pytest.approx(sheet.rmse(), abs=1e-12), "output": None,
    }  # fmt: skip
    lines = dict(re.split(r"  +", line) for line in ok("import", "book.xlsx").out.splitlines())
    assert lines["sheet"] == name
    assert lines["users x items"] == "6 x 5"
    assert lines["ratings"] == str(len(sheet.rated()))
    assert lines["factors"] == "2"
    assert lines["bias"] == ("yes" if bias else "no")
    assert float(lines["stored objective"]) == pytest.approx(sheet.loss, rel=1e-15)
    assert float(lines["recomputed RMSE"]) == pytest.approx(sheet.rmse(), abs=1e-12)


def test_import_as_a_model_for_python(book):
    data = ok("import", "book.xlsx", "-o", "model.npz", "--json").json
    assert data["output"] == "model.npz"
    assert "model              m2.npz\n" in ok("import", "book.xlsx", "-o", "m2.npz").out
    with np.load("model.npz") as arrays:  # nothing of ours is needed to read it
        assert arrays["user_factors"].tolist() == book.P
        assert arrays["item_factors"].tolist() == book.Q
        assert arrays["user_ids"].tolist() == book.users
    model = scf.MatrixFactorization.load("model.npz")
    prediction = model.predict(book.users[4], book.items[3])
    assert prediction == pytest.approx(book.predict(4, 3), abs=1e-12)


def test_import_without_a_stored_objective(book):
    tamper("book.xlsx", lambda xml: re.sub(r"(SQRT[^<]*</f>)<v>[^<]*</v>", r"\1", xml))
    assert ok("import", "book.xlsx", "--json").json["stored_objective"] is None
    assert "stored objective   none stored\n" in ok("import", "book.xlsx").out


def test_import_the_published_workbook(reference_workbook):
    losses = {"dotprod": 0.3930154712865702, "bias": 0.3194674135586278}
    for sheet, loss in losses.items():
        data = ok("import", reference_workbook, "--sheet", sheet, "--json").json
        assert (data["users"], data["items"], data["ratings"], data["factors"]) == (15, 15, 206, 5)
        assert data["stored_objective"] == loss
        assert data["rmse"] == pytest.approx(loss, abs=1e-12)
    data = ok("check", reference_workbook, "--json").json
    assert (data["cells"], data["ok"]) == (452, True)


# --- check ----------------------------------------------------------------------------------


def tamper(path, change, sheet="xl/worksheets/sheet1.xml"):
    """Apply a function of text to a sheet's XML, behind the back of all spreadsheet programs."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    xml = parts[sheet].decode("utf-8")
    assert change(xml) != xml
    parts[sheet] = change(xml).encode("utf-8")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def add(path, address, difference):
    """Add something to the stored number of a cell."""

    def new_cell(match):
        return f"{match[1]}{float(match[2]) + difference!r}</v>"

    cell = rf'(<c r="{address}"[^>]*>(?:<f>[^<]*</f>)?<v>)([^<]*)</v>'
    tamper(path, lambda xml: re.sub(cell, new_cell, xml, count=1))


def place(book, what):
    """The address of something on the sheet of `book`: 6 users, 5 items, 2 factors."""
    fixed = {"loss": "I20", "user embedding": "B14", "item embedding": "F11"}
    if what in fixed:
        return fixed[what]
    rated = book.rated()
    if what == "rating":  # the one most in error: the loss depends on it noticeably
        u, i, _ = max(rated, key=lambda cell: abs(book.predict(cell[0], cell[1]) - cell[2]))
        return f"{'EFGHI'[i]}{2 + u}"
    if what == "prediction":
        u, i, _ = rated[-1]
    else:  # the 0 where nothing is rated
        u, i = next((u, i) for u in range(6) for i in range(5) if book.ratings[u][i] is None)
    return f"{'EFGHI'[i]}{13 + u}"


RESULTS = ("prediction", "prediction of nothing", "loss")
INPUTS = ("user embedding", "item embedding", "rating")


def test_check_is_content_with_an_untouched_workbook(book):
    done = ok("check", "book.xlsx", "--json")
    data = done.json
    assert (data["cells"], data["ok"]) == (6 * 5 + 1, True)
    assert 0 <= data["max_difference"] <= 1e-12
    assert data["sheets"]["dotprod"]["loss_checked"] is True
    text = ok("check", "book.xlsx").out
    assert re.fullmatch(r"dotprod: 31 cells, largest difference \S+ at [A-Z]+\d+: ok\n", text)


@pytest.mark.parametrize("what", [*RESULTS, *INPUTS])
@pytest.mark.parametrize("sign", [1, -1])
def test_check_finds_a_millionth_of_a_star(book, what, sign):
    address = place(book, what)
    is_formula = openpyxl.load_workbook("book.xlsx")["dotprod"][address].data_type == "f"
    assert is_formula == (what in RESULTS)
    before = openpyxl.load_workbook("book.xlsx", data_only=True)["dotprod"][address].value
    add("book.xlsx", address, sign * 1e-6)
    after = openpyxl.load_workbook("book.xlsx", data_only=True)["dotprod"][address].value
    assert after - before == pytest.approx(sign * 1e-6)

    done = run("check", "book.xlsx", "--json")
    assert (done.status, done.err) == (1, "")
    assert done.json["ok"] is False
    assert 1e-9 < done.json["max_difference"] < 1e-5
    text = run("check", "book.xlsx")
    assert (text.status, text.err) == (1, "")
    assert text.out.endswith("DIFFERS\n")
    if what in RESULTS:
        assert done.json["sheets"]["dotprod"]["worst_cell"] == address
        assert done.json["max_difference"] == pytest.approx(1e-6)


@pytest.mark.parametrize("what", [*RESULTS, *INPUTS])
def test_check_does_not_mind_rounding(book, what):
    add("book.xlsx", place(book, what), 1e-12)
    data = ok("check", "book.xlsx", "--json").json
    assert data["ok"] is True
    assert data["max_difference"] < 1e-11


def test_check_looks_at_every_sheet(ratings_csv):
    size = ("--users", 6, "--items", 5, "--factors", 2)
    ok("export", "ratings.csv", *size, "--bias", "--sheets", "none", "-o", "book.xlsx")
    assert ok("check", "book.xlsx", "--json").json["cells"] == 2 * 31
    add("book.xlsx", "I20", 0.5)  # on the first sheet, which does not open
    done = run("check", "book.xlsx", "--json")
    assert done.status == 1
    assert {name: sheet["ok"] for name, sheet in done.json["sheets"].items()} == {
        "dotprod": False,
        "bias": True,
    }
    assert done.json["max_difference"] == pytest.approx(0.5)
    assert re.search(r"^dotprod: .* at I20: DIFFERS\nbias: .*: ok$", run("check", "book.xlsx").out)


def test_check_without_stored_results(book):
    openpyxl.load_workbook("book.xlsx").save("bare.xlsx")
    error = refused("check", "bare.xlsx")
    assert "dotprod!E13: no number is stored as the prediction; open the workbook in" in error


# --- refusals -------------------------------------------------------------------------------

OUTPUTS = {  # command -> its arguments, and the name of an output
    "demo": (["demo"], "out.xlsx"),
    "crosstab": (["crosstab", "ratings.csv"], "out.csv"),
    "export": (["export", "ratings.csv"], "out.xlsx"),
    "solve": (["solve", "book.xlsx", *QUICK], "out.xlsx"),
    "import": (["import", "book.xlsx"], "out.npz"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_an_existing_file_is_not_replaced_unasked(book, command):
    arguments, output = OUTPUTS[command]
    Path(output).write_bytes(b"mine")
    error = refused(*arguments, "-o", output)
    assert (
        error == f"shallow-cf {command}: error: {output} exists already; pass --force to replace it"
    )
    assert Path(output).read_bytes() == b"mine"


@pytest.mark.parametrize("command", ["crosstab", "export", "solve"])
def test_a_file_that_appears_during_the_work_is_not_replaced_either(book, command, monkeypatch):
    arguments, output = OUTPUTS[command]
    is_solve = command == "solve"
    module, reader = (workbook, "read_workbook") if is_solve else (shared, "read_ratings")
    read = getattr(module, reader)

    def read_while_somebody_writes(*args, **kwargs):
        Path(output).write_bytes(b"theirs")
        return read(*args, **kwargs)

    monkeypatch.setattr(module, reader, read_while_somebody_writes)
    done = run(*arguments, "-o", output)
    assert done.status == 2
    assert done.err.endswith(f"{output} exists already and is left as it is\n")
    assert Path(output).read_bytes() == b"theirs"
    assert set(snapshot()) == {"ratings.csv", "book.xlsx", output}


@pytest.mark.parametrize("command", [command for command in OUTPUTS if command != "demo"])
def test_force_replaces_it(book, command):
    arguments, output = OUTPUTS[command]
    Path(output).write_bytes(b"mine")
    ok(*arguments, "-o", output, "--force")
    assert Path(output).stat().st_size > 100
    assert set(snapshot()) == {"ratings.csv", "book.xlsx", output}


@pytest.mark.parametrize("command", OUTPUTS)
def test_places_that_cannot_be_written(book, command, monkeypatch):
    arguments, output = OUTPUTS[command]

    def work(*args, **kwargs):
        raise AssertionError("said only after the work")

    monkeypatch.setattr(shared, "read_ratings", work)
    for name in ("load_crosstab", "read_workbook"):
        monkeypatch.setattr(workbook, name, work)
    Path("folder").mkdir()
    for force in ([], ["--force"]):
        assert refused(*arguments, "-o", "folder", *force).endswith(
            ": folder is a folder, not a file"
        )
        missing = str(Path("nowhere") / output)
        assert refused(*arguments, "-o", missing, *force).endswith(
            "the folder nowhere does not exist"
        )
        assert refused(*arguments, "-o", "", *force).endswith(
            f"argument -o/--output: expected a file name, got '' (see shallow-cf {command} --help)"
        )
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refused(*arguments, "-o", output).endswith("no permission to write in the folder .")


@pytest.mark.parametrize(
    ("argv", "suffix"),
    [
        (["demo", "-o", "out.xls"], ".xlsx"),
        (["export", "-o", "ratings2.csv"], ".xlsx"),
        (["export", "-o", "xlsx"], ".xlsx"),
        (["solve", "book.xlsx", "-o", "book"], ".xlsx"),
        (["solve", "macros.XLSM", "-o", "solved.xlsx"], ".xlsm"),
        (["import", "book.xlsx", "-o", "other.xlsx"], ".npz"),
    ],
)
def test_an_output_must_be_named_for_what_it_is(book, argv, suffix):
    # Excel opens no workbook under another name, and a model is no workbook.
    Path("macros.XLSM").write_bytes(Path("book.xlsx").read_bytes())
    error = refused(*argv)
    assert error.endswith(f"the name of the output must end in {suffix}, got {argv[-1]}")


@pytest.mark.parametrize(
    "argv",
    [
        ["crosstab", "ratings.csv", "-o", "ratings.csv"],
        ["export", "ratings.csv", "-o", "ratings.csv"],
        ["import", "book.xlsx", "-o", "book.xlsx"],
    ],
)
def test_no_command_overwrites_its_input(book, argv):
    for force in ([], ["--force"]):
        assert refused(*argv, *force).endswith(f"{argv[-1]} is the input and is not overwritten")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["demo", "--seed", "-1"], "argument --seed: must be >= 0, got -1"),
        (["export", "-o", "x.xlsx", "--seed", "-1"], "argument --seed: must be >= 0, got -1"),
        (["export", "-o", "x.xlsx", "--seed", "one"], "--seed: invalid whole number value: 'one'"),
        (["export", "-o", "x.xlsx", "--factors", "0"], "argument --factors: must be >= 1, got 0"),
        (["export", "-o", "x.xlsx", "--factors", "1e3"], "invalid whole number value: '1e3'"),
        (["export", "-o", "x.xlsx", "--factors", "20000"], "20000 factors are too many for a work"),
        (
            ["export", "-o", "x.xlsx", "--users", "16"],
            "error: --users: asked for 16 users, but there are only 15",
        ),
        (["crosstab", "ratings.csv", "--users", "0"], "argument --users: must be >= 1, got 0"),
        (["crosstab", "ratings.csv", "--users", "-3"], "argument --users: must be >= 1, got -3"),
        (["crosstab", "ratings.csv", "--items", "2.5"], "invalid whole number value: '2.5'"),
        (
            ["crosstab", "ratings.csv", "--items", "21"],
            "error: --items: asked for 21 items, but there are only 20",
        ),
        (["crosstab", "ratings.csv", "--duplicates", "first"], "invalid choice: 'first'"),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--convergence", "2"],
            "error: --convergence must be <= 1, got 2.0",
        ),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--convergence", "nan"],
            "must be finite and >= 0, got nan",
        ),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--convergence", "-1"],
            "--convergence must be >= 0, got -1.0",
        ),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--max-time", "-1"],
            "--max-time must be > 0, got -1.0",
        ),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--max-time", "inf"],
            "must be finite and > 0, got inf",
        ),
        (
            ["solve", "book.xlsx", "-o", "x.xlsx", "--iterations", "0"],
            "--iterations must be >= 1, got 0",
        ),
        (["solve", "book.xlsx", "-o", "x.xlsx", "--derivatives", "no"], "invalid choice: 'no'"),
        (["solve", "book.xlsx", "-o", "x.xlsx", "--sheet", "no"], "no sheet 'no'; it has: dotprod"),
    ],
)
def test_bad_numbers_and_names(book, argv, message):
    assert message in refused(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fly"], "shallow-cf: error: there is no command 'fly' (see"),
        (["trian"], "shallow-cf: error: there is no command 'trian'; did you mean train? (see"),
        (["help", "exprot"], "no command 'exprot'; did you mean export?"),
        (["-x"], "shallow-cf: error: the following arguments are required: COMMAND"),
        (["train", "a", "-o", "b", "--epoch=3"], "arguments: --epoch=3; did you mean --epochs? ("),
        (["demo", "book.xlsx"], "shallow-cf demo: error: unrecognized arguments: book.xlsx"),
        (["crosstab"], "the following arguments are required: RATINGS"),
        (["export"], "the following arguments are required: -o/--output"),
        (["export", "a.csv", "b.csv", "-o", "x.xlsx"], "unrecognized arguments: b.csv"),
        (["solve"], "the following arguments are required: BOOK.xlsx"),
        (["solve", "book.xlsx"], "one of the arguments -o/--output --in-place is required"),
        (["solve", "b.xlsx", "-o", "x.xlsx", "--in-place"], "not allowed with argument"),
        (["import"], "the following arguments are required: BOOK.xlsx"),
        (["check"], "the following arguments are required: BOOK.xlsx"),
        (["check", ""], "argument BOOK.xlsx: expected a file name, got ''"),
        (["crosstab", ""], "argument RATINGS: expected a file name, got ''"),
        (["export", "--fac", "3", "-o", "x.xlsx"], "unrecognized arguments: --fac"),
        (["check", "--force", "b.xlsx"], "unrecognized arguments: --force"),
    ],
)
def test_command_lines_that_make_no_sense(argv, message):
    error = refused(*argv)
    assert message in error
    assert re.search(r"\(see shallow-cf( \w+)? --help\)$", error)


@pytest.mark.parametrize("command", ["solve", "import", "check"])
def test_a_workbook_that_is_none(ratings_csv, command):
    output = {"solve": ["-o", "out.xlsx"], "import": ["-o", "out.npz"], "check": []}[command]
    Path("folder.xlsx").mkdir()
    Path("empty.xlsx").touch()
    for name, message in {
        "ratings.csv": "ratings.csv is not an .xlsx workbook",
        "empty.xlsx": "empty.xlsx is not an .xlsx workbook",
        "nothing.xlsx": "nothing.xlsx: ",  # and then the system's own words
        "folder.xlsx": "folder.xlsx is a folder, not a workbook",
    }.items():
        assert message in refused(command, name, *output)
    if command == "solve":
        assert "ratings.csv is not an .xlsx workbook" in refused(
            command, "ratings.csv", "--in-place"
        )


@pytest.mark.parametrize("command", ["crosstab", "export"])
def test_ratings_that_are_none(book, command):
    Path("words.csv").write_text("userId,movieId,rating\n1,2,good\n")
    Path("empty.csv").touch()
    Path("other.csv").write_text("name,age\nann,5\n")
    output = "out.csv" if command == "crosstab" else "out.xlsx"
    for name, message in {
        "words.csv": "words.csv line 2: rating must be a finite number, got 'good'",
        "empty.csv": "empty.csv is empty",
        "other.csv": "other.csv line 1: column for the user (such as userId) is missing; found:",
        "nothing.csv": "there is no file nothing.csv",
        "book.xlsx": "book.xlsx is an Excel workbook",
        ".": "is a folder, not a file of ratings",
    }.items():
        assert message in refused(command, name, "-o", output)


def test_ratings_beyond_all_computing():
    Path("r.csv").write_text("userId,movieId,rating\n1,1,3e200\n1,2,4\n")
    for solve in ([], ["--solve"]):
        error = refused("export", "r.csv", "-o", "out.xlsx", *solve)
        assert error.endswith("the ratings are too large to compute with")


def test_a_disk_that_is_full(book, monkeypatch):
    from shallow_cf.workbook import update, writer

    def full(source, target, *args):
        Path(target).write_bytes(b"half a workb")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "assemble", full)
    monkeypatch.setattr(update, "patch_cells", full)
    for argv in (["export"], ["solve", "book.xlsx", *QUICK]):
        assert "No space left on device" in refused(*argv, "-o", "out.xlsx")
    assert "No space left" in refused("solve", "book.xlsx", "--in-place", *QUICK)


def test_a_file_that_excel_holds_open(book, monkeypatch):
    def held(self, target):
        raise PermissionError(13, "Permission denied", str(self), None, str(target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", held)
        error = refused("solve", "book.xlsx", "--in-place", *QUICK)
    assert "solve: error: book.xlsx: Permission denied" in error  # and no temporary name
    with monkeypatch.context() as windows:
        windows.setattr(cli.os, "name", "nt")
        message = cli._one_line(PermissionError(13, "Permission denied", "book.xlsx"))
    assert message == "book.xlsx: Permission denied (is the file open in Excel?)"


def test_too_little_memory(monkeypatch):
    def greedy(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(workbook, "load_crosstab", greedy)
    assert refused("export", "-o", "x.xlsx").endswith("not enough memory for data of this size")


def test_messages_of_several_lines_become_one(monkeypatch):
    def wordy(*args, **kwargs):
        raise ValueError("first line\n\n   second line\twith a tab\n")

    monkeypatch.setattr(workbook, "load_crosstab", wordy)
    assert refused("export", "-o", "x.xlsx").endswith(": first line second line with a tab")


def test_version():
    assert ok("--version").out == f"{scf.__version__}\n"


# --- as a program of its own ----------------------------------------------------------------


def command_line(*argv):
    return [sys.executable, "-m", "shallow_cf", *map(str, argv)]


def test_as_a_program():
    Path("r.csv").write_text("userId,movieId,rating\n1,1,5\n1,2,4\n2,1,3\n")
    done = subprocess.run(
        command_line("export", "r.csv", "-o", "book.xlsx", "--solve"),
        capture_output=True,
        check=False,
    )
    # Nothing but the result: no progress bar where no terminal is, no warning, no traceback.
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(
        rb"dotprod: Solver [^\r\n]+\r?\nbook.xlsx: 2 users [^\r\n]+\r?\n", done.stdout
    )
    assert set(snapshot()) == {"r.csv", "book.xlsx"}


@contextlib.contextmanager
def nobody_reading():
    """A standard output whose reader went away, as in: shallow-cf crosstab r.csv | head -0."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out, contextlib.redirect_stdout(out):
        yield


def test_a_reader_that_went_away_is_no_error(book, capsys):
    with nobody_reading():
        assert main(["crosstab", "ratings.csv"]) == 0
    with nobody_reading(), pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert capsys.readouterr().err == ""


def test_a_failed_check_is_one_even_if_nobody_reads_it(book, capsys):
    add("book.xlsx", place(book, "loss"), 1)
    with nobody_reading():
        assert main(["check", "book.xlsx"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_an_output_that_is_full(ratings_csv, capsys):
    with Path("/dev/full").open("w") as full, contextlib.redirect_stdout(full):
        assert main(["crosstab", "ratings.csv"]) == 2
    error = capsys.readouterr().err
    assert error == "shallow-cf crosstab: error: No space left on device\n"


def test_ids_in_letters_that_the_terminal_does_not_have():
    Path("r.csv").write_text("userId,movieId,rating\nZoë,東京物語,4\n", encoding="utf-8")
    done = subprocess.run(
        command_line("crosstab", "r.csv"), capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split() == [rb"userId,\u6771\u4eac\u7269\u8a9e", rb"Zo\xeb,4"]
    ok("crosstab", "r.csv", "-o", "table.csv")  # but the file has them
    assert Path("table.csv").read_text(encoding="utf-8") == "userId,東京物語\nZoë,4\n"


def test_progress_on_a_terminal(book, monkeypatch):
    tqdm = pytest.importorskip("tqdm", reason="tqdm draws the progress line")
    rows = []
    monkeypatch.setattr(tqdm.tqdm, "update", lambda self, n=1: rows.append(self.postfix))

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with contextlib.redirect_stderr(Terminal()), contextlib.redirect_stdout(io.StringIO()):
        assert main(["solve", "book.xlsx", "-o", "solved.xlsx", *QUICK]) == 0
    assert len(rows) > 5
    assert re.fullmatch(r"RMSE=\d\.\d{6}", rows[-1])
    rows.clear()
    ok("solve", "book.xlsx", "-o", "again.xlsx", *QUICK)
    assert rows == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other links and permissions")
def test_in_place_goes_through_a_link_and_keeps_permissions(capsys):
    assert cli.main(["export", "-o", "book.xlsx"]) == 0
    Path("book.xlsx").chmod(0o600)
    Path("link.xlsx").symlink_to("book.xlsx")
    before = Path("book.xlsx").read_bytes()
    assert cli.main(["solve", "link.xlsx", "--in-place", "--iterations", "1"]) == 0
    assert Path("link.xlsx").is_symlink()
    assert Path("book.xlsx").read_bytes() != before
    assert Path("book.xlsx").stat().st_mode & 0o777 == 0o600


# --- the sheets that explain ----------------------------------------------------------------

ALL_BUT_RUNS = ["readme", "dotprod", "one_hot", "embedding", "gradients", "sgd", "factors",
                "new_user", "word_emb"]  # fmt: skip


def names_of(path):
    return openpyxl.load_workbook(path, read_only=True).sheetnames


def export(*options, output="out.xlsx"):
    ok("export", "ratings.csv", *SIZE, *options, "-o", output)
    return names_of(output)


def test_export_adds_all_sheets_or_those_asked_for(ratings_csv):
    assert export(output="all.xlsx") == ALL_BUT_RUNS
    assert export("--sheets", "none", output="none.xlsx") == ["dotprod"]
    some = export("--sheets", "sgd, readme", output="some.xlsx")
    assert sorted(some) == ["dotprod", "readme", "sgd"]
    assert export("--sheets", "bias", output="bias.xlsx") == ["dotprod", "bias"]


def test_export_of_sheets_that_there_are_not(ratings_csv):
    def told(sheets):
        return refused("export", "ratings.csv", "-o", "x.xlsx", "--sheets", sheets)

    assert "--sheets: there is no sheet 'nope'; known: dotprod, bias, readme," in told("sgd,nope")
    assert "--sheets: there is no sheet ''; known:" in told("sgd,")
    assert "--sheets: none stands alone, got 'none,sgd'" in told("none,sgd")
    for sheet in ("history", "answer_report"):
        assert told(sheet).endswith(f"--sheets: {sheet} shows a run, so it needs --solve")


def test_export_tells_of_what_excels_solver_refuses(ratings_csv):
    limit = "the Solver that comes with Excel takes at most 200. Use: shallow-cf solve"
    # 10 users and 10 items with 10 numbers each are 200 variables; biases make it 220.
    size = ("--users", 10, "--items", 10, "--sheets", "none")
    within = ok("export", "ratings.csv", *size, "--factors", 10, "-o", "within.xlsx").out
    assert "NB:" not in within
    biased = ok("export", "ratings.csv", *size, "--factors", 10, "--bias", "-o", "b.xlsx").out
    assert " ".join(biased.split()).endswith(f"NB: sheet bias has 220 variable cells; {limit}")
    assert biased.count("NB:") == 1
    both = ok("export", "ratings.csv", *size, "--factors", 11, "--bias", "-o", "both.xlsx").out
    assert f"NB: sheet dotprod has 220 variable cells; {limit}" in " ".join(both.split())
    assert f"NB: sheet bias has 240 variable cells; {limit}" in " ".join(both.split())
    assert max(len(line) for line in both.splitlines() if "RMSE" not in line) <= 100


def test_export_solved_shows_the_run(ratings_csv):
    assert {*export("--solve")} == {*ALL_BUT_RUNS, "history", "answer_report"}
    book = openpyxl.load_workbook("out.xlsx", data_only=True)
    assert "Answer Report" in book["answer_report"]["A1"].value
    losses = [row[1] for row in book["history"].iter_rows(min_row=6, values_only=True)]
    losses = [value for value in losses if isinstance(value, float)]
    sheet = Sheet("out.xlsx", "dotprod", 6, 5, 2)
    assert losses[-1] == pytest.approx(sheet.rmse(), rel=1e-9)
    assert losses[0] > losses[-1]


def test_titles_given_or_beside_the_ratings(ratings_csv):
    items = top_of(ratings_csv, 6, 5)[1]
    lines = ["movieId,title,genres", *(f'{i},"Film {i}, The",x' for i in items[1:])]

    def shown(path):
        cells = openpyxl.load_workbook(path)["dotprod"].iter_rows(values_only=True)
        return {cell for row in cells for cell in row if str(cell).startswith("Film ")}

    Path("other.csv").write_text("\n".join(lines).replace("Film", "Film no"))
    export("--titles", "other.csv", output="given.xlsx")
    assert shown("given.xlsx") == {f"Film no {i}, The" for i in items[1:]}
    export(output="none.xlsx")
    assert shown("none.xlsx") == set()
    Path("movies.csv").write_text("\n".join(lines))
    export(output="beside.xlsx")
    assert shown("beside.xlsx") == {f"Film {i}, The" for i in items[1:]}
    argv = ("export", "ratings.csv", "-o", "x.xlsx", "--titles")
    assert refused(*argv, "no.csv").endswith("there is no file no.csv")
    assert "ratings.csv line 1: column for the title" in refused(*argv, "ratings.csv")


def test_the_embedded_movies_have_their_titles(demo):
    small = ("--users", 4, "--items", 3, "--factors", 2, "--sheets", "new_user")
    ok("export", *small, "-o", "small.xlsx")
    Path("own.csv").write_text("movieId,title\n260,My own\n")
    ok("export", *small, "--titles", "own.csv", "-o", "own.xlsx")
    for path, known in {
        demo[0] / "collab_filter.xlsx": scf.load_crosstab_titles(),
        "small.xlsx": scf.load_crosstab_titles(),
        "own.xlsx": {260: "My own"},
    }.items():
        book = openpyxl.load_workbook(path, data_only=True)
        items = scf.read_workbook(path).ratings.item_ids.tolist()
        expected = [known.get(item, str(item)) for item in items]
        rows = book["dotprod"].iter_rows(values_only=True)
        assert any([cell for cell in row if cell is not None] == expected for row in rows)
        column = [cell for (cell,) in book["new_user"].iter_rows(max_col=1, values_only=True)]
        assert column[12 : 12 + len(items)] == expected


def test_solve_adds_its_report_and_leaves_every_other_part(book):
    ok("solve", "book.xlsx", "-o", "out.xlsx", *QUICK)
    assert names_of("out.xlsx") == ["dotprod", "answer_report"]
    ok("solve", "out.xlsx", "-o", "again.xlsx", *QUICK)  # replaced, not added again
    assert names_of("again.xlsx") == ["dotprod", "answer_report"]
    old, new = (
        {name: archive.read(name) for name in archive.namelist()}
        for archive in map(zipfile.ZipFile, ("book.xlsx", "out.xlsx"))
    )
    assert new.keys() - old.keys() == {"xl/worksheets/sheet2.xml"}
    report = openpyxl.load_workbook("out.xlsx")["answer_report"]  # prints on one page's width
    assert report.sheet_properties.pageSetUpPr.fitToPage
    assert (report.page_setup.orientation, report.page_setup.fitToHeight) == ("landscape", 0)
    assert {name for name in old if old[name] != new[name]} == {
        "xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels",
        "[Content_Types].xml",
    }  # fmt: skip


def test_solve_says_which_sheets_it_could_not_bring_up_to_date(ratings_csv):
    export(output="book.xlsx")
    assert "NB:" not in ok("solve", "book.xlsx", "-o", "fresh.xlsx", *QUICK).out
    changed = openpyxl.load_workbook("fresh.xlsx", data_only=True)["one_hot"]
    before = openpyxl.load_workbook("book.xlsx", data_only=True)["one_hot"]
    assert [c.value for r in changed for c in r] != [c.value for r in before for c in r]
    edited = openpyxl.load_workbook("book.xlsx")
    edited["one_hot"]["Z99"] = "=dotprod!$A$1"
    edited.save("edited.xlsx")
    text = ok("solve", "edited.xlsx", "-o", "out.xlsx", *QUICK).out
    assert "NB: one_hot: changed by hand or by another program; what is stored there is" in text


def test_import_of_given_ranges(book):
    ranges = ("--ratings-at", "E2:I7", "--factors-at", "B13:C18,E10:I11")
    data = ok("import", "book.xlsx", *ranges, "-v", "--json").json
    assert data["ratings"] == len(book.rated())
    assert {it["what"]: it["where"] for it in data["found"]}["ratings"] == "E2:I7"
    for options, message in {
        ("--ratings-at", "zz"): "--ratings-at: 'zz' is not a range such as H2:V16",
        (
            "--ratings-at",
            "A1:B2",
        ): "--ratings-at: A1:B2 is not what the prediction formulas",
        ("--factors-at", "A1"): "--factors-at: 'A1' is not two ranges such as B25:F39,H19:V23",
    }.items():
        assert message in refused("import", "book.xlsx", *options)


def test_screenshots_that_cannot_be_made(book):
    assert "nothing.xlsx: " in refused("screenshot", "nothing.xlsx")
    assert refused("screenshot", "ratings.csv").endswith("ratings.csv is not an .xlsx workbook")
    error = refused("screenshot", "book.xlsx", "-o", "ratings.csv")
    assert error.endswith("ratings.csv is a file, not a folder")
    error = refused("screenshot", "book.xlsx", "--dpi", 10**5)
    assert error.endswith("--dpi must be in [10, 600], got 100000")


def test_the_demos_workbook_has_all_sheets_and_four_runs(demo):
    book = openpyxl.load_workbook(demo[0] / "collab_filter.xlsx", read_only=True)
    assert {*book.sheetnames} == {*ALL_BUT_RUNS, "history", "answer_report"}
    header = next(r for r in book["history"].iter_rows(values_only=True) if r[0] == "step")
    assert header[1:5] == ("sgd", "grg", "multistart", "varpro")
