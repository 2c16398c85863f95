"""MatrixFactorization: the model as an object with fit, predict, save and load."""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf import objective
from shallow_cf._checks import check_choice, check_int, check_number, check_random_state
from shallow_cf._files import whole_file
from shallow_cf.parameters import FloatArray, IntArray, Parameters
from shallow_cf.ratings import Ratings, as_ids, check_ratings, index_of
from shallow_cf.solvers import SOLVERS
from shallow_cf.solvers.options import SolverOptions, as_json, from_json, select_constraints
from shallow_cf.solvers.result import WITHOUT_SOLUTION, Callback, SolverResult

_FILE_VERSION = 1


class MatrixFactorization:
    """Collaborative filtering by embeddings: prediction = dot product (+ biases).

    Parameters
    ----------
    n_factors : int
        Numbers in each embedding.
    bias : bool
        Whether each user and each item has a bias.
    solver : {"sgd", "grg", "varpro"}
        Mini-batch gradient descent, Excel's Solver mirrored, or variable projection.
    solver_options : SGDOptions, SolverOptions or VarproOptions, optional
        Settings of that solver; its defaults if None.
    init_scale : float
        Parameters start uniform(0, init_scale).
    random_state : int or Generator, optional
        Of the start and of the order of ratings. Same seed, same bits.

    Attributes
    ----------
    parameters_ : Parameters
        What `fit` found.
    user_ids_, item_ids_ : arrays of int or str
        The ids it was fitted on.
    user_factors_ : (n_users, n_factors) array
    item_factors_ : (n_items, n_factors) array
    user_bias_, item_bias_ : (n_users,) and (n_items,) arrays, stars, or None
    history_ : DataFrame
        A row an epoch, iteration or (multistart) search, the start first, with
        ``train_rmse`` (stars) and ``seconds``.
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
    """

    parameters_: Parameters
    user_ids_: npt.NDArray[Any]
    item_ids_: npt.NDArray[Any]
    history_: pd.DataFrame
    result_: SolverResult

    def __init__(
        self,
        n_factors: int = 5,
        *,
        bias: bool = False,
        solver: str = "sgd",
        solver_options: Any = None,
        init_scale: float = 1.0,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.n_factors = check_int("n_factors", n_factors, 1)
        self.bias = bool(bias)
        self.solver = check_choice("solver", solver, tuple(SOLVERS))
        expected = SOLVERS[solver].options
        self.solver_options = expected() if solver_options is None else solver_options
        if not isinstance(self.solver_options, expected):
            raise TypeError(
                f"`solver_options` for solver {solver!r} must be {expected.__name__}, "
                f"got {type(solver_options).__name__}"
            )
        self.init_scale = check_number("init_scale", init_scale, 0.0, above=True)
        check_random_state(random_state)
        self.random_state = random_state

    def __repr__(self) -> str:
        return (
            f"MatrixFactorization(n_factors={self.n_factors}, bias={self.bias}, "
            f"solver={self.solver!r}, solver_options={self.solver_options!r}, "
            f"init_scale={self.init_scale:g}, random_state={self.random_state!r})"
        )

    def fit(self, ratings: Ratings, callback: Callback | None = None) -> MatrixFactorization:
        """Find embeddings for the ratings.

        Parameters
        ----------
        ratings : Ratings
        callback : callable, optional
            Called with each row of the trace (a dict) as it comes; returning True
            stops, keeping what was reached.

        Returns
        -------
        MatrixFactorization
            This object.

        Raises
        ------
        DivergenceError
            If SGD's learning rate is too large.
        ValueError
            If the solver's options do not fit the ratings' sizes.

        Warns
        -----
        RuntimeWarning
            If Solver ended without a solution; ``result_`` says why.
        """
        check_ratings(ratings)
        rng = np.random.default_rng(self.random_state)
        start = Parameters.random(
            ratings.n_users,
            ratings.n_items,
            self.n_factors,
            bias=self.bias,
            scale=self.init_scale,
            random_state=rng,
        )
        result = SOLVERS[self.solver].solve(ratings, start, self.solver_options, callback, rng)
        if result.code in WITHOUT_SOLUTION:
            warnings.warn(result.message, RuntimeWarning, stacklevel=2)
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.parameters_, self.result_ = result.parameters, result
        self.history_ = pd.DataFrame(result.trace)
        return self

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

    def predict(self, user_ids: npt.ArrayLike, item_ids: npt.ArrayLike) -> FloatArray:
        """Predicted stars for pairs of ids.

        Parameters
        ----------
        user_ids, item_ids : ids that broadcast against each other

        Returns
        -------
        array of float
            Stars, in the broadcast shape.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on.
        """
        parameters = self._fitted()
        return parameters.predict(
            index_of(self.user_ids_, user_ids, "user"), index_of(self.item_ids_, item_ids, "item")
        )

    def rmse(self, ratings: Ratings) -> float:
        """Root mean squared error over the given ratings, stars."""
        return objective.rmse(ratings, self.parameters_for(ratings))

    def parameters_for(self, ratings: Ratings) -> Parameters:
        """The parameters of these ratings' users and items, in the order of their ids.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on.
        """
        return self._fitted().select(*self._places(ratings))

    def solver_options_for(self, ratings: Ratings) -> Any:
        """The solver's settings, with constraints for these ratings' users and items.

        Raises
        ------
        ValueError
            If an id was not in the ratings the model was fitted on, or a constraint cannot
            be told for some of the users and items only.
        """
        options = self.solver_options
        if not isinstance(options, SolverOptions):
            return options
        places = self._places(ratings)
        constraints = select_constraints(options.constraints, self._fitted(), *places)
        return replace(options, constraints=constraints)

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
        """
        objective.check_fit(ratings, parameters)
        model = cls(parameters.n_factors, bias=parameters.has_bias)
        model.parameters_ = parameters
        model.user_ids_, model.item_ids_ = ratings.user_ids, ratings.item_ids
        model.history_ = pd.DataFrame(columns=["epoch", "train_rmse", "seconds"])
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings, ids, parameters and history to one .npz file.

        Only numbers and text are stored (no pickle), so a model from a stranger can
        be loaded safely. A seed is stored; a Generator is not, and neither is a
        constraint on cells that a function computes. An existing file is replaced,
        whole or not at all.
        """
        parameters = self._fitted()
        seed = self.random_state
        settings = {
            "version": _FILE_VERSION,
            "n_factors": self.n_factors,
            "bias": self.bias,
            "solver": self.solver,
            "solver_options": as_json(self.solver_options),
            "init_scale": self.init_scale,
            "random_state": None if isinstance(seed, np.random.Generator | None) else int(seed),
            "history_columns": list(self.history_.columns),
        }
        arrays = {
            "settings": np.array(json.dumps(settings, default=np.generic.item)),
            "user_ids": self.user_ids_,
            "item_ids": self.item_ids_,
            "user_factors": parameters.user_factors,
            "item_factors": parameters.item_factors,
            "history": self.history_.to_numpy(np.float64),
        }
        if parameters.biases is not None:
            arrays["user_bias"], arrays["item_bias"] = parameters.biases
        with whole_file(path, overwrite=True) as temporary, temporary.open("wb") as file:
            # An open file, because for a name savez adds ".npz".
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MatrixFactorization:
        """Read a model that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no such model, or one of a later version.
        """
        name = Path(path).name
        content = Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
            settings = json.loads(str(arrays["settings"]))
            is_later = settings["version"] > _FILE_VERSION
            model = None if is_later else cls._from_arrays(settings, arrays)
        except Exception as error:  # whatever a foreign or damaged file makes the parsers raise
            raise ValueError(f"{name} is not a model saved by shallow_cf") from error
        if model is None:
            raise ValueError(f"{name} was saved by a later version of shallow_cf")
        return model

    @classmethod
    def _from_arrays(cls, settings: dict[str, Any], arrays: dict[str, Any]) -> MatrixFactorization:
        """The model that `save` took apart."""
        names = ("user_factors", "item_factors", "user_bias", "item_bias")
        parameters = Parameters(*(arrays[name] for name in names if name in arrays))
        user_ids, item_ids = as_ids(arrays["user_ids"]), as_ids(arrays["item_ids"])
        if (len(user_ids), len(item_ids)) != (parameters.n_users, parameters.n_items):
            raise ValueError("ids and parameters do not fit together")
        shape = (parameters.n_factors, parameters.has_bias)
        if shape != (settings["n_factors"], settings["bias"]) or not parameters.is_finite():
            raise ValueError("settings and parameters do not fit together")
        model = cls(
            settings["n_factors"],
            bias=settings["bias"],
            solver=settings["solver"],
            solver_options=from_json(
                SOLVERS[settings["solver"]].options, settings["solver_options"]
            ),
            init_scale=settings["init_scale"],
            random_state=settings["random_state"],
        )
        history = pd.DataFrame(arrays["history"], columns=settings["history_columns"])
        counts = [name for name in ("epoch", "iteration", "search") if name in history]
        model.history_ = history.astype(dict.fromkeys(counts, "int64"))
        model.parameters_, model.user_ids_, model.item_ids_ = parameters, user_ids, item_ids
        return model

    def _fitted(self) -> Parameters:
        if not hasattr(self, "parameters_"):
            raise ValueError("this model is not fitted yet: call fit(ratings) first")
        return self.parameters_
