"""Workbooks as people bring them: edited, renamed, copied, pasted, saved by other programs.

Each test changes a workbook as somebody would in a spreadsheet program and compares what is
read with ratings and embeddings that were changed likewise in NumPy. Where two readings are
possible, the reader must say so, and ranges given by the user must settle it.
"""

import json
import re
import tracemalloc

import engines
import numpy as np
import openpyxl
import pytest
from openpyxl.formula.translate import Translator
from openpyxl.workbook.defined_name import DefinedName
from test_bad_workbooks import (
    SHEET1,
    WORKBOOK,
    edit,
    respell,
    respell_predictions,
    set_cell,
    small_parameters,
    small_ratings,
    written,
)

import shallow_cf as scf
from shallow_cf import cli
from shallow_cf.workbook.layout import cell_address, cell_position
from shallow_cf.workbook.reader import read_all

# Where `written` has its blocks: see tests/test_bad_workbooks.py.
NAMES = {False: "dotprod", True: "bias"}
AWKWARD = "Peter's, Ann's & co"


@pytest.fixture(params=[False, True], ids=["dotprod", "bias"])
def bias(request):
    return request.param


@pytest.fixture
def book(tmp_path, bias):
    """A workbook of our own, once without and once with biases."""
    path = tmp_path / "book.xlsx"
    path.write_bytes(written(bias=bias))
    return path


@pytest.fixture
def plain_book(tmp_path):
    """A workbook of our own without biases."""
    path = tmp_path / "plain.xlsx"
    path.write_bytes(written(bias=False))
    return path


def matches(model, ratings, parameters):
    """Whether that is what was read; openpyxl wrote numbers with 16 digits."""
    assert model.ratings.equals(ratings)
    assert [b.shape for b in model.parameters.blocks()] == [b.shape for b in parameters.blocks()]
    np.testing.assert_allclose(model.parameters.pack(), parameters.pack(), rtol=1e-14)
    return True


def computed(model):
    """What the prediction cells of a workbook of ours should show: 0 where nothing is rated."""
    p, r = model.parameters, model.ratings
    shown = np.zeros((r.n_users, r.n_items))
    for u, i in zip(r.user_idx, r.item_idx, strict=True):
        shown[u, i] = sum(p.user_factors[u, k] * p.item_factors[i, k] for k in range(p.n_factors))
        if p.has_bias:
            shown[u, i] += p.user_bias[u] + p.item_bias[i]
    return shown


# --- tools: what a spreadsheet program does ----------------------------------------------

CELL = re.compile(r"(?<![A-Z])(\$?)([A-Z]{1,3})(\$?)([1-9]\d*)(?![\d(])")


def shifted(text, place):
    """References moved along with the cells they mean, as on inserting rows or columns."""

    def new(match):
        row, column = place(*cell_position(match[2] + match[4]))
        return cell_address(row, column, fix_row=bool(match[3]), fix_column=bool(match[1]))

    return CELL.sub(new, text)


def insert(path, *, row=None, column=None):
    """Insert a row above `row`, or a column left of `column`, of the first sheet."""

    def place(r, c):
        return r + (row is not None and r >= row), c + (column is not None and c >= column)

    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    cells = {}
    for line in sheet.iter_rows():
        for cell in line:
            if cell.value is not None:
                is_formula = cell.data_type == "f"
                cells[place(cell.row, cell.column)] = (
                    shifted(cell.value, place) if is_formula else cell.value
                )
                cell.value = None
    for (r, c), value in cells.items():
        sheet.cell(r, c).value = value
    for name in sheet.defined_names.values():
        name.attr_text = shifted(name.attr_text, place)
    book.save(path)


def fill(path, cells):
    """Type values into cells of the first sheet."""
    book = openpyxl.load_workbook(path)
    for address, value in cells.items():
        book.worksheets[0][address].value = value
    book.save(path)


def copy(path, area, to):
    """Copy a range within the first sheet, and paste it with its formulas."""
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    (row, column), (first_row, first_column) = cell_position(to), cell_position(area.split(":")[0])
    for line in sheet[area]:
        for cell in line:
            target = sheet.cell(row + cell.row - first_row, column + cell.column - first_column)
            if cell.data_type == "f":
                target.value = Translator(cell.value, cell.coordinate).translate_formula(
                    target.coordinate
                )
            else:
                target.value = cell.value
    book.save(path)


def paste_values(path, what=r"MMULT"):
    """Formulas whose text has `what` become the numbers they show."""
    pattern = rb"<f>[^<]*%s[^<]*</f>" % what.encode()
    edit(path, SHEET1, lambda xml: re.sub(pattern, b"", xml))


def drop_names(path):
    """A workbook that Solver has never seen."""
    edit(path, WORKBOOK, lambda xml: re.sub(rb"<definedNames>.*</definedNames>", b"", xml))


def rename(path, name):
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    quoted = "'" + name.replace("'", "''") + "'!"
    old = f"{sheet.title}!"
    for defined in sheet.defined_names.values():
        defined.attr_text = defined.attr_text.replace(old, quoted)
    sheet.title = name
    book.save(path)


def run(capsys, *args):
    """Exit status, output and error of a command."""
    status = cli.main([str(arg) for arg in args])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


# --- rows and columns inserted, users, movies and factors added ---------------------------


@pytest.mark.parametrize("row", [1, 6, 7, 8])
def test_rows_inserted_above_the_blocks(book, bias, row):
    insert(book, row=row)
    insert(book, row=row)
    model = scf.read_workbook(book)
    assert matches(model, small_ratings(), small_parameters(bias=bias))
    assert model.objective_formula is not None


@pytest.mark.parametrize("column", [1, 2, 4, 5])
def test_columns_inserted_left_of_the_blocks(book, bias, column):
    insert(book, column=column)
    insert(book, column=column)
    model = scf.read_workbook(book)
    assert matches(model, small_ratings(), small_parameters(bias=bias))
    assert model.objective_formula is not None


def test_a_user_added(book, bias):
    # A row within the ratings and one within the predictions, whose formulas are copied down.
    top = 11 + bias  # the first user's embedding
    insert(book, row=top + 2)
    insert(book, row=4)
    new = top + 3
    copy(book, f"E{new - 1}:G{new - 1}", f"E{new}")
    cells = {"D4": 99, f"D{new}": 99, "E4": 2.5, "G4": 4, f"B{new}": 0.25, f"C{new}": -1.5}
    fill(book, cells | ({f"A{new}": 0.75} if bias else {}))
    r, p = small_ratings(), small_parameters(bias=bias)
    table = np.insert(r.to_crosstab().to_numpy(), 2, [2.5, np.nan, 4], axis=0)
    u, i = np.nonzero(~np.isnan(table))
    expected = scf.Ratings(np.insert(r.user_ids, 2, 99), r.item_ids, u, i, table[u, i])
    biases = [np.insert(p.user_bias, 2, 0.75), p.item_bias] if bias else []
    P = np.insert(p.user_factors, 2, [0.25, -1.5], axis=0)
    model = scf.read_workbook(book)
    assert matches(model, expected, scf.Parameters(P, p.item_factors, *biases))
    assert model.objective_formula is not None
    assert scf.solver_options(model).constraints == ()  # all of them may change


def test_a_movie_added(book, bias):
    insert(book, column=6)
    top = 11 + bias
    copy(book, f"E{top}:E{top + 3}", f"F{top}")
    q = 8 + bias
    cells = {"F1": "Dune", f"F{top - 1}": "Dune", "F3": 1, "F5": 5, f"F{q}": 1.5, f"F{q + 1}": -2}
    fill(book, cells | ({"F8": 0.5} if bias else {}))
    r, p = small_ratings(), small_parameters(bias=bias)
    table = np.insert(r.to_crosstab().to_numpy(), 1, [np.nan, 1, np.nan, 5], axis=1)
    u, i = np.nonzero(~np.isnan(table))
    expected = scf.Ratings(r.user_ids, np.insert(r.item_ids, 1, "Dune"), u, i, table[u, i])
    biases = [p.user_bias, np.insert(p.item_bias, 1, 0.5)] if bias else []
    Q = np.insert(p.item_factors, 1, [1.5, -2], axis=0)
    model = scf.read_workbook(book)
    assert matches(model, expected, scf.Parameters(p.user_factors, Q, *biases))


def test_a_factor_added(book, bias):
    # Within the factors, so that every formula takes it in.
    insert(book, row=9 + bias)
    insert(book, column=3)
    q, top = 9 + bias, 12 + bias
    new = dict(zip(("F", "G", "H"), (0.1, 0.2, 0.3), strict=True))
    fill(book, {f"{c}{q}": v for c, v in new.items()} | {f"C{top + k}": k for k in range(4)})
    p = small_parameters(bias=bias)
    P = np.insert(p.user_factors, 1, [0, 1, 2, 3], axis=1)
    Q = np.insert(p.item_factors, 1, [0.1, 0.2, 0.3], axis=1)
    model = scf.read_workbook(book)
    assert matches(model, small_ratings(), scf.Parameters(P, Q, *(p.biases or ())))
    assert scf.solver_options(model).constraints == ()


def test_a_factor_added_on_one_side_only_is_told(plain_book):
    insert(plain_book, column=3)
    message = (
        r"^dotprod!F11: the formula multiplies 3 factors of a user \(B11:D11\) "
        r"with 2 of an item \(F8:F9\)$"
    )
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(plain_book)


def test_ratings_edited_and_cleared(plain_book):
    fill(plain_book, {"E2": 0.5, "F3": 4.5, "G5": None})
    table = small_ratings().to_crosstab().to_numpy().copy()
    table[0, 0], table[1, 1], table[3, 2] = 0.5, 4.5, np.nan
    read = scf.read_workbook(plain_book).ratings.to_crosstab().to_numpy()
    np.testing.assert_array_equal(read, table)


# --- sheets renamed and reordered ---------------------------------------------------------


@pytest.mark.parametrize("name", ["my ratings", "Peter's", AWKWARD, "A1", "=x", "2019"])
def test_sheets_renamed(plain_book, name):
    rename(plain_book, name)
    model = scf.read_workbook(plain_book)
    assert model.sheet == name
    assert matches(model, small_ratings(), small_parameters())
    # Solver's names still say which cells change: without the users', those are held.
    book = openpyxl.load_workbook(plain_book)
    changing = book.worksheets[0].defined_names["solver_adj"]
    changing.attr_text = changing.attr_text.split(",'")[0]
    book.save(plain_book)
    held = scf.solver_options(scf.read_workbook(plain_book)).constraints
    assert [(c.cells, c.relation) for c in held] == [("user_factors", "=")]


def test_formulas_that_name_their_own_sheet(plain_book):
    rename(plain_book, AWKWARD)
    book = openpyxl.load_workbook(plain_book)
    own = "'" + AWKWARD.replace("'", "''") + "'!"
    for line in book.worksheets[0].iter_rows():
        for cell in line:
            if cell.data_type == "f":
                cell.value = re.sub(r"([(,])(\$?[A-Z]\$?\d+)", rf"\1{own}\2", cell.value)
    book.save(plain_book)
    model = scf.read_workbook(plain_book)
    assert matches(model, small_ratings(), small_parameters())
    assert model.objective_formula is not None


def two_sheets(path, *, active):
    """Both sheets and a third with notes; which one opens."""
    models = [small_parameters(), small_parameters(bias=True)]
    scf.write_workbook(path, small_ratings(), *models, overwrite=True)
    book = openpyxl.load_workbook(path)
    book.create_sheet("notes", 0)["A1"] = "buy milk"
    book.move_sheet("bias", -1)
    book.active = book[active]
    book.save(path)


@pytest.mark.parametrize("active", ["dotprod", "bias"])
def test_of_sheets_in_any_order_the_one_that_opens_is_read(tmp_path, active):
    two_sheets(tmp_path / "b.xlsx", active=active)
    assert scf.read_workbook(tmp_path / "b.xlsx").sheet == active


def test_two_models_and_another_sheet_opens(tmp_path, capsys):
    two_sheets(tmp_path / "b.xlsx", active="notes")
    message = (
        r"^b.xlsx: the sheet that opens holds no model, but several others do: "
        r"choose `sheet` from bias, dotprod$"
    )
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(tmp_path / "b.xlsx")
    status, _, error = run(capsys, "import", tmp_path / "b.xlsx")
    assert status == 2
    assert "choose --sheet from bias, dotprod" in error
    assert run(capsys, "import", tmp_path / "b.xlsx", "--sheet", "bias")[0] == 0


# --- two readings ---------------------------------------------------------------------------


def test_a_row_inserted_in_the_ratings_alone(plain_book):
    # Two users up to there, two below: the formulas of neither half are all of it.
    insert(plain_book, row=4)
    message = (
        r"^dotprod: several tables of predictions, and neither .*: E12:G13 of the ratings E2:G3; "
        r"E14:G15 of the ratings E5:G6. Choose one with `ratings`, such as E2:G3, or with `factors`"
    )
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(plain_book)
    half = scf.read_workbook(plain_book, ratings="E2:G3")
    assert half.ratings.user_ids.tolist() == [11, 12]
    np.testing.assert_allclose(half.parameters.user_factors, small_parameters().user_factors[:2])
    assert half.objective_formula is None  # that of the sheet is on all four


def test_a_part_of_the_ratings(book, bias):
    model = scf.read_workbook(book, ratings="F4:G5")
    assert model.ratings.user_ids.tolist() == [13, 14]
    assert model.ratings.item_ids.tolist() == ["Brazil", "Casino"]
    np.testing.assert_array_equal(model.ratings.to_crosstab(), [[4.5, 3], [0.5, 5]])
    expected = small_parameters(bias=bias)
    np.testing.assert_array_equal(model.parameters.predict_all(), expected.predict_all()[2:, 1:])


def twice(path):
    """The whole model once more on the same sheet, 30 rows lower, with other embeddings."""
    copy(path, "A1:G16", "A31")
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    for line in sheet["E41:G44"]:
        for cell in line:
            cell.value = cell.value.replace("$8:", "$38:").replace("$9)", "$39)")
    for address in ("B41", "E38"):
        sheet[address].value = 7.0
    book.save(path)


def test_a_model_copied_below_itself(plain_book, capsys):
    twice(plain_book)
    first = scf.read_workbook(plain_book)
    assert matches(first, small_ratings(), small_parameters())
    assert "of 2 tables, Solver's objective compares these" in str(first.how)
    drop_names(plain_book)
    with pytest.raises(scf.WorkbookError, match=r"E11:G14 of .* E2:G5; E41:G44 of .* E32:G35\. "):
        scf.read_workbook(plain_book)
    other = small_parameters()
    other.user_factors[0, 0] = other.item_factors[0, 0] = 7
    for flags in ({"ratings": "$e$32:g35"}, {"factors": "B41:C44,E38:G39"},
                  {"ratings": "E32:G35", "factors": "E38:G39;B41:C44"}):  # fmt: skip
        assert matches(scf.read_workbook(plain_book, **flags), small_ratings(), other)
    assert matches(
        scf.read_workbook(plain_book, ratings="E2:G5"), small_ratings(), small_parameters()
    )
    status, _, error = run(capsys, "import", plain_book)
    assert status == 2
    assert "Choose one with --ratings-at, such as E2:G5, or with --factors-at" in error
    assert run(capsys, "import", plain_book, "--ratings-at", "E32:G35")[0] == 0


def test_predictions_copied_aside(plain_book):
    # Without Solver's names; but only one table has an objective.
    respell_predictions(plain_book, lambda f: re.sub(r"\$?([A-Z])\$?(\d+)", r"$\1$\2", f))
    copy(plain_book, "E11:G14", "M11")
    drop_names(plain_book)
    model = scf.read_workbook(plain_book)
    assert matches(model, small_ratings(), small_parameters())
    assert model.layout.predictions.range() == "E11:G14"


def test_solvers_changing_cells_choose_where_no_objective_is(plain_book):
    twice(plain_book)
    fill(plain_book, {"G16": None, "G46": None})
    book = openpyxl.load_workbook(plain_book)
    names = book.worksheets[0].defined_names
    del names["solver_opt"]
    names["solver_adj"].attr_text = "dotprod!$E$38:$G$39,dotprod!$B$41:$C$44"
    book.save(plain_book)
    model = scf.read_workbook(plain_book)
    assert model.layout.ratings.range() == "E32:G35"
    assert "Solver changes their embeddings" in str(model.how)


def test_an_objective_that_forgets_a_user(plain_book):
    respell(plain_book, lambda f: "SQRT(SUMXMY2(E2:G4,E11:G13))" if "SUMXMY2" in f else f)
    model = scf.read_workbook(plain_book)
    assert model.ratings.n_users == 4
    assert model.objective_formula is None
    [note] = model.notes
    assert "G16 compares E2:G4 with E11:G13, but the prediction formulas are in E11:G14" in note
    part = scf.read_workbook(plain_book, ratings="E2:G4")
    assert part.ratings.n_users == 3
    assert part.objective_formula is not None
    [note] = part.notes  # the fourth user is among Solver's cells
    assert note.startswith("Solver's dialog names another objective or other changing cells")


def test_solver_names_that_disagree_are_told(plain_book, capsys):
    book = openpyxl.load_workbook(plain_book)
    names = book.worksheets[0].defined_names
    names["solver_opt"].attr_text = "dotprod!$A$1"
    names["solver_adj"].attr_text = "dotprod!$E$8:$G$9,dotprod!$B$11:$B$14"
    book.save(plain_book)
    objective, changing = scf.read_workbook(plain_book).notes
    assert objective == "Solver's objective is A1, but G16 compares ratings and predictions"
    assert changing.startswith("Solver's changing cells E8:G9,B11:B14 do not hold all of B11:C14,")
    assert f"NB: {objective}.\n" in run(capsys, "import", plain_book)[1]


def test_solver_names_of_another_sheet_say_nothing_here(plain_book):
    book = openpyxl.load_workbook(plain_book)
    names = book.worksheets[0].defined_names
    names["solver_opt"].attr_text = "other!$A$1"
    names["solver_adj"].attr_text = "'the, other'!$A$1:$B$2,other!$A$3"
    book.save(plain_book)
    model = scf.read_workbook(plain_book)
    assert model.layout.loss.cell() == "G16"
    assert model.notes == ()
    assert "Solver" not in str(model.how)


# --- ranges that the user gives -------------------------------------------------------------

BAD_RANGES = {
    "half": ("ratings", "E2:G", "`ratings`: 'E2:G' is not a range such as H2:V16"),
    "words": ("ratings", "the blue ones", "`ratings`: 'the blue ones' is not a range"),
    "empty": ("ratings", "", "`ratings`: '' is not a range such as H2:V16"),
    "beyond": ("ratings", "E2:ZZZ9", "`ratings`: 'E2:ZZZ9' is not on a sheet, whose last cell is"),
    "others": ("ratings", "E2:G9", "E2:G9 is not what the prediction formulas refer to, which is "
               "E2:G5"),
    "one": ("factors", "B11:C14", "`factors`: 'B11:C14' is not two ranges such as"),
    "no range": ("factors", "B11:C14,E8:", "`factors`: 'E8:' is not a range such as"),
    "sizes": ("factors", "B11:D14,E8:G9", "one must have as many columns .*, got 4 x 3 and 2 x 3"),
    "elsewhere": ("factors", "B21:C24,E8:G9", "`factors`: B21:C24,E8:G9 is not what the prediction "
                  "formulas refer to, which is B11:C14,E8:G9"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_RANGES)
def test_ranges_that_cannot_be(plain_book, capsys, kind):
    name, text, message = BAD_RANGES[kind]
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(plain_book, **{name: text})
    status, _, error = run(capsys, "import", plain_book, f"--{name}-at", text)
    assert status == 2
    assert re.search(message.replace(f"`{name}`", f"--{name}-at"), error)
    assert error.count("\n") == 1


def test_check_and_solve_take_ranges_too(plain_book, tmp_path, capsys):
    status, out, _ = run(capsys, "check", plain_book, "--ratings-at", "E2:G4", "--json")
    assert status == 0
    assert json.loads(out)["cells"] == 9
    status, out, _ = run(capsys, "check", plain_book, "--sheet", "dotprod", "--json")
    assert json.loads(out)["cells"] == 13


def test_solve_a_part_and_leave_the_rest(plain_book, tmp_path, capsys):
    target = tmp_path / "part.xlsx"
    status, out, _ = run(capsys, "solve", plain_book, "--ratings-at", "E2:G4", "-o", target)
    assert status == 0
    assert "NB: Solver's dialog names another objective or other changing cells than" in out
    before, after = (scf.read_workbook(path).parameters for path in (plain_book, target))
    np.testing.assert_array_equal(before.user_factors[3], after.user_factors[3])
    assert not np.isclose(before.user_factors[:3], after.user_factors[:3]).any()
    part = scf.read_workbook(target, ratings="E2:G4")
    rmse = scf.MatrixFactorization.from_parameters(part.ratings, part.parameters).rmse(part.ratings)
    assert rmse == pytest.approx(float(re.search(r"-> ([\d.]+) in", out)[1]), abs=1e-6)
    assert run(capsys, "check", target, "--ratings-at", "E2:G4")[0] == 0


def test_solve_the_second_of_two_models(plain_book, tmp_path, capsys):
    twice(plain_book)
    target = tmp_path / "second.xlsx"
    assert run(capsys, "solve", plain_book, "--ratings-at", "E32:G35", "-o", target)[0] == 0
    assert matches(scf.read_workbook(target), small_ratings(), small_parameters())
    second = scf.read_workbook(target, ratings="E32:G35")
    assert second.layout.loss.cell() == "G46"
    assert second.objective < 0.1  # 9 ratings, 14 parameters


# --- predictions pasted as values -------------------------------------------------------------


@pytest.mark.parametrize("what", ["MMULT", "[A-Z]"], ids=["predictions", "everything"])
@pytest.mark.parametrize("named", [True, False], ids=["solver", "no solver"])
def test_predictions_pasted_as_values(book, bias, what, named):
    paste_values(book, what)
    if not named:
        drop_names(book)
    model = scf.read_workbook(book)
    expected = small_parameters(bias=bias)
    assert model.ratings.equals(small_ratings())
    assert model.parameters.equals(expected)  # every bit: openpyxl did not write it again
    assert model.layout.blanks == "zero"
    assert (model.objective_formula is not None) == (named or what == "MMULT")
    assert "are numbers, not formulas" in model.notes[0]
    assert [check.ok for check in scf.check_workbook(book)] == [True]
    halves = model.parameters.unpack(model.parameters.pack() / 2)
    scf.update_workbook(model, halves, book, overwrite=True)
    again = scf.read_workbook(book)
    assert again.parameters.equals(halves)
    np.testing.assert_allclose(again.stored_predictions, computed(again), atol=1e-12)


def test_pasted_values_without_labels_need_ranges(book, bias):
    paste_values(book, "[A-Z]")
    drop_names(book)
    for address in ("D12", f"E{10 + bias}"):  # an id before the predictions and one above them
        set_cell(book, address, "<c {r}><v>12345</v></c>")
    if bias:
        set_cell(book, "D13", "<c {r}><v>12346</v></c>")
    with pytest.raises(scf.WorkbookError, match="no model found"):
        scf.read_workbook(book)
    factors = "B12:C15,E9:G10" if bias else "B11:C14,E8:G9"
    model = scf.read_workbook(book, ratings="E2:G5", factors=factors)
    assert model.ratings.equals(small_ratings())
    assert model.parameters.equals(small_parameters(bias=bias))


def test_two_models_pasted_as_values(plain_book):
    paste_values(plain_book, "[A-Z]")
    copy(plain_book, "A1:G16", "A31")
    assert scf.read_workbook(plain_book).layout.ratings.range() == "E2:G5"  # Solver's
    drop_names(plain_book)
    with pytest.raises(scf.WorkbookError, match=r"several .*E11:G14 .*E2:G5; E41:G44 .*E32:G35"):
        scf.read_workbook(plain_book)
    for flags in ({"ratings": "E32:G35"}, {"factors": "B41:C44,E38:G39"}):
        assert scf.read_workbook(plain_book, **flags).layout.ratings.range() == "E32:G35"


def test_numbers_that_prove_nothing_are_no_model(plain_book):
    paste_values(plain_book, "[A-Z]")
    for address in ("B11", "B12", "B13", "B14"):
        set_cell(plain_book, address, "<c {r}><v>3</v></c>")
    for read in (scf.read_workbook, read_all):
        with pytest.raises(scf.WorkbookError, match="no model found"):
            read(plain_book)
    with pytest.raises(scf.WorkbookError, match="no model found"):
        scf.read_workbook(plain_book, ratings="E2:G5", factors="B11:C14,E8:G9")


def test_a_pasted_number_that_is_wrong_is_found_by_check(plain_book):
    paste_values(plain_book)
    set_cell(plain_book, "F11", "<c {r}><v>9</v></c>")
    [check] = scf.check_workbook(plain_book)
    assert not check.ok
    assert check.worst_cell == "F11"


# --- what is shown ------------------------------------------------------------------------------


def test_import_v_shows_what_was_found_and_how(plain_book, capsys):
    status, out, _ = run(capsys, "import", plain_book, "-v")
    assert status == 0
    found = dict(re.findall(r"^(.+?)  +(\S+)  +\S", out.partition("found:\n")[2], re.MULTILINE))
    assert found == {
        "ratings": "E2:G5", "predictions": "E11:G14", "user factors": "B11:C14",
        "item factors": "E8:G9", "objective": "G16", "user ids": "D2:D5", "item ids": "E1:G1",
    }  # fmt: skip
    assert "12 formulas alike" in out
    assert "found" not in run(capsys, "import", plain_book)[1]
    data = json.loads(run(capsys, "import", plain_book, "-v", "--json")[1])
    assert {it["what"]: it["where"] for it in data["found"]} == found
    assert data["notes"] == []


# --- parsed on demand -----------------------------------------------------------------------------


def test_sheets_that_are_not_needed_are_not_parsed(tmp_path):
    path = tmp_path / "b.xlsx"
    models = small_parameters(), small_parameters(bias=True)
    scf.write_workbook(path, small_ratings(), *models, sheets=())
    edit(path, SHEET1, lambda xml: xml[:-300])  # dotprod; bias opens
    assert scf.read_workbook(path).sheet == "bias"
    for read in (read_all, lambda path: scf.read_workbook(path, "dotprod")):
        with pytest.raises(scf.WorkbookError, match="damaged or not understood"):
            read(path)


def test_sheets_are_parsed_once(tmp_path, monkeypatch):
    path = tmp_path / "b.xlsx"
    path.write_bytes(written(bias=False))
    book = openpyxl.load_workbook(path)
    for k in range(3):
        sheet = book.create_sheet(f"steps {k}")
        for row in range(1, 200):
            sheet.cell(row, 1, f"=dotprod!B11*{row}")
    book.save(path)
    asked = []
    cells = scf.workbook.reader._cells
    monkeypatch.setattr(
        scf.workbook.reader, "_cells", lambda sheet: asked.append(sheet.title) or cells(sheet)
    )
    models, _ = read_all(path, ["dotprod", "steps 1"])
    assert [model.sheet for model in models] == ["dotprod"]
    # Twice where stored results are needed as well.
    assert sorted(asked) == ["dotprod", "dotprod", "steps 0", "steps 1", "steps 1", "steps 2"]


# --- hostile, still -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["$A$1:$XFD$1048576", "$A$1:$ZZZ$9999999", "$V$9:$A$1"])
def test_names_that_claim_the_whole_sheet_cost_nothing(plain_book, where):
    paste_values(plain_book, "[A-Z]")
    for name in (b"adj", b"opt"):
        new = rb"\1dotprod!%s,dotprod!%s" % (where.encode(), where.encode())
        edit(
            plain_book,
            WORKBOOK,
            lambda xml, name=name, new=new: re.sub(
                rb'(name="solver_%s"[^>]*>)[^<]*' % name, new, xml
            ),
        )
    tracemalloc.start()
    model = scf.read_workbook(plain_book)  # by its labels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.ratings.equals(small_ratings())
    assert peak < 30 * 2**20


def test_embeddings_that_claim_the_whole_sheet(tmp_path):
    book = openpyxl.Workbook()
    for k in range(100):
        book.active.cell(2 + k, 1, k)
        book.active.cell(2 + k, 2, 3)
        book.active.cell(
            500 + k, 2, f'=IF(B{2 + k}="",0,MMULT($A{k + 600}:$XFD{k + 600},B$1:B$16384))'
        )
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(scf.WorkbookError, match="more than 1,000,000 embedding cells are refused"):
        scf.read_workbook(tmp_path / "b.xlsx")


# --- saved by other programs ----------------------------------------------------------------------


def published_without_pivots(source, target, *, renamed):
    """The published crosstab sheets, a row and a column inserted, under other names."""
    old = openpyxl.load_workbook(source, read_only=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, new in renamed.items():
        sheet = book.create_sheet(new)
        for line in old[title].iter_rows():
            for cell in line:
                if cell.value is not None:
                    sheet[cell.coordinate].value = cell.value
        quoted = "'" + new.replace("'", "''") + "'!"
        for name, defined in old[title].defined_names.items():
            text = defined.attr_text.replace(f"{title}!", quoted)
            sheet.defined_names[name] = DefinedName(name, attr_text=text, hidden=True)
    old.close()
    book.save(target)


@pytest.mark.parametrize(
    "engine", [pytest.param("libreoffice", marks=pytest.mark.slow), "gnumeric"]
)
def test_what_other_programs_saved(engine, tmp_path, reference_workbook):
    engines.require(engine)
    published = {sheet: scf.read_workbook(reference_workbook, sheet) for sheet in NAMES.values()}
    renamed = tmp_path / "renamed.xlsx"
    names = {"bias": AWKWARD, "dotprod": "my ratings"}
    published_without_pivots(reference_workbook, renamed, renamed=names)
    inserted = tmp_path / "inserted.xlsx"
    published_without_pivots(reference_workbook, inserted, renamed={"dotprod": "dotprod"})
    insert(inserted, row=1)
    insert(inserted, row=20)
    insert(inserted, column=1)
    pasted = tmp_path / "pasted.xlsx"
    pasted.write_bytes(written(bias=True))
    paste_values(pasted, "[A-Z]")
    whole = tmp_path / "whole.xlsx"
    whole.write_bytes(reference_workbook.read_bytes())
    saved = engines.recalculate(engine, [whole, renamed, inserted, pasted], tmp_path)

    def same(path, sheet, original):
        model = scf.read_workbook(path, sheet)
        assert model.ratings.equals(published[original].ratings)
        np.testing.assert_allclose(
            model.parameters.pack(), published[original].parameters.pack(), rtol=0, atol=1e-12
        )
        if original == "dotprod":  # of the other, engines differ in what blanks count
            assert model.objective == pytest.approx(0.3930154712865702, abs=1e-9)
            np.testing.assert_allclose(model.stored_predictions, computed(model), atol=1e-9)
        assert model.objective_formula is not None
        return model

    for sheet in ("dotprod", "bias"):
        same(saved[0], sheet, sheet)
        assert scf.solver_options(same(saved[1], names[sheet], sheet)).constraints == ()
    same(saved[2], None, "dotprod")
    model = scf.read_workbook(saved[3])
    assert model.ratings.equals(small_ratings())
    np.testing.assert_allclose(
        model.parameters.pack(), small_parameters(bias=True).pack(), atol=1e-12
    )
