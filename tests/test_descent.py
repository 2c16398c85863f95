"""The loop of gradient descent: losses, resuming, early stopping, Ctrl-C, against slow loops.

tests/test_sgd.py has the steps of plain descent and what it achieves; here is what came
with the lessons' way of training. Numbers in brackets are the equations of
`shallow_cf.solvers.descent` and `optimizers`.
"""

import copy
import dataclasses
import math

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import descent, sgd
from shallow_cf.solvers.optimizers import OPTIMIZERS, start
from shallow_cf.solvers.schedules import SCHEDULES


def halves(ratings, *, random_state=0):
    """The ratings in two: to train on, and to measure on."""
    chosen = np.random.default_rng(random_state).permutation(len(ratings)) < len(ratings) * 0.7

    def part(which):
        columns = ratings.user_idx, ratings.item_idx, ratings.rating
        return scf.Ratings(
            ratings.user_ids, ratings.item_ids, *(column[which] for column in columns)
        )

    return part(chosen), part(~chosen)


def problem(**settings):
    ratings, theta = reference.problem(8, 9, 2, bias=True, rated=0.8, **settings)
    train, valid = halves(ratings)
    return train, valid, theta


class TestMeanLoss:
    def test_one_step_by_hand(self):
        # P = Q = b_u = b_i = 1, two items rated 3 and 5: r_hat = 1 + 1 + 1 = 3, e = 0 and -2.
        # mse = (0 + 4)/2. Gradient 2/2 sum e dr_hat, (16b):
        #     P: 0*1 - 2*1 = -2;  Q: 0, -2;  b_u: -2;  b_i: 0, -2;  plus reg theta = 1/2.
        # A step of 0.1: P = 1 + 0.15 = 1.15;  Q = 0.95, 1.15;  b_u = 1.15;  b_i = 0.95, 1.15
        ratings = scf.Ratings([1], [1, 2], [0, 0], [0, 1], [3.0, 5.0])
        theta = scf.Parameters(np.ones((1, 1)), np.ones((2, 1)), np.ones(1), np.ones(2))
        options = scf.SGDOptions(1, 0.1, 2, reg=0.5, loss="mse")
        found = sgd.solve(ratings, theta, options).parameters.pack()
        assert found == pytest.approx([1.15, 0.95, 1.15, 1.15, 0.95, 1.15], rel=1e-14)

    def test_is_half_sse_with_another_learning_rate(self):
        # Without penalty and with batches of one size B, eta on the mean is 2 eta / B on
        # the sum. Powers of 2 make it the same in floating point but for the last bits.
        ratings, theta = reference.problem(6, 8, 3, bias=True)
        assert len(ratings) % 16 == 0
        of_mean = scf.SGDOptions(4, 0.25, 16, loss="mse")
        of_sum = scf.SGDOptions(4, 0.25 * 2 / 16, 16)
        one, two = (
            sgd.solve(ratings, theta, options, random_state=0).parameters.pack()
            for options in (of_mean, of_sum)
        )
        np.testing.assert_allclose(one, two, rtol=1e-13)

    @pytest.mark.parametrize("reg", [0.0, 0.7])
    @pytest.mark.parametrize("rating_range", [None, (0, 5.5)])
    def test_a_full_batch_follows_the_gradient_of_mse(self, reg, rating_range):
        ratings, theta = reference.problem(6, 4, 3, bias=True, rated=0.7)
        theta = scf.Parameters(*theta.blocks(), rating_range=rating_range)
        options = scf.SGDOptions(1, 0.1, len(ratings), reg=reg, loss="mse")
        found = sgd.solve(ratings, theta, options, random_state=0).parameters.pack()
        G = objective.mse_gradient(ratings, theta, reg).pack()
        np.testing.assert_allclose(found, theta.pack() - 0.1 * G, rtol=1e-13)


class TestPenalty:
    """What the batches of an epoch bring, added up at one theta: (16a) and (16b)."""

    @pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
    def test_half_sse_adds_up_to_the_whole_gradient(self, batch_size):
        ratings, theta = reference.problem(5, 6, 2, bias=True, rated=0.8)
        train = sgd.Factorization(ratings, theta)
        options = scf.SGDOptions(batch_size=batch_size, reg=0.4)
        order = np.random.default_rng(0).permutation(len(ratings))
        batches = [order[k : k + batch_size] for k in range(0, len(order), batch_size)]
        x = theta.pack()
        total = sum(descent.batch_gradient(train, options, x, batch) for batch in batches)
        whole = objective.half_sse_gradient(ratings, theta, 0.4).pack()
        np.testing.assert_allclose(total, whole, rtol=1e-12)

    @pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
    def test_mse_is_right_on_average(self, batch_size):
        # Weighted by their sizes, the batches' means are the mean of all, penalty included.
        ratings, theta = reference.problem(5, 6, 2, bias=True, rated=0.8)
        train = sgd.Factorization(ratings, theta)
        options = scf.SGDOptions(batch_size=batch_size, reg=0.4, loss="mse")
        order = np.random.default_rng(0).permutation(len(ratings))
        batches = [order[k : k + batch_size] for k in range(0, len(order), batch_size)]
        x = theta.pack()
        mean = sum(
            len(batch) / len(order) * descent.batch_gradient(train, options, x, batch)
            for batch in batches
        )
        np.testing.assert_allclose(
            mean, objective.mse_gradient(ratings, theta, 0.4).pack(), rtol=1e-12
        )


RULES = {
    "momentum": (scf.Momentum(0.8), reference.momentum_rule(0.8)),
    "adamw": (
        scf.AdamW(0.8, 0.9, 1e-3, weight_decay=0.5),
        reference.adamw_rule(0.8, 0.9, 1e-3, 0.5),
    ),
}


class TestSlowLoop:
    """Two epochs in plain Python, parameter by parameter: tests/reference.py."""

    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("loss", ["half_sse", "mse"])
    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_equals_the_slow_loop(self, rule, loss, batch_size):
        ratings, theta = reference.problem(4, 5, 3, bias=True, rated=0.8)
        fast, slow = RULES[rule]
        n_epochs, eta = 2, 0.02
        options = scf.SGDOptions(
            n_epochs, eta, batch_size, reg=0.3, shuffle=False, loss=loss, optimizer=fast
        )
        plain, triplets = reference.plain(theta), reference.triplets(ratings)
        memories = [None] * theta.n_params
        for epoch in range(n_epochs):
            rate = eta * (1 - epoch / n_epochs)  # (15b)
            plain, memories = reference.epoch_by_rule(
                triplets, plain, memories, slow, rate, batch_size, 0.3, mean=loss == "mse"
            )
        found = sgd.solve(ratings, theta, options).parameters.pack()
        np.testing.assert_allclose(found, reference.pack(plain), rtol=1e-11)


class Slope:
    """The simplest thing that can be trained: a straight slope, one parameter."""

    n_ratings = 8

    def __init__(self, valid=()):
        self.valid = list(valid)  # what to answer, call by call

    def gradient(self, theta, batch):
        return np.ones(1)

    def rmse(self, theta):
        return 1.0

    def valid_rmse(self, theta):
        return self.valid.pop(0) if self.valid else math.nan


def slide(slope, options, **more):
    """Train on a slope; the state at the end, and why it ended."""
    rng = np.random.default_rng(0)
    progress = descent.begin(slope, np.zeros(1), options, rng)
    message = descent.descend(slope, options, progress, rng, largest_rating=5.0, **more)
    return progress, message


class TestSchedule:
    def test_moves_on_within_an_epoch(self):
        # Two epochs of four batches, which begin at tau = 0, 1/8, 2/8, ... of the training.
        progress, _ = slide(Slope(), scf.SGDOptions(2, 0.1, 2, schedule="cosine"))
        rates = [0.1 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]  # (15d)
        assert progress.theta[0] == pytest.approx(-sum(rates), rel=1e-14)
        # The trace has the rate of an epoch's last step.
        assert [row["learning_rate"] for row in progress.trace[1:]] == pytest.approx(
            [rates[3], rates[7]], rel=1e-14
        )

    def test_momentum_comes_from_the_schedule(self):
        # One cycle, up only, in two steps: beta = 0.5 at tau = 0, and halfway at 1/2: 0.3.
        # Rates 0.1/2 and 0.1 * 3/4. v = 1, then 0.3 + 1: theta = -0.05 - 0.075 * 1.3.
        schedule = scf.OneCycle(1.0, div=2, momentum=(0.5, 0.1, 0.5))
        options = scf.SGDOptions(1, 0.1, 4, optimizer="momentum", schedule=schedule)
        progress, _ = slide(Slope(), options)
        assert progress.theta[0] == pytest.approx(-0.05 - 0.075 * 1.3, rel=1e-14)


class TestValidation:
    def test_the_trace_has_the_error_on_other_ratings(self):
        train, valid, theta = problem()
        seen = []
        result = sgd.solve(
            train, theta, scf.SGDOptions(3), random_state=0, valid=valid,
            keep=lambda progress: seen.append(objective.rmse(valid, theta.unpack(progress.theta))),
        )  # fmt: skip
        assert [row["valid_rmse"] for row in result.trace[1:]] == seen
        assert result.trace[0]["valid_rmse"] == objective.rmse(valid, theta)

    def test_nan_without_any(self):
        train, _, theta = problem()
        trace = sgd.solve(train, theta, scf.SGDOptions(2)).trace
        assert all(math.isnan(row["valid_rmse"]) for row in trace)

    def test_it_changes_nothing_else(self):
        train, valid, theta = problem()
        one, two = (
            sgd.solve(train, theta, scf.SGDOptions(3), random_state=0, valid=other).parameters
            for other in (None, valid)
        )
        assert one.equals(two)

    def test_ratings_of_other_users(self):
        train, _, theta = problem()
        other, _ = reference.problem(3, 3, 2)
        with pytest.raises(ValueError, match="do not fit Ratings"):
            sgd.solve(train, theta, valid=other)


class TestEarlyStopping:
    def test_by_hand(self):
        # The start, then epochs 1 to 6. Epoch 2 is the best; 3 and 4 are not better than it
        # (the same is not better), so patience 2 ends there and 3 one later.
        errors = [5.0, 4.0, 3.0, 3.5, 3.0, 2.0, 1.0]
        for patience, last, best in ((2, 4, 2), (3, 6, 6)):
            options = scf.SGDOptions(6, 0.1, 8, schedule="constant", patience=patience)
            progress, message = slide(Slope(errors), options)
            assert progress.epoch == last
            assert progress.best_epoch == best
            assert descent.found(progress, options)[0] == pytest.approx(-0.1 * best)
            assert progress.theta[0] == pytest.approx(-0.1 * last)
        assert message == "Ran 6 epochs."

    def test_the_start_may_be_the_best(self):
        options = scf.SGDOptions(9, 0.1, 8, patience=3)
        progress, message = slide(Slope([1.0, 2.0, 2.0, 2.0, 0.5]), options)
        assert descent.found(progress, options).tolist() == [0.0]
        assert message == "Stopped early: no better validation RMSE in 3 epochs."

    def test_returns_the_best_epoch_s_parameters(self):
        # Few ratings and many factors: overfitting begins soon.
        ratings, theta = reference.problem(8, 9, 6, bias=True, rated=0.5)
        train, valid = halves(ratings)
        options = scf.SGDOptions(500, patience=10)
        result = sgd.solve(train, theta, options, random_state=0, valid=valid)
        errors = [row["valid_rmse"] for row in result.trace]
        best = int(np.argmin(errors))
        assert result.iterations == best + 10 < 500
        assert objective.rmse(valid, result.parameters) == errors[best]
        assert objective.rmse(train, result.parameters) == result.rmse_after
        assert result.message == "Stopped early: no better validation RMSE in 10 epochs."

    def test_without_patience_the_last_epoch_counts(self):
        options = scf.SGDOptions(3, 0.1, 8, schedule="constant")
        progress, _ = slide(Slope([1.0, 2.0, 3.0, 4.0]), options)
        assert descent.found(progress, options)[0] == pytest.approx(-0.3)

    def test_patience_needs_something_to_measure(self):
        train, _, theta = problem()
        with pytest.raises(ValueError, match=r"^`patience` needs validation ratings: pass `valid`"):
            sgd.solve(train, theta, scf.SGDOptions(patience=3))


class Interrupting(Slope):
    """Ctrl-C is pressed at the n-th call of one of the methods."""

    def __init__(self, method, n):
        super().__init__()
        self.method, self.left = method, n

    def _count(self, method):
        if method == self.method:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def gradient(self, theta, batch):
        self._count("gradient")
        return super().gradient(theta, batch)

    def rmse(self, theta):
        self._count("rmse")
        return super().rmse(theta)


class TestCtrlC:
    OPTIONS = scf.SGDOptions(5, 0.1, 2, schedule="constant")

    @pytest.mark.parametrize(
        ("method", "n"),
        [("gradient", 11), ("rmse", 4)],  # in the third epoch, and at its very end
    )
    def test_keeps_the_last_full_epoch(self, method, n):
        progress, message = slide(Interrupting(method, n), self.OPTIONS)
        assert message == "Interrupted after 2 epochs."
        assert progress.epoch == 2
        assert progress.theta[0] == pytest.approx(-0.1 * 8, rel=1e-14)  # 4 batches an epoch

    @pytest.mark.parametrize("who", ["keep", "callback"])
    def test_while_the_user_s_own_function_runs(self, who):
        def press(_):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        left = 3
        progress, message = slide(Slope(), self.OPTIONS, **{who: press})
        assert message == "Interrupted after 3 epochs."  # the epoch it was told of was full
        assert progress.theta[0] == pytest.approx(-0.1 * 12, rel=1e-14)

    def test_in_the_first_epoch(self):
        progress, message = slide(Interrupting("gradient", 1), self.OPTIONS)
        assert (message, progress.epoch, progress.theta[0]) == ("Interrupted after 0 epochs.", 0, 0)

    def test_solve_returns_a_result_that_can_be_gone_on_from(self):
        train, _, theta = problem()

        def press(row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

        kept = []
        options = scf.SGDOptions(5)
        result = sgd.solve(train, theta, options, press, random_state=0, keep=kept.append)
        assert result.message == "Interrupted after 2 epochs."
        assert result.iterations == 2
        assert objective.rmse(train, result.parameters) == result.rmse_after
        resumed = sgd.solve(train, theta, options, progress=kept[-1])
        whole = sgd.solve(train, theta, options, random_state=0)
        assert resumed.parameters.equals(whole.parameters)

    def test_other_errors_come_through(self):
        def fail(row):
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            slide(Slope(), self.OPTIONS, callback=fail)


def without_time(trace):
    return [
        {key: repr(value) for key, value in row.items() if key != "seconds"} for row in trace
    ]  # fmt: skip


class TestResuming:
    """A run that goes on from a snapshot ends with the bits of one that never stopped."""

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_same_bits(self, optimizer, shuffle):
        train, valid, theta = problem()
        options = scf.SGDOptions(
            6, 0.02, 5, reg=0.1, shuffle=shuffle, loss="mse", optimizer=optimizer,
            schedule="onecycle", patience=5,
        )  # fmt: skip
        snapshots, last = [], []

        def keep(progress):
            snapshots.append(copy.deepcopy(progress))

        whole = sgd.solve(train, theta, options, random_state=0, valid=valid, keep=keep)
        assert [snapshot.epoch for snapshot in snapshots] == [1, 2, 3, 4, 5, 6]
        for snapshot in (snapshots[0], snapshots[3]):
            # The seed of the second run does not matter: the snapshot knows the order.
            resumed = sgd.solve(
                train, theta, options, random_state=99, valid=valid, progress=snapshot,
                keep=last.append,
            )  # fmt: skip
            assert resumed.parameters.equals(whole.parameters)
            assert without_time(resumed.trace) == without_time(whole.trace)
            assert resumed.message == whole.message
            seconds = [row["seconds"] for row in resumed.trace]
            assert seconds == sorted(seconds)
            end, expected = last[-1], snapshots[-1]
            assert end.theta.tolist() == expected.theta.tolist()
            assert end.best_theta.tolist() == expected.best_theta.tolist()
            assert end.best_epoch == expected.best_epoch
            assert end.rng_state == expected.rng_state
            assert end.memory.keys() == expected.memory.keys()
            for key in end.memory:
                assert end.memory[key].tolist() == expected.memory[key].tolist(), key

    def test_patience_goes_on_counting(self):
        errors = [5.0, 4.0, 3.0, 3.5, 3.0, 2.0, 1.0]
        options = scf.SGDOptions(6, 0.1, 8, schedule="constant", patience=2)
        snapshots = []
        slide(Slope(errors), options, keep=lambda p: snapshots.append(dataclasses.replace(p)))
        third = snapshots[2]  # one epoch without a better error already
        descent.descend(
            Slope([3.0, 2.0]), options, third, np.random.default_rng(), largest_rating=5.0
        )  # fmt: skip
        assert (third.epoch, third.best_epoch) == (4, 2)

    def test_a_shallow_copy_is_a_snapshot(self):
        # And the caller's state is left as it is by the run that goes on from it.
        train, _, theta = problem()
        options = scf.SGDOptions(4, optimizer="adam")
        shallow, deep = [], []

        def keep(progress):
            shallow.append(dataclasses.replace(progress))
            deep.append(copy.deepcopy(progress))

        sgd.solve(train, theta, options, random_state=0, keep=keep)
        sgd.solve(train, theta, options, progress=shallow[0])
        for one, two in zip(shallow, deep, strict=True):
            assert one.theta.tolist() == two.theta.tolist()
            assert without_time(one.trace) == without_time(two.trace)
            assert one.rng_state == two.rng_state
            for key in one.memory:
                assert one.memory[key].tolist() == two.memory[key].tolist()

    def test_more_epochs_than_were_planned(self):
        # With a rate that does not depend on the number of epochs 2 + 3 are the same as 5.
        train, _, theta = problem()
        kept = []
        short, long = (scf.SGDOptions(n, schedule="constant") for n in (2, 5))
        sgd.solve(train, theta, short, random_state=0, keep=kept.append)
        resumed = sgd.solve(train, theta, long, progress=kept[-1])
        whole = sgd.solve(train, theta, long, random_state=0)
        assert resumed.parameters.equals(whole.parameters)
        assert resumed.message == "Ran 5 epochs."

    def test_a_finished_run_stays_as_it_is(self):
        train, _, theta = problem()
        kept = []
        options = scf.SGDOptions(2)
        whole = sgd.solve(train, theta, options, random_state=0, keep=kept.append)
        again = sgd.solve(train, theta, options, progress=kept[-1])
        assert again.parameters.equals(whole.parameters)
        assert again.trace == whole.trace


class TestDivergence:
    @pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
    def test_of_the_mean_loss(self, optimizer):
        train, _, theta = problem()
        options = scf.SGDOptions(50, 1e3, 16, loss="mse", optimizer=optimizer)
        with pytest.raises(scf.DivergenceError, match=r"^diverged in epoch 1 with .* 1000: try"):
            sgd.solve(train, theta, options)

    def test_the_epochs_before_it_are_kept(self):
        train, _, theta = problem()
        kept = []
        options = scf.SGDOptions(50, 3.0, 16, loss="mse", schedule=scf.Constant())
        with pytest.raises(scf.DivergenceError) as caught:
            sgd.solve(train, theta, options, random_state=0, keep=kept.append)
        assert caught.value.epoch == len(kept) + 1
        assert not kept or np.isfinite(kept[-1].theta).all()


class TestSettings:
    def test_a_rule_by_name_as_an_object_or_as_its_settings(self):
        for given in ("adam", scf.Adam(), {"name": "adam"}):
            assert scf.SGDOptions(optimizer=given).rule == scf.Adam()
        given = {"name": "adamw", "weight_decay": 0.1}
        assert scf.SGDOptions(optimizer=given).rule == scf.AdamW(weight_decay=0.1)
        assert given == {"name": "adamw", "weight_decay": 0.1}  # left as it is

    def test_a_schedule_likewise(self):
        for given in ("step", scf.Step(), {"name": "step"}):
            assert scf.SGDOptions(schedule=given).pace == scf.Step()
        given = {"name": "step", "epochs": [3, 6], "factor": 0.5}
        assert scf.SGDOptions(schedule=given).pace == scf.Step((3, 6), 0.5)

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_every_rule(self, name):
        options = scf.SGDOptions(optimizer=name)
        assert start(options.rule, np.zeros(2)).keys() == {
            *options.rule.arrays, *options.rule.numbers,
        }  # fmt: skip

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_every_schedule(self, name):
        assert 0 < scf.SGDOptions(schedule=name).pace.at(1, 4, 0.5).factor <= 1

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            (
                {"optimizer": "adamax"}, ValueError,
                "`optimizer` must be one of sgd, momentum, nesterov, adagrad, rmsprop, adam, "
                "adamw, got 'adamax'",
            ),
            (
                {"schedule": "cyclic"}, ValueError,
                "`schedule` must be one of constant, linear, step, cosine, onecycle, got 'cyclic'",
            ),
            (
                {"optimizer": 3}, TypeError,
                "`optimizer` must be one of sgd, momentum, nesterov, adagrad, rmsprop, adam, "
                "adamw, or an object such as SGD(), got 3",
            ),
            (
                {"optimizer": {"momentum": 0.9}}, TypeError,
                "`optimizer` must be one of sgd, momentum, nesterov, adagrad, rmsprop, adam, "
                "adamw, or an object such as SGD(), got {'momentum': 0.9}",
            ),
            (
                {"optimizer": {"name": "momentum", "beta": 0.9}}, TypeError,
                "`optimizer`: momentum has no setting 'beta', only momentum",
            ),
            (
                {"optimizer": {"name": "sgd", "momentum": 0.9}}, TypeError,
                "`optimizer`: sgd has no setting 'momentum'",
            ),
            (
                {"optimizer": {"name": "adam", "beta2": 2}}, ValueError,
                "`beta2` must be <= 1, got 2",
            ),
            ({"loss": "rmse"}, ValueError, "`loss` must be one of half_sse, mse, got 'rmse'"),
            ({"patience": 0}, ValueError, "`patience` must be >= 1, got 0"),
            ({"patience": 1.5}, TypeError, "`patience` must be a whole number, got 1.5"),
            ({"shuffle": "no"}, TypeError, "`shuffle` must be True or False, got 'no'"),
        ],
    )  # fmt: skip
    def test_senseless(self, settings, error, message):
        with pytest.raises(error) as caught:
            scf.SGDOptions(**settings)
        assert str(caught.value) == message

    def test_a_class_is_no_object(self):
        with pytest.raises(TypeError, match=r"or an object such as SGD\(\), got <class"):
            scf.SGDOptions(optimizer=scf.Adam)
