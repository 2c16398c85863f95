"""Is every kind of workbook that we write a valid file, by readers that are not ours?

Microsoft's own validator, which needs Node, runs in .ci/run over the same kinds. Here
are a port of it to Python, and what can be asked of the parts with `zipfile` and
`xml.etree` alone, some of which no validator asks.
"""

import os
import posixpath
import re
import subprocess
import sys
import zipfile
from collections import Counter
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import kinds_of_export
import openpyxl
import pytest
from golden import GOLDEN_FOLDER, REGENERATE, differences, normalised
from kinds_of_export import GOLDEN, KINDS

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
S, P = f"{{{MAIN}}}", f"{{{PACKAGE}}}"
#: Last part of a content type -> the root element that Excel expects.
ROOTS = {
    "spreadsheetml.sheet.main+xml": f"{S}workbook",
    "spreadsheetml.worksheet+xml": f"{S}worksheet",
    "spreadsheetml.styles+xml": f"{S}styleSheet",
    "spreadsheetml.sharedStrings+xml": f"{S}sst",
    "drawing+xml": "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}wsDr",
    "drawingml.chart+xml": "{http://schemas.openxmlformats.org/drawingml/2006/chart}chartSpace",
    "theme+xml": "{http://schemas.openxmlformats.org/drawingml/2006/main}theme",
    "core-properties+xml": f"{P[:-1]}/metadata/core-properties}}coreProperties",
    "extended-properties+xml": (
        "{http://schemas.openxmlformats.org/officeDocument/2006/extended-properties}Properties"
    ),
    "relationships+xml": f"{P[:-1]}/relationships}}Relationships",
}
ERRORS = {"#NUM!", "#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NULL!"}
#: The order that the format prescribes for what stands in a worksheet.
ORDER = (
    "sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData",
    "conditionalFormatting", "dataValidations", "pageMargins", "pageSetup", "drawing",
)  # fmt: skip

_LARGE = ("largest_with_all_sheets", "demo")
#: Ours from the first byte on; a workbook that was updated has what others put there, too.
OURS = [
    pytest.param(kind, marks=pytest.mark.slow if kind in _LARGE else ())
    for kind in KINDS
    if kind != "updated_published"
]


@pytest.fixture(autouse=True, scope="module")
def _reproducible():
    """Reports say when they were made and how long that took, unless this is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1577836800")
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Kind -> its file, each written once."""
    folder, files = tmp_path_factory.mktemp("kinds"), {}

    def write(kind):
        if kind not in files:
            files[kind] = folder / f"{kind}.xlsx"
            KINDS[kind](files[kind])
        return files[kind]

    return write


class Package:
    """The parts of a workbook, and how they refer to each other."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            self.members = archive.namelist()
            self.parts = {name: archive.read(name) for name in self.members}
        self._roots = {}

    def root(self, part):
        if part not in self._roots:
            self._roots[part] = ElementTree.fromstring(self.parts[part])
        return self._roots[part]

    def relations(self, part):
        """Id -> (type, part) of what a part refers to; "" is the package itself."""
        folder, name = posixpath.split(part)
        listed = f"{folder}/_rels/{name}.rels" if part else "_rels/.rels"
        if listed not in self.parts:
            return {}
        found = {}
        for relation in self.root(listed).iterfind(f"{P[:-1]}/relationships}}Relationship"):
            assert relation.get("TargetMode") != "External"
            assert relation.get("Id") not in found
            target = posixpath.normpath(posixpath.join("/", folder, relation.get("Target")))
            found[relation.get("Id")] = relation.get("Type"), target[1:]
        return found

    @cached_property
    def types(self):
        """Part -> its content type."""
        root = self.root("[Content_Types].xml")
        defaults = [(e.get("Extension"), e.get("ContentType")) for e in root if "Default" in e.tag]
        own = [(e.get("PartName"), e.get("ContentType")) for e in root if "Override" in e.tag]
        for pairs in (defaults, own):
            assert len(dict(pairs)) == len(pairs), "one entry is there twice"
        assert {name[1:] for name, _ in own} <= set(self.parts), "a type for no part"
        return {
            name: dict(own).get(f"/{name}") or dict(defaults).get(name.rpartition(".")[2])
            for name in self.parts
            if name != "[Content_Types].xml"
        }

    @cached_property
    def sheets(self):
        """Name of a sheet -> its part, in the order of the tabs."""
        targets = self.relations("xl/workbook.xml")
        return {
            sheet.get("name"): targets[sheet.get(f"{{{RELATION}}}id")][1]
            for sheet in self.root("xl/workbook.xml").iter(f"{S}sheet")
        }


@pytest.fixture(scope="module")
def packages():
    return {}


@pytest.fixture
def package(written, packages, kind):
    if kind not in packages:
        packages[kind] = Package(written(kind))
    return packages[kind]


def corners(reference):
    """(first row, first column, last row, last column) of a range such as A1 or A1:B2."""
    (left, top), (right, bottom) = (
        re.fullmatch(r"\$?([A-Z]+)\$?(\d+)", cell).groups()
        for cell in (reference.split(":") * 2)[:2]
    )
    number = openpyxl.utils.column_index_from_string
    return int(top), number(left), int(bottom), number(right)


def contains(outer, inner):
    first, last = (0, 1), (2, 3)
    return all(outer[k] <= inner[k] for k in first) and all(inner[k] <= outer[k] for k in last)


# --- the package ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OURS)
def test_every_part_has_its_type_and_root(package):
    assert len(package.members) == len({name.lower() for name in package.members})
    for part, kind_of_part in package.types.items():
        assert kind_of_part is not None, f"{part} has no content type"
        expected = [root for end, root in ROOTS.items() if kind_of_part.endswith(f".{end}")]
        assert [package.root(part).tag] == expected, part


@pytest.mark.parametrize("kind", OURS)
def test_every_relationship_leads_to_a_part_and_every_part_is_led_to(package):
    reached, ahead = set(), [""]
    while ahead:
        part = ahead.pop()
        listed = set(_ids_used(package, part)) if part else set()
        relations = package.relations(part)
        assert listed <= set(relations), f"{part} uses a relationship that is not there"
        for _, target in relations.values():
            assert target in package.parts, f"{part} refers to {target}, which is not there"
            if target not in reached:
                reached.add(target)
                ahead.append(target)
    lists = {name for name in package.parts if name.endswith(".rels")}
    assert set(package.parts) - reached - lists == {"[Content_Types].xml"}
    for name in lists - {"_rels/.rels"}:
        folder, rest = name.split("_rels/")
        assert folder + rest.removesuffix(".rels") in package.parts


def _ids_used(package, part):
    for element in package.root(part).iter():
        for key, value in element.attrib.items():
            if key.startswith(f"{{{RELATION}}}"):
                yield value


@pytest.mark.parametrize("kind", OURS)
def test_two_exports_are_the_same_bytes(written, kind, tmp_path):
    KINDS[kind](tmp_path / "again.xlsx")
    assert (tmp_path / "again.xlsx").read_bytes() == written(kind).read_bytes()


@pytest.mark.slow
def test_with_and_without_lxml_the_content_is_the_same(tmp_path):
    """openpyxl takes lxml where it is installed, and that declares namespaces elsewhere."""
    script = Path(kinds_of_export.__file__)
    for use in ("True", "False"):
        subprocess.run(
            [sys.executable, script, tmp_path / use, "--kinds", *GOLDEN, "updated"],
            env={**os.environ, "OPENPYXL_LXML": use, "PYTHONPATH": str(script.parents[1])},
            check=True, timeout=120,
        )  # fmt: skip
    for kind in (*GOLDEN, "updated"):
        files = [tmp_path / use / f"{kind}.xlsx" for use in ("True", "False")]
        assert normalised(files[0]) == normalised(files[1])


# --- the workbook --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OURS)
def test_sheets_have_legal_names_and_numbers(package):
    entries = list(package.root("xl/workbook.xml").iter(f"{S}sheet"))
    names = [entry.get("name") for entry in entries]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert 1 <= len(name) <= 31
        assert not re.search(r"[\[\]:*?/\\]|^'|'$|[\x00-\x1f]", name)
    numbers = [int(entry.get("sheetId")) for entry in entries]
    assert len(set(numbers)) == len(numbers)
    assert all(1 <= number <= 65_534 for number in numbers)
    assert len(set(package.sheets.values())) == len(names)


@pytest.mark.parametrize("kind", OURS)
def test_defined_names_are_neither_empty_nor_there_twice(package):
    root = package.root("xl/workbook.xml")
    names = list(root.iter(f"{S}definedName"))
    assert names, "the Solver model is made of them"
    assert all((name.text or "").strip() for name in names)
    keys = [(name.get("localSheetId"), name.get("name").lower()) for name in names]
    assert max(Counter(keys).values()) == 1
    for name in names:
        assert 0 <= int(name.get("localSheetId")) < len(package.sheets)
        assert re.fullmatch(r"solver_[a-z]+\d*", name.get("name"))
    # An empty list would be a finding of its own.
    assert all(len(element) for element in root.iter(f"{S}definedNames"))


@pytest.mark.parametrize("kind", OURS)
def test_everything_is_computed_on_opening_and_there_is_no_old_chain(package):
    (calculation,) = package.root("xl/workbook.xml").iter(f"{S}calcPr")
    assert calculation.get("fullCalcOnLoad") == "1"
    assert not [name for name in package.parts if "calcChain" in name]
    view = next(package.root("xl/workbook.xml").iter(f"{S}workbookView"))
    assert 0 <= int(view.get("activeTab", 0)) < len(package.sheets)


# --- the styles ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OURS)
def test_styles_refer_to_what_is_there(package):
    root = package.root("xl/styles.xml")
    sizes = {}
    for name in ("numFmts", "fonts", "fills", "borders", "cellStyleXfs", "cellXfs", "cellStyles"):
        group = root.find(f"{S}{name}")
        sizes[name] = 0 if group is None else len(group)
        if group is not None and group.get("count") is not None:
            assert int(group.get("count")) == len(group), name
    own = [int(f.get("numFmtId")) for f in root.iter(f"{S}numFmt")]
    assert len(set(own)) == len(own)
    assert all(number >= 164 for number in own)
    for group in ("cellStyleXfs", "cellXfs"):
        for xf in root.find(f"{S}{group}"):
            for key, where in {"fontId": "fonts", "fillId": "fills", "borderId": "borders"}.items():
                assert 0 <= int(xf.get(key, 0)) < sizes[where], key
            number = int(xf.get("numFmtId", 0))
            assert number < 50 or number in own
            assert group == "cellStyleXfs" or 0 <= int(xf.get("xfId")) < sizes["cellStyleXfs"]
    styles = list(root.find(f"{S}cellStyles"))
    assert len({style.get("name").lower() for style in styles}) == len(styles)
    assert sorted(int(s.get("xfId")) for s in styles) == list(range(sizes["cellStyleXfs"]))
    for part in package.sheets.values():
        sheet = package.root(part)
        for cell in sheet.iter(f"{S}c"):
            assert 0 <= int(cell.get("s", 0)) < sizes["cellXfs"], f"{part} {cell.get('r')}"
        for rule in sheet.iter(f"{S}cfRule"):
            assert rule.get("dxfId") is None, "colour scales need no differential style"


# --- the sheets ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OURS)
def test_rows_and_cells_stand_in_order_and_fill_the_dimension(package):
    for name, part in package.sheets.items():
        root = package.root(part)
        tags = [child.tag.removeprefix(S) for child in root]
        assert tags == sorted(tags, key=ORDER.index), name
        rows = [int(row.get("r")) for row in root.iter(f"{S}row")]
        assert rows == sorted(set(rows)), name
        places = []
        for row in root.iter(f"{S}row"):
            cells = [corners(cell.get("r"))[:2] for cell in row]
            assert cells == sorted(set(cells)), f"{name}, row {row.get('r')}"
            assert {r for r, _ in cells} <= {int(row.get("r"))}
            places += cells
        low, high = min(r for r, _ in places), max(r for r, _ in places)
        last = max(c for _, c in places)
        dimension = corners(root.find(f"{S}dimension").get("ref"))
        assert dimension == (1, 1, high, last), name
        assert low >= 1
        assert high <= 1_048_576
        assert last <= 16_384
        columns = [(int(c.get("min")), int(c.get("max"))) for c in root.iter(f"{S}col")]
        assert all(first <= last for first, last in columns)
        assert all(a[1] < b[0] for a, b in pairwise(columns)), name


@pytest.mark.parametrize("kind", OURS)
def test_every_cell_holds_what_its_type_says(package):
    for name, part in package.sheets.items():
        for cell in package.root(part).iter(f"{S}c"):
            where, kind_of_cell = f"{name}!{cell.get('r')}", cell.get("t", "n")
            formula, value = cell.find(f"{S}f"), cell.findtext(f"{S}v")
            inline = cell.find(f"{S}is")
            tags = [child.tag.removeprefix(S) for child in cell]
            assert tags in ([], ["v"], ["is"], ["f", "v"]), where
            assert kind_of_cell in ("n", "str", "e", "inlineStr"), where
            assert (inline is not None) == (kind_of_cell == "inlineStr"), where
            if kind_of_cell == "inlineStr":
                text = inline.findtext(f"{S}t")
                assert text, where
                assert len(text) <= 32_767, where
            elif kind_of_cell == "e":
                assert value in ERRORS, where
            elif kind_of_cell == "str":
                assert formula is not None, f"{where}: a result without a formula"
            elif value is not None:
                number = float(value)
                assert number == number, where
                assert abs(number) < 1.8e308, where
                assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", value), where
            if formula is not None and formula.text:
                assert not formula.text.startswith("="), where
                assert len(formula.text) <= 8192, where
                assert formula.text.count("(") == formula.text.count(")"), where


@pytest.mark.parametrize("kind", OURS)
def test_shared_formulas_have_one_first_cell_within_their_block(package):
    for name, part in package.sheets.items():
        blocks, users = {}, {}
        for cell in package.root(part).iter(f"{S}c"):
            formula = cell.find(f"{S}f")
            if formula is None:
                continue
            if formula.get("t") != "shared":
                assert formula.get("t") is None, name
                assert formula.text, f"{name}!{cell.get('r')} has an empty formula"
                continue
            number, place = int(formula.get("si")), cell.get("r")
            users.setdefault(number, set()).add(place)
            if formula.get("ref") is not None:
                assert number not in blocks, f"{name}!{place}: si {number} is there twice"
                assert formula.text, f"{name}!{place}"
                blocks[number] = formula.get("ref")
                assert blocks[number].split(":")[0] == place
            else:
                # The first cell comes first, or readers do not know the formula yet.
                assert number in blocks, f"{name}!{place}: si {number} has no first cell"
                assert formula.text is None
        for number, cells in users.items():
            outer = corners(blocks[number])
            assert all(contains(outer, corners(cell)) for cell in cells), (name, number)


@pytest.mark.parametrize("kind", OURS)
def test_formats_checks_and_charts_lie_within_their_sheet(package):
    for name, part in package.sheets.items():
        root = package.root(part)
        extent = corners(root.find(f"{S}dimension").get("ref"))
        priorities = [int(rule.get("priority")) for rule in root.iter(f"{S}cfRule")]
        assert len(set(priorities)) == len(priorities), name
        for tag in ("conditionalFormatting", "dataValidation"):
            for element in root.iter(f"{S}{tag}"):
                for area in element.get("sqref").split():
                    assert contains(extent, corners(area)), f"{name}: {tag} on {area}"
        for group in root.iter(f"{S}dataValidations"):
            assert int(group.get("count")) == len(group) > 0
        for check in root.iter(f"{S}dataValidation"):
            assert check.findtext(f"{S}formula1")
            assert len(check.get("errorTitle")) <= 32
            assert len(check.get("error")) <= 255
        charts = [
            target
            for kind_of_part, drawing in package.relations(part).values()
            if kind_of_part.endswith("/drawing")
            for _, target in package.relations(drawing).values()
        ]
        assert bool(charts) == (root.find(f"{S}drawing") is not None), name
        for chart in charts:
            _check_references(package, chart)


def _check_references(package, chart):
    found = 0
    for element in package.root(chart).iter():
        if not element.tag.endswith("}f"):
            continue
        sheet, _, area = element.text.rpartition("!")
        root = package.root(package.sheets[sheet.strip("'")])
        assert contains(corners(root.find(f"{S}dimension").get("ref")), corners(area)), element.text
        found += 1
    assert found >= 2


def test_kinds_differ_in_what_they_have(written):
    """The checks above saw charts, choices, errors, titles and reports."""
    text = {kind: b"".join(Package(written(kind)).parts.values()) for kind in GOLDEN}
    assert b't="shared"' in text["dotprod"]
    assert b"lineChart" in text["dotprod"]
    assert b"scatterChart" in text["titles"]
    assert b"dataValidation " in text["titles"]
    assert b"Answer Report" in text["titles"]
    assert b"#NUM!" in b"".join(Package(written("overflow")).parts.values())


# --- a validator in Python -----------------------------------------------------------------


@pytest.fixture(scope="module")
def audit():
    """What openxml-audit finds in a file: errors, and warnings but the one we answer for."""
    openxml_audit = pytest.importorskip("openxml_audit", reason="openxml-audit is not installed")
    validator = openxml_audit.OpenXmlValidator(max_errors=1000)

    def find(path):
        found = validator.validate(path).errors
        # Texts stand in their cells, which the format allows and Excel reads; that Excel
        # saves them in another part is no fault of the file.
        return [str(it) for it in found if "inline-string cell" not in it.description]

    return find


#: It takes half a second or more a file; Microsoft's own, in CI, looks at all of them again.
_MARKS = {kind: [] for kind in ("titles", "text_ids", "constraints", "updated")} | {
    "updated_published": [pytest.mark.slow, pytest.mark.long]
}
AUDITED = [pytest.param(kind, marks=_MARKS.get(kind, [pytest.mark.slow])) for kind in KINDS]


@pytest.mark.parametrize("kind", AUDITED)
def test_openxml_audit_finds_nothing(audit, written, kind):
    assert audit(written(kind)) == []


def test_openxml_audit_finds_what_openpyxl_leaves(audit, tmp_path):
    kinds_of_export.write_plain(tmp_path / "plain.xlsx")
    (finding,) = audit(tmp_path / "plain.xlsx")
    assert "font" in finding


# --- golden workbooks ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_part_is_that_of_the_golden_workbook(written, kind):
    ours, folder = normalised(written(kind)), GOLDEN_FOLDER / kind
    golden = {str(p.relative_to(folder).as_posix()): p for p in folder.rglob("*") if p.is_file()}
    assert sorted(ours) == sorted(golden), f"other parts than in {folder}; {REGENERATE}"
    found = [
        line
        for part in sorted(ours)
        for line in differences(part, Path(golden[part]).read_text(encoding="utf-8"), ours[part])
    ]
    assert not found, "\n".join([*found[:40], f"If this is meant: {REGENERATE}"])


def test_a_part_that_changed_is_told_with_its_place():
    golden = '<row>\n  <c r="A1"><v>0.1</v></c>\n  <c r="B1"><v>2</v></c>\n</row>\n'
    rounded = golden.replace("0.1", "0.10000000000000002")
    assert differences("xl/sheet.xml", golden, rounded) == []
    expected = ["xl/sheet.xml:3", '  - <c r="B1"><v>2</v></c>', '  + <c r="B1"><v>2.00001</v></c>']
    assert differences("xl/sheet.xml", golden, golden.replace(">2<", ">2.00001<")) == expected
    assert differences("xl/sheet.xml", golden, golden.replace("A1", "A2"))
    assert differences("xl/sheet.xml", golden, golden + "<row/>\n")
