"""Everything public is on the page of the API, and what is on it exists."""

import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import shallow_cf as scf
from shallow_cf import dask, evaluation, objective, plots, spark

PAGE = (Path(__file__).parents[1] / "docs" / "api.rst").read_text(encoding="utf-8")
LISTED = re.findall(r"^   (shallow_cf\.\S+)$", PAGE, re.MULTILINE)


def public(module):
    """Classes and functions that a module offers: its own, or those that a package takes."""
    is_package = hasattr(module, "__path__")
    for name, thing in vars(module).items():
        is_kind = inspect.isclass(thing) or inspect.isroutine(thing)
        is_own = is_package or getattr(thing, "__module__", None) == module.__name__
        if is_kind and is_own and not name.startswith("_"):
            yield name, thing


EXPECTED = {
    f"{module.__name__}.{name}": thing
    for module in (scf, dask, evaluation, objective, plots, spark)
    for name, thing in public(module)
}


@pytest.mark.parametrize("name", EXPECTED)
def test_is_listed(name):
    # Under any of its names: `check_gradient` is `objective`'s, too.
    assert any(pkgutil.resolve_name(listed) is EXPECTED[name] for listed in LISTED)


def test_each_is_listed_once():
    things = [pkgutil.resolve_name(listed) for listed in LISTED]
    assert len({id(thing) for thing in things}) == len(LISTED)


def test_all_kinds_are_expected():
    assert {"shallow_cf.Ratings", "shallow_cf.plots.plot_history"} <= set(EXPECTED)
    assert {"shallow_cf.objective.rmse", "shallow_cf.evaluation.rmse"} <= set(EXPECTED)
