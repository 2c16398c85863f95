"""The source as pages of the site, with an anchor for every line, and links that lead there.

A Markdown page links to code as in a checkout, [`solvers/grg.py`](../shallow_cf/solvers/grg.py),
and to folders likewise; in the site these links lead to pages made here. Others ask for a line:

    source_uri("shallow_cf/solvers/grg.py", 12)    for nodes.reference(refuri=...)
"""

import ast
import re
from html import escape
from pathlib import Path

from docutils import nodes
from equations import MARK, ONE, anchor, equations
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.display import status_iterator
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[2]
FOLDERS = ("shallow_cf", "tests", "examples", "benchmarks")
_SCHEME = "source:"
# As Pygments shows `# (4a)`.
_MARK = re.compile(rf'<span class="c1">{MARK.pattern}[^<]*')


def source_uri(path, line=None):
    """Where a reference to a file of the project leads, until its page is known."""
    return f"{_SCHEME}{path}" + (f"#L-{line}" if line else "")


def shown_files():
    """All files that have a page, as paths from the root of the project."""
    return sorted(
        path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")
    )


class LinksToSource(SphinxTransform):
    """Turns what MyST makes of a relative link, a download, into a link to the file's page.

    It has to run before downloads are collected, or the files would be copied.
    """

    default_priority = 400

    def apply(self):
        """Change the tree of one page."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in [*self.document.findall(addnodes.download_reference), *self._missing_folders()]:
            path = (here / node["reftarget"]).resolve()
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS:
                uri = source_uri(path.relative_to(ROOT).as_posix())
                node.replace_self(nodes.reference("", "", *node.children, refuri=uri))

    def _missing_folders(self):
        """MyST takes a link to a folder for one to a page; there is none."""
        for node in self.document.findall(addnodes.pending_xref):
            if node.get("reftype") == "myst" and (ROOT / "docs" / node["reftarget"]).is_dir():
                yield node


def resolve(app, doctree, docname):
    """Give each reference its address as seen from the page that it is on."""
    here = app.builder.get_target_uri(docname)
    for node in doctree.findall(nodes.reference):
        if (uri := node.get("refuri", "")).startswith(_SCHEME):
            path, _, anchor = uri.removeprefix(_SCHEME).partition("#")
            page = relative_uri(here, app.builder.get_target_uri(page_name(path)))
            node["refuri"] = page + (f"#{anchor}" if anchor else "")


def page_name(path):
    """The page of a file; that of a folder lists what is in it."""
    return f"source/{path}" if str(path).endswith(".py") else f"source/{path}/index"


def pages(app):
    """All pages, for Sphinx to write: name, what the template needs, template."""
    formatter = HtmlFormatter(linenos="inline", linespans="L", wrapcode=True)
    files = shown_files()
    folders = sorted({folder for path in files for folder in path.parents} - {Path()})
    for path in status_iterator(files, "source pages... ", length=len(files)):
        code = highlight((ROOT / path).read_text(encoding="utf-8"), PythonLexer(), formatter)
        yield page_name(path), _context(app, path, _with_equations(app, path, code)), "page.html"
    for folder in folders:
        listing = _listing(folder, files, folders)
        yield page_name(folder), _context(app, folder, listing), "page.html"


def _with_equations(app, path, code):
    """Comments that begin with an equation's number, `# (4a)`, lead to its derivation."""
    here = app.builder.get_target_uri(page_name(path))
    page = relative_uri(here, app.builder.get_target_uri("mathematics"))
    known = {equation.number for equation in equations()}

    def linked(match):
        number = match[1]
        if number not in known:
            return match[0]
        return f'(<a href="{page}#{anchor(number)}">{number}</a>)'

    def marked(comment):
        return ONE.sub(linked, comment[0])

    return _MARK.sub(marked, code.replace("&#39;", "'"))  # of (12'); text needs no entity


def _context(app, path, body):
    """What the theme's template shows: a heading, the way up, the body."""
    up = [part for part in reversed(path.parents) if part != Path()]
    here = app.builder.get_target_uri(page_name(path))
    parts = [_link(app, here, part, part.name) for part in up]
    way = " / ".join([*parts, path.name])
    return {
        "title": path.as_posix(),
        "body": f'<h1 class="source">{way}</h1>\n{body}',
        "parents": [],
        "toctree": _navigation(app, here),
    }


def _navigation(app, here):
    """What the theme asks for to show the site's pages at the side.

    It is the same from all pages of one depth. Sphinx makes it anew for each, which for this
    many pages takes longer than all else.
    """

    def toctree(**options):
        made = app.builder.__dict__.setdefault("source_navigation", {})
        key = (here.count("/"), *sorted(options.items()))
        if key not in made:
            made[key] = app.builder._get_local_toctree(here.removesuffix(".html"), **options)
        return made[key]

    return toctree


def _link(app, here, path, text):
    target = relative_uri(here, app.builder.get_target_uri(page_name(path)))
    return f'<a href="{target}">{text}</a>'


def _listing(folder, files, folders):
    """A folder's contents: folders first, each file with the first line of its docstring."""
    inner = [path for path in folders if path.parent == folder]
    entries = [f'<li><a href="{path.name}/index.html">{path.name}/</a></li>' for path in inner]
    for path in files:
        if path.parent == folder:
            entries.append(f'<li><a href="{path.name}.html">{path.name}</a>{_summary(path)}</li>')
    return "<ul>\n{}\n</ul>".format("\n".join(entries))


def _summary(path):
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or ""
    first = escape(docstring.partition("\n")[0])
    return ": " + re.sub(r"`+(.+?)`+", r"<code>\1</code>", first) if first else ""


def setup(app):
    """Register what is above."""
    app.add_transform(LinksToSource)
    app.connect("doctree-resolved", resolve)
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
