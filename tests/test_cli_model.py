"""Commands about models: train, evaluate, recommend, similar, explain, fold-in.

What they report is compared with plain loops over the numbers in the model's file, which
NumPy alone can read. The ratings are planted: generous users, good films and two tastes.
"""

import contextlib
import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import (
    ITEMS,
    N_USERS,
    ok,
    planted,
    refused,
    run,
    snapshot,
    write_ratings,
    write_titles,
)  # fmt: skip

import shallow_cf as scf
from conftest import shared_file
from shallow_cf.cli import main
from shallow_cf.commands import models, shared

QUICK = ("--factors", 3, "--epochs", 4, "--batch-size", 8)


# --- tools ----------------------------------------------------------------------------------


RATED = {(u, i): r for u, i, r in planted()}


class Model:
    """The numbers in a model's file, and what follows from them."""

    def __init__(self, path):
        with np.load(path) as file:
            self.arrays = {name: file[name].tolist() for name in file}
        settings = json.loads(self.arrays["settings"])
        self.range, self.mean = settings["parameters"]["range"], settings["parameters"]["mean"]
        self.users, self.items = self.arrays["user_ids"], self.arrays["item_ids"]

    def number(self, kind, key):
        return self.arrays[f"{kind}_factors"][
            (self.users if kind == "user" else self.items).index(key)
        ]

    def score(self, user, item):
        dot = sum(
            p * q for p, q in zip(self.number("user", user), self.number("item", item), strict=True)
        )
        if "user_bias" in self.arrays:
            dot += self.arrays["user_bias"][self.users.index(user)]
            dot += self.arrays["item_bias"][self.items.index(item)]
        if self.mean is None:
            return dot
        # The mean counts as a score of its own where there is a sigmoid.
        if self.range is None:
            return dot + self.mean
        low, high = self.range
        return dot + math.log((self.mean - low) / (high - self.mean))

    def predict(self, user, item):
        score = self.score(user, item)
        if self.range is None:
            return score
        low, high = self.range
        return low + (high - low) / (1 + math.exp(-score))

    def rmse(self, rated):
        squares = [(self.predict(u, i) - r) ** 2 for (u, i), r in rated.items()]
        return math.sqrt(sum(squares) / len(squares))

    def best(self, user, n, without=(), among=None):
        """Items and predictions, the highest first; of equal ones the lower id."""
        items = [i for i in (among or self.items) if i not in without]
        found = [(i, self.predict(user, i)) for i in items]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:n]

    def nearest(self, kind, key, n, measure="cosine"):
        x = self.number(kind, key)

        def alike(other):
            y = self.number(kind, other)
            dot = sum(a * b for a, b in zip(x, y, strict=True))
            return dot / math.hypot(*x) / math.hypot(*y) if measure == "cosine" else dot

        ids = [k for k in (self.users if kind == "user" else self.items) if k != key]
        return sorted(((k, alike(k)) for k in ids), key=lambda pair: -pair[1])[:n]


def as_dict(ratings):
    """Public triplets of ratings -> a dict as `RATED` is one."""
    return {(r.user_id, r.item_id): r.rating for r in ratings.to_frame().itertuples()}


def seen(user, rated=RATED):
    return {i for u, i in rated if u == user}


def close(pairs):
    """Pairs (id, number) that may differ in the last digits."""
    return [(key, pytest.approx(value, abs=1e-9)) for key, value in pairs]


@pytest.fixture
def data():
    """`ratings.csv` in the current folder."""
    write_ratings("ratings.csv", planted())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The bytes of a model trained by `train`, and what the command said."""
    with contextlib.chdir(tmp_path_factory.mktemp("trained")):
        write_ratings("ratings.csv", planted())
        done = ok("train", "ratings.csv", "-o", "model.npz", *QUICK)
        return Path("model.npz").read_bytes(), done.out


@pytest.fixture
def model(trained):
    """That model as `model.npz` in the current folder, and its numbers."""
    Path("model.npz").write_bytes(trained[0])
    return Model("model.npz")


@pytest.fixture
def bare(model):
    """The same model saved without its ratings, as `bare.npz`."""
    scf.MatrixFactorization.load("model.npz").save("bare.npz", ratings=False)
    return model


# --- train ----------------------------------------------------------------------------------


def test_train_shows_epochs_and_baselines(trained):
    number = r"\d\.\d{4}"
    assert re.fullmatch(
        rf"ratings.csv: 40 users x 26 items, {len(RATED)} ratings; {len(RATED) // 10} of them "
        r"kept aside to judge by\n\n"
        r"epoch  train RMSE  valid RMSE  seconds\n"
        rf"(    [0-4]      {number}      {number} +\d\.\d\n){{5}}"
        r"Ran 4 epochs.\n\n"
        r"Errors on the ratings kept aside, stars:\n"
        r"               RMSE     MAE\n"
        rf"global mean  {number}  {number}\nbiases only  {number}  {number}\n"
        rf"this model   {number}  {number}\n\n"
        r"model.npz: 3 factors, biases, predictions from 0 to 5.5 stars\n",
        trained[1],
    )


def test_train_in_numbers(data):
    found = ok("train", "ratings.csv", "-o", "m.npz", *QUICK, "--seed", 3, "--json").json
    train, valid = scf.split(scf.read_ratings("ratings.csv"), 0.1, 3)
    train, valid = as_dict(train), as_dict(valid)
    model = Model("m.npz")
    assert found["errors"]["this model"]["rmse"] == pytest.approx(model.rmse(valid))
    mean = sum(train.values()) / len(train)
    errors = [abs(mean - r) for r in valid.values()]
    assert found["errors"]["global mean"]["mae"] == pytest.approx(sum(errors) / len(errors))
    last = found["history"][-1]
    assert last["epoch"] == found["epochs"] == 4
    assert last["valid_rmse"] == pytest.approx(model.rmse(valid))
    assert last["train_rmse"] == pytest.approx(model.rmse(train))
    assert (found["users"], found["items"], found["ratings"]) == (40, 26, len(RATED))
    assert (found["kept_aside"], found["judged_on"]) == (len(valid), "kept aside")
    assert found["rating_range"] == [0, 5.5]
    assert found["output"] == "m.npz"
    # The model knows all that users have seen, what was kept aside as well.
    assert as_dict(scf.MatrixFactorization.load("m.npz").ratings_) == RATED


def test_train_learns(data):
    long = ("--factors", 5, "--epochs", 30, "--batch-size", 8, "--learning-rate", 0.02)
    errors = ok("train", "ratings.csv", "-o", "m.npz", *long, "--json").json["errors"]
    means = [errors[name]["rmse"] for name in ("global mean", "biases only", "this model")]
    assert means[0] > means[1] > 1.5 * means[2]  # no bias tells who likes which


def test_train_on_all_ratings(data):
    done = ok("train", "ratings.csv", "-o", "a.npz", *QUICK, "--valid-size", 0)
    assert "valid RMSE" not in done.out
    assert "Errors on the ratings it was trained on, stars:\n" in done.out
    found = ok("train", "ratings.csv", "-o", "b.npz", *QUICK, "--valid-size", 0, "--json").json
    assert found["errors"]["this model"]["rmse"] == pytest.approx(Model("b.npz").rmse(RATED))
    assert (found["kept_aside"], found["judged_on"]) == (0, "training")
    assert found["history"][0]["valid_rmse"] is None


def test_the_defaults_are_the_notebooks_recipe(data):
    ok("train", "ratings.csv", "-o", "m.npz")
    model = scf.MatrixFactorization.load("m.npz")
    assert (model.n_factors, model.bias, model.global_mean) == (50, True, False)
    assert (model.rating_range, model.init, model.init_scale) == ((0, 5.5), "normal", 0.01)
    assert model.solver_options == scf.SGDOptions(
        5, 5e-3, 64, loss="mse", optimizer=scf.AdamW(weight_decay=0.1), schedule=scf.OneCycle()
    )


def test_train_as_told(data):
    ok(
        "train", "ratings.csv", "-o", "m.npz", "--factors", 4, "--epochs", 2, "--batch-size", 16,
        "--optimizer", "sgd", "--schedule", "constant", "--loss", "half_sse", "--reg", 0.1,
        "--learning-rate", 0.01, "--no-bias", "--global-mean", "--no-range", "--seed", 9,
    )  # fmt: skip
    model = scf.MatrixFactorization.load("m.npz")
    assert (model.n_factors, model.bias, model.global_mean) == (4, False, True)
    assert (model.rating_range, model.random_state) == (None, 9)
    assert model.solver_options == scf.SGDOptions(
        2, 0.01, 16, reg=0.1, loss="half_sse", optimizer="sgd", schedule="constant"
    )
    text = ok("train", "ratings.csv", "-o", "n.npz", *QUICK, "--range", 0, 6, "--weight-decay", 0.3)
    assert text.out.endswith("n.npz: 3 factors, biases, predictions from 0 to 6 stars\n")
    model = scf.MatrixFactorization.load("n.npz")
    assert model.rating_range == (0, 6)
    assert model.solver_options.optimizer == scf.AdamW(weight_decay=0.3)


SOLVERS = {
    "als": (scf.ALSOptions(4), "alternating least squares", ["loss"]),
    "vb": (scf.VBOptions(4), "variational Bayes", ["elbo", "noise_std"]),
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_train_without_a_learning_rate(data, solver):
    options, words, more = SOLVERS[solver]
    how = ("--solver", solver, "--factors", 3, "--iterations", 4)
    number = r"\d\.\d{4}"
    out = ok("train", "ratings.csv", "-o", "m.npz", *how).out
    rows = rf"(    [0-4]      {number}      {number} +\d\.\d\n)+"
    end = r"(Ran|Converged after) \d sweeps.\n\nErrors on the ratings kept aside"
    assert re.search(rf"\nsweep  train RMSE  valid RMSE  seconds\n{rows}{end}", out)
    assert out.endswith(f"m.npz: 3 factors, biases, the global mean, {words}\n")
    model = scf.MatrixFactorization.load("m.npz")
    assert (model.solver, model.n_factors, model.n_jobs) == (solver, 3, 1)
    assert (model.bias, model.global_mean, model.rating_range) == (True, True, None)
    assert model.solver_options == options
    found = ok("train", "ratings.csv", "-o", "n.npz", *how, "--jobs", 2, "--json").json
    assert Model("n.npz").arrays["user_factors"] == Model("m.npz").arrays["user_factors"]
    assert found["solver"] == solver
    assert found["sweeps"] == found["sweep_taken"] == len(found["history"]) - 1
    columns = ["iteration", "train_rmse", "valid_rmse", *more, "seconds"]
    assert list(found["history"][-1]) == columns
    train, valid = scf.split(scf.read_ratings("ratings.csv"), 0.1, 1)
    errors = found["errors"]["this model"]["rmse"], found["history"][-1]["train_rmse"]
    expected = Model("n.npz").rmse(as_dict(valid)), Model("n.npz").rmse(as_dict(train))
    assert errors == pytest.approx(expected, rel=1e-5)


def test_train_by_least_squares_as_told(data):
    how = ("--solver", "als", "--reg", 0.02, "--weighted", "--no-bias", "--no-global-mean")
    done = ok("train", "ratings.csv", "-o", "m.npz", *how)
    assert done.out.endswith("m.npz: 10 factors, no biases, alternating least squares\n")
    model = scf.MatrixFactorization.load("m.npz")
    assert model.solver_options == scf.ALSOptions(reg=0.02, weighted=True)
    assert (model.bias, model.global_mean, model.init, model.init_scale) == (
        False, False, "normal", 0.1,
    )  # fmt: skip
    errors = ok("train", "ratings.csv", "-o", "m.npz", "--force", *how, "--json").json["errors"]
    assert errors["this model"]["rmse"] < errors["biases only"]["rmse"]


def test_the_other_commands_take_such_models(data):
    ok("train", "ratings.csv", "-o", "m.npz", "--solver", "vb", "--factors", 3, "--iterations", 3)
    assert "user 41\n" in ok("fold-in", "m.npz", "260=5", "-n", 2).out
    error = refused("fold-in", "m.npz", "260=5", "--reg", 1)
    assert "--reg must be left out where solver 'vb' has learned a prior" in error
    assert "global mean" in ok("explain", "m.npz", 3, 260).out


@pytest.mark.parametrize("solver", SOLVERS)
def test_evaluate_without_a_learning_rate(data, solver):
    how = ("--solver", solver, "--factors", 2, "--iterations", 3)
    done = ok("evaluate", "ratings.csv", "--split", "random", *how)
    assert f"(2 factors, biases, the global mean, {SOLVERS[solver][1]})" in done.out
    found = ok("evaluate", "ratings.csv", "--folds", 2, *how, "--json").json["results"]
    assert found["this model"]["rmse"] < found["global mean"]["rmse"]
    assert "--solver goes with --split and --folds, not with --model" in refused(
        "evaluate", "ratings.csv", "--model", "m.npz", "--solver", solver
    )


def test_ctrl_c_keeps_the_last_sweep(data, monkeypatch):
    from shallow_cf.solvers import als

    half_step, calls = als.half_step, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return half_step(*args, **kwargs)

    monkeypatch.setattr(als, "half_step", interrupted)
    done = run("train", "ratings.csv", "-o", "m.npz", "--solver", "als")
    assert (done.status, done.err) == (130, "")
    assert "Interrupted after 2 sweeps.\n\nErrors" in done.out
    assert len(scf.MatrixFactorization.load("m.npz").history_) == 3


def test_the_same_seed_gives_the_same_model(data):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ok("train", "ratings.csv", "-o", f"{name}.npz", *QUICK, "--seed", seed)
    a, b, c = (Model(f"{name}.npz").arrays["user_factors"] for name in "abc")
    assert a == b != c


def test_train_on_the_users_and_items_with_the_most_ratings(data):
    found = ok("train", "ratings.csv", "-o", "m.npz", *QUICK, "--users", 9, "--items", 7, "--json")
    assert (found.json["users"], found.json["items"]) == (9, 7)


def test_train_stops_when_it_gets_no_better(data):
    long = ("--factors", 20, "--epochs", 200, "--learning-rate", 0.02, "--schedule", "constant")
    found = ok("train", "ratings.csv", "-o", "m.npz", *long, "--patience", 2, "--json").json
    assert found["message"] == "Stopped early: no better validation RMSE in 2 epochs."
    assert found["epochs"] < 200
    best = min(row["valid_rmse"] for row in found["history"])
    assert found["errors"]["this model"]["rmse"] == pytest.approx(best)
    assert found["history"][found["epoch_taken"]]["valid_rmse"] == best
    text = ok("train", "ratings.csv", "-o", "n.npz", *long, "--patience", 2).out
    assert f"in 2 epochs.\nTook epoch {found['epoch_taken']}, the best.\n" in text


def interrupt(monkeypatch, call):
    """Ctrl-C at a certain gradient of a training."""
    from shallow_cf.solvers.sgd import Factorization

    gradient, calls = Factorization.gradient, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return gradient(*args)

    monkeypatch.setattr(Factorization, "gradient", interrupted)


def test_ctrl_c_during_train_keeps_the_last_epoch_and_resume_goes_on(data, monkeypatch):
    train = ("train", "ratings.csv", *QUICK)
    ok(*train, "-o", "whole.npz")
    with monkeypatch.context() as patch:
        per_epoch = math.ceil((len(RATED) - len(RATED) // 10) / 8)
        interrupt(patch, 2 * per_epoch + 5)
        done = run(*train, "-o", "half.npz", "--checkpoint", "run.npz")
    assert (done.status, done.err) == (130, "")
    assert "Interrupted after 2 epochs.\nTo go on: the same command with --resume" in done.out
    assert len(scf.MatrixFactorization.load("half.npz").history_) == 3
    assert "half.npz exists" in refused(*train, "-o", "half.npz", "--checkpoint", "run.npz")
    error = refused(*train, "-o", "new.npz", "--checkpoint", "run.npz")
    assert error.endswith("pass --resume to go on from it, --force to replace it")
    go_on = ("--checkpoint", "run.npz", "--resume")
    error = refused(*train, "-o", "new.npz", *go_on, "--seed", 2)
    assert error.endswith(
        "run.npz was made with --seed 1, not 2: repeat the command it was made with, and add "
        "--resume"
    )
    assert "made with --epochs 4, not 9:" in refused(*train, "-o", "n.npz", *go_on, "--epochs", 9)
    assert "made with other ratings" in refused(*train, "-o", "n.npz", *go_on, "--users", 30)
    ok(*train, "-o", "half.npz", *go_on, "--force")
    whole, resumed = Model("whole.npz"), Model("half.npz")
    assert whole.arrays["user_factors"] == resumed.arrays["user_factors"]


def test_ctrl_c_before_there_is_anything_to_keep(data, monkeypatch):
    interrupt(monkeypatch, 3)
    before = snapshot()
    done = run("train", "ratings.csv", "-o", "m.npz", *QUICK)
    assert (done.status, done.out, done.err) == (130, "", "shallow-cf train: interrupted\n")
    assert snapshot() == before
    interrupt(monkeypatch, 3)
    done = run("evaluate", "ratings.csv", "--folds", 2, *QUICK)
    assert (done.status, done.out) == (130, "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--range", 5, 1], "--range must go from a lower to a higher number, got (5.0, 1.0)"),
        (["--range", 2, 5], "--range 2 5 does not hold the ratings, which go from 0.5 to 5"),
        (["--range", 0, 9, "--no-range"], "not allowed with argument"),
        (["--valid-size", 1], "argument --valid-size: must be >= 0 and < 1, got 1"),
        (["--valid-size", 0.0001], "--valid-size must leave a rating on each side, got 0.0001 of"),
        (["--valid-size", 0, "--patience", 2], "--patience needs ratings kept aside"),
        (["--resume"], "--resume goes on from a file: name it by --checkpoint"),
        (["--checkpoint", "no.npz", "--resume"], "there is no checkpoint no.npz to resume from"),
        (["--checkpoint", "m.npz"], "m.npz cannot be both the checkpoint and the model"),
        (["--checkpoint", "run.txt"], "the name of the output must end in .npz, got run.txt"),
        (["--learning-rate", -1], "error: --learning-rate must be > 0, got -1.0"),
        (["--learning-rate", "nan"], "--learning-rate must be finite and > 0, got nan"),
        (["--reg", -1], "error: --reg must be >= 0, got -1.0"),
        (["--weight-decay", -1], "error: --weight-decay must be >= 0, got -1.0"),
        (["--optimizer", "adam", "--weight-decay", 1], "goes with --optimizer adamw only"),
        (["--epochs", 0], "argument --epochs: must be >= 1, got 0"),
        (["--users", 99], "error: --users: asked for 99 users, but there are only 40"),
        (["--solver", "svd"], "argument --solver: invalid choice: 'svd'"),
        (["--jobs", 2], "error: --jobs goes with --solver als and vb only"),
        (["--iterations", 9], "error: --iterations goes with --solver als and vb only"),
        (["--solver", "als", "--epochs", 9], "error: --epochs goes with --solver sgd only"),
        (["--solver", "als", "--no-range"], "error: --no-range goes with --solver sgd only"),
        (["--solver", "vb", "--reg", 1], "error: --reg goes with --solver sgd and als only"),
        (["--solver", "vb", "--weighted"], "error: --weighted goes with --solver als only"),
        (["--solver", "als", "--weighted"], "error: --weighted needs a --reg of its own"),
        (["--solver", "als", "--reg", 0], "error: --reg must be > 0, got 0.0"),
        (["--solver", "als", "--jobs", 0], "--jobs must be >= 1, or -1 for one a core, got 0"),
        (["--solver", "als", "--patience", 2], "error: --patience goes with --solver sgd only"),
        (["--solver", "vb", "--checkpoint", "c.npz"], "--checkpoint goes with --solver sgd only"),
        (
            ["--learning-rate", 1e9, "--no-range", "--optimizer", "sgd"],
            "error: diverged in epoch 1 with --learning-rate 1e+09: try 2.5e+08",
        ),
    ],
)
def test_trainings_that_make_no_sense(data, argv, message):
    assert message in refused("train", "ratings.csv", "-o", "m.npz", *argv)


def test_resume_from_what_is_no_checkpoint(data, model):
    train = ("train", "ratings.csv", "-o", "m.npz", *QUICK, "--resume", "--checkpoint")
    assert refused(*train, "model.npz").endswith(
        "model.npz is a finished model, not a checkpoint: see `partial_fit`"
    )
    Path("bad.npz").write_bytes(b"no such thing")
    assert refused(*train, "bad.npz").endswith("bad.npz is not a model saved by shallow_cf")


# --- evaluate -------------------------------------------------------------------------------


def test_evaluate_a_saved_model(data):
    rated = list(RATED.items())
    old, new = dict(rated[:-100]), dict(rated[-100:])
    write_ratings("old.csv", [(*key, r) for key, r in old.items()])
    strangers = [(1, 77777, 4), (999, 1, 2)]
    seen_before = [(*key, r) for key, r in rated[:5]]
    write_ratings("new.csv", [*((*key, r) for key, r in new.items()), *strangers, *seen_before])
    ok("train", "old.csv", "-o", "m.npz", *QUICK)
    found = ok("evaluate", "new.csv", "--model", "m.npz", "-n", 5, "--json").json
    assert (found["test_ratings"], found["left_out"]) == (100, 7)
    results, model = found["results"], Model("m.npz")
    assert results["this model"]["rmse"] == pytest.approx(model.rmse(new))
    mean = sum(old.values()) / len(old)
    errors = [(mean - r) ** 2 for r in new.values()]
    assert results["global mean"]["rmse"] == pytest.approx(math.sqrt(sum(errors) / len(errors)))
    liked = {}
    for (u, i), r in new.items():
        if r >= 4:
            liked.setdefault(u, set()).add(i)
    lists = {u: {i for i, _ in model.best(u, 5, seen(u, old))} for u in liked}
    precision = sum(len(lists[u] & liked[u]) / 5 for u in liked) / len(liked)
    assert results["this model"]["precision@5"] == pytest.approx(precision)

    text = ok("evaluate", "new.csv", "--model", "m.npz", "-n", 5, "--relevant", 4).out
    assert text.startswith(
        "m.npz judged on 100 ratings of new.csv\n"
        "NB: 2 of 107 ratings left out, whose user or item the model does not know.\n"
        "NB: 5 of 107 ratings left out, which the model knows already.\n"
    )
    assert "Lists of 5 for each user; liked is what got 4 stars or more:\n" in text
    assert len(re.findall(r"^(?:global mean|biases only|this model) ", text, re.M)) == 6


def test_evaluate_a_model_without_its_ratings(data, bare):
    text = ok("evaluate", "ratings.csv", "--model", "bare.npz").out
    assert "NB: bare.npz was saved without its ratings: lists may hold what users" in text
    assert "biases only" not in text
    found = ok("evaluate", "ratings.csv", "--model", "bare.npz", "--json").json
    assert found["results"]["this model"]["rmse"] == pytest.approx(bare.rmse(RATED))


def test_ratings_that_cannot_judge_a_model(data, model):
    error = refused("evaluate", "ratings.csv", "--model", "model.npz")
    assert error.endswith("can judge model.npz, as none is new to it")
    write_ratings("other.csv", [(1000, 1, 4), (1, 1000, 3)])
    error = refused("evaluate", "other.csv", "--model", "model.npz")
    assert error.endswith("no rating of other.csv can judge model.npz, as none has ids it knows")


@pytest.mark.parametrize(
    ("how", "n_test"),
    [
        (["random"], len(RATED) // 5),
        (["random", "--test-size", 0.5], len(RATED) // 2),
        (["time", "--test-size", 0.1], len(RATED) // 10),
        (["leave-k-out", "-k", 2], 2 * N_USERS),
    ],
)
def test_evaluate_by_a_split(data, how, n_test):
    found = ok("evaluate", "ratings.csv", "--split", *how, *QUICK, "--json").json
    assert (found["train_ratings"], found["test_ratings"]) == (len(RATED) - n_test, n_test)
    assert list(found["results"]) == ["global mean", "biases only", "this model"]
    names = ["rmse", "mae", "precision@10", "recall@10", "ndcg@10", "map@10", "coverage"]
    assert all(list(row) == names for row in found["results"].values())


def test_evaluate_by_time_looks_at_the_latest(data):
    # write_ratings counts the seconds line by line
    latest = [r for _, _, r in planted()[-(len(RATED) // 10) :]]
    mean = sum(r for _, _, r in planted()[: -len(latest)]) / (len(RATED) - len(latest))
    errors = [abs(mean - r) for r in latest]
    argv = ("evaluate", "ratings.csv", "--split", "time", "--test-size", 0.1, *QUICK)
    found = ok(*argv, "--json").json
    assert found["results"]["global mean"]["mae"] == pytest.approx(sum(errors) / len(errors))
    Path("r.csv").write_text(Path("ratings.csv").read_text().replace("timestamp", "when"))
    error = refused("evaluate", "r.csv", "--split", "time")
    assert error.endswith(
        "these ratings have no timestamps: name their column by --timestamp-column"
    )
    argv = ("evaluate", "r.csv", "--split", "time", "--test-size", 0.1, *QUICK)
    assert ok(*argv, "--timestamp-column", "when", "--json").json["results"] == found["results"]


def test_evaluate_says_what_is_cold():
    write_ratings("r.csv", [*planted(), (1, 9999, 4.0), (2, 9999, 4.0)])
    text = ok("evaluate", "r.csv", "--split", "time", "--test-size", 0.1, *QUICK).out
    assert "NB: 2 of them have a user or item without a rating to learn from.\n" in text


def test_evaluate_in_folds(data):
    argv = ("evaluate", "ratings.csv", "--folds", 3, *QUICK)
    found = ok(*argv, "--json").json
    for name, folds in found["folds"].items():
        assert [row["fold"] for row in folds] == [1, 2, 3]
        mean = sum(row["rmse"] for row in folds) / 3
        assert found["results"][name]["rmse"] == pytest.approx(mean)
    assert list(found["folds"]) == ["global mean", "biases only", "this model"]
    text = ok(*argv).out
    assert re.search(
        r"^fold  global mean  biases only  this model\n(?:   [123] .*\n){3}", text, re.M
    )
    assert re.search(r"Means of these folds, stars:\n +RMSE +MAE\nglobal mean ", text)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "one of the arguments --model --split --folds is required"),
        (["--split", "random", "--folds", 3], "not allowed with argument"),
        (["--model", "model.npz", "--epochs", 3], "--epochs goes with --split and --folds, not"),
        (
            ["--model", "model.npz", "--no-bias"],
            "--no-bias goes with --split and --folds, not",
        ),
        (["--model", "model.npz", "-k", 1], "-k does not go with --model"),
        (["--split", "random", "-k", 1], "-k does not go with --split random"),
        (["--split", "leave-k-out", "--test-size", 0.5], "does not go with --split leave-k-out"),
        (["--folds", 2, "-n", 5], "-n does not go with --folds"),
        (["--model", "no.npz"], "no.npz: No such file"),
        (["--split", "random", "--test-size", 0], "--test-size must be > 0, got 0.0"),
        (["--split", "leave-k-out", "-k", 100], "-k: no user has more than 100 ratings"),
        (["--split", "random", "--relevant", 6, *QUICK], "--relevant: no test rating has 6 stars"),
        (["--folds", 1], "argument --folds: must be >= 2, got 1"),
        (["--folds", 9999], "--folds must be <= "),
        (["--folds", 2, "--learning-rate", 1e9, "--no-range", "--optimizer", "sgd"], "diverged in"),
    ],
)
def test_evaluations_that_make_no_sense(data, model, argv, message):
    assert message in refused("evaluate", "ratings.csv", *argv)


# --- recommend ------------------------------------------------------------------------------


def recommended(*argv):
    """User -> pairs of item and prediction, of what `recommend` or `fold-in` prints as JSON."""
    lists = {}
    for row in ok(*argv, "--json").json["recommendations"]:
        lists.setdefault(row["user_id"], []).append((row["item_id"], row["prediction"]))
    return lists


def test_recommend_what_the_user_has_not_seen(model):
    assert recommended("recommend", "model.npz", 17, 3, "-n", 4) == {
        u: close(model.best(u, 4, seen(u))) for u in (17, 3)
    }
    twice = ok("recommend", "model.npz", 17, 17)
    assert twice.out == ok("recommend", "model.npz", 17).out
    lists = recommended("recommend", "model.npz", 17, "-n", 4, "--include-seen")
    assert lists == {17: close(model.best(17, 4))}
    (item, stars), *_ = model.best(17, 1, seen(17))
    text = ok("recommend", "model.npz", "-n", 1, 17).out
    assert text == f"user 17\nitem_id  prediction\n{item:>7}{stars:>12.2f}\n"


def test_recommend_only_some_items(model):
    count = {i: sum(1 for _, k in RATED if k == i) for i in ITEMS}
    often = [i for i in ITEMS if count[i] >= 28]
    assert 0 < len(often) < len(ITEMS)
    lists = recommended("recommend", "model.npz", 5, "--min-ratings", 28)
    assert lists == {5: close(model.best(5, 10, seen(5), often))}
    Path("few.txt").write_text("\ufeff1\n260\n\n 3 \n", encoding="utf-8")
    lists = recommended("recommend", "model.npz", 5, "--among", "few.txt", "--include-seen")
    assert lists == {5: close(model.best(5, 10, (), [1, 3, 260]))}
    Path("few.txt").write_text("1\nAlien\n")
    error = refused("recommend", "model.npz", 5, "--among", "few.txt")
    assert error.endswith("item id 'Alien' is not among the 26 known items, such as 1")
    Path("few.txt").write_text("\n")
    assert "few.txt names no items" in refused("recommend", "model.npz", 5, "--among", "few.txt")


def test_recommend_for_everyone_as_csv(model):
    write_titles()
    done = ok("recommend", "model.npz", "all", "-n", 2, "-o", "all.csv")
    assert done.out == f"all.csv: {2 * N_USERS} recommendations for {N_USERS} users\n"
    rows = list(csv.DictReader(io.StringIO(Path("all.csv").read_text(encoding="utf-8"))))
    expected = [(u, i, p) for u in model.users for i, p in model.best(u, 2, seen(u))]
    assert [(int(r["user_id"]), int(r["item_id"])) for r in rows] == [
        (u, i) for u, i, _ in expected
    ]
    for row, (_, i, p) in zip(rows, expected, strict=True):
        assert row["prediction"] == f"{p:.4f}"
        assert row["title"] == f"Film {i}, The"
    assert "all.csv exists already" in refused("recommend", "model.npz", "all", "-o", "all.csv")
    found = ok("recommend", "model.npz", "all", "-o", "all.csv", "--force", "--json").json
    assert (found["users"], found["output"]) == (N_USERS, "all.csv")


def test_nothing_left_to_recommend():
    write_ratings("r.csv", [(1, 1, 4), (1, 2, 3), (2, 1, 5)])
    ok("train", "r.csv", "-o", "m.npz", "--valid-size", 0, *QUICK)
    text = ok("recommend", "m.npz", 1, 2).out
    assert text.startswith("user 1: there is nothing left to recommend\n\nuser 2\nitem_id ")


def test_titles_given_or_beside_the_model(model):
    assert "title" not in ok("recommend", "model.npz", 17).out
    write_titles("named.csv")
    item = model.best(17, 1, seen(17))[0][0]
    text = ok("recommend", "model.npz", 17, "-n", 1, "--titles", "named.csv").out
    assert text.endswith(f"  Film {item}, The\n")
    write_titles()
    assert ok("recommend", "model.npz", 17, "-n", 1).out == text
    argv = ("recommend", "model.npz", 17, "--titles")
    assert refused(*argv, "no.csv").endswith("there is no file no.csv")


# --- similar --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["item", "user"])
@pytest.mark.parametrize("measure", ["cosine", "dot"])
def test_similar_is_near_in_the_embeddings(model, kind, measure):
    found = ok(
        "similar", "model.npz", f"--{kind}", 17, "-n", 5, "--measure", measure, "--json"
    ).json
    assert (found["of"], found["measure"]) == (17, measure)
    pairs = [(row[f"{kind}_id"], row["similarity"]) for row in found["similar"]]
    assert pairs == close(model.nearest(kind, 17, 5, measure))


def test_similar_text(model):
    write_titles()
    text = ok("similar", "model.npz", "--item", 260, "-n", 1).out
    (item, alike), *_ = model.nearest("item", 260, 1)
    assert text == (
        "most like item 260, Film 260, The, by cosine:\n"
        "item_id  similarity  title\n"
        f"{item:>7}{alike:>12.3f}  Film {item}, The\n"
    )
    assert ok("similar", "model.npz", "--user", 3).out.startswith("most like user 3, by cosine:\n")


# --- explain --------------------------------------------------------------------------------


def test_explain_adds_up(model):
    write_titles()
    found = ok("explain", "model.npz", 17, 260, "-n", 2, "--json").json
    assert [t["term"] for t in found["terms"]] == [
        "user bias", "item bias", "factor 1", "factor 2", "factor 3",
    ]  # fmt: skip
    assert sum(t["product"] for t in found["terms"]) == pytest.approx(model.score(17, 260))
    assert found["score"] == pytest.approx(model.score(17, 260))
    assert found["prediction"] == pytest.approx(model.predict(17, 260))
    assert (found["user_id"], found["item_id"], found["title"]) == (17, 260, "Film 260, The")
    assert found["rating"] == RATED.get((17, 260))
    for row in found["rated"]:
        assert row["rating"] == RATED[17, row["item_id"]]
    assert len(found["rated"]) == 2


def test_explain_shows_the_factors_that_count_most(model):
    products = [
        p * q for p, q in zip(model.number("user", 17), model.number("item", 1), strict=True)
    ]
    largest = max(range(3), key=lambda k: abs(products[k]))
    text = ok("explain", "model.npz", 17, 1, "--terms", 1).out
    assert text.startswith(f"user 17, item 1: {model.predict(17, 1):.2f} stars\n")
    assert re.findall(r"^factor (\d)", text, re.M) == [str(largest + 1)]
    rest = sum(products) - products[largest]
    assert float(re.search(r"^2 others +(\S+)$", text, re.M)[1]) == pytest.approx(rest, abs=6e-4)
    assert len(re.findall(r"^factor", ok("explain", "model.npz", 17, 1).out, re.M)) == 3


def test_explain_without_ratings(bare):
    text = ok("explain", "bare.npz", 17, 260).out
    assert text.endswith(
        "NB: bare.npz was saved without its ratings, so the user's are not shown.\n"
    )
    assert ok("explain", "bare.npz", 17, 260, "--json").json["rated"] == []


# --- fold-in --------------------------------------------------------------------------------


def test_fold_in_a_new_user(model):
    write_titles()
    before = Path("model.npz").read_bytes()
    given = {260: 5, 1: 0.5, 589: 4}
    texts = [f"{i}={r}" for i, r in given.items()]
    done = ok("fold-in", "model.npz", *texts, "-o", "me.npz", "-n", 1, "--reg", 0)
    assert Path("model.npz").read_bytes() == before
    new = Model("me.npz")
    assert new.users == [*model.users, 41]
    for i, r in given.items():  # four numbers for three ratings
        assert new.predict(41, i) == pytest.approx(r, abs=1e-3)
    (item, stars), *_ = new.best(41, 1, given)
    assert done.out == (
        f"user 41\nitem_id  prediction  title\n{item:>7}{stars:>12.2f}  Film {item}, The\n\n"
        "me.npz: 41 users, the new ones at the end\n"
    )
    assert recommended("recommend", "me.npz", 41) == {41: close(new.best(41, 10, given))}
    found = ok("fold-in", "model.npz", *texts, "--user-id", 77, "--json").json
    assert (found["user_ids"], found["output"]) == ([77], None)


def test_fold_in_users_of_a_file(model):
    write_ratings("new.csv", [(501, 1, 5), (502, 2, 1), (501, 260, 4), (501, 31337, 3)])
    done = ok("fold-in", "model.npz", "new.csv", "-n", 3, "-o", "m.npz")
    assert re.search(r"^user 501\n(?:.*\n){5}user 502\n", done.out)
    assert (
        "\nNB: 1 ratings of user 501 left out: the model does not know these items.\n" in done.out
    )
    new = Model("m.npz")
    assert new.users[-2:] == [501, 502]
    lists = recommended("fold-in", "model.npz", "new.csv", "-n", 3)
    assert lists == {501: close(new.best(501, 3, [1, 260])), 502: close(new.best(502, 3, [2]))}
    assert "--user-id names one user, but new.csv has 2" in refused(
        "fold-in", "model.npz", "new.csv", "--user-id", 9
    )


def test_fold_in_does_without_the_models_ratings(bare):
    lists = recommended("fold-in", "bare.npz", "260=5", "1=2", "-n", 26)
    assert {i for i, _ in lists[41]} == {*ITEMS} - {260, 1}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["260"], "ITEM=STARS or a file of ratings expected, got '260'"),
        (["260=", "1=3"], "ITEM=STARS expected, such as 260=4.5, got '260='"),
        (["260=5", "1"], "ITEM=STARS expected, such as 260=4.5, got '1'"),
        (["260=good"], "ITEM=STARS expected, such as 260=4.5, got '260=good'"),
        (["260=9"], "rating of item 260 must be in [0, 5.5], got 9.0"),
        (["260=nan"], "rating of item 260 must be in [0, 5.5], got nan"),
        (["31337=4"], "item id 31337 is not among the 26 known items, such as 1"),
        (["260=4", "260=4"], "item 260 is rated more than once"),
        (["260=4", "--user-id", "7"], "--user-id must be a new id, but 7 is in use"),
        (["260=4", "--user-id", "neo"], "--user-id must be a whole number as the other ids are"),
        (["260=4", "--reg", "-1"], "--reg must be >= 0, got -1.0"),
        (["ratings.csv"], "--user-id must be a new id, but 1 is in use"),
        (["other.csv"], "other.csv: the model knows no item of user 900"),
    ],
)
def test_fold_ins_that_make_no_sense(data, model, argv, message):
    write_ratings("other.csv", [(900, 31337, 4)])
    assert message in refused("fold-in", "model.npz", *argv)


# --- ids ------------------------------------------------------------------------------------


def test_ids_are_matched_as_they_are_written():
    # One id with a leading zero makes texts of all, and 007 and 7 are two users then.
    rows = ["007,tt01,5", "007,tt02,1", "7,tt01,2", "7,tt03,4", "8,tt02,3", "8,tt03,2"]
    Path("r.csv").write_text("userId,movieId,rating\n" + "\n".join(rows) + "\n")
    Path("movies.csv").write_text("movieId,title\ntt01,One\ntt02,Two\ntt03,Three\n")
    ok("train", "r.csv", "-o", "m.npz", "--valid-size", 0, *QUICK)
    assert ok("recommend", "m.npz", "007").out.endswith("  Three\n")
    assert ok("recommend", "m.npz", "7").out.endswith("  Two\n")
    assert "user id '07' is not among the 3 known users, such as '007'" in refused(
        "recommend", "m.npz", "07"
    )
    assert ok("fold-in", "m.npz", "tt01=4", "--json").json["user_ids"] == ["new user"]
    Path("new.csv").write_text("userId,movieId,rating\n7,tt02,3\n8,tt01,4\n")  # 7 and 8: numbers
    found = ok("evaluate", "new.csv", "--model", "m.npz", "--json").json
    assert (found["test_ratings"], found["left_out"]) == (2, 0)


def test_numbers_are_not_found_by_another_spelling(model):
    for text in ("017", "17.0", "+17", "1" * 30):
        error = refused("recommend", "model.npz", text)
        assert re.search(r"user id \S+ is not among the 40 known users, such as 1$", error)


def test_ids_that_are_dates():
    days = np.array(["2024-01-31", "2024-02-01"], "datetime64[us]")
    ratings = scf.Ratings(days, [1, 2, 3], [0, 0, 1], [0, 1, 2], [4.0, 3, 5])
    scf.MatrixFactorization(2, random_state=0).fit(ratings).save("m.npz")
    assert ok("recommend", "m.npz", "2024-01-31").out.startswith("user 2024-01-31\nitem_id ")
    found = ok("recommend", "m.npz", "all", "-n", 1, "--json").json
    assert [row["user_id"] for row in found["recommendations"]] == ["2024-01-31", "2024-02-01"]
    assert ok("similar", "m.npz", "--user", "2024-01-31", "--json").json["of"] == "2024-01-31"
    assert ok("explain", "m.npz", "2024-02-01", 1, "--json").json["user_id"] == "2024-02-01"
    error = refused("fold-in", "m.npz", "1=4")
    assert error.endswith("--user-id must be given where ids are dates")
    found = ok("fold-in", "m.npz", "1=4", "--user-id", "2024-03-01", "--json").json
    assert found["user_ids"] == ["2024-03-01"]


# --- refusals that are the same for all -----------------------------------------------------

USES = {  # command -> what follows the model
    "recommend": ["1"], "similar": ["--item", "1"], "explain": ["1", "1"], "fold-in": ["1=4"],
}  # fmt: skip


@pytest.mark.parametrize("command", USES)
def test_models_that_are_none(data, model, command):
    Path("damaged.npz").write_bytes(Path("model.npz").read_bytes()[:-200])
    for name, message in {
        "ratings.csv": "ratings.csv is not a model saved by shallow_cf",
        "damaged.npz": "damaged.npz is not a model saved by shallow_cf",
        "nothing.npz": "nothing.npz: No such file or directory",
        ".": ". is a folder, not a model",
    }.items():
        assert refused(command, name, *USES[command]).endswith(message)
    assert "expected a file name, got ''" in refused(command, "", *USES[command])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recommend", "model.npz", "99"], "user id 99 is not among the 40 known users, such as 1"),
        (["recommend", "model.npz", "1", "x"], "user id 'x' is not among the 40 known users"),
        (["similar", "model.npz", "--item", "99"], "item id 99 is not among the 26 known items"),
        (["similar", "model.npz", "--user", "me"], "user id 'me' is not among the 40 known users"),
        (["explain", "model.npz", "99", "1"], "user id 99 is not among"),
        (["explain", "model.npz", "1", "99"], "item id 99 is not among"),
        (["recommend", "bare.npz", "1"], "what users have seen is not known: pass --include-seen"),
        (
            ["recommend", "bare.npz", "1", "--include-seen", "--min-ratings", "3"],
            "bare.npz was saved without its ratings: --min-ratings counts them",
        ),
        (["similar", "bare.npz", "--item", "1", "--min-ratings", "3"], "--min-ratings counts them"),
        (["recommend", "model.npz"], "the following arguments are required: USER"),
        (["similar", "model.npz"], "one of the arguments --item --user is required"),
        (["recommend", "model.npz", "1", "-n", "0"], "argument -n: must be >= 1, got 0"),
        (["explain", "model.npz", "1", "1", "--force"], "unrecognized arguments: --force"),
    ],
)
def test_questions_that_a_model_cannot_answer(bare, argv, message):
    assert message in refused(*argv)


OUTPUTS = {  # command -> its arguments, and the name of an output
    "train": (["train", "ratings.csv", *QUICK], "out.npz"),
    "recommend": (["recommend", "model.npz", "1"], "out.csv"),
    "fold-in": (["fold-in", "model.npz", "1=4"], "out.npz"),
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_places_that_cannot_be_written(data, model, command, monkeypatch):
    arguments, output = OUTPUTS[command]
    Path(output).write_bytes(b"mine")
    source = arguments[1]
    with monkeypatch.context() as patch:

        def work(*args, **kwargs):
            raise AssertionError("said only after the work")

        patch.setattr(shared, "read_ratings", work)
        patch.setattr(models.MatrixFactorization, "load", work)
        error = refused(*arguments, "-o", output)
        assert error.endswith(f"{output} exists already; pass --force to replace it")
        missing = Path("nowhere") / output
        assert refused(*arguments, "-o", missing).endswith("the folder nowhere does not exist")
        error = refused(*arguments, "-o", source, "--force")
        assert error.endswith(f"{source} is the input and is not overwritten")
        if output.endswith(".npz"):
            error = refused(*arguments, "-o", "out.zip")
            assert error.endswith("the name of the output must end in .npz, got out.zip")
    ok(*arguments, "-o", output, "--force")
    assert Path(output).stat().st_size > 100
    assert set(snapshot()) == {"ratings.csv", "model.npz", output}


def test_a_file_that_appears_during_the_work_is_not_replaced(data, monkeypatch):
    read = shared.read_ratings

    def read_while_somebody_writes(*args, **kwargs):
        Path("out.npz").write_bytes(b"theirs")
        return read(*args, **kwargs)

    monkeypatch.setattr(shared, "read_ratings", read_while_somebody_writes)
    done = run("train", "ratings.csv", *QUICK, "-o", "out.npz")
    assert done.status == 2
    assert done.err.endswith("out.npz exists already and is left as it is\n")
    assert Path("out.npz").read_bytes() == b"theirs"


# --- progress -------------------------------------------------------------------------------


def test_progress_on_a_terminal(data, monkeypatch):
    tqdm = pytest.importorskip("tqdm", reason="tqdm draws the progress line")
    rows = []
    monkeypatch.setattr(tqdm.tqdm, "update", lambda self, n=1: rows.append(self.postfix))

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for argv, n_rows, shown in (
        (["train", "ratings.csv", "-o", "m.npz"], 4, r"RMSE=\d\.\d{6}, valid=\d\.\d{6}"),
        (["evaluate", "ratings.csv", "--split", "random"], 4, r"RMSE=\d\.\d{6}"),
        (["evaluate", "ratings.csv", "--folds", "2"], 8, r"RMSE=\d\.\d{6}"),
    ):
        rows.clear()
        with contextlib.redirect_stderr(Terminal()), contextlib.redirect_stdout(io.StringIO()):
            assert main([*argv, *map(str, QUICK)]) == 0
        epochs = [row for row in rows if row]  # judging lists has steps without figures
        assert len(epochs) == n_rows
        assert re.fullmatch(shown, epochs[-1])


def test_a_bar_for_reading_on_a_terminal(data, monkeypatch):
    tqdm = pytest.importorskip("tqdm", reason="tqdm draws the progress line")
    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, **options):
            super().__init__(**options)
            if options["desc"] == "reading":
                bars.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Bar)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    argv = ["train", "ratings.csv", "-o", "m.npz", *map(str, QUICK)]
    with contextlib.redirect_stderr(Terminal()) as terminal:
        assert main(argv) == 0
    (bar,) = bars
    assert bar.n == bar.total == Path("ratings.csv").stat().st_size
    assert "reading" not in terminal.getvalue()  # it took less than a second
    ok(*argv, "--force")
    assert len(bars) == 1


@pytest.mark.slow
@pytest.mark.long
def test_movielens_as_the_notebook_trains_it():
    ratings = shared_file("data", "ml-100k", "u.data")
    found = ok("train", ratings, "-o", "m.npz", "--json").json
    errors = found["errors"]
    assert errors["this model"]["rmse"] < 0.92 < errors["biases only"]["rmse"]
