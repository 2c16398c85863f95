"""The commands `download` and `synthetic`: ratings to try everything else on."""

from __future__ import annotations

import sys
from pathlib import Path

from shallow_cf._files import whole_file
from shallow_cf.commands.shared import (
    INTERRUPTED,
    Args,
    Outcome,
    check_output,
    reading,
    size_words,
    sizes,
)
from shallow_cf.movielens import DATA_SETS, download, find_data_set, licence
from shallow_cf.objective import rmse
from shallow_cf.synthetic import synthetic_ratings

#: As MovieLens names them.
_COLUMNS = {"user_id": "userId", "item_id": "movieId"}


def run_download(args: Args) -> Outcome:
    """A data set of MovieLens, unless it is there already.

    It is taken from GroupLens, whose conditions of use are shown before, and kept where
    SHALLOW_CF_DATA says, or in the system's place for caches. What came before a failure or
    Ctrl-C is kept as well: the same command goes on from there.
    """
    terms = licence(args.name)
    if args.licence:
        return Outcome({"name": args.name, "licence": terms}, terms)
    is_new = find_data_set(args.name, args.folder) is None
    if is_new and not args.accept_licence:
        _ask(args.name, terms)
    try:
        with reading(args, "downloading") as step:
            folder = download(
                args.name, accept_licence=True, folder=args.folder, from_file=args.from_file,
                progress=step,
            )  # fmt: skip
    except KeyboardInterrupt:
        message = "Interrupted. What came is kept: the same command goes on from there."
        return Outcome({"name": args.name, "message": message}, message, INTERRUPTED)
    known = DATA_SETS[args.name]
    path = folder / known.ratings
    data = {
        "name": args.name,
        "downloaded": is_new and args.from_file is None,
        "folder": str(folder),
        "output": str(path),
        "ratings": known.n_ratings,
        "licence": terms,
    }
    lines = [
        *([terms, ""] if is_new and args.accept_licence else []),
        f"{path}: {known.n_ratings} ratings" + ("" if is_new else ", from an earlier run"),
        f"Next: shallow-cf train {path} -o model.npz",
    ]
    return Outcome(data, "\n".join(lines))


def _ask(name: str, terms: str) -> None:
    """Show the conditions to somebody at a terminal, and go on only if they are accepted."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        raise ValueError(
            f"the conditions of use of {name} have to be accepted: --licence shows them, "
            "--accept-licence accepts them"
        )
    print(f"{terms}\n\nDo you accept them? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ValueError("the conditions were not accepted, and nothing was downloaded")


def run_synthetic(args: Args) -> Outcome:
    """Ratings made up, to try every command without data.

    Few items get most ratings and few users give most, as in MovieLens. Stars are predictions by
    planted factors and biases plus noise, so that it is known how well a model can do.
    """
    path = Path(args.output)
    check_output(path, args.force, ".csv")
    ratings, truth = synthetic_ratings(
        args.users, args.items, args.ratings, n_factors=args.factors, noise=args.noise,
        random_state=args.seed, return_truth=True,
    )  # fmt: skip
    best = rmse(ratings, truth)
    with whole_file(path, overwrite=args.force) as temporary:
        table = ratings.to_frame().rename(columns=_COLUMNS)
        table.to_csv(temporary, index=False, lineterminator="\n")
    lines = [
        f"{path}: {size_words(ratings)}",
        f"The planted numbers have an RMSE of {best:.4f} stars: on ratings kept aside no model",
        "does better by much.",
        f"Next: shallow-cf train {path} -o model.npz",
    ]
    return Outcome(sizes(ratings) | {"rmse": best, "output": args.output}, "\n".join(lines))
