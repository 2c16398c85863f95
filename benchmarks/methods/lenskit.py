"""LensKit: BiasedMF by alternating least squares on what damped biases leave, in Rust.

Predictions are taken from its factors and biases at once, which gives what its `predict`
gives user by user.
"""

import numpy as np
import pandas as pd
from lenskit.als import BiasedMFScorer
from lenskit.data import from_interactions_df
from lenskit.training import TrainingOptions

from methods.method import Method, biased_dot, grid

PACKAGES = ("lenskit", "pandas", "torch")


def dataset(task):
    """LensKit's own form of the ratings, its inner numbers being ours."""
    columns = {"user_id": task.train_u, "item_id": task.train_i, "rating": task.train_r}
    ids = {"users": np.arange(task.n_users), "items": np.arange(task.n_items)}
    return from_interactions_df(pd.DataFrame(columns), **ids)


def biased_mf(task, settings):
    """Biases and factors; who is not in the training part has factors of 0."""
    model = BiasedMFScorer(**settings, user_embeddings="prefer")
    model.train(dataset(task), TrainingOptions(rng=task.seed))
    factors = model.user_embeddings, model.item_embeddings
    for rows, known in zip(factors, (task.train_u, task.train_i), strict=True):
        rows[np.bincount(known, minlength=len(rows)) == 0] = 0
    bias = model.bias
    return biased_dot(task, bias.global_bias, bias.user_biases, bias.item_biases, *factors)


METHODS = {
    "BiasedMF": Method(
        biased_mf,
        grid(embedding_size=[50], epochs=[10], regularization=[0.1])  # its defaults
        + grid(embedding_size=[10, 30], epochs=[5, 10], regularization=[0.12, 0.15]),
    )
}
