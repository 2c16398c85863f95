"""LibreOffice and Gnumeric recalculate our workbooks and must get NumPy's numbers.

Every stored result is removed first (see `engines`), so what is compared here was
computed by the engine from the formulas alone.
"""

import engines
import numpy as np
import openpyxl
import pytest
from test_sheets import (
    ODD_IDS,
    TITLES,
    Book,
    check_gradient_tables,
    check_sgd,
    check_words,
    models,
    table,
    trace,
)
from test_workbook import random_case

import shallow_cf as scf

CASES = {
    "lesson": {"n_users": 15, "n_items": 15, "n_factors": 5, "bias": False},
    "lesson-bias": {"n_users": 15, "n_items": 15, "n_factors": 5, "bias": True},
    "one-cell": {"n_users": 1, "n_items": 1, "n_factors": 1, "bias": False},
    "one-cell-bias": {"n_users": 1, "n_items": 1, "n_factors": 1, "bias": True},
    "one-factor": {"n_users": 3, "n_items": 7, "n_factors": 1, "bias": True, "blanks": 0.5},
    "wide": {"n_users": 4, "n_items": 60, "n_factors": 3, "bias": False, "blanks": 0.3},
    "tall": {"n_users": 60, "n_items": 4, "n_factors": 7, "bias": True, "blanks": 0.3},
    "no-blanks": {"n_users": 6, "n_items": 5, "n_factors": 2, "bias": True, "blanks": 0.0},
    "mostly-blank": {"n_users": 12, "n_items": 12, "n_factors": 2, "bias": False, "blanks": 0.95},
}


def awkward_ids():
    """A full table whose ids look like something else, and a model for each sheet."""
    ids = np.array(["=1+1", "#N/A", "007", "O'Brien & <b>", "Amélie"])
    u, i = np.indices((5, 5)).reshape(2, -1)
    ratings = scf.Ratings(ids, ids[::-1], u, i, np.arange(25) % 10 / 2 + 0.5)
    models = (scf.Parameters.random(5, 5, 2, bias=bias, random_state=3) for bias in (False, True))
    return ratings, *models


@pytest.fixture(scope="module", params=engines.ENGINES)
def saved(request, tmp_path_factory):
    """Case -> (ratings, parameters, path of what the engine saved): starting one takes long."""
    folder = tmp_path_factory.mktemp(request.param)
    cases = {name: random_case(**shape, seed=7) for name, shape in CASES.items()}
    cases["awkward-ids"] = awkward_ids()
    sources = []
    for name, (ratings, *parameters) in cases.items():
        sources.append(folder / f"{name}.xlsx")
        # All sheets of the lesson are among the slow books below.
        sheets = () if name.startswith("lesson") else None
        scf.write_workbook(sources[-1], ratings, *parameters, sheets=sheets)
    outputs = engines.recalculate(request.param, sources, folder)
    return {name: (*cases[name], path) for name, path in zip(cases, outputs, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_predictions_and_loss_equal_numpys(saved, case):
    ratings, parameters, path = saved[case]
    book = scf.read_workbook(path)
    expected = np.zeros((ratings.n_users, ratings.n_items))  # 0 where there is no rating
    u, i = ratings.user_idx, ratings.item_idx
    expected[u, i] = parameters.predict(u, i)
    np.testing.assert_allclose(book.stored_predictions, expected, rtol=0, atol=1e-9)
    rmse = np.sqrt(np.mean((expected[u, i] - ratings.rating) ** 2))
    assert book.objective == pytest.approx(rmse, abs=1e-9)
    assert all(check.ok and check.loss_checked for check in scf.check_workbook(path))


@pytest.mark.parametrize("case", CASES)
def test_what_the_engine_saved_reads_back(saved, case):
    # LibreOffice cuts numbers to 15 digits, hence not bit for bit.
    ratings, parameters, path = saved[case]
    book = scf.read_workbook(path)
    assert book.ratings.equals(ratings)
    np.testing.assert_allclose(book.parameters.pack(), parameters.pack(), rtol=0, atol=1e-12)


def test_both_sheets_and_awkward_ids_survive(saved):
    ratings, *models, output = saved["awkward-ids"]
    for sheet, parameters in zip(("dotprod", "bias"), models, strict=True):
        book = scf.read_workbook(output, sheet)
        assert book.ratings.equals(ratings)
        np.testing.assert_allclose(book.parameters.pack(), parameters.pack(), rtol=0, atol=1e-12)
        users, items = np.meshgrid(range(5), range(5), indexing="ij")
        expected = parameters.predict(users, items)
        np.testing.assert_allclose(book.stored_predictions, expected, rtol=0, atol=1e-9)


def test_a_wrong_formula_would_be_noticed(saved):
    # The comparison above must be able to fail: compare with another embedding.
    ratings, parameters, output = saved["lesson"]
    theta = parameters.pack()
    theta[0] += 1e-6
    shifted = parameters.unpack(theta)
    u, i = ratings.user_idx, ratings.item_idx
    computed = scf.read_workbook(output).stored_predictions[u, i]
    assert np.abs(computed - shifted.predict(u, i)).max() > 1e-9


# --- every formula of every sheet ------------------------------------------------------


def write_solved(path, ratings, n_factors, **settings):
    """A workbook with all sheets, solved twice, so that every result was put there later."""
    before, after = models(ratings, n_factors), models(ratings, n_factors, seed=7)
    runs = {"dotprod": trace([2, 1, 0.5])}
    scf.write_workbook(path, ratings, *before, runs=runs, overwrite=True, **settings)
    for sheet, start, parameters in zip(("dotprod", "bias"), before, after, strict=True):
        model = scf.read_workbook(path, sheet)
        result = scf.SolverResult(
            parameters, [{"train_rmse": 2.0}, {"train_rmse": 1.0}], 0, "Done.", 0.1, start,
            n_function=2, n_gradient=1,
        )  # fmt: skip
        reports = [] if sheet == "dotprod" else [
            scf.answer_report(ratings, result, scf.SGDOptions(), sheet=sheet)
        ]  # fmt: skip
        assert scf.update_workbook(model, parameters, path, overwrite=True, reports=reports) == []


def write_plain(path, ratings, n_factors, **settings):
    scf.write_workbook(path, ratings, *models(ratings, n_factors, seed=3), **settings)


def titled(ratings):
    """Titles that look like something else, as many as there are items."""
    names = [*TITLES, *(f"Film {n}" for n in range(30))]
    return dict(zip(ratings.item_ids.tolist(), names, strict=False))


def unrated(u, i):
    return u not in (0, 3) and i not in (1, 4) and (u + i) % 3 > 0


# Gnumeric resolves the escapes in such texts twice.
PLAIN_IDS = [text for text in ODD_IDS if "_x005F_" not in text]
SMALL = table(range(1, 7), range(101, 106))
# Name -> what writes the workbook; ids that only EXACT tells apart, and others that are odd.
BOOKS = {
    "solved-titles": lambda path: write_solved(path, SMALL, 2, titles=titled(SMALL)),
    "unrated": lambda path: write_plain(path, table(range(5), range(6), keep=unrated), 2),
    "wildcards": lambda path: write_plain(
        path, table(["a*", "a?", "~b", "ab", "*"], ["Ann", "ann", "ANN"]), 2
    ),
    "long-ids": lambda path: write_plain(path, table(["x" * 256 + "a", "x" * 256 + "b"], "yz"), 1),
}
SLOW_BOOKS = {
    "lesson-bias": lambda path: scf.write_workbook(
        path, scf.load_crosstab(), models(scf.load_crosstab())[1]
    ),
    "odd-ids": lambda path: write_plain(path, table(PLAIN_IDS[:12], PLAIN_IDS[12:]), 1),
    "lesson-solved": lambda path: write_solved(
        path, scf.load_crosstab(), 5, titles=titled(scf.load_crosstab())
    ),
    "thirty": lambda path: write_plain(path, random_case(30, 30, 5, bias=True, seed=1)[0], 5),
    "wide": lambda path: write_plain(path, random_case(3, 30, 2, bias=True, seed=1)[0], 2),
    "tall": lambda path: write_plain(path, random_case(30, 3, 2, bias=True, seed=1)[0], 2),
    "one-user": lambda path: write_plain(path, table([7], range(4)), 2),
    "one-item": lambda path: write_plain(path, table(range(4), [7]), 2),
    "case": lambda path: write_plain(
        path, table(["straße", "STRASSE", "É", "é", "fi"], ["i", "I", "\u0131"]), 2
    ),
    "solved-odd-ids": lambda path: write_solved(path, table(PLAIN_IDS, PLAIN_IDS[::-1]), 2),
    "many-exact-ids": lambda path: scf.write_workbook(
        path, *random_book_of_patterns(40), sheets=["one_hot", "embedding", "gradients"]
    ),
    "large-ids": lambda path: write_solved(path, table([2**60, 2**60 + 1, 3, -5], [1, 2, 3]), 2),
}
SENTENCES = (
    "", "  The  MOVIE, was GOOD. ", "am i? g*d good~ * ? ~ a~b <unknown> it", "a " * 40,
    "extraordinarily " * 12, "i in is", "x" * 300 + " good", '"good" <b> & =1+1',
)  # fmt: skip


def random_book_of_patterns(n):
    ratings = table([f"u{k}*" for k in range(n)], ["a?", "A?", "ab"])
    return ratings, models(ratings, 2)[0]


def computed(engine, folder, books):
    """Write the books and let the engine compute them: name -> (ours, what it saved)."""
    paths = [folder / f"{name}.xlsx" for name in books]
    for path, write in zip(paths, books.values(), strict=True):
        write(path)
    saved = engines.recalculate(engine, paths, folder)
    return dict(zip(books, zip(paths, saved, strict=True), strict=True))


def with_inputs(changes):
    """What writes a workbook whose yellow cells were changed: sheet -> address -> content."""

    def write(path, parameters=None):
        both = models(SMALL, 2)
        scf.write_workbook(path, SMALL, *(both if parameters is None else [parameters]))
        loaded = openpyxl.load_workbook(path)
        for sheet, cells in changes(Book(path)).items():
            for address, value in cells.items():
                loaded[sheet][address].value = value
                if isinstance(value, str):
                    loaded[sheet][address].data_type = "s"  # also where it starts with =
        loaded.save(path)

    return write


def picks(book):
    row, column = book.find("gradients", "h")
    at = [f"{openpyxl.utils.get_column_letter(column + 2)}{row + k}" for k in (0, 1, 3)]
    chosen = dict(zip(at, (1e-3, 4, 103), strict=True))
    return {"gradients": chosen, "sgd": {"B5": 0.02}}


def sentence_book(path, sentence):
    parameters = models(SMALL, 1)[0]
    scf.write_workbook(path, SMALL, parameters, sheets=["word_emb"])
    loaded = openpyxl.load_workbook(path)
    loaded["word_emb"]["B4"].value = sentence
    loaded.save(path)


CHANGED = {
    "picks": with_inputs(picks),
    "picks-bias": lambda path: with_inputs(picks)(path, models(SMALL, 2)[1]),
    **{
        f"words{n}": lambda path, sentence=sentence: sentence_book(path, sentence)
        for n, sentence in enumerate(SENTENCES)
    },
}


@pytest.fixture(scope="module", params=engines.ENGINES)
def recomputed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"{request.param}-all")
    return computed(request.param, folder, BOOKS | CHANGED)


@pytest.fixture(scope="module", params=engines.ENGINES)
def slowly_recomputed(request, tmp_path_factory):
    return computed(request.param, tmp_path_factory.mktemp(f"{request.param}-slow"), SLOW_BOOKS)


def assert_equal_results(ours, output):
    largest = engines.largest_differences(ours, output)
    print({sheet: f"{difference:.1e}" for sheet, difference in largest.items()})  # pytest -rP
    assert max(largest.values()) <= 1e-9, largest


@pytest.mark.parametrize("case", CASES)
def test_every_result_of_every_sheet(saved, case):
    path = saved[case][2]
    assert_equal_results(path.parents[1] / path.name, path)


@pytest.mark.slow
@pytest.mark.parametrize("book", BOOKS)
def test_every_result_of_further_books(recomputed, book):
    assert_equal_results(*recomputed[book])


@pytest.mark.slow
@pytest.mark.parametrize("book", SLOW_BOOKS)
def test_every_result_of_large_and_odd_books(slowly_recomputed, book):
    assert_equal_results(*slowly_recomputed[book])


# --- what the reader types into yellow cells -------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("book", "bias"), [("picks", False), ("picks-bias", True)])
def test_chosen_user_movie_step_and_learning_rate(recomputed, book, bias):
    output = Book(recomputed[book][1])
    parameters = models(SMALL, 2)[bias]
    check_gradient_tables(output, SMALL, parameters, 2 + bias, 3, 2, 1e-3)
    check_sgd(output, SMALL, parameters, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("n", range(len(SENTENCES)))
def test_words_of_any_sentence(recomputed, n):
    # Of a long sentence the first 250 characters are looked at.
    values = Book(recomputed[f"words{n}"][1]).values["word_emb"]
    check_words(values, " ".join(SENTENCES[n].split())[:250])


def test_the_comparison_can_fail(tmp_path):
    write_plain(tmp_path / "a.xlsx", SMALL, 2)
    write_plain(tmp_path / "b.xlsx", SMALL, 2, titles=titled(SMALL))
    assert set(engines.largest_differences(tmp_path / "a.xlsx", tmp_path / "a.xlsx").values()) == {
        0
    }
    parameters = models(SMALL, 2, seed=3)
    theta = parameters[0].pack()
    theta[0] += 1e-6
    changed = parameters[0].unpack(theta), parameters[1]
    scf.write_workbook(tmp_path / "c.xlsx", SMALL, *changed)
    found = engines.largest_differences(tmp_path / "a.xlsx", tmp_path / "c.xlsx")
    assert {sheet for sheet, difference in found.items() if difference > 1e-9} == {
        "dotprod", "one_hot", "embedding", "gradients", "sgd",
    }  # fmt: skip
    with pytest.raises(AssertionError, match=r"embedding!L8 .*'\+2'"):
        engines.largest_differences(tmp_path / "b.xlsx", tmp_path / "c.xlsx")
