"""Imports run one way. This file declares the way; the tests hold the package to it.

A module that stands low in the table can be read, tested and trusted without knowing
anything above it. `ast` reads the source, so imports inside functions count as well.
"""

import ast
import graphlib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import shallow_cf

SHARED_BY_SOLVERS = [
    "solvers.result", "solvers.options", "solvers.table", "solvers.monitor", "solvers.multistart",
    "solvers.descent",
]  # fmt: skip

TAKING_TURNS = ["solvers.alternating", "solvers.normal_equations"]

# Module (or pattern) -> which modules of ours it may import. Names are relative to
# shallow_cf; the first pattern that fits counts. A new module needs a line here, unless a
# pattern covers it: one solver is one file, and so is one sheet of the workbook.
ALLOWED = {
    "_checks": [],
    "_files": [],
    "_jobs": ["_checks"],
    "_ids": ["_checks"],
    "_columns": ["_checks"],
    "_pairs": [],
    "ratings": ["_checks", "_columns", "_ids", "_pairs"],
    "_text": ["_checks"],
    "_stream": ["_columns", "_text"],
    "datasets": ["_checks", "_columns", "_files", "_ids", "_stream", "_text", "ratings"],
    "_fetch": ["_stream"],
    "_unzip": [],
    "movielens": ["_checks", "_fetch", "_stream", "_unzip", "datasets", "ratings"],
    "parameters": ["_checks", "ratings"],
    "objective": ["_checks", "ratings", "parameters"],
    "synthetic": ["_checks", "parameters", "ratings"],
    "posterior": ["parameters"],
    "solvers": ["solvers.*"],  # solvers/__init__.py, where solvers are listed
    # Pieces that solvers share, from the lowest to the highest.
    "solvers.result": ["ratings", "parameters", "objective", "posterior"],
    "solvers.options": ["_checks", "parameters"],
    "solvers.optimizers": ["_checks", "parameters"],
    "solvers.schedules": ["_checks"],
    "solvers.descent": [
        "_checks", "parameters", "solvers.optimizers", "solvers.result", "solvers.schedules",
    ],
    "solvers.table": ["ratings", "parameters"],
    "solvers.monitor": ["parameters", "solvers.result"],
    "solvers.problem": ["ratings", "parameters", "solvers.options", "solvers.table"],
    "solvers.constrained": [
        "ratings", "parameters", "solvers.monitor", "solvers.options", "solvers.problem",
    ],
    "solvers.multistart": ["parameters", "solvers.result"],
    "solvers.grg": [
        "ratings", "parameters", *SHARED_BY_SOLVERS, "solvers.constrained", "solvers.problem",
    ],
    # What the two that take turns are made of.
    "solvers.normal_equations": ["ratings", "parameters"],
    "solvers.alternating": ["solvers.result"],
    "solvers.subspace": ["parameters"],
    "solvers.vb_start": ["parameters", "solvers.normal_equations", "solvers.subspace"],
    "solvers.als": [
        "_checks", "_jobs", "ratings", "parameters", "objective", *TAKING_TURNS, "solvers.result",
    ],
    "solvers.vb": [
        "_checks", "_jobs", "ratings", "parameters", "objective", "posterior", *TAKING_TURNS,
        "solvers.result", "solvers.vb_start",
    ],
    # Not a solver, but a look ahead of one.
    "solvers.lr_find": [
        "_checks", "ratings", "parameters", "solvers.descent", "solvers.optimizers",
        "solvers.result", "solvers.sgd",
    ],
    # Any other solver: the pieces that are no solver's own, and none of the solvers.
    "solvers.*": ["_checks", "ratings", "parameters", "objective", *SHARED_BY_SOLVERS],
    "_inputs": ["_checks", "_ids", "ratings"],
    "_model_file": ["_files", "_ids", "parameters", "posterior", "ratings", "solvers.descent"],
    # What a fitted model is good for, from the lowest to the highest.
    "ranking": ["parameters"],
    "recommend": ["_checks", "_ids", "parameters", "ranking", "ratings"],
    "fold_in": [
        "_checks", "_ids", "objective", "parameters", "posterior", "ratings",
        "solvers.normal_equations", "solvers.vb", "solvers.vb_start",
    ],
    "meaning": ["_checks", "parameters", "ranking", "ratings"],
    "landscape": ["objective", "parameters", "ratings"],
    "plots": ["plots.*"],
    "plots._axes": ["_using"],
    "plots.crosstab": [
        "_checks", "_using", "evaluation.errors", "parameters", "plots._axes", "ratings",
    ],
    "plots.meaning": ["_using", "parameters", "plots._axes"],
    "plots.training": [
        "_checks", "landscape", "parameters", "plots._axes", "ratings", "solvers.result",
    ],
    "_using": [
        "_checks", "_ids", "fold_in", "meaning", "parameters", "posterior", "ranking", "ratings",
        "recommend",
    ],
    "estimator": [
        "_checks", "_files", "_ids", "_inputs", "_jobs", "_model_file", "_using", "ratings",
        "parameters", "objective", "posterior", "solvers", "solvers.descent", "solvers.lr_find",
        "solvers.options", "solvers.result",
    ],
    # Other machines: half-steps there, or models that others trained.
    "dask": ["_jobs"],
    "spark": ["_checks", "estimator", "parameters", "ratings"],
    # Judges anything that predicts stars, so it knows no model but its own baselines.
    "evaluation": ["evaluation.*"],
    "evaluation.compare": ["ratings", "evaluation.*"],
    "evaluation.ranking": ["_checks", "_ids", "ranking", "ratings", "evaluation.errors"],
    "evaluation.*": ["_checks", "_ids", "ratings"],
    "net": [
        "_checks", "_ids", "_inputs", "ratings", "parameters", "objective", "solvers.descent",
        "solvers.optimizers", "solvers.result",
    ],
    "workbook": ["workbook.*"],
    # One sheet is one file: what stands on it, from a model to a canvas.
    "workbook.sheets*": [
        "ratings", "parameters", "objective", "solvers.result", "workbook.canvas",
        "workbook.layout", "workbook.solver_model", "workbook.sheets", "workbook.sheets.*",
    ],
    "workbook.update": [
        "_files", "fold_in", "objective", "parameters", "workbook.*",
    ],
    "workbook.*": [
        "_checks", "_files", "ratings", "parameters", "objective", "solvers.result",
        "solvers.options", "workbook.*",
    ],
    "reports": [
        "_files",
        "ratings", "parameters", "objective", "solvers", "solvers.constrained", "solvers.options",
        "solvers.result", "solvers.table", "workbook.layout",
    ],
    "screenshot": ["_files", "workbook.package"],
    # What the command line does; `arguments` is how it is asked, `cli` how it answers.
    "commands": [],
    "commands.shared": ["datasets", "ratings", "solvers.result"],
    "commands.workbook": [
        "_files", "commands.shared", "ratings", "datasets", "parameters", "objective", "estimator",
        "reports", "screenshot", "solvers", "solvers.grg", "solvers.options", "solvers.result",
        "workbook", "workbook.*",
    ],
    "commands.data": ["_files", "commands.shared", "movielens", "objective", "synthetic"],
    # Commands about models know no workbook.
    "commands.models": ["_files", "_ids", "commands.shared", "estimator"],
    "commands.recipe": ["commands.shared", "estimator", "ratings", "solvers", "solvers.*"],
    "commands.*": [
        "_files", "commands.shared", "commands.models", "commands.recipe", "estimator",
        "evaluation", "evaluation.*", "ratings",
    ],
    "arguments": [],
    "arguments.shared": ["commands.shared", "ratings"],
    "arguments.workbook": [
        "arguments.shared", "commands.shared", "commands.workbook", "screenshot", "solvers",
        "solvers.options", "workbook.sheets",
    ],
    "arguments.completion": ["arguments.shared", "commands.completion"],
    "arguments.data": ["arguments.shared", "commands.*", "movielens", "synthetic"],
    "arguments.models": ["arguments.shared", "commands.*", "fold_in", "recommend", "solvers.*"],
    "cli": ["*"],
    "__main__": ["cli"],
    "__init__": ["*"],  # the package itself: the public names
}  # fmt: skip

# Packages that are not for everyone -> which modules of ours may import them.
OUTSIDE = {
    # Cell ranges, formulas, canvases and the Solver model are plain data without openpyxl.
    "openpyxl": ["workbook.reader", "workbook.writer", "workbook.styles", "workbook.charts"],
    "matplotlib": ["plots.*"],
    "argparse": ["arguments.*", "cli"],
    "shtab": ["commands.completion"],
    "tqdm": ["commands.shared"],
    "threadpoolctl": ["_jobs"],
    "distributed": ["dask"],
    "pyspark": ["spark"],
    "pyarrow": ["spark"],
}

PACKAGE = Path(shallow_cf.__file__).parent


def module_name(path, package=PACKAGE):
    """``shallow_cf/solvers/sgd.py`` -> ``solvers.sgd``; ``solvers/__init__.py`` -> ``solvers``."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def modules(package=PACKAGE):
    """Name -> path of every module of the package."""
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}


def imports(path, package=PACKAGE):
    """What a module imports: ours as ``solvers.sgd``, of others the first name (``numpy``).

    Returns two sets, ours and others'. ``from shallow_cf import objective`` counts as the
    module; ``from shallow_cf import Ratings``, no module, counts as ``__init__``.
    """
    known = modules(package)
    wanted = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # from . import x: one dot is the folder the module stands in
                folder = path.parent.relative_to(package.parent).parts
                folder = folder[: len(folder) - node.level + 1]
                base = ".".join([*folder, *([base] if base else [])])
            wanted += [f"{base}.{alias.name}" for alias in node.names]
    ours, others = set(), set()
    for name in wanted:
        first, _, rest = name.partition(".")
        if first != package.name:
            others.add(first)
            continue
        while rest and rest not in known:  # cut off what is no module but a name in one
            rest = rest.rpartition(".")[0]
        ours.add(rest or "__init__")
    return ours, others


def fits(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def violations(name, path, package=PACKAGE):
    """Sentences that say what is wrong with a module's imports."""
    row = next((pattern for pattern in ALLOWED if fnmatchcase(name, pattern)), None)
    if row is None:
        return [f"{name} stands in no line of ALLOWED in {Path(__file__).name}: add it"]
    ours, others = imports(path, package)
    return [
        f"{name} must not import {other}"
        for other in sorted(ours - {name})
        if not fits(other, ALLOWED[row])
    ] + [
        f"{name} must not import {other}"
        for other in sorted(others & set(OUTSIDE))
        if not fits(name, OUTSIDE[other])
    ]


@pytest.mark.parametrize("name", modules())
def test_imports_run_one_way(name):
    assert violations(name, modules()[name]) == []


def test_no_module_imports_itself_in_a_circle():
    # Found from the imports as they are, not from the table above.
    graph = {name: imports(path)[0] - {name} for name, path in modules().items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_the_table_names_existing_modules():
    # A line for a module that was renamed or removed would go on, unnoticed and useless.
    names = list(modules())
    for pattern in [*ALLOWED, *(p for row in ALLOWED.values() for p in row)]:
        assert any(fnmatchcase(name, pattern) for name in names), pattern


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("ratings", "from shallow_cf.objective import rmse", "objective"),
        ("ratings", "from shallow_cf import objective", "objective"),
        ("ratings", "import shallow_cf.objective as o", "objective"),
        ("ratings", "from . import objective", "objective"),
        ("ratings", "from .solvers.sgd import solve", "solvers.sgd"),
        ("ratings", "def f():\n    from shallow_cf import estimator", "estimator"),
        ("_checks", "from shallow_cf import ratings", "ratings"),
        ("parameters", "from shallow_cf import Ratings", "__init__"),
        ("objective", "import shallow_cf", "__init__"),
        ("objective", "import openpyxl", "openpyxl"),
        ("objective", "from matplotlib import pyplot", "matplotlib"),
        ("estimator", "import argparse", "argparse"),
        ("estimator", "from shallow_cf.workbook import reader", "workbook.reader"),
        ("solvers.sgd", "from shallow_cf.solvers import grg", "solvers.grg"),
        ("solvers.sgd", "from . import grg", "solvers.grg"),
        ("solvers.sgd", "from .. import estimator", "estimator"),
        ("solvers.sgd", "from ..solvers import SOLVERS", "solvers"),
        ("solvers.sgd", "import tqdm.auto", "tqdm"),
        ("solvers.new", "from shallow_cf.solvers.sgd import solve", "solvers.sgd"),
        ("evaluation.ranking", "from shallow_cf.evaluation import splits", "evaluation.splits"),
        ("evaluation.compare", "from shallow_cf import estimator", "estimator"),
        ("workbook.reader", "from shallow_cf.datasets import read_ratings", "datasets"),
        ("workbook.reader", "from shallow_cf.solvers import sgd", "solvers.sgd"),
        ("workbook.reader", "from ..estimator import MatrixFactorization", "estimator"),
        ("workbook.reader", "from shallow_cf import cli", "cli"),
        ("workbook.layout", "from openpyxl.utils import get_column_letter", "openpyxl"),
        ("workbook.sheets.new", "import argparse", "argparse"),
        ("workbook.sheets.new", "import openpyxl", "openpyxl"),
        ("workbook.sheets.new", "from shallow_cf.workbook import writer", "workbook.writer"),
    ],
)
def test_the_checker_catches(module, line, found, tmp_path):
    # A copy of the package, empty files but for the guilty one.
    package = tmp_path / "shallow_cf"
    for name in {*modules(), module}:
        is_package = name in (
            "arguments", "commands", "evaluation", "solvers", "workbook", "workbook.sheets"
        )  # fmt: skip
        path = package.joinpath(*name.split("."), *(["__init__"] if is_package else []))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(f"import numpy\n{line}\n" if name == module else "")
    guilty = modules(package)[module]
    assert violations(module, guilty, package) == [f"{module} must not import {found}"]


def test_the_checker_lets_pass(tmp_path):
    package = tmp_path / "shallow_cf"
    (package / "solvers").mkdir(parents=True)
    for name in ("__init__", "ratings", "objective", "solvers/__init__", "solvers/result"):
        (package / f"{name}.py").write_text("")
    new = package / "solvers" / "als.py"
    new.write_text(
        "import numpy as np\nfrom scipy import optimize\nfrom shallow_cf import objective\n"
        "from shallow_cf.ratings import Ratings\nfrom .result import SolverResult\n"
    )
    assert violations("solvers.als", new, package) == []


def test_a_new_module_has_to_be_declared(tmp_path):
    package = tmp_path / "shallow_cf"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "novelty.py").write_text("")
    (complaint,) = violations("novelty", package / "novelty.py", package)
    assert complaint.startswith("novelty stands in no line of ALLOWED")
