"""How sure a model is: standard deviations, in files, of unknown ids and of new users.

The numbers (22d), (22e) and (22j) are those of the docstrings of `shallow_cf.solvers.vb` and
`shallow_cf.posterior`. How they come about: `test_vb`.
"""

from dataclasses import replace

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf.posterior import Posterior, RowPrior
from shallow_cf.solvers.vb import VBOptions


def random_posterior(n_users, n_items, n_factors, *, bias, seed=0):
    """Any parameters, and how sure of them somebody might be."""
    rng = np.random.default_rng(seed)
    parameters = scf.Parameters.random(n_users, n_items, n_factors, bias=bias, random_state=rng)
    d = n_factors + bias

    def definite(*shape):
        root = rng.normal(size=(*shape, d, d))
        return root @ np.swapaxes(root, -1, -2) / d + 0.1 * np.eye(d)

    def prior(n):
        span = np.array([[-1.0, -1.0], [1.0, 1.0]])
        return RowPrior(rng.normal(size=(n, 2)), span, rng.normal(size=(3, d)), definite())

    covariances = [definite(n)[:, *np.triu_indices(d)] for n in (n_users, n_items)]
    return parameters, Posterior(*covariances, prior(n_items), prior(n_users), noise_std=0.3)


def full(upper):
    """A symmetric matrix from its upper triangle."""
    d = int((2 * len(upper)) ** 0.5)
    found = np.zeros((d, d))
    found[np.triu_indices(d)] = upper
    return found + np.triu(found, 1).T


def rows(parameters, posterior, side):
    """Mean and covariance of each user or item."""
    numbers = np.column_stack(parameters.blocks()[side::2])
    covariance = (posterior.user_covariance, posterior.item_covariance)[side]
    return [(m, full(S)) for m, S in zip(numbers, covariance, strict=True)]


@pytest.fixture(params=[False, True], ids=["no biases", "biases"])
def bias(request):
    return request.param


class TestStd:
    def test_equals_the_loop(self, bias):
        parameters, posterior = random_posterior(4, 5, 3, bias=bias)
        users, items = (
            [reference.Gaussian(m.tolist(), S.tolist()) for m, S in rows(parameters, posterior, k)]
            for k in (0, 1)
        )
        u, i = np.arange(4)[:, None], np.arange(5)
        expected = [[reference.score_variance(x, y, 3) + 0.3**2 for y in items] for x in users]
        np.testing.assert_allclose(posterior.std(parameters, u, i) ** 2, expected, rtol=1e-10)

    def test_equals_that_of_samples(self, bias):
        """Draw the user's and the item's numbers, and a rating from each, as (22a) has it."""
        parameters, posterior = random_posterior(1, 1, 2, bias=bias)
        rng, n = np.random.default_rng(0), 400_000
        x, y = (rng.multivariate_normal(*rows(parameters, posterior, k)[0], n) for k in (0, 1))
        ratings = (x[:, :2] * y[:, :2]).sum(axis=1) + 0.3 * rng.normal(size=n)
        if bias:
            ratings += x[:, 2] + y[:, 2]
        std = float(posterior.std(parameters, np.array(0), np.array(0)))
        assert std == pytest.approx(ratings.std(), rel=0.01)
        assert parameters.predict(0, 0) == pytest.approx(ratings.mean(), abs=4 * std / n**0.5)

    def test_by_hand(self):
        # (22j): p ~ N(2, 1), q ~ N(3, 4). Var pq = 9 * 1 + 4 * 4 + 1 * 4 = 29, and noise of 7
        # more: 36.
        prior = RowPrior(np.zeros((1, 0)), np.zeros((2, 0)), np.zeros((1, 1)), np.eye(1))
        one = np.array([0])
        posterior = Posterior(np.array([[1.0]]), np.array([[4.0]]), prior, prior, 7**0.5)
        found = posterior.std(scf.Parameters([[2.0]], [[3.0]]), one, one)
        assert found == pytest.approx([6.0], rel=1e-14)

    def test_many_pairs_are_those_of_few(self):
        parameters, posterior = random_posterior(
            90, 80, 2, bias=True
        )  # more than are handled at once
        u, i = np.arange(90)[:, None], np.arange(80)
        table = posterior.std(parameters, u, i)
        assert table.shape == (90, 80)
        assert table[61, 70] == posterior.std(parameters, np.array(61), np.array(70))

    def test_turned(self, bias):
        parameters, posterior = random_posterior(4, 5, 3, bias=bias)
        other = scf.fold_in.turned(parameters)
        u, i = np.arange(4)[:, None], np.arange(5)
        np.testing.assert_allclose(
            posterior.turned().std(other, i[:, None], u.T), posterior.std(parameters, u, i).T
        )

    def test_average_is_any_at_random(self, bias):
        parameters, posterior = random_posterior(3, 2, 2, bias=bias)
        more = posterior.with_average(parameters)
        rng = np.random.default_rng(0)
        users = rows(parameters, posterior, 0)
        drawn = np.concatenate([rng.multivariate_normal(*row, 100_000) for row in users])
        np.testing.assert_allclose(full(more.user_covariance[-1]), np.cov(drawn.T), atol=0.02)
        assert len(more.item_covariance) == 3
        np.testing.assert_array_equal(more.user_covariance[:-1], posterior.user_covariance)


class TestCheck:
    def test_takes_what_fits(self, bias):
        parameters, posterior = random_posterior(4, 5, 3, bias=bias)
        posterior.check(parameters)

    def damaged(name, value):
        def damage(posterior):
            return replace(posterior, **{name: value(getattr(posterior, name))})

        return damage

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (damaged("user_covariance", lambda S: S[1:]), "do not fit together"),
            (damaged("item_covariance", lambda S: S[:, 1:]), "do not fit together"),
            (damaged("item_covariance", lambda S: S.ravel()), "do not fit together"),
            (damaged("user_prior", lambda p: p._replace(vectors=p.vectors[1:])), "fit together"),
            (damaged("user_prior", lambda p: p._replace(span=p.span[1:])), "fit together"),
            (damaged("user_prior", lambda p: p._replace(weights=p.weights[1:])), "fit together"),
            (damaged("item_prior", lambda p: p._replace(precision=np.eye(2))), "fit together"),
            (damaged("user_covariance", lambda S: S * np.nan), "must be finite"),
            (damaged("item_prior", lambda p: p._replace(weights=p.weights / 0.0)), "finite"),
            (damaged("user_covariance", lambda S: -S), "variances above 0"),
            (damaged("item_prior", lambda p: p._replace(precision=-p.precision)), "above 0"),
            (damaged("noise_std", lambda s: 0.0), "noise above 0"),
            (damaged("noise_std", lambda s: np.nan), "noise above 0"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:divide by zero")
    def test_refuses_what_does_not(self, damage, message):
        parameters, posterior = random_posterior(4, 5, 3, bias=True)
        with pytest.raises(ValueError, match=message):
            damage(posterior).check(parameters)


@pytest.fixture(scope="module")
def model():
    """A model of ratings with two factors and noise of half a star, long trained."""
    ratings, _ = reference.planted(60, 40, 2, rated=0.4)
    noise = 0.5 * np.random.default_rng(1).normal(size=ratings.n_ratings)
    noisy = scf.Ratings(
        ratings.user_ids, ratings.item_ids, ratings.user_idx, ratings.item_idx,
        ratings.rating + noise,
    )  # fmt: skip
    options = VBOptions(n_iterations=150, tol=1e-12, dtype="float64")
    return scf.MatrixFactorization(
        2, bias=True, global_mean=True, solver="vb", solver_options=options, random_state=0
    ).fit(noisy)


USERS, ITEMS = np.arange(60)[:, None], np.arange(40)


class TestPredict:
    def test_in_every_shape(self, model):
        stars, std = model.predict(USERS, ITEMS, return_std=True)
        assert stars.shape == std.shape == (60, 40)
        np.testing.assert_array_equal(stars, model.predict(USERS, ITEMS))
        np.testing.assert_array_equal(std, model.posterior_.std(model.parameters_, USERS, ITEMS))
        one = model.predict(3, 4, return_std=True)
        assert [type(part) for part in one] == [np.float64, np.float64]
        assert one == (stars[3, 4], std[3, 4])
        pairs = model.predict(np.array([[3, 4], [5, 6]]), return_std=True)[1]
        np.testing.assert_array_equal(pairs, std[[3, 5], [4, 6]])
        assert [part.shape for part in model.predict([], [], return_std=True)] == [(0,), (0,)]

    def test_unknown_ids(self, model):
        model = scf.MatrixFactorization.load(saved(model))
        users, items = [0, 999, 0, 999], [1, 1, 999, 999]
        with pytest.raises(ValueError, match="999"):
            model.predict(users, items, return_std=True)
        known = model.predict(0, 1, return_std=True)
        stars, std = model.set_params(unknown="nan").predict(users, items, return_std=True)
        np.testing.assert_array_equal(stars, [known[0], np.nan, np.nan, np.nan])
        np.testing.assert_array_equal(std, [known[1], np.nan, np.nan, np.nan])
        one = model.predict(0, 1, return_std=True)
        assert one == known
        assert [type(part) for part in one] == [np.float64, np.float64]
        stars, std = model.set_params(unknown="mean").predict(users, items, return_std=True)
        assert (stars[0], std[0]) == known
        assert std[3] > max(std[1], std[2]) > min(std[1], std[2]) > std[0]
        ratings = model.ratings_.rating  # one of whom nothing is known: any rating of all
        assert std[3] == pytest.approx(ratings.std(), rel=0.1)

    def test_only_where_there_is_a_posterior(self, crosstab):
        message = "`return_std` must be left out .* `fit` it with solver 'vb'"
        for model in (
            scf.MatrixFactorization(2, solver="als", random_state=0).fit(crosstab),
            scf.MatrixFactorization.from_parameters(crosstab, scf.Parameters.random(15, 15)),
        ):
            assert model.posterior_ is None
            for unknown in ("error", "mean"):
                model.set_params(unknown=unknown)
                with pytest.raises(ValueError, match=message):
                    model.predict(294, 260, return_std=True)


def saved(model, **options):
    model.save("model.npz", **options)
    return "model.npz"


class TestFiles:
    @pytest.mark.parametrize("ratings", [True, False])
    def test_round_trip(self, model, ratings):
        loaded = scf.MatrixFactorization.load(saved(model, ratings=ratings))
        for ours, theirs in zip(
            model.predict(USERS, ITEMS, return_std=True),
            loaded.predict(USERS, ITEMS, return_std=True),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
        given = {0: 4.0, 7: 1.0}
        ours, theirs = (
            m.fold_in_user(given).predict(60, 3, return_std=True) for m in (model, loaded)
        )
        assert ours == theirs
        assert loaded.solver_options == model.solver_options

    def test_models_without(self, crosstab):
        model = scf.MatrixFactorization(2, solver="als", random_state=0).fit(crosstab)
        assert scf.MatrixFactorization.load(saved(model)).posterior_ is None

    @pytest.mark.parametrize(
        "damage",
        [
            lambda arrays: arrays.pop("posterior.user_covariance"),
            lambda arrays: arrays.pop("posterior.item_weights"),
            lambda arrays: arrays.pop("posterior.user_span"),
            lambda arrays: arrays.update({"posterior.noise_std": np.array(-1.0)}),
            lambda arrays: arrays.update({"posterior.noise_std": np.ones(2)}),
            lambda arrays: arrays.update({"posterior.user_covariance": np.array(["x"])}),
            lambda arrays: arrays["posterior.item_covariance"].fill(np.nan),
            lambda arrays: arrays["posterior.user_precision"].fill(0),
            lambda arrays: arrays.update({"posterior.user_vectors": np.ones((3, 2))}),
        ],
    )
    def test_damaged(self, model, damage):
        with np.load(saved(model)) as file:
            arrays = {name: array.copy() for name, array in file.items()}
        damage(arrays)
        np.savez("model.npz", **arrays)
        with pytest.raises(ValueError, match=r"^model.npz is not a model saved by shallow_cf$"):
            scf.MatrixFactorization.load("model.npz")


def numbers(model, side):
    """Mean and covariance of the last user or item."""
    return rows(model.parameters_, model.posterior_, side)[-1]


class TestFoldIn:
    @pytest.mark.parametrize("side", [0, 1], ids=["user", "item"])
    def test_finds_again_what_training_found(self, model, side):
        """A row folded in has (22d) and (22e) of one that was trained on the same ratings."""
        ratings = model.ratings_
        own, other = (ratings.user_idx, ratings.item_idx)[:: 1 - 2 * side]
        for row in (0, 11):
            is_its = own == row
            given = dict(zip(other[is_its].tolist(), ratings.rating[is_its].tolist(), strict=True))
            fold_in = (model.fold_in_user, model.fold_in_item)[side]
            mean, covariance = numbers(fold_in(given), side)
            expected = rows(model.parameters_, model.posterior_, side)[row]
            np.testing.assert_allclose(mean, expected[0], atol=2e-3)
            np.testing.assert_allclose(covariance, expected[1], atol=1e-4)

    def test_equals_the_loop(self, model):
        given = {3: 4.0, 8: 1.5, 30: 2.0}
        folded = model.fold_in_user(given)
        prior, items = model.posterior_.user_prior, rows(model.parameters_, model.posterior_, 1)
        items = [reference.Gaussian(m.tolist(), S.tolist()) for m, S in items]
        features = [1.0]
        for values, low, high in zip(prior.vectors.T, *prior.span, strict=True):
            features.append(min(max(sum(values[i] for i in given) / 3**0.5, low), high))
        expected = reference.row_given_others(
            [(items[i], r - model.parameters_.offset) for i, r in given.items()],
            reference.Prior(prior.weights.tolist(), prior.precision.tolist()),
            features,
            model.posterior_.noise_std**-2,
            2,
        )
        mean, covariance = numbers(folded, 0)
        np.testing.assert_allclose(mean, expected.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(covariance, expected.covariance, rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("side", [0, 1], ids=["user", "item"])
    def test_nothing_given_is_the_prior(self, model, side):
        folded = (model.fold_in_user, model.fold_in_item)[side]({})
        prior = (model.posterior_.user_prior, model.posterior_.item_prior)[side]
        mean, covariance = numbers(folded, side)
        # Of a row that rated nothing all features are 0, or as near as rows with ratings come.
        features = np.append(1.0, np.clip(0.0, *prior.span))
        np.testing.assert_allclose(mean, features @ prior.weights, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(covariance, np.linalg.inv(prior.precision), rtol=1e-7)

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_few_ratings_where_everybody_gave_many(self, crosstab, side):
        """The features of a row with a rating or none lie far from all that the means of the
        prior were learned from: carried on as straight lines these are off by several stars."""
        model = scf.MatrixFactorization(3, bias=True, global_mean=True, solver="vb", random_state=0)
        model.fit(crosstab)
        fold_in = getattr(model, f"fold_in_{side}")
        ids = {"user": crosstab.item_ids, "item": crosstab.user_ids}[side]
        for given in ({}, {ids[3]: 4.0}):
            folded = fold_in(given, 999_999)
            pairs = (999_999, ids) if side == "user" else (ids, 999_999)
            assert folded.predict(*pairs).mean() == pytest.approx(crosstab.mean_rating, abs=0.5)

    def test_std_shrinks_with_every_rating(self, model):
        stars = model.predict(7, ITEMS)
        std = [
            model.fold_in_user(dict(enumerate(stars[:n].tolist()))).predict(
                60, ITEMS, return_std=True
            )[1]
            for n in range(0, 41, 8)
        ]
        assert (np.diff(std, axis=0) < 0).all()
        assert (std[-1] > model.posterior_.noise_std).all()

    def test_the_new_user_is_one_of_them(self, model):
        given = {0: 5.0, 1: 1.0, 2: 4.0}
        folded = model.fold_in_user(given, 1234)
        assert model.user_ids_[-1] == 59  # the model that was there stays as it was
        assert len(model.posterior_.user_covariance) == 60
        # Where the user stands among the patterns of who rates what, training did not learn.
        assert not folded.posterior_.item_prior.vectors[-1].any()
        table = folded.recommend(1234, 40)
        assert len(table) == 37
        assert not set(table.item_id) & set(given)
        stars, std = folded.predict(1234, ITEMS, return_std=True)
        unseen = np.sort(np.delete(stars, [0, 1, 2]))[::-1]
        np.testing.assert_allclose(table.prediction, unseen, rtol=1e-14)
        loaded = scf.MatrixFactorization.load(saved(folded))
        np.testing.assert_array_equal(loaded.predict(1234, ITEMS, return_std=True)[1], std)
        again = loaded.fold_in_item({1234: 5.0, 3: 4.0}).fold_in_user({40: 3.0, 5: 2.0})
        again.posterior_.check(again.parameters_)
        assert np.isfinite(again.predict(1235, 40, return_std=True)).all()

    def test_takes_no_penalty(self, model):
        for fold_in in (model.fold_in_user, model.fold_in_item):
            with pytest.raises(ValueError, match="`reg` must be left out where solver 'vb'"):
                fold_in({0: 3.0}, reg=1.0)

    def test_new_users_are_calibrated(self):
        """Users kept from training, folded in from eight ratings each."""
        rng = np.random.default_rng(5)
        ratings, table = reference.planted(160, 60, 2, rated=0.3, random_state=5)
        table = table + 0.4 * rng.normal(size=table.shape)
        is_trained = ratings.user_idx < 120
        u, i = ratings.user_idx[is_trained], ratings.item_idx[is_trained]
        known = scf.Ratings(np.arange(120), np.arange(60), u, i, table[u, i])
        model = scf.MatrixFactorization(2, bias=True, global_mean=True, solver="vb", random_state=0)
        model.fit(known)
        away = []
        for stars in table[120:]:
            told = rng.permutation(60)[:8]
            folded = model.fold_in_user(dict(zip(told.tolist(), stars[told].tolist(), strict=True)))
            prediction, std = folded.predict(120, np.arange(60), return_std=True)
            away.append(np.delete((stars - prediction) / std, told))
        inside = [np.mean(np.abs(away) < z) for z in (0.6745, 1.6449)]
        assert inside == pytest.approx([0.5, 0.9], abs=0.05)
