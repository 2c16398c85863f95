"""The fast.ai book of 2020, chapter 8: collaborative filtering deep dive, here in NumPy.

    python examples/lessons/book_chapter8_2020.py --data ml-100k

The data is MovieLens 100K, file u.data (https://grouplens.org/datasets/movielens/100k/). A fifth
is kept for validation; the book's own fifth is not known. Published numbers: Howard and Gugger
(2020), "Deep Learning for Coders with fastai and PyTorch", chapter 8 (08_collab.ipynb).

Where the book gives no weight decay, fastai's Adam decays by 0.01 nevertheless.
"""

from table import Run, main

import shallow_cf as scf

FILE = "u.data"
RANGE = (0, 5.5)


def split(ratings):
    """A random fifth."""
    return scf.lesson_split(ratings, 0.2, seed=42)


def cycle(weight_decay, learning_rate=5e-3):
    """Five epochs on one cycle."""
    return scf.SGDOptions(
        5, learning_rate, 64, loss="mse",
        optimizer=scf.AdamW(weight_decay=weight_decay), schedule=scf.OneCycle(),
    )  # fmt: skip


def factorization(weight_decay=0.01, **form):
    """A function that trains 50 factors that start normal(0, 0.01)."""

    def fit(train, valid):
        model = scf.MatrixFactorization(
            50, solver_options=cycle(weight_decay), init="normal", init_scale=0.01,
            random_state=0, **form,
        )  # fmt: skip
        return model.fit(train, valid=valid)

    return fit


def net(train, valid):
    """Embeddings of 74 and 101 numbers (fastai's rule of thumb for their length), 100 units."""
    model = scf.EmbeddingNet(
        (74, 101), 100, rating_range=RANGE, solver_options=cycle(0.01),
        init="normal", init_scale=0.01, random_state=0,
    )  # fmt: skip
    return model.fit(train, valid=valid)


#: Chosen on a tenth of the training part, see docs/lessons.md.
ours = factorization(0.15, bias=True, rating_range=RANGE)


def ours_deep(train, valid):
    """A net of 100 units that starts from the embeddings of `ours`. Chosen likewise."""
    model = scf.EmbeddingNet(
        50, 100, rating_range=RANGE, solver_options=cycle(0.2, 1e-3), random_state=0
    )
    return model.fit(train, valid=valid, start=ours(train, None).parameters_)


RUNS = {
    "dot": Run("dot products", factorization(), (0.884,)),
    "range": Run("and a range", factorization(rating_range=RANGE), (0.878,)),
    "bias": Run("and biases", factorization(rating_range=RANGE, bias=True), (0.893,)),
    "decay": Run(
        "and weight decay 0.1", factorization(0.1, rating_range=RANGE, bias=True), (0.823,)
    ),
    "net": Run("a net", net, (0.867,)),
    "ours": Run("ours: weight decay 0.15", ours),
    "ours, deep": Run("ours, and a net on top", ours_deep),
}

if __name__ == "__main__":
    main(__doc__, FILE, split, RUNS.values())
