"""The commands that use a model: recommend, similar, explain and fold-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shallow_cf._files import whole_file
from shallow_cf.commands.models import (
    item_titles,
    known_ids,
    load,
    places,
    save,
    typed_id,
)
from shallow_cf.commands.shared import (
    Args,
    Outcome,
    check_output,
    id_text,
    progress,
    read,
    records,
    table_lines,
)
from shallow_cf.estimator import MatrixFactorization

#: What stands for all users, where users are named.
EVERYONE = "all"
#: Users whose lists are made between two steps of the progress line.
_BATCH = 2000


def run_recommend(args: Args) -> Outcome:
    """The items a user should like best, of those not rated yet."""
    if args.output is not None:
        check_output(Path(args.output), args.force, source=args.model)
    model = load(args)
    _check_ratings_kept(args, model)
    users = model.user_ids_
    if args.users != [EVERYONE]:
        users = known_ids(users, dict.fromkeys(args.users), "user")  # each once
    settings: dict[str, Any] = {
        "exclude_seen": not args.include_seen,
        "min_ratings": args.min_ratings,
        "items": None if args.among is None else _among(args.among, model),
        "titles": item_titles(args, model),
    }
    batches = [users[k : k + _BATCH] for k in range(0, len(users), _BATCH)]
    lists = []
    with progress(args, "recommending", "batches", len(batches)) as step:
        for batch in batches:
            lists.append(model.recommend(batch, args.n, **settings))
            if step is not None:
                step({})
    table = pd.concat(lists, ignore_index=True)
    data: dict[str, Any] = {"users": len(users), "rows": len(table), "output": args.output}
    if args.output is None:
        return Outcome(data | {"recommendations": records(table)}, _blocks(table, users))
    text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    with whole_file(args.output, overwrite=args.force) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Outcome(data, f"{args.output}: {len(table)} recommendations for {len(users)} users")


def run_similar(args: Args) -> Outcome:
    """The items most like an item, or the users like a user."""
    model = load(args)
    _check_ratings_kept(args, model)
    titles = item_titles(args, model)
    settings = {"measure": args.measure, "min_ratings": args.min_ratings}
    if args.item is not None:
        wanted = known_ids(model.item_ids_, [args.item], "item")[0]
        table = model.similar_items(wanted, args.n, titles=titles, **settings)
        name = f"item {_named(wanted, titles)}"
    else:
        wanted = known_ids(model.user_ids_, [args.user], "user")[0]
        table = model.similar_users(wanted, args.n, **settings)
        name = f"user {id_text(wanted)}"
    data = {"of": _json_id(wanted), "measure": args.measure, "similar": records(table)}
    lines = [f"most like {name}, by {args.measure}:", *table_lines(table, {"similarity": ".3f"})]
    return Outcome(data, "\n".join(lines))


def run_explain(args: Args) -> Outcome:
    """How a prediction comes about, term by term."""
    model = load(args)
    titles = item_titles(args, model)
    user = known_ids(model.user_ids_, [args.user], "user")[0]
    item = known_ids(model.item_ids_, [args.item], "item")[0]
    n = args.n if model.ratings_ is not None else 0
    why = model.explain(user, item, n=n, titles=titles)
    data = {
        "user_id": _json_id(user),
        "item_id": _json_id(item),
        "title": why.title or None,
        "prediction": why.prediction,
        "score": why.score,
        "rating_range": why.rating_range,
        "rating": why.rating,
        "terms": records(why.terms),
        "rated": records(why.rated),
    }
    few = replace(why, terms=_largest(why.terms, args.terms), rated=why.rated.iloc[:0])
    lines = [str(few)]
    if len(why.rated):
        lines += ["", "Nearest of the items that this user rated:"]
        lines += table_lines(why.rated, {"similarity": ".3f", "rating": "g"})
    if model.ratings_ is None:
        note = f"NB: {args.model} was saved without its ratings, so the user's are not shown."
        lines += ["", note]
    return Outcome(data, "\n".join(lines))


def run_fold_in(args: Args) -> Outcome:
    """What a new user should like, from a few ratings.

    Nothing is trained; with -o the model is written with the new user in it.
    """
    if args.output is not None:
        check_output(Path(args.output), args.force, ".npz", source=args.model)
    model = load(args)
    titles = item_titles(args, model)
    lists, users, notes = [], [], []
    for wanted, given, n_left_out in _new_users(args, model):
        model = model.fold_in_user(given, wanted, reg=args.reg)
        users.append(model.user_ids_[-1])
        others = np.setdiff1d(model.item_ids_, np.array(list(given)))
        lists.append(
            model.recommend(users[-1:], args.n, exclude_seen=False, items=others, titles=titles)
        )
        if n_left_out:
            notes.append(
                f"NB: {n_left_out} ratings of user {id_text(users[-1])} left out: the model does "
                "not know these items."
            )
    if args.output is not None:
        save(model, args.output, force=args.force)
        notes.append(f"{args.output}: {model.parameters_.n_users} users, the new ones at the end")
    table = pd.concat(lists, ignore_index=True)
    data = {
        "user_ids": [_json_id(user) for user in users],
        "recommendations": records(table),
        "output": args.output,
    }
    return Outcome(data, "\n".join([_blocks(table, users), *([""] if notes else []), *notes]))


# --- pieces of commands -----------------------------------------------------------------


def _check_ratings_kept(args: Args, model: MatrixFactorization) -> None:
    """Refuse what only a model with its ratings can answer, saying what does without."""
    if model.ratings_ is not None:
        return
    if args.min_ratings:
        raise ValueError(f"{args.model} was saved without its ratings: --min-ratings counts them")
    if not getattr(args, "include_seen", True):
        raise ValueError(
            f"{args.model} was saved without its ratings, so what users have seen is not known: "
            "pass --include-seen"
        )


def _among(path: str, model: MatrixFactorization) -> Any:
    """The items that a file lists, an id a line."""
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{path} names no items: an id a line is expected")
    return known_ids(model.item_ids_, texts, "item")


def _new_users(
    args: Args, model: MatrixFactorization
) -> Iterator[tuple[Any, dict[Any, float], int]]:
    """The id (None: a free one), the ratings, and how many more had unknown items, of each."""
    first, *others = args.ratings
    if others or ("=" in first and not Path(first).exists()):
        yield _typed(model.user_ids_, args.user_id), _typed_ratings(args.ratings, model), 0
        return
    if not Path(first).exists():
        raise FileNotFoundError(f"ITEM=STARS or a file of ratings expected, got {first!r}")
    ratings = read(args, first)
    if args.user_id is not None and ratings.n_users > 1:
        raise ValueError(f"--user-id names one user, but {first} has {ratings.n_users}")
    idx = places(model.item_ids_, ratings.item_ids)[ratings.item_idx]
    for u, user_id in enumerate(ratings.user_ids):
        own = ratings.user_idx == u
        known = own & (idx >= 0)
        if not known.any():
            raise ValueError(f"{first}: the model knows no item of user {id_text(user_id)}")
        given = dict(zip(model.item_ids_[idx[known]], ratings.rating[known].tolist(), strict=True))
        name = id_text(user_id) if args.user_id is None else args.user_id
        yield _typed(model.user_ids_, name), given, int((own & ~known).sum())


def _typed(ids: Any, text: str | None) -> int | str | None:
    return None if text is None else typed_id(ids, text)


def _typed_ratings(texts: list[str], model: MatrixFactorization) -> dict[Any, float]:
    """Item -> stars of arguments such as 260=4.5."""
    given: dict[Any, float] = {}
    for text in texts:
        name, sign, number = text.rpartition("=")
        try:
            stars = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise ValueError(f"ITEM=STARS expected, such as 260=4.5, got {text!r}")
        item = known_ids(model.item_ids_, [name], "item")[0]
        if item in given:
            raise ValueError(f"item {name} is rated more than once")
        given[item] = stars
    return given


def _blocks(table: pd.DataFrame, users: Any) -> str:
    """A list for each user."""
    rows = dict(list(table.groupby("user_id", sort=False)))
    blocks = []
    for user, key in zip(users, pd.Index(users), strict=True):  # dates are NumPy's and pandas'
        own = rows.get(key)
        if own is None:
            blocks.append(f"user {id_text(user)}: there is nothing left to recommend")
        else:
            own = own.drop(columns="user_id")
            blocks.append(
                "\n".join([f"user {id_text(user)}", *table_lines(own, {"prediction": ".2f"})])
            )
    return "\n\n".join(blocks)


def _largest(terms: pd.DataFrame, n: int) -> pd.DataFrame:
    """The terms with only the n factors that add or take most; a row for the others' sum."""
    is_factor = terms["term"].str.startswith("factor ")
    rank = terms["product"].abs().where(is_factor).rank(ascending=False, method="first")
    others = terms[rank > n]
    if len(others) < 2:
        return terms
    row = {"term": f"{len(others)} others", "product": others["product"].sum()}
    return pd.concat([terms[~(rank > n)], pd.DataFrame([row])], ignore_index=True)


def _named(item: Any, titles: dict[Any, str] | None) -> str:
    title = (titles or {}).get(item, "")
    return f"{id_text(item)}, {title}" if title else id_text(item)


def _json_id(value: Any) -> int | str:
    return id_text(value) if isinstance(value, np.datetime64) else value.item()
