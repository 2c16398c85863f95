"""The sigmoid between score and stars, and the global mean: equations (1s), (2s), (3c), (5m).

First one rating by hand, then slow loops, then measured slopes. The numbers are those of the
docstring of `shallow_cf.objective`.
"""

import math

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import grg, varpro

RANGE = (0.5, 5.5)


def one_rating():
    """p = (1, 2), q = (0.5, -0.25), b_u = 0.3, b_i = -0.1, mu = 3; 4 stars."""
    ratings = scf.Ratings([7], [9], [0], [0], [4.0])
    return ratings, scf.Parameters(
        [[1.0, 2.0]], [[0.5, -0.25]], [0.3], [-0.1], global_mean=3, rating_range=RANGE
    )


def model(*, bias, rating_range, random_state=0):
    ratings, theta = reference.problem(5, 6, 3, bias=bias, rated=0.6, random_state=random_state)
    return ratings, scf.Parameters(*theta.blocks(), global_mean=3.4, rating_range=rating_range)


class TestOneRating:
    def test_prediction(self):
        _, theta = one_rating()
        # (1s): mu = 3 is halfway from 0.5 to 5.5, which is where a score of 0 leads already.
        score = 1 * 0.5 - 2 * 0.25 + 0.3 - 0.1
        stars = 0.5 + 5 / (1 + math.exp(-score))  # (1s)
        assert theta.predict(0, 0) == pytest.approx(stars, rel=1e-15)
        assert theta.predict_all() == pytest.approx(np.array([[stars]]), rel=1e-15)

    def test_gradient(self):
        ratings, theta = one_rating()
        sigma = 1 / (1 + math.exp(-0.2))
        e = 0.5 + 5 * sigma - 4.0  # (2)
        through = e * 5 * sigma * (1 - sigma)  # e dr_hat/ds, (2s)
        gradient = objective.half_sse_gradient(ratings, theta)
        assert gradient.user_factors[0] == pytest.approx([through * 0.5, through * -0.25])
        assert gradient.item_factors[0] == pytest.approx([through * 1.0, through * 2.0])
        assert gradient.user_bias[0] == pytest.approx(through)
        assert gradient.item_bias[0] == pytest.approx(through)


def test_the_mean_is_predicted_where_all_else_is_zero():
    zeros = np.zeros((1, 1)), np.zeros((1, 1))
    for rating_range in (None, RANGE):
        theta = scf.Parameters(*zeros, global_mean=3.7, rating_range=rating_range)
        assert theta.predict(0, 0) == pytest.approx(3.7, rel=1e-15)
    assert scf.Parameters(*zeros, rating_range=RANGE).predict(0, 0) == 3.0
    with pytest.raises(ValueError, match="`global_mean` must lie inside the rating_range"):
        scf.Parameters(*zeros, global_mean=5.5, rating_range=RANGE)


class TestSlowLoop:
    @pytest.mark.parametrize("bias", [False, True])
    def test_gradient_equals_a_loop_over_ratings(self, bias):
        ratings, theta = model(bias=bias, rating_range=RANGE)
        slow = reference.scaled(reference.plain(theta), 0.0)
        for u, i, r in reference.triplets(ratings):
            score = math.log(2.9 / 2.1) + reference.predict(reference.plain(theta), u, i)  # (1s)
            sigma = 1 / (1 + math.exp(-score))
            through = (0.5 + 5 * sigma - r) * 5 * sigma * (1 - sigma)
            reference.add_rating(slow, reference.plain(theta), u, i, through)
        fast = objective.half_sse_gradient(ratings, theta).pack()
        assert fast == pytest.approx(np.array(reference.pack(slow)), rel=1e-12, abs=1e-14)

    def test_many_numbers_take_the_other_way_to_the_same_sums(self, monkeypatch):
        ratings, theta = model(bias=True, rating_range=RANGE)
        row_by_row = objective.half_sse_gradient(ratings, theta).pack()
        monkeypatch.setattr(objective, "_FEW_NUMBERS", 0)
        by_products = objective.half_sse_gradient(ratings, theta).pack()
        assert by_products == pytest.approx(row_by_row, rel=1e-13, abs=1e-15)


class TestDifferences:
    @pytest.mark.parametrize("rating_range", [None, RANGE])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize(
        ("function", "gradient"),
        [
            (objective.half_sse, objective.half_sse_gradient),
            (objective.mse, objective.mse_gradient),
        ],
    )
    @pytest.mark.parametrize("reg", [0.0, 0.3])
    def test_objectives(self, rating_range, bias, function, gradient, reg):
        ratings, theta = model(bias=bias, rating_range=rating_range)
        scf.check_gradient(
            lambda x: function(ratings, theta.unpack(x), reg),
            lambda x: gradient(ratings, theta.unpack(x), reg).pack(),
            theta.pack(),
            rtol=1e-7,
        )

    def test_rmse(self):
        ratings, theta = model(bias=True, rating_range=RANGE)
        scf.check_gradient(
            lambda x: objective.rmse(ratings, theta.unpack(x)),
            lambda x: objective.rmse_gradient(ratings, theta.unpack(x)).pack(),
            theta.pack(),
            rtol=1e-7,
        )

    def test_a_gradient_without_the_sigmoid_is_caught(self):
        ratings, theta = model(bias=True, rating_range=RANGE)
        u, i = ratings.user_idx, ratings.item_idx
        with pytest.raises(scf.GradientError):
            scf.check_gradient(
                lambda x: objective.half_sse(ratings, theta.unpack(x)),
                lambda x: objective.weighted_sums(
                    theta.unpack(x), u, i, objective.residual(ratings, theta.unpack(x))
                ).pack(),
                theta.pack(),
            )


def test_predictions_stay_in_the_range_without_overflow():
    theta = scf.Parameters([[1e3], [-1e3]], [[1e3]], rating_range=RANGE)
    with np.errstate(all="raise", under="ignore"):
        assert theta.predict([0, 1], 0).tolist() == [5.5, 0.5]


def test_a_range_of_no_numbers():
    with pytest.raises(ValueError, match="`rating_range` must be finite, got nan"):
        scf.MatrixFactorization(rating_range=(np.nan, 5))
    with pytest.raises(TypeError, match="`rating_range` must be a number, got "):
        scf.MatrixFactorization(rating_range=((1, 2), 3))
    with pytest.raises(
        ValueError, match="`solver` must be one of sgd, grg, varpro, als, vb, got array"
    ):
        scf.MatrixFactorization(solver=np.array(["sgd", "grg"]))


def test_a_rating_that_no_prediction_reaches():
    ratings = scf.Ratings(["ann", "bob"], [7], [0, 1], [0, 0], [3.0, 4.5])
    model = scf.MatrixFactorization(2, rating_range=(3, 4), random_state=0)
    message = r"^rating of item 7 by user 'bob' must be in the `rating_range` \[3, 4\], got 4.5$"
    with pytest.raises(ValueError, match=message):
        model.fit(ratings)
    with pytest.raises(ValueError, match=message):
        model.lr_find(ratings)
    model.set_params(rating_range=(3, 4.5)).fit(ratings)  # the ends belong to it
    with pytest.raises(ValueError, match=message.replace("4\\]", "4.5\\]").replace("4.5$", "9$")):
        model.partial_fit([["bob", 7]], [9])


def test_mean_and_range_stay_with_the_parameters():
    _, theta = one_rating()
    for other in (theta.unpack(theta.pack()), theta.select(np.array([0]), np.array([0]))):
        assert other.equals(theta)
        assert (other.global_mean, other.rating_range) == (3.0, RANGE)
    assert not theta.equals(scf.Parameters(*theta.blocks(), global_mean=3))
    assert "mean 3, from 0.5 to 5.5" in repr(theta)


class TestWhatHasNeither:
    """The spreadsheet's sheets and solvers say so, rather than leave mean and range out."""

    @pytest.mark.parametrize("solve", [grg.solve, varpro.solve])
    @pytest.mark.parametrize("extra", [{"global_mean": 3.0}, {"rating_range": RANGE}])
    def test_solvers(self, solve, extra):
        ratings, theta = reference.problem(3, 3, 1)
        with pytest.raises(ValueError, match="has the spreadsheet's model, without global_mean"):
            solve(ratings, scf.Parameters(*theta.blocks(), **extra))

    def test_workbooks(self, tmp_path):
        ratings, theta = reference.problem(3, 3, 1)
        ranged = scf.Parameters(*theta.blocks(), rating_range=RANGE)
        with pytest.raises(ValueError, match="a workbook has the spreadsheet's model"):
            scf.write_workbook(tmp_path / "a.xlsx", ratings, ranged)
        scf.write_workbook(tmp_path / "b.xlsx", ratings, theta, sheets=())
        book = scf.read_workbook(tmp_path / "b.xlsx")
        with pytest.raises(ValueError, match="a workbook has the spreadsheet's model"):
            scf.update_workbook(book, ranged, tmp_path / "c.xlsx")
        assert [path.name for path in tmp_path.iterdir()] == ["b.xlsx"]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ((5, 0.5), ValueError, "`rating_range` must go from a lower to a higher number"),
        ((0.5, float("nan")), ValueError, "`rating_range` must be finite"),
        ((1, 2, 3), TypeError, "`rating_range` must be two numbers or None"),
        ("05", TypeError, "`rating_range` must be two numbers or None"),
    ],
)
def test_bad_range(value, error, message):
    with pytest.raises(error, match=message):
        scf.Parameters([[1.0]], [[1.0]], rating_range=value)


@pytest.mark.parametrize(
    ("init", "low", "high"), [("uniform", 0, 0.1), ("symmetric", -0.1, 0.1), ("normal", -1, 1)]
)
def test_start(init, low, high):
    theta = scf.Parameters.random(
        50, 60, 20, bias=True, init=init, scale=0.1, random_state=0
    ).pack()
    assert low <= theta.min()
    assert theta.max() <= high
    spread = {"uniform": 0.1 / 12**0.5, "symmetric": 0.2 / 12**0.5, "normal": 0.1}[init]
    assert theta.std() == pytest.approx(spread, rel=0.05)
