"""Pictures of workbooks: one PNG a printed page, named after the sheet, without margins."""

import json
import os
import stat
import struct
import zlib
from pathlib import Path

import engines
import numpy as np
import openpyxl
import pytest

import shallow_cf as scf
from shallow_cf import cli
from shallow_cf.screenshot import _cropped, _pages, _png, screenshot


@pytest.fixture(scope="module")
def book(tmp_path_factory, crosstab):
    """A workbook of both sheets, in a folder whose name is no plain word."""
    path = tmp_path_factory.mktemp("a b") / "my book.xlsx"
    models = [scf.Parameters.random(15, 15, 5, bias=bias, random_state=0) for bias in (False, True)]
    scf.write_workbook(path, crosstab, *models)
    return path


@pytest.fixture
def printer():
    """LibreOffice and Poppler, or a reason to skip."""
    engines.require("libreoffice")
    engines.require("poppler")


def pixels(path):
    """The colours in a PNG without filters, by the book: (height, width, 3)."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


# --- with LibreOffice and Poppler -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("printer")
def test_a_picture_a_page_named_after_book_and_sheet(book, capsys):
    assert cli.main(["screenshot", str(book), "-o", "png/", "--dpi", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["pictures"]
    names = sorted(path.name for path in Path("png").iterdir())
    assert sorted(Path(picture["path"]).name for picture in found) == names
    first_pages = [picture for picture in found if picture["page"] == 1]
    sheets = openpyxl.load_workbook(book).sheetnames
    assert [picture["sheet"] for picture in first_pages] == sheets
    for number, picture in enumerate(first_pages, start=1):
        assert Path(picture["path"]).name == f"my book-{number:02d}-{picture['sheet']}.png"
    for picture in found:
        image = pixels(picture["path"])
        assert image.shape == (picture["height"], picture["width"], 3)
        inked = (image < 255).any(axis=2)
        assert inked.any()
        # The paper's margins are gone: what is drawn begins a few pixels from each edge.
        assert inked[:13].any()
        assert inked[-13:].any()
        assert inked[:, :13].any()
        assert inked[:, -13:].any()
    # Ratings are on a coloured ground, hence not only black and white.
    colours = np.unique(pixels(first_pages[0]["path"]).reshape(-1, 3), axis=0)
    assert (colours.min(axis=1) != colours.max(axis=1)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("printer")
def test_pages_of_one_sheet_and_awkward_sheet_names():
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "a <b> & c"
    for row in (1, 100, 200):
        sheet.cell(row, 1, "ink")
    book.create_sheet("Größe").append([1])
    book.save("long.xlsx")
    names = [picture.path.name for picture in screenshot("long.xlsx", "png", dpi=20)]
    n_long = len(names) - 1
    assert n_long > 2
    assert names[0] == "long-01-a__b____c.png"
    assert names[1:n_long] == [f"long-01-a__b____c-p{page}.png" for page in range(2, n_long + 1)]
    assert names[-1] == "long-02-Größe.png"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("printer")
def test_more_dots_make_a_larger_picture_and_nothing_is_replaced_unasked(book, capsys):
    (small, *_) = screenshot(book, "png", dpi=30)
    before = small.path.read_bytes()
    assert cli.main(["screenshot", str(book), "-o", "png"]) == 2
    assert "exists already; pass --force to replace it" in capsys.readouterr().err
    assert small.path.read_bytes() == before
    assert cli.main(["screenshot", str(book), "-o", "png", "--dpi", "60", "--force"]) == 0
    assert pixels(small.path).shape[1] > 1.5 * small.width
    assert not list(Path("png").glob(".*"))


# --- without them ---------------------------------------------------------------------------


def refusal(capsys, *arguments):
    assert cli.main(["screenshot", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("shallow-cf screenshot: error: ")
    return error


def program(name, script):
    """A program of ours under another one's name, the only ones on the PATH."""
    path = Path("bin", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def path(monkeypatch):
    monkeypatch.setenv("PATH", str(Path("bin").absolute()))


@pytest.mark.usefixtures("path")
def test_what_is_missing_is_named(book, capsys):
    assert "`soffice` is not on the PATH: install LibreOffice" in refusal(capsys, book)
    program("soffice", "exit 1")
    assert "is not on the PATH: install Poppler" in refusal(capsys, book)


@pytest.mark.usefixtures("path")
@pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")
@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo source file could not be loaded; exit 0", "LibreOffice printed nothing"),
        ("echo no room >&2; exit 77", "soffice failed (exit status 77): no room"),
        ("exit 1", "soffice failed (exit status 1): without a word"),
    ],
)
def test_a_failed_conversion(book, capsys, script, complaint):
    for name in ("pdftohtml", "pdftoppm"):
        program(name, "exit 1")
    program("soffice", script)
    assert complaint in refusal(capsys, book, "-o", "png")
    assert not Path("png").exists()


@pytest.mark.usefixtures("path")
@pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")
def test_a_conversion_that_takes_too_long_is_stopped_with_its_children(book):
    for name in ("pdftohtml", "pdftoppm"):
        program(name, "exit 1")
    # As soffice does: the work is a child's, who keeps the output open.
    program("soffice", f"/bin/sleep 60 & echo $! > {Path('child').absolute()}; wait")
    with pytest.raises(TimeoutError, match="soffice took too long and was stopped"):
        screenshot(book, "png", timeout=0.5)
    child = Path("/proc", Path("child").read_text().strip(), "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"  # gone, or about to be


def test_what_is_no_workbook_is_refused(capsys):
    Path("notes.xlsx").write_text("no workbook")
    assert "notes.xlsx is not an .xlsx workbook" in refusal(capsys, "notes.xlsx")
    assert "gone.xlsx: No such file" in refusal(capsys, "gone.xlsx")


@pytest.mark.parametrize("dpi", [9, 601])
def test_absurd_resolutions_are_refused(book, capsys, dpi):
    assert f"--dpi must be in [10, 600], got {dpi}" in refusal(capsys, book, "--dpi", dpi)


def test_the_folder_must_be_one(book, monkeypatch):
    monkeypatch.setattr("shallow_cf.screenshot._program", str)  # as if all were installed
    Path("png").write_text("a file")
    with pytest.raises(NotADirectoryError, match="png is a file, not a folder"):
        screenshot(book, "png")


def test_pages_are_told_by_the_outline():
    pages = "".join(f'<page number="{number}">' for number in range(1, 5))
    items = '<item page="1">a &amp; b</item>\n<item page="3">c</item>'
    found = list(_pages(f"{pages}<outline>\n{items}\n</outline>"))
    assert found == [(1, "a & b", 1), (1, "a & b", 2), (2, "c", 1), (2, "c", 2)]
    with pytest.raises(ValueError, match="does not name its sheets"):
        list(_pages(pages))


def test_cropping_keeps_what_is_drawn_and_a_margin():
    image = np.full((100, 80, 3), 255, np.uint8)
    image[40:42, 30:50, 1] = 7
    cut = _cropped(b"P6\n80 100\n255\n" + image.tobytes())
    assert cut.shape == (2 + 24, 20 + 24, 3)
    assert (cut[12:-12, 12:-12, 1] == 7).all()
    image[0, 0] = 0  # a margin cannot leave the page
    assert _cropped(b"P6\n80 100\n255\n" + image.tobytes()).shape == (54, 62, 3)
    blank = np.full((4, 5, 3), 255, np.uint8)
    assert _cropped(b"P6\n5 4\n255\n" + blank.tobytes()).shape == (4, 5, 3)


def test_a_png_holds_the_pixels(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(_png(image))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), image)
