"""Solver's dialog: what is written into a workbook, and what comes back of it."""

from dataclasses import replace

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import Constraint, SolverOptions, cli
from shallow_cf.solvers.options import fitted, select_constraints, variable_bounds
from shallow_cf.workbook.layout import Block, published_layout
from shallow_cf.workbook.reader import WorkbookModel
from shallow_cf.workbook.solver_model import _rectangles, solver_names

quick = settings(deadline=None, max_examples=25)

N_USERS, N_ITEMS, N_FACTORS = 4, 3, 2
#: Blank are (0, 2) and (3, 1).
RATINGS = scf.Ratings(
    np.arange(N_USERS) + 10,
    np.arange(N_ITEMS) + 20,
    np.array([0, 0, 1, 1, 1, 2, 2, 2, 3, 3]),
    np.array([0, 1, 0, 1, 2, 0, 1, 2, 0, 2]),
    np.array([3.0, 4.0, 1.5, 2.0, 5.0, 0.5, 3.0, 4.5, 2.0, 1.0]),
)
FULL = scf.Ratings.from_crosstab(
    scf.load_crosstab().top(N_USERS, N_ITEMS).to_crosstab().fillna(3.0)
)
SHAPES = {
    "user_factors": (N_USERS, N_FACTORS),
    "item_factors": (N_ITEMS, N_FACTORS),
    "user_bias": (N_USERS,),
    "item_bias": (N_ITEMS,),
    "rated_predictions": (len(RATINGS),),
}


def start(bias, ratings=RATINGS):
    return scf.Parameters.random(
        ratings.n_users, ratings.n_items, N_FACTORS, bias=bias, random_state=0
    )


def names(*constraints, bias=False, sheet="dotprod", ratings=RATINGS, **options):
    layout = published_layout(N_USERS, N_ITEMS, N_FACTORS, bias=bias)
    return solver_names(sheet, layout, SolverOptions(constraints=constraints, **options), ratings)


def listed(texts):
    """The dialog's list: (cells, relation, value) an entry."""
    keys = range(1, int(texts["solver_num"]) + 1)
    assert sum(name.startswith("solver_lhs") for name in texts) == len(keys)
    return [tuple(texts[f"solver_{side}{k}"] for side in ("lhs", "rel", "rhs")) for k in keys]


def meaning(options, ratings, like):
    """Options without what may be written in more than one way."""
    low, high = np.full(len(ratings), -np.inf), np.full(len(ratings), np.inf)
    for constraint in options.constraints:
        if constraint.is_bound:
            continue
        if constraint.cells == "predictions":
            shape = (ratings.n_users, ratings.n_items)
            value = fitted(constraint, shape)[ratings.user_idx, ratings.item_idx]
        else:
            assert constraint.cells == "rated_predictions"
            value = fitted(constraint, (len(ratings),))
        if constraint.relation != "<=":
            low = np.maximum(low, value)
        if constraint.relation != ">=":
            high = np.minimum(high, value)
    bounds = [*variable_bounds(options, like), low, high]
    value = options.value if options.to == "value_of" else 0.0
    plain = replace(options, constraints=(), value=value)
    return plain, [side.tolist() for side in bounds]


@pytest.fixture(scope="module")
def back(tmp_path_factory):
    """Write options with a model, read the workbook and its options."""
    path = tmp_path_factory.mktemp("dialog") / "b.xlsx"

    def through(options, *, bias=False, ratings=RATINGS):
        parameters = start(bias, ratings)
        scf.write_workbook(
            path, ratings, parameters, overwrite=True, solver_options=options, sheets=()
        )
        book = scf.read_workbook(path)
        assert book.ratings.equals(ratings)
        return scf.solver_options(book)

    return through


# --- there and back ---------------------------------------------------------------------

stars = st.floats(-100, 100).map(lambda x: round(x, 3)) | st.floats(-1e9, 1e9)
shares = st.floats(0, 1)


@st.composite
def bounds(draw, bias):
    """A constraint on variables or on rated predictions, with one value or an array."""
    blocks = [name for name in SHAPES if bias or not name.endswith("bias")]
    cells = draw(st.sampled_from(blocks))
    relation = draw(st.sampled_from(["<=", "=", ">="]))
    if draw(st.booleans()):
        return Constraint(cells, relation, draw(stars))
    nothing = {"<=": [np.inf], ">=": [-np.inf], "=": []}[relation]
    few = [*draw(st.lists(stars, min_size=1, max_size=3)), *nothing]
    size = int(np.prod(SHAPES[cells]))
    values = draw(st.lists(st.sampled_from(few), min_size=size, max_size=size))
    return Constraint(cells, relation, np.reshape(values, SHAPES[cells]))


@st.composite
def dialogs(draw, bias):
    return SolverOptions(
        to=draw(st.sampled_from(["min", "max", "value_of"])),
        value=draw(st.floats(0, 1e6)),
        constraints=draw(st.lists(bounds(bias), max_size=3)),
        non_negative=draw(st.booleans()),
        precision=draw(shares),
        use_automatic_scaling=draw(st.booleans()),
        convergence=draw(shares),
        derivatives=draw(st.sampled_from(["forward", "central"])),
        search=draw(st.sampled_from(["newton", "conjugate"])),
        require_bounds=draw(st.booleans()),
        max_time=draw(st.none() | st.floats(1e-9, 2e9) | st.integers(1, 2**31 - 2)),
        iterations=draw(st.none() | st.integers(1, 2**31 - 2)),
        multistart=draw(st.booleans()),
        population_size=draw(st.integers(10, 2**31 - 1)),
        random_seed=draw(st.integers(0, 2**31 - 1)),
    )


@quick
@given(data=st.data(), bias=st.booleans())
def test_any_dialog_comes_back(back, data, bias):
    options = data.draw(dialogs(bias))
    like = start(bias)
    assert meaning(back(options, bias=bias), RATINGS, like) == meaning(options, RATINGS, like)


@pytest.mark.parametrize("bias", [False, True])
def test_the_defaults_come_back(back, bias):
    assert back(SolverOptions(), bias=bias) == SolverOptions()
    assert back(None, bias=bias) == SolverOptions(derivatives="central")


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("user_factors", ">=", 0),
        Constraint("item_factors", "=", 0.1),
        Constraint("user_bias", "<=", 1e-7),
        Constraint("item_bias", ">=", -2.5),
        Constraint("rated_predictions", "<=", 5),
        Constraint("rated_predictions", ">=", -1),
    ],
    ids=str,
)
def test_a_constraint_on_whole_blocks_comes_back_as_it_was(back, constraint):
    options = SolverOptions(constraints=(constraint,))
    assert back(options, bias=True) == options


def test_predictions_of_everything_where_everything_is_rated(back):
    options = SolverOptions(constraints=(Constraint("predictions", ">=", 0.5),))
    assert meaning(back(options, ratings=FULL), FULL, start(False)) == meaning(
        options, FULL, start(False)
    )


def test_limits(back):
    assert back(SolverOptions(max_time=2**31, iterations=2**31 - 1)) == SolverOptions()
    texts = names(max_time=30, iterations=7)
    assert (texts["solver_tim"], texts["solver_itr"]) == ("30", "7")
    texts = names()
    assert (texts["solver_tim"], texts["solver_itr"]) == ("2147483647", "2147483647")


def test_derivatives_by_formula_are_shown_as_central(back):
    assert back(SolverOptions(derivatives="analytic")).derivatives == "central"


def test_two_sheets_one_dialog(tmp_path):
    options = SolverOptions(constraints=(Constraint("user_factors", ">=", 0.25),), iterations=9)
    scf.write_workbook(
        tmp_path / "b.xlsx", RATINGS, start(False), start(True), solver_options=options
    )
    for sheet in ("dotprod", "bias"):
        book = scf.read_workbook(tmp_path / "b.xlsx", sheet)
        assert scf.solver_options(book) == options


# --- what stands in the names -----------------------------------------------------------


def test_without_options_the_published_workbooks_dialog():
    layout = published_layout(15, 15, 5, bias=False)
    texts = solver_names("dotprod", layout)
    assert texts["solver_drv"] == "2"
    assert texts["solver_num"] == "0"


def test_an_entry_a_rectangle_of_equal_values():
    # dotprod of 4 x 3 x 2: movie factors E8:G9, user factors B11:C14, predictions E11:G14.
    P, Q = "dotprod!$B$11:$C$14", "dotprod!$E$8:$G$9"
    assert listed(names(Constraint("user_factors", "<=", 5))) == [(P, "1", "5")]
    assert listed(names(Constraint("item_factors", ">=", -0.5))) == [(Q, "3", "-0.5")]
    a_column_each = Constraint("user_factors", "<=", np.array([1.0, 2.0]))
    assert listed(names(a_column_each)) == [
        ("dotprod!$B$11:$B$14", "1", "1"),
        ("dotprod!$C$11:$C$14", "1", "2"),
    ]
    # Q is turned on the sheet: what is a column of it is a row there.
    a_row_each = Constraint("item_factors", "=", np.array([1.0, 2.0]))
    assert listed(names(a_row_each)) == [
        ("dotprod!$E$8:$G$8", "2", "1"),
        ("dotprod!$E$9:$G$9", "2", "2"),
    ]
    one_cell = np.full((4, 2), np.inf)
    one_cell[2, 1] = 1e-6
    assert listed(names(Constraint("user_factors", "<=", one_cell))) == [
        ("dotprod!$C$13", "1", "0.000001")
    ]
    free = Constraint("user_factors", ">=", np.full((4, 2), -np.inf))
    assert listed(names(free)) == []


def test_predictions_without_a_rating_show_0():
    whole = "dotprod!$E$11:$G$14"
    assert listed(names(Constraint("rated_predictions", "<=", 5))) == [(whole, "1", "5")]
    entries = listed(names(Constraint("rated_predictions", ">=", 0.5)))
    blocks = {text for text, _, _ in entries}
    assert blocks == {"dotprod!$E$11:$F$13", "dotprod!$G$12:$G$14", "dotprod!$E$14"}


@pytest.mark.parametrize(
    ("sheet", "written"),
    [
        ("my ratings", "'my ratings'"),
        ("it's", "'it''s'"),
        ("a,b!", "'a,b!'"),
        ("B2", "'B2'"),
        ("R1C1", "'R1C1'"),
        ("c", "'c'"),
        ("2019", "'2019'"),
        ("Größe", "'Größe'"),
        ("bias_2", "bias_2"),
    ],
)
def test_sheet_names(back, tmp_path, sheet, written):
    texts = names(Constraint("user_factors", "<=", 5), sheet=sheet)
    assert texts["solver_opt"] == f"{written}!$G$16"
    assert texts["solver_adj"] == f"{written}!$E$8:$G$9,{written}!$B$11:$C$14"
    assert texts["solver_lhs1"] == f"{written}!$B$11:$C$14"
    # and are understood again
    scf.write_workbook(tmp_path / "b.xlsx", RATINGS, start(False), sheets=())
    book = scf.read_workbook(tmp_path / "b.xlsx")
    fields = {name: getattr(book, name) for name in WorkbookModel.__dataclass_fields__}
    moved = WorkbookModel(**fields | {"sheet": sheet, "solver_names": texts})
    assert scf.solver_options(moved).constraints == (Constraint("user_factors", "<=", 5),)


@quick
@given(
    st.lists(st.lists(st.sampled_from([1.0, 2.0, np.inf, -np.inf, np.nan]), min_size=3, max_size=3),
             min_size=1, max_size=6)
)  # fmt: skip
def test_rectangles_cover_every_cell_once(rows):
    table = np.array(rows)
    covered = np.full(table.shape, np.nan)
    for block, value in _rectangles(Block(5, 7, *table.shape), table):
        assert np.isfinite(value)
        inside = covered[
            block.row - 5 : block.last_row - 4, block.column - 7 : block.last_column - 6
        ]
        assert inside.shape == block.shape
        assert np.isnan(inside).all()
        inside[:] = value
    np.testing.assert_array_equal(covered, np.where(np.isfinite(table), table, np.nan))


# --- what the dialog cannot hold --------------------------------------------------------


def test_what_no_cell_shows():
    def rms(parameters):
        return parameters.predict_all().std()

    for cells in ("user_norms", "item_norms", rms, np.eye(2, start(False).n_params)):
        constraint = Constraint(cells, "<=", 1)
        with pytest.raises(ValueError, match="no cell of the workbook shows this") as caught:
            names(constraint)
        assert str(caught.value).startswith(f"{constraint!r}: ")
        assert "leave it out of the solver_options" in str(caught.value)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Constraint("predictions", "<=", 5), "constrain rated_predictions"),
        (Constraint("user_bias", "<=", 5), "the sheet has no biases: leave it out"),
        (Constraint("user_factors", "<=", np.ones((3, 2))), r"must be one number or fit \(4, 2\)"),
        (Constraint("rated_predictions", "<=", np.ones(3)), r"must be one number or fit \(10,\)"),
    ],
    ids=str,
)
def test_constraints_that_do_not_fit_the_sheet(constraint, message):
    with pytest.raises(ValueError, match=message):
        names(constraint)


def test_constraints_on_predictions_need_the_ratings():
    with pytest.raises(ValueError, match=r"rated_predictions <= 5\): .* need the ratings"):
        names(Constraint("rated_predictions", "<=", 5), ratings=None)


def test_numbers_beyond_the_dialogs():
    with pytest.raises(ValueError, match="`random_seed` must be <= 2147483647 in Solver's dialog"):
        names(random_seed=2**31)


def test_more_constraints_than_excel_takes(crosstab):
    layout = published_layout(15, 15, 5, bias=False)

    def entries(cells, relation, n, shape):
        value = np.full(shape, {"<=": np.inf, ">=": -np.inf}[relation])
        value.flat[:n] = np.arange(n) / 8 + 1
        options = SolverOptions(constraints=(Constraint(cells, relation, value),))
        return listed(solver_names("dotprod", layout, options, crosstab))

    assert len(entries("rated_predictions", "<=", 100, 206)) == 100
    with pytest.raises(ValueError, match="Excel's Solver takes at most 100 constraints"):
        entries("rated_predictions", "<=", 101, 206)
    assert len(entries("user_factors", "<=", 75, (15, 5))) == 75  # bounds do not count there
    large = published_layout(100, 15, 5, bias=False)
    value = np.arange(500.0).reshape(100, 5)
    options = SolverOptions(constraints=(Constraint("user_factors", "<=", value),))
    with pytest.raises(ValueError, match=r"at most 400 bounds on ranges .* give more cells the"):
        solver_names("dotprod", large, options)


@pytest.mark.parametrize(("cells", "noted"), [("rated_predictions", True), ("user_factors", False)])
def test_more_constrained_cells_than_excel_takes_are_noted(tmp_path, crosstab, cells, noted):
    options = SolverOptions(constraints=(Constraint(cells, "<=", 5),))
    parameters = scf.Parameters.random(15, 15)
    scf.write_workbook(tmp_path / "b.xlsx", crosstab, parameters, solver_options=options, sheets=())
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").worksheets[0]
    found = [
        str(cell.value)
        for row in sheet.iter_rows()
        for cell in row
        if str(cell.value).startswith("NB:")
    ]
    expected = (
        "NB: this model has constraints on 225 prediction cells; the Solver that comes with "
        "Excel takes at most 100. Use: shallow-cf solve"
    )
    assert found == [expected] * noted


def test_options_of_another_kind(tmp_path):
    with pytest.raises(TypeError, match="`solver_options` must be SolverOptions, got SGDOptions"):
        scf.write_workbook(
            tmp_path / "b.xlsx", RATINGS, start(False), solver_options=scf.SGDOptions()
        )


# --- a fitted model's own settings ------------------------------------------------------


def fitted_model(*constraints, ratings=RATINGS, **options):
    options = SolverOptions(constraints=constraints, iterations=3, **options)
    model = scf.MatrixFactorization(N_FACTORS, solver="grg", solver_options=options, random_state=0)
    return model.fit(ratings)


def test_a_models_own_settings_are_written(tmp_path):
    model = fitted_model(Constraint("user_factors", ">=", 0.25), derivatives="central")
    scf.write_workbook(tmp_path / "b.xlsx", RATINGS, model, sheets=())
    assert scf.solver_options(scf.read_workbook(tmp_path / "b.xlsx")) == model.solver_options


def test_the_argument_comes_first(tmp_path):
    model = fitted_model(Constraint("user_norms", "<=", 9))
    with pytest.raises(ValueError, match="leave it out of the solver_options to write"):
        scf.write_workbook(tmp_path / "b.xlsx", RATINGS, model, sheets=())
    assert list(tmp_path.iterdir()) == []
    options = SolverOptions(iterations=8)
    scf.write_workbook(tmp_path / "b.xlsx", RATINGS, model, solver_options=options, sheets=())
    assert scf.solver_options(scf.read_workbook(tmp_path / "b.xlsx")) == options


@pytest.mark.parametrize("solver", ["sgd", "varpro"])
def test_a_model_of_another_solver_has_the_published_dialog(tmp_path, solver):
    model = scf.MatrixFactorization(N_FACTORS, solver=solver, random_state=0).fit(RATINGS)
    scf.write_workbook(tmp_path / "b.xlsx", RATINGS, model, sheets=())
    book = scf.read_workbook(tmp_path / "b.xlsx")
    assert scf.solver_options(book) == SolverOptions(derivatives="central")


def test_bounds_follow_their_users_and_items(tmp_path):
    lows = np.arange(8).reshape(4, 2) / 100
    highs = 5 + np.arange(6).reshape(3, 2) / 100
    model = fitted_model(
        Constraint("user_factors", ">=", lows), Constraint("item_factors", "<=", highs)
    )
    # Three of the users in another order, two of the items.
    some = scf.Ratings(
        np.array([13, 10, 11]), np.array([22, 20]), np.arange(3), np.array([0, 1, 0]), np.ones(3)
    )
    scf.write_workbook(tmp_path / "b.xlsx", some, model, sheets=())
    book = scf.read_workbook(tmp_path / "b.xlsx")
    lower, upper = variable_bounds(scf.solver_options(book), book.parameters)
    assert book.parameters.unpack(lower).user_factors.tolist() == lows[[3, 0, 1]].tolist()
    assert book.parameters.unpack(upper).item_factors.tolist() == highs[[2, 0]].tolist()


def test_constraints_that_hold_for_all_ratings_only():
    like, (u, i) = start(False), (np.array([1, 0]), np.array([0]))
    one = Constraint("rated_predictions", "<=", 5)
    table = Constraint("predictions", "<=", np.arange(12.0).reshape(4, 3))
    assert select_constraints([one], like, u, i) == (one,)
    (picked,) = select_constraints([table], like, u, i)
    assert picked == Constraint("predictions", "<=", np.array([[3.0], [0.0]]))
    for cells, value in (("rated_predictions", np.ones(10)), (np.eye(2, like.n_params), 1.0)):
        constraint = Constraint(cells, "<=", value)
        assert select_constraints([constraint], like, np.arange(4), np.arange(3)) == (constraint,)
        with pytest.raises(ValueError, match="not for some of them or in another order"):
            select_constraints([constraint], like, u, i)


# --- solving what was written -----------------------------------------------------------


@pytest.mark.slow
def test_solve_respects_what_was_written(tmp_path, crosstab):
    rows = np.array([np.inf, 0.5, np.inf, np.inf, np.inf])
    options = SolverOptions(
        constraints=(
            Constraint("user_factors", ">=", 0.25),
            Constraint("item_factors", "<=", rows),
        ),
        derivatives="central",
        iterations=20,
    )
    path, solved = tmp_path / "b.xlsx", tmp_path / "solved.xlsx"
    parameters = scf.Parameters.random(15, 15, random_state=0)
    scf.write_workbook(path, crosstab, parameters, solver_options=options)
    assert cli.main(["solve", str(path), "-o", str(solved)]) == 0
    book = scf.read_workbook(solved)
    assert book.parameters.user_factors.min() == 0.25
    assert book.parameters.item_factors[:, 1].max() == 0.5
    assert book.parameters.item_factors[:, [0, 2, 3, 4]].max() > 0.5
    before = scf.MatrixFactorization.from_parameters(crosstab, parameters).rmse(crosstab)
    assert book.objective < before
    # and the copy still has the dialog
    low, high = variable_bounds(scf.solver_options(book), book.parameters)
    expected = variable_bounds(options, book.parameters)
    assert (low.tolist(), high.tolist()) == tuple(side.tolist() for side in expected)


# --- what it is read from -------------------------------------------------------------------


def test_of_a_path_or_of_what_was_read_from_it(tmp_path, crosstab):
    path = tmp_path / "book.xlsx"
    options = scf.SolverOptions(convergence=0.01, iterations=77)
    start = scf.Parameters.random(15, 15, random_state=0)
    scf.write_workbook(path, crosstab, start, solver_options=options, sheets=[])
    read = scf.solver_options(scf.read_workbook(path))
    assert (read.convergence, read.iterations) == (0.01, 77)
    for place in (path, str(path)):
        assert scf.solver_options(place) == read
    with pytest.raises(FileNotFoundError):
        scf.solver_options(tmp_path / "nothing.xlsx")


@pytest.mark.parametrize("book", [None, 1, scf.SolverOptions()])
def test_of_something_else(book):
    message = f"`book` must be a path or what read_workbook gives, got {type(book).__name__}"
    with pytest.raises(TypeError, match=f"^{message}$"):
        scf.solver_options(book)
