"""
How sure is a prediction?
=========================

Least squares gives a number for each blank cell and does not say how far to trust it. Solver
``"vb"``, variational Bayes, keeps a distribution for every number of the model, so that its
predictions come with a standard deviation. Here is what that says about the lesson's table, and
then whether it is true.

**Look at** the intervals: of the ratings kept back, do as many lie within as should?

**Then try** more noise, fewer ratings, or two factors where three were planted.
"""

import numpy as np

import shallow_cf as scf


def certain_model(ratings, n_factors):
    """The model of all parts of this example."""
    return scf.MatrixFactorization(
        n_factors, bias=True, global_mean=True, solver="vb", random_state=0
    ).fit(ratings)


# %%
# The lesson's blank cells
# ------------------------

crosstab = scf.load_crosstab()
model = certain_model(crosstab, 2)
print(f"{crosstab}: noise {model.posterior_.noise_std:.2f} stars")
user = 294
seen = crosstab.to_frame().query("user_id == @user").item_id
blank = np.setdiff1d(crosstab.item_ids, seen)
print(f"The blank cells of user {user}:")
for item, stars, std in zip(blank, *model.predict(user, blank, return_std=True), strict=True):
    print(f"  movie {item:>4}: {stars:.2f} +- {std:.2f} stars")

# %%
# Is it true?
# -----------
# Ratings of which the truth is known: users and movies drawn at random, noise of 0.6 stars.
# Half of all ratings should lie within 0.6745 standard deviations, nine tenths within 1.6449.

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

print(f"{model.ratings_}, planted: noise 0.60 stars, found {model.posterior_.noise_std:.2f}")
print(f"Of {len(u)} ratings kept back, within the interval that should hold")
for share, z in ((0.5, 0.6745), (0.9, 1.6449)):
    print(f"  {share:.0%}: {np.mean(error <= z * std):.1%}")
print("By how sure the predictions are, a fifth of them a line:")
print("  standard deviation   root mean squared error")
fifths = np.array_split(np.argsort(std), 5)
foretold = [np.sqrt(np.mean(std[part] ** 2)) for part in fifths]
made = [np.sqrt(np.mean(error[part] ** 2)) for part in fifths]
for pair in zip(foretold, made, strict=True):
    print("  {:18.2f} {:25.2f}".format(*pair))

# %%
# A new user
# ----------
# Somebody of whom nothing is known tells more and more; the model is not trained again.

truth = table[-1]
order = rng.permutation(n_items)
asked = order[100:]
print("  ratings told   mean standard deviation   root mean squared error")
counts, folding = (0, 1, 3, 10, 30, 100), []
for n in counts:
    folded = model.fold_in_user(dict(zip(order[:n].tolist(), truth[order[:n]], strict=True)))
    stars, std = folded.predict(folded.user_ids_[-1], asked, return_std=True)
    folding.append((std.mean(), np.sqrt(np.mean((stars - truth[asked]) ** 2))))
    print("  {:12} {:25.2f} {:25.2f}".format(n, *folding[-1]))

# %%
# The picture
# -----------
# Left, errors against what was foretold, a point a fifth: on the line they agree. Right, the new
# user: the more is told, the surer, down to the noise that nobody can predict.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    _, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.plot(foretold, made, "o", color="#1f3b73")
    left.axline((0.7, 0.7), slope=1, color="#e8943a", linestyle="--")
    left.set_xlabel("standard deviation foretold, stars")
    left.set_ylabel("root mean squared error, stars")
    for values, style, label in zip(
        zip(*folding, strict=True), ("o-", "s--"), ("foretold", "made"), strict=True
    ):
        right.plot(np.arange(len(counts)), values, style, label=label)
    right.axhline(0.6, color="grey", linewidth=1, label="the noise")
    right.set_xticks(np.arange(len(counts)), labels=counts)
    right.set_xlabel("ratings told")
    right.set_ylabel("stars")
    right.legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("12_variational_bayes.png")
        print("Picture: 12_variational_bayes.png")
