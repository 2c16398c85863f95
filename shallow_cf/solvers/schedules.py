"""Schedules: how the learning rate, and at times momentum, changes while training goes on.

With tau the share of the training that is done, from 0 to 1, and f the factor that the
learning rate is multiplied by:

    (15a)  constant    f = 1
    (15b)  linear      f = 1 - e / n_epochs in epoch e = 0, 1, ...
    (15c)  step        f = factor^j once j of the given epochs have begun
    (15d)  cosine      f = (1 + cos(pi tau)) / 2
    (15e)  one cycle   up along a cosine from 1/div to 1 until tau = warmup, then down to
                       1/div_final; momentum the other way round
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shallow_cf._checks import check_int, check_number, check_share


class Setting(NamedTuple):
    """What a schedule says about a step.

    Examples
    --------
    >>> Setting(0.5)
    Setting(factor=0.5, momentum=None)
    """

    factor: float  #: of the learning rate
    momentum: float | None = None  #: None: the optimiser's own


class Schedule(Protocol):
    """How the learning rate changes."""

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """The setting of a step.

        Parameters
        ----------
        epoch : int
            From 0.
        n_epochs : int
        within : float
            Share of the epoch that is done, from 0 to less than 1.

        Examples
        --------
        >>> Linear().at(epoch=3, n_epochs=4, within=0.5)
        Setting(factor=0.25, momentum=None)
        """


@dataclass(frozen=True)
class Constant:
    """The same learning rate all the time (15a).

    Examples
    --------
    >>> [Constant().at(epoch, 4, 0.0).factor for epoch in range(4)]
    [1.0, 1.0, 1.0, 1.0]
    """

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """See `Schedule`."""
        return Setting(1.0)  # (15a)


@dataclass(frozen=True)
class Linear:
    """Falls by the same amount after each epoch, to 1/n_epochs in the last (15b).

    Large steps first, and in the end the noise of the batches dies out: the idea of Robbins
    and Monro (1951).

    Examples
    --------
    >>> [Linear().at(epoch, 4, 0.0).factor for epoch in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """See `Schedule`."""
        return Setting(1 - epoch / n_epochs)  # (15b)


@dataclass(frozen=True)
class Step:
    """Falls by a factor at given epochs (15c).

    Parameters
    ----------
    epochs : sequence of int
        Numbers of epochs made, >= 1, after which it falls; ``(3,)``: the fourth epoch is the
        first with the lower rate.
    factor : float
        More than 0, up to 1.

    Examples
    --------
    >>> [Step((1, 3), 0.5).at(epoch, 4, 0.0).factor for epoch in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    epochs: Sequence[int] = (10,)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, Sequence):
            raise TypeError(f"`epochs` must be a sequence of whole numbers, got {self.epochs!r}")
        object.__setattr__(self, "epochs", tuple(check_int("epochs", e, 1) for e in self.epochs))
        check_number("factor", check_share("factor", self.factor), 0.0, above=True)

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """See `Schedule`."""
        return Setting(self.factor ** sum(e <= epoch for e in self.epochs))  # (15c)


@dataclass(frozen=True)
class Cosine:
    """Falls along half a cosine to 0 (15d).

    Loshchilov and Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts",
    without the restarts.

    Examples
    --------
    >>> [round(Cosine().at(epoch, 4, 0.0).factor, 2) for epoch in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """See `Schedule`."""
        return Setting((1 + math.cos(math.pi * (epoch + within) / n_epochs)) / 2)  # (15d)


@dataclass(frozen=True)
class OneCycle:
    """Up to the learning rate and down to almost 0, momentum the other way round (15e).

    Large rates in the middle carry the parameters far and keep them out of narrow minima;
    meanwhile less momentum keeps the steps, which grow with both, in bounds. Smith (2018),
    "A disciplined approach to neural network hyper-parameters: Part 1", as fast.ai has it:
    with cosines. The defaults are those of fastai 2; `OneCycle.v1` has fastai 1's.

    Parameters
    ----------
    warmup : float
        Share of the training in which the rate rises.
    div, div_final : float
        The rate begins at 1/div of its highest and ends at 1/div_final.
    momentum : three floats
        At the start, at the highest rate, at the end.

    Examples
    --------
    >>> rates = [OneCycle().at(epoch, 4, 0.0) for epoch in range(4)]
    >>> [round(float(rate.factor), 2) for rate in rates]
    [0.04, 1.0, 0.75, 0.25]
    """

    warmup: float = 0.25
    div: float = 25.0
    div_final: float = 1e5
    momentum: Sequence[float] = (0.95, 0.85, 0.95)

    def __post_init__(self) -> None:
        check_share("warmup", self.warmup)
        check_number("div", self.div, 1.0)
        check_number("div_final", self.div_final, 1.0)
        if not isinstance(self.momentum, Sequence) or len(self.momentum) != 3:
            raise TypeError(f"`momentum` must be three numbers, got {self.momentum!r}")
        object.__setattr__(self, "momentum", tuple(self.momentum))
        if any(check_share("momentum", m) == 1 for m in self.momentum):
            raise ValueError(f"`momentum` must be three numbers < 1, got {self.momentum}")

    @classmethod
    def v1(cls) -> OneCycle:
        """The defaults of fastai 1: rises for 30% and ends at 1/250,000.

        Examples
        --------
        >>> OneCycle.v1()
        OneCycle(warmup=0.3, div=25.0, div_final=250000.0, momentum=(0.95, 0.85, 0.95))
        """
        return cls(warmup=0.3, div_final=25e4)

    def at(self, epoch: int, n_epochs: int, within: float) -> Setting:
        """See `Schedule`.

        Examples
        --------
        >>> setting = OneCycle().at(epoch=1, n_epochs=4, within=0.0)  # the highest
        >>> float(setting.factor), setting.momentum
        (1.0, 0.85)
        """
        tau = (epoch + within) / n_epochs
        first, highest, last = self.momentum
        if tau < self.warmup:
            up = tau / self.warmup
            return Setting(_cosine(1 / self.div, 1.0, up), _cosine(first, highest, up))  # (15e)
        down = (tau - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        return Setting(_cosine(1.0, 1 / self.div_final, down), _cosine(highest, last, down))


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "step": Step,
    "cosine": Cosine,
    "onecycle": OneCycle,
}
