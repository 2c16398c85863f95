"""
A crosstab of the busiest corner
================================

Everything starts with a list: who gave what to which movie. Put into a table, a row a user and
a column a movie, it is nearly all blank, and filling the blanks is what collaborative filtering
is for. The lesson takes the 15 users and the 15 movies with the most ratings, because a table
of that size fits a screen and is nearly full.

**Look at** how empty the whole table is, and how full its busiest corner.

**Then try** other sizes in ``ratings.top(15, 15)``, or your own file: ``scf.read_ratings(path)``.
"""

import shallow_cf as scf

# %%
# The list
# --------
# Ratings of a made-up site, of the size of the lesson's file: few movies get most of the ratings,
# few users give most. ``synthetic_ratings`` draws them; a file is read by ``scf.read_ratings``.

ratings = scf.synthetic_ratings(671, 9066, 100_004, random_state=0)
print(ratings)
print(ratings.to_frame().head(4).to_string(index=False))

# %%
# How full is the table?
# ----------------------
# A ``top`` part keeps the users and the items with the most ratings, both counted over the whole
# list, which is what the lesson's pivot table does.


def share_filled(part):
    """Rated cells among all cells."""
    return part.n_ratings / (part.n_users * part.n_items)


print(f"{'users x items':>14}{'ratings':>9}{'filled':>9}")
for size in (15, 50, 200, 671):
    part = ratings.top(size, size)
    print(f"{f'{size} x {size}':>14}{part.n_ratings:9}{share_filled(part):9.1%}")
print(f"{'all':>14}{ratings.n_ratings:9}{share_filled(ratings):9.1%}")

# %%
# The lesson's crosstab
# ---------------------
# The same corner of MovieLens (ml-latest-small, 2016) comes with the library: 206 ratings in
# 225 cells. The 19 blanks are what the model is to predict.

crosstab = scf.load_crosstab()
print(crosstab)
print(crosstab.to_crosstab().to_string(na_rep="", float_format="{:g}".format))

# %%
# The corner is no fair sample: those who rate a lot, and movies that all have seen. Compare the
# means of its rows, then of its columns; what they differ by will be called biases.

table = crosstab.to_crosstab()
by_user, by_movie = table.mean(axis="columns"), table.mean()
print(f"mean of all ratings   {crosstab.mean_rating:.2f} stars")
print(f"the users' means      {by_user.min():.2f} to {by_user.max():.2f}")
print(f"the movies' means     {by_movie.min():.2f} to {by_movie.max():.2f}")

# %%
# The picture
# -----------
# The same table as colours. Rows that are dark all along are users who like everything; a pattern
# that goes across rows and columns is taste, and taste is what the embeddings are for.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    from shallow_cf import plots

    ax = plots.plot_crosstab(crosstab)
    ax.set_title("206 ratings, 19 blanks")
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("01_crosstab.png")
        print("Picture: 01_crosstab.png")
