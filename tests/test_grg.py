"""The Solver mirror: when it stops, what it says, how it differentiates, what it finds."""

import time
import tracemalloc

import numpy as np
import pytest
import reference
from scipy import optimize

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import grg

# Word for word what Excel shows.
SOLVER_SAYS = {
    0: "Solver found a solution. All constraints and optimality conditions are satisfied.",
    1: "Solver has converged to the current solution. All constraints are satisfied.",
    2: "Solver cannot improve the current solution. All constraints are satisfied.",
    3: "Stop chosen when the maximum iteration limit was reached.",
    6: "Solver stopped at user's request.",
    9: "Solver encountered an error value in the objective cell or a constraint cell.",
    10: "Stop chosen when the maximum time limit was reached.",
}


def options(**settings):
    """Solver options with the fast derivatives, where the test is not about derivatives."""
    return scf.SolverOptions(**{"derivatives": "analytic"} | settings)


def check_ending(result, ratings, code):
    """What holds for every run, however it ends."""
    assert result.code == code, result.message
    assert result.message == SOLVER_SAYS[code]
    assert result.parameters.is_finite()
    assert objective.rmse(ratings, result.parameters) == result.rmse_after
    assert [row["iteration"] for row in result.trace] == list(range(len(result.trace)))
    assert all(set(row) == {"iteration", "train_rmse", "seconds"} for row in result.trace)


def solve_despite_ctrl_c(ratings, start, callback=None):
    """Run; should the interrupt come through, fail this test and not the whole suite."""
    try:
        return grg.solve(ratings, start, options(), callback)
    except KeyboardInterrupt:
        pytest.fail("KeyboardInterrupt came through")


@pytest.fixture
def lesson(crosstab):
    """The spreadsheet's problem and one start for it."""
    return crosstab, scf.Parameters.random(15, 15, 5, random_state=0)


class TestConvergenceRule:
    """Stop when five iterations in a row stay within `convergence` of a reference value.

    The reference is the last value that was further away than `convergence` from the
    reference before it, as in GRG2: slow drift adds up until it counts.
    """

    def test_by_hand(self, monkeypatch):
        # convergence 1%. In the right column how many iterations in a row were quiet.
        script = [
            # 100 at the start: the first reference
            99.5,  # 0.5%  from 100     1
            99.2,  # 0.8%  from 100     2
            98.9,  # 1.1%  from 100     0, and 98.9 is the new reference
            98.5,  # 0.4%  from 98.9    1
            98.2,  # 0.7%  from 98.9    2
            98.0,  # 0.91% from 98.9    3
            97.95,  # 0.96% from 98.9   4
            97.92,  # 0.99% from 98.9   5: stop
            97.91,  # never reached
        ]
        # Against the value just before, every one of them is quiet, and a simpler rule
        # would have stopped after the fifth.

        def scripted(fun, x0, *, callback, **_):
            for value in script:
                try:
                    callback(optimize.OptimizeResult(x=x0, fun=value))
                except StopIteration:
                    break
            return optimize.OptimizeResult(x=x0, success=False)

        monkeypatch.setattr(optimize, "minimize", scripted)
        ratings = scf.Ratings(np.array([0]), np.array([0]), [0], [0], [0.0])
        start = scf.Parameters(np.full((1, 1), 10.0), np.full((1, 1), 10.0))  # RMSE 100
        result = grg.solve(ratings, start, options(convergence=0.01))
        assert [row["train_rmse"] for row in result.trace] == [100.0, *script[:8]]
        assert (result.code, result.message) == (1, SOLVER_SAYS[1])

    @pytest.mark.parametrize("convergence", [1e-1, 1e-2, 1e-3, 1e-4])
    def test_on_real_runs(self, lesson, convergence):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(convergence=convergence))
        check_ending(result, ratings, 1)
        values = [row["train_rmse"] for row in result.trace]
        # The last five stay within `convergence` of the one before them ...
        anchor = values[-6]
        assert all(abs(v - anchor) <= convergence * anchor for v in values[-5:])
        # ... and nowhere before did five others stay within it of their own reference.
        reference_value, quiet = values[0], 0
        for v in values[1:-1]:
            far = abs(v - reference_value) > convergence * reference_value
            reference_value, quiet = (v, 0) if far else (reference_value, quiet + 1)
            assert quiet < 5

    def test_the_loosest_stops_after_five_iterations(self, lesson):
        # No fall of the RMSE is more than 100%, so all iterations are quiet.
        ratings, start = lesson
        result = grg.solve(ratings, start, options(convergence=1.0))
        check_ending(result, ratings, 1)
        assert result.iterations == 5

    def test_tighter_runs_longer_and_ends_lower(self, lesson):
        ratings, start = lesson
        runs = [grg.solve(ratings, start, options(convergence=c)) for c in (1e-1, 1e-2, 1e-4)]
        iterations = [run.iterations for run in runs]
        final = [run.rmse_after for run in runs]
        assert iterations[0] < iterations[1] < iterations[2]
        assert final[0] > final[1] > final[2]


class TestEndings:
    @pytest.mark.parametrize("limit", [1, 2, 7])
    def test_iteration_limit(self, lesson, limit):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(iterations=limit))
        check_ending(result, ratings, 3)
        assert result.iterations == limit

    def test_time_limit(self, lesson):
        # Each iteration is made to last a fiftieth of a second; a tenth is allowed.
        ratings, start = lesson
        result = grg.solve(ratings, start, options(max_time=0.1), lambda row: time.sleep(0.02))
        check_ending(result, ratings, 10)
        assert result.seconds >= 0.1
        assert result.trace[-2]["seconds"] < 0.1 <= result.trace[-1]["seconds"]
        assert result.iterations <= 6

    def test_stopped_by_the_callback(self, lesson):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(), lambda row: row["iteration"] == 4)
        check_ending(result, ratings, 6)
        assert result.iterations == 4

    def test_the_callback_gets_every_row(self, lesson):
        ratings, start = lesson
        rows = []
        result = grg.solve(ratings, start, options(iterations=6), rows.append)
        assert rows == result.trace[1:]

    def test_ctrl_c(self, lesson):
        ratings, start = lesson

        def press_ctrl_c(row):
            if row["iteration"] == 4:
                raise KeyboardInterrupt

        result = solve_despite_ctrl_c(ratings, start, press_ctrl_c)
        check_ending(result, ratings, 6)
        # What was reached is kept: the best point so far.
        assert result.iterations == 4
        assert result.rmse_after == min(row["train_rmse"] for row in result.trace)
        assert result.rmse_after < result.rmse_before

    def test_ctrl_c_in_the_middle_of_an_iteration(self, lesson, monkeypatch):
        # Between two iterations' ends, while the RMSE of some trial point is computed.
        ratings, start = lesson
        calls = []

        def interrupted(ratings, parameters, rmse=objective.rmse):
            calls.append(1)
            if len(calls) == 20:
                raise KeyboardInterrupt
            return rmse(ratings, parameters)

        with monkeypatch.context() as patch:
            patch.setattr(objective, "rmse", interrupted)
            result = solve_despite_ctrl_c(ratings, start)
        check_ending(result, ratings, 6)
        assert 1 <= result.iterations < 20

    def test_other_errors_of_the_callback_come_through(self, lesson):
        def broken(row):
            raise ZeroDivisionError("in the callback")

        with pytest.raises(ZeroDivisionError, match="in the callback"):
            grg.solve(*lesson, options(), broken)

    @pytest.mark.parametrize("derivatives", grg.DERIVATIVES)
    def test_start_at_a_perfect_fit(self, derivatives):
        ratings, _ = reference.problem(4, 3, 2, rated=0.7)
        theta = scf.Parameters(np.zeros((4, 2)), np.zeros((3, 2)))
        no_stars = scf.Ratings(
            ratings.user_ids,
            ratings.item_ids,
            ratings.user_idx,
            ratings.item_idx,
            np.zeros(len(ratings)),
        )
        result = grg.solve(no_stars, theta, options(derivatives=derivatives))
        check_ending(result, no_stars, 0)
        assert (result.iterations, result.rmse_after) == (0, 0.0)
        assert result.parameters.equals(theta)

    def test_a_smooth_minimum_reached_exactly(self):
        # R = [[1, 3], [3, 1]] has the singular values 4 and 2. One factor can take the first
        # only; the second is left: RMSE = sqrt(2^2 / 4) = 1.
        ratings = scf.Ratings(np.arange(2), np.arange(2), [0, 0, 1, 1], [0, 1, 0, 1], [1, 3, 3, 1])
        start = scf.Parameters.random(2, 2, 1, random_state=0)
        result = grg.solve(ratings, start, options(convergence=0))
        assert result.rmse_after == pytest.approx(1.0, abs=1e-9)
        check_ending(result, ratings, 0)
        assert np.abs(objective.rmse_gradient(ratings, result.parameters).pack()).max() <= 1e-6

    def test_a_perfect_fit_from_afar(self):
        # At RMSE 0 the objective has a kink, like |x|: no slope near it is small, so the
        # gradient never says "optimal". Rounding ends the run: nothing lower is found.
        ratings, table = reference.planted(8, 6, 2, rated=0.8)
        result = grg.solve(ratings, scf.Parameters.random(8, 6, 2, random_state=0), options())
        check_ending(result, ratings, 2)
        assert result.rmse_after < 1e-12
        np.testing.assert_allclose(result.parameters.predict_all(), table, rtol=1e-9)

    @pytest.mark.parametrize("size", [1e100, 1e200])
    @pytest.mark.parametrize("derivatives", grg.DERIVATIVES)
    def test_a_start_that_overflows(self, size, derivatives):
        # #NUM! in the objective cell.
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters(np.full((3, 2), size), np.full((3, 2), size))
        result = grg.solve(ratings, theta, options(derivatives=derivatives))
        assert (result.code, result.message) == (9, SOLVER_SAYS[9])
        assert result.iterations == 0
        assert result.parameters.is_finite()
        assert result.parameters.equals(theta)

    @pytest.mark.parametrize("size", [1e10, 1e40, 1e75])
    def test_a_huge_start_overflows_on_the_way(self, size):
        # Trial points may overflow; nothing of that reaches the user, neither as a
        # warning (an error in this suite) nor as an infinite result.
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters.random(3, 3, 2, scale=size, random_state=0)
        result = grg.solve(ratings, theta, options())
        check_ending(result, ratings, result.code)
        assert result.rmse_after <= result.rmse_before


@pytest.fixture
def scipy_call(monkeypatch):
    """Runs as ever, and remembers with what scipy's minimize was called."""
    call = {}

    def remembered(fun, x0, minimize=optimize.minimize, **arguments):
        call.update(fun=fun, x0=x0, **arguments)
        return minimize(fun, x0, **arguments)

    monkeypatch.setattr(optimize, "minimize", remembered)
    return call


class TestDerivatives:
    def test_step(self):
        # max(1e-4 |x|, 1e-5): 1e-4 of the value, and never less than 1e-5.
        x = np.array([0.0, 0.05, -0.05, 0.2, 1.0, -20.0])
        np.testing.assert_allclose(
            grg.difference_step(x), [1e-5, 1e-5, 1e-5, 2e-5, 1e-4, 2e-3], rtol=1e-15
        )

    @pytest.fixture(params=[False, True], ids=["no biases", "biases"])
    def case(self, request):
        """A table, a point with numbers small and large, and the slow loops' gradient there."""
        ratings, theta = reference.problem(4, 5, 2, bias=request.param, rated=0.7)
        x = theta.pack() * np.resize([1.0, -3.0, 0.01], theta.n_params)
        theta = theta.unpack(x)
        slow = reference.rmse_gradient(reference.triplets(ratings), reference.plain(theta))
        return ratings, theta, np.array(reference.pack(slow))

    def gradient_used(self, case, scipy_call, derivatives):
        ratings, theta, _ = case
        grg.solve(ratings, theta, scf.SolverOptions(derivatives=derivatives, iterations=1))
        np.testing.assert_array_equal(scipy_call["x0"], theta.pack())
        assert scipy_call["fun"](theta.pack()) == objective.rmse(ratings, theta)
        return scipy_call["jac"](theta.pack())

    def test_analytic(self, case, scipy_call):
        np.testing.assert_allclose(
            self.gradient_used(case, scipy_call, "analytic"), case[2], rtol=1e-12, atol=1e-14
        )

    def test_forward(self, case, scipy_call):
        # Off by h/2 f''. For the RMSE, f'' along P_uk is (sum of Q_ik^2 over I(u)) / (n rmse)
        # minus something >= 0 that is at most slope^2 / rmse. Rounding adds about
        # 2 * 1e-16 * rmse / h <= 1e-10.
        ratings, theta, exact = case
        error = self.gradient_used(case, scipy_call, "forward") - exact
        h = grg.difference_step(theta.pack())
        rmse = objective.rmse(ratings, theta)
        squares = reference.scaled(reference.plain(theta), 0.0)
        for u, i, _ in reference.triplets(ratings):
            for k in range(theta.n_factors):
                squares.P[u][k] += theta.item_factors[i, k] ** 2
                squares.Q[i][k] += theta.user_factors[u, k] ** 2
            if theta.has_bias:
                squares.bu[u] += 1
                squares.bi[i] += 1
        curvature = np.array(reference.pack(squares)) / (len(ratings) * rmse) - exact**2 / rmse
        np.testing.assert_allclose(error, h / 2 * curvature, rtol=1e-3, atol=1e-9)
        assert np.abs(error).max() > 1e-7  # so this is indeed no better gradient in disguise

    def test_central(self, case, scipy_call):
        # Off by h^2/6 f''', less than 1e-8 here, plus rounding; far better than forward.
        error = self.gradient_used(case, scipy_call, "central") - case[2]
        assert np.abs(error).max() < 1e-8
        assert np.abs(error).max() > 1e-14  # measured, not the formula

    def test_all_three_lead_to_the_same_place(self):
        ratings, start = reference.problem(8, 7, 1, bias=True)
        final = [
            grg.solve(ratings, start, options(derivatives=derivatives)).rmse_after
            for derivatives in grg.DERIVATIVES
        ]
        assert max(final) - min(final) < 1e-4
        assert max(final) < 1.5 < objective.rmse(ratings, start)

    def test_forward_is_the_default_as_in_excel(self):
        assert scf.SolverOptions() == scf.SolverOptions(
            convergence=1e-4, derivatives="forward", iterations=None, max_time=None
        )


def starts(n):
    """As the lesson's =RAND(): uniform(0, 1).

    Over 240 other starts 89% reached the best optimum at convergence 1e-9, in groups
    of 30 between 83% and 97%.
    """
    return [scf.Parameters.random(15, 15, 5, random_state=30 + k) for k in range(n)]


def best_optimum_by_lbfgsb(ratings, parameters):
    """Lowest RMSE that another method of scipy's finds from here, on a full table.

    Written out with a table of residuals instead of triplets, and with its own gradient,
    so that it shares nothing with the package.
    """
    table = ratings.to_crosstab().to_numpy()
    rated = ~np.isnan(table)
    n = rated.sum()
    n_users, n_factors = parameters.user_factors.shape

    def mse(x):
        P, Q = np.split(x.reshape(-1, n_factors), [n_users])
        E = np.where(rated, P @ Q.T - np.nan_to_num(table), 0.0)
        return np.sum(E**2) / n, np.concatenate([E @ Q, E.T @ P]).ravel() * 2 / n

    found = optimize.minimize(
        mse,
        parameters.pack(),
        jac=True,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000},
    )
    return np.sqrt(found.fun)


class TestTheLesson:
    """Best known RMSE of the spreadsheet's problem 0.39290; other local minima 0.40147, 0.41287."""

    def test_at_excels_default_convergence(self, crosstab):
        runs = [grg.solve(crosstab, start, options()) for start in starts(30)]
        assert all(run.code == 1 for run in runs)
        assert min(run.rmse_before for run in runs) > 2
        final = [run.rmse_after for run in runs]
        assert min(final) > 0.39290  # nothing can be better than the best
        assert np.median(final) <= 0.3931

    @pytest.mark.slow
    def test_at_excels_default_settings(self, crosstab):
        # The same with Excel's own forward differences: 150 more evaluations an iteration.
        runs = [grg.solve(crosstab, start) for start in starts(30)]
        assert np.median([run.rmse_after for run in runs]) <= 0.3931

    def test_at_a_tight_convergence(self, crosstab):
        runs = [grg.solve(crosstab, start, options(convergence=1e-9)) for start in starts(30)]
        final = np.array([run.rmse_after for run in runs])
        assert np.mean(final <= 0.39291) >= 0.8, np.sort(final)
        assert np.median(final) == pytest.approx(0.3929008, abs=1e-7)
        # Another method, started where each run ended, finds next to nothing left.
        left = [
            run.rmse_after - best_optimum_by_lbfgsb(crosstab, run.parameters) for run in runs[:10]
        ]
        assert max(left) < 1e-6
        assert min(left) > -1e-9  # and it computes the same RMSE

    def test_with_biases(self, crosstab):
        start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        result = grg.solve(crosstab, start, options(convergence=1e-5))
        assert result.rmse_after < 0.335  # best known 0.31866; without biases 0.39290


class TestLargeProblems:
    """Beyond 2000 variables the BFGS matrix would be too large: conjugate gradients."""

    def test_conjugate_gradients(self, scipy_call):
        # 2 * (900 + 400) = 2600 variables: their BFGS matrix alone would take 54 MB.
        ratings, _ = reference.planted(900, 400, 2, rated=0.02)
        start = scf.Parameters.random(900, 400, 2, random_state=0)
        tracemalloc.start()
        result = grg.solve(ratings, start, options(iterations=40))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        check_ending(result, ratings, 3)
        assert result.rmse_after < result.rmse_before / 10
        assert peak < 2600**2 * 8 / 4
        assert scipy_call["method"] == "CG"

    def test_quasi_newton_below(self, crosstab, scipy_call):
        # The spreadsheet's 180 variables.
        start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        grg.solve(crosstab, start, options(iterations=2))
        assert scipy_call["method"] == "BFGS"


class TestArguments:
    @pytest.mark.parametrize("derivatives", grg.DERIVATIVES)
    def test_the_start_is_left_as_it_is(self, lesson, derivatives):
        ratings, start = lesson
        before = start.pack()
        result = grg.solve(ratings, start, options(derivatives=derivatives, iterations=2))
        assert start.pack().tolist() == before.tolist()
        assert not result.parameters.equals(start)

    def test_nothing_is_drawn(self, lesson):
        ratings, start = lesson
        one, two = (
            grg.solve(ratings, start, options(iterations=9), random_state=seed).parameters
            for seed in (1, 2)
        )
        assert one.equals(two)

    @pytest.mark.parametrize(
        ("setting", "value", "error", "message"),
        [
            ("convergence", -0.1, ValueError, "`convergence` must be >= 0, got -0.1"),
            ("convergence", 1.5, ValueError, "`convergence` must be <= 1, got 1.5"),
            ("convergence", "no", TypeError, "`convergence` must be a number, got 'no'"),
            ("iterations", 0, ValueError, "`iterations` must be >= 1, got 0"),
            ("iterations", 1.5, TypeError, "`iterations` must be a whole number, got 1.5"),
            ("max_time", 0, ValueError, "`max_time` must be > 0, got 0"),
            (
                "derivatives",
                "backward",
                ValueError,
                "`derivatives` must be one of forward, central, analytic, got 'backward'",
            ),
        ],
    )
    def test_senseless_settings(self, setting, value, error, message):
        with pytest.raises(error) as caught:
            scf.SolverOptions(**{setting: value})
        assert str(caught.value) == message

    def test_parameters_of_another_table(self, lesson):
        with pytest.raises(ValueError, match=r"Parameters\(4 users, .* do not fit Ratings\(15"):
            grg.solve(lesson[0], scf.Parameters.random(4, 15))

    def test_parameters_that_are_not_finite(self, lesson):
        ratings, start = lesson
        x = start.pack()
        x[-1] = np.inf
        with pytest.raises(ValueError, match="must be finite"):
            grg.solve(ratings, start.unpack(x))
