"""The workbook: what stands in it, and whether it comes back as it went."""

import re
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from golden import differences, normalised
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import cli
from shallow_cf.workbook.layout import (
    Block,
    cell_position,
    column_letters,
    column_number,
    published_layout,
)

# Where the published workbook (2019 course, collab_filter.xlsx) has its blocks.
PUBLISHED_DOTPROD = {
    "ratings": "H2:V16",
    "user_ids": "G2:G16",
    "item_ids": "H1:V1",
    "item_factors": "H19:V23",
    "user_factors": "B25:F39",
    "predictions": "H25:V39",
    "loss": "V41",
}
PUBLISHED_BIAS = {
    "ratings": "H2:V16",
    "item_bias": "H19:V19",
    "item_factors": "H20:V24",
    "user_bias": "A26:A40",
    "user_factors": "B26:F40",
    "predictions": "H26:V40",
    "loss": "V42",
}
# Every name that Excel's Solver keeps with a sheet, and what the published workbook holds.
SOLVER_NAMES = {
    "solver_typ": "2", "solver_val": "0", "solver_eng": "1", "solver_neg": "2",
    "solver_cvg": "0.0001", "solver_drv": "2", "solver_est": "1", "solver_nwt": "1",
    "solver_pre": "0.000001", "solver_scl": "2", "solver_tim": "2147483647",
    "solver_itr": "2147483647", "solver_nod": "2147483647", "solver_mip": "2147483647",
    "solver_tol": "0.01", "solver_rlx": "2", "solver_sho": "2", "solver_msl": "2",
    "solver_ssz": "100", "solver_rsd": "0", "solver_rbv": "2", "solver_mrt": "0.075",
    "solver_mni": "30", "solver_num": "0", "solver_ver": "3",
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory, crosstab):
    """A workbook of the crosstab with both sheets, and the parameters in it."""
    path = tmp_path_factory.mktemp("book") / "book.xlsx"
    models = {
        "dotprod": scf.Parameters.random(15, 15, 5, random_state=0),
        "bias": scf.Parameters.random(15, 15, 5, bias=True, random_state=0),
    }
    scf.write_workbook(path, crosstab, *models.values(), sheets=())
    return path, models


def random_case(n_users, n_items, n_factors, *, bias, blanks=0.2, seed=0):
    """Ratings with blanks, and parameters, of any shape."""
    rng = np.random.default_rng(seed)
    rated = rng.random((n_users, n_items)) >= blanks
    rated[0, 0] = True  # so that there is at least one
    u, i = np.nonzero(rated)
    stars = rng.integers(1, 11, len(u)) / 2
    ratings = scf.Ratings(np.arange(n_users) * 3 + 1, np.arange(n_items) + 100, u, i, stars)
    return ratings, scf.Parameters.random(n_users, n_items, n_factors, bias=bias, random_state=seed)


# --- where everything stands -----------------------------------------------------------


@pytest.mark.parametrize(
    ("bias", "published"), [(False, PUBLISHED_DOTPROD), (True, PUBLISHED_BIAS)]
)
def test_the_layout_of_the_lesson_is_the_published_one(bias, published):
    layout = published_layout(15, 15, 5, bias=bias)
    assert {name: getattr(layout, name).range() for name in published} == published


def test_published_formulas():
    layout = published_layout(15, 15, 5, bias=False)
    assert layout.prediction_formula(0, 0) == '=IF(H2="",0,MMULT($B25:$F25,H$19:H$23))'
    assert layout.prediction_formula(14, 14) == '=IF(V16="",0,MMULT($B39:$F39,V$19:V$23))'
    assert layout.loss_formula() == "=SQRT(SUMXMY2(H2:V16,H25:V39)/COUNT(H2:V16))"


def test_biases_stand_inside_the_if():
    # Outside, as published, blanks show numbers and engines disagree on the loss.
    formula = published_layout(15, 15, 5, bias=True).prediction_formula(0, 0)
    assert formula == '=IF(H2="",0,MMULT($B26:$F26,H$20:H$24)+H$19+$A26)'


@pytest.mark.parametrize(
    ("n_users", "n_items", "n_factors"), [(1, 1, 1), (1, 7, 2), (9, 1, 12), (40, 30, 3)]
)
@pytest.mark.parametrize("bias", [False, True])
def test_no_two_blocks_overlap(n_users, n_items, n_factors, bias):
    layout = published_layout(n_users, n_items, n_factors, bias=bias)
    blocks = [value for value in vars(layout).values() if isinstance(value, Block)]
    cells = [address for block in blocks for row in block.addresses() for address in row]
    assert len(cells) == len(set(cells))


@given(st.integers(1, 16_384))
def test_column_letters_are_those_of_openpyxl(column):
    assert column_letters(column) == openpyxl.utils.get_column_letter(column)
    assert column_number(column_letters(column)) == column


def test_cell_position():
    assert cell_position("AA10") == (10, 27)
    with pytest.raises(ValueError, match="not a cell address: 'A0'"):
        cell_position("A0")


# --- what stands there -----------------------------------------------------------------


def test_ratings_formulas_and_labels_are_in_their_cells(written, crosstab):
    path, models = written
    sheet = openpyxl.load_workbook(path)["dotprod"]
    assert [cell.value for cell in sheet["G"][1:16]] == crosstab.user_ids.tolist()
    assert [cell.value for cell in sheet[1][7:22]] == crosstab.item_ids.tolist()
    assert [cell.value for cell in sheet["G"][24:39]] == crosstab.user_ids.tolist()
    assert [cell.value for cell in sheet[24][7:22]] == crosstab.item_ids.tolist()
    assert (sheet["G1"].value, sheet["F2"].value) == ("movieId", "userId")
    blanks = [cell for row in sheet["H2:V16"] for cell in row if cell.value is None]
    assert len(blanks) == 19
    formulas = [cell.value for row in sheet["H25:V39"] for cell in row]
    assert all(formula.startswith("=IF(") for formula in formulas)
    assert sheet["B25"].value == pytest.approx(models["dotprod"].user_factors[0, 0])
    # The workbook has the movies as columns: Q turned.
    assert sheet["H23"].value == pytest.approx(models["dotprod"].item_factors[0, 4])


def test_colours_are_those_the_lesson_names(written):
    path, _ = written
    book = openpyxl.load_workbook(path)
    hue = {}
    for name, address in {
        "blue": "H2", "purple": "H26", "red": "V42", "green": "H20", "orange": "B26",
        "green bias": "H19", "orange bias": "A26",
    }.items():  # fmt: skip
        rgb = book["bias"][address].fill.fgColor.rgb
        hue[name] = [int(rgb[k : k + 2], 16) for k in (2, 4, 6)]
    red, green, blue = 0, 1, 2
    assert np.argmax(hue["blue"]) == blue
    assert np.argmax(hue["purple"]) == blue
    assert hue["purple"][red] > hue["purple"][green]  # red and blue, little green
    assert np.argmax(hue["red"]) == red
    assert hue["red"][green] == hue["red"][blue]
    assert np.argmax(hue["green"]) == green
    assert hue["orange"][red] > hue["orange"][green] > hue["orange"][blue]
    assert hue["green bias"] == hue["green"]
    assert hue["orange bias"] == hue["orange"]


def test_stored_results_are_there_without_opening_excel(written, crosstab):
    # Previews, Protected View, pandas and data_only=True show what is stored.
    path, models = written
    sheet = openpyxl.load_workbook(path, data_only=True)["bias"]
    parameters = models["bias"]
    assert sheet["H26"].value == pytest.approx(parameters.predict(0, 0), abs=1e-12)
    model = scf.MatrixFactorization.from_parameters(crosstab, parameters)
    assert sheet["V42"].value == pytest.approx(model.rmse(crosstab), abs=1e-12)


def test_excel_is_told_to_compute_everything_on_opening(written):
    path, _ = written
    assert openpyxl.load_workbook(path).calculation.fullCalcOnLoad


@pytest.mark.parametrize(
    ("sheet", "variables", "loss"),
    [
        ("dotprod", "dotprod!$H$19:$V$23,dotprod!$B$25:$F$39", "dotprod!$V$41"),
        ("bias", "bias!$H$19:$V$24,bias!$A$26:$F$40", "bias!$V$42"),
    ],
)
def test_the_solver_dialog_opens_filled_in(written, sheet, variables, loss):
    path, _ = written
    names = openpyxl.load_workbook(path)[sheet].defined_names
    assert all(name.hidden for name in names.values())
    texts = {key: name.attr_text for key, name in names.items()}
    assert texts == {**SOLVER_NAMES, "solver_opt": loss, "solver_adj": variables}


def test_the_solver_names_are_those_of_the_published_workbook(written, reference_workbook):
    path, _ = written
    published = openpyxl.load_workbook(reference_workbook, read_only=True)
    for sheet in ("dotprod", "bias"):
        ours = openpyxl.load_workbook(path)[sheet].defined_names
        theirs = published[sheet].defined_names
        assert {k: n.attr_text for k, n in ours.items()} == {
            k: n.attr_text for k, n in theirs.items()
        }


@pytest.mark.parametrize(
    ("n_items", "bias", "noted"),
    [(25, False, False), (26, False, True), (15, True, False), (19, True, True)],
)
def test_a_model_too_large_for_excels_solver_says_so(tmp_path, n_items, bias, noted):
    # 15 users and n items: 5 (15 + n) cells, 6 (15 + n) with biases; 200 are allowed.
    ratings, parameters = random_case(15, n_items, 5, bias=bias)
    scf.write_workbook(tmp_path / "b.xlsx", ratings, parameters, sheets=())
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").active
    texts = [str(cell.value) for row in sheet.iter_rows() for cell in row]
    found = [text for text in texts if "at most 200" in text]
    assert bool(found) == noted
    if noted:
        assert f"{parameters.n_params} variable cells" in found[0]


def test_text_that_looks_like_a_formula_stays_text(tmp_path):
    ids = np.array(["=1+1", "#N/A", "TRUE", "007", "O'Brien & <b>", " Amélie "])
    ratings = scf.Ratings(ids, ids, np.arange(6), np.arange(6), np.full(6, 3.0))
    scf.write_workbook(tmp_path / "b.xlsx", ratings, scf.Parameters.random(6, 6, 2))
    assert scf.read_workbook(tmp_path / "b.xlsx").ratings.equals(ratings)


# --- there and back --------------------------------------------------------------------


def test_write_and_read_gives_every_bit_back(written, crosstab):
    path, models = written
    for sheet, parameters in models.items():
        book = scf.read_workbook(path, sheet)
        assert book.ratings.equals(crosstab)
        assert book.parameters.equals(parameters)


def test_without_a_sheet_name_the_one_that_opens_is_read(written):
    path, models = written
    assert scf.read_workbook(path).sheet == "bias"
    assert scf.read_workbook(path).parameters.equals(models["bias"])


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_ratings_and_numbers_come_back_bit_for_bit(tmp_path_factory, data):
    n_users, n_items, n_factors = (data.draw(st.integers(1, 5)) for _ in range(3))
    bias = data.draw(st.booleans())
    ratings, template = random_case(
        n_users, n_items, n_factors, bias=bias, blanks=0.4, seed=data.draw(st.integers(0, 99))
    )
    numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e60, max_value=1e60)
    size = template.n_params
    theta = np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)))
    stars = np.array(data.draw(st.lists(numbers, min_size=len(ratings), max_size=len(ratings))))
    letters = st.characters(min_codepoint=32, exclude_categories=["Cs", "Co", "Cn"])
    texts = st.text(letters, min_size=1, max_size=8)
    ids = np.array(data.draw(st.lists(texts, min_size=n_users, max_size=n_users, unique=True)))
    ratings = scf.Ratings(ids, ratings.item_ids, ratings.user_idx, ratings.item_idx, stars)
    parameters = template.unpack(theta)
    path = tmp_path_factory.mktemp("any") / "b.xlsx"
    scf.write_workbook(path, ratings, parameters)
    book = scf.read_workbook(path)
    assert book.ratings.equals(ratings)
    assert book.parameters.equals(parameters)


def test_a_fitted_model_can_be_written_for_some_of_its_users(tmp_path, crosstab):
    model = scf.MatrixFactorization(random_state=0).fit(crosstab)
    few = crosstab.top(4, 3)
    scf.write_workbook(tmp_path / "b.xlsx", few, model)
    book = scf.read_workbook(tmp_path / "b.xlsx")
    users, items = np.meshgrid(few.user_ids, few.item_ids, indexing="ij")
    assert np.array_equal(book.parameters.predict_all().shape, (4, 3))
    np.testing.assert_allclose(
        book.parameters.predict_all(), model.predict(users, items), rtol=1e-14
    )


def test_update_changes_the_numbers_and_nothing_else(written, tmp_path, crosstab):
    path, models = written
    book = scf.read_workbook(path, "dotprod")
    other = scf.Parameters.random(15, 15, 5, random_state=9)
    scf.update_workbook(book, other, tmp_path / "other.xlsx")
    after = scf.read_workbook(tmp_path / "other.xlsx", "dotprod")
    assert after.parameters.equals(other)
    assert after.ratings.equals(crosstab)
    assert all(check.ok for check in scf.check_workbook(tmp_path / "other.xlsx"))
    assert scf.read_workbook(tmp_path / "other.xlsx", "bias").parameters.equals(models["bias"])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "other.xlsx") as new:
        assert old.namelist() == new.namelist()
        changed = [name for name in old.namelist() if old.read(name) != new.read(name)]
    assert changed == ["xl/worksheets/sheet1.xml"]


def test_update_keeps_the_published_workbooks_pivot_tables(reference_workbook, tmp_path):
    # openpyxl cannot even load it whole; users bring exactly such files.
    book = scf.read_workbook(reference_workbook, "bias")
    scf.update_workbook(book, book.parameters, tmp_path / "same.xlsx")
    again = scf.read_workbook(tmp_path / "same.xlsx", "bias")
    assert again.parameters.equals(book.parameters)
    with zipfile.ZipFile(reference_workbook) as old, zipfile.ZipFile(tmp_path / "same.xlsx") as new:
        changed = {name for name in old.namelist() if old.read(name) != new.read(name)}
    assert changed <= {"xl/workbook.xml", "xl/worksheets/sheet4.xml"}


# --- the published workbook ------------------------------------------------------------


@pytest.mark.parametrize(
    ("sheet", "loss"), [("dotprod", 0.3930154712865702), ("bias", 0.3194674135586278)]
)
def test_the_published_losses(reference_workbook, sheet, loss):
    book = scf.read_workbook(reference_workbook, sheet)
    model = scf.MatrixFactorization.from_parameters(book.ratings, book.parameters)
    assert len(book.ratings) == 206
    assert book.objective == pytest.approx(loss, abs=1e-15)
    assert model.rmse(book.ratings) == pytest.approx(loss, abs=1e-12)


def test_the_published_predictions(reference_workbook):
    # In the sheet `bias` blank cells show the sum of the biases.
    for check in scf.check_workbook(reference_workbook):
        assert check.cells == 226
        assert check.max_difference < 1e-12


# --- refusals --------------------------------------------------------------------------


def test_an_existing_file_is_not_replaced_unasked(tmp_path, crosstab):
    path = tmp_path / "precious.xlsx"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"precious\.xlsx exists already"):
        scf.write_workbook(path, crosstab, scf.Parameters.random(15, 15))
    assert path.read_text() == "precious"
    scf.write_workbook(path, crosstab, scf.Parameters.random(15, 15), overwrite=True)
    assert scf.read_workbook(path).ratings.equals(crosstab)


def test_a_failed_write_leaves_nothing_behind(tmp_path, crosstab):
    broken = scf.Parameters(np.full((15, 2), np.nan), np.ones((15, 2)))
    with pytest.raises(ValueError, match="NaN or infinity, which no cell can hold"):
        scf.write_workbook(tmp_path / "b.xlsx", crosstab, broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array(["a", ""]), "id '' cannot stand in a cell"),
        (np.array(["a", "b" * 32_768]), "an id of 32768 characters cannot stand in a cell"),
        (np.array(["a", "b\x07"]), "id 'b.*' cannot stand in a cell"),
    ],
)
def test_ids_that_no_cell_can_hold(tmp_path, ids, message):
    ratings = scf.Ratings(ids, np.array([1]), np.array([0]), np.array([0]), np.array([3.0]))
    with pytest.raises(ValueError, match=message):
        scf.write_workbook(tmp_path / "b.xlsx", ratings, scf.Parameters.random(2, 1))
    assert list(tmp_path.iterdir()) == []


def test_parameters_of_another_shape(tmp_path, crosstab, written):
    with pytest.raises(ValueError, match=r"14 users, 15 items.* do not fit .*15 users x 15 items"):
        scf.write_workbook(tmp_path / "b.xlsx", crosstab, scf.Parameters.random(14, 15))
    book = scf.read_workbook(written[0], "dotprod")
    with pytest.raises(ValueError, match="do not fit the sheet's"):
        scf.update_workbook(book, scf.Parameters.random(15, 15, 4), tmp_path / "b.xlsx")


def test_two_models_for_one_sheet(tmp_path, crosstab):
    models = [scf.Parameters.random(15, 15), scf.Parameters.random(15, 15)]
    with pytest.raises(ValueError, match="two models for the sheet 'dotprod'"):
        scf.write_workbook(tmp_path / "b.xlsx", crosstab, *models)


def test_a_table_too_large_for_a_worksheet():
    with pytest.raises(ValueError, match=r"2 users x 17000 items .*at most 16,384 columns"):
        published_layout(2, 17_000, 5, bias=False)
    with pytest.raises(ValueError, match="ask for fewer users or items"):
        published_layout(200_000, 10, 5, bias=False)


def test_only_patched_cells_differ_in_the_xml(written, tmp_path):
    path, _ = written
    book = scf.read_workbook(path, "dotprod")
    theta = book.parameters.pack()
    theta[0] += 1  # user_factors[0, 0], cell B25
    scf.update_workbook(book, book.parameters.unpack(theta), tmp_path / "b.xlsx")

    def cells(file):
        with zipfile.ZipFile(file) as archive:
            xml = archive.read("xl/worksheets/sheet1.xml").decode()
        return dict(re.findall(r'<c r="([A-Z]+\d+)"(.*?)(?=<c |</row>)', xml))

    before, after = cells(path), cells(tmp_path / "b.xlsx")
    changed = {address for address in before if before[address] != after[address]}
    # The user's predictions and error, and the error of each movie.
    following = {f"{column_letters(c)}{row}" for c in range(8, 23) for row in (25, 40)} | {"W25"}
    assert {"B25", "V41", "W25"} <= changed <= {"B25", "V41"} | following


# --- the workbook that the project ships -----------------------------------------------


EXCEL = Path(__file__).parents[1] / "excel"
#: The lines of excel/README.md that say how each workbook was made.
MADE_BY = re.findall(
    r"^(?:SOURCE_DATE_EPOCH=(\d+) )?shallow-cf (.*) -o excel/(\S+)$",
    (EXCEL / "README.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_shipped_workbook_says_how_it_was_made():
    assert sorted(name for _, _, name in MADE_BY) == sorted(p.name for p in EXCEL.glob("*.xlsx"))
    assert all(path.stat().st_size < 300_000 for path in EXCEL.glob("*.xlsx"))


@pytest.mark.parametrize(
    ("time", "words", "name"),
    [pytest.param(*it, marks=pytest.mark.slow) if "--solve" in it[1] else it for it in MADE_BY],
)
def test_a_shipped_workbook_is_what_its_command_writes(tmp_path, monkeypatch, time, words, name):
    if time:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
    assert cli.main([*words.split(), "-o", str(tmp_path / name)]) == 0
    shipped, today = normalised(EXCEL / name), normalised(tmp_path / name)
    assert list(shipped) == list(today)
    # On another processor BLAS rounds otherwise; in a run of Solver that grows to some 1e-7
    # in the embeddings, which are not determined better than that by its stopping rule.
    tolerance = {"absolute": 1e-6} if "--solve" in words else {}
    found = [
        line
        for part in shipped
        for line in differences(part, shipped[part], today[part], **tolerance)
    ]
    assert not found, "\n".join(found[:40])
    for sheet in ("dotprod", "bias"):  # the minimum itself is flat, so it agrees far better
        then, now = (scf.read_workbook(p, sheet) for p in (EXCEL / name, tmp_path / name))
        assert then.objective == pytest.approx(now.objective, abs=1e-9)


def test_embeddings_in_the_first_row_can_be_solved(tmp_path):
    # Above them, where titles would stand, there is no row.
    book = openpyxl.Workbook()
    sheet = book.active
    rows = [
        [None, None, 0.5, 0.75],  # movie embeddings in C1:D1
        [1, 0.25, "=MMULT($B2,C$1)", "=MMULT($B2,D$1)"],
        [2, 0.75, "=MMULT($B3,C$1)", "=MMULT($B3,D$1)"],
        [None, None, 10, 20],
        [None, 1, 4, 3],
        [None, 2, 2, 5],
        [None, None, None, "=SQRT(SUMXMY2(C5:D6,C2:D3)/COUNT(C5:D6))"],
    ]
    for row in rows:
        sheet.append(row)
    book.save(tmp_path / "top.xlsx")
    model = scf.read_workbook(tmp_path / "top.xlsx")
    assert model.layout.item_factors.row == 1
    ones = scf.Parameters(np.ones((2, 1)), np.ones((2, 1)))
    scf.update_workbook(model, ones, tmp_path / "ones.xlsx")
    assert scf.read_workbook(tmp_path / "ones.xlsx").parameters.equals(ones)
