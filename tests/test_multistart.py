"""Many starts: when to stop, what is returned, and that it is the best there is.

Most tests run a made-up local search whose ends are known beforehand (`Ends`), so that
only the bookkeeping is on trial. `TestTheLesson` then takes the real ones.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import grg, varpro
from shallow_cf.solvers.multistart import multistart, unseen_share
from shallow_cf.solvers.options import Constraint, SolverOptions
from shallow_cf.solvers.result import MESSAGES, SolverResult
from shallow_cf.solvers.varpro import VarproOptions

#: The best known RMSE of the lesson's table, without and with biases.
BEST, BEST_WITH_BIASES = 0.39290079, 0.31865497


class TestUnseenShare:
    """(6): w (w + 1) / (N (N - 1)) for N searches that ended in w optima."""

    @pytest.mark.parametrize(
        ("ends", "share"),
        [
            ([0.4], 1.0),  # one search says nothing of the others
            ([0.4, 0.4], 1.0),  # 1*2 / (2*1)
            ([0.4, 0.5], 3.0),  # 2*3 / (2*1): many more are to be expected
            ([0.4, 0.4, 0.5], 1.0),  # 2*3 / (3*2)
            ([0.4, 0.5, 0.4], 1.0),  # in any order
            ([0.4, 0.5, 0.6, 0.4, 0.4], 0.6),  # 3*4 / (5*4)
            ([0.4] * 15, 2 / 210),  # 1*2 / (15*14), the first below 1%
            ([0.4] * 14, 2 / 182),  # and one less is not
        ],
    )
    def test_by_hand(self, ends, share):
        assert unseen_share(ends) == pytest.approx(share, rel=1e-14)

    def test_ends_that_differ_by_less_than_a_thousandth_are_one(self):
        # The searches stop near an optimum, not at it.
        assert unseen_share([0.4, 0.4 * 1.0009]) == 1.0
        assert unseen_share([0.4, 0.4 * 1.0011]) == 3.0

    def test_that_is_relative(self):
        assert unseen_share([400.0, 400.0 * 1.0009]) == 1.0
        assert unseen_share([4e-9, 4e-9 * 1.0011]) == 3.0

    def test_negative_ends(self):
        # For to="max" the merit is the RMSE with a minus before it.
        assert unseen_share([-0.4, -0.4 * 1.0009]) == 1.0
        assert unseen_share([-0.4, -0.4 * 1.0011]) == 3.0

    def test_perfect_fits_are_one(self):
        assert unseen_share([0.0, 0.0]) == 1.0


class Ends:
    """A local search that ends where it is told to: one RMSE a search, then the last again.

    It notes from where and with which options it was called. The end's parameters carry
    the RMSE as their first number, so that they can be told apart.
    """

    def __init__(self, *ends, code=1):
        self.ends, self.code = ends, code
        self.starts, self.options = [], []

    def __call__(self, start, options):
        number = len(self.starts)
        self.starts.append(start.pack())
        self.options.append(options)
        end = self.ends[min(number, len(self.ends) - 1)]
        code = self.code.get(number, 1) if isinstance(self.code, dict) else self.code
        theta = np.full(start.n_params, end)
        return SolverResult(
            parameters=start.unpack(theta),
            trace=[{"iteration": 0, "train_rmse": 9.0}, {"iteration": 1, "train_rmse": end}],
            code=code,
            message=MESSAGES[code],
            seconds=0.0,
            start=start,
            n_function=10,
            n_gradient=3,
            reduced_gradient=start.unpack(theta / 100),
        )


START = scf.Parameters.random(3, 2, 2, random_state=99)


def draw(rng):
    return rng.uniform(size=START.n_params)


def run(search, *, callback=None, random_state=0, final=None, merit=lambda rmse: rmse, **options):
    settings = SolverOptions(multistart=True, **options)
    return multistart(
        search, draw, START, settings, final or settings, callback, random_state,
        lambda result: merit(result.rmse_after),
    )  # fmt: skip


class TestStopping:
    def test_as_soon_as_the_share_is_below_one_percent(self):
        # Always the same end: 2 / (15 * 14) < 1% after 15 searches, see above. And one
        # more, from the best end, with the final options.
        search = Ends(0.4)
        result = run(search)
        assert len(search.starts) == 15 + 1
        assert (result.code, result.message) == (17, MESSAGES[17])

    def test_two_optima_take_longer(self):
        # 2*3 / (N (N - 1)) < 1% for N = 25, 6/600 = 1%, not yet; N = 26 is the first.
        search = Ends(0.5, 0.4)
        assert run(search).code == 17
        assert len(search.starts) == 26 + 1

    @pytest.mark.parametrize("size", [10, 14])
    def test_the_population_size_is_the_most(self, size):
        search = Ends(0.4)
        result = run(search, population_size=size)
        assert len(search.starts) == size + 1
        assert (result.code, result.message) == (1, MESSAGES[1])  # that of the last search

    def test_where_every_end_is_another(self):
        search = Ends(*np.linspace(1, 2, 100))
        assert run(search, population_size=40).code == 1
        assert len(search.starts) == 40 + 1

    @pytest.mark.parametrize("code", [4, 6, 10, 18, 20])
    def test_an_end_that_no_other_start_would_change(self, code):
        search = Ends(0.4, code={2: code})
        result = run(search)
        assert len(search.starts) == 3
        assert (result.code, result.message) == (code, MESSAGES[code])

    @pytest.mark.parametrize("code", [0, 1, 2, 3])
    def test_other_ends_are_gone_on_from(self, code):
        search = Ends(0.4, code={2: code})
        assert run(search).code == 17
        assert len(search.starts) == 15 + 1

    @pytest.mark.parametrize("code", [5, 9])
    def test_ends_that_are_no_solutions_do_not_count(self, code):
        # 15 solutions are needed; the lower objective without one is not the best end.
        search = Ends(*[0.4, 0.4, 0.2, *[0.4] * 20], code={2: code})
        result = run(search)
        assert len(search.starts) == 16 + 1
        assert (result.code, result.rmse_after) == (17, 0.4)

    def test_a_value_wanted_is_reached_once(self):
        search = Ends(0.7, 0.5, 0.5, code={0: 1, 1: 0})
        result = run(search, to="value_of", value=0.5)
        assert len(search.starts) <= 3
        assert (result.code, result.rmse_after) == (0, 0.5)

    @pytest.mark.parametrize("code", [6, 10])
    def test_a_last_search_cut_short_says_so(self, code):
        result = run(Ends(0.4, code={15: code}))
        assert (result.code, result.message) == (code, MESSAGES[code])

    def test_time_limit(self):
        # The search itself notices; it is given what is left, less each time.
        search = Ends(0.4)
        run(search, max_time=100.0)
        left = [options.max_time for options in search.options]
        assert all(0 < seconds <= 100 for seconds in left)
        assert all(later < before for before, later in itertools.pairwise(left))

    def test_without_a_time_limit_none_is_given(self):
        search = Ends(0.4)
        run(search)
        assert {options.max_time for options in search.options} == {None}


class TestWhatIsReturned:
    def test_the_best_end(self):
        search = Ends(0.6, 0.4, 0.5)
        result = run(search)
        assert result.rmse_after == 0.4
        assert result.parameters.pack().tolist() == [0.4] * START.n_params
        assert result.reduced_gradient.pack() == pytest.approx(0.004)  # of that end

    def test_a_last_search_from_the_best_end(self):
        final = SolverOptions(convergence=1e-12, derivatives="central", multistart=True)
        search = Ends(*[0.6, 0.4] + [0.5] * 8, 0.39)  # ten searches and a last one
        result = run(search, population_size=10, final=final)
        assert search.starts[-1].tolist() == [0.4] * START.n_params
        assert search.options[-1] == replace(final, multistart=False)
        assert result.rmse_after == 0.39

    def test_a_last_search_that_ends_higher_does_no_harm(self):
        result = run(Ends(*[0.4] * 15, 0.7))
        assert result.rmse_after == 0.4
        assert result.parameters.pack().tolist() == [0.4] * START.n_params

    def test_an_end_that_is_no_number_is_never_the_best(self):
        assert run(Ends(math.nan, math.inf, 0.4)).rmse_after == 0.4

    def test_the_largest_where_that_is_wanted(self):
        # Multistart minimises a merit; for to="max" that is the RMSE with a minus.
        result = run(Ends(0.4, 0.7, 0.5), merit=lambda rmse: -rmse)
        assert result.rmse_after == 0.7
        assert result.parameters.pack().tolist() == [0.7] * START.n_params

    def test_the_nearest_where_a_value_is_wanted(self):
        result = run(Ends(0.4, 0.7, 0.5), merit=lambda rmse: (rmse - 0.55) ** 2)
        assert result.rmse_after == 0.5

    def test_counts_are_those_of_all_searches(self):
        result = run(Ends(0.4))
        assert (result.n_function, result.n_gradient) == (16 * 10, 16 * 3)

    def test_trace(self):
        # The start, a row after each search, and one after the last: the best so far.
        result = run(Ends(0.6, 0.4, 0.5), population_size=10)
        assert [row["search"] for row in result.trace] == list(range(1 + 10 + 1))
        assert [row["train_rmse"] for row in result.trace] == [9.0, 0.6] + [0.4] * 10
        assert all(set(row) == {"search", "train_rmse", "seconds"} for row in result.trace)
        assert result.rmse_before == 9.0
        assert result.start is START

    def test_the_searches_themselves_have_one_start(self):
        search = Ends(0.4)
        run(search)
        assert not any(options.multistart for options in search.options)


class TestCallback:
    def test_after_each_search(self):
        rows = []
        run(Ends(0.6, 0.4, 0.5), callback=rows.append, population_size=10)
        assert all(set(row) == {"search", "train_rmse", "seconds"} for row in rows)
        assert [row["search"] for row in rows[:10]] == list(range(1, 11))
        assert [row["train_rmse"] for row in rows[:3]] == [0.6, 0.4, 0.4]
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds)

    def test_true_stops(self):
        search = Ends(0.6, 0.4, 0.5)
        result = run(search, callback=lambda row: row["search"] == 3)
        assert len(search.starts) == 3
        assert (result.code, result.message) == (6, MESSAGES[6])
        assert result.rmse_after == 0.4  # what was reached is kept

    def test_ctrl_c_in_the_callback(self):
        # "Returning True stops, and so does Ctrl-C; the best point so far is kept."
        def interrupt(row):
            if row["search"] == 3:
                raise KeyboardInterrupt

        search = Ends(0.6, 0.4, 0.5)
        try:
            result = run(search, callback=interrupt)
        except KeyboardInterrupt:  # pytest would take it for the user's
            pytest.fail("Ctrl-C came through")
        assert len(search.starts) == 3
        assert (result.code, result.message) == (6, MESSAGES[6])
        assert result.rmse_after == 0.4

    def test_not_again_after_it_stopped_the_run(self):
        rows = []
        run(Ends(0.4), callback=lambda row: rows.append(row) or True)
        assert len(rows) == 1


class TestStarts:
    def test_the_first_is_the_one_given(self):
        search = Ends(0.4)
        run(search)
        assert search.starts[0].tolist() == START.pack().tolist()

    def test_the_others_are_drawn_and_all_different(self):
        search = Ends(0.4)
        run(search)
        starts = np.array(search.starts[:15])
        assert len(np.unique(starts, axis=0)) == 15
        assert ((starts >= 0) & (starts <= 1)).all()

    @staticmethod
    def starts(**settings):
        search = Ends(0.4)
        run(search, population_size=10, **settings)
        return np.array(search.starts[:10])

    def test_random_state_decides_where_the_dialog_has_no_seed(self):
        one, two, other = (self.starts(random_seed=0, random_state=seed) for seed in (5, 5, 6))
        assert one.tolist() == two.tolist()
        assert one[1:].tolist() != other[1:].tolist()

    def test_a_generator_is_drawn_from(self):
        by_generator = self.starts(random_state=np.random.default_rng(5))
        assert by_generator.tolist() == self.starts(random_state=5).tolist()

    def test_the_dialogs_seed_decides_where_it_is_not_zero(self):
        one, two, other = (
            self.starts(random_seed=seed, random_state=state)
            for seed, state in ((7, 1), (7, 2), (8, 1))
        )
        assert one.tolist() == two.tolist()
        assert one[1:].tolist() != other[1:].tolist()

    def test_without_any_seed_they_are_fresh_each_time(self):
        one, two = (self.starts(random_state=None) for _ in range(2))
        assert one[1:].tolist() != two[1:].tolist()

    def test_the_global_generator_is_left_alone(self):
        np.random.seed(0)
        expected = np.random.uniform()
        np.random.seed(0)
        self.starts(random_state=None)
        assert np.random.uniform() == expected


class TestBounds:
    """Drawn starts stay within the bounds, and so do the ends."""

    def test_drawn_between_the_bounds(self, crosstab, monkeypatch):
        # P between 0.2 and 0.3, Q from -2 upwards (and so from -2 to -1), biases free.
        options = SolverOptions(
            multistart=True,
            population_size=10,
            derivatives="analytic",
            iterations=1,
            constraints=(
                Constraint("user_factors", ">=", 0.2),
                Constraint("user_factors", "<=", 0.3),
                Constraint("item_factors", ">=", -2.0),
            ),
        )
        drawn = []
        original = grg.draw_start

        def keep(*args):
            drawn.append(original(*args))
            return drawn[-1]

        monkeypatch.setattr(grg, "draw_start", keep)
        start = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        result = grg.solve(crosstab, start, options, random_state=0)
        assert len(drawn) == 9  # the first start is the one given
        P, Q, *biases = zip(*(start.unpack(theta).blocks() for theta in drawn), strict=True)
        for blocks, low, high in ((P, 0.2, 0.3), (Q, -2.0, -1.0), (biases, 0.0, 1.0)):
            numbers = np.array(blocks)
            assert low <= numbers.min() < low + 0.01 * (high - low)  # they fill
            assert high >= numbers.max() > high - 0.01 * (high - low)  # the whole range
        found = result.parameters
        assert 0.2 <= found.user_factors.min() <= found.user_factors.max() <= 0.3
        assert found.item_factors.min() >= -2.0

    def test_without_two_bounds_each_where_they_are_required(self, crosstab):
        options = SolverOptions(multistart=True, require_bounds=True, non_negative=True)
        start = scf.Parameters.random(15, 15, 5, random_state=0)
        result = grg.solve(crosstab, start, options)
        assert (result.code, result.message) == (18, MESSAGES[18])
        assert result.parameters.equals(start)


METHODS = {
    "grg, analytic": (grg.solve, SolverOptions(multistart=True, derivatives="analytic")),
    "grg, forward": (grg.solve, SolverOptions(multistart=True)),
    "varpro": (varpro.solve, VarproOptions(multistart=True)),
}


class TestTheLesson:
    """With default settings the best known optimum is found, whatever the seed."""

    @staticmethod
    def check(crosstab, method, seed, *, bias):
        solve, options = METHODS[method]
        start = scf.Parameters.random(15, 15, 5, bias=bias, random_state=seed)
        result = solve(crosstab, start, options, random_state=seed)
        # Now and then a hundred starts see too many valleys for the test to be met.
        assert result.code in (0, 1, 17), result.message
        best, close = (BEST_WITH_BIASES, 1e-6) if bias else (BEST, 2e-7)
        assert result.rmse_after == pytest.approx(best, abs=close, rel=0)
        assert objective.rmse(crosstab, result.parameters) == pytest.approx(
            result.rmse_after, rel=1e-12
        )

    @pytest.mark.parametrize("bias", [False, True], ids=["no biases", "biases"])
    @pytest.mark.parametrize(
        "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))]
    )
    @pytest.mark.parametrize("method", ["grg, analytic", "varpro"])
    def test_finds_the_best_known_optimum(self, crosstab, method, seed, bias):
        self.check(crosstab, method, seed, bias=bias)

    # These take longer: one seed by default, and with biases among the slow tests alone.
    def test_finds_it_by_differences_too(self, crosstab):
        self.check(crosstab, "grg, forward", 0, bias=False)

    @pytest.mark.slow
    @pytest.mark.parametrize("bias", [False, True], ids=["no biases", "biases"])
    @pytest.mark.parametrize(
        "seed", [*range(4), *(pytest.param(n, marks=pytest.mark.long) for n in range(4, 50))]
    )
    @pytest.mark.parametrize("method", ["grg, forward", "varpro"])
    def test_finds_it_for_50_of_50_seeds(self, crosstab, method, seed, bias):
        self.check(crosstab, method, seed, bias=bias)

    def test_one_search_of_grg_would_not_do(self, crosstab):
        # Else there would be nothing to show: one in six ends in another valley.
        ends = [
            grg.solve(
                crosstab,
                scf.Parameters.random(15, 15, 5, random_state=seed),
                SolverOptions(derivatives="analytic"),
            ).rmse_after
            for seed in range(20)
        ]
        assert max(ends) > 0.400
        assert min(ends) < 0.3935

    @pytest.mark.parametrize("method", ["grg, analytic", "varpro"])
    def test_same_seed_same_bits(self, crosstab, method):
        solve, options = METHODS[method]
        start = scf.Parameters.random(15, 15, 5, random_state=0)
        options = replace(options, population_size=10)
        one, two, other = (solve(crosstab, start, options, random_state=seed) for seed in (3, 3, 4))
        assert one.parameters.equals(two.parameters)
        assert one.n_function == two.n_function != other.n_function

    @pytest.mark.parametrize("method", ["grg, analytic", "varpro"])
    def test_time_limit(self, crosstab, method):
        solve, options = METHODS[method]
        start = scf.Parameters.random(15, 15, 5, random_state=0)
        result = solve(crosstab, start, replace(options, max_time=0.02), random_state=0)
        assert (result.code, result.message) == (10, MESSAGES[10])
        assert result.rmse_after < objective.rmse(crosstab, start)

    def test_the_largest_within_bounds(self, crosstab):
        # All numbers between 0 and 5: farthest from the ratings is the corner of the box
        # where all are 5 and every prediction is 5 * 5 * 5 = 125 stars. But from a start
        # that predicts too little the slope leads to another corner, where all are 0.
        options = SolverOptions(
            to="max",
            derivatives="analytic",
            non_negative=True,
            constraints=(
                Constraint("user_factors", "<=", 5.0),
                Constraint("item_factors", "<=", 5.0),
            ),
        )
        start = scf.Parameters.random(15, 15, 5, random_state=0)
        zeros, fives = (start.unpack(np.full(start.n_params, x)) for x in (0.0, 5.0))
        alone = grg.solve(crosstab, start, options)
        assert alone.rmse_after == pytest.approx(objective.rmse(crosstab, zeros), rel=1e-9)
        options = replace(options, multistart=True)
        best = grg.solve(crosstab, start, options, random_state=1)
        assert best.rmse_after == pytest.approx(objective.rmse(crosstab, fives), rel=1e-9)


def test_with_a_penalty_the_best_end_is_that_of_the_penalised_objective(crosstab):
    # What is left of the error and what the numbers weigh, together: no other search ends lower.
    options = VarproOptions(reg=4.0, multistart=True, population_size=20)
    start = scf.Parameters.random(15, 15, 5, random_state=0)
    result = varpro.solve(crosstab, start, options, random_state=0)
    rng = np.random.default_rng(1)
    for _ in range(10):
        other = scf.Parameters.random(15, 15, 5, random_state=rng)
        end = varpro.solve(crosstab, other, replace(options, multistart=False)).parameters
        least = objective.half_sse(crosstab, result.parameters, 4.0)
        assert least <= objective.half_sse(crosstab, end, 4.0) * (1 + 1e-9)
