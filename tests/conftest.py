"""What several test files need."""

from pathlib import Path

import pytest
from loopback import CERTIFICATE, CONTENT, Site, sha256

import shallow_cf as scf
from shallow_cf import movielens

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


@pytest.fixture
def site(monkeypatch):
    """A site over https on this machine, trusted by this process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Site(CONTENT).open() as site:
        yield site


@pytest.fixture
def ml_100k(site, monkeypatch):
    """The site has a small ml-100k, and data sets are kept in the folder `data`."""
    monkeypatch.setenv("SHALLOW_CF_DATA", "data")
    known = movielens.DATA_SETS["ml-100k"]
    here = known._replace(url=site.url, size=len(CONTENT), digest=sha256(CONTENT), n_ratings=3)
    monkeypatch.setitem(movielens.DATA_SETS, "ml-100k", here)
    return site
