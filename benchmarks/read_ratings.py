"""How long reading 25 million ratings takes, and how much memory: a file like MovieLens 25M.

Run: python benchmarks/read_ratings.py [--ratings 25000095] [--kind csv|shuffled|gz|text]
     python benchmarks/read_ratings.py --file ml-100k/u.data

The first line makes a file of its own in the folder for temporary files (650 MB, removed
afterwards): userId,movieId,rating,timestamp for 162541 users and 59047 movies, half stars,
some movies far more popular than others, in the order of users and movies; `shuffled` in no
order, `gz` compressed, `text` with ids such as u17. Each run is a process of its own. Printed
are seconds, CPU seconds and the peak of memory, beside those of pandas.read_csv alone, which
ends with a table and no index of users and movies.
"""

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

import shallow_cf as scf

N_USERS, N_ITEMS = 162_541, 59_047
#: Lines written at a time.
_BLOCK = 1 << 20


def main():
    """Make the file where there is none, and print a line for each reader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=int, default=25_000_095)
    parser.add_argument("--kind", choices=("csv", "shuffled", "gz", "text"), default="csv")
    parser.add_argument("--file", help="read this file instead")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        measure(args.reader, args.file)
    elif args.file:
        compare(args.file, args.repeat)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ratings.csv.gz" if args.kind == "gz" else "ratings.csv")
            write(path, args.ratings, args.kind)
            compare(str(path), args.repeat)


def write(path, n, kind):
    """A file of n ratings."""
    rng = np.random.default_rng(0)
    cell = cells(rng, n)
    if kind == "shuffled":
        rng.shuffle(cell)
    line = "u%d,m%d,%s,%d\n" if kind == "text" else "%d,%d,%s,%d\n"
    stars = np.array([str(half / 2) for half in range(1, 11)])
    with gzip.open(path, "wt", 1) if kind == "gz" else path.open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for start in range(0, n, _BLOCK):
            u, i = np.divmod(cell[start : start + _BLOCK], N_ITEMS)
            when = rng.integers(789_652_009, 1_574_327_703, len(u))
            columns = u + 1, 3 * i + 1, rng.choice(stars, len(u)), when
            rows = zip(*(column.tolist() for column in columns), strict=True)
            file.write("".join(map(line.__mod__, rows)))


def cells(rng, n):
    """n different pairs of a user and a movie as numbers, ascending; few movies have many."""
    n_drawn = int(1.2 * n)
    while True:
        u = rng.integers(0, N_USERS, n_drawn)
        i = (N_ITEMS * rng.random(n_drawn) ** 2).astype(np.int64)
        cell = np.sort(u * N_ITEMS + i)
        cell = cell[np.diff(cell, prepend=-1) > 0]
        if len(cell) >= n:
            return np.sort(rng.choice(cell, n, replace=False))
        n_drawn *= 2


def by_pandas(path):
    """What the file holds, as one table."""
    is_data = path.endswith(".data")
    return pd.read_csv(path, sep="\t" if is_data else ",", header=None if is_data else 0)


READERS = {"shallow_cf": scf.read_ratings, "pandas.read_csv": by_pandas}


def measure(reader, path):
    """Read a file and print seconds, CPU seconds and the peak of memory in MB."""
    start, cpu = time.perf_counter(), time.process_time()
    READERS[reader](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def compare(path, repeat):
    """Run every reader several times, each time in a process of its own."""
    print(f"{Path(path).name}: {Path(path).stat().st_size / 1e6:.1f} MB, medians of {repeat} runs")
    print(f"{'':<18}{'seconds':>10}{'CPU':>10}{'peak MB':>10}")
    for reader in READERS:
        runs = [run(reader, path) for _ in range(repeat)]
        seconds, cpu, peak = (median(column) for column in zip(*runs, strict=True))
        print(f"{reader:<18}{seconds:>10.3f}{cpu:>10.3f}{peak:>10.0f}", flush=True)


def run(reader, path):
    """What `measure` prints in a process of its own."""
    command = [sys.executable, __file__, "--reader", reader, "--file", path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()]


if __name__ == "__main__":
    main()
