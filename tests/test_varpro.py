"""Variable projection: each equation by itself, then what the method achieves.

Read in this order:

1. `TestBestItems`: (8) and (9). Given the users' numbers, each item's best numbers are a
   least-squares problem of their own. A loop over the items, with NumPy's `lstsq`.
2. `TestGradient`, `TestJacobian`, `TestHessian`: (10) to (12), each against measured slopes,
   and (11) also written out item by item.
3. `TestBalanced`: the same predictions in tidier factors.
4. The rest is what `varpro.solve` does with them.

The numbers (8) to (12) are those of the docstring of `shallow_cf.solvers.varpro`.
"""

import numpy as np
import pytest
import reference
from scipy import optimize

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import varpro
from shallow_cf.solvers.result import MESSAGES
from shallow_cf.solvers.varpro import Cells, Projection, VarproOptions, balanced

#: The best known RMSE of the lesson's table, without and with biases.
BEST, BEST_WITH_BIASES = 0.3929008, 0.3186550


def columns(parameters):
    """N: P, and b_u as its last column if there are biases."""
    if parameters.user_bias is None:
        return parameters.user_factors
    return np.column_stack((parameters.user_factors, parameters.user_bias))


def project(ratings, parameters, reg=0.0):
    return Projection(Cells.of(ratings, parameters), columns(parameters), reg)


def unrated_too(ratings):
    """The same ratings with one more user and one more item, whom nobody rated."""
    return scf.Ratings(
        np.arange(ratings.n_users + 1),
        np.arange(ratings.n_items + 1),
        ratings.user_idx,
        ratings.item_idx,
        ratings.rating,
    )


# Sizes of the tables to try. In "few ratings" most items have fewer ratings than factors;
# in "more factors than users" all have.
SHAPES = {
    "all rated": {"n_users": 6, "n_items": 5, "n_factors": 2},
    "blanks": {"n_users": 9, "n_items": 7, "n_factors": 3, "rated": 0.7},
    "few ratings": {"n_users": 7, "n_items": 9, "n_factors": 3, "rated": 0.15},
    "more factors than users": {"n_users": 3, "n_items": 4, "n_factors": 5},
}


@pytest.fixture(params=[False, True], ids=["no biases", "biases"])
def bias(request):
    return request.param


@pytest.fixture(params=[0.0, 0.7], ids=["no penalty", "penalty"])
def reg(request):
    return request.param


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def case(request, bias):
    """Ratings, with a user and an item that have none, and random parameters."""
    ratings = unrated_too(reference.problem(**request.param)[0])
    k = request.param["n_factors"]
    theta = scf.Parameters.random(
        ratings.n_users, ratings.n_items, k, bias=bias, random_state=5
    )  # fmt: skip
    return ratings, theta


def rows_of_item(ratings, theta, item):
    """A_i and t_i, row by row, and the users of the rows."""
    A, t, users = [], [], []
    for u, i, r in reference.triplets(ratings):
        if i != item:
            continue
        p_u = theta.user_factors[u].tolist()
        A.append(p_u if theta.user_bias is None else [*p_u, 1.0])
        t.append(r if theta.user_bias is None else r - theta.user_bias[u])
        users.append(u)
    width = theta.n_factors + theta.has_bias
    return np.array(A).reshape(-1, width), np.array(t), users


class TestBestItems:
    def test_equation_8_by_hand(self):
        # Two users with p = 1 and 2 give one item 3 and 4 stars. v = A't / A'A = 11/5;
        # with a penalty of 6 it is 11/(5 + 6) = 1.
        ratings = scf.Ratings(np.arange(2), np.arange(1), [0, 1], [0, 0], [3.0, 4.0])
        theta = scf.Parameters(np.array([[1.0], [2.0]]), np.zeros((1, 1)))
        assert project(ratings, theta).v[0] == pytest.approx([2.2], rel=1e-14)
        there = project(ratings, theta, reg=6.0)
        assert there.v[0] == pytest.approx([1.0], rel=1e-14)
        # (2)  e = 1*1 - 3 and 2*1 - 4; (9)  (4 + 4)/2 + 6/2 (1 + 1 + 4) = 22
        assert there.e[0] == pytest.approx([-2.0, -2.0], rel=1e-14)
        assert there.phi == pytest.approx(22.0, rel=1e-14)

    def test_equation_8(self, case, reg):
        # A penalty is as good as one more row for each number: sqrt(reg) v should be 0.
        # `lstsq` gives the shortest of several best solutions, as (8) promises to.
        ratings, theta = case
        v = project(ratings, theta, reg).v
        for item in range(ratings.n_items):
            A, t, _ = rows_of_item(ratings, theta, item)
            width = A.shape[1]
            if reg > 0:
                A = np.vstack((A, np.sqrt(reg) * np.eye(width)))
                t = np.concatenate((t, np.zeros(width)))
            best = np.linalg.lstsq(A, t)[0] if len(A) else np.zeros(width)
            np.testing.assert_allclose(v[item], best, rtol=0, atol=1e-10)

    def test_who_is_not_rated_gets_zeros(self, case, reg):
        ratings, theta = case
        assert project(ratings, theta, reg).v[-1].tolist() == [0.0] * (
            theta.n_factors + theta.has_bias
        )

    def test_twice_the_same_user_is_no_obstacle(self):
        # Two users with the same p and one rating each of the item: A_i has rank 1, of 2.
        # The best prediction is the mean, 3, and the shortest q with q . (3, 4) = 3 is
        # 3 (3, 4)/25.
        ratings = scf.Ratings(np.arange(2), np.arange(1), [0, 1], [0, 0], [2.0, 4.0])
        theta = scf.Parameters(np.array([[3.0, 4.0], [3.0, 4.0]]), np.zeros((1, 2)))
        assert project(ratings, theta).v[0] == pytest.approx([0.36, 0.48], rel=1e-12)

    def test_equation_9(self, case, reg):
        ratings, theta = case
        there = project(ratings, theta, reg)
        found = there.parameters()
        assert found.user_factors.tolist() == theta.user_factors.tolist()
        tiny = 1e-25  # where everything is fitted, phi is rounding alone
        assert there.phi == pytest.approx(
            objective.half_sse(ratings, found, reg), rel=1e-12, abs=tiny
        )
        assert there.rmse == pytest.approx(objective.rmse(ratings, found), rel=1e-9, abs=1e-12)

    def test_residuals(self, case, reg):
        ratings, theta = case
        there = project(ratings, theta, reg)
        e = np.zeros_like(there.e)
        e[ratings.item_idx, ratings.user_idx] = objective.residual(ratings, there.parameters())
        np.testing.assert_allclose(there.e, e, rtol=0, atol=1e-12)

    def test_no_other_items_do_better(self, case, reg):
        ratings, theta = case
        best = project(ratings, theta, reg).parameters()
        phi = objective.half_sse(ratings, best, reg)
        rng = np.random.default_rng(0)
        for _ in range(20):
            Q = best.item_factors + rng.normal(0, 0.1, best.item_factors.shape)
            if best.biases is None:
                other = scf.Parameters(best.user_factors, Q)
            else:
                bi = best.item_bias + rng.normal(0, 0.1, best.n_items)
                other = scf.Parameters(best.user_factors, Q, best.user_bias, bi)
            assert objective.half_sse(ratings, other, reg) > phi


class TestGradient:
    """(10): the items' numbers move with the users', and yet do not count."""

    def test_against_differences(self, case, reg):
        ratings, theta = case
        cells, N = Cells.of(ratings, theta), columns(theta)

        def phi(x):
            return Projection(cells, x.reshape(N.shape), reg).phi

        # Unlike half_sse, phi is not quadratic along a coordinate: h = 1e-5 and not 1.
        measured = objective.central_difference(phi, N.ravel(), 1e-5)
        gradient = Projection(cells, N, reg).gradient()
        assert gradient.shape == N.shape
        np.testing.assert_allclose(gradient.ravel(), measured, rtol=0, atol=1e-7)

    def test_is_the_users_half_of_the_whole_gradient(self, case, reg):
        ratings, theta = case
        there = project(ratings, theta, reg)
        whole = objective.half_sse_gradient(ratings, there.parameters(), reg)
        np.testing.assert_allclose(there.gradient(), columns(whole), rtol=0, atol=1e-11)
        # And the items' half is zero, because they are at their best: that is why their
        # own change does not count.
        assert np.abs(whole.item_factors).max() < 1e-11
        if whole.item_bias is not None:
            assert np.abs(whole.item_bias).max() < 1e-11

    def test_says_something(self, bias, reg):
        # Where all items are fitted perfectly (10) is 0 = 0; on these tables it is not.
        ratings, theta = reference.problem(**SHAPES["blanks"], bias=bias)
        assert np.abs(project(ratings, theta, reg).gradient()).max() > 0.1


def slow_jacobian(ratings, theta, reg):
    """(11), item by item: a row a (item, user), as `e`; a column a number of N, row by row."""
    there = project(ratings, theta, reg)
    n_users, k, has_bias = theta.n_users, theta.n_factors, theta.has_bias
    J = np.zeros((ratings.n_items, n_users, n_users, k + has_bias))
    for i in range(ratings.n_items):
        A, t, users = rows_of_item(ratings, theta, i)
        if not users:
            continue
        v = np.linalg.pinv(A.T @ A + reg * np.eye(A.shape[1])) @ A.T @ t  # (8)
        e = A @ v - t  # (2)
        # 1/G; with fewer ratings than factors and no penalty the inverse of what can be.
        inverse = np.linalg.pinv(A.T @ A + reg * np.eye(A.shape[1]), rcond=1e-12)
        for row, w in enumerate(users):
            for column in range(k + has_bias):
                # The number N[w, column] alone moves, by 1.
                dA = np.zeros_like(A)
                if column < k:
                    dA[row, column] = 1.0  # p_w stands in A_i
                    dN_c = dA @ v
                else:
                    dN_c = np.zeros(len(users))
                    dN_c[row] = 1.0  # b_w stands in t_i alone, and its partner is 1
                dv = -inverse @ (dA.T @ e + A.T @ dN_c)  # (11)
                J[i, users, w, column] = dN_c + A @ dv  # (11)
    return J.reshape(there.e.size, -1)


class TestJacobian:
    """(11): how the residuals move when the users' numbers do and the items follow."""

    def test_against_differences(self, case, reg):
        ratings, theta = case
        cells, N = Cells.of(ratings, theta), columns(theta)

        def e(x):
            return Projection(cells, x.reshape(N.shape), reg).e.ravel()

        h = 1e-5
        measured = np.empty((e(N.ravel()).size, N.size))
        for j in range(N.size):
            ahead, behind = N.ravel().copy(), N.ravel().copy()
            ahead[j] += h
            behind[j] -= h
            measured[:, j] = (e(ahead) - e(behind)) / (2 * h)
        np.testing.assert_allclose(slow_jacobian(ratings, theta, reg), measured, rtol=0, atol=1e-6)

    def test_gives_the_gradient(self, case):
        # grad 1/2 |e|^2 = J'e, whatever the Jacobian's own formula.
        ratings, theta = case
        there = project(ratings, theta)
        by_jacobian = slow_jacobian(ratings, theta, 0.0).T @ there.e.ravel()
        np.testing.assert_allclose(there.gradient().ravel(), by_jacobian, rtol=0, atol=1e-9)

    def test_equation_12_prime_is_its_square(self, case):  # (12')
        ratings, theta = case
        J = slow_jacobian(ratings, theta, 0.0)
        H = project(ratings, theta).hessian("gauss_newton")
        np.testing.assert_allclose(H, J.T @ J, rtol=0, atol=1e-9 * max(1, np.abs(H).max()))


class TestHessian:
    """(12): the slopes of the gradient."""

    def test_against_differences_of_the_gradient(self, case, reg):
        ratings, theta = case
        cells, N = Cells.of(ratings, theta), columns(theta)
        H = Projection(cells, N, reg).hessian("exact")
        h = 1e-5
        for j in range(N.size):
            ahead, behind = N.ravel().copy(), N.ravel().copy()
            ahead[j] += h
            behind[j] -= h
            slopes = [
                Projection(cells, x.reshape(N.shape), reg).gradient() for x in (ahead, behind)
            ]
            measured = (slopes[0] - slopes[1]).ravel() / (2 * h)
            np.testing.assert_allclose(H[:, j], measured, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kind", varpro.HESSIANS)
    def test_is_symmetric(self, case, reg, kind):
        H = project(*case, reg).hessian(kind)
        np.testing.assert_allclose(H, H.T, rtol=0, atol=1e-12 * max(1, np.abs(H).max()))

    def test_the_two_are_not_the_same(self, bias):
        # Else the test of one would do for both: they differ by what the residuals add.
        ratings, theta = reference.problem(**SHAPES["blanks"], bias=bias)
        there = project(ratings, theta)
        assert np.abs(there.hessian("exact") - there.hessian("gauss_newton")).max() > 0.1

    def test_gauss_newton_never_bends_down(self, case):
        # A square J'J has no negative eigenvalue; the exact one may (on "blanks" it does).
        eigenvalues = np.linalg.eigvalsh(project(*case).hessian("gauss_newton"))
        assert eigenvalues.min() > -1e-9 * max(1, eigenvalues.max())


class TestBalanced:
    SIZES = ((8, 6, 3), (6, 8, 3), (4, 9, 6), (9, 4, 6), (3, 3, 5), (1, 1, 1))

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_keeps_the_predictions(self, size, bias):
        theta = scf.Parameters.random(*size, bias=bias, random_state=0)
        np.testing.assert_allclose(
            balanced(theta).predict_all(), theta.predict_all(), rtol=0, atol=1e-12
        )

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_makes_orthogonal_sorted_and_equally_long_factors(self, size, bias):
        theta = scf.Parameters.random(*size, bias=bias, random_state=0)
        found = balanced(theta)
        assert found.user_factors.shape == theta.user_factors.shape
        by_users = found.user_factors.T @ found.user_factors
        by_items = found.item_factors.T @ found.item_factors
        squares = np.diag(by_users)
        np.testing.assert_allclose(by_users, np.diag(squares), rtol=0, atol=1e-12)
        np.testing.assert_allclose(by_items, np.diag(squares), rtol=0, atol=1e-12)
        assert (np.diff(squares) <= 1e-12).all()
        # Of more factors than users (or items) only as many can differ from zero.
        assert squares[min(size[:2]) :].tolist() == [0.0] * max(0, size[2] - min(size[:2]))

    def test_centres_the_factors_where_biases_can_say_the_rest(self):
        theta = scf.Parameters.random(8, 6, 3, bias=True, random_state=0)
        assert theta.user_factors.mean() > 0.3
        found = balanced(theta)
        assert np.abs(found.user_factors.mean(axis=0)).max() < 1e-14
        assert np.abs(found.item_factors.mean(axis=0)).max() < 1e-14

    def test_without_biases_the_means_stay_in_the_factors(self):
        found = balanced(scf.Parameters.random(8, 6, 3, random_state=0))
        assert np.abs(found.user_factors.mean(axis=0)).max() > 0.1


def solve_crosstab(crosstab, seed, *, bias, callback=None, **options):
    start = scf.Parameters.random(15, 15, 5, bias=bias, random_state=seed)
    return varpro.solve(crosstab, start, VarproOptions(**options), callback)


class TestTheLesson:
    def test_without_biases_from_every_start(self, crosstab):
        ends = [solve_crosstab(crosstab, seed, bias=False) for seed in range(20)]
        assert [end.rmse_after for end in ends] == pytest.approx([BEST] * 20, abs=1e-7)
        assert {end.code for end in ends} == {0}

    def test_with_biases_from_nearly_every_start(self, crosstab):
        ends = [solve_crosstab(crosstab, seed, bias=True).rmse_after for seed in range(20)]
        assert sum(abs(end - BEST_WITH_BIASES) < 1e-6 for end in ends) >= 19, ends
        assert min(ends) > BEST_WITH_BIASES - 1e-6  # a better one would be news

    @pytest.mark.slow
    def test_without_biases_from_100_of_100_starts(self, crosstab):
        ends = [solve_crosstab(crosstab, seed, bias=False).rmse_after for seed in range(100)]
        assert ends == pytest.approx([BEST] * 100, abs=1e-7)

    @pytest.mark.slow
    def test_with_biases_from_95_of_100_starts(self, crosstab):
        ends = [solve_crosstab(crosstab, seed, bias=True).rmse_after for seed in range(100)]
        assert sum(abs(end - BEST_WITH_BIASES) < 1e-6 for end in ends) >= 95, sorted(ends)[-10:]
        assert min(ends) > BEST_WITH_BIASES - 1e-6

    @pytest.mark.parametrize(("bias", "best"), [(False, BEST), (True, BEST_WITH_BIASES)])
    def test_gauss_newton_arrives_too_but_later(self, crosstab, bias, best):
        exact = solve_crosstab(crosstab, 0, bias=bias)
        approximate = solve_crosstab(crosstab, 0, bias=bias, hessian="gauss_newton")
        assert approximate.rmse_after == pytest.approx(best, abs=1e-6)
        assert approximate.iterations > 2 * exact.iterations

    @pytest.mark.parametrize("scale", [1e-3, 1e3])
    def test_the_size_of_the_start_does_not_matter(self, crosstab, scale):
        start = scf.Parameters.random(15, 15, 5, scale=scale, random_state=0)
        assert varpro.solve(crosstab, start).rmse_after == pytest.approx(BEST, abs=1e-7)

    def test_the_factors_found_are_balanced(self, crosstab, bias):
        found = solve_crosstab(crosstab, 0, bias=bias).parameters
        P, Q = found.user_factors, found.item_factors
        squares = np.diag(P.T @ P)
        np.testing.assert_allclose(P.T @ P, np.diag(squares), rtol=0, atol=1e-9)
        np.testing.assert_allclose(Q.T @ Q, np.diag(squares), rtol=0, atol=1e-9)
        assert (np.diff(squares) < 0).all()


class TestNeverWorseThanItsStart:
    @pytest.mark.parametrize("iterations", [1, 2, 3, None])
    def test_from_an_optimum(self, crosstab, iterations, bias):
        # The penalty of the first steps leads away from it; the way back is kept open.
        optimum = solve_crosstab(crosstab, 0, bias=bias)
        again = varpro.solve(crosstab, optimum.parameters, VarproOptions(iterations=iterations))
        assert objective.rmse(crosstab, again.parameters) <= optimum.rmse_after * (1 + 1e-12)

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("iterations", [1, 2, 3])
    def test_from_anywhere(self, crosstab, iterations, seed, bias):
        start = scf.Parameters.random(15, 15, 5, bias=bias, random_state=seed)
        end = varpro.solve(crosstab, start, VarproOptions(iterations=iterations))
        assert objective.rmse(crosstab, end.parameters) < objective.rmse(crosstab, start)

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize("iterations", [1, 2, 3])
    def test_from_where_the_items_are_at_their_best(self, crosstab, iterations, seed, bias):
        # So the start is hard to beat: cut short among the first steps, a run must not
        # hand out the items' numbers of the first penalty, which are too short.
        theta = scf.Parameters.random(15, 15, 5, bias=bias, random_state=seed)
        start = project(crosstab, theta).parameters()
        end = varpro.solve(crosstab, start, VarproOptions(iterations=iterations))
        before = objective.rmse(crosstab, start)
        assert objective.rmse(crosstab, end.parameters) <= before * (1 + 1e-12)

    def test_with_a_penalty(self, crosstab, bias):
        theta = scf.Parameters.random(15, 15, 5, bias=bias, random_state=0)
        start = project(crosstab, theta, 0.5).parameters()
        before = objective.half_sse(crosstab, start, 0.5)
        for iterations in (1, 2, 3):
            options = VarproOptions(iterations=iterations, reg=0.5)
            end = varpro.solve(crosstab, start, options).parameters
            assert objective.half_sse(crosstab, end, 0.5) <= before * (1 + 1e-12)


class TestPlanted:
    @pytest.mark.parametrize("hessian", varpro.HESSIANS)
    @pytest.mark.parametrize("seed", range(3))
    def test_finds_the_pattern_and_completes_the_table(self, seed, hessian):
        ratings, table = reference.planted(20, 15, 3, rated=0.7, random_state=seed)
        start = scf.Parameters.random(20, 15, 3, random_state=seed)
        found = varpro.solve(ratings, start, VarproOptions(hessian=hessian))
        assert found.rmse_after < 1e-9
        # 30% of the table was never seen.
        np.testing.assert_allclose(found.parameters.predict_all(), table, rtol=0, atol=1e-6)

    def test_with_biases(self):
        # Factors centred, so that the biases planted are the biases found.
        rng = np.random.default_rng(0)
        truth = balanced(
            scf.Parameters(
                rng.normal(size=(20, 2)),
                rng.normal(size=(15, 2)),
                rng.uniform(1, 2, 20),
                rng.uniform(1, 2, 15),
            )
        )
        table = truth.predict_all()
        u, i = np.nonzero(rng.uniform(size=table.shape) < 0.7)
        ratings = scf.Ratings(np.arange(20), np.arange(15), u, i, table[u, i])
        start = scf.Parameters.random(20, 15, 2, bias=True, random_state=0)
        found = varpro.solve(ratings, start)
        assert found.rmse_after < 1e-9
        np.testing.assert_allclose(found.parameters.predict_all(), table, rtol=0, atol=1e-6)


@pytest.fixture
def no_endless_search(monkeypatch):
    """A search that tries more than 5000 points fails instead of going on for ever."""
    count = 0
    original = Projection.__init__

    def counting(self, *args):
        nonlocal count
        count += 1
        assert count < 5_000, "the search does not end"
        original(self, *args)

    monkeypatch.setattr(Projection, "__init__", counting)


class TestPenalty:
    @pytest.mark.parametrize("strength", [0.1, 1.0, 3.0])
    def test_ends_at_a_minimum_no_worse_than_scipys(self, crosstab, strength, bias):
        start = scf.Parameters.random(15, 15, 5, bias=bias, random_state=1)
        found = varpro.solve(crosstab, start, VarproOptions(reg=strength)).parameters
        slope = objective.half_sse_gradient(crosstab, found, strength).pack()
        at_start = objective.half_sse_gradient(crosstab, start, strength).pack()
        assert np.abs(slope).max() < 1e-6 * np.abs(at_start).max()
        scipys = optimize.minimize(
            lambda x: objective.half_sse(crosstab, start.unpack(x), strength),
            start.pack(),
            jac=lambda x: objective.half_sse_gradient(crosstab, start.unpack(x), strength).pack(),
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-14, "gtol": 1e-8},
        )
        assert objective.half_sse(crosstab, found, strength) <= scipys.fun * (1 + 1e-9)

    def test_what_it_costs(self, crosstab):
        # More of it, shorter parameters and a worse fit.
        ends = [solve_crosstab(crosstab, 0, bias=False, reg=reg) for reg in (0.0, 0.5, 3.0)]
        rmse = [end.rmse_after for end in ends]
        norms = [np.linalg.norm(end.parameters.pack()) for end in ends]
        assert rmse == sorted(rmse)
        assert norms == sorted(norms, reverse=True)
        assert len(set(rmse)) == 3

    @pytest.mark.parametrize("hessian", varpro.HESSIANS)
    def test_a_long_way_to_the_end_ends(self, hessian, no_endless_search):
        # With a penalty, Gauss and Newton's approximation takes hundreds of small steps on
        # this table. Each success makes the damping ten times smaller, and after 300 in a
        # row it is no number any more; it must be able to grow again.
        ratings, start = reference.problem(5, 5, 4)
        found = varpro.solve(ratings, start, VarproOptions(reg=0.3, hessian=hessian))
        slope = objective.half_sse_gradient(ratings, found.parameters, 0.3).pack()
        assert np.abs(slope).max() < 1e-3


class TestSmallTables:
    """Fewer ratings than factors, nobody's and no ratings, more factors than users."""

    @pytest.mark.parametrize("reg", [0.0, 0.3])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("name", SHAPES)
    def test_ends_where_the_gradient_is_zero(self, name, bias, reg, no_endless_search):
        ratings = unrated_too(reference.problem(**SHAPES[name])[0])
        k = SHAPES[name]["n_factors"]
        start = scf.Parameters.random(
            ratings.n_users, ratings.n_items, k, bias=bias, random_state=0
        )  # fmt: skip
        found = varpro.solve(ratings, start, VarproOptions(reg=reg))
        assert found.code in (0, 1, 2)
        assert found.parameters.is_finite()
        slope = objective.half_sse_gradient(ratings, found.parameters, reg).pack()
        assert np.abs(slope).max() < 1e-6

    @pytest.mark.parametrize("name", ["few ratings", "more factors than users"])
    def test_what_can_be_fitted_perfectly_is(self, name, bias):
        ratings, start = reference.problem(**SHAPES[name], bias=bias)
        assert varpro.solve(ratings, start).rmse_after < 1e-9

    def test_one_rating(self, bias):
        ratings = scf.Ratings(np.array([7]), np.array([3]), [0], [0], [4.0])
        start = scf.Parameters.random(1, 1, 1, bias=bias, random_state=0)
        assert varpro.solve(ratings, start).parameters.predict(0, 0) == pytest.approx(4.0)

    @pytest.mark.parametrize("stars", [0.0, 3.0])
    def test_ratings_that_are_all_the_same(self, stars, bias):
        # Their standard deviation, the unit of the first penalty, is zero.
        u, i = np.nonzero(np.ones((4, 5)))
        ratings = scf.Ratings(np.arange(4), np.arange(5), u, i, np.full(20, stars))
        start = scf.Parameters.random(4, 5, 2, bias=bias, random_state=0)
        assert varpro.solve(ratings, start).rmse_after < 1e-9


class TestStartsThatLeadNowhere:
    """Columns of P that are zero or equal have equal slopes for ever, if one lets them."""

    @pytest.mark.parametrize(
        "P",
        [
            pytest.param(np.zeros((15, 5)), id="zeros"),
            pytest.param(np.linspace(1, 2, 15)[:, None] * np.ones(5), id="equal columns"),
            pytest.param(
                np.column_stack((np.ones(15), np.random.default_rng(0).uniform(size=(15, 4)))),
                id="a constant column",  # with biases it is nothing once centred
            ),
        ],
    )
    @pytest.mark.parametrize(("bias", "best"), [(False, BEST), (True, BEST_WITH_BIASES)])
    def test_the_optimum_is_found_all_the_same(self, crosstab, bias, best, P):
        biases = (np.zeros(15), np.zeros(15)) if bias else ()
        start = scf.Parameters(P, np.zeros((15, 5)), *biases)
        assert varpro.solve(crosstab, start).rmse_after == pytest.approx(best, abs=1e-6)


def check_end(result, code, ratings):
    """The code, its exact message, and that the last row tells of the parameters returned."""
    assert (result.code, result.message) == (code, MESSAGES[code])
    assert result.rmse_after == objective.rmse(ratings, result.parameters)


class TestEndings:
    def test_0_solved(self, crosstab, bias):
        result = solve_crosstab(crosstab, 0, bias=bias)
        check_end(result, 0, crosstab)
        assert np.abs(result.reduced_gradient.pack()).max() < 1e-8

    def test_1_converged(self, crosstab):
        # Gauss and Newton's approximation comes near slowly: five iterations in a row that
        # change less than that are made long before the slope is zero.
        loose, tight = (
            solve_crosstab(crosstab, 0, bias=False, hessian="gauss_newton", convergence=convergence)
            for convergence in (1e-6, 1e-10)
        )
        check_end(loose, 1, crosstab)
        check_end(tight, 1, crosstab)
        assert loose.iterations < tight.iterations
        assert loose.rmse_after > tight.rmse_after
        rmse = [row["train_rmse"] for row in loose.trace[-6:]]
        assert all(abs(after - rmse[0]) <= 1e-6 * rmse[0] for after in rmse[1:])

    def test_2_no_lower_point(self, crosstab, monkeypatch):
        # Where no slope counts as zero and no change as none, rounding alone ends the run.
        monkeypatch.setattr(varpro, "_OPTIMALITY_TOLERANCE", -1.0)
        result = solve_crosstab(crosstab, 0, bias=False, convergence=0.0)
        check_end(result, 2, crosstab)
        assert result.rmse_after == pytest.approx(BEST, abs=1e-7)

    @pytest.mark.parametrize("limit", [1, 2, 7])
    def test_3_iteration_limit(self, crosstab, limit):
        result = solve_crosstab(crosstab, 0, bias=False, iterations=limit)
        check_end(result, 3, crosstab)
        assert result.iterations == limit

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_3_iteration_limit_at_an_optimum(self, crosstab, limit):
        # Going back to the start, because it was better, is no further iteration.
        optimum = solve_crosstab(crosstab, 0, bias=False).parameters
        result = varpro.solve(crosstab, optimum, VarproOptions(iterations=limit))
        check_end(result, 3, crosstab)
        assert result.iterations == limit

    @pytest.mark.parametrize("last", [1, 4, 15])
    def test_6_callback(self, crosstab, last):
        result = solve_crosstab(
            crosstab, 0, bias=False, callback=lambda row: row["iteration"] == last
        )
        check_end(result, 6, crosstab)
        assert result.iterations == last
        assert result.rmse_after < objective.rmse(crosstab, result.start)

    def test_6_a_callback_that_stopped_the_run_is_not_called_again(self, crosstab):
        # From an optimum too, where the run has to go back to its start.
        for start in (
            scf.Parameters.random(15, 15, 5, random_state=0),
            solve_crosstab(crosstab, 0, bias=False).parameters,
        ):
            for last in (1, 2, 3):
                rows = []

                def stop(row, rows=rows, last=last):
                    rows.append(row)
                    return len(rows) >= last

                check_end(varpro.solve(crosstab, start, callback=stop), 6, crosstab)
                assert len(rows) == last

    @pytest.mark.parametrize("last", [1, 4, 15])
    def test_6_ctrl_c(self, crosstab, last):
        def interrupt(row):
            if row["iteration"] == last:
                raise KeyboardInterrupt

        result = solve_crosstab(crosstab, 0, bias=False, callback=interrupt)
        check_end(result, 6, crosstab)
        assert result.iterations == last
        # What the same run had reached after so many iterations, to the bit.
        limited = solve_crosstab(crosstab, 0, bias=False, iterations=last)
        assert result.parameters.equals(limited.parameters)

    @pytest.mark.parametrize("last", [1, 2, 3])
    def test_6_ctrl_c_at_an_optimum(self, crosstab, last):
        # Where the first steps lead to worse points: back to the start, and no traceback,
        # not even if the way back is interrupted too.
        optimum = solve_crosstab(crosstab, 0, bias=False)

        def interrupt(row):
            if row["iteration"] >= last:
                raise KeyboardInterrupt

        try:
            result = varpro.solve(crosstab, optimum.parameters, callback=interrupt)
        except KeyboardInterrupt:  # pytest would take it for the user's
            pytest.fail("Ctrl-C came through")
        check_end(result, 6, crosstab)
        assert result.rmse_after <= optimum.rmse_after * (1 + 1e-12)

    def test_other_errors_of_the_callback_come_through(self, crosstab):
        def fail(row):
            raise RuntimeError("disk full")

        with pytest.raises(RuntimeError, match=r"^disk full$"):
            solve_crosstab(crosstab, 0, bias=False, callback=fail)

    def test_9_a_start_that_overflows(self, crosstab, bias):
        biases = (np.zeros(15), np.zeros(15)) if bias else ()
        huge = np.full((15, 5), 1e200)
        start = scf.Parameters(huge, huge, *biases)
        result = varpro.solve(crosstab, start)
        assert (result.code, result.message) == (9, MESSAGES[9])
        assert result.parameters.equals(start)
        assert result.iterations == 0
        assert result.reduced_gradient is None

    def test_10_time_limit(self, crosstab):
        result = solve_crosstab(crosstab, 0, bias=False, max_time=1e-9)
        check_end(result, 10, crosstab)
        assert result.iterations == 1


class TestResult:
    def test_trace(self, crosstab, bias):
        rows = []
        result = solve_crosstab(crosstab, 0, bias=bias, callback=rows.append)
        assert rows == result.trace[1:]
        assert set(rows[0]) == {"iteration", "train_rmse", "step", "gradient_norm", "seconds"}
        assert [row["iteration"] for row in result.trace] == list(range(len(result.trace)))
        seconds = [row["seconds"] for row in result.trace]
        assert seconds == sorted(seconds)
        assert seconds[-1] <= result.seconds
        # The first iteration may leave the users alone: only the items' numbers follow.
        assert all(row["step"] > 0 for row in rows[1:])
        assert rows[-1]["gradient_norm"] < 1e-8 < rows[0]["gradient_norm"]
        check_end(result, 0, crosstab)

    def test_the_objective_before_is_that_of_the_start(self, crosstab, bias, reg):
        # Of the whole start, and not of its users with better items.
        result = solve_crosstab(crosstab, 0, bias=bias, reg=reg)
        assert result.rmse_before == pytest.approx(objective.rmse(crosstab, result.start))

    def test_the_start_is_left_as_it_is(self, crosstab, bias):
        start = scf.Parameters.random(15, 15, 5, bias=bias, random_state=0)
        before = start.pack()
        result = varpro.solve(crosstab, start)
        assert start.pack().tolist() == before.tolist()
        assert result.start is start

    def test_the_items_numbers_are_not_looked_at(self, crosstab):
        start = scf.Parameters.random(15, 15, 5, random_state=0)
        other = scf.Parameters(start.user_factors, start.item_factors + 1)
        ends = [varpro.solve(crosstab, theta).parameters for theta in (start, other)]
        assert ends[0].equals(ends[1])

    def test_same_start_same_bits(self, crosstab, bias):
        one, two, other = (solve_crosstab(crosstab, seed, bias=bias) for seed in (3, 3, 4))
        assert one.parameters.equals(two.parameters)
        assert (one.n_function, one.n_gradient) == (two.n_function, two.n_gradient)
        assert not one.parameters.equals(other.parameters)

    def test_counts(self, crosstab, monkeypatch):
        # As many as there were: points tried, and matrices of second derivatives.
        counts = {"__init__": 0, "hessian": 0}
        for name in counts:
            original = getattr(Projection, name)

            def counting(self, *args, name=name, original=original):
                counts[name] += 1
                return original(self, *args)

            monkeypatch.setattr(Projection, name, counting)
        result = solve_crosstab(crosstab, 0, bias=False)
        assert (result.n_function, result.n_gradient) == (counts["__init__"], counts["hessian"])
        assert result.n_gradient >= result.iterations - 1

    def test_reduced_gradient(self, crosstab, bias):
        result = solve_crosstab(crosstab, 0, bias=bias, iterations=3)
        expected = objective.rmse_gradient(crosstab, result.parameters)
        assert result.reduced_gradient.equals(expected)
        assert np.abs(expected.pack()).max() > 1e-4


class TestArguments:
    @pytest.mark.parametrize(
        ("setting", "value", "error", "message"),
        [
            ("reg", -0.1, ValueError, "`reg` must be >= 0, got -0.1"),
            ("reg", "much", TypeError, "`reg` must be a number, got 'much'"),
            ("reg", float("nan"), ValueError, "`reg` must be finite and >= 0, got nan"),
            (
                "hessian",
                "newton",
                ValueError,
                "`hessian` must be one of exact, gauss_newton, got 'newton'",
            ),
            ("convergence", -1e-9, ValueError, "`convergence` must be >= 0, got -1e-09"),
            ("convergence", 1.5, ValueError, "`convergence` must be <= 1, got 1.5"),
            ("iterations", 0, ValueError, "`iterations` must be >= 1, got 0"),
            ("iterations", 2.5, TypeError, "`iterations` must be a whole number, got 2.5"),
            ("max_time", 0, ValueError, "`max_time` must be > 0, got 0"),
            ("population_size", 9, ValueError, "`population_size` must be >= 10, got 9"),
            ("random_seed", -1, ValueError, "`random_seed` must be >= 0, got -1"),
        ],
    )
    def test_senseless_settings(self, setting, value, error, message):
        with pytest.raises(error) as caught:
            VarproOptions(**{setting: value})
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("n_users", "n_items"),
        [(2000, 1), (1000, 51)],  # (2000 x 5)^2 and 51 x 1000^2, each just over the limit
    )
    def test_a_table_that_is_too_large(self, n_users, n_items):
        ratings = scf.Ratings(np.arange(n_users), np.arange(n_items), [0], [0], [4.0])
        with pytest.raises(ValueError) as caught:
            varpro.solve(ratings, scf.Parameters.random(n_users, n_items, 5, random_state=0))
        assert str(caught.value) == (
            f"Ratings({n_users} users x {n_items} items, 1 ratings) is too large for varpro, "
            "which holds a table of n_items x n_users**2 and one of (n_users x n_factors)**2: "
            "use another solver, or ask for fewer users or items"
        )

    def test_parameters_of_another_table(self, crosstab):
        with pytest.raises(
            ValueError, match=r"Parameters\(4 users, 3 items, .* do not fit Ratings"
        ):
            varpro.solve(crosstab, scf.Parameters.random(4, 3, 2))

    def test_parameters_that_are_not_finite(self, crosstab):
        theta = scf.Parameters.random(15, 15, 5, random_state=0)
        x = theta.pack()
        x[0] = np.nan
        with pytest.raises(ValueError, match="must be finite"):
            varpro.solve(crosstab, theta.unpack(x))


class TestReviewedCases:
    def test_a_rank_deficient_start_that_is_good_already(self, crosstab):
        # A sixth factor of zeros beside the five of an optimum, and the run cut short.
        best = varpro.solve(crosstab, scf.Parameters.random(15, 15, 5, random_state=0)).parameters
        start = scf.Parameters(
            np.column_stack((best.user_factors, np.zeros(15))),
            np.column_stack((best.item_factors, np.zeros(15))),
        )
        for iterations in (1, 2, 3):
            result = varpro.solve(crosstab, start, scf.VarproOptions(iterations=iterations))
            assert result.rmse_after <= result.rmse_before * (1 + 1e-12)

    def test_a_loose_convergence_does_not_end_it_under_the_first_penalty(self, crosstab):
        for seed in range(3):
            start = scf.Parameters.random(15, 15, 5, bias=True, random_state=seed)
            result = varpro.solve(crosstab, start, scf.VarproOptions(convergence=0.1))
            assert result.rmse_after < 0.4  # with the penalty it is above 0.5
