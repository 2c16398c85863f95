"""Subject to the Constraints: bounds on variables, and limits on cells that follow from them.

Most tests use a table of 4 users, 3 movies and one factor, small enough to solve the same
problem a second time with a method of scipy's that shares nothing with the package.
"""

import numpy as np
import pytest
import reference
from scipy import optimize

import shallow_cf as scf
from shallow_cf import Constraint, objective
from shallow_cf.solvers import constrained, grg
from shallow_cf.solvers.options import variable_bounds
from shallow_cf.solvers.problem import Problem
from shallow_cf.solvers.result import MESSAGES

PRECISION = 1e-6  # Constraint Precision, the dialog's default


def options(*constraints, **settings):
    """Solver options with exact derivatives, where the test is not about derivatives."""
    return scf.SolverOptions(**{"derivatives": "analytic", "constraints": constraints} | settings)


def largest_miss(values, low=-np.inf, high=np.inf):
    """By how much the worst of the cells misses its limits."""
    return max(np.max(low - values), np.max(values - high), 0.0)


@pytest.fixture
def lesson(crosstab):
    """The spreadsheet's problem and one start for it: predictions reach beyond 5 stars."""
    return crosstab, scf.Parameters.random(15, 15, 5, random_state=0)


#: Without constraints one factor predicts from 1.31 to 3.56 stars here.
TABLE = np.array([[4.5, 2.0, 2.5], [4.0, 1.0, 2.0], [1.0, 2.5, 5.0], [1.0, 2.0, 2.5]])
BETWEEN = (Constraint("predictions", ">=", 1.5), Constraint("predictions", "<=", 3.5))


@pytest.fixture
def tiny():
    """The table above and a start for it."""
    u, i = np.indices(TABLE.shape)
    ratings = scf.Ratings(np.arange(4), np.arange(3), u.ravel(), i.ravel(), TABLE.ravel())
    return ratings, scf.Parameters.random(4, 3, 1, random_state=1)


# The tiny problem once more, in scipy's words. x holds four numbers of users, then three
# of movies; a prediction is the product of two of them.


def tiny_mse(x):
    """Mean squared error and its gradient."""
    p, q = x[:4], x[4:]
    E = np.outer(p, q) - TABLE
    return np.mean(E**2), np.concatenate([E @ q, p @ E]) * 2 / E.size


def tiny_mse_hessian(x):
    """Second derivatives: q'q and p'p within a side, p_u q_i + e_ui across."""
    p, q = x[:4], x[4:]
    across = 2 * np.outer(p, q) - TABLE
    H = np.block([[np.eye(4) * (q @ q), across], [across.T, np.eye(3) * (p @ p)]])
    return H * 2 / TABLE.size


def tiny_predictions(x):
    return np.outer(x[:4], x[4:]).ravel()


def tiny_predictions_jacobian(x):
    J = np.zeros((12, 7))
    for u in range(4):
        for i in range(3):
            J[3 * u + i, u] = x[4 + i]
            J[3 * u + i, 4 + i] = x[u]
    return J


def tiny_predictions_hessian(theta, v):
    """That of v . predictions: a prediction p_u q_i bends along p_u and q_i at once only."""
    hessian = np.zeros((7, 7))
    hessian[:4, 4:] = v.reshape(4, 3)
    return hessian + hessian.T


def tiny_by_scipy(start, low, high, bounds=None):
    """Lowest RMSE with predictions between two limits, and the predictions there.

    By "trust-constr", an interior point method: it comes near a limit from inside, where
    SLSQP, which the package uses, walks along it.
    """
    found = optimize.minimize(
        tiny_mse,
        start.pack(),
        jac=True,
        hess=tiny_mse_hessian,
        method="trust-constr",
        bounds=bounds,
        constraints=optimize.NonlinearConstraint(
            tiny_predictions, low, high, tiny_predictions_jacobian, tiny_predictions_hessian
        ),
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000},
    )
    return np.sqrt(found.fun), tiny_predictions(found.x).reshape(4, 3)


class TestConstraint:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("predictions", "<=", 5), "predictions <= 5"),
            (("user_factors", ">=", -0.5), "user_factors >= -0.5"),
            (("user_norms", "=", np.ones(15)), "user_norms = (15,) numbers"),
            ((np.ones((2, 9)), "<=", 1.0), "matrix of 2 rows <= 1"),
            ((np.linalg.norm, "<=", 1.0), "norm <= 1"),
        ],
    )
    def test_repr(self, arguments, text):
        assert str(Constraint(*arguments)) == text
        assert repr(Constraint(*arguments)) == f"Constraint({text})"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ("movies", "<=", 5),
                "`cells` must be one of user_factors, item_factors, user_bias, item_bias, "
                "predictions, rated_predictions, user_norms, item_norms, got 'movies'",
            ),
            (("predictions", "<", 5), "`relation` must be one of <=, =, >=, got '<'"),
            (("predictions", "<=", np.nan), "`value` for <= must be finite, got nan"),
            (("predictions", "=", np.inf), "`value` for = must be finite, got inf"),
            (
                (np.ones(3), "<=", 1),
                "`cells` must be a name, a function or a finite matrix with a row a cell, "
                "got an array of shape (3,)",
            ),
            (
                ([[np.nan, 1.0]], "<=", 1),
                "`cells` must be a name, a function or a finite matrix with a row a cell, "
                "got an array of shape (1, 2)",
            ),
        ],
    )
    def test_senseless(self, arguments, message):
        with pytest.raises(ValueError) as caught:
            Constraint(*arguments)
        assert str(caught.value) == message

    def test_something_else_among_the_constraints(self):
        with pytest.raises(TypeError, match=r"^`constraints` must hold Constraint objects, got 5$"):
            scf.SolverOptions(constraints=[5])

    @pytest.mark.parametrize(
        ("constraint", "message"),
        [
            (
                Constraint("user_bias", "<=", 1),
                "Constraint(user_bias <= 1): these parameters have no user_bias",
            ),
            (
                Constraint("item_bias", ">=", 1),
                "Constraint(item_bias >= 1): these parameters have no item_bias",
            ),
            (
                Constraint("user_factors", "<=", np.ones((3, 4))),
                "Constraint(user_factors <= (3, 4) numbers): the value must be one number "
                "or fit (4, 1), got shape (3, 4)",
            ),
            (
                Constraint("predictions", "<=", np.ones((3, 4))),
                "Constraint(predictions <= (3, 4) numbers): the value must be one number "
                "or fit (4, 3), got shape (3, 4)",
            ),
            (
                Constraint(np.ones((2, 8)), "<=", 1),
                "Constraint(matrix of 2 rows <= 1): the matrix must have 7 columns, one for "
                "each variable, got 8",
            ),
        ],
    )
    def test_one_that_does_not_fit_the_parameters(self, tiny, constraint, message):
        with pytest.raises(ValueError) as caught:
            grg.solve(*tiny, options(constraint))
        assert str(caught.value) == message


class TestBounds:
    """Constraints on variables: no method for cells is needed for them."""

    def test_by_block(self):
        like = scf.Parameters.random(2, 3, 1, bias=True)
        lower, upper = variable_bounds(
            options(
                Constraint("user_factors", ">=", -1),
                Constraint("item_factors", "<=", 2),
                Constraint("user_bias", "=", 0),
            ),
            like,
        )
        inf = np.inf
        # theta: two numbers of users, three of movies, two biases, three biases.
        assert lower.tolist() == [-1, -1, -inf, -inf, -inf, 0, 0, -inf, -inf, -inf]
        assert upper.tolist() == [inf, inf, 2, 2, 2, 0, 0, inf, inf, inf]

    def test_by_array(self):
        # Infinity leaves a variable free, and a row broadcasts.
        like = scf.Parameters.random(2, 2, 2)
        lower, upper = variable_bounds(
            options(
                Constraint("user_factors", "<=", [[1, np.inf], [np.inf, 4]]),
                Constraint("item_factors", ">=", [5, -np.inf]),
            ),
            like,
        )
        inf = np.inf
        assert upper.tolist() == [1, inf, inf, 4, inf, inf, inf, inf]
        assert lower.tolist() == [-inf, -inf, -inf, -inf, 5, -inf, 5, -inf]

    def test_the_tightest_counts(self):
        like = scf.Parameters.random(1, 1, 1)
        bounds = [Constraint("user_factors", "<=", value) for value in (3, 1, 2)]
        bounds += [Constraint("user_factors", ">=", value) for value in (-3, -1, -2)]
        lower, upper = variable_bounds(options(*bounds), like)
        assert (lower[0], upper[0]) == (-1, 1)

    def test_non_negative_leaves_lower_bounds_alone(self):
        # "Make Unconstrained Variables Non-Negative": those without a lower bound.
        like = scf.Parameters.random(1, 1, 1)
        lower, _ = variable_bounds(
            options(Constraint("user_factors", ">=", -2), non_negative=True), like
        )
        assert lower.tolist() == [-2, 0]

    def test_a_run(self, lesson):
        ratings, start = lesson
        upper = np.full((15, 5), np.inf)
        upper[3], upper[7, 2] = 0.25, -0.5
        result = grg.solve(ratings, start, options(Constraint("user_factors", "<=", upper)))
        assert result.code in (0, 1)
        assert (result.parameters.user_factors <= upper).all()
        assert (result.parameters.user_factors == upper).any()
        assert result.parameters.user_factors.max() > 1  # the others went where they would

    def test_biases(self, crosstab):
        start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        bound = Constraint("item_bias", "=", np.linspace(-1, 1, 15))
        result = grg.solve(crosstab, start, options(bound, iterations=20))
        np.testing.assert_array_equal(result.parameters.item_bias, np.linspace(-1, 1, 15))
        assert result.rmse_after < result.rmse_before / 2


class TestCells:
    """Which cells a constraint is on, and how they change with the variables."""

    @pytest.fixture(params=[False, True], ids=["no biases", "biases"])
    def case(self, request):
        ratings, theta = reference.problem(4, 3, 2, bias=request.param, rated=0.6)
        return ratings, theta.unpack(theta.pack() - 0.3)  # some numbers below zero

    def limit(self, case, cells):
        (limit,) = constrained.limits(*case, (Constraint(cells, "<=", 1.0),))
        return limit

    def differences(self, limit, x, h):
        """Central differences, a column a variable."""
        columns = []
        for j in range(x.size):
            step = np.zeros_like(x)
            step[j] = h
            columns.append((limit.values(x + step) - limit.values(x - step)) / (2 * h))
        return np.array(columns).T

    def pairs(self, case, cells):
        ratings, theta = case
        if cells == "rated_predictions":
            return [(u, i) for u, i, _ in reference.triplets(ratings)]
        return [(u, i) for u in range(theta.n_users) for i in range(theta.n_items)]

    @pytest.mark.parametrize("cells", ["predictions", "rated_predictions"])
    def test_predictions(self, case, cells):
        limit, theta = self.limit(case, cells), case[1]
        pairs, plain = self.pairs(case, cells), reference.plain(theta)
        expected = [reference.predict(plain, u, i) for u, i in pairs]
        np.testing.assert_allclose(limit.values(theta.pack()), expected, rtol=1e-14)

    @pytest.mark.parametrize("cells", ["predictions", "rated_predictions"])
    def test_jacobian_of_predictions(self, case, cells):
        # (13a): analytic, central differences, and a slow loop. A prediction is a straight
        # line along each variable, so differences are exact, and a step of 1 is best.
        limit, theta = self.limit(case, cells), case[1]
        analytic = limit.jacobian(theta.pack())
        rows = []
        for u, i in self.pairs(case, cells):
            G = reference.scaled(reference.plain(theta), 0.0)
            for k in range(theta.n_factors):
                G.P[u][k] = theta.item_factors[i, k]  # dr_hat_ui/dP_uk = Q_ik
                G.Q[i][k] = theta.user_factors[u, k]  # dr_hat_ui/dQ_ik = P_uk
            if theta.has_bias:
                G.bu[u] = G.bi[i] = 1.0
            rows.append(reference.pack(G))
        np.testing.assert_array_equal(analytic, rows)
        np.testing.assert_allclose(
            analytic, self.differences(limit, theta.pack(), h=1.0), atol=1e-12
        )

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_norms(self, case, side):
        limit, theta = self.limit(case, f"{side}_norms"), case[1]
        lengths = [sum(x * x for x in row) ** 0.5 for row in getattr(theta, f"{side}_factors")]
        np.testing.assert_allclose(limit.values(theta.pack()), lengths, rtol=1e-14)

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_jacobian_of_norms(self, case, side):
        # (13b): d|p_u|/dP_uk = P_uk / |p_u|. No straight line: h small, off by h^2.
        limit, theta = self.limit(case, f"{side}_norms"), case[1]
        analytic = limit.jacobian(theta.pack())
        rows = []
        for row, numbers in enumerate(getattr(theta, f"{side}_factors")):
            G = reference.scaled(reference.plain(theta), 0.0)
            length = sum(x * x for x in numbers) ** 0.5
            (G.P if side == "user" else G.Q)[row][:] = [x / length for x in numbers]
            rows.append(reference.pack(G))
        np.testing.assert_allclose(analytic, rows, rtol=1e-14)
        np.testing.assert_allclose(
            analytic, self.differences(limit, theta.pack(), h=1e-4), atol=1e-6
        )

    def test_a_norm_of_zero(self, case):
        # It has a kink there, like |x|; 0 lies between the slopes on both sides.
        ratings, theta = case
        theta.user_factors[1] = 0.0
        J = self.limit((ratings, theta), "user_norms").jacobian(theta.pack())
        assert not J[1].any()
        assert np.isfinite(J).all()

    def test_a_function(self, case):
        # By central differences with Solver's step; the function may return a table.
        limit = self.limit(case, lambda theta: theta.user_factors**2)
        x = case[1].pack()
        n = case[1].user_factors.size
        np.testing.assert_allclose(limit.values(x), x[:n] ** 2, rtol=1e-15)
        exact = np.zeros((n, x.size))
        exact[:, :n] = np.diag(2 * x[:n])
        np.testing.assert_allclose(limit.jacobian(x), exact, atol=1e-9)

    def test_a_matrix(self, case):
        theta = case[1]
        A = np.random.default_rng(0).normal(size=(2, theta.n_params))
        limit = self.limit(case, A)
        np.testing.assert_allclose(limit.values(theta.pack()), A @ theta.pack())
        np.testing.assert_array_equal(limit.jacobian(theta.pack()), A)

    @pytest.mark.parametrize(
        ("relation", "missed"), [("<=", [0, 0, 1]), ("=", [1, 0, 1]), (">=", [1, 0, 0])]
    )
    def test_by_how_much_a_limit_is_missed(self, relation, missed):
        # The cells are 1, 2, 3 and the value is 2.
        ratings = scf.Ratings(np.arange(3), np.arange(1), [0, 1, 2], [0, 0, 0], [1.0, 1.0, 1.0])
        theta = scf.Parameters(np.array([[1.0], [2.0], [3.0]]), np.ones((1, 1)))
        (limit,) = constrained.limits(ratings, theta, (Constraint("predictions", relation, 2),))
        assert limit.violation(theta.pack()).tolist() == missed


class TestTheLesson:
    def test_predictions_between_half_a_star_and_five(self, lesson):
        # Also for pairs nobody rated. The start predicts sums of five products below 1.
        ratings, start = lesson
        free = grg.solve(ratings, start, options()).parameters.predict_all()
        assert largest_miss(free, 0.5, 5) > 0.5  # else this test says little
        limits = Constraint("predictions", ">=", 0.5), Constraint("predictions", "<=", 5)
        result = grg.solve(ratings, start, options(*limits))
        assert (result.code, result.message) == (
            1,
            "Solver has converged to the current solution. All constraints are satisfied.",
        )
        assert largest_miss(result.parameters.predict_all(), 0.5, 5) <= PRECISION
        # It costs little: 0.4015 or 0.3929 without constraints.
        assert 0.3929 < result.rmse_after < 0.42
        rmse = objective.rmse(ratings, result.parameters)
        assert result.rmse_after == pytest.approx(rmse, rel=1e-12)

    def test_only_what_is_rated(self, lesson):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(Constraint("rated_predictions", "<=", 4.5)))
        predictions = result.parameters.predict(ratings.user_idx, ratings.item_idx)
        assert largest_miss(predictions, high=4.5) <= PRECISION
        assert predictions.max() == pytest.approx(4.5)
        assert result.parameters.predict_all().max() > 4.6  # a pair nobody rated

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_norms(self, lesson, side):
        # Each embedding of one side no longer than 1.
        ratings, start = lesson

        def longest(result):
            return np.linalg.norm(getattr(result.parameters, f"{side}_factors"), axis=1).max()

        assert longest(grg.solve(ratings, start, options())) > 1.5
        result = grg.solve(ratings, start, options(Constraint(f"{side}_norms", "<=", 1)))
        assert result.code in (0, 1)
        assert longest(result) <= 1 + PRECISION
        # The other side is free and makes up for it: nothing is lost.
        assert result.rmse_after < 0.415

    def test_derivatives_by_differences(self, lesson):
        # As Excel does it. Central ones lead to the same end; a gradient costs 300.
        ratings, start = lesson
        limit = Constraint("predictions", "<=", 5)
        exact, central = (
            grg.solve(ratings, start, options(limit, derivatives=d, iterations=20))
            for d in ("analytic", "central")
        )
        assert central.rmse_after == pytest.approx(exact.rmse_after, rel=1e-3)
        assert central.n_function >= 300 * central.n_gradient > 300 * 15


class TestAgainstScipy:
    """The tiny problem, solved a second time by other means."""

    def test_limits_on_predictions(self, tiny):
        ratings, start = tiny
        result = grg.solve(ratings, start, options(*BETWEEN, convergence=1e-12))
        assert (result.code, result.message) == (
            0,
            "Solver found a solution. All constraints and optimality conditions are satisfied.",
        )
        rmse, predictions = tiny_by_scipy(start, 1.5, 3.5)
        assert result.rmse_after == pytest.approx(rmse, abs=1e-5)
        found = result.parameters.predict_all()
        np.testing.assert_allclose(found, predictions, atol=1e-4)
        assert (found.min(), found.max()) == (
            pytest.approx(1.5, abs=PRECISION),
            pytest.approx(3.5, abs=PRECISION),
        )
        assert np.abs(result.reduced_gradient.pack()).max() <= 1e-6
        assert np.abs(objective.rmse_gradient(ratings, result.parameters).pack()).max() > 1e-3

    def test_limits_and_bounds(self, tiny):
        ratings, start = tiny
        bound = Constraint("item_factors", "<=", 1.2)
        result = grg.solve(ratings, start, options(bound, *BETWEEN, convergence=1e-12))
        bounds = optimize.Bounds(-np.inf, [np.inf] * 4 + [1.2] * 3)
        rmse, predictions = tiny_by_scipy(start, 1.5, 3.5, bounds)
        assert result.rmse_after == pytest.approx(rmse, abs=1e-5)
        np.testing.assert_allclose(result.parameters.predict_all(), predictions, atol=1e-4)
        assert result.parameters.item_factors.max() <= 1.2
        assert largest_miss(result.parameters.predict_all(), 1.5, 3.5) <= PRECISION

    def test_a_limit_for_each_cell(self, tiny):
        # In the shape of the table, and where it says infinity there is none.
        ratings, start = tiny
        high = np.full((4, 3), np.inf)
        high[0, 2], high[2, 0] = 3.0, 2.0
        limit = Constraint("predictions", "<=", high)
        result = grg.solve(ratings, start, options(limit, convergence=1e-12))
        rmse, predictions = tiny_by_scipy(start, -np.inf, high.ravel())
        assert result.rmse_after == pytest.approx(rmse, abs=1e-5)
        np.testing.assert_allclose(result.parameters.predict_all(), predictions, atol=1e-4)

    def test_linear_equations(self, tiny):
        # Two rules: the first two movies share one number, and the users' sum to 4. Put in
        # place of the variables they leave five to search, without constraints.
        ratings, start = tiny
        A = np.zeros((2, 7))
        A[0, 4], A[0, 5] = 1.0, -1.0
        A[1, :4] = 1.0
        result = grg.solve(ratings, start, options(Constraint(A, "=", [0, 4]), convergence=1e-12))
        np.testing.assert_allclose(A @ result.parameters.pack(), [0, 4], atol=PRECISION)

        def whole(z):
            return np.array([*z[:3], 4 - z[:3].sum(), z[3], z[3], z[4]])

        found = optimize.minimize(
            lambda z: tiny_mse(whole(z))[0], [1.0, 1, 1, 1, 1], method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000, "maxfev": 5000},
        )  # fmt: skip
        assert result.rmse_after == pytest.approx(np.sqrt(found.fun), abs=1e-5)
        np.testing.assert_allclose(result.parameters.pack(), whole(found.x), atol=1e-4)

    def test_a_function_of_the_parameters(self, tiny):
        # The same cells by name and by a function, whose derivatives are differences.
        ratings, start = tiny
        named = Constraint("predictions", "<=", 3.2)
        computed = Constraint(lambda theta: theta.predict_all(), "<=", 3.2)
        one, other = (
            grg.solve(ratings, start, options(c, convergence=1e-12)) for c in (named, computed)
        )
        assert one.rmse_after == pytest.approx(other.rmse_after, abs=1e-8)
        assert other.parameters.predict_all().max() == pytest.approx(3.2, abs=PRECISION)


class TestFeasibility:
    def test_a_feasible_start_ends_feasible_and_lower(self, tiny):
        ratings, _ = tiny
        start = scf.Parameters(np.full((4, 1), 1.6), np.full((3, 1), 1.5))  # predicts 2.4
        result = grg.solve(ratings, start, options(*BETWEEN))
        assert largest_miss(result.parameters.predict_all(), 1.5, 3.5) <= PRECISION
        assert result.rmse_after < result.rmse_before - 0.05

    def test_an_infeasible_start_becomes_feasible_though_the_objective_rises(self, tiny):
        # From the best numbers without constraints there is only one way, up.
        ratings, start = tiny
        best = grg.solve(ratings, start, options(convergence=1e-12)).parameters
        assert largest_miss(best.predict_all(), 1.5, 3.5) > 0.1
        result = grg.solve(ratings, best, options(*BETWEEN, convergence=1e-9))
        assert largest_miss(result.parameters.predict_all(), 1.5, 3.5) <= PRECISION
        assert result.rmse_after > result.rmse_before
        assert result.rmse_after == pytest.approx(1.1076786, abs=1e-5)  # as from elsewhere

    @pytest.mark.parametrize(
        "contradiction",
        [
            (Constraint("predictions", "<=", 1), Constraint("predictions", ">=", 2)),
            (Constraint("user_norms", "<=", -1),),
            # Not by themselves, but with bounds: a product of numbers below 1.
            (
                Constraint("predictions", ">=", 2),
                Constraint("user_norms", "<=", 1),
                Constraint("item_norms", "<=", 1),
            ),
        ],
        ids=["limits", "a negative length", "limits and norms"],
    )
    def test_contradictions(self, tiny, contradiction):
        ratings, start = tiny
        result = grg.solve(ratings, start, options(*contradiction))
        assert (result.code, result.message) == (
            5,
            "Solver could not find a feasible solution.",
        )
        assert result.parameters.is_finite()

    @pytest.mark.parametrize("cell", [np.nan, np.inf])
    def test_an_error_value_in_a_constraint_cell(self, tiny, cell):
        # #DIV/0! in a cell of the user's own.
        ratings, start = tiny
        limit = Constraint(lambda theta: theta.user_factors * cell, "<=", 1)
        result = grg.solve(ratings, start, options(limit))
        assert (result.code, result.message) == (
            9,
            "Solver encountered an error value in the objective cell or a constraint cell.",
        )
        assert result.iterations == 0
        assert result.parameters.equals(start)
        assert result.reduced_gradient is None

    @pytest.mark.parametrize(("precision", "is_feasible"), [(0.01, True), (1e-6, False)])
    def test_precision_is_the_users_own(self, tiny, precision, is_feasible):
        # A cell that nothing changes misses its limit by 0.005: near enough, or not. (It
        # has to find that out by itself; the time limit is there for the suite's sake.)
        ratings, start = tiny
        limit = Constraint(lambda theta: [2.005], "<=", 2)
        result = grg.solve(ratings, start, options(limit, precision=precision, max_time=2))
        assert (result.code in (0, 1, 2)) == is_feasible
        assert (result.code == 5) == (not is_feasible)


class TestMultipliers:
    """A Lagrange multiplier is the price of a limit: what one unit of it is worth in RMSE."""

    def solved(self, tiny, *constraints):
        ratings, start = tiny
        result = grg.solve(ratings, start, options(*constraints, convergence=1e-13))
        assert result.code in (0, 1, 2)
        return result

    def lambdas(self, tiny, constraints, result):
        ratings, start = tiny
        found = constrained.limits(ratings, start, constraints)
        slope = objective.rmse_gradient(ratings, result.parameters).pack()
        held = np.zeros(7, bool)
        return constrained.multipliers(found, result.parameters.pack(), slope, held, PRECISION)

    @pytest.mark.parametrize("moved", [0, 1], ids=["the lower limit", "the upper limit"])
    def test_prices_come_true(self, tiny, moved):
        limits = [1.5, 3.5]

        def constraints(d):
            low, high = (limit + (d if k == moved else 0.0) for k, limit in enumerate(limits))
            return Constraint("predictions", ">=", low), Constraint("predictions", "<=", high)

        result = self.solved(tiny, *constraints(0.0))
        reduced, lambdas = self.lambdas(tiny, constraints(0.0), result)
        # Solve twice more, with the limit a little lower and a little higher.
        d = 1e-3
        below, above = (self.solved(tiny, *constraints(s)).rmse_after for s in (-d, d))
        price = lambdas[moved].sum()
        assert price == pytest.approx((above - below) / (2 * d), rel=1e-3)
        # To raise the lower limit costs, to raise the upper limit saves.
        assert (price > 1e-3) if moved == 0 else (price < -1e-3)
        # What the two limits do not account for is nothing: the conditions of an optimum.
        assert np.abs(reduced).max() <= 1e-6

    def test_only_limits_that_are_reached_have_a_price(self, tiny):
        result = self.solved(tiny, *BETWEEN)
        _, (low, high) = self.lambdas(tiny, BETWEEN, result)
        predictions = result.parameters.predict_all().ravel()
        assert np.flatnonzero(low).tolist() == [predictions.argmin()]
        assert np.flatnonzero(high).tolist() == [predictions.argmax()]

    def test_without_an_active_limit_the_slope_remains(self, tiny):
        ratings, start = tiny
        found = constrained.limits(ratings, start, (Constraint("predictions", "<=", 99),))
        slope = np.arange(7.0)
        reduced, (lambdas,) = constrained.multipliers(
            found, start.pack(), slope, np.zeros(7, bool), PRECISION
        )
        np.testing.assert_array_equal(reduced, slope)
        assert not lambdas.any()

    def test_at_a_bound_the_reduced_gradient_is_the_price_of_the_bound(self, tiny):
        # As without constraints on cells, and as Solver's Sensitivity Report has it. (A limit
        # on the users' sum keeps them from making up for the bound on movies.)
        sum_of_users = np.array([[1.0, 1, 1, 1, 0, 0, 0]])

        def constraints(bound):
            return Constraint("item_factors", "<=", bound), Constraint(sum_of_users, "<=", 6)

        result = self.solved(tiny, *constraints(1.2))
        at_bound = np.isclose(result.parameters.item_factors, 1.2, rtol=1e-9)
        assert at_bound.any()
        d = 1e-3
        below, above = (self.solved(tiny, *constraints(1.2 + s)).rmse_after for s in (-d, d))
        shown = result.reduced_gradient.item_factors[at_bound].sum()
        assert shown == pytest.approx((above - below) / (2 * d), rel=1e-2)


class TestTarget:
    def test_the_highest_within_limits(self, tiny):
        # All predictions are between 1.5 and 3.5; the furthest from ratings is far off.
        ratings, start = tiny
        result = grg.solve(ratings, start, options(*BETWEEN, to="max"))
        assert largest_miss(result.parameters.predict_all(), 1.5, 3.5) <= PRECISION
        assert result.code in (0, 1)
        assert result.rmse_after > 1.3

    def test_a_value_within_limits(self, lesson):
        ratings, start = lesson
        limit = Constraint("predictions", "<=", 5)
        result = grg.solve(ratings, start, options(limit, to="value_of", value=0.5))
        assert result.rmse_after == pytest.approx(0.5, abs=PRECISION)
        assert largest_miss(result.parameters.predict_all(), high=5) <= PRECISION
        assert (result.code, result.message) == (0, MESSAGES[0])

    def test_a_value_that_limits_put_out_of_reach(self, tiny):
        # 1.1034 is the lowest without limits, 1.1077 with them.
        ratings, start = tiny
        within_reach = grg.solve(ratings, start, options(to="value_of", value=1.105))
        assert within_reach.code == 0
        result = grg.solve(ratings, start, options(*BETWEEN, to="value_of", value=1.105))
        assert (result.code, result.message) == (
            5,
            "Solver could not find a feasible solution.",
        )

    def test_a_maximum_without_end(self, lesson):
        # Users' embeddings are no longer than 5, but movies' may grow for ever.
        ratings, start = lesson
        settings = options(Constraint("user_norms", "<=", 5), to="max", max_time=5)
        result = grg.solve(ratings, start, settings)
        assert (result.code, result.message) == (
            4,
            "The Objective Cell values do not converge.",
        )
        assert result.parameters.is_finite()


class TestEndings:
    """However a run is ended, the best point so far is kept.

    Best: of the points that miss the limits least the lowest. The lesson's start predicts
    less than 5 stars everywhere, so that it is feasible; steps of the method need not be.
    """

    LIMIT = Constraint("predictions", "<=", 5)

    def check_best(self, result, ratings):
        assert result.parameters.is_finite()
        assert largest_miss(result.parameters.predict_all(), high=5) <= PRECISION
        assert result.rmse_after <= result.rmse_before
        rmse = objective.rmse(ratings, result.parameters)
        assert result.rmse_after == pytest.approx(rmse, rel=1e-12)
        assert [row["iteration"] for row in result.trace] == list(range(len(result.trace)))

    @pytest.mark.parametrize("limit", [1, 4, 30])
    def test_iteration_limit(self, lesson, limit):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(self.LIMIT, iterations=limit))
        assert (result.code, result.message) == (
            3,
            "Stop chosen when the maximum iteration limit was reached.",
        )
        self.check_best(result, ratings)
        assert result.iterations <= limit

    def test_time_limit(self, lesson):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(self.LIMIT, max_time=1e-9))
        assert (result.code, result.message) == (
            10,
            "Stop chosen when the maximum time limit was reached.",
        )
        self.check_best(result, ratings)

    @pytest.mark.parametrize("at", [1, 4, 12])
    def test_stopped_by_the_callback(self, lesson, at):
        ratings, start = lesson
        rows = []

        def stop(row):
            rows.append(row["iteration"])
            return row["iteration"] >= at

        result = grg.solve(ratings, start, options(self.LIMIT), stop)
        assert (result.code, result.message) == (6, "Solver stopped at user's request.")
        self.check_best(result, ratings)
        assert rows == list(range(1, at + 1))  # who said stop is not asked again

    def test_ctrl_c(self, lesson):
        # From the fourth iteration on whoever sits there keeps pressing.
        ratings, start = lesson

        def press(row):
            if row["iteration"] >= 4:
                raise KeyboardInterrupt

        try:
            result = grg.solve(ratings, start, options(self.LIMIT), press)
        except KeyboardInterrupt:
            pytest.fail("KeyboardInterrupt came through")
        assert (result.code, result.message) == (6, "Solver stopped at user's request.")
        self.check_best(result, ratings)

    def test_ctrl_c_in_the_middle_of_an_iteration(self, lesson, monkeypatch):
        ratings, start = lesson
        calls = []

        def interrupted(problem, theta, alpha=0.0, at=Problem.at):
            calls.append(1)
            if len(calls) == 40:
                raise KeyboardInterrupt
            return at(problem, theta, alpha)

        monkeypatch.setattr(Problem, "at", interrupted)
        try:
            result = grg.solve(ratings, start, options(self.LIMIT))
        except KeyboardInterrupt:
            pytest.fail("KeyboardInterrupt came through")
        assert (result.code, result.message) == (6, "Solver stopped at user's request.")
        assert 2 <= result.iterations < 40
        self.check_best(result, ratings)

    def test_the_start_is_left_as_it_is(self, lesson):
        ratings, start = lesson
        before = start.pack()
        grg.solve(ratings, start, options(self.LIMIT, iterations=3))
        assert start.pack().tolist() == before.tolist()

    def test_multistart(self, tiny):
        ratings, start = tiny
        result = grg.solve(ratings, start, options(*BETWEEN, multistart=True), random_state=1)
        assert (result.code, result.message) == (
            17,
            "Solver converged in probability to a global solution.",
        )
        assert largest_miss(result.parameters.predict_all(), 1.5, 3.5) <= PRECISION
        assert result.rmse_after == pytest.approx(1.1076786, abs=1e-5)
