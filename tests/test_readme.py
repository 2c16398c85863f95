"""What the README shows is what the program prints."""

import re
from pathlib import Path

from shallow_cf import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_the_demos_output(capsys):
    shown = re.search(r"```text\n(.*?)\n```", README, re.DOTALL)[1]
    assert cli.main(["demo"]) == 0
    printed = capsys.readouterr().out
    # The last digits and the number of iterations depend on the machine's arithmetic.
    assert NUMBER.sub("#", printed).split()[: len(shown.split())] == NUMBER.sub("#", shown).split()
    for line, expected in zip(printed.splitlines(), shown.splitlines(), strict=False):
        if "RMSE" in line or re.match(r"\s+\d+\s+\d+", line):
            ours, theirs = ([float(n) for n in NUMBER.findall(text)] for text in (line, expected))
            assert all(abs(a - b) < 0.05 for a, b in zip(ours, theirs, strict=True)), line


def test_every_command_is_in_the_readme():
    for command in cli.make_parser().commands:
        assert f"`shallow-cf {command}" in README


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
