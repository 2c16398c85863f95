"""Every numbered equation is derived once, and leads to its code and to its test."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("equations", ROOT / "docs" / "_ext" / "equations.py")
finder = sys.modules["equations"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(finder)

EQUATIONS = finder.equations()
IN_CODE, IN_TESTS = finder.in_code(), finder.in_tests()


@pytest.mark.parametrize("number", [equation.number for equation in EQUATIONS])
def test_has_its_code_and_its_test(number):
    assert IN_CODE[number], f"no comment in the package begins with # ({number})"
    assert IN_TESTS[number], f"no test names ({number}) in a comment or a docstring"


def test_each_number_is_given_once():
    numbers = [equation.number for equation in EQUATIONS]
    assert len(numbers) == len(set(numbers))


def test_marks_in_the_code_are_numbers_that_exist():
    known = {equation.number for equation in EQUATIONS}
    for path in sorted((ROOT / "shallow_cf").rglob("*.py")):
        for line, text in finder.remarks(path.read_text(encoding="utf-8"), {"#"}):
            if finder.MARK.match(text):
                assert set(finder.ONE.findall(text)) <= known, f"{path}:{line}: {text}"


def test_every_derivation_is_on_the_page():
    page = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    for path in {equation.path for equation in EQUATIONS}:
        assert f"```{{equations}} {path}\n" in page


# --- the finder ---------------------------------------------------------------------------

MODULE = '''"""Made up.

Introduction, by (9):

    (1)   y = a x                 for x > 0
          with a fixed
    (2a)  dy/dx = a
    (2b)  dy/da = x
    (1) is what this line goes on about, and no definition.
(2a) stands at the margin: none either.

- In a list,
      (3')  is one.
"""


def line(x):
    """Not a definition, as it is not the module's docstring.

    (4)  z = 1
    """
    y = a * x  # (1)
    # (2a) and (2b), of all at once
    return y, a, x  # see (1), which does not begin with the number
'''

TESTS = '''"""The numbers (1) to (2b) are those of the module."""

def test_slope():
    """(2a)-(2b)."""
    assert slope(2) == 1  # (1), and (7), which is nothing

class TestIntercept:
    def test_zero(self):
        # by (3')
        assert text == "(2a)"
'''


@pytest.fixture
def project(tmp_path):
    """A project of one module and one test."""
    for folder, name, text in (
        ("shallow_cf", "model.py", MODULE),
        ("tests", "test_model.py", TESTS),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_definitions(project):
    assert [(e.number, e.text, e.line) for e in finder.equations(project)] == [
        ("1", "y = a x                 for x > 0", 5),
        ("2a", "dy/dx = a", 7),
        ("2b", "dy/da = x", 8),
        ("3'", "is one.", 13),
    ]


def test_places_in_code(project):
    found = finder.in_code(project)
    assert {number: [place.line for place in places] for number, places in found.items()} == {
        "1": [22],
        "2a": [23],
        "2b": [23],
        "3'": [],
    }
    assert found["1"] == [finder.Place("shallow_cf/model.py", 22, "line")]


def test_places_in_tests(project):
    found = finder.in_tests(project)
    places = {number: [(p.line, p.within) for p in places] for number, places in found.items()}
    assert places == {
        "1": [(5, "test_slope")],
        "2a": [(4, "test_slope")],
        "2b": [(4, "test_slope")],
        "3'": [(9, "test_zero")],
    }
