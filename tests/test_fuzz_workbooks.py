"""Thousands of damaged workbooks: each is read rightly or refused with a `WorkbookError`.

Every mutant is a small workbook of our own with one thing changed, made from its number
alone, so that the same numbers give the same files everywhere. "Rightly" is judged by a
reader of cells that shares no code with the library: `zipfile` and `xml.etree` only.

    SHALLOW_CF_FUZZ=20000 python -m pytest tests/test_fuzz_workbooks.py   more mutants
    SHALLOW_CF_FUZZ=8000:9000 python -m pytest tests/test_fuzz_workbooks.py   only these
    SHALLOW_CF_FUZZ_ONLY=1234 python -m pytest tests/test_fuzz_workbooks.py   just that one
"""

import contextlib
import io
import itertools
import math
import os
import posixpath
import re
import time
import zipfile
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pytest

import shallow_cf as scf
from shallow_cf.solvers import grg
from shallow_cf.workbook.check import check_model
from shallow_cf.workbook.reader import read_all

SEED = 20190415
#: Mutants of the default run, and of each of the slow test's parts.
DEFAULT, PART, N_PARTS = 24, 200, 10
SLOWEST = 5.0  # seconds of computing that a single call may take
WORKBOOK, RELATIONS, TYPES = "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "[Content_Types].xml"
SHEETS = {"dotprod": "xl/worksheets/sheet1.xml", "bias": "xl/worksheets/sheet2.xml"}
FOLLOWING = {"one_hot", "embedding", "gradients", "sgd", "factors", "new_user"}
LAYOUTS = {
    "dotprod": {
        "user_ids": "D2:D5", "item_ids": "E1:G1", "ratings": "E2:G5",
        "item_factors": "E8:G9", "user_factors": "B11:C14", "predictions": "E11:G14",
        "loss": "G16",
    },
    "bias": {
        "user_ids": "D2:D5", "item_ids": "E1:G1", "ratings": "E2:G5",
        "item_bias": "E8:G8", "item_factors": "E9:G10", "user_bias": "A12:A15",
        "user_factors": "B12:C15", "predictions": "E12:G15", "loss": "G17",
    },
}  # fmt: skip


@cache
def small_model():
    """Ratings, and a model without and one with biases."""
    u, i = np.nonzero([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    stars = [4.0, 3.0, 5.0, 1.0, 4.5, 3.0, 2.0, 0.5, 5.0]
    ratings = scf.Ratings(np.array([11, 12, 13, 14]), np.array(["Alien", "Brazil", "Casino"]),
                          u, i, stars)  # fmt: skip
    return ratings, [scf.Parameters.random(4, 3, 2, bias=b, random_state=3) for b in (False, True)]


@cache
def base(teaching=False):
    """Name -> content of every part of a workbook that mutants start from."""
    ratings, models = small_model()
    path = Path("base.xlsx").absolute()
    scf.write_workbook(path, ratings, *models, sheets=None if teaching else ())
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    # Colours and named styles: reading them takes most of the time, and few mutants.
    styles = parts["xl/styles.xml"]
    for pattern, new in {
        rb"<colors>.*</colors>": b"",
        rb"<cellStyleXfs [^>]*>(<xf .*?(?:/>|</xf>)).*?</cellStyleXfs>":
            rb'<cellStyleXfs count="1">\1</cellStyleXfs>',
        rb"<cellStyles [^>]*>.*</cellStyles>":
            b'<cellStyles count="1"><cellStyle name="Normal" xfId="0"/></cellStyles>',
        rb'(?<= xfId=")\d+': b"0",
    }.items():  # fmt: skip
        styles = re.sub(pattern, new, styles, flags=re.DOTALL)
    return models_first(parts | {"xl/styles.xml": styles})


def models_first(parts):
    """The parts renamed so that those of the models have the names of `SHEETS`."""
    # Where lxml is installed openpyxl writes with it, and every sheet declares the namespace.
    declared = re.search(rb' xmlns:r="[^"]*"', parts[WORKBOOK])[0]
    workbook = parts[WORKBOOK].replace(declared, b"")
    workbook = workbook.replace(b"<workbook", b"<workbook" + declared, 1)
    parts = parts | {WORKBOOK: workbook}
    numbers = re.findall(r'<sheet name="(\w+)"', workbook.decode())
    order = sorted(range(len(numbers)), key=lambda k: numbers[k] not in SHEETS)
    names = {f"sheet{old + 1}.xml": f"sheet{new + 1}.xml" for new, old in enumerate(order)}

    def renamed(text):
        return re.sub(r"sheet\d+\.xml", lambda match: names[match[0]], text)

    parts = {renamed(name): content for name, content in parts.items()}
    lists = {part: renamed(parts[part].decode()).encode() for part in (RELATIONS, TYPES)}
    return parts | lists


def zipped(parts):
    """An archive; `parts` may be pairs, where a name stands there twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items() if isinstance(parts, dict) else parts:
            member = zipfile.ZipInfo(name, (2019, 4, 15, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return buffer.getvalue()


# --- an independent reader ----------------------------------------------------------------

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
DOUBLE = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class Cell(NamedTuple):
    """What one cell element says; `value` of a number is a float."""

    kind: str  # blank, number, text, boolean, error, date or nonsense
    value: object
    formula: str | None


BLANK = Cell("blank", None, None)


class Sheet(NamedTuple):
    """Address -> every cell element that claims it; solver name -> every text it has."""

    cells: dict
    names: dict

    def at(self, address):
        return self.cells.get(address, [BLANK])

    def formulas(self):
        return {a: {c.formula for c in cells} - {None} for a, cells in self.cells.items()
                if any(c.formula is not None for c in cells)}  # fmt: skip


def letters(column):
    text = ""
    while column:
        column, digit = divmod(column - 1, 26)
        text = chr(65 + digit) + text
    return text


def number_of(column):
    return sum((ord(letter) - 64) * 26**k for k, letter in enumerate(reversed(column)))


def addresses(area):
    """Rows of addresses of an area such as B2:C3."""
    corners = re.findall(r"([A-Z]+)(\d+)", area)
    (first, top), (last, bottom) = corners[0], corners[-1]
    columns = range(number_of(first), number_of(last) + 1)
    return [[f"{letters(c)}{r}" for c in columns] for r in range(int(top), int(bottom) + 1)]


def flat(area):
    return [address for row in addresses(area) for address in row]


def independent(content):
    """Sheet name -> `Sheet`, of the bytes of a workbook; without unreadable sheets."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        strings = []
        if "xl/sharedStrings.xml" in names:
            table = ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))
            strings = ["".join(t.text or "" for t in si.iter(f"{MAIN}t")) for si in table]
        targets = {}
        for relation in ElementTree.fromstring(archive.read(RELATIONS)):
            target = relation.get("Target", "")
            path = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
            targets[relation.get("Id")] = path
        root = ElementTree.fromstring(archive.read(WORKBOOK))
        sheets = {}
        for index, element in enumerate(root.iter(f"{MAIN}sheet")):
            solver = defaultdict(list)
            for defined in root.iter(f"{MAIN}definedName"):
                name = defined.get("name", "").lower()
                scope = (defined.get("localSheetId") or "").strip()
                if name.startswith("solver_") and scope.isdigit() and int(scope) == index:
                    solver[name].append(defined.text or "")
            part = targets.get(element.get(RELATION_ID))
            with contextlib.suppress(ElementTree.ParseError, ValueError):
                cells = cells_of(archive.read(part), strings) if part in names else {}
                sheets[element.get("name")] = Sheet(cells, solver)
        return sheets


def cells_of(xml, strings):
    found = defaultdict(list)
    row_number = 0
    for row in ElementTree.fromstring(xml).iter(f"{MAIN}row"):
        row_number = int(row.get("r", row_number + 1))
        column = 0
        for c in row.iter(f"{MAIN}c"):
            column += 1
            address = c.get("r") or f"{letters(column)}{row_number}"
            match = re.fullmatch(r"([A-Z]+)(\d+)", address)
            if match:
                column = number_of(match[1])
            found[address].append(cell_of(c, strings))
    return dict(found)


def cell_of(c, strings):
    kind, text, formula = c.get("t", "n"), c.findtext(f"{MAIN}v"), c.findtext(f"{MAIN}f")
    if kind == "inlineStr":
        text = "".join(t.text or "" for t in c.iter(f"{MAIN}t"))
        return Cell("text", text, formula)
    if not text:
        return Cell("blank", None, formula)
    if kind == "n":
        is_number = DOUBLE.fullmatch(text)
        return (
            Cell("number", float(text), formula) if is_number else Cell("nonsense", text, formula)
        )
    if kind == "s":
        known = text.strip().isdigit() and int(text) < len(strings)
        return (
            Cell("text", strings[int(text)], formula) if known else Cell("nonsense", text, formula)
        )
    kinds = {"b": "boolean", "e": "error", "d": "date"}
    return Cell(kinds.get(kind, "text"), text, formula)


# --- what a model must say ----------------------------------------------------------------


def shows(cell, value, *, blank_allowed=False):
    """Whether a number that was read is what the cell holds; NaN for a blank."""
    if math.isnan(value):
        return blank_allowed and (cell.kind == "blank" or cell[:2] == ("text", ""))
    return cell.kind == "number" and cell.value == value


def assert_same(sheet, block, table, what, *, blank_allowed=False):
    for row, values in zip(addresses(block), np.atleast_2d(table), strict=True):
        for address, value in zip(row, values, strict=True):
            cells = sheet.at(address)
            assert any(shows(c, value, blank_allowed=blank_allowed) for c in cells), (
                f"{what} {address}: read {value!r}, the file says {cells}"
            )


def as_ids(cells):
    """Each cell's value as an id of text: numbers are whole."""
    return {str(int(c.value)) if c.kind == "number" else c.value for c in cells
            if c.kind in ("number", "text")}  # fmt: skip


def assert_read_rightly(model, sheets):
    """Whether all that was read of a sheet stands in the file."""
    assert model.sheet in sheets, f"there is no sheet {model.sheet!r}"
    sheet, layout = sheets[model.sheet], model.layout
    places = {name: None if block is None else block.range()
              for name in LAYOUTS["bias"] if (block := getattr(layout, name)) or True}  # fmt: skip
    assert_right_places(sheet, places)
    p = model.parameters
    ratings = model.ratings.to_crosstab().to_numpy()
    assert_same(sheet, places["ratings"], ratings, "rating", blank_allowed=True)
    assert_same(sheet, places["user_factors"], p.user_factors, "embedding")
    assert_same(sheet, places["item_factors"], p.item_factors.T, "embedding")
    if p.biases is not None:
        assert_same(sheet, places["user_bias"], p.user_bias[:, None], "bias")
        assert_same(sheet, places["item_bias"], p.item_bias, "bias")
    for ids, block in ((model.ratings.user_ids, "user_ids"), (model.ratings.item_ids, "item_ids")):
        for value, address in zip(ids.tolist(), flat(places[block]), strict=True):
            assert str(value) in as_ids(sheet.at(address)), f"{block} {address}: read {value!r}"
    stored = np.ravel(model.stored_predictions)
    objective = math.nan if model.objective is None else model.objective
    results = list(zip(flat(places["predictions"]), stored, strict=True))
    if places["loss"] is not None:
        results.append((places["loss"], objective))
    for address, value in results:
        cells = sheet.at(address)
        numbers = {c.value for c in cells if c.kind == "number" and math.isfinite(c.value)}
        right = value in numbers or (math.isnan(value) and len(numbers) < len(cells))
        assert right, f"result {address}: read {value!r}, the file says {cells}"
    for name, text in model.solver_names.items():
        told = {t.replace(f"'{model.sheet}'!", "") for t in sheet.names[name]}
        told |= set(sheet.names[name])
        assert text in told or name.startswith("solver_rhs"), f"{name} is {text!r}"


@cache
def original():
    return independent(zipped(base()))


def assert_right_places(sheet, places):
    """Where most of the prediction formulas are the original's, all stands where it stood."""
    for name, before in original().items():
        expected = dict.fromkeys(places) | LAYOUTS[name]
        formulas, told = sheet.formulas(), before.formulas()
        areas = flat(expected["predictions"])
        same = [a for a in areas if formulas.get(a) == told[a]]
        labels = flat(expected["user_ids"]) + flat(expected["item_ids"])
        if len(same) < 9 or any(sheet.at(a) != before.at(a) for a in labels):
            continue
        if formulas != told:  # the damaged formula may be the loss, or one more prediction
            expected["loss"] = places["loss"]
        assert places == expected, f"{name} was found at {places}"


def assert_checked_rightly(model, check):
    """The largest difference, by a loop over the rated cells."""
    p, worst = model.parameters, 0.0
    for u, i in zip(model.ratings.user_idx, model.ratings.item_idx, strict=True):
        r_hat = sum(a * b for a, b in zip(p.user_factors[u], p.item_factors[i], strict=True))
        if p.biases is not None:
            r_hat += p.user_bias[u] + p.item_bias[i]
        worst = max(worst, abs(r_hat - model.stored_predictions[u, i]))
    assert check.max_difference >= worst * (1 - 1e-9) - 1e-9
    assert check.sheet == model.sheet


#: The root mean square error of one user or movie: ratings, their predictions.
ERROR = re.compile(
    r'IF\(COUNT\((?P<r>\w+:\w+)\)=0,"",SQRT\(SUMXMY2\((?P=r),(?P<p>\w+:\w+)\)/COUNT\((?P=r)\)\)\)'
)


def error_of(sheet, formula):
    """What an error cell must show, by a loop; None for another formula."""
    match = ERROR.fullmatch(formula or "")
    if match is None:
        return None
    cells = [[sheet.at(address)[0] for address in flat(match[name])] for name in "rp"]
    squares = [
        (float(r.value) - float(p.value)) ** 2
        for r, p in zip(*cells, strict=True)
        if r.kind == "number"
    ]
    return math.sqrt(sum(squares) / len(squares)) if squares else ""


def assert_updated_rightly(model, before, parameters, out, reported):
    """Other embeddings stand in the copy with what follows; nothing else differs."""
    after = independent(out.read_bytes())
    places = model.layout
    blocks = [places.user_factors, places.item_factors, *(places.bias_blocks or ())]
    p = parameters
    tables = [p.user_factors, p.item_factors.T]
    tables += [] if p.biases is None else [p.user_bias[:, None], p.item_bias]
    changed = {a for b in [*blocks, places.predictions] for a in flat(b.range())}
    changed |= set() if places.loss is None else {places.loss.range()}
    sheet = after[model.sheet]
    for block, table in zip(blocks, tables, strict=True):
        assert_same(sheet, block.range(), table, "written embedding")
    assert after.keys() - before.keys() == ({"answer_report"} if reported else set())
    assert before.keys() <= after.keys()
    for address in {*sheet.cells, *before[model.sheet].cells} - changed:
        old, new = before[model.sheet].at(address), sheet.at(address)
        if new != old and len(new) == 1 and (error := error_of(sheet, new[0].formula)) is not None:
            assert new[0].value == pytest.approx(error, rel=1e-12), f"error at {address}"
            old, new = [c.formula for c in old], [c.formula for c in new]
        assert new == old, f"{address} was changed"
    for name in before.keys() - {model.sheet}:
        for address in {*before[name].cells, *after[name].cells}:
            old, new = before[name].at(address), after[name].at(address)
            if name in FOLLOWING:  # new results, but of the same formulas
                old, new = (
                    [c if c.formula is None else c.formula for c in cells] for cells in (old, new)
                )
            assert new == old, f"{name}!{address} was changed"


# --- the mutants --------------------------------------------------------------------------

FAMILIES = {}


def family(function):
    FAMILIES[function.__name__.replace("_", " ")] = function
    return function


def pick(rng, choices):
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


def damaged(rng, content, scraps):
    """Bytes with one to three places damaged, and how."""
    notes = []
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(content) + 1))
        length = int(2 ** rng.uniform(0, 6))
        kind = pick(rng, ["flip", "truncate", "insert", "duplicate", "delete", "zero"])
        notes.append(f"{kind} {length} at {at}")
        head, piece, tail = content[:at], content[at : at + length], content[at + length :]
        if kind == "flip":
            mask = 1 << int(rng.integers(8))
            content = head + bytes(b ^ mask for b in piece[:1]) + piece[1:] + tail
        elif kind == "truncate":
            content = content[: max(at, 1)]
        elif kind == "insert":
            content = head + pick(rng, scraps) + piece + tail
        elif kind == "duplicate":
            content = head + piece + piece + tail
        else:
            content = head + (bytes(len(piece)) if kind == "zero" else b"") + tail
    return ", ".join(notes), content


NOISE = [b"\x00", b"\xff" * 4, b"PK\x03\x04", b"PK\x05\x06", b"PK\x01\x02", bytes(range(64))]
SCRAPS = [
    b"<", b">", b'"', b"&", b"</c>", b"<c>", b"<v>", b"</v>", b"<row>", b"</row>", b"<f>", b"</f>",
    b" t='s'", b"<v>99</v>", b"-", b"E", b"1", b"_", b"\x00", b"\xff", b" r='A1'", b"$", b":", b"0",
    b"<f t='shared' si='0'/>", b"<mergeCell/>", b"XFD1048576", b"ZZZ9999999", b"<!-- -->", b"&lt;",
    b"<![CDATA[3]]>", b"<?pi?>", b"\xef\xbb\xbf", b"<!DOCTYPE x>", b"<is><t>x</t></is>", b".",
    b"e9",
]  # fmt: skip


@family
def archive_bytes(rng, parts):
    return damaged(rng, zipped(parts), NOISE)


@family
def bytes_of_a_part(rng, parts):
    part = pick(rng, [*parts, *SHEETS.values(), *SHEETS.values(), WORKBOOK])
    what, content = damaged(rng, parts[part], SCRAPS)
    return f"{part}: {what}", parts | {part: content}


def cell_xml(parts, part, address):
    """The text of the part, and where in it the cell's element is."""
    text = parts[part].decode()
    match = re.search(rf'<c r="{address}"([^>]*?)(?:/>|>(.*?)</c>)', text)
    return text, match


def replaced(parts, part, text, match, new):
    return parts | {part: (text[: match.start()] + new + text[match.end() :]).encode()}


def any_cell(rng):
    sheet = pick(rng, SHEETS)
    block = pick(rng, LAYOUTS[sheet].values())
    return SHEETS[sheet], pick(rng, flat(block))


NUMBERS = [
    "", " ", "0", "-0", "-3.5", "4", "04", "+4", " 4 ", "4.", ".5", "1e0", "1E-300", "1e-400",
    "1e69", "1e71", "1e200", "1e999", "-1e999", "9" * 300, "9" * 400, "9" * 5000, "0." + "3" * 5000,
    "NaN", "nan", "inf", "-inf", "Infinity", "INF", "n/a", "#N/A", "1,5", "1.2.3", "1 2", "0x10",
    "1_0", "1_0.5", "\u0664", "\u0664.\u0665", "\uff14", "1e", "e1", "--1", "½", "true",
    "x" * 40_000, "1\n", "2019-04-15", "12345678901234567890", "4.9999999999999999999",
    "\u200b4", "&#10;", "=1+1",
]  # fmt: skip
TYPES_OF_CELLS = ["n", "s", "b", "e", "str", "inlineStr", "d", "", "zz", "N", " n"]


@family
def values(rng, parts):
    part, address = any_cell(rng)
    text, match = cell_xml(parts, part, address)
    value = pick(rng, NUMBERS)
    kind = pick(rng, ["", "", "", *(f' t="{t}"' for t in TYPES_OF_CELLS)])
    body = f"<v>{value}</v>"
    if "inlineStr" in kind:
        body = f"<is><t>{value}</t></is>"
    formula = re.search(r"<f>.*?</f>", match[0])
    if formula and rng.random() < 0.5:
        body = formula[0] + body
    new = f'<c r="{address}"{kind}>{body}</c>'
    return f"{part} {new[:99]}", replaced(parts, part, text, match, new)


@family
def types_and_styles(rng, parts):
    part, address = any_cell(rng)
    text, match = cell_xml(parts, part, address)
    element = match[0]
    if rng.random() < 0.6:
        index = pick(rng, ["0", "1", "7", "-1", "1.5", "", "4294967296", "x"])
        kind = pick(rng, TYPES_OF_CELLS)
        element = re.sub(r' t="\w*"', "", element)
        element = element.replace("<c ", f'<c t="{kind}" ', 1)
        if rng.random() < 0.5:
            element = re.sub(r"<v>.*?</v>", f"<v>{index}</v>", element)
    else:
        style = pick(rng, ["0", "6", "7", "99", "-1", "", "x", "4294967296", "1.0", "9" * 5000])
        element = re.sub(r' s="\d+"', f' s="{style}"', element)
    changed = replaced(parts, part, text, match, element)
    if rng.random() < 0.3:
        strings = "".join(f"<si><t>{t}</t></si>" for t in ("4.5", "", "Dune"))
        table = f'<sst xmlns="{MAIN[1:-1]}">{strings}</sst>'
        changed["xl/sharedStrings.xml"] = table.encode()
        changed[TYPES] = changed[TYPES].replace(
            b"</Types>",
            b'<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.'
            b'openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>',
        )
    return f"{part} {element[:99]}", changed


REFERENCES = [
    "ZZZ99999999", "XFD1048576", "XFE1", "A1048577", "A0", "A", "1", "", "e2", "$E$2", "E2:F3",
    "AAAA1", "A1", "E2", "F3", "B11", "B12", "G16", "E11", "E-1", "R1C1", "É2", "Sheet!A1", "A01",
    "A" * 5000,
]  # fmt: skip


@family
def references(rng, parts):
    part = pick(rng, SHEETS.values())
    text = parts[part].decode()
    kind = pick(rng, ["cell", "no cell", "row", "no row", "twice", "swap", "split", "rows", "far"])
    cell = pick(rng, re.finditer(r'<c r="([A-Z]+\d+)"[^>]*?(?:/>|>.*?</c>)', text))
    row = pick(rng, re.finditer(r'<row r="(\d+)"[^>]*>(.*?)</row>', text))
    new = pick(rng, REFERENCES)
    if kind == "cell":
        spoilt = replaced(parts, part, text, cell, cell[0].replace(cell[1], new, 1))
    elif kind == "no cell":
        spoilt = replaced(parts, part, text, cell, cell[0].replace(f' r="{cell[1]}"', "", 1))
    elif kind == "row":
        new = pick(rng, ["0", "-1", "1", "3", "12", "1048576", "1048577", "10" * 8, "", "x", "2.0"])
        spoilt = replaced(parts, part, text, row, row[0].replace(row[1], new, 1))
    elif kind == "no row":
        spoilt = replaced(parts, part, text, row, row[0].replace(f' r="{row[1]}"', "", 1))
    elif kind == "twice":
        number = pick(rng, [re.sub(r"<v>[^<]*</v>", "<v>2.25</v>", cell[0]), cell[0]])
        spoilt = replaced(parts, part, text, cell, cell[0] + number)
    elif kind == "split":  # a row in two elements with the same number
        cells = re.findall(r"<c .*?(?:/>(?=<c|$)|</c>)", row[2])
        at = int(rng.integers(len(cells) + 1))
        halves = [f'<row r="{row[1]}">{"".join(h)}</row>' for h in (cells[:at], cells[at:])]
        spoilt = replaced(parts, part, text, row, "".join(halves))
    elif kind == "far":
        new = pick(rng, ["1048576", "1048577", "9" * 12, "9" * 30])
        far = f'</row><row r="{new}"><c r="A{new}"><v>1</v></c></row>'
        spoilt = parts | {part: text.replace("</row></sheetData>", f"{far}</sheetData>").encode()}
    else:  # two neighbouring cells or rows in the wrong order
        pattern = r'(<c r="\w+"[^>]*?(?:/>|>(?:(?!<c ).)*?</c>))' * 2
        if kind == "rows":
            pattern = r"(<row (?:(?!</row>).)*</row>)" * 2
        pair = pick(rng, re.finditer(pattern, text))
        cell = row = pair
        new = ""
        spoilt = replaced(parts, part, text, pair, pair[2] + pair[1])
    return f"{part} {kind} {cell[1][:30]} {row[1][:30]} {new[:30]!r}", spoilt


@family
def formulas(rng, parts):
    part = pick(rng, SHEETS.values())
    text = parts[part].decode()
    formula = pick(rng, re.finditer(r"<f>(.*?)</f>", text))
    old = formula[1]
    position = int(rng.integers(len(old)))
    new = pick(rng, [
        "", "X", "RAND()", "1/0", "(" * 3000, "A" * 9000, "MMULT(", old * 2, old[position:],
        old[:position], re.sub(r"\d+", str(int(rng.integers(0, 99))), old, count=1),
        re.sub(r"(?<=[A-Z$])\d+", "99999999999", old), old.replace("$", ""),
        old.replace("MMULT", "SUM"), old.lower(), re.sub(r"[A-G](?=\$?\d)", "XFD", old),
        re.sub(r"(?<=[A-Z$])\d+", "1", old), old.replace("E", "D"), "'", "=", old.replace(",", ";"),
        re.sub(r":", ":$XFD", old), f"{old}+1", f"-{old}", "#REF!", "&lt;&amp;&#x10FFFF;",
        "MMULT(" * 500 + "A1" + ")" * 500, "A1+" * 3000 + "A1", "IF(" + "A1," * 2000 + ")",
    ])  # fmt: skip
    head = pick(rng, ["<f>", "<f>", "<f>", '<f t="shared" si="0">', '<f t="array" ref="A1">',
                      '<f t="shared" ref="E11:G14" si="0">', '<f t="dataTable" ref="A1">',
                      '<f t="zz">', '<f t="array">'])  # fmt: skip
    spoilt = f"{head}{new}</f>"
    count = pick(rng, [1, 1, 1, 99])
    if count == 99:
        return f"{part} all {new[:60]!r} {head}", parts | {
            part: text.replace(formula[0], spoilt).replace("MMULT", new[:20] or "x").encode()
        }
    return f"{part} {new[:60]!r} {head}", replaced(parts, part, text, formula, spoilt)


TEXTS = [
    "", " ", "0", "1", "3", "-1", "1e999", "NaN", "2147483648", "9" * 400, "x" * 40_000, "=2",
    "2.5", "#REF!", "dotprod!#REF!", "dotprod!$G$16", "bias!$G$17", "dotprod!$A$1:$XFD$1048576",
    "1_0",
    "nowhere!$A$1", "'dotprod'!$E$8", "$E$8:$G$9", "E8:", ":", ",", "," * 20_000,
    "dotprod!$E$9:$C$2", "dotprod!$E$8:$G$9,dotprod!$E$8:$G$9", "bias!$XFD$1048576",
    "ZZZ9999999999",
    "{1,2}", "&quot;", "SUM(A1:A9)", "bias!$A$12:$C$15", "dotprod!$E$11:$G$14", "٣", "1e5", "1e-9",
    "=", "100000000",
]  # fmt: skip


@family
def defined_names(rng, parts):
    text = parts[WORKBOOK].decode()
    match = pick(rng, re.finditer(r"<definedName ([^>]*)>([^<]*)</definedName>", text))
    kind = pick(rng, ["text", "text", "text", "scope", "name", "twice", "constraints", "attribute"])
    attributes, content = match[1], match[2]
    new = pick(rng, TEXTS)
    if kind == "text":
        content = new
    elif kind == "scope":
        new = pick(rng, ["", "2", "99", "-1", "x", "0", "1", "4294967296"])
        attributes = re.sub(r'localSheetId="\d"', f'localSheetId="{new}"', attributes)
    elif kind == "name":
        new = pick(rng, ["", "solver_", "SOLVER_OPT", "_xlnm.Print_Area", "_xlnm.Print_Titles",
                         "_xlnm._FilterDatabase", "solver_opt", "a b", "x" * 9000])  # fmt: skip
        attributes = re.sub(r'name="\w+"', f'name="{new}"', attributes)
    elif kind == "attribute":
        attributes = re.sub(
            r"hidden", pick(rng, ["zz", "function", "vbProcedure", "xlm"]), attributes
        )
    spoilt = f"<definedName {attributes}>{content}</definedName>"
    if kind == "twice":
        spoilt += f"<definedName {attributes}>{new}</definedName>"
    elif kind == "constraints":
        scope = pick(rng, ["0", "1"])
        left, right = pick(rng, TEXTS), pick(rng, TEXTS)
        relation = pick(rng, ["1", "2", "3", "4", "", "x"])
        added = {"lhs1": left, "rhs1": right, "rel1": relation}
        number = pick(rng, ["1", "1", "2", "99999999", "1e9", "-1"])
        text = re.sub(r'(solver_num" localSheetId="\d" hidden="1">)0', rf"\g<1>{number}", text)
        new = str(added)
        spoilt = "".join(f'<definedName name="solver_{k}" localSheetId="{scope}">{v}</definedName>'
                         for k, v in added.items())  # fmt: skip
        return f"{kind} {new[:99]}", parts | {
            WORKBOOK: text.replace("</definedNames>", f"{spoilt}</definedNames>").encode()
        }
    return f"{kind} {match[0][:60]}: {new[:60]!r}", replaced(parts, WORKBOOK, text, match, spoilt)


@family
def sheets(rng, parts):
    text = parts[WORKBOOK].decode()
    match = pick(
        rng,
        re.finditer(r'<sheet name="(\w+)" sheetId="(\d)" state="visible" r:id="(\w+)" ?/>', text),
    )
    name, number, relation = match.groups()
    state = "visible"
    kind = pick(rng, ["name", "name", "id", "state", "relation", "none", "twice", "view"])
    new = ""
    if kind == "name":
        name = new = pick(rng, [
            "", " ", "bias", "dotprod", "DOTPROD", "a/b:c?", "x" * 300, "'", "Ü!$A$1",
            "\U0001f3ac", "a,b", "..", "<&>", "\u202e", "a'b", "[1]x",
        ])  # fmt: skip
    elif kind == "id":
        number = new = pick(rng, ["", "0", "-1", "1", "2", "x", "9" * 30])
    elif kind == "state":
        state = new = pick(rng, ["hidden", "veryHidden", "", "zz"])
    elif kind == "relation":
        relation = new = pick(rng, ["", "rId1", "rId2", "rId3", "rId99", "x" * 999])
    element = (f'<sheet name={quoteattr(name)} sheetId="{number}" state="{state}" '
               f"r:id={quoteattr(relation)}/>")  # fmt: skip
    if kind == "none":
        element = pick(
            rng, ["", "<sheet/>", f'<sheet name="{name}"/>', element.replace("r:id", "id")]
        )
    elif kind == "twice":
        element *= int(rng.integers(2, 40))
    spoilt = text[: match.start()] + element + text[match.end() :]
    if kind == "view":
        new = pick(rng, ["0", "1", "2", "99", "-1", "x", ""])
        spoilt = re.sub(r'activeTab="\d"', f'activeTab="{new}"', text)
    return f"{kind} {new[:40]!r} {element[:99]}", parts | {WORKBOOK: spoilt.encode()}


@family
def relations(rng, parts):
    part = pick(rng, [RELATIONS, RELATIONS, RELATIONS, "_rels/.rels"])
    text = parts[part].decode()
    attribute = pick(rng, ["Target", "Target", "Id", "Type", "TargetMode", "none", "twice"])
    match = pick(rng, re.finditer(r"<Relationship [^>]*/>", text))
    new = pick(rng, [
        "", "/", "..", "../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "worksheets",
        "http://127.0.0.1:9/sheet1.xml", "worksheets/sheet1.xml", "worksheets/sheet2.xml", "rId1",
        "/xl/worksheets/../worksheets/sheet1.xml", "/xl/worksheets/SHEET1.XML", "workbook.xml",
        "styles.xml", "worksheets\\sheet1.xml", "worksheets/sheet1.xml#x", "External", "rId2",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships/chartsheet",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships/externalLink",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships/pivotCacheDefinition",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings",
    ])  # fmt: skip
    element = match[0]
    if attribute == "none":
        element = ""
    elif attribute == "twice":
        element *= 2
    elif attribute == "TargetMode":
        element = element.replace("/>", ' TargetMode="External"/>')
    else:
        without = rng.random() < 0.15
        added = "" if without else f" {attribute}={quoteattr(new)}"
        element = re.sub(rf' {attribute}="[^"]*"', lambda _: added, element)
    return f"{part} {attribute} {element}", replaced(parts, part, text, match, element)


@family
def content_types(rng, parts):
    text = parts[TYPES].decode()
    match = pick(rng, re.finditer(r"<(?:Override|Default) [^>]*/>", text))
    kinds = re.findall(r'ContentType="([^"]*)"', text)
    office, ml = "application/vnd.openxmlformats-officedocument", "spreadsheetml"
    new = pick(rng, [
        *kinds, "", "text/plain", "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
        f"{office}.{ml}.sharedStrings+xml", f"{office}.{ml}.chartsheet+xml",
        f"{office}.{ml}.template.main+xml",
    ])  # fmt: skip
    kind = pick(rng, ["type", "type", "part", "none", "twice"])
    element = match[0]
    if kind == "type":
        element = re.sub(r'ContentType="[^"]*"', f'ContentType="{new}"', element)
    elif kind == "part":
        new = pick(
            rng, ["", "/xl/workbook.xml", "/xl/nothing.xml", "xl/workbook.xml", "/xl/styles.xml"]
        )
        element = re.sub(r'(PartName|Extension)="[^"]*"', rf'\1="{new}"', element)
    else:
        element *= 2 * (kind == "twice")
    return f"{kind} {match[0]} -> {element}", replaced(parts, TYPES, text, match, element)


@family
def whole_parts(rng, parts):
    names = list(parts)
    name, other = pick(rng, names), pick(rng, names)
    kind = pick(
        rng, ["dropped", "twice", "renamed", "empty", "swapped", "copied", "zeros", "nested"]
    )
    pairs = list(parts.items())
    if kind == "dropped":
        pairs = [pair for pair in pairs if pair[0] != name]
    elif kind == "twice":
        pairs.append((name, parts[other]))
    elif kind == "renamed":
        new = pick(
            rng, [name.upper(), f"/{name}", f"../{name}", name.replace("/", "\\"), "x" * 5000, "é"]
        )
        pairs = [(new if n == name else n, content) for n, content in pairs]
    elif kind == "nested":
        new = pick(rng, [b"<a>" * 20_000, b"<a>" * 20_000 + b"</a>" * 20_000, b"<a/>" * 1000])
        root = re.search(rb"<\w[^>]*>", parts[name])
        pairs = [(n, c if n != name else root[0] + new) for n, c in pairs]
    else:
        new = {"empty": b"", "copied": parts[other], "swapped": parts[other], "zeros": bytes(9999)}
        pairs = [(n, new[kind] if n == name else c) for n, c in pairs]
        if kind == "swapped":
            pairs = [(n, parts[name] if n == other else c) for n, c in pairs]
    return f"{name} {kind} ({other})", pairs


@family
def nothing_that_matters(rng, parts):
    part = pick(rng, SHEETS.values())
    text = parts[part].decode()
    extra = escape("".join(map(chr, rng.integers(32, 0x2FF, 20))))
    comment = f"<!-- {extra.replace('-', '')} -->"
    core = parts["docProps/core.xml"]
    far = '<row r="400"><c r="XFD400"><v>1</v></c></row>'
    size = pick(rng, REFERENCES[:3])
    changes = {
        "comment": lambda: {part: text.replace("<row", f"{comment}<row", 1)},
        "size": lambda: {part: re.sub(r'(?<=<dimension ref=")[^"]*', size, text)},
        "note": lambda: {"xl/notes.txt": extra.encode()},
        "author": lambda: {
            "docProps/core.xml": core.replace(b">shallow_cf<", f">{extra}<".encode())
        },
        "far cell": lambda: {part: text.replace("</sheetData>", f"{far}</sheetData>")},
        "title": lambda: {part: re.sub(r"(?<=<t>)movieId|userId(?=</t>)", lambda _: extra, text)},
        "width": lambda: {part: re.sub(r'width="[\d.]+"', f'width="{rng.integers(1, 99)}"', text)},
        "macros": lambda: {"xl/vbaProject.bin": rng.bytes(300)},
        "spaces": lambda: {part: re.sub("<row", "\n  <row", text)},
    }  # fmt: skip
    kind = pick(rng, changes)
    changed = {n: c.encode() if isinstance(c, str) else c for n, c in changes[kind]().items()}
    return f"{part} {kind}", parts | changed


def has_teaching(number):
    """Whether a mutant has all sheets: one in 20 of every family, as they take longer."""
    return number // len(FAMILIES) % 20 == 3


def mutant(number):
    """The family, what was changed, and the bytes of the mutant of a number."""
    name = list(FAMILIES)[number % len(FAMILIES)]
    parts = dict(base(teaching=has_teaching(number)))
    what, made = FAMILIES[name](np.random.default_rng([SEED, number]), parts)
    return name, what, made if isinstance(made, bytes) else zipped(made)


# --- the tests ----------------------------------------------------------------------------


def attempt(function, *arguments, **options):
    """What a call gives, None if that is a `WorkbookError` of one line."""
    start = time.process_time()
    try:
        return function(*arguments, **options)
    except scf.WorkbookError as error:
        if len(str(error).splitlines()) != 1:
            pytest.fail(f"not one line: {error!r}")
        return None
    finally:
        assert time.process_time() - start < SLOWEST, f"{function.__name__} took too long"


@cache
def report():
    """An Answer Report; what it says does not matter here."""
    ratings, [start, _] = small_model()
    return scf.answer_report(ratings, grg.solve(ratings, start), sheet="dotprod")


def try_all(number, content, path):
    """Every operation on one mutant; whether all of its sheets were read."""
    path.write_bytes(content)
    models, _ = attempt(read_all, path) or (None, {})
    everything = number % 10 == 0 or has_teaching(number)
    found = list(models or [])
    if models is None or everything:
        one_by_one = [attempt(scf.read_workbook, path, sheet) for sheet in SHEETS]
        found += [model for model in one_by_one if model is not None]
        if not has_teaching(number):  # else the damage may be elsewhere
            assert models is not None or None in one_by_one, "read by sheet, but not at once"
    if everything:
        attempt(scf.check_workbook, path)
        found += filter(None, [attempt(scf.read_workbook, path)])
    if not found:
        return False
    sheets = independent(content)
    for model in found:
        assert_read_rightly(model, sheets)
        check = attempt(check_model, model)
        if check is not None:
            assert_checked_rightly(model, check)
        options = attempt(scf.solver_options, model)
        text = model.solver_names.get("solver_cvg", "").strip(" =")
        if options is not None and text:
            assert options.convergence == float(text)
    if everything:
        model = found[-1]
        halves = model.parameters.unpack(model.parameters.pack() / 2)
        out = path.with_name("out.xlsx")
        reports = [report()] if number % 2 else []
        attempt(scf.update_workbook, model, halves, out, overwrite=True, reports=reports)
        if out.exists():
            assert_updated_rightly(model, sheets, halves, out, bool(reports))
            out.unlink()
        assert [file.name for file in path.parent.iterdir()] == [path.name], "something was left"
    return {model.sheet for model in models or ()} == set(SHEETS)


def run(numbers, folder):
    """Try mutants; fail with the number, the change and how to run that one again."""
    counts, failures, slowest = defaultdict(Counter), [], (0.0, 0)
    for number in numbers:
        name, what, content = mutant(number)
        start = time.perf_counter()
        try:
            read = try_all(number, content, folder / "mutant.xlsx")
            counts[name]["read" if read else "refused"] += 1
            assert read or name != "nothing that matters", "refused without a reason"
        except Exception as error:
            failures.append(
                f"mutant {number} ({name}: {what})\n  {type(error).__name__}: {str(error)[:600]}\n"
                f"  again: SHALLOW_CF_FUZZ_ONLY={number} python -m pytest {Path(__file__).name}"
            )
            if len(failures) == 20:
                break
        slowest = max(slowest, (time.perf_counter() - start, number))
    for name, count in counts.items():
        print(f"{name:22s}{count['read']:7d} read rightly{count['refused']:7d} refused")
    print(f"slowest: mutant {slowest[1]}, {slowest[0]:.2f} s")
    assert not failures, "\n".join([f"{len(failures)} failures", *failures])
    return counts


ONLY = os.environ.get("SHALLOW_CF_FUZZ_ONLY")
START, _, STOP = os.environ.get("SHALLOW_CF_FUZZ", str(DEFAULT)).rpartition(":")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_mutants_are_read_rightly_or_refused(tmp_path):
    numbers = range(int(START or 0), int(STOP)) if ONLY is None else [int(ONLY)]
    counts = run(numbers, tmp_path)
    if ONLY is None:
        # Neither is everything refused nor is nothing damaged.
        total = sum(counts.values(), Counter())
        assert min(total.values()) > 0.2 * len(numbers), total


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.skipif(ONLY is not None, reason="a single mutant is asked for")
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, N_PARTS))]
)
def test_many_more_mutants(part, tmp_path):
    first = DEFAULT + part * PART
    run(range(first, first + PART), tmp_path)


@pytest.mark.parametrize("teaching", [False, True])
def test_the_workbook_itself_is_read_rightly(tmp_path, teaching):
    assert try_all(0, zipped(base(teaching)), tmp_path / "book.xlsx")


def test_a_mutant_is_made_from_its_number_alone():
    first = [mutant(number) for number in range(40)]
    assert first == [mutant(number) for number in range(40)]
    contents = [content for _, _, content in first]
    assert len(set(contents)) > 35
    assert {name for name, _, _ in first} == set(FAMILIES)


def test_the_independent_reader_tells_wrong_numbers(tmp_path):
    """The judge is no rubber stamp: a model with one number off is found."""
    path = tmp_path / "book.xlsx"
    path.write_bytes(zipped(base()))
    [model, _], _ = read_all(path)
    sheets = independent(path.read_bytes())
    assert_read_rightly(model, sheets)
    places = itertools.product(["user_factors", "item_factors"], [(0, 0), (2, 1)])
    for name, place in places:
        table = getattr(model.parameters, name)
        old = table[place]
        table[place] = np.nextafter(old, 9)
        with pytest.raises(AssertionError, match=r"embedding .*: read"):
            assert_read_rightly(model, sheets)
        table[place] = old
