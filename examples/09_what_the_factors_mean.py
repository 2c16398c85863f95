"""
What the factors mean
=====================

Nobody told the model about genres. Still its numbers can be read: films that the same users like
get similar embeddings, and the directions along which films differ most often have a meaning that
one can put a name to.

**Look at** both ends of the two components, and whether you would have named them as we did.

**Then try** three factors, another penalty, or the map of a thousand films:
``shallow-cf download ml-latest-small`` and ``scf.load_movielens("ml-latest-small")``.
"""

import numpy as np

import shallow_cf as scf

# %%
# A single factor means nothing
# -----------------------------
# Two trainings from different starts, by alternating least squares with a penalty, go on until
# nothing moves. They predict the same and agree on no factor: turn all embeddings by the same
# angle, and every dot product stays as it was.

ratings = scf.load_crosstab()
titles = scf.load_crosstab_titles()
options = scf.ALSOptions(reg=1.0, n_iterations=2000, tol=1e-12)
one, other = (
    scf.MatrixFactorization(
        2, bias=True, global_mean=True, solver="als", solver_options=options, random_state=seed
    ).fit(ratings)
    for seed in (0, 1)
)


def difference(a, b):
    """Largest difference between two arrays, be their columns' signs as they may."""
    signs = np.sign(np.sum(a * b, axis=0))
    return np.abs(a - signs * b).max()


def components(model):
    """The films' coordinates along the two principal components, (15, 2)."""
    return model.principal_components(2).items[["component 1", "component 2"]].to_numpy()


print("Largest difference between two trainings")
print(f"  predictions, stars   {np.abs(one.predict_all() - other.predict_all()).max():.4f}")
print(f"  factors              {difference(one.item_factors_, other.item_factors_):.4f}")
print(f"  components           {difference(components(one), components(other)):.4f}")

# %%
# Principal components do not depend on the angle, only on the films: the first is the direction
# along which these differ most, the second the next one at a right angle. (Their signs are chance.)

found = one.principal_components(2)
print("share of what the films differ by:", found.share.round(2))

# %%
# Both ends of each component
# ---------------------------
# The first has action and adventure at one end and drama at the other. The second goes from the
# dark, the wry and the strange to the heart-warming. The names are ours, and 15 users are few:
# take them as a reading and not as a finding.

ends = one.factor_extremes(3, components=2, titles=titles)
for (component, end), part in ends.groupby(["factor", "end"], sort=False):
    films = ", ".join(
        f"{title} {value:+.1f}" for title, value in zip(part.title, part.value, strict=True)
    )
    print(f"{component}, {end:8} {films}")

# %%
# What is left for the biases
# ---------------------------
# A film that is liked by those of all tastes has a high bias, and says nothing about taste.

print(one.bias_list(3, titles=titles).round(2).to_string(index=False))

# %%
# Neighbours
# ----------
# Films whose embeddings point the same way:

for item in (1196, 318):
    near = one.similar_items(item, 3, titles=titles)
    print(
        f"{titles[item]}: "
        + ", ".join(f"{t} {s:.2f}" for t, s in zip(near.title, near.similarity, strict=True))
    )

# %%
# The picture
# -----------
# The films on a map of both components. The share of each stands at its axis.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    from shallow_cf import plots

    plots.plot_item_map(one, titles=titles)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("09_what_the_factors_mean.png")
        print("Picture: 09_what_the_factors_mean.png")
