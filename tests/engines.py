"""Independent spreadsheet programs that recalculate our workbooks.

Both are run on workbooks from which every stored result has been removed, so that
what they save can only be what they computed themselves.
"""

import os
import re
import shutil
import subprocess
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import NoReturn

import openpyxl
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


def contents(path: Path, stored: bool) -> dict[str, dict[str, object]]:
    """Sheet -> address -> formula or value or, with `stored`, the formulas' results."""
    book = _opened(path, stored)
    try:
        return {
            sheet.title: {
                cell.coordinate: cell.value
                for row in sheet.iter_rows()
                for cell in row
                if cell.value is not None
            }
            for sheet in book.worksheets
        }
    finally:
        book.close()


def formulas(path: Path) -> dict[str, dict[str, tuple[str, object]]]:
    """Sheet -> address -> formula and stored result, of the cells that hold a formula."""
    texts = _opened(path, False)
    results = contents(path, True)
    try:
        return {
            sheet.title: {
                cell.coordinate: (cell.value, results[sheet.title].get(cell.coordinate))
                for row in sheet.iter_rows()
                for cell in row
                if cell.value is not None and cell.data_type == "f"
            }
            for sheet in texts.worksheets
        }
    finally:
        texts.close()


def _opened(path: Path, stored: bool) -> openpyxl.Workbook:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles that Gnumeric does not write
        return openpyxl.load_workbook(path, read_only=True, data_only=stored)


def unescaped(value: object) -> object:
    """A text without the marks that openpyxl leaves: _x005F_x0041_ is _x0041_."""
    return re.sub("_x005F_(?=x[0-9A-F]{4}_)", "_", value) if isinstance(value, str) else value


def largest_differences(ours: Path, computed: Path) -> dict[str, float]:
    """Sheet -> largest difference of a formula's stored result from an engine's.

    AssertionError where texts differ, or where one has a text and the other a number.
    """
    saved = contents(computed, True)
    largest = {}
    for sheet, cells in formulas(ours).items():
        largest[sheet] = 0.0
        for address, (formula, result) in cells.items():
            found = saved[sheet].get(address)
            if isinstance(result, int | float) and isinstance(found, int | float):
                largest[sheet] = max(largest[sheet], abs(result - found))
            else:
                same = unescaped(result or "") in (found or "", unescaped(found or ""))
                assert same, f"{sheet}!{address} {formula}: {result!r}, computed {found!r}"
    return largest


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
