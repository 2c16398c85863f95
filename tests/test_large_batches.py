"""Batches of thousands: the row limit (16c), products of matrices, single precision.

Each is held against a slow twin: the loops of tests/reference.py, `np.add.at`, double precision.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from scipy import optimize

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import descent, sgd


def popular(n_users=300, n_items=60, n_ratings=6000, random_state=0):
    """Ratings of a planted pattern; the first item has a hundred times those of the last."""
    rng = np.random.default_rng(random_state)
    weight = 1 / (1 + np.arange(n_items)) ** 1.1
    pairs = np.unique(
        rng.integers(n_users, size=n_ratings) * n_items
        + rng.choice(n_items, n_ratings, p=weight / weight.sum())
    )
    u, i = np.divmod(pairs, n_items)
    P, Q = rng.normal(0, 0.8, (n_users, 3)), rng.normal(0, 0.8, (n_items, 3))
    stars = 3.5 + np.einsum("nk,nk->n", P[u], Q[i]) + rng.normal(0, 0.3, len(u))
    return scf.Ratings(np.arange(n_users), np.arange(n_items), u, i, stars)


def small_start(ratings, n_factors=4):
    drawn = scf.Parameters.random(
        ratings.n_users, ratings.n_items, n_factors,
        bias=True, init="normal", scale=0.1, random_state=0,
    )  # fmt: skip
    return scf.Parameters(*drawn.blocks(), global_mean=float(ratings.rating.mean()))


class TestRowLimit:
    def test_one_step_by_hand(self):
        # (16c). One user, three items, P = Q = 1, ratings 2, 3 and 4: e = -1, -2, -3, eta = 0.1.
        # The user's row has three ratings and takes 2/3 of 0.1 * 6; each item has one.
        ratings = scf.Ratings([7], [1, 2, 3], [0, 0, 0], [0, 1, 2], [2.0, 3.0, 4.0])
        theta = scf.Parameters(np.ones((1, 1)), np.ones((3, 1)))
        options = scf.SGDOptions(1, 0.1, 3, row_limit=2)
        found = sgd.solve(ratings, theta, options).parameters.pack()
        assert found == pytest.approx([1.4, 1.1, 1.2, 1.3], rel=1e-14)

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize(("batch_size", "limit"), [(5, 1), (7, 2), (1000, 3)])
    def test_equals_the_slow_loop(self, batch_size, limit, bias):
        ratings, theta = reference.problem(4, 5, 3, bias=bias, rated=0.8)
        options = scf.SGDOptions(
            3, 0.05, batch_size, reg=0.3, shuffle=False, schedule="constant", row_limit=limit
        )
        found = sgd.solve(ratings, theta, options).parameters.pack()
        plain, triplets = reference.plain(theta), reference.triplets(ratings)
        for _ in range(3):
            plain = reference.sgd_epoch(triplets, plain, 0.05, batch_size, 0.3, limit)
        np.testing.assert_allclose(found, reference.pack(plain), rtol=1e-11)
        without = sgd.solve(
            ratings, theta, scf.SGDOptions(3, 0.05, batch_size, reg=0.3, shuffle=False)
        ).parameters.pack()
        assert np.abs(found - without).max() > 1e-3  # the limit was felt

    def test_small_batches_make_the_very_same_steps(self):
        ratings, theta = reference.problem(6, 7, 3, bias=True)
        plain, limited = (
            sgd.solve(ratings, theta, scf.SGDOptions(4, batch_size=8, row_limit=limit), None, 0)
            for limit in (None, 8)
        )
        assert plain.parameters.equals(limited.parameters)

    def test_the_minimum_stays_where_it_is(self):
        # A row's factor is the same for its data and its penalty, so where they balance
        # without the limit, they balance with it: a step from there leads nowhere.
        ratings, theta = reference.problem(8, 8, 3, bias=True, rated=0.8)
        best = optimize.minimize(
            lambda x: objective.half_sse(ratings, theta.unpack(x), 3.0), theta.pack(),
            jac=lambda x: objective.half_sse_gradient(ratings, theta.unpack(x), 3.0).pack(),
            options={"gtol": 1e-9},
        )  # fmt: skip
        options = scf.SGDOptions(1, 1.0, 10**6, reg=3.0, row_limit=2)
        after = sgd.solve(ratings, theta.unpack(best.x), options).parameters.pack()
        np.testing.assert_allclose(after, best.x, atol=1e-7)
        assert np.abs(best.x).max() > 0.5  # not all of it is 0

    def test_keeps_large_batches_from_blowing_up(self):
        # The whole table at once: the first item has ~150 ratings and eta c H is far above 2.
        ratings = popular()
        start, plain = small_start(ratings), scf.SGDOptions(200, 0.05, 10**6)
        with pytest.raises(scf.DivergenceError):
            sgd.solve(ratings, start, plain)
        limited = scf.SGDOptions(200, 0.05, 10**6, row_limit=20)
        found = sgd.solve(ratings, start, limited)
        assert found.rmse_after < 0.35 < 1 < found.rmse_before

    def test_large_batches_are_as_accurate_as_small_ones(self):
        # The rule that the options state: eta of the small batches, eta * row_limit about 1.
        ratings = popular()
        rng = np.random.default_rng(1)
        is_train = rng.random(len(ratings)) < 0.8
        columns = ratings.user_idx, ratings.item_idx, ratings.rating
        train, test = (
            scf.Ratings(ratings.user_ids, ratings.item_ids, *(column[which] for column in columns))
            for which in (is_train, ~is_train)
        )
        start = small_start(train)
        small, large = (
            objective.rmse(test, sgd.solve(train, start, options, random_state=0).parameters)
            for options in (
                scf.SGDOptions(50, 0.05, 32, reg=4.0),
                scf.SGDOptions(50, 0.05, 512, reg=4.0, row_limit=20),
            )
        )
        assert large == pytest.approx(small, abs=0.005)
        assert small < 0.65 * float(np.std(test.rating))

    def test_a_net_has_none(self, crosstab):
        net = scf.EmbeddingNet(2, 3, solver_options=scf.SGDOptions(2, row_limit=5))
        with pytest.raises(ValueError, match=r"^`row_limit` is for matrix factorisation"):
            net.fit(crosstab)

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"row_limit": 0}, ValueError, "`row_limit` must be >= 1, got 0"),
            ({"row_limit": 2.5}, TypeError, "`row_limit` must be a whole number, got 2.5"),
            ({"dtype": "half"}, ValueError, "`dtype` must be one of float64, float32, got 'half'"),
        ],
    )
    def test_senseless(self, settings, error, message):
        with pytest.raises(error) as caught:
            scf.SGDOptions(**settings)
        assert str(caught.value) == message


class TestSums:
    """The gradient of a batch against `np.add.at`, rating by rating."""

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("is_sorted", [False, True])
    @pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 1e-4)])
    @pytest.mark.parametrize("n", [0, 50, 5000])  # 5000 * 7 numbers: products of matrices
    def test_equals_add_at(self, n, dtype, rtol, is_sorted, bias):
        rng = np.random.default_rng(n)
        theta = scf.Parameters.random(40, 30, 7, bias=bias, random_state=rng)
        u, i, e = rng.integers(39, size=n), rng.integers(1, 30, size=n), rng.normal(size=n)
        u = np.sort(u) if is_sorted else u
        single = theta.view(theta.pack().astype(dtype))
        found = objective.packed_sums(single, u, i, e.astype(dtype))
        expected = theta.unpack(np.zeros(theta.n_params))
        np.add.at(expected.user_factors, u, e[:, None] * theta.item_factors[i])
        np.add.at(expected.item_factors, i, e[:, None] * theta.user_factors[u])
        if bias:
            np.add.at(expected.user_bias, u, e)
            np.add.at(expected.item_bias, i, e)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected.pack(), rtol=rtol, atol=10 * rtol)

    @pytest.mark.parametrize("rating_range", [None, (0, 5.5)])
    def test_predictions_in_pieces_are_those_one_by_one(self, rating_range):
        rng = np.random.default_rng(0)
        drawn = scf.Parameters.random(40, 30, 50, bias=True, random_state=rng)
        theta = scf.Parameters(*drawn.blocks(), global_mean=3.0, rating_range=rating_range)
        u, i = rng.integers(40, size=4000), rng.integers(30, size=4000)
        together = theta.predict(u, i)  # 4000 * 50 numbers: four pieces
        np.testing.assert_allclose(together, theta.predict_all()[u, i], rtol=1e-13)
        assert together.tolist() == [
            float(theta.predict(one, other)) for one, other in zip(u, i, strict=True)
        ]

    def test_a_large_batch_comes_sorted_and_is_the_same_batch(self):
        n, rng = 3000, np.random.default_rng(0)
        order = np.random.default_rng(0).permutation(n)
        batches = [b for _, b in descent.batches(n, scf.SGDOptions(batch_size=1000), rng)]
        for k, batch in enumerate(batches):
            assert batch.tolist() == sorted(order[1000 * k : 1000 * (k + 1)])


SETTINGS = {"n_epochs": 6, "batch_size": 700, "reg": 0.5, "row_limit": 20, "dtype": "float32"}


class TestThreads:
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_any_map_gives_the_same_bits(self, dtype):
        # 400 factors, so that some thousand ratings are several pieces of work, done here in
        # order, in the opposite order, and by threads; and so are users' and items' sums.
        ratings = popular(n_ratings=9000)
        start = small_start(ratings, 400)
        options = scf.SGDOptions(2, 0.01, 5400, row_limit=20, dtype=dtype)
        calls = []

        def backwards(work, pieces):
            calls.append(len(pieces))
            return map(work, pieces[::-1])

        with ThreadPoolExecutor(3) as pool:
            plain, turned, threads = (
                sgd.solve(ratings, start, options, random_state=0, run=run)
                for run in (map, backwards, pool.map)
            )
        assert min(calls) >= 2
        assert turned.parameters.equals(plain.parameters)
        assert threads.parameters.equals(plain.parameters)
        assert without_time(threads.trace) == without_time(plain.trace)


def without_time(trace):
    return [[repr(value) for key, value in row.items() if key != "seconds"] for row in trace]


class TestSinglePrecision:
    @pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
    def test_is_the_same_run_but_for_rounding(self, optimizer):
        ratings = popular()
        single, double = (
            sgd.solve(
                ratings, small_start(ratings),
                scf.SGDOptions(6, 0.01, 700, row_limit=20, optimizer=optimizer, dtype=dtype),
                random_state=0,
            )
            for dtype in ("float32", "float64")
        )  # fmt: skip
        one, two = single.parameters.pack(), double.parameters.pack()
        assert one.dtype == np.float64  # parameters are, whatever the steps were made in
        assert one.tolist() == one.astype(np.float32).tolist()
        assert 0 < np.abs(one - two).max() < 1e-3
        assert single.rmse_after == pytest.approx(double.rmse_after, rel=1e-4)

    @pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
    def test_resumes_with_the_same_bits(self, optimizer):
        ratings = popular()
        options = scf.SGDOptions(**SETTINGS, optimizer=optimizer, patience=5)
        kept = []
        run = {"valid": ratings, "keep": lambda progress: kept.append(copy.deepcopy(progress))}
        whole = sgd.solve(ratings, small_start(ratings), options, random_state=0, **run)
        resumed = sgd.solve(ratings, small_start(ratings), options, progress=kept[2], **run)
        assert resumed.parameters.equals(whole.parameters)
        assert kept[-1].memory.keys() == kept[2].memory.keys()
        for name, array in kept[5].memory.items():
            assert kept[-1].memory[name].tolist() == array.tolist()

    def test_a_checkpoint_resumes_and_is_saved(self, tmp_path):
        ratings = popular()
        settings = SETTINGS | {"optimizer": "adam"}
        make = {"bias": True, "global_mean": True, "init": "normal", "init_scale": 0.1}

        def stop_after_two(row):
            return row["epoch"] == 2

        whole, part = (
            scf.MatrixFactorization(
                4, solver_options=scf.SGDOptions(**settings), random_state=0, **make
            )
            for _ in range(2)
        )
        whole.fit(ratings)
        part.fit(ratings, callback=stop_after_two, checkpoint=tmp_path / "run.npz")
        resumed = scf.MatrixFactorization.resume(tmp_path / "run.npz", ratings)
        assert resumed.parameters_.equals(whole.parameters_)
        resumed.save(tmp_path / "model.npz")
        again = scf.MatrixFactorization.load(tmp_path / "model.npz")
        assert again.solver_options == whole.solver_options
        assert again.solver_options.dtype == "float32"

    def test_divergence_is_caught(self):
        ratings = popular()
        options = scf.SGDOptions(50, 10.0, 700, dtype="float32")
        with pytest.raises(scf.DivergenceError, match=r"^diverged in epoch 1 "):
            sgd.solve(ratings, small_start(ratings), options)

    def test_a_learning_rate_is_found(self):
        ratings = popular()
        rates = scf.lr_find(
            ratings, small_start(ratings),
            scf.SGDOptions(batch_size=700, row_limit=20, dtype="float32"), random_state=0,
        )  # fmt: skip
        assert 1e-4 < rates.suggestion < 1
