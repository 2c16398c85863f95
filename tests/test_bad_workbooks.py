"""Workbooks that are damaged, hostile, half-finished or simply somebody else's.

Three promises are tested here. What cannot be read is refused in one line that names the
file or the cell, quickly and without a traceback. What can be read is read rightly, however
its formulas are spelled and wherever they stand. And what is changed in a workbook is
changed in its cells alone: every other byte of it stays.
"""

import datetime
import html
import io
import re
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openpyxl
import pytest
from engines import recalculate
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.workbook.defined_name import DefinedName

import shallow_cf as scf
from shallow_cf.workbook.layout import cell_address, cell_position
from shallow_cf.workbook.package import one_line
from shallow_cf.workbook.reader import read_all

SHEET1 = "xl/worksheets/sheet1.xml"
WORKBOOK = "xl/workbook.xml"
# Where `small_book` has its blocks: 4 users, 3 items, 2 factors; see `published_layout`.
#        dotprod        bias
# ids    D2:D5, E1:G1   the same
# rating E2:G5          the same
# b_i                   E8:G8
# Q      E8:G9          E9:G10
# b_u                   A12:A15
# P      B11:C14        B12:C15
# r_hat  E11:G14        E12:G15
# loss   G16            G17
RATINGS = [  # None: not rated
    [4.0, 3.0, None],
    [5.0, None, 1.0],
    [None, 4.5, 3.0],
    [2.0, 0.5, 5.0],
]


def small_ratings():
    rated = [(u, i) for u, row in enumerate(RATINGS) for i, r in enumerate(row) if r is not None]
    u, i = np.transpose(rated)
    stars = [RATINGS[a][b] for a, b in rated]
    return scf.Ratings(np.array([11, 12, 13, 14]), np.array(["Alien", "Brazil", "Casino"]),
                       u, i, stars)  # fmt: skip


def small_parameters(*, bias=False):
    return scf.Parameters.random(4, 3, 2, bias=bias, random_state=3)


@cache
def written(*, bias):
    """The bytes of a workbook of our own."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "book.xlsx"
        scf.write_workbook(path, small_ratings(), small_parameters(bias=bias), sheets=())
        return path.read_bytes()


@pytest.fixture
def small_book(tmp_path):
    """A workbook of our own with one sheet, `dotprod`."""
    path = tmp_path / "small.xlsx"
    path.write_bytes(written(bias=False))
    return path


@pytest.fixture
def bias_book(tmp_path):
    """A workbook of our own with one sheet, `bias`."""
    path = tmp_path / "bias.xlsx"
    path.write_bytes(written(bias=True))
    return path


# --- tools: the same workbook with one thing changed ------------------------------------


def parts(path):
    """Name -> content of every part of a workbook."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def save(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def edit(path, part, change):
    """Apply a function of bytes to one part of a workbook."""
    contents = parts(path)
    changed = change(contents[part])
    assert changed != contents[part], "the edit did not change anything"
    save(path, contents | {part: changed})


def cell_pattern(address):
    return re.compile(rb'<c r="%s"[^>]*?(?:/>|>.*?</c>)' % address.encode())


def set_cell(path, address, element):
    """Put another element in the place of a cell; `{r}` is its address."""
    new = element.replace("{r}", f'r="{address}"').encode()
    edit(path, SHEET1, lambda xml: cell_pattern(address).sub(new, xml, count=1))


def respell(path, change):
    """Apply a function of text to every formula of the first sheet; results stay."""

    def new(match):
        formula = change(html.unescape(match[1].decode()))
        return b"<f>%s</f>" % html.escape(formula, quote=False).encode()

    edit(path, SHEET1, lambda xml: re.sub(rb"<f>(.*?)</f>", new, xml))


def respell_predictions(path, change):
    respell(path, lambda formula: change(formula) if "MMULT" in formula else formula)


def stored(path, address):
    """The stored result in a cell of the first sheet, read with openpyxl."""
    book = openpyxl.load_workbook(path, data_only=True)
    return book.worksheets[0][address].value


def same_model(model, path, *, bias=False, digits=None):
    """Whether what was read is what `small_book` or `bias_book` was written from.

    Bit for bit, or to the 16 digits that openpyxl writes where it was used in between.
    """
    assert model.path == path
    assert model.ratings.equals(small_ratings())
    expected, rtol = small_parameters(bias=bias), 0 if digits is None else 10.0**-digits
    assert len(model.parameters.blocks()) == len(expected.blocks())
    np.testing.assert_allclose(model.parameters.pack(), expected.pack(), rtol=rtol, atol=0)
    return True


# --- files that are no workbook ---------------------------------------------------------

NO_WORKBOOK = {
    "text": (b"userId,movieId,rating\n1,2,3\n", "is not an .xlsx workbook$"),
    "empty": (b"", "is not an .xlsx workbook$"),
    "one byte": (b"P", "is not an .xlsx workbook$"),
    "old .xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old .xls workbook or"),
    "zip magic and noise": (b"PK\x03\x04" + bytes(range(256)) * 4, "is not an .xlsx workbook$"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_WORKBOOK)
def test_a_file_that_is_no_workbook(tmp_path, kind):
    content, message = NO_WORKBOOK[kind]
    path = tmp_path / "book.xlsx"
    path.write_bytes(content)
    with pytest.raises(scf.WorkbookError, match=f"^book.xlsx {message}"):
        scf.read_workbook(path)


def test_a_folder(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder, not a workbook"):
        scf.read_workbook(tmp_path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        scf.read_workbook(tmp_path / "nothing.xlsx")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_download_that_broke_off(small_book, kept):
    content = small_book.read_bytes()
    small_book.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(scf.WorkbookError, match=r"is not an .xlsx workbook$"):
        scf.read_workbook(small_book)


def test_bytes_damaged_in_the_middle(small_book):
    content = bytearray(small_book.read_bytes())
    place = content.index(SHEET1.encode()) + 200  # within that part's compressed data
    content[place : place + 20] = bytes(20)
    small_book.write_bytes(content)
    with pytest.raises(
        scf.WorkbookError, match=r"^small.xlsx is damaged or not understood: ."
    ) as caught:
        scf.read_workbook(small_book)
    assert "\n" not in str(caught.value)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "photos.xlsx"
    save(path, {"holiday.jpg": b"...", "xl/holiday.xml": b"<x/>"})
    with pytest.raises(scf.WorkbookError, match=r"it has no xl/workbook.xml"):
        scf.read_workbook(path)


@pytest.mark.parametrize("part", [WORKBOOK, SHEET1, "xl/_rels/workbook.xml.rels"])
@pytest.mark.parametrize("content", [b"", b"<a><b></a>", b"no xml", b"<?xml version='1.0'?><x/>"])
def test_a_part_without_sense(small_book, part, content):
    edit(small_book, part, lambda xml: content)
    with pytest.raises(scf.WorkbookError, match=r"^small.xlsx") as caught:
        scf.read_workbook(small_book)
    assert "\n" not in str(caught.value)


def test_a_part_that_is_missing(small_book):
    contents = parts(small_book)
    del contents[SHEET1]
    save(small_book, contents)
    message = r"^small.xlsx .*the content of sheet 'dotprod' is not in the file$"
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(small_book)


def test_an_empty_workbook(tmp_path):
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with pytest.raises(scf.WorkbookError, match=r"^empty.xlsx: no cells found"):
        scf.read_workbook(tmp_path / "empty.xlsx")


def test_a_workbook_saved_as_strict_open_xml(small_book):
    # One of Excel's choices in "Save as"; its XML has other namespaces, which openpyxl skips.
    names = {
        b"http://schemas.openxmlformats.org/spreadsheetml/2006/main":
            b"http://purl.oclc.org/ooxml/spreadsheetml/main",
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships":
            b"http://purl.oclc.org/ooxml/officeDocument/relationships",
    }  # fmt: skip
    contents = parts(small_book)
    for old, new in names.items():
        contents = {name: xml.replace(old, new) for name, xml in contents.items()}
    save(small_book, contents)
    with pytest.raises(scf.WorkbookError, match=r"save it there as .* not as Strict Open XML$"):
        scf.read_workbook(small_book)


def test_the_name_of_a_workbook_does_not_matter(small_book):
    path = small_book.rename(small_book.with_name("Umsätze 2019.backup"))
    assert same_model(scf.read_workbook(path), path)


# --- archives that are hostile -----------------------------------------------------------


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """100 kB that unpack to 100 MB of zeros in a sheet."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.xlsx"
    path.write_bytes(written(bias=False))
    contents = parts(path)
    del contents[SHEET1]
    save(path, contents)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(SHEET1, "w") as sheet,
    ):
        for _ in range(100):
            sheet.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    return path


def assert_cheap(function):
    """Call it, expecting a WorkbookError within 30 MB; return the message."""
    tracemalloc.start()
    try:
        with pytest.raises(scf.WorkbookError) as caught:
            function()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * 2**20
    return str(caught.value)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(bomb):
    message = assert_cheap(lambda: scf.read_workbook(bomb))
    assert re.match(r"bomb.xlsx declares 100 MB of content in 0.\d MB: refused", message)


def test_a_zip_bomb_that_lies_about_its_size(bomb, tmp_path):
    content = bytearray(bomb.read_bytes())
    entry = content.rindex(SHEET1.encode()) - 46  # its entry in the zip's table of contents
    assert content[entry : entry + 4] == b"PK\x01\x02"
    assert struct.unpack_from("<L", content, entry + 24)[0] == 100 * 2**20
    struct.pack_into("<L", content, entry + 24, 1000)  # "only 1000 bytes, honestly"
    liar = tmp_path / "liar.xlsx"
    liar.write_bytes(content)
    assert assert_cheap(lambda: scf.read_workbook(liar)).startswith("liar.xlsx is damaged")


def test_many_middling_parts_are_a_bomb_too(small_book):
    with zipfile.ZipFile(small_book, "a", zipfile.ZIP_DEFLATED) as archive:
        for k in range(30):  # 30 times 15 MB, each below the size that is looked at alone
            archive.writestr(f"xl/media/{k}.bin", bytes(15 * 2**20), compresslevel=1)
    message = assert_cheap(lambda: scf.read_workbook(small_book))
    assert "declares 450 MB of content" in message


def test_an_archive_of_very_many_parts(small_book):
    with zipfile.ZipFile(small_book, "a") as archive:
        for k in range(10_001):
            archive.writestr(f"xl/{k}", b"")
    message = assert_cheap(lambda: scf.read_workbook(small_book))
    assert "declares 10,010 parts of 10,010 names: refused" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_part_that_is_there_twice(small_book):
    with zipfile.ZipFile(small_book, "a") as archive:
        archive.writestr(SHEET1, parts(small_book)[SHEET1])
    with pytest.raises(scf.WorkbookError, match="declares 10 parts of 9 names: refused"):
        scf.read_workbook(small_book)


LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
DOCTYPES = {
    "billion laughs": f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>',
    "another file": '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
}


@pytest.mark.parametrize("part", [SHEET1, WORKBOOK])
@pytest.mark.parametrize("kind", DOCTYPES)
def test_xml_entities_are_refused(small_book, part, kind):
    def spoil(xml):
        xml = re.sub(rb"^<\?xml[^>]*\?>", b"", xml)
        return DOCTYPES[kind].encode() + xml.replace(b"</", b"&l9;</", 1)

    edit(small_book, part, spoil)
    message = assert_cheap(lambda: scf.read_workbook(small_book))
    assert (
        message
        == "small.xlsx is damaged or not understood: it declares XML entities, as hostile files do"
    )


def test_a_document_type_without_entities_is_not_written_on(small_book, tmp_path):
    edit(small_book, SHEET1, lambda xml: b"<!DOCTYPE worksheet>" + xml)
    model = scf.read_workbook(small_book)
    with pytest.raises(scf.WorkbookError, match="sheet 'dotprod' declares a document type: refus"):
        scf.update_workbook(model, model.parameters, tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == [small_book]


@pytest.mark.parametrize("row", ["1048577", "9" * 12, "9" * 400, "0", "-1", "3", "x", ""])
def test_rows_out_of_order_or_beyond_the_end_are_refused(small_book, row):
    # openpyxl counts up to the number of a row, and drops those that come too late.
    far = f'<row r="{row}"><c><v>1</v></c></row></sheetData>'.encode()
    edit(small_book, SHEET1, lambda xml: xml.replace(b"</sheetData>", far))
    message = r"small.xlsx is .* sheet 'dotprod': row '\S*' after row 27, rows must stand in their"
    assert re.match(message, assert_cheap(lambda: scf.read_workbook(small_book)))


def test_the_last_row_of_a_sheet_is_read(small_book):
    last = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    edit(small_book, SHEET1, lambda xml: xml.replace(b"</sheetData>", last))
    assert same_model(scf.read_workbook(small_book), small_book)


def test_many_sheets_of_one_far_row_are_refused(small_book):
    book = openpyxl.load_workbook(small_book)
    for _ in range(5):
        book.create_sheet().cell(1_048_576, 1, 1)
    book.save(small_book)
    assert scf.read_workbook(small_book).sheet == "dotprod"  # the others are not parsed
    message = assert_cheap(lambda: read_all(small_book))
    assert "its sheets leave out 5,242,87" in message


def test_an_empty_sheet_that_claims_ten_billion_cells(small_book):
    def claim(xml):
        xml = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:NTP1000000"', xml)
        return re.sub(rb"<sheetData>.*</sheetData>", b"<sheetData/>", xml)

    edit(small_book, SHEET1, claim)
    assert "no cells found" in assert_cheap(lambda: scf.read_workbook(small_book))


@pytest.mark.parametrize("change", ["swap", "twice", "other row", "split row"])
def test_cells_out_of_order_are_refused(small_book, change):
    # openpyxl drops some of them, and a rating would count as never given.
    def spoil(xml):
        e2, f2 = (cell_pattern(address).search(xml)[0] for address in ("E2", "F2"))
        new = {
            "swap": f2 + e2,
            "twice": e2 + e2 + f2,
            "other row": e2 + f2.replace(b"F2", b"F3"),
            "split row": e2 + b'</row><row r="2">' + f2,
        }
        return xml.replace(e2 + f2, new[change])

    edit(small_book, SHEET1, spoil)
    with pytest.raises(scf.WorkbookError, match=r"sheet 'dotprod'.* row .* must stand in their"):
        scf.read_workbook(small_book)


@pytest.mark.parametrize("text", ["1_0", "1_0.5", "\u0664", "\uff14.5"])
def test_a_number_that_only_python_understands(small_book, text):
    set_cell(small_book, "E2", f"<c {{r}}><v>{text}</v></c>")
    with pytest.raises(scf.WorkbookError, match=r"dotprod!E2: .* is no number$"):
        scf.read_workbook(small_book)


def test_a_sheet_that_is_elsewhere_is_not_followed(small_book):
    edit(
        small_book,
        "xl/_rels/workbook.xml.rels",
        lambda xml: xml.replace(b'sheet1.xml"', b'sheet1.xml" TargetMode="External"'),
    )
    with pytest.raises(scf.WorkbookError, match=r"content of sheet 'dotprod' is not in the file$"):
        scf.read_workbook(small_book)


def test_macros_and_links_to_other_workbooks_are_kept_and_not_followed(small_book, tmp_path):
    link = b"<externalLink><externalBook><sheetNames/></externalBook></externalLink>"
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/externalLink"
    extra = {
        "xl/vbaProject.bin": bytes(range(256)),
        "xl/externalLinks/externalLink1.xml": link,
        "xl/externalLinks/_rels/externalLink1.xml.rels": b'<Relationships><Relationship Id="rId1" '
        b'Target="http://127.0.0.1:9/other.xlsx" TargetMode="External"/></Relationships>',
    }
    relation = f'<Relationship Id="rId9" Type="{kind}" Target="externalLinks/externalLink1.xml"/>'
    edit(
        small_book,
        "xl/_rels/workbook.xml.rels",
        lambda xml: xml.replace(b"</Relationships>", relation.encode() + b"</Relationships>"),
    )
    edit(
        small_book,
        "[Content_Types].xml",
        lambda xml: xml.replace(
            b"openxmlformats-officedocument.spreadsheetml.sheet.main",
            b"ms-excel.sheet.macroEnabled.main",
        ),
    )
    save(small_book, parts(small_book) | extra)
    book = small_book.rename(tmp_path / "macros.xlsm")
    model = scf.read_workbook(book)
    assert same_model(model, book)
    scf.update_workbook(model, model.parameters, tmp_path / "out.xlsm")
    after = parts(tmp_path / "out.xlsm")
    assert {name: after[name] for name in extra} == extra


def test_a_part_that_reading_does_not_need_may_be_damaged_until_it_is_copied(small_book, tmp_path):
    with zipfile.ZipFile(small_book) as archive:
        member = archive.getinfo("docProps/app.xml")
    content = bytearray(small_book.read_bytes())
    place = member.header_offset + 30 + len(member.filename) + 20
    content[place : place + 9] = bytes(9)
    small_book.write_bytes(content)
    model = scf.read_workbook(small_book)
    with pytest.raises(scf.WorkbookError, match=r"^docProps/app.xml in the workbook is damaged"):
        scf.update_workbook(model, model.parameters, tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == [small_book]


def test_two_formulas_at_the_far_end_of_the_sheet(tmp_path):
    # The labels are looked for among the cells there are, not cell by cell over the sheet.
    book = openpyxl.Workbook()
    for row in (10, 200_000):
        formula = f'=IF(CY{row}="",0,MMULT($B{row}:$B{row},CZ$5:CZ$5))'
        book.active.cell(row, 104, formula)
    book.save(tmp_path / "far.xlsx")
    with pytest.raises(scf.WorkbookError, match=r"^Sheet![A-Z]+10: user id is missing$"):
        scf.read_workbook(tmp_path / "far.xlsx")


def test_a_model_that_claims_the_whole_sheet(tmp_path):
    # Ids of 2500 users and 2500 items, but formulas only in two corners of the table.
    path = tmp_path / "vast.xlsx"
    book = openpyxl.Workbook()
    for k in range(2500):
        book.active.cell(2 + k, 3, k)
        book.active.cell(1, 4 + k, k)
    for row, column in ((3002, 4), (5501, 2503)):
        rating, item = cell_address(row - 3000, column), cell_address(2600, column)
        formula = f'=IF({rating}="",0,MMULT($B{row}:$B{row},{item}:{item}))'
        book.active.cell(row, column, formula)
    book.save(path)
    message = r"^Sheet!D2:CRG2501: more than 1,000,000 ratings cells are refused$"
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(path)


# --- workbooks without what is looked for -------------------------------------------------


def test_a_workbook_without_a_model(tmp_path):
    path = tmp_path / "accounts.xlsx"
    book = openpyxl.Workbook()
    book.active["A1"] = "=SUM(B1:B9)"
    chart = BarChart()
    chart.add_data(Reference(book.active, min_col=2, min_row=1, max_row=9))
    book.create_chartsheet("chart").add_chart(chart)
    book.save(path)
    for read in (scf.read_workbook, scf.check_workbook):
        with pytest.raises(
            scf.WorkbookError, match=r"^accounts.xlsx: no model found \(predictions"
        ):
            read(path)


def test_a_sheet_that_is_not_there(small_book):
    with pytest.raises(
        scf.WorkbookError, match=r"small.xlsx has no sheet 'bias'; it has: dotprod$"
    ):
        scf.read_workbook(small_book, "bias")


def test_a_sheet_without_a_model(small_book):
    book = openpyxl.load_workbook(small_book)
    book.create_sheet("notes")["A1"] = "buy milk"
    book.active = book["notes"]
    book.save(small_book)
    with pytest.raises(scf.WorkbookError, match=r"small.xlsx, sheet 'notes': no model found"):
        scf.read_workbook(small_book, "notes")
    assert scf.read_workbook(small_book).sheet == "dotprod"  # though another sheet opens


def test_a_table_without_a_single_rating(small_book):
    for row, ratings in enumerate(RATINGS, 2):
        for column, rating in zip("EFG", ratings, strict=True):
            if rating is not None:
                set_cell(small_book, f"{column}{row}", "<c {r}/>")
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!E2:G5: there are no ratings$"):
        scf.read_workbook(small_book)


# --- cells that hold what they should not -------------------------------------------------

TEXT = "<c {r} t='inlineStr'><is><t>%s</t></is></c>"
NOT_A_NUMBER = {
    "text": (TEXT % "n/a", "must be a finite number, got 'n/a'"),
    "number as text": (TEXT % "4", "must be a finite number, got '4'"),
    "space": (TEXT % " ", "must be a finite number, got ' '"),
    "error": ("<c {r} t='e'><v>#VALUE!</v></c>", "must be a finite number, got the error #VALUE!"),
    "boolean": ("<c {r} t='b'><v>1</v></c>", "must be a finite number, got True"),
    "infinity": ("<c {r}><v>1e999</v></c>", "must be a finite number, got inf"),
    "huge": ("<c {r}><v>1e200</v></c>", r"is too large to compute with, got 1e\+200"),
    "integer of 400 digits": (f"<c {{r}}><v>{'9' * 400}</v></c>", "must be a finite number, got 9"),
    "formula without result": (
        "<c {r}><f>RAND()</f></c>",
        "must be a finite number, got a formula without a stored result: open the workbook",
    ),
}
PLACES = {  # address in bias_book -> what stands there
    "E2": "rating", "G5": "rating", "B12": "embedding", "C15": "embedding", "F9": "embedding",
    "A13": "bias", "G8": "bias",
}  # fmt: skip


@pytest.mark.parametrize("address", PLACES)
@pytest.mark.parametrize("kind", NOT_A_NUMBER)
def test_a_cell_that_must_hold_a_number(bias_book, address, kind):
    element, message = NOT_A_NUMBER[kind]
    set_cell(bias_book, address, element)
    with pytest.raises(scf.WorkbookError, match=f"^bias!{address}: {PLACES[address]} {message}"):
        scf.read_workbook(bias_book)


@pytest.mark.parametrize("address", [a for a in PLACES if PLACES[a] != "rating"])
def test_a_blank_cell_where_a_number_must_be(bias_book, address):
    set_cell(bias_book, address, "<c {r}/>")
    message = f"^bias!{address}: {PLACES[address]} must be a finite number, got a blank cell$"
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(bias_book)


def test_a_blank_rating_means_not_rated(bias_book):
    set_cell(bias_book, "G5", "<c {r}/>")
    ratings = scf.read_workbook(bias_book).ratings
    assert ratings.n_ratings == small_ratings().n_ratings - 1
    assert np.isnan(ratings.to_crosstab().loc[14, "Casino"])


@pytest.mark.parametrize("address", PLACES)
def test_a_date_instead_of_a_number(bias_book, address):
    book = openpyxl.load_workbook(bias_book)
    book["bias"][address].value = datetime.datetime(1999, 12, 31)
    book["bias"][address].number_format = "yyyy-mm-dd"
    book.save(bias_book)
    message = f"^bias!{address}: {PLACES[address]} must be .*, got the date or time 1999-12-31"
    with pytest.raises(scf.WorkbookError, match=message):
        scf.read_workbook(bias_book)


@pytest.mark.parametrize("text", ["NaN", "nan", "abc", "1.2.3", "0x10"])
def test_a_number_cell_that_holds_none(bias_book, text):
    # No program that keeps to the format writes this, so the sheet and the row must do.
    set_cell(bias_book, "B12", f"<c {{r}}><v>{text}</v></c>")
    with pytest.raises(
        scf.WorkbookError, match=r"damaged or not understood: sheet 'bias', after row (10|11): .*"
    ):
        scf.read_workbook(bias_book)


@pytest.mark.parametrize("declared", ["A1", "A1:B2", "Z90:Z99"])
def test_a_sheet_that_declares_a_wrong_size(small_book, declared):
    change = f'<dimension ref="{declared}"'.encode()
    edit(small_book, SHEET1, lambda xml: re.sub(rb'<dimension ref="[^"]*"', change, xml))
    assert same_model(scf.read_workbook(small_book), small_book)


def test_a_reason_of_several_lines_becomes_one():
    assert one_line(ValueError("no\n  such\tthing\n")) == "no such thing"
    assert one_line(ValueError()) == "ValueError"
    behind = ValueError("long\nstory")
    behind.__cause__ = KeyError("Sheet1")
    assert one_line(behind) == "'Sheet1'"


def test_an_empty_text_is_a_blank_cell(small_book):
    set_cell(small_book, "E2", TEXT % "")
    assert scf.read_workbook(small_book).ratings.n_ratings == small_ratings().n_ratings - 1


NO_ID = {
    "blank": ("<c {r}/>", "id is missing"),
    "empty text": (TEXT % "", "id is missing"),
    "error": ("<c {r} t='e'><v>#REF!</v></c>", "id must be text .*, got the error #REF!"),
    "boolean": ("<c {r} t='b'><v>0</v></c>", "id must be text or a whole number .*, got False"),
    "fraction": ("<c {r}><v>1.5</v></c>", "id must be text or a whole number .*, got 1.5"),
    "20 digits": (
        "<c {r}><v>12345678901234567890</v></c>",
        "id must be .* up to 9007199254740992, got 12345",
    ),
    "infinity": ("<c {r}><v>-1e999</v></c>", "id must be text or a whole number .*, got -inf"),
    "no result": ("<c {r}><f>A1</f></c>", "id must be .*, got a formula without a stored result"),
}


@pytest.mark.parametrize(("address", "which"), [("D3", "user"), ("F1", "item")])
@pytest.mark.parametrize("kind", NO_ID)
def test_an_id_that_is_none(small_book, address, which, kind):
    element, message = NO_ID[kind]
    set_cell(small_book, address, element)
    with pytest.raises(scf.WorkbookError, match=f"^dotprod!{address}: {which} {message}"):
        scf.read_workbook(small_book)


@pytest.mark.parametrize(
    ("address", "element", "message"),
    [
        ("D4", "<c {r}><v>11</v></c>", "dotprod!D4: user id 11 stands there twice"),
        ("D4", "<c {r}><v>11.0</v></c>", "dotprod!D4: user id 11 stands there twice"),
        ("F1", TEXT % "Alien", "dotprod!F1: item id 'Alien' stands there twice"),
    ],
)
def test_an_id_that_stands_there_twice(small_book, address, element, message):
    set_cell(small_book, address, element)
    with pytest.raises(scf.WorkbookError, match=f"^{message}$"):
        scf.read_workbook(small_book)


def test_the_number_1_and_the_text_1_are_one_id_where_ids_are_text(small_book):
    set_cell(small_book, "D2", TEXT % "12")  # D3 holds the number 12
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!D3: user id '12' stands there twice$"):
        scf.read_workbook(small_book)


def test_a_text_that_looks_like_an_error_is_an_id(small_book):
    set_cell(small_book, "F1", TEXT % "#N/A")
    assert scf.read_workbook(small_book).ratings.item_ids.tolist() == ["Alien", "#N/A", "Casino"]


# --- workbooks whose results are not there, or not right ---------------------------------


def test_formulas_without_stored_results(small_book):
    openpyxl.load_workbook(small_book).save(small_book)  # which drops all results
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book, digits=15)
    assert model.objective is None
    assert np.isnan(model.stored_predictions).all()
    with pytest.raises(
        scf.WorkbookError, match=r"^dotprod!E11: no number is stored .* save it and check again$"
    ):
        scf.check_workbook(small_book)


def test_a_loss_without_a_stored_result(small_book):
    edit(small_book, SHEET1, lambda xml: re.sub(rb"(SQRT[^<]*</f>)<v>[^<]*</v>", rb"\1", xml))
    assert scf.read_workbook(small_book).objective is None
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!G16: no number is stored there"):
        scf.check_workbook(small_book)


@pytest.mark.parametrize("element", ["<c {r} t='e'><f>X</f><v>#NAME?</v></c>", "<c {r}/>"])
def test_a_prediction_without_a_number(small_book, element):
    set_cell(small_book, "F12", element)
    assert same_model(scf.read_workbook(small_book), small_book)
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!F12: no number is stored"):
        scf.check_workbook(small_book)


def test_a_formula_overwritten_by_a_number_is_found(small_book):
    right = stored(small_book, "F11")
    set_cell(small_book, "F11", f"<c {{r}}><v>{right + 0.01!r}</v></c>")
    assert same_model(scf.read_workbook(small_book), small_book)
    [check] = scf.check_workbook(small_book)
    assert not check.ok
    assert check.worst_cell == "F11"
    assert check.max_difference == pytest.approx(0.01)


@pytest.mark.parametrize("cells", ["E11 F11 G11", "E14 F14 G14", "E11 E12 E13 E14"])
def test_formulas_of_a_whole_user_or_item_overwritten_by_numbers(small_book, cells):
    # "Paste values" over a row or column at the edge: the objective still counts it.
    for address in cells.split():
        set_cell(small_book, address, f"<c {{r}}><v>{stored(small_book, address) + 1}</v></c>")
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    [check] = scf.check_workbook(small_book)
    assert check.cells == 13
    assert check.worst_cell in cells.split()
    assert check.max_difference == pytest.approx(1)


def test_a_formula_dragged_too_far_is_told(small_book):
    set_cell(small_book, "E15", '<c {r}><f>IF(E6="",0,MMULT($B15:$C15,E$8:E$9))</f></c>')
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!D6: user id is missing$"):
        scf.read_workbook(small_book)


# --- other spellings of the same formulas -------------------------------------------------

MMULT = re.compile(r"MMULT\([^)]*\)")
SPELLINGS = {
    "as Excel shows it": lambda f: f.replace("MMULT", "@MMULT"),
    "as Excel stores that": lambda f: MMULT.sub(r"_xlfn.SINGLE(\g<0>)", f),
    "ISBLANK": lambda f: re.sub(r'([A-Z]\d+)="",', r"ISBLANK(\1),", f),
    "not ISBLANK": lambda f: re.sub(r'IF\((\w+)="",0,(.*)\)$', r"IF(NOT(ISBLANK(\1)),\2,0)", f),
    "a number": lambda f: re.sub(r'IF\((\w+)="",0,(.*)\)$', r"IF(ISNUMBER(\1),\2,0)", f),
    "the other way round": lambda f: re.sub(r'IF\((\w+)="",0,(.*)\)$', r'IF(\1<>"",\2,0)', f),
    "yoda": lambda f: re.sub(r'(\w+)="",', r'""=\1,', f),
    "left out the 0": lambda f: f.replace('"",0,', '"",,'),
    "brackets": lambda f: re.sub(r"MMULT.*\)(?=\))|(?<=0,)MMULT.*(?=\)$)", r"(\g<0>)", f),
    "lower case": str.lower,
    "spaces and line breaks": lambda f: re.sub(r"([(,:])", " \\1\n  ", f),
    "all dollars": lambda f: re.sub(r"\$?\b([A-Z]+)\$?(\d+)", r"$\1$\2", f),
    "no dollars": lambda f: f.replace("$", ""),
}  # fmt: skip


@pytest.mark.parametrize("bias", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_formulas_are_understood_however_they_are_spelled(
    small_book, bias_book, tmp_path, spelling, bias
):
    path = bias_book if bias else small_book
    respell_predictions(path, SPELLINGS[spelling])
    model = scf.read_workbook(path)
    assert same_model(model, path, bias=bias)
    assert all(check.ok for check in scf.check_workbook(path))
    # and other embeddings go where they belong, with the results that follow
    halves = model.parameters.unpack(model.parameters.pack() / 2)
    scf.update_workbook(model, halves, tmp_path / "halves.xlsx")
    assert scf.read_workbook(tmp_path / "halves.xlsx").parameters.equals(halves)
    assert all(check.ok for check in scf.check_workbook(tmp_path / "halves.xlsx"))


def biases_first(formula):
    """E$8+$A12+MMULT(...) instead of MMULT(...)+E$8+$A12."""
    return re.sub(r"(MMULT\([^)]*\))\+([^)]*)", r"\2+\1", formula)


def biases_outside(formula):
    """As in the published workbook: blank cells show the sum of the biases."""
    return re.sub(r"(MMULT\([^)]*\))(\+[^)]*)\)", r"\1)\2", formula)


def test_biases_in_another_order(bias_book):
    respell_predictions(bias_book, biases_first)
    assert same_model(scf.read_workbook(bias_book), bias_book, bias=True)
    assert scf.check_workbook(bias_book)[0].ok


def shown_in_blanks(path, function):
    """What update_workbook stores in the predictions of the four cells without a rating."""
    model = scf.read_workbook(path)
    out = Path("out.xlsx")
    scf.update_workbook(model, model.parameters, out, overwrite=True)
    assert all(check.ok for check in scf.check_workbook(out))
    p = model.parameters
    top = model.layout.predictions
    for u, row in enumerate(RATINGS):
        for i, rating in enumerate(row):
            if rating is None:
                assert stored(out, top.cell(u, i)) == pytest.approx(function(p, u, i), abs=1e-12)
            else:
                expected = p.predict(u, i)
                assert stored(out, top.cell(u, i)) == pytest.approx(float(expected), abs=1e-12)


def test_biases_outside_the_if_show_in_blank_cells(bias_book):
    respell_predictions(bias_book, biases_outside)
    shown_in_blanks(bias_book, lambda p, u, i: p.user_bias[u] + p.item_bias[i])


def test_without_an_if_blank_cells_show_predictions(small_book, bias_book):
    for path in (small_book, bias_book):
        respell_predictions(path, lambda f: re.sub(r'IF\(\w+="",0,(.*)\)$', r"\1", f))
        shown_in_blanks(path, lambda p, u, i: float(p.predict(u, i)))


@pytest.mark.parametrize("shown", ['""', '"-"', "NA()"])
def test_an_if_that_shows_no_number_in_blank_cells(small_book, shown):
    # The stored text or error is not ours to replace by a number.
    respell_predictions(small_book, lambda f: f.replace('"",0,', f'"",{shown},'))
    for address in ("G11", "F12", "E13"):
        set_cell(small_book, address, f"<c {{r}} t='str'><f>IF({address})</f><v>-</v></c>")
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    scf.update_workbook(model, model.parameters, Path("out.xlsx"))
    assert [stored("out.xlsx", address) for address in ("G11", "F12", "E13")] == ["-"] * 3
    [check] = scf.check_workbook("out.xlsx")
    assert check.ok
    assert check.cells == 9 + 1  # the rated cells and the loss


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[:-1] + "+3.5)",  # a global mean
        lambda f: f[:-1] + "+$A$1)",  # a global mean in a cell
        lambda f: f.replace("MMULT", "2*MMULT"),
        lambda f: f"ROUND({f},1)",
        lambda f: re.sub(r"(MMULT\([^)]*\))", r"5/(1+EXP(-\1))", f),  # a sigmoid
        lambda f: f.replace("$B", "embeddings!$B"),  # on another sheet
        lambda f: re.sub(r"IF\(", "IF(data!", f),  # ratings on another sheet
        lambda f: re.sub(r"(MMULT\([^)]*\))", r"\1-\1", f),
        lambda f: re.sub(r"(MMULT\([^)]*\))", r"\1+E$8", f),  # half of the biases
    ],
)
def test_a_formula_that_computes_something_else_is_no_prediction(small_book, change):
    # To optimise the wrong function silently would be worse than not to understand.
    respell_predictions(small_book, change)
    with pytest.raises(scf.WorkbookError, match=r"no model found \(predictions such as =IF"):
        scf.read_workbook(small_book)


# --- other objectives ---------------------------------------------------------------------


def small_sse():
    """Sum of squared errors of `small_book`, by a loop."""
    p, sse = small_parameters(), 0.0
    for u, row in enumerate(RATINGS):
        for i, rating in enumerate(row):
            if rating is not None:
                prediction = sum(p.user_factors[u][k] * p.item_factors[i][k] for k in range(2))
                sse += (rating - prediction) ** 2
    return sse


OBJECTIVES = {
    "SQRT(SUMXMY2(E2:G5,E11:G14)/COUNT(E2:G5)) ": lambda sse: (sse / 9) ** 0.5,
    "SQRT(SUMXMY2(E2:G5,E11:G14))": lambda sse: sse**0.5,  # an early edition, no COUNT
    "SUMXMY2(E2:G5,E11:G14)/COUNT(E2:G5)": lambda sse: sse / 9,
    "SUMXMY2(E2:G5,E11:G14)": lambda sse: sse,
    "SQRT(SUMXMY2(E11:G14,E2:G5)/COUNT(E2:G5))": lambda sse: (sse / 9) ** 0.5,
    "sqrt( sumxmy2($E$2:$G$5, $E$11:$G$14) / count($E$2:$G$5) )": lambda sse: (sse / 9) ** 0.5,
}


@pytest.mark.parametrize("formula", OBJECTIVES)
def test_the_objective_cell_keeps_its_own_formula(small_book, formula):
    respell(small_book, lambda f: formula if "SUMXMY2" in f else f)
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    scf.update_workbook(model, model.parameters, "out.xlsx")
    assert stored("out.xlsx", "G16") == pytest.approx(OBJECTIVES[formula](small_sse()), rel=1e-13)
    [check] = scf.check_workbook("out.xlsx")
    assert check.ok
    assert check.loss_checked


@pytest.mark.parametrize(
    "formula",
    [
        "SQRT(SUMXMY2(E2:G5,E11:G14)/9)",  # would be wrong as soon as a rating is added
        "SQRT(SUMXMY2(E2:G5,E11:G14)/COUNT(E11:G14))",  # counts the zeros too
        "SQRT(SUMXMY2(E2:G4,E11:G13)/COUNT(E2:G4))",  # forgets a user
        "AVERAGE(E11:G14)",
    ],
)
def test_an_objective_that_is_not_understood_is_neither_compared_nor_written(small_book, formula):
    respell(small_book, lambda f: formula if "SUMXMY2" in f else f)
    set_cell(small_book, "G16", f"<c {{r}}><f>{formula}</f><v>77</v></c>")
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    assert model.objective == 77
    [check] = scf.check_workbook(small_book)
    assert check.ok
    assert not check.loss_checked
    assert check.cells == 12
    scf.update_workbook(model, model.parameters, "out.xlsx")
    assert stored("out.xlsx", "G16") == 77


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: re.sub(rb"<definedNames>.*</definedNames>", b"", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1#REF!", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1dotprod!#REF!", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1dotprod!$A$1", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1'dotprod'!$G$16", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\1dotprod!my_loss", xml),
        lambda xml: re.sub(rb'(name="solver_opt"[^>]*>)[^<]*', rb"\g<1>42", xml),
    ],
    ids=["none", "#REF!", "empty", "sheet!#REF!", "another cell", "quoted", "a name", "a number"],
)
def test_solver_names_that_are_missing_or_broken(small_book, change):
    edit(small_book, WORKBOOK, change)
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    assert model.objective == pytest.approx((small_sse() / 9) ** 0.5)
    assert scf.check_workbook(small_book)[0].ok


def test_of_two_losses_the_one_solver_is_told_counts(small_book):
    # An SSE above the RMSE; Solver's objective is the RMSE.
    set_cell(small_book, "G15", "<c {r}><f>SUMXMY2(E2:G5,E11:G14)</f><v>1</v></c>")
    assert scf.read_workbook(small_book).objective == pytest.approx((small_sse() / 9) ** 0.5)


# --- the same model in other places -------------------------------------------------------


def move(source, target, place):
    """Copy a workbook cell by cell to where `place(row, column)` says, formulas included."""

    def moved(address):
        row, column = place(*cell_position(address))
        return cell_address(row, column)

    def rewritten(formula):
        formula = formula.replace("$", "")
        return re.sub(r"\b[A-Z]{1,2}[1-9]\d*\b", lambda match: moved(match[0]), formula)

    old = openpyxl.load_workbook(source)
    new = openpyxl.Workbook()
    sheet = new.active
    sheet.title = "moved here"
    for row in old.worksheets[0].iter_rows():
        for cell in row:
            if cell.value is not None:
                is_formula = cell.data_type == "f"
                value = rewritten(cell.value) if is_formula else cell.value
                sheet[moved(cell.coordinate)].value = value
    new.save(target)


MOVES = {
    "down and right": lambda row, column: (row + 7, column + 30),
    "a column inserted after the first": lambda row, column: (row, column + (column > 1)),
    "a column inserted beside the user ids": lambda row, column: (row, column + (column > 4)),
    "three columns beside the user ids": lambda row, column: (row, column + 3 * (column > 4)),
    "a row inserted below the item ids": lambda row, column: (row + (row > 1), column),
    "a row inserted below the ratings": lambda row, column: (row + (row > 5), column),
    "a row inserted above the predictions": lambda row, column: (row + (row > 10), column),
}  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_a_model_is_found_wherever_it_stands(small_book, bias_book, tmp_path, name, bias):
    path = tmp_path / "moved.xlsx"
    move(bias_book if bias else small_book, path, MOVES[name])
    model = scf.read_workbook(path)
    assert model.sheet == "moved here"
    assert same_model(model, path, bias=bias, digits=15)
    scf.update_workbook(model, model.parameters, tmp_path / "filled.xlsx")
    [check] = scf.check_workbook(tmp_path / "filled.xlsx")
    assert check.ok
    assert check.loss_checked
    assert check.cells == 13


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        (lambda row, column: (row, column + (column > 5)), "F1: item"),
        (lambda row, column: (row + (row in (4, 5)) + (row > 12), column), "D4: user"),
    ],
)
def test_a_blank_column_or_row_inside_the_table_is_told(small_book, tmp_path, place, missing):
    move(small_book, tmp_path / "gap.xlsx", place)
    with pytest.raises(scf.WorkbookError, match=f"^moved here!{missing} id is missing$"):
        scf.read_workbook(tmp_path / "gap.xlsx")


def test_sheet_names_of_every_kind(small_book):
    name = "Peter's & Ann's <\"new\"> Übersicht!"
    edit(
        small_book,
        WORKBOOK,
        lambda xml: re.sub(rb"<definedNames>.*</definedNames>", b"", xml).replace(
            b'name="dotprod"', f'name="{html.escape(name)}"'.encode()
        ),
    )
    model = scf.read_workbook(small_book)
    assert model.sheet == name
    scf.update_workbook(model, model.parameters, "out.xlsx")
    assert same_model(scf.read_workbook("out.xlsx", name), Path("out.xlsx"))
    set_cell(small_book, "B11", TEXT % "?")
    with pytest.raises(scf.WorkbookError, match=f"^{re.escape(name)}!B11: embedding must be"):
        scf.read_workbook(small_book)


# --- only the cells change ----------------------------------------------------------------


def masked(xml, addresses):
    """A sheet's XML with the elements of some cells blotted out."""
    for address in addresses:
        xml, count = re.subn(
            rb'<((?:\w+:)?)c r="%s"[^>]*?(?:/>|>.*?</\1c>)' % address.encode(), b"[cell]", xml
        )
        assert count == 1, address
    return xml


def changed_cells(layout):
    blocks = [layout.user_factors, layout.item_factors, layout.predictions, layout.loss]
    blocks += layout.bias_blocks or ()
    return [address for block in blocks for row in block.addresses() for address in row]


def error_cells(layout):
    """Where our sheets have the error of each user and, in the next row, of each movie."""
    *_, last = rows = layout.predictions.addresses()
    places = [cell_position(address) for address in last]
    beside = [cell_position(row[-1]) for row in rows]
    return [cell_address(r, c + 1) for r, c in beside] + [cell_address(r + 1, c) for r, c in places]


def assert_only_cells_changed(before, after, sheet_part, layout, *, ours=True):
    old, new = parts(before), parts(after)
    assert list(old) == list(new)
    different = {name for name in old if old[name] != new[name]}
    assert sheet_part in different
    assert different <= {sheet_part, WORKBOOK}
    full_calc = rb' fullCalcOnLoad="1"'
    assert old[WORKBOOK] == new[WORKBOOK] or full_calc not in old[WORKBOOK]
    assert old[WORKBOOK].replace(full_calc, b"") == new[WORKBOOK].replace(full_calc, b"")
    assert full_calc in new[WORKBOOK]
    cells = changed_cells(layout) + error_cells(layout) * ours
    assert masked(old[sheet_part], cells) == masked(new[sheet_part], cells)


def test_charts_comments_names_and_formats_survive(bias_book, tmp_path):
    rich = tmp_path / "rich.xlsx"
    book = openpyxl.load_workbook(bias_book)
    sheet = book["bias"]
    sheet["E12"].comment = Comment("why so low? <&>", "Ann & Bob")
    sheet["B12"].hyperlink = "https://example.org/?a=1&b=2"
    sheet["K1"] = "=SUM(E12:G15)*2"
    sheet.merge_cells("I1:J2")
    book.defined_names["my_rate"] = DefinedName("my_rate", attr_text="bias!$B$12")
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=5, min_row=12, max_row=15))
    sheet.add_chart(chart, "M3")
    book.create_sheet("other")["A1"] = "=bias!G17"
    book.save(rich)
    names = parts(rich)
    assert any("chart" in name for name in names)
    assert any("comment" in name for name in names)

    model = scf.read_workbook(rich)
    new = model.parameters.unpack(model.parameters.pack() + 1)
    scf.update_workbook(model, new, tmp_path / "out.xlsx")
    assert_only_cells_changed(rich, tmp_path / "out.xlsx", SHEET1, model.layout)
    again = scf.read_workbook(tmp_path / "out.xlsx")
    assert again.parameters.equals(new)
    assert again.ratings.equals(model.ratings)
    assert openpyxl.load_workbook(tmp_path / "out.xlsx")["bias"]["K1"].value == "=SUM(E12:G15)*2"


@pytest.mark.parametrize("result", ["t='e'|#VALUE!", "t='str'|n/a", "t='b'|1"])
def test_errors_and_texts_that_formulas_showed_become_numbers(small_book, result):
    kind, value = result.split("|")
    right = {address: stored(small_book, address) for address in ("E11", "G16")}
    for address in right:
        formula = openpyxl.load_workbook(small_book)["dotprod"][address].value
        formula = html.escape(formula.removeprefix("="), quote=False)
        set_cell(small_book, address, f"<c {{r}} {kind}><f>{formula}</f><v>{value}</v></c>")
    model = scf.read_workbook(small_book)
    assert model.objective is None
    scf.update_workbook(model, model.parameters, "out.xlsx")
    for address in right:
        assert stored("out.xlsx", address) == pytest.approx(right[address], abs=1e-15)


def test_excel_is_told_to_compute_even_where_it_was_told_not_to(small_book):
    edit(
        small_book, WORKBOOK, lambda xml: re.sub(b'fullCalcOnLoad="1"', b'fullCalcOnLoad="0"', xml)
    )
    model = scf.read_workbook(small_book)
    scf.update_workbook(model, model.parameters, "out.xlsx")
    assert re.findall(rb'fullCalcOnLoad="."', parts("out.xlsx")[WORKBOOK]) == [
        b'fullCalcOnLoad="1"'
    ]


def prefixed(xml):
    """The same XML with a namespace prefix on every element, as some programs write it."""
    xml = re.sub(rb"<(/?)(?=[a-zA-Z])", rb"<\1x:", xml)
    return xml.replace(b' xmlns="', b' xmlns:x="')


def test_elements_with_a_namespace_prefix(small_book, tmp_path):
    edit(small_book, SHEET1, prefixed)
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    new = model.parameters.unpack(model.parameters.pack() * 3)
    scf.update_workbook(model, new, tmp_path / "out.xlsx")
    assert_only_cells_changed(small_book, tmp_path / "out.xlsx", SHEET1, model.layout)
    assert scf.read_workbook(tmp_path / "out.xlsx").parameters.equals(new)
    assert scf.check_workbook(tmp_path / "out.xlsx")[0].ok


def test_attributes_of_cells_survive_with_their_escapes(small_book):
    set_cell(
        small_book, "B11", '<c {r} s="1" ph="1" note="a &lt;&amp;&gt; &quot;b&quot;"><v>1</v></c>'
    )
    model = scf.read_workbook(small_book)
    scf.update_workbook(model, model.parameters, "out.xlsx")
    [cell] = cell_pattern("B11").findall(parts("out.xlsx")[SHEET1])
    assert b' s="1" ph="1" note=' in cell
    assert b"a &lt;&amp;&gt; " in cell
    assert scf.read_workbook("out.xlsx").parameters.equals(model.parameters)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_sheets_in_another_encoding(small_book, tmp_path, encoding):
    # Excel writes UTF-8 only. What others write is changed rightly or not at all.
    declared = {"utf-8-sig": "utf-8"}.get(encoding, encoding)

    def recode(xml):
        head = f'<?xml version="1.0" encoding="{declared}"?>'
        body = re.sub(r"^<\?xml[^>]*\?>", "", xml.decode()).replace(
            "blue: ratings", "blau: ¾ Ärger"
        )
        return (head + body).encode(encoding)

    edit(small_book, SHEET1, recode)
    model = scf.read_workbook(small_book)
    assert same_model(model, small_book)
    out = tmp_path / "out.xlsx"
    if encoding == "utf-16":
        with pytest.raises(scf.WorkbookError, match="sheet 'dotprod' is in UTF-16: open and save"):
            scf.update_workbook(model, model.parameters, out)
        assert not out.exists()
    else:
        scf.update_workbook(model, model.parameters, out)
        assert same_model(scf.read_workbook(out), out)


def test_embeddings_that_are_formulas_are_read_but_not_overwritten(small_book, tmp_path):
    # The lesson's =RAND(). To drop a formula would also need its entry in Excel's calculation
    # chain dropped, or Excel calls the file corrupt.
    set_cell(small_book, "B11", "<c {r}><f>RAND()</f><v>0.25</v></c>")
    model = scf.read_workbook(small_book)
    assert model.parameters.user_factors[0, 0] == 0.25
    message = r"^dotprod!B11: an embedding must be a plain number .* paste them as values$"
    with pytest.raises(scf.WorkbookError, match=message):
        scf.update_workbook(model, model.parameters, tmp_path / "out.xlsx")
    assert not (tmp_path / "out.xlsx").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_numbers_that_no_cell_can_hold_are_not_written(small_book, tmp_path, value):
    model = scf.read_workbook(small_book)
    p = model.parameters
    with (
        np.errstate(over="ignore"),
        pytest.raises(scf.WorkbookError, match=r"^dotprod!\w+: no cell can hold (nan|inf)$"),
    ):
        scf.update_workbook(model, p.unpack(np.full(p.n_params, value)), tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == [small_book]


@pytest.mark.parametrize(
    ("part", "megabytes"),
    [(WORKBOOK, 3), ("xl/styles.xml", 4), ("xl/_rels/workbook.xml.rels", 2)],
)
def test_lists_too_long_to_be_read_are_refused(small_book, part, megabytes):
    # Random, as what can be compressed well is refused for that.
    noise = np.random.default_rng(0).integers(97, 123, megabytes * 2**20, np.uint8).tobytes()
    edit(small_book, part, lambda xml: xml + b"<!-- " + noise + b" -->")
    message = assert_cheap(lambda: scf.read_workbook(small_book))
    assert re.search(rf"{part} has {megabytes}\.0 MB, more than [\d.]+: refused", message)


def test_changing_cells_of_fifty_thousand_ranges_are_refused(small_book):
    ranges = b",".join(b"dotprod!$A$%d" % k for k in range(1, 50_000))
    edit(small_book, WORKBOOK, lambda xml: re.sub(rb"dotprod!\$E\$8[^<]*", ranges, xml))
    message = assert_cheap(lambda: scf.read_workbook(small_book))
    assert "sheet 'dotprod': solver_adj has 838,876" in message


def test_sheets_that_share_their_content_are_refused(bias_book):
    book = openpyxl.load_workbook(bias_book)
    book.create_sheet("other")["A1"] = 1
    book.save(bias_book)
    relations = "xl/_rels/workbook.xml.rels"
    edit(bias_book, relations, lambda xml: xml.replace(b"sheet2.xml", b"sheet1.xml"))
    with pytest.raises(scf.WorkbookError, match="sheets 'bias' and 'other' have one content"):
        scf.read_workbook(bias_book)


def test_a_single_embedding_without_a_number_is_named(small_book):
    model = scf.read_workbook(small_book)
    theta = model.parameters.pack()
    theta[-1] = np.nan
    with pytest.raises(scf.WorkbookError, match=r"^dotprod!G9: no cell can hold nan$"):
        scf.update_workbook(model, model.parameters.unpack(theta), "out.xlsx")


# --- the published workbook ---------------------------------------------------------------

PARTS = {"dotprod": "xl/worksheets/sheet1.xml", "bias": "xl/worksheets/sheet4.xml"}


@pytest.mark.parametrize("sheet", ["dotprod", "bias"])
def test_the_published_workbook_keeps_all_but_its_numbers(reference_workbook, tmp_path, sheet):
    model = scf.read_workbook(reference_workbook, sheet)
    new = model.parameters.unpack(model.parameters.pack() * 1.01)
    scf.update_workbook(model, new, tmp_path / "out.xlsx")
    names = parts(tmp_path / "out.xlsx")
    assert sum("pivotTables/pivotTable" in name for name in names) == 5
    assert_only_cells_changed(
        reference_workbook, tmp_path / "out.xlsx", PARTS[sheet], model.layout, ours=False
    )
    checks = {check.sheet: check for check in scf.check_workbook(tmp_path / "out.xlsx")}
    assert list(checks) == ["dotprod", "bias"]
    assert all(check.ok for check in checks.values())


@pytest.mark.slow
def test_libreoffice_computes_our_numbers_from_the_patched_published_workbook(
    reference_workbook, tmp_path
):
    model = scf.read_workbook(reference_workbook, "dotprod")
    new = model.parameters.unpack(model.parameters.pack() * 1.01)
    patched = tmp_path / "patched.xlsx"
    scf.update_workbook(model, new, patched)
    [saved] = recalculate("libreoffice", [patched], tmp_path)
    computed, ours = scf.read_workbook(saved, "dotprod"), scf.read_workbook(patched, "dotprod")
    assert ours.objective > model.objective + 0.005  # so it is not the old loss we compare
    assert computed.objective == pytest.approx(ours.objective, abs=1e-9)
    np.testing.assert_allclose(
        computed.stored_predictions, ours.stored_predictions, rtol=0, atol=1e-9
    )


# --- anything at all ------------------------------------------------------------------------

SCRAPS = [
    b"<", b">", b'"', b"&", b"</c>", b"<c>", b"<v>", b"</v>", b"<row>", b"</row>", b"<f>", b"</f>",
    b"t='s'", b"<v>99</v>", b"-", b"E", b"1", b"\x00", b"\xff", b"r='A1'", b"$", b":", b"0",
    b"<f t='shared' si='0'/>", b"<mergeCell/>", b"XFD1048576", b"ZZZ9999999",
]  # fmt: skip


@contextmanager
def one_clear_line():
    """What happens inside ends well or in a WorkbookError of one line; all else is a crash."""
    try:
        yield
    except scf.WorkbookError as error:
        message = str(error)
    else:
        message = "all went well"
    assert message
    assert "\n" not in message


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_damaged_xml_is_read_or_refused_but_never_crashes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzzed")
    path, out = folder / "fuzzed.xlsx", folder / "out.xlsx"
    part = data.draw(st.sampled_from([SHEET1, SHEET1, SHEET1, WORKBOOK, "xl/styles.xml"]))
    xml = parts(io.BytesIO(written(bias=False)))[part]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(xml)))
        stop = start + data.draw(st.integers(0, 12))
        xml = xml[:start] + data.draw(st.sampled_from([b"", *SCRAPS])) + xml[stop:]
    save(path, parts(io.BytesIO(written(bias=False))) | {part: xml})
    with one_clear_line():
        model = scf.read_workbook(path)
        scf.update_workbook(model, model.parameters, out)
        assert scf.read_workbook(out).parameters.equals(model.parameters)
    assert {file.name for file in folder.iterdir()} <= {"fuzzed.xlsx", "out.xlsx"}


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=8))
def test_damaged_archives_are_read_or_refused_but_never_crash(tmp_path_factory, place, noise):
    path = tmp_path_factory.mktemp("noise") / "noise.xlsx"
    content = bytearray(written(bias=False))
    start = int(place * len(content))
    content[start : start + len(noise)] = noise
    path.write_bytes(content)
    with one_clear_line():
        scf.read_workbook(path)


def test_an_archive_of_a_later_zip_version(small_book):
    # Python's zipfile raises NotImplementedError there, no BadZipFile.
    content = bytearray(small_book.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 6] = 99  # "version needed to extract" of the first part: 9.9
    small_book.write_bytes(content)
    with pytest.raises(scf.WorkbookError, match=r"is not an .xlsx workbook$"):
        scf.read_workbook(small_book)
