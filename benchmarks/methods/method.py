"""What a method is to the benchmark, and what it is given to do."""

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Settings = dict[str, Any]


class Task(NamedTuple):
    """What to learn from and what to predict; the stars of the test part are not in it.

    Users and items are numbered from 0; those without a rating in the training part count
    too. Ratings to train on come in random order.
    """

    train_u: np.ndarray
    train_i: np.ndarray
    train_r: np.ndarray
    test_u: np.ndarray
    test_i: np.ndarray
    n_users: int
    n_items: int
    threads: int
    seed: int


class Method(NamedTuple):
    """A way to predict stars, and the settings among which the validation part chooses."""

    fit_predict: Callable[[Task, Settings], np.ndarray]
    grid: list[Settings]
    #: Whether `Task.seed` changes the outcome.
    seeded: bool = True


def grid(**values: list[Any]) -> list[Settings]:
    """Every combination of the values.

    >>> grid(k=[10, 20], reg=[0.1])
    [{'k': 10, 'reg': 0.1}, {'k': 20, 'reg': 0.1}]
    """
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def biased_dot(task: Task, mu, user_bias, item_bias, P, Q) -> np.ndarray:
    """The test part's mu + b_u + b_i + p_u . q_i: all peers' predictions in one NumPy line."""
    u, i = task.test_u, task.test_i
    return mu + user_bias[u] + item_bias[i] + np.einsum("nk,nk->n", P[u], Q[i])
