"""LIBMF through the package libmf: factors without biases by parallel SGD, in C++.

Its start is drawn with a fixed seed; several threads take blocks in varying order. The
package is built for any processor unless told otherwise: benchmarks/README.md has how to build
it with AVX, as it is meant to be.
"""

import numpy as np
from libmf import mf

from methods.method import Method, grid

PACKAGES = ("libmf",)


def factors(task, settings):
    """Factors; who is not in the training part gets the mean of the ratings."""
    triplets = np.column_stack([task.train_u, task.train_i, task.train_r])
    pairs = np.column_stack([task.test_u, task.test_i])
    own = {name: value for name, value in settings.items() if name != "reg"}
    reg = {"lambda_p2": settings["reg"], "lambda_q2": settings["reg"]}
    model = mf.MF(**own, **reg, lambda_p1=0.0, lambda_q1=0.0, nr_threads=task.threads, quiet=True)
    # Its C++ reads the triplets row after row, and the pairs column after column.
    model.fit(np.ascontiguousarray(triplets))
    return model.predict(np.asfortranarray(pairs))


METHODS = {
    "MF": Method(
        factors,
        grid(k=[8], nr_iters=[20], eta=[0.1], reg=[0.04])
        + grid(k=[16, 32, 64], nr_iters=[20], eta=[0.1], reg=[0.08, 0.1, 0.12])
        + grid(k=[64, 128], nr_iters=[30, 50], eta=[0.05], reg=[0.08, 0.1]),
        seeded=False,
    )
}
