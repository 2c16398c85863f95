"""Ratings go to Spark's ALS and its factors come back; judged by Spark itself.

What needs a Spark session is slow (Java takes seconds to start), and skipped where PySpark,
pyarrow or Java is missing.
"""

import contextlib
import doctest
import gc
import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import shallow_cf as scf
from shallow_cf import objective
from shallow_cf.solvers import als as als_solver
from shallow_cf.spark import from_spark_als, to_spark_ratings

DOCS = Path(__file__).parents[1] / "docs" / "beyond_one_machine.md"
INSTALL = re.escape('pip install "shallow_cf[spark]"')

pytestmark = [
    # PySpark says so when it is imported.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning"),
    # PySpark 4.0 leaves it to the garbage collector to close what results came through.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


# --- without Spark ----------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["pyspark", "pyarrow"])
@pytest.mark.parametrize("function", [to_spark_ratings, from_spark_als])
def test_what_is_missing_is_named(function, missing, crosstab, monkeypatch):
    for name in ("pyspark", "pyarrow"):
        there = ModuleType(name)
        there.__version__ = "4.0.0"
        # Python raises ModuleNotFoundError for a module that stands as None.
        monkeypatch.setitem(sys.modules, name, None if name == missing else there)
    arguments = (crosstab, None) if function is to_spark_ratings else (None, crosstab)
    with pytest.raises(ImportError, match=f"Spark needs {missing}, which is not .*: {INSTALL}"):
        function(*arguments)


def test_an_old_pyspark_is_refused(crosstab, monkeypatch):
    old = ModuleType("pyspark")
    old.__version__ = "3.5.6"
    monkeypatch.setitem(sys.modules, "pyspark", old)
    monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
    with pytest.raises(ImportError, match=rf"PySpark must be >= 4\.0, got 3\.5\.6: {INSTALL}"):
        to_spark_ratings(crosstab, None)


def test_ratings_have_to_be_ratings(crosstab):
    frame = crosstab.to_frame()
    for function, arguments in ((to_spark_ratings, (frame, None)), (from_spark_als, (None, frame))):
        with pytest.raises(TypeError, match=r"`ratings` must be Ratings .* got DataFrame"):
            function(*arguments)


# --- with a local cluster ---------------------------------------------------------------


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A session on a cluster of two workers on this machine."""
    pytest.importorskip("pyspark", reason="PySpark is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=str(Path(home) / "bin") if home else None) is None:
        pytest.skip("Java, which Spark runs on, is not installed")
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    with contextlib.chdir(tmp_path_factory.mktemp("spark")):  # where Java's relative paths begin
        session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
    gc.collect()  # sockets left open are to be found here, not in the tests of another file


def als(**settings):
    """Spark's ALS, in few blocks for few ratings."""
    from pyspark.ml.recommendation import ALS

    columns = {"userCol": "user", "itemCol": "item", "ratingCol": "rating"}
    blocks = {"numUserBlocks": 2, "numItemBlocks": 2}
    return ALS(
        **columns | blocks | {"rank": 4, "maxIter": 4, "regParam": 0.05, "seed": 0} | settings
    )


@pytest.fixture(scope="module")
def planted() -> scf.Ratings:
    """3000 ratings, text ids for users and dates for items, in no order that sorting gives."""
    rng = np.random.default_rng(0)
    cells = rng.choice(150 * 60, 3000, replace=False)
    u, i = np.divmod(cells, 60)
    P, Q = rng.uniform(0.5, 1.5, (150, 4)), rng.uniform(0.2, 1.2, (60, 4))
    stars = (P[u] * Q[i]).sum(axis=1) + rng.normal(0, 0.2, 3000)
    user_ids = [f"user {k}" for k in rng.permutation(150)]
    days = np.datetime64("2020-01-01") + rng.permutation(60)
    return scf.Ratings(user_ids, days, u, i, stars, rng.integers(0, 10**9, 3000))


@pytest.fixture(scope="module")
def trained(spark, planted, crosstab):
    """Name -> ratings and Spark's model of them."""
    return {
        name: (ratings, als().fit(to_spark_ratings(ratings, spark)))
        for name, ratings in {"planted": planted, "crosstab": crosstab}.items()
    }


def every_pair(spark, n_users, n_items):
    """A table of Spark's with every user and item, counted from 0."""
    users = spark.range(n_users).selectExpr("cast(id as int) user")
    return users.crossJoin(spark.range(n_items).selectExpr("cast(id as int) item"))


def predicted_by_spark(spark, als_model, ratings):
    """What Spark's own `transform` says, (n_users, n_items), NaN where it says that."""
    table = np.full((ratings.n_users, ratings.n_items), np.inf)
    rows = als_model.transform(every_pair(spark, *table.shape)).collect()
    for row in rows:
        table[row["user"], row["item"]] = row["prediction"]
    assert not np.isinf(table).any()  # of every pair
    return table


@pytest.mark.slow
def test_the_table_has_every_rating(spark, planted):
    table = to_spark_ratings(planted, spark)
    assert table.dtypes == [("user", "int"), ("item", "int"), ("rating", "float")]
    expected = {
        (planted.user_ids[u], planted.item_ids[i]): np.float32(stars)
        for u, i, stars in zip(planted.user_idx, planted.item_idx, planted.rating, strict=True)
    }
    found = {
        (planted.user_ids[row["user"]], planted.item_ids[row["item"]]): row["rating"]
        for row in table.collect()
    }
    assert found == expected
    assert table.count() == 3000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "crosstab"])
def test_predictions_are_sparks(name, trained, spark):
    ratings, theirs = trained[name]
    model = from_spark_als(theirs, ratings)
    expected = predicted_by_spark(spark, theirs, ratings)
    found = model.predict(ratings.user_ids[:, None], ratings.item_ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 1  # not one number for all
    assert model.n_factors == 4
    assert not model.bias
    assert model.ratings_.equals(ratings)
    assert model.history_.empty


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "crosstab"])
def test_recommendations_are_sparks(name, trained, spark):
    ratings, theirs = trained[name]
    model = from_spark_als(theirs, ratings)
    asked = [7, 2, 11]
    subset = spark.createDataFrame([(u,) for u in asked], "user int")
    rows = {row["user"]: row for row in theirs.recommendForUserSubset(subset, 5).collect()}
    for u in asked:
        best = rows[u]["recommendations"]
        ours = model.recommend(ratings.user_ids[u], 5, exclude_seen=False)
        assert list(ours["item_id"]) == [ratings.item_ids[row["item"]] for row in best]
        np.testing.assert_allclose(ours["prediction"], [row["rating"] for row in best], atol=1e-5)


@pytest.mark.slow
def test_folding_in_does_what_sparks_last_step_did(trained, spark):
    # Independent of transform: Spark ends with the users' normal equations, in which
    # regParam counts once for each rating.
    ratings, theirs = trained["planted"]
    model = from_spark_als(theirs, ratings)
    for u in (0, 17, 149):
        own = ratings.user_idx == u
        given = dict(zip(ratings.item_ids[ratings.item_idx[own]], ratings.rating[own], strict=True))
        again = model.fold_in_user(given, "again", reg=0.05 * len(given))
        np.testing.assert_allclose(again.user_factors_[-1], model.user_factors_[u], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "crosstab"])
def test_our_als_makes_the_same_sweeps(name, trained, spark):
    # Spark's fifth sweep, from where its fourth ended: items given the users, and users given
    # those. Ours starts with users, so items take their place.
    ratings, four = trained[name]
    five = from_spark_als(als(maxIter=5).fit(to_spark_ratings(ratings, spark)), ratings)
    four = from_spark_als(four, ratings)
    turned = scf.Ratings(
        ratings.item_ids, ratings.user_ids, ratings.item_idx, ratings.user_idx, ratings.rating
    )
    options = scf.ALSOptions(n_iterations=1, reg=0.05, weighted=True)
    start = scf.Parameters(four.item_factors_, four.user_factors_)
    ours = als_solver.solve(turned, start, options).parameters
    np.testing.assert_allclose(ours.user_factors, five.item_factors_, rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours.item_factors, five.user_factors_, rtol=0, atol=1e-4)
    assert np.abs(five.user_factors_ - four.user_factors_).max() > 1e-2  # it did move


@pytest.mark.slow
def test_our_als_reaches_sparks_optimum(crosstab, spark, tmp_path):
    # Half the squared errors and regParam/2 for each number, once for each of its ratings.
    spark.sparkContext.setCheckpointDir(str(tmp_path))
    reg = 0.5  # two factors are left, and soon found
    theirs = als(rank=5, maxIter=20, regParam=reg).fit(to_spark_ratings(crosstab, spark))
    options = scf.ALSOptions(n_iterations=500, reg=reg, weighted=True, tol=1e-12)
    ours = scf.MatrixFactorization(5, solver="als", solver_options=options, random_state=0)
    ours.fit(crosstab)
    model = from_spark_als(theirs, crosstab)
    counts = [np.bincount(idx) for idx in (crosstab.user_idx, crosstab.item_idx)]
    penalty = sum(
        (count[:, None] * block**2).sum()
        for count, block in zip(counts, model.parameters_.blocks(), strict=True)
    )
    loss = objective.half_sse(crosstab, model.parameters_) + reg / 2 * penalty
    assert loss == pytest.approx(ours.history_["loss"].iloc[-1], rel=1e-5)
    users = crosstab.user_ids[:, None], crosstab.item_ids
    np.testing.assert_allclose(model.predict(*users), ours.predict(*users), atol=1e-3)


@pytest.mark.slow
def test_the_model_is_one_of_ours(trained, tmp_path):
    ratings, theirs = trained["planted"]
    model = from_spark_als(theirs, ratings)
    model.save(tmp_path / "model.npz")
    loaded = scf.MatrixFactorization.load(tmp_path / "model.npz")
    assert loaded.parameters_.equals(model.parameters_)
    assert loaded.ratings_.equals(ratings)
    user, day = ratings.user_ids[0], ratings.item_ids[0]
    pd.testing.assert_frame_equal(loaded.recommend(user), model.recommend(user))
    seen = ratings.item_ids[ratings.item_idx[ratings.user_idx == 0]]
    assert not model.recommend(user, 60)["item_id"].isin(seen).any()
    assert model.explain(user, day).prediction == pytest.approx(float(model.predict(user, day)))
    options = scf.SGDOptions(n_epochs=2, learning_rate=1e-3)
    further = loaded.set_params(solver_options=options, random_state=0).partial_fit(ratings)
    assert further.history_["train_rmse"].iloc[0] == pytest.approx(model.rmse(ratings))


@pytest.mark.slow
def test_users_and_items_that_spark_did_not_see_are_unknown(planted, spark):
    table = to_spark_ratings(planted, spark)
    theirs = als().fit(table.where("user not in (0, 40, 149) and item not in (5, 59)"))
    model = from_spark_als(theirs, planted)
    users, items = np.delete(planted.user_ids, [0, 40, 149]), np.delete(planted.item_ids, [5, 59])
    assert model.user_ids_.tolist() == users.tolist()
    assert model.item_ids_.tolist() == items.tolist()
    frame = planted.to_frame()
    frame["timestamp"] = planted.timestamp
    left = frame[frame["user_id"].isin(users) & frame["item_id"].isin(items)]
    pd.testing.assert_frame_equal(model.ratings_.to_frame(), left.reset_index(drop=True))

    with pytest.raises(ValueError, match=f"user id '{planted.user_ids[40]}' is not among the 147"):
        model.predict(planted.user_ids[40], planted.item_ids[0])
    expected = predicted_by_spark(spark, theirs, planted)
    assert np.isnan(expected).sum() == 3 * 60 + 2 * 147
    model.set_params(unknown="nan")
    found = model.predict(planted.user_ids[:, None], planted.item_ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.slow
def test_a_model_from_sparks_file(trained, tmp_path):
    from pyspark.ml.recommendation import ALSModel

    ratings, theirs = trained["crosstab"]
    theirs.save(str(tmp_path / "als"))
    loaded = ALSModel.load(str(tmp_path / "als"))
    ours = from_spark_als(loaded, ratings)
    assert ours.parameters_.equals(from_spark_als(theirs, ratings).parameters_)


@pytest.mark.slow
def test_preferences_are_refused(crosstab, spark):
    theirs = als(implicitPrefs=True).fit(to_spark_ratings(crosstab, spark))
    with pytest.raises(ValueError, match=r"`als_model` .* implicitPrefs=False, got True"):
        from_spark_als(theirs, crosstab)


@pytest.mark.slow
def test_other_ratings_are_refused(trained):
    ratings, theirs = trained["crosstab"]
    few = scf.Ratings.from_frame(ratings.to_frame().query("user_id != 15"))
    with pytest.raises(ValueError, match=r"trained on `ratings`.* user 14, where there are 14"):
        from_spark_als(theirs, few)
    few = scf.Ratings.from_frame(ratings.to_frame().query("item_id != 1"))
    with pytest.raises(ValueError, match=r"trained on `ratings`.* item 14, where there are 14"):
        from_spark_als(theirs, few)
    # As many users and items, but some of them without a rating.
    with pytest.raises(ValueError, match=r"trained on `ratings`.* user id 15, without a rating"):
        from_spark_als(theirs, ratings.subset(ratings.user_idx != 0))
    with pytest.raises(ValueError, match=r"trained on `ratings`.* item id 1, without a rating"):
        from_spark_als(theirs, ratings.subset(ratings.item_idx != 0))


@pytest.mark.slow
def test_other_things_are_refused(crosstab, spark):
    with pytest.raises(TypeError, match="`spark` must be a SparkSession, got SparkContext"):
        to_spark_ratings(crosstab, spark.sparkContext)
    with pytest.raises(TypeError, match=r"`als_model` must be an ALSModel, .* got ALS"):
        from_spark_als(als(), crosstab)


@pytest.mark.slow
def test_factors_that_are_not_finite_are_refused(crosstab, spark):
    # Spark refuses ratings that are not finite, but not those that overflow 32 bits later.
    huge = "float(rating * 6.7e37 * (user % 2 * 2 - 1)) rating"
    table = to_spark_ratings(crosstab, spark).selectExpr("user", "item", huge)
    theirs = als(regParam=1e-9).fit(table)
    with pytest.raises(ValueError, match="`als_model` must have finite factors"):
        from_spark_als(theirs, crosstab)


@pytest.mark.slow
@pytest.mark.parametrize("function", [to_spark_ratings, from_spark_als])
def test_the_examples_skipped_elsewhere(function, spark):
    (test,) = doctest.DocTestFinder().find(function, function.__name__)
    assert any(example.options.pop(doctest.SKIP, False) for example in test.examples)
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.slow
def test_the_recipe_of_the_docs(spark, capsys):
    section = re.search(r"\n## Spark\n(.*?)(\n## |\Z)", DOCS.read_text("utf-8"), re.DOTALL)[1]
    (recipe,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(recipe, {})
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["item_id", "prediction"]
    assert len(shown) == 4
    loaded = scf.MatrixFactorization.load("from_spark.npz")
    assert loaded.rmse(scf.load_crosstab()) < 0.45
