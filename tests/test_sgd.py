"""Stochastic gradient descent: step by step against the loops, then what it achieves.

Read `TestSteps` first: the vectorised code makes exactly the steps of the slow loop in
tests/reference.py. `TestPenalty` then asks where the steps lead: to a point where the
gradient of the whole objective, penalty and all, is zero.
"""

import pickle

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import sgd


class KnownOrder(np.random.Generator):
    """A generator whose permutations are known beforehand, one for each epoch."""

    def __init__(self, *orders):
        super().__init__(np.random.PCG64(0))
        self.orders = [np.array(order) for order in orders]

    def permutation(self, x, axis=0):
        order = self.orders.pop(0)
        assert sorted(order) == list(range(x))  # so that a test cannot forget a rating
        return order


def run_loops(ratings, theta, options, orders):
    """The same training by tests/reference.py. The learning rate falls linearly to 0."""
    plain, triplets = reference.plain(theta), reference.triplets(ratings)
    for epoch, order in enumerate(orders):
        eta = options.learning_rate * (options.n_epochs - epoch) / options.n_epochs
        ordered = [triplets[k] for k in order]
        plain = reference.sgd_epoch(ordered, plain, eta, options.batch_size, options.reg)
    return reference.pack(plain)


class TestSteps:
    def test_one_step_by_hand(self):
        # P = [1, 2], Q = [0.5, 0.25], b_u = 0.5, b_i = -0.25, r = 4: r_hat = 1.25, e = -2.75.
        # eta = 0.1:  P_u - eta e Q = [1 + 0.275*0.5, 2 + 0.275*0.25] = [1.1375, 2.06875]
        #             Q_i - eta e P = [0.5 + 0.275*1, 0.25 + 0.275*2]  = [0.775, 0.8]
        #             b - eta e     = 0.775 and 0.025
        # Q moves by the OLD P: with the new one it would be [0.8128, 0.8189].
        ratings = scf.Ratings(np.array([7]), np.array([3]), [0], [0], [4.0])
        theta = scf.Parameters(
            np.array([[1.0, 2.0]]), np.array([[0.5, 0.25]]), np.array([0.5]), np.array([-0.25])
        )
        found = sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=1, learning_rate=0.1))
        assert found.parameters.pack() == pytest.approx(
            [1.1375, 2.06875, 0.775, 0.8, 0.775, 0.025], rel=1e-14
        )

    @pytest.mark.parametrize("reg", [0.0, 0.3])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
    def test_equals_the_slow_loop(self, batch_size, bias, reg):
        # Three epochs in three different orders. Batches of 5 do not divide the ratings
        # evenly, and they hold the same user several times.
        ratings, theta = reference.problem(4, 5, 3, bias=bias, rated=0.8)
        n = len(ratings)
        assert n % 5 != 0
        rng = np.random.default_rng(1)
        orders = [rng.permutation(n) for _ in range(3)]
        options = scf.SGDOptions(n_epochs=3, learning_rate=0.05, batch_size=batch_size, reg=reg)
        found = sgd.solve(ratings, theta, options, random_state=KnownOrder(*orders))
        slow = run_loops(ratings, theta, options, orders)
        np.testing.assert_allclose(found.parameters.pack(), slow, rtol=1e-11)

    def test_each_single_step_equals_the_slow_loop(self):
        # batch_size = 1, looked at after 1, 2, 3, ... ratings: tables that hold only the
        # first m ratings of the order, visited in that order.
        ratings, theta = reference.problem(3, 3, 2, rated=0.7, random_state=3)
        options = scf.SGDOptions(n_epochs=1, learning_rate=0.1, batch_size=1)
        order = np.random.default_rng(0).permutation(len(ratings))
        for m in range(1, len(ratings) + 1):
            kept = np.sort(order[:m])
            part = scf.Ratings(
                ratings.user_ids,
                ratings.item_ids,
                ratings.user_idx[kept],
                ratings.item_idx[kept],
                ratings.rating[kept],
            )
            order_in_part = np.searchsorted(kept, order[:m])
            found = sgd.solve(part, theta, options, random_state=KnownOrder(order_in_part))
            slow = run_loops(part, theta, options, [order_in_part])
            np.testing.assert_allclose(found.parameters.pack(), slow, rtol=1e-12)

    def test_the_order_matters(self):
        # Otherwise the tests above would not show that the order is the one asked for.
        ratings, theta = reference.problem(3, 3, 2)
        options = scf.SGDOptions(n_epochs=1, batch_size=1)
        orders = range(9), range(8, -1, -1)
        one, two = (
            sgd.solve(ratings, theta, options, random_state=KnownOrder(order)).parameters
            for order in orders
        )
        assert np.abs(one.pack() - two.pack()).max() > 1e-3

    @pytest.mark.parametrize("reg", [0.0, 0.7])
    @pytest.mark.parametrize("bias", [False, True])
    def test_full_batch_is_gradient_descent(self, bias, reg):
        ratings, theta = reference.problem(6, 4, 3, bias=bias, rated=0.7)
        options = scf.SGDOptions(
            n_epochs=1, learning_rate=0.01, batch_size=len(ratings), reg=reg
        )  # fmt: skip
        found = sgd.solve(ratings, theta, options, random_state=0)
        G = objective.half_sse_gradient(ratings, theta, reg)
        expected = theta.pack() - 0.01 * G.pack()
        np.testing.assert_allclose(found.parameters.pack(), expected, rtol=1e-13)

    def test_users_and_items_repeated_in_a_batch_accumulate(self):
        # One user, two items, P = Q = 1, ratings 2 and 3: e = -1 and -2. eta = 0.1:
        # P = 1 + 0.1 (1*1 + 2*1) = 1.3 from both ratings. ``P[u] -= ...`` would give 1.2.
        ratings = scf.Ratings(np.array([0]), np.array([0, 1]), [0, 0], [0, 1], [2.0, 3.0])
        theta = scf.Parameters(np.ones((1, 1)), np.ones((2, 1)), np.zeros(1), np.zeros(2))
        options = scf.SGDOptions(n_epochs=1, learning_rate=0.1, batch_size=2)
        found = sgd.solve(ratings, theta, options).parameters
        assert found.user_factors[0] == pytest.approx([1.3], rel=1e-15)
        assert found.user_bias == pytest.approx([0.3], rel=1e-15)
        assert found.item_factors[:, 0] == pytest.approx([1.1, 1.2], rel=1e-15)
        # And the other way round: two users, one item.
        ratings = scf.Ratings(np.array([0, 1]), np.array([0]), [0, 1], [0, 0], [2.0, 3.0])
        theta = scf.Parameters(np.ones((2, 1)), np.ones((1, 1)), np.zeros(2), np.zeros(1))
        found = sgd.solve(ratings, theta, options).parameters
        assert found.item_factors[0] == pytest.approx([1.3], rel=1e-15)
        assert found.item_bias == pytest.approx([0.3], rel=1e-15)

    def test_a_batch_larger_than_the_table_is_the_table(self):
        ratings, theta = reference.problem(4, 4, 2)
        one, two = (
            sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=5, batch_size=n), random_state=0)
            for n in (len(ratings), 10**9)
        )
        assert one.parameters.equals(two.parameters)

    def test_learning_rate_falls_linearly(self):
        ratings, theta = reference.problem(3, 3, 2)
        options = scf.SGDOptions(n_epochs=4, learning_rate=0.08)
        trace = sgd.solve(ratings, theta, options, random_state=0).trace
        assert [row["learning_rate"] for row in trace[1:]] == pytest.approx(
            [0.08, 0.06, 0.04, 0.02]
        )


class TestWithoutShuffling:
    """`shuffle=False`: row by row through the crosstab, as the workbook's sheet `sgd` goes."""

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize(("batch_size", "reg"), [(1, 0.0), (1, 0.3), (4, 0.0)])
    def test_equals_the_slow_loop_row_by_row(self, batch_size, reg, bias):
        ratings, theta = reference.problem(4, 5, 3, bias=bias, rated=0.8)
        rows = [(u, i) for u, i, _ in reference.triplets(ratings)]
        assert rows == sorted(rows)
        options = scf.SGDOptions(n_epochs=3, batch_size=batch_size, reg=reg, shuffle=False)
        found = sgd.solve(ratings, theta, options, random_state=0)
        slow = run_loops(ratings, theta, options, [range(len(ratings))] * 3)
        np.testing.assert_allclose(found.parameters.pack(), slow, rtol=1e-11)

    def test_the_order_in_which_ratings_were_given_does_not_matter(self):
        ratings, theta = reference.problem(4, 4, 2)
        turned = scf.Ratings(
            ratings.user_ids, ratings.item_ids,
            *(array[::-1] for array in (ratings.user_idx, ratings.item_idx, ratings.rating)),
        )  # fmt: skip
        options = scf.SGDOptions(n_epochs=2, batch_size=1, shuffle=False)
        one, two = (sgd.solve(table, theta, options).parameters for table in (ratings, turned))
        assert one.equals(two)

    def test_repeatable_without_a_seed_and_other_than_shuffled(self):
        ratings, theta = reference.problem(5, 5, 2, bias=True)
        plain, shuffled = (
            scf.SGDOptions(n_epochs=5, batch_size=4, shuffle=shuffle) for shuffle in (False, True)
        )
        one, two = (sgd.solve(ratings, theta, plain, random_state=s).parameters for s in (1, None))
        assert one.equals(two)
        assert not one.equals(sgd.solve(ratings, theta, shuffled, random_state=1).parameters)

    def test_no_random_number_is_drawn(self):
        ratings, theta = reference.problem(3, 3, 2)
        never = KnownOrder()  # which has no order to give
        sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=2, shuffle=False), random_state=never)

    def test_the_estimator_passes_it_on(self, crosstab):
        options = scf.SGDOptions(n_epochs=1, batch_size=1, shuffle=False)
        model = scf.MatrixFactorization(2, solver_options=options, random_state=0).fit(crosstab)
        again = sgd.solve(crosstab, model.result_.start, options)
        assert model.result_.parameters.equals(again.parameters)


class TestRandomness:
    def test_same_seed_same_bits(self):
        ratings, theta = reference.problem(5, 5, 2, bias=True)
        options = scf.SGDOptions(n_epochs=5, batch_size=4)
        one, two, other = (
            sgd.solve(ratings, theta, options, random_state=seed).parameters for seed in (3, 3, 4)
        )
        assert one.equals(two)
        assert not one.equals(other)

    def test_every_epoch_has_an_order_of_its_own(self):
        # With one fixed order for all epochs, twice the run from KnownOrder would be the
        # same; drawn anew, two epochs differ from a repetition of the first order.
        ratings, theta = reference.problem(5, 5, 2)
        n = len(ratings)
        options = scf.SGDOptions(n_epochs=2, batch_size=1)
        first = np.random.default_rng(0).permutation(n)
        repeated = sgd.solve(ratings, theta, options, random_state=KnownOrder(first, first))
        drawn = sgd.solve(ratings, theta, options, random_state=0)
        assert not drawn.parameters.equals(repeated.parameters)

    def test_the_global_generator_is_left_alone(self):
        ratings, theta = reference.problem(3, 3, 2)
        np.random.seed(0)
        expected = np.random.uniform()
        np.random.seed(0)
        sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=2))
        assert np.random.uniform() == expected


class TestResults:
    def test_the_lesson(self, crosstab):
        # Best known RMSE of the spreadsheet's problem: 0.39290. The next two local minima
        # are at 0.40147 and 0.41287, so a run is either there or stuck in one of those.
        final = [
            scf.MatrixFactorization(solver="sgd", random_state=seed).fit(crosstab).rmse(crosstab)
            for seed in range(4)
        ]
        assert min(final) > 0.39290  # nothing can be better than the best
        assert max(final) <= 0.415, final
        assert sum(rmse < 0.3935 for rmse in final) >= 3, final

    @pytest.mark.parametrize("seed", range(3))
    def test_finds_a_planted_pattern(self, seed):
        # 60% of a table of rank 2 are enough to complete the other 40%, which training
        # never sees: a blank counted as a zero would ruin it.
        ratings, table = reference.planted(30, 20, 2, rated=0.6, random_state=seed)
        start = scf.Parameters.random(30, 20, 2, random_state=seed)
        found = sgd.solve(ratings, start, random_state=seed)
        assert found.rmse_before > 1
        assert found.rmse_after < 1e-3
        assert np.abs(found.parameters.predict_all() - table).max() < 0.02

    def test_the_trace_tells_the_truth(self):
        ratings, theta = reference.problem(5, 5, 2)
        result = sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=7), random_state=0)
        plain, triplets = reference.plain, reference.triplets(ratings)
        assert [row["epoch"] for row in result.trace] == list(range(8))
        assert result.iterations == 7
        assert result.rmse_before == pytest.approx(reference.rmse(triplets, plain(theta)))
        assert result.rmse_after == pytest.approx(
            reference.rmse(triplets, plain(result.parameters))
        )
        seconds = [row["seconds"] for row in result.trace]
        assert seconds == sorted(seconds)
        assert seconds[-1] <= result.seconds
        assert (result.code, result.message) == (None, "Ran 7 epochs.")

    def test_the_start_is_left_as_it_is(self):
        ratings, theta = reference.problem(4, 4, 2, bias=True)
        before = theta.pack()
        result = sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=3), random_state=0)
        assert theta.pack().tolist() == before.tolist()
        assert not result.parameters.equals(theta)

    def test_a_user_without_ratings_is_left_where_they_are(self):
        ratings = scf.Ratings(np.arange(3), np.arange(2), [0, 0, 2], [0, 1, 1], [4.0, 3.0, 5.0])
        theta = scf.Parameters.random(3, 2, 2, bias=True, random_state=0)
        found = sgd.solve(ratings, theta, random_state=0).parameters
        assert found.user_factors[1].tolist() == theta.user_factors[1].tolist()
        assert found.user_bias[1] == theta.user_bias[1]


class TestPenalty:
    def test_shrinks_the_parameters(self):
        ratings, theta = reference.problem(8, 8, 3, bias=True, rated=0.8)
        runs = [
            sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=300, reg=reg), random_state=0)
            for reg in (0.0, 0.3, 3.0)
        ]
        norms = [np.linalg.norm(run.parameters.pack()) for run in runs]
        assert norms[0] > norms[1] > norms[2]
        # The price: the more it shrinks, the worse it fits what it has seen.
        assert runs[0].rmse_after < runs[1].rmse_after < runs[2].rmse_after

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize(
        ("batch_size", "small", "reg"), [(10**6, 5e-3, 0.5), (10**6, 5e-3, 3.0), (16, 5e-2, 3.0)]
    )
    def test_ends_where_the_whole_gradient_is_zero(self, batch_size, small, reg, bias):
        # If every rating carried the full penalty instead of its share, or none, training
        # would come to rest elsewhere, and the gradient of half_sse(reg) would not be 0
        # there. With batches the noise does not vanish quite, so "0" is larger.
        ratings, theta = reference.problem(12, 9, 2, bias=bias, rated=0.6)
        options = scf.SGDOptions(n_epochs=2500, batch_size=batch_size, reg=reg, learning_rate=0.03)
        found = sgd.solve(ratings, theta, options, random_state=0).parameters
        before = np.abs(objective.half_sse_gradient(ratings, theta, reg).pack()).max()
        after = np.abs(objective.half_sse_gradient(ratings, found, reg).pack()).max()
        assert before > 10
        assert after < small


class TestCallback:
    def test_gets_every_row(self):
        ratings, theta = reference.problem(3, 3, 2)
        rows = []
        result = sgd.solve(ratings, theta, scf.SGDOptions(n_epochs=4), rows.append)
        assert rows == result.trace[1:]
        assert set(rows[0]) == {"epoch", "train_rmse", "valid_rmse", "learning_rate", "seconds"}

    def test_true_stops(self):
        ratings, theta = reference.problem(3, 3, 2)
        options = scf.SGDOptions(n_epochs=50)
        result = sgd.solve(ratings, theta, options, lambda row: row["epoch"] == 3, random_state=0)
        assert result.iterations == 3
        assert result.message == "Stopped at the user's request after 3 epochs."
        assert objective.rmse(ratings, result.parameters) == result.rmse_after


class TestFullBatch:
    def test_plain_gradient_descent_on_the_crosstab(self, crosstab):
        # Steps are sums over the batch: all ratings at once need a smaller rate than 32.
        options = scf.SGDOptions(batch_size=206, learning_rate=0.01, n_epochs=3000)
        model = scf.MatrixFactorization(solver_options=options, random_state=0).fit(crosstab)
        assert model.rmse(crosstab) < 0.40


class TestDivergence:
    # Warnings are errors in this suite, so these also show that no overflow warning leaks.

    @pytest.mark.parametrize("batch_size", [1, 32])
    @pytest.mark.parametrize("learning_rate", [5.0, 1e3, 1e80, 1e200])
    def test_a_huge_learning_rate(self, learning_rate, batch_size):
        ratings, theta = reference.problem(5, 5, 2, bias=True)
        epochs = []
        options = scf.SGDOptions(
            n_epochs=100, learning_rate=learning_rate, batch_size=batch_size
        )  # fmt: skip
        with pytest.raises(scf.DivergenceError) as caught:
            sgd.solve(ratings, theta, options, lambda row: epochs.append(row["epoch"]))
        # The epoch is the one after the last that went well.
        assert caught.value.epoch == len(epochs) + 1
        assert str(caught.value).startswith(
            f"diverged in epoch {caught.value.epoch} with learning_rate {learning_rate:g}: "
            f"try learning_rate={learning_rate / 4:g}"
        )
        assert isinstance(caught.value, ValueError)

    def test_a_sudden_jump_to_infinity(self):
        # P = Q = 1, r = 4, e = -3. One step makes both 3e300, and their product infinite.
        ratings = scf.Ratings(np.array([0]), np.array([0]), [0], [0], [4.0])
        theta = scf.Parameters(np.ones((1, 1)), np.ones((1, 1)))
        with pytest.raises(scf.DivergenceError, match=r"^diverged in epoch 1 "):
            sgd.solve(ratings, theta, scf.SGDOptions(learning_rate=1e300), random_state=0)

    def test_a_sudden_jump_to_nan(self):
        # P = [1, 1], Q = [1, -1], r = 4, e = -4. One step makes P = [4, -4] and Q = [4, 4]
        # times 1e300: r_hat is infinity minus infinity, and no comparison with NaN is true.
        ratings = scf.Ratings(np.array([0]), np.array([0]), [0], [0], [4.0])
        theta = scf.Parameters(np.array([[1.0, 1.0]]), np.array([[1.0, -1.0]]))
        with pytest.raises(scf.DivergenceError, match=r"^diverged in epoch 1 "):
            sgd.solve(ratings, theta, scf.SGDOptions(learning_rate=1e300), random_state=0)

    def test_the_advice_helps(self):
        # Following "try learning_rate=..." again and again ends with a run that works.
        ratings, theta = reference.problem(5, 5, 2)
        learning_rate = 10.0
        for _ in range(10):
            options = scf.SGDOptions(n_epochs=100, learning_rate=learning_rate)
            try:
                result = sgd.solve(ratings, theta, options, random_state=0)
                break
            except scf.DivergenceError as error:
                learning_rate = float(str(error).split("try learning_rate=")[1].split(",")[0])
        assert 0.01 < learning_rate < 10
        assert result.rmse_after < result.rmse_before

    def test_a_start_beyond_all_bounds(self):
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters(np.full((3, 2), 1e80), np.full((3, 2), 1e80))
        with pytest.raises(ValueError):
            sgd.solve(ratings, theta, random_state=0)

    def test_the_error_can_be_sent_between_processes(self):
        error = pickle.loads(pickle.dumps(scf.DivergenceError(3, 0.5)))
        assert (error.epoch, error.learning_rate) == (3, 0.5)
        assert str(error) == str(scf.DivergenceError(3, 0.5))


class TestArguments:
    @pytest.mark.parametrize(
        ("setting", "value", "error", "message"),
        [
            ("n_epochs", 0, ValueError, "`n_epochs` must be >= 1, got 0"),
            ("n_epochs", 2.5, TypeError, "`n_epochs` must be a whole number, got 2.5"),
            ("n_epochs", True, TypeError, "`n_epochs` must be a whole number, got True"),
            ("learning_rate", 0, ValueError, "`learning_rate` must be > 0, got 0"),
            ("learning_rate", -0.1, ValueError, "`learning_rate` must be > 0, got -0.1"),
            ("learning_rate", "fast", TypeError, "`learning_rate` must be a number, got 'fast'"),
            ("batch_size", 0, ValueError, "`batch_size` must be >= 1, got 0"),
            ("batch_size", None, TypeError, "`batch_size` must be a whole number, got None"),
            ("reg", -0.1, ValueError, "`reg` must be >= 0, got -0.1"),
        ],
    )
    def test_senseless_settings(self, setting, value, error, message):
        with pytest.raises(error) as caught:
            scf.SGDOptions(**{setting: value})
        assert str(caught.value) == message

    @pytest.mark.parametrize("setting", ["learning_rate", "reg"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_settings_must_be_finite(self, setting, value):
        with pytest.raises(ValueError, match=f"^`{setting}` .* got {value}$"):
            scf.SGDOptions(**{setting: value})

    def test_parameters_of_another_table(self):
        ratings, _ = reference.problem(3, 4, 2)
        with pytest.raises(
            ValueError, match=r"Parameters\(4 users, 3 items, .* do not fit Ratings"
        ):
            sgd.solve(ratings, scf.Parameters.random(4, 3, 2))

    def test_parameters_that_are_not_finite(self):
        ratings, theta = reference.problem(3, 4, 2)
        x = theta.pack()
        x[0] = np.nan
        with pytest.raises(ValueError, match="must be finite"):
            sgd.solve(ratings, theta.unpack(x))
