"""Pictures of a workbook: LibreOffice prints it to PDF, Poppler draws the pages.

Neither is a dependency of the package; what is missing is named in the error. The PDF's
outline, in which LibreOffice notes the sheets, tells what is on which page.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shallow_cf._files import whole_file
from shallow_cf.workbook.package import check_package

DPI = 110
_DPI_RANGE = (10, 600)
_MARGIN = 12  # white pixels left around what is drawn
_WHERE = {
    "soffice": "LibreOffice (Debian: libreoffice-calc)",
    "pdftohtml": "Poppler's tools (Debian: poppler-utils)",
    "pdftoppm": "Poppler's tools (Debian: poppler-utils)",
}
#: The sheets' names go into the outline.
_FILTER = 'pdf:calc_pdf_Export:{"ExportBookmarks":{"type":"boolean","value":"true"}}'


@dataclass(frozen=True)
class Picture:
    """One printed page: its file, its sheet, and which of the sheet's pages it is, from 1."""

    path: Path
    sheet: str
    page: int
    width: int
    height: int


def screenshot(
    workbook: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    dpi: int = DPI,
    overwrite: bool = False,
    timeout: float = 300.0,
) -> list[Picture]:
    """Draw every page that a workbook prints to, as a PNG without the page's white margins.

    Parameters
    ----------
    workbook : path of an .xlsx
    folder : path
        Where the pictures go: ``book-01-dotprod.png``, a sheet's further pages as
        ``book-01-dotprod-p2.png``. It is made if need be.
    dpi : int
        Dots an inch, 10 to 600.
    overwrite : bool
        Whether files that stand there may be replaced.
    timeout : float
        Seconds for the whole.

    Raises
    ------
    FileExistsError
        If a picture exists and `overwrite` is false; none is written then.
    FileNotFoundError
        If LibreOffice or Poppler is not installed.
    TimeoutError
        If it takes longer than `timeout`.
    ValueError
        If the file is no workbook, or cannot be printed.
    """
    source, target = Path(workbook), Path(folder)
    if not _DPI_RANGE[0] <= dpi <= _DPI_RANGE[1]:
        raise ValueError(f"`dpi` must be in [{_DPI_RANGE[0]}, {_DPI_RANGE[1]}], got {dpi}")
    check_package(source)
    programs = {name: _program(name) for name in _WHERE}
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file, not a folder")
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        pdf = _print_to_pdf(programs["soffice"], source, Path(scratch), deadline)
        outline = _run([programs["pdftohtml"], "-xml", "-i", "-stdout", pdf], deadline)
        pages = list(_pages(outline.decode("utf-8", "replace")))
        paths = [target / f"{source.stem}-{_name(*page)}.png" for page in pages]
        taken = next((path for path in paths if path.exists()), None)
        if taken is not None and not overwrite:
            raise FileExistsError(f"{taken} exists already")
        target.mkdir(exist_ok=True)
        pictures = []
        for number, (path, (_, sheet, page)) in enumerate(zip(paths, pages, strict=True), start=1):
            only = ["-f", str(number), "-l", str(number)]
            image = _cropped(_run([programs["pdftoppm"], "-r", str(dpi), *only, pdf], deadline))
            with whole_file(path, overwrite=overwrite) as temporary:
                temporary.write_bytes(_png(image))
            pictures.append(Picture(path, sheet, page, image.shape[1], image.shape[0]))
    return pictures


# --- programs ---------------------------------------------------------------------------


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"`{name}` is not on the PATH: install {_WHERE[name]}")
    return found


def _print_to_pdf(soffice: str, source: Path, scratch: Path, deadline: float) -> str:
    """Print a copy, so that neither its name nor someone who has it open is in the way."""
    copy = scratch / "book.xlsx"
    shutil.copyfile(source, copy)
    # A profile of its own, so that an open LibreOffice does not take the job.
    profile = f"-env:UserInstallation={(scratch / 'profile').as_uri()}"
    convert = [soffice, profile, "--headless", "--norestore", "--convert-to", _FILTER]
    _run([*convert, "--outdir", str(scratch), str(copy)], deadline)
    pdf = copy.with_suffix(".pdf")
    if not pdf.exists():  # LibreOffice's exit status is 0 all the same
        raise ValueError(f"{source}: LibreOffice printed nothing; is the workbook damaged?")
    return str(pdf)


def _run(command: list[str], deadline: float) -> bytes:
    """What a program writes to its standard output; it and its children end with this."""
    name = Path(command[0]).stem
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            output, complaint = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(f"{name} took too long and was stopped") from None
            raise
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["without a word"]
        raise ValueError(f"{name} failed (exit status {process.returncode}): {lines[-1]}")
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program; `soffice` is but a starter, and what it started has to end with it."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


# --- pages and pixels -------------------------------------------------------------------


def _pages(xml: str) -> Iterator[tuple[int, str, int]]:
    """For each page: the sheet's number and name, and the page's number on that sheet."""
    n_pages = len(re.findall(r"<page number=", xml))
    outline = xml.rpartition("<outline>")[2]
    starts = [
        (int(first), html.unescape(name))
        for first, name in re.findall(r'<item page="(\d+)">(.*?)</item>', outline, re.DOTALL)
    ]
    if not starts or starts[0][0] != 1:
        raise ValueError("the PDF that LibreOffice printed does not name its sheets")
    lasts = [first - 1 for first, _ in starts[1:]] + [n_pages]
    for number, ((first, name), last) in enumerate(zip(starts, lasts, strict=True), start=1):
        for page in range(first, last + 1):
            yield number, name, page - first + 1


def _name(number: int, sheet: str, page: int) -> str:
    """``01-dotprod``, ``01-dotprod-p2``; what not every system has in file names becomes _."""
    suffix = f"-p{page}" if page > 1 else ""
    portable = re.sub(r"[^\w.+-]", "_", sheet)
    return f"{number:02d}-{portable}{suffix}"


def _cropped(ppm: bytes) -> NDArray[np.uint8]:
    """The pixels of a P6 image, (height, width, 3), without its white margins."""
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", ppm)
    if header is None:
        raise ValueError("pdftoppm wrote something else than a picture")
    shape = int(header[2]), int(header[1]), 3
    image = np.frombuffer(ppm, np.uint8, offset=header.end()).reshape(shape)
    down, across = np.nonzero((image < 255).any(axis=2))
    if not down.size:
        return image
    top, bottom, left, right = down.min(), down.max(), across.min(), across.max()
    rows = slice(max(top - _MARGIN, 0), bottom + 1 + _MARGIN)
    return image[rows, max(left - _MARGIN, 0) : right + 1 + _MARGIN]


def _png(image: NDArray[np.uint8]) -> bytes:
    """A PNG of 8 bits a colour (PNG specification, sections 5 and 11)."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes(), 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
