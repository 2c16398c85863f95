"""Every example runs, as a newcomer runs it, and what its text claims is what it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import shallow_cf as scf

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
NAMES = [script.stem for script in SCRIPTS]
#: The one that takes next to nothing; the others are slow tests.
QUICK = "03_gradients_by_hand"
NUMBER = re.compile(r"-?\d+\.\d+")
ENVIRONMENT = os.environ | {
    "MPLBACKEND": "Agg",
    "PYTHONPATH": str(Path(scf.__file__).parents[1]),
    "PYTHONIOENCODING": "utf-8",
}


def run(name, *arguments, **environment):
    """Run a script in the current, empty folder, with warnings as errors."""
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments]
    return subprocess.run(
        command, env=ENVIRONMENT | environment, capture_output=True, encoding="utf-8", timeout=300
    )


def output(name, *arguments, **environment):
    done = run(name, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def row(text, start):
    """The numbers with a point in the line that begins so."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return [float(number) for number in NUMBER.findall(line)]


def crosstab_is_fuller_than_the_table(text):
    """01."""
    assert row(text, "15 x 15")[0] > 90
    assert row(text, "all ")[0] < 2
    assert "Ratings(15 users x 15 items, 206 ratings)" in text
    assert row(text, "mean of all ratings") == [round(scf.load_crosstab().mean_rating, 2)]


def rmse_falls_to_the_best_known(text):
    """02."""
    falls = [row(text, "Random")[0]] + [row(text, f"after {n:>6}")[0] for n in (1, 10, 100, 10_000)]
    assert falls == sorted(falls, reverse=True)
    assert falls[-1] == row(text, "MatrixFactorization")[0] == 0.3929


def gradients_agree_and_sabotage_is_caught(text):
    """03."""
    assert "d/dp = e q = -1 x (3, 0.5)    = [-3.  -0.5]" in text
    assert float(text.split("difference ")[1].split()[0]) < 1e-8
    assert "One entry 0.1% wrong is caught: entry" in text
    small, *_, large = (row(text, f"learning rate {rate}")[-1] for rate in (0.01, 0.05, 0.1, 0.2))
    assert small < 0.5 < large  # the loss at the start is 0.5


def all_reach_the_optimum_solver_not_always(text):
    """04."""
    ends = row(text, "the last")
    assert len(ends) == 3
    assert all(0.3929007 < end < 0.3932 for end in ends)
    assert re.search(r"best +5 of 5 +3 of 5 +5 of 5", text)


def nothing_is_lost_on_the_way(text):
    """05."""
    assert row(text, "Solved")[0] < 0.3195
    assert text.count("bit for bit:") == text.count(" True") == 2
    assert float(text.split("NumPy ")[1].split()[0]) < 1e-12


def both_together_predict_best(text):
    """06."""
    assert "RMSE 0.3929, predictions" in text
    assert "RMSE 0.3187, predictions" in text
    test = {name: row(text, name)[-1] for name in ("dot product", "with both", "biases alone")}
    others = row(text, "with biases")[-1], row(text, "with sigmoid")[-1]
    assert test["with both"] < min(*others, test["dot product"], test["biases alone"])


def models_beat_the_baselines(text):
    """07."""
    assert row(text, "global mean")[0] > row(text, "biases only")[0]
    for name in ("vb", "als", "sgd"):
        assert row(text, f"{name} ")[0] < row(text, "biases only")[0] - 0.02
    lines = text.split("foretold, stars   made, stars\n")[1].splitlines()[:5]
    pairs = [[float(number) for number in line.split()] for line in lines]
    assert all(abs(foretold - made) < 0.05 for foretold, made in pairs)
    assert text.count("made-up movie") == 5


def a_penalty_helps_where_ratings_are_few(text):
    """08."""
    without, with_penalty = (float(n) for n in re.findall(r"not told: ([\d.]+) stars", text))
    assert with_penalty < without
    told = {reg: row(text, f"{reg} ") for reg in ("0", "3")}
    assert max(told["0"]) == told["0"][3] > 3  # five ratings, five numbers
    assert told["3"] == sorted(told["3"], reverse=True)


def components_agree_factors_do_not(text):
    """09."""
    assert row(text, "predictions, stars")[0] <= 1e-4
    assert row(text, "components")[0] <= 1e-4
    assert row(text, "factors")[0] > 0.5
    action = text.split("component 1, lowest")[1].splitlines()[0]
    drama = text.split("component 1, highest")[1].splitlines()[0]
    if "Braveheart" in action:  # the signs are chance
        action, drama = drama, action
    assert "Terminator 2" in action
    assert "Shawshank" in drama


def training_matters_more_than_depth(text):
    """10."""
    for world in text.split("taste is ")[1:]:
        test = [
            row(world, name)[-1] for name in ("shallow  ", "deep  ", "deep on", "shallow, Bayes")
        ]
        shallow, deep, on_top, bayes = test
        assert on_top <= min(shallow, deep) + 0.001
        assert bayes < on_top


def solver_is_stuck_and_gets_out(text):
    """11."""
    assert row(text, "Solver's defaults")[0] > 0.4014 > 0.3935 > row(text, "no negative")[0]
    assert row(text, "many starts")[0] == row(text, "variable projection")[0] == 0.392901
    assert (
        row(text, "the valley at 0.40147")[-1] > 1000 > 10 > row(text, "the valley at 0.39290")[-1]
    )


def intervals_hold(text):
    """12."""
    assert abs(row(text, "50%:")[0] - 50) < 1
    assert abs(row(text, "90%:")[0] - 90) < 1
    assert text.count("+-") == 3


CLAIMS = dict(
    zip(
        NAMES,
        (
            crosstab_is_fuller_than_the_table,
            rmse_falls_to_the_best_known,
            gradients_agree_and_sabotage_is_caught,
            all_reach_the_optimum_solver_not_always,
            nothing_is_lost_on_the_way,
            both_together_predict_best,
            models_beat_the_baselines,
            a_penalty_helps_where_ratings_are_few,
            components_agree_factors_do_not,
            training_matters_more_than_depth,
            solver_is_stuck_and_gets_out,
            intervals_hold,
        ),
        strict=True,
    )
)
#: 07 prints seconds, in the last column of a table.
SECONDS = re.compile(r"(?m)^((?:vb|als|sgd) .*?) +[\d.]+$")


@pytest.fixture
def without_matplotlib():
    """PYTHONPATH with a package of that name that is none, as where it is not installed."""
    broken = Path("without", "matplotlib")
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ModuleNotFoundError('No module named matplotlib')\n")
    return os.pathsep.join((str(broken.parent.absolute()), ENVIRONMENT["PYTHONPATH"]))


def but_for_the_quick(mark):
    """Names of all scripts, marked unless it is the one that takes next to nothing."""
    return [name if name == QUICK else pytest.param(name, marks=mark) for name in NAMES]


@pytest.mark.parametrize("name", but_for_the_quick(pytest.mark.slow))
def test_prints_what_it_claims_and_draws(name):
    pytest.importorskip("matplotlib")
    text = output(name)
    CLAIMS[name](text)
    picture = Path(f"{name}.png")
    assert text.splitlines()[-1] == f"Picture: {picture}"
    assert list(Path.cwd().iterdir()) == [picture.absolute()]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", but_for_the_quick(pytest.mark.long))
def test_prints_the_same_without_matplotlib(name, without_matplotlib):
    pytest.importorskip("matplotlib")
    plain = output(name, PYTHONPATH=without_matplotlib)
    assert [path.name for path in Path.cwd().iterdir()] == ["without"]
    (*first, advice), (*again, _) = (
        SECONDS.sub(r"\1", text).splitlines() for text in (plain, output(name))
    )
    assert first == again  # same seeds, same text
    assert advice == 'The picture needs matplotlib: pip install "shallow_cf[plot]"'


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_is_a_page_of_the_gallery(script):
    text = script.read_text(encoding="utf-8")
    _, title, line, blank = text.split("\n")[:4]
    assert (line, blank) == ("=" * len(title), "")
    assert "**Look at**" in text
    assert "**Then try**" in text
    assert text.count("\n# %%\n") >= 4
    assert re.findall(r'savefig\("(.+)"\)', text) == [f"{script.stem}.png"]


def test_numbers_count_from_one():
    assert [name[:2] for name in NAMES] == [f"{k:02}" for k in range(1, 13)]


@pytest.mark.slow
class TestFullMovielens:
    NAME = "07_full_movielens"

    def test_help_names_the_argument(self):
        assert "--data PATH" in output(self.NAME, "--help")

    @pytest.mark.parametrize(
        ("path", "said"),
        [("nowhere", "there is no file nowhere"), (".", ". has none of ratings.csv, ratings.dat")],
    )
    def test_a_wrong_path_is_told_in_a_line(self, path, said):
        done = run(self.NAME, "--data", path)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_reads_a_folder_with_titles(self):
        ratings = scf.synthetic_ratings(120, 80, 4000, random_state=0)
        Path("site").mkdir()
        frame = ratings.to_frame().set_axis(["userId", "movieId", "rating", "timestamp"], axis=1)
        frame.to_csv("site/ratings.csv", index=False)
        titles = "".join(f'{item},"Film {item}, The (1990)"\n' for item in range(1, 81))
        Path("site/movies.csv").write_text("movieId,title\n" + titles)
        text = output(self.NAME, "--data", "site")
        assert text.startswith(f"{ratings}\n")
        assert text.count(", The (1990)") == 5


@pytest.mark.slow
def test_the_workbook_is_kept_where_asked():
    assert "book.xlsx: " in output("05_to_excel_and_back", "book.xlsx")
    assert scf.read_workbook("book.xlsx").ratings.equals(scf.load_crosstab())
