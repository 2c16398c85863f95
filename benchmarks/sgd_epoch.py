"""An epoch of mini-batch SGD against the time that moving its rows takes at memory speed.

Run: python benchmarks/sgd_epoch.py [--ratings 1000000] [--factors 50] [--runs 5] [--threads 1]

The ratings are synthetic (`scf.synthetic_ratings`), in the shape of MovieLens 1M: 6,040 users,
3,706 items. What is timed is an epoch of `solvers.sgd.solve` as the trace has it: drawing the
order, all batches, and the RMSE of all ratings at the end. The model has biases, the steps are
(16c) with a row limit.

The bound: each rating touches two rows of factors, p_u and q_i, which a step reads and writes.
That is ratings x 2 rows x factors x bytes a number, once in and once out. The bound is this
many bytes over the bandwidth of a plain copy (`np.copyto` between two arrays of 256 MiB, bytes
read plus bytes written over the time), measured before and after every epoch. All times are
seconds of one thread's work (`time.process_time`), which on a machine with nothing else to do
are the wall clock's, so that waiting for a processor counts on neither side; medians, and the
ratio is the median of the ratios. "Best" is the shortest epoch over the lowest bound. With more
threads all times are the wall clock's, and there are two bounds: a copy by as many threads, and
a copy by one. Last comes the same epoch with all rows of a batch gathered at once and their
changes added by `np.add.at`.
"""

import os
import platform

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread against one thread

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import pairwise

import numpy as np

import shallow_cf as scf
from shallow_cf.solvers import sgd

N_USERS, N_ITEMS = 6040, 3706
BATCH_SIZES = (1024, 4096, 16384, 65536)
COPIED = 256 * 2**20


class Bandwidth:
    """Bytes a second of a copy, read and written ones counted."""

    def __init__(self, n_threads, run, clock):
        self.run, self.clock = run, clock
        source, target = np.ones(COPIED // 8), np.zeros(COPIED // 8)
        parts = np.array_split(source, n_threads), np.array_split(target, n_threads)
        self.parts = list(zip(*parts, strict=True))

    def measure(self):
        """The better of two copies: the harder bound."""
        seconds = []
        for _ in range(2):
            began = self.clock()
            list(self.run(lambda part: np.copyto(part[1], part[0]), self.parts))
            seconds.append(self.clock() - began)
        return 2 * COPIED / min(seconds)


def epochs(ratings, start, options, bandwidth, n_runs):
    """Seconds of each epoch but the first, and the bandwidths beside each: all threads', one's."""
    alone = Bandwidth(1, map, bandwidth.clock)
    beside, begins, ends = [], [], []

    def note(row):
        ends.append(bandwidth.clock())
        beside.append((bandwidth.measure(), alone.measure()))
        begins.append(bandwidth.clock())

    sgd.solve(ratings, start, options(n_runs + 1), note, random_state=0, run=bandwidth.run)
    around = [np.add(one, two) / 2 for one, two in pairwise(beside)]
    return np.subtract(ends[1:], begins[:-1]), *np.transpose(around)


def add_at(ratings, start, n_runs, batch_size=65536):
    """Seconds of an epoch as first written: rows gathered at once, and `np.add.at`."""
    u, i, r = ratings.user_idx, ratings.item_idx, ratings.rating
    P, Q = start.user_factors.copy(), start.item_factors.copy()
    rng, seconds = np.random.default_rng(0), []
    for _ in range(n_runs):
        began = time.process_time()
        order = rng.permutation(len(r))
        for first in range(0, len(r), batch_size):
            batch = order[first : first + batch_size]
            p_u, q_i = P[u[batch]], Q[i[batch]]
            e = np.einsum("nk,nk->n", p_u, q_i) - r[batch]
            np.add.at(P, u[batch], -1e-6 * e[:, None] * q_i)
            np.add.at(Q, i[batch], -1e-6 * e[:, None] * p_u)
        np.einsum("nk,nk->n", P[u], Q[i])
        seconds.append(time.process_time() - began)
    return np.median(seconds)


def main():
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--factors", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
          f"{packages}, threads: {args.threads}\n")  # fmt: skip
    is_one = args.threads == 1
    bandwidth = Bandwidth(
        args.threads,
        map if is_one else ThreadPoolExecutor(args.threads).map,
        time.process_time if is_one else time.perf_counter,
    )
    ratings = scf.synthetic_ratings(N_USERS, N_ITEMS, args.ratings, random_state=0)
    start = scf.Parameters.random(
        N_USERS, N_ITEMS, args.factors, bias=True, init="normal", scale=0.05, random_state=0
    )
    start = scf.Parameters(*start.blocks(), global_mean=ratings.mean_rating)
    print(f"{ratings}, {args.factors} factors, median of {args.runs} epochs:\n")
    print("| precision | batch | epoch, s | bound, s | ratio | best | "
          "ratio to one thread's bound | measuring the RMSE, s |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for dtype in ("float64", "float32"):
        moved = 4 * args.ratings * args.factors * np.dtype(dtype).itemsize
        for batch_size in BATCH_SIZES:

            def options(n_epochs, batch_size=batch_size, dtype=dtype):
                return scf.SGDOptions(n_epochs, 0.02, batch_size, row_limit=50, dtype=dtype)

            seconds, speed, speed_alone = epochs(ratings, start, options, bandwidth, args.runs)
            bound, bound_alone = moved / speed, moved / speed_alone
            measuring = rmse_seconds(ratings, start, dtype, bandwidth, args.runs)
            print(f"| {dtype} | {batch_size} | {np.median(seconds):.3f} | {np.median(bound):.3f} | "
                  f"{np.median(seconds / bound):.2f} | {seconds.min() / bound.min():.2f} | "
                  f"{np.median(seconds / bound_alone):.2f} | {measuring:.3f} |",
                  flush=True)  # fmt: skip
    print(f"\nBy np.add.at, float64, batches of 65536, no biases: "
          f"{add_at(ratings, start, max(1, args.runs // 2)):.3f} s")  # fmt: skip


def rmse_seconds(ratings, start, dtype, bandwidth, n_runs):
    """Seconds that the RMSE of all ratings takes, median."""
    problem = sgd.Factorization(ratings, start, run=bandwidth.run)
    theta, seconds = start.pack().astype(dtype), []
    for _ in range(n_runs):
        began = bandwidth.clock()
        problem.rmse(theta)
        seconds.append(bandwidth.clock() - began)
    return np.median(seconds)


if __name__ == "__main__":
    main()
