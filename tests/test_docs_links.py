"""The check of the docs' links finds each kind of fault, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_links.py"
spec = importlib.util.spec_from_file_location("check_links", SCRIPT)
check_links = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_links)

GOOD = """
<html><head>
<link rel="stylesheet" href="look.css?v=1"><link rel="next" href="sub/other.html">
<style>body { background: url(picture.png) }</style>
</head><body>
<h1 id="top">A</h1> <a name="old-style">B</a>
<a href="#top">1</a> <a href="#old-style">2</a> <a href="sub/other.html#part%20two">3</a>
<a href="https://example.org/page">elsewhere</a> <a href="mailto:someone@example.org">post</a>
<img src="picture.png" srcset="picture.png 1x, picture.png 2x"> <img src="data:image/gif;base64,R0">
<a href="picture.png">a file</a>
</body></html>
"""


@pytest.fixture
def site(tmp_path):
    """A small site without faults."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "sub" / "other.html").write_text('<p id="part two"><a href="../index.html#top">')
    (tmp_path / "look.css").write_text("body { background: url('picture.png') }")
    (tmp_path / "picture.png").write_bytes(b"")
    return tmp_path


def test_a_good_site_has_no_faults(site, capsys):
    assert check_links.main([str(site), "--external"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "https://example.org/page",
        "mailto:someone@example.org",
        "2 pages, 2 addresses on other hosts, 0 faults",
    ]


@pytest.mark.parametrize(
    ("html", "address", "wrong"),
    [
        ('<a href="gone.html">', "gone.html", "does not exist"),
        ('<a href="sub">', "sub", "does not exist"),  # a server might show it; a file:// does not
        ('<a href="#gone">', "#gone", "has no such anchor"),
        ('<a href="index.html#gone">', "index.html#gone", "has no such anchor"),
        ('<meta name="here"><a href="#here">', "#here", "has no such anchor"),
        ('<img src="gone.png">', "gone.png", "does not exist"),
        ('<img srcset="picture.png 1x, gone.png 2x">', "gone.png", "does not exist"),
        ('<a href="../../secret.html">', "../../secret.html", "leads out of the site"),
        *[
            (html, "https://cdn.example.org/x", "is loaded from another host")
            for html in (
                '<script src="https://cdn.example.org/x"></script>',
                '<link rel="stylesheet" href="https://cdn.example.org/x">',
                '<link rel="preconnect" href="https://cdn.example.org/x">',
                '<img src="https://cdn.example.org/x">',
                '<iframe src="https://cdn.example.org/x"></iframe>',
                '<p style="background: url(https://cdn.example.org/x)">',
                '<style>@import "https://cdn.example.org/x";</style>',
            )
        ],
        ('<script src="//cdn.example.org/x"></script>', "//cdn.example.org/x", "another host"),
    ],
)
def test_faults_are_found(site, capsys, html, address, wrong):
    (site / "bad.html").write_text(html)
    assert check_links.main([str(site)]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"bad.html: {address} ")
    assert wrong in printed.err
    assert printed.out.endswith(" 1 faults\n")


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("https://fonts.example.org/a.woff2", "is loaded from another host"),
        ("fonts/gone.woff2", "does not exist"),
    ],
)
def test_style_sheets_are_read_too(site, capsys, address, wrong):
    (site / "look.css").write_text(f"@font-face {{ src: url({address}) }}")
    assert check_links.main([str(site)]) == 1
    assert capsys.readouterr().err == f"look.css: {address} {wrong}\n"


def test_a_folder_without_a_site_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        check_links.main([str(tmp_path)])
    assert "build the docs first" in capsys.readouterr().err
