"""The Solver mirror: when it stops, what it says, how it differentiates, what it finds.

Constraints on cells that are not variables: test_constraints.py.
"""

import itertools
import time
import tracemalloc

import numpy as np
import pytest
import reference
from scipy import optimize

import shallow_cf as scf
from shallow_cf import Constraint, objective
from shallow_cf.solvers import grg, multistart
from shallow_cf.solvers.monitor import Monitor
from shallow_cf.solvers.options import DERIVATIVES, draw_start
from shallow_cf.solvers.problem import Problem, difference_step
from shallow_cf.solvers.table import Table

# Word for word what Excel shows.
SOLVER_SAYS = {
    0: "Solver found a solution. All constraints and optimality conditions are satisfied.",
    1: "Solver has converged to the current solution. All constraints are satisfied.",
    2: "Solver cannot improve the current solution. All constraints are satisfied.",
    3: "Stop chosen when the maximum iteration limit was reached.",
    4: "The Objective Cell values do not converge.",
    5: "Solver could not find a feasible solution.",
    6: "Solver stopped at user's request.",
    9: "Solver encountered an error value in the objective cell or a constraint cell.",
    10: "Stop chosen when the maximum time limit was reached.",
    17: "Solver converged in probability to a global solution.",
    18: "All variables must have both upper and lower bounds.",
    20: "Lower and upper bounds on variables allow no feasible solution.",
}
GRG_ROW = {"iteration", "train_rmse", "step", "gradient_norm", "seconds"}


def options(**settings):
    """Solver options with the fast derivatives, where the test is not about derivatives."""
    return scf.SolverOptions(**{"derivatives": "analytic"} | settings)


def check_ending(result, ratings, code):
    """What holds for every run, however it ends."""
    assert result.code == code, result.message
    assert result.message == SOLVER_SAYS[code]
    assert result.parameters.is_finite()
    # The trace's last row is about the parameters returned. (Rounding: `solvers.table` adds
    # up in another order than `objective`.)
    rmse = objective.rmse(ratings, result.parameters)
    assert result.rmse_after == pytest.approx(rmse, rel=1e-12, abs=1e-14)
    assert [row["iteration"] for row in result.trace] == list(range(len(result.trace)))
    assert all(set(row) == GRG_ROW for row in result.trace)


def solve_despite_ctrl_c(ratings, start, callback=None):
    """Run; should the interrupt come through, fail this test and not the whole suite."""
    try:
        return grg.solve(ratings, start, options(), callback)
    except KeyboardInterrupt:
        pytest.fail("KeyboardInterrupt came through")


#: The whole table [[1, 3], [3, 1]].
TWO_BY_TWO = scf.Ratings(np.arange(2), np.arange(2), [0, 0, 1, 1], [0, 1, 0, 1], [1, 3, 3, 1])


@pytest.fixture
def lesson(crosstab):
    """The spreadsheet's problem and one start for it."""
    return crosstab, scf.Parameters.random(15, 15, 5, random_state=0)


class TestConvergenceRule:
    """Stop when five iterations in a row stay within `convergence` of a reference value.

    The reference is the last value that was further away than `convergence` from the
    reference before it, as in GRG2: slow drift adds up until it counts.
    """

    def test_by_hand(self):
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
        ]
        # Against the value just before, every one of them is quiet, and a simpler rule
        # would have stopped after the fifth.

        monitor = Monitor(convergence=0.01, iterations=None, max_time=None, callback=None)
        assert monitor.note(np.zeros(1), 100.0) is None
        codes = [monitor.note(np.zeros(1), value) for value in script]
        assert codes == [None] * 7 + [1]
        assert [row["train_rmse"] for row in monitor.trace] == [100.0, *script]

    def test_what_is_not_feasible_does_not_count(self):
        # Solver goes on as long as a constraint is missed, however little changes.
        monitor = Monitor(convergence=0.01, iterations=None, max_time=None, callback=None)
        monitor.note(np.zeros(1), 1.0)
        missed = [monitor.note(np.zeros(1), 1.0, is_feasible=False) for _ in range(9)]
        assert missed == [None] * 9
        assert [monitor.note(np.zeros(1), 1.0) for _ in range(5)] == [None] * 4 + [1]

    def test_a_row_says_how_far_the_point_moved(self):
        monitor = Monitor(convergence=0.0, iterations=None, max_time=None, callback=None)
        monitor.note(np.array([1.0, 1.0]), 2.0, 0.5)
        monitor.note(np.array([4.0, 5.0]), 1.0, 0.25)
        assert [row["step"] for row in monitor.trace] == [0.0, 5.0]  # 3, 4, 5
        assert [row["gradient_norm"] for row in monitor.trace] == [0.5, 0.25]

    @pytest.mark.parametrize("search", ["newton", "conjugate"])
    @pytest.mark.parametrize("convergence", [1e-1, 1e-2, 1e-3, 1e-4])
    def test_on_real_runs(self, lesson, convergence, search):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(convergence=convergence, search=search))
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

        def interrupted(table, theta, value=Table.value):
            calls.append(1)
            if len(calls) == 20:
                raise KeyboardInterrupt
            return value(table, theta)

        with monkeypatch.context() as patch:
            patch.setattr(Table, "value", interrupted)
            result = solve_despite_ctrl_c(ratings, start)
        check_ending(result, ratings, 6)
        assert 1 <= result.iterations < 20
        # The best point so far is kept, and so is its slope.
        assert result.rmse_after == min(row["train_rmse"] for row in result.trace)
        np.testing.assert_allclose(
            result.reduced_gradient.pack(),
            objective.rmse_gradient(ratings, result.parameters).pack(),
            atol=1e-12,
        )

    def test_other_errors_of_the_callback_come_through(self, lesson):
        def broken(row):
            raise ZeroDivisionError("in the callback")

        with pytest.raises(ZeroDivisionError, match="in the callback"):
            grg.solve(*lesson, options(), broken)

    @pytest.mark.parametrize("derivatives", DERIVATIVES)
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
        ratings = TWO_BY_TWO
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

    @pytest.mark.parametrize("search", ["newton", "conjugate"])
    def test_a_maximum_without_bounds(self, lesson, search):
        # The further from the ratings, the larger the RMSE, without end.
        ratings, start = lesson
        result = grg.solve(ratings, start, options(to="max", search=search))
        check_ending(result, ratings, 4)
        assert result.rmse_after > result.rmse_before

    def test_a_value_out_of_reach(self):
        # The table of `test_a_smooth_minimum_reached_exactly`: nothing is lower than 1.
        start = scf.Parameters.random(2, 2, 1, random_state=0)
        result = grg.solve(TWO_BY_TWO, start, options(to="value_of", value=0.5))
        check_ending(result, TWO_BY_TWO, 5)
        assert result.rmse_after == pytest.approx(1.0, abs=1e-6)  # as near as possible

    def test_bounds_that_contradict_each_other(self, lesson):
        ratings, start = lesson
        bounds = (Constraint("user_factors", ">=", 1), Constraint("user_factors", "<=", 0.5))
        result = grg.solve(ratings, start, options(constraints=bounds))
        check_ending(result, ratings, 20)
        # It does not even begin.
        assert result.iterations == 0
        assert result.parameters.equals(start)
        assert result.reduced_gradient is None

    def test_bounds_that_leave_one_value(self, lesson):
        # 1 <= x <= 1 is no contradiction.
        ratings, start = lesson
        bounds = (Constraint("user_factors", ">=", 1), Constraint("user_factors", "<=", 1))
        result = grg.solve(ratings, start, options(constraints=bounds))
        assert result.code in (0, 1)
        assert (result.parameters.user_factors == 1).all()

    @pytest.mark.parametrize("size", [1e100, 1e200])
    @pytest.mark.parametrize("derivatives", DERIVATIVES)
    def test_a_start_that_overflows(self, size, derivatives):
        # #NUM! in the objective cell.
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters(np.full((3, 2), size), np.full((3, 2), size))
        result = grg.solve(ratings, theta, options(derivatives=derivatives))
        assert (result.code, result.message) == (9, SOLVER_SAYS[9])
        assert result.iterations == 0
        assert result.parameters.is_finite()
        assert result.parameters.equals(theta)
        assert result.reduced_gradient is None

    @pytest.mark.parametrize("size", [1e10, 1e40, 1e75])
    def test_a_huge_start_overflows_on_the_way(self, size):
        # Trial points may overflow; nothing of that reaches the user, neither as a
        # warning (an error in this suite) nor as an infinite result.
        ratings, _ = reference.problem(3, 3, 2)
        theta = scf.Parameters.random(3, 3, 2, scale=size, random_state=0)
        result = grg.solve(ratings, theta, options())
        # (Not `check_ending`: numbers of 1e20 that cancel leave no digits to compare.)
        assert result.message == SOLVER_SAYS[result.code]
        assert result.parameters.is_finite()
        assert np.isfinite(objective.rmse(ratings, result.parameters))
        assert result.rmse_after <= result.rmse_before


class TestDerivatives:
    def test_step(self):
        # max(1e-4 |x|, 1e-5): 1e-4 of the value, and never less than 1e-5.
        x = np.array([0.0, 0.05, -0.05, 0.2, 1.0, -20.0])
        np.testing.assert_allclose(
            difference_step(x), [1e-5, 1e-5, 1e-5, 2e-5, 1e-4, 2e-3], rtol=1e-15
        )

    @pytest.fixture(params=[False, True], ids=["no biases", "biases"])
    def case(self, request):
        """A table, a point with numbers small and large, and the slow loops' gradient there."""
        ratings, theta = reference.problem(4, 5, 2, bias=request.param, rated=0.7)
        x = theta.pack() * np.resize([1.0, -3.0, 0.01], theta.n_params)
        theta = theta.unpack(x)
        slow = reference.rmse_gradient(reference.triplets(ratings), reference.plain(theta))
        return ratings, theta, np.array(reference.pack(slow))

    def slope(self, case, derivatives):
        ratings, theta, _ = case
        problem = Problem(ratings, theta, scf.SolverOptions(derivatives=derivatives))
        return problem.slope(theta.pack())

    def test_analytic(self, case):
        np.testing.assert_allclose(self.slope(case, "analytic"), case[2], rtol=1e-12, atol=1e-14)

    def test_forward(self, case):
        # Off by h/2 f''. For the RMSE, f'' along P_uk is (sum of Q_ik^2 over I(u)) / (n rmse)
        # minus something >= 0 that is at most slope^2 / rmse. Rounding adds about
        # 2 * 1e-16 * rmse / h <= 1e-10.
        ratings, theta, exact = case
        error = self.slope(case, "forward") - exact
        h = difference_step(theta.pack())
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

    def test_central(self, case):
        # Off by h^2/6 f''', less than 1e-8 here, plus rounding; far better than forward.
        error = self.slope(case, "central") - case[2]
        assert np.abs(error).max() < 1e-8
        assert np.abs(error).max() > 1e-14  # measured, not the formula

    @pytest.mark.parametrize("derivatives", ["forward", "central"])
    def test_differences_one_variable_at_a_time(self, case, derivatives):
        # What Solver does, the long way: change one cell, let the sheet compute, change it
        # back. The package computes only what depends on the cell; the numbers agree.
        ratings, theta, _ = case
        x = theta.pack()

        def cell(x):
            return objective.rmse(ratings, theta.unpack(x))

        for j, h in enumerate(difference_step(x)):
            step = np.zeros_like(x)
            step[j] = h
            slope = (
                (cell(x + step) - cell(x)) / h
                if derivatives == "forward"
                else (cell(x + step) - cell(x - step)) / (2 * h)
            )
            # Rounding of the RMSE, 1e-16, over h >= 1e-5.
            assert self.slope(case, derivatives)[j] == pytest.approx(slope, abs=1e-9)

    @pytest.mark.parametrize(
        ("derivatives", "evaluations"), [("forward", 150 + 1), ("central", 300), ("analytic", 0)]
    )
    def test_cost_of_a_gradient(self, lesson, derivatives, evaluations):
        # Forward: one for each of the 150 variables, and one at the point itself.
        ratings, start = lesson
        problem = Problem(ratings, start, scf.SolverOptions(derivatives=derivatives))
        problem.slope(start.pack())
        assert (problem.table.n_function, problem.table.n_gradient) == (evaluations, 1)

    @pytest.mark.parametrize(
        ("derivatives", "evaluations"), [("forward", 150 + 1), ("central", 300), ("analytic", 0)]
    )
    def test_cost_of_a_run(self, lesson, derivatives, evaluations, monkeypatch):
        tried = []

        def counted(problem, theta, alpha=0.0, at=Problem.at):
            tried.append(theta)
            return at(problem, theta, alpha)

        monkeypatch.setattr(Problem, "at", counted)
        result = grg.solve(*lesson, options(derivatives=derivatives, iterations=8))
        # A gradient for every row of the trace, none for the points of a line search.
        assert result.n_gradient == len(result.trace) == 9
        assert result.n_function == len(tried) + 9 * evaluations
        # A line search tries at least two points: one more than the one it takes.
        assert len(tried) >= 1 + 2 * 8

    def test_all_three_lead_to_the_same_place(self):
        ratings, start = reference.problem(8, 7, 1, bias=True)
        final = [
            grg.solve(ratings, start, options(derivatives=derivatives)).rmse_after
            for derivatives in DERIVATIVES
        ]
        assert max(final) - min(final) < 1e-4
        assert max(final) < 1.5 < objective.rmse(ratings, start)

    def test_forward_is_the_default_as_in_excel(self):
        assert scf.SolverOptions() == scf.SolverOptions(
            to="min",
            convergence=1e-4,
            precision=1e-6,
            derivatives="forward",
            search="newton",
            iterations=None,
            max_time=None,
            multistart=False,
            population_size=100,
            random_seed=0,
        )


def starts(n):
    """As the lesson's =RAND(): uniform(0, 1).

    Over 240 other starts 89% reached the best optimum at convergence 1e-9, in groups
    of 30 between 83% and 97%.
    """
    return [scf.Parameters.random(15, 15, 5, random_state=30 + k) for k in range(n)]


def best_optimum_by_lbfgsb(ratings, parameters, bounds=None):
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
        bounds=None if bounds is None else [bounds] * parameters.n_params,
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

    def test_at_excels_default_settings(self, crosstab):
        # The same with Excel's own forward differences: 151 more evaluations an iteration.
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

    def test_without_blank_cells_there_are_no_local_minima(self, crosstab):
        # The best approximation of a full table is known from its singular values: what is
        # left are those after the fifth (Eckart and Young 1936). Every start finds it.
        table = crosstab.to_crosstab()
        full = table.fillna(table.mean()).to_numpy()
        u, i = np.indices(full.shape).reshape(2, -1)
        ratings = scf.Ratings(crosstab.user_ids, crosstab.item_ids, u, i, full.ravel())
        best = np.sqrt(np.sum(np.linalg.svd(full)[1][5:] ** 2) / full.size)
        final = [
            grg.solve(ratings, start, options(convergence=1e-9)).rmse_after for start in starts(20)
        ]
        np.testing.assert_allclose(final, best, rtol=1e-6)

    def test_with_biases(self, crosstab):
        # Best known 0.3186550; without biases 0.3929008.
        final = []
        for seed in range(10):
            start = scf.Parameters.random(15, 15, 5, bias=True, random_state=30 + seed)
            final.append(grg.solve(crosstab, start, options(convergence=1e-9)).rmse_after)
        assert min(final) == pytest.approx(0.318655, abs=1e-6)
        assert max(final) < 0.335

    def test_conjugate_gradients_get_there_too(self, crosstab):
        # With more iterations: 90 in the median at 1e-6, where quasi-Newton needs 70.
        settings = options(convergence=1e-6, search="conjugate")
        runs = [grg.solve(crosstab, start, settings) for start in starts(30)]
        final = [run.rmse_after for run in runs]
        assert min(final) == pytest.approx(0.3929008, abs=1e-7)
        assert np.mean(np.array(final) <= 0.39291) >= 0.8, np.sort(final)
        newton = [
            grg.solve(crosstab, start, options(convergence=1e-6)).iterations for start in starts(30)
        ]
        assert np.median([run.iterations for run in runs]) > np.median(newton)


class TestLargeProblems:
    """Beyond 2000 variables the BFGS matrix would be too large: conjugate gradients."""

    def test_conjugate_gradients(self):
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
        asked_for = grg.solve(ratings, start, options(iterations=40, search="conjugate"))
        assert result.parameters.equals(asked_for.parameters)

    def test_quasi_newton_below(self, crosstab):
        # The spreadsheet's 180 variables.
        start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        default, newton, conjugate = (
            grg.solve(crosstab, start, options(iterations=3, **search)).parameters
            for search in ({}, {"search": "newton"}, {"search": "conjugate"})
        )
        assert default.equals(newton)
        assert not default.equals(conjugate)


class TestTarget:
    """What to do with the objective cell."""

    def test_a_maximum_within_bounds(self):
        # Along each variable alone the squared error is an upright parabola, highest at an
        # end of the interval. So the maximum over a box is at one of its corners: all of
        # them can be tried. Here 2^6.
        ratings, start = reference.problem(4, 2, 1, random_state=3)
        low, high = -1.0, 2.0
        corners = itertools.product([low, high], repeat=start.n_params)
        highest = max(objective.rmse(ratings, start.unpack(np.array(c))) for c in corners)
        bounds = tuple(
            Constraint(block, relation, value)
            for block in ("user_factors", "item_factors")
            for relation, value in ((">=", low), ("<=", high))
        )
        result = grg.solve(ratings, start, options(to="max", constraints=bounds))
        check_ending(result, ratings, 0)
        assert result.rmse_after > result.rmse_before
        assert set(result.parameters.pack()) <= {low, high}
        # One run finds the corner nearby; from many starts the highest is found.
        settings = options(to="max", constraints=bounds, multistart=True)
        many = grg.solve(ratings, start, settings, random_state=0)
        assert many.rmse_after == pytest.approx(highest, rel=1e-12)

    @pytest.mark.parametrize("start_from", ["above", "below"])
    @pytest.mark.parametrize("precision", [1e-2, 1e-6, 1e-9])
    def test_a_value(self, lesson, precision, start_from):
        ratings, start = lesson
        if start_from == "below":
            start = grg.solve(ratings, start, options()).parameters
        settings = options(to="value_of", value=0.5, precision=precision)
        result = grg.solve(ratings, start, settings)
        check_ending(result, ratings, 0)
        assert (result.rmse_before > 0.5) == (start_from == "above")
        assert abs(result.rmse_after - 0.5) <= precision
        # It stops at the first point that will do.
        assert all(abs(row["train_rmse"] - 0.5) > precision for row in result.trace[:-1])

    def test_the_value_is_there_already(self, lesson):
        ratings, start = lesson
        settings = options(to="value_of", value=objective.rmse(ratings, start))
        result = grg.solve(ratings, start, settings)
        check_ending(result, ratings, 0)
        assert result.iterations == 0


class TestScaling:
    """Use Automatic Scaling: each variable in units of its size at the start."""

    def test_units(self, lesson):
        ratings, start = lesson
        x = np.array([0.5, -3.0, 0.0])
        scaled = Problem(ratings, start, options(use_automatic_scaling=True))
        np.testing.assert_array_equal(scaled.scale(x), [0.5, 3.0, 1.0])
        np.testing.assert_array_equal(Problem(ratings, start, options()).scale(x), [1.0] * 3)

    @pytest.mark.parametrize("search", ["newton", "conjugate"])
    @pytest.mark.parametrize("is_scaled", [False, True])
    def test_the_first_step(self, lesson, search, is_scaled):
        # Steepest descent in the new units z = x / size: dz ~ -df/dz = -size df/dx.
        ratings, start = lesson
        settings = options(iterations=1, search=search, use_automatic_scaling=is_scaled)
        result = grg.solve(ratings, start, settings)
        size = start.pack() if is_scaled else np.ones(start.n_params)  # uniform(0, 1): all > 0
        moved = (result.parameters.pack() - start.pack()) / size
        downhill = -size * objective.rmse_gradient(ratings, start).pack()
        np.testing.assert_allclose(
            moved / np.linalg.norm(moved), downhill / np.linalg.norm(downhill), atol=1e-12
        )

    @pytest.mark.parametrize("is_scaled", [False, True])
    def test_other_units_same_steps(self, lesson, is_scaled):
        # 8 P and Q / 8 predict the same. Someone who measures in such units gets the same
        # steps with automatic scaling, and others without.
        ratings, start = lesson
        turned = scf.Parameters(start.user_factors * 8, start.item_factors / 8)
        settings = options(iterations=20, use_automatic_scaling=is_scaled)
        one, other = (grg.solve(ratings, theta, settings) for theta in (start, turned))
        same = np.allclose(
            [row["train_rmse"] for row in one.trace],
            [row["train_rmse"] for row in other.trace],
            rtol=1e-9,
        )
        assert same == is_scaled

    @pytest.mark.parametrize("search", ["newton", "conjugate"])
    def test_it_reaches_the_optimum(self, lesson, search):
        ratings, start = lesson
        settings = options(convergence=1e-9, search=search, use_automatic_scaling=True)
        result = grg.solve(ratings, start, settings)
        assert result.rmse_after == pytest.approx(0.3929008, abs=1e-7)


class TestBounds:
    def test_not_negative(self):
        # A table that non-negative numbers cannot fit as well as others can.
        ratings, start = reference.problem(8, 7, 4, random_state=4)
        result = grg.solve(ratings, start, options(non_negative=True, convergence=1e-12))
        check_ending(result, ratings, 0)
        x = result.parameters.pack()
        slope = objective.rmse_gradient(ratings, result.parameters).pack()
        assert (x >= 0).all()
        # The conditions of Karush, Kuhn and Tucker: level where a variable is free to
        # move, rising where it stands at its bound.
        assert np.abs(slope[x > 0]).max() <= 1e-6
        assert slope[x == 0].min() > -1e-6
        assert (x == 0).sum() >= 3  # else this test says little
        free = grg.solve(ratings, start, options(convergence=1e-12))
        assert free.rmse_after < result.rmse_after - 0.01

    def test_not_negative_on_the_lesson(self, lesson):
        # P and Q may be turned, so that here nothing is lost by it.
        ratings, start = lesson
        result = grg.solve(ratings, start, options(non_negative=True, convergence=1e-9))
        assert result.parameters.pack().min() >= 0
        assert result.rmse_after == pytest.approx(0.3929008, abs=1e-7)

    @pytest.mark.parametrize("search", ["newton", "conjugate"])
    def test_against_another_method(self, lesson, search):
        # 0 <= x <= 1.1: tight, as five factors then predict 6.05 stars at most.
        ratings, start = lesson
        bounds = tuple(
            Constraint(block, relation, value)
            for block in ("user_factors", "item_factors")
            for relation, value in ((">=", 0), ("<=", 1.1))
        )
        settings = options(constraints=bounds, convergence=1e-9, search=search)
        result = grg.solve(ratings, start, settings)
        x = result.parameters.pack()
        assert x.min() == 0.0
        assert x.max() == 1.1
        # Started where this run ended, L-BFGS-B finds next to nothing left.
        other = best_optimum_by_lbfgsb(ratings, result.parameters, bounds=(0, 1.1))
        assert -1e-9 < result.rmse_after - other < 1e-6

    def test_a_start_outside_begins_at_the_bound(self, lesson):
        ratings, start = lesson
        bound = Constraint("item_factors", "<=", 0.5)
        result = grg.solve(ratings, start, options(constraints=[bound], iterations=1))
        at_bound = scf.Parameters(start.user_factors, np.minimum(start.item_factors, 0.5))
        # "Before" is what the sheet shows before; the first step leads to the bounds.
        assert result.rmse_before == pytest.approx(objective.rmse(ratings, start), rel=1e-12)
        assert result.rmse_after == pytest.approx(objective.rmse(ratings, at_bound), rel=1e-12)
        assert result.start.equals(start)

    def test_every_point_of_the_trace_is_within(self, lesson):
        # No trial point either: the objective is never asked outside the bounds.
        ratings, start = lesson
        asked = []

        def watched(table, theta, value=Table.value):
            asked.append((theta.min(), theta.max()))
            return value(table, theta)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Table, "value", watched)
            bounds = [Constraint(block, "<=", 1.2) for block in ("user_factors", "item_factors")]
            grg.solve(ratings, start, options(constraints=bounds, non_negative=True))
        lows, highs = np.array(asked).T
        assert lows.min() >= 0
        assert highs.max() <= 1.2

    @pytest.mark.parametrize(
        ("derivatives", "error"), [("forward", 1e-3), ("central", 1e-7), ("analytic", 1e-12)]
    )
    def test_reduced_gradient(self, lesson, derivatives, error):
        # What Solver's Sensitivity Report shows: the slope of the objective cell along each
        # variable. It is 0 for a free variable at an optimum; at a bound it says what the
        # bound costs.
        ratings, start = lesson
        bounds = [Constraint(block, "<=", 1.0) for block in ("user_factors", "item_factors")]
        settings = options(derivatives=derivatives, constraints=bounds)
        result = grg.solve(ratings, start, settings)
        slope = objective.rmse_gradient(ratings, result.parameters)
        np.testing.assert_allclose(result.reduced_gradient.pack(), slope.pack(), atol=error)
        at_bound = result.parameters.user_factors == 1.0
        assert at_bound.any()
        shown = result.reduced_gradient.user_factors[at_bound]
        assert shown.min() < -0.01  # larger numbers would lower the RMSE
        # The trace's number leaves out what a bound holds.
        assert result.trace[-1]["gradient_norm"] < np.abs(shown).max()

    def test_without_bounds_the_slope_is_the_reduced_gradient(self, lesson):
        ratings, start = lesson
        result = grg.solve(ratings, start, options(iterations=5))
        expected = objective.rmse_gradient(ratings, result.parameters).pack()
        np.testing.assert_allclose(result.reduced_gradient.pack(), expected, atol=1e-12)
        assert result.trace[-1]["gradient_norm"] == np.abs(result.reduced_gradient.pack()).max()


class TestQuasiNewton:
    """Equation (7) on a function whose Hessian A is known, f = x'Ax / 2: y = A s."""

    @pytest.fixture
    def A(self):
        B = np.random.default_rng(0).normal(size=(6, 6))
        return B @ B.T + np.eye(6)

    def test_the_secant_equation(self, A):
        # After each update H maps the last change of the gradient to the last move, and it
        # stays symmetric and positive definite, so that -H g leads downhill.
        rng = np.random.default_rng(1)
        search = grg._Newton(np.ones(6))
        for _ in range(20):
            s = rng.normal(size=6)
            search.update(s, A @ s)
            np.testing.assert_allclose(search.H @ (A @ s), s, atol=1e-9)
            np.testing.assert_allclose(search.H, search.H.T, atol=1e-9)
            assert np.linalg.eigvalsh((search.H + search.H.T) / 2).min() > 0

    def test_six_exact_steps_find_the_hessian(self, A):
        # With exact line searches BFGS on a quadratic of n variables has after n steps
        # seen all of A: H = 1/A, and the gradient is 0.
        search, x = grg._Newton(np.ones(6)), np.ones(6)
        for _ in range(6):
            g = A @ x
            d = search.direction(g)
            alpha = -(g @ d) / (d @ A @ d)  # where f is lowest along d
            search.update(alpha * d, alpha * (A @ d))
            x = x + alpha * d
        np.testing.assert_allclose(search.H, np.linalg.inv(A), atol=1e-8)
        np.testing.assert_allclose(A @ x, 0, atol=1e-8)

    def test_no_curvature_no_update(self):
        # With y's < 0 the formula would give a direction uphill.
        search = grg._Newton(np.array([1.0, 2.0]))
        search.update(np.array([1.0, 0.0]), np.array([-1.0, 0.0]))
        np.testing.assert_array_equal(search.H, np.diag([1.0, 4.0]))
        assert search.is_fresh

    def test_it_starts_again_downhill(self, A):
        search = grg._Newton(np.ones(6))
        search.update(np.ones(6), A @ np.ones(6))
        search.reset()
        np.testing.assert_array_equal(search.direction(np.arange(6.0)), -np.arange(6.0))

    def test_conjugate_directions(self, A):
        # On the same function the directions of conjugate gradients are conjugate:
        # d'A d = 0 for two in a row, and after n exact steps the gradient is 0.
        search, x, before = grg._Conjugate(np.ones(6)), np.ones(6), None
        for _ in range(6):
            g = A @ x
            d = search.direction(g)
            if before is not None:
                assert abs(d @ A @ before) < 1e-8 * (d @ A @ d)
            alpha = -(g @ d) / (d @ A @ d)
            search.update(alpha * d, alpha * (A @ d))
            x, before = x + alpha * d, d
        np.testing.assert_allclose(A @ x, 0, atol=1e-7)


class TestMultistart:
    @pytest.mark.parametrize(
        ("ends", "share"),
        [
            ([1.0], 1.0),  # one search says nothing
            ([1.0, 1.0], 1.0),  # w = 1, N = 2: 1 * 2 / (2 * 1)
            ([1.0, 2.0, 1.0], 1.0),  # w = 2, N = 3: 2 * 3 / (3 * 2)
            ([1.0] * 9 + [2.0], 6 / 90),  # w = 2, N = 10
            ([1.0, 1.0005, 1.001, 2.0], 6 / 12),  # less than 0.1% apart is the same optimum
            ([1.0, np.inf, 1.0, 1.0], 2 / 12),  # an overflow is no optimum
        ],
    )
    def test_equation_6(self, ends, share):
        assert multistart.unseen_share(ends) == pytest.approx(share)

    def test_an_easy_problem(self):
        # One optimum only: 2 / (N (N - 1)) is below 1% at N = 15 for the first time.
        # Rows: the start, 15 searches, and the last one, to the end.
        start = scf.Parameters.random(2, 2, 1, random_state=0)
        result = grg.solve(TWO_BY_TWO, start, options(multistart=True), random_state=0)
        assert (result.code, result.message) == (17, SOLVER_SAYS[17])
        assert [row["search"] for row in result.trace] == list(range(1 + 15 + 1))
        assert result.rmse_after == pytest.approx(1.0, abs=1e-9)

    def test_the_lesson(self, lesson):
        # From this start one search ends in another minimum.
        ratings, start = lesson
        assert grg.solve(ratings, start, options()).rmse_after > 0.4
        result = grg.solve(ratings, start, options(multistart=True), random_state=0)
        assert (result.code, result.message) == (17, SOLVER_SAYS[17])
        assert result.rmse_after == pytest.approx(0.3929008, abs=1e-7)
        best = [row["train_rmse"] for row in result.trace]
        assert best == sorted(best, reverse=True)
        rmse = objective.rmse(ratings, result.parameters)
        assert result.rmse_after == pytest.approx(rmse, rel=1e-12)

    def test_where_the_searches_start(self, lesson):
        # The first from the user's own parameters, the others from draws, and the last
        # goes on from the best end.
        ratings, start = lesson
        starts_seen, ends = [], []

        def watched(theta, settings):
            starts_seen.append(theta)
            ends.append(grg.solve(ratings, theta, settings))
            return ends[-1]

        def draw(rng):
            return rng.uniform(size=start.n_params)

        settings = options(iterations=1, multistart=True, population_size=10)
        last = options(iterations=2)
        result = multistart.multistart(
            watched, draw, start, settings, last, None, 1, lambda end: end.rmse_after
        )
        assert len(starts_seen) == 10 + 1
        assert starts_seen[0].equals(start)
        assert len({theta.pack().tobytes() for theta in starts_seen}) == 11  # all different
        best = min(ends[:10], key=lambda end: end.rmse_after)
        assert starts_seen[10].equals(best.parameters)
        assert result.parameters.equals(ends[10].parameters)
        assert [end.iterations for end in ends] == [1] * 10 + [2]
        assert result.n_function == sum(end.n_function for end in ends)
        assert result.n_gradient == sum(end.n_gradient for end in ends)

    def test_starts_are_drawn_within_bounds(self):
        # Where a bound is missing it lies 1 from the other; without bounds, uniform(0, 1).
        inf = np.inf
        lower = np.repeat([-inf, 2.0, -inf, -3.0], 500)
        upper = np.repeat([inf, inf, -5.0, 4.0], 500)
        drawn = draw_start(np.random.default_rng(0), lower, upper).reshape(4, 500)
        for numbers, (low, high) in zip(drawn, [(0, 1), (2, 3), (-6, -5), (-3, 4)], strict=True):
            assert low <= numbers.min() < low + 0.05 * (high - low)
            assert high - 0.05 * (high - low) < numbers.max() <= high

    def test_bounds_required(self, lesson):
        ratings, start = lesson
        settings = {"multistart": True, "require_bounds": True}
        below = [Constraint(block, "<=", 3) for block in ("user_factors", "item_factors")]
        above = [Constraint(block, ">=", 0) for block in ("user_factors", "item_factors")]
        for bounds in ([], below, below + above[:1]):
            result = grg.solve(ratings, start, options(constraints=bounds, **settings))
            check_ending(result, ratings, 18)
            assert result.iterations == 0
            assert result.parameters.equals(start)
        short = settings | {"population_size": 10, "iterations": 3}
        result = grg.solve(ratings, start, options(constraints=below + above, **short))
        assert result.code == 3
        assert result.iterations == 10 + 1  # searches
        # One search needs no bounds: the option is one of multistart's.
        one = options(require_bounds=True, iterations=1)
        assert grg.solve(ratings, start, one).code == 3

    def test_contradictory_bounds(self, lesson):
        ratings, start = lesson
        bounds = [Constraint("user_factors", ">=", 1), Constraint("user_factors", "<=", 0)]
        result = grg.solve(ratings, start, options(constraints=bounds, multistart=True))
        check_ending(result, ratings, 20)

    def test_seeds(self, lesson):
        ratings, start = lesson

        def found(seed, random_state):
            settings = options(multistart=True, population_size=10, iterations=3, random_seed=seed)
            return grg.solve(ratings, start, settings, random_state=random_state).parameters

        assert found(5, 1).equals(found(5, 2))  # the dialog's seed counts,
        assert found(0, 1).equals(found(0, 1))  # 0 leaves it to random_state
        assert not found(0, 1).equals(found(0, 2))

    def test_stopped_by_the_callback(self, lesson):
        ratings, start = lesson
        result = grg.solve(
            ratings, start, options(multistart=True), lambda row: row["search"] == 2, 0
        )
        assert (result.code, result.message) == (6, SOLVER_SAYS[6])
        assert len(result.trace) == 3

    def test_out_of_time(self, lesson):
        ratings, start = lesson
        settings = options(multistart=True, max_time=0.05, convergence=0.0)
        result = grg.solve(ratings, start, settings, lambda row: time.sleep(0.1), 0)
        assert (result.code, result.message) == (10, SOLVER_SAYS[10])


class TestArguments:
    @pytest.mark.parametrize("derivatives", DERIVATIVES)
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
            ("precision", 2, ValueError, "`precision` must be <= 1, got 2"),
            ("value", -1, ValueError, "`value` must be >= 0, got -1"),
            ("population_size", 9, ValueError, "`population_size` must be >= 10, got 9"),
            ("random_seed", -1, ValueError, "`random_seed` must be >= 0, got -1"),
            ("to", "low", ValueError, "`to` must be one of min, max, value_of, got 'low'"),
            (
                "search",
                "random",
                ValueError,
                "`search` must be one of newton, conjugate, got 'random'",
            ),
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
