"""Solver's three reports, as tables and as text."""

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import als, grg, sgd, varpro, vb
from shallow_cf.workbook.layout import published_layout

ANSWER = ["Cell", "Name", "Original Value", "Final Value"]
REPORTS = (scf.answer_report, scf.sensitivity_report, scf.limits_report)


def solved(constraints=(), **settings):
    """A small table with biases, solved; what a report is made of."""
    ratings, start = reference.problem(4, 3, 2, bias=True, rated=0.8)
    options = scf.SolverOptions(
        derivatives="analytic", convergence=1e-9, constraints=tuple(constraints), **settings
    )
    return ratings, grg.solve(ratings, start, options), options


@pytest.fixture(scope="module")
def free():
    return solved()


@pytest.fixture(scope="module")
def bound():
    """With constraints of every kind, some of them binding."""
    return solved(
        [
            scf.Constraint("user_factors", ">=", 0.1),
            scf.Constraint("predictions", "<=", 3.0),
            scf.Constraint("item_norms", "<=", 2.0),
            scf.Constraint(lambda p: p.user_bias.sum(), "=", 1.0),
        ]
    )


def test_every_variable_is_listed_once_in_the_order_of_the_sheet(free):
    ratings, result, options = free
    layout = published_layout(4, 3, 2, bias=True)
    expected = [
        f"${column}${row}"
        for block in layout.variable_blocks()
        for row in range(block.row, block.last_row + 1)
        for column in "ABCDEFG"[block.column - 1 : block.last_column]
    ]
    assert len(expected) == result.parameters.n_params
    for report in (make(ratings, result, options) for make in REPORTS):
        assert report.tables["Variable Cells"]["Cell"].tolist() == expected


def test_values_are_those_of_the_named_number(free):
    ratings, result, options = free
    table = scf.answer_report(ratings, result, options).tables["Variable Cells"]
    assert list(table.columns) == [*ANSWER, "Integer"]
    by_name = table.set_index("Name")
    user, item = ratings.user_ids[2], ratings.item_ids[1]
    for name, place in (
        (f"user {user}, factor 2", lambda p: p.user_factors[2, 1]),
        (f"item {item}, factor 1", lambda p: p.item_factors[1, 0]),
        (f"user {user}, bias", lambda p: p.user_bias[2]),
        (f"item {item}, bias", lambda p: p.item_bias[1]),
    ):
        assert by_name.loc[name, "Original Value"] == place(result.start)
        assert by_name.loc[name, "Final Value"] == place(result.parameters)
    assert set(table["Integer"]) == {"Contin"}


def test_addresses_are_where_the_workbook_shows_the_numbers(free, tmp_path):
    ratings, result, options = free
    scf.write_workbook(tmp_path / "book.xlsx", ratings, result.parameters)
    openpyxl = pytest.importorskip("openpyxl")
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx", data_only=True)["bias"]
    answer = scf.answer_report(ratings, result, options)
    for table in ("Variable Cells", "Objective Cell (Min)"):
        for _, row in answer.tables[table].iterrows():
            assert sheet[row["Cell"].replace("$", "")].value == pytest.approx(row["Final Value"])


@pytest.mark.parametrize("to", ["min", "max", "value_of"])
def test_the_objective(to):
    box = [
        scf.Constraint(block, relation, value)
        for block in ("user_factors", "item_factors", "user_bias", "item_bias")
        for relation, value in ((">=", 0), ("<=", 2))
    ]
    ratings, result, options = solved(box, to=to, value=2.0)
    heading = {"min": "Min", "max": "Max", "value_of": "Value Of"}[to]
    table = scf.answer_report(ratings, result, options).tables[f"Objective Cell ({heading})"]
    assert list(table.columns) == ANSWER
    assert table["Original Value"].item() == objective.rmse(ratings, result.start)
    now = objective.rmse(ratings, result.parameters)
    assert table["Final Value"].item() == pytest.approx(now, abs=1e-14)


def test_constraints_in_the_answer_report(bound):
    ratings, result, options = bound
    assert result.code in (0, 1), result.message
    table = scf.answer_report(ratings, result, options).tables["Constraints"]
    assert list(table.columns) == ["Cell", "Name", "Cell Value", "Formula", "Status", "Slack"]
    assert len(table) == 8 + 12 + 3 + 1
    for _, row in table.iterrows():
        relation = next(sign for sign in ("<=", ">=", "=") if sign in row["Formula"])
        distance = abs(row["Cell Value"] - float(row["Formula"].split(relation)[1]))
        if row["Status"] == "Binding":
            assert row["Slack"] == 0
            assert distance < 1e-4
        else:
            assert row["Slack"] == pytest.approx(distance)
            assert distance > 1e-6
    predictions = result.parameters.predict_all()
    shown = table[table["Name"].str.startswith("prediction")]
    np.testing.assert_allclose(shown["Cell Value"], predictions.ravel())
    assert (shown["Status"] == "Binding").any()
    assert shown["Cell"].iloc[0] == "$E$12"
    norm = table[table["Name"] == f"norm of item {ratings.item_ids[0]}"]
    assert norm["Cell Value"].item() == np.linalg.norm(result.parameters.item_factors[0])
    assert table["Name"].iloc[-1] == "<lambda>, cell 1"


def test_reduced_gradients_without_constraints_are_the_gradient(free):
    ratings, result, options = free
    table = scf.sensitivity_report(ratings, result, options).tables["Variable Cells"]
    gradient = objective.rmse_gradient(ratings, result.parameters)
    by_name = table.set_index("Name")["Reduced Gradient"]
    user = ratings.user_ids[3]
    assert by_name[f"user {user}, factor 1"] == gradient.user_factors[3, 0]
    assert by_name[f"user {user}, bias"] == gradient.user_bias[3]


def test_a_multiplier_foretells_what_moving_a_limit_brings():
    # Predictions up to 3 stars, then up to 3.001, from the same end.
    ratings, result, options = solved([scf.Constraint("predictions", "<=", 3.0)])
    assert result.code in (0, 1)
    table = scf.sensitivity_report(ratings, result, options).tables["Constraints"]
    wider = scf.SolverOptions(
        derivatives="analytic", convergence=1e-9,
        constraints=(scf.Constraint("predictions", "<=", 3.001),),
    )  # fmt: skip
    moved = grg.solve(ratings, result.parameters, wider)
    change = (moved.rmse_after - result.rmse_after) / 0.001
    assert change < -0.01  # it does bring something
    assert table["Lagrange Multiplier"].sum() == pytest.approx(change, rel=0.02)


def test_limits_without_constraints_are_not_there(free):
    ratings, result, options = free
    table = scf.limits_report(ratings, result, options).tables["Variable Cells"]
    columns = ["Lower Limit", "Objective at Lower", "Upper Limit", "Objective at Upper"]
    assert table[columns].isna().all(axis=None)
    assert "#N/A" in str(scf.limits_report(ratings, result, options))


def test_limits_within_constraints(bound):
    ratings, result, options = bound
    table = scf.limits_report(ratings, result, options).tables["Variable Cells"]
    theta = result.parameters.pack()
    index = result.parameters.unpack(np.arange(theta.size, dtype=float))
    place = {
        f"user {user}, factor {k + 1}": int(index.user_factors[u, k])
        for u, user in enumerate(ratings.user_ids)
        for k in range(2)
    }
    # predictions <= 3 is linear in each number alone: the limit is a ratio, by hand.
    P, Q = result.parameters.user_factors, result.parameters.item_factors
    room = 3.0 - result.parameters.predict_all()
    for u, user in enumerate(ratings.user_ids):
        for k in range(2):
            row = table[table["Name"] == f"user {user}, factor {k + 1}"].iloc[0]
            assert row["Lower Limit"] <= row["Value"] <= row["Upper Limit"] or np.isnan(
                row["Upper Limit"]
            )
            up = [room[u, i] / Q[i, k] for i in range(3) if Q[i, k] > 0]
            if up:
                assert row["Upper Limit"] == pytest.approx(P[u, k] + max(min(up), 0), abs=1e-5)
            there = theta.copy()
            there[place[row["Name"]]] = row["Lower Limit"]
            at_limit = objective.rmse(ratings, result.parameters.unpack(there))
            assert row["Objective at Lower"] == pytest.approx(at_limit, rel=1e-9)


@pytest.mark.parametrize("make", REPORTS)
def test_text(bound, make):
    ratings, result, options = bound
    report = make(ratings, result, options, sheet="bias")
    lines = str(report).splitlines()
    assert lines[0] == report.title
    assert lines[1] == "Worksheet: bias"
    assert f"Result: {result.message}" in lines
    for heading, table in report.tables.items():
        first = lines.index(heading)
        assert lines[first + 1].split() == " ".join(table.columns).split()
        assert len(table) == 0 or lines[first + 2].strip()
    assert not any(line.endswith(" ") for line in lines)


def test_the_options_that_were_used():
    ratings, result, options = solved(non_negative=True, use_automatic_scaling=True)
    text = str(scf.answer_report(ratings, result, options))
    for part in (
        "Engine: GRG Nonlinear", f"Iterations: {result.iterations} ",
        "Max Time Unlimited, Iterations Unlimited, Precision 1e-06, Use Automatic Scaling",
        "Convergence 1e-09, Population Size 100, Random Seed 0, Derivatives Analytic",
        "Search Newton, Multistart off, Assume NonNegative",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("make", REPORTS)
def test_other_solvers_have_reports_too(make):
    ratings, start = reference.problem(4, 3, 2, rated=0.8)
    for solver, options, engine in (
        (varpro, scf.VarproOptions(), "variable projection"),
        (sgd, scf.SGDOptions(n_epochs=5), "mini-batch SGD"),
        (als, scf.ALSOptions(reg=0.1), "alternating least squares"),
        (vb, scf.VBOptions(), "variational Bayes"),
    ):
        result = solver.solve(ratings, start, options, random_state=0)
        report = make(ratings, result, options)
        assert len(report.tables["Variable Cells"]) == 14
        assert (engine in str(report)) == (make is scf.answer_report)


def test_without_options_the_engine_is_not_named(crosstab):
    options = scf.SGDOptions(n_epochs=2)
    model = scf.MatrixFactorization(solver_options=options, random_state=0).fit(crosstab)
    named = scf.answer_report(crosstab, model.result_, options)
    assert "Engine: mini-batch SGD" in named.facts["Solver Engine"]
    unnamed = scf.answer_report(crosstab, model.result_)
    assert unnamed.facts["Solver Engine"] == named.facts["Solver Engine"][1:]
    assert "Solver Options" not in unnamed.facts
    assert unnamed.tables["Variable Cells"].equals(named.tables["Variable Cells"])
