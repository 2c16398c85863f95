"""The page of the mathematics, made of the docstrings in which it is derived.

    ```{equations} shallow_cf/objective.py
    ```

puts a module's docstring on the page: prose as prose, indented lines as they stand, each
equation's number as an anchor, and below them a table of where its code and its tests are.
"""

import re
from functools import cache
from itertools import groupby

import equations as finder
from docutils import nodes
from equations import DEFINITION, NUMBER, ONE, ROOT, anchor, equations, module_docstring
from source_pages import source_uri
from sphinx.util.docutils import SphinxDirective

_INLINE = re.compile(
    rf"``(?P<literal>.+?)``|:math:`(?P<math>.+?)`|`(?P<name>.+?)`"
    rf"|(?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]*[^*\s])?)\*(?!\w)|(?<!\w)\((?P<number>{NUMBER})\)"
)
_INDENTED = "    "  # by so much or more: a derivation
# What comes before this says what the equation is of.
_AFTER_SUBJECT = re.compile(r"\s{2,}| = | <- | ~ ")


in_code, in_tests = cache(finder.in_code), cache(finder.in_tests)


class Derivation(SphinxDirective):
    """A module's docstring, and where its equations lead."""

    required_arguments = 1

    def run(self):
        """The nodes."""
        path = self.arguments[0]
        for dependency in (path, "tests"):
            self.env.note_dependency(str(ROOT / dependency))
        self.known = {equation.number for equation in equations()}
        _, docstring = module_docstring(ROOT / path)
        if not docstring:
            raise self.error(f"{path} has no docstring")
        source = nodes.paragraph("", "Derived in ", classes=["derived-in"])
        source += _reference(path, path)
        parts = re.split(r"\n\s*\n", docstring.rstrip())[1:]  # the first says what the module is
        own = [equation for equation in equations() if equation.path == path]
        table = [self._table(own)] if own else []
        return [source, *(node for part in parts for node in self._part(part)), *table]

    def _part(self, part):
        """A paragraph: prose and derivations may follow each other within one."""
        for is_derivation, lines in groupby(
            part.splitlines(), key=lambda line: line.startswith(_INDENTED)
        ):
            lines = list(lines)
            if is_derivation:
                yield self._derivation(lines)
            elif lines[0].startswith("- "):
                items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
                yield nodes.bullet_list(
                    "", *(nodes.list_item("", self._prose(item)) for item in items)
                )
            else:
                yield self._prose("\n".join(lines))

    def _prose(self, text):
        text = " ".join(text.split())
        if " " not in text:  # a heading within the docstring: "Model"
            return nodes.paragraph("", "", nodes.strong("", text))
        return nodes.paragraph(text, "", *self._inline(text))

    def _inline(self, text):
        end = 0
        for match in _INLINE.finditer(text):
            yield nodes.Text(text[end : match.start()])
            yield self._marked(match)
            end = match.end()
        yield nodes.Text(text[end:])

    def _marked(self, match):
        kind, inner = match.lastgroup, match[match.lastgroup]
        if kind == "number":
            return self._number(inner)
        kinds = {"math": nodes.math, "emphasis": nodes.emphasis}
        return kinds.get(kind, nodes.literal)(inner, inner)

    def _number(self, number):
        text = f"({number})"
        if number not in self.known:
            return nodes.Text(text)
        return nodes.reference("", text, refid=anchor(number), internal=True)

    def _derivation(self, lines):
        """As it stands, but for the numbers: an anchor where one is given, elsewhere a link."""
        margin = min(len(line) - len(line.lstrip()) for line in lines)
        # A raw source other than its text tells Sphinx that it is marked up, and not code.
        block = nodes.literal_block("derivation", classes=["derivation"], language="none")
        for line in lines:
            given = DEFINITION.match(line)
            text = line[margin:]
            if given:
                number = given[1]
                before, text = text.split(f"({number})", 1)
                block += nodes.Text(before)
                block += nodes.inline(
                    "", f"({number})", ids=[anchor(number)], classes=["equation-number"]
                )
            end = 0
            for match in ONE.finditer(text):
                block += nodes.Text(text[end : match.start()])
                block += self._number(match[1])
                end = match.end()
            block += nodes.Text(text[end:] + "\n")
        return block

    def _table(self, own):
        code, tests = in_code(), in_tests()
        rows = [
            [
                nodes.paragraph("", "", self._number(each.number)),
                nodes.paragraph("", "", nodes.literal("", _AFTER_SUBJECT.split(each.text)[0])),
                _places(code[each.number]),
                _places(tests[each.number]),
            ]
            for each in own
        ]
        head = [nodes.paragraph("", text) for text in ("equation", "of", "in code", "tested in")]
        group = nodes.tgroup("", cols=len(head))
        group += [nodes.colspec(colwidth=width) for width in (8, 16, 38, 38)]
        group += nodes.thead("", _row(head))
        group += nodes.tbody("", *(_row(row) for row in rows))
        return nodes.table("", group, classes=["equations"])


def _row(cells):
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _places(places):
    """Files, and behind each the lines as links."""
    found = nodes.paragraph()
    for path, group in groupby(places, key=lambda place: place.path):
        if len(found):
            found += nodes.Text("; ")
        found += nodes.literal("", path.removeprefix("shallow_cf/").removeprefix("tests/"))
        for place in group:
            link = _reference(str(place.line), path, place.line)
            if place.within:
                link["reftitle"] = f"in {place.within}"
            found += [nodes.Text(" "), link]
    return found


def _reference(text, path, line=None):
    return nodes.reference("", text, refuri=source_uri(path, line))


def setup(app):
    """Register the directive."""
    app.add_directive("equations", Derivation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
