"""cornac: MF with biases by stochastic gradient descent, in C++.

With `seed` given cornac keeps to one thread; so the start is drawn here, and several threads
write without locks, as is its habit. Predictions are taken from its factors at once.
"""

import numpy as np
from cornac.data import Dataset
from cornac.models import MF

from methods.method import Method, biased_dot, grid

PACKAGES = ("cornac",)


def dataset(task):
    """Cornac's own form of the ratings, its inner numbers being ours."""
    ids = [{k: k for k in range(n)} for n in (task.n_users, task.n_items)]
    triplets = task.train_u, task.train_i, task.train_r.astype(np.float64)
    return Dataset(task.n_users, task.n_items, *ids, triplets)


def mf(task, settings):
    """Biases and factors."""
    rng = np.random.default_rng(task.seed)
    sizes = {"U": task.n_users, "V": task.n_items}
    start = {
        name: rng.normal(0, 0.01, (n, settings["k"])).astype(np.float32)
        for name, n in sizes.items()
    }
    model = MF(**settings, num_threads=task.threads, init_params=start)
    model.fit(dataset(task))
    return biased_dot(
        task, model.global_mean, model.u_biases, model.i_biases, model.u_factors, model.i_factors
    )


METHODS = {
    "MF": Method(
        mf,
        grid(k=[10], max_iter=[20], learning_rate=[0.01], lambda_reg=[0.02])  # its defaults
        + grid(k=[10, 50], max_iter=[20, 40], learning_rate=[0.02], lambda_reg=[0.06, 0.08])
        + grid(k=[100], max_iter=[50, 80], learning_rate=[0.01], lambda_reg=[0.08, 0.1]),
    )
}
