"""Gradients by hand: one rating on paper, then all 206 checked by differences."""

import numpy as np

import shallow_cf as scf
from shallow_cf import objective

print("One user, one movie, two factors: p = (1, 2), q = (3, 0.5), rating 5")
one = scf.Ratings(np.array([1]), np.array([1]), np.array([0]), np.array([0]), np.array([5.0]))
start = scf.Parameters(np.array([[1.0, 2.0]]), np.array([[3.0, 0.5]]))
gradient = objective.half_sse_gradient(one, start)
print(f"  prediction  1 x 3 + 2 x 0.5   = {start.predict(0, 0):g}")
print(f"  residual    4 - 5             = {objective.residual(one, start)[0]:g}")
print(f"  half SSE    (-1)^2 / 2        = {objective.half_sse(one, start):g}")
print(f"  d/dp = e q = -1 x (3, 0.5)    = {gradient.user_factors[0]}")
print(f"  d/dq = e p = -1 x (1, 2)      = {gradient.item_factors[0]}")

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
print(f"\nAll {theta.size} derivatives of the RMSE on the crosstab against central differences:")
print(f"  largest relative difference {difference:.1e}")


def sabotaged(theta):
    """The same with one entry 0.1% too large."""
    gradient = rmse_gradient(theta)
    gradient[np.argmax(np.abs(gradient))] *= 1.001
    return gradient


try:
    scf.check_gradient(rmse, sabotaged, theta)
except scf.GradientError as error:
    print(f"  one entry 0.1% wrong is caught: {error}")
else:
    raise SystemExit("the sabotage was not noticed")
