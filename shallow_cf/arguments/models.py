"""The arguments of the commands about models."""

from __future__ import annotations

import argparse
from typing import Any

from shallow_cf.arguments.shared import (
    add_columns,
    add_ratings,
    command,
    file_name,
    share,
    whole_number,
)
from shallow_cf.commands.evaluate import OPTIONS, SPLITS, run_evaluate
from shallow_cf.commands.recipe import DEFAULT_SOLVER, MARGIN, RECIPES, with_argument
from shallow_cf.commands.shared import DEFAULT_SEED
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
    _add_titles(recommend)
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
        "--measure", choices=MEASURES, default=MEASURES[0],
        help="cosine of the angle between embeddings, or their dot product, which prefers long "
        "ones (default: %(default)s)",
    )  # fmt: skip
    _add_min_ratings(similar)
    _add_titles(similar)

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
    _add_titles(explain)

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
    _add_titles(fold_in)
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
    _add_seed(parser)
    parser.add_argument(
        "--valid", type=share, default=0.1, metavar="SHARE",
        help="share of the ratings kept aside to judge by, 0 for none (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=whole_number(1), metavar="N",
        help="stop after so many epochs that are no better on the ratings kept aside, and take the "
        "best (default: run all, take the last)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=file_name,
        help="file to keep the run in after each epoch (.npz)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="go on from the checkpoint, to the very bits an undisturbed run would reach",
    )  # fmt: skip
    _add_recipe(parser)


def _add_evaluate(commands: Any) -> None:
    parser = command(
        commands, "evaluate", run_evaluate,
        "shallow-cf evaluate ratings.csv --split random", writes=False,
    )  # fmt: skip
    add_ratings(parser)
    parser.add_argument(
        "--timestamp-column", metavar="NAME", help="column with the time (default: found)"
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--model", metavar="MODEL.npz", type=file_name, help="judge this model by all the ratings"
    )
    how.add_argument(
        "--split", choices=SPLITS,
        help="train on a part of the ratings and judge by the rest: drawn at random, the latest, "
        "or so many of each user",
    )  # fmt: skip
    how.add_argument(
        "--folds", type=whole_number(2), metavar="N",
        help="train N times, each time judged by another part of the ratings",
    )  # fmt: skip
    parser.add_argument(
        "--test-size", type=share, metavar="SHARE",
        help="share of the ratings to judge by, with --split random and time (default: "
        f"{OPTIONS['test_size'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "-k", type=whole_number(1), metavar="N",
        help="ratings of each user to judge by, with --split leave-k-out (default: "
        f"{OPTIONS['k'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "--at", type=whole_number(1), metavar="N",
        help=f"length of the lists to judge (default: {OPTIONS['at'][1]})",
    )  # fmt: skip
    parser.add_argument(
        "--relevant", type=float, metavar="STARS",
        help=f"from how many stars on a user liked an item (default: {OPTIONS['relevant'][1]:g})",
    )  # fmt: skip
    _add_seed(parser)
    _add_recipe(parser)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """What the model is and how it is trained; None stands for the default of the recipe."""
    group = parser.add_argument_group("the model and its training (default: the notebooks' recipe)")

    def add(name: str, help_: str, **kind: Any) -> None:
        """An option, with what its default is for each solver that knows it."""
        known = {solver: recipe[name] for solver, recipe in RECIPES.items() if name in recipe}
        shown = {solver: _shown(default) for solver, default in known.items()}
        if len(set(shown.values())) == 1:
            default = next(iter(shown.values()))
        else:
            default = ", ".join(f"{it} with {solver}" for solver, it in shown.items())
        if DEFAULT_SOLVER not in known:
            help_ += f", with {with_argument(name)}"
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, help=f"{help_} (default: {default})", **kind)

    group.add_argument(
        "--solver", choices=tuple(RECIPES),
        help="gradient descent, alternating least squares or variational Bayes (default: "
        f"{DEFAULT_SOLVER})",
    )  # fmt: skip
    add("factors", "numbers in an embedding", type=whole_number(1), metavar="K")
    add("epochs", "times to go through the ratings", type=whole_number(1), metavar="N")
    add("learning_rate", "size of the steps, at its highest", type=float, metavar="ETA")
    add("batch_size", "ratings a step", type=whole_number(1), metavar="N")
    add("loss", "what a step descends, mean or half the sum", choices=LOSSES)
    add("optimizer", "rule by which a gradient moves the numbers", choices=tuple(OPTIMIZERS))
    add("weight_decay", "pull towards 0, with adamw", type=float, metavar="D")
    add("schedule", "how the learning rate changes", choices=tuple(SCHEDULES))
    add("iterations", "most sweeps through users and items", type=whole_number(1), metavar="N")
    add("reg", "L2 penalty in the loss", type=float, metavar="L")
    add(
        "weighted", "--reg once for each rating, as Spark has it", action="store_true", default=None
    )
    add("bias", "a bias for each user and item", action=argparse.BooleanOptionalAction)
    add(
        "global_mean", "start predictions from the mean of the ratings",
        action=argparse.BooleanOptionalAction,
    )  # fmt: skip
    add("jobs", "threads, -1 for one a core", type=int, metavar="N")
    ends = group.add_mutually_exclusive_group()
    ends.add_argument(
        "--range", nargs=2, type=float, metavar=("LOW", "HIGH"),
        help="stars between which a sigmoid keeps predictions (default: the ratings' range and "
        f"{MARGIN} more on each side)",
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


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=whole_number(0), default=DEFAULT_SEED, metavar="S",
        help="of all that is drawn at random (default: %(default)s)",
    )  # fmt: skip


def _add_titles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--titles", metavar="FILE", type=file_name,
        help="movies.csv, movies.dat or u.item with what the items are called (default: such a "
        "file beside the model)",
    )  # fmt: skip
