"""A short course in gradients.

Read in this order:

1. `TestOneRating`: one user, one item, one rating. Everything is worked by hand: the
   model, the residual, both objectives, every partial derivative. Take pencil and paper.
2. `TestSlowLoops`: the same formulas as plain loops (tests/reference.py), for tables with
   several users and items, blank cells, biases and a penalty. The package must agree.
3. `TestDifferences`: a derivative is a slope, and a slope can be measured: go a step h
   ahead, a step h back, divide by 2h. Where that is exact, where it is not, and why.
4. `TestSabotage`: a check that never fails is no check. Gradients with every usual
   mistake in them, and each must be caught.
5. `TestDroppedDuplicates`: the mistake that NumPy invites.
6. `TestEdges`: perfect fits, users without ratings, senseless arguments.

The numbers (1) to (5) are those of the docstring of `shallow_cf.objective`.
"""

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective

# Sizes of the tables to try; `rated` is the share of cells that are filled.
SHAPES = {
    "one rating": {"n_users": 1, "n_items": 1, "n_factors": 1},
    "one factor": {"n_users": 3, "n_items": 4, "n_factors": 1},
    "blanks": {"n_users": 4, "n_items": 3, "n_factors": 2, "rated": 0.5},
    "wide, biases": {"n_users": 2, "n_items": 9, "n_factors": 3, "bias": True, "rated": 0.5},
    "tall, biases": {"n_users": 9, "n_items": 2, "n_factors": 3, "bias": True, "rated": 0.5},
    "square, biases": {"n_users": 6, "n_items": 6, "n_factors": 5, "bias": True, "rated": 0.7},
}
REGS = [0.0, 0.1, 2.0]


class TestOneRating:
    """One user, one item, one rating of 4 stars, two factors, biases. All by hand.

    P = [1, 2]    Q = [0.5, 0.25]    b_u = 0.5    b_i = -0.25    r = 4

    (1)   r_hat = 1*0.5 + 2*0.25 + 0.5 - 0.25 = 1.25
    (2)   e     = 1.25 - 4 = -2.75                 negative: we predict too little
    """

    @pytest.fixture
    def ratings(self):
        return scf.Ratings(np.array([7]), np.array([3]), [0], [0], [4.0])

    @pytest.fixture
    def theta(self):
        return scf.Parameters(
            np.array([[1.0, 2.0]]), np.array([[0.5, 0.25]]), np.array([0.5]), np.array([-0.25])
        )

    def test_model(self, theta):
        assert theta.predict(0, 0) == 1.25  # (1)

    def test_residual(self, ratings, theta):
        assert objective.residual(ratings, theta).tolist() == [-2.75]  # (2)

    def test_half_sse(self, ratings, theta):
        # (3a)  2.75^2 / 2 = 7.5625 / 2 = 3.78125
        assert objective.half_sse(ratings, theta) == 3.78125

    def test_half_sse_with_penalty(self, ratings, theta):
        # |P|^2 = 1 + 4 = 5,  |Q|^2 = 0.25 + 0.0625 = 0.3125,  b_u^2 = 0.25,  b_i^2 = 0.0625
        # (3a)  3.78125 + 0.8/2 * 5.625 = 3.78125 + 2.25 = 6.03125
        assert objective.half_sse(ratings, theta, reg=0.8) == pytest.approx(6.03125, rel=1e-15)

    def test_rmse(self, ratings, theta):
        # (3b)  the root of the mean of one square is the residual without its sign
        assert objective.rmse(ratings, theta) == 2.75

    def test_partial_derivatives(self, ratings, theta):
        # Each is e times what stands beside the parameter in (1).
        G = objective.half_sse_gradient(ratings, theta)
        # (4a)  d/dP = e Q = -2.75 * [0.5, 0.25]     a larger P would raise r_hat: downhill
        assert G.user_factors.tolist() == [[-1.375, -0.6875]]
        # (4b)  d/dQ = e P = -2.75 * [1, 2]
        assert G.item_factors.tolist() == [[-2.75, -5.5]]
        # (4c), (4d)  a bias stands in (1) by itself, so its factor is 1
        assert G.user_bias.tolist() == [-2.75]
        assert G.item_bias.tolist() == [-2.75]

    def test_partial_derivatives_with_penalty(self, ratings, theta):
        # The penalty reg/2 x^2 adds reg x to the derivative by x; here reg = 0.8.
        G = objective.half_sse_gradient(ratings, theta, reg=0.8)
        # (4a)  -1.375 + 0.8*1 = -0.575      -0.6875 + 0.8*2 = 0.9125
        assert G.user_factors[0] == pytest.approx([-0.575, 0.9125], rel=1e-14)
        # (4b)  -2.75 + 0.8*0.5 = -2.35      -5.5 + 0.8*0.25 = -5.3
        assert G.item_factors[0] == pytest.approx([-2.35, -5.3], rel=1e-14)
        # (4c)  -2.75 + 0.8*0.5 = -2.35      (4d)  -2.75 + 0.8*(-0.25) = -2.95
        assert G.user_bias == pytest.approx([-2.35], rel=1e-14)
        assert G.item_bias == pytest.approx([-2.95], rel=1e-14)

    def test_rmse_gradient(self, ratings, theta):
        # (5)  (4a)-(4d) divided by n rmse = 1 * 2.75
        G = objective.rmse_gradient(ratings, theta)
        assert G.user_factors.tolist() == [[-0.5, -0.25]]
        assert G.item_factors.tolist() == [[-1.0, -2.0]]
        # One star more on a bias is one star less error: the slope is exactly -1.
        assert G.user_bias.tolist() == [-1.0]
        assert G.item_bias.tolist() == [-1.0]

    def test_a_small_step_downhill_helps(self, ratings, theta):
        # theta - 0.01 G:  P = [1.01375, 2.006875], Q = [0.5275, 0.305], b_u = 0.5275,
        # b_i = -0.2225, r_hat = 0.534753125 + 0.612096875 + 0.305 = 1.45185
        G = objective.half_sse_gradient(ratings, theta)
        stepped = theta.unpack(theta.pack() - 0.01 * G.pack())
        assert stepped.predict(0, 0) == pytest.approx(1.45185, rel=1e-14)  # nearer to 4


class TestSlowLoops:
    """The package agrees with the loops of tests/reference.py."""

    @pytest.fixture(params=SHAPES.values(), ids=SHAPES)
    def case(self, request):
        ratings, theta = reference.problem(**request.param)
        return ratings, theta, reference.triplets(ratings), reference.plain(theta)

    def test_predictions(self, case):
        ratings, theta, triplets, plain = case
        slow = [reference.predict(plain, u, i) for u, i, _ in triplets]
        fast = theta.predict(ratings.user_idx, ratings.item_idx)
        np.testing.assert_allclose(fast, slow, rtol=1e-14)

    def test_rmse(self, case):
        ratings, theta, triplets, plain = case
        assert objective.rmse(ratings, theta) == pytest.approx(
            reference.rmse(triplets, plain), rel=1e-14
        )

    @pytest.mark.parametrize("reg", REGS)
    def test_half_sse(self, case, reg):
        ratings, theta, triplets, plain = case
        slow = reference.half_sse(triplets, plain, reg)
        assert objective.half_sse(ratings, theta, reg) == pytest.approx(slow, rel=1e-14)

    @pytest.mark.parametrize("reg", REGS)
    def test_half_sse_gradient(self, case, reg):
        ratings, theta, triplets, plain = case
        slow = reference.pack(reference.half_sse_gradient(triplets, plain, reg))
        fast = objective.half_sse_gradient(ratings, theta, reg).pack()
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-13)

    def test_rmse_gradient(self, case):
        ratings, theta, triplets, plain = case
        slow = reference.pack(reference.rmse_gradient(triplets, plain))
        fast = objective.rmse_gradient(ratings, theta).pack()
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("reg", REGS)
    def test_mse_and_its_gradient(self, case, reg):
        ratings, theta, triplets, plain = case
        n, numbers = len(triplets), theta.pack()
        slow = reference.rmse(triplets, plain) ** 2 + reg / 2 * sum(x * x for x in numbers)
        assert objective.mse(ratings, theta, reg) == pytest.approx(slow, rel=1e-13)  # (3c)
        unpenalised = reference.pack(reference.half_sse_gradient(triplets, plain))
        slow = 2 / n * np.array(unpenalised) + reg * numbers  # (5m)
        fast = objective.mse_gradient(ratings, theta, reg).pack()
        np.testing.assert_allclose(fast, slow, rtol=1e-12, atol=1e-13)

    def test_both_have_the_same_direction(self, case):
        # (5): the two gradients differ by the factor n rmse only.
        ratings, theta, _, _ = case
        g_rmse = objective.rmse_gradient(ratings, theta).pack()
        g_half_sse = objective.half_sse_gradient(ratings, theta).pack()
        n_rmse = len(ratings) * objective.rmse(ratings, theta)
        np.testing.assert_allclose(g_rmse * n_rmse, g_half_sse, rtol=1e-12, atol=1e-13)


def functions_of_theta(ratings, theta, reg=0.0):
    """half_sse and its gradient as functions of one vector, which is what checks want."""

    def f(x):
        return objective.half_sse(ratings, theta.unpack(x), reg)

    def g(x):
        return objective.half_sse_gradient(ratings, theta.unpack(x), reg).pack()

    return f, g


class TestDifferences:
    """Derivatives against measured slopes."""

    @pytest.mark.parametrize("reg", REGS)
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_half_sse_exact_at_step_one(self, shape, reg):
        # Along one coordinate every residual is a straight line, so its square is a
        # parabola. (f(x+h) - f(x-h)) / 2h of a parabola is its slope at x for ANY h:
        # the h^2 terms of both sides cancel. Only rounding is left.
        ratings, theta = reference.problem(**shape)
        f, g = functions_of_theta(ratings, theta, reg)
        assert scf.check_gradient(f, g, theta.pack(), step=1.0, rtol=1e-12) <= 1e-12

    def test_one_sided_difference_is_off_by_half_the_curvature(self):
        # (f(x+h) - f(x)) / h of a parabola is its slope plus h/2 f''. By (4a),
        # f'' along P_uk is the sum over I(u) of Q_ik^2, plus reg.
        ratings, theta = reference.problem(4, 3, 2, rated=0.6)
        f, g = functions_of_theta(ratings, theta, reg=0.5)
        x = theta.pack()
        curvature = reference.scaled(reference.plain(theta), 0.0)
        for u, i, _ in reference.triplets(ratings):
            for k in range(2):
                curvature.P[u][k] += theta.item_factors[i, k] ** 2
                curvature.Q[i][k] += theta.user_factors[u, k] ** 2
        curvature = np.array(reference.pack(curvature)) + 0.5
        h = 1.0
        error = objective.forward_difference(f, x, h) - g(x)
        np.testing.assert_allclose(error, h / 2 * curvature, rtol=1e-11)

    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    def test_rmse_at_a_small_step(self, shape):
        # A root is no parabola: the error is h^2/6 f''', about 1e-9 at h = 1e-4. A much
        # smaller h is no better: rounding, about 1e-16 / h, takes over.
        ratings, theta = reference.problem(**shape)

        def f(x):
            return objective.rmse(ratings, theta.unpack(x))

        def g(x):
            return objective.rmse_gradient(ratings, theta.unpack(x)).pack()

        assert scf.check_gradient(f, g, theta.pack(), step=1e-4, rtol=1e-8) <= 1e-8

    def test_rmse_error_falls_with_the_square_of_the_step(self):
        ratings, theta = reference.problem(4, 3, 2, bias=True, rated=0.6)

        def f(x):
            return objective.rmse(ratings, theta.unpack(x))

        g = objective.rmse_gradient(ratings, theta).pack()
        error = [
            np.abs(objective.central_difference(f, theta.pack(), h) - g).max() for h in (0.1, 0.01)
        ]
        assert error[0] > 1e-5  # so h = 1, exact above, would not do here
        assert 90 < error[0] / error[1] < 110  # a tenth of the step, a hundredth of the error

    def test_a_step_for_each_coordinate(self):
        # x^3 at x = 2: forward 12 + 6h + h^2, central 12 + h^2. Powers of 2 have no rounding.
        def f(x):
            return float(np.sum(x**3))

        x, steps = np.array([2.0, 2.0]), np.array([0.5, 0.25])
        assert objective.forward_difference(f, x, steps).tolist() == [15.25, 13.5625]
        assert objective.central_difference(f, x, steps).tolist() == [12.25, 12.0625]

    def test_the_point_itself_is_left_as_it_is(self):
        x = np.array([1.0, -2.0])
        for difference in (objective.forward_difference, objective.central_difference):
            difference(lambda x: float(x @ x), x, 0.1)
        assert x.tolist() == [1.0, -2.0]


class TestSabotage:
    """`check_gradient` has to catch what people really get wrong."""

    REG = 0.1

    @pytest.fixture
    def setup(self):
        ratings, theta = reference.problem(4, 3, 2, bias=True, rated=0.7, random_state=1)
        return ratings, theta, *functions_of_theta(ratings, theta, self.REG)

    def test_the_right_gradient_passes(self, setup):
        _, theta, f, g = setup
        assert scf.check_gradient(f, g, theta.pack()) < 1e-9

    def test_a_thousandth_too_much_in_any_one_entry(self, setup):
        _, theta, f, g = setup
        for wrong_entry in range(theta.n_params):

            def sabotaged(x, j=wrong_entry):
                slope = g(x)
                slope[j] *= 1.001
                return slope

            with pytest.raises(scf.GradientError, match=rf"^entry {wrong_entry}: gradient "):
                scf.check_gradient(f, sabotaged, theta.pack())

    def test_the_message_shows_both_numbers(self):
        with pytest.raises(
            scf.GradientError, match=r"^entry 1: gradient -4, central difference -8$"
        ):
            scf.check_gradient(
                lambda x: float(2 * x @ x), lambda x: x * [4, 2], np.array([1.0, -2.0])
            )

    def test_a_forgotten_penalty(self, setup):
        ratings, theta, f, _ = setup
        _, without_penalty = functions_of_theta(ratings, theta, reg=0.0)
        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, without_penalty, theta.pack())

    def test_a_penalty_forgotten_for_one_item_bias_only(self, setup):
        _, theta, f, g = setup

        def sabotaged(x):
            slope = g(x)
            slope[-1] -= self.REG * x[-1]
            return slope

        with pytest.raises(scf.GradientError, match=f"^entry {theta.n_params - 1}:"):
            scf.check_gradient(f, sabotaged, theta.pack())

    def test_the_wrong_sign(self, setup):
        _, theta, f, g = setup
        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, lambda x: -g(x), theta.pack())

    def test_a_forgotten_one_half(self, setup):
        # The gradient of the sum of squares, not of half of it.
        _, theta, f, g = setup
        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, lambda x: 2 * g(x), theta.pack())

    def test_users_and_items_swapped(self):
        # On a square table the shapes do not give it away; only the numbers do.
        ratings, theta = reference.problem(3, 3, 2, rated=0.7)
        f, _ = functions_of_theta(ratings, theta)

        def sabotaged(x):
            G = objective.half_sse_gradient(ratings, theta.unpack(x))
            return scf.Parameters(G.item_factors, G.user_factors).pack()

        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, sabotaged, theta.pack())

    def test_rmse_without_its_n(self):
        ratings, theta = reference.problem(4, 3, 2, rated=0.7)

        def f(x):
            return objective.rmse(ratings, theta.unpack(x))

        def sabotaged(x):
            return objective.rmse_gradient(ratings, theta.unpack(x)).pack() * len(ratings)

        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, sabotaged, theta.pack())

    def test_not_a_number(self, setup):
        # NaN > rtol is False: a careless comparison would let this pass.
        _, theta, f, g = setup
        with pytest.raises(scf.GradientError, match="gradient nan"):
            scf.check_gradient(f, lambda x: g(x) * np.nan, theta.pack())

    def test_a_gradient_that_is_zero_everywhere(self, setup):
        _, theta, f, g = setup
        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, lambda x: 0 * g(x), theta.pack())


class TestDroppedDuplicates:
    """``G[u] += ...`` keeps one addition for each row, the last. A user has many ratings.

    One user rates both of two items. P = [1], Q = [[2], [3]], ratings 1 and 1:
    e = [2 - 1, 3 - 1] = [1, 2], so by (4a) dP = 1*2 + 2*3 = 8.
    """

    u, i = np.array([0, 0]), np.array([0, 1])
    e = np.array([1.0, 2.0])
    Q = np.array([[2.0], [3.0]])

    def test_plus_equals_drops_the_first_rating(self):
        G = np.zeros((1, 1))
        G[self.u] += self.e[:, None] * self.Q[self.i]
        assert G.tolist() == [[6.0]]  # 2*3 alone; the first rating is lost, without a word

    def test_add_at_keeps_both(self):
        G = np.zeros((1, 1))
        np.add.at(G, self.u, self.e[:, None] * self.Q[self.i])
        assert G.tolist() == [[8.0]]

    def test_the_package_keeps_both(self):
        ratings = scf.Ratings(np.array([0]), np.array([0, 1]), self.u, self.i, [1.0, 1.0])
        theta = scf.Parameters(np.array([[1.0]]), self.Q, np.zeros(1), np.zeros(2))
        G = objective.half_sse_gradient(ratings, theta)
        assert G.user_factors.tolist() == [[8.0]]
        assert G.user_bias.tolist() == [3.0]  # (4c): 1 + 2

    def test_the_check_catches_it(self):
        ratings, theta = reference.problem(3, 4, 2)
        f, _ = functions_of_theta(ratings, theta)

        def sabotaged(x):
            P, Q = theta.unpack(x).blocks()
            u, i = ratings.user_idx, ratings.item_idx
            e = objective.residual(ratings, theta.unpack(x))
            dP, dQ = np.zeros_like(P), np.zeros_like(Q)
            dP[u] += e[:, None] * Q[i]
            dQ[i] += e[:, None] * P[u]
            return scf.Parameters(dP, dQ).pack()

        with pytest.raises(scf.GradientError):
            scf.check_gradient(f, sabotaged, theta.pack())


class TestEdges:
    def test_a_perfect_fit_has_no_slope(self):
        ratings, theta = reference.problem(3, 4, 2, bias=True, rated=0.6)
        fitted = scf.Ratings(
            ratings.user_ids,
            ratings.item_ids,
            ratings.user_idx,
            ratings.item_idx,
            theta.predict(ratings.user_idx, ratings.item_idx),
        )
        assert objective.rmse(fitted, theta) == 0
        assert objective.half_sse(fitted, theta) == 0
        # (5) divides by the RMSE; the answer is 0, not 0/0, and no warning either.
        assert objective.rmse_gradient(fitted, theta).pack().tolist() == [0.0] * theta.n_params
        assert objective.half_sse_gradient(fitted, theta).pack().tolist() == [0.0] * theta.n_params

    def test_a_user_without_ratings(self):
        # User 1 of 3 and item 2 of 3 have no ratings: nothing pulls at them but the penalty.
        ratings = scf.Ratings(np.arange(3), np.arange(3), [0, 0, 2], [0, 1, 1], [4.0, 3.0, 5.0])
        theta = scf.Parameters.random(3, 3, 2, bias=True, random_state=0)
        for G in (
            objective.half_sse_gradient(ratings, theta),
            objective.rmse_gradient(ratings, theta),
        ):
            assert G.user_factors[1].tolist() == G.item_factors[2].tolist() == [0.0, 0.0]
            assert G.user_bias[1] == G.item_bias[2] == 0
            assert (G.user_factors[[0, 2]] != 0).all()
            assert (G.item_factors[[0, 1]] != 0).all()
        G = objective.half_sse_gradient(ratings, theta, reg=2.0)
        np.testing.assert_array_equal(G.user_factors[1], 2 * theta.user_factors[1])
        np.testing.assert_array_equal(G.item_factors[2], 2 * theta.item_factors[2])
        assert G.item_bias[2] == 2 * theta.item_bias[2]

    def test_a_blank_is_not_a_zero(self):
        # One rating of 4 that is predicted as 1, in a 2 x 2 table: RMSE 3, not 3 / 2.
        ratings = scf.Ratings(np.arange(2), np.arange(2), [0], [0], [4.0])
        theta = scf.Parameters(np.ones((2, 1)), np.ones((2, 1)))
        assert objective.rmse(ratings, theta) == 3.0

    @pytest.mark.parametrize("function", [objective.half_sse, objective.half_sse_gradient])
    def test_negative_reg(self, function):
        ratings, theta = reference.problem(2, 2, 1)
        with pytest.raises(ValueError, match=r"^`reg` must be >= 0, got -0\.1$"):
            function(ratings, theta, reg=-0.1)

    @pytest.mark.parametrize("function", [objective.half_sse, objective.half_sse_gradient])
    def test_reg_that_is_no_number(self, function):
        ratings, theta = reference.problem(2, 2, 1)
        with pytest.raises(TypeError, match=r"^`reg` must be a number, got '0\.1'$"):
            function(ratings, theta, reg="0.1")
        with pytest.raises(ValueError, match=r"^`reg` must be .*, got nan$"):
            function(ratings, theta, reg=float("nan"))

    def test_step_must_be_positive(self):
        with pytest.raises(ValueError, match=r"^`step` must be > 0, got 0$"):
            scf.check_gradient(lambda x: float(x @ x), lambda x: 2 * x, np.ones(2), step=0)

    def test_the_parameters_are_left_as_they_are(self):
        ratings, theta = reference.problem(3, 4, 2, bias=True)
        before = theta.pack()
        objective.half_sse_gradient(ratings, theta, reg=0.1)
        objective.rmse_gradient(ratings, theta)
        assert theta.pack().tolist() == before.tolist()

    @pytest.mark.parametrize("function", [objective.rmse, objective.half_sse_gradient])
    @pytest.mark.parametrize("n_users", [2, 4])
    def test_parameters_of_another_table(self, function, n_users):
        ratings, _ = reference.problem(3, 4, 2)
        with pytest.raises(ValueError, match=f"^Parameters.{n_users} users.* do not fit Ratings.3"):
            function(ratings, scf.Parameters.random(n_users, 4, 2))

    def test_a_gradient_of_another_shape(self):
        with pytest.raises(scf.GradientError, match=r"^gradient of shape \(2, 1\) for 2 param"):
            scf.check_gradient(lambda x: float(x @ x), lambda x: 2 * x[:, None], np.ones(2))

    def test_differences_at_whole_numbers(self):
        # An array of int cannot be moved by a small step.
        at = np.array([1, 2])
        for difference in (objective.forward_difference, objective.central_difference):
            assert difference(lambda x: float(x @ x), at, 1e-4) == pytest.approx([2, 4], abs=2e-4)
