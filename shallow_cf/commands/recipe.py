"""The model that `train` and `evaluate` fit: a recipe for each solver, and what changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shallow_cf.commands.shared import Args
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.ratings import Ratings
from shallow_cf.solvers import SOLVERS
from shallow_cf.solvers.als import ALSOptions
from shallow_cf.solvers.descent import DivergenceError, SGDOptions
from shallow_cf.solvers.optimizers import OPTIMIZERS, AdamW
from shallow_cf.solvers.vb import VBOptions

#: The arguments of each solver's recipe and what they are where none are given; the first is
#: fast.ai's, and the default.
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {
        "factors": 50,
        "epochs": 5,
        "learning_rate": 5e-3,
        "batch_size": 64,
        "loss": "mse",
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "schedule": "onecycle",
        "reg": 0.0,
        "bias": True,
        "global_mean": False,
        "range": None,
    },
    "als": {
        "factors": 10,
        "iterations": ALSOptions.n_iterations,
        "reg": ALSOptions.reg,
        "weighted": False,
        "bias": True,
        "global_mean": True,
        "jobs": 1,
    },
    "vb": {
        "factors": 20,
        "iterations": VBOptions.n_iterations,
        "bias": True,
        "global_mean": True,
        "jobs": 1,
    },
}
#: All of them, each once.
ARGUMENTS = list(dict.fromkeys(name for recipe in RECIPES.values() for name in recipe))
DEFAULT_SOLVER = next(iter(RECIPES))
#: How far beyond the ratings predictions may go, stars: a sigmoid never reaches its ends.
MARGIN = 0.5


def given(args: Args) -> list[str]:
    """The arguments of the recipe that the command line has, as it has them."""
    names = [name for name in ("solver", *ARGUMENTS) if getattr(args, name) is not None]
    return [_typed(args, name) for name in names]


def _typed(args: Args, name: str) -> str:
    """An option as it was typed: --bias or --no-bias."""
    value = getattr(args, name)
    is_off = value is False or value == ()
    return f"--{'no-' * is_off}{name.replace('_', '-')}"


def solver_of(args: Args) -> str:
    """The solver that is asked for."""
    return args.solver or DEFAULT_SOLVER


def check_for_sgd(args: Args, *names: str) -> None:
    """Refuse arguments that only gradient descent knows."""
    for name in names:
        if solver_of(args) != "sgd" and getattr(args, name):
            raise ValueError(f"{_typed(args, name)} goes with --solver sgd only")


def settings(args: Args) -> dict[str, Any]:
    """The whole recipe of the solver asked for: what is given, and the defaults.

    Raises
    ------
    ValueError
        If an argument is given that the solver does not know.
    """
    recipe = RECIPES[solver_of(args)]
    for name in ARGUMENTS:
        if getattr(args, name) is not None and name not in recipe:
            raise ValueError(f"{_typed(args, name)} goes with --solver {with_argument(name)} only")
    return {
        name: default if getattr(args, name) is None else getattr(args, name)
        for name, default in recipe.items()
    }


def with_argument(name: str) -> str:
    """The solvers whose recipe has an argument: 'als and vb'."""
    return " and ".join(solver for solver, recipe in RECIPES.items() if name in recipe)


def make_model(args: Args, ratings: Ratings, patience: int | None = None) -> MatrixFactorization:
    """The model of the recipe, not fitted yet.

    Raises
    ------
    ValueError
        If a setting is out of its range, or goes with another one.
    """
    recipe, solver = settings(args), solver_of(args)
    make = {"sgd": _by_descent, "als": _by_least_squares, "vb": _by_bayes}[solver]
    how = make(args, recipe, ratings)
    if patience is not None:
        how["solver_options__patience"] = patience
    shape = {name: recipe[name] for name in ("bias", "global_mean")}
    model = MatrixFactorization(recipe["factors"], solver=solver, random_state=args.seed, **shape)
    return model.set_params(**how)


def _by_descent(args: Args, recipe: dict[str, Any], ratings: Ratings) -> dict[str, Any]:
    """With a range that suits the ratings."""
    optimizer = OPTIMIZERS[recipe["optimizer"]]()
    if isinstance(optimizer, AdamW):
        optimizer = AdamW(weight_decay=recipe["weight_decay"])
    elif args.weight_decay is not None:
        raise ValueError("--weight-decay goes with --optimizer adamw only; others have --reg")
    options = SGDOptions(
        n_epochs=recipe["epochs"],
        learning_rate=recipe["learning_rate"],
        batch_size=recipe["batch_size"],
        reg=recipe["reg"],
        loss=recipe["loss"],
        optimizer=optimizer,
        schedule=recipe["schedule"],
    )
    return {
        "solver_options": options,
        "rating_range": _range(recipe["range"], ratings),
        "init": "normal",
        "init_scale": 0.01,
    }


def _by_least_squares(args: Args, recipe: dict[str, Any], ratings: Ratings) -> dict[str, Any]:
    options = ALSOptions(
        n_iterations=recipe["iterations"], reg=recipe["reg"], weighted=recipe["weighted"]
    )
    if options.weighted and args.reg is None:
        raise ValueError("--weighted needs a --reg of its own, such as 0.1")
    return {
        "solver_options": options, "init": "normal", "init_scale": 0.1, "n_jobs": recipe["jobs"]
    }  # fmt: skip


def _by_bayes(args: Args, recipe: dict[str, Any], ratings: Ratings) -> dict[str, Any]:
    return {
        "solver_options": VBOptions(n_iterations=recipe["iterations"]), "n_jobs": recipe["jobs"]
    }  # fmt: skip


def _range(wanted: Any, ratings: Ratings) -> tuple[float, float] | None:
    """Between which stars predictions shall stay; ``()`` stands for no range."""
    lowest, highest = float(ratings.rating.min()), float(ratings.rating.max())
    if wanted is None:
        return lowest - MARGIN, highest + MARGIN
    if not wanted:
        return None
    low, high = wanted
    if low < high and not low <= lowest <= highest <= high:
        raise ValueError(
            f"--range {low:g} {high:g} does not hold the ratings, which go from {lowest:g} to "
            f"{highest:g}"
        )
    return low, high


def step_name(model: MatrixFactorization) -> str:
    """What the steps of a training are called."""
    return "epoch" if model.solver == "sgd" else "sweep"


def most_steps(model: MatrixFactorization) -> int:
    """How many of them there will be, if nothing ends the training before."""
    options = model.solver_options
    return int(options.n_epochs if model.solver == "sgd" else options.n_iterations)


def model_words(model: MatrixFactorization) -> str:
    """What a model is made of, for people."""
    low, high = model.rating_range or (None, None)
    limits = "no range" if low is None else f"predictions from {low:g} to {high:g} stars"
    parts = [
        f"{model.n_factors} factors",
        "biases" if model.bias else "no biases",
        *(["the global mean"] if model.global_mean else []),
        # Which of the methods it was goes without saying for the default one.
        limits if model.solver == DEFAULT_SOLVER else SOLVERS[model.solver].words,
    ]
    return ", ".join(parts)


@contextmanager
def divergence_in_words() -> Iterator[None]:
    """Say of a learning rate that is too large what to try on the command line."""
    try:
        yield
    except DivergenceError as error:
        rate = error.learning_rate
        raise ValueError(
            f"diverged in epoch {error.epoch} with --learning-rate {rate:g}: try {rate / 4:g}"
        ) from error
