"""The Solver model is really there: LibreOffice takes it in and names the same cells.

LibreOffice reads Excel's hidden Solver names from 25.2 on. It opens every kind of workbook we
write, and its `SolverSettings` must name the objective, the aim and the variables, and no cell
more. What it should name is written out here or computed below, not asked of the package.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import engines
import openpyxl
import pytest
from openpyxl.utils import get_column_letter
from test_workbook import random_case

import shallow_cf as scf
from conftest import SHARED
from shallow_cf import cli

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import engine_solvers

HELPER = Path(__file__).with_name("uno_solver_settings.py")
REFERENCE = SHARED / "reference" / "collab_filter_v3.xlsx"
SINCE = 25.2

MINIMISE = 1
LESSON = {
    "dotprod": ("V41", ["H19:V23", "B25:F39"]),
    "bias": ("V42", ["H19:V24", "A26:F40"]),
}
SHAPES = {  # users, items, factors
    "30x30": (30, 30, 5),
    "wide": (4, 60, 3),
    "tall": (60, 4, 7),
    "one-cell": (1, 1, 1),
}


def expected(n_users, n_items, n_factors, *, bias):
    """Objective and variables of the published arrangement, for any size."""
    first, last = get_column_letter(n_factors + 3), get_column_letter(n_factors + 2 + n_items)
    top = n_users + 4  # the first row of the movies' numbers, below the ratings and two free rows
    header = top + n_factors + bias
    left, right = "A" if bias else "B", get_column_letter(n_factors + 1)
    items = f"{first}{top}:{last}{header - 1}"
    users = f"{left}{header + 1}:{right}{header + n_users}"
    # A block of one cell goes by the name of that cell.
    blocks = [re.sub(r"^(\w+):\1$", r"\1", block) for block in (items, users)]
    return f"{last}{header + n_users + 2}", blocks


#: The numbers of the new user: beside "you", the bias last; they follow the first model.
NEW_USER = {5: ("B6", ["C11:G11"]), 6: ("B6", ["C11:H11"])}

CASES = {
    "dotprod": {"dotprod": LESSON["dotprod"]},
    "bias": {"bias": LESSON["bias"]},
    "both": LESSON,
    "solved": LESSON,
    "exported-solved": LESSON,
    **{
        name: {sheet: expected(*shape, bias=sheet == "bias") for sheet in LESSON}
        for name, shape in SHAPES.items()
    },
    "reference": LESSON,
    "reference-solved": LESSON,
}


def test_the_formula_gives_the_lessons_cells():
    for sheet, cells in LESSON.items():
        assert expected(15, 15, 5, bias=sheet == "bias") == cells


@pytest.fixture(scope="module")
def workbooks(tmp_path_factory, crosstab):
    """Case -> path of the workbook."""
    folder = tmp_path_factory.mktemp("solver_settings")
    books = {name: folder / f"{name}.xlsx" for name in CASES}
    models = [scf.Parameters.random(15, 15, 5, bias=bias, random_state=0) for bias in (False, True)]
    scf.write_workbook(books["dotprod"], crosstab, models[0])
    scf.write_workbook(books["bias"], crosstab, models[1])
    scf.write_workbook(books["both"], crosstab, *models)
    run(["solve", books["both"], "-o", books["solved"], "--iterations", 3])
    run(["export", "--bias", "--solve", "-o", books["exported-solved"]])
    for name, shape in SHAPES.items():
        cases = [random_case(*shape, bias=bias, blanks=0.2, seed=7) for bias in (False, True)]
        scf.write_workbook(books[name], cases[0][0], *(parameters for _, parameters in cases))
    if REFERENCE.exists():
        books["reference"] = REFERENCE
        run(["solve", REFERENCE, "-o", books["reference-solved"], "--iterations", 3])
    books["constrained"] = folder / "constrained.xlsx"
    constrain(books["both"], books["constrained"])
    return {name: path for name, path in books.items() if path.exists()}


def run(arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


def constrain(source, target):
    """Add B25:F39 >= 0 and <= 3 to the model of the first sheet, as Excel stores them."""
    book = openpyxl.load_workbook(source)
    names = book["dotprod"].defined_names
    names["solver_num"].attr_text = "2"
    for number, (relation, bound) in enumerate([(3, 0), (1, 3)], start=1):
        for name, text in ("lhs", "dotprod!$B$25:$F$39"), ("rel", relation), ("rhs", bound):
            full = f"solver_{name}{number}"
            names[full] = openpyxl.workbook.defined_name.DefinedName(
                full, attr_text=str(text), hidden=True
            )
    book.save(target)


@pytest.fixture(scope="module")
def found(workbooks):
    """Case -> sheet -> what LibreOffice shows; one LibreOffice for all workbooks."""
    office = engines.require("libreoffice")
    version = subprocess.run([office, "--version"], capture_output=True, text=True, timeout=60)
    number = re.search(r"\d+\.\d+", version.stdout)
    if number is None or float(number[0]) < SINCE:
        engines.missing(f"LibreOffice {SINCE} or later is needed, found {version.stdout.strip()}")
    try:
        python = engine_solvers.python_with_uno()
    except SystemExit as reason:
        engines.missing(str(reason))
    with engine_solvers.office() as pipe:
        task = {"pipe": pipe, "workbooks": [str(path) for path in workbooks.values()]}
        done = subprocess.run(
            [python, HELPER], input=json.dumps(task), capture_output=True, text=True, timeout=180
        )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return {name: answer[str(path)] for name, path in workbooks.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_libreoffice_names_our_cells(found, case):
    if case not in found:
        pytest.skip(f"{REFERENCE.name} is not part of the project and not present here")
    for sheet, (objective, variables) in CASES[case].items():
        assert found[case][sheet] == {
            "objective": objective,
            "type": MINIMISE,
            "variables": variables,
            "constraints": 0,
        }
    if not case.startswith("reference"):  # which has models on other sheets, too
        models = {sheet for sheet, model in found[case].items() if model["variables"]}
        assert models - {"new_user"} == CASES[case].keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "n_numbers"),
    [("dotprod", 5), ("bias", 6), ("both", 5), ("solved", 5), ("exported-solved", 5)],
)
def test_libreoffice_names_the_numbers_of_the_new_user(found, case, n_numbers):
    objective, variables = NEW_USER[n_numbers]
    assert found[case]["new_user"] == {
        "objective": objective,
        "type": MINIMISE,
        "variables": variables,
        "constraints": 0,
    }


@pytest.mark.slow
def test_constraints_would_be_counted(found):
    # The 0 above must be able to be another number.
    assert found["constrained"]["dotprod"]["constraints"] == 2
    assert found["constrained"]["bias"]["constraints"] == 0
