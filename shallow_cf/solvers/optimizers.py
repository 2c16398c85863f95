r"""Update rules: how a gradient moves the parameters.

Every rule is a pure function of parameters, gradient, its own memory of earlier gradients
and the learning rate: nothing is changed in place, nothing is drawn at random. All work
entry by entry, so :math:`\theta` below is any single parameter, *g* its entry in the
gradient of a batch, eta the learning rate, and the arrow sets a new value. The memory starts
at 0.

    (14a)  SGD        theta <- theta - eta g
    (14b)  momentum   v <- beta v + g;                       theta <- theta - eta v
    (14c)  Nesterov   v <- beta v + g;                       theta <- theta - eta (g + beta v)
    (14d)  Adagrad    s <- s + g^2;                          theta <- theta - eta g / (sqrt s + eps)
    (14e)  RMSprop    s <- beta2 s + (1 - beta2) g^2;        theta <- theta - eta g / (sqrt s + eps)
    (14f)  Adam       m <- beta m + (1 - beta) g;  s as in (14e);
                      theta <- theta - eta (m / w_m) / (sqrt(s / w_s) + eps)
    (14g)  AdamW      theta <- (1 - eta weight_decay) theta;  then (14f)

Each class below says where its rule comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from shallow_cf._checks import check_number, check_share
from shallow_cf.parameters import FloatArray

#: A rule's memory: arrays of theta's shape, and single numbers.
Memory = dict[str, FloatArray]


class Optimizer(Protocol):
    """A rule. ``step`` returns the new parameters and the new memory."""

    #: Names of the arrays and of the single numbers that it remembers, 0 at the start.
    arrays: ClassVar[tuple[str, ...]]
    numbers: ClassVar[tuple[str, ...]]

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update.

        Parameters
        ----------
        theta : (n_params,) array of float
        g : (n_params,) array of float
            Gradient.
        memory : dict
            What `start` or the step before gave.
        eta : float
            Learning rate.
        momentum : float or None
            beta of this step, where a schedule varies it; None for the rule's own.

        Examples
        --------
        >>> import numpy as np
        >>> rule, theta = Momentum(0.9), np.array([1.0])
        >>> theta, memory = rule.step(theta, np.array([2.0]), start(rule, theta), 0.1, None)
        >>> theta, memory["velocity"]
        (array([0.8]), array([2.]))
        """


def start(rule: Optimizer, theta: FloatArray) -> Memory:
    """The memory of a rule before its first step.

    Examples
    --------
    >>> import numpy as np
    >>> sorted(start(Adam(), np.ones(2)))
    ['mean', 'mean_weight', 'squares', 'squares_weight']
    >>> start(Adam(), np.ones(2))["mean"]
    array([0., 0.])
    """
    return {name: np.zeros_like(theta) for name in rule.arrays} | {
        name: np.zeros(()) for name in rule.numbers
    }


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent (14a).

    The gradient is the direction in which the loss rises fastest: to first order
    ``loss(theta + d) = loss(theta) + g . d``, smallest for a d of given length against g.
    Robbins and Monro (1951), "A Stochastic Approximation Method", Annals of Mathematical
    Statistics 22(3).

    Examples
    --------
    >>> import numpy as np
    >>> SGD().step(np.array([1.0]), np.array([2.0]), {}, 0.1, None)
    (array([0.8]), {})
    """

    arrays: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[tuple[str, ...]] = ()

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        return theta - eta * g, memory  # (14a)


@dataclass(frozen=True)
class Momentum:
    """A heavy ball (14b): each step adds to what is left of the ones before.

    Newton's law for a ball that rolls down the loss with friction, ``x'' = -g - c x'``,
    taken in small steps, is (14b): beta is what friction leaves of the velocity. A constant
    gradient is followed with ``eta / (1 - beta)`` in the end. Polyak (1964), "Some methods
    of speeding up the convergence of iteration methods", USSR Computational Mathematics and
    Mathematical Physics 4(5).

    Parameters
    ----------
    momentum : float
        beta, from 0 (which is `SGD`) to less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g, memory = np.array([1.0]), np.array([2.0]), {"velocity": np.array([0.0])}
    >>> for _ in range(2):
    ...     theta, memory = Momentum(0.9).step(theta, g, memory, 0.1, None)
    ...     print(memory["velocity"].round(2), theta.round(2))  # 0.9 * 2 + 2 = 3.8
    [2.] [0.8]
    [3.8] [0.42]
    """

    momentum: float = 0.9
    arrays: ClassVar[tuple[str, ...]] = ("velocity",)
    numbers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _check_decay("momentum", self.momentum)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        beta = self.momentum if momentum is None else momentum
        v = beta * memory["velocity"] + g  # (14b)
        return theta - eta * v, {"velocity": v}  # (14b)


@dataclass(frozen=True)
class Nesterov:
    """A ball that looks ahead (14c).

    The gradient is wanted where momentum is about to carry the ball, at
    ``theta - eta beta v``. Calling that point theta, so that gradients are taken where
    parameters stand, turns the rule into (14c): the step that momentum will make next is
    made at once. (With ``x = theta + eta beta v`` for the ball and v' for the new velocity,
    ``x <- x - eta v'`` is ``theta <- theta + eta beta v - eta v' - eta beta v'``, and
    ``v' - beta v`` is g. With eta or beta changing on the way the two differ a little.)
    Nesterov (1983), "A method of solving a convex programming problem with convergence rate
    O(1/k^2)"; with a velocity Sutskever, Martens, Dahl and Hinton (2013), "On the importance
    of initialization and momentum in deep learning"; with gradients at theta Bengio,
    Boulanger-Lewandowski and Pascanu (2013), "Advances in optimizing recurrent networks".

    Parameters
    ----------
    momentum : float
        beta, from 0 to less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g, memory = np.array([1.0]), np.array([2.0]), {"velocity": np.array([0.0])}
    >>> theta, memory = Nesterov(0.9).step(theta, g, memory, 0.1, None)
    >>> theta.round(2)  # 1 - 0.1 * (2 + 0.9 * 2)
    array([0.62])
    """

    momentum: float = 0.9
    arrays: ClassVar[tuple[str, ...]] = ("velocity",)
    numbers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _check_decay("momentum", self.momentum)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        beta = self.momentum if momentum is None else momentum
        v = beta * memory["velocity"] + g  # (14c)
        return theta - eta * (g + beta * v), {"velocity": v}  # (14c)


@dataclass(frozen=True)
class Adagrad:
    """A learning rate for each parameter, by the gradients it has had (14d).

    The step d is the one that makes ``g d + sqrt(s) d^2 / (2 eta)`` smallest: what it gains
    to first order plus a price for its length, which is higher where gradients have been
    large. The derivative, ``g + sqrt(s) d / eta``, is 0 at ``d = -eta g / sqrt(s)``. Rarely
    rated items keep large steps, popular ones slow down.
    Duchi, Hazan and Singer (2011), "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12.

    Parameters
    ----------
    epsilon : float
        Keeps the first steps finite.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g, memory = np.ones(2), np.array([2.0, 0.02]), {"squares": np.zeros(2)}
    >>> for _ in range(2):  # steps 0.1, then 0.1 / sqrt(2): how large g is plays no part
    ...     theta, memory = Adagrad().step(theta, g, memory, 0.1, None)
    ...     print(theta.round(2))
    [0.9 0.9]
    [0.83 0.83]
    """

    epsilon: float = 1e-10
    arrays: ClassVar[tuple[str, ...]] = ("squares",)
    numbers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_number("epsilon", self.epsilon, 0.0, above=True)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        s = memory["squares"] + g * g  # (14d)
        return theta - eta * g / (np.sqrt(s) + self.epsilon), {"squares": s}  # (14d)


@dataclass(frozen=True)
class RMSprop:
    """Adagrad that forgets (14e): a moving average of squared gradients, not their sum.

    With the sum, steps shrink for ever, even where early gradients were large by accident;
    an average with weights ``(1 - beta2) beta2^j`` on the gradient of j steps ago follows
    what gradients are now. Tieleman and Hinton (2012), "Lecture 6.5 - rmsprop", Coursera:
    Neural Networks for Machine Learning.

    Parameters
    ----------
    beta2 : float
        What is kept of the average in a step, from 0 to less than 1.
    epsilon : float
        Keeps steps finite.

    Examples
    --------
    >>> import numpy as np
    >>> theta, memory = np.array([1.0]), {"squares": np.array([4.0])}
    >>> theta, memory = RMSprop(beta2=0.75).step(theta, np.array([0.0]), memory, 0.1, None)
    >>> memory["squares"]  # Adagrad's would still be 4
    array([3.])
    """

    beta2: float = 0.99
    epsilon: float = 1e-8
    arrays: ClassVar[tuple[str, ...]] = ("squares",)
    numbers: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _check_decay("beta2", self.beta2)
        check_number("epsilon", self.epsilon, 0.0, above=True)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        s = self.beta2 * memory["squares"] + (1 - self.beta2) * (g * g)  # (14e)
        return theta - eta * g / (np.sqrt(s) + self.epsilon), {"squares": s}  # (14e)


@dataclass(frozen=True)
class Adam:
    """Momentum with a learning rate for each parameter (14f).

    m and s are moving averages that start at 0, so after t steps their weights sum to
    ``w = 1 - beta^t`` and not to 1; dividing by w makes means of them again. Without it, m
    would be too small at first, and so would sqrt s, which it is divided by. Where a
    schedule varies beta, the product of the betas so far stands for ``beta^t``. Kingma and
    Ba (2015), "Adam: A Method for Stochastic Optimization".

    An L2 penalty in the gradient is divided by sqrt s like the rest of it, so that
    parameters with large gradients are pulled less towards 0; see `AdamW`.

    Parameters
    ----------
    momentum : float
        beta of the mean, from 0 to less than 1 (beta1 in the paper).
    beta2 : float
        beta of the squares, from 0 to less than 1. 0.99 is fast.ai's, the paper has 0.999.
    epsilon : float
        Keeps steps finite. 1e-5 is fast.ai's, the paper has 1e-8.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g = np.ones(3), np.array([2.0, 0.02, 0.0])
    >>> theta, memory = Adam().step(theta, g, start(Adam(), theta), 0.1, None)
    >>> theta.round(2)  # the first step is eta, however small g is, but not 0
    array([0.9, 0.9, 1. ])
    >>> float(memory["mean"][0].round(2)), float(memory["mean_weight"].round(2))  # 0.2 / 0.1 = g
    (0.2, 0.1)
    """

    momentum: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-5
    arrays: ClassVar[tuple[str, ...]] = ("mean", "squares")
    numbers: ClassVar[tuple[str, ...]] = ("mean_weight", "squares_weight")

    def __post_init__(self) -> None:
        _check_decay("momentum", self.momentum)
        _check_decay("beta2", self.beta2)
        check_number("epsilon", self.epsilon, 0.0, above=True)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        beta = self.momentum if momentum is None else momentum
        w_m = beta * memory["mean_weight"] + (1 - beta)  # 1 - beta^t
        w_s = self.beta2 * memory["squares_weight"] + (1 - self.beta2)
        # (14f), numerator and denominator times sqrt(w_s), which spares a division of all s;
        # each array is made once and then worked on, which takes three quarters of the time.
        m = beta * memory["mean"]
        m += (1 - beta) * g
        s = self.beta2 * memory["squares"]
        s += (1 - self.beta2) * (g * g)
        length = np.sqrt(s)
        length += self.epsilon * np.sqrt(w_s)
        move = (eta * np.sqrt(w_s) / w_m) * m
        move /= length
        memory = {"mean": m, "squares": s, "mean_weight": w_m, "squares_weight": w_s}
        return theta - move, memory


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (14g).

    Plain gradient descent on ``loss + reg/2 |theta|^2`` multiplies theta by ``1 - eta reg``
    in each step, besides following the loss. Adam does not (see there); AdamW does the
    shrinking by itself, beside the gradient, so that all parameters shrink at the same rate,
    those without a rating in the batch as well. Loshchilov and Hutter (2019), "Decoupled
    Weight Decay Regularization"; there the decay follows the schedule only, here it is
    multiplied by eta as a whole, as fast.ai and PyTorch have it.

    Parameters
    ----------
    momentum, beta2, epsilon : float
        As in `Adam`.
    weight_decay : float
        Share of a parameter that is lost in a step of learning rate 1, >= 0. This is not
        `reg`, the weight of a penalty in the loss.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g = np.ones(3), np.array([2.0, 0.02, 0.0])
    >>> rule = AdamW(weight_decay=0.1)
    >>> rule.step(theta, g, start(rule, theta), 0.1, None)[0].round(2)  # 0.99, then Adam's step
    array([0.89, 0.89, 0.99])
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("weight_decay", self.weight_decay, 0.0)

    def step(
        self, theta: FloatArray, g: FloatArray, memory: Memory, eta: float, momentum: float | None
    ) -> tuple[FloatArray, Memory]:
        """One update; see `Optimizer`."""
        shrunk = (1 - eta * self.weight_decay) * theta  # (14g)
        return super().step(shrunk, g, memory, eta, momentum)


def _check_decay(name: str, value: float) -> None:
    """Refuse what is no share from 0 to less than 1."""
    if check_share(name, value) == 1:
        raise ValueError(f"`{name}` must be < 1, got {value}")


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
