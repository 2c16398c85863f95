"""Apache Spark: ratings go to its own ALS on a cluster, the factors come back as our model.

Spark's ALS (Zhou, Wilkinson, Schreiber and Pan, 2008) finds the embeddings of model (1)
without mean and biases: a prediction is a dot product. So what it finds is a
`MatrixFactorization` like any other, which needs neither Spark nor Java from then on.

Spark counts users and items from 0 here, as `Ratings` does, because its ALS takes whole
numbers of 32 bits and nothing else; the ids stay with the ratings. Both ways go through
Arrow, column by column, and no rating becomes a Python object. PySpark and pyarrow are an
extra: ``pip install "shallow_cf[spark]"``. The recipe: ``docs/beyond_one_machine.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shallow_cf._checks import shown
from shallow_cf.estimator import MatrixFactorization
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings, check_ratings

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import DataFrame, SparkSession


def to_spark_ratings(ratings: Ratings, spark: SparkSession) -> DataFrame:
    """Ratings as a table of Spark's, for its ALS.

    Parameters
    ----------
    ratings : Ratings
    spark : SparkSession
        Of PySpark 4.0 or later.

    Returns
    -------
    pyspark.sql.DataFrame
        A row a rating: ``user`` and ``item`` (32-bit int: indices into ``user_ids`` and
        ``item_ids`` of the ratings) and ``rating`` (32-bit float, as Spark's ALS reckons:
        stars). 12 bytes a rating, all of them in the driver's memory once.

    Raises
    ------
    ImportError
        If PySpark or pyarrow is not installed, or PySpark is older than 4.0.
    TypeError
        If an argument is of another type.

    Examples
    --------
    The ids stay here: user 0 of the table is the first of ``user_ids``.

    >>> import shallow_cf as scf
    >>> from shallow_cf.spark import to_spark_ratings
    >>> ratings = scf.load_crosstab()
    >>> ratings.user_ids[0], ratings.item_ids[:3]
    (np.int64(15), array([  1, 110, 260]))

    With PySpark and Java:

    >>> from pyspark.sql import SparkSession  # doctest: +SKIP
    >>> spark = SparkSession.builder.master("local[2]").getOrCreate()  # doctest: +SKIP
    >>> to_spark_ratings(ratings, spark).show(3)  # doctest: +SKIP
    +----+----+------+
    |user|item|rating|
    +----+----+------+
    |   0|   0|   2.0|
    |   0|   1|   3.0|
    |   0|   2|   5.0|
    +----+----+------+
    only showing top 3 rows
    """
    check_ratings(ratings)
    _check_installed()
    import pyarrow as pa

    if not callable(getattr(spark, "createDataFrame", None)):
        raise TypeError(f"`spark` must be a SparkSession, got {type(spark).__name__}")
    columns = {
        "user": ratings.user_idx,
        "item": ratings.item_idx,
        "rating": ratings.rating.astype(np.float32, copy=False),
    }
    # By way of pandas PySpark 4 warns that it does not know pandas 3 yet.
    return spark.createDataFrame(pa.table(columns))


def from_spark_als(als_model: ALSModel, ratings: Ratings) -> MatrixFactorization:
    """The factors that Spark's ALS found, as a fitted model of ours.

    Parameters
    ----------
    als_model : pyspark.ml.recommendation.ALSModel
        What ``ALS(userCol="user", itemCol="item").fit(...)`` gave for the table of
        `to_spark_ratings`, or for some of its rows. Its ``implicitPrefs`` must have been
        False; a model that was read from a file, or trained over Spark Connect, does not
        tell, and is taken on trust.
    ratings : Ratings
        Those handed over.

    Returns
    -------
    MatrixFactorization
        Its predictions are Spark's to 1e-5 stars: the same 32-bit factors, but multiplied
        in 64 bits. No biases, no mean. Users and items of whom Spark saw no
        rating, and so found no factors, are not among ``user_ids_`` and ``item_ids_`` nor
        in ``ratings_``; they are unknown ids, which `predict` refuses unless it is told
        otherwise (``unknown="nan"`` does as Spark's ``coldStartStrategy="nan"``).
        ``history_`` is empty, and there is no ``result_``.

    Raises
    ------
    ImportError
        If PySpark or pyarrow is not installed, or PySpark is older than 4.0.
    TypeError
        If an argument is of another type.
    ValueError
        If the model was trained with ``implicitPrefs=True`` (it predicts preferences, not
        stars) or on other ratings than these, or a factor is not finite.

    Examples
    --------
    With PySpark and Java:

    >>> import shallow_cf as scf
    >>> from shallow_cf.spark import from_spark_als, to_spark_ratings
    >>> from pyspark.ml.recommendation import ALS  # doctest: +SKIP
    >>> from pyspark.sql import SparkSession  # doctest: +SKIP
    >>> spark = SparkSession.builder.master("local[2]").getOrCreate()  # doctest: +SKIP
    >>> ratings = scf.load_crosstab()
    >>> table = to_spark_ratings(ratings, spark)  # doctest: +SKIP
    >>> als = ALS(rank=5, regParam=0.01, seed=0, userCol="user", itemCol="item")  # doctest: +SKIP
    >>> model = from_spark_als(als.fit(table), ratings)  # doctest: +SKIP
    >>> model.parameters_  # doctest: +SKIP
    Parameters(15 users, 15 items, 5 factors, no biases)
    >>> round(model.rmse(ratings), 1)  # doctest: +SKIP
    0.4
    """
    check_ratings(ratings)
    _check_installed()
    from pyspark.ml.recommendation import ALSModel

    if not isinstance(als_model, ALSModel):
        raise TypeError(
            "`als_model` must be an ALSModel, which ALS.fit of pyspark.ml.recommendation gives, "
            f"got {type(als_model).__name__}"
        )
    if _is_implicit(als_model):
        raise ValueError(
            "`als_model` must be of an ALS with implicitPrefs=False, got True: "
            "its predictions are preferences, not stars"
        )
    users, P = _factors(als_model.userFactors, als_model.rank)
    items, Q = _factors(als_model.itemFactors, als_model.rank)
    parameters = Parameters(P, Q)
    if not parameters.is_finite():
        raise ValueError("`als_model` must have finite factors, got NaN or infinity among them")
    return MatrixFactorization.from_parameters(_among(ratings, users, items), parameters)


def _check_installed() -> None:
    """Say how to install what is missing, where Python would only say what."""
    how = 'pip install "shallow_cf[spark]"'
    try:
        import pyarrow  # noqa: F401
        import pyspark
    except ImportError as error:
        raise ImportError(f"Spark needs {error.name}, which is not installed: {how}") from error
    if int(pyspark.__version__.split(".")[0]) < 4:  # its tables neither take nor give Arrow's
        raise ImportError(f"PySpark must be >= 4.0, got {pyspark.__version__}: {how}")


def _is_implicit(als_model: ALSModel) -> bool:
    """Whether the model was trained on preferences, as far as Spark still knows.

    The setting is the ALS's, not the model's, which only in Java points back to its ALS.
    """
    java = als_model._java_obj
    known = hasattr(java, "hasParent") and java.hasParent()
    return known and bool(java.parent().getImplicitPrefs())


def _factors(table: DataFrame, rank: int) -> tuple[IntArray, FloatArray]:
    """Indices, ascending, and their factors, a row each, from a table of Spark's."""
    columns: Any = table.toArrow()
    index = columns["id"].to_numpy().astype(np.intp)
    rows = columns["features"].combine_chunks().flatten().to_numpy().reshape(len(index), rank)
    order = np.argsort(index)
    return index[order], rows[order].astype(np.float64)


def _among(ratings: Ratings, users: IntArray, items: IntArray) -> Ratings:
    """The ratings of these users for these items, every one of whom must have some."""
    _check_known("user", users, ratings.n_users)
    _check_known("item", items, ratings.n_items)
    kept = np.isin(ratings.user_idx, users) & np.isin(ratings.item_idx, items)
    u, i = ratings.user_idx[kept], ratings.item_idx[kept]
    _check_rated("user", users, u, ratings.user_ids)
    _check_rated("item", items, i, ratings.item_ids)
    return Ratings(
        ratings.user_ids[users],
        ratings.item_ids[items],
        np.searchsorted(users, u),
        np.searchsorted(items, i),
        ratings.rating[kept],
        None if ratings.timestamp is None else ratings.timestamp[kept],
    )


_OTHER = "`als_model` must be trained on `ratings`, as to_spark_ratings gives them, got a model of"


def _check_known(kind: str, idx: IntArray, n: int) -> None:
    outside = idx[(idx < 0) | (idx >= n)]
    if outside.size:
        raise ValueError(f"{_OTHER} {kind} {outside[0]}, where there are {n} from 0 on")


def _check_rated(kind: str, learned: IntArray, rated: IntArray, ids: Any) -> None:
    """Nobody gets factors without a rating, so whoever has none shows that these are others."""
    without = np.setdiff1d(learned, rated)
    if without.size:
        raise ValueError(f"{_OTHER} {kind} id {shown(ids[without[0]])}, without a rating here")
