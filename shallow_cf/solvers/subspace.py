"""Leading directions of a large sparse matrix, for a good start and for who rated what.

Randomised subspace iteration (Halko, Martinsson and Tropp 2011, "Finding Structure with
Randomness", SIAM Review 53(2), section 4.5): a few random vectors, multiplied by a matrix and
its transpose again and again, turn into its leading singular vectors. Two rounds serve here.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from shallow_cf.parameters import RealArray

_ROUNDS = 2


def leading_vectors(matrix: sparse.csr_array, n: int, rng: np.random.Generator) -> RealArray:
    """About the `n` leading right singular vectors of a matrix, (n_columns, n), orthonormal.

    Parameters
    ----------
    matrix : (n_rows, n_columns) csr_array
    n : int
        How many, at most as many as there are rows and columns.
    rng : Generator
    """
    vectors = rng.normal(size=(matrix.shape[1], n)).astype(matrix.dtype)
    for _ in range(_ROUNDS):
        vectors = np.linalg.qr(matrix.T @ (matrix @ vectors))[0]
    return np.asarray(vectors)
