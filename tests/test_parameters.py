"""Parameters: sizes, drawing, predicting, packing."""

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf.solvers import sgd


@pytest.fixture
def theta():
    """Two users, three items, two factors, biases; small enough to compute in one's head."""
    return scf.Parameters(
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        np.array([0.1, 0.2]),
        np.array([10.0, 20.0, 30.0]),
    )


class TestShape:
    def test_sizes(self, theta):
        assert (theta.n_users, theta.n_items, theta.n_factors) == (2, 3, 2)
        assert theta.n_params == 2 * 2 + 3 * 2 + 2 + 3
        assert theta.has_bias
        assert repr(theta) == "Parameters(2 users, 3 items, 2 factors, with biases)"

    def test_the_spreadsheet_has_150_variable_cells(self):
        assert scf.Parameters.random(15, 15, 5).n_params == 150
        assert scf.Parameters.random(15, 15, 5, bias=True).n_params == 180

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            ([(2, 3), (4, 2)], r"`user_factors` and `item_factors` .* got shapes \(2, 3\) and \(4"),
            ([(2,), (4, 2)], r"`user_factors` and `item_factors` .* got shapes \(2,\) and"),
            ([(2, 0), (4, 0)], r"`user_factors` and `item_factors` .* got shapes \(2, 0\)"),
            ([(2, 3), (4, 3), (3,), (4,)], r"`user_bias` must have shape \(2,\), got \(3,\)"),
            ([(2, 3), (4, 3), (2,), (4, 1)], r"`item_bias` must have shape \(4,\), got \(4, 1\)"),
            ([(2, 3), (4, 3), (2,)], "`user_bias` and `item_bias` must be given both or not"),
        ],
    )
    def test_shapes_that_do_not_fit(self, shapes, message):
        with pytest.raises(ValueError, match=message):
            scf.Parameters(*(np.zeros(shape) for shape in shapes))

    def test_whole_numbers_count_as_numbers(self):
        # A workbook's cell holds 1, not 1.0. Arithmetic must not round to whole numbers.
        ratings = scf.Ratings(np.array([0]), np.array([0]), [0], [0], [4.0])
        theta = scf.Parameters(np.array([[1]]), np.array([[1]]))
        trained = sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=200), random_state=0)
        assert trained.rmse_after < 0.01


class TestRandom:
    def test_same_seed_same_bits(self):
        one, two = (scf.Parameters.random(4, 3, 2, bias=True, random_state=5) for _ in range(2))
        assert one.equals(two)
        assert not one.equals(scf.Parameters.random(4, 3, 2, bias=True, random_state=6))

    def test_a_generator_goes_on(self):
        rng = np.random.default_rng(5)
        first = scf.Parameters.random(4, 3, 2, random_state=rng)
        second = scf.Parameters.random(4, 3, 2, random_state=rng)
        assert first.equals(scf.Parameters.random(4, 3, 2, random_state=5))
        assert not second.equals(first)

    def test_the_global_generator_is_left_alone(self):
        np.random.seed(0)
        expected = np.random.uniform()
        np.random.seed(0)
        scf.Parameters.random(4, 3, 2)
        assert np.random.uniform() == expected

    def test_biases_do_not_change_the_factors(self):
        without = scf.Parameters.random(4, 3, 2, random_state=0)
        with_biases = scf.Parameters.random(4, 3, 2, bias=True, random_state=0)
        np.testing.assert_array_equal(without.user_factors, with_biases.user_factors)
        np.testing.assert_array_equal(without.item_factors, with_biases.item_factors)

    @pytest.mark.parametrize("scale", [1.0, 0.1, 7.0])
    def test_uniform_from_zero_to_scale(self, scale):
        # The mean of 20 000 draws is scale/2 within 5 standard errors scale/sqrt(12 n).
        theta = scf.Parameters.random(2000, 1000, 6, bias=True, scale=scale, random_state=0)
        for block in theta.blocks():
            assert 0 <= block.min() < block.max() < scale
            assert block.max() > 0.98 * scale
            assert abs(block.mean() - scale / 2) < 5 * scale / np.sqrt(12 * block.size)

    @pytest.mark.parametrize(
        ("sizes", "options", "message"),
        [
            ((0, 3, 2), {}, "`n_users` must be >= 1, got 0"),
            ((3, -1, 2), {}, "`n_items` must be >= 1, got -1"),
            ((3, 3, 0), {}, "`n_factors` must be >= 1, got 0"),
            ((3, 3, 2), {"scale": 0}, "`scale` must be > 0, got 0"),
        ],
    )
    def test_senseless_sizes(self, sizes, options, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            scf.Parameters.random(*sizes, **options)

    def test_half_a_user(self):
        with pytest.raises(TypeError, match=r"^`n_users` must be a whole number, got 2\.5$"):
            scf.Parameters.random(2.5, 3)


class TestPredict:
    def test_by_hand(self, theta):
        # User 1, item 2: [3, 4] . [1, 1] + 0.2 + 30 = 37.2
        assert theta.predict(1, 2) == pytest.approx(37.2, rel=1e-15)

    def test_without_biases(self, theta):
        assert scf.Parameters(theta.user_factors, theta.item_factors).predict(1, 2) == 7

    def test_pairs(self, theta):
        # [1,2].[1,0] + 0.1 + 10 and [3,4].[0,1] + 0.2 + 20
        np.testing.assert_allclose(theta.predict([0, 1], [0, 1]), [11.1, 24.2], rtol=1e-15)

    def test_indices_broadcast(self, theta):
        # One user for all items; all users for all items.
        np.testing.assert_array_equal(theta.predict(0, [0, 1, 2]), theta.predict_all()[0])
        np.testing.assert_array_equal(theta.predict([[0], [1]], [0, 1, 2]), theta.predict_all())

    @pytest.mark.parametrize("bias", [False, True])
    def test_the_whole_table(self, bias):
        _, theta = reference.problem(5, 7, 3, bias=bias)
        plain = reference.plain(theta)
        slow = [[reference.predict(plain, u, i) for i in range(7)] for u in range(5)]
        np.testing.assert_allclose(theta.predict_all(), slow, rtol=1e-14)
        u, i = np.indices((5, 7))
        np.testing.assert_allclose(theta.predict_all(), theta.predict(u, i), rtol=1e-14)

    def test_an_index_that_does_not_exist(self, theta):
        with pytest.raises(IndexError):
            theta.predict(2, 0)


class TestPack:
    def test_order(self, theta):
        # P row by row, Q row by row, b_u, b_i.
        assert theta.pack().tolist() == [1, 2, 3, 4, 1, 0, 0, 1, 1, 1, 0.1, 0.2, 10, 20, 30]

    @pytest.mark.parametrize("bias", [False, True])
    def test_there_and_back(self, bias):
        theta = scf.Parameters.random(4, 3, 2, bias=bias, random_state=0)
        assert theta.unpack(theta.pack()).equals(theta)
        x = np.arange(theta.n_params, dtype=float)
        assert theta.unpack(x).pack().tolist() == x.tolist()

    def test_the_vector_is_a_copy(self, theta):
        theta.pack()[:] = 0
        assert theta.user_factors[0, 0] == 1

    def test_wrong_length(self, theta):
        with pytest.raises(ValueError, match=r"^`theta` must have shape \(15,\), got \(14,\)$"):
            theta.unpack(np.zeros(14))

    def test_matches_the_loops(self, theta):
        assert theta.pack().tolist() == reference.pack(reference.plain(theta))


class TestCompare:
    def test_the_last_bit_counts(self, theta):
        x = theta.pack()
        assert theta.equals(theta.unpack(x))
        for j in range(len(x)):
            y = x.copy()
            y[j] = np.nextafter(y[j], np.inf)
            assert not theta.equals(theta.unpack(y))

    def test_with_and_without_biases_differ(self, theta):
        without = scf.Parameters(theta.user_factors, theta.item_factors)
        assert not theta.equals(without)
        assert not without.equals(theta)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_is_finite(self, theta, bad):
        x = theta.pack()
        assert theta.is_finite()
        for j in range(len(x)):
            y = x.copy()
            y[j] = bad
            assert not theta.unpack(y).is_finite()


class TestSelect:
    def test_rows_follow_the_indices(self, theta):
        chosen = theta.select(np.array([1]), np.array([2, 0]))
        assert chosen.pack().tolist() == [3, 4, 1, 1, 1, 0, 0.2, 30, 10]

    def test_without_biases(self, theta):
        without = scf.Parameters(theta.user_factors, theta.item_factors)
        assert without.select(np.array([1]), np.array([2, 0])).pack().tolist() == [3, 4, 1, 1, 1, 0]
