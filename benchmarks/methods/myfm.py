"""myFM: Bayesian factorisation machine by Gibbs sampling, in C++. One thread."""

import numpy as np
from myfm import MyFMRegressor
from scipy import sparse

from methods.method import Method, grid

PACKAGES = ("myfm", "scipy")


def one_hot(u, i, task):
    """A row a rating: a one for its user and a one for its item."""
    n = len(u)
    columns = np.column_stack([u, task.n_users + i]).ravel()
    rows = np.arange(0, 2 * n + 1, 2)
    shape = n, task.n_users + task.n_items
    return sparse.csr_matrix((np.ones(2 * n), columns, rows), shape)


def gibbs(task, settings):
    """Mean prediction over the samples; users and items have priors of their own."""
    own = dict(settings)
    n_iter = own.pop("n_iter")
    model = MyFMRegressor(**own, random_seed=task.seed)
    model.fit(
        one_hot(task.train_u, task.train_i, task), task.train_r, n_iter=n_iter,
        group_shapes=[task.n_users, task.n_items],
    )  # fmt: skip
    return model.predict(one_hot(task.test_u, task.test_i, task))


METHODS = {"Gibbs": Method(gibbs, grid(rank=[10], n_iter=[50, 100, 200]))}
