"""LibreOffice and Gnumeric recalculate our workbooks and must get NumPy's numbers.

Every stored result is removed first (see `engines`), so what is compared here was
computed by the engine from the formulas alone.
"""

import engines
import numpy as np
import pytest
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


@pytest.fixture(scope="module", params=engines.ENGINES)
def saved(request, tmp_path_factory):
    """Case -> (ratings, parameters, path of what the engine saved)."""
    folder = tmp_path_factory.mktemp(request.param)
    cases = {name: random_case(**shape, seed=7) for name, shape in CASES.items()}
    sources = []
    for name, (ratings, parameters) in cases.items():
        sources.append(folder / f"{name}.xlsx")
        scf.write_workbook(sources[-1], ratings, parameters)
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


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_both_sheets_and_awkward_ids_survive(engine, tmp_path):
    ids = np.array(["=1+1", "#N/A", "007", "O'Brien & <b>", "Amélie"])
    u, i = np.indices((5, 5)).reshape(2, -1)
    ratings = scf.Ratings(ids, ids[::-1], u, i, np.arange(25) % 10 / 2 + 0.5)
    models = [scf.Parameters.random(5, 5, 2, bias=bias, random_state=3) for bias in (False, True)]
    scf.write_workbook(tmp_path / "b.xlsx", ratings, *models)
    (output,) = engines.recalculate(engine, [tmp_path / "b.xlsx"], tmp_path)
    for sheet, parameters in zip(("dotprod", "bias"), models, strict=True):
        book = scf.read_workbook(output, sheet)
        assert book.ratings.equals(ratings)
        np.testing.assert_allclose(book.parameters.pack(), parameters.pack(), rtol=0, atol=1e-12)
        users, items = np.meshgrid(range(5), range(5), indexing="ij")
        expected = parameters.predict(users, items)
        np.testing.assert_allclose(book.stored_predictions, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_a_wrong_formula_would_be_noticed(engine, tmp_path, crosstab):
    # The comparison above must be able to fail: give the engine another embedding.
    path = tmp_path / "b.xlsx"
    parameters = scf.Parameters.random(15, 15, 5, random_state=0)
    scf.write_workbook(path, crosstab, parameters)
    (output,) = engines.recalculate(engine, [path], tmp_path)
    theta = parameters.pack()
    theta[0] += 1e-6
    shifted = parameters.unpack(theta)
    u, i = crosstab.user_idx, crosstab.item_idx
    computed = scf.read_workbook(output).stored_predictions[u, i]
    assert np.abs(computed - shifted.predict(u, i)).max() > 1e-9
