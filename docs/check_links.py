"""Do all links of the built docs lead somewhere? Nothing is fetched.

    python docs/check_links.py docs/_build/html

Every link, picture, style sheet and script within the site has to exist, and so has the anchor
that a link names. A page must not load anything from another host; where it only links there,
the address is listed with --external. Exit status 1 if something was found.
"""

import argparse
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, as (tag, attribute); <a href> waits for a click, and so do
# links to other pages in the head, which have no rel of these kinds.
LOADED = {
    *((tag, "src") for tag in ("audio", "embed", "iframe", "img", "input", "script", "source")),
    *((tag, "src") for tag in ("track", "video")),
    *(("object", "data"), ("video", "poster"), ("image", "href"), ("use", "href")),
}
LOADED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "manifest"}
CSS_URL = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)|@import\s+["']([^"']+)["']""")


class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, html: str):
        super().__init__()
        self.anchors, self.links, self.loads = set(), set(), set()
        self._in_style = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        """Note what the parser has come to."""
        found = {name: value or "" for name, value in attributes}
        self._in_style = tag == "style"
        # The name of a field or of a <meta> is no anchor.
        self.anchors |= {found[name] for name in ("id", *["name"] * (tag == "a")) if name in found}
        self.loads |= set(_css_addresses(found.get("style", "")))
        for name, value in found.items():
            if name == "srcset":
                self.loads |= {part.split()[0] for part in value.split(",") if part.split()}
            elif (tag, name) in LOADED:
                self.loads.add(value)
            elif name == "href":
                loaded = tag == "link" and LOADED_RELATIONS & set(found.get("rel", "").split())
                (self.loads if loaded else self.links).add(value)

    def handle_data(self, data):
        """Style sheets within the page load things, too."""
        if self._in_style:
            self.loads |= set(_css_addresses(data))
            self._in_style = False


def _css_addresses(css):
    return (url or imported for url, imported in CSS_URL.findall(css))


@cache
def read(path):
    """A page of the site, read once."""
    return Page(path.read_text(encoding="utf-8"))


def check(root):
    """All faults as (file, address, what is wrong), and all addresses on other hosts."""
    faults, external = [], set()
    root = Path(root).resolve()
    pages = sorted(root.rglob("*.html"))
    for path in pages:
        for address in sorted(read(path).links | read(path).loads):
            if _is_elsewhere(address):
                external.add(address)
                if address in read(path).loads:
                    faults.append((path, address, "is loaded from another host"))
            elif wrong := _wrong(path, address, root):
                faults.append((path, address, wrong))
    for path in sorted(root.rglob("*.css")):
        for address in sorted(set(_css_addresses(path.read_text(encoding="utf-8")))):
            if _is_elsewhere(address):
                faults.append((path, address, "is loaded from another host"))
            elif wrong := _wrong(path, address, root):
                faults.append((path, address, wrong))
    return [(path.relative_to(root).as_posix(), *rest) for path, *rest in faults], external, pages


def _is_elsewhere(address):
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _wrong(path, address, root):
    """What is wrong with an address within the site, "" if nothing."""
    parts = urlsplit(address)
    if parts.scheme == "data":
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_relative_to(root):
        return "leads out of the site"
    if not target.is_file():
        return "does not exist"
    anchor = unquote(parts.fragment)
    if anchor and target.suffix == ".html" and anchor not in read(target).anchors:
        return "has no such anchor"
    return ""


def main(arguments=None):
    """Check a folder and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the built site, docs/_build/html")
    parser.add_argument("--external", action="store_true", help="list links to other hosts")
    options = parser.parse_args(arguments)
    if not (options.folder / "index.html").is_file():
        parser.error(f"{options.folder} has no index.html: build the docs first")
    faults, external, pages = check(options.folder)
    for path, address, wrong in faults:
        print(f"{path}: {address} {wrong}", file=sys.stderr)
    if options.external:
        print(*sorted(external), sep="\n")
    print(f"{len(pages)} pages, {len(external)} addresses on other hosts, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
