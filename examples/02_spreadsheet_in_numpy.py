"""The spreadsheet in NumPy, step by step, with nothing hidden.

The same steps as on the sheet `dotprod`: a table of ratings, random embeddings,
predictions as dot products, the RMSE, and gradient descent to make it small.
"""

import numpy as np

import shallow_cf as scf

ratings = scf.load_crosstab()
R = ratings.to_crosstab().to_numpy()  # 15 x 15, NaN where blank
rated = ~np.isnan(R)
print(f"The crosstab: {R.shape[0]} users x {R.shape[1]} movies, {rated.sum()} ratings")

rng = np.random.default_rng(0)
P = rng.uniform(size=(15, 5))  # orange: five numbers per user
Q = rng.uniform(size=(15, 5))  # green: five numbers per movie


def rmse(P, Q):
    """The red cell."""
    return np.sqrt(np.mean((P @ Q.T - R)[rated] ** 2))


print(f"Random embeddings: RMSE {rmse(P, Q):.4f}")

learning_rate = 0.01
for step in range(1, 10_001):
    E = np.where(rated, P @ Q.T - R, 0)  # residuals, 0 in blank cells
    P, Q = P - learning_rate * E @ Q, Q - learning_rate * E.T @ P  # (4a), (4b)
    if step in (1, 10, 100, 1_000, 10_000):
        print(f"after {step:>6} steps: RMSE {rmse(P, Q):.4f}")

model = scf.MatrixFactorization(n_factors=5, random_state=0).fit(ratings)
print(f"MatrixFactorization (mini-batch SGD): RMSE {model.rmse(ratings):.4f}")
