"""
Full MovieLens
==============

The spreadsheet's model on 100,000 ratings and more: read, split, train three ways, judge beside
baselines, recommend. Without a file it takes made-up ratings of the size of MovieLens 100K; with
one, the same program runs on yours::

    shallow-cf download ml-100k --folder .
    python examples/07_full_movielens.py --data ml-100k

``--data`` takes a file of ratings, or a folder of MovieLens (u.data, ratings.dat or ratings.csv).

**Look at** the two baselines: a model without any factors comes most of the way, and the rest is
what embeddings are worth.

**Then try** other numbers of factors, ``n_jobs=2`` for two threads, or a larger file.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import shallow_cf as scf

# %%
# Ratings and titles
# ------------------
# ``find_titles`` looks for MovieLens' file of titles beside the ratings.

NAMES = ("ratings.csv", "ratings.dat", "u.data")


def read(data):
    """Ratings and titles from a file or a folder."""
    inside = [data / name for name in NAMES if (data / name).is_file()]
    if data.is_dir() and not inside:
        raise ValueError(f"{data} has none of {', '.join(NAMES)}")
    path = inside[0] if inside else data
    titles = scf.find_titles(path)
    return scf.read_ratings(path), None if titles is None else scf.read_titles(titles)


parser = argparse.ArgumentParser(description="Train on a file of ratings, judge, recommend.")
parser.add_argument("--data", metavar="PATH", type=Path, help="a file of ratings, or its folder")
arguments = parser.parse_args()
if arguments.data is None:
    ratings = scf.synthetic_ratings(943, 1682, 100_000, random_state=0)
    titles = {item: f"made-up movie {item}" for item in ratings.item_ids.tolist()}
else:
    try:
        ratings, titles = read(arguments.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
print(ratings)

# %%
# Three ways to train
# -------------------
# A tenth of the ratings is kept to judge by. All three have the same form: the global mean, a bias
# for each user and item, and the dot product of ten numbers each. Variational Bayes ("vb") learns
# its penalties from the ratings; alternating least squares and gradient descent have been given
# theirs, and with other data would want others.

train, test = scf.split(ratings, 0.1, random_state=0)
FORM = {"n_factors": 10, "bias": True, "global_mean": True, "random_state": 0}
descent = scf.SGDOptions(n_epochs=20, learning_rate=0.03, batch_size=4096, reg=12, row_limit=32)
models = {
    "vb": scf.MatrixFactorization(**FORM, solver="vb"),
    "als": scf.MatrixFactorization(**FORM, solver="als"),
    "sgd": scf.MatrixFactorization(**FORM, solver_options=descent, init="normal", init_scale=0.1),
}
seconds = {}
for name, model in models.items():
    started = time.perf_counter()
    model.fit(train, valid=test)
    seconds[name] = time.perf_counter() - started

# %%
# Beside the baselines
# --------------------
# Errors in stars, and how good the lists of ten recommendations are: the share of ratings of four
# stars and more that is found (recall), and NDCG, which also looks at the order.

table = scf.compare(models, train, test)[["rmse", "mae", "recall@10", "ndcg@10"]].round(3)
table["seconds"] = [f"{seconds[name]:.1f}" if name in seconds else "" for name in table.index]
print(table.to_string())

# %%
# How sure?
# ---------
# Variational Bayes also says how far each prediction is to be trusted. Sorted by that, and cut into
# five parts, the errors made should be those foretold. Made-up ratings all have the same noise, as
# the model assumes; people do not, and with MovieLens the errors made spread further.

model = models["vb"]
pairs = test.to_frame()
known = pairs[pairs.user_id.isin(model.user_ids_) & pairs.item_id.isin(model.item_ids_)]
stars, std = model.predict(known.user_id, known.item_id, return_std=True)
error = stars - known.rating.to_numpy()
print("foretold, stars   made, stars")
for part in np.array_split(np.argsort(std), 5):
    print(f"{np.sqrt(np.mean(std[part] ** 2)):15.2f}{np.sqrt(np.mean(error[part] ** 2)):14.2f}")

# %%
# What next?
# ----------
# Five movies for the user with the most ratings, none that the user has rated already, and only
# such as 50 users or more have rated.

user = ratings.top(1, 1).user_ids[0]
print(f"For user {user}, with {(train.to_frame().user_id == user).sum()} ratings:")
print(model.recommend(user, 5, min_ratings=50, titles=titles).round(2).to_string(index=False))

# %%
# The picture
# -----------
# The error on the ratings kept aside, sweep by sweep or epoch by epoch. Variational Bayes is done
# after a few sweeps. Alternating least squares is at its best before it ends, because it goes on to
# fit the training part; that is what its penalty is to prevent.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, model), style in zip(models.items(), ("o-", "s--", "^:"), strict=True):
        ax.plot(model.history_.valid_rmse[1:], style, markersize=4, label=name)
    ax.axhline(table.rmse["biases only"], color="grey", linewidth=1, label="biases only")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("sweep or epoch")
    ax.set_ylabel("RMSE on ratings kept aside, stars")
    ax.legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("07_full_movielens.png")
        print("Picture: 07_full_movielens.png")
