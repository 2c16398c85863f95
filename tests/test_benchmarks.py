"""benchmarks/movielens.py: the split it states, the table it forms, and a run from end to end."""

import json
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import shallow_cf as scf

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import movielens
import movielens_data
import movielens_runs
import movielens_table
from methods.process import Worker, WorkerError
from movielens_runs import Row, Run

PAIRS = [(user, item) for user in (7, 3, 12, 5) for item in (40, 10, 30, 20, 50)]
LINES = [(user, item, 1 + (3 * user + item) % 5) for user, item in PAIRS]
FORMS = {
    "u.data": ("", "{}\t{}\t{}\t881250949\n"),
    "ratings.dat": ("", "{}::{}::{}::978300760\n"),
    "ratings.csv": ("userId,movieId,rating,timestamp\n", "{},{},{},1260759144\n"),
}


def write(path, lines, header="", form=FORMS["u.data"][1]):
    path.write_text(header + "".join(form.format(*line) for line in lines))


# --- data and splits ------------------------------------------------------------------------


@pytest.mark.parametrize("file", FORMS)
def test_rows_keep_the_order_of_the_file(tmp_path, file):
    write(tmp_path / file, LINES, *FORMS[file])
    data = movielens_data.load(str(tmp_path))
    users, items = (sorted({line[k] for line in LINES}) for k in (0, 1))
    seen = [(users[u], items[i], r) for u, i, r in zip(data.u, data.i, data.r, strict=True)]
    assert seen == LINES
    assert (data.n_users, data.n_items) == (4, 5)


def test_the_split_is_the_one_the_text_states(tmp_path):
    write(tmp_path / "u.data", LINES)
    data = movielens_data.load(str(tmp_path))
    train, test = [], []
    for position, row in enumerate(np.random.default_rng(42).permutation(len(LINES))):
        (train if position < 0.9 * len(LINES) else test).append(int(row))
    assert [part.tolist() for part in data.splits["90/10"]] == [train, test]
    assert len(test) == 2
    assert list(data.splits) == ["90/10"]


def test_the_published_folds_are_found_again(tmp_path):
    write(tmp_path / "u.data", LINES)
    for k in range(5):
        ordered = sorted(LINES)
        write(tmp_path / f"u{k + 1}.base", [x for n, x in enumerate(ordered) if n % 5 != k])
        write(tmp_path / f"u{k + 1}.test", ordered[k::5])
    splits = movielens_data.load(str(tmp_path)).splits
    assert list(splits) == ["90/10", "u1", "u2", "u3", "u4", "u5"]
    for k in range(5):
        base, test = ([LINES[row] for row in part] for part in splits[f"u{k + 1}"])
        assert test == sorted(LINES)[k::5]
        assert sorted(base + test) == sorted(LINES)
        assert base != sorted(base)  # not user by user, in which some methods would learn


def test_no_data_is_said_clearly(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder with u\.data, ratings\.dat or"):
        movielens_data.load(str(tmp_path))


def test_a_method_is_not_given_the_stars_of_the_test_part():
    data = movielens_data.load("synthetic:30x20x100")
    train, test = data.splits["90/10"]
    given = movielens_data.arrays(data, train, test)
    assert sorted(given) == sorted(
        ["train_u", "train_i", "train_r", "test_u", "test_i", "n_users", "n_items"]
    )
    assert len(given["train_r"]) == 90
    assert len(given["test_u"]) == 10


def test_synthetic_ratings_have_the_shape_asked_for():
    u, i, r = movielens_data.synthetic(400, 300, 10_000)
    pairs = [*zip(u.tolist(), i.tolist(), strict=True)]
    assert len({*pairs}) == len(r) == 10_000
    assert (len({*u.tolist()}), len({*i.tolist()})) == (400, 300)
    assert pairs[:100] != sorted(pairs[:100])  # not user by user, in which some would learn


# --- choosing -------------------------------------------------------------------------------


class Guesser:
    """Stands for a process: predicts a constant, and notes which ratings it was shown."""

    def __init__(self, grid, seeded=True):
        self.methods = {"constant": {"grid": grid, "seeded": seeded}}
        self.shown = []

    def run(self, method, settings, path, seed):
        with np.load(path) as arrays:
            self.shown.append((seed, set(zip(arrays["test_u"], arrays["test_i"], strict=True))))
            n = len(arrays["test_u"])
        if settings["value"] is None:
            raise WorkerError("diverged")
        return np.full(n, settings["value"]), {"seconds": settings["took"], "cpu_seconds": 0.0}


def constants(*pairs):
    return [{"value": value, "took": took} for value, took in pairs]


def bench_of(grid, data, seeded=True):
    return movielens_runs.Bench({"guess": Guesser(grid, seeded)}, data, lambda line: None)


def test_settings_are_chosen_on_a_tenth_of_the_training_part():
    data = movielens_data.load("synthetic:60x50x700")
    train, test = data.splits["90/10"]
    best = float(data.r[train].mean())
    bench = bench_of(constants((1.0, 1.0), (best, 5.0), (None, 0.1), (best + 0.01, 2.0)), data)
    choice = bench.choose("guess", "constant", "90/10")
    (_, shown), *_ = bench.workers["guess"].shown[1:]
    bench.close()
    cells = {name: {*zip(data.u[rows], data.i[rows], strict=True)}
             for name, rows in (("train", train), ("test", test))}  # fmt: skip
    assert len(shown) == 63
    assert shown <= cells["train"]
    assert not shown & cells["test"]
    assert choice["best"]["settings"]["value"] in (best, best + 0.01)
    assert choice["quick"]["settings"]["took"] == 2.0  # within 0.002 of the best, and quicker


def test_tuning_records_each_choice_beside_earlier_ones(tmp_path):
    data, recorded = movielens_data.load("synthetic:60x50x700"), tmp_path / "settings.json"
    earlier = {"ml-100k": {"90/10": {"ours SGD": {}}}, data.name: {"90/10": {"ours SGD": {}}}}
    recorded.write_text(json.dumps(earlier))
    bench = bench_of(constants((3.5, 1.0), (1.0, 1.0)), data)
    args = movielens.parsed(["--data", data.name, "--settings", str(recorded), "--tune"])
    chosen = movielens.choose(bench, args)
    found = json.loads(recorded.read_text())
    assert found["ml-100k"] == earlier["ml-100k"]
    assert found[data.name]["90/10"] == {"ours SGD": {}, **chosen["90/10"]}
    assert chosen["90/10"]["guess constant"]["best"]["settings"]["value"] == 3.5
    assert "a tenth of the split's training part" in found["how"]

    # Without --tune the recorded choice is taken, not made again.
    bench.workers["guess"].shown.clear()
    args.tune = False
    assert movielens.choose(bench, args) == chosen
    bench.close()
    assert bench.workers["guess"].shown == []


def test_quick_is_the_quickest_near_the_best():
    tried = [
        {"settings": name, "rmse": rmse, "seconds": seconds}
        for name, rmse, seconds in [
            ("slow", 0.9100, 9), ("near", 0.9119, 3), ("far", 0.9121, 1), ("nearer", 0.9110, 4),
        ]
    ]  # fmt: skip
    choice = movielens_runs.best_and_quick(tried)
    assert [choice[kind]["settings"] for kind in ("best", "quick")] == ["slow", "near"]


def test_predictions_are_clipped_for_everybody():
    by_hand = math.sqrt(((5 - 4) ** 2 + (1 - 1) ** 2 + (3 - 2) ** 2) / 3)
    rmse = movielens_runs.rmse_clipped(np.array([9.0, -2.0, 3.0]), np.array([4.0, 1, 2]), 1, 5)
    assert rmse == pytest.approx(by_hand, rel=1e-15)


@pytest.mark.parametrize(("seeded", "seeds"), [(True, [0, 1, 2, 3]), (False, [0, 1])])
def test_a_method_without_seed_runs_only_as_often_as_repeats_says(seeded, seeds):
    bench = bench_of(constants((3.0, 1.0)), movielens_data.load("synthetic:30x20x100"), seeded)
    row = Row("guess", "constant", "best")
    choices = {"90/10": {row: constants((3.0, 1.0))[0]}}
    runs = bench.measure(choices, repeats=2, seeds=4)
    bench.close()
    assert len(runs[row]["90/10"]) == len(seeds)
    assert [seed for seed, _ in bench.workers["guess"].shown[1:]] == seeds


def test_a_method_that_fails_is_left_out_and_the_others_go_on():
    said = []
    data = movielens_data.load("synthetic:30x20x100")
    bench = movielens_runs.Bench({"guess": Guesser(constants((3.0, 1.0)))}, data, said.append)
    good, bad = Row("guess", "constant", "best"), Row("guess", "constant", "quick")
    settings = dict(zip((bad, good), constants((None, 1.0), (3.0, 1.0)), strict=True))
    runs = bench.measure({"90/10": settings}, repeats=2, seeds=1)
    bench.close()
    assert list(runs) == [good]
    assert said[0] == "90/10 guess constant quick: diverged"


# --- the table ------------------------------------------------------------------------------


def runs(*pairs):
    return [Run(rmse, seconds, 0.0) for rmse, seconds in pairs]


def test_the_table_is_formed_from_the_measurements():
    peer, ours = Row("cornac", "MF", "best"), Row("ours", "VB", "quick")
    measured = {
        peer: {"90/10": runs((0.92, 3), (0.914, 1), (0.916, 2))},
        ours: {"90/10": runs((0.9, 0.123), (0.901, 0.5), (0.902, 0.25))},
    }
    assert list(movielens_table.markdown(movielens_table.figures(measured), peer)) == [
        "| method | 90/10: RMSE | seconds | time / cornac MF, best |",
        "|---|---:|---:|---:|",
        "| shallow_cf VB, quick | 0.9010 (0.9000 to 0.9020) | 0.25 | 0.12 |",
        "| cornac MF, best | 0.9160 (0.9140 to 0.9200) | 2.0 | 1.0 |",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0421, "0.042"), (0.5, "0.50"), (9.96, "10"), (15.2, "15"), (99.7, "100"), (1234, "1234")],
)
def test_two_digits_count(value, shown):
    assert movielens_table.two_digits(value) == shown


def test_the_folds_become_their_mean():
    row = Row("myfm", "Gibbs", "best")
    folds = {f"u{k}": runs((0.90 + k / 100, k), (0.91 + k / 100, 2 * k)) for k in range(1, 6)}
    found = movielens_table.figures({row: folds})[row]
    (mean,) = found.items()
    assert mean[0] == "mean of u1, u2, u3, u4, u5"
    # Mean over folds of each run: 0.93 and 0.94 stars, 3 and 6 seconds; then their median.
    assert mean[1] == pytest.approx((0.935, 0.93, 0.94, 4.5), rel=1e-12)


def test_without_a_peer_there_is_no_ratio():
    measured = {Row("ours", "SGD", "best"): {"90/10": runs((0.92, 3))}}
    header, *_ = movielens_table.markdown(movielens_table.figures(measured))
    assert header == "| method | 90/10: RMSE | seconds |"


# --- the command ----------------------------------------------------------------------------


def test_an_unknown_peer_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stopped:
        movielens.main(["--data", "synthetic:30x20x100", "--peers", "cornac,surprised"])
    assert stopped.value.code == 2
    known = "surprise, cornac, libmf, cmfrec, lenskit, myfm"
    assert f"there is no peer 'surprised'; known: {known}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=f"there is no peer 'surprised'; known: {known}"):
        Worker("surprised", sys.executable, 1)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--data", "nowhere"], "`--data` must be a folder with u.data"),
        (["--data", "synthetic:9x9x82"], "`n_ratings` must be <= 81, as 9 users and 9 items"),
        (["--data", "synthetic:30x20x100", "--splits", "u1"], "has no split 'u1'; known: 90/10"),
    ],
)
def test_data_that_is_not_there_ends_in_a_line(told, message):
    with pytest.raises(SystemExit) as stopped:
        movielens.main(told)
    assert message in stopped.value.code


def test_best_and_quick_are_one_row_where_they_are_the_same():
    def choice(best, quick):
        return {"best": {"settings": best}, "quick": {"settings": quick}}

    chosen = {
        "u1": {"cornac MF": choice(1, 1), "ours VB": choice(3, 4), "myfm Gibbs": choice(7, 7)},
        "u2": {"cornac MF": choice(2, 2), "ours VB": choice(5, 5)},
    }
    assert movielens.settings_of_rows(chosen) == {
        split: {
            Row("cornac", "MF", "best"): settings[0],
            Row("ours", "VB", "best"): settings[1],
            Row("ours", "VB", "quick"): settings[2],
        }
        for split, settings in (("u1", (1, 3, 4)), ("u2", (2, 5, 5)))
    }


FAILS_AT_FIRST = """#!{python}
import json, pathlib, shutil, sys, time
print(json.dumps({{"methods": {{}}, "versions": {{}}, "skipped": []}}), flush=True)
for line in sys.stdin:
    starts = pathlib.Path({starts!r})
    starts.write_text(starts.read_text() + "x")
    if len(starts.read_text()) <= {failures}:
        {failing}
    shutil.copy({predictions!r}, json.loads(line)["out"])
    print(json.dumps({{"seconds": 1.0, "cpu_seconds": 1.0}}), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
@pytest.mark.parametrize(
    ("failures", "failing", "limit"), [(1, "time.sleep(60)", 1), (2, "sys.exit()", 60)]
)
def test_a_run_that_does_not_end_well_is_tried_again(tmp_path, failures, failing, limit):
    worker, starts = failing_worker(tmp_path, failures, failing, limit)
    predictions, _ = worker.run("MF", {}, "data.npz", 0)
    worker.close()
    assert predictions.tolist() == [3.0]
    assert len(starts.read_text()) == failures + 1


@pytest.mark.skipif(os.name == "nt", reason="a script is no program there")
def test_a_run_that_never_ends_well_is_given_up(tmp_path):
    worker, starts = failing_worker(tmp_path, 9, "sys.exit('out of memory')", 60)
    with pytest.raises(WorkerError, match="ended by itself or after 60 s: out of memory"):
        worker.run("MF", {}, "data.npz", 0)
    worker.close()
    assert len(starts.read_text()) == 3


def failing_worker(folder, failures, failing, limit):
    """A process whose first jobs fail, and the file that counts them."""
    starts, predictions, python = (folder / name for name in ("starts.txt", "3.npy", "python"))
    starts.write_text("")
    np.save(predictions, np.array([3.0]))
    files = {"python": sys.executable, "starts": str(starts), "predictions": str(predictions)}
    python.write_text(FAILS_AT_FIRST.format(**files, failures=failures, failing=failing))
    python.chmod(0o755)
    return Worker("libmf", str(python), 1, limit), starts


def test_a_run_from_end_to_end(tmp_path, capsys):
    options = {"n_epochs": 3, "learning_rate": 0.02, "batch_size": 50, "row_limit": 8}
    settings = options | {"n_factors": 2, "init_scale": 0.05, "dtype": "float64"}
    name, recorded, out = "synthetic:60x50x700", tmp_path / "settings.json", tmp_path / "t.json"
    choice = {"settings": settings, "rmse": 1.0, "seconds": 1.0}
    recorded.write_text(
        json.dumps({name: {"90/10": {"ours SGD": {"best": choice, "quick": choice}}}})
    )
    movielens.main([
        "--data", name, "--settings", str(recorded), "--json", str(out), "--threads", "1",
        "--seeds", "2", "--repeats", "1", "--peers", "myfm", "--peer-python", "no/such/python",
    ])  # fmt: skip
    said = capsys.readouterr()
    assert "myfm is left out: cannot run no/such/python" in said.err
    assert "Threads: 1 for every method, pinned." in said.out
    assert "python benchmarks/movielens.py --data synthetic:60x50x700 --peers myfm" in said.out
    assert str(tmp_path) not in said.out

    # The same by hand: train on nine tenths, predict the others, clip.
    data = movielens_data.load(name)
    train, test = data.splits["90/10"]
    expected = []
    for seed in (0, 1):
        model = scf.MatrixFactorization(
            2, bias=True, global_mean=True, init="normal", init_scale=0.05, random_state=seed,
            solver_options=scf.SGDOptions(**options),
        ).fit(scf.Ratings(np.arange(data.n_users), np.arange(data.n_items), data.u[train],
                          data.i[train], data.r[train]))  # fmt: skip
        errors = [
            min(max(float(model.predict(u, i)), 1.0), 5.0) - r
            for u, i, r in zip(data.u[test], data.i[test], data.r[test], strict=True)
        ]
        expected.append(math.sqrt(sum(e * e for e in errors) / len(errors)))
    measured = json.loads(out.read_text())
    ours = [run["method"] for run in measured]
    assert ours[:2] == ["shallow_cf SGD, best"] * 2
    assert {"shallow_cf ALS, best", "shallow_cf VB, best"} < set(ours)
    measured = measured[:2]
    assert [run["rmse"] for run in measured] == pytest.approx(expected, rel=1e-9)
    assert all(run["seconds"] > 0 for run in measured)
    median, lowest, highest = map(
        float, re.search(r"SGD, best \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)", said.out).groups()
    )
    assert (median, lowest, highest) == pytest.approx(
        (np.median(expected), min(expected), max(expected)), abs=5.1e-5
    )
