"""The learning rate finder, on a bowl where the largest stable rate is known, then on ratings."""

import dataclasses

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf.solvers import lr_find as finder
from shallow_cf.solvers import sgd


class Bowl:
    """Loss L theta^2 / 2: descent with rate eta multiplies theta by 1 - eta L."""

    n_ratings = 10

    def __init__(self, L):
        self.L = L

    def gradient(self, theta, batch):
        return self.L * theta

    def rmse(self, theta):
        return float(np.sqrt(self.L / 2 * theta @ theta))

    def valid_rmse(self, theta):
        return np.nan


class MeasuredBowl(Bowl):
    """One that can measure some of its ratings, as matrix factorisation can."""

    def batch_mse(self, theta, batch):
        assert batch.tolist() != []
        return self.L / 2 * float(theta @ theta)


class TestBowl:
    @pytest.mark.parametrize("kind", [Bowl, MeasuredBowl])
    @pytest.mark.parametrize("L", [0.5, 10.0, 3000.0])
    def test_the_suggestion_is_below_the_stable_limit(self, L, kind):
        # |1 - eta L| < 1 as long as eta < 2 / L: from there on every step makes it worse.
        found = finder.sweep(kind(L), np.ones(3), scf.SGDOptions(), random_state=0)
        assert 0.02 / L < found.suggestion < 2 / L
        lowest = found.table.learning_rate[found.table.loss.idxmin()]
        assert lowest == pytest.approx(2 / L, rel=0.25)  # a step of the sweep is 20%
        assert found.suggestion == pytest.approx(lowest / 10, rel=1e-15)

    def test_three_steps_by_hand(self):
        # L = 1, rates 0.01, 0.1, 1: theta = 0.99, then 0.99 * 0.9 = 0.891, then 0.
        found = finder.sweep(
            Bowl(1.0), np.ones(1), scf.SGDOptions(), lowest=0.01, highest=1.0, n_steps=3
        )
        assert found.table.learning_rate.tolist() == pytest.approx([0.01, 0.1, 1.0])
        losses = [0.99**2 / 2, 0.891**2 / 2, 0.0]
        assert found.table.loss.tolist() == pytest.approx(losses, rel=1e-12, abs=1e-30)
        assert found.suggestion == pytest.approx(0.1)

    def test_stops_where_the_error_is_four_times_the_lowest(self):
        found = finder.sweep(Bowl(1.0), np.ones(3), scf.SGDOptions(), highest=1e3)
        losses = found.table.loss.to_numpy()
        assert len(losses) < 100
        assert losses[-1] > 4 * losses.min() >= losses[-2] > 0

    def test_stops_before_the_error_is_infinite(self):
        found = finder.sweep(
            Bowl(1.0), np.ones(3), scf.SGDOptions(), lowest=0.1, highest=1e300, n_steps=4
        )
        assert np.isfinite(found.table.loss).all()
        assert found.suggestion == pytest.approx(0.01)

    def test_no_suggestion_where_no_rate_helps(self):
        for theta, lowest in ((np.zeros(2), 1e-7), (np.ones(2), 100.0)):  # there already; too fast
            found = finder.sweep(
                Bowl(1.0), theta, scf.SGDOptions(), lowest=lowest, highest=1e3, n_steps=5
            )
            assert np.isnan(found.suggestion)
            assert len(found.table) >= 1


class TestRatings:
    def test_nothing_is_changed(self):
        ratings, theta = reference.problem(6, 6, 3, bias=True)
        before = [block.copy() for block in theta.blocks()]
        for block in theta.blocks():
            block.setflags(write=False)
        options = scf.SGDOptions(optimizer="adamw")
        same = dataclasses.replace(options)
        scf.lr_find(ratings, theta, options)
        assert all(map(np.array_equal, theta.blocks(), before))
        assert options == same

    def test_same_seed_same_bits(self):
        ratings, theta = reference.problem(6, 6, 3, bias=True)
        options = scf.SGDOptions(batch_size=4, loss="mse")
        one, two, other = (
            scf.lr_find(ratings, theta, options, random_state=seed) for seed in (3, 3, 4)
        )
        assert one.table.equals(two.table)
        assert one.suggestion == two.suggestion
        assert not one.table.equals(other.table)

    def test_the_first_step_is_one_of_training(self):
        ratings, theta = reference.problem(4, 4, 2)
        options = scf.SGDOptions(1, 1e-3, 10**6)
        table = scf.lr_find(ratings, theta, options, lowest=1e-3, n_steps=2).table
        trained = sgd.solve(ratings, theta, options)
        assert table.loss[0] == pytest.approx(trained.rmse_after**2, rel=1e-12)

    def test_learning_rate_schedule_and_epochs_play_no_part(self):
        ratings, theta = reference.problem(4, 4, 2)
        options = scf.SGDOptions(3, 0.5, 8, schedule="onecycle"), scf.SGDOptions(9, 0.1, 8)
        one, two = (scf.lr_find(ratings, theta, o, random_state=0).table for o in options)
        assert one.equals(two)

    @pytest.mark.parametrize("bias", [False, True])
    def test_mean_and_sum_differ_by_the_size_of_the_batch(self, bias, crosstab):
        # mse's gradient is 2/B of half_sse's: with plain descent its rate is B/2 times.
        theta = scf.Parameters.random(15, 15, 5, bias=bias, random_state=0)
        of_sum, of_mean = (
            scf.lr_find(crosstab, theta, scf.SGDOptions(loss=loss), random_state=0).suggestion
            for loss in ("half_sse", "mse")
        )
        assert of_mean / of_sum == pytest.approx(16, rel=0.7)

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"loss": "mse"},
            {"loss": "mse", "optimizer": "momentum"},
            {"loss": "mse", "optimizer": "adam", "schedule": "onecycle"},
        ],
    )
    def test_training_with_the_suggestion_ends_well(self, crosstab, settings):
        theta = scf.Parameters.random(15, 15, 5, random_state=1)
        options = scf.SGDOptions(600, **settings)
        rate = scf.lr_find(crosstab, theta, options, random_state=0).suggestion
        found = sgd.solve(
            crosstab, theta, dataclasses.replace(options, learning_rate=rate), random_state=0
        )
        assert found.rmse_before > 2.5
        assert found.rmse_after < 0.5  # the best known is 0.393, with ten times the rate


class TestArguments:
    @pytest.mark.parametrize(
        ("setting", "value", "error", "message"),
        [
            ("lowest", 0, ValueError, "`lowest` must be > 0, got 0"),
            ("lowest", "small", TypeError, "`lowest` must be a number, got 'small'"),
            ("lowest", 20.0, ValueError, "`highest` must be > 20, got 10.0"),
            ("highest", 1e-7, ValueError, "`highest` must be > 1e-07, got 1e-07"),
            ("highest", float("inf"), ValueError, "`highest` must be finite and > 1e-07, got inf"),
            ("n_steps", 1, ValueError, "`n_steps` must be >= 2, got 1"),
            ("n_steps", 10.0, TypeError, "`n_steps` must be a whole number, got 10.0"),
            (
                "random_state", 0.5, TypeError,
                "`random_state` must be a whole number or a Generator, got 0.5",
            ),
        ],
    )  # fmt: skip
    def test_senseless(self, setting, value, error, message):
        ratings, theta = reference.problem(3, 3, 2)
        with pytest.raises(error) as caught:
            scf.lr_find(ratings, theta, **{setting: value})
        assert str(caught.value) == message

    def test_parameters_of_another_table(self):
        ratings, _ = reference.problem(3, 4, 2)
        with pytest.raises(ValueError, match="do not fit Ratings"):
            scf.lr_find(ratings, scf.Parameters.random(4, 3, 2))

    def test_a_start_beyond_all_bounds(self):
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters(np.full((3, 2), 1e80), np.full((3, 2), 1e80))
        with pytest.raises(ValueError, match="so large that the error overflows"):
            scf.lr_find(ratings, theta)
