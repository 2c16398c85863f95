"""
The spreadsheet in NumPy
========================

The steps of the sheet ``dotprod``, with nothing hidden: a table of ratings, random embeddings,
predictions as dot products, one red cell with the RMSE, and gradient descent to make it small.
The library does the same, with care for larger tables.

**Look at** how the RMSE falls: fast, then for thousands of steps hardly at all.

**Then try** a learning rate of 0.02 (it never settles) and of 0.03 (it blows up), two factors in
the place of five, or starts between -0.5 and 0.5.
"""

import numpy as np

import shallow_cf as scf

# %%
# The table
# ---------
# Blank cells are NaN, and ``rated`` says where there is a rating.

ratings = scf.load_crosstab()
R = ratings.to_crosstab().to_numpy()  # 15 x 15, NaN where blank
rated = ~np.isnan(R)
print(f"The crosstab: {R.shape[0]} users x {R.shape[1]} movies, {rated.sum()} ratings")

# %%
# Embeddings, predictions, loss
# -----------------------------
# Each user and each movie gets five random numbers. The prediction for a cell is the dot product
# of its row's numbers and its column's, all cells at once ``P @ Q.T``.

rng = np.random.default_rng(0)
P = rng.uniform(size=(15, 5))  # orange: five numbers per user
Q = rng.uniform(size=(15, 5))  # green: five numbers per movie


def rmse(P, Q):
    """The red cell: root mean squared error over the cells with a rating."""
    return np.sqrt(np.mean((P @ Q.T - R)[rated] ** 2))


print(f"Random embeddings: RMSE {rmse(P, Q):.4f} stars")

# %%
# Gradient descent
# ----------------
# With the residuals E, zero in blank cells, the gradient of half the sum of squares is ``E @ Q``
# for the users' numbers and ``E.T @ P`` for the movies': a step goes against it.

learning_rate = 0.01
path = [rmse(P, Q)]
for step in range(1, 10_001):
    E = np.where(rated, P @ Q.T - R, 0)
    P, Q = P - learning_rate * E @ Q, Q - learning_rate * E.T @ P  # (4a), (4b)
    path.append(rmse(P, Q))
    if step in (1, 10, 100, 1_000, 10_000):
        print(f"after {step:>6} steps: RMSE {path[-1]:.4f}")

# %%
# The same with the library, which goes through the ratings in small batches
# (stochastic gradient descent) and gets there in 1,000 rounds:

model = scf.MatrixFactorization(n_factors=5, random_state=0).fit(ratings)
print(f"MatrixFactorization: RMSE {model.rmse(ratings):.4f}")

# %%
# The picture
# -----------
# On logarithmic axes the curve goes down in stairs. On the first, a little above 0.8, all
# predictions have grown to the right size, and there is little more to be had from a single factor
# (0.826 at best); then the others find something to explain.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    ax.loglog(np.arange(len(path)) + 1, path, color="#1f3b73")
    ax.axhline(path[-1], color="#e8943a", linestyle="--", label=f"{path[-1]:.4f}")
    ax.set_xlabel("steps, the start being the first")
    ax.set_ylabel("RMSE, stars")
    ax.legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("02_spreadsheet_in_numpy.png")
        print("Picture: 02_spreadsheet_in_numpy.png")
