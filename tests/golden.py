"""Golden workbooks: parts of a workbook as texts that can be read, compared and kept.

`normalised` removes what two equal workbooks may differ in: the order of attributes and
of namespaces, prefixes, how the XML is broken into lines, the document's times and the
version of openpyxl. `differences` compares what is left, numbers as numbers.
"""

import math
import re
import zipfile
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

GOLDEN_FOLDER = Path(__file__).parent / "golden"
REGENERATE = "python tests/kinds_of_export.py --golden, then look at what git shows"

_OFFICE, _PACKAGE = (
    f"http://schemas.openxmlformats.org/{place}/2006/" for place in ("officeDocument", "package")
)
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/"
PREFIXES = {
    "": "",
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "",
    f"{_PACKAGE}content-types": "",
    f"{_PACKAGE}relationships": "",
    f"{_OFFICE}extended-properties": "",
    f"{_OFFICE}relationships": "r:",
    f"{_PACKAGE}metadata/core-properties": "cp:",
    f"{_DRAWING}main": "a:",
    f"{_DRAWING}chart": "c:",
    f"{_DRAWING}spreadsheetDrawing": "xdr:",
    "http://purl.org/dc/elements/1.1/": "dc:",
    "http://purl.org/dc/terms/": "dcterms:",
    "http://www.w3.org/2001/XMLSchema-instance": "xsi:",
    "http://www.w3.org/XML/1998/namespace": "xml:",
}

_NUMBER = re.compile(r"(?<=<v>)-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?=</v>)")
#: Relative; another BLAS or NumPy adds in another order.
_RELATIVE = 1e-12
#: Of residuals and the like: differences of numbers of about 5 stars keep their rounding.
_ABSOLUTE = 1e-13
#: A central difference divides the rounding of its two values by a small step.
_DIFFERENCE, _OF_DIFFERENCE = re.compile(r"\)/\(2\*\$?[A-Z]"), 1e-10
#: What is left of a difference of equal numbers is not compared.
_NOTHING = 1e-9
_TIME = re.compile(r"(?<=>)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ(?=<)")
_VERSION = re.compile(r"(Openpyxl )[\d.]+|(?<=AppVersion>)[\d.]+")


def normalised(workbook: Path) -> dict[str, str]:
    """Part -> its XML, an element a line and a cell a line."""
    with zipfile.ZipFile(workbook) as archive:
        return {_file_name(name): _text(archive.read(name)) for name in archive.namelist()}


def write_golden(kind: str, workbook: Path) -> None:
    """Make a workbook the golden one of its kind."""
    folder = GOLDEN_FOLDER / kind
    parts = normalised(workbook)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    for part, text in parts.items():
        path = folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def differences(part: str, golden: str, ours: str, absolute: float = _ABSOLUTE) -> list[str]:
    """Lines in which two texts of a part differ, each as it should be and as it is.

    Texts must be equal, and of the cells' numbers one of the two: close, relatively or
    absolutely, or as good as nothing both.
    """
    found = []
    pairs = zip_longest(golden.splitlines(), ours.splitlines(), fillvalue="(nothing)")
    for number, (expected, line) in enumerate(pairs, 1):
        if not _are_equal(expected, line, absolute):
            found += [f"{part}:{number}", f"  - {expected.strip()}", f"  + {line.strip()}"]
    return found


def _file_name(part: str) -> str:
    """A part's name as a file's: neither hidden nor with brackets; folders stay."""
    return part.replace("[Content_Types]", "Content_Types").replace("_rels/.rels", "_rels/rels")


def _text(xml: bytes) -> str:
    text = "\n".join(_lines(ElementTree.fromstring(xml), ""))
    return _VERSION.sub(r"\1VERSION", _TIME.sub("TIME", text)) + "\n"


def _lines(element: ElementTree.Element, indent: str) -> list[str]:
    """An element with its attributes in the order of the alphabet."""
    attributes = sorted((_name(key), value) for key, value in element.attrib.items())
    name = _name(element.tag)
    head = name + "".join(f" {key}={quoteattr(value)}" for key, value in attributes)
    text = escape(element.text or "")
    below = [line for child in element for line in _lines(child, f"{indent}  ")]
    if not below:
        return [f"{indent}<{head}>{text}</{name}>" if text else f"{indent}<{head}/>"]
    if name == "c":
        return [f"{indent}<{head}>{''.join(map(str.lstrip, below))}</{name}>"]
    return [f"{indent}<{head}>{text.strip()}", *below, f"{indent}</{name}>"]


def _name(name: str) -> str:
    """A name with a prefix that is the same in every file."""
    namespace, local = name[1:].split("}") if name.startswith("{") else ("", name)
    return PREFIXES.get(namespace, f"{{{namespace}}}") + local


def _are_equal(expected: str, line: str, absolute: float) -> bool:
    if expected == line:
        return True
    if _NUMBER.sub("NUMBER", expected) != _NUMBER.sub("NUMBER", line):
        return False
    if _DIFFERENCE.search(line):
        absolute = max(absolute, _OF_DIFFERENCE)
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(line), strict=True)
    return all(
        max(abs(a), abs(b)) < _NOTHING or math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=absolute)
        for a, b in ((float(a), float(b)) for a, b in pairs)
    )
