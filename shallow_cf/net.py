r"""EmbeddingNet: the step from shallow to deep, forward and backward by hand.

Matrix factorisation takes the embeddings of a user and an item and multiplies them: nothing
is learned about how the two go together. A neural network starts from the same embeddings,
lays them side by side, and learns that as well: two layers of weights and, between them, a
non-linearity, without which two layers would be no more than one.

Notation is that of `shallow_cf.objective`; embeddings are rows, and users' may be of another
length than items'. W1 is (k_u + k_i, n_hidden), b1 (n_hidden,), W2 (n_hidden, 1), b2 (1,).

Forward: the prediction for user u and item i
    (19a)  x = [p_u, q_i]                       side by side, k_u + k_i numbers
    (19b)  z = x W1 + b1                        n_hidden numbers
    (19c)  h = max(z, 0)                        entry by entry: the ReLU
    (19d)  s = h W2 + b2                        the score, one number
    (19e)  r_hat = s, or with a rating range the sigmoid (1s) of s

Backward: partial derivatives of L = 1/2 sum e^2, e = r_hat - r, from the last line to the
first; the arrow sets what the next line goes on with, g_s standing for dL/ds. Sums run over
the ratings of a batch, row by row.
    (19f)  g_s  = e dr_hat/ds                   as dL = e dr_hat; the slope is (2s), or 1
    (19g)  dL/dW2 = sum h^T g_s                 as ds/dW2_j = h_j
           dL/db2 = sum g_s                     as ds/db2 = 1
    (19h)  g_h  = g_s W2^T                      as ds/dh_j = W2_j
    (19i)  g_z  = g_h where z > 0, else 0       as dh_j/dz_j is 1 or 0; 0 is taken at z = 0
    (19j)  dL/dW1 = sum x^T g_z                 as dz_j/dW1_kj = x_k
           dL/db1 = sum g_z                     as dz_j/db1_j = 1
    (19k)  g_x  = g_z W1^T                      as dz_j/dx_k = W1_kj, and x_k is in every z_j
    (19l)  dL/dp_u = sum over i in I(u) of the first k_u numbers of g_x
           dL/dq_i = sum over u in U(i) of the other k_i

With a batch's ratings in rows, each sum over ratings in (19g) and (19j) is one matrix product.
(19l) adds rows up by user and by item, because a user may have several ratings in a batch.

Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors",
Nature 323.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from shallow_cf._checks import (
    check_choice,
    check_int,
    check_number,
    check_random_state,
    check_range,
)
from shallow_cf._ids import index_of
from shallow_cf._inputs import aligned, check_in_range
from shallow_cf.parameters import INITS, FloatArray, IntArray, Packable, Parameters, slope, squash
from shallow_cf.ratings import Ratings, check_ratings
from shallow_cf.solvers import descent
from shallow_cf.solvers.descent import SGDOptions
from shallow_cf.solvers.optimizers import AdamW
from shallow_cf.solvers.result import Callback

#: Ratings predicted at a time, so that memory does not grow with their number.
_PIECE = 65536


@dataclass(frozen=True, eq=False)
class NetParameters(Packable):
    """The numbers of an `EmbeddingNet`: embeddings, and two layers of weights and biases.

    A gradient has one entry for each, so gradients are `NetParameters` too.

    Parameters
    ----------
    user_factors : (n_users, k_u) array of float
        P, a row a user.
    item_factors : (n_items, k_i) array of float
        Q, a row an item.
    W1 : (k_u + k_i, n_hidden) array of float
        Weights of the first layer: the users' rows first.
    b1 : (n_hidden,) array of float
        Biases of the first layer.
    W2 : (n_hidden, 1) array of float
        Weights of the second layer.
    b2 : (1,) array of float
        Bias of the second layer.
    rating_range : (float, float), optional
        Lowest and highest prediction, stars: a sigmoid squashes every score in between.
        None leaves scores as they are.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or the range is none.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> net = scf.NetParameters(
    ...     [[1.0]], [[2.0]],
    ...     W1=[[1.0, -1.0], [1.0, 0.0]], b1=[0.0, 0.5], W2=[[1.0], [1.0]], b2=[0.5],
    ... )
    >>> net
    NetParameters(1 users, 1 items, 1 + 1 factors, 2 hidden)
    >>> float(net.predict(0, 0))  # x = [1, 2], z = [3, -0.5], h = [3, 0], 3 + 0 + 0.5
    3.5
    """

    user_factors: FloatArray
    item_factors: FloatArray
    W1: FloatArray
    b1: FloatArray
    W2: FloatArray
    b2: FloatArray
    rating_range: tuple[float, float] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("user_factors", "item_factors", "W1", "b1", "W2", "b2"):
            array = getattr(self, name)
            if getattr(array, "dtype", None) != np.float64:
                object.__setattr__(self, name, np.asarray(array, np.float64))
        for name in ("user_factors", "item_factors", "W1"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] < 1:
                raise ValueError(f"`{name}` must be a table with columns, got shape {shape}")
        n_inputs, n_hidden = sum(self.n_factors), self.n_hidden
        for name, expected in (
            ("W1", (n_inputs, n_hidden)),
            ("b1", (n_hidden,)),
            ("W2", (n_hidden, 1)),
            ("b2", (1,)),
        ):
            shape = getattr(self, name).shape
            if shape != expected:
                raise ValueError(f"`{name}` must have shape {expected}, got {shape}")
        object.__setattr__(self, "rating_range", check_range("rating_range", self.rating_range))

    @classmethod
    def random(
        cls,
        n_users: int,
        n_items: int,
        n_factors: int | tuple[int, int] = 50,
        n_hidden: int = 10,
        *,
        rating_range: tuple[float, float] | None = None,
        init: str = "symmetric",
        scale: float = 0.01,
        random_state: int | np.random.Generator | None = None,
    ) -> NetParameters:
        """Draw every number at random: first the embeddings, then the layers.

        The embeddings are those that `Parameters.random` draws from the same seed, so that
        a matrix factorisation and a net can start from the same ones (of two lengths, the
        shorter is cut off from the longer). A layer of n inputs is drawn
        uniform(-1/sqrt(n), 1/sqrt(n)), biases too, as PyTorch does.

        Parameters
        ----------
        n_users, n_items, n_hidden : int
            Sizes, each at least 1.
        n_factors : int or (int, int)
            Numbers in an embedding; two where a user's is of another length than an item's.
        rating_range : (float, float), optional
            See `NetParameters`.
        init, scale : str and float
            How embeddings are drawn, see `Parameters.random`.
        random_state : int or Generator, optional
            Same seed, same bits.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> net = scf.NetParameters.random(15, 20, (4, 3), n_hidden=10, random_state=0)
        >>> [block.shape for block in net.blocks()]  # P, Q, W1, b1, W2, b2
        [(15, 4), (20, 3), (7, 10), (10,), (10, 1), (1,)]
        """
        k_u, k_i = check_lengths("n_factors", n_factors)
        n_hidden = check_int("n_hidden", n_hidden, 1)
        check_random_state(random_state)
        rng = np.random.default_rng(random_state)
        embeddings = Parameters.random(
            n_users, n_items, max(k_u, k_i), init=init, scale=scale, random_state=rng
        )

        def layer(n_inputs: int, n_outputs: int) -> tuple[FloatArray, FloatArray]:
            bound = 1 / np.sqrt(n_inputs)
            weights = rng.uniform(-bound, bound, (n_inputs, n_outputs))
            return weights, rng.uniform(-bound, bound, n_outputs)

        return cls(
            np.ascontiguousarray(embeddings.user_factors[:, :k_u]),
            np.ascontiguousarray(embeddings.item_factors[:, :k_i]),
            *layer(k_u + k_i, n_hidden),
            *layer(n_hidden, 1),
            rating_range=rating_range,
        )

    @property
    def n_users(self) -> int:
        """Rows of P."""
        return len(self.user_factors)

    @property
    def n_items(self) -> int:
        """Rows of Q."""
        return len(self.item_factors)

    @property
    def n_factors(self) -> tuple[int, int]:
        """Numbers in the embedding of a user and of an item, k_u and k_i."""
        return int(self.user_factors.shape[1]), int(self.item_factors.shape[1])

    @property
    def n_hidden(self) -> int:
        """Numbers between the two layers."""
        return int(self.W1.shape[1])

    def __repr__(self) -> str:
        between = (
            "" if self.rating_range is None else ", from {:g} to {:g}".format(*self.rating_range)
        )
        k_u, k_i = self.n_factors
        return (
            f"NetParameters({self.n_users} users, {self.n_items} items, "
            f"{k_u} + {k_i} factors, {self.n_hidden} hidden{between})"
        )

    def blocks(self) -> list[FloatArray]:
        """The arrays in the order P, Q, W1, b1, W2, b2."""
        return [self.user_factors, self.item_factors, self.W1, self.b1, self.W2, self.b2]

    def with_blocks(self, blocks: Iterable[FloatArray]) -> Self:
        """Parameters with other numbers in `blocks`, the same range."""
        return type(self)(*blocks, rating_range=self.rating_range)

    def predict(self, user_idx: npt.ArrayLike, item_idx: npt.ArrayLike) -> FloatArray:
        """Predicted stars, equations (19a) to (19e).

        Parameters
        ----------
        user_idx, item_idx : arrays of int that broadcast against each other

        Returns
        -------
        array of float
            Stars, in the broadcast shape.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> net = scf.NetParameters.random(15, 20, random_state=0)
        >>> net.predict([[0], [1]], [0, 1, 2]).shape  # two users, three items
        (2, 3)
        """
        u, i = np.broadcast_arrays(np.asarray(user_idx), np.asarray(item_idx))
        r_hat = np.empty(u.size)
        for first in range(0, u.size, _PIECE):
            piece = slice(first, first + _PIECE)
            r_hat[piece] = forward(self, u.ravel()[piece], i.ravel()[piece]).r_hat
        return r_hat.reshape(u.shape)


def check_lengths(name: str, value: Any) -> tuple[int, int]:
    """Return the lengths of two embeddings from two whole numbers >= 1, or one for both."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"`{name}` must be one whole number or two, got {value!r}")
        return check_int(name, value[0], 1), check_int(name, value[1], 1)
    length = check_int(name, value, 1)
    return length, length


class Forward(NamedTuple):
    """What a forward pass over n ratings computes, one rating a row."""

    x: FloatArray  #: (n, k_u + k_i), the two embeddings
    z: FloatArray  #: (n, n_hidden), before the ReLU
    h: FloatArray  #: (n, n_hidden), after it
    r_hat: FloatArray  #: (n,), predictions, stars


def forward(net: NetParameters, u: IntArray, i: IntArray) -> Forward:
    """Equations (19a) to (19e) for n pairs of a user and an item, (n,) each."""
    x = np.concatenate([net.user_factors[u], net.item_factors[i]], axis=1)  # (19a)
    z = x @ net.W1 + net.b1  # (19b)
    h = np.maximum(z, 0.0)  # (19c)
    s: FloatArray = (h @ net.W2 + net.b2)[:, 0]  # (19d)
    return Forward(x, z, h, squash(s, net.rating_range))  # (19e)


def backward(net: NetParameters, u: IntArray, i: IntArray, r: FloatArray) -> NetParameters:
    """Gradient of 1/2 sum e^2 over n ratings, equations (19f) to (19l).

    Parameters
    ----------
    net : NetParameters
    u, i : (n,) arrays of int
        Which users and items the ratings are of.
    r : (n,) array of float
        Ratings, stars.
    """
    x, z, h, r_hat = forward(net, u, i)
    e = r_hat - r  # (2)
    g_s = (e * slope(r_hat, net.rating_range))[:, None]  # (19f)
    dW2, db2 = h.T @ g_s, g_s.sum(axis=0)  # (19g)
    g_h = g_s @ net.W2.T  # (19h)
    g_z = g_h * (z > 0)  # (19i)
    dW1, db1 = x.T @ g_z, g_z.sum(axis=0)  # (19j)
    g_x = g_z @ net.W1.T  # (19k)
    k_u, _ = net.n_factors
    dP = _row_sums(u, g_x[:, :k_u], net.n_users)  # (19l)
    dQ = _row_sums(i, g_x[:, k_u:], net.n_items)  # (19l)
    return net.with_blocks((dP, dQ, dW1, db1, dW2, db2))


def _row_sums(idx: IntArray, values: FloatArray, n: int) -> FloatArray:
    """Row r of the sum, (n, k), is the sum of the rows of `values` where `idx` is r."""
    k = values.shape[1]
    cell = idx[:, None] * k + np.arange(k)
    sums = np.bincount(cell.ravel(), values.ravel(), n * k)
    return np.asarray(sums, np.float64).reshape(n, k)


@dataclass(frozen=True)
class NetProblem:
    """A net as `descent` sees it; `form` has the shapes and the range."""

    ratings: Ratings
    form: NetParameters
    valid: Ratings | None = None

    @property
    def n_ratings(self) -> int:
        """Ratings to train on."""
        return self.ratings.n_ratings

    def gradient(self, theta: FloatArray, batch: IntArray) -> FloatArray:
        """Gradient of 1/2 sum e^2 over a batch. Equations (19f) to (19l)."""
        data = self.ratings
        u, i, r = data.user_idx[batch], data.item_idx[batch], data.rating[batch]
        return backward(self.form.unpack(theta), u, i, r).pack()

    def rmse(self, theta: FloatArray) -> float:
        """RMSE over the training ratings, stars."""
        return _rmse(self.form.unpack(theta), self.ratings)

    def valid_rmse(self, theta: FloatArray) -> float:
        """RMSE over the validation ratings, stars; NaN without any."""
        return np.nan if self.valid is None else _rmse(self.form.unpack(theta), self.valid)


def _rmse(net: NetParameters, ratings: Ratings) -> float:
    e = net.predict(ratings.user_idx, ratings.item_idx) - ratings.rating  # (2)
    return float(np.sqrt(e @ e / ratings.n_ratings))  # (3b)


def _default_options() -> SGDOptions:
    """What did best on MovieLens' 100,000 ratings, on a part kept back from training."""
    return SGDOptions(
        n_epochs=10,
        learning_rate=5e-3,
        batch_size=64,
        loss="mse",
        optimizer=AdamW(weight_decay=0.2),
        schedule="onecycle",
    )


class EmbeddingNet:
    """Collaborative filtering by a small neural network on top of embeddings.

    By itself it comes close to a matrix factorisation and, on MovieLens' 100,000 ratings,
    stays behind it. Started from the factorisation's embeddings (`fit` with ``start``, a
    fifth of the default learning rate) it gets below it.

    Parameters
    ----------
    n_factors : int or (int, int)
        Numbers in each embedding; two where a user's is of another length than an item's.
    n_hidden : int
        Numbers between the two layers.
    rating_range : (float, float), optional
        Lowest and highest prediction, stars, best half a star wider than the ratings': a
        sigmoid never quite reaches its ends. None leaves predictions free.
    solver_options : SGDOptions, optional
        Settings of the training; if None, ten epochs of AdamW on one cycle. That is for some
        100,000 ratings: few ratings take more epochs, see the example.
    init : {"symmetric", "uniform", "normal"}
        How embeddings are drawn at the start, see `Parameters.random`.
    init_scale : float
        Their size at the start.
    random_state : int or Generator, optional
        Of the start and of the order of ratings. Same seed, same bits.

    Attributes
    ----------
    parameters_ : NetParameters
        What `fit` found.
    user_ids_, item_ids_ : arrays of int or str
        The ids it was fitted on.
    history_ : DataFrame
        A row an epoch, the start first: ``epoch``, ``train_rmse`` and ``valid_rmse`` (stars;
        NaN without validation ratings), ``learning_rate``, ``seconds``.
    message_ : str
        Why the training ended.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> ratings = scf.load_crosstab()
    >>> options = scf.SGDOptions(200, 0.02, 32, loss="mse", optimizer="adam", schedule="onecycle")
    >>> net = scf.EmbeddingNet(
    ...     5, 20, rating_range=(0, 5.5), solver_options=options, random_state=1
    ... ).fit(ratings)
    >>> net.rmse(ratings) < 0.5
    True
    >>> net.predict(15, [110, 260]).shape
    (2,)
    """

    parameters_: NetParameters
    user_ids_: npt.NDArray[Any]
    item_ids_: npt.NDArray[Any]
    history_: pd.DataFrame
    message_: str

    def __init__(
        self,
        n_factors: int | tuple[int, int] = 50,
        n_hidden: int = 10,
        *,
        rating_range: tuple[float, float] | None = None,
        solver_options: SGDOptions | None = None,
        init: str = "symmetric",
        init_scale: float = 0.01,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        check_lengths("n_factors", n_factors)
        self.n_factors = n_factors
        self.n_hidden = check_int("n_hidden", n_hidden, 1)
        self.rating_range = check_range("rating_range", rating_range)
        self.solver_options = _default_options() if solver_options is None else solver_options
        if not isinstance(self.solver_options, SGDOptions):
            raise TypeError(
                f"`solver_options` must be SGDOptions, got {type(solver_options).__name__}"
            )
        self.init = check_choice("init", init, INITS)
        self.init_scale = check_number("init_scale", init_scale, 0.0, above=True)
        check_random_state(random_state)
        self.random_state = random_state

    def __repr__(self) -> str:
        return (
            f"EmbeddingNet(n_factors={self.n_factors}, n_hidden={self.n_hidden}, "
            f"rating_range={self.rating_range}, solver_options={self.solver_options!r}, "
            f"init={self.init!r}, init_scale={self.init_scale:g}, "
            f"random_state={self.random_state!r})"
        )

    def fit(
        self,
        ratings: Ratings,
        *,
        valid: Ratings | None = None,
        callback: Callback | None = None,
        start: Parameters | NetParameters | None = None,
    ) -> EmbeddingNet:
        """Train embeddings and layers together.

        Parameters
        ----------
        ratings : Ratings
        valid : Ratings, optional
            Of users and items that are in `ratings` too, to measure on after each epoch and
            for the options' ``patience``.
        callback : callable, optional
            Called with each epoch's row of the history (a dict); returning True stops,
            keeping what was reached.
        start : Parameters or NetParameters, optional
            Where to start, in the order of the ratings' ids: `Parameters`, such as a matrix
            factorisation's ``model.parameters_for(ratings)``, give the embeddings (what else
            they hold is not used), and the layers are drawn; `NetParameters` give all.

        Returns
        -------
        EmbeddingNet
            This object.

        Raises
        ------
        DivergenceError
            If the learning rate is too large.
        ValueError
            If `start` fits neither the ratings nor the settings, an id in `valid` is not in
            `ratings`, or patience is asked for without validation ratings.

        Examples
        --------
        Started from a matrix factorisation's embeddings, it gets further in as many epochs:

        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> model = scf.MatrixFactorization(solver="varpro", random_state=0).fit(ratings)
        >>> options = scf.SGDOptions(50, 0.01, loss="mse", optimizer="adam", schedule="onecycle")
        >>> net = scf.EmbeddingNet(
        ...     5, 20, rating_range=(0, 5.5), solver_options=options, random_state=0
        ... )
        >>> net.fit(ratings, start=model.parameters_for(ratings)).rmse(ratings) < 0.6
        True
        >>> net.fit(ratings).rmse(ratings) > 0.6
        True
        """
        check_ratings(ratings)
        check_in_range(ratings, self.rating_range)
        if valid is not None:
            check_ratings(valid, "valid")
            valid = aligned(valid, ratings)
        rng = np.random.default_rng(self.random_state)
        first = self._first(ratings, start, rng)
        problem = NetProblem(ratings, first, valid)
        progress = descent.begin(problem, first.pack(), self.solver_options, rng)
        self.message_ = descent.descend(
            problem,
            self.solver_options,
            progress,
            rng,
            largest_rating=float(np.abs(ratings.rating).max()),
            callback=callback,
        )
        self.user_ids_, self.item_ids_ = ratings.user_ids, ratings.item_ids
        self.parameters_ = first.unpack(descent.found(progress, self.solver_options))
        self.history_ = pd.DataFrame(progress.trace)
        return self

    def _first(
        self,
        ratings: Ratings,
        start: Parameters | NetParameters | None,
        rng: np.random.Generator,
    ) -> NetParameters:
        """The parameters before the first epoch."""
        drawn = NetParameters.random(
            ratings.n_users,
            ratings.n_items,
            self.n_factors,
            self.n_hidden,
            rating_range=self.rating_range,
            init=self.init,
            scale=self.init_scale,
            random_state=rng,
        )
        if start is None:
            return drawn
        if not isinstance(start, Parameters | NetParameters):
            raise TypeError(
                f"`start` must be Parameters or NetParameters, got {type(start).__name__}"
            )
        n_given = 6 if isinstance(start, NetParameters) else 2
        given = start.blocks()[:n_given]
        if not all(np.isfinite(block).all() for block in given):
            raise ValueError("`start` must be finite, got NaN or infinity")
        wanted = drawn.blocks()
        if any(a.shape != b.shape for a, b in zip(given, wanted, strict=False)):
            raise ValueError(f"`start`, {start!r}, does not fit {drawn!r}")
        return drawn.with_blocks([*given, *wanted[n_given:]])

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
            If an id was not in the ratings the net was fitted on.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> ratings = scf.load_crosstab()
        >>> net = scf.EmbeddingNet(rating_range=(0, 5.5), random_state=0).fit(ratings)
        >>> net.predict([[294], [509]], [260, 296, 318]).shape  # two users, three items
        (2, 3)
        """
        net = self._fitted()
        return net.predict(
            index_of(self.user_ids_, user_ids, "user"), index_of(self.item_ids_, item_ids, "item")
        )

    def rmse(self, ratings: Ratings) -> float:
        """Root mean squared error over the given ratings, stars.

        Raises
        ------
        ValueError
            If a rating's user or item was not in the ratings the net was fitted on.

        Examples
        --------
        Trained for long, it knows what it learned from better than what it did not see:

        >>> import shallow_cf as scf
        >>> train, test = scf.split(scf.load_crosstab(), random_state=0)
        >>> options = scf.SGDOptions(50, 0.02, loss="mse", optimizer="adam")
        >>> net = scf.EmbeddingNet(rating_range=(0, 5.5), solver_options=options, random_state=0)
        >>> net.fit(train).rmse(train) < 0.8 < net.rmse(test)
        True
        """
        check_ratings(ratings)
        net = self._fitted()
        user_idx = index_of(self.user_ids_, ratings.user_ids[ratings.user_idx], "user")
        item_idx = index_of(self.item_ids_, ratings.item_ids[ratings.item_idx], "item")
        e = net.predict(user_idx, item_idx) - ratings.rating  # (2)
        return float(np.sqrt(e @ e / ratings.n_ratings))  # (3b)

    def _fitted(self) -> NetParameters:
        if not hasattr(self, "parameters_"):
            raise ValueError("this net is not fitted yet: call fit(ratings) first")
        return self.parameters_
