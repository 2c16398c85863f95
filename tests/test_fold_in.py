"""Fold-in: the new numbers against other solvers, measured slopes and a solution by hand.

The numbers (17a) to (17f) are those of the docstring of `shallow_cf.fold_in`.
"""

import numpy as np
import pandas as pd
import pytest
import reference
from scipy import linalg

import shallow_cf as scf
from shallow_cf import fold_in, objective


def model_of(ratings, parameters):
    return scf.MatrixFactorization.from_parameters(ratings, parameters)


def problem(bias, rating_range, n_factors=3):
    """Twelve users, eight items; a mean, and a range if asked for."""
    ratings, theta = reference.problem(12, 8, n_factors, bias=bias, rated=0.7)
    mean = 0.3 if rating_range is None else 1.5
    return model_of(
        ratings, scf.Parameters(*theta.blocks(), global_mean=mean, rating_range=rating_range)
    )


@pytest.fixture(params=[False, True], ids=["no biases", "biases"])
def bias(request):
    return request.param


@pytest.fixture(params=[None, (0.0, 5.5)], ids=["no range", "sigmoid"])
def model(request, bias):
    return problem(bias, request.param)


STARS = {0: 4.5, 3: 1.0, 4: 3.0, 6: 5.0, 7: 2.5}
FEW = {5: 4.0, 2: 1.5}


def numbers(model, side="user"):
    """What was found: p_u and b_u of the last user, or q_i and b_i of the last item."""
    factors, bias = (
        (model.user_factors_, model.user_bias_)
        if side == "user"
        else (model.item_factors_, model.item_bias_)
    )
    return factors[-1] if bias is None else np.append(factors[-1], bias[-1])


def system(model, given):
    """A and t, a row a rating, of the model without a range."""
    theta = model.parameters_
    A, t = [], []
    for item, stars in given.items():
        i = model.item_ids_.tolist().index(item)
        q = theta.item_factors[i].tolist()
        A.append(q if theta.item_bias is None else [*q, 1.0])
        known = theta.offset + (0.0 if theta.item_bias is None else theta.item_bias[i])
        t.append(stars - known)
    return np.array(A), np.array(t)


class TestLinear:
    """Without a range: (17b) to (17d)."""

    def test_by_hand(self):
        # Two items, q = 1 and 2, get 3 and 4 stars: x = A't / A'A = (3 + 8)/(1 + 4) = 11/5;
        # with a penalty of 6 it is 11/(5 + 6) = 1.
        ratings = scf.Ratings([1], [10, 20], [0], [0], [1.0])
        model = model_of(ratings, scf.Parameters([[1.0]], [[1.0], [2.0]]))
        assert numbers(model.fold_in_user({10: 3, 20: 4}, reg=0)) == pytest.approx([2.2])
        folded = model.fold_in_user({10: 3, 20: 4}, reg=6)
        assert numbers(folded) == pytest.approx([1.0], rel=1e-14)
        assert folded.predict(2, [10, 20]) == pytest.approx([1.0, 2.0], rel=1e-14)

    def test_by_hand_with_biases_and_mean(self):
        # mu = 3, b_i = (0.5, -0.5): t = (4 - 3.5, 2 - 2.5) = (0.5, -0.5). a = (1, 1), (-1, 1)
        # are orthogonal, A'A = 2 I and A't = (1, 0): x = (1, 0)/(2 + reg).
        ratings = scf.Ratings([1], [10, 20], [0], [0], [1.0])
        theta = scf.Parameters([[1.0]], [[1.0], [-1.0]], [0.0], [0.5, -0.5], global_mean=3.0)
        model = model_of(ratings, theta).fold_in_user({10: 4, 20: 2}, reg=2)
        assert numbers(model) == pytest.approx([0.25, 0.0], abs=1e-15)

    @pytest.mark.parametrize("reg", [1e-8, 0.1, 3.0, 1e4])
    @pytest.mark.parametrize("given", [STARS, FEW], ids=["many", "few"])
    def test_normal_equations(self, bias, given, reg):
        model = problem(bias, None)
        A, t = system(model, given)
        expected = np.linalg.solve(A.T @ A + reg * np.eye(A.shape[1]), A.T @ t)  # (17c)
        x = numbers(model.fold_in_user(given, reg=reg))
        np.testing.assert_allclose(x, expected, rtol=1e-6 if reg < 1e-3 else 1e-11)

    @pytest.mark.parametrize("given", [STARS, FEW], ids=["many", "few"])
    def test_without_penalty_the_shortest(self, bias, given):
        model = problem(bias, None)
        A, t = system(model, given)
        x = numbers(model.fold_in_user(given, reg=0))
        np.testing.assert_allclose(x, linalg.lstsq(A, t)[0], rtol=1e-10)
        np.testing.assert_allclose(x, linalg.pinv(A) @ t, rtol=1e-10)


def slopes(model, reg, side="user"):
    """Gradient of half_sse of the whole extended model at the new numbers: (4a), (4c)."""
    G = objective.half_sse_gradient(model.ratings_, model.parameters_, reg)
    factors, bias = (
        (G.user_factors, G.user_bias) if side == "user" else (G.item_factors, G.item_bias)
    )
    return factors[-1] if bias is None else np.append(factors[-1], bias[-1])


def measured_slopes(model, reg):
    """The same by central differences of half_sse."""
    places = model.parameters_.places()
    own = places["user_factors"][-1]
    if "user_bias" in places:
        own = np.append(own, places["user_bias"][-1])
    theta = model.parameters_.pack()

    def value(x):
        changed = theta.copy()
        changed[own] = x
        return objective.half_sse(model.ratings_, model.parameters_.unpack(changed), reg)

    return objective.central_difference(value, theta[own], 1e-4)


def assert_is_minimum(model, reg, side="user"):
    """No slope at the new numbers: that of the objective, and for users a measured one.

    The search with a sigmoid ends where phi cannot be told from its neighbours, 1e-15 of
    it: that is 3e-8 of a slope.
    """
    assert np.abs(slopes(model, reg, side)).max() < 1e-6
    if side == "user":
        assert np.abs(measured_slopes(model, reg)).max() < 1e-5


class TestMinimum:
    """(17a), whatever the model."""

    @pytest.mark.parametrize("reg", [0.01, 0.5, 3.0, 50.0])
    @pytest.mark.parametrize("given", [STARS, FEW], ids=["many", "few"])
    def test_the_slope_is_zero(self, model, given, reg):
        # With a rating range (17e) and (17f) lead here; with another J or f, J'f is zero elsewhere.
        assert_is_minimum(model.fold_in_user(given, reg=reg), reg)

    def test_without_penalty(self, model):
        assert_is_minimum(model.fold_in_user(STARS, reg=0), 0.0)

    def test_items(self, model):
        given = {1: 4.0, 2: 2.0, 5: 3.5, 11: 1.0}
        assert_is_minimum(model.fold_in_item(given, reg=0.5), 0.5, "item")

    def test_the_test_catches_a_thousandth(self, model):
        folded = model.fold_in_user(STARS, reg=0.5)
        theta = folded.parameters_
        P = theta.user_factors.copy()
        P[-1] *= 1.001
        folded.parameters_ = theta.with_blocks([P, *theta.blocks()[1:]])
        with pytest.raises(AssertionError):
            assert_is_minimum(folded, 0.5)

    def test_better_than_random_numbers(self, model):
        # Slopes of zero could be a saddle or a maximum.
        folded = model.fold_in_user(STARS, reg=0.5)
        best = objective.half_sse(folded.ratings_, folded.parameters_, 0.5)
        theta, rng = folded.parameters_, np.random.default_rng(0)
        for scale in (0.01, 0.1, 1.0) * 20:
            P = theta.user_factors.copy()
            P[-1] += rng.normal(0, scale, P.shape[1])
            there = theta.with_blocks([P, *theta.blocks()[1:]])
            assert objective.half_sse(folded.ratings_, there, 0.5) > best

    def test_a_user_with_the_ratings_of_another(self):
        # At the optimum of the whole, folding a user in again gives what training gave.
        options = scf.VarproOptions(reg=0.5)
        ratings = scf.load_crosstab()
        model = scf.MatrixFactorization(
            3, bias=True, solver="varpro", solver_options=options, random_state=0
        ).fit(ratings)
        own = ratings.to_crosstab().loc[294].dropna().to_dict()
        folded = model.fold_in_user(own, reg=0.5)
        u = model.user_ids_.tolist().index(294)
        np.testing.assert_allclose(folded.user_factors_[-1], model.user_factors_[u], atol=1e-4)

    def test_ends_of_the_range(self):
        # Five stars of five: the best score is infinite, the search ends all the same.
        model = problem(False, (0.0, 5.0))
        folded = model.fold_in_user({0: 5.0, 1: 5.0}, reg=0)
        assert folded.predict(12, [0, 1]) == pytest.approx([5.0, 5.0], abs=1e-3)
        assert folded.parameters_.is_finite()


class TestNewModel:
    def test_the_old_one_stays_as_it_is(self, model):
        theta, ratings, users = model.parameters_, model.ratings_, model.user_ids_.copy()
        blocks = [block.copy() for block in theta.blocks()]
        folded = model.fold_in_user(STARS).fold_in_item({0: 3.0})
        assert model.parameters_ is theta
        assert model.ratings_ is ratings
        assert model.user_ids_.tolist() == users.tolist()
        assert all(map(np.array_equal, theta.blocks(), blocks))
        assert type(folded) is type(model)

    def test_everybody_else_stays(self, model):
        folded = model.fold_in_user(STARS)
        np.testing.assert_array_equal(folded.user_factors_[:-1], model.user_factors_)
        np.testing.assert_array_equal(folded.predict_all()[:-1], model.predict_all())
        assert folded.parameters_.global_mean == model.parameters_.global_mean
        assert folded.parameters_.rating_range == model.parameters_.rating_range

    def test_its_ratings(self, model):
        folded = model.fold_in_user(FEW)
        table = folded.ratings_.to_crosstab()
        assert table.loc[12].dropna().to_dict() == FEW
        pd.testing.assert_frame_equal(table.loc[:11], model.ratings_.to_crosstab())
        table = model.fold_in_item({3: 2.0, 0: 5.0}, 99).ratings_.to_crosstab()
        assert table[99].dropna().to_dict() == {0: 5.0, 3: 2.0}

    def test_methods_know_the_user(self, model):
        folded = model.fold_in_user(STARS)
        seen = set(STARS)
        assert set(folded.recommend(12)["item_id"]) == set(range(8)) - seen
        assert folded.explain(12, 0).rating == 4.5
        assert len(folded.similar_users(12, 99)) == 12
        assert folded.predict_all(12).shape == (8,)
        assert np.isfinite(folded.rmse(folded.ratings_))

    def test_without_kept_ratings(self, model):
        expected = numbers(model.fold_in_user(STARS))
        model.ratings_ = None
        folded = model.fold_in_user(STARS)
        assert folded.ratings_ is None
        np.testing.assert_array_equal(numbers(folded), expected)

    def test_nothing_known(self, model):
        folded = model.fold_in_user({}, reg=0)
        assert not numbers(folded).any()
        assert len(folded.recommend(12, 99)) == 8

    def test_a_series_will_do(self, model):
        one, two = model.fold_in_user(STARS), model.fold_in_user(pd.Series(STARS))
        assert one.parameters_.equals(two.parameters_)

    def test_a_user_as_an_item(self, bias):
        # Users and items exchanged give the same numbers, exchanged.
        model = problem(bias, (0.0, 5.5))
        theta, old = model.parameters_, model.ratings_
        blocks = [theta.item_factors, theta.user_factors]
        blocks += [theta.item_bias, theta.user_bias] if bias else []
        mirror = model_of(
            scf.Ratings(old.item_ids, old.user_ids, old.item_idx, old.user_idx, old.rating),
            theta.with_blocks(blocks),
        )
        one, two = model.fold_in_user(STARS), mirror.fold_in_item(STARS)
        np.testing.assert_array_equal(numbers(one), numbers(two, "item"))


class TestIds:
    def named(self):
        ratings = scf.Ratings(["ann", "bob"], ["x", "y"], [0, 1], [0, 1], [3.0, 4.0])
        return model_of(ratings, scf.Parameters.random(2, 2, 1, random_state=0))

    def test_default(self, model):
        assert model.fold_in_user(FEW).user_ids_.tolist() == list(range(13))
        assert model.fold_in_item({0: 1.0}).item_ids_.tolist() == list(range(9))
        named = self.named().fold_in_user({"x": 5.0}).fold_in_item({"new user": 2.0})
        assert named.user_ids_.tolist() == ["ann", "bob", "new user"]
        assert named.item_ids_.tolist() == ["x", "y", "new item"]
        assert np.isfinite(named.predict("new user", "new item"))

    def test_given(self, model):
        assert model.fold_in_user(FEW, -7).user_ids_[-1] == -7
        assert self.named().fold_in_user({"y": 1}, "a longer name").user_ids_[-1] == "a longer name"

    def test_bad_ids(self, model):
        named = self.named()
        with pytest.raises(ValueError, match="`user_id` must be a new id, but 3 is in use"):
            model.fold_in_user(FEW, 3)
        with pytest.raises(ValueError, match="`item_id` must be a new id, but 'x' is in use"):
            named.fold_in_item({"ann": 1.0}, "x")
        with pytest.raises(ValueError, match="but 'new user' is in use"):
            named.fold_in_user({"x": 1.0}).fold_in_user({"x": 2.0})
        with pytest.raises(ValueError, match="must be a whole number as the other ids are"):
            model.fold_in_user(FEW, "me")
        with pytest.raises(ValueError, match="must be a text as the other ids are, got 3"):
            named.fold_in_user({"x": 1.0}, 3)

    def test_dates(self):
        days = np.array(["2020-02-28", "2020-03-01"], "datetime64[ns]")
        ids = fold_in.with_id(days, np.datetime64("2020-02-29"), "user")
        assert ids.dtype == days.dtype
        assert ids[-1] == np.datetime64("2020-02-29")
        with pytest.raises(ValueError, match="`user_id` must be given where ids are dates"):
            fold_in.with_id(days, None, "user")
        with pytest.raises(ValueError, match="must be a new id"):
            fold_in.with_id(days, np.datetime64("2020-03-01"), "user")

    def test_no_next_whole_number(self):
        with pytest.raises(ValueError, match="whole numbers of 64 bits"):
            fold_in.with_id(np.array([2**63 - 1]), None, "user")


class TestBadInput:
    def test_unknown_ids_are_named(self, model):
        with pytest.raises(
            ValueError, match="item ids must be among the 8 known ones, such as 0, got 77, 78"
        ):
            model.fold_in_user({77: 3.0, 1: 4.0, 78: 1.0})
        with pytest.raises(
            ValueError, match="user ids must be among the 12 known ones, such as 0, got ann"
        ):
            model.fold_in_item({"ann": 3.0})

    @pytest.mark.parametrize("value", [np.nan, np.inf, "4", None, True])
    def test_ratings_that_are_none(self, model, value):
        with pytest.raises(ValueError, match=r"rating of item 1 must be .*, got"):
            model.fold_in_user({0: 3.0, 1: value})

    def test_ratings_outside_the_range(self, bias):
        with pytest.raises(ValueError, match=r"rating of item 1 must be in \[0, 5.5\], got 7"):
            problem(bias, (0, 5.5)).fold_in_user({1: 7})

    def test_the_rest(self, model):
        with pytest.raises(TypeError, match="`ratings` must be a dict of item ids and ratings"):
            model.fold_in_user([(1, 3.0)])
        with pytest.raises(ValueError, match=r"must be among the 8 known ones, .* got \(1, 2\)$"):
            model.fold_in_user({(1, 2): 3.0})
        day, text = np.datetime64("2026-01-02"), "2026-01-02"
        dated = scf.Ratings([1], np.array([day]), [0], [0], [3.0])
        dated = scf.MatrixFactorization(2, random_state=0).fit(dated)
        with pytest.raises(ValueError, match="`ratings` must have each item id once"):
            dated.fold_in_user({day: 3, text: 4})
        with pytest.raises(ValueError, match="`ratings` must have each item id once"):
            model.fold_in_user(pd.Series([3.0, 4.0], index=[1, 1]))
        with pytest.raises(ValueError, match=r"`reg` must be >= 0, got -0\.1"):
            model.fold_in_user(FEW, reg=-0.1)
        with pytest.raises(ValueError, match="not fitted yet"):
            scf.MatrixFactorization().fold_in_user(FEW)
