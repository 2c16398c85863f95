"""The sheet `new_user`: what it shows, what Solver may change, and what solving it writes.

Numbers are compared with `MatrixFactorization.fold_in_user` and with computations written
out here, places with texts that a reader goes by.
"""

import gzip
import re
import subprocess
import zipfile

import engines
import numpy as np
import openpyxl
import pandas as pd
import pytest
from openpyxl.utils import get_column_letter
from scipy import optimize
from test_cli import ok, refused
from test_sheets import Book, accepts, models, table

import shallow_cf as scf

SHEET = "new_user"
SMALL = table(range(1, 6), range(101, 108))
MINE = {102: 4.5, 105: 1.0, 107: 3.0}
N_PUBLISHED_NAMES = 27


class Places:
    """Addresses on the sheet, found by its texts."""

    def __init__(self, book, n_items):
        def below(text):
            row, column = book.find(SHEET, text)
            letter = get_column_letter(column)
            return [f"{letter}{r}" for r in range(row + 3, row + 3 + n_items)]

        def beside(text, n=1):
            row, column = book.find(SHEET, text)
            return [f"{get_column_letter(column + 1 + k)}{row}" for k in range(n)]

        header = book.find(SHEET, "movie")[0]
        names = [v for a, v in book.values[SHEET].items() if re.fullmatch(rf"[A-Z]+{header}", a)]
        self.n = names.index("prediction") - 2
        self.movies, self.ratings = below("movie"), below("your rating")
        self.prediction, self.squared = below("prediction"), below("error²")
        header_exact = f"{get_column_letter(names.index('exact') + 1)}{header}"
        assert book.values[SHEET][header_exact] == "exact"
        self.exact_prediction = [re.sub(r"\d+", a[1:], header_exact) for a in self.movies]
        self.you = beside("you", self.n + 1)[1:]
        self.exact = [re.sub(r"\d+$", str(int(a[1:]) + 1), a) for a in self.you]
        (self.loss,), (self.rmse,), (self.penalty,) = map(beside, ("loss", "RMSE", "penalty"))


def at(book, addresses):
    return np.array([book.values[SHEET].get(a, np.nan) for a in addresses], dtype=float)


def typed(source, target, ratings, stars, penalty=None, numbers=None):
    """Type ratings (id -> stars) over those of the export, as a spreadsheet program would."""
    places = Places(Book(source), ratings.n_items)
    loaded = openpyxl.load_workbook(source)
    sheet = loaded[SHEET]
    for address, item in zip(places.ratings, ratings.item_ids.tolist(), strict=True):
        sheet[address].value = stars.get(item)
    if penalty is not None:
        sheet[places.penalty].value = penalty
    for address, value in zip(places.you, numbers or [], strict=False):
        sheet[address].value = value
    loaded.save(target)
    return places


def folded(ratings, parameters, stars, penalty):
    """What `fold_in_user` finds: the numbers, and the predictions for all movies."""
    model = scf.MatrixFactorization.from_parameters(ratings, parameters)
    model = model.fold_in_user(stars, 999, reg=penalty)
    theta = model.parameters_
    x = theta.user_factors[-1]
    x = x if theta.user_bias is None else np.append(x, theta.user_bias[-1])
    return x, theta.predict_all()[-1]


def residuals(x, ratings, parameters, stars):
    """Error of each typed rating, by loops."""
    k = parameters.n_factors
    found = []
    for item, rating in stars.items():
        i = ratings.item_ids.tolist().index(item)
        bias = 0.0 if parameters.item_bias is None else parameters.item_bias[i] + x[k]
        found.append(sum(x[:k] * parameters.item_factors[i]) + bias - rating)
    return np.array(found)


def loss_of(x, ratings, parameters, stars, penalty):
    e = residuals(x, ratings, parameters, stars)
    return np.sqrt((sum(e**2) + penalty * sum(np.square(x))) / len(e))


@pytest.fixture(params=[False, True], ids=["dotprod", "bias"])
def small(request, tmp_path, monkeypatch):
    """A small workbook of one model, and that model."""
    monkeypatch.chdir(tmp_path)
    parameters = models(SMALL, 2)[request.param]
    scf.write_workbook("book.xlsx", SMALL, parameters, sheets=[SHEET])
    return parameters


# --- the sheet ---------------------------------------------------------------------------


class TestSheet:
    def test_the_export_types_an_example_and_knows_nothing_yet(self, small):
        book = Book("book.xlsx")
        places = Places(book, SMALL.n_items)
        crosstab = SMALL.to_crosstab()
        counts = crosstab.notna().sum(axis=1)
        own = crosstab.loc[counts.idxmax()].dropna()
        example = at(book, places.ratings)
        given = dict(zip(SMALL.item_ids.tolist(), example, strict=True))
        assert {i: v for i, v in given.items() if v == v} == own.iloc[::2].to_dict()
        assert set(at(book, places.you)) == {0.0}
        assert places.n == 2 + small.has_bias

    def test_all_movies_are_predicted(self, small):
        numbers = [0.7, -0.2, 0.4][: 2 + small.has_bias]
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, numbers=numbers)
        scf.update_workbook(scf.read_workbook("typed.xlsx"), small, "out.xlsx")
        book = Book("out.xlsx")
        expected = small.item_factors @ numbers[:2]
        if small.has_bias:
            expected += small.item_bias + numbers[2]
        np.testing.assert_allclose(at(book, places.prediction), expected, rtol=1e-13)
        e = residuals(np.array(numbers), SMALL, small, MINE)
        squared = at(book, [a for a in places.squared if book.values[SHEET].get(a)])
        np.testing.assert_allclose(squared, e**2, rtol=1e-12)
        values = book.values[SHEET]
        assert values[places.rmse] == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-13)
        expected = loss_of(np.array(numbers), SMALL, small, MINE, 1.0)
        assert values[places.loss] == pytest.approx(expected, rel=1e-13)

    def test_movies_are_linked_to_the_models_sheet(self, small):
        book = Book("book.xlsx")
        places = Places(book, SMALL.n_items)
        model = scf.read_workbook("book.xlsx")
        for i, address in enumerate(places.ratings):
            links = [
                book.formulas[SHEET][f"{get_column_letter(3 + k)}{address[1:]}"]
                for k in range(places.n)
            ]
            blocks = [model.layout.item_factors.cell(k, i, fixed=True) for k in range(2)]
            if small.has_bias:
                blocks.append(model.layout.item_bias.cell(0, i, fixed=True))
            assert links == [f"={model.sheet}!{cell}" for cell in blocks]

    @pytest.mark.parametrize("penalty", [0.001, 1.0, 7.5])
    def test_the_exact_answer_is_fold_ins(self, small, penalty):
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, penalty)
        scf.update_workbook(scf.read_workbook("typed.xlsx"), small, "out.xlsx")
        book = Book("out.xlsx")
        x, predictions = folded(SMALL, small, MINE, penalty)
        np.testing.assert_allclose(at(book, places.exact), x, rtol=0, atol=1e-10)
        np.testing.assert_allclose(at(book, places.exact_prediction), predictions, atol=1e-10)

    @pytest.mark.parametrize("penalty", [0, 0.0009])
    def test_without_a_penalty_no_exact_answer_is_shown(self, small, penalty):
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, penalty)
        scf.update_workbook(scf.read_workbook("typed.xlsx"), small, "out.xlsx")
        values = Book("out.xlsx").values[SHEET]
        shown = [values.get(a) or "" for a in places.exact + places.exact_prediction]
        assert set(shown) == {""}

    def test_what_may_be_typed(self, tmp_path, crosstab):
        scf.write_workbook(tmp_path / "b.xlsx", crosstab, models(crosstab)[0], sheets=[SHEET])
        book = Book(tmp_path / "b.xlsx")
        places = Places(book, 15)
        rules = {
            str(rule.sqref): rule for rule in book.loaded[SHEET].data_validations.dataValidation
        }
        stars = rules.pop(f"{places.ratings[0]}:{places.ratings[-1]}").formula1
        assert all(accepts(stars, places.ratings[0], n / 2) for n in range(1, 11))
        assert not any(accepts(stars, places.ratings[0], v) for v in (0, 0.3, 5.5, "4", None))
        penalty = rules.pop(places.penalty).formula1
        assert all(accepts(penalty, places.penalty, value) for value in (0, 0.5, 3))
        assert not any(accepts(penalty, places.penalty, value) for value in (-1, "much"))
        assert rules == {}

    def test_inputs_have_the_colours_of_inputs(self, small):
        book = Book("book.xlsx")
        places = Places(book, SMALL.n_items)
        sheet = book.loaded[SHEET]
        assert {sheet[a].style for a in [*places.ratings, places.penalty]} == {"input"}
        assert {sheet[a].style for a in places.you} == {"user embedding"}
        assert sheet[places.loss].style == "loss"

    def test_solver_may_change_the_users_numbers_only(self, small):
        book = Book("book.xlsx")
        places = Places(book, SMALL.n_items)
        names = book.loaded[SHEET].defined_names
        assert len(names) == N_PUBLISHED_NAMES
        assert all(name.hidden for name in names.values())
        text = {name: defined.attr_text.replace("$", "") for name, defined in names.items()}
        assert text["solver_opt"] == f"{SHEET}!{places.loss}"
        assert text["solver_adj"] == f"{SHEET}!{places.you[0]}:{places.you[-1]}"
        assert (text["solver_typ"], text["solver_neg"], text["solver_num"]) == ("2", "2", "0")

    def test_it_follows_the_first_model(self, tmp_path):
        scf.write_workbook(tmp_path / "b.xlsx", SMALL, *models(SMALL, 2))
        texts = " ".join(Book(tmp_path / "b.xlsx").texts(SHEET))
        assert "dotprod!" in texts
        assert "bias!" not in texts

    def test_it_is_no_model_of_its_own(self, small):
        with pytest.raises(scf.WorkbookError, match="no model found"):
            scf.read_workbook("book.xlsx", SHEET)
        loaded = openpyxl.load_workbook("book.xlsx")
        loaded.active = loaded[SHEET]  # as it was left by who typed ratings
        loaded.save("left.xlsx")
        assert scf.read_workbook("left.xlsx").sheet == ("bias" if small.has_bias else "dotprod")

    @pytest.mark.parametrize(("n_users", "there"), [(30, True), (31, False)])
    def test_large_tables_have_it_only_when_asked(self, tmp_path, n_users, there):
        ratings = table(range(n_users), range(4))
        parameters = models(ratings, 2)[0]
        scf.write_workbook(tmp_path / "a.xlsx", ratings, parameters)
        assert (SHEET in Book(tmp_path / "a.xlsx").values) == there
        scf.write_workbook(tmp_path / "b.xlsx", ratings, parameters, sheets=[SHEET])
        assert list(Book(tmp_path / "b.xlsx").values) == ["dotprod", SHEET]


# --- solving it --------------------------------------------------------------------------


class TestSolve:
    @pytest.mark.parametrize("penalty", [0.0, 0.3, 1.0])
    def test_the_numbers_are_fold_ins(self, small, penalty):
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, penalty)
        found = scf.solve_new_user("typed.xlsx", "out.xlsx")
        x, predictions = folded(SMALL, small, MINE, penalty)
        book = Book("out.xlsx")
        np.testing.assert_allclose(at(book, places.you), x, rtol=0, atol=1e-10)
        np.testing.assert_allclose(at(book, places.prediction), predictions, rtol=0, atol=1e-12)
        assert list(found.numbers.values()) == at(book, places.you).tolist()
        assert next(iter(found.numbers)) == "factor 1"
        assert (found.n_ratings, found.reg) == (3, penalty)
        e = residuals(x, SMALL, small, MINE)
        assert found.rmse_after == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-9, abs=1e-12)
        after = loss_of(x, SMALL, small, MINE, penalty)
        assert found.loss_after == pytest.approx(after, rel=1e-9, abs=1e-12)
        before = loss_of(np.zeros(len(x)), SMALL, small, MINE, penalty)
        assert found.loss_before == pytest.approx(before, rel=1e-12)

    def test_there_the_objective_of_solver_is_least(self, small):
        # Found by a minimiser that knows nothing of least squares, from the sheet's start.
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, 0.5)
        scf.solve_new_user("typed.xlsx", "out.xlsx")
        x = at(Book("out.xlsx"), places.you)
        least = optimize.minimize(
            loss_of, np.zeros(len(x)), (SMALL, small, MINE, 0.5), options={"gtol": 1e-7}
        )
        np.testing.assert_allclose(x, least.x, atol=1e-5)
        assert Book("out.xlsx").values[SHEET][places.loss] <= least.fun + 1e-12

    def test_nothing_else_in_the_workbook_changes(self, tmp_path):
        scf.write_workbook(tmp_path / "b.xlsx", SMALL, *models(SMALL, 2))
        old = Book(tmp_path / "b.xlsx")
        places = Places(old, SMALL.n_items)
        scf.solve_new_user(tmp_path / "b.xlsx", tmp_path / "out.xlsx")
        new = Book(tmp_path / "out.xlsx")
        before, after = old.parts(), new.parts()
        assert list(before) == list(after)
        number = list(old.values).index(SHEET) + 1
        changed = [name for name in before if before[name] != after[name]]
        assert changed == [f"xl/worksheets/sheet{number}.xml"]
        for cells in (old.formulas[SHEET], new.formulas[SHEET]):
            for address in places.you:
                del cells[address]
        assert old.formulas[SHEET] == new.formulas[SHEET]
        # And no byte but in numbers and results.
        bare = [re.sub(rb"<v>[^<]*</v>|<v/>", b"", part[changed[0]]) for part in (before, after)]
        assert bare[0] == bare[1]

    def test_every_result_of_the_sheet_follows(self, small):
        scf.solve_new_user("book.xlsx", "out.xlsx")
        checks = {check.sheet: check for check in scf.check_workbook("out.xlsx")}
        n_items, n = SMALL.n_items, 2 + small.has_bias
        assert checks[SHEET].cells == n_items * (n + 4) + n + n * (n + 1) + 2
        assert all(check.max_difference < 1e-14 for check in checks.values())

    def test_nobody_rated_anything(self, small):
        places = typed("book.xlsx", "typed.xlsx", SMALL, {}, numbers=[1.0, 2.0])
        found = scf.solve_new_user("typed.xlsx", "out.xlsx")
        assert set(found.numbers.values()) == {0.0}
        assert (found.n_ratings, found.rmse_before, found.rmse_after) == (0, None, None)
        assert found.loss_after == 0
        book = Book("out.xlsx")
        assert not book.values[SHEET].get(places.rmse)
        expected = small.item_bias if small.has_bias else np.zeros(SMALL.n_items)
        np.testing.assert_allclose(at(book, places.prediction), expected, rtol=1e-14)

    def test_solved_models_bring_it_up_to_date(self, small):
        # The user's numbers are the reader's and stay; the movies' are others.
        mine = [0.5, -0.25, 0.125][: 2 + small.has_bias]
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE, 2.0, mine)
        other = models(SMALL, 2, seed=5)[small.has_bias]
        assert scf.update_workbook(scf.read_workbook("typed.xlsx"), other, "out.xlsx") == []
        book = Book("out.xlsx")
        np.testing.assert_array_equal(at(book, places.you), mine)
        x, _ = folded(SMALL, other, MINE, 2.0)
        np.testing.assert_allclose(at(book, places.exact), x, atol=1e-12)
        assert all(check.ok for check in scf.check_workbook("out.xlsx"))

    @pytest.mark.parametrize(
        ("n_users", "n_items", "n_factors"), [(3, 40, 5), (1, 1, 1), (4, 1, 3), (5, 20, 1)]
    )
    @pytest.mark.parametrize("bias", [False, True])
    def test_any_size(self, tmp_path, n_users, n_items, n_factors, bias):
        ratings = table(range(n_users), range(n_items), keep=lambda u, i: (u + i) % 4 < 3)
        parameters = models(ratings, n_factors)[bias]
        path = tmp_path / "b.xlsx"
        scf.write_workbook(path, ratings, parameters, sheets=[SHEET])
        scf.solve_new_user(path, path, overwrite=True)
        book = Book(path)
        places = Places(book, n_items)
        stars = dict(zip(ratings.item_ids.tolist(), at(book, places.ratings), strict=True))
        stars = {item: value for item, value in stars.items() if value == value}
        assert stars
        x, predictions = folded(ratings, parameters, stars, 1.0)
        np.testing.assert_allclose(at(book, places.you), x, rtol=0, atol=1e-10)
        np.testing.assert_allclose(at(book, places.exact), x, atol=1e-12)
        np.testing.assert_allclose(at(book, places.prediction), predictions, atol=1e-12)
        assert all(check.ok for check in scf.check_workbook(path))

    def test_titles_and_ids_that_are_texts(self, tmp_path):
        ratings = table(["a", "=b"], ["#N/A", "007", "a*", "A*"])
        titles = {"007": "=1+1", "a*": "Up & <down>"}
        path = tmp_path / "b.xlsx"
        scf.write_workbook(path, ratings, models(ratings, 2)[1], titles=titles)
        scf.solve_new_user(path, path, overwrite=True)
        book = Book(path)
        shown = [book.values[SHEET][a] for a in Places(book, 4).movies]
        assert shown == ["#N/A", "=1+1", "Up & <down>", "A*"]
        assert all(check.ok for check in scf.check_workbook(path))

    def test_a_workbook_is_replaced_only_when_asked(self, small):
        with pytest.raises(FileExistsError):
            scf.solve_new_user("book.xlsx", "book.xlsx")
        scf.solve_new_user("book.xlsx", "book.xlsx", overwrite=True)


class TestRefused:
    @pytest.mark.parametrize(
        ("kind", "value"),
        [("ratings", "four"), ("ratings", True), ("ratings", "=1+3"), ("you", "4"),
         ("you", "#N/A"), ("penalty", "four"), ("penalty", "#N/A")],
    )  # fmt: skip
    def test_what_is_no_number(self, small, kind, value):
        book = Book("book.xlsx")
        places = Places(book, SMALL.n_items)
        address = {"ratings": places.ratings[1], "you": places.you[0], "penalty": places.penalty}
        loaded = openpyxl.load_workbook("book.xlsx")
        loaded[SHEET][address[kind]].value = value
        loaded.save("typed.xlsx")
        with pytest.raises(
            scf.WorkbookError, match=rf"{SHEET}!{address[kind]}: must be a number, got"
        ):
            scf.solve_new_user("typed.xlsx", "out.xlsx")
        model = scf.read_workbook("typed.xlsx")
        assert scf.update_workbook(model, small, "out.xlsx") == [SHEET]

    def test_a_negative_penalty(self, small):
        typed("book.xlsx", "typed.xlsx", SMALL, MINE, -1)
        with pytest.raises(scf.WorkbookError, match=rf"{SHEET}!B8: must be >= 0, got -1"):
            scf.solve_new_user("typed.xlsx", "out.xlsx")

    def test_blank_cells_count_as_the_sheet_counts_them(self, small):
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE)
        loaded = openpyxl.load_workbook("typed.xlsx")
        for address in (places.penalty, *places.you):
            loaded[SHEET][address].value = None
        loaded.save("blank.xlsx")
        found = scf.solve_new_user("blank.xlsx", "out.xlsx")
        assert found.reg == 0
        x, _ = folded(SMALL, small, MINE, 0.0)
        np.testing.assert_allclose(list(found.numbers.values()), x, rtol=0, atol=1e-10)

    def test_formulas_that_somebody_changed(self, small):
        places = Places(Book("book.xlsx"), SMALL.n_items)
        loaded = openpyxl.load_workbook("book.xlsx")
        loaded[SHEET][places.prediction[2]].value = "=1+2"
        loaded.save("changed.xlsx")
        with pytest.raises(scf.WorkbookError, match="its formulas are not those"):
            scf.solve_new_user("changed.xlsx", "out.xlsx")

    def test_without_the_sheet_or_with_somebody_elses(self, small):
        scf.write_workbook("plain.xlsx", SMALL, small, sheets=[])
        with pytest.raises(scf.WorkbookError, match=f"plain.xlsx: there is no sheet '{SHEET}'"):
            scf.solve_new_user("plain.xlsx", "out.xlsx")
        loaded = openpyxl.load_workbook("plain.xlsx")
        loaded.create_sheet(SHEET)["A1"] = "=1+2"
        loaded.save("foreign.xlsx")
        with pytest.raises(scf.WorkbookError, match="refers to no model"):
            scf.solve_new_user("foreign.xlsx", "out.xlsx")


# --- the command line --------------------------------------------------------------------


class TestCommand:
    def test_it_finds_only_these_numbers(self, small):
        places = typed("book.xlsx", "typed.xlsx", SMALL, MINE)
        done = ok("solve", "typed.xlsx", "--sheet", SHEET, "-o", "out.xlsx")
        x, _ = folded(SMALL, small, MINE, 1.0)
        np.testing.assert_allclose(at(Book("out.xlsx"), places.you), x, rtol=0, atol=1e-10)
        assert f"sheet {SHEET}: loss " in done.out
        assert f"factor 1 {x[0]:.4f}" in done.out
        assert "over 3 ratings, penalty 1" in done.out

    def test_it_tells_what_to_watch(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ratings, titles = scf.load_crosstab(), scf.load_crosstab_titles()
        model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        scf.write_workbook("book.xlsx", ratings, model, sheets=[SHEET], titles=titles)
        mine = {260: 5, 1196: 4.5, 608: 1}
        typed("book.xlsx", "typed.xlsx", ratings, mine)
        # The same by folding the user in, in Python.
        expected = model.fold_in_user(mine, 999, reg=1.0).recommend(999, n=15, titles=titles)
        assert len(expected) == 12
        found = scf.solve_new_user("typed.xlsx", "library.xlsx")
        pd.testing.assert_frame_equal(
            found.predictions, expected[found.predictions.columns], rtol=1e-9
        )
        solve = ("solve", "typed.xlsx", "--sheet", SHEET, "-o")
        data = ok(*solve, "json.xlsx", "--json").json
        assert data["predictions"] == found.predictions.to_dict("records")
        out = ok(*solve, "text.xlsx").out
        assert max(map(len, out.splitlines())) <= 100
        _, table = out.split("Predictions for 12 items not rated, stars:\n")
        head, *lines = table.splitlines()
        assert head.split() == ["item_id", "prediction", "title"]
        assert [line.split(maxsplit=2) for line in lines] == [
            [str(row.item_id), f"{row.prediction:.2f}", row.title]
            for row in found.predictions.itertuples()
        ]

    def test_all_rated_and_many_not_rated(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        one = table(["a"], range(3))
        scf.write_workbook("all.xlsx", one, models(one, 1)[0], sheets=[SHEET])
        typed("all.xlsx", "all.xlsx", one, dict.fromkeys(one.item_ids.tolist(), 3.0))
        solve = ("solve", "--sheet", SHEET, "--in-place")
        assert "Predictions" not in ok(*solve, "all.xlsx").out
        many = table(["a"], range(30))
        scf.write_workbook("many.xlsx", many, models(many, 1)[0], sheets=[SHEET])
        typed("many.xlsx", "many.xlsx", many, {})
        out = ok(*solve, "many.xlsx").out
        assert "Predictions for the 20 best of 30 items not rated, stars:" in out
        assert len(out.partition("stars:\n")[2].splitlines()) == 21

    def test_as_json_and_in_place(self, small):
        found = ok("solve", "book.xlsx", "--sheet", SHEET, "--in-place", "--json").json
        assert found["sheet"] == SHEET
        assert found["model"] == ("bias" if small.has_bias else "dotprod")
        assert found["output"] == "book.xlsx"
        assert len(found["numbers"]) == 2 + small.has_bias
        assert found["loss_after"] < found["loss_before"]

    @pytest.mark.parametrize(
        "options",
        [["--iterations", "5"], ["--method", "sgd"], ["--report"], ["--seed", "1"],
         ["--ratings-at", "B2:C3"], ["--non-negative"]],
    )  # fmt: skip
    def test_settings_of_a_search_are_refused(self, small, options):
        line = refused("solve", "book.xlsx", "--sheet", SHEET, "-o", "out.xlsx", *options)
        assert f"{options[0]} does not go with --sheet {SHEET}" in line

    def test_a_foreign_model_of_that_name_is_solved_as_one(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        scf.write_workbook("b.xlsx", SMALL, models(SMALL, 2)[0], sheets=[])
        with zipfile.ZipFile("b.xlsx") as old, zipfile.ZipFile("named.xlsx", "w") as new:
            for member in old.infolist():
                new.writestr(member, old.read(member).replace(b"dotprod", SHEET.encode()))
        done = ok("solve", "named.xlsx", "--sheet", SHEET, "-o", "out.xlsx")
        assert "iterations" in done.out


# --- other programs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "engine", [pytest.param("libreoffice", marks=pytest.mark.slow), "gnumeric"]
)
@pytest.mark.parametrize("bias", [pytest.param(False, marks=pytest.mark.slow), True])
def test_engines_compute_what_was_typed_and_what_they_save_is_solved(engine, bias, tmp_path):
    parameters = models(SMALL, 2)[bias]
    scf.write_workbook(tmp_path / "b.xlsx", SMALL, parameters, sheets=[SHEET])
    numbers = [0.4, 0.9, -0.3][: 2 + bias]
    sources = []
    for name, penalty in (("with", 0.25), ("without", 0)):
        sources.append(tmp_path / f"{name}.xlsx")
        places = typed(tmp_path / "b.xlsx", sources[-1], SMALL, MINE, penalty, numbers)
    solved = [tmp_path / f"solved_{source.name}" for source in sources]
    for penalty, saved, output in zip(
        (0.25, 0.0), engines.recalculate(engine, sources, tmp_path), solved, strict=True
    ):
        book = Book(saved)
        x, _ = folded(SMALL, parameters, MINE, penalty)
        expected = parameters.item_factors @ numbers[:2]
        expected = expected + parameters.item_bias + numbers[2] if bias else expected
        np.testing.assert_allclose(at(book, places.prediction), expected, rtol=0, atol=1e-12)
        loss = loss_of(np.array(numbers), SMALL, parameters, MINE, penalty)
        assert book.values[SHEET][places.loss] == pytest.approx(loss, abs=1e-12)
        if penalty:
            np.testing.assert_allclose(at(book, places.exact), x, rtol=0, atol=1e-9)
        checks = {check.sheet: check for check in scf.check_workbook(saved)}
        assert checks[SHEET].ok
        assert checks[SHEET].cells > 0
        found = scf.solve_new_user(saved, output)
        np.testing.assert_allclose(list(found.numbers.values()), x, rtol=0, atol=1e-9)
    for output, again in zip(solved, engines.recalculate(engine, solved, tmp_path), strict=True):
        assert max(engines.largest_differences(output, again).values()) <= 1e-9


#: What Gnumeric calls Solver's model; its import of .xlsx does not take that in.
GNUMERIC_MODEL = (
    '<gnm:Solver ModelType="2" ProblemType="0" Inputs="{inputs}" TargetCol="1" TargetRow="5" '
    'MaxTime="60" MaxIter="1000" NonNeg="0" Discr="0" AutoScale="0" ProgramR="0" '
    'SensitivityR="0"/>'
)


def test_another_programs_solver_ends_at_the_exact_answer(tmp_path, crosstab):
    # Gnumeric's Nlsolve knows nothing but the formulas, and starts where the export does.
    program = engines.require("gnumeric")
    source, plain, model, solved = (
        tmp_path / name for name in ("b.xlsx", "p.gnumeric", "m.gnumeric", "solved.xlsx")
    )
    scf.write_workbook(source, crosstab, models(crosstab)[0], sheets=[SHEET])
    places = Places(Book(source), 15)
    assert places.loss == "B6"
    loaded = openpyxl.load_workbook(source)
    loaded.move_sheet(SHEET, -1)  # Gnumeric solves the first
    loaded.active = 0
    loaded.save(source)
    subprocess.run([program, source, plain], check=True, capture_output=True, timeout=100)
    xml = gzip.decompress(plain.read_bytes()).decode()
    ours = GNUMERIC_MODEL.format(inputs=f"{places.you[0]}:{places.you[-1]}")
    model.write_text(re.sub(r"<gnm:Solver [^>]*/>", ours, xml, count=1))
    subprocess.run(
        [program, "--solve", model, solved], check=True, capture_output=True, timeout=100
    )
    found = engines.contents(solved, True)[SHEET]
    x = [found[address] for address in places.you]
    np.testing.assert_allclose(x, [found[address] for address in places.exact], atol=1e-6)
    assert found[places.loss] < 2  # almost 4 at the start
