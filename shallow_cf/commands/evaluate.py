"""The command `evaluate`: how good a model is on ratings that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf.commands.models import load, places
from shallow_cf.commands.recipe import (
    divergence_in_words,
    given,
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
    error_lines,
    is_interrupted,
    progress,
    read,
    records,
    size_words,
    table_lines,
)
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.evaluation import (
    compare,
    cross_validate,
    evaluate,
    leave_k_out,
    split,
    split_by_time,
)
from shallow_cf.evaluation.baselines import BASELINES
from shallow_cf.ratings import Ratings

SPLITS = ("random", "time", "leave-k-out")
#: Arguments that do not go with every way to judge: option, default, ways they go with.
OPTIONS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "test_size": ("--test-size", 0.2, ("random", "time")),
    "k": ("-k", 1, ("leave-k-out",)),
    "n": ("-n", 10, ("model", *SPLITS)),
    "relevant": ("--relevant", 4.0, ("model", *SPLITS)),
}


def run_evaluate(args: Args) -> Outcome:
    """How good predictions and lists are, by unseen ratings.

    The ratings judge a saved model (--model), or a model is trained on a part of them and
    judged on the rest (--split, --folds). The two baselines, which have no embeddings, stand
    beside it: the mean of all ratings, and the mean with a bias for each user and item. Ctrl-C
    keeps the folds that are done; the exit status is 130.
    """
    _fill_in(args)
    if args.model is not None:
        return _judge_saved(args)
    ratings = read(args).top(args.users, args.items)
    with divergence_in_words():
        return _judge_folds(args, ratings) if args.folds else _judge_split(args, ratings)


def _fill_in(args: Args) -> None:
    """Put the defaults in; refuse what would not count."""
    way = "model" if args.model is not None else args.split or "folds"
    if way == "model" and given(args):
        raise ValueError(f"{given(args)[0]} goes with --split and --folds, not with --model")
    for name, (option, default, ways) in OPTIONS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif way not in ways:
            shown = f"--split {way}" if way in SPLITS else f"--{way}"
            raise ValueError(f"{option} does not go with {shown}")


def _judge_saved(args: Args) -> Outcome:
    model = load(args)
    ratings = read(args).top(args.users, args.items)
    test, left_out = _unseen(model, ratings, args)
    notes = [f"NB: {count} of {len(ratings)} ratings {why}." for why, count in left_out.items()]
    with progress(args, "judging") as step:
        settings: dict[str, Any] = {"k": args.n, "relevant": args.relevant, "callback": step}
        if model.ratings_ is None:
            table = pd.DataFrame([evaluate(model, test, **settings)], index=["this model"])
        else:
            table = compare({"this model": model}, model.ratings_, test, **settings)
    if model.ratings_ is None:
        notes.append(
            f"NB: {args.model} was saved without its ratings: lists may hold what users have seen, "
            "and there are no baselines."
        )
    head = f"{args.model} judged on {len(test)} ratings of {args.ratings}"
    data = {"test_ratings": len(test), "left_out": sum(left_out.values())}
    return _outcome(data, table, [head, *notes], args)


def _unseen(
    model: MatrixFactorization, ratings: Ratings, args: Args
) -> tuple[Ratings, dict[str, int]]:
    """The ratings a model can be judged by, with its ids, and how many others for which reason."""
    u = places(model.user_ids_, ratings.user_ids)[ratings.user_idx]
    i = places(model.item_ids_, ratings.item_ids)[ratings.item_idx]
    is_known = (u >= 0) & (i >= 0)
    is_new = is_known & ~_are_rated(model.ratings_, u, i)
    if not is_new.any():
        why = "is new to it" if is_known.any() else "has ids it knows"
        raise ValueError(f"no rating of {args.ratings} can judge {args.model}, as none {why}")
    test = Ratings(model.user_ids_, model.item_ids_, u[is_new], i[is_new], ratings.rating[is_new])
    left_out = {
        "left out, whose user or item the model does not know": int((~is_known).sum()),
        "left out, which the model knows already": int((is_known & ~is_new).sum()),
    }
    return test, {why: count for why, count in left_out.items() if count}


def _are_rated(
    ratings: Ratings | None, u: npt.NDArray[np.intp], i: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Which pairs of a user and an item stand among ratings."""
    if ratings is None:
        return np.zeros(len(u), bool)
    known = ratings.user_idx.astype(np.int64) * ratings.n_items + ratings.item_idx
    return np.isin(u * ratings.n_items + i, known)


def _judge_split(args: Args, ratings: Ratings) -> Outcome:
    if args.split == "time":
        train, test = split_by_time(ratings, args.test_size)
    elif args.split == "leave-k-out":
        train, test = leave_k_out(ratings, args.k, random_state=args.seed)
    else:
        train, test = split(ratings, args.test_size, args.seed)
    model = make_model(args, ratings)
    if test.rating.max() < args.relevant:  # before the training rather than after it
        raise ValueError(f"--relevant: no test rating has {args.relevant:g} stars or more")
    with progress(args, "training", f"{step_name(model)}s", most_steps(model)) as step:
        _fit(model, train, step)
    with progress(args, "judging") as step:
        settings: dict[str, Any] = {"k": args.n, "relevant": args.relevant, "callback": step}
        table = compare({"this model": model}, train, test, **settings)
    n_cold = _n_cold(train, test)
    cold = f"NB: {n_cold} of them have a user or item without a rating to learn from."
    lines = [
        f"{args.ratings}: {size_words(ratings)}",
        f"trained on {len(train)} ratings ({model_words(model)}), judged on {len(test)}",
        *([cold] if n_cold else []),
    ]
    data = {"train_ratings": len(train), "test_ratings": len(test), "cold": n_cold}
    return _outcome(data, table, lines, args)


def _fit(model: MatrixFactorization, ratings: Ratings, step: Step | None) -> None:
    """Fit a model, wholly: half a training judges nothing."""
    model.fit(ratings, callback=step)
    if is_interrupted(model.result_):
        raise KeyboardInterrupt


def _n_cold(train: Ratings, test: Ratings) -> int:
    """Test ratings of which the user or the item has no training rating."""
    has_user = np.bincount(train.user_idx, minlength=train.n_users) > 0
    has_item = np.bincount(train.item_idx, minlength=train.n_items) > 0
    return int((~has_user[test.user_idx] | ~has_item[test.item_idx]).sum())


class _Watched:
    """A model that shows its epochs while `cross_validate` fits copies of it."""

    def __init__(self, model: MatrixFactorization, step: Step | None) -> None:
        self.model, self.step = model, step

    def fit(self, ratings: Ratings) -> None:
        """Fit, a step of the progress line an epoch."""
        _fit(self.model, ratings, self.step)

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> Any:
        """Stars."""
        return self.model.predict(user_ids, item_ids)


def _judge_folds(args: Args, ratings: Ratings) -> Outcome:
    model = make_model(args, ratings)
    with progress(args, "training", f"{step_name(model)}s", args.folds * most_steps(model)) as step:
        tables = {
            name: cross_validate(kind(), ratings, args.folds, args.seed)
            for name, kind in BASELINES.items()
        }
        tables["this model"] = _folds_done(_Watched(model, step), ratings, args)
    done = len(tables["this model"])
    tables = {name: table.head(done) for name, table in tables.items()}
    means = {
        name: {error: float(table[error].mean()) for error in ("rmse", "mae")}
        for name, table in tables.items()
    }
    by_fold = pd.DataFrame({name: table["rmse"] for name, table in tables.items()})
    by_fold.insert(0, "fold", tables["this model"]["fold"])
    lines = [
        f"{args.ratings}: {size_words(ratings)}",
        f"{args.folds} folds, each judged by a model trained on the others: {model_words(model)}",
        "",
        *([f"Interrupted after {done} of them."] if done < args.folds else []),
        "RMSE of each fold, stars:",
        *table_lines(by_fold, dict.fromkeys(tables, ".4f")),
        "",
        "Means of these folds, stars:",
        *error_lines(means),
    ]
    folds = {name: records(table) for name, table in tables.items()}
    data = {"folds": folds, "results": means}
    return Outcome(data, "\n".join(lines), INTERRUPTED if done < args.folds else DONE)


def _folds_done(model: Any, ratings: Ratings, args: Args) -> pd.DataFrame:
    """A row for each fold; after Ctrl-C for each that was done, if there is one."""
    rows: list[dict[str, float]] = []
    try:
        return cross_validate(model, ratings, args.folds, args.seed, rows.append)
    except KeyboardInterrupt:
        if not rows:
            raise
        return pd.DataFrame(rows)


def _outcome(data: dict[str, Any], table: pd.DataFrame, lines: list[str], args: Args) -> Outcome:
    """All metrics of each model, a row a model."""
    metrics, models = list(map(str, table.columns)), list(map(str, table.index))
    rows = [dict(zip(metrics, row, strict=True)) for row in table.to_numpy().tolist()]
    results = dict(zip(models, rows, strict=True))
    lists = [name for name in metrics if name not in ("rmse", "mae")]
    shown = table[lists].copy()
    shown.insert(0, "", models)
    lines = [
        *lines,
        "",
        "Errors, stars:",
        *error_lines(results),
        "",
        f"Lists of {args.n} for each user; liked is what got {args.relevant:g} stars or more:",
        *table_lines(shown, dict.fromkeys(lists, ".4f")),
    ]
    return Outcome(data | {"results": results}, "\n".join(lines))
