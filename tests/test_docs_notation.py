"""Every name on the page of the notation exists, in the API and in the code."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import shallow_cf as scf

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "notation.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| formula")
]


def names(column):
    return sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])})


@pytest.fixture(scope="module")
def instances(crosstab):
    """What attributes are looked up on, as `fit` sets some and others are fields."""
    model = scf.MatrixFactorization(2, bias=True, global_mean=True, solver="vb", random_state=0)
    model.fit(crosstab)
    net = scf.EmbeddingNet(2, 2, solver_options=scf.SGDOptions(n_epochs=1))
    return {
        "Ratings": crosstab,
        "MatrixFactorization": model,
        "Parameters": model.parameters_,
        "Posterior": model.posterior_,
        "PrincipalComponents": model.principal_components(1),
        "NetParameters": net.fit(crosstab).parameters_,
    }


def exists(name, instances):
    if match := re.fullmatch(r"(\w+)\((\w+)\)", name):
        return match[2] in inspect.signature(getattr(scf, match[1])).parameters
    first, *rest = name.split(".")
    thing = instances[first] if first in instances else getattr(scf, first)
    for part in rest:
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def test_the_table_is_read():
    assert len(ROWS) > 30
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize("name", names(2))
def test_is_in_the_api(name, instances):
    assert exists(name, instances)


@pytest.mark.parametrize("name", ["Ratings.stars", "SGDOptions(lr)", "Posterior.user_prior.bias"])
def test_what_does_not_exist_is_noticed(name, instances):
    assert not exists(name, instances)


@pytest.fixture(scope="module")
def in_code():
    """All local names and arguments of the package."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "shallow_cf").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return arguments | attributes | {node.id for node in nodes if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", names(3))
def test_is_in_the_code(name, in_code):
    assert name in in_code
