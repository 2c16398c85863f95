"""The fast objective of the solvers says what `objective` says, and counts what it is asked.

`solvers.table.Table` lays a table out once, in full or sparsely, and finds all differences
together by a formula of its own. Neither may show in any number: every test here compares
it with `objective.rmse`, its gradient, and differences made one parameter at a time.
"""

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import table
from shallow_cf.solvers.problem import difference_step
from shallow_cf.solvers.table import Table


def with_blank_rows(n_users, n_items, rated, *, bias, random_state=0):
    """A random problem in which the last user and the last item have no ratings."""
    ratings, _ = reference.problem(
        n_users - 1, n_items - 1, 3, bias=bias, rated=rated, random_state=random_state
    )
    ratings = scf.Ratings(
        np.arange(n_users), np.arange(n_items), ratings.user_idx, ratings.item_idx, ratings.rating
    )
    return ratings, scf.Parameters.random(n_users, n_items, 3, bias=bias, random_state=1)


#: Name: how the table is kept, its size, the share of cells rated.
TABLES = {
    "all rated": (table._Full, 6, 5, 1.0),
    "half rated": (table._Full, 9, 14, 0.5),
    "2% rated": (table._Sparse, 60, 45, 0.02),
    "wide and sparse": (table._Sparse, 12, 150, 0.02),
}


@pytest.fixture(params=[False, True], ids=["no biases", "biases"])
def bias(request):
    return request.param


@pytest.fixture(params=TABLES.values(), ids=TABLES)
def case(request, bias):
    """A `Table`, the ratings and parameters it was made for, and theta."""
    kind, n_users, n_items, rated = request.param
    ratings, parameters = with_blank_rows(n_users, n_items, rated, bias=bias)
    made = Table(ratings, parameters)
    assert type(made._cells) is kind  # else this would test the other kind twice
    return made, ratings, parameters, parameters.pack()


def rmse_of_theta(ratings, parameters):
    return lambda theta: objective.rmse(ratings, parameters.unpack(theta))


class TestAgreesWithObjective:
    def test_value(self, case):
        made, ratings, parameters, theta = case
        assert made.value(theta) == pytest.approx(objective.rmse(ratings, parameters), rel=1e-12)

    def test_gradient(self, case):
        made, ratings, parameters, theta = case
        expected = objective.rmse_gradient(ratings, parameters).pack()
        # Slopes are sums of terms of both signs, so the digits lost are those of the largest.
        small = 1e-14 * np.abs(expected).max()
        np.testing.assert_allclose(made.gradient(theta), expected, rtol=1e-12, atol=small)

    def test_gradient_against_the_slow_loop(self, case):
        made, ratings, parameters, theta = case
        slow = reference.rmse_gradient(reference.triplets(ratings), reference.plain(parameters))
        np.testing.assert_allclose(made.gradient(theta), reference.pack(slow), rtol=0, atol=1e-14)

    @pytest.mark.parametrize("central", [False, True], ids=["forward", "central"])
    def test_differences(self, case, central):
        # The same differences, made one parameter at a time on the whole table. Rounding of
        # the RMSE, about 1e-16, is divided by a step of 1e-5: 1e-11, and some terms of it.
        made, ratings, parameters, theta = case
        step = difference_step(theta)
        function = rmse_of_theta(ratings, parameters)
        by_one = objective.central_difference if central else objective.forward_difference
        found = made.differences(theta, step, central=central)
        np.testing.assert_allclose(found, by_one(function, theta, step), rtol=0, atol=1e-9)

    @pytest.mark.parametrize("central", [False, True], ids=["forward", "central"])
    def test_differences_with_large_steps_of_their_own(self, case, central):
        # Small steps hide errors of second order, and equal ones a step taken from the wrong
        # parameter. Rounding hardly counts here, so the numbers agree to 12 digits.
        made, ratings, parameters, theta = case
        step = np.random.default_rng(2).uniform(0.1, 1.0, theta.size)
        function = rmse_of_theta(ratings, parameters)
        by_one = objective.central_difference if central else objective.forward_difference
        found = made.differences(theta, step, central=central)
        np.testing.assert_allclose(found, by_one(function, theta, step), rtol=0, atol=1e-12)
        # And with such steps they are not the gradient: the test above is not about that.
        if not central:
            assert np.abs(found - made.gradient(theta)).max() > 1e-4

    def test_who_is_not_rated_has_no_slope(self, case):
        made, _, parameters, theta = case
        step = np.full(theta.size, 1e-3)
        for slope in (
            made.gradient(theta),
            made.differences(theta, step, central=True),
            made.differences(theta, step, central=False),
        ):
            blocks = parameters.unpack(slope).blocks()
            assert all(np.abs(block[-1]).max() < 1e-12 for block in blocks)
            assert all(np.abs(block[:-1]).max() > 1e-3 for block in blocks)

    def test_where_the_full_table_gives_way(self):
        # One rating in 8 cells is the last full table; one cell more and it is sparse.
        for n_items, kind in ((8, table._Full), (9, table._Sparse)):
            ratings = scf.Ratings(np.arange(1), np.arange(n_items), [0], [0], [4.0])
            theta = scf.Parameters.random(1, n_items, 2, random_state=0)
            assert type(Table(ratings, theta)._cells) is kind
        assert table._FULL_UP_TO == 8


class TestPerfectFit:
    @pytest.mark.parametrize("kind", [table._Full, table._Sparse])
    def test_has_no_slope(self, kind):
        # The root has no derivative at 0, and 0/0 would be NaN; the least RMSE is 0.
        n = 2 if kind is table._Full else 20
        ratings = scf.Ratings(np.arange(n), np.arange(n), [0, 1], [1, 0], [2.0, 6.0])
        P, Q = np.zeros((n, 1)), np.zeros((n, 1))
        P[:2, 0], Q[:2, 0] = [1.0, 2.0], [3.0, 2.0]
        parameters = scf.Parameters(P, Q)
        made = Table(ratings, parameters)
        assert type(made._cells) is kind
        assert made.value(parameters.pack()) == 0.0
        assert made.gradient(parameters.pack()).tolist() == [0.0] * 2 * n


class TestCounts:
    """What Solver would count: a number of evaluations for every gradient."""

    @pytest.fixture
    def lesson(self, crosstab):
        theta = scf.Parameters.random(15, 15, 5, random_state=0)
        return Table(crosstab, theta), theta.pack()

    def test_values_and_gradients(self, lesson):
        made, theta = lesson
        assert (made.n_function, made.n_gradient) == (0, 0)
        for _ in range(3):
            made.value(theta)
        assert (made.n_function, made.n_gradient) == (3, 0)
        made.gradient(theta)
        assert (made.n_function, made.n_gradient) == (3, 1)

    def test_forward_differences_cost_150_and_the_point_itself(self, lesson):
        made, theta = lesson
        made.differences(theta, difference_step(theta), central=False)
        assert (made.n_function, made.n_gradient) == (150 + 1, 1)

    def test_central_differences_cost_300(self, lesson):
        made, theta = lesson
        made.differences(theta, difference_step(theta), central=True)
        assert (made.n_function, made.n_gradient) == (300, 1)

    def test_with_biases_there_are_30_parameters_more(self, crosstab):
        theta = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        made = Table(crosstab, theta)
        made.differences(theta.pack(), difference_step(theta.pack()), central=True)
        assert (made.n_function, made.n_gradient) == (360, 1)


class TestCallsDoNotInterfere:
    """A `Table` computes in memory of its own, over and over; none of it is handed out."""

    def test_later_calls_leave_earlier_results_alone(self, case):
        made, _, _, theta = case
        step = difference_step(theta)
        calls = [
            made.gradient,
            lambda x: made.differences(x, step, central=True),
            lambda x: made.differences(x, step, central=False),
        ]
        results = [call(theta) for call in calls]
        copies = [result.copy() for result in results]
        for call in calls:
            call(theta + 1.0)
            made.value(theta + 2.0)
        for result, copy in zip(results, copies, strict=True):
            assert result.tolist() == copy.tolist()

    def test_changing_a_result_changes_nothing_later(self, case):
        made, _, _, theta = case
        first = made.gradient(theta)
        expected = first.tolist()
        first[:] = np.nan
        assert made.gradient(theta).tolist() == expected

    def test_calls_in_any_order_give_the_same_bits(self, case):
        made, ratings, parameters, theta = case
        other = theta[::-1].copy()
        made.value(other)
        made.gradient(other)
        made.differences(other, difference_step(other), central=True)
        fresh = Table(ratings, parameters)
        assert made.gradient(theta).tolist() == fresh.gradient(theta).tolist()
        assert made.value(theta) == fresh.value(theta)

    def test_theta_is_left_alone(self, case):
        made, _, _, theta = case
        before = theta.tolist()
        made.value(theta)
        made.gradient(theta)
        made.differences(theta, difference_step(theta), central=False)
        assert theta.tolist() == before
