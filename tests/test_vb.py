"""Variational Bayes: each equation by itself, then what the method achieves.

Read in this order:

1. `TestRows`: (22d) to (22f), a row at a time, against loops.
2. `TestBound`: (22c) against its definition, and each step never lowers it and ends at a maximum.
3. `TestTraining`: what `vb.solve` does with them; odd tables; who computes what.
4. `TestCalibration`: how often the truth lies within the intervals.

The numbers (22a) to (22j) are those of the docstring of `shallow_cf.solvers.vb`. The loops are
in `reference`. How sure a fitted model is, in files and of new users: `test_posterior`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

import shallow_cf as scf
from conftest import shared_file
from shallow_cf.solvers import vb
from shallow_cf.solvers.normal_equations import RowBlock, Rows, packed_places
from shallow_cf.solvers.vb import VBOptions
from shallow_cf.solvers.vb_start import pattern_features


class Case(NamedTuple):
    """Some ratings, where a run stands, and the same in lists."""

    triplets: list
    blocks: list  # of the users and of the items
    state: vb.State
    features: list
    n_factors: int
    bias: bool

    def rows(self, side):
        """Update the rows of the users (side 0) or of the items (side 1)."""
        own, other = self.state[side], self.state[1 - side]
        tau = self.state.noise_precision
        found = vb.update_rows(self.blocks[side], own, other, tau, self.bias, map)
        name = ("users", "items")[side]
        state = self.state._replace(**{name: found}, squared_error=found.totals.squared_error)
        return self._replace(state=state)

    def prior(self, side):
        name = ("users", "items")[side]
        found = vb.update_prior(self.state[side])
        return self._replace(state=self.state._replace(**{name: found}))

    def noise(self, side):
        n = len(self.triplets)
        return self._replace(state=vb.update_noise(self.state, self.state[side].totals, n))

    def bound(self):
        return vb.evidence_lower_bound(self.state, len(self.triplets))

    def plain_bound(self):
        users, items, tau, *_ = self.state
        return reference.lower_bound(
            self.triplets,
            gaussians(users.rows),
            gaussians(items.rows),
            (plain_prior(users.prior), plain_prior(items.prior)),
            self.features,
            tau,
            self.n_factors,
            vb._LEAST_ERROR,
            vb._PRIOR_VARIANCE,
            vb._PRIOR_ROWS,
        )


def gaussians(rows):
    d = rows.means.shape[1]
    means = rows.means.astype(np.float64)
    second = rows.table[:, :-d][:, packed_places(d)].astype(np.float64)
    covariances = second - means[:, :, None] * means[:, None, :]
    pairs = zip(means.tolist(), covariances.tolist(), strict=True)
    return [reference.Gaussian(*pair) for pair in pairs]


def plain_prior(prior):
    return reference.Prior(prior.weights.tolist(), prior.precision.tolist())


def random_side(rng, n, d, n_features):
    """Any distributions and any prior; the totals are those of no rows."""

    def definite(*shape):
        root = rng.normal(size=(*shape, d, d + 1))
        return root @ np.swapaxes(root, -1, -2) / d + 0.1 * np.eye(d)

    covariance = definite(n)[:, *np.triu_indices(d)]
    prior = vb.Prior(rng.normal(size=(n_features, d)), definite())
    gram = np.zeros((n_features, n_features))
    empty = vb.Totals(0.0, 0.0, 0.0, np.zeros((d, d)), 0 * prior.weights, gram, 0)
    return vb.Side(Rows.of(rng.normal(size=(n, d)), covariance), prior, empty)


@st.composite
def cases(draw):
    """Up to six users and items, some of whom have no ratings, in two blocks of rows a side."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cells = [(u, i) for u in range(n_users) for i in range(n_items)]
    rated = draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    n_factors, n_patterns = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    return case(
        (n_users, n_items),
        rated,
        n_factors,
        draw(st.booleans()),
        n_patterns,
        draw(st.integers(0, 99)),
    )


def case(shape, rated, n_factors, bias, n_patterns, seed):
    rng = np.random.default_rng(seed)
    triplets = [
        (u, i, float(r)) for (u, i), r in zip(rated, rng.normal(size=len(rated)), strict=True)
    ]
    u, i, r = map(np.array, zip(*triplets, strict=True))
    by_user = sparse.csr_array((r, (u, i)), shape=shape)
    blocks, sides, features = [], [], []
    for matrix in (by_user, by_user.T.tocsr()):
        n = matrix.shape[0]
        F = np.column_stack((np.ones(n), rng.normal(size=(n, n_patterns))))
        cut = rng.integers(0, n + 1)
        parts = [slice(0, cut), slice(cut, n)]
        blocks.append(
            [
                vb.Block(RowBlock.of(matrix[part]), F[part])
                for part in parts
                if part.start < part.stop
            ]
        )
        features.append(F.tolist())
        sides.append(random_side(rng, n, n_factors + bias, n_patterns + 1))
    state = vb.State(*sides, noise_precision=rng.uniform(0.3, 3), squared_error=np.nan)
    return Case(triplets, blocks, state, features, n_factors, bias).rows(0).rows(1)


STEPS = [
    (step, side) for side in (0, 1) for step in (Case.rows, Case.noise, Case.prior, Case.noise)
]


class TestRows:
    @settings(max_examples=12, deadline=None)
    @given(cases(), st.sampled_from([0, 1]))
    def test_equals_the_loop(self, case, side):  # (22d), (22e); the prior (22b) pulls
        own, other = case.state[side], gaussians(case.state[1 - side].rows)
        rows = gaussians(case.rows(side).state[side].rows)
        for n, found in enumerate(rows):
            rated = [(pair[1 - side], pair[2]) for pair in case.triplets if pair[side] == n]
            expected = reference.row_given_others(
                [(other[m], r) for m, r in rated],
                plain_prior(own.prior),
                case.features[side][n],
                case.state.noise_precision,
                case.n_factors,
            )
            np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-5, atol=1e-8)

    @settings(max_examples=12, deadline=None)
    @given(cases(), st.sampled_from([0, 1]))
    def test_expected_squared_error(self, case, side):
        state = case.rows(side).state
        expected = reference.expected_squared_error(
            case.triplets, gaussians(state.users.rows), gaussians(state.items.rows), case.n_factors
        )
        assert state.squared_error == pytest.approx(expected, rel=1e-7)  # (22f)

    def test_expected_squared_error_of_samples(self):
        case = dense_case(bias=True)
        rng = np.random.default_rng(1)
        n, k = 50_000, case.n_factors
        users, items = (
            [rng.multivariate_normal(*row, n) for row in gaussians(side.rows)]
            for side in case.state[:2]
        )
        error = np.zeros(n)
        for u, i, r in case.triplets:
            x, y = users[u], items[i]
            error += ((x[:, :k] * y[:, :k]).sum(axis=1) + x[:, k] + y[:, k] - r) ** 2
        deviation = error.std() / n**0.5
        assert abs(error.mean() - case.state.squared_error) < 4 * deviation  # (22f)

    def test_by_hand(self):
        # One user, one item, one factor: y ~ N(2, 1), so E[y^2] = 5; r = 3, tau = 2, and the
        # prior is N(1, 1/4). The precision is 4 + 2 * 5 = 14, the mean (4 * 1 + 2 * 2 * 3) / 14.
        block = vb.Block(RowBlock.of(sparse.csr_array([[3.0]])), np.ones((1, 1)))
        item = Rows.of(np.array([[2.0]]), np.array([[1.0]]))
        prior = vb.Prior(np.array([[1.0]]), np.array([[4.0]]))
        rows, totals = vb.half_step(block, item, prior, 2.0, bias=False)
        mean = 16 / 14
        assert rows.means == pytest.approx(mean)
        assert rows.table == pytest.approx(np.array([[1 / 14 + mean**2, mean]]))
        assert totals.log_det == pytest.approx(-np.log(14))
        assert totals.squared_error == pytest.approx(9 - 12 * mean + 5 * (1 / 14 + mean**2))


class TestLeap:
    """(22k): where a sweep begins."""

    def test_by_hand(self):
        # One item that a sweep took from 1 to 2, with the variance 0.5: on to 2 + 0.8 (2 - 1),
        # and E[y^2] = 2.8^2 + 0.5. What is known of its spread goes along unchanged.
        case = dense_case(bias=False)
        items = case.state.items._replace(rows=Rows.of(np.array([[2.0]]), np.array([[0.5]])))
        state = case.state._replace(items=items, items_before=np.array([[1.0]]))
        found = vb.leap(state)
        assert found.rows.means.tolist() == [[2.8]]
        assert found.rows.table == pytest.approx(np.array([[2.8**2 + 0.5, 2.8]]), rel=1e-14)
        assert found.prior is items.prior

    def test_the_first_sweep_has_nothing_to_go_by(self):
        state = dense_case(bias=True).state
        assert state.items_before is None
        assert vb.leap(state) is state.items


def dense_case(bias):
    cells = [(u, i) for u in range(6) for i in range(5) if u != 2 and (u + i) % 3]
    return case((6, 5), cells, 2, bias, 2, 0)


class TestBound:
    @settings(max_examples=12, deadline=None)
    @given(cases())
    def test_equals_its_definition(self, case):  # (22c), with the model (22a), (22b)
        for step, side in STEPS:
            assert case.bound() == pytest.approx(case.plain_bound(), rel=1e-6, abs=1e-6)
            case = step(case, side)

    @settings(max_examples=15, deadline=None)
    @given(cases())
    def test_no_step_lowers_it(self, case):
        for _ in range(3):
            for step, side in STEPS:
                before, case = case.bound(), step(case, side)
                assert case.bound() >= before - 1e-8 * (1 + abs(before))

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("factor", [0.9, 1.1])
    def test_the_noise_is_at_a_maximum(self, bias, factor):  # (22g)
        case = dense_case(bias).noise(1)
        state = case.state
        moved = state._replace(noise_precision=factor * state.noise_precision)
        # The derivative is 0, so the loss is the same on both sides but for the third order.
        loss = case.bound() - vb.evidence_lower_bound(moved, len(case.triplets))
        n = len(case.triplets) + 1
        assert loss == pytest.approx(n / 2 * (factor - 1 - np.log(factor)), rel=1e-9)

    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("side", [0, 1])
    def test_the_prior_is_at_a_maximum(self, bias, side):  # (22h), (22i)
        case = dense_case(bias).prior(side)
        theta = case.state[side].prior

        def bound(numbers):
            W, Lambda = np.split(numbers, [theta.weights.size])
            Lambda = Lambda.reshape(theta.precision.shape)
            prior = vb.Prior(W.reshape(theta.weights.shape), (Lambda + Lambda.T) / 2)
            moved = case.state[side]._replace(prior=prior)
            state = case.state._replace(**{("users", "items")[side]: moved})
            return vb.evidence_lower_bound(state, len(case.triplets))

        here = np.append(theta.weights, theta.precision)
        slope = scf.objective.central_difference(bound, here, 1e-5)
        assert np.abs(slope).max() < 1e-6
        shaken = here + np.random.default_rng(0).normal(size=(20, here.size)) * 0.01
        assert all(bound(other) < bound(here) for other in shaken)

    def test_a_wrong_step_is_noticed(self):
        """Rows updated with a noise 1% off end 1e-5 below, which is far above rounding."""
        case = dense_case(bias=True)
        state = case.state._replace(noise_precision=1.01 * case.state.noise_precision)
        wrong = case._replace(state=state).rows(0)
        wrong = wrong._replace(
            state=wrong.state._replace(noise_precision=case.state.noise_precision)
        )
        assert wrong.bound() < case.rows(0).bound() - 1e-6


def planted(n_users=60, n_items=40, n_factors=2, *, rated=0.4, noise=0.5, mean=3.5, seed=0):
    """Ratings of a model as (22a) has it, and others of the same model to be asked for."""
    rng = np.random.default_rng(seed)
    P, Q = rng.normal(size=(n_users, n_factors)), rng.normal(size=(n_items, n_factors)) * 0.7
    table = mean + 0.5 * rng.normal(size=(n_users, 1)) + 0.5 * rng.normal(size=n_items) + P @ Q.T
    table += noise * rng.normal(size=table.shape)
    chosen = rng.uniform(size=table.shape) < rated
    u, i = np.nonzero(chosen)
    ids = np.arange(n_users), np.arange(n_items)
    train = scf.Ratings(*ids, u, i, table[u, i])
    u, i = np.nonzero(~chosen)
    return train, scf.Ratings(*ids, u, i, table[u, i])


def fitted(ratings, n_factors=2, *, bias=True, mean=True, n_jobs=1, seed=0, map=None, **options):
    model = scf.MatrixFactorization(
        n_factors,
        bias=bias,
        global_mean=mean,
        solver="vb",
        solver_options=VBOptions(**options),
        random_state=seed,
        n_jobs=n_jobs,
    )
    return model.fit(ratings, map=map)


def predicted(model, ratings, *, std=False):
    ids = ratings.user_ids[ratings.user_idx], ratings.item_ids[ratings.item_idx]
    return model.predict(*ids, return_std=std)


def same(one, other):
    """To the last bit."""
    parts = [
        (*model.parameters_.blocks(), *predicted(model, model.ratings_, std=True))
        for model in (one, other)
    ]
    return all(np.array_equal(*pair) for pair in zip(*parts, strict=True))


FORMS = pytest.mark.parametrize(
    "form",
    [
        {"bias": False, "mean": False},
        {"bias": False, "mean": True},
        {"bias": True, "mean": False},
        {"bias": True, "mean": True},
    ],
    ids=["dot products", "mean", "biases", "biases and mean"],
)


ODD = {
    "one rating": scf.Ratings.from_arrays([[1, 1]], [4.0]),
    "a rating of 0": scf.Ratings.from_arrays([[1, 1]], [0.0]),
    "one user": scf.Ratings.from_arrays([[1, i] for i in range(5)], [4.0, 3, 5, 2, 1]),
    "one item": scf.Ratings.from_arrays([[u, 1] for u in range(5)], [4.0, 3, 5, 2, 1]),
    "all equal": scf.Ratings.from_arrays([[u, i] for u in "abcd" for i in "xyz"], [4.0] * 12),
    "as good as equal": scf.Ratings.from_arrays(
        [[u, i] for u in "abcd" for i in "xyz"], 4 + 1e-15 * (np.arange(12) % 2)
    ),
    "the crosstab": scf.load_crosstab(),
    "no noise": reference.planted(60, 40, 3, rated=0.5)[0],
    "no noise, few ratings": reference.planted(60, 40, 3, rated=0.1)[0],
    "large numbers": planted(mean=1e4)[0],
    "users and items without ratings": scf.Ratings(range(9), range(8), [0, 1], [1, 1], [3, 4]),
}


class TestTraining:
    @FORMS
    @pytest.mark.parametrize("n_patterns", [0, 20])
    def test_the_bound_rises_with_every_sweep(self, form, n_patterns):
        ratings, _ = planted()
        options = {"n_patterns": n_patterns, "n_iterations": 20, "tol": 0, "dtype": "float64"}
        model = fitted(ratings, 3, **form, **options)
        assert model.history_["iteration"].tolist() == list(range(21))
        bound = model.history_["elbo"].to_numpy()
        assert np.isnan(bound[0])
        assert (np.diff(bound[1:]) > -1e-9 * np.abs(bound[1:-1])).all()
        assert bound[-1] > bound[1]

    def test_finds_what_was_planted(self):
        train, test = planted(n_users=150, n_items=100)
        model = fitted(train, 5)  # three more than there are: they may not do harm
        assert model.posterior_.noise_std == pytest.approx(0.5, rel=0.05)
        assert model.rmse(test) < 0.58
        assert scf.evaluate(scf.BiasesOnly().fit(train), test)["rmse"] > 1

    def test_on_a_full_table_there_are_no_patterns(self):
        """All users have rated the same: the features are alike, and change nothing."""
        train, test = planted()
        frame = pd.concat((train.to_frame(), test.to_frame()))
        ratings = scf.Ratings.from_frame(frame)
        one, other = (fitted(ratings, n_patterns=n, dtype="float64", tol=0) for n in (0, 4))
        assert one.posterior_.user_prior.vectors.shape[1] == 0
        assert other.posterior_.user_prior.vectors.shape[1] == 4
        expected = predicted(one, ratings)
        assert predicted(other, ratings) == pytest.approx(expected, abs=0.05)

    def test_patterns_tell_who_rates_what(self):
        """Two kinds of users rate two kinds of movies, and like what they rate: the means of the
        priors know it before a single star of a new user is told."""
        rng = np.random.default_rng(0)
        kind, genre = np.arange(80) % 2, np.arange(40) % 2
        likes = kind[:, None] == genre
        u, i = np.nonzero(rng.uniform(size=likes.shape) < np.where(likes, 0.3, 0.1))
        stars = np.where(likes, 4.5, 2.0) + 0.3 * rng.normal(size=likes.shape)
        ratings = scf.Ratings(np.arange(80), np.arange(40), u, i, stars[u, i])
        model = fitted(ratings, 1)
        prior = model.posterior_.user_prior
        means = [
            pattern_features(prior.vectors, prior.span, np.arange(genre, 40, 2)) @ prior.weights
            for genre in (0, 1)
        ]
        q = model.item_factors_[:, 0]
        towards = np.sign(q[::2].mean() - q[1::2].mean())
        assert towards * (means[0][0] - means[1][0]) > 0.5 * np.abs(model.user_factors_).mean()

    def test_float32_is_as_good_as_float64(self):
        ratings, test = planted()
        one, other = (
            predicted(fitted(ratings, dtype=dtype, tol=0), test, std=True)
            for dtype in ("float32", "float64")
        )
        np.testing.assert_allclose(one, other, atol=1e-3)

    @pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
    @pytest.mark.parametrize("form", [{"bias": False, "mean": False}, {"bias": True, "mean": True}])
    def test_knows_no_stars(self, form, factor):
        """Ratings of another size give the same model of another size; by powers of 4 as the
        factors have the root, to the last bit."""
        ratings, _ = planted()
        large = scf.Ratings(
            ratings.user_ids, ratings.item_ids, ratings.user_idx, ratings.item_idx,
            factor * ratings.rating,
        )  # fmt: skip
        one, other = fitted(ratings, **form), fitted(large, **form)
        for a, b in zip(
            predicted(one, ratings, std=True), predicted(other, ratings, std=True), strict=True
        ):
            np.testing.assert_array_equal(factor * a, b)
        assert other.posterior_.noise_std == factor * one.posterior_.noise_std
        assert other.history_["elbo"].equals(one.history_["elbo"])
        assert (other.history_["noise_std"] == factor * one.history_["noise_std"]).all()

    @pytest.mark.parametrize("name", ODD)
    def test_odd_tables(self, name):
        ratings = ODD[name]
        for n_factors, bias in ((8, True), (1, True), (2, False)):
            model = fitted(ratings, n_factors, bias=bias, mean=False, tol=0, n_iterations=10)
            stars, std = predicted(model, ratings, std=True)
            assert np.isfinite([stars, std]).all()
            assert (std >= model.posterior_.noise_std).all()
            assert np.isfinite(model.history_.iloc[1:].drop(columns="valid_rmse")).all(axis=None)
            if bias:
                error = ratings.rating - ratings.rating.mean()
                deviation = np.sqrt(np.mean(error**2))
                assert model.rmse(ratings) <= 1.01 * deviation + 1e-6 * stars.max()

    @pytest.mark.parametrize("mean", [0.0, 1e5])
    def test_biases_make_up_for_the_mean(self, mean):
        """The mean of the items' biases is free, so the mean of all ratings may stand there."""
        train, test = planted(mean=mean)
        one, other = fitted(train, mean=True), fitted(train, mean=False)
        a, b = predicted(one, test, std=True), predicted(other, test, std=True)
        np.testing.assert_allclose(a, b, rtol=1e-9)
        assert other.parameters_.offset == 0
        given = dict(enumerate(train.rating[:5]))
        a, b = (model.fold_in_item(given).predict(0, 40, return_std=True) for model in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-6)

    def test_without_noise_ends_where_rounding_begins(self):
        """In 32 bits: predictions as good as exact, and all that is derived from them a number."""
        ratings, table = reference.planted(200, 150, 3, rated=0.3)
        model = fitted(ratings, 8, tol=0)
        stars, std = model.predict(np.arange(200)[:, None], np.arange(150), return_std=True)
        assert np.abs(stars - table).max() < 1e-3 * table.std()
        least = (1000 * np.finfo(np.float32).eps) ** 0.5 * ratings.rating.std()
        assert model.posterior_.noise_std >= 0.999 * least
        assert (std < 2 * least).all()

    def test_rows_without_ratings_are_as_their_prior(self):
        train, _ = planted()
        more = scf.Ratings(
            np.arange(61), np.arange(41), train.user_idx, train.item_idx, train.rating
        )
        model = fitted(more, n_iterations=100, tol=0, dtype="float64")
        upper = np.triu_indices(3)
        for numbers, covariance, prior in (
            (model.user_factors_, model.posterior_.user_covariance, model.posterior_.user_prior),
            (model.item_factors_, model.posterior_.item_covariance, model.posterior_.item_prior),
        ):
            features = np.append(1.0, np.clip(0.0, *prior.span))  # as near 0 as others come
            expected = features @ prior.weights[:, :2]
            assert numbers[-1] == pytest.approx(expected, rel=1e-2, abs=1e-3)
            expected = np.linalg.inv(prior.precision)[upper]
            assert covariance[-1] == pytest.approx(expected, rel=1e-2, abs=1e-3)

    def test_same_seed_same_bits(self):
        ratings, _ = planted()
        one, again, other = (
            fitted(ratings, seed=1),
            fitted(ratings, seed=1),
            fitted(ratings, seed=2),
        )
        assert same(one, again)
        assert not same(one, other)

    def test_who_computes_does_not_matter(self):
        ratings, _ = planted(n_users=1100, n_items=30, rated=0.1)  # three blocks of users

        def backwards(function, blocks):
            return [function(block) for block in list(blocks)[::-1]][::-1]

        one = fitted(ratings, n_iterations=3)
        assert same(one, fitted(ratings, n_iterations=3, n_jobs=2))
        assert same(one, fitted(ratings, n_iterations=3, map=backwards))

    def test_trace_and_callback(self):
        train, test = planted()
        rows = []
        model = scf.MatrixFactorization(2, bias=True, solver="vb", random_state=0)
        model.fit(train, valid=test, callback=lambda row: rows.append(row) or len(rows) == 4)
        assert model.result_.message == "Stopped at the user's request after 4 sweeps."
        assert model.history_.iloc[1:].to_dict("records") == rows
        last = rows[-1]
        assert last["train_rmse"] == pytest.approx(model.rmse(train), rel=1e-6)  # in float32
        assert last["valid_rmse"] == pytest.approx(model.rmse(test), rel=1e-12)
        assert last["noise_std"] == model.posterior_.noise_std

    def test_converges(self):
        ratings, _ = planted()
        model = fitted(ratings, n_iterations=500, tol=1e-5)
        sweeps = model.result_.iterations
        assert model.result_.message == f"Converged after {sweeps} sweeps."
        assert sweeps < 500
        assert fitted(ratings, n_iterations=1).result_.message == "Ran 1 sweep."

    @pytest.mark.parametrize("after", [1, 3])
    def test_ctrl_c_keeps_the_last_sweep(self, after):
        ratings, _ = planted()

        def interrupt(row):
            if row["iteration"] == after:
                raise KeyboardInterrupt

        model = scf.MatrixFactorization(2, bias=True, global_mean=True, solver="vb", random_state=0)
        model.fit(ratings, callback=interrupt)
        assert model.result_.message.startswith(f"Interrupted after {after} sweep")
        assert same(model, fitted(ratings, n_iterations=after))

    def test_ctrl_c_in_the_first_sweep_keeps_the_start(self):
        ratings, _ = planted()

        def interrupt(function, blocks):
            raise KeyboardInterrupt

        model = fitted(ratings, map=interrupt)
        assert model.result_.message == "Interrupted after 0 sweeps."
        assert np.isfinite(predicted(model, ratings, std=True)).all()

    def test_does_not_go_on_from_what_there_is(self):
        ratings, _ = planted()
        model = scf.MatrixFactorization(2, solver="vb", random_state=0).partial_fit(ratings)
        before = model.parameters_
        with pytest.raises(ValueError, match=r"solver 'vb' finds its own start: `fit` it .* anew"):
            model.partial_fit(ratings)
        assert model.parameters_ is before

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ({"n_iterations": 0}, "`n_iterations` must be >= 1, got 0"),
            ({"n_patterns": -1}, "`n_patterns` must be >= 0, got -1"),
            ({"tol": 2}, "`tol` must be .*, got 2"),
            ({"dtype": "float16"}, "`dtype` must be one of float32, float64, got 'float16'"),
        ],
    )
    def test_refuses_settings(self, setting, message):
        with pytest.raises(ValueError, match=message):
            VBOptions(**setting)

    def test_refuses_a_range(self):
        with pytest.raises(ValueError, match="works on a model without `rating_range`"):
            scf.MatrixFactorization(solver="vb", rating_range=(0.5, 5))
        squashed = scf.Parameters.random(15, 15)
        squashed = scf.Parameters(*squashed.blocks(), rating_range=(0.5, 5))
        with pytest.raises(ValueError, match="'vb' works without a `rating_range`"):
            vb.solve(scf.load_crosstab(), squashed)

    def test_settings_by_name(self):
        model = scf.MatrixFactorization(solver="vb")
        assert model.get_params()["solver_options__n_patterns"] == 20
        model.set_params(solver_options__n_patterns=3, n_jobs=2)
        assert (model.solver_options.n_patterns, model.n_jobs) == (3, 2)
        assert model.set_params(solver="sgd").solver_options == scf.SGDOptions()

    def test_in_scikit_learns_tools(self):
        base = pytest.importorskip("sklearn.base")
        selection = pytest.importorskip("sklearn.model_selection")
        ratings, _ = planted()
        pairs, stars = ratings.to_frame()[["user_id", "item_id"]], ratings.rating
        model = scf.MatrixFactorization(
            2, bias=True, global_mean=True, solver="vb", solver_options=VBOptions(tol=1e-3),
            unknown="mean", random_state=0,
        )  # fmt: skip
        assert base.clone(model).get_params() == model.get_params()
        cv = selection.KFold(3, shuffle=True, random_state=0)
        assert selection.cross_val_score(model, pairs, stars, cv=cv).min() > 0.3


def coverages(model, test):
    """Shares of ratings within the central intervals that should hold 50% and 90% of them."""
    stars, std = predicted(model, test, std=True)
    away = np.abs(test.rating - stars) / std
    return [float(np.mean(away <= stats.norm.ppf((1 + level) / 2))) for level in (0.5, 0.9)]


class TestCalibration:
    @pytest.mark.parametrize("rated", [0.1, 0.2, 0.4])
    def test_planted(self, rated):
        train, test = planted(150, 100, rated=rated)
        model = fitted(train)
        assert coverages(model, test) == pytest.approx([0.5, 0.9], abs=0.05)

    def test_std_tells_where_errors_are_large(self):
        train, test = planted(150, 100, rated=0.2)
        model = fitted(train)
        stars, std = predicted(model, test, std=True)
        squared = (stars - test.rating) ** 2
        for part in np.array_split(np.argsort(std), 4):
            assert np.mean(squared[part]) == pytest.approx(np.mean(std[part] ** 2), rel=0.2)
        assert std.max() > 1.5 * std.min()

    @pytest.mark.slow
    @pytest.mark.parametrize("n_factors", [5, 20])
    @pytest.mark.parametrize(
        "file", [("ml-100k", "u.data"), ("ml-latest-small-2016", "ratings.csv")], ids=lambda f: f[0]
    )
    def test_movielens(self, file, n_factors):
        train, test = scf.split(scf.read_ratings(shared_file("data", *file)), 0.1, 0)
        frame = test.to_frame()
        is_known = frame.user_id.isin(train.user_ids) & frame.item_id.isin(train.item_ids)
        test = scf.Ratings.from_frame(frame[is_known])
        model = fitted(train, n_factors)
        assert coverages(model, test) == pytest.approx([0.5, 0.9], abs=0.05)
