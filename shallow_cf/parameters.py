"""Parameters: the numbers that training turns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

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
IntArray = npt.NDArray[np.intp]
#: Lowest and highest prediction, stars, or None.
Range = tuple[float, float] | None

#: How numbers are drawn at the start.
INITS = ("uniform", "symmetric", "normal")


class Packable:
    """Numbers in several blocks, which solvers want in one vector theta."""

    def blocks(self) -> list[FloatArray]:
        """The arrays, in the order in which they stand in theta."""
        raise NotImplementedError

    def with_blocks(self, blocks: Iterable[FloatArray]) -> Self:
        """The same with other numbers in the blocks."""
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        """How many numbers there are: Solver's variable cells."""
        return sum(block.size for block in self.blocks())

    def is_finite(self) -> bool:
        """Whether there is no NaN and no infinity."""
        return all(bool(np.isfinite(block).all()) for block in self.blocks())

    def pack(self) -> FloatArray:
        """All numbers in one vector theta, (n_params,), block after block, row by row."""
        return np.concatenate([block.ravel() for block in self.blocks()])

    def unpack(self, theta: FloatArray) -> Self:
        """Parameters of this one's shapes with the numbers of `theta`, (n_params,)."""
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
        """b_u and b_i, or None without biases."""
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
        """The arrays there are, in the order P, Q, b_u, b_i."""
        all_blocks = (self.user_factors, self.item_factors, self.user_bias, self.item_bias)
        return [block for block in all_blocks if block is not None]

    def equals(self, other: Parameters) -> bool:
        """Whether shapes and every number are equal."""
        ours, theirs = self.blocks(), other.blocks()
        return (
            (self.global_mean, self.rating_range) == (other.global_mean, other.rating_range)
            and len(ours) == len(theirs)
            and all(map(np.array_equal, ours, theirs))
        )

    def predict(self, user_idx: npt.ArrayLike, item_idx: npt.ArrayLike) -> FloatArray:
        """Predicted stars, equations (1) and (1s) of `shallow_cf.objective`.

        Parameters
        ----------
        user_idx, item_idx : arrays of int that broadcast against each other

        Returns
        -------
        array of float
            Stars.
        """
        u, i = np.asarray(user_idx), np.asarray(item_idx)
        p_u, q_i = self.user_factors[u], self.item_factors[i]
        score: FloatArray = np.einsum("...k,...k->...", p_u, q_i)  # (1)
        if self.biases is not None:
            bu, bi = self.biases
            score = score + bu[u] + bi[i]  # (1)
        return self.squash(score)

    def predict_all(self) -> FloatArray:
        """Predicted stars of every user for every item, (n_users, n_items)."""
        score: FloatArray = self.user_factors @ self.item_factors.T  # (1)
        if self.biases is not None:
            bu, bi = self.biases
            score = score + bu[:, None] + bi  # (1)
        return self.squash(score)

    @property
    def offset(self) -> float:
        """What the global mean adds to every score: mu, stars, or its place in the range."""
        if self.global_mean is None:
            return 0.0
        if self.rating_range is None:
            return self.global_mean
        low, high = self.rating_range
        return math.log((self.global_mean - low) / (high - self.global_mean))  # (1s)

    def squash(self, score: FloatArray) -> FloatArray:
        """Predictions, stars, from dot products plus biases: adds the mean, keeps to the range."""
        if self.global_mean is not None:
            score = score + self.offset  # (1)
        return squash(score, self.rating_range)

    def slope(self, prediction: FloatArray) -> FloatArray | float:
        """How fast predictions grow with their score; 1 without a range."""
        return slope(prediction, self.rating_range)

    def check_plain(self, who: str) -> None:
        """Raise ValueError, naming `who` cannot have them, if there is a mean or a range."""
        if self.global_mean is not None or self.rating_range is not None:
            raise ValueError(
                f"{who} has the spreadsheet's model, without global_mean and rating_range, "
                f"got {self!r}"
            )

    def with_blocks(self, blocks: Iterable[FloatArray]) -> Self:
        """Parameters with other numbers in `blocks`, the same mean and range."""
        return type(self)(*blocks, global_mean=self.global_mean, rating_range=self.rating_range)

    def places(self) -> dict[str, IntArray]:
        """Where each number stands in theta: name of a block -> indices of its shape."""
        names = ("user_factors", "item_factors", "user_bias", "item_bias")
        blocks = self.unpack(np.arange(self.n_params, dtype=np.float64)).blocks()
        return {name: block.astype(np.intp) for name, block in zip(names, blocks, strict=False)}

    def select(self, user_idx: IntArray, item_idx: IntArray) -> Self:
        """The parameters of some users and items only."""
        blocks, idx = self.blocks(), (user_idx, item_idx, user_idx, item_idx)
        return self.with_blocks(block[k] for block, k in zip(blocks, idx, strict=False))


def squash(score: FloatArray, rating_range: Range) -> FloatArray:
    """Stars within the range from scores, equation (1s); without a range the scores."""
    if rating_range is None:
        return score
    low, high = rating_range
    r_hat: FloatArray = low + (high - low) * expit(score)  # (1s)
    return r_hat


def slope(prediction: FloatArray, rating_range: Range) -> FloatArray | float:
    """How fast predictions grow with their score, equation (2s); 1 without a range."""
    if rating_range is None:
        return 1.0
    low, high = rating_range
    return (prediction - low) * (high - prediction) / (high - low)  # (2s)
