"""Many small regressions at once, against plain loops over one user's ratings at a time."""

import numpy as np
import pytest
import reference

import shallow_cf as scf
from shallow_cf.solvers.normal_equations import (
    BLOCK_ROWS,
    Rows,
    compressed,
    invert,
    packed_places,
    parameters_of,
    regression,
    row_blocks,
    rows_of,
)

MEAN = 3.0


def few_and_many(n_users=60, n_items=40, random_state=0):
    """Ratings as they come: a few users and items have most of them, some have none."""
    rng = np.random.default_rng(random_state)
    busy_user, busy_item = rng.permutation(n_users) + 1, rng.permutation(n_items) + 1
    chance = 8 / np.outer(busy_user, busy_item)
    u, i = np.nonzero(rng.uniform(size=chance.shape) < chance)
    stars = rng.integers(1, 11, len(u)) / 2
    return scf.Ratings(np.arange(n_users), np.arange(n_items), u, i, stars)


def equations(ratings, theta, dtype="float64"):
    """A, c, s and the count of every user, in the order of the ids."""
    data = compressed(ratings, MEAN, dtype)
    other = Rows.of(rows_of(theta, data, dtype)[1])
    found = {}
    rank = 0
    for block in row_blocks(data.by_user):
        A, c, s = regression(block, block.sums(other), slice(None), bias=theta.has_bias)
        for j in range(len(block)):
            found[data.user_order[rank]] = A[:, :, j], c[:, j], s[j], block.count[j]
            rank += 1
    assert sorted(found) == list(range(ratings.n_users))
    return [found[u] for u in range(ratings.n_users)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bias", [False, True])
def test_equations_are_those_of_the_slow_loop(bias, dtype):
    """(20a) to (20d), a rating at a time."""
    ratings = few_and_many()
    theta = scf.Parameters.random(60, 40, 3, bias=bias, random_state=1)
    counts = np.bincount(ratings.item_idx, minlength=40)
    assert counts.max() > 9  # a column that is handled as dense
    assert (counts[counts > 0] < 9).any()  # and one that is not
    assert 0 in counts
    assert 0 in np.bincount(ratings.user_idx, minlength=60)
    triplets = [(u, i, r - MEAN) for u, i, r in reference.triplets(ratings)]
    rtol = {"float64": 1e-12, "float32": 1e-5}[dtype]
    for user, found in enumerate(equations(ratings, theta, dtype)):
        expected = reference.user_equations(triplets, reference.plain(theta), user)
        for ours, slow in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, slow, rtol=rtol, atol=100 * rtol)


def test_a_rating_that_equals_the_mean_counts():
    # Less the mean it is a zero, which a sparse table may lose.
    ratings = scf.Ratings.from_arrays([[1, 1], [1, 2], [2, 1]], [MEAN, MEAN, 5.0])
    theta = scf.Parameters([[1.0], [1.0]], [[2.0], [3.0]])
    (A, c, s, count), _ = equations(ratings, theta)
    assert (A.tolist(), c.tolist(), s, count) == ([[2.0**2 + 3.0**2]], [0.0], 0.0, 2)


def test_every_row_is_in_one_block():
    rng = np.random.default_rng(0)
    n = 2 * BLOCK_ROWS + 7
    u = np.repeat(np.arange(n), 2)
    i = (u + np.tile([0, 1], n)) % 5
    ratings = scf.Ratings(rng.permutation(n), np.arange(5), u, i, rng.integers(1, 6, len(u)))
    data = compressed(ratings, 0.0, "float64")
    blocks = row_blocks(data.by_user)
    assert [len(block) for block in blocks] == [BLOCK_ROWS, BLOCK_ROWS, 7]
    sums = np.concatenate([block.rating for block in blocks])
    expected = np.bincount(u, ratings.rating, n)[data.user_order]
    np.testing.assert_array_equal(sums, expected)


def test_the_busiest_rows_come_first_and_every_rating_is_there():
    ratings = few_and_many()
    data = compressed(ratings, MEAN, "float64")
    for matrix, order, idx in (
        (data.by_user, data.user_order, ratings.user_idx),
        (data.by_item, data.item_order, ratings.item_idx),
    ):
        counts = np.bincount(idx, minlength=len(order))
        assert np.diff(matrix.indptr).tolist() == sorted(counts, reverse=True)
        assert counts[order].tolist() == np.diff(matrix.indptr).tolist()
    expected = np.zeros((60, 40))
    expected[ratings.user_idx, ratings.item_idx] = ratings.rating - MEAN
    found = np.zeros((60, 40))
    found[np.ix_(data.user_order, data.item_order)] = data.by_user.toarray()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(data.by_item.toarray(), data.by_user.toarray().T)


@pytest.mark.parametrize("bias", [False, True])
def test_to_the_order_of_rows_and_back(bias):
    ratings = few_and_many()
    theta = scf.Parameters.random(60, 40, 3, bias=bias, random_state=1)
    data = compressed(ratings, MEAN, "float64")
    users, items = rows_of(theta, data, "float64")
    assert users.shape == (60, 3 + bias)
    np.testing.assert_array_equal(users[0, :3], theta.user_factors[data.user_order[0]])
    assert parameters_of(users, items, data, theta).equals(theta)


def test_second_moments():
    # (20e), with E[y y'] = m m' + S for a random y of mean m and covariance S.
    rng = np.random.default_rng(0)
    means, roots = rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 3))
    S = roots @ roots.transpose(0, 2, 1)
    upper = np.triu_indices(3)
    rows = Rows.of(means, S[:, *upper])
    expected = means[:, :, None] * means[:, None] + S
    np.testing.assert_allclose(rows.table[:, packed_places(3)], expected, rtol=1e-14)
    np.testing.assert_array_equal(rows.table[:, 6:], means)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-3)])
def test_inverses_are_lapacks(dtype, rtol):
    rng = np.random.default_rng(0)
    for d in (1, 2, 7):
        roots = rng.normal(size=(50, d, d + 2))
        A = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(d)
        ours = A.transpose(1, 2, 0).astype(dtype)
        log_det = invert(ours)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(A)[1], rtol=rtol, atol=rtol)
        inverse = np.linalg.inv(A)
        atol = rtol * np.abs(inverse).max()
        np.testing.assert_allclose(ours.transpose(2, 0, 1), inverse, rtol=rtol, atol=atol)
        assert ours.dtype == log_det.dtype == dtype
