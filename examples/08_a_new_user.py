"""
A new user
==========

What to recommend to somebody who came after the training? The lesson asks, and the answer is least
squares: the movies keep their numbers, and the few ratings that the newcomer tells are enough to
find five numbers that fit them. Nothing is trained again. The same sum is on the workbook's
sheet ``new_user``.

**Look at** what the penalty does: five numbers found from six ratings fit these too well.

**Then try** another ``newcomer`` (any id of the crosstab), or other penalties.
"""

import numpy as np

import shallow_cf as scf

# %%
# One who was not there
# ---------------------
# User 547 is kept from the training, then tells every second rating; the others are what the
# predictions are judged by.

ratings = scf.load_crosstab()
newcomer = 547


def without(user):
    """A model of all other users, and the ratings of this one."""
    frame = ratings.to_frame()
    theirs = frame[frame.user_id == user].set_index("item_id")["rating"]
    known = scf.Ratings.from_frame(frame[frame.user_id != user])
    return scf.MatrixFactorization(solver="varpro", random_state=0).fit(known), theirs


def rmse_of(folded, user, asked):
    """Error on the ratings that were not told, stars."""
    return np.sqrt(np.mean((folded.predict(user, asked.index) - asked) ** 2))


model, theirs = without(newcomer)
print(f"Trained on {model.ratings_}: RMSE {model.rmse(model.ratings_):.4f} stars")

told, asked = theirs.iloc[::2], theirs.iloc[1::2]
print(f"\nUser {newcomer} tells {len(told)} ratings:", told.to_dict())
for reg in (0, 1):
    folded = model.fold_in_user(told.to_dict(), user_id=newcomer, reg=reg)
    print(f"Embedding with penalty {reg}:", np.round(folded.user_factors_[-1], 2))
    print(
        f"  RMSE of the {len(asked)} ratings not told: {rmse_of(folded, newcomer, asked):.2f} stars"
    )

# %%
# What to watch, and why
# ----------------------
# The model that knows the newcomer recommends and explains like any other.

print("Of the movies not told of, these first:")
titles = scf.load_crosstab_titles()
print(folded.recommend(newcomer, n=3, titles=titles).round(2).to_string(index=False))
best = folded.recommend(newcomer, n=1).item_id[0]
print(f"\nWhy {titles[best]}?\n{folded.explain(newcomer, best, n=3, titles=titles)}")

# %%
# How many ratings does it take?
# ------------------------------
# One user proves nothing, so everybody in turn is the newcomer, kept from the training and asked
# for more and more ratings. With fewer ratings than numbers to find, least squares has no single
# answer; the penalty takes the smallest numbers that fit well.

REGS = (0, 0.3, 1, 3)
COUNTS = (1, 2, 3, 5, 7, 9)
squares = np.zeros((len(REGS), len(COUNTS)))
n_asked = 0
rng = np.random.default_rng(0)
for user in ratings.user_ids.tolist():
    model, theirs = without(user)
    theirs = theirs.sample(frac=1, random_state=rng)
    asked = theirs.iloc[max(COUNTS) :]
    n_asked += len(asked)
    for j, count in enumerate(COUNTS):
        told = theirs.iloc[:count].to_dict()
        for k, reg in enumerate(REGS):
            folded = model.fold_in_user(told, user_id=user, reg=reg)
            squares[k, j] += len(asked) * rmse_of(folded, user, asked) ** 2
errors = np.sqrt(squares / n_asked)
print(f"RMSE of {n_asked} ratings not told, by how many were; all {ratings.n_users} users")
print(f"{'penalty':>8}" + "".join(f"{count:8}" for count in COUNTS))
for reg, row in zip(REGS, errors, strict=True):
    print(f"{reg:8}" + "".join(f"{error:8.2f}" for error in row))

# %%
# The picture
# -----------
# Around five ratings, as many as there are numbers to find, no penalty is worst: the numbers fit
# the ratings told exactly, and have to be huge for that.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for reg, row, style in zip(REGS, errors, ("o:", "s--", "D-.", "^-"), strict=True):
        ax.semilogy(COUNTS, row, style, label=f"penalty {reg}")
    ax.set_yticks([1, 1.5, 2, 3, 4, 5, 6], labels=[1, 1.5, 2, 3, 4, 5, 6])
    ax.minorticks_off()
    ax.set_xlabel("ratings told")
    ax.set_ylabel("RMSE of the others, stars")
    ax.legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("08_a_new_user.png")
        print("Picture: 08_a_new_user.png")
