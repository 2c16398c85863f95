"""The ratings that `movielens.py` measures on, and how they are cut in parts.

Rows keep the order of the file: the split is a permutation of them.
"""

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

import shallow_cf as scf

RANDOM = "90/10"
FOLDS = tuple(f"u{k}" for k in range(1, 6))
#: Where a folder of MovieLens has its ratings.
FILES = ("u.data", "ratings.dat", "ratings.csv")
_SYNTHETIC = re.compile(r"synthetic:(\d+)x(\d+)x(\d+)")


class Data(NamedTuple):
    """Ratings by numbers of users and items, and the parts they are cut in.

    `splits` has (train, test), positions of rows, for each split's name.
    """

    name: str
    u: np.ndarray
    i: np.ndarray
    r: np.ndarray
    n_users: int
    n_items: int
    splits: dict[str, tuple[np.ndarray, np.ndarray]]


def load(name):
    """Data by name: a folder of MovieLens, a file of ratings, or synthetic:USERSxITEMSxRATINGS.

    Raises
    ------
    FileNotFoundError
        If there is nothing of the kind.
    """
    if match := _SYNTHETIC.fullmatch(name):
        return _numbered(name, *synthetic(*map(int, match.groups())))
    path = Path(name).resolve()
    if path.is_file():
        return _numbered(path.name, *read_triplets(path))
    for file in FILES:
        if (path / file).is_file():
            return _movielens(path, file)
    raise FileNotFoundError(
        f"`--data` must be a folder with {', '.join(FILES[:-1])} or {FILES[-1]}, a file of "
        f"ratings, or synthetic:USERSxITEMSxRATINGS, got {name!r}"
    )


def _movielens(folder, file):
    """A folder's ratings; where the five published folds stand beside them, those too."""
    data = _numbered(folder.name, *read_triplets(folder / file))
    if all((folder / f"{fold}.{part}").is_file() for fold in FOLDS for part in ("base", "test")):
        row_of = {pair: row for row, pair in enumerate(_pairs(folder / file))}
        for fold in FOLDS:
            base, test = (
                np.array([row_of[pair] for pair in _pairs(folder / f"{fold}.{part}")])
                for part in ("base", "test")
            )
            # The files are sorted by user; several methods go through the ratings as they come.
            data.splits[fold] = np.random.default_rng(42).permutation(base), test
    return data


def _pairs(path):
    user, item, _ = read_triplets(path)
    return zip(user.tolist(), item.tolist(), strict=True)


def read_triplets(path):
    """User ids, item ids and stars of a MovieLens file, in its own order.

    (`shallow_cf.read_ratings` sorts them by user and item, as a crosstab is read.)
    """
    text = Path(path).read_text().replace("::", ",").replace("\t", ",")
    user, item, rating = np.loadtxt(
        io.StringIO(text), delimiter=",", usecols=(0, 1, 2), unpack=True,
        skiprows=0 if text[0].isdigit() else 1,
    )  # fmt: skip
    return user.astype(np.int64), item.astype(np.int64), rating


def _numbered(name, user, item, rating):
    """Users and items numbered in the order of their ids, and cut 90/10."""
    (users, u), (items, i) = (np.unique(ids, return_inverse=True) for ids in (user, item))
    splits = {RANDOM: random_split(len(rating))}
    return Data(name, u, i, rating, len(users), len(items), splits)


def random_split(n, seed=42):
    """Rows to train on, nine tenths in random order, and the others."""
    order = np.random.default_rng(seed).permutation(n)
    n_train = n * 9 // 10
    return order[:n_train], order[n_train:]


def arrays(data, train, test):
    """What a method is given to learn from `train` and predict `test`: not the stars of `test`."""
    return {
        "train_u": data.u[train], "train_i": data.i[train], "train_r": data.r[train],
        "test_u": data.u[test], "test_i": data.i[test],
        "n_users": data.n_users, "n_items": data.n_items,
    }  # fmt: skip


def synthetic(n_users, n_items, n_ratings, seed=0):
    """Planted ratings of a shape such as ml-1m's, in random order: see `scf.synthetic_ratings`."""
    ratings = scf.synthetic_ratings(n_users, n_items, n_ratings, random_state=seed)
    order = np.random.default_rng(seed).permutation(n_ratings)
    columns = (ratings.user_idx, ratings.item_idx, ratings.rating.astype(float))
    return tuple(column[order] for column in columns)
