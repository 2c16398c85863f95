"""The lessons' published numbers, met and beaten: examples/lessons on MovieLens' files."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import shallow_cf as scf
from conftest import shared_file

LESSONS = Path(__file__).parents[1] / "examples" / "lessons"
#: Script -> the folder that its --data names here.
FOLDERS = {
    "lesson5_2018": "ml-latest-small-2016",
    "lesson4_2019": "ml-100k",
    "book_chapter8_2020": "ml-100k",
}
RUNS = [
    ("lesson5_2018", ["dot", "bias", "net", "learner", "ours", "ours, deep"]),
    ("lesson4_2019", ["learner", "ours"]),
    ("book_chapter8_2020", ["dot", "range", "bias", "decay", "net", "ours, deep"]),
]
CASES = [(lesson, name) for lesson, names in RUNS for name in names]
#: Those that are quick enough for every day; the others take up to two minutes each.
QUICK = [("lesson4_2019", "learner"), ("book_chapter8_2020", "dot")]
TOLERANCE = 0.02  # stars**2; another random validation part moves the numbers by 0.01


@pytest.fixture
def load(monkeypatch):
    """A lesson's script as a module."""
    monkeypatch.syspath_prepend(LESSONS)
    return importlib.import_module


@pytest.mark.parametrize("lesson", FOLDERS)
def test_every_run_of_a_script_is_tested(load, lesson):
    named = {run for name, runs in RUNS for run in runs if name == lesson}
    assert set(load(lesson).RUNS) - named <= {"ours"}  # the net on top of it trains it anyway


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lesson", "name"),
    [it if it in QUICK else pytest.param(*it, marks=pytest.mark.long) for it in CASES],
)
def test_published_numbers(load, lesson, name):
    script = load(lesson)
    train, valid = script.split(scf.read_ratings(shared_file("data", FOLDERS[lesson], script.FILE)))
    run = script.RUNS[name]
    found, _ = load("table").validation_mse(run, train, valid)
    for ours, published in zip(found[-len(run.published) :], run.published, strict=False):
        assert abs(ours - published) <= TOLERANCE
    if name == list(script.RUNS)[-1]:  # the best of ours
        best = min(min(other.published) for other in script.RUNS.values() if other.published)
        assert found[-1] < best


def test_a_script_says_which_file_it_needs(tmp_path):
    done = subprocess.run(
        [sys.executable, LESSONS / "lesson4_2019.py", "--data", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no file" in done.stderr
    assert "Traceback" not in done.stderr
