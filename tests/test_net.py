"""The neural net: equations (19a) to (19l) of `shallow_cf.net`.

First one rating by hand, then slow loops, then measured slopes, then training.

The ReLU has a kink at 0, where it has no slope, and a difference across it measures neither
side's. Gradients are compared where no z is nearer to 0 than a step could move it; `net`
below draws until that is so.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import net as net_module

RANGE = (0.0, 5.5)
RANGES = pytest.mark.parametrize("rating_range", [None, RANGE])


def one_rating(rating_range=None):
    """A user with two numbers, an item with one, two hidden numbers; 4 stars."""
    ratings = scf.Ratings([7], [9], [0], [0], [4.0])
    net = scf.NetParameters(
        [[1.0, 2.0]],
        [[3.0]],
        W1=[[1.0, -1.0], [0.5, 0.0], [-0.5, -2.0]],
        b1=[0.25, 1.0],
        W2=[[2.0], [5.0]],
        b2=[0.5],
        rating_range=rating_range,
    )
    return ratings, net


def net(rating_range=None, n_factors=(3, 2), n_hidden=4):
    """Ratings and a net with numbers of all signs, no z of which is near the kink."""
    ratings, _ = reference.problem(5, 6, 2, rated=0.6)

    def drawn(seed):
        return scf.NetParameters.random(
            5, 6, n_factors, n_hidden, rating_range=rating_range, scale=2.0, random_state=seed
        )

    def is_good(theta):
        z = net_module.forward(theta, ratings.user_idx, ratings.item_idx).z
        on = z > 0
        return np.abs(z).min() > 0.01 and on.any(axis=0).all() and not on.all(axis=0).any()

    return ratings, next(theta for theta in map(drawn, range(1000)) if is_good(theta))


def half_sse(ratings, parameters):
    e = parameters.predict(ratings.user_idx, ratings.item_idx) - ratings.rating
    return e @ e / 2


def gradient(ratings, parameters):
    return net_module.backward(parameters, ratings.user_idx, ratings.item_idx, ratings.rating)


def options(n_epochs, learning_rate=0.01, batch_size=32, **more):
    more = {"loss": "mse", "optimizer": "adam", "schedule": "onecycle"} | more
    return scf.SGDOptions(n_epochs, learning_rate, batch_size, **more)


class TestOneRating:
    def test_forward(self):
        _, net = one_rating()
        x, z, h, r_hat = net_module.forward(net, np.array([0]), np.array([0]))
        assert x.tolist() == [[1.0, 2.0, 3.0]]  # (19a)
        # (19b): 1 + 2 * 0.5 - 3 * 0.5 + 0.25 = 0.75 and -1 + 0 - 3 * 2 + 1 = -6
        assert z.tolist() == [[0.75, -6.0]]
        assert h.tolist() == [[0.75, 0.0]]  # (19c): the second is switched off
        assert r_hat.tolist() == [2.0]  # (19d): 0.75 * 2 + 0 * 5 + 0.5

    def test_backward(self):
        ratings, net = one_rating()
        G = gradient(ratings, net)
        # (19f): g_s = e = 2 - 4 = -2
        assert G.b2.tolist() == [-2.0]  # (19g)
        assert G.W2.tolist() == [[-1.5], [0.0]]  # (19g): h g_s
        # (19h): g_h = g_s W2 = (-4, -10); (19i): g_z = (-4, 0), the second being off
        assert G.b1.tolist() == [-4.0, 0.0]  # (19j)
        assert G.W1.tolist() == [[-4.0, 0.0], [-8.0, 0.0], [-12.0, 0.0]]  # (19j): x g_z
        # (19k): g_x = -4 times the first column of W1
        assert G.user_factors.tolist() == [[-4.0, -2.0]]  # (19l)
        assert G.item_factors.tolist() == [[2.0]]  # (19l)

    def test_range(self):
        ratings, net = one_rating((0.5, 5.5))
        sigma = 1 / (1 + math.exp(-2.0))
        assert net.predict(0, 0) == pytest.approx(0.5 + 5 * sigma, rel=1e-15)  # (19e), (1s)
        # (2s): everything is -2's part in the gradient without a range.
        through = (0.5 + 5 * sigma - 4) * 5 * sigma * (1 - sigma)
        free = gradient(*one_rating()).pack()
        assert gradient(ratings, net).pack() == pytest.approx(through / -2 * free, rel=1e-13)


class TestSlowLoop:
    @RANGES
    def test_prediction(self, rating_range):
        ratings, theta = net(rating_range)
        slow = reference.Net(*(block.tolist() for block in theta.blocks()))
        expected = [
            reference.net_forward(slow, u, i, rating_range)[-1]
            for u, i, _ in reference.triplets(ratings)
        ]
        assert theta.predict(ratings.user_idx, ratings.item_idx) == pytest.approx(expected)

    @RANGES
    def test_gradient(self, rating_range):
        ratings, theta = net(rating_range)
        plain = reference.Net(*(block.tolist() for block in theta.blocks()))
        slow = reference.net_gradient(reference.triplets(ratings), plain, rating_range)
        for block, name, expected in zip(
            gradient(ratings, theta).blocks(), slow._fields, slow, strict=True
        ):
            assert block == pytest.approx(np.array(expected), rel=1e-12, abs=1e-14), name


class TestDifferences:
    def check(self, ratings, theta, gradient):
        return scf.check_gradient(
            lambda x: half_sse(ratings, theta.unpack(x)),
            lambda x: gradient(ratings, theta.unpack(x)).pack(),
            theta.pack(),
            step=1e-4,
            rtol=1e-7,
        )

    @RANGES
    @pytest.mark.parametrize("n_factors", [(3, 2), (1, 4), 3])
    def test_whole_gradient(self, rating_range, n_factors):
        self.check(*net(rating_range, n_factors), gradient)

    @pytest.mark.parametrize(
        ("what", "line", "wrong"),
        [
            ("the ReLU's mask", "g_h * (z > 0)", "g_h"),
            ("the sigmoid's slope", "e * slope(r_hat, net.rating_range)", "e"),
            ("the order of the halves", "g_x[:, :k_u]", "g_x[:, -k_u:]"),
            ("a bias", "g_z.sum(axis=0)", "0 * net.b1"),
            ("a thousandth of a weight", "x.T @ g_z", "1.001 * x.T @ g_z"),
        ],
    )
    def test_a_mistake_in_one_line_is_caught(self, what, line, wrong):
        # The module once more, with one line of `backward` as one might get it wrong.
        source = Path(net_module.__file__).read_text(encoding="utf-8")
        assert source.count(line) == 1, f"{line}: which line is it now?"
        names = {"__name__": "shallow_cf.net"}
        exec(compile(source.replace(line, wrong), "sabotaged", "exec"), names)
        with pytest.raises(scf.GradientError):
            self.check(
                *net(RANGE),
                lambda ratings, theta: names["backward"](
                    theta, ratings.user_idx, ratings.item_idx, ratings.rating
                ),
            )

    def test_a_net_that_is_off_has_no_slope_but_for_its_last_bias(self):
        # All z below 0: nothing but b2 reaches the prediction.
        ratings, theta = net()
        off = theta.with_blocks([*theta.blocks()[:3], theta.b1 - 100, theta.W2, theta.b2])
        assert np.flatnonzero(gradient(ratings, off).pack()).tolist() == [theta.n_params - 1]
        self.check(ratings, off, gradient)


def test_several_ratings_of_a_user_in_a_batch_add_up():
    ratings, theta = net()
    u, i, r = ratings.user_idx, ratings.item_idx, ratings.rating
    one_by_one = sum(
        net_module.backward(theta, u[k : k + 1], i[k : k + 1], r[k : k + 1]).pack()
        for k in range(len(r))
    )
    assert max(np.bincount(u)) > 1
    assert gradient(ratings, theta).pack() == pytest.approx(one_by_one, rel=1e-12, abs=1e-14)


class TestParameters:
    def test_pack_and_unpack(self):
        _, theta = net(RANGE)
        packed = theta.pack()
        assert len(packed) == theta.n_params == 5 * 3 + 6 * 2 + 5 * 4 + 4 + 4 + 1
        again = theta.unpack(packed)
        assert again.rating_range == RANGE
        assert all(map(np.array_equal, again.blocks(), theta.blocks()))
        with pytest.raises(ValueError, match=r"`theta` must have shape \(56,\), got \(3,\)"):
            theta.unpack(packed[:3])

    def test_predictions_broadcast_and_do_not_depend_on_how_many_are_asked_for(self, monkeypatch):
        _, theta = net(RANGE)
        table = theta.predict(np.arange(5)[:, None], np.arange(6))
        assert table.shape == (5, 6)
        assert theta.predict(2, 3).shape == ()
        monkeypatch.setattr(net_module, "_PIECE", 7)
        assert theta.predict(np.arange(5)[:, None], np.arange(6)) == pytest.approx(table, rel=1e-14)
        assert theta.predict(2, 3) == pytest.approx(table[2, 3], rel=1e-14)
        assert theta.predict([], []).shape == (0,)

    @pytest.mark.parametrize("init", ["uniform", "symmetric", "normal"])
    def test_the_same_seed_draws_the_embeddings_of_a_matrix_factorisation(self, init):
        ours = scf.NetParameters.random(5, 6, 3, init=init, scale=0.1, random_state=4)
        theirs = scf.Parameters.random(5, 6, 3, init=init, scale=0.1, random_state=4)
        assert np.array_equal(ours.user_factors, theirs.user_factors)
        assert np.array_equal(ours.item_factors, theirs.item_factors)

    def test_layers_are_drawn_within_the_root_of_their_inputs(self):
        theta = scf.NetParameters.random(3, 3, (60, 40), 64, random_state=0)
        for block, bound in ((theta.W1, 0.1), (theta.b1, 0.1), (theta.W2, 0.125)):
            assert 0.9 * bound < np.abs(block).max() <= bound
        assert np.abs(theta.user_factors).max() <= 0.01

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"W1": [[1.0, 2.0]]}, r"`W1` must have shape \(3, 2\), got \(1, 2\)"),
            ({"b1": [0.0]}, r"`b1` must have shape \(2,\), got \(1,\)"),
            ({"W2": [1.0, 2.0]}, r"`W2` must have shape \(2, 1\), got \(2,\)"),
            ({"b2": 0.0}, r"`b2` must have shape \(1,\), got \(\)"),
            ({"user_factors": [1.0]}, r"`user_factors` must be a table with columns, got"),
            ({"rating_range": (5, 1)}, "`rating_range` must go from a lower"),
        ],
    )
    def test_bad_shapes(self, change, message):
        names = ("user_factors", "item_factors", "W1", "b1", "W2", "b2")
        good = dict(zip(names, one_rating()[1].blocks(), strict=True))
        with pytest.raises(ValueError, match=message):
            scf.NetParameters(**good | change)

    def test_repr(self):
        _, theta = net(RANGE)
        assert repr(theta) == (
            "NetParameters(5 users, 6 items, 3 + 2 factors, 4 hidden, from 0 to 5.5)"
        )


class TestTraining:
    def test_an_epoch_of_plain_descent_is_a_step_against_the_gradient(self):
        ratings, theta = net(RANGE)
        one_step = scf.SGDOptions(1, 0.01, 10**6, optimizer="sgd")
        model = scf.EmbeddingNet((3, 2), 4, rating_range=RANGE, solver_options=one_step)
        model.fit(ratings, start=theta)
        expected = theta.pack() - 0.01 * gradient(ratings, theta).pack()
        assert model.parameters_.pack() == pytest.approx(expected, rel=1e-13)

    def test_what_no_dot_product_of_the_same_length_can(self):
        # Users and items on a line; the closer the two, the more stars: a kink where they
        # meet, at another place for every user. Dot products of one number and biases,
        # a_u b_i + c_u + d_i, bend in the same places for everybody. Two ReLUs can:
        # |t_u - t_i| = max(t_u - t_i, 0) + max(t_i - t_u, 0).
        t = np.linspace(-1, 1, 20)[:, None]
        stars = 5 - 2 * np.abs(t - t.T)
        u, i = np.indices(stars.shape).reshape(2, -1)
        ratings = scf.Ratings(np.arange(20), np.arange(20), u, i, stars.ravel())
        product = scf.MatrixFactorization(1, bias=True, solver="varpro", random_state=0)
        least = product.fit(ratings).rmse(ratings)
        model = scf.EmbeddingNet(1, 20, solver_options=options(100, 0.02), random_state=0)
        assert least > 0.2
        assert model.fit(ratings, start=scf.Parameters(t, t)).rmse(ratings) < least / 2

    def test_history(self, crosstab):
        rows = []
        model = scf.EmbeddingNet(
            3, 4, rating_range=RANGE, solver_options=options(4), random_state=0
        ).fit(crosstab, valid=crosstab, callback=rows.append)
        columns = ["epoch", "train_rmse", "valid_rmse", "learning_rate", "seconds"]
        assert list(model.history_) == columns
        assert model.history_["epoch"].tolist() == [0, 1, 2, 3, 4]
        assert rows == model.history_.to_dict("records")[1:]
        assert model.history_["valid_rmse"].equals(model.history_["train_rmse"].rename("x"))
        assert model.history_["train_rmse"].iloc[-1] == pytest.approx(model.rmse(crosstab))
        assert model.message_ == "Ran 4 epochs."

    def test_valid_ratings_go_by_their_ids(self, crosstab):
        model = scf.EmbeddingNet(3, 4, solver_options=options(2), random_state=0)
        some = crosstab.top(4, 5)
        history = model.fit(crosstab, valid=some).history_
        assert history["valid_rmse"].iloc[-1] == pytest.approx(model.rmse(some))
        with pytest.raises(ValueError, match="user id 77 is not among the 15 known users"):
            model.fit(crosstab, valid=scf.Ratings([77], [110], [0], [0], [3.0]))

    def test_the_same_seed_gives_the_same_bits(self, crosstab):
        def trained(seed):
            model = scf.EmbeddingNet(3, 4, solver_options=options(2), random_state=seed)
            return model.fit(crosstab).parameters_.pack()

        assert np.array_equal(trained(1), trained(1))
        assert not np.array_equal(trained(1), trained(2))

    def test_patience_takes_the_best_epoch(self, crosstab):
        rows = crosstab.to_frame().sample(frac=1, random_state=0)
        known = {"user_ids": crosstab.user_ids, "item_ids": crosstab.item_ids}
        parts = [rows.iloc[:150], rows.iloc[150:]]
        train, valid = (
            scf.Ratings(
                **known,
                user_idx=np.searchsorted(crosstab.user_ids, part["user_id"]),
                item_idx=np.searchsorted(crosstab.item_ids, part["item_id"]),
                rating=part["rating"],
            )
            for part in parts
        )
        settings = options(300, 0.02, schedule="constant", patience=5)
        model = scf.EmbeddingNet(5, rating_range=RANGE, solver_options=settings, random_state=0)
        history = model.fit(train, valid=valid).history_
        assert model.message_ == "Stopped early: no better validation RMSE in 5 epochs."
        assert model.rmse(valid) == pytest.approx(history["valid_rmse"].min())
        with pytest.raises(ValueError, match="`patience` needs validation ratings"):
            model.fit(train)

    def test_too_large_a_step(self, crosstab):
        settings = options(50, 1e6, optimizer="sgd", schedule="constant")
        with pytest.raises(scf.DivergenceError, match="diverged in epoch"):
            scf.EmbeddingNet(3, solver_options=settings, random_state=0).fit(crosstab)


class TestStart:
    def first(self, ratings, model, **more):
        """Parameters of a run that is stopped after steps too small to see."""
        model.solver_options = options(1, 1e-12)
        return model.fit(ratings, **more).parameters_

    def test_from_a_matrix_factorisation(self, crosstab):
        shallow = scf.MatrixFactorization(solver="grg", random_state=0).fit(crosstab)
        start = shallow.parameters_for(crosstab)
        drawn = self.first(crosstab, scf.EmbeddingNet(5, random_state=1))
        given = self.first(crosstab, scf.EmbeddingNet(5, random_state=1), start=start)
        assert given.user_factors == pytest.approx(start.user_factors, abs=1e-9)
        assert given.item_factors == pytest.approx(start.item_factors, abs=1e-9)
        for layer, expected in zip(given.blocks()[2:], drawn.blocks()[2:], strict=True):
            assert layer == pytest.approx(expected, abs=1e-9)

    def test_the_start_is_left_as_it_is(self, crosstab):
        start = scf.Parameters.random(15, 15, 3, bias=True, random_state=0)
        before = start.pack()
        model = scf.EmbeddingNet(3, solver_options=options(2), random_state=0)
        model.fit(crosstab, start=start)
        assert np.array_equal(start.pack(), before)

    def test_from_a_net(self, crosstab):
        settings = {"n_hidden": 4, "rating_range": RANGE}
        start = scf.NetParameters.random(15, 15, (2, 3), **settings, random_state=0)
        found = self.first(crosstab, scf.EmbeddingNet((2, 3), **settings), start=start)
        assert found.pack() == pytest.approx(start.pack(), abs=1e-9)

    def test_bad_starts(self, crosstab):
        model = scf.EmbeddingNet(3, random_state=0)
        for start in (
            scf.Parameters.random(15, 15, 4),
            scf.Parameters.random(15, 14, 3),
            scf.NetParameters.random(15, 15, 3, 11),
        ):
            with pytest.raises(ValueError, match=r"`start`, .*Parameters\(.*, does not fit"):
                model.fit(crosstab, start=start)
        with pytest.raises(ValueError, match="`start` must be finite"):
            model.fit(crosstab, start=scf.Parameters(np.full((15, 3), np.nan), np.ones((15, 3))))
        with pytest.raises(TypeError, match="`start` must be Parameters or NetParameters, got int"):
            model.fit(crosstab, start=3)


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"n_factors": 0}, ValueError, "`n_factors` must be >= 1, got 0"),
            ({"n_factors": (3, 0)}, ValueError, "`n_factors` must be >= 1, got 0"),
            ({"n_factors": (1, 2, 3)}, ValueError, "`n_factors` must be one whole number or two"),
            ({"n_factors": "5"}, TypeError, "`n_factors` must be a whole number, got '5'"),
            ({"n_hidden": 1.5}, TypeError, "`n_hidden` must be a whole number, got 1.5"),
            ({"rating_range": 5}, TypeError, "`rating_range` must be two numbers or None"),
            ({"init": "zeros"}, ValueError, "`init` must be one of uniform, symmetric, normal"),
            ({"init_scale": 0}, ValueError, "`init_scale` must be > 0, got 0"),
            ({"random_state": "a"}, TypeError, "`random_state` must be a whole number"),
            ({"solver_options": "adam"}, TypeError, "`solver_options` must be SGDOptions, got str"),
        ],
    )
    def test_settings(self, settings, error, message):
        with pytest.raises(error, match=message):
            scf.EmbeddingNet(**settings)

    def test_ratings(self, crosstab):
        with pytest.raises(TypeError, match="`ratings` must be Ratings"):
            scf.EmbeddingNet().fit(crosstab.to_crosstab())
        with pytest.raises(TypeError, match="`valid` must be Ratings"):
            scf.EmbeddingNet().fit(crosstab, valid=crosstab.to_frame())
        with pytest.raises(ValueError, match=r"must be in the `rating_range` \[1, 4\], got 5"):
            scf.EmbeddingNet(rating_range=(1, 4)).fit(crosstab)

    def test_unknown_ids(self, crosstab):
        model = scf.EmbeddingNet(2, solver_options=options(1), random_state=0).fit(crosstab)
        assert model.predict([[15], [30]], [110, 260]).shape == (2, 2)
        with pytest.raises(ValueError, match="item id 5 is not among the 15 known items"):
            model.predict(15, 5)
        with pytest.raises(ValueError, match="user id 5 is not among the 15 known users"):
            model.rmse(scf.Ratings([5], [110], [0], [0], [3.0]))

    def test_not_fitted(self, crosstab):
        for ask in (lambda net: net.predict(15, 110), lambda net: net.rmse(crosstab)):
            with pytest.raises(
                ValueError, match=r"this net is not fitted yet: call fit\(ratings\)"
            ):
                ask(scf.EmbeddingNet())


def test_repr_tells_the_settings():
    text = repr(scf.EmbeddingNet((74, 101), 100, rating_range=RANGE, random_state=3))
    assert text.startswith(
        "EmbeddingNet(n_factors=(74, 101), n_hidden=100, rating_range=(0.0, 5.5)"
    )
