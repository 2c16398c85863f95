"""The command `train`: embeddings for real data, judged on ratings kept aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from shallow_cf.commands.models import save
from shallow_cf.commands.recipe import (
    check_for_sgd,
    divergence_in_words,
    make_model,
    model_words,
    most_steps,
    step_name,
)
from shallow_cf.commands.shared import (
    DONE,
    INTERRUPTED,
    Args,
    Outcome,
    Step,
    check_output,
    error_lines,
    is_interrupted,
    progress,
    read,
    records,
    size_words,
    sizes,
    table_lines,
)
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.evaluation import mae, rmse, split
from shallow_cf.evaluation.baselines import BASELINES
from shallow_cf.ratings import Ratings


def run_train(args: Args) -> Outcome:
    """A model of real data, judged by ratings kept aside.

    By gradient descent (sgd), as the lessons' notebooks train it; or, with --solver, by
    alternating least squares (als) or variational Bayes (vb), which need no learning rate.
    Ctrl-C keeps the last full epoch, or sweep: the model is written and the exit status is 130.
    The ratings kept aside are stored with the model, so that they are not recommended.
    """
    check_for_sgd(args, "patience", "checkpoint", "resume")
    check_output(Path(args.output), args.force, ".npz", source=args.ratings)
    _check_checkpoint(args)
    if args.patience is not None and not args.valid_size:
        raise ValueError("--patience needs ratings kept aside: --valid-size must be more than 0")
    ratings = read(args).top(args.users, args.items)
    fitted_on, aside = (
        split(ratings, args.valid_size, args.seed) if args.valid_size else (ratings, None)
    )
    model = make_model(args, ratings, args.patience)
    unit = step_name(model)
    with progress(args, "training", f"{unit}s", most_steps(model)) as step:
        model = _trained(args, model, fitted_on, aside, step)
    cut_short = is_interrupted(model.result_)
    if cut_short and model.result_.iterations == 0:
        raise KeyboardInterrupt  # there is nothing to keep
    model.ratings_ = ratings  # those kept aside as well: users have seen these items
    save(model, args.output, force=args.force)

    errors = _compared(model, fitted_on, fitted_on if aside is None else aside)
    history = model.history_
    taken = int(next(iter(model.result_.trace[model.result_.row].values())))
    data = {
        **sizes(ratings),
        "kept_aside": 0 if aside is None else len(aside),
        "factors": model.n_factors,
        "bias": model.bias,
        "global_mean": model.parameters_.global_mean,
        "rating_range": model.rating_range,
        "solver": model.solver,
        f"{unit}s": model.result_.iterations,
        f"{unit}_taken": taken,
        "message": model.result_.message,
        "seconds": model.result_.seconds,
        "history": records(history),
        "judged_on": "training" if aside is None else "kept aside",
        "errors": errors,
        "output": args.output,
    }
    kept = "" if aside is None else f"; {len(aside)} of them kept aside to judge by"
    where = "it was trained on" if aside is None else "kept aside"
    lines = [
        f"{args.ratings}: {size_words(ratings)}{kept}",
        "",
        *_history_lines(history, unit, aside is not None),
        model.result_.message,
        *([f"Took epoch {taken}, the best."] if args.patience else []),
        *_resume_hint(args, cut_short),
        "",
        f"Errors on the ratings {where}, stars:",
        *error_lines(errors),
        "",
        f"{args.output}: {model_words(model)}",
    ]
    return Outcome(data, "\n".join(lines), INTERRUPTED if cut_short else DONE)


def _check_checkpoint(args: Args) -> None:
    if args.checkpoint is None:
        if args.resume:
            raise ValueError("--resume goes on from a file: name it by --checkpoint")
        return
    path = Path(args.checkpoint)
    if path.resolve() == Path(args.output).resolve():
        raise ValueError(f"{path} cannot be both the checkpoint and the model")
    if args.resume and not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path} to resume from")
    if path.exists() and not (args.resume or args.force):
        raise FileExistsError(
            f"{path} exists already; pass --resume to go on from it, --force to replace it"
        )
    check_output(path, True, ".npz", source=args.ratings)


def _trained(
    args: Args,
    model: MatrixFactorization,
    ratings: Ratings,
    aside: Ratings | None,
    step: Step | None,
) -> MatrixFactorization:
    """The model after training, from the start or from a checkpoint."""
    with divergence_in_words():
        if not args.resume:
            return model.fit(ratings, valid=aside, callback=step, checkpoint=args.checkpoint)
        _check_same(model, MatrixFactorization.load(args.checkpoint), args.checkpoint)
        return MatrixFactorization.resume(args.checkpoint, ratings, valid=aside, callback=step)


def _check_same(model: MatrixFactorization, kept: MatrixFactorization, name: str) -> None:
    """Refuse to resume with other settings, which would not count."""
    theirs = kept.get_params()
    for setting, ours in model.get_params().items():
        if ours != theirs[setting] and setting != "solver_options":  # whose fields come as well
            shown = setting.removeprefix("solver_options__")
            raise ValueError(
                f"{name} was made with `{shown}` {theirs[setting]}, not {ours}: repeat the command "
                "it was made with, and add --resume"
            )


def _resume_hint(args: Args, cut_short: bool) -> list[str]:
    if not cut_short or args.checkpoint is None:
        return []
    return [f"To go on: the same command with --resume --force (from {args.checkpoint})."]


def _compared(
    model: MatrixFactorization, ratings: Ratings, judged: Ratings
) -> dict[str, dict[str, float]]:
    """Errors of the baselines and of the model on the ratings they are judged by."""
    models: dict[str, Any] = {
        **{name: kind().fit(ratings) for name, kind in BASELINES.items()},
        "this model": model,
    }
    return {name: {"rmse": rmse(it, judged), "mae": mae(it, judged)} for name, it in models.items()}


def _history_lines(history: pd.DataFrame, unit: str, with_valid: bool) -> list[str]:
    """A row an epoch, or a sweep: the first column says which."""
    shown = history[[history.columns[0], "train_rmse", "valid_rmse", "seconds"]].set_axis(
        [unit, "train RMSE", "valid RMSE", "seconds"], axis="columns"
    )
    if not with_valid:
        shown = shown.drop(columns="valid RMSE")
    return table_lines(shown, {"train RMSE": ".4f", "valid RMSE": ".4f", "seconds": ".1f"})
