"""How long it takes to make Ratings of arrays, to divide them and to take a part of them.

Run: python benchmarks/ratings.py [--ratings 1000000] [--users 6040] [--items 3706]

The defaults are the size of MovieLens 1M; 25000095 ratings, 162541 users and 59047 items are
that of MovieLens 25M (and need 3 GB). Ids are whole numbers, stars 1 to 5. Printed are
milliseconds of processor time, minimum and median, in a run of several. The alternative
beside it makes the same arrays as the first line in plain NumPy: np.unique for the indices of
both columns, np.argsort of the pairs' keys, and no check of anything.
"""

import argparse
import time
from statistics import median

import numpy as np
import pandas as pd

import shallow_cf as scf


def main():
    """Print a line for each way to make ratings or parts of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3706)
    parser.add_argument("--repeat", type=int, default=9)
    args = parser.parse_args()
    X, y = triplets(args.ratings, args.users, args.items)
    by_user = np.argsort(X[:, 0], kind="stable")
    X_by_user, y_by_user = X[by_user], y[by_user]
    frame = pd.DataFrame({"user_id": X[:, 0], "item_id": X[:, 1], "rating": y})
    ratings = scf.Ratings.from_arrays(X, y)
    in_order = ratings.to_frame()
    arrays = [getattr(ratings, name) for name in ("user_ids", "item_ids")]
    random = np.random.default_rng(0).permutation(len(ratings))
    arrays += [getattr(ratings, name)[random] for name in ("user_idx", "item_idx", "rating")]
    assert all(map(np.array_equal, plain_numpy(X, y), arrays_of(ratings)))
    print(f"{ratings}, {args.repeat} runs, milliseconds of processor time")
    print(f"{'':<44}{'minimum':>10}{'median':>10}{'ratio':>8}")
    base = None
    for name, function in {
        "plain NumPy (np.unique, argsort)": lambda: plain_numpy(X, y),
        "Ratings.from_arrays, no order": lambda: scf.Ratings.from_arrays(X, y),
        "Ratings.from_arrays, by user": lambda: scf.Ratings.from_arrays(X_by_user, y_by_user),
        "Ratings.from_frame, no order": lambda: scf.Ratings.from_frame(frame),
        "Ratings.from_frame, by user and item": lambda: scf.Ratings.from_frame(in_order),
        "Ratings(...), no order": lambda: scf.Ratings(*arrays),
        "split, a fifth": lambda: scf.split(ratings, 0.2, random_state=0),
        "leave_k_out, one": lambda: scf.leave_k_out(ratings, 1, random_state=0),
        "to_sparse": ratings.to_sparse,
    }.items():
        times = [timed(function) for _ in range(args.repeat)]
        base = base or min(times)
        ratio = base / min(times)
        print(f"{name:<44}{min(times):>10.1f}{median(times):>10.1f}{ratio:>8.1f}", flush=True)


def triplets(n, n_users, n_items):
    """n different pairs of ids, in no order, and stars."""
    rng = np.random.default_rng(0)
    cell = np.empty(0, np.int64)
    while len(cell) < n:
        cell = np.unique(np.append(cell, rng.integers(0, n_users * n_items, n)))
    cell = rng.permutation(cell)[:n]
    return np.column_stack(np.divmod(cell, n_items)) + 1, rng.integers(1, 6, n).astype(float)


def plain_numpy(X, y):
    """Ids, indices and stars, sorted by user and item."""
    user_ids, u = np.unique(X[:, 0], return_inverse=True)
    item_ids, i = np.unique(X[:, 1], return_inverse=True)
    order = np.argsort(u * len(item_ids) + i, kind="stable")
    return user_ids, item_ids, u[order], i[order], y[order]


def arrays_of(ratings):
    """The same of Ratings."""
    names = ("user_ids", "item_ids", "user_idx", "item_idx", "rating")
    return [getattr(ratings, name) for name in names]


def timed(function):
    """Milliseconds of processor time."""
    start = time.process_time()
    function()
    return 1000 * (time.process_time() - start)


if __name__ == "__main__":
    main()
