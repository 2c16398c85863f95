"""What several test files need."""

from pathlib import Path

import pytest

import shallow_cf as scf

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def crosstab() -> scf.Ratings:
    """The lesson's 206 ratings."""
    return scf.load_crosstab()


def shared_file(*parts: str) -> Path:
    """A file outside the project; skip the test where it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.name} is not part of the project and not present here")
    return path


@pytest.fixture(scope="session")
def reference_workbook() -> Path:
    """The workbook of the 2019 course, as published."""
    return shared_file("reference", "collab_filter_v3.xlsx")
