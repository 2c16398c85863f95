"""What the factors mean: sorted lists against sorting, components against eigenvectors."""

import numpy as np
import pandas as pd
import pytest
import reference

import shallow_cf as scf
from shallow_cf import meaning


def model_of(ratings, parameters):
    return scf.MatrixFactorization.from_parameters(ratings, parameters)


@pytest.fixture
def model():
    ratings, theta = reference.problem(20, 12, 4, bias=True, rated=0.5)
    ids = [f"u{k}" for k in range(20)], 50 + np.arange(12)
    return model_of(scf.Ratings(*ids, ratings.user_idx, ratings.item_idx, ratings.rating), theta)


def slow_chosen(model, side="item", min_ratings=0, most_rated=None):
    """Indices of those with many ratings, counted one by one."""
    idx = model.ratings_.item_idx if side == "item" else model.ratings_.user_idx
    ids = model.item_ids_ if side == "item" else model.user_ids_
    count = [idx.tolist().count(k) for k in range(len(ids))]
    often = sorted(range(len(ids)), key=lambda k: -count[k])[:most_rated]
    return sorted(k for k in often if count[k] >= min_ratings)


LIMITS = [{}, {"min_ratings": 10}, {"most_rated": 6}, {"most_rated": 6, "min_ratings": 11}]


def assert_ends(table, name, ids, values, n):
    """The rows of `table` are the n lowest and the n highest."""
    order = sorted(range(len(ids)), key=lambda k: values[k])
    lowest = order[:n]
    highest = order[::-1][:n]
    assert table["end"].tolist() == ["lowest"] * len(lowest) + ["highest"] * len(highest)
    id_column = "item_id" if "item_id" in table else "user_id"
    assert table[id_column].tolist() == [ids[k] for k in [*lowest, *highest]]
    expected = [values[k] for k in [*lowest, *highest]]
    np.testing.assert_allclose(table[name], expected, rtol=1e-9)


class TestBiasList:
    @pytest.mark.parametrize("side", ["item", "user"])
    @pytest.mark.parametrize("limits", LIMITS)
    @pytest.mark.parametrize("n", [1, 4, 99])
    def test_against_sorting(self, model, side, limits, n):
        chosen = slow_chosen(model, side, **limits)
        ids = (model.item_ids_ if side == "item" else model.user_ids_)[chosen].tolist()
        bias = (model.item_bias_ if side == "item" else model.user_bias_)[chosen].tolist()
        table = model.bias_list(n, side=side, **limits)
        assert table.columns.tolist() == ["end", f"{side}_id", "bias"]
        assert_ends(table, "bias", ids, bias, n)

    def test_titles(self, model):
        table = model.bias_list(1, titles={k: f"Movie {k}" for k in range(50, 62)})
        assert table["title"].tolist() == [f"Movie {k}" for k in table["item_id"]]

    def test_equal_biases_in_the_order_of_the_items(self, model):
        theta = model.parameters_
        blocks = [*theta.blocks()[:3], np.zeros(12)]
        table = model_of(model.ratings_, theta.with_blocks(blocks)).bias_list(2)
        assert table["item_id"].tolist() == [50, 51, 50, 51]

    def test_nobody_has_so_many_ratings(self, model):
        assert len(model.bias_list(min_ratings=1000)) == 0

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="`side` must be one of item, user, got 'movie'"):
            model.bias_list(side="movie")
        with pytest.raises(ValueError, match="`n` must be >= 1, got 0"):
            model.bias_list(0)
        with pytest.raises(ValueError, match="`most_rated` must be >= 1, got 0"):
            model.bias_list(most_rated=0)
        with pytest.raises(ValueError, match="this model has no biases"):
            model_of(*reference.problem(3, 3, 2)).bias_list()
        model.ratings_ = None
        assert len(model.bias_list(2)) == 4
        with pytest.raises(ValueError, match="saved without its ratings, and `most_rated`"):
            model.bias_list(most_rated=3)


def coordinates(found):
    return found.items.filter(like="component").to_numpy()


class TestPrincipalComponents:
    @pytest.mark.parametrize("limits", LIMITS)
    def test_against_eigenvectors(self, model, limits):
        # The textbook's other way: eigenvectors of the covariance matrix.
        chosen = slow_chosen(model, **limits)
        Q = model.item_factors_[chosen]
        values, vectors = np.linalg.eigh(np.cov(Q.T))
        order = np.argsort(-values)
        n = min(3, len(chosen))
        found = model.principal_components(n, **limits)
        assert found.items["item_id"].tolist() == model.item_ids_[chosen].tolist()
        np.testing.assert_allclose(found.share, (values / values.sum())[order][:n], atol=1e-12)
        for k in range(min(n, len(chosen) - 1)):  # more there are not: the mean is taken away
            direction = vectors[:, order[k]]
            direction *= np.sign(direction[np.abs(direction).argmax()])
            np.testing.assert_allclose(found.directions[k], direction, atol=1e-9)
            expected = (Q - Q.mean(axis=0)) @ direction
            np.testing.assert_allclose(coordinates(found)[:, k], expected, atol=1e-9)

    def test_against_scikit_learn(self, model):
        decomposition = pytest.importorskip("sklearn.decomposition")
        pca = decomposition.PCA(3).fit(model.item_factors_)
        found = model.principal_components(3)
        np.testing.assert_allclose(found.share, pca.explained_variance_ratio_, rtol=1e-10)
        signs = np.sign(np.sum(found.directions * pca.components_, axis=1))
        np.testing.assert_allclose(found.directions, signs[:, None] * pca.components_, atol=1e-10)
        expected = signs * pca.transform(model.item_factors_)
        np.testing.assert_allclose(coordinates(found), expected, atol=1e-10)

    def test_by_hand(self):
        # Centred: (2, 2), (-2, -2), (1, -1), (-1, 1): along (1, 1) the squares are 8 + 8,
        # along (1, -1) they are 2 + 2.
        Q = np.array([[3.0, 2.0], [-1.0, -2.0], [2.0, -1.0], [0.0, 1.0]])
        where, directions, share = meaning.components(Q, 2)
        assert share == pytest.approx([0.8, 0.2])  # (18a)
        h = np.sqrt(0.5)
        assert np.abs(directions) == pytest.approx(np.full((2, 2), h))
        assert directions[0] == pytest.approx([h, h])
        assert where[:, 0] == pytest.approx([4 * h, -4 * h, 0, 0], abs=1e-12)  # (18b)

    def test_rotations_do_not_matter(self, model):
        # P T and Q T predict the same for an orthogonal T; coordinates may change sign.
        rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
        theta = model.parameters_
        P, Q, bu, bi = theta.blocks()
        other = model_of(model.ratings_, theta.with_blocks([P @ rotation, Q @ rotation, bu, bi]))
        np.testing.assert_allclose(other.predict_all(), model.predict_all(), rtol=1e-12)
        one, two = model.principal_components(), other.principal_components()
        np.testing.assert_allclose(one.share, two.share, rtol=1e-10)
        np.testing.assert_allclose(np.abs(coordinates(one)), np.abs(coordinates(two)), atol=1e-10)

    def test_items_that_are_all_the_same(self):
        where, _, share = meaning.components(np.ones((3, 2)), 2)
        assert not where.any()
        assert share.tolist() == [0.0, 0.0]

    def test_titles(self, model):
        items = model.principal_components(1, titles={55: "Fifty-five"}).items
        assert items.columns.tolist() == ["item_id", "component 1", "title"]
        assert items["title"].tolist()[5:7] == ["Fifty-five", ""]

    def test_bad_input(self, model):
        message = "`n` must be <= 4 with 12 items of 4 factors, got 5"
        with pytest.raises(ValueError, match=message):
            model.principal_components(5)
        with pytest.raises(ValueError, match="`n` must be <= 0 with 0 items of 4 factors, got 3"):
            model.principal_components(min_ratings=1000)


class TestFactorExtremes:
    @pytest.mark.parametrize("limits", LIMITS)
    def test_factors(self, model, limits):
        chosen = slow_chosen(model, **limits)
        table = model.factor_extremes(3, **limits)
        assert table.columns.tolist() == ["factor", "end", "item_id", "value"]
        assert table["factor"].unique().tolist() == [f"factor {k}" for k in (1, 2, 3, 4)]
        ids = model.item_ids_[chosen].tolist()
        for k in range(4):
            values = model.item_factors_[chosen, k].tolist()
            assert_ends(table[table["factor"] == f"factor {k + 1}"], "value", ids, values, 3)

    def test_components(self, model):
        items = model.principal_components(2, most_rated=8).items
        table = model.factor_extremes(2, components=2, most_rated=8, titles={})
        assert table["factor"].unique().tolist() == ["component 1", "component 2"]
        for name in ("component 1", "component 2"):
            rows = table[table["factor"] == name]
            assert_ends(rows, "value", items["item_id"].tolist(), items[name].tolist(), 2)
        assert table["title"].tolist() == [""] * 8
        pd.testing.assert_index_equal(table.index, pd.RangeIndex(8))

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="`n` must be <= 4"):
            model.factor_extremes(components=5)
        with pytest.raises(ValueError, match="`n` must be >= 1, got -1"):
            model.factor_extremes(-1)
