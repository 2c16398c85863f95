"""The commands `download` and `synthetic`, as they are typed."""

import io
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import ok, refused, run
from loopback import CONTENT, cut, honest, status

import shallow_cf as scf

U_DATA = str(Path("data", "ml-100k", "u.data"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def at_terminal(monkeypatch):
    """Somebody types an answer: what they were shown, and how the command ended."""

    def ask(answer, *argv):
        shown = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        monkeypatch.setattr("command_line.io.StringIO", lambda: shown)  # both streams are one
        status = run(*argv).status
        return status, shown.getvalue()

    return ask


# --- download -----------------------------------------------------------------------------


def test_download_accepting_the_conditions(ml_100k):
    done = ok("download", "ml-100k", "--accept-licence")
    assert "Do not pass the data on without separate permission." in done.out
    assert f"{U_DATA}: 3 ratings\n" in done.out
    following = re.search(r"^Next: shallow-cf (train .+)$", done.out, re.M)[1]
    assert following == f"train {U_DATA} -o model.npz"
    assert len(scf.read_ratings(U_DATA)) == 3
    assert len(ml_100k.asked) == 1


def test_download_as_json(ml_100k):
    first = ok("download", "ml-100k", "--accept-licence", "--json").json
    again = ok("download", "ml-100k", "--json").json
    assert first.pop("downloaded") is True
    assert again.pop("downloaded") is False
    assert first == again
    assert first["output"] == U_DATA
    assert (first["name"], first["ratings"]) == ("ml-100k", 3)
    assert "commercial" in first["licence"]
    assert len(ml_100k.asked) == 1


@pytest.mark.usefixtures("ml_100k")
def test_what_is_there_is_not_asked_about_again():
    ok("download", "ml-100k", "--accept-licence")
    done = ok("download", "ml-100k")
    assert done.out.startswith(f"{U_DATA}: 3 ratings, from an earlier run\n")


def test_without_consent_nothing_happens(ml_100k):
    message = refused("download", "ml-100k")
    assert message == (
        "shallow-cf download: error: the conditions of use of ml-100k have to be accepted: "
        "--licence shows them, --accept-licence accepts them"
    )
    assert ml_100k.asked == []


def test_conditions_are_shown_alone(ml_100k):
    done = ok("download", "ml-100k", "--licence")
    assert done.out.startswith("ml-100k belongs to GroupLens")
    assert ml_100k.asked == []
    assert not Path("data").exists()


@pytest.mark.parametrize(("answer", "expected"), [("y\n", 0), ("Yes\n", 0), ("\n", 2), ("", 2)])
def test_asking_at_a_terminal(ml_100k, at_terminal, answer, expected):
    status, shown = at_terminal(answer, "download", "ml-100k")
    assert status == expected
    assert shown.startswith("ml-100k belongs to GroupLens")
    assert "Do you accept them? [y/N] " in shown
    assert shown.count("Do not state or imply") == 1
    assert len(ml_100k.asked) == (expected == 0)
    assert Path(U_DATA).exists() == (expected == 0)
    if expected:
        assert "error: the conditions were not accepted, and nothing was downloaded" in shown


@pytest.mark.usefixtures("ml_100k")
def test_download_from_a_file_and_to_a_folder():
    Path("mine.zip").write_bytes(CONTENT)
    given = ("download", "ml-100k", "--from-file", "mine.zip", "--accept-licence")
    data = ok(*given, "--folder", "there", "--json").json
    assert data["output"] == str(Path("there", "ml-100k", "u.data"))
    assert data["downloaded"] is False
    Path("mine.zip").write_bytes(b"no zip")
    assert "unpack it yourself: u.data can be read wherever it stands" in refused(*given)
    assert "there is no file none.zip" in refused(*given[:3], "none.zip", "--accept-licence")


def test_download_when_the_site_is_down(ml_100k):
    ml_100k.moods = [status(404)]
    message = run("download", "ml-100k", "--accept-licence").err
    assert message.count("\n") == 1
    assert "the server answers 404" in message
    assert f"open {ml_100k.url} in a browser, and name the file that you get by --from-file" in (
        message
    )


def test_ctrl_c_and_the_same_command_again(ml_100k, monkeypatch):
    def stop(seconds):
        raise KeyboardInterrupt

    ml_100k.moods = [cut(50_000), honest]
    with monkeypatch.context() as patch:
        patch.setattr("shallow_cf._fetch.time.sleep", stop)  # between the first try and the second
        done = run("download", "ml-100k", "--accept-licence")
    assert (done.status, done.err) == (130, "")
    assert done.out == "Interrupted. What came is kept: the same command goes on from there.\n"
    ok("download", "ml-100k", "--accept-licence")
    assert [headers.get("Range") for headers in ml_100k.asked] == [None, "bytes=50000-"]


def test_names_of_data_sets():
    message = refused("download", "ml-2m")
    assert re.search(r"argument NAME: invalid choice: 'ml-2m'.*ml-32m", message)


@pytest.mark.usefixtures("ml_100k")
def test_progress_at_a_terminal(at_terminal, monkeypatch):
    tqdm = pytest.importorskip("tqdm")
    bars, plain = [], tqdm.tqdm

    def bar(**settings):
        bars.append(plain(**settings | {"delay": 0}))
        return bars[-1]

    monkeypatch.setattr(tqdm, "tqdm", bar)
    status, _ = at_terminal("", "download", "ml-100k", "--accept-licence")
    assert status == 0
    assert [(it.desc, it.n, it.total) for it in bars] == [
        ("downloading", len(CONTENT), len(CONTENT))
    ]


# --- synthetic ----------------------------------------------------------------------------

SIZE = ("--users", 60, "--items", 40, "--ratings", 900)


def test_synthetic_ratings_are_those_of_the_library():
    done = ok("synthetic", *SIZE, "--seed", 3, "--factors", 2, "--noise", 0.3, "-o", "r.csv")
    expected, truth = scf.synthetic_ratings(
        60, 40, 900, n_factors=2, noise=0.3, random_state=3, return_truth=True
    )
    assert scf.read_ratings("r.csv").equals(expected)
    table = pd.read_csv("r.csv")
    assert table.columns.tolist() == ["userId", "movieId", "rating", "timestamp"]
    model = scf.MatrixFactorization.from_parameters(expected, truth)
    best = scf.rmse(model, expected)
    assert "r.csv: 60 users x 40 items, 900 ratings\n" in done.out
    assert f"The planted numbers have an RMSE of {best:.4f} stars" in done.out
    assert "Next: shallow-cf train r.csv -o model.npz" in done.out


def test_synthetic_as_json():
    data = ok("synthetic", *SIZE, "-o", "r.csv", "--json").json
    assert 0.7 < data.pop("rmse") < 0.9
    assert data == {"users": 60, "items": 40, "ratings": 900, "output": "r.csv"}


def test_synthetic_ratings_do_for_other_commands():
    ok("synthetic", *SIZE, "-o", "r.csv")
    ok("evaluate", "r.csv", "--split", "time", "--epochs", 1)  # which needs timestamps
    assert np.isfinite(ok("train", "r.csv", "-o", "m.npz", "--epochs", 1, "--json").json["seconds"])


def test_what_synthetic_refuses():
    Path("r.csv").write_text("mine")
    assert "r.csv exists already; pass --force to replace it" in refused("synthetic", "-o", "r.csv")
    assert "must end in .csv" in refused("synthetic", "-o", "r.xlsx")
    assert "the folder none does not exist" in refused("synthetic", "-o", "none/r.csv")
    too_many = refused("synthetic", "--users", 2, "--items", 3, "--ratings", 7, "-o", "s.csv")
    assert "--ratings must be <= 6, as 2 users and 3 items make no more pairs, got 7" in too_many
    assert "--noise must be >= 0, got -1" in refused("synthetic", "--noise", -1, "-o", "s.csv")
    ok("synthetic", *SIZE, "-o", "r.csv", "--force")
    assert len(scf.read_ratings("r.csv")) == 900
