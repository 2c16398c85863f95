"""Alternating least squares: a slow loop, the gradient of (3a), and other solvers judge it."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import als, grg, sgd, varpro
from shallow_cf.solvers.normal_equations import BLOCK_ROWS

KINDS = [(False, None), (True, None), (False, 3.2), (True, 3.2)]  # biases, mean


def problem(bias=True, mean=3.2, n_factors=3, n_users=7, n_items=5, random_state=0):
    """Ratings, about half of the cells, and a start with that mean."""
    ratings, theta = reference.problem(
        n_users, n_items, n_factors, bias=bias, rated=0.5, random_state=random_state
    )
    return ratings, scf.Parameters(*theta.blocks(), global_mean=mean)


def options(**chosen):
    """Settings with which a run makes all its sweeps, as far as not chosen otherwise."""
    return scf.ALSOptions(**{"n_iterations": 3, "reg": 0.7, "tol": 0.0} | chosen)


def counts(ratings):
    """How many ratings each user and each item has, two columns."""
    pairs = (ratings.user_idx, ratings.n_users), (ratings.item_idx, ratings.n_items)
    return [np.bincount(idx, minlength=n)[:, None] for idx, n in pairs]


def loss(ratings, theta, reg, weighted):
    """Half the squared errors and the penalty, by `objective` and the counts."""
    if not weighted:
        return objective.half_sse(ratings, theta, reg)
    of_user, of_item = counts(ratings)
    P, Q, *biases = theta.blocks()
    penalty = (of_user * P**2).sum() + (of_item * Q**2).sum()
    for count, bias in zip((of_user, of_item), biases, strict=False):
        penalty += (count[:, 0] * bias**2).sum()
    return objective.half_sse(ratings, theta) + reg / 2 * penalty


def gradient(ratings, theta, reg, weighted):
    """That of `loss`, block by block: P, Q and the biases."""
    if not weighted:
        return objective.half_sse_gradient(ratings, theta, reg).blocks()
    slopes = objective.half_sse_gradient(ratings, theta).blocks()
    sides = counts(ratings) * 2
    return [
        slope + reg * count.reshape(count.shape[: block.ndim]) * block
        for slope, count, block in zip(slopes, sides, theta.blocks(), strict=False)
    ]


# --- the mathematics --------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("bias", "mean"), KINDS)
def test_two_sweeps_of_the_slow_loop(bias, mean, weighted):
    """(21a) row by row, with the penalty (21b) or (21c)."""
    ratings, theta = problem(bias, mean)
    triplets = [(u, i, r - (mean or 0.0)) for u, i, r in reference.triplets(ratings)]
    plain = reference.plain(theta)
    for _ in range(2):
        plain = reference.als_sweep(triplets, plain, 0.7, weighted)
    found = als.solve(ratings, theta, options(n_iterations=2, weighted=weighted)).parameters
    np.testing.assert_allclose(found.pack(), reference.pack(plain), rtol=1e-10)
    assert found.global_mean == mean


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("bias", "mean"), KINDS)
def test_each_half_has_a_gradient_of_zero(bias, mean, weighted):
    """A sweep ends with items that are best for its users, who are best for the items before."""
    ratings, theta = problem(bias, mean)
    found = als.solve(ratings, theta, options(n_iterations=1, weighted=weighted)).parameters
    P, Q, *biases = found.blocks()
    slopes = gradient(ratings, found, 0.7, weighted)
    for of_items in slopes[1::2]:
        np.testing.assert_allclose(of_items, 0, atol=1e-12)
    assert max(np.abs(of_users).max() for of_users in slopes[::2]) > 0.01  # these have moved on
    _, Q, *biases_before = theta.blocks()
    halfway = theta.with_blocks((P, Q, *biases[:1], *biases_before[1:]))
    for of_users in gradient(ratings, halfway, 0.7, weighted)[::2]:
        np.testing.assert_allclose(of_users, 0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("bias", "mean"), KINDS)
def test_the_trace_says_what_the_objective_says(bias, mean, weighted):
    ratings, theta = problem(bias, mean)
    result = als.solve(ratings, theta, options(weighted=weighted))
    assert [row["iteration"] for row in result.trace] == [0, 1, 2, 3]
    for row, there in ((0, theta), (3, result.parameters)):
        expected = loss(ratings, there, 0.7, weighted)
        assert result.trace[row]["loss"] == pytest.approx(expected, rel=1e-12)
        assert result.trace[row]["train_rmse"] == pytest.approx(objective.rmse(ratings, there))
    assert result.start.equals(theta)


def test_weighted_is_plain_where_everyone_rated_as_much():
    ratings, _ = reference.planted(6, 6, 2)
    start = scf.Parameters.random(6, 6, 2, bias=True, random_state=0)
    plain = als.solve(ratings, start, options(reg=0.6)).parameters
    weighted = als.solve(ratings, start, options(reg=0.1, weighted=True)).parameters
    np.testing.assert_allclose(weighted.pack(), plain.pack(), rtol=1e-12)


@st.composite
def few_ratings(draw):
    """Up to 30 ratings of users and items of whom some have none, with a start."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    cells = st.integers(0, n_users * n_items - 1)
    chosen = np.array(draw(st.lists(cells, min_size=1, max_size=30, unique=True)))
    stars = draw(st.lists(st.integers(1, 10), min_size=len(chosen), max_size=len(chosen)))
    u, i = np.divmod(chosen, n_items)
    ratings = scf.Ratings(np.arange(n_users), np.arange(n_items), u, i, np.array(stars) / 2)
    theta = scf.Parameters.random(
        n_users, n_items, draw(st.integers(1, 8)), bias=draw(st.booleans()),
        random_state=draw(st.integers(0, 99)),
    )  # fmt: skip
    mean = float(ratings.rating.mean()) if draw(st.booleans()) else None
    return ratings, scf.Parameters(*theta.blocks(), global_mean=mean)


@settings(max_examples=30, deadline=None)
@given(few_ratings(), st.sampled_from([1e-4, 0.1, 3.0, 1e6]), st.booleans())
def test_the_loss_never_rises(drawn, reg, weighted):
    ratings, theta = drawn
    result = als.solve(ratings, theta, options(n_iterations=4, reg=reg, weighted=weighted))
    losses = np.array([row["loss"] for row in result.trace])
    assert (np.diff(losses) <= 1e-12 * losses[0]).all()
    assert losses[-1] == pytest.approx(loss(ratings, result.parameters, reg, weighted))
    assert all(row["train_rmse"] >= 0 for row in result.trace)


# --- the regularised optimum, which all solvers know ------------------------------------


def on_the_lessons_cells(crosstab):
    """Ratings in the cells of the lesson's table that three factors fit perfectly."""
    _, table = reference.planted(15, 15, 3)
    u, i = crosstab.user_idx, crosstab.item_idx
    return scf.Ratings(crosstab.user_ids, crosstab.item_ids, u, i, table[u, i])


def solver_with_a_penalty(ratings, theta, reg):
    """The Solver path has no penalty, but can be given one in its own words: more ratings.

    For each factor k there is one more item, whose numbers a constraint holds at 0, but at
    sqrt(reg) for the k-th. Everyone rates it 0, and misses that by sqrt(reg) P_uk. Users
    likewise. So the sum of squares has reg (|P|^2 + |Q|^2) in it.

    A Solver run is over when no slope is above 1e-6, whatever the unit of the stars; in
    millionths of a star that is close enough.
    """
    unit = 1e-6
    (n_users, k), n_items = theta.user_factors.shape, theta.n_items
    u = [
        ratings.user_idx,
        np.repeat(np.arange(n_users), k),
        np.tile(n_users + np.arange(k), n_items),
    ]
    i = [
        ratings.item_idx,
        np.tile(n_items + np.arange(k), n_users),
        np.repeat(np.arange(n_items), k),
    ]
    stars = [ratings.rating / unit, np.zeros((n_users + n_items) * k)]
    more = scf.Ratings(
        np.arange(n_users + k), np.arange(n_items + k), *map(np.concatenate, (u, i, stars))
    )
    held = np.sqrt(reg / unit) * np.eye(k)
    start = scf.Parameters(*(np.vstack((side / unit**0.5, held)) for side in theta.blocks()))
    constraints = [
        scf.Constraint(name, relation, np.vstack((np.full((n, k), nothing), held)))
        for name, n in (("user_factors", n_users), ("item_factors", n_items))
        for relation, nothing in (("<=", np.inf), (">=", -np.inf))
    ]
    chosen = scf.SolverOptions(constraints=constraints, derivatives="analytic", convergence=0)
    found = grg.solve(more, start, chosen).parameters
    return scf.Parameters(*(side[:-k] * unit**0.5 for side in found.blocks()))


def descent(ratings, theta, reg):
    """Gradient descent on all ratings at once, with momentum: nothing random in it."""
    chosen = scf.SGDOptions(
        900, 0.01, len(ratings), reg=reg, shuffle=False, optimizer=scf.Momentum(0.8),
        schedule="constant",
    )  # fmt: skip
    return sgd.solve(ratings, theta, chosen).parameters


def alternating(ratings, theta, reg):
    return als.solve(ratings, theta, options(n_iterations=2000, reg=reg, tol=1e-15)).parameters


def projected(ratings, theta, reg):
    return varpro.solve(ratings, theta, scf.VarproOptions(reg=reg)).parameters


@pytest.fixture(params=["planted", "the lesson's"])
def unique(request, crosstab):
    """Ratings, a start and a penalty with one optimum; see the test that follows."""
    if request.param == "planted":
        return on_the_lessons_cells(crosstab), scf.Parameters.random(15, 15, 3, random_state=1), 0.5
    return crosstab, scf.Parameters.random(15, 15, 5, random_state=1), 4.0


def test_all_solvers_find_the_one_optimum(unique):
    """What is unique, and why.

    The least reg/2 (|P|^2 + |Q|^2) of all P, Q with one product X = P Q' is reg times the
    nuclear norm of X (Srebro, Rennie and Jaakkola 2004). So (3a) without biases is a convex
    function of X, as long as X has no more than n_factors factors, and X is its minimum if no
    singular value of the residuals' table exceeds reg: a certificate that needs no solver.
    The predictions of rated cells are unique then, as their squared error is strictly convex.
    P and Q are not: any rotation of both has the same predictions and the same penalty.
    """
    ratings, theta, reg = unique
    found = alternating(ratings, theta, reg)
    E = np.zeros((15, 15))
    E[ratings.user_idx, ratings.item_idx] = objective.residual(ratings, found)
    norms = np.linalg.svd(E, compute_uv=False)
    k = theta.n_factors
    np.testing.assert_allclose(norms[:k], reg, rtol=1e-6)  # all factors are in use
    assert norms[k] < 0.9 * reg
    least = objective.half_sse(ratings, found, reg)
    predictions = found.predict(ratings.user_idx, ratings.item_idx)
    for solver in (descent, projected, solver_with_a_penalty):
        theirs = solver(ratings, theta, reg)
        assert objective.half_sse(ratings, theirs, reg) == pytest.approx(least, rel=1e-9)
        r_hat = theirs.predict(ratings.user_idx, ratings.item_idx)
        np.testing.assert_allclose(r_hat, predictions, rtol=0, atol=1e-6)
        assert np.abs(theirs.user_factors - found.user_factors).max() > 1e-3  # rotated


def test_a_full_table_is_solved_by_its_singular_values():
    # Srebro, Rennie and Jaakkola's optimum is known where no cell is blank: all singular
    # values less the penalty.
    ratings, table = reference.planted(15, 15, 3)
    left, values, right = np.linalg.svd(table)
    expected = left[:, :3] * (values[:3] - 0.5) @ right[:3]
    found = alternating(ratings, scf.Parameters.random(15, 15, 3, random_state=0), 0.5)
    np.testing.assert_allclose(
        found.user_factors @ found.item_factors.T, expected, rtol=0, atol=1e-6
    )


def test_biases_lead_to_the_same_optimum_too(crosstab):
    ratings, reg = on_the_lessons_cells(crosstab), 2.0
    theta = scf.Parameters.random(15, 15, 3, bias=True, random_state=1)
    found = alternating(ratings, theta, reg)
    predictions = found.predict(ratings.user_idx, ratings.item_idx)
    for solver in (descent, projected):
        theirs = solver(ratings, theta, reg)
        r_hat = theirs.predict(ratings.user_idx, ratings.item_idx)
        np.testing.assert_allclose(r_hat, predictions, rtol=0, atol=1e-6)
        np.testing.assert_allclose(theirs.user_bias, found.user_bias, rtol=0, atol=1e-6)


# --- little and odd data ----------------------------------------------------------------


def test_one_rating():
    # p q = 4 - reg where p = q, by setting the derivative to zero: (p q - 4) q + reg p = 0.
    ratings = scf.Ratings.from_arrays([["ann", "Alien"]], [4.0])
    found = als.solve(ratings, scf.Parameters([[1.0]], [[0.5]]), options(n_iterations=200, reg=1))
    P, Q = found.parameters.blocks()
    assert P[0, 0] * Q[0, 0] == pytest.approx(3.0)
    assert P[0, 0] == pytest.approx(Q[0, 0])


def test_more_factors_than_ratings():
    ratings, theta = problem(n_factors=40)
    result = als.solve(ratings, theta, options(n_iterations=20, reg=1e-3))
    assert result.parameters.is_finite()
    assert result.rmse_after < 0.01


def test_who_has_no_ratings_is_average():
    ratings = scf.Ratings([1, 2, 3], [1, 2], [0, 0, 2], [0, 1, 0], [5.0, 3.0, 1.0])
    model = scf.MatrixFactorization(
        2, bias=True, global_mean=True, solver="als", random_state=0
    ).fit(ratings)
    assert model.predict(2, 1) == pytest.approx(3.0 + model.item_bias_[0])
    assert model.user_factors_[1].tolist() == [0.0, 0.0]


def test_a_perfect_fit_has_an_error_of_zero():
    # Equation (21d) gives a difference of large numbers, which rounding may leave below 0.
    ratings = scf.Ratings.from_arrays([[1, 1], [1, 2], [2, 1], [2, 2]], [3.0, 3.0, 3.0, 3.0])
    theta = scf.Parameters.random(2, 2, 1, random_state=0)
    for dtype, most in (("float64", 1e-6), ("float32", 1e-2)):
        result = als.solve(ratings, theta, options(n_iterations=5, reg=1e-6, dtype=dtype))
        errors = [row["train_rmse"] for row in result.trace]
        assert all(isinstance(error, float) for error in errors)
        assert errors[-1] < most


def test_ratings_that_all_equal_the_mean():
    ratings = scf.Ratings.from_arrays([[1, 1], [1, 2], [2, 1]], [3.0, 3.0, 3.0])
    model = scf.MatrixFactorization(2, bias=True, global_mean=True, solver="als", random_state=0)
    assert model.fit(ratings).predict(2, 2) == 3.0


@pytest.mark.parametrize(("dtype", "reg"), [("float32", 1e-8), ("float64", 1e-30)])
def test_a_penalty_lost_in_rounding_is_refused(crosstab, dtype, reg):
    theta = scf.Parameters.random(15, 15, 20, random_state=0)  # more numbers than ratings each
    with pytest.raises(
        ValueError, match=rf"`reg` must be larger with dtype '{dtype}', got {reg:g}"
    ):
        als.solve(crosstab, theta, options(reg=reg, dtype=dtype))


def test_a_tiny_penalty_is_fine_where_equations_are_sound(crosstab):
    theta = scf.Parameters.random(15, 15, 2, random_state=0)
    for dtype in ("float32", "float64"):
        result = als.solve(crosstab, theta, options(n_iterations=100, reg=1e-8, dtype=dtype))
        assert result.rmse_after == pytest.approx(0.7, abs=0.1)


def test_a_huge_penalty_leaves_the_mean(crosstab):
    for dtype in ("float32", "float64"):
        chosen = scf.ALSOptions(reg=1e15, weighted=True, dtype=dtype)
        model = scf.MatrixFactorization(
            bias=True, global_mean=True, solver="als", solver_options=chosen, random_state=0
        ).fit(crosstab)
        prediction = model.predict(crosstab.user_ids[:, None], crosstab.item_ids)
        np.testing.assert_allclose(prediction, crosstab.rating.mean(), atol=1e-9)


# --- numbers of 32 bits, threads, order -------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_half_the_bits_nearly_the_same(crosstab, weighted):
    theta = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
    reg = 0.1 if weighted else 2.0
    wide, narrow = (
        als.solve(crosstab, theta, options(n_iterations=10, reg=reg, weighted=weighted, dtype=it))
        for it in ("float64", "float32")
    )
    np.testing.assert_allclose(narrow.parameters.pack(), wide.parameters.pack(), atol=1e-4)
    assert narrow.parameters.user_factors.dtype == np.float64
    assert narrow.trace[-1]["loss"] == pytest.approx(wide.trace[-1]["loss"], rel=1e-5)
    assert not narrow.parameters.equals(wide.parameters)


@pytest.fixture(scope="module")
def many():
    """Ratings of more users than one block has."""
    return reference.problem(1100, 40, 1, rated=0.1)[0]


def fitted(ratings, n_jobs=1, **how):
    model = scf.MatrixFactorization(
        4, bias=True, global_mean=True, solver="als", solver_options=options(), random_state=0,
        n_jobs=n_jobs,
    )  # fmt: skip
    return model.fit(ratings, **how).parameters_


def test_the_same_bits_again_and_in_threads(many):
    alone = fitted(many)
    assert fitted(many).equals(alone)
    assert fitted(many, n_jobs=3).equals(alone)


def test_the_same_bits_on_machines_far_away(many):
    """Blocks and what is done with them can be sent, and nothing but them is needed."""
    sent = []

    def elsewhere(function, things):
        for thing in things:
            sent.append(pickle.dumps((function, thing)))
            there, it = pickle.loads(sent[-1])
            yield pickle.loads(pickle.dumps(there(it)))

    assert fitted(many, map=elsewhere).equals(fitted(many))
    blocks = sum(-(-n // BLOCK_ROWS) for n in (many.n_users, many.n_items))
    assert len(sent) == 3 * blocks > 3 * 2  # of users and of items, in three sweeps


def test_the_order_of_ids_does_not_matter(crosstab):
    rng = np.random.default_rng(0)
    users, items = rng.permutation(15), rng.permutation(15)
    u, i = np.argsort(users)[crosstab.user_idx], np.argsort(items)[crosstab.item_idx]
    mixed = scf.Ratings(crosstab.user_ids[users], crosstab.item_ids[items], u, i, crosstab.rating)
    theta = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
    start = theta.select(users, items)
    found = als.solve(crosstab, theta, options()).parameters.select(users, items)
    np.testing.assert_allclose(
        als.solve(mixed, start, options()).parameters.pack(), found.pack(), rtol=1e-9, atol=1e-12
    )


def test_only_the_items_start_matters(crosstab):
    theta, other = (scf.Parameters.random(15, 15, 5, random_state=seed) for seed in (0, 1))
    mixed = scf.Parameters(other.user_factors, theta.item_factors)
    ones = (als.solve(crosstab, start, options()).parameters for start in (theta, mixed))
    assert next(ones).equals(next(ones))


# --- the run ----------------------------------------------------------------------------


def test_it_stops_when_the_loss_stands_still(crosstab):
    theta = scf.Parameters.random(15, 15, 5, random_state=0)
    result = als.solve(crosstab, theta, scf.ALSOptions(reg=3, tol=1e-3))
    losses = [row["loss"] for row in result.trace]
    changes = [(a - b) / b for a, b in pairwise(losses)]
    assert changes[-1] <= 1e-3 < min(changes[:-1])
    assert result.message == f"Converged after {len(changes)} sweeps."
    assert als.solve(crosstab, theta, options(n_iterations=1)).message == "Ran 1 sweep."


def test_the_callback_sees_every_sweep_and_can_stop(crosstab):
    seen = []

    def callback(row):
        seen.append(row)
        return row["iteration"] == 2

    theta = scf.Parameters.random(15, 15, 5, random_state=0)
    result = als.solve(crosstab, theta, options(n_iterations=9), callback)
    assert seen == result.trace[1:]
    assert result.message == "Stopped at the user's request after 2 sweeps."
    assert result.parameters.equals(als.solve(crosstab, theta, options(n_iterations=2)).parameters)


def test_ctrl_c_keeps_the_last_full_sweep(crosstab):
    calls = []

    def interrupted(function, things):
        calls.append(function)
        if len(calls) == 6:  # users of the third sweep are done, items are not
            raise KeyboardInterrupt
        return list(map(function, things))

    theta = scf.Parameters.random(15, 15, 5, random_state=0)
    result = als.solve(crosstab, theta, options(n_iterations=9), map=interrupted)
    assert result.message == "Interrupted after 2 sweeps."
    assert result.parameters.equals(als.solve(crosstab, theta, options(n_iterations=2)).parameters)
    assert len(result.trace) == 3


def test_measures_on_other_ratings(crosstab):
    train, valid = scf.split(crosstab, 0.2, random_state=0)
    model = scf.MatrixFactorization(
        bias=True, solver="als", solver_options=options(), init="normal", random_state=0
    )
    history = model.fit(train, valid=valid).history_
    assert history["valid_rmse"].iloc[-1] == pytest.approx(model.rmse(valid))
    assert history["train_rmse"].iloc[-1] == pytest.approx(model.rmse(train))
    assert model.fit(train).history_["valid_rmse"].isna().all()


def test_training_goes_on(crosstab):
    model = scf.MatrixFactorization(
        bias=True, solver="als", solver_options=options(n_iterations=2), random_state=0
    )
    twice = model.fit(crosstab).partial_fit(crosstab).parameters_
    once = model.set_params(solver_options__n_iterations=4).fit(crosstab).parameters_
    np.testing.assert_allclose(twice.pack(), once.pack(), rtol=1e-12)


def test_the_settings_are_kept(crosstab, tmp_path):
    chosen = options(weighted=True, dtype="float32", reg=0.05)
    model = scf.MatrixFactorization(solver="als", solver_options=chosen, random_state=0)
    model.fit(crosstab).save(tmp_path / "model.npz")
    loaded = scf.MatrixFactorization.load(tmp_path / "model.npz")
    assert (loaded.solver, loaded.solver_options) == ("als", chosen)
    assert loaded.parameters_.equals(model.parameters_)


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"n_iterations": 0}, ValueError, "`n_iterations` must be >= 1, got 0"),
        ({"reg": 0}, ValueError, "`reg` must be > 0, got 0"),
        ({"reg": -0.1}, ValueError, "`reg` must be > 0, got -0.1"),
        ({"reg": 1e16}, ValueError, r"`reg` must be <= 1e\+15, got 1e\+16"),
        ({"reg": "5"}, TypeError, "`reg` must be a number, got '5'"),
        ({"weighted": "yes"}, TypeError, "`weighted` must be True or False, got 'yes'"),
        ({"tol": 1.5}, ValueError, "`tol` must be <= 1, got 1.5"),
        ({"dtype": "float16"}, ValueError, "`dtype` must be one of float32, float64, got"),
    ],
)
def test_settings_out_of_range(chosen, error, message):
    with pytest.raises(error, match=message):
        scf.ALSOptions(**chosen)


def test_starts_that_do_not_serve(crosstab):
    with pytest.raises(ValueError, match="do not fit"):
        als.solve(crosstab, scf.Parameters.random(15, 14, 5))
    start = scf.Parameters.random(15, 15, 2, random_state=0)
    endless = start.with_blocks((start.user_factors, np.full((15, 2), np.inf)))
    with pytest.raises(ValueError, match="must be finite"):
        als.solve(crosstab, endless)
    squashed = scf.Parameters(*start.blocks(), rating_range=(0.5, 5.5))
    with pytest.raises(ValueError, match="solver 'als' works without a `rating_range`"):
        als.solve(crosstab, squashed)
    with pytest.raises(ValueError, match="'als' works on a model without `rating_range`"):
        scf.MatrixFactorization(solver="als", rating_range=(0.5, 5.5))


def test_there_are_no_checkpoints(crosstab, tmp_path):
    with pytest.raises(ValueError, match="solver 'als' takes no `checkpoint`"):
        scf.MatrixFactorization(solver="als").fit(crosstab, checkpoint=tmp_path / "run.npz")
