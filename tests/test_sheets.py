"""The sheets that explain a model: what stands in them, against independent computations.

The lesson's sheets are looked at through openpyxl, at addresses of the published layout
or beside the texts that a reader goes by. What spreadsheet programs make of the formulas
is in tests/test_engines.py.
"""

import datetime
import functools
import html
import itertools
import math
import re
import zipfile
from types import SimpleNamespace
from xml.etree import ElementTree

import engines
import numpy as np
import openpyxl
import pytest
import reference
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import range_boundaries

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import sgd
from shallow_cf.workbook import writer
from shallow_cf.workbook.sheets import TEACHING_SHEETS

TITLES = ("=1+1", "+2", "-3", "@a", "\tb", "TRUE", "007", "a*", "A*", "_x0041_", "Up & <down>")
ODD_IDS = (
    "=1+1", "007", "7", "1e5", "100000", "#N/A", "TRUE", "2020-01-01", "-3", "+4", "@x", "'q",
    " lead", "trail ", "\ttab", "a\nb", 'say "hi"', "O'Brien & <b>", "_x0041_", "_x005F_",
    "_x005F_x0041_", "a_x000D_b", "日本", "😀",
)  # fmt: skip
FUNCTIONS = {
    "AVERAGE", "COLUMN", "COUNT", "EXACT", "IF", "IFERROR", "INDEX", "ISNUMBER", "LEFT",
    "LOWER", "MATCH", "MAX", "MID", "MINVERSE", "MMULT", "NA", "REPT", "ROW", "SQRT",
    "SUBSTITUTE", "SUM", "SUMPRODUCT", "SUMXMY2", "TRIM",
}  # fmt: skip


class Book:
    """A written workbook: formulas and values of each sheet, address -> content."""

    def __init__(self, path):
        self.path = path

    @functools.cached_property
    def formulas(self):
        return engines.contents(self.path, False)

    @functools.cached_property
    def loaded(self):
        """The whole workbook as openpyxl has it."""
        return openpyxl.load_workbook(self.path)

    @functools.cached_property
    def values(self):
        return engines.contents(self.path, True)

    def texts(self, sheet):
        """All formulas of a sheet."""
        return [text for text in self.formulas[sheet].values() if str(text).startswith("=")]

    def numbers(self, sheet, cells):
        """The stored numbers of a range as an array; NaN for an empty cell."""
        first, top, last, bottom = range_boundaries(cells)
        table = [
            [self.values[sheet].get(f"{get_column_letter(c)}{r}", np.nan)
             for c in range(first, last + 1)]
            for r in range(top, bottom + 1)
        ]  # fmt: skip
        return np.array(table, dtype=float)

    def find(self, sheet, text):
        """Row and column of the first cell, by row, with this text."""
        places = (
            openpyxl.utils.cell.coordinate_to_tuple(address)
            for address, value in self.values[sheet].items()
            if value == text
        )
        return min(places)

    def has(self, text, sheet="factors"):
        return text in self.values[sheet].values()

    def at(self, sheet, row, column):
        return self.values[sheet].get(f"{get_column_letter(column)}{row}")

    def column(self, sheet, row, column, n_rows):
        return [self.at(sheet, r, column) for r in range(row, row + n_rows)]

    def block(self, sheet, row, column, n_rows, n_columns):
        last = f"{get_column_letter(column + n_columns - 1)}{row + n_rows - 1}"
        return self.numbers(sheet, f"{get_column_letter(column)}{row}:{last}")

    def parts(self):
        with zipfile.ZipFile(self.path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def part(self, sheet):
        """The XML of a sheet; the tabs are numbered in their order."""
        names = openpyxl.load_workbook(self.path, read_only=True).sheetnames
        return self.parts()[f"xl/worksheets/sheet{names.index(sheet) + 1}.xml"].decode()

    def charts(self, sheet):
        return self.loaded[sheet]._charts


def models(ratings, n_factors=5, seed=0):
    """Parameters without and with biases."""
    shape = ratings.n_users, ratings.n_items, n_factors
    return [scf.Parameters.random(*shape, bias=b, random_state=seed + b) for b in (False, True)]


def table(user_ids, item_ids, *, keep=lambda u, i: (7 * u + 3 * i) % 5 > 0):
    """Ratings in halves, with blanks."""
    user_ids, item_ids = list(user_ids), list(item_ids)
    u, i = np.indices((len(user_ids), len(item_ids))).reshape(2, -1)
    kept = np.array([keep(*pair) for pair in zip(u.tolist(), i.tolist(), strict=True)])
    u, i = u[kept], i[kept]
    return scf.Ratings(
        np.array(user_ids), np.array(item_ids), u, i, np.arange(len(u)) % 10 / 2 + 0.5
    )


def trace(values):
    return [{"epoch": n, "train_rmse": value, "seconds": 0.0} for n, value in enumerate(values)]


@pytest.fixture(scope="module")
def lesson(tmp_path_factory, crosstab):
    """The lesson with both models, titles, runs and a report."""
    path = tmp_path_factory.mktemp("lesson") / "lesson.xlsx"
    titles = dict(zip(crosstab.item_ids.tolist(), [*TITLES, *"WXYZ"], strict=True))
    runs = {"dotprod": trace([2.8, 1.0, 0.5, 0.41]), "bias": trace([2.7, 0.9])}
    both = models(crosstab)
    result = sgd.solve(crosstab, both[1], scf.SGDOptions(n_epochs=2), random_state=0)
    report = scf.answer_report(crosstab, result, scf.SGDOptions(n_epochs=2), sheet="bias")
    scf.write_workbook(path, crosstab, *both, titles=titles, runs=runs, reports=[report])
    book = Book(path)
    book.models, book.titles, book.runs = (
        dict(zip(("dotprod", "bias"), both, strict=True)),
        titles,
        runs,
    )
    book.report = report
    return book


@pytest.fixture(scope="module")
def bias_only(tmp_path_factory, crosstab):
    path = tmp_path_factory.mktemp("bias") / "bias.xlsx"
    parameters = models(crosstab)[1]
    scf.write_workbook(path, crosstab, parameters)
    book = Book(path)
    book.parameters = parameters
    return book


@pytest.fixture
def small(tmp_path):
    """Write a small workbook; the path."""
    ratings = table(range(1, 6), range(101, 105))

    def write(*parameters, **settings):
        path = tmp_path / f"small{len(list(tmp_path.iterdir()))}.xlsx"
        settings.setdefault("sheets", [])
        scf.write_workbook(path, settings.pop("ratings", ratings), *parameters, **settings)
        return Book(path)

    write.ratings = ratings
    write.models = models(ratings, 2)
    return write


# --- formulas --------------------------------------------------------------------------


class TestFormulas:
    def test_every_formula_has_a_result(self, lesson, bias_only):
        for book in (lesson, bias_only):
            for name, xml in book.parts().items():
                if name.startswith("xl/worksheets/sheet"):
                    text = xml.decode()
                    formulas = re.findall(r"<c [^>]*><f", text)
                    results = re.findall(r"<f[^>]*(?:/>|>[^<]*</f>)<v>[^<]*</v></c>", text)
                    assert len(formulas) == len(results)
                    assert 't="e"' not in text
        total = sum(str(v).startswith("=") for s in lesson.formulas.values() for v in s.values())
        assert total > 20_000

    def test_they_are_plain_and_as_every_program_knows_them(self, lesson, bias_only):
        for book in (lesson, bias_only):
            for xml in book.parts().values():
                assert b't="array"' not in xml
                assert b"_xlfn" not in xml
            for sheet in book.formulas:
                for formula in book.texts(sheet):
                    assert len(formula) < 8192
                    bare = re.sub(r'"[^"]*"', "", formula)
                    # So none that is volatile: OFFSET, INDIRECT, RAND, NOW, TODAY.
                    assert set(re.findall(r"([A-Z][A-Z0-9.]*)\(", bare)) <= FUNCTIONS

    def test_those_that_share_a_text_are_the_drawn_ones(self, tmp_path, crosstab, monkeypatch):
        # openpyxl moves a shared formula's references as Excel does.
        drawn = []
        monkeypatch.setattr(writer, "draw_book", spy(writer.draw_book, drawn))
        for parameters in (models(crosstab), models(crosstab)[1:]):
            scf.write_workbook("b.xlsx", crosstab, *parameters, overwrite=True)
            written = engines.contents("b.xlsx", False)
            assert b't="shared"' in Book("b.xlsx").parts()["xl/worksheets/sheet4.xml"]
            for canvas in drawn.pop():
                expected = {a: f for a, (f, _) in canvas.results().items()}
                found = {a: written[canvas.name][a] for a in expected}
                assert found == expected

    def test_ids_that_need_exact_in_a_large_table(self, small):
        # A term for each id would be too long a formula.
        ids = [f"u{n}*" for n in range(100)]
        ratings = table(ids, ["a?", "A?"], keep=lambda u, i: u % 10 == i)
        book = small(*models(ratings, 1), ratings=ratings, sheets=["embedding", "gradients"])
        texts = [text for sheet in book.formulas for text in book.texts(sheet)]
        assert max(map(len, texts)) < 8192
        assert book.numbers("embedding", "D8:E8").tolist() == [[1, 1]]


def spy(function, results):
    def called(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return called


# --- dotprod and bias ------------------------------------------------------------------


def luminance(rgb):
    red, green, blue = (int(rgb[-6:][k : k + 2], 16) for k in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def accepts(formula, cell, value):
    """What the test written for a cell says of a value; None is a blank cell."""
    text = re.sub(r"(?<![<>=])=(?!=)", "==", formula.replace(cell, "value"))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    names = {
        "AND": lambda *tests: all(tests), "ISNUMBER": lambda _: is_number,
        "INT": math.floor, "value": value if is_number else math.inf,
    }  # fmt: skip
    return bool(eval(text, {"__builtins__": {}}, names)) if is_number else False


class TestCrosstab:
    @pytest.mark.parametrize(
        ("sheet", "beside", "below"),
        [("dotprod", "W25:W39", "H40:V40"), ("bias", "W26:W40", "H41:V41")],
    )
    def test_errors_of_each_user_and_movie(self, lesson, crosstab, sheet, beside, below):
        theta = reference.plain(lesson.models[sheet])
        triplets = reference.triplets(crosstab)
        of_users = [reference.rmse([t for t in triplets if t[0] == u], theta) for u in range(15)]
        of_items = [reference.rmse([t for t in triplets if t[1] == i], theta) for i in range(15)]
        np.testing.assert_allclose(lesson.numbers(sheet, beside).ravel(), of_users, atol=1e-12)
        np.testing.assert_allclose(lesson.numbers(sheet, below).ravel(), of_items, atol=1e-12)

    def test_who_rated_nothing_has_no_error(self, small):
        ratings = table("abc", "xyz", keep=lambda u, i: u != 1 and i != 2)
        book = small(models(ratings, 2)[0], ratings=ratings)
        found = [v for a, v in book.values["dotprod"].items() if a in ("H11", "H12", "H13")]
        rows = [book.at("dotprod", r, 8) for r in range(10, 13)]  # F10:H12 are the predictions
        texts = [f for f, v in engines.formulas(book.path)["dotprod"].values() if v in (None, "")]
        assert len(texts) == 2, (found, rows)
        assert all(re.match(r'=IF\(COUNT\(\w+:\w+\)=0,"",SQRT\(', text) for text in texts)

    def test_only_stars_may_be_typed(self, lesson):
        for sheet in ("dotprod", "bias"):
            loaded = lesson.loaded[sheet]
            (rule,) = loaded.data_validations.dataValidation
            assert str(rule.sqref) == "H2:V16"
            assert (rule.type, rule.allow_blank) == ("custom", True)
            assert rule.showErrorMessage
            right = [n / 2 for n in range(1, 11)]
            wrong = [-1, 0, 0.25, 0.3, 1.25, 4.75, 4.999, 5.001, 5.5, 6, 50, "4", "n/a", True]
            assert all(accepts(rule.formula1, "H2", value) for value in right)
            assert not any(accepts(rule.formula1, "H2", value) for value in wrong)

    @pytest.mark.parametrize("stars", [[0.0, 5.0], [1.0, 10.0], [1.25, 2.0], [-1.0, 1.0]])
    def test_other_scales_may_hold_anything(self, small, stars):
        ratings = scf.Ratings(np.arange(2), np.arange(2), [0, 1], [0, 1], stars)
        book = small(models(ratings, 2)[0], ratings=ratings)
        assert not book.loaded["dotprod"].data_validations.dataValidation

    @pytest.mark.parametrize(
        ("sheet", "expected"),
        [
            ("dotprod", {"H25:V39", "W25:W39", "H40:V40"}),
            ("bias", {"H26:V40", "W26:W40", "H41:V41"}),
        ],
    )
    def test_colour_scales_tell_by_lightness_alone(self, lesson, sheet, expected):
        rules = lesson.loaded[sheet].conditional_formatting
        assert {str(rule.sqref) for rule in rules} == expected
        for rule in rules:
            (scale,) = (r.colorScale for r in rule.rules)
            ends = [(stop.type, stop.val) for stop in scale.cfvo]
            # Predictions from the lowest rating to the highest, errors from the least to the most.
            is_prediction = str(rule.sqref) in ("H25:V39", "H26:V40")
            numbers = [("num", 1.0), ("num", 5.0)]
            assert ends == (numbers if is_prediction else [("min", None), ("max", None)])
            light = [luminance(colour.rgb) for colour in scale.color]
            assert light[0] - light[1] > 60

    def test_scales_with_a_sign_are_monotonic_as_well(self, lesson):
        # Printed in grey, a negative number must not look like a positive one.
        for sheet in ("gradients", "factors"):
            for rule in lesson.loaded[sheet].conditional_formatting:
                scale = rule.rules[0].colorScale
                assert [stop.type for stop in scale.cfvo] == ["min", "num", "max"]
                low, zero, high = (luminance(colour.rgb) for colour in scale.color)
                assert zero > max(low, high)
                assert abs(low - high) > 20

    def test_views_and_print_settings(self, lesson):
        book = lesson.loaded
        on_one_page = set()
        for sheet in book.worksheets:
            assert sheet.page_setup.orientation == "landscape"
            assert sheet.sheet_properties.pageSetUpPr.fitToPage
            assert sheet.page_setup.fitToWidth in (None, 1)
            if sheet.page_setup.fitToHeight == 1:
                on_one_page.add(sheet.title)
        assert {"dotprod", "bias", "readme", "gradients", "word_emb"} <= on_one_page
        assert "sgd" not in on_one_page  # 206 rows
        assert book["dotprod"].freeze_panes == book["bias"].freeze_panes == "H2"
        for name in ("one_hot", "embedding", "sgd"):
            assert book[name].freeze_panes == "D8"
        assert book["history"].freeze_panes == "B6"

    def test_the_solver_sheet_opens(self, lesson):
        assert lesson.loaded.active.title == "bias"


# --- gradients -------------------------------------------------------------------------


class TestGradients:
    @pytest.mark.parametrize(
        ("bias", "cells"),
        [
            (False, {"H19:V23": "item_factors", "B25:F39": "user_factors"}),
            (True, {"H20:V24": "item_factors", "B26:F40": "user_factors",
                    "H19:V19": "item_bias", "A26:A40": "user_bias"}),
        ],
    )  # fmt: skip
    def test_a_slope_stands_where_its_number_stands(self, lesson, bias_only, crosstab, bias, cells):
        book = bias_only if bias else lesson
        parameters = bias_only.parameters if bias else lesson.models["dotprod"]
        slow = reference.rmse_gradient(reference.triplets(crosstab), reference.plain(parameters))
        by_loops = dict(
            zip(("user_factors", "item_factors", "user_bias", "item_bias"), slow, strict=True)
        )
        gradient = objective.rmse_gradient(crosstab, parameters)
        sheet = "bias" if bias else "dotprod"
        for place, block in cells.items():
            shown, numbers = book.numbers("gradients", place), book.numbers(sheet, place)
            theta = getattr(parameters, block)
            for expected in (getattr(gradient, block), np.array(by_loops[block])):
                turned = expected.T if block == "item_factors" else expected
                np.testing.assert_allclose(shown, turned.reshape(shown.shape), rtol=0, atol=1e-9)
            turned = theta.T if block == "item_factors" else theta
            np.testing.assert_array_equal(numbers, turned.reshape(shown.shape))

    def test_residuals_stand_where_the_ratings_stand(self, lesson, crosstab):
        shown = lesson.numbers("gradients", "H2:V16")
        expected = np.zeros((15, 15))
        for u, i, r in reference.triplets(crosstab):
            expected[u, i] = reference.predict(reference.plain(lesson.models["dotprod"]), u, i) - r
        np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-12)

    def test_each_check_compares_with_a_finite_difference(self, lesson, bias_only, crosstab):
        for book, parameters, n in (
            (lesson, lesson.models["dotprod"], 5), (bias_only, bias_only.parameters, 6),
        ):  # fmt: skip
            check_gradient_tables(book, crosstab, parameters, n, 0, 0, 1e-4)

    def test_the_pickers_offer_the_ids(self, lesson):
        rules = lesson.loaded["gradients"].data_validations.dataValidation
        assert [rule.formula1 for rule in rules] == ["dotprod!$G$2:$G$16", "dotprod!$H$1:$V$1"]
        row, column = lesson.find("gradients", "user")
        assert str(rules[0].sqref) == f"{get_column_letter(column + 2)}{row}"


def check_gradient_tables(book, ratings, parameters, n, u, i, h, *, atol=1e-9):
    """The two comparisons on `gradients`, against loops."""
    triplets, theta = reference.triplets(ratings), parameters
    places = theta.places()
    slow = reference.pack(reference.rmse_gradient(triplets, reference.plain(theta)))
    row, column = book.find("gradients", "RMSE +h")
    tables = (row + 1, u, "user"), (row + 1 + n + 2, i, "item")
    for top, index, side in tables:
        moved = [*places[f"{side}_factors"][index].tolist()]
        if theta.has_bias:
            moved.append(int(places[f"{side}_bias"][index]))
        found = book.block("gradients", top, column - 1, n, 6)
        assert len(moved) == n
        for line, place in zip(found.tolist(), moved, strict=True):
            x = theta.pack()
            number = x[place]
            rmse = []
            for step in (h, -h):
                x[place] = number + step
                rmse.append(reference.rmse(triplets, reference.plain(theta.unpack(x))))
            estimate = (rmse[0] - rmse[1]) / (2 * h)
            expected = [number, *rmse, estimate, slow[place]]
            assert line[:3] + line[4:5] == pytest.approx(expected[:3] + expected[4:], abs=atol)
            assert line[3] == pytest.approx(estimate, abs=1e-12 / h + atol)
            assert line[5] == pytest.approx(line[3] - line[4], abs=1e-15)
            assert abs(line[5]) < max(1e-6, h**2)


# --- sgd -------------------------------------------------------------------------------


def check_sgd(book, ratings, parameters, learning_rate, *, atol=1e-9):
    """The sheet's epoch against the solver's, and against the slow loop."""
    options = scf.SGDOptions(
        n_epochs=1, batch_size=1, learning_rate=learning_rate, shuffle=False
    )  # fmt: skip
    solved = sgd.solve(ratings, parameters, options)
    slow = reference.sgd_epoch(
        reference.triplets(ratings), reference.plain(parameters), learning_rate, 1
    )
    found = solved.parameters
    np.testing.assert_allclose(found.pack(), reference.pack(slow), rtol=0, atol=1e-12)
    n = found.n_factors + found.has_bias
    for whose, n_rows, factors, bias in (
        ("users", ratings.n_users, found.user_factors, found.user_bias),
        ("movies", ratings.n_items, found.item_factors, found.item_bias),
    ):
        row, column = book.find("sgd", f"{whose} at the end of the epoch")
        shown = book.block("sgd", row + 2, column, n_rows, n)
        expected = factors if bias is None else np.column_stack((factors, bias))
        np.testing.assert_allclose(shown, expected, rtol=0, atol=atol)
    assert book.values["sgd"]["B4"] == pytest.approx(solved.rmse_after, abs=atol)
    assert book.values["sgd"]["H4"] == pytest.approx(solved.rmse_before, abs=atol)


class TestSGD:
    def test_the_epoch_is_the_solvers(self, lesson, bias_only, crosstab):
        for book, parameters in (
            (lesson, lesson.models["dotprod"]),
            (bias_only, bias_only.parameters),
        ):
            check_sgd(book, crosstab, parameters, book.values["sgd"]["B5"])

    def test_users_without_ratings_stay_where_they_are(self, small):
        ratings = table("abc", "wxyz", keep=lambda u, i: u != 1 and i != 2)
        for parameters in models(ratings, 2):
            book = small(parameters, ratings=ratings, sheets=["sgd"])
            check_sgd(book, ratings, parameters, book.values["sgd"]["B5"])

    def test_the_learning_rate_offered_does_not_go_astray(self, small):
        ratings = table("abcdef", "vwxyz")
        theta = scf.Parameters(np.full((6, 2), 6.0), np.full((5, 2), 6.0))
        book = small(theta, ratings=ratings, sheets=["sgd"])
        rate = book.values["sgd"]["B5"]
        assert 0 < rate < 0.05
        assert book.values["sgd"]["B4"] <= book.values["sgd"]["H4"]
        check_sgd(book, ratings, theta, rate, atol=1e-7)

    def test_the_lesson_descends(self, lesson):
        assert lesson.values["sgd"]["B5"] == 0.05
        assert lesson.values["sgd"]["B4"] < lesson.values["sgd"]["H4"]


# --- one_hot and embedding -------------------------------------------------------------


class TestRowsOfRatings:
    @pytest.mark.parametrize("sheet", ["one_hot", "embedding"])
    @pytest.mark.parametrize("bias", [False, True])
    def test_predictions_and_loss_are_the_models(self, lesson, bias_only, crosstab, sheet, bias):
        book = bias_only if bias else lesson
        table = book.numbers(*(("bias", "H26:V40") if bias else ("dotprod", "H25:V39")))
        loss = book.values["bias"]["V42"] if bias else book.values["dotprod"]["V41"]
        row, column = book.find(sheet, "prediction")
        shown = book.block(sheet, row + 1, column, 206, 1).ravel()
        expected = table[crosstab.user_idx, crosstab.item_idx]
        np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-12)
        assert book.values[sheet]["B4"] == pytest.approx(loss, abs=1e-12)
        assert book.column(sheet, 8, 1, 206) == crosstab.user_ids[crosstab.user_idx].tolist()
        assert book.column(sheet, 8, 2, 206) == crosstab.item_ids[crosstab.item_idx].tolist()
        assert book.column(sheet, 8, 3, 206) == crosstab.rating.tolist()

    def test_one_hot_vectors_are_one_hot(self, lesson, crosstab):
        for text, idx in (
            ("one-hot user vector", crosstab.user_idx), ("one-hot movie vector", crosstab.item_idx),
        ):  # fmt: skip
            row, column = lesson.find("one_hot", text)
            shown = lesson.block("one_hot", row + 2, column, 206, 15)
            np.testing.assert_array_equal(shown, np.eye(15)[idx])

    def test_positions_and_titles(self, lesson, crosstab):
        row, column = lesson.find("embedding", "user")
        shown = lesson.block("embedding", row + 1, column, 206, 2)
        expected = np.column_stack((crosstab.user_idx, crosstab.item_idx)) + 1
        np.testing.assert_array_equal(shown, expected)
        row, column = lesson.find("embedding", "title")
        shown = lesson.column("embedding", row + 1, column, 206)
        items = crosstab.item_ids[crosstab.item_idx].tolist()
        assert unescaped(shown) == [lesson.titles[item] for item in items]


def unescaped(values):
    """What openpyxl leaves as it stands in the file: _x005F_ is _ in front of an x."""
    return [engines.unescaped(value) for value in values]


# --- factors ---------------------------------------------------------------------------


def check_factors(book, names, numbers):
    """Sorted lists, falling; equals in the order of the movies."""
    n, width = numbers.shape
    for c in range(width):
        name = "bias" if c == width - 1 and book.has("by bias") else f"factor {c + 1}"
        row, column = book.find("factors", f"by {name}")
        shown = list(
            zip(
                unescaped(book.column("factors", row + 1, column, n)),
                book.column("factors", row + 1, column + 1, n),
                strict=True,
            )
        )
        pairs = zip(names, numbers[:, c].tolist(), strict=True)
        assert shown == sorted(
            pairs, key=lambda pair: -pair[1]
        )  # sorted() keeps the order of equals
        values = [value for _, value in shown]
        assert all(a >= b for a, b in itertools.pairwise(values))


class TestFactors:
    def test_movies_in_falling_order(self, lesson, crosstab):
        theta = lesson.models["bias"]
        numbers = np.column_stack((theta.item_factors, theta.item_bias))
        names = [lesson.titles[item] for item in crosstab.item_ids.tolist()]
        check_factors(lesson, names, numbers)

    def test_equal_factors(self, small):
        ratings = table("abc", range(1, 7))
        Q = np.array([[1, 2], [1, 2], [0, 2], [1, 2], [3, -2], [0, 2]], dtype=float)
        book = small(scf.Parameters(np.ones((3, 2)), Q), ratings=ratings, sheets=["factors"])
        check_factors(book, list(range(1, 7)), Q)
        row, column = book.find("factors", "rank 1")
        assert book.column("factors", row + 1, column, 6) == [2, 3, 5, 4, 1, 6]

    def test_the_map_is_of_principal_components(self, lesson):
        Q = lesson.models["bias"].item_factors
        row, column = lesson.find("factors", "component 1")
        scores = lesson.block("factors", row + 1, column, 15, 2)
        values, vectors = np.linalg.eigh(np.cov(Q.T))
        np.testing.assert_allclose(scores.var(axis=0, ddof=1), values[:-3:-1], rtol=1e-9)
        np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
        for k in (0, 1):
            direction = vectors[:, -1 - k]
            direction = direction * np.sign(direction[np.abs(direction).argmax()])
            row, column = lesson.find("factors", f"direction {k + 1}")
            shown = lesson.block("factors", row, column + 1, 1, 5).ravel()
            np.testing.assert_allclose(shown, direction, atol=1e-9)
            np.testing.assert_allclose(scores[:, k], (Q - Q.mean(axis=0)) @ direction, atol=1e-9)

    def test_a_series_for_each_movie_with_its_title(self, lesson, crosstab):
        (chart,) = lesson.charts("factors")
        assert chart.tagname == "scatterChart"
        titles = [lesson.titles[item] for item in crosstab.item_ids.tolist()]
        row, column = lesson.find("factors", "component 1")
        for i, (series, title) in enumerate(zip(chart.series, titles, strict=True)):
            name, x, y = (
                re.fullmatch(r"'?factors'?!\$([A-Z]+)\$(\d+)", f).groups()
                for f in (series.tx.strRef.f, series.xVal.numRef.f, series.yVal.numRef.f)
            )
            shown = lesson.values["factors"]["".join(name)]
            assert unescaped([shown]) == [title]
            letters = get_column_letter(column), get_column_letter(column + 1)
            assert (x, y) == tuple((letter, str(row + 1 + i)) for letter in letters)
            assert series.dLbls.showSerName

    @pytest.mark.parametrize(("n_items", "n_factors"), [(1, 3), (4, 1), (1, 1)])
    def test_no_map_of_one_dimension(self, small, n_items, n_factors):
        ratings = table("abc", range(n_items), keep=lambda u, i: True)
        for parameters in models(ratings, n_factors):
            book = small(parameters, ratings=ratings, sheets=["factors"])
            assert book.charts("factors") == []
            assert not any("chart" in name for name in book.parts())
            assert book.has("component 1")
            assert not book.has("component 2")

    def test_movies_all_alike(self, small):
        ratings = table("abc", range(4))
        book = small(
            scf.Parameters(np.ones((3, 2)), np.ones((4, 2))), ratings=ratings, sheets=["factors"]
        )
        row, column = book.find("factors", "component 1")
        np.testing.assert_allclose(book.block("factors", row + 1, column, 4, 2), 0, atol=1e-12)


# --- history ---------------------------------------------------------------------------


class TestHistory:
    def test_values_are_the_runs(self, lesson):
        row, column = lesson.find("history", "step")
        assert lesson.column("history", row + 1, column, 5) == [0, 1, 2, 3, None]
        for c, (name, run) in enumerate(lesson.runs.items(), column + 1):
            assert lesson.at("history", row, c) == name
            values = [step["train_rmse"] for step in run]
            assert lesson.column("history", row + 1, c, len(run) + 1) == [*values, None]

    def test_the_chart_is_native_and_logarithmic(self, lesson):
        (chart,) = lesson.charts("history")
        assert chart.tagname == "lineChart"
        assert chart.y_axis.scaling.logBase == 2
        assert chart.y_axis.scaling.min <= 0.41
        assert chart.y_axis.scaling.max >= 2.8
        found = [(s.tx.strRef.f, s.val.numRef.f, s.cat.numRef.f) for s in chart.series]
        expected = [
            ("B$5", "B$6:$B$9", "A$6:$A$9"), ("C$5", "C$6:$C$7", "A$6:$A$9"),
        ]  # fmt: skip
        bare = [tuple(f.replace("'", "").replace("history!$", "") for f in s) for s in found]
        assert bare == expected

    def test_a_fitted_models_run_is_its_trace(self, small, crosstab):
        model = scf.MatrixFactorization(
            solver_options=scf.SGDOptions(n_epochs=150), random_state=0
        ).fit(crosstab)  # fmt: skip
        book = small(model, ratings=crosstab, sheets=["history"])
        shown = book.numbers("history", "B6:B156").ravel()
        expected = [row["train_rmse"] for row in model.result_.trace]
        np.testing.assert_array_equal(shown, expected)
        (chart,) = book.charts("history")
        assert chart.series[0].val.numRef.f.endswith("$B$6:$B$106")  # the start and 100 steps

    @pytest.mark.parametrize("runs", [None, {}, {"a": []}])
    def test_without_runs_there_is_no_sheet(self, small, runs):
        book = small(small.models[0], runs=runs, sheets=["readme", "history"])
        assert list(book.values) == ["readme", "dotprod"]

    @pytest.mark.parametrize("values", [[1.0], [0.0], [0.5, 0.0], [math.nan, 2.0], [2.0, math.inf]])
    def test_runs_that_are_hard_to_chart(self, small, values):
        book = small(small.models[0], runs={"a": trace(values), "b": []}, sheets=["history"])
        (chart,) = book.charts("history")
        assert len(chart.series) == 1
        scaling = chart.y_axis.scaling
        assert scaling.min is None or 0 < scaling.min < scaling.max
        shown = book.column("history", 6, 2, len(values))
        special = {math.inf: "#NUM!"}
        assert shown == [None if v != v else special.get(v, v) for v in values]


# --- word_emb --------------------------------------------------------------------------


def check_words(values, sentence, *, atol=0.0):
    """The look-ups of a sheet, address -> value, against a dictionary read from its table."""

    def at(row, column):
        return values.get(f"{get_column_letter(column)}{row}")

    (top,) = (int(a[1:]) + 1 for a, v in values.items() if v == "vocabulary")
    known = {}
    for row in range(top, top + 24):
        known[at(row, 1)] = [at(row, c) for c in range(2, 8)]
    assert [line[0] for line in known.values()] == list(range(1, 25))
    words = sentence.lower().split()[:12]
    for n, row in enumerate(range(7, 19)):
        shown = [at(row, c) for c in range(1, 8)]
        if n < len(words):
            expected = [words[n], *known.get(words[n], known["<unknown>"])]
            assert shown[0] == expected[0]
            assert shown[1:] == pytest.approx(expected[1:], abs=atol)
        else:
            assert [value or "" for value in shown] == [""] * 7
    return words, known


class TestWords:
    def test_look_ups(self, lesson):
        sentence = lesson.values["word_emb"]["B4"]
        words, known = check_words(lesson.values["word_emb"], sentence)
        assert len(words) == 9
        assert set(words) <= set(known)
        assert known["<unknown>"][0] == 1


# --- answer_report and readme ----------------------------------------------------------


class TestAnswerReport:
    def test_layout(self, lesson):
        values = lesson.values["answer_report"]
        assert values["A1"] == "shallow_cf Answer Report"
        in_a = [v for a, v in values.items() if re.fullmatch(r"A\d+", a)]
        heads = [text.partition(":")[0] for text in in_a[1:]]
        assert heads == [
            "Worksheet", "Report Created", "Result", "Solver Engine", "Solver Options",
            "Objective Cell (Min)", "Variable Cells", "Constraints",
        ]  # fmt: skip
        assert "Worksheet: bias" in in_a
        self.check_table(values, "Objective Cell (Min)", lesson.report)
        self.check_table(values, "Variable Cells", lesson.report)
        row = next(int(a[1:]) for a, v in values.items() if v == "Constraints")
        assert values[f"B{row + 1}"] == "NONE"

    def check_table(self, values, heading, report):
        frame = report.tables[heading]
        row = next(int(a[1:]) for a, v in values.items() if v == heading)
        letters = [get_column_letter(2 + c) for c in range(frame.shape[1])]
        assert [values[f"{letter}{row + 1}"] for letter in letters] == list(frame.columns)
        for r, line in enumerate(frame.itertuples(index=False), row + 2):
            assert [values[f"{letter}{r}"] for letter in letters] == list(line)
        assert f"B{row + 2 + len(frame)}" not in values

    def test_columns_are_solvers(self, lesson):
        cells = ["Cell", "Name", "Original Value", "Final Value"]
        assert list(lesson.report.tables["Objective Cell (Min)"].columns) == cells
        assert list(lesson.report.tables["Variable Cells"].columns) == [*cells, "Integer"]
        assert len(lesson.report.tables["Variable Cells"]) == 180

    def test_constraints_and_what_is_no_number(self, small):
        options = scf.SolverOptions(
            non_negative=True, constraints=[scf.Constraint("user_factors", "<=", 1.0)]
        )
        model = scf.MatrixFactorization(2, solver="grg", solver_options=options, random_state=0)
        model.fit(small.ratings)
        reports = [
            make(small.ratings, model.result_, options)
            for make in (scf.answer_report, scf.limits_report, scf.sensitivity_report)
        ]
        book = small(model, sheets=["answer_report"], reports=reports)
        values = book.values["answer_report"]
        for report in reports:
            assert report.title in values.values()
        self.check_table(values, "Constraints", reports[0])
        assert "Formula" in values.values()
        assert not any(str(f).startswith("=") for f in book.formulas["answer_report"].values())


class TestReadme:
    def test_lists_the_sheets_of_the_workbook(self, lesson, bias_only, small):
        some = small(*small.models, sheets=["sgd", "readme"])
        for book in (lesson, bias_only, some):
            values = book.values["readme"]
            row, _ = book.find("readme", "The sheets")
            listed = []
            while values.get(f"A{row + 1 + len(listed)}") is not None:
                listed.append(values[f"A{row + 1 + len(listed)}"])
            assert listed == list(book.values)
            assert all(values[f"B{row + 1 + k}"] for k in range(len(listed)))

    @pytest.mark.parametrize("solver", ["grg", "sgd", "varpro"])
    @pytest.mark.parametrize("bias", [False, True])
    def test_nobody_is_told_to_solve_what_is_solved(self, small, crosstab, solver, bias):
        model = scf.MatrixFactorization(bias=bias, solver=solver, random_state=0).fit(crosstab)
        start = scf.Parameters.random(15, 15, bias=bias, random_state=0)
        sheet = "bias" if bias else "dotprod"
        for parameters, is_solved in ((model, True), (start, False)):
            book = small(parameters, ratings=crosstab, sheets=["readme", "new_user"])
            text = " ".join(map(str, book.values["readme"].values()))
            assert (f"The numbers on {sheet} are solved already" in text) == is_solved
            assert (f"Be a new user: solve {sheet}, type your stars" in text) != is_solved
            assert ("Be a new user: type your stars" in text) == is_solved

    def test_a_model_far_too_large_is_not_solved(self, small):
        theta = small.models[0].pack() * 1e200
        with np.errstate(over="ignore", invalid="ignore"):
            book = small(small.models[0].unpack(theta), sheets=["readme"])
        assert "solved already" not in str(book.values["readme"].values())

    def test_which_sheets_there_are(self, lesson, bias_only):
        assert list(lesson.values) == [
            "readme", "dotprod", "bias", "one_hot", "embedding", "gradients", "sgd", "history",
            "factors", "new_user", "word_emb", "answer_report",
        ]  # fmt: skip
        without = {"dotprod", "history", "answer_report"}
        assert list(bias_only.values) == [name for name in lesson.values if name not in without]
        assert set(lesson.values) == {*TEACHING_SHEETS, "dotprod", "bias"}

    @pytest.mark.parametrize(
        ("n_users", "n_items", "taught"),
        [(30, 2, True), (2, 30, True), (31, 2, False), (2, 31, False)],
    )
    def test_default_sheets_are_for_small_tables(self, small, n_users, n_items, taught):
        ratings = table(range(n_users), range(n_items), keep=lambda u, i: (u + i) % 7 == 0)
        book = small(models(ratings, 1)[0], ratings=ratings, sheets=None)
        assert (len(book.values) > 1) == taught
        assert "dotprod" in book.values

    def test_a_large_table_gets_those_asked_for(self, small):
        ratings = table(range(31), range(2), keep=lambda u, i: (u + i) % 7 == 0)
        book = small(models(ratings, 1)[0], ratings=ratings, sheets=["sgd", "word_emb"])
        assert list(book.values) == ["dotprod", "sgd", "word_emb"]

    @pytest.mark.parametrize("name", ["grads", "dotprod", ""])
    def test_a_sheet_that_does_not_exist(self, small, name):
        with pytest.raises(ValueError, match=f"`sheets` .*{name!r}"):
            small(small.models[0], sheets=["sgd", name])


# --- text is text ----------------------------------------------------------------------


class TestText:
    def test_ids_stay_what_they_are(self, small):
        ratings = table(ODD_IDS, ODD_IDS[::-1])
        book = small(*models(ratings, 1), ratings=ratings)
        for sheet in ("dotprod", "bias"):
            assert scf.read_workbook(book.path, sheet).ratings.equals(ratings)
            loaded = book.loaded[sheet]
            labels = [loaded.cell(2 + u, 3) for u in range(len(ODD_IDS))]
            assert unescaped(cell.value for cell in labels) == list(ODD_IDS)
            assert {cell.data_type for cell in labels} == {"s"}

    def test_titles_stay_what_they_are(self, lesson):
        for sheet, row in (("dotprod", 18), ("bias", 18)):
            cells = lesson.loaded[sheet][row][7:22]
            assert unescaped(cell.value for cell in cells) == list(lesson.titles.values())
            assert {cell.data_type for cell in cells} == {"s"}

    @pytest.mark.parametrize(
        "ids",
        [
            [2**60, 2**60 + 1, 3, -5], [2**53, 2**53 + 1, -(2**53) - 1], [-(2**63), 2**63 - 1],
            [2**60], ["007", "1e5"], ["5", "6"], [str(2**53), "-5"], [str(2**60), "a"],
            ["0" + str(2**60), "1"], [str(2**63), str(2**64)], [f"{2**60}.0", str(2**60)],
        ],
    )  # fmt: skip
    def test_numbers_stay_numbers_and_texts_texts(self, small, ids):
        ratings = table(ids, ids[::-1], keep=lambda u, i: True)
        book = small(models(ratings, 1)[0], ratings=ratings)
        read = scf.read_workbook(book.path).ratings
        assert read.user_ids.tolist() == ids
        assert read.item_ids.tolist() == ids[::-1]
        assert read.user_ids.dtype.kind == ratings.user_ids.dtype.kind

    @pytest.mark.parametrize(
        ("titles", "width"),
        [
            (None, 12),
            ({1: "Fargo"}, 12),
            ({1: "The Shawshank Redemption"}, 26),
            ({1: "x" * 99}, 36),
        ],
    )
    def test_a_column_of_titles_is_as_wide_as_the_longest(self, small, titles, width):
        ratings = table("abc", [1, 2, 3], keep=lambda u, i: True)
        sheets = ["factors", "new_user"]
        book = small(models(ratings, 1)[0], ratings=ratings, titles=titles, sheets=sheets)
        for sheet in sheets:
            assert book.loaded[sheet].column_dimensions["A"].width == width

    def test_titles_survive_solving(self, lesson, tmp_path):
        model = scf.read_workbook(lesson.path, "bias")
        assert scf.update_workbook(model, model.parameters, tmp_path / "same.xlsx") == []
        assert Book(tmp_path / "same.xlsx").values == lesson.values


# --- same input, same bytes ------------------------------------------------------------


class TestSameBytes:
    def write(self, path, crosstab):
        both = models(crosstab)
        scf.write_workbook(
            path, crosstab, *both, runs={"a": trace([1, 2])}, sheets=["readme", "history"]
        )
        return path.read_bytes()

    def test_also_years_later(self, tmp_path, crosstab, monkeypatch):
        import openpyxl.packaging.core
        import openpyxl.writer.excel

        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
        first = self.write(tmp_path / "a.xlsx", crosstab)
        later = datetime.datetime(2040, 5, 6, 7, 8, 9)

        class Later(datetime.datetime):
            asked = 0

            @classmethod
            def now(cls, tz=None):
                cls.asked += 1
                return later.replace(tzinfo=tz)

        clock = SimpleNamespace(datetime=Later, timezone=datetime.timezone)
        monkeypatch.setattr(openpyxl.writer.excel, "datetime", clock)
        monkeypatch.setattr(openpyxl.packaging.core, "datetime", clock)
        monkeypatch.setattr("time.time", later.timestamp)
        assert self.write(tmp_path / "b.xlsx", crosstab) == first
        assert Later.asked

    def test_the_time_is_that_of_source_date_epoch(self, tmp_path, crosstab, monkeypatch):
        moment = datetime.datetime(2019, 3, 4, 5, 6, 8)
        seconds = int((moment - datetime.datetime(1970, 1, 1)).total_seconds())
        for text, expected in (
            (str(seconds), moment), ("0", datetime.datetime(1980, 1, 1)),
            ("", datetime.datetime(1980, 1, 1)),
            ("4354819198", datetime.datetime(2107, 12, 31, 23, 59, 58)),
        ):  # fmt: skip
            monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
            self.write(tmp_path / f"e{text}.xlsx", crosstab)
            with zipfile.ZipFile(tmp_path / f"e{text}.xlsx") as archive:
                times = {member.date_time for member in archive.infolist()}
                core = archive.read("docProps/core.xml").decode()
            assert times == {expected.timetuple()[:6]}
            stamps = re.findall(r"W3CDTF\">([^<]*)<", core)
            assert set(stamps) == {f"{expected.isoformat()}Z"}
            assert len(stamps) == 2

    @pytest.mark.parametrize(
        "text", ["yesterday", "-5", "1.5", "2019-01-01", "4354819200", "9" * 40]
    )
    def test_a_time_that_is_none(self, tmp_path, crosstab, monkeypatch, text):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        with pytest.raises(ValueError, match=rf"^SOURCE_DATE_EPOCH must be .* got '{text}'$"):
            self.write(tmp_path / "b.xlsx", crosstab)
        assert list(tmp_path.iterdir()) == []


# --- a workbook that is solved ---------------------------------------------------------


def rewrite(path, change):
    """Change parts of a package: `change` maps name -> new content, given all parts."""
    contents = Book(path).parts()
    contents |= change(contents)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def sheet_part(path, sheet):
    names = openpyxl.load_workbook(path, read_only=True).sheetnames
    return f"xl/worksheets/sheet{names.index(sheet) + 1}.xml"


class TestUpdate:
    @pytest.mark.parametrize("sheet", [pytest.param("dotprod", marks=pytest.mark.slow), "bias"])
    def test_a_solved_workbook_is_what_would_have_been_written(self, tmp_path, sheet):
        # Every stored result of every sheet, but for the directions of the map, which stay.
        ratings = table(ODD_IDS, range(1, 5))
        before, after = models(ratings, 2, seed=0), models(ratings, 2, seed=7)
        new = [after[0], before[1]] if sheet == "dotprod" else [before[0], after[1]]
        scf.write_workbook("a.xlsx", ratings, *before)
        scf.write_workbook("b.xlsx", ratings, *new)
        model = scf.read_workbook("a.xlsx", sheet)
        assert scf.update_workbook(model, new[sheet == "bias"], "c.xlsx") == []
        updated, fresh = Book("c.xlsx").values, Book("b.xlsx").values
        for name, cells in fresh.items():
            if name == "factors" and sheet == "bias":
                _, last = Book("c.xlsx").find("factors", "component 1")
                cells = {
                    a: v
                    for a, v in cells.items()
                    if range_boundaries(a)[0] < last and int(re.sub(r"\D", "", a)) < 11
                }
            if name == "sgd" and sheet == "dotprod":
                continue  # its learning rate is the reader's, and stays
            for address, value in cells.items():
                if isinstance(value, float):
                    assert updated[name][address] == pytest.approx(value, abs=1e-12), (
                        name,
                        address,
                    )
                else:
                    assert updated[name][address] == value

    def test_a_sheet_changed_by_hand_is_named_and_left(self, small):
        book = small(*small.models, sheets=None)
        part = sheet_part(book.path, "embedding")

        def change(contents):
            xml, n = re.subn(rb"SQRT\(SUM\(", b"2*SQRT(SUM(", contents[part], count=1)
            assert n == 1
            return {part: xml}

        rewrite(book.path, change)
        model = scf.read_workbook(book.path, "dotprod")
        other = models(small.ratings, 2, seed=5)[0]
        assert scf.update_workbook(model, other, "out.xlsx") == ["embedding"]
        old, new = Book(book.path), Book("out.xlsx")
        assert old.parts()[part] == new.parts()[part]
        for sheet in ("dotprod", "one_hot", "gradients", "sgd"):
            assert old.values[sheet] != new.values[sheet]
        # Of the other model nothing has changed.
        for sheet in ("bias", "factors", "word_emb", "readme"):
            assert old.values[sheet] == new.values[sheet]

    @pytest.mark.parametrize(
        ("sheet", "label", "value"),
        [("gradients", "h", "fast"), ("gradients", "user", 99), ("sgd", None, -1)],
    )
    def test_a_senseless_input_makes_a_sheet_outdated(self, small, sheet, label, value):
        book = small(small.models[0], sheets=None)
        loaded = openpyxl.load_workbook(book.path)
        row, column = (5, 0) if label is None else book.find(sheet, label)
        loaded[sheet].cell(row, column + 2).value = value
        loaded.save("changed.xlsx")
        model = scf.read_workbook("changed.xlsx", "dotprod")
        assert scf.update_workbook(model, small.models[0], "out.xlsx") == [sheet]

    def test_chosen_inputs_stay_chosen(self, small):
        book = small(small.models[0], sheets=None)
        loaded = openpyxl.load_workbook(book.path)
        for label, value in (("h", 1e-3), ("user", 4), ("movie", 103)):
            row, column = book.find("gradients", label)
            loaded["gradients"].cell(row, column + 2).value = value
        loaded["sgd"]["B5"] = 0.01
        loaded.save("changed.xlsx")
        other = models(small.ratings, 2, seed=5)[0]
        model = scf.read_workbook("changed.xlsx", "dotprod")
        assert scf.update_workbook(model, other, "out.xlsx") == []
        out = Book("out.xlsx")
        check_gradient_tables(out, small.ratings, other, 2, 3, 2, 1e-3)
        check_sgd(out, small.ratings, other, 0.01)

    def test_the_report_is_added_and_then_replaced(self, small):
        book = small(small.models[0], sheets=[])
        model = scf.read_workbook(book.path)
        results = [
            sgd.solve(small.ratings, small.models[0], scf.SGDOptions(n_epochs=n), random_state=0)
            for n in (1, 2)
        ]
        for n, result in enumerate(results):
            report = scf.answer_report(small.ratings, result, scf.SGDOptions(), sheet="dotprod")
            target = f"out{n}.xlsx"
            scf.update_workbook(model, result.parameters, target, reports=[report])
            values = Book(target).values
            assert list(values) == ["dotprod", "answer_report"]
            TestAnswerReport().check_table(values["answer_report"], "Variable Cells", report)
            model = scf.read_workbook(target)
        # A report of another kind is ours as well.
        report = scf.sensitivity_report(small.ratings, results[0], scf.SGDOptions())
        for n in (2, 3):
            scf.update_workbook(model, model.parameters, f"out{n}.xlsx", reports=[report])
            assert list(Book(f"out{n}.xlsx").values) == ["dotprod", "answer_report"]
            model = scf.read_workbook(f"out{n}.xlsx")

    @pytest.mark.parametrize("names", [["Answer_Report"], ["answer_report", "ANSWER_report_2"]])
    def test_somebody_elses_report_is_not_overwritten(self, small, names):
        book = small(small.models[0], sheets=[])
        loaded = openpyxl.load_workbook(book.path)
        for name in names:
            loaded.create_sheet(name)["A1"] = "My Answer Report on films"
            loaded[name]["B2"] = "=1+2"
        loaded.save("foreign.xlsx")
        model = scf.read_workbook("foreign.xlsx")
        result = sgd.solve(small.ratings, small.models[0], scf.SGDOptions(n_epochs=1))
        report = scf.answer_report(small.ratings, result, scf.SGDOptions())
        for target in ("one.xlsx", "two.xlsx"):
            scf.update_workbook(model, result.parameters, target, reports=[report])
            out = Book(target)
            ours = f"answer_report_{len(names) + 1}"
            assert list(out.values) == ["dotprod", *names, ours]
            assert out.values[ours]["A1"] == "shallow_cf Answer Report"
            for name in names:
                assert out.part(name) == Book("foreign.xlsx").part(name)
            model = scf.read_workbook(target)

    def test_a_dollar_in_a_sheets_name_is_no_part_of_a_reference(self, small):
        book = small(small.models[0], sheets=["gradients"])
        loaded = openpyxl.load_workbook(book.path)
        for row in loaded["gradients"]:
            for cell in row:
                if cell.data_type == "f":
                    cell.value = cell.value.replace("dotprod!", "'US$ of 2020'!")
        for name in loaded["dotprod"].defined_names.values():
            name.attr_text = name.attr_text.replace("dotprod!", "'US$ of 2020'!")
        loaded["dotprod"].title = "US$ of 2020"
        loaded.save("renamed.xlsx")
        model = scf.read_workbook("renamed.xlsx")
        assert scf.update_workbook(model, models(small.ratings, 2, 9)[0], "out.xlsx") == []
        assert [check.ok for check in scf.check_workbook("out.xlsx")] == [True, True]

    def test_foreign_sheets_are_left_alone(self, small):
        # Of the name of one of ours, but about something else.
        book = small(small.models[0], sheets=[])
        loaded = openpyxl.load_workbook(book.path)
        loaded.create_sheet("sgd")["A1"] = "=1+1"
        loaded.create_sheet("factors")["A1"] = "none"
        loaded.save("foreign.xlsx")
        model = scf.read_workbook("foreign.xlsx")
        assert scf.update_workbook(model, models(small.ratings, 2, 9)[0], "out.xlsx") == []
        for name in ("sgd", "factors"):
            assert Book("out.xlsx").part(name) == Book("foreign.xlsx").part(name)


def test_every_part_is_xml_and_every_reference_leads_somewhere(lesson):
    contents = lesson.parts()
    for name, content in contents.items():
        if name.endswith((".xml", ".rels")):
            ElementTree.fromstring(content)
    sheets = set(lesson.values)
    for sheet in sheets:
        for formula in lesson.texts(sheet):
            named = set(
                re.findall(r"([A-Za-z_]+)!", re.sub(r'"[^"]*"', "", html.unescape(formula)))
            )
            assert named <= sheets
