"""Planted ratings: as many as asked for, of the shape promised, and found again by a fit."""

import numpy as np
import pytest

import shallow_cf as scf
from conftest import shared_file

#: Users, items, ratings; among them full tables, and fewer ratings than users or items.
SHAPES = [
    (1, 1, 1), (3, 2, 6), (15, 15, 206), (30, 20, 600), (40, 7, 40), (7, 40, 40), (50, 30, 9),
    (300, 200, 7400), (300, 200, 7600), (20, 400, 900), (500, 400, 2500),
]  # fmt: skip


@pytest.fixture(scope="module")
def planted():
    """Ratings of the shape of ml-100k, and the truth."""
    return scf.synthetic_ratings(943, 1682, 100_000, random_state=0, return_truth=True)


def shares_of_top(ratings, part):
    """What share of all ratings the busiest users, and the most rated items, have."""
    return [
        np.sort(np.bincount(idx))[::-1][: round(part * n)].sum() / len(ratings)
        for idx, n in ((ratings.user_idx, ratings.n_users), (ratings.item_idx, ratings.n_items))
    ]


# --- counts -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_as_many_as_asked_for(shape):
    n_users, n_items, n_ratings = shape
    ratings = scf.synthetic_ratings(*shape, random_state=1)
    assert (ratings.n_users, ratings.n_items, ratings.n_ratings) == shape
    assert ratings.user_ids.tolist() == list(range(1, n_users + 1))
    assert ratings.item_ids.tolist() == list(range(1, n_items + 1))
    pairs = set(zip(ratings.user_idx.tolist(), ratings.item_idx.tolist(), strict=True))
    assert len(pairs) == n_ratings
    if n_ratings >= max(n_users, n_items):
        assert {u for u, _ in pairs} == set(range(n_users))
        assert {i for _, i in pairs} == set(range(n_items))


def test_stars_are_half_stars_and_held_in_float32(planted):
    ratings, _ = planted
    assert ratings.rating.dtype == np.float32
    assert np.unique(ratings.rating).tolist() == [k / 2 for k in range(1, 11)]


def test_the_same_seed_gives_the_same_ratings():
    def make(seed):
        return scf.synthetic_ratings(60, 40, 500, random_state=seed, return_truth=True)

    (ratings, truth), (again, truth_again) = make(3), make(3)
    assert ratings.equals(again)
    assert truth.equals(truth_again)
    assert not ratings.equals(make(4)[0])
    assert make(np.random.default_rng(3))[0].equals(ratings)
    assert scf.synthetic_ratings(60, 40, 500, random_state=3).equals(ratings)


def test_timestamps_can_be_split_by(planted):
    ratings, _ = planted
    moments = ratings.timestamp.astype("datetime64[s]")
    assert np.datetime64("2006") <= moments.min() < moments.max() < np.datetime64("2018")
    train, valid = scf.split_by_time(ratings, 0.1)
    assert len(train) + len(valid) == len(ratings)


# --- pairs --------------------------------------------------------------------------------


def test_popularity_is_about_that_of_movielens_100k(planted):
    # Counted in ml-100k: 31.9% of the ratings by the busiest tenth of users, 42.7% on the most
    # rated tenth of items. `test_popularity_beside_movielens` counts the files themselves.
    users, items = shares_of_top(planted[0], 0.1)
    assert users == pytest.approx(0.319, abs=0.05)
    assert items == pytest.approx(0.427, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["ml-100k/u.data", "ml-latest-small-2016/ratings.csv"])
def test_popularity_beside_movielens(path):
    real = scf.read_ratings(shared_file("data", path))
    made = scf.synthetic_ratings(real.n_users, real.n_items, len(real), random_state=0)
    for part in (0.01, 0.1, 0.2, 0.5):
        assert shares_of_top(made, part) == pytest.approx(shares_of_top(real, part), abs=0.1), part


@pytest.mark.parametrize("n_ratings", [7400, 7600])  # an eighth of the cells is 7500
def test_both_ways_to_draw_give_the_popularity_of_one(n_ratings):
    # Below an eighth of all cells pairs are drawn until they are enough, above it they are
    # chosen from all cells. A slow twin draws them one after the other, as is promised.
    rng = np.random.default_rng(5)
    expected = []
    for _ in range(3):
        weights = [
            (shift * n + np.arange(n)) ** -power
            for n, shift, power in ((300, 0.1, 1.5), (200, 0.05, 1.4))
        ]
        seen = {(u, u % 200) for u in range(300)}  # one each; by whom hardly matters here
        while len(seen) < n_ratings:
            u, i = (rng.choice(len(w), 1000, p=w / w.sum()).tolist() for w in weights)
            for pair in zip(u, i, strict=True):
                if len(seen) < n_ratings:
                    seen.add(pair)
        counts = [np.bincount([pair[side] for pair in seen]) for side in (0, 1)]
        expected.append([np.sort(c)[::-1][: len(c) // 10].sum() / n_ratings for c in counts])
    drawn = [
        shares_of_top(scf.synthetic_ratings(300, 200, n_ratings, random_state=seed), 0.1)
        for seed in range(5)
    ]
    assert np.mean(drawn, axis=0) == pytest.approx(np.mean(expected, axis=0), abs=0.02)


def test_a_few_pairs_of_a_small_table_are_drawn_one_after_the_other():
    # Nine of 10 x 10, beside a slow twin: how many ratings the first, second, ... user has.
    weights = [(shift * 10 + np.arange(10)) ** -power for shift, power in ((0.1, 1.5), (0.05, 1.4))]
    rng = np.random.default_rng(0)
    expected, drawn = np.zeros(10), np.zeros(10)
    for seed in range(500):
        pairs = set()
        while len(pairs) < 9:
            u, i = (rng.choice(10, p=w / w.sum()) for w in weights)
            pairs.add((int(u), int(i)))
        expected += np.sort(np.bincount([u for u, _ in pairs], minlength=10))
        made = scf.synthetic_ratings(10, 10, 9, random_state=seed)
        drawn += np.sort(np.bincount(made.user_idx, minlength=10))
    assert drawn / 500 == pytest.approx(expected / 500, abs=0.2)


def test_ids_say_nothing_about_popularity(planted):
    ratings, _ = planted
    for idx, n in ((ratings.user_idx, 943), (ratings.item_idx, 1682)):
        order = np.corrcoef(np.arange(n), np.bincount(idx, minlength=n))[0, 1]
        assert abs(order) < 4 / np.sqrt(n)


# --- stars --------------------------------------------------------------------------------


def test_stars_are_the_planted_ones_without_noise():
    ratings, truth = scf.synthetic_ratings(
        80, 60, 2000, n_factors=3, noise=0, random_state=0, return_truth=True
    )
    assert (truth.n_factors, truth.global_mean) == (3, 3.6)
    for u, i, stars in zip(ratings.user_idx, ratings.item_idx, ratings.rating, strict=True):
        score = 3.6 + truth.user_bias[u] + truth.item_bias[i]
        score += sum(truth.user_factors[u, k] * truth.item_factors[i, k] for k in range(3))
        assert stars == min([k / 2 for k in range(1, 11)], key=lambda star: abs(star - score))


def test_planted_numbers_have_the_spread_they_should(planted):
    _, truth = planted
    assert truth.user_bias.std() == pytest.approx(0.4, rel=0.08)
    assert truth.item_bias.std() == pytest.approx(0.45, rel=0.08)
    dots = truth.user_factors @ truth.item_factors.T
    assert dots.std() == pytest.approx(0.45, rel=0.08)


def test_the_error_of_the_truth_is_that_of_noise_and_rounding(planted):
    ratings, truth = planted
    error = truth.predict(ratings.user_idx, ratings.item_idx) - ratings.rating
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.80, abs=0.01)  # as the docstring says
    # Where the ends of the scale are far: 0.85**2 of noise and step**2 / 12 of rounding.
    inside = np.abs(error + ratings.rating - 2.75) < 0.25
    assert np.mean(error[inside] ** 2) == pytest.approx(0.85**2 + 0.5**2 / 12, rel=0.05)


def test_a_fit_finds_what_was_planted(planted):
    ratings, truth = planted
    train, valid = scf.split(ratings, 0.1, random_state=0)
    model = scf.MatrixFactorization(5, bias=True, global_mean=True, solver="vb", random_state=0)
    error = scf.rmse(model.fit(train), valid)
    best = scf.rmse(scf.MatrixFactorization.from_parameters(ratings, truth), valid)
    without = scf.rmse(scf.BiasesOnly().fit(train), valid)
    # Of the way from the biases alone to the truth, at least a third: with 95 ratings of a user
    # more cannot be known (measured: half of it).
    assert best < error < without - (without - best) / 3


def test_with_little_noise_and_many_ratings_the_planted_scores_come_back():
    ratings, truth = scf.synthetic_ratings(
        120, 90, 6000, n_factors=2, noise=0.1, random_state=0, return_truth=True
    )
    model = scf.MatrixFactorization(2, bias=True, global_mean=True, solver="vb", random_state=0)
    found = model.fit(ratings).parameters_.predict_all()
    planted = truth.predict_all()
    inside = (planted > 1) & (planted < 4.5)  # beyond, the ends of the scale hide it
    assert np.sqrt(np.mean((found - planted)[inside] ** 2)) < 0.15
    assert np.corrcoef(found[inside], planted[inside])[0, 1] > 0.95


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((0, 3, 3), {}, ValueError, "`n_users` must be >= 1, got 0"),
        ((3, -1, 3), {}, ValueError, "`n_items` must be >= 1, got -1"),
        ((3, 3, 0), {}, ValueError, "`n_ratings` must be >= 1, got 0"),
        ((3, 3, 2.5), {}, TypeError, "`n_ratings` must be a whole number, got 2.5"),
        ((3, 4, 13), {}, ValueError, "`n_ratings` must be <= 12, as 3 users and 4 items"),
        ((3, 3, 3), {"n_factors": 0}, ValueError, "`n_factors` must be >= 1, got 0"),
        ((3, 3, 3), {"noise": -1}, ValueError, "`noise` must be >= 0, got -1"),
        ((3, 3, 3), {"random_state": -1}, ValueError, "`random_state` must be >= 0, got -1"),
        ((3, 3, 3), {"return_truth": "no"}, TypeError, "`return_truth` must be True or False"),
    ],
)
def test_what_cannot_be_made(sizes, options, error, message):
    with pytest.raises(error, match=message):
        scf.synthetic_ratings(*sizes, **options)
