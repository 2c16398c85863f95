"""cmfrec: biases and factors by alternating least squares, in C."""

from cmfrec import CMF
from scipy import sparse

from methods.method import Method, grid

PACKAGES = ("cmfrec", "scipy")


def als(task, settings):
    """Biases and factors."""
    shape = task.n_users, task.n_items
    ratings = sparse.coo_matrix((task.train_r, (task.train_u, task.train_i)), shape)
    own = dict(settings)
    reg, reg_bias = own.pop("reg"), own.pop("reg_bias")
    # In its order: biases of users and items, factors of both, and two that stay unused here.
    penalties = [reg_bias, reg_bias, reg, reg, 0.0, 0.0]
    model = CMF(
        **own, lambda_=penalties, method="als", nthreads=task.threads, verbose=False,
        random_state=task.seed + 1,
    )  # fmt: skip
    model.fit(ratings)
    return model.predict(task.test_u, task.test_i)


METHODS = {
    "ALS": Method(
        als,
        grid(k=[5, 10, 20], niter=[10], use_cg=[False], reg=[8.0, 12.0], reg_bias=[3.0, 8.0])
        + grid(k=[20, 40], niter=[10], scale_lam=[True], reg=[0.1, 0.15], reg_bias=[0.05]),
    )
}
