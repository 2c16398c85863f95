"""
Shallow against deep
====================

A dot product multiplies two embeddings and adds up: shallow learning. A neural network lays them
side by side and learns what to do with them: two layers of weights with a non-linearity between.
It can express more. Does it predict better?

That depends on where the ratings come from, so here are two worlds in which that is known. In one,
taste is a dot product. In the other, everybody has a place on a map, as has every film, and likes
what is near.

**Look at** which model wins where, and by how much; then at the last line of each table.

**Then try** fewer ratings, or a world of your own in ``WORLDS``.
"""

import numpy as np

import shallow_cf as scf

# %%
# Two worlds
# ----------
# 400 users, 300 films, 20,000 of the 120,000 possible ratings: what the world says, noise of 0.6
# stars, rounded to half stars.

WORLDS = {
    "taste is a dot product": lambda p, q: np.sum(p * q, axis=1),
    "taste is nearness": lambda p, q: -np.linalg.norm(p - q, axis=1),
}


def rated(liking, n_users=400, n_items=300, n_ratings=20_000):
    """Ratings in a world."""
    rng = np.random.default_rng(0)
    u, i = np.divmod(rng.permutation(n_users * n_items)[:n_ratings], n_items)
    users, items = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    score = liking(users[u], items[i])
    stars = 3.5 + 0.8 * (score - score.mean()) / score.std() + 0.6 * rng.normal(size=n_ratings)
    stars = np.clip(np.round(2 * stars) / 2, 0.5, 5)
    return scf.Ratings(np.arange(n_users), np.arange(n_items), u, i, stars)


# %%
# Three models
# ------------
# The same optimiser and sigmoid for all. Learning rates and weight decays were chosen on tables
# drawn with other seeds: one setting a model, for both worlds. The third model is a net that starts
# from the embeddings which the factorisation has found.


def cycle(n_epochs, learning_rate, weight_decay):
    """AdamW on one cycle."""
    return scf.SGDOptions(
        n_epochs, learning_rate, 64, loss="mse",
        optimizer=scf.AdamW(weight_decay=weight_decay), schedule="onecycle",
    )  # fmt: skip


def models(train, test):
    """Trained models by name."""
    shallow = scf.MatrixFactorization(
        10, bias=True, rating_range=(0, 5.5), init="normal", init_scale=0.1, random_state=0,
        solver_options=cycle(20, 0.01, 0.2),
    ).fit(train, valid=test)  # fmt: skip
    deep = scf.EmbeddingNet(
        10, 30, rating_range=(0, 5.5), init_scale=0.1, random_state=0,
        solver_options=cycle(20, 0.01, 0.1),
    ).fit(train, valid=test)  # fmt: skip
    on_top = scf.EmbeddingNet(
        10, 30, rating_range=(0, 5.5), random_state=0, solver_options=cycle(10, 0.002, 0.2)
    ).fit(train, valid=test, start=shallow.parameters_for(train))
    return {"shallow": shallow, "deep": deep, "deep on top of shallow": on_top}


# %%
# The numbers
# -----------
# RMSE on a tenth of the ratings that none has seen, in stars. Below 0.62 no model can come: that is
# the noise, with the rounding.

histories = {}
for world, liking in WORLDS.items():
    train, test = scf.split(rated(liking), 0.1, random_state=0)
    trained = models(train, test)
    histories[world] = {name: model.history_.valid_rmse for name, model in trained.items()}
    print(f"{world:24}{'train':>8}{'test':>8}")
    print(f"  {'global mean':22}{'':8}{scf.rmse(scf.GlobalMean().fit(train), test):8.3f}")
    print(f"  {'biases alone':22}{'':8}{scf.rmse(scf.BiasesOnly().fit(train), test):8.3f}")
    for name, model in trained.items():
        print(f"  {name:22}{model.rmse(train):8.3f}{model.rmse(test):8.3f}")

# %%
# Each wins at home. What the net can express does not help where the dot product is right: it has to
# learn to multiply from the data. On MovieLens 100K the shallow model is ahead (RMSE 0.908 against
# 0.93), and a net on top of it a little better than both (0.905): see the table of the book's
# chapter 8 among the lessons.
#
# The picture
# -----------
# The error on unseen ratings, epoch by epoch. The net on top starts from embeddings that are good
# already, so it has to learn its two layers only.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    _, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    for ax, (world, curves) in zip(axes, histories.items(), strict=True):
        for (name, errors), style in zip(curves.items(), ("-", "--", "-."), strict=True):
            ax.plot(errors[1:], style, label=name)
        ax.set_title(world)
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("RMSE on unseen ratings, stars")
    axes[0].legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("10_shallow_against_deep.png")
        print("Picture: 10_shallow_against_deep.png")
