"""How sure is a prediction? Variational Bayes on the lesson's table, and put to the proof.

Least squares gives a number for each blank cell and does not say how far to trust it. Solver
"vb" keeps a distribution for every number of the model, so its predictions come with a standard
deviation; docs/variational_bayes.md derives how.
"""

import numpy as np

import shallow_cf as scf


def certain_model(ratings, n_factors):
    """The model of all parts of this example."""
    return scf.MatrixFactorization(
        n_factors, bias=True, global_mean=True, solver="vb", random_state=0
    ).fit(ratings)


# --- the lesson's blank cells -----------------------------------------------------------

crosstab = scf.load_crosstab()
model = certain_model(crosstab, 2)
print(f"{crosstab}: noise {model.posterior_.noise_std:.2f} stars")
user = 294
rated = crosstab.to_frame().query("user_id == @user").item_id
blank = np.setdiff1d(crosstab.item_ids, rated)
print(f"The blank cells of user {user}:")
for item, stars, std in zip(blank, *model.predict(user, blank, return_std=True), strict=True):
    print(f"  movie {item:>4}: {stars:.2f} +- {std:.2f} stars")

# --- is it true? ------------------------------------------------------------------------
# Ratings of which the truth is known: users and movies drawn at random, noise of 0.6 stars.

rng = np.random.default_rng(0)
n_users, n_items, n_factors = 400, 200, 3
P, Q = rng.normal(size=(n_users, n_factors)), rng.normal(size=(n_items, n_factors))
likes = 0.5 * P @ Q.T + 0.4 * rng.normal(size=(n_users, 1)) + 0.4 * rng.normal(size=n_items)
table = 3.5 + likes + 0.6 * rng.normal(size=(n_users, n_items))
busy = rng.uniform(0.02, 0.4, size=(n_users, 1))  # some rate much, others little
told = rng.uniform(size=table.shape) < busy
told[-1] = False  # a new user, see below
u, i = np.nonzero(told)
model = certain_model(scf.Ratings(np.arange(n_users - 1), np.arange(n_items), u, i, table[told]), 3)
u, i = np.nonzero(~told[:-1])
stars, std = model.predict(u, i, return_std=True)
error = np.abs(stars - table[u, i])

print(f"\n{model.ratings_}, planted: noise 0.60 stars, found {model.posterior_.noise_std:.2f}")
print(f"Of {len(u)} ratings kept back, within the interval that should hold")
for share, z in ((0.5, 0.6745), (0.9, 1.6449)):
    print(f"  {share:.0%}: {np.mean(error <= z * std):.1%}")
print("By how sure the predictions are, a fifth of them a line:")
print("  standard deviation   root mean squared error")
for part in np.array_split(np.argsort(std), 5):
    print(f"  {np.sqrt(np.mean(std[part] ** 2)):18.2f} {np.sqrt(np.mean(error[part] ** 2)):25.2f}")

# --- a new user -------------------------------------------------------------------------

truth = table[-1]
order = rng.permutation(n_items)
asked = order[100:]
print("\nA new user tells more and more; the model is not trained again:")
print("  ratings told   mean standard deviation   root mean squared error")
for n in (0, 1, 3, 10, 30, 100):
    folded = model.fold_in_user(dict(zip(order[:n].tolist(), truth[order[:n]], strict=True)))
    stars, std = folded.predict(folded.user_ids_[-1], asked, return_std=True)
    rmse = np.sqrt(np.mean((stars - truth[asked]) ** 2))
    print(f"  {n:12} {std.mean():25.2f} {rmse:25.2f}")
