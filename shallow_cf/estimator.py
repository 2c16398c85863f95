"""MatrixFactorization: the model as an object with fit, predict, save and load."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf import _model_file, objective
from shallow_cf._checks import (
    check_bool,
    check_choice,
    check_int,
    check_number,
    check_random_state,
    check_range,
)
from shallow_cf._files import check_place
from shallow_cf._ids import as_ids, check_kind, find_ids, index_of
from shallow_cf._inputs import aligned, as_ratings, check_in_range, id_columns, joined, overlaid
from shallow_cf._jobs import Map, check_jobs, checked, mapping
from shallow_cf._using import Using
from shallow_cf.parameters import INITS, FloatArray, IntArray, Parameters
from shallow_cf.posterior import Posterior
from shallow_cf.ratings import Ratings, check_ratings
from shallow_cf.solvers import SOLVERS, solvers_that_accept
from shallow_cf.solvers.descent import Progress, is_whole
from shallow_cf.solvers.lr_find import LearningRates, lr_find
from shallow_cf.solvers.options import SolverOptions, as_json, from_json, select_constraints
from shallow_cf.solvers.result import WITHOUT_SOLUTION, Callback, SolverResult

UNKNOWN = ("error", "mean", "nan")
_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_SETTINGS = (
    "n_factors", "bias", "global_mean", "rating_range", "solver", "solver_options", "init",
    "init_scale", "unknown", "random_state", "n_jobs",
)  # fmt: skip


class MatrixFactorization(Using):
    """Collaborative filtering by embeddings: prediction = dot product (+ biases).

    The defaults are the spreadsheet's. `fit` takes `Ratings`, or what `Ratings` can be made
    of: pairs of ids with their stars, as scikit-learn's tools pass them.

    Parameters
    ----------
    n_factors : int
        Numbers in each embedding.
    bias : bool
        Whether each user and each item has a bias.
    global_mean : bool
        Whether predictions start from the mean of the ratings. Only with the solvers "sgd",
        "als" and "vb".
    rating_range : (float, float), optional
        Lowest and highest prediction, stars; a sigmoid keeps predictions in between. Only
        with solver "sgd".
    solver : {"sgd", "grg", "varpro", "als", "vb"}
        Mini-batch gradient descent, Excel's Solver mirrored, variable projection, alternating
        least squares, or variational Bayes: the most accurate, which also says how sure it is.
    solver_options : SGDOptions, SolverOptions, VarproOptions, ALSOptions or VBOptions, optional
        Settings of that solver; its defaults if None.
    init : {"uniform", "symmetric", "normal"}
        How parameters start: uniform(0, init_scale), uniform(-init_scale, init_scale), or
        normal with standard deviation init_scale. Solver "vb" finds a start of its own.
    init_scale : float
        Size of the start.
    unknown : {"error", "mean", "nan"}
        What `predict` does with ids that were not in the ratings: refuse them, predict for
        the average user or item (the mean of all embeddings and biases), or give NaN.
    random_state : int or Generator, optional
        Of the start and of the order of ratings. Same seed, same bits.
    n_jobs : int
        Threads that the solvers "als" and "vb" work in, and "sgd" on large batches; -1 for
        one a core. The result is the same with any number.

    Attributes
    ----------
    parameters_ : Parameters
        What `fit` found.
    user_ids_, item_ids_ : arrays of int, str or datetime64
        The ids it was fitted on.
    user_factors_ : (n_users, n_factors) array
    item_factors_ : (n_items, n_factors) array
    user_bias_, item_bias_ : (n_users,) and (n_items,) arrays, stars, or None
    ratings_ : Ratings or None
        What it was fitted on, None on a model that was saved without it.
    posterior_ : Posterior or None
        How sure the model is of its parameters; None unless the solver is "vb".
    history_ : DataFrame
        A row an epoch, iteration or (multistart) search, the start first. With solver
        "sgd" the columns are ``epoch``, ``train_rmse`` and ``valid_rmse`` (stars; NaN
        without validation ratings), ``learning_rate`` and ``seconds``.
    result_ : SolverResult
        How the run ended; not there on a loaded model.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> model = scf.MatrixFactorization(solver="grg", random_state=1).fit(ratings)
    >>> round(model.rmse(ratings), 2)
    0.39

    As the lessons' notebooks have it, with a bias for each user and movie, the range of the
    ratings and weight decay:

    >>> options = scf.SGDOptions(
    ...     n_epochs=5, learning_rate=5e-3, batch_size=64, loss="mse",
    ...     optimizer=scf.AdamW(weight_decay=0.1), schedule=scf.OneCycle())
    >>> model = scf.MatrixFactorization(
    ...     50, bias=True, rating_range=(0, 5.5), solver_options=options,
    ...     init="normal", init_scale=0.01, random_state=0).fit(ratings)
    >>> model.history_.columns.tolist()
    ['epoch', 'train_rmse', 'valid_rmse', 'learning_rate', 'seconds']
    """

    parameters_: Parameters
    user_ids_: npt.NDArray[Any]
    item_ids_: npt.NDArray[Any]
    ratings_: Ratings | None
    posterior_: Posterior | None
    history_: pd.DataFrame
    result_: SolverResult

    def __init__(
        self,
        n_factors: int = 5,
        *,
        bias: bool = False,
        global_mean: bool = False,
        rating_range: tuple[float, float] | None = None,
        solver: str = "sgd",
        solver_options: Any = None,
        init: str = "uniform",
        init_scale: float = 1.0,
        unknown: str = "error",
        random_state: int | np.random.Generator | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.n_factors = check_int("n_factors", n_factors, 1)
        self.bias = check_bool("bias", bias)
        self.global_mean = check_bool("global_mean", global_mean)
        check_range("rating_range", rating_range)
        self.rating_range = rating_range
        self.solver = check_choice("solver", solver, tuple(SOLVERS))
        for name, wanted in (("global_mean", global_mean), ("rating_range", rating_range)):
            if wanted and name not in SOLVERS[solver].accepts:
                raise ValueError(
                    f"solver {solver!r} works on a model without `{name}`: "
                    f"use solver {solvers_that_accept(name)} for that"
                )
        expected = SOLVERS[solver].options
        self.solver_options = expected() if solver_options is None else solver_options
        if not isinstance(self.solver_options, expected):
            raise TypeError(
                f"`solver_options` for solver {solver!r} must be {expected.__name__}, "
                f"got {type(solver_options).__name__}"
            )
        self.init = check_choice("init", init, INITS)
        self.init_scale = check_number("init_scale", init_scale, 0.0, above=True)
        self.unknown = check_choice("unknown", unknown, UNKNOWN)
        check_random_state(random_state)
        self.random_state = random_state
        check_jobs(n_jobs)
        self.n_jobs = n_jobs

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS)
        return f"MatrixFactorization({shown})"

    # --- settings, as scikit-learn's tools handle them ----------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name; `deep` adds the solver's, as ``solver_options__reg``.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(2, solver_options=scf.SGDOptions(reg=0.1))
        >>> model.get_params()["n_factors"], model.get_params()["solver_options__reg"]
        (2, 0.1)
        """
        settings = {name: getattr(self, name) for name in _SETTINGS}
        if deep:
            options = self.solver_options
            settings |= {
                f"solver_options__{field.name}": getattr(options, field.name)
                for field in fields(options)
            }
        return settings

    def set_params(self, **settings: Any) -> MatrixFactorization:
        """Change settings, the solver's by names such as ``solver_options__reg``.

        With another `solver` and no `solver_options` those are its defaults.

        Returns
        -------
        MatrixFactorization
            This object.

        Raises
        ------
        TypeError, ValueError
            If there is no such setting or it is out of its range; nothing is changed then.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(5).set_params(n_factors=2, solver_options__reg=0.1)
        >>> model.n_factors, model.solver_options.reg
        (2, 0.1)
        """
        own = self.get_params(deep=False)
        nested = {name: settings.pop(name) for name in list(settings) if "__" in name}
        for name in settings:
            if name not in own:
                raise ValueError(f"there is no setting {name!r}; known: {', '.join(own)}")
        if settings.get("solver", self.solver) != self.solver:
            settings.setdefault("solver_options", None)
        changed = type(self)(**own | settings)
        if nested:
            changed.solver_options = _with_options(changed.solver_options, nested)
        for name in own:
            setattr(self, name, getattr(changed, name))
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of estimators; it is imported only when it asks."""
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(string=True, categorical=True),
        )

    # --- training -----------------------------------------------------------------------

    def fit(
        self,
        ratings: Any,
        y: Any = None,
        *,
        valid: Ratings | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        map: Map | None = None,
    ) -> MatrixFactorization:
        """Find embeddings for the ratings.

        Parameters
        ----------
        ratings : Ratings, or pairs of ids
            Pairs as (n, 2) array or table with two columns: user id, item id. A table with
            columns ``user_id``, ``item_id``, ``rating``, or a scipy sparse matrix (row =
            user, column = item), does without `y`.
        y : (n,) array of float, optional
            Stars of the pairs.
        valid : Ratings, optional
            Ratings of these users and items to measure on after each epoch or sweep, and
            for SGD's ``patience``. Only with the solvers "sgd", "als" and "vb".
        callback : callable, optional
            Called with each row of the trace (a dict) as it comes; returning True
            stops, keeping what was reached.
        checkpoint : path, optional
            File to keep the run in, see `resume`; `load` reads it too. Only with solver "sgd".
        checkpoint_every : int
            After how many epochs it is written.
        map : callable, optional
            What calls a function on each block of rows, in the place of threads: with the
            signature of Python's `map` and results in the same order, and wherever it likes,
            such as on other machines (see ``docs/beyond_one_machine.md``). Only with the
            solvers "als" and "vb".

        Returns
        -------
        MatrixFactorization
            This object.

        Raises
        ------
        DivergenceError
            If SGD's learning rate is too large.
        ValueError
            If a rating is outside the `rating_range`, the solver's options do not fit the
            ratings' sizes, `valid` has an id that `ratings` does not have, or `map` gives
            fewer results than there are blocks.
        TypeError
            If `map` cannot be called, or does not return the function's results.

        Warns
        -----
        RuntimeWarning
            If Solver ended without a solution; ``result_`` says why.

        Examples
        --------
        With some ratings kept back, to see what the model is worth on those it did not learn:

        >>> import shallow_cf as scf
        >>> train, valid = scf.split(scf.load_crosstab(), random_state=0)
        >>> options = scf.SGDOptions(n_epochs=3)
        >>> model = scf.MatrixFactorization(2, bias=True, solver_options=options, random_state=0)
        >>> model.fit(train, valid=valid).history_[["epoch", "train_rmse", "valid_rmse"]].round(2)
           epoch  train_rmse  valid_rmse
        0      0        2.60        2.50
        1      1        0.86        0.91
        2      2        0.82        0.87
        3      3        0.81        0.88
        """
        ratings, valid = as_ratings(ratings, y), _checked(valid)
        rng = np.random.default_rng(self.random_state)
        start = self._start(ratings, rng)
        keep = None
        if checkpoint is not None:
            keep = self._keeper(checkpoint, checkpoint_every, start, ratings, valid)
        result = self._solve(ratings, start, rng, valid, callback, keep, map=map)
        return self._take(ratings, result)

    def partial_fit(
        self,
        ratings: Any,
        y: Any = None,
        *,
        valid: Ratings | None = None,
        callback: Callback | None = None,
    ) -> MatrixFactorization:
        """Go on training from the embeddings there are: "as time passes you retrain".

        New users and items are taken in, with random embeddings to start from; users and
        items without a rating in `ratings` stay as they are. Pass all ratings to retrain
        from a warm start, or only those that have come since. For the latter take "sgd": the
        other solvers go all the way to what is best for the ratings they are given, and so
        lose what earlier ones said of their users and items. Before the first `fit` this is
        `fit`.

        Parameters
        ----------
        ratings, y, valid, callback
            As in `fit`.

        Returns
        -------
        MatrixFactorization
            This object. ``ratings_`` has the earlier ratings too; where a pair was rated
            again, the new stars.

        Raises
        ------
        ValueError
            As `fit`; or if ids are of another type than the known ones, or a setting of the
            parameters' form (`n_factors`, `bias`, `global_mean`, `rating_range`) was changed;
            or if the solver is "vb", which does not go on from what there is.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> newer = scf.Ratings.from_arrays([[294, 260], [999, 260], [999, 527]], [3, 5, 4])
        >>> model = model.partial_fit(newer)  # user 999 is new
        >>> model.ratings_
        Ratings(16 users x 15 items, 208 ratings)
        >>> model.user_ids_[-1]
        np.int64(999)
        """
        if not hasattr(self, "parameters_"):
            return self.fit(ratings, y, valid=valid, callback=callback)
        self._check_form()
        if "start" not in SOLVERS[self.solver].accepts:
            raise ValueError(
                f"solver {self.solver!r} finds its own start: `fit` it on all ratings anew, or "
                "`fold_in_user` and `fold_in_item` what has come since"
            )
        ratings, valid = as_ratings(ratings, y), _checked(valid)
        rng = np.random.default_rng(self.random_state)
        user_ids = joined(self.user_ids_, ratings.user_ids, "user")
        item_ids = joined(self.item_ids_, ratings.item_ids, "item")
        both = self._extended(len(user_ids), len(item_ids), rng)
        places = (
            index_of(user_ids, ratings.user_ids, "user"),
            index_of(item_ids, ratings.item_ids, "item"),
        )
        result = self._solve(
            ratings, both.select(*places), rng, valid, callback, None,
            options=self._options_for(both, places),
        )  # fmt: skip
        blocks = [block.copy() for block in both.blocks()]
        for block, idx, new in zip(blocks, places * 2, result.parameters.blocks(), strict=False):
            block[idx] = new
        kept = self.ratings_
        if kept is not None:
            kept = overlaid(kept, ratings, user_ids, item_ids)
        # All that may take its time, and be interrupted, is done: now the model changes.
        self._take(ratings, result)
        self.parameters_, self.ratings_ = both.with_blocks(blocks), kept
        self.user_ids_, self.item_ids_ = user_ids, item_ids
        return self

    @classmethod
    def resume(
        cls,
        checkpoint: str | os.PathLike[str],
        ratings: Any,
        y: Any = None,
        *,
        valid: Ratings | None = None,
        callback: Callback | None = None,
        checkpoint_every: int = 1,
    ) -> MatrixFactorization:
        """Go on with a run of `fit` that was cut short, to the bits it would have reached.

        Parameters
        ----------
        checkpoint : path
            The file that `fit` kept; it is written on.
        ratings, y, valid, callback, checkpoint_every
            As in `fit`; the ratings have to be the same.

        Returns
        -------
        MatrixFactorization
            The trained model.

        Raises
        ------
        ValueError
            If the file is no checkpoint, or was made with other ratings.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver_options=scf.SGDOptions(9), random_state=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "run.npz"
        ...     model = model.fit(ratings, checkpoint=file, callback=lambda row: row["epoch"] == 4)
        ...     resumed = scf.MatrixFactorization.resume(file, ratings)
        >>> model.result_.iterations, resumed.result_.iterations
        (4, 9)
        >>> resumed.parameters_.equals(model.fit(ratings).parameters_)
        True
        """
        ratings, valid = as_ratings(ratings, y), _checked(valid)
        model, settings, arrays = cls._read(checkpoint)
        name = Path(checkpoint).name
        if "training" not in settings:
            raise ValueError(f"{name} is a finished model, not a checkpoint: see `partial_fit`")
        training = settings["training"]
        trace = [{str(k): v for k, v in row.items()} for row in model.history_.to_dict("records")]
        try:
            made_with = {kind: training[kind] for kind in ("ratings", "validation ratings")}
            progress = _model_file.unpack_progress(training, arrays, trace)
            rng = _generator(progress.rng_state)
            if not is_whole(progress, model.solver_options.rule, model.parameters_.n_params):
                raise ValueError("the parts of the run do not fit together")
        except Exception as error:  # whatever a foreign or damaged file makes NumPy raise
            raise ValueError(f"{name} is not a model saved by shallow_cf") from error
        for kind, given in (("ratings", ratings), ("validation ratings", valid)):
            if made_with[kind] != _model_file.fingerprint(given):
                raise ValueError(f"{name} was made with other {kind} than these")
        start = model.parameters_
        keep = model._keeper(checkpoint, checkpoint_every, start, ratings, valid)
        result = model._solve(ratings, start, rng, valid, callback, keep, progress)
        return model._take(ratings, result)

    def lr_find(
        self, ratings: Any, y: Any = None, *, lowest: float = 1e-7, highest: float = 10.0
    ) -> LearningRates:
        """Try learning rates from `lowest` to `highest` and suggest one; nothing is trained.

        Parameters
        ----------
        ratings, y
            As in `fit`.
        lowest, highest : float
            First and last rate.

        Returns
        -------
        LearningRates
            Its ``table`` can be drawn with `plots.plot_learning_rates`, its ``suggestion``
            set with ``model.set_params(solver_options__learning_rate=...)``.

        Raises
        ------
        ValueError
            If the solver is not "sgd" or a rate is out of its range.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> model = scf.MatrixFactorization(random_state=0)
        >>> 0 < model.lr_find(scf.load_crosstab()).suggestion < 0.5
        True
        """
        if self.solver != "sgd":
            raise ValueError(f"solver {self.solver!r} has no learning rate: `lr_find` is for 'sgd'")
        ratings = as_ratings(ratings, y)
        rng = np.random.default_rng(self.random_state)
        check_in_range(ratings, check_range("rating_range", self.rating_range))
        return lr_find(
            ratings, self._start(ratings, rng), self.solver_options,
            lowest=lowest, highest=highest, random_state=rng,
        )  # fmt: skip

    def _drawn(self, n_users: int, n_items: int, rng: np.random.Generator) -> list[FloatArray]:
        """Random numbers as the settings say, block by block."""
        return Parameters.random(
            n_users, n_items, self.n_factors, bias=self.bias,
            init=self.init, scale=self.init_scale, random_state=rng,
        ).blocks()  # fmt: skip

    def _start(self, ratings: Ratings, rng: np.random.Generator) -> Parameters:
        drawn = self._drawn(ratings.n_users, ratings.n_items, rng)
        mean = ratings.mean_rating if self.global_mean else None
        return Parameters(*drawn, global_mean=mean, rating_range=self.rating_range)

    def _extended(self, n_users: int, n_items: int, rng: np.random.Generator) -> Parameters:
        """The parameters with drawn ones for users and items that came later."""
        known = self.parameters_
        pairs = zip(known.blocks(), self._drawn(n_users, n_items, rng), strict=True)
        return known.with_blocks(np.concatenate([old, new[len(old) :]]) for old, new in pairs)

    def _solve(
        self,
        ratings: Ratings,
        start: Parameters,
        rng: np.random.Generator,
        valid: Ratings | None,
        callback: Callback | None,
        keep: Any,
        progress: Progress | None = None,
        options: Any = None,
        map: Map | None = None,
    ) -> SolverResult:
        check_in_range(ratings, start.rating_range)
        if not (callback is None or callable(callback)):
            raise TypeError(f"`callback` must be a function, got {callback!r}")
        solver = SOLVERS[self.solver]
        more = {"valid": valid, "checkpoint": keep, "map": map}
        for name, given in more.items():
            if given is not None and name not in solver.accepts:
                raise ValueError(
                    f"solver {self.solver!r} takes no `{name}`: {solvers_that_accept(name)} does"
                )
        wanted: dict[str, Any] = {}
        if valid is not None:
            wanted["valid"] = aligned(valid, ratings)
        if "checkpoint" in solver.accepts:
            wanted |= {"keep": keep, "progress": progress}
        with mapping(self.n_jobs) as threads:
            if "threads" in solver.accepts:
                wanted["run"] = threads
            if "map" in solver.accepts:
                wanted["map"] = threads if map is None else checked(map)
            result = solver.solve(
                ratings, start, options or self.solver_options, callback, rng, **wanted
            )
        if result.code in WITHOUT_SOLUTION:
            warnings.warn(result.message, RuntimeWarning, stacklevel=3)
        return result

    def _take(self, ratings: Ratings, result: SolverResult) -> MatrixFactorization:
        """Make a run's outcome this model's."""
        self.user_ids_, self.item_ids_, self.ratings_ = ratings.user_ids, ratings.item_ids, ratings
        self.parameters_, self.result_ = result.parameters, result
        self.posterior_ = result.posterior
        self.history_ = pd.DataFrame(result.trace)
        return self

    def _keeper(
        self,
        path: str | os.PathLike[str],
        every: int,
        form: Parameters,
        ratings: Ratings,
        valid: Ratings | None,
    ) -> Any:
        """What writes a checkpoint, parameters of this form, every few epochs and at the end."""
        check_int("checkpoint_every", every, 1)
        check_place(path)
        prints = {
            "ratings": _model_file.fingerprint(ratings),
            "validation ratings": _model_file.fingerprint(valid),
        }
        model = copy.copy(self)
        model.user_ids_, model.item_ids_, model.ratings_ = ratings.user_ids, ratings.item_ids, None
        model.posterior_ = None

        def keep(progress: Progress) -> None:
            if progress.epoch % every and progress.epoch != self.solver_options.n_epochs:
                return
            model.parameters_ = form.unpack(progress.theta)
            model.history_ = pd.DataFrame(progress.trace)
            state, arrays = _model_file.pack_progress(progress)
            model._write(path, {"training": prints | state}, arrays)

        return keep

    # --- predictions --------------------------------------------------------------------
    @property
    def user_factors_(self) -> FloatArray:
        """P, (n_users, n_factors)."""
        return self._fitted().user_factors

    @property
    def item_factors_(self) -> FloatArray:
        """Q, (n_items, n_factors)."""
        return self._fitted().item_factors

    @property
    def user_bias_(self) -> FloatArray | None:
        """b_u, (n_users,), stars, or None without biases."""
        return self._fitted().user_bias

    @property
    def item_bias_(self) -> FloatArray | None:
        """b_i, (n_items,), stars, or None without biases."""
        return self._fitted().item_bias

    @overload
    def predict(self, user_ids: Any, item_ids: npt.ArrayLike | None = None) -> FloatArray: ...

    @overload
    def predict(
        self, user_ids: Any, item_ids: npt.ArrayLike | None = None, *, return_std: Literal[True]
    ) -> tuple[FloatArray, FloatArray]: ...

    def predict(
        self, user_ids: Any, item_ids: npt.ArrayLike | None = None, *, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Predicted stars for pairs of ids.

        Parameters
        ----------
        user_ids, item_ids : ids that broadcast against each other
            Without `item_ids`, `user_ids` is an (n, 2) array or a table of two columns: user
            id and item id.
        return_std : bool
            Whether to give standard deviations too: how far ratings may be expected from the
            predictions, which is far for ids that are not known. Only with solver "vb".

        Returns
        -------
        array of float
            Stars, in the broadcast shape; with `return_std` a pair of such arrays.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on and `unknown` is "error";
            if all ids are of another type than those; if standard deviations are wanted of a
            model without a posterior.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Babe"]], [5, 3])
        >>> theta = scf.Parameters([[2.0]], [[2.5], [1.5]])
        >>> model = scf.MatrixFactorization.from_parameters(ratings, theta)
        >>> model.predict("ann", ["Alien", "Babe"])
        array([5., 3.])
        >>> model.set_params(unknown="mean").predict("ann", ["Alien", "Casablanca"])
        array([5., 4.])
        >>> model.set_params(unknown="nan").predict("ann", ["Alien", "Casablanca"])
        array([ 5., nan])
        """
        parameters = self._fitted()
        if item_ids is None:
            user_ids, item_ids = id_columns(user_ids)
        shapes = np.shape(user_ids), np.shape(item_ids)
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            raise ValueError(
                "`user_ids` and `item_ids` must be of one length (or broadcast), "
                f"got shapes {shapes[0]} and {shapes[1]}"
            ) from None
        if self.unknown == "error":
            u = index_of(self.user_ids_, user_ids, "user")
            i = index_of(self.item_ids_, item_ids, "item")
            prediction = parameters.predict(u, i)
            if not return_std:
                return prediction
            return prediction, self._posterior().std(parameters, u, i)
        check_kind(self.user_ids_, user_ids, "user")
        check_kind(self.item_ids_, item_ids, "item")
        u = find_ids(self.user_ids_, user_ids)
        i = find_ids(self.item_ids_, item_ids)
        is_unknown = (u < 0) | (i < 0)
        posterior = self._posterior() if return_std else None
        if is_unknown.any():
            posterior = posterior and posterior.with_average(parameters)
            # The average user and item come last, which is where an index of -1 points.
            parameters = parameters.with_blocks(
                np.concatenate([block, block.mean(axis=0, keepdims=True)])
                for block in parameters.blocks()
            )
        found = [parameters.predict(u, i)]
        if posterior is not None:
            found.append(posterior.std(parameters, u, i))
        if self.unknown == "nan":
            found = [np.where(is_unknown, np.nan, each)[()] for each in found]
        return (found[0], found[1]) if return_std else found[0]

    def _posterior(self) -> Posterior:
        if self.posterior_ is None:
            raise ValueError(
                "`return_std` must be left out for a model without `posterior_`: "
                "`fit` it with solver 'vb'"
            )
        return self.posterior_

    def score(self, ratings: Any, y: Any = None) -> float:
        """Share of the ratings' variance that predictions explain (R squared).

        Parameters
        ----------
        ratings, y
            As in `fit`.

        Raises
        ------
        ValueError
            If there is no variance: all ratings are equal, or there is but one.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Babe"]], [5, 3])
        >>> theta = scf.Parameters([[2.0]], [[2.5], [2.0]])  # predicts 5 and 4 stars
        >>> scf.MatrixFactorization.from_parameters(ratings, theta).score(ratings)
        0.5
        """
        ratings = as_ratings(ratings, y)
        e = self._errors(ratings)
        deviation = ratings.rating - np.float64(ratings.mean_rating)
        if np.ptp(ratings.rating) == 0:
            raise ValueError(
                "`score` must have ratings that differ to explain their variance, "
                f"got {len(ratings)} of {ratings.rating[0]:g}: see `rmse`"
            )
        return 1 - float(e @ e) / float(deviation @ deviation)

    def _errors(self, ratings: Ratings) -> FloatArray:
        ids = ratings.user_ids[ratings.user_idx], ratings.item_ids[ratings.item_idx]
        e: FloatArray = self.predict(*ids) - ratings.rating
        return e

    def rmse(self, ratings: Ratings) -> float:
        """Root mean squared error over the given ratings, stars.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["ann", "Babe"]], [5, 3])
        >>> theta = scf.Parameters([[2.0]], [[2.0], [2.0]])  # predicts 4 stars twice
        >>> scf.MatrixFactorization.from_parameters(ratings, theta).rmse(ratings)
        1.0
        """
        check_ratings(ratings)
        e = self._errors(ratings)
        return float(np.sqrt(e @ e / ratings.n_ratings))

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """The parameters of these ratings' users and items, in the order of their ids.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["bob", "Babe"]], [5, 3])
        >>> theta = scf.Parameters([[2.0], [1.0]], [[2.5], [3.0]])
        >>> model = scf.MatrixFactorization.from_parameters(ratings, theta)
        >>> part = model.parameters_for(scf.Ratings.from_arrays([["bob", "Alien"]], [2]))
        >>> part.user_factors, part.item_factors
        (array([[1.]]), array([[2.5]]))
        """
        return self._fitted().select(*self._places(ratings))

    def solver_options_for(self, ratings: Ratings) -> Any:
        """The solver's settings, with constraints for these ratings' users and items.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on, or a constraint cannot
            be told for some of the users and items only.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["bob", "Alien"]], [5, 3])
        >>> limit = scf.Constraint("user_bias", "<=", [1.0, 0.5])
        >>> options = scf.SolverOptions(constraints=[limit], iterations=1)
        >>> model = scf.MatrixFactorization(
        ...     1, bias=True, solver="grg", solver_options=options, random_state=0
        ... ).fit(ratings)
        >>> bobs = scf.Ratings.from_arrays([["bob", "Alien"]], [3])
        >>> model.solver_options_for(bobs).constraints[0].value
        array([0.5])
        """
        return self._options_for(self._fitted(), self._places(ratings))

    def _options_for(self, like: Parameters, places: tuple[IntArray, IntArray]) -> Any:
        """The solver's settings for the users and items at some places of `like`."""
        options = self.solver_options
        if not isinstance(options, SolverOptions):
            return options
        return replace(options, constraints=select_constraints(options.constraints, like, *places))

    def _places(self, ratings: Ratings) -> tuple[IntArray, IntArray]:
        """Where the ratings' users and items stand in the parameters."""
        return (
            index_of(self.user_ids_, ratings.user_ids, "user"),
            index_of(self.item_ids_, ratings.item_ids, "item"),
        )

    @classmethod
    def from_parameters(cls, ratings: Ratings, parameters: Parameters) -> MatrixFactorization:
        """A model that predicts with given parameters, for instance a workbook's.

        Parameters
        ----------
        ratings : Ratings
            Whose ids the rows of the parameters belong to.
        parameters : Parameters

        Raises
        ------
        ValueError
            If they do not fit together.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.Ratings.from_arrays([["ann", "Alien"], ["bob", "Babe"]], [5, 3])
        >>> theta = scf.Parameters([[2.0, 1.0], [1.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]])
        >>> model = scf.MatrixFactorization.from_parameters(ratings, theta)
        >>> float(model.predict("ann", "Babe"))  # 2 * 1 + 1 * 2
        4.0
        """
        objective.check_fit(ratings, parameters)
        model = cls(
            parameters.n_factors,
            bias=parameters.has_bias,
            global_mean=parameters.global_mean is not None,
            rating_range=parameters.rating_range,
        )
        model.parameters_ = parameters
        model.user_ids_, model.item_ids_ = ratings.user_ids, ratings.item_ids
        model.ratings_ = ratings
        model.posterior_ = None
        model.history_ = pd.DataFrame(columns=["epoch", "train_rmse", "seconds"])
        return model

    # --- files --------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, ratings: bool = True) -> None:
        """Write settings, ids, parameters, history and ratings to one .npz file.

        Only numbers and text are stored (no pickle), so a model from a stranger can
        be loaded safely. A seed is stored; a Generator is not, and neither is a
        constraint on cells that a function computes. An existing file is replaced,
        whole or not at all.

        Parameters
        ----------
        path : path
        ratings : bool
            Whether to store what the model was fitted on, of which a loaded model needs
            to know which items a user has seen. Predicting does without.

        Raises
        ------
        ValueError
            If it is not fitted, a setting of the parameters' form was changed since, or the
            solver's options have a rule of your own.
        OSError
            If the file cannot be written.

        Examples
        --------
        A model without its ratings predicts the same, but does not tell who rated what:

        >>> import tempfile
        >>> from pathlib import Path
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(Path(folder) / "model.npz", ratings=False)
        ...     loaded = scf.MatrixFactorization.load(Path(folder) / "model.npz")
        >>> loaded.ratings_ is None
        True
        """
        self._fitted()
        self._check_form()
        kept = self.ratings_ if ratings else None
        self._write(path, {}, {} if kept is None else _model_file.pack_ratings(kept))

    def _write(
        self, path: str | os.PathLike[str], settings: dict[str, Any], arrays: dict[str, Any]
    ) -> None:
        seed = self.random_state
        form, blocks = _model_file.pack_parameters(self.parameters_)
        options = as_json(self.solver_options)
        from_json(SOLVERS[self.solver].options, options)  # nothing is saved that cannot be loaded
        settings = (
            settings
            | {name: getattr(self, name) for name in _SETTINGS}
            | {
                "solver_options": options,
                "random_state": None if isinstance(seed, np.random.Generator | None) else int(seed),
                "parameters": form,
                "history_columns": list(self.history_.columns),
            }
        )
        arrays = (
            arrays
            | blocks
            | {
                "user_ids": self.user_ids_,
                "item_ids": self.item_ids_,
                "history": self.history_.to_numpy(np.float64),
            }
        )
        if self.posterior_ is not None:
            arrays |= _model_file.pack_posterior(self.posterior_)
        _model_file.write(path, settings, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MatrixFactorization:
        """Read a model that `save` wrote, or a checkpoint of `fit`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no such model, or one of a later version.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(Path(folder) / "model.npz")
        ...     loaded = scf.MatrixFactorization.load(Path(folder) / "model.npz")
        >>> loaded.parameters_.equals(model.parameters_)
        True
        """
        return cls._read(path)[0]

    @classmethod
    def _read(
        cls, path: str | os.PathLike[str]
    ) -> tuple[MatrixFactorization, dict[str, Any], dict[str, Any]]:
        """The model in a file, and what else stands there."""
        try:
            settings, arrays = _model_file.read(path)
            model = cls._from_arrays(settings, arrays)
        except (OSError, _model_file.LaterVersionError):
            raise
        except Exception as error:  # whatever a foreign or damaged file makes the parsers raise
            raise ValueError(f"{Path(path).name} is not a model saved by shallow_cf") from error
        return model, settings, arrays

    @classmethod
    def _from_arrays(cls, settings: dict[str, Any], arrays: dict[str, Any]) -> MatrixFactorization:
        """The model that `_write` took apart."""
        parameters = _model_file.unpack_parameters(settings.get("parameters", {}), arrays)
        user_ids, item_ids = as_ids(arrays["user_ids"]), as_ids(arrays["item_ids"])
        if any(ids.shape != np.unique(ids).shape for ids in (user_ids, item_ids)):
            raise ValueError("ids must be vectors and differ")
        if (len(user_ids), len(item_ids)) != (parameters.n_users, parameters.n_items):
            raise ValueError("ids and parameters do not fit together")
        shape = (parameters.n_factors, parameters.has_bias)
        if shape != (settings["n_factors"], settings["bias"]) or not parameters.is_finite():
            raise ValueError("settings and parameters do not fit together")
        own = {name: settings[name] for name in _SETTINGS if name in settings}
        own["rating_range"] = parameters.rating_range  # a tuple, of which JSON makes a list
        kind = SOLVERS[settings["solver"]].options
        model = cls(**own | {"solver_options": from_json(kind, settings["solver_options"])})
        history = pd.DataFrame(arrays["history"], columns=settings["history_columns"])
        counts = [name for name in ("epoch", "iteration", "search") if name in history]
        model.history_ = history.astype(dict.fromkeys(counts, "int64"))
        model.parameters_, model.user_ids_, model.item_ids_ = parameters, user_ids, item_ids
        model.ratings_ = _model_file.unpack_ratings(arrays)
        model.posterior_ = _model_file.unpack_posterior(arrays, parameters)
        return model

    def _check_form(self) -> None:
        """Refuse to go on from, or to save, parameters of another form than the settings say."""
        found = self.parameters_
        own_range = check_range("rating_range", self.rating_range)
        for name, now, then in (
            ("n_factors", self.n_factors, found.n_factors),
            ("bias", self.bias, found.has_bias),
            ("global_mean", self.global_mean, found.global_mean is not None),
            ("rating_range", own_range, found.rating_range),
        ):
            if now != then:
                raise ValueError(
                    f"`{name}` must be {then!r}, as this model was fitted with, got {now!r}: "
                    "set it back, or fit again"
                )

    def _fitted(self) -> Parameters:
        if not hasattr(self, "parameters_"):
            raise ValueError("this model is not fitted yet: call fit(ratings) first")
        return self.parameters_


def _checked(valid: Ratings | None) -> Ratings | None:
    """Validation ratings as they are, or TypeError."""
    if valid is not None:
        check_ratings(valid, "valid")
    return valid


def _with_options(options: Any, nested: dict[str, Any]) -> Any:
    """A solver's options with some changed, named as in ``solver_options__reg``."""
    changes = {}
    for name, value in nested.items():
        owner, _, option = name.partition("__")
        known = [field.name for field in fields(options)]
        if owner != "solver_options" or option not in known:
            raise ValueError(
                f"there is no setting {name!r}; known: solver_options__ with {', '.join(known)}"
            )
        changes[option] = value
    return replace(options, **changes)


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    """A random generator of the kind that a stored state is of.

    The state may be a stranger's: nothing but NumPy's own kinds is called, and a place in their
    memory, which they do not check themselves, has to lie in it.
    """
    if state["bit_generator"] not in _GENERATORS:
        raise ValueError(f"there is no random generator {state['bit_generator']!r}")
    if not (0 <= state["state"].get("pos", 0) <= 624 and 0 <= state.get("buffer_pos", 0) <= 4):
        raise ValueError("a place outside the memory of a random generator")
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)
