"""The project's checks, each in an environment of its own: `nox`, or one by `nox -s tests-3.12`.

`nox -s tests minimum -- -x tests/test_sgd.py` hands what stands after `--` to pytest.
"""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests", "minimum", "lint", "package"]
# Nobody has to have every Python: those that are not there are skipped, and named.
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]


def _pytest(session: nox.Session) -> None:
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "auto"]))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests with the newest version of everything."""
    session.install("--editable", ".[test]")
    _pytest(session)


@nox.session(python=PYTHONS[0])
def minimum(session: nox.Session) -> None:
    """The tests with the oldest version of everything that setup.cfg allows."""
    session.install("--resolution", "lowest-direct", "--editable", ".[test]")
    _pytest(session)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style, spelling and types."""
    session.install("--editable", ".[lint,progress]")
    session.run("pre-commit", "run", "--all-files")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """The pages in docs/_build/html, where a warning is an error, and their links."""
    session.install("--editable", ".[docs]")
    site = "docs/_build/html"
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-n", "docs", site)
    session.run("python", "docs/check_links.py", site)


@nox.session(python=PYTHONS[0])
def package(session: nox.Session) -> None:
    """Both distributions, built and looked through; the wheel as those see it who install it."""
    session.install(".[lint,plot]")
    session.run("python", ".ci/check_package.py")
