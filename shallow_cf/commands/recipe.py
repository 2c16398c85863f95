"""The model that `train` and `evaluate` fit: the recipe of the notebooks, and what changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shallow_cf.commands.shared import Args
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.ratings import Ratings
from shallow_cf.solvers.descent import DivergenceError, SGDOptions
from shallow_cf.solvers.optimizers import OPTIMIZERS, AdamW

#: The arguments of a recipe and what they are where none are given: fast.ai's.
DEFAULTS: dict[str, Any] = {
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
}
#: How far beyond the ratings predictions may go, stars: a sigmoid never reaches its ends.
MARGIN = 0.5


def given(args: Args) -> list[str]:
    """The arguments of the recipe that the command line has, as it has them."""
    names = [name for name in DEFAULTS if getattr(args, name) is not None]
    return [f"--{name.replace('_', '-')}" for name in names]


def settings(args: Args) -> dict[str, Any]:
    """The whole recipe: what is given, and the defaults."""
    return {
        name: default if getattr(args, name) is None else getattr(args, name)
        for name, default in DEFAULTS.items()
    }


def make_model(args: Args, ratings: Ratings, patience: int | None = None) -> MatrixFactorization:
    """The model of the recipe, not fitted yet, with a range that suits the ratings.

    Raises
    ------
    ValueError
        If a setting is out of its range, or goes with another one.
    """
    recipe = settings(args)
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
        patience=patience,
    )
    return MatrixFactorization(
        recipe["factors"],
        bias=recipe["bias"],
        global_mean=recipe["global_mean"],
        rating_range=_range(recipe["range"], ratings),
        solver_options=options,
        init="normal",
        init_scale=0.01,
        random_state=args.seed,
    )


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


def model_words(model: MatrixFactorization) -> str:
    """What a model is made of, for people."""
    low, high = model.rating_range or (None, None)
    parts = [
        f"{model.n_factors} factors",
        "biases" if model.bias else "no biases",
        *(["the global mean"] if model.global_mean else []),
        "no range" if low is None else f"predictions from {low:g} to {high:g} stars",
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


def is_interrupted(model: MatrixFactorization) -> bool:
    """Whether Ctrl-C ended the training."""
    return model.result_.message.startswith("Interrupted")
