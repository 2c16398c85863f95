"""What is public says in a docstring what it does, and shows it by an example that runs."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import shallow_cf as scf
from shallow_cf import dask, landscape, objective, plots, spark

DOCUMENTED = {
    "scf": scf,
    "scf.dask": dask,
    "scf.landscape": landscape,
    "scf.objective": objective,
    "scf.plots": plots,
    "scf.spark": spark,
}
WITH_METHODS = (scf.MatrixFactorization, scf.EmbeddingNet, scf.Ratings, scf.Parameters)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions of a module's own, or of its modules where it is a package."""
    for name, thing in vars(module).items():
        is_kind = inspect.isclass(thing) or inspect.isroutine(thing)
        home = f"{getattr(thing, '__module__', '')}."
        is_own = home.startswith(f"{module.__name__}.")
        if is_kind and is_own and not name.startswith("_"):
            yield name, thing


def public_methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The methods of a class, inherited ones too; properties belong to the class's docstring."""
    for name, thing in inspect.getmembers(kind, inspect.isroutine):
        if not name.startswith("_"):
            yield name, thing


def lacking(thing: Any) -> str:
    """What a docstring lacks, "" if nothing; an exception needs no example."""
    if not thing.__doc__:  # its own, where `inspect.getdoc` takes a base class's too
        return "docstring"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return ""
    return "" if ">>>" in thing.__doc__ else "example"


EXPECTED = {
    f"{where}.{name}": thing
    for where, module in DOCUMENTED.items()
    for name, thing in public(module)
} | {
    f"scf.{kind.__name__}.{name}": thing
    for kind in WITH_METHODS
    for name, thing in public_methods(kind)
}


@pytest.mark.parametrize("name", EXPECTED)
def test_public_things_have_a_docstring_with_an_example(name):
    assert not (missing := lacking(EXPECTED[name])), f"{name} has no {missing}"


@pytest.mark.parametrize(
    "name",
    [
        "scf.MatrixFactorization",
        "scf.MatrixFactorization.fit",
        "scf.MatrixFactorization.load",  # a class method
        "scf.MatrixFactorization.recommend",  # inherited
        "scf.WorkbookError",
        "scf.read_workbook",
        "scf.plots.plot_history",
        "scf.objective.rmse",
    ],
)
def test_all_kinds_of_things_are_looked_at(name):
    assert name in EXPECTED


def without_docstring():
    pass


def without_example():
    """Nothing shown."""


def with_example():
    """
    >>> 1 + 1
    2
    """


class AlsoWithout(scf.MatrixFactorization):
    pass


class OwnError(ValueError):
    """Nothing to show."""


def test_what_is_missing_is_found():
    module = ModuleType("offering")
    for thing in (without_docstring, without_example, with_example, AlsoWithout, OwnError):
        thing.__module__ = "offering"
        setattr(module, thing.__name__, thing)
    module.imported, module._hidden = pytest.fixture, without_docstring  # not looked at
    assert {name: lacking(thing) for name, thing in public(module)} == {
        "without_docstring": "docstring",
        "without_example": "example",
        "with_example": "",
        "AlsoWithout": "docstring",
        "OwnError": "",
    }
