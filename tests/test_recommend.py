"""Recommendations, neighbours and explanations, against loops over users and items."""

import math

import numpy as np
import pandas as pd
import pytest
import reference

import shallow_cf as scf
from shallow_cf import recommend
from shallow_cf.ranking import often_rated, top_n


def with_ids(ratings, users, items):
    return scf.Ratings(users, items, ratings.user_idx, ratings.item_idx, ratings.rating)


def model_of(ratings, parameters):
    return scf.MatrixFactorization.from_parameters(ratings, parameters)


def full(parameters, mean=None, rating_range=None):
    return scf.Parameters(*parameters.blocks(), global_mean=mean, rating_range=rating_range)


@pytest.fixture(params=["plain", "biases", "sigmoid"])
def model(request):
    """Nine users (ids 100, 103, ...) and seven items (ids 7006 down to 7000), some blanks."""
    ratings, theta = reference.problem(9, 7, 3, bias=request.param != "plain", rated=0.6)
    if request.param == "sigmoid":
        theta = full(theta, 0.7, (0.0, 5.5))
    ids = 100 + 3 * np.arange(9), 7006 - np.arange(7)
    return model_of(with_ids(ratings, *ids), theta)


def slow_recommend(model, user, n, *, exclude_seen=True, min_ratings=0, items=None):
    """[(item id, stars), ...]: every item looked at, then sorted."""
    ratings = reference.triplets(model.ratings_)
    u = model.user_ids_.tolist().index(user)
    found = []
    for i, item in enumerate(model.item_ids_.tolist()):
        if exclude_seen and any((v, j) == (u, i) for v, j, _ in ratings):
            continue
        if sum(j == i for _, j, _ in ratings) < min_ratings:
            continue
        if items is not None and item not in items:
            continue
        found.append((item, float(model.predict(user, item))))
    found.sort(key=lambda pair: -pair[1])  # stable: of equal ones the first item first
    return found[:n]


def pairs(table):
    return list(zip(table["item_id"].tolist(), table["prediction"].tolist(), strict=True))


def assert_same(found, expected):
    assert [item for item, _ in found] == [item for item, _ in expected]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=1e-12)


class TestTopN:
    @pytest.mark.parametrize("n", [0, 1, 3, 6, 7, 20])
    def test_against_sorting(self, n):
        # Few different numbers, so that most of them stand several times in a row.
        scores = np.random.default_rng(0).integers(0, 4, (50, 7)).astype(float)
        expected = [sorted(range(7), key=lambda k: -row[k])[:n] for row in scores.tolist()]
        assert top_n(scores, n).tolist() == expected

    def test_minus_infinity_comes_last(self):
        assert top_n(np.array([[-np.inf, 1.0, -np.inf, 2.0]]), 3).tolist() == [[3, 1, 0]]

    def test_no_rows_and_no_columns(self):
        assert top_n(np.zeros((0, 4)), 2).shape == (0, 2)
        assert top_n(np.zeros((4, 0)), 2).shape == (4, 0)


class TestOftenRated:
    def test_by_hand(self):
        count = np.array([3, 0, 5, 3, 1])
        assert often_rated(count).tolist() == [0, 1, 2, 3, 4]
        assert often_rated(count, 3).tolist() == [0, 2, 3]
        assert often_rated(count, 0, 2).tolist() == [0, 2]  # of the two with 3 the first
        assert often_rated(count, 1, 99).tolist() == [0, 2, 3, 4]
        assert often_rated(count, 6).tolist() == []


class TestRecommend:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"exclude_seen": False},
            {"min_ratings": 5},
            {"items": [7001, 7005, 7001, 7003]},
            {"items": [7004], "exclude_seen": False},
            {"items": [7000, 7002, 7006], "min_ratings": 5, "exclude_seen": False},
        ],
    )
    @pytest.mark.parametrize("n", [1, 3, 99])
    def test_one_user(self, model, n, options):
        for user in model.user_ids_.tolist():
            table = model.recommend(user, n, **options)
            assert table.columns.tolist() == ["item_id", "prediction"]
            assert table.index.tolist() == list(range(len(table)))
            assert_same(pairs(table), slow_recommend(model, user, n, **options))

    @pytest.mark.parametrize("block", [1, 15, 10**6])
    def test_several_users(self, model, monkeypatch, block):
        monkeypatch.setattr(recommend, "_BLOCK", block)  # blocks of one user, of two, of all
        users = [112, 100, 124, 112]
        table = model.recommend(users, 3)
        assert table.columns.tolist() == ["user_id", "item_id", "prediction"]
        expected = [(user, *pair) for user in users for pair in slow_recommend(model, user, 3)]
        assert table["user_id"].tolist() == [row[0] for row in expected]
        assert_same(pairs(table), [row[1:] for row in expected])

    def test_ties_go_to_the_first_item(self, model):
        theta = scf.Parameters(np.ones((9, 1)), np.ones((7, 1)))
        table = model_of(model.ratings_, theta).recommend(100, 4, exclude_seen=False)
        assert table["item_id"].tolist() == [7006, 7005, 7004, 7003]

    def test_who_has_seen_everything_gets_nothing(self):
        ratings, theta = reference.problem(3, 4, 2)
        model = model_of(ratings, theta)
        assert len(model.recommend(1)) == 0
        table = model.recommend([0, 1])
        assert table.columns.tolist() == ["user_id", "item_id", "prediction"]
        assert len(table) == 0

    def test_no_users(self, model):
        assert len(model.recommend(np.array([], int))) == 0

    def test_titles_and_ids_that_are_text(self):
        ratings, theta = reference.problem(2, 3, 2)
        model = model_of(with_ids(ratings, ["ann", "bob"], ["x", "y", "z"]), theta)
        table = model.recommend("bob", exclude_seen=False, titles={"x": "The X", "z": "Z"})
        assert table.columns.tolist() == ["item_id", "prediction", "title"]
        named = dict(zip(table["item_id"], table["title"], strict=True))
        assert named == {"x": "The X", "y": "", "z": "Z"}

    def test_titles_in_a_series(self, model):
        titles = pd.Series(["one", "five"], index=[7001, 7005])
        table = model.recommend(100, 7, exclude_seen=False, titles=titles)
        named = dict(zip(table["item_id"], table["title"], strict=True))
        assert (named[7001], named[7005], named[7002]) == ("one", "five", "")
        assert model.explain(100, 7005, titles=titles).title == "five"

    def test_titles_that_are_none(self, model):
        for use in (
            model.recommend,
            model.similar_users,
            lambda user, **o: model.explain(user, 7000, **o),
        ):
            with pytest.raises(
                TypeError, match="`titles` must be a dict of ids and titles, got list"
            ):
                use(100, titles=["one"])

    def test_the_lessons_question(self, crosstab):
        model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(crosstab)
        blank = {296, 593, 608}  # what user 294 has not rated
        assert set(model.recommend(294)["item_id"]) == blank

    def test_many_users_in_little_memory(self):
        # 30,000 users and 2,000 items: 480 MB if it were done in one piece.
        import tracemalloc

        rng = np.random.default_rng(0)
        theta = scf.Parameters(rng.normal(size=(30_000, 2)), rng.normal(size=(2000, 2)))
        ratings = scf.Ratings(np.arange(30_000), np.arange(2000), [0], [0], [3.0])
        model = model_of(ratings, theta)
        tracemalloc.start()
        table = model.recommend(np.arange(5000), 2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(table) == 10_000
        assert peak < 250e6

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="user id 5 is not among the 9 known users"):
            model.recommend(5)
        with pytest.raises(ValueError, match="item id 3 is not among the 7 known items"):
            model.recommend(100, items=[7001, 3])
        with pytest.raises(ValueError, match="`n` must be >= 1, got 0"):
            model.recommend(100, 0)
        with pytest.raises(TypeError, match=r"`n` must be a whole number, got 2\.5"):
            model.recommend(100, 2.5)
        with pytest.raises(ValueError, match="`min_ratings` must be >= 0, got -1"):
            model.recommend(100, min_ratings=-1)
        with pytest.raises(ValueError, match="not fitted yet"):
            scf.MatrixFactorization().recommend(100)

    def test_without_its_ratings(self, model):
        model.ratings_ = None
        with pytest.raises(ValueError, match="saved without its ratings, and `exclude_seen=True`"):
            model.recommend(100)
        with pytest.raises(ValueError, match="saved without its ratings, and `min_ratings`"):
            model.recommend(100, exclude_seen=False, min_ratings=1)
        assert len(model.recommend(100, exclude_seen=False)) == 7


def slow_similarity(x, y, measure):
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    if measure == "dot":
        return dot
    norms = math.sqrt(sum(a * a for a in x)) * math.sqrt(sum(b * b for b in y))
    return dot / norms if norms else 0.0


class TestSimilar:
    @pytest.mark.parametrize("side", ["user", "item"])
    @pytest.mark.parametrize("measure", ["cosine", "dot"])
    def test_against_a_loop(self, model, side, measure):
        item = side == "item"
        factors = (model.item_factors_ if item else model.user_factors_).tolist()
        ids = (model.item_ids_ if item else model.user_ids_).tolist()
        find = model.similar_items if item else model.similar_users
        for k, wanted in enumerate(ids):
            expected = [
                (other, slow_similarity(x, factors[k], measure))
                for other, x in zip(ids, factors, strict=True)
                if other != wanted
            ]
            expected.sort(key=lambda pair: -pair[1])
            table = find(wanted, 4, measure=measure)
            assert table.columns.tolist() == [f"{side}_id", "similarity"]
            assert table[f"{side}_id"].tolist() == [other for other, _ in expected[:4]]
            values = [value for _, value in expected[:4]]
            np.testing.assert_allclose(table["similarity"], values, rtol=1e-12)

    def test_min_ratings(self, model):
        count = np.bincount(model.ratings_.item_idx, minlength=7)
        often = set(model.item_ids_[count >= 5].tolist())
        for item in model.item_ids_.tolist():
            table = model.similar_items(item, 99, min_ratings=5)
            assert set(table["item_id"]) == often - {item}

    def test_a_zero_vector_is_like_nothing(self):
        ratings, _ = reference.problem(2, 3, 2)
        Q = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
        model = model_of(ratings, scf.Parameters(np.ones((2, 2)), Q))
        assert model.similar_items(0)["similarity"].tolist() == [0.0, -1.0]
        assert model.similar_items(1)["similarity"].tolist() == [0.0, 0.0]

    def test_titles(self, model):
        table = model.similar_users(100, 1, titles=dict.fromkeys(range(200), "somebody"))
        assert table["title"].tolist() == ["somebody"]

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="item id 3 is not among the 7 known items"):
            model.similar_items(3)
        with pytest.raises(ValueError, match="`measure` must be one of cosine, dot, got 'l2'"):
            model.similar_items(7000, measure="l2")
        model.ratings_ = None
        assert len(model.similar_users(100)) == 8
        with pytest.raises(ValueError, match="saved without its ratings"):
            model.similar_users(100, min_ratings=2)


class TestExplain:
    def test_the_terms_add_up(self, model):
        theta = model.parameters_
        for user, item in [(100, 7000), (112, 7004)]:
            why = model.explain(user, item)
            assert float(theta.squash(np.array(why.score - theta.offset))) == pytest.approx(
                float(model.predict(user, item)), rel=1e-12
            )
            assert why.prediction == float(model.predict(user, item))

    def test_by_hand(self):
        ratings = scf.Ratings(
            [1, 2], ["a", "b", "c"], [0, 0, 0, 1], [0, 1, 2, 0], [5.0, 2.0, 3.0, 1.0]
        )
        theta = scf.Parameters(
            np.array([[2.0, -1.0], [0.0, 1.0]]),
            np.array([[0.5, 0.5], [0.0, 2.0], [1.0, 0.0]]),
            np.array([0.25, 0.0]),
            np.array([0.5, -0.5, 0.0]),
            global_mean=3.0,
        )
        titles = {"a": "The A", "b": "The B"}
        why = model_of(ratings, theta).explain(1, "a", n=1, titles=titles)
        nan = np.nan
        expected = pd.DataFrame(
            {
                "term": ["global mean", "user bias", "item bias", "factor 1", "factor 2"],
                "user": [nan, 0.25, nan, 2.0, -1.0],
                "item": [nan, nan, 0.5, 0.5, 0.5],
                "product": [3.0, 0.25, 0.5, 1.0, -0.5],
            }
        )
        pd.testing.assert_frame_equal(why.terms, expected)
        assert (why.score, why.prediction, why.rating) == (4.25, 4.25, 5.0)
        # b and c are both at 45 degrees from a; b comes first.
        assert why.rated["item_id"].tolist() == ["b"]
        assert why.rated["similarity"].tolist() == pytest.approx([math.sqrt(0.5)])
        assert why.rated["rating"].tolist() == [2.0]
        assert str(why).splitlines() == [
            "user 1, item a, The A: 4.25 stars",
            "",
            "                 user     item   product",
            "global mean                        3.000",
            "user bias       0.250              0.250",
            "item bias                0.500     0.500",
            "factor 1        2.000    0.500     1.000",
            "factor 2       -1.000    0.500    -0.500",
            "sum                                4.250",
            "rating given                       5.000",
            "",
            "Nearest of the items that this user rated:",
            "item_id  similarity  rating title",
            "      b        0.71    2.00 The B",
        ]

    def test_a_sigmoid_is_shown(self):
        ratings, theta = reference.problem(2, 3, 2)
        why = model_of(ratings, full(theta, None, (0.0, 5.5))).explain(0, 0)
        assert "sigmoid, from 0 to 5.5" in str(why)
        assert "global mean" not in str(why)

    def test_of_a_blank_cell(self, crosstab):
        model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(crosstab)
        why = model.explain(294, 296, n=99)
        assert why.rating is None
        own = crosstab.to_crosstab().loc[294].dropna()
        assert dict(zip(why.rated["item_id"], why.rated["rating"], strict=True)) == own.to_dict()
        assert why.rated["similarity"].is_monotonic_decreasing

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="user id 1 is not among"):
            model.explain(1, 7000)
        with pytest.raises(ValueError, match="item id 1 is not among"):
            model.explain(100, 1)
        with pytest.raises(TypeError, match=r"`item_id` must be a single id, got \[7000, 7001\]"):
            model.explain(100, [7000, 7001])
        with pytest.raises(ValueError, match="`n` must be >= 0, got -1"):
            model.explain(100, 7000, n=-1)
        model.ratings_ = None
        with pytest.raises(ValueError, match="saved without its ratings, and `explain` with n > 0"):
            model.explain(100, 7000)
        why = model.explain(100, 7000, n=0)
        assert why.rating is None
        assert len(why.rated) == 0
        assert "Nearest" not in str(why)


class TestPredictAll:
    def test_against_predict(self, model):
        table = model.predict(model.user_ids_[:, None], model.item_ids_)
        np.testing.assert_allclose(model.predict_all(), table, rtol=1e-12)
        np.testing.assert_allclose(model.predict_all([112, 100]), table[[4, 0]], rtol=1e-12)
        np.testing.assert_allclose(model.predict_all(112), table[4], rtol=1e-12)

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="user id 1 is not among"):
            model.predict_all([100, 1])
