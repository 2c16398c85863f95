"""Independent spreadsheet programs that recalculate our workbooks.

Both are run on workbooks from which every stored result has been removed, so that
what they save can only be what they computed themselves.
"""

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

ENGINES = ("libreoffice", "gnumeric")
_PROGRAM = {"libreoffice": "soffice", "gnumeric": "ssconvert", "poppler": "pdftoppm"}


def require(engine: str) -> str:
    """The program's path; where it is missing, skip with a reason, or fail if CI insists."""
    program = shutil.which(_PROGRAM[engine])
    if program is None:
        missing(f"{engine} ({_PROGRAM[engine]}) is not installed")
    return program


def missing(reason: str) -> NoReturn:
    """Skip with the reason, or fail if CI insists."""
    if os.environ.get("SHALLOW_CF_REQUIRE_ENGINES"):
        pytest.fail(reason)
    pytest.skip(reason)


def without_results(source: Path, target: Path) -> None:
    """Copy a workbook, dropping the stored result of every formula."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename.startswith("xl/worksheets/"):
                content = re.sub(rb"(</f>|<f[^>]*/>)<v>[^<]*</v>", rb"\1", content)
            new.writestr(member, content)


def recalculate(engine: str, workbooks: list[Path], folder: Path) -> list[Path]:
    """Let an engine compute and save the workbooks; the paths of what it wrote."""
    program = require(engine)
    stripped, saved = folder / "stripped", folder / engine
    stripped.mkdir(exist_ok=True)
    saved.mkdir(exist_ok=True)
    for book in workbooks:
        without_results(book, stripped / book.name)
    sources = [str(stripped / book.name) for book in workbooks]
    if engine == "libreoffice":
        # A profile of its own, so that an open LibreOffice does not take the job.
        with tempfile.TemporaryDirectory() as profile:
            run = [program, f"-env:UserInstallation={Path(profile).as_uri()}", "--headless"]
            _run([*run, "--convert-to", "xlsx", "--outdir", str(saved), *sources])
    else:
        for source in sources:
            _run([program, "--recalc", source, str(saved / Path(source).name)])
    outcome = [saved / book.name for book in workbooks]
    missing = [path.name for path in outcome if not path.exists()]
    assert not missing, f"{engine} wrote nothing for {missing}"
    return outcome


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
