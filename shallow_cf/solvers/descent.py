"""The loop of gradient descent by mini-batches, for anything that has a gradient.

Each epoch goes once through the ratings, as a rule in random order, a batch B at a time. With
G the gradient of ``1/2 sum over B of e^2``, a step follows the gradient of one of

    (16a)  half_sse   G + |B|/n reg theta      each batch carries its share of the penalty,
                                               so that an epoch's batches add up to (3a)
    (16b)  mse        2/|B| G + reg theta      the batch's mean (3c): batches of all sizes
                                               take the same learning rate

Both are right on average: the mean over random batches is the gradient of the whole, (5m) for
(16b), and |B|/n of that of (3a) for (16a). Between them lies 2/|B|: without a penalty, plain
descent of the mean with learning rate eta makes the steps of (16a) with 2 eta/|B|.

Large batches need another rule. Let user u have c ratings in a batch. Seen from the row x of
its numbers, the other side's rows held fixed, 1/2 sum e^2 has the second derivatives c H, where
H is the mean of v v^T over its ratings and v the gradient of r_hat: q_i, and 1 for a bias. A
step (16a) multiplies what is missing to the row's minimum by 1 - eta c H. With every eigenvalue
of eta c H below 1 it comes nearer from the same side; above 2 it overshoots by more than was
missing, and popular rows, whose c grows with the batch, blow up. In a mean (16b) they do not,
but a row with one rating moves by 1/|B| of what it moved by alone: it hardly learns. So

    (16c)  row_limit m   every number of a row that has c ratings in the batch takes
                         min(1, m/c) of the gradient (16a) or (16b), penalty included

which multiplies by 1 - eta min(c, m) H: no eigenvalue grows with the batch, and rows with m
ratings or fewer take the very step of (16a). As the largest eigenvalue of H is at most the mean
of |v|^2, eta m below 1 over that is safe in batches of any size: a learning rate that serves
batches of m ratings serves larger ones. A row's factor is the same for all its numbers and
positive, so that where the gradient is zero nothing moves, with the limit as without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from shallow_cf._checks import check_bool, check_choice, check_int, check_number
from shallow_cf.parameters import FloatArray, IntArray
from shallow_cf.solvers.optimizers import OPTIMIZERS, SGD, Memory, Optimizer, start
from shallow_cf.solvers.result import Callback, TraceRow
from shallow_cf.solvers.schedules import SCHEDULES, Linear, Schedule

LOSSES = ("half_sse", "mse")
DTYPES = ("float64", "float32")
OVERFLOWS = "the parameters to start from, or the ratings, are so large that the error overflows"
#: Ratings from which on it pays to sort the positions in a batch (measured).
_SORTED_FROM = 512
#: Parameters a piece of a step, so that what it works on stays in the processor's cache (measured).
_PIECE = 12288


class DivergenceError(ValueError):
    """The learning rate was too large: the error grew beyond all bounds.

    Attributes
    ----------
    epoch : int
        The epoch, counted from 1, in which it happened.
    learning_rate : float
        That of the settings.

    Examples
    --------
    >>> import shallow_cf as scf
    >>> options = scf.SGDOptions(learning_rate=4)
    >>> model = scf.MatrixFactorization(solver_options=options, random_state=0)
    >>> try:
    ...     model.fit(scf.load_crosstab())
    ... except scf.DivergenceError as error:
    ...     print(f"epoch {error.epoch}: not with {error.learning_rate}")
    epoch 1: not with 4
    """

    def __init__(self, epoch: int, learning_rate: float) -> None:
        self.epoch, self.learning_rate = epoch, learning_rate
        super().__init__(
            f"diverged in epoch {epoch} with learning_rate {learning_rate:g}: "
            f"try learning_rate={learning_rate / 4:g}, a smaller batch_size, "
            "or a smaller init_scale when there are many factors"
        )

    def __reduce__(self) -> tuple[type[DivergenceError], tuple[int, float]]:
        return type(self), (self.epoch, self.learning_rate)  # to be pickled between processes


@dataclass(frozen=True)
class SGDOptions:
    """Settings of gradient descent by mini-batches.

    Parameters
    ----------
    n_epochs : int
        How often to go through the ratings.
    learning_rate : float
        Step size eta; the schedule's highest.
    batch_size : int
        Ratings a step; more than there are means all of them. With the loss "half_sse"
        steps are sums over the batch, so that a larger one needs a smaller learning rate
        (0.01 for all 206 ratings of the crosstab at once), or `row_limit`.
    reg : float
        L2 penalty lambda >= 0 in the loss. For decoupled decay see `AdamW`.
    shuffle : bool
        Whether each epoch goes through the ratings in another random order; if not, it
        goes row by row through the crosstab, as the workbook's sheet `sgd` does.
    loss : {"half_sse", "mse"}
        What a batch descends: sum (16a) or mean (16b), which is what deep-learning
        libraries use, so that their learning rates apply.
    optimizer : Optimizer or str
        Rule by which a gradient moves the parameters, or its name with default settings:
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw".
    schedule : Schedule or str
        How the learning rate changes: "constant", "linear", "step", "cosine", "onecycle".
    patience : int, optional
        Stop after so many epochs without a better RMSE on the validation ratings, and take
        the best epoch's parameters. None runs all epochs and takes the last.
    row_limit : int, optional
        By how many of its ratings in a batch a user or an item moves at most (16c). With
        ``learning_rate * row_limit`` of about 1 batches of thousands are as accurate as small
        ones, with the learning rate of the small ones. None: by all.
    dtype : {"float64", "float32"}
        Precision of the steps. Single precision halves the memory that an epoch goes through.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its range.

    Examples
    --------
    >>> SGDOptions(5, 5e-3, 64, loss="mse", optimizer="adam", schedule="onecycle").optimizer
    Adam(momentum=0.9, beta2=0.99, epsilon=1e-05)
    """

    n_epochs: int = 1000
    learning_rate: float = 0.05
    batch_size: int = 32
    reg: float = 0.0
    shuffle: bool = True
    loss: str = "half_sse"
    optimizer: Optimizer | str = field(default_factory=SGD)
    schedule: Schedule | str = field(default_factory=Linear)
    patience: int | None = None
    row_limit: int | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # in its few bits products would overflow or round
                object.__setattr__(self, name, value.item())
        check_int("n_epochs", self.n_epochs, 1)
        check_number("learning_rate", self.learning_rate, 0.0, above=True)
        check_int("batch_size", self.batch_size, 1)
        check_number("reg", self.reg, 0.0)
        check_bool("shuffle", self.shuffle)
        check_choice("loss", self.loss, LOSSES)
        object.__setattr__(self, "optimizer", _named("optimizer", self.optimizer, OPTIMIZERS))
        object.__setattr__(self, "schedule", _named("schedule", self.schedule, SCHEDULES))
        if self.patience is not None:
            check_int("patience", self.patience, 1)
        if self.row_limit is not None:
            check_int("row_limit", self.row_limit, 1)
        check_choice("dtype", self.dtype, DTYPES)

    @property
    def rule(self) -> Optimizer:
        """The optimiser, never a name.

        Examples
        --------
        >>> SGDOptions(optimizer="momentum").rule
        Momentum(momentum=0.9)
        """
        return cast(Optimizer, self.optimizer)

    @property
    def pace(self) -> Schedule:
        """The schedule, never a name.

        Examples
        --------
        >>> SGDOptions(schedule="cosine").pace
        Cosine()
        """
        return cast(Schedule, self.schedule)


def _named(name: str, value: Any, kinds: dict[str, type[Any]]) -> Any:
    """A rule from its name, from its settings as JSON has them, or as it is."""
    if isinstance(value, tuple(kinds.values())):
        return value
    settings = dict(value) if isinstance(value, dict) else {"name": value}
    kind = settings.pop("name", None)
    if not isinstance(kind, str):
        raise TypeError(
            f"`{name}` must be one of {', '.join(kinds)}, or an object such as "
            f"{next(iter(kinds.values())).__name__}(), got {value!r}"
        )
    made = kinds[check_choice(name, kind, tuple(kinds))]
    known = [setting.name for setting in fields(made)]
    for setting in settings:
        if setting not in known:
            only = f", only {', '.join(known)}" if known else ""
            raise TypeError(f"`{name}`: {kind} has no setting {setting!r}{only}")
    return made(**settings)


class Descendable(Protocol):
    """What can be trained: parameters in one vector theta, (n_params,), and ratings."""

    @property
    def n_ratings(self) -> int:
        """Ratings to train on."""

    def gradient(self, theta: FloatArray, batch: IntArray) -> FloatArray:
        """Gradient of 1/2 sum e^2 over the ratings at the positions `batch`, (n_params,)."""

    def rmse(self, theta: FloatArray) -> float:
        """RMSE over all training ratings, stars."""

    def valid_rmse(self, theta: FloatArray) -> float:
        """RMSE over the validation ratings, stars; NaN without any."""


@runtime_checkable
class RowLimited(Protocol):
    """A `Descendable` with rows that each belong to one user or item."""

    def limit_rows(self, g: FloatArray, batch: IntArray, limit: int) -> None:
        """Multiply rows of `g` by (16c), in place."""


@dataclass
class Progress:
    """Where a run stands after an epoch: all it needs to go on with the same bits.

    `descend` puts new objects into its fields and leaves the old ones as they are, so that a
    shallow copy (``dataclasses.replace(progress)``) is a snapshot. Numbers of single precision
    stand in it in double precision, which holds them exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, load_crosstab
    >>> from shallow_cf.solvers.sgd import Factorization
    >>> form, rng = Parameters.random(15, 15, 5, random_state=0), np.random.default_rng(0)
    >>> problem, options = Factorization(load_crosstab(), form), SGDOptions(n_epochs=3)
    >>> progress = begin(problem, form.pack(), options, rng)
    >>> descend(problem, options, progress, rng, largest_rating=5.0), progress.epoch
    ('Ran 3 epochs.', 3)
    """

    theta: FloatArray
    memory: Memory
    rng_state: Mapping[str, Any]
    trace: list[TraceRow]
    best_theta: FloatArray
    best_epoch: int = 0

    @property
    def epoch(self) -> int:
        """How many epochs were made."""
        return int(self.trace[-1]["epoch"])


def is_whole(progress: Progress, rule: Optimizer, n_params: int) -> bool:
    """Whether a run with so many parameters can go on from here, which a file may only claim."""
    shapes = {name: array.shape for name, array in start(rule, np.empty(n_params)).items()}
    numbers = [progress.theta, progress.best_theta, *progress.memory.values()]
    trace = progress.trace
    return (
        {name: array.shape for name, array in progress.memory.items()} == shapes
        and progress.theta.shape == progress.best_theta.shape == (n_params,)
        and all(array.dtype == np.float64 and np.isfinite(array).all() for array in numbers)
        and [row["epoch"] for row in trace] == list(range(len(trace)))
        and all(np.isfinite((row["train_rmse"], row["seconds"])).all() for row in trace)
        and all("valid_rmse" in row for row in trace)
        and isinstance(progress.best_epoch, int)
        and 0 <= progress.best_epoch < len(trace)
    )


#: Called with the state of the run after each epoch.
Keeper = Callable[[Progress], None]


def begin(
    problem: Descendable, theta: FloatArray, options: SGDOptions, rng: np.random.Generator
) -> Progress:
    """The state before the first epoch.

    Raises
    ------
    ValueError
        If the error of `theta` overflows, or patience is asked for without validation ratings.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, load_crosstab
    >>> from shallow_cf.solvers.sgd import Factorization
    >>> form = Parameters.random(15, 15, 5, random_state=0)
    >>> problem = Factorization(load_crosstab(), form)
    >>> begin(problem, form.pack(), SGDOptions(), np.random.default_rng(0)).epoch
    0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        row: TraceRow = {
            "epoch": 0,
            "train_rmse": problem.rmse(theta),
            "valid_rmse": problem.valid_rmse(theta),
            "learning_rate": np.nan,
            "seconds": 0.0,
        }
    if not np.isfinite(row["train_rmse"]):
        raise ValueError(OVERFLOWS)
    if options.patience is not None and np.isnan(row["valid_rmse"]):
        raise ValueError("`patience` needs validation ratings: pass `valid`")
    memory = start(options.rule, theta)
    return Progress(theta.copy(), memory, rng.bit_generator.state, [row], theta.copy())


def descend(
    problem: Descendable,
    options: SGDOptions,
    progress: Progress,
    rng: np.random.Generator,
    *,
    largest_rating: float,
    callback: Callback | None = None,
    keep: Keeper | None = None,
) -> str:
    """Make the epochs that are missing in `progress`, changing it; return why it ended.

    Parameters
    ----------
    problem : Descendable
    options : SGDOptions
    progress : Progress
        What `begin` gave, or what a run was stopped with.
    rng : Generator
        Of the order of ratings; set to the state in `progress`.
    largest_rating : float
        Of the ratings' sizes, stars: an error beyond all proportion to it is divergence.
    callback : callable, optional
        Called with each row of the trace; returning True stops.
    keep : callable, optional
        Called with `progress` after each epoch, and before `callback`.

    Returns
    -------
    str
        Why it ended. Ctrl-C, wherever it comes, ends the run with the last full epoch in
        `progress`.

    Raises
    ------
    DivergenceError
        If the error grows beyond all bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, load_crosstab
    >>> from shallow_cf.solvers.sgd import Factorization
    >>> form, rng = Parameters.random(15, 15, 5, random_state=0), np.random.default_rng(0)
    >>> problem, options = Factorization(load_crosstab(), form), SGDOptions(n_epochs=100)
    >>> progress = begin(problem, form.pack(), options, rng)
    >>> descend(
    ...     problem, options, progress, rng,
    ...     largest_rating=5.0, callback=lambda row: row["epoch"] == 3)
    "Stopped at the user's request after 3 epochs."
    """
    rng.bit_generator.state = progress.rng_state
    started = time.perf_counter() - progress.trace[-1]["seconds"]
    # No useful run ends a million times worse than both its start and the ratings' size.
    bound = 1e6 * max(progress.trace[0]["train_rmse"], largest_rating)
    message = f"Ran {_epochs(options.n_epochs)}."
    try:
        for epoch in range(progress.epoch, options.n_epochs):
            if options.patience is not None and epoch - progress.best_epoch >= options.patience:
                message = (
                    f"Stopped early: no better validation RMSE in {_epochs(options.patience)}."
                )
                break
            theta, memory, eta = _epoch(problem, options, progress, epoch, rng)
            with np.errstate(over="ignore", invalid="ignore"):
                train, valid = problem.rmse(theta), problem.valid_rmse(theta)
            if not train <= bound or not np.isfinite(theta).all():
                raise DivergenceError(epoch + 1, options.learning_rate)
            row: TraceRow = {
                "epoch": epoch + 1,
                "train_rmse": train,
                "valid_rmse": valid,
                "learning_rate": eta,
                "seconds": time.perf_counter() - started,
            }
            _advance(progress, theta, memory, rng.bit_generator.state, row)
            if keep is not None:
                keep(progress)
            if callback is not None and callback(row):
                message = f"Stopped at the user's request after {_epochs(epoch + 1)}."
                break
    except KeyboardInterrupt:
        message = f"Interrupted after {_epochs(progress.epoch)}."
    return message


def _epochs(n: int) -> str:
    return f"{n} epoch" if n == 1 else f"{n} epochs"


def _advance(
    progress: Progress,
    theta: FloatArray,
    memory: Memory,
    rng_state: Mapping[str, Any],
    row: TraceRow,
) -> None:
    """Write an epoch's outcome into `progress`, all fields at once: Ctrl-C cannot come between."""
    theta = theta.astype(np.float64, copy=False)
    changes = {
        "theta": theta,
        "memory": {name: array.astype(np.float64, copy=False) for name, array in memory.items()},
        "rng_state": rng_state,
        "trace": [*progress.trace, row],
    }
    if row["valid_rmse"] < progress.trace[progress.best_epoch]["valid_rmse"]:
        changes |= {"best_theta": theta.copy(), "best_epoch": len(progress.trace)}
    vars(progress).update(changes)


def found(progress: Progress, options: SGDOptions) -> FloatArray:
    """The parameters to take: the last epoch's or, with patience, the best's.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, load_crosstab
    >>> from shallow_cf.solvers.sgd import Factorization
    >>> form = Parameters.random(15, 15, 5, random_state=0)
    >>> problem = Factorization(load_crosstab(), form)
    >>> progress = begin(problem, form.pack(), SGDOptions(), np.random.default_rng(0))
    >>> found(progress, SGDOptions()) is progress.theta
    True
    >>> found(progress, SGDOptions(patience=5)) is progress.best_theta
    True
    """
    return progress.theta if options.patience is None else progress.best_theta


def _epoch(
    problem: Descendable,
    options: SGDOptions,
    progress: Progress,
    epoch: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, Memory, float]:
    """Once through the ratings: new parameters and memory, and the last learning rate."""
    theta, eta = progress.theta.astype(options.dtype), 0.0
    memory = {name: array.astype(options.dtype) for name, array in progress.memory.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        for done, batch in batches(problem.n_ratings, options, rng):
            g = batch_gradient(problem, options, theta, batch)
            setting = options.pace.at(epoch, options.n_epochs, done)
            eta = options.learning_rate * setting.factor
            apply(options.rule, theta, g, memory, eta, setting.momentum)
    return theta, memory, eta


def batches(
    n: int, options: SGDOptions, rng: np.random.Generator
) -> Iterator[tuple[float, IntArray]]:
    """The batches of an epoch over n ratings: the share done before it, and its positions.

    Positions in a large batch are in ascending order: where ratings are sorted, as in
    `Ratings`, so is the batch, and what belongs together is added up together.

    Examples
    --------
    >>> import numpy as np
    >>> options = SGDOptions(batch_size=3, shuffle=False)
    >>> [(done, batch.tolist()) for done, batch in batches(4, options, np.random.default_rng(0))]
    [(0.0, [0, 1, 2]), (0.75, [3])]
    """
    order = rng.permutation(n) if options.shuffle else np.arange(n)
    for first in range(0, n, options.batch_size):
        batch = order[first : first + options.batch_size]
        yield first / n, np.sort(batch) if len(batch) >= _SORTED_FROM else batch


def batch_gradient(
    problem: Descendable, options: SGDOptions, theta: FloatArray, batch: IntArray
) -> FloatArray:
    """Gradient of the loss of a batch, penalty included.

    Examples
    --------
    >>> import numpy as np
    >>> from shallow_cf import Parameters, Ratings
    >>> from shallow_cf.solvers.sgd import Factorization
    >>> form = Parameters([[1], [2]], [[2], [1]])
    >>> ratings = Ratings.from_arrays([["ann", 1], ["ann", 2], ["bob", 1]], [4, 3, 5])
    >>> problem, theta, batch = Factorization(ratings, form), form.pack(), np.array([0, 1])
    >>> batch_gradient(problem, SGDOptions(loss="half_sse"), theta, batch)  # ann's two ratings
    array([-6.,  0., -2., -2.])
    """
    g = problem.gradient(theta, batch)
    scale, reg = 1.0, len(batch) / problem.n_ratings * options.reg  # (16a)
    if options.loss == "mse":
        scale, reg = 2 / len(batch), options.reg  # (16b)
    if scale != 1:
        g *= scale
    if reg:
        g += reg * theta
    if options.row_limit is not None:
        if not isinstance(problem, RowLimited):
            raise ValueError("`row_limit` is for matrix factorisation: a net's layers have no rows")
        problem.limit_rows(g, batch, options.row_limit)
    return g


def apply(
    rule: Optimizer,
    theta: FloatArray,
    g: FloatArray,
    memory: Memory,
    eta: float,
    momentum: float | None,
) -> None:
    """One step of a rule, put into `theta` and `memory` in place, piece by piece.

    The rules work entry by entry, so pieces give the same numbers; the single numbers in the
    memory are those of the step before for every piece.

    Examples
    --------
    >>> import numpy as np
    >>> theta, g = np.array([1.0, 1.0]), np.array([2.0, -1.0])
    >>> apply(SGD(), theta, g, {}, 0.1, None)
    >>> theta.round(2)
    array([0.8, 1.1])
    """
    numbers = {name: memory[name] for name in rule.numbers}
    for first in range(0, len(theta), _PIECE):
        piece = slice(first, first + _PIECE)
        before = numbers | {name: memory[name][piece] for name in rule.arrays}
        theta[piece], after = rule.step(theta[piece], g[piece], before, eta, momentum)
        for name in rule.arrays:
            memory[name][piece] = after[name]
        for name in rule.numbers:
            memory[name] = after[name]
