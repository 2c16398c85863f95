"""Half stars take 32 bits as well as 64: the same models, errors and files, bit for bit.

Sums of half stars are exact in either width for as many as a test can have, so other stars
that 32 bits can hold are drawn as well: whoever adds up those in 32 bits is found.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shallow_cf as scf
from shallow_cf import _model_file, objective
from shallow_cf._model_file import fingerprint

few = settings(deadline=None, max_examples=8)

halves = st.integers(1, 10).map(lambda n: n / 2)
rounded = st.floats(0.5, 5, width=32)


@st.composite
def both_widths(draw, stars=halves):
    """The same ratings in 32 and in 64 bits."""
    n_users, n_items = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    cells = [(u, i) for u in range(n_users) for i in range(n_items)]
    rated = draw(st.lists(st.sampled_from(cells), min_size=4, unique=True))
    values = draw(st.lists(stars, min_size=len(rated), max_size=len(rated)))
    u, i = zip(*rated, strict=True)
    ids = np.arange(n_users), np.arange(n_items)
    return tuple(
        scf.Ratings(*ids, u, i, np.array(values, width)) for width in (np.float32, np.float64)
    )


def models():
    """A model of each solver, with and without a mean and a range."""
    short = scf.SGDOptions(n_epochs=3, batch_size=4, learning_rate=0.05)
    grg = scf.SolverOptions(iterations=5, derivatives="analytic")
    varpro = scf.VarproOptions(iterations=5)
    return {
        "sgd": {"solver": "sgd", "solver_options": short, "bias": True, "global_mean": True},
        "sgd in a range": {
            "solver": "sgd", "solver_options": short, "bias": True, "rating_range": (0, 5.5),
        },
        "grg": {"solver": "grg", "solver_options": grg, "bias": True},
        "varpro": {"solver": "varpro", "solver_options": varpro},
        **{
            f"{solver} in {dtype}": {
                "solver": solver, "bias": True, "global_mean": True,
                "solver_options": options(n_iterations=3, dtype=dtype),
            }
            for solver, options in (("als", scf.ALSOptions), ("vb", scf.VBOptions))
            for dtype in ("float32", "float64")
        },
    }  # fmt: skip


def fitted(name, ratings):
    return scf.MatrixFactorization(2, random_state=0, **models()[name]).fit(ratings)


@pytest.mark.parametrize("stars", [halves, rounded], ids=["half stars", "any stars"])
@pytest.mark.parametrize("name", models())
def test_models_have_the_same_bits(name, stars):
    @few
    @given(both_widths(stars))
    def check(widths):
        narrow, wide = widths
        assert narrow.rating.dtype == np.float32
        one, two = fitted(name, narrow), fitted(name, wide)
        assert one.parameters_.equals(two.parameters_)
        assert one.score(narrow) == two.score(wide) if np.ptp(wide.rating) else True

    check()


def test_grg_on_a_table_with_many_blanks_has_the_same_bits():
    # Large enough for the sparse form of its residuals.
    rng = np.random.default_rng(0)
    u, i = np.divmod(rng.choice(300 * 400, 2000, replace=False), 400)
    values = rng.uniform(0.5, 5, 2000).astype(np.float32)
    widths = (values, values.astype(np.float64))
    narrow, wide = (scf.Ratings(np.arange(300), np.arange(400), u, i, r) for r in widths)
    one, two = fitted("grg", narrow), fitted("grg", wide)
    assert one.parameters_.equals(two.parameters_)


@pytest.mark.parametrize("stars", [halves, rounded], ids=["half stars", "any stars"])
def test_evaluation_has_the_same_numbers(stars):
    @few
    @given(both_widths(stars))
    def check(widths):
        theta = scf.Parameters.random(
            widths[0].n_users, widths[0].n_items, 2, bias=True, random_state=0
        )
        found = []
        for ratings in widths:
            train, test = scf.split(ratings, 0.4, random_state=1)
            model = scf.BiasesOnly().fit(train)
            limit = float(test.rating.max())
            found.append({
                "mean": scf.GlobalMean().fit(train).global_mean_,
                "biases": model.user_bias_.tolist() + model.item_bias_.tolist(),
                "rmse": scf.rmse(model, test),
                "mae": scf.mae(model, test),
                "ranking": scf.ranking_metrics(model, test, train, relevant=limit),
                "loss": objective.rmse(ratings, theta),
                "gradient": objective.rmse_gradient(ratings, theta).pack().tolist(),
                "table": ratings.to_sparse().toarray().tolist(),
            })  # fmt: skip
        assert found[0] == found[1]

    check()


def test_the_mean_of_very_many_is_exact():
    r = np.full(200_000, 3.3, np.float32)
    n = len(r)
    ratings = scf.Ratings([0], np.arange(n), np.zeros(n, int), np.arange(n), r)
    assert ratings.mean_rating == pytest.approx(float(np.float32(3.3)), rel=1e-13)
    assert scf.GlobalMean().fit(ratings).global_mean_ == ratings.mean_rating


def test_a_limit_is_not_rounded_to_the_stars(crosstab):
    narrow = scf.Ratings(
        crosstab.user_ids, crosstab.item_ids, crosstab.user_idx, crosstab.item_idx,
        crosstab.rating.astype(np.float32),
    )  # fmt: skip
    train, test = scf.split(narrow, random_state=0)
    with pytest.raises(ValueError, match="no test rating has"):
        scf.ranking_metrics(scf.GlobalMean().fit(train), test, relevant=np.nextafter(5, 6))
    model = scf.MatrixFactorization(rating_range=(0, np.nextafter(5, 0)), bias=True)
    with pytest.raises(ValueError, match="must be in the `rating_range`"):
        model.fit(narrow)


def test_pairs_of_many_users_and_items_do_not_overflow():
    # 2**17 users times 2**17 items are more pairs than 32 bits can count.
    n = 2**17
    ids = np.arange(n)
    u, i = np.array([0, 2**15]), np.array([5, 5])  # 2**15 * 2**17 is 0 in 32 bits
    train = scf.Ratings(ids, ids, u[:1], i[:1], np.array([4.0], np.float32))
    test = scf.Ratings(ids, ids, u[1:], i[1:], np.array([4.0], np.float32))
    found = scf.ranking_metrics(scf.GlobalMean().fit(train), test, train, k=1)
    assert found["recall@1"] in (0.0, 1.0)


class TestFiles:
    @pytest.fixture
    def widths(self, crosstab):
        arrays = [getattr(crosstab, name) for name in ("user_ids", "item_ids")]
        idx = crosstab.user_idx, crosstab.item_idx
        return [
            scf.Ratings(*arrays, *idx, crosstab.rating.astype(w)) for w in (np.float32, np.float64)
        ]

    def test_there_and_back(self, widths, tmp_path):
        for ratings in widths:
            fitted("sgd", ratings).save(tmp_path / "m.npz")
            again = scf.MatrixFactorization.load(tmp_path / "m.npz").ratings_
            assert again.equals(ratings)
            for name in ("user_idx", "item_idx", "rating"):
                assert getattr(again, name).dtype == getattr(ratings, name).dtype

    def test_a_file_with_indices_of_64_bits(self, widths, tmp_path):
        # As they were written before.
        model = fitted("sgd", widths[1])
        model.save(tmp_path / "m.npz")
        settings, arrays = _model_file.read(tmp_path / "m.npz")
        long = {name: arrays[name].astype(np.int64) for name in ("user_idx", "item_idx")}
        settings.pop("version")
        _model_file.write(tmp_path / "old.npz", settings, arrays | long)
        again = scf.MatrixFactorization.load(tmp_path / "old.npz")
        assert again.ratings_.equals(model.ratings_)
        assert again.ratings_.user_idx.dtype == np.int32
        assert again.parameters_.equals(model.parameters_)

    def test_the_fingerprint_is_that_of_64_bits(self, widths):
        # As checkpoints have it that were written before: of int64 and float64.
        known = "9b8731347eeb490e694c6fd3b9fdd2371a023fb13e2969aae96bef040ccb96d4"
        assert [fingerprint(ratings) for ratings in widths] == [known, known]

    def test_a_run_goes_on_in_the_other_width(self, widths, tmp_path):
        narrow, wide = widths
        whole = fitted("sgd", wide)

        def stop(row):
            return row["epoch"] == 1

        model = scf.MatrixFactorization(2, random_state=0, **models()["sgd"])
        model.fit(wide, callback=stop, checkpoint=tmp_path / "c.npz")
        on = scf.MatrixFactorization.resume(tmp_path / "c.npz", narrow)
        assert on.parameters_.equals(whole.parameters_)
