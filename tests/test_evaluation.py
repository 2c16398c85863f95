"""Splits, metrics and baselines.

Each metric has a slow twin here: plain Python that goes through the users one by one and
says in the words of the definition what the fast code does with tables.
"""

import math
import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from conftest import shared_file
from shallow_cf.ranking import top_n

quick = settings(deadline=None, max_examples=30)


def planted(n_users=12, n_items=9, n_ratings=60, seed=0, timed=True):
    """Ratings in half stars, some users and items without any, many at one moment."""
    rng = np.random.default_rng(seed)
    pair = rng.choice(n_users * n_items, n_ratings, replace=False)
    stars = rng.integers(1, 11, n_ratings) / 2
    when = rng.integers(0, n_ratings // 2, n_ratings) if timed else None
    ids = np.arange(n_users) + 100, [f"film {i}" for i in range(n_items)]
    return scf.Ratings(*ids, pair // n_items, pair % n_items, stars, when)


def rows(ratings):
    """Ratings as a set of rows, with their timestamps."""
    return set(ratings.to_frame().itertuples(index=False, name=None))


@st.composite
def drawn_ratings(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    n_ratings = draw(st.integers(2, n_users * n_items))
    return planted(n_users, n_items, n_ratings, draw(st.integers(0, 999)))


shares = st.floats(0.05, 0.95)


# --- splits ----------------------------------------------------------------------------


def assert_parts(whole, train, test):
    """Two parts that are disjoint, together the whole, and know all ids."""
    assert rows(train) | rows(test) == rows(whole)
    assert len(train) + len(test) == len(whole)
    for part in (train, test):
        np.testing.assert_array_equal(part.user_ids, whole.user_ids)
        np.testing.assert_array_equal(part.item_ids, whole.item_ids)


class TestSplit:
    @quick
    @given(drawn_ratings(), shares, st.sampled_from([scf.split, scf.lesson_split]))
    def test_parts(self, ratings, test_size, split):
        n_test = int(test_size * len(ratings))
        if n_test:
            train, test = split(ratings, test_size)
            assert_parts(ratings, train, test)
            assert len(test) == n_test
        else:
            with pytest.raises(ValueError, match=r"^`test_size` must leave a rating on each side"):
                split(ratings, test_size)

    def test_same_seed_same_parts(self):
        for one, other in zip(
            scf.split(planted(), random_state=3), scf.split(planted(), random_state=3), strict=True
        ):
            assert one.equals(other)
        assert not scf.split(planted(), random_state=4)[1].equals(
            scf.split(planted(), random_state=3)[1]
        )

    def test_a_generator_goes_on(self):
        rng = np.random.default_rng(3)
        first = scf.split(planted(), random_state=rng)[1]
        assert first.equals(scf.split(planted(), random_state=3)[1])
        assert not first.equals(scf.split(planted(), random_state=rng)[1])

    def test_every_rating_has_the_same_chance(self):
        count = np.zeros(60)
        position = {row: k for k, row in enumerate(planted().to_frame().itertuples(index=False))}
        for seed in range(200):
            for row in scf.split(planted(), 0.5, seed)[1].to_frame().itertuples(index=False):
                count[position[row]] += 1
        assert (np.abs(count - 100) < 5 * np.sqrt(200 * 0.25)).all()

    def test_the_lessons_own(self):
        # get_cv_idxs of the lesson's library, word for word.
        ratings = planted()
        np.random.seed(42)
        n_val = int(0.2 * len(ratings))
        positions = np.random.permutation(len(ratings))[:n_val]
        assert scf.lesson_split(ratings)[1].equals(ratings.subset(positions))
        assert not scf.lesson_split(ratings, seed=7)[1].equals(ratings.subset(positions))

    @pytest.mark.parametrize(
        ("split", "arguments", "error", "message"),
        [
            (scf.split, (0.01,), ValueError, "must leave a rating on each side, got 0.01 of 60"),
            (scf.split, (1,), ValueError, "must leave a rating on each side, got 1 of 60"),
            (scf.split, (-0.5,), ValueError, "`test_size` must be > 0, got -0.5"),
            (scf.split, ("x",), TypeError, "`test_size` must be a number, got 'x'"),
            (scf.split, (0.2, "x"), TypeError, "`random_state` must be a whole number or a Gen"),
            (scf.lesson_split, (0.2, -1), ValueError, "`seed` must be >= 0, got -1"),
            (scf.split_by_time, (1.0,), ValueError, "must leave a rating on each side"),
            (scf.leave_k_out, (0,), ValueError, "`k` must be >= 1, got 0"),
            (scf.leave_k_out, (9,), ValueError, "`k`: no user has more than 9 ratings"),
            (scf.leave_k_out, (1, "x"), ValueError, "`by` must be one of random, time, got 'x'"),
            (scf.k_fold, (1,), ValueError, "`n_folds` must be >= 2, got 1"),
            (scf.k_fold, (61,), ValueError, "`n_folds` must be <= 60, one rating a fold, got 61"),
            (scf.k_fold, (2, 0.5), TypeError, "`random_state` must be a whole number"),
        ],
    )
    def test_what_is_refused(self, split, arguments, error, message):
        with pytest.raises(error, match=re.escape(message)):
            split(planted(), *arguments)

    @pytest.mark.parametrize(
        "split", [scf.split, scf.lesson_split, scf.split_by_time, scf.leave_k_out, scf.k_fold]
    )
    def test_what_are_no_ratings(self, split):
        with pytest.raises(TypeError, match=r"^`ratings` must be Ratings"):
            split(planted().to_frame())


class TestByTime:
    @quick
    @given(drawn_ratings(), shares)
    def test_no_leakage(self, ratings, test_size):
        n_test = int(test_size * len(ratings))
        latest = np.sort(ratings.timestamp)[::-1]
        if n_test == 0 or latest[0] == latest[n_test]:
            with pytest.raises(ValueError, match=r"^`test_size`"):
                scf.split_by_time(ratings, test_size)
            return
        train, test = scf.split_by_time(ratings, test_size)
        assert_parts(ratings, train, test)
        assert train.timestamp.max() < test.timestamp.min()
        assert len(test) <= n_test
        # As many as fit: with the next moment, too, they would be more than asked for.
        assert len(test) + (ratings.timestamp == train.timestamp.max()).sum() > n_test

    def test_one_moment(self):
        ratings = planted()
        flat = scf.Ratings.from_frame(ratings.to_frame().assign(timestamp=5), timestamp="timestamp")
        expected = "^`test_size` 0.2: the latest 12 ratings and the one before them are of one"
        with pytest.raises(ValueError, match=expected):
            scf.split_by_time(flat)

    @pytest.mark.parametrize(
        "split", [scf.split_by_time, lambda ratings: scf.leave_k_out(ratings, by="time")]
    )
    def test_without_timestamps(self, split):
        with pytest.raises(ValueError, match=r"^these ratings have no timestamps: name their col"):
            split(planted(timed=False))


def slow_latest(ratings, k):
    """The `k` latest ratings of each user who has more, one user after the other."""
    kept = set()
    for user in ratings.user_ids.tolist():
        own = [row for row in rows(ratings) if row[0] == user]
        own.sort(key=lambda row: (row[3], ratings.item_ids.tolist().index(row[1])))
        if len(own) > k:
            kept |= set(own[-k:])
    return kept


class TestLeaveKOut:
    @quick
    @given(drawn_ratings(), st.integers(1, 3), st.sampled_from(["random", "time"]))
    def test_parts(self, ratings, k, by):
        count = np.bincount(ratings.user_idx, minlength=ratings.n_users)
        if count.max() <= k:
            with pytest.raises(ValueError, match=f"no user has more than {k} ratings"):
                scf.leave_k_out(ratings, k, by)
            return
        train, test = scf.leave_k_out(ratings, k, by, random_state=1)
        assert_parts(ratings, train, test)
        left_out = np.bincount(test.user_idx, minlength=ratings.n_users)
        np.testing.assert_array_equal(left_out, np.where(count > k, k, 0))
        if by == "time":
            assert rows(test) == slow_latest(ratings, k)

    def test_every_rating_of_a_user_has_the_same_chance(self):
        ratings = planted(1, 5, 5)
        count = np.zeros(5)
        for seed in range(500):
            count[scf.leave_k_out(ratings, random_state=seed)[1].item_idx] += 1
        assert (np.abs(count - 100) < 5 * np.sqrt(500 * 0.16)).all()


class TestKFold:
    @quick
    @given(drawn_ratings(), st.integers(2, 7))
    def test_the_test_parts_are_a_partition(self, ratings, n_folds):
        if n_folds > len(ratings):
            with pytest.raises(ValueError, match=r"^`n_folds` must be <="):
                scf.k_fold(ratings, n_folds)
            return
        tests = []
        for train, test in scf.k_fold(ratings, n_folds, random_state=5):
            assert_parts(ratings, train, test)
            tests.append(test)
        assert len(tests) == n_folds
        assert sum(len(test) for test in tests) == len(ratings)
        assert set().union(*(rows(test) for test in tests)) == rows(ratings)
        assert max(map(len, tests)) - min(map(len, tests)) <= 1


# --- errors of predicted stars ---------------------------------------------------------


class Table:
    """A model that knows its predictions by heart, by index of user and item."""

    def __init__(self, ratings, scores):
        self.users = {user: u for u, user in enumerate(ratings.user_ids.tolist())}
        self.items = {item: i for i, item in enumerate(ratings.item_ids.tolist())}
        self.scores = scores

    def predict(self, user_ids, item_ids):
        users, items = np.broadcast_arrays(user_ids, item_ids)
        return np.vectorize(lambda u, i: self.scores[self.users[u], self.items[i]])(users, items)


class AllAtOnce(Table):
    """The same with `predict_all`, and its items in an order of its own."""

    def __init__(self, ratings, scores):
        super().__init__(ratings, scores)
        self.item_ids_ = ratings.item_ids[::-1]

    def predict_all(self, user_ids):
        return self.scores[[self.users[u] for u in user_ids.tolist()]][:, ::-1]


def random_scores(ratings, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    shape = ratings.n_users, ratings.n_items
    return rng.integers(0, 3, shape) / 1.0 if ties else rng.normal(3, 1, shape)


class TestErrors:
    def test_against_a_slow_loop(self, monkeypatch):
        ratings = planted()
        model = Table(ratings, random_scores(ratings))
        errors = [model.predict(user, item) - r for user, item, r, _ in rows(ratings)]
        rmse = math.sqrt(sum(e**2 for e in errors) / len(errors))
        mae = sum(abs(e) for e in errors) / len(errors)
        for batch in (1_000_000, 7):
            monkeypatch.setattr("shallow_cf.evaluation.errors._BATCH", batch)
            assert scf.rmse(model, ratings) == pytest.approx(rmse, rel=1e-12)
            assert scf.mae(model, ratings) == pytest.approx(mae, rel=1e-12)

    def test_the_models_own_rmse(self, crosstab):
        model = scf.MatrixFactorization(2, solver="grg", random_state=1).fit(crosstab)
        assert scf.rmse(model, crosstab) == pytest.approx(model.rmse(crosstab), rel=1e-12)


# --- ranking ---------------------------------------------------------------------------


def slow_list(model, ratings, train, user, k):
    """The first `k` items of a user's list: highest prediction first, then order of ids."""
    seen = set() if train is None else {row[1] for row in rows(train) if row[0] == user}
    unseen = [item for item in ratings.item_ids.tolist() if item not in seen]
    return sorted(unseen, key=lambda item: -float(model.predict(user, item)))[:k]


def slow_ranking(model, test, train, k, relevant):
    """The definitions in words, one user after the other."""
    values = {"precision": [], "recall": [], "ndcg": [], "map": []}
    shown = set()
    for user in test.user_ids.tolist():
        liked = {row[1] for row in rows(test) if row[0] == user and row[2] >= relevant}
        if not liked:
            continue  # nothing can be said about this user
        items = slow_list(model, test, train, user, k)
        shown |= set(items)
        hits = [item in liked for item in items]
        values["precision"].append(sum(hits) / k)  # (r1)
        values["recall"].append(sum(hits) / len(liked))  # (r2)
        gained = sum(1 / math.log2(j + 1) for j, hit in enumerate(hits, 1) if hit)
        most = min(k, len(liked))
        best = sum(1 / math.log2(j + 1) for j in range(1, most + 1))
        values["ndcg"].append(gained / best)  # (r3)
        precisions = [sum(hits[:j]) / j for j, hit in enumerate(hits, 1) if hit]
        values["map"].append(sum(precisions) / most)  # (r4)
    means = {f"{name}@{k}": sum(found) / len(found) for name, found in values.items()}
    return means | {"coverage": len(shown) / test.n_items}  # (r5)


class TestRanking:
    @quick
    @given(
        st.integers(0, 999),
        st.integers(1, 12),  # more than there are items
        st.sampled_from([2.0, 4.0, 4.5]),
        st.sampled_from([1, 5, 1024]),
        st.booleans(),
        st.booleans(),
        st.sampled_from([Table, AllAtOnce]),
    )
    def test_against_a_slow_loop(self, seed, k, relevant, batch_size, ties, with_train, kind):
        ratings = planted(seed=seed)
        train, test = scf.split(ratings, 0.4, random_state=seed)
        assume((test.rating >= relevant).any())
        train = train if with_train else None
        model = kind(ratings, random_scores(ratings, seed, ties))
        found = scf.ranking_metrics(
            model, test, train, k=k, relevant=relevant, batch_size=batch_size
        )
        expected = slow_ranking(model, test, train, k, relevant)
        assert list(found) == list(expected)
        assert found == pytest.approx(expected, rel=1e-12)

    def test_by_hand(self):
        # One user; the list is items 0, 1, 2, 3, 4, of which 0, 2 and 4 are liked.
        ratings = scf.Ratings([1], list("abcde"), [0] * 5, range(5), [5, 1, 4, 1, 5])
        model = Table(ratings, np.array([[5.0, 4, 3, 2, 1]]))
        assert scf.ranking_metrics(model, ratings, k=4) == pytest.approx(
            {
                "precision@4": 2 / 4,  # (r1)
                "recall@4": 2 / 3,  # (r2)
                "ndcg@4": (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2),  # (r3)
                "map@4": (1 + 2 / 3) / 3,  # (r4)
                "coverage": 4 / 5,  # (r5)
            }
        )

    def test_a_perfect_and_a_hopeless_list(self):
        ratings = planted()
        liked = np.where(np.nan_to_num(ratings.to_crosstab().to_numpy()) >= 4, 5.0, 1.0)
        perfect = scf.ranking_metrics(Table(ratings, liked), ratings, k=9)
        assert perfect["ndcg@9"] == perfect["map@9"] == perfect["recall@9"] == pytest.approx(1)
        hopeless = scf.ranking_metrics(Table(ratings, -liked), ratings, k=1)
        assert hopeless["ndcg@1"] == hopeless["precision@1"] == 0

    def test_seen_items_are_in_no_list(self):
        # All but two items are seen: the list has two places, whatever k is.
        ratings = scf.Ratings([1], list("abcde"), [0] * 5, range(5), [5, 1, 4, 1, 5])
        test = ratings.subset([4])
        train = ratings.subset([0, 1, 2])
        model = Table(ratings, np.array([[5.0, 4, 3, 2, 1]]))
        found = scf.ranking_metrics(model, test, train, k=5)
        assert found["coverage"] == 2 / 5
        assert found["map@5"] == 1 / 2

    def test_ndcg_is_scikit_learns(self):
        metrics = pytest.importorskip("sklearn.metrics")
        ratings = planted()
        scores = random_scores(ratings)
        relevance = np.nan_to_num(ratings.to_crosstab().to_numpy()) >= 4
        has_any = relevance.any(axis=1)
        assert 0 < has_any.sum() < len(has_any)
        for k in (1, 3, 9):
            expected = metrics.ndcg_score(
                relevance[has_any].astype(float), scores[has_any], k=k, ignore_ties=True
            )
            found = scf.ranking_metrics(Table(ratings, scores), ratings, k=k)
            assert found[f"ndcg@{k}"] == pytest.approx(expected, rel=1e-12)

    def test_map_of_the_whole_list_is_scikit_learns(self):
        metrics = pytest.importorskip("sklearn.metrics")
        ratings = planted()
        scores = random_scores(ratings)
        relevance = np.nan_to_num(ratings.to_crosstab().to_numpy()) >= 4
        expected = [
            metrics.average_precision_score(liked, one)
            for liked, one in zip(relevance, scores, strict=True)
            if liked.any()
        ]
        found = scf.ranking_metrics(Table(ratings, scores), ratings, k=ratings.n_items)
        assert found["map@9"] == pytest.approx(np.mean(expected), rel=1e-12)

    def test_callback(self):
        test, done = planted(), []
        model = Table(test, random_scores(test))
        scf.ranking_metrics(model, test, batch_size=4, callback=done.append)
        n = len({row[0] for row in rows(test) if row[2] >= 4})
        assert done == [{"users": min(4 * k, n), "n_users": n} for k in range(1, len(done) + 1)]
        assert done[-1]["users"] == n
        done.clear()
        scf.compare(model, *scf.split(test, random_state=1), callback=done.append)
        assert len(done) == 3  # one batch a model

    def test_a_model_of_ours(self, crosstab):
        train, test = scf.split(crosstab, random_state=1)
        model = scf.MatrixFactorization(2, solver="grg", random_state=1).fit(train)
        expected = slow_ranking(model, test, train, 3, 4.0)
        assert scf.ranking_metrics(model, test, train, k=3) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"relevant": 5.5}, "`relevant`: no test rating has 5.5 stars or more"),
            ({"k": 0}, "`k` must be >= 1, got 0"),
            ({"batch_size": 0}, "`batch_size` must be >= 1, got 0"),
            (
                {"train": planted(n_users=13)},
                "`train` and `test` must have the same user ids, as the parts of a split have",
            ),
            (
                {"train": planted(n_items=10)},
                "`train` and `test` must have the same item ids, as the parts of a split have",
            ),
        ],
    )
    def test_what_is_refused(self, change, message):
        test = planted()
        arguments = {"model": Table(test, random_scores(test)), "test": test} | change
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            scf.ranking_metrics(**arguments)

    def test_a_rating_in_both_parts(self):
        test = planted()
        user, item, *_ = min(rows(test.subset([7])))
        expected = f"^`train` and `test` must not .* both have user {user}, item '{item}'$"
        with pytest.raises(ValueError, match=expected):
            scf.ranking_metrics(Table(test, random_scores(test)), test, test.subset([7, 9]))

    def test_predictions_that_are_no_numbers(self):
        test = planted()
        scores = random_scores(test)
        u = int(test.user_idx[test.rating >= 4][0])
        scores[u, 3] = np.nan
        expected = f"^predictions must be finite, got nan for user {100 + u}, item 'film 3'$"
        with pytest.raises(ValueError, match=expected):
            scf.ranking_metrics(Table(test, scores), test)


class TestTopN:
    @quick
    @given(st.integers(0, 9999), st.integers(1, 12), st.booleans())
    def test_against_a_stable_sort(self, seed, k, ties):
        rng = np.random.default_rng(seed)
        scores = rng.integers(0, 4, (5, 9)) / 1.0 if ties else rng.normal(size=(5, 9))
        scores[rng.random((5, 9)) < 0.2] = -np.inf
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(top_n(scores, k), expected)


# --- baselines -------------------------------------------------------------------------


class TestBaselines:
    @pytest.mark.parametrize("reg", [0.5, 3.0, 40.0])
    def test_biases_solve_the_normal_equations(self, reg):
        ratings = planted()
        n = ratings.n_users + ratings.n_items
        X = np.zeros((len(ratings), n))
        for k, (u, i) in enumerate(zip(ratings.user_idx, ratings.item_idx, strict=True)):
            X[k, u] = X[k, ratings.n_users + i] = 1
        mu = ratings.rating.mean()
        expected = np.linalg.solve(X.T @ X + reg * np.eye(n), X.T @ (ratings.rating - mu))
        model = scf.BiasesOnly(reg).fit(ratings)
        assert model.global_mean_ == pytest.approx(mu)
        found = np.concatenate([model.user_bias_, model.item_bias_])
        np.testing.assert_allclose(found, expected, atol=1e-9)

    def test_each_bias_is_a_shrunken_mean_of_what_is_left(self):
        # The gradient is 0: b_u = sum over the user's ratings of (r - mu - b_i) / (count + reg).
        ratings = planted()
        model = scf.BiasesOnly(reg=2).fit(ratings)
        for u, user in enumerate(ratings.user_ids.tolist()):
            left = [
                r - model.global_mean_ - model.item_bias_[ratings.item_ids.tolist().index(item)]
                for who, item, r, _ in rows(ratings)
                if who == user
            ]
            assert model.user_bias_[u] == pytest.approx(sum(left) / (len(left) + 2), abs=1e-9)

    def test_unknown_users_and_items(self):
        ratings = planted()
        model = scf.BiasesOnly().fit(ratings)
        mu, bu, bi = model.global_mean_, model.user_bias_, model.item_bias_
        assert model.predict(-1, "no film") == mu
        assert model.predict(103, "no film") == mu + bu[3]
        assert model.predict(-1, "film 2") == mu + bi[2]
        assert scf.GlobalMean().fit(ratings).predict(-1, "no film") == mu

    def test_without_ratings_there_is_no_bias(self):
        ratings = planted(n_users=30, n_ratings=40)
        rated = np.bincount(ratings.user_idx, minlength=30) > 0
        assert not rated.all()
        assert (scf.BiasesOnly().fit(ratings).user_bias_[~rated] == 0).all()

    @pytest.mark.parametrize("model", [scf.GlobalMean(), scf.BiasesOnly()])
    def test_shapes(self, model):
        ratings = planted()
        assert model.fit(ratings) is model
        assert model.predict([[101], [102]], ["film 1", "film 2", "film 3"]).shape == (2, 3)
        assert model.predict(101, "film 1").shape == ()
        expected = model.predict(ratings.user_ids[:4, None], ratings.item_ids)
        np.testing.assert_array_equal(model.predict_all(ratings.user_ids[:4]), expected)

    @pytest.mark.parametrize("model", [scf.GlobalMean(), scf.BiasesOnly()])
    def test_not_fitted(self, model):
        for call in (lambda: model.predict(1, 1), lambda: model.predict_all([1])):
            with pytest.raises(ValueError, match=r"^this model is not fitted yet"):
                call()

    def test_settings(self):
        assert repr(scf.BiasesOnly(2)) == "BiasesOnly(reg=2)"
        assert repr(scf.GlobalMean()) == "GlobalMean()"
        with pytest.raises(ValueError, match=r"^`reg` must be > 0, got 0$"):
            scf.BiasesOnly(0)


# --- judging models --------------------------------------------------------------------


class TestCompare:
    def test_rows_and_columns(self):
        train, test = scf.split(planted(), random_state=1)
        model = Table(test, random_scores(test))
        table = scf.compare(model, train, test, k=3, relevant=3)
        assert table.index.tolist() == ["global mean", "biases only", "Table"]
        errors = {"rmse": scf.rmse(model, test), "mae": scf.mae(model, test)}
        ranking = scf.ranking_metrics(model, test, train, k=3, relevant=3)
        assert table.loc["Table"].to_dict() == errors | ranking
        one = scf.evaluate(model, test, train, k=3, relevant=3)
        assert table.loc["Table"].to_dict() == one

    def test_models_by_name(self):
        train, test = scf.split(planted(), random_state=1)
        models = {"a": scf.GlobalMean().fit(train), "b": scf.BiasesOnly().fit(train)}
        table = scf.compare(models, train, test)
        assert table.index.tolist() == ["global mean", "biases only", "a", "b"]
        pd.testing.assert_series_equal(table.loc["a"], table.loc["global mean"], check_names=False)
        pd.testing.assert_series_equal(table.loc["b"], table.loc["biases only"], check_names=False)

    def test_a_name_that_is_taken(self):
        train, test = scf.split(planted(), random_state=1)
        with pytest.raises(ValueError, match=r"^`models`: 'global mean' is the name of a baseline"):
            scf.compare({"global mean": scf.GlobalMean()}, train, test)


class TestCrossValidate:
    def test_against_the_folds(self):
        ratings = planted()
        table = scf.cross_validate(scf.BiasesOnly(), ratings, 4, random_state=2)
        assert table.columns.tolist() == ["fold", "rmse", "mae", "seconds"]
        assert table["fold"].tolist() == [1, 2, 3, 4]
        assert (table["seconds"] > 0).all()
        for row, (train, test) in zip(
            table.itertuples(), scf.k_fold(ratings, 4, random_state=2), strict=True
        ):
            model = scf.BiasesOnly().fit(train)
            assert (row.rmse, row.mae) == (scf.rmse(model, test), scf.mae(model, test))

    def test_the_model_is_left_as_it_is(self):
        model = scf.GlobalMean()
        scf.cross_validate(model, planted(), 2, random_state=1)
        assert not hasattr(model, "global_mean_")

    def test_a_generator_is_copied_with_the_model(self, crosstab):
        rng = np.random.default_rng(1)
        model = scf.MatrixFactorization(1, solver="grg", random_state=rng)
        first, again = (scf.cross_validate(model, crosstab, 2, random_state=1) for _ in "ab")
        assert first["rmse"].tolist() == again["rmse"].tolist()

    def test_callback(self):
        seen = []
        table = scf.cross_validate(scf.GlobalMean(), planted(), 3, 1, callback=seen.append)
        assert seen == table.to_dict("records")
        table = scf.cross_validate(scf.GlobalMean(), planted(), 3, 1, callback=lambda row: True)
        assert len(table) == 1


# --- MovieLens -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ml_100k():
    return scf.read_ratings(shared_file("data", "ml-100k", "u.data"))


@pytest.mark.slow
class TestMovieLens:
    def test_baselines_are_as_good_as_they_are_known_to_be(self, ml_100k):
        train, test = scf.split(ml_100k, test_size=0.1, random_state=0)
        table = scf.compare({}, train, test)
        assert table.loc["global mean", "rmse"] == pytest.approx(1.125, abs=0.01)
        assert table.loc["biases only", "rmse"] == pytest.approx(0.94, abs=0.01)
        assert table.loc["biases only", "ndcg@10"] > table.loc["global mean", "ndcg@10"]

    def test_the_default_reg_is_the_best_of_those_tried(self, ml_100k):
        def mean_rmse(reg):
            table = scf.cross_validate(scf.BiasesOnly(reg), ml_100k, 10, random_state=0)
            return table["rmse"].mean()

        assert min((1, 2, 3, 4, 5, 6, 8, 10), key=mean_rmse) == scf.BiasesOnly().reg

    def test_ranking_is_quick(self, ml_100k):
        train, test = scf.split(ml_100k, random_state=0)
        model = scf.BiasesOnly().fit(train)
        start = time.perf_counter()
        scf.ranking_metrics(model, test, train)
        assert time.perf_counter() - start < 5

    def test_time(self, ml_100k):
        train, test = scf.split_by_time(ml_100k)
        assert train.timestamp.max() < test.timestamp.min()
        assert len(test) == pytest.approx(20_000, rel=0.01)

    def test_the_lessons_file_stands_in_the_order_of_its_split(self):
        path = shared_file("data", "ml-latest-small-2016", "ratings.csv")
        ratings, file = scf.read_ratings(path), pd.read_csv(path)
        columns = ["userId", "movieId", "rating", "timestamp"]
        np.testing.assert_array_equal(ratings.to_frame(), file[columns])
        # The lesson: n_val = int(0.2 * 100004) rows, the first of a permutation.
        positions = np.random.RandomState(42).permutation(len(file))[: int(0.2 * len(file))]
        expected = file.iloc[np.sort(positions)]
        np.testing.assert_array_equal(scf.lesson_split(ratings)[1].to_frame(), expected[columns])
