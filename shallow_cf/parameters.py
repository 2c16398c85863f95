"""Parameters: the numbers that training turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from shallow_cf._checks import (
    check_choice,
    check_int,
    check_number,
    check_random_state,
    check_range,
)

FloatArray = npt.NDArray[np.float64]
#: Array of float32 or float64, as a solver was told.
RealArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.intp]
#: Lowest and highest prediction, stars, or None.
Range = tuple[float, float] | None

#: Numbers of an embedding table to look up at a time, so that they stay in the processor's
#: cache until they are multiplied (measured: 2 to 8 times faster than all at once).
_PIECE = 65536

#: Pieces for a thread at a time: starting work must not cost more than the work (measured).
_PIECES = 16
#: Does independent pieces of work: the built-in ``map``, or that of a pool of threads. What
#: the pieces are does not depend on it, nor do the results.
Mapper = Callable[[Callable[[Any], None], Iterable[Any]], Iterable[None]]

#: How numbers are drawn at the start.
INITS = ("uniform", "symmetric", "normal")


class Packable:
    """Numbers in several blocks, which solvers want in one vector theta.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> parameters = scf.Parameters([[1, 2]], [[3, 4]])
    >>> parameters.unpack(10 * parameters.pack()).blocks()
    [array([[10., 20.]]), array([[30., 40.]])]
    """

    def blocks(self) -> list[FloatArray]:
        """The arrays, in the order in which they stand in theta."""
        raise NotImplementedError

    def with_blocks(self, blocks: Iterable[FloatArray]) -> Self:
        """The same with other numbers in the blocks."""
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        """How many numbers there are: Solver's variable cells.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters.random(15, 15, 5, bias=True).n_params  # (15 + 15) * (5 + 1)
        180
        """
        return sum(block.size for block in self.blocks())

    def is_finite(self) -> bool:
        """Whether there is no NaN and no infinity.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[1.0]], [[2.0]]).is_finite()
        True
        >>> scf.Parameters([[1.0]], [[float("inf")]]).is_finite()
        False
        """
        return all(bool(np.isfinite(block).all()) for block in self.blocks())

    def pack(self) -> FloatArray:
        """All numbers in one vector theta, (n_params,), block after block, row by row.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[1, 2], [3, 4]], [[5, 6]]).pack()
        array([1., 2., 3., 4., 5., 6.])
        """
        return np.concatenate([block.ravel() for block in self.blocks()])

    def unpack(self, theta: FloatArray) -> Self:
        """Parameters of this one's shapes with the numbers of `theta`, (n_params,).

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> like = scf.Parameters.random(2, 1, 2)
        >>> like.unpack(np.array([1.0, 2, 3, 4, 5, 6])).item_factors
        array([[5., 6.]])
        """
        if theta.shape != (self.n_params,):
            raise ValueError(f"`theta` must have shape ({self.n_params},), got {theta.shape}")
        blocks, start = [], 0
        for block in self.blocks():
            blocks.append(theta[start : start + block.size].reshape(block.shape))
            start += block.size
        return self.with_blocks(blocks)


@dataclass(frozen=True, eq=False)
class Parameters(Packable):
    """Embeddings of users and items, with or without biases.

    A gradient has one entry for each parameter, so gradients are `Parameters` too.

    Parameters
    ----------
    user_factors : (n_users, n_factors) array of float
        P, a row a user.
    item_factors : (n_items, n_factors) array of float
        Q, a row an item (the workbook shows it turned: a column an item).
    user_bias : (n_users,) array of float, optional
        b_u, stars. Biases come both or not at all.
    item_bias : (n_items,) array of float, optional
        b_i, stars.
    global_mean : float, optional
        mu, stars: what is predicted where dot product and biases are 0. A constant that
        training leaves alone. None (the spreadsheet's) is 0 or, with a range, its middle.
    rating_range : (float, float), optional
        Lowest and highest prediction, stars: a sigmoid squashes every score in between.
        None leaves scores as they are.

    Raises
    ------
    ValueError
        If the shapes do not fit together, the range is none, or the mean lies outside it.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> parameters = scf.Parameters([[1, 0], [0.5, 0.5]], [[4, 2], [3, 5], [1, 1]])
    >>> parameters
    Parameters(2 users, 3 items, 2 factors, no biases)
    >>> parameters.predict_all().tolist()
    [[4.0, 3.0, 1.0], [3.0, 4.0, 1.0]]
    """

    user_factors: FloatArray
    item_factors: FloatArray
    user_bias: FloatArray | None = None
    item_bias: FloatArray | None = None
    global_mean: float | None = field(default=None, kw_only=True)
    rating_range: Range = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("user_factors", "item_factors", "user_bias", "item_bias"):
            array = getattr(self, name)
            if array is not None and getattr(array, "dtype", None) != np.float64:
                object.__setattr__(self, name, np.asarray(array, np.float64))
        P, Q = self.user_factors, self.item_factors
        if P.ndim != 2 or Q.ndim != 2 or P.shape[1] != Q.shape[1] or P.shape[1] < 1:
            raise ValueError(
                "`user_factors` and `item_factors` must be tables with one number of "
                f"columns (the factors), got shapes {P.shape} and {Q.shape}"
            )
        if (self.user_bias is None) != (self.item_bias is None):
            raise ValueError("`user_bias` and `item_bias` must be given both or not at all")
        for name, bias, n in (
            ("user_bias", self.user_bias, len(P)),
            ("item_bias", self.item_bias, len(Q)),
        ):
            if bias is not None and bias.shape != (n,):
                raise ValueError(f"`{name}` must have shape ({n},), got {bias.shape}")
        object.__setattr__(self, "rating_range", check_range("rating_range", self.rating_range))
        if self.global_mean is not None:
            mean = check_number("global_mean", self.global_mean, -math.inf)
            object.__setattr__(self, "global_mean", mean)
            low, high = self.rating_range or (-math.inf, math.inf)
            if not low < mean < high:
                raise ValueError(
                    f"`global_mean` must lie inside the rating_range from {low:g} to {high:g}, "
                    f"got {mean:g}"
                )

    @classmethod
    def random(
        cls,
        n_users: int,
        n_items: int,
        n_factors: int = 5,
        *,
        bias: bool = False,
        init: str = "uniform",
        scale: float = 1.0,
        random_state: int | np.random.Generator | None = None,
    ) -> Parameters:
        """Draw every number at random, by default uniform(0, 1) as the lesson's ``=RAND()``.

        Factors are drawn before biases, so that one seed gives the same factors with
        and without them.

        Parameters
        ----------
        n_users, n_items, n_factors : int
            Sizes, each at least 1.
        bias : bool
            Whether there are biases.
        init : {"uniform", "symmetric", "normal"}
            uniform(0, scale), uniform(-scale, scale), or normal with mean 0 and standard
            deviation scale.
        scale : float
            1 is the spreadsheet's; with many factors a smaller one keeps the first
            predictions near the ratings.
        random_state : int or Generator, optional
            Same seed, same bits.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> drawn = scf.Parameters.random(15, 15, 5, bias=True, random_state=0)
        >>> drawn
        Parameters(15 users, 15 items, 5 factors, with biases)
        >>> drawn.equals(scf.Parameters.random(15, 15, 5, bias=True, random_state=0))
        True
        """
        n_users = check_int("n_users", n_users, 1)
        n_items = check_int("n_items", n_items, 1)
        n_factors = check_int("n_factors", n_factors, 1)
        check_choice("init", init, INITS)
        scale = check_number("scale", scale, 0.0, above=True)
        check_random_state(random_state)
        rng = np.random.default_rng(random_state)

        def draw(*shape: int) -> FloatArray:
            if init == "normal":
                return rng.normal(0, scale, shape)
            return rng.uniform(0 if init == "uniform" else -scale, scale, shape)

        P, Q = draw(n_users, n_factors), draw(n_items, n_factors)
        return cls(P, Q, draw(n_users), draw(n_items)) if bias else cls(P, Q)

    @property
    def n_users(self) -> int:
        """Rows of P."""
        return len(self.user_factors)

    @property
    def n_items(self) -> int:
        """Rows of Q."""
        return len(self.item_factors)

    @property
    def n_factors(self) -> int:
        """Numbers in an embedding."""
        return int(self.user_factors.shape[1])

    @property
    def has_bias(self) -> bool:
        """Whether there are biases."""
        return self.biases is not None

    @property
    def biases(self) -> tuple[FloatArray, FloatArray] | None:
        """b_u and b_i, or None without biases.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[1]], [[2]], [0.5], [0.25]).biases
        (array([0.5]), array([0.25]))
        >>> scf.Parameters([[1]], [[2]]).biases is None
        True
        """
        if self.user_bias is None or self.item_bias is None:
            return None
        return self.user_bias, self.item_bias

    def __repr__(self) -> str:
        bias = "with biases" if self.has_bias else "no biases"
        mean = "" if self.global_mean is None else f", mean {self.global_mean:g}"
        between = (
            "" if self.rating_range is None else ", from {:g} to {:g}".format(*self.rating_range)
        )
        return (
            f"Parameters({self.n_users} users, {self.n_items} items, "
            f"{self.n_factors} factors, {bias}{mean}{between})"
        )

    def blocks(self) -> list[FloatArray]:
        """The arrays there are, in the order P, Q, b_u, b_i.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[1, 2]], [[3, 4]], [0.5], [0.25]).blocks()
        [array([[1., 2.]]), array([[3., 4.]]), array([0.5]), array([0.25])]
        """
        all_blocks = (self.user_factors, self.item_factors, self.user_bias, self.item_bias)
        return [block for block in all_blocks if block is not None]

    def equals(self, other: Parameters) -> bool:
        """Whether shapes and every number are equal.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> parameters = scf.Parameters([[1]], [[2]])
        >>> parameters.equals(scf.Parameters([[1]], [[2]]))
        True
        >>> parameters.equals(scf.Parameters([[1]], [[2]], global_mean=3.5))
        False
        """
        ours, theirs = self.blocks(), other.blocks()
        return (
            (self.global_mean, self.rating_range) == (other.global_mean, other.rating_range)
            and len(ours) == len(theirs)
            and all(map(np.array_equal, ours, theirs))
        )

    def predict(
        self, user_idx: npt.ArrayLike, item_idx: npt.ArrayLike, *, run: Mapper = map
    ) -> FloatArray:
        """Predicted stars, equations (1) and (1s) of `shallow_cf.objective`.

        Parameters
        ----------
        user_idx, item_idx : arrays of int that broadcast against each other
        run : callable
            Like the built-in ``map``; that of a pool of threads gives the same bits.

        Returns
        -------
        array of float
            Stars.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> parameters = scf.Parameters([[1, 0], [0.5, 0.5]], [[4, 2], [3, 5], [1, 1]])
        >>> parameters.predict([0, 1], [0, 1])  # two pairs
        array([4., 4.])
        >>> parameters.predict(1, [0, 1, 2])  # one user, three items
        array([3., 4., 1.])
        """
        u, i = np.asarray(user_idx), np.asarray(item_idx)
        if u.ndim != 1 or u.shape != i.shape or u.size * self.n_factors <= _PIECE:
            return self.squash(self._score(u, i))
        score = np.empty(u.size, self.user_factors.dtype)
        size = max(1, _PIECE // self.n_factors)

        def work(first: int) -> None:
            for start in range(first, min(first + _PIECES * size, u.size), size):
                piece = slice(start, start + size)
                score[piece] = self._score(u[piece], i[piece])

        list(run(work, range(0, u.size, _PIECES * size)))
        return self.squash(score)

    def _score(self, u: IntArray, i: IntArray) -> FloatArray:
        """Dot products plus biases of any users and items that broadcast."""
        p_u, q_i = self.user_factors.take(u, axis=0), self.item_factors.take(i, axis=0)
        score: FloatArray = np.einsum("...k,...k->...", p_u, q_i)  # (1)
        if self.biases is not None:
            bu, bi = self.biases
            score = score + bu.take(u) + bi.take(i)  # (1)
        return score

    def predict_all(self) -> FloatArray:
        """Predicted stars of every user for every item, (n_users, n_items).

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[1], [2]], [[1], [2]], [0, 0.5], [0, 0.25]).predict_all().tolist()
        [[1.0, 2.25], [2.5, 4.75]]
        """
        score: FloatArray = self.user_factors @ self.item_factors.T  # (1)
        if self.biases is not None:
            bu, bi = self.biases
            score = score + bu[:, None] + bi  # (1)
        return self.squash(score)

    @property
    def offset(self) -> float:
        """What the global mean adds to every score: mu, stars, or its place in the range.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> scf.Parameters([[0]], [[0]], global_mean=3.5).offset
        3.5
        >>> round(scf.Parameters([[0]], [[0]], global_mean=3.5, rating_range=(0.5, 5.5)).offset, 4)
        0.4055
        """
        if self.global_mean is None:
            return 0.0
        if self.rating_range is None:
            return self.global_mean
        low, high = self.rating_range
        return math.log((self.global_mean - low) / (high - self.global_mean))  # (1s)

    def squash(self, score: FloatArray) -> FloatArray:
        """Predictions, stars, from dot products plus biases: adds the mean, keeps to the range.

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> parameters = scf.Parameters([[0]], [[0]], global_mean=3.5, rating_range=(0.5, 5.5))
        >>> parameters.squash(np.array([-9.0, 0.0, 9.0])).round(2)
        array([0.5, 3.5, 5.5])
        """
        if self.global_mean is not None:
            score = score + self.offset  # (1)
        return squash(score, self.rating_range)

    def slope(self, prediction: FloatArray) -> FloatArray | float:
        """How fast predictions grow with their score; 1 without a range.

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> parameters = scf.Parameters([[0]], [[0]], rating_range=(0.5, 5.5))
        >>> parameters.slope(np.array([0.5, 3.0, 5.5]))  # steepest in the middle
        array([0.  , 1.25, 0.  ])
        """
        return slope(prediction, self.rating_range)

    def check_plain(self, who: str) -> None:
        """Raise ValueError, naming `who` cannot have them, if there is a mean or a range.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> with_mean = scf.Parameters([[1]], [[2]], global_mean=3.5)
        >>> with_mean.check_plain("the workbook")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: the workbook has the spreadsheet's model, without global_mean and ...
        """
        if self.global_mean is not None or self.rating_range is not None:
            raise ValueError(
                f"{who} has the spreadsheet's model, without global_mean and rating_range, "
                f"got {self!r}"
            )

    def with_blocks(self, blocks: Iterable[FloatArray]) -> Self:
        """Parameters with other numbers in `blocks`, the same mean and range.

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> parameters = scf.Parameters([[1]], [[2]], global_mean=3.5)
        >>> parameters.with_blocks([np.zeros((4, 2)), np.zeros((3, 2))])
        Parameters(4 users, 3 items, 2 factors, no biases, mean 3.5)
        """
        return type(self)(*blocks, global_mean=self.global_mean, rating_range=self.rating_range)

    def view(self, theta: FloatArray) -> Self:
        """`unpack` for inner loops: checks nothing, and keeps the precision of `theta`.

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> like = scf.Parameters([[1]], [[2]])
        >>> theta = np.array([3, 4], np.float32)
        >>> seen = like.view(theta)
        >>> theta[0] = 5
        >>> seen.user_factors, seen.predict([0], [0])
        (array([[5.]], dtype=float32), array([20.], dtype=float32))
        """
        seen = object.__new__(type(self))  # a frozen dataclass, and no ``__post_init__``
        numbers, start = dict(vars(self)), 0
        for name in ("user_factors", "item_factors", "user_bias", "item_bias"):
            block = numbers[name]
            if block is not None:
                numbers[name] = theta[start : start + block.size].reshape(block.shape)
                start += block.size
        vars(seen).update(numbers)
        return seen

    def places(self) -> dict[str, IntArray]:
        """Where each number stands in theta: name of a block -> indices of its shape.

        Examples
        --------
        >>> import shallow_cf as scf
        >>> parameters = scf.Parameters([[1], [2]], [[3]], [4, 5], [6])
        >>> {name: place.tolist() for name, place in parameters.places().items()}
        {'user_factors': [[0], [1]], 'item_factors': [[2]], 'user_bias': [3, 4], 'item_bias': [5]}
        """
        names = ("user_factors", "item_factors", "user_bias", "item_bias")
        blocks = self.unpack(np.arange(self.n_params, dtype=np.float64)).blocks()
        return {name: block.astype(np.intp) for name, block in zip(names, blocks, strict=False)}

    def select(self, user_idx: IntArray, item_idx: IntArray) -> Self:
        """The parameters of some users and items only.

        Examples
        --------
        >>> import numpy as np, shallow_cf as scf
        >>> parameters = scf.Parameters([[1], [2], [3]], [[4], [5]])
        >>> parameters.select(np.array([2, 0]), np.array([1])).blocks()[0].tolist()
        [[3.0], [1.0]]
        """
        blocks, idx = self.blocks(), (user_idx, item_idx, user_idx, item_idx)
        return self.with_blocks(block[k] for block, k in zip(blocks, idx, strict=False))


def squash(score: FloatArray, rating_range: Range) -> FloatArray:
    """Stars within the range from scores, equation (1s); without a range the scores.

    Examples
    --------
    >>> import numpy as np
    >>> squash(np.array([-2.0, 0.0, 2.0]), (0.5, 5.5)).round(2)
    array([1.1, 3. , 4.9])
    """
    if rating_range is None:
        return score
    low, high = rating_range
    r_hat: FloatArray = low + (high - low) * expit(score)  # (1s)
    return r_hat


def slope(prediction: FloatArray, rating_range: Range) -> FloatArray | float:
    """How fast predictions grow with their score, equation (2s); 1 without a range.

    Examples
    --------
    >>> import numpy as np
    >>> slope(np.array([0.5, 3.0, 5.5]), (0.5, 5.5))  # of the stars, not of the score
    array([0.  , 1.25, 0.  ])
    """
    if rating_range is None:
        return 1.0
    low, high = rating_range
    return (prediction - low) * (high - prediction) / (high - low)  # (2s)
