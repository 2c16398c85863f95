"""fast.ai 2018, lesson 5: collaborative filtering from scratch, here in NumPy.

    python examples/lessons/lesson5_2018.py --data ml-latest-small

The data is MovieLens ml-latest-small as of October 2016, which the lesson used: 100,004 ratings
in ratings.csv (https://grouplens.org/datasets/movielens/; today's file of that name has other
ratings). A fifth of them, the lesson's own, is kept for validation. Published numbers: the
course's notebook lesson5-movielens.ipynb.
"""

from table import Run, main

import shallow_cf as scf

FILE = "ratings.csv"


def split(ratings):
    """The first fifth of RandomState(42).permutation, as the lesson's get_cv_idxs takes it."""
    return scf.lesson_split(ratings, 0.2, seed=42)


def dot_product(train, valid):
    """Embeddings that start uniform(0, 0.05); six epochs of SGD with momentum."""
    options = scf.SGDOptions(
        n_epochs=6,
        learning_rate=0.1,
        batch_size=64,
        loss="mse",
        reg=1e-5,  # weight_decay of PyTorch's SGD is an L2 penalty
        optimizer=scf.Momentum(0.9),
        schedule=scf.Step(epochs=[3], factor=0.1),  # set_lrs(opt, 0.01) after three epochs
    )
    model = scf.MatrixFactorization(50, solver_options=options, init_scale=0.05, random_state=0)
    return model.fit(train, valid=valid)


def biases_and_range(train, valid):
    """A bias for each user and movie, and a sigmoid from 0.5 to 5 stars."""
    options = scf.SGDOptions(
        6, 0.1, 64, loss="mse", reg=2e-4,
        optimizer=scf.Momentum(0.9), schedule=scf.Step([3], 0.1),
    )  # fmt: skip
    model = scf.MatrixFactorization(
        50, bias=True, rating_range=(0.5, 5), solver_options=options,
        init="symmetric", init_scale=0.01, random_state=0,
    )  # fmt: skip
    return model.fit(train, valid=valid)


def mini_net(train, valid):
    """Two embeddings side by side, ten units, no dropout.

    The notebook shows a learning rate of 1e-3 throughout, but its cells were run out of order:
    the losses printed are those of 1e-2 for three epochs and 1e-3 for three more.
    """
    options = scf.SGDOptions(
        6, 1e-2, 64, loss="mse", reg=1e-5,
        optimizer=scf.Adam(beta2=0.999, epsilon=1e-8), schedule=scf.Step([3], 0.1),
    )  # fmt: skip
    net = scf.EmbeddingNet(
        50, 10, rating_range=(0, 5.5), solver_options=options, init_scale=0.01, random_state=0
    )
    return net.fit(train, valid=valid)


def learner(train, valid):
    """fast.ai's own learner: Adam, one epoch and then two, each time down half a cosine."""

    def options(n_epochs):
        return scf.SGDOptions(
            n_epochs, 1e-2, 64, loss="mse", reg=2e-4,
            optimizer=scf.Adam(beta2=0.99, epsilon=1e-8), schedule="cosine",
        )  # fmt: skip

    model = scf.MatrixFactorization(
        50, bias=True, rating_range=(0.5, 5), solver_options=options(1),
        init="symmetric", init_scale=0.01, random_state=0,
    ).fit(train, valid=valid)  # fmt: skip
    return model.set_params(solver_options=options(2)).partial_fit(train, valid=valid)


def ours(train, valid):
    """Weight decay and one cycle. Chosen on a tenth of the training part, see docs/lessons.md."""
    options = scf.SGDOptions(
        5, 5e-3, 64, loss="mse", optimizer=scf.AdamW(weight_decay=0.15), schedule="onecycle"
    )
    model = scf.MatrixFactorization(
        50, bias=True, rating_range=(0, 5.5), solver_options=options,
        init="normal", init_scale=0.01, random_state=0,
    )  # fmt: skip
    return model.fit(train, valid=valid)


def ours_deep(train, valid):
    """A net of 100 units that starts from the embeddings of `ours`. Chosen likewise."""
    options = scf.SGDOptions(
        5, 1e-3, 64, loss="mse", optimizer=scf.AdamW(weight_decay=0.4), schedule="onecycle"
    )
    net = scf.EmbeddingNet(50, 100, rating_range=(0, 5.5), solver_options=options, random_state=0)
    return net.fit(train, valid=valid, start=ours(train, None).parameters_)


RUNS = {
    "dot": Run("dot products", dot_product, (1.642, 1.294, 1.228, 1.150, 1.137, 1.130)),
    "bias": Run("biases, range", biases_and_range, (0.836, 0.818, 0.810, 0.803, 0.802, 0.801)),
    "net": Run("mini net", mini_net, (0.824, 0.813, 0.807, 0.793, 0.786, 0.781)),
    "learner": Run("fast.ai's learner, the notebook's best", learner, (0.776,)),
    "ours": Run("ours", ours),
    "ours, deep": Run("ours, and a net on top", ours_deep),
}

if __name__ == "__main__":
    main(__doc__, FILE, split, RUNS.values())
