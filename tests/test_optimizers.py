"""Update rules: three steps of each by hand, then a fact each rule is known for.

All examples of `TestByHand` start at theta = 1 and get the gradients 1, -2, 3, with
learning rate 1/10. The sums are in the comments and were done on paper; the formulas
(14a) to (14g) stand in `shallow_cf.solvers.optimizers`.
"""

import math

import numpy as np
import pytest

import shallow_cf as scf
from shallow_cf.solvers import descent
from shallow_cf.solvers.optimizers import OPTIMIZERS, start

GRADIENTS = (1.0, -2.0, 3.0)


def run(rule, gradients=GRADIENTS, *, theta=1.0, eta=0.1, momentum=None):
    """theta after each step. Arrays are read-only, so that a rule that changes one fails."""
    theta = np.atleast_1d(np.asarray(theta, np.float64))
    memory, path = start(rule, theta), []
    for t, g in enumerate(gradients):
        g = np.atleast_1d(np.asarray(g, np.float64))
        for array in (theta, g, *memory.values()):
            array.setflags(write=False)
        beta = momentum[t] if isinstance(momentum, list) else momentum
        theta, memory = rule.step(theta, g, memory, eta, beta)
        memory = {name: np.asarray(value) for name, value in memory.items()}
        path.append(theta)
    return np.array(path)


class TestByHand:
    def test_sgd(self):
        # (14a): 1 - 0.1 = 0.9;  0.9 + 0.2 = 1.1;  1.1 - 0.3 = 0.8
        assert run(scf.SGD())[:, 0] == pytest.approx([0.9, 1.1, 0.8], rel=1e-15)

    def test_momentum(self):
        # (14b), beta = 1/2. v = 1;  1/2 - 2 = -3/2;  -3/4 + 3 = 9/4
        # theta = 1 - 0.1 = 0.9;  0.9 + 0.15 = 1.05;  1.05 - 0.225 = 0.825
        expected = [0.9, 1.05, 0.825]
        assert run(scf.Momentum(0.5))[:, 0] == pytest.approx(expected, rel=1e-15)

    def test_nesterov(self):
        # (14c), beta = 1/2, v as above. g + v/2 = 3/2;  -2 - 3/4 = -11/4;  3 + 9/8 = 33/8
        # theta = 1 - 0.15 = 0.85;  0.85 + 0.275 = 1.125;  1.125 - 0.4125 = 0.7125
        expected = [0.85, 1.125, 0.7125]
        assert run(scf.Nesterov(0.5))[:, 0] == pytest.approx(expected, rel=1e-15)

    def test_adagrad(self):
        # (14d): s = 1;  1 + 4 = 5;  5 + 9 = 14.  Steps 0.1 g / sqrt s:
        # 0.1;  -0.2/sqrt 5 = -0.0894427191;  0.3/sqrt 14 = 0.0801783726
        # theta = 0.9;  0.9894427191;  0.9092643465
        expected = [0.9, 0.9894427191, 0.9092643465]
        assert run(scf.Adagrad(1e-12))[:, 0] == pytest.approx(expected, rel=1e-10)

    def test_rmsprop(self):
        # (14e), beta2 = 3/4. s = 1/4;  3/16 + 1 = 19/16;  57/64 + 9/4 = 201/64
        # Steps 0.1 g / sqrt s: 0.2;  -0.8/sqrt 19 = -0.1835325871;  2.4/sqrt 201 = 0.1692829478
        # theta = 0.8;  0.9835325871;  0.8142496393
        expected = [0.8, 0.9835325871, 0.8142496393]
        assert run(scf.RMSprop(0.75, 1e-12))[:, 0] == pytest.approx(expected, rel=1e-9)

    # (14f), beta = 1/2, beta2 = 3/4:
    #                           m = 1/2;  1/4 - 1 = -3/4;  -3/8 + 3/2 = 9/8
    #                           s = 1/4;  19/16;  201/64        (as for RMSprop)
    #                         w_m = 1/2;  3/4;  7/8        w_s = 1/4;  7/16;  37/64
    #                       m/w_m = 1;  -1;  9/7           s/w_s = 1;  19/7;  201/37
    # Steps of 0.1:  0.1;  -0.1 sqrt(7/19) = -0.0606976979;
    #                0.9/7 sqrt(37/201) = 0.1285714286 * 0.4290449883 = 0.0551629271
    ADAM = (0.1, -0.0606976979, 0.0551629271)

    def test_adam(self):
        one, two, three = self.ADAM
        expected = [1 - one, 1 - one - two, 1 - one - two - three]
        assert expected == pytest.approx([0.9, 0.9606976979, 0.9055347708], abs=1e-10)
        assert run(scf.Adam(0.5, 0.75, 1e-12))[:, 0] == pytest.approx(expected, rel=1e-9)

    def test_adam_with_a_large_epsilon(self):
        # epsilon = 1 stands beside sqrt(s / w_s) = 1 in the first step: half the length.
        assert run(scf.Adam(0.5, 0.75, 1.0), [1.0])[0, 0] == pytest.approx(0.95, rel=1e-15)
        # Second step, with sqrt(19/7) = 1.6475089420: 0.1 / 2.6475089420 = 0.0377713550
        second = run(scf.Adam(0.5, 0.75, 1.0), [1.0, -2.0])[1, 0]
        assert second == pytest.approx(0.95 + 0.0377713550, rel=1e-10)

    def test_adamw(self):
        # (14g): the same steps from a parameter that loses 0.1 * 2 = 1/5 of itself before each:
        # 0.8 - 0.1 = 0.7;  0.56 + 0.0606976979 = 0.6206976979;
        # 0.4965581583 - 0.0551629271 = 0.4413952312
        expected = [0.7, 0.6206976979, 0.4413952312]
        rule = scf.AdamW(0.5, 0.75, 1e-12, weight_decay=2.0)
        assert run(rule)[:, 0] == pytest.approx(expected, rel=1e-9)


class TestMomentumOfASchedule:
    def test_momentum_takes_precedence(self):
        # beta = 0, 1/2, 1/4:  v = 1;  1/2 - 2 = -3/2;  -3/8 + 3 = 21/8
        # theta = 0.9;  1.05;  1.05 - 0.2625 = 0.7875
        path = run(scf.Momentum(0.9), momentum=[0.0, 0.5, 0.25])[:, 0]
        assert path == pytest.approx([0.9, 1.05, 0.7875], rel=1e-15)

    def test_adam_makes_means_with_changing_weights(self):
        # beta = 1/2, then 1/4: m = 1/2, then 1/8 - 3/2 = -11/8. The weights: 1/2, then
        # 1/8 + 3/4 = 7/8 = 1 - (1/2)(1/4). Their ratio is -11/7.  s/w_s = 19/7 as above.
        # Step: 0.1 * -11/7 * sqrt(7/19) = -0.1571428571 * 0.6069769787 = -0.0953820966
        path = run(scf.Adam(0.9, 0.75, 1e-12), [1.0, -2.0], momentum=[0.5, 0.25])[:, 0]
        assert path == pytest.approx([0.9, 0.9953820966], rel=1e-9)

    @pytest.mark.parametrize("rule", [scf.SGD(), scf.Adagrad(), scf.RMSprop()])
    def test_rules_without_momentum_take_no_notice(self, rule):
        assert run(rule, momentum=0.3).tolist() == run(rule).tolist()

    @pytest.mark.parametrize("rule", [scf.Momentum(), scf.Nesterov()])
    def test_none_left_is_plain_descent(self, rule):
        assert run(rule, momentum=0.0).tolist() == run(scf.SGD()).tolist()


class TestFacts:
    def test_momentum_follows_a_constant_gradient_ten_times_as_fast(self):
        # v -> 1 / (1 - beta) = 10.
        path = run(scf.Momentum(0.9), [1.0] * 300)[:, 0]
        assert path[-2] - path[-1] == pytest.approx(0.1 * 10, rel=1e-12)

    def test_nesterov_is_the_gradient_where_momentum_leads(self):
        # The ball x of the docstring, gradient taken at x - eta beta v, on f = x^2 / 2.
        eta, beta, x, v = 0.1, 0.8, 1.0, 0.0
        rule, theta = scf.Nesterov(beta), np.array([1.0])
        memory = start(rule, theta)
        for _ in range(20):
            v = beta * v + (x - eta * beta * v)
            x = x - eta * v
            theta, memory = rule.step(theta, theta, memory, eta, None)
            assert theta[0] == pytest.approx(x - eta * beta * v, rel=1e-12)

    def test_nesterov_swings_less_than_momentum(self):
        # f = L theta^2 / 2 with eta L = 0.9. Both rules are linear in (theta, v), with
        # complex eigenvalues: theta shrinks by sqrt beta = 0.949 a step with the heavy ball
        # and by sqrt(beta (1 - eta L)) = 0.3 with Nesterov's, which sees the slope change.
        def distance(rule, steps):
            theta = np.ones(1)
            memory = start(rule, theta)
            for _ in range(steps):
                theta, memory = rule.step(theta, 100 * theta, memory, 0.009, None)
            return np.abs(theta[0])

        assert distance(scf.Nesterov(0.9), 30) < 100 * 0.3**30
        assert distance(scf.Momentum(0.9), 30) > 0.01 * 0.9**15

    def test_momentum_is_faster_than_descent_along_a_flat_valley(self):
        # f = (x^2 + 100 y^2) / 2. eta < 2/100 for the sake of y; x shrinks by 1 - eta a step.
        curvature = np.array([1.0, 100.0])

        def distance(rule):
            theta = np.ones(2)
            memory = start(rule, theta)
            for _ in range(150):
                theta, memory = rule.step(theta, curvature * theta, memory, 0.009, None)
            return np.linalg.norm(theta)

        assert distance(scf.SGD()) == pytest.approx(0.991**150, rel=1e-9)  # 0.26
        assert distance(scf.Momentum(0.9)) < 0.01
        assert distance(scf.Nesterov(0.9)) < 0.01

    def test_adagrad_slows_down_with_the_root_of_time(self):
        # A constant gradient: s = t, so step t has the length eta / sqrt t.
        path = run(scf.Adagrad(), [3.0] * 50)[:, 0]
        expected = 0.1 / np.sqrt(np.arange(2, 51))
        assert -np.diff(path) == pytest.approx(expected, rel=1e-9)

    def test_rmsprop_forgets_where_adagrad_does_not(self):
        # One gradient of 1000, then ones: (0.9)^200 of its square is 7e-4, next to nothing.
        gradients = [1000.0] + [1.0] * 200
        steps = {
            rule: -np.diff(run(rule, gradients)[:, 0])[-1]
            for rule in (scf.RMSprop(0.9), scf.Adagrad())
        }
        assert steps[scf.RMSprop(0.9)] == pytest.approx(0.1, rel=1e-3)
        assert steps[scf.Adagrad()] == pytest.approx(0.1 / 1000, rel=1e-3)

    @pytest.mark.parametrize("size", [1e-4, 1.0, 1e6])
    @pytest.mark.parametrize("rule", [scf.Adam(epsilon=1e-12), scf.Adam(0.5, 0.999, 1e-12)])
    def test_first_step_of_adam_has_the_length_of_the_learning_rate(self, rule, size):
        # m/w_m = g and s/w_s = g^2 whatever the betas: that is what the weights are for.
        first = run(rule, [[size, -size]], theta=[0.0, 0.0])[0]
        assert first == pytest.approx([-0.1, 0.1], rel=1e-6)

    def test_adam_takes_no_notice_of_the_unit_of_the_loss(self):
        rng = np.random.default_rng(0)
        gradients = rng.normal(size=(20, 3))
        one, thousand = (
            run(scf.Adam(epsilon=1e-14), factor * gradients, theta=np.ones(3))
            for factor in (1.0, 1000.0)
        )
        assert one == pytest.approx(thousand, rel=1e-9)

    def test_a_parameter_without_gradient(self):
        # Of all rules AdamW alone moves it: by (1 - eta weight_decay) each step.
        for kind in OPTIMIZERS.values():
            end = run(kind(), [0.0, 0.0, 0.0])[-1, 0]
            assert end == (1.0 if kind is not scf.AdamW else pytest.approx(0.999**3, rel=1e-15))

    def test_penalty_and_decoupled_decay_are_not_the_same(self):
        # Two parameters, both 1, whose gradients swing by 1 and by 100 around 0. A penalty
        # reg theta in the gradient is divided by their size; AdamW's decay is not.
        sizes, reg, eta, n = np.array([1.0, 100.0]), 0.1, 0.01, 400
        signs = [(-1.0) ** t for t in range(n)]

        def shrunk(rule, penalty, pull):
            theta = np.ones(2)
            memory = start(rule, theta)
            for sign in signs:
                g = pull * sign * sizes + penalty * theta
                theta, memory = rule.step(theta, g, memory, eta, None)
            return theta

        noise = shrunk(scf.Adam(epsilon=1e-12), 0.0, 1.0) - 1  # the swings alone
        by_penalty = shrunk(scf.Adam(epsilon=1e-12), reg, 1.0) - noise
        by_decay = shrunk(scf.AdamW(epsilon=1e-12, weight_decay=reg), 0.0, 1.0) - noise
        assert by_decay == pytest.approx([(1 - eta * reg) ** n] * 2, rel=0.1)  # about 0.67
        assert by_penalty[0] < 0.8  # where gradients are 1, as good as the decay
        assert by_penalty[1] > 0.99  # where they are 100, a hundredth of it
        # Plain descent does not tell them apart.
        plain = shrunk(scf.SGD(), reg, 0.0)
        assert plain == pytest.approx([(1 - eta * reg) ** n] * 2, rel=1e-12)

    def test_adamw_without_decay_is_adam(self):
        assert run(scf.AdamW(weight_decay=0.0)).tolist() == run(scf.Adam()).tolist()

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_every_rule_goes_down_a_bowl(self, name):
        rule, theta = OPTIMIZERS[name](), np.array([1.0, -2.0, 3.0])
        memory = start(rule, theta)
        for _ in range(500):
            theta, memory = rule.step(theta, theta, memory, 0.05, None)
        assert np.abs(theta).max() < 0.1 if name != "adagrad" else np.abs(theta).max() < 1.5


class TestPurity:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_inputs_are_left_as_they_are(self, name):
        rule, rng = OPTIMIZERS[name](), np.random.default_rng(0)
        theta, g = rng.normal(size=(2, 5))
        _, memory = rule.step(theta, g, start(rule, theta), 0.1, None)
        given = [theta, g, *map(np.asarray, memory.values())]
        before = [array.copy() for array in given]
        one = rule.step(theta, g, memory, 0.1, None)
        for array, old in zip(given, before, strict=True):
            assert array.tolist() == old.tolist()
        # And the same inputs give the same outcome again.
        two = rule.step(theta, g, memory, 0.1, None)
        assert one[0].tolist() == two[0].tolist()
        for key in one[1]:
            assert one[1][key].tolist() == two[1][key].tolist()

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_the_memory_is_what_the_rule_says(self, name):
        rule, theta = OPTIMIZERS[name](), np.ones(4)
        _, memory = rule.step(theta, theta, start(rule, theta), 0.1, None)
        assert set(memory) == {*rule.arrays, *rule.numbers}
        assert all(memory[key].shape == (4,) for key in rule.arrays)
        assert all(np.shape(memory[key]) == () for key in rule.numbers)


class TestApply:
    """`descent.apply` puts a step into the arrays themselves, piece by piece."""

    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize("n", [1, 7, 8, 9, 50])
    def test_pieces_give_the_same_bits_as_the_whole(self, name, n, monkeypatch):
        monkeypatch.setattr(descent, "_PIECE", 8)
        rule, rng = OPTIMIZERS[name](), np.random.default_rng(0)
        whole = rng.normal(size=n)
        pieces = whole.copy()
        memory, in_pieces = start(rule, whole), start(rule, whole)
        for t in range(4):
            g = rng.normal(size=n)
            whole, memory = rule.step(whole, g, memory, 0.1 / (t + 1), 0.5 + t / 10)
            descent.apply(rule, pieces, g, in_pieces, 0.1 / (t + 1), 0.5 + t / 10)
            assert pieces.tolist() == whole.tolist()
            for key in memory:
                assert in_pieces[key].tolist() == memory[key].tolist(), key


class TestSettings:
    @pytest.mark.parametrize(
        ("kind", "setting", "value", "error", "message"),
        [
            (scf.Momentum, "momentum", 1.0, ValueError, "`momentum` must be < 1, got 1.0"),
            (scf.Nesterov, "momentum", -0.1, ValueError, "`momentum` must be >= 0, got -0.1"),
            (scf.Adam, "momentum", 1.5, ValueError, "`momentum` must be <= 1, got 1.5"),
            (scf.Adam, "beta2", 1, ValueError, "`beta2` must be < 1, got 1"),
            (scf.Adam, "beta2", "0.9", TypeError, "`beta2` must be a number, got '0.9'"),
            (scf.Adam, "epsilon", 0.0, ValueError, "`epsilon` must be > 0, got 0.0"),
            (scf.RMSprop, "beta2", 1.0, ValueError, "`beta2` must be < 1, got 1.0"),
            (scf.RMSprop, "epsilon", -1, ValueError, "`epsilon` must be > 0, got -1"),
            (scf.Adagrad, "epsilon", 0, ValueError, "`epsilon` must be > 0, got 0"),
            (scf.AdamW, "momentum", 1.0, ValueError, "`momentum` must be < 1, got 1.0"),
            (scf.AdamW, "weight_decay", -1, ValueError, "`weight_decay` must be >= 0, got -1"),
            (
                scf.AdamW, "weight_decay", math.nan, ValueError,
                "`weight_decay` must be finite and >= 0, got nan",
            ),
        ],
    )  # fmt: skip
    def test_senseless(self, kind, setting, value, error, message):
        with pytest.raises(error) as caught:
            kind(**{setting: value})
        assert str(caught.value) == message

    def test_defaults_are_those_of_fastai_and_pytorch(self):
        assert scf.Adam() == scf.Adam(0.9, 0.99, 1e-5)  # fastai's mom, sqr_mom, eps
        assert scf.AdamW() == scf.AdamW(0.9, 0.99, 1e-5, 0.01)  # and wd
        assert scf.Adagrad() == scf.Adagrad(1e-10)  # torch.optim.Adagrad
        assert scf.RMSprop() == scf.RMSprop(0.99, 1e-8)  # torch.optim.RMSprop
