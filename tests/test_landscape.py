"""The line between two solutions: what may be turned, and the polynomial, equation by equation."""

import numpy as np
import pytest
from scipy.stats import ortho_group

import shallow_cf as scf
from shallow_cf import landscape, objective

T = np.linspace(-0.5, 1.5, 21)
KINDS = {
    "plain": {},
    "biases": {"bias": True},
    "biases and mean": {"bias": True, "global_mean": 3.5},
    "range": {"bias": True, "rating_range": (0.5, 5.5)},
}
ON_A_LINE = pytest.mark.parametrize("kind", [k for k in KINDS if k != "range"])


def drawn(seed, kind="plain", n_factors=3):
    """Parameters for the crosstab."""
    more = dict(KINDS[kind])
    bias = more.pop("bias", False)
    theta = scf.Parameters.random(15, 15, n_factors, bias=bias, init="normal", random_state=seed)
    return scf.Parameters(*theta.blocks(), **more)


def disguised(theta, seed):
    """Other numbers with the same predictions, by all the freedoms of (23a)."""
    rng = np.random.default_rng(seed)
    k = theta.n_factors
    A = rng.normal(size=(k, k)) + 2 * np.eye(k)
    P, Q = theta.user_factors @ A, theta.item_factors @ np.linalg.inv(A).T
    if theta.biases is None:
        return theta.with_blocks([P, Q])
    (bu, bi), (c, d), s = theta.biases, rng.normal(size=(2, k)), rng.normal()
    P, bi = P + c, bi - Q @ c
    Q, bu = Q + d, bu - P @ d
    return theta.with_blocks([P, Q, bu + s, bi - s])


class TestBalanced:
    @pytest.mark.parametrize("kind", KINDS)
    def test_predictions_stay(self, kind):
        theta = disguised(drawn(0, kind), 1)
        found = landscape.balanced(theta)
        np.testing.assert_allclose(found.predict_all(), theta.predict_all(), rtol=1e-9)
        assert (found.global_mean, found.rating_range) == (theta.global_mean, theta.rating_range)

    @pytest.mark.parametrize("kind", KINDS)
    def test_both_sides_are_of_one_size(self, kind):
        found = landscape.balanced(disguised(drawn(0, kind), 1))
        P, Q = found.user_factors, found.item_factors
        singular = np.linalg.svd(P @ Q.T, compute_uv=False)[:3]
        np.testing.assert_allclose(P.T @ P, np.diag(singular), atol=1e-9)  # (23c)
        np.testing.assert_allclose(Q.T @ Q, np.diag(singular), atol=1e-9)

    def test_biases_take_up_what_is_common(self):
        found = landscape.balanced(disguised(drawn(0, "biases"), 1))
        for side in (found.user_factors, found.item_factors):
            np.testing.assert_allclose(side.sum(axis=0), 0, atol=1e-9)  # (23b)
        assert found.user_bias.mean() == pytest.approx(found.item_bias.mean())

    def test_none_is_smaller(self):
        def size(theta):
            return sum(float((block**2).sum()) for block in theta.blocks())

        theta = drawn(0)
        smallest = size(landscape.balanced(theta))
        X = theta.user_factors @ theta.item_factors.T
        assert smallest == pytest.approx(2 * np.linalg.norm(X, "nuc"))
        assert smallest < min(size(disguised(theta, seed)) for seed in range(20))

    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_predictions_become_equal_but_for_a_rotation(self, kind):
        theta = drawn(0, kind)
        one, two = (landscape.balanced(each) for each in (theta, disguised(theta, 1)))
        Z_one, Z_two = (np.vstack(each.blocks()[:2]) for each in (one, two))
        np.testing.assert_allclose(Z_one @ Z_one.T, Z_two @ Z_two.T, atol=1e-9)
        for bias_one, bias_two in zip(one.blocks()[2:], two.blocks()[2:], strict=True):
            np.testing.assert_allclose(bias_one, bias_two, atol=1e-9)

    def test_fewer_users_than_factors(self):
        theta = scf.Parameters.random(2, 7, 4, random_state=0)
        found = landscape.balanced(theta)
        assert [block.shape for block in found.blocks()] == [(2, 4), (7, 4)]
        np.testing.assert_allclose(found.predict_all(), theta.predict_all())


class TestAligned:
    def test_a_rotation_is_undone(self):
        to = drawn(0, "biases")
        for seed in range(5):  # mirrored ones, det R = -1, are among them
            R = ortho_group.rvs(3, random_state=seed)
            turned = to.with_blocks([to.user_factors @ R, to.item_factors @ R, *to.biases])
            np.testing.assert_allclose(landscape.aligned(turned, to).pack(), to.pack(), atol=1e-12)

    def test_nothing_is_nearer(self):
        to, other = drawn(0), drawn(1)
        found = landscape.aligned(other, to)  # (23d)
        np.testing.assert_allclose(found.predict_all(), other.predict_all())
        near = np.linalg.norm(found.pack() - to.pack())
        for R in ortho_group.rvs(3, size=200, random_state=0):
            turned = other.with_blocks([other.user_factors @ R, other.item_factors @ R])
            assert near < np.linalg.norm(turned.pack() - to.pack())


class TestLine:
    @ON_A_LINE
    def test_the_polynomial_is_the_loss(self, crosstab, kind):
        a, b = drawn(0, kind), drawn(1, kind)
        direct = [
            objective.half_sse(crosstab, a.unpack((1 - t) * a.pack() + t * b.pack())) for t in T
        ]
        line = landscape.half_sse_along(crosstab, a, b)  # (23e), (23f)
        np.testing.assert_allclose(line(T), direct, rtol=1e-12)

    @ON_A_LINE
    def test_five_points_determine_it(self, crosstab, kind):
        a, b = drawn(0, kind), drawn(1, kind)
        at = np.array([0, 0.25, 0.5, 0.75, 1])
        losses = [
            objective.half_sse(crosstab, a.unpack((1 - t) * a.pack() + t * b.pack())) for t in at
        ]
        interpolated = np.linalg.solve(np.vander(at, increasing=True), losses)
        found = landscape.half_sse_along(crosstab, a, b).coef
        np.testing.assert_allclose(found, interpolated, rtol=1e-9)
        assert found[4] > 0  # of degree 4, no less

    @pytest.mark.parametrize("kind", KINDS)
    def test_rmse_at_every_point(self, crosstab, kind):
        a, b = drawn(0, kind), drawn(1, kind)
        direct = [objective.rmse(crosstab, a.unpack((1 - t) * a.pack() + t * b.pack())) for t in T]
        np.testing.assert_allclose(landscape.rmse_along(crosstab, a, b, T), direct, rtol=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_predictions_lie_on_each_other(self, crosstab, kind):
        a = drawn(0, kind)
        b = disguised(a, 1)
        straight = landscape.rmse_along(crosstab, a, b, T)
        assert np.ptp(straight) > 0.1  # as they are, a hill
        start = landscape.balanced(a)
        end = landscape.aligned(landscape.balanced(b), start)
        level = landscape.rmse_along(crosstab, start, end, T)
        np.testing.assert_allclose(level, objective.rmse(crosstab, a), rtol=1e-9)

    def test_a_rotation_alone_would_not_do(self, crosstab):
        # Both sides in other units: no rotation undoes that, so `balanced` comes first.
        a = drawn(0)
        b = a.with_blocks([4 * a.user_factors, a.item_factors / 4])
        line = landscape.rmse_along(crosstab, a, landscape.aligned(b, a), T)
        assert np.ptp(line) > 0.1

    @pytest.mark.parametrize("bias", [False, True])
    def test_two_starts_that_end_in_the_best_optimum_end_in_one_place(self, crosstab, bias):
        a, b = (
            scf.MatrixFactorization(bias=bias, solver="varpro", random_state=seed).fit(crosstab)
            for seed in (0, 1)
        )
        start = landscape.balanced(a.parameters_)
        end = landscape.aligned(landscape.balanced(b.parameters_), start)
        line = landscape.rmse_along(crosstab, start, end, np.linspace(0, 1, 11))
        np.testing.assert_allclose(line, 0.3186550 if bias else 0.3929008, atol=1e-6)

    def test_an_exact_fit_is_zero(self):
        triplets, losses = [[u, i] for u in range(5) for i in range(4)], []
        for seed in range(20):
            theta = scf.Parameters.random(5, 4, 2, random_state=seed)
            ratings = scf.Ratings.from_arrays(triplets, theta.predict_all().ravel())
            other = disguised(theta, seed)
            losses.append(landscape.half_sse_along(ratings, theta, other)(1))
            line = landscape.rmse_along(ratings, theta, other, [0, 1])
            np.testing.assert_allclose(line, 0, atol=1e-5)  # and no root of a number below 0
        assert min(losses) < 0  # by rounding

    def test_bad_input(self, crosstab):
        a = drawn(0)
        for other in (drawn(1, n_factors=2), drawn(1, "biases"), drawn(1, "range")):
            with pytest.raises(ValueError, match="only between parameters of one kind"):
                landscape.half_sse_along(crosstab, a, other)
            with pytest.raises(ValueError, match="only between parameters of one kind"):
                landscape.rmse_along(crosstab, a, other, T)
            with pytest.raises(ValueError, match="only between parameters of one kind"):
                landscape.aligned(other, a)
        with pytest.raises(ValueError, match="must be finite"):
            landscape.rmse_along(crosstab, a, a.unpack(np.full(a.n_params, np.nan)), T)
        with pytest.raises(ValueError, match="no polynomial along a line"):
            landscape.half_sse_along(crosstab, drawn(0, "range"), drawn(1, "range"))
        with pytest.raises(ValueError, match="do not fit"):
            landscape.rmse_along(crosstab.top(5, 5), a, drawn(1), T)
