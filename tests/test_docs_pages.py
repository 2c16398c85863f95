"""What the pages for newcomers tell them to type works as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from command_line import ok

DOCS = Path(__file__).parents[1] / "docs"
START = (DOCS / "start.md").read_text(encoding="utf-8")


def shell_lines(page):
    """What stands in the page's blocks of shell commands, a line a command."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
def test_the_commands_of_the_first_ten_minutes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [line for line in shell_lines(START) if line.startswith("shallow-cf ")]
    made = []
    for command in commands:
        before = set(tmp_path.iterdir())
        ok(*shlex.split(command)[1:])
        made += [path.name for path in set(tmp_path.iterdir()) - before]
    assert made == ["collab_filter.xlsx", "book.xlsx", "solved.xlsx", "mine.xlsx"]
    for name in made:
        assert f"`{name}`" in START  # the page says what to open


def test_every_line_to_install_with_is_one_that_is_tested():
    # .ci/run installs in the same way, in a clean clone.
    lines = [line for line in shell_lines(START) if not line.startswith("shallow-cf ")]
    assert lines == ["python3 -m venv .venv", "source .venv/bin/activate", "pip install ."]


@pytest.mark.parametrize("name", ["start", "lesson", "faq"])
def test_what_a_page_shows_exists(name):
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page)
    assert targets
    for target in targets:
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize("name", ["start", "lesson", "faq"])
def test_code_can_be_read_without_scrolling(name):
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```\{code-cell\}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shown = [cell for cell in cells if ":tags: [remove-cell]" not in cell]
    assert shown
    code = re.sub(r"^---\n.*?^---\n", "", "".join(shown), flags=re.DOTALL | re.MULTILINE)
    for line in code.splitlines():
        assert len(line) <= 86, line  # the width of a page
