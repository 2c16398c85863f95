"""
Gradients by hand
=================

A gradient says which way each number should go. Here is the whole of it for one rating, as on
paper; then all 180 derivatives of the crosstab's RMSE are held against differences, which know
nothing of the formula. A formula with one entry wrong by a thousandth is caught.

**Look at** the largest relative difference: below 1e-8 the formula is right. The sabotaged one is
off by 1e-3, and that is a lot.

**Then try** to spoil ``rmse_gradient`` in a way of your own and see whether it is noticed.
"""

import numpy as np

import shallow_cf as scf
from shallow_cf import objective

# %%
# One rating, on paper
# --------------------
# The prediction is p · q, the residual e = p · q - r, the loss e²/2. By the chain rule its
# derivative is e q with respect to p, and e p with respect to q.

print("One user, one movie, two factors: p = (1, 2), q = (3, 0.5), rating 5")
one = scf.Ratings(np.array([1]), np.array([1]), np.array([0]), np.array([0]), np.array([5.0]))
start = scf.Parameters(np.array([[1.0, 2.0]]), np.array([[3.0, 0.5]]))
gradient = objective.half_sse_gradient(one, start)
print(f"  prediction  1 x 3 + 2 x 0.5   = {start.predict(0, 0):g}")
print(f"  residual    4 - 5             = {objective.residual(one, start)[0]:g}")
print(f"  half SSE    (-1)^2 / 2        = {objective.half_sse(one, start):g}")
print(f"  d/dp = e q = -1 x (3, 0.5)    = {gradient.user_factors[0]}")
print(f"  d/dq = e p = -1 x (1, 2)      = {gradient.item_factors[0]}")

# %%
# One step against the gradient
# -----------------------------
# The prediction is too low, so both gradients are negative and a step raises all numbers. How far
# is a question of its own: a small step is safe, a large one overshoots.

for learning_rate in (0.01, 0.05, 0.1, 0.2):
    p = start.user_factors[0] - learning_rate * gradient.user_factors[0]
    q = start.item_factors[0] - learning_rate * gradient.item_factors[0]
    loss = (p @ q - 5) ** 2 / 2
    print(f"  learning rate {learning_rate:<4}  prediction {p @ q:.3f}, loss {loss:.3f}")

# %%
# All 180 numbers of the crosstab at once
# ---------------------------------------
# 15 users and 15 movies with five factors and a bias each. ``check_gradient`` moves every number
# a little up and a little down and compares what the loss does with what the formula says.

ratings = scf.load_crosstab()
start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
theta = start.pack()


def rmse(theta):
    """The loss as a function of one vector."""
    return objective.rmse(ratings, start.unpack(theta))


def rmse_gradient(theta):
    """Its gradient, equation (5)."""
    return objective.rmse_gradient(ratings, start.unpack(theta)).pack()


difference = scf.check_gradient(rmse, rmse_gradient, theta)
print(f"All {theta.size} derivatives of the RMSE on the crosstab against central differences:")
print(f"  largest relative difference {difference:.1e}")

# %%
# Is the check any good?
# ----------------------
# A check that always says yes is worth nothing, so one entry is made 0.1% too large.


def sabotaged(theta):
    """The same with one entry 0.1% too large."""
    gradient = rmse_gradient(theta)
    gradient[np.argmax(np.abs(gradient))] *= 1.001
    return gradient


try:
    scf.check_gradient(rmse, sabotaged, theta)
except scf.GradientError as error:
    print(f"One entry 0.1% wrong is caught: {error}")
else:
    raise SystemExit("the sabotage was not noticed")

# %%
# The picture
# -----------
# The loss of the one rating as the first number of p goes from -1 to 4, all else held: a parabola,
# and the gradient is the slope of its tangent where we stand.

try:
    from matplotlib import pyplot
except ImportError:
    print('The picture needs matplotlib: pip install "shallow_cf[plot]"')
else:
    x = np.linspace(-1, 4, 101)
    _, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    ax.plot(x, (3 * x + 2 * 0.5 - 5) ** 2 / 2, color="#1f3b73", label="loss")
    near = np.array([0.6, 1.4])
    slope = gradient.user_factors[0, 0]
    ax.plot(near, 0.5 + slope * (near - 1), color="#e8943a", linewidth=3, label=f"slope {slope:g}")
    ax.plot(1, 0.5, "o", color="#e8943a")
    ax.set_xlabel("first number of p")
    ax.set_ylabel("half the squared error, stars²")
    ax.legend(frameon=False)
    if "__file__" in globals():  # run as a script; a notebook shows the picture by itself
        pyplot.savefig("03_gradients_by_hand.png")
        print("Picture: 03_gradients_by_hand.png")
