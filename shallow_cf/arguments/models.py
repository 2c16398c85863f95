"""The arguments of the commands about models."""

from __future__ import annotations

import argparse
from typing import Any

from shallow_cf.arguments.shared import (
    add_columns,
    add_ratings,
    add_seed,
    add_titles,
    command,
    file_name,
    in_words,
    one_of,
    share,
    whole_number,
)
from shallow_cf.commands.evaluate import OPTIONS, SPLITS, run_evaluate
from shallow_cf.commands.recipe import DEFAULT_SOLVER, MARGIN, RECIPES, with_argument
from shallow_cf.commands.train import run_train
from shallow_cf.commands.use import (
    EVERYONE,
    run_explain,
    run_fold_in,
    run_recommend,
    run_similar,
)
from shallow_cf.fold_in import DEFAULT_REG
from shallow_cf.recommend import MEASURES
from shallow_cf.solvers.descent import LOSSES
from shallow_cf.solvers.optimizers import OPTIMIZERS
from shallow_cf.solvers.schedules import SCHEDULES


def add_commands(commands: Any) -> None:
    """Add train, evaluate, recommend, similar, explain and fold-in."""
    _add_train(commands)
    _add_evaluate(commands)

    recommend = command(
        commands, "recommend", run_recommend, "shallow-cf recommend model.npz 17 -n 5"
    )
    _add_model(recommend)
    recommend.add_argument(
        "users", metavar="USER", nargs="+", help=f"ids of users, or {EVERYONE} for everyone"
    )
    _add_number(recommend, "items for each user")
    recommend.add_argument(
        "--include-seen", action="store_true", help="do not leave out what the user has rated"
    )
    _add_min_ratings(recommend)
    recommend.add_argument(
        "--among", metavar="FILE", type=file_name, help="only these items: a file with an id a line"
    )
    add_titles(recommend, beside="model")
    recommend.add_argument(
        "-o", "--output", metavar="FILE", type=file_name, help="csv to write (default: print)"
    )

    similar = command(
        commands, "similar", run_similar, "shallow-cf similar model.npz --item 260", writes=False
    )
    _add_model(similar)
    whom = similar.add_mutually_exclusive_group(required=True)
    whom.add_argument("--item", metavar="ID", help="like which item")
    whom.add_argument("--user", metavar="ID", help="like which user")
    _add_number(similar, "how many")
    similar.add_argument(
        "--measure", default=MEASURES[0], **one_of(MEASURES),
        help="cosine between embeddings, or their dot product, which prefers long ones (default: "
        "%(default)s)",
    )  # fmt: skip
    _add_min_ratings(similar)
    add_titles(similar, beside="model")

    explain = command(
        commands, "explain", run_explain, "shallow-cf explain model.npz 17 260", writes=False
    )
    _add_model(explain)
    explain.add_argument("user", metavar="USER", help="id of the user")
    explain.add_argument("item", metavar="ITEM", help="id of the item")
    explain.add_argument(
        "--terms", type=whole_number(0), default=5, metavar="N",
        help="factors to show, those that count most; --json has all (default: %(default)s)",
    )  # fmt: skip
    _add_number(explain, "items to show that the user rated, the nearest to this one", 5)
    add_titles(explain, beside="model")

    fold_in = command(
        commands, "fold-in", run_fold_in,
        "shallow-cf fold-in model.npz 260=5 1196=4.5 589=2 -o with_me.npz",
    )  # fmt: skip
    _add_model(fold_in)
    fold_in.add_argument(
        "ratings", metavar="ITEM=STARS", nargs="+",
        help="what the new user gave, such as 260=4.5; or a file of ratings, of one new user or "
        "of several",
    )  # fmt: skip
    add_columns(fold_in)
    fold_in.add_argument(
        "--user-id", metavar="ID", help="what to call the user (default: as in the file, or free)"
    )
    fold_in.add_argument(
        "--reg", type=float, metavar="L",
        help=f"penalty on large numbers (default: {DEFAULT_REG:g}; variational Bayes has its own)",
    )  # fmt: skip
    _add_number(fold_in, "items to recommend")
    add_titles(fold_in, beside="model")
    fold_in.add_argument(
        "-o", "--output", metavar="FILE", type=file_name,
        help="model to write, with the new user in it (.npz)",
    )  # fmt: skip


def _add_train(commands: Any) -> None:
    parser = command(
        commands, "train", run_train, "shallow-cf train ratings.csv -o model.npz --epochs 5"
    )
    add_ratings(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, type=file_name,
        help="model to write (.npz)",
    )  # fmt: skip
    add_seed(parser)
    parser.add_argument(
        "--valid-size", type=share, default=0.1, metavar="SHARE",
        help="share kept aside to judge by, or 0 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=whole_number(1), metavar="N",
        help="stop after N epochs without a better one, and take the best (default: run all, take "
        "the last)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=file_name,
        help="file to keep each epoch in (.npz), for --resume",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="go on from the checkpoint, with the same result",
    )  # fmt: skip
    _add_recipe(parser)


def _add_evaluate(commands: Any) -> None:
    parser = command(
        commands, "evaluate", run_evaluate,
        "shallow-cf evaluate ratings.csv --split random", writes=False,
    )  # fmt: skip
    add_ratings(parser, with_timestamp=True)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--model", metavar="MODEL.npz", type=file_name, help="judge this model by the ratings"
    )
    how.add_argument(
        "--split", **one_of(SPLITS),
        help="train on a part, judge by the rest: drawn at random, the latest (time), or some of "
        "each user (leave-k-out)",
    )  # fmt: skip
    how.add_argument(
        "--folds", type=whole_number(2), metavar="N",
        help="train N times, each time judged by another part",
    )  # fmt: skip
    parser.add_argument(
        "--test-size", type=share, metavar="SHARE",
        help="share to judge by, of --split random and time (default: "
        f"{OPTIONS['test_size'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "-k", type=whole_number(1), metavar="N",
        help="ratings of each user to judge by, of --split leave-k-out (default: "
        f"{OPTIONS['k'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "-n", type=whole_number(1), metavar="N",
        help=f"items in each list that is judged (default: {OPTIONS['n'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "--relevant", type=float, metavar="STARS",
        help=f"what a user liked has so many (default: {OPTIONS['relevant'][1]:g})",
    )  # fmt: skip
    add_seed(parser)
    _add_recipe(parser)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """What the model is and how it is trained; None stands for the default of the recipe."""
    of_all = parser.add_argument_group("the model (default: the notebooks' recipe)")
    of_sgd = parser.add_argument_group("training by --solver sgd")
    of_others = parser.add_argument_group("training by --solver als or vb")

    def add(name: str, help_: str, **kind: Any) -> None:
        """An option, with what its default is for each solver that knows it."""
        known = {solver: recipe[name] for solver, recipe in RECIPES.items() if name in recipe}
        shown = {solver: _shown(default) for solver, default in known.items()}
        if len(set(shown.values())) == 1:
            default = next(iter(shown.values()))
        else:
            default = ", ".join(f"{solver} {it}" for solver, it in shown.items())
        of_one = {("sgd",): of_sgd, ("als",): of_others, ("als", "vb"): of_others}
        group = of_one.get(tuple(known), of_all)
        if tuple(known) in (("als",), ("sgd", "als")):
            help_ += f", {with_argument(name)} only"
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, help=f"{help_} (default: {default})", **kind)

    of_all.add_argument(
        "--solver", **one_of(RECIPES),
        help=f"how to train: {in_words(RECIPES)} (default: {DEFAULT_SOLVER})",
    )  # fmt: skip
    add("factors", "numbers in an embedding", type=whole_number(1), metavar="K")
    add("epochs", "times to go through the ratings", type=whole_number(1), metavar="N")
    add("learning_rate", "size of the steps, at its highest", type=float, metavar="ETA")
    add("batch_size", "ratings a step", type=whole_number(1), metavar="N")
    add("loss", f"what a step descends: {in_words(LOSSES)}", **one_of(LOSSES))
    add("optimizer", f"rule of the steps: {in_words(OPTIMIZERS)}", **one_of(OPTIMIZERS))
    add("weight_decay", "pull towards 0, with adamw", type=float, metavar="D")
    add("schedule", f"of the learning rate: {in_words(SCHEDULES)}", **one_of(SCHEDULES))
    add("iterations", "most sweeps", type=whole_number(1), metavar="N")
    add("reg", "L2 penalty", type=float, metavar="L")
    add("weighted", "--reg for each rating, as Spark has it", action="store_true", default=None)
    add("bias", "a bias for each user and item", action=argparse.BooleanOptionalAction)
    add(
        "global_mean", "start from the mean of the ratings",
        action=argparse.BooleanOptionalAction,
    )  # fmt: skip
    add("jobs", "threads, or -1 for one a core", type=int, metavar="N")
    ends = of_sgd.add_mutually_exclusive_group()
    ends.add_argument(
        "--range", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help="where a sigmoid keeps predictions (default: the ratings' range and "
        f"{MARGIN} stars on each side)",
    )  # fmt: skip
    ends.add_argument("--no-range", dest="range", action="store_const", const=(), help="no sigmoid")


def _shown(default: Any) -> str:
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL.npz", type=file_name, help="model that train or import wrote"
    )


def _add_number(parser: argparse.ArgumentParser, what: str, default: int = 10) -> None:
    parser.add_argument(
        "-n", type=whole_number(1), default=default, metavar="N",
        help=f"{what} (default: %(default)s)",
    )  # fmt: skip


def _add_min_ratings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-ratings", type=whole_number(0), default=0, metavar="N",
        help="leave out what has fewer ratings (default: %(default)s)",
    )  # fmt: skip
