"""fast.ai 2019, lesson 4: collab_learner on MovieLens 100K, here in NumPy.

    python examples/lessons/lesson4_2019.py --data ml-100k

The data is MovieLens 100K, file u.data (https://grouplens.org/datasets/movielens/100k/). A tenth
is kept for validation; which one the lesson kept is not known, and another tenth moves the
numbers by 0.01. Published number: the course's notebook lesson4-collab.ipynb.
"""

from table import Run, main

import shallow_cf as scf

FILE = "u.data"


def split(ratings):
    """A random tenth."""
    return scf.lesson_split(ratings, 0.1, seed=42)


def learner(weight_decay, n_factors, epsilon, schedule):
    """A function that trains: embeddings normal(0, 0.01), biases, sigmoid from 0 to 5.5 stars."""

    def fit(train, valid):
        options = scf.SGDOptions(
            5, 5e-3, 64, loss="mse", schedule=schedule,
            optimizer=scf.AdamW(weight_decay=weight_decay, epsilon=epsilon),
        )  # fmt: skip
        model = scf.MatrixFactorization(
            n_factors, bias=True, rating_range=(0, 5.5), solver_options=options,
            init="normal", init_scale=0.01, random_state=0,
        )  # fmt: skip
        return model.fit(train, valid=valid)

    return fit


RUNS = {
    "learner": Run(
        "collab_learner(n_factors=40, wd=0.1), fit_one_cycle(5, 5e-3)",
        learner(0.1, 40, 1e-8, scf.OneCycle.v1()),
        (0.815,),
    ),
    # Chosen on a tenth of the training part, see docs/lessons.md.
    "ours": Run("ours: 50 factors, weight decay 0.15", learner(0.15, 50, 1e-5, scf.OneCycle())),
}

if __name__ == "__main__":
    main(__doc__, FILE, split, RUNS.values())
