"""What variational Bayes is worth: RMSE, how sure it is, what patterns bring, what it costs.

Run: python benchmarks/variational_bayes.py u1.base   (of ml-100k, or any file of ratings)

The file holds ratings to train on. A tenth of them is kept for validation, drawn anew for each
seed; a line of the table has the means over the seeds, on ratings of users and items that the
rest of the ratings has. Coverage is the share of those ratings within the central interval,
prediction -+ z std, that ought to hold half (50%) or nine tenths (90%) of them. Seconds are the
median of the training's processor time over the seeds; the peer is ALS with its defaults.

Then, for one number of factors and one seed: errors by how sure predictions are, and a tenth of
the users kept from training and folded in from half of their ratings, the other half asked for.
Takes a few minutes.
"""

import argparse
import os
import platform
import time
from importlib.metadata import version

# Small matrices: on a busy machine BLAS threads mostly wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

import shallow_cf as scf
from shallow_cf.solvers.vb import VBOptions

SEEDS = range(3)
LEVELS = (0.5, 0.9)


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings", help="a file of ratings, such as u1.base of MovieLens 100K")
    parser.add_argument("--factors", type=int, nargs="+", default=[5, 10, 20, 40])
    given = parser.parse_args()
    ratings = scf.read_ratings(given.ratings)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"{ratings!r}; Python {platform.python_version()}, {packages}\n")
    head = ["factors", "solver", "train", "valid", "noise", *(f"{p:.0%}" for p in LEVELS)]
    head += ["std", "sweeps", "seconds"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for k in given.factors:
        for name, solver, options in (
            ("ALS", "als", None),
            ("VB, no patterns", "vb", VBOptions(n_patterns=0)),
            ("VB", "vb", None),
        ):
            runs = np.array([run(ratings, k, solver, options, seed) for seed in SEEDS])
            print(line(k, name, runs), flush=True)
    by_certainty(ratings, given.factors[0])
    newcomers(ratings, given.factors[0])


def run(ratings, k, solver, options, seed):
    """Numbers of one training."""
    train, valid = scf.split(ratings, 0.1, seed)
    begun = time.process_time()
    model = trained(train, k, solver, options, seed)
    seconds = time.process_time() - begun
    ids, stars = known(train, valid)
    errors = model.predict(*ids) - stars
    sure = certainty(model, ids, errors) if solver == "vb" else [np.nan] * (len(LEVELS) + 2)
    rmse = float(np.sqrt(np.mean(errors**2)))
    return [model.rmse(train), rmse, *sure, model.result_.iterations, seconds]


def trained(ratings, k, solver="vb", options=None, seed=0):
    """A model."""
    return scf.MatrixFactorization(
        k, bias=True, global_mean=True, solver=solver, solver_options=options, random_state=seed,
    ).fit(ratings)  # fmt: skip


def known(train, valid):
    """Ids and stars of the ratings whose user and item are in the training part."""
    users, items = valid.user_ids[valid.user_idx], valid.item_ids[valid.item_idx]
    both = np.isin(users, train.user_ids) & np.isin(items, train.item_ids)
    return (users[both], items[both]), valid.rating[both]


def certainty(model, ids, errors):
    """Noise, coverages, and the mean standard deviation."""
    std = model.predict(*ids, return_std=True)[1]
    covered = [np.mean(np.abs(errors) <= stats.norm.ppf((1 + p) / 2) * std) for p in LEVELS]
    return [model.posterior_.noise_std, *covered, std.mean()]


def by_certainty(ratings, k):
    """Errors of ratings kept back, a fifth of them a line, the surest first."""
    train, valid = scf.split(ratings, 0.1, 0)
    ids, stars = known(train, valid)
    prediction, std = trained(train, k).predict(*ids, return_std=True)
    squared = (prediction - stars) ** 2
    print(f"\n{k} factors\n\n| standard deviation | root mean squared error |\n|---|---|")
    for part in np.array_split(np.argsort(std), 5):
        print(f"| {np.mean(std[part] ** 2) ** 0.5:.2f} | {np.mean(squared[part]) ** 0.5:.2f} |")


def newcomers(ratings, k):
    """Users kept from training, by how many of their ratings they are folded in from."""
    rng = np.random.default_rng(0)
    frame = ratings.to_frame()
    kept = rng.choice(ratings.user_ids, len(ratings.user_ids) // 10, replace=False)
    train = scf.Ratings.from_frame(frame[~frame.user_id.isin(kept)])
    theirs = frame[frame.user_id.isin(kept) & frame.item_id.isin(train.item_ids)].sample(
        frac=1, random_state=0
    )
    models = [trained(train, k, solver) for solver in ("als", "vb")]
    head = ["ratings told", "ALS, reg 3", "VB", *(f"{p:.0%}" for p in LEVELS), "std"]
    print(f"\n{len(kept)} users folded in\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for n in (1, 3, 10, None):
        print(f"| {'half' if n is None else n} | {told(models, theirs, n)} |", flush=True)


def told(models, theirs, n):
    """Cells of a line of `newcomers`."""
    errors, std = [[], []], []
    for _, rows in theirs.groupby("user_id"):
        half = len(rows) // 2
        given, asked = rows.iloc[: half if n is None else min(n, half)], rows.iloc[half:]
        given = dict(zip(given.item_id, given.rating, strict=True))
        folded = [model.fold_in_user(given) for model in models]
        for found, model in zip(errors, folded, strict=True):
            found.append(model.predict(model.user_ids_[-1], asked.item_id) - asked.rating)
        vb = folded[1]
        std.append(vb.predict(vb.user_ids_[-1], asked.item_id, return_std=True)[1])
    als, own, std = *map(np.concatenate, errors), np.concatenate(std)
    covered = [np.mean(np.abs(own) <= stats.norm.ppf((1 + p) / 2) * std) for p in LEVELS]
    shares = " | ".join(f"{share:.1%}" for share in covered)
    return (
        f"{np.mean(als**2) ** 0.5:.3f} | {np.mean(own**2) ** 0.5:.3f} | {shares} | {std.mean():.2f}"
    )


def line(k, name, runs):
    """A line of the table."""
    train, valid, noise, *covered, std, sweeps = runs.mean(axis=0)[:-1]
    cells = [f"{train:.4f}", f"{valid:.4f}", f"{noise:.3f}"]
    cells += [f"{share:.1%}" for share in covered]
    cells += [f"{std:.3f}", f"{sweeps:.0f}", f"{np.median(runs[:, -1]):.2f}"]
    return f"| {k} | {name} | {' | '.join(cells)} |".replace("nan%", "").replace("nan", "")


if __name__ == "__main__":
    main()
