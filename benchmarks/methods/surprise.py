"""scikit-surprise: SVD with biases by stochastic gradient descent, in Cython.

Settings as in its own grid searches. Its `Trainset` is made directly from the arrays, and
predictions are taken from the public factors at once: both quicker than its usual way
through a table and a loop over test ratings, with the same outcome. One thread.
"""

from collections import defaultdict

from surprise import SVD, Trainset

from methods.method import Method, biased_dot, grid

PACKAGES = ("scikit-surprise",)


def trainset(task):
    """Surprise's own form of the ratings, its inner numbers being ours."""
    ur, ir = defaultdict(list), defaultdict(list)
    triplets = (column.tolist() for column in (task.train_u, task.train_i, task.train_r))
    for u, i, r in zip(*triplets, strict=True):
        ur[u].append((i, r))
        ir[i].append((u, r))
    scale = float(task.train_r.min()), float(task.train_r.max())
    sizes = task.n_users, task.n_items, len(task.train_r)
    return Trainset(ur, ir, *sizes, scale, range(task.n_users), range(task.n_items))


def svd(task, settings):
    """Biases and factors; who is not in the training part has biases of 0."""
    train = trainset(task)
    model = SVD(**settings, random_state=task.seed).fit(train)
    # An unknown user or item: Surprise leaves out their products, which have random factors.
    for factors, known in ((model.pu, train.ur), (model.qi, train.ir)):
        factors[[k for k in range(len(factors)) if k not in known]] = 0
    return biased_dot(task, train.global_mean, model.bu, model.bi, model.pu, model.qi)


METHODS = {
    "SVD": Method(
        svd,
        grid(n_factors=[100], n_epochs=[20], lr_all=[0.005], reg_all=[0.02])  # its defaults
        + grid(n_factors=[50, 100], n_epochs=[50], lr_all=[0.01], reg_all=[0.08, 0.1])
        + grid(n_factors=[100], n_epochs=[80], lr_all=[0.01], reg_all=[0.1]),
    )
}
