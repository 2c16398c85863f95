"""Where the numbered equations are: derived in docstrings, marked in code, named in tests.

An equation is defined where its number opens an indented line of a module's docstring, with
two spaces or more before what it says:

    (4a)  d/dP_uk = sum over i in I(u) of e_ui Q_ik + reg P_uk

Code that implements it says so in a comment that begins with the number, `# (4a)`, and a test
names it in a comment or a docstring. Several numbers may stand together, "(4a) and (4c)", and
"(4a)-(4d)" or "(4a) to (4d)" is all from the one to the other. Plain Python, no Sphinx.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

NUMBER = r"r?\d+[a-z]?'?"
DEFINITION = re.compile(rf"^ +\(({NUMBER})\) {{2,}}(.*)$")
_RANGE = re.compile(rf"\(({NUMBER})\)(?:\s*-\s*|\s+to\s+)\(({NUMBER})\)")
ONE = re.compile(rf"(?<!\w)\(({NUMBER})\)")  # not the (1) of "ACM TOMS 4(1)"
MARK = re.compile(rf"#\s*\({NUMBER}\)")


Documented = ast.Module | ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Equation:
    """A numbered equation: its number, what it says, and where it is derived."""

    number: str
    text: str
    path: str
    line: int


@dataclass(frozen=True)
class Place:
    """A line that names an equation; `within` is the function or class around it."""

    path: str
    line: int
    within: str


@cache
def equations(root: Path = ROOT) -> list[Equation]:
    """All definitions, in the order of the files and of the lines."""
    found = []
    for path in sorted((root / "shallow_cf").rglob("*.py")):
        first, docstring = module_docstring(path)
        for offset, line in enumerate(docstring.splitlines()):
            if match := DEFINITION.match(line):
                name = path.relative_to(root).as_posix()
                found.append(Equation(match[1], match[2].strip(), name, first + offset))
    return found


def anchor(number: str) -> str:
    """What an equation is called in an address: ``mathematics.html#eq-4a``."""
    return "eq-" + number.replace("'", "-prime")


def module_docstring(path: Path) -> tuple[int, str]:
    """The line on which a module's docstring begins, and the docstring; "" if it has none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree, clean=False)
    return (tree.body[0].lineno, docstring) if docstring else (1, "")


def in_code(root: Path = ROOT) -> dict[str, list[Place]]:
    """Number -> the lines of the package that say to implement it."""
    paths = sorted((root / "shallow_cf").rglob("*.py"))
    return _places(root, paths, lambda text: bool(MARK.match(text)), {"#"})


def in_tests(root: Path = ROOT) -> dict[str, list[Place]]:
    """Number -> the lines of the tests that name it in a comment or a docstring.

    A file's own docstring does not count: it says where numbers come from, and tests nothing.
    """
    paths = sorted((root / "tests").glob("test_*.py"))
    found = _places(root, paths, lambda text: True, {"#", '"'})
    return {number: [place for place in places if place.within] for number, places in found.items()}


def numbers(text: str, known: Iterable[str]) -> Iterator[str]:
    """The equations that a text names, those within a range included; others are left out."""
    known = list(known)
    for first, last in _RANGE.findall(text):
        if first in known and last in known:
            yield from known[known.index(first) : known.index(last) + 1]
    yield from (number for number in ONE.findall(text) if number in known)


def _places(root, paths, is_meant, kinds):
    known = [equation.number for equation in equations(root)]
    found: dict[str, list[Place]] = {number: [] for number in known}
    for path in paths:
        source = path.read_text(encoding="utf-8")
        meant = [(line, text) for line, text in remarks(source, kinds) if is_meant(text)]
        named = [(line, list(numbers(text, known))) for line, text in meant]
        if not any(each for _, each in named):
            continue
        within = _within(source)
        for line, each in sorted(named):
            for number in dict.fromkeys(each):
                place = Place(path.relative_to(root).as_posix(), line, within.get(line, ""))
                found[number].append(place)
    return found


def remarks(source: str, kinds: set[str]) -> Iterator[tuple[int, str]]:
    """Comments ("#") and docstrings ('"') as (line, text), a docstring line by line."""
    # Most sources name nothing in a comment, and taking all of them apart would take seconds.
    if "#" in kinds and re.search(rf"#.*\({NUMBER}\)", source):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    if '"' in kinds:
        for node in _definitions(ast.parse(source)):
            docstring = ast.get_docstring(node, clean=False) or ""
            for offset, text in enumerate(docstring.splitlines()):
                yield node.body[0].lineno + offset, text


def _definitions(node: Documented) -> Iterator[Documented]:
    """A module, its classes and functions, and theirs: outer ones first."""
    yield node
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | ast.FunctionDef):
            yield from _definitions(inner)


def _within(source: str) -> dict[int, str]:
    """Line -> the innermost function or class that it belongs to."""
    within = {}
    for node in list(_definitions(ast.parse(source)))[1:]:
        within |= dict.fromkeys(range(node.lineno, node.end_lineno + 1), node.name)
    return within
