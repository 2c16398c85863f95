"""Names in docstrings: what stands in `backticks` is code, and a link where it is public.

numpydoc's docstrings put parameters, methods and classes alike in single backticks. The default
role set here looks a name up among the documented things, in the class or module at hand first,
and leaves what it does not find as plain code. Links to the source are made here as well.
"""

import importlib
import inspect
from pathlib import Path

from docutils import nodes
from source_pages import ROOT, source_uri
from sphinx import addnodes
from sphinx.util.docutils import SphinxRole

_TYPE = "maybe"


class Name(SphinxRole):
    """A name that may be that of a documented thing."""

    def run(self):
        """A reference to be looked up when all pages are read."""
        python = self.env.ref_context
        code = nodes.literal("", self.text, classes=["name"])
        node = addnodes.pending_xref(
            "", code, refdomain="", reftype=_TYPE, reftarget=self.text.rstrip("()"),
            scopes=[python.get("py:class"), python.get("py:module"), "shallow_cf"],
        )  # fmt: skip
        return [node], []


def look_up(app, env, node, content):
    """The link, or the code by itself."""
    if node.get("reftype") != _TYPE:
        return None
    domain, target = env.get_domain("py"), node["reftarget"]
    here = [f"{scope}.{target}" for scope in node["scopes"] if scope]
    # A class's method is also found as Class.method of a module.
    here += [f"shallow_cf.{scope}.{target}" for scope in node["scopes"][:1] if scope]
    for name in (*here, target):
        if name in domain.objects:
            entry = domain.objects[name]
            uri = app.builder.get_relative_uri(node["refdoc"], entry.docname)
            return nodes.reference("", "", content, internal=True, refuri=f"{uri}#{entry.node_id}")
    return content


def linkcode_resolve(domain, info):
    """Where a documented thing begins in the source; for sphinx.ext.linkcode."""
    thing = importlib.import_module(info["module"])
    for part in info["fullname"].split("."):
        thing = getattr(thing, part, None)
    if isinstance(thing, property):
        thing = thing.fget
    try:
        path = Path(inspect.getsourcefile(inspect.unwrap(thing)))
        _, line = inspect.getsourcelines(inspect.unwrap(thing))
    except (OSError, TypeError):  # an attribute, or a method that a named tuple makes
        return None
    return source_uri(path.relative_to(ROOT).as_posix(), line) if ROOT in path.parents else None


def skip_member(app, what, name, obj, skip, options):
    """The fields of a named tuple have no docstrings but "Alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Register what is above."""
    app.add_role("name", Name())
    app.connect("missing-reference", look_up)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
