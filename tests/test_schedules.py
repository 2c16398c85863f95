"""Schedules: values by hand, then what holds all along the way."""

import math

import numpy as np
import pytest

import shallow_cf as scf
from shallow_cf.solvers.schedules import SCHEDULES


def factors(schedule, n_epochs, withins=(0.0,)):
    """The factor of the learning rate at each of these moments of each epoch."""
    return [schedule.at(e, n_epochs, w).factor for e in range(n_epochs) for w in withins]


class TestByHand:
    def test_constant(self):  # (15a)
        assert factors(scf.Constant(), 3, (0.0, 0.5)) == [1.0] * 6

    def test_linear(self):
        # (15b): 1 - e/4; it does not fall within an epoch.
        assert factors(scf.Linear(), 4, (0.0, 0.9)) == [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]

    def test_step(self):
        # (15c): after 2 epochs and again after 4: epochs 0, 1 | 2, 3 | 4.
        expected = [1, 1, 0.1, 0.1, 0.01]
        assert factors(scf.Step((2, 4)), 5, (0.0,)) == pytest.approx(expected, rel=1e-15)
        assert factors(scf.Step([1], 0.5), 2, (0.0, 0.9)) == [1, 1, 0.5, 0.5]
        assert factors(scf.Step(()), 2) == [1, 1]

    def test_cosine(self):
        # (15d): tau = 0, 1/4, 1/2, 3/4: (1 + cos(0, 45, 90, 135 degrees)) / 2
        root = math.sqrt(0.5)
        expected = [1, (1 + root) / 2, 0.5, (1 - root) / 2]
        assert factors(scf.Cosine(), 4) == pytest.approx(expected, rel=1e-14)
        assert factors(scf.Cosine(), 2, (0.0, 0.5)) == pytest.approx(expected, rel=1e-14)

    # fastai 2's `fit_one_cycle`: div=25, div_final=1e5, pct_start=0.25, moms=(.95, .85, .95)
    @pytest.mark.parametrize(
        ("tau", "factor", "momentum"),
        [
            (0.0, 0.04, 0.95),  # 1/25
            (0.125, 0.52, 0.90),  # halfway up: (1 + 0.04) / 2
            (0.25, 1.0, 0.85),  # the top
            (0.5, 0.7500025, 0.875),  # a third of the way down, 60 degrees: 3/4 + 1e-5/4
            (0.625, 0.500005, 0.90),  # halfway down: (1 + 1e-5) / 2
            (0.75, 0.2500075, 0.925),  # two thirds, 120 degrees: 1/4 + 3/4 1e-5
        ],
    )
    def test_one_cycle(self, tau, factor, momentum):
        setting = scf.OneCycle().at(int(tau * 8), 8, tau * 8 % 1)  # (15e)
        assert setting == pytest.approx((factor, momentum), rel=1e-12)
        assert scf.OneCycle().at(0, 1, tau) == pytest.approx((factor, momentum), rel=1e-12)

    def test_one_cycle_ends_low(self):
        factor, momentum = scf.OneCycle().at(9, 10, 1 - 1e-9)
        assert factor == pytest.approx(1e-5, rel=1e-6)
        assert momentum == pytest.approx(0.95, rel=1e-12)

    # fastai 1's: div_factor=25, final_div=25e4, pct_start=0.3, moms=(0.95, 0.85)
    @pytest.mark.parametrize(
        ("tau", "factor", "momentum"),
        [(0.0, 0.04, 0.95), (0.15, 0.52, 0.9), (0.3, 1.0, 0.85), (0.65, 0.500002, 0.9)],
    )
    def test_one_cycle_of_fastai_1(self, tau, factor, momentum):
        assert scf.OneCycle.v1().at(0, 1, tau) == pytest.approx((factor, momentum), rel=1e-12)
        assert scf.OneCycle.v1().at(0, 1, 1 - 1e-9)[0] == pytest.approx(1 / 250_000, rel=1e-6)

    @pytest.mark.parametrize("warmup", [0.0, 1.0])
    def test_one_cycle_down_only_or_up_only(self, warmup):
        path = factors(scf.OneCycle(warmup), 10)
        assert path == sorted(path, reverse=warmup == 0)
        assert path[0] == pytest.approx(1.0 if warmup == 0 else 0.04, rel=1e-15)


class TestAllAlong:
    @pytest.mark.parametrize("schedule", [scf.Cosine(), scf.OneCycle(), scf.OneCycle.v1()])
    def test_no_jumps_within_epochs_or_between_them(self, schedule):
        # 10 epochs of 1000 steps. The steepest of these is up a quarter of the way along a
        # cosine: pi/2 / (10,000 / 4) a step. Momentum: a tenth of it.
        n_epochs, steps = 10, np.arange(1000) / 1000
        path = np.array(
            [schedule.at(e, n_epochs, w) for e in range(n_epochs) for w in steps], np.float64
        )
        jumps = np.abs(np.diff(path, axis=0))
        assert jumps[:, 0].max() < math.pi / 2 / 2500 * 1.001
        if not isinstance(schedule, scf.Cosine):
            assert jumps[:, 1].max() < math.pi / 2 / 2500 / 10 * 1.001

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_the_rate_is_never_negative_and_never_above_the_given(self, name):
        path = factors(SCHEDULES[name](), 30, (0.0, 0.3, 0.999))
        assert min(path) >= 0
        assert max(path) == pytest.approx(1.0, abs=0.01)
        assert max(path) <= 1.0

    @pytest.mark.parametrize("name", SCHEDULES)
    def test_only_one_cycle_sets_momentum(self, name):
        momentum = SCHEDULES[name]().at(0, 2, 0.5).momentum
        assert (momentum is not None) == (name == "onecycle")

    def test_momentum_falls_while_the_rate_rises(self):
        path = np.array([scf.OneCycle().at(e, 40, 0.0) for e in range(40)], np.float64)
        rate, momentum = np.sign(np.diff(path, axis=0)).T
        assert (rate == -momentum).all()


class TestSettings:
    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: scf.Step((0,)), ValueError, "`epochs` must be >= 1, got 0"),
            (lambda: scf.Step((1.5,)), TypeError, "`epochs` must be a whole number, got 1.5"),
            (
                lambda: scf.Step(3), TypeError,
                "`epochs` must be a sequence of whole numbers, got 3",
            ),
            (lambda: scf.Step("3"), TypeError, "`epochs` must be a whole number, got '3'"),
            (lambda: scf.Step((1,), 0.0), ValueError, "`factor` must be > 0, got 0.0"),
            (lambda: scf.Step((1,), 1.1), ValueError, "`factor` must be <= 1, got 1.1"),
            (lambda: scf.OneCycle(1.5), ValueError, "`warmup` must be <= 1, got 1.5"),
            (lambda: scf.OneCycle(-0.1), ValueError, "`warmup` must be >= 0, got -0.1"),
            (lambda: scf.OneCycle(div=0.5), ValueError, "`div` must be >= 1, got 0.5"),
            (lambda: scf.OneCycle(div_final=0), ValueError, "`div_final` must be >= 1, got 0"),
            (
                lambda: scf.OneCycle(momentum=0.9), TypeError,
                "`momentum` must be three numbers, got 0.9",
            ),
            (
                lambda: scf.OneCycle(momentum=(0.9, 0.8)), TypeError,
                "`momentum` must be three numbers, got (0.9, 0.8)",
            ),
            (
                lambda: scf.OneCycle(momentum=(0.9, 1.0, 0.9)), ValueError,
                "`momentum` must be three numbers < 1, got (0.9, 1.0, 0.9)",
            ),
        ],
    )  # fmt: skip
    def test_senseless(self, make, error, message):
        with pytest.raises(error) as caught:
            make()
        assert str(caught.value) == message
