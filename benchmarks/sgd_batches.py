"""Small and large batches on MovieLens 100K: what the row limit does, and the time it saves.

Run: python benchmarks/sgd_batches.py ml-100k/u.data

The first 90% of `numpy.random.default_rng(42).permutation(n)`, over the lines of the file, are to
train on and the rest are to test on. Everything is chosen on the last tenth of the training
part. The table has the RMSE there, stars, for each way to train and each learning rate, with 20
epochs and the same penalty for all, and predictions that no range bounds. Then batches of 4096
are tried with a range, several penalties, spreads of the start and learning rates; the best is
trained on the whole training part, and its RMSE on the test part is all that is measured there.
Seconds are the wall clock's and, in brackets, the thread's own; one BLAS thread.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from itertools import product

import numpy as np

import shallow_cf as scf

N_FACTORS, N_EPOCHS = 50, 20
#: Batch size and row limit.
WAYS = ((64, None), (1024, 32), (4096, 32), (16384, 32), (1024, None), (4096, None), (16384, None))
RATES = (0.015, 0.03, 0.06)


def parts(path):
    """Ratings to choose by, to choose on, to train on and to test on."""
    lines = np.loadtxt(path)
    order = np.random.default_rng(42).permutation(len(lines))
    n_train = len(lines) * 9 // 10
    (users, u), (items, i) = (
        np.unique(column.astype(int), return_inverse=True) for column in lines.T[:2]
    )

    def part(which):
        return scf.Ratings(users, items, u[which], i[which], lines[which, 2])

    train, test = order[:n_train], order[n_train:]
    n_fit = n_train * 9 // 10
    return part(train[:n_fit]), part(train[n_fit:]), part(train), part(test)


def trained(train, asked, scale=0.1, rating_range=None, **settings):
    """RMSE on the ratings asked for, and seconds from Ratings to predictions."""
    options = scf.SGDOptions(N_EPOCHS, **settings)
    model = scf.MatrixFactorization(
        N_FACTORS, bias=True, global_mean=True, rating_range=rating_range,
        solver_options=options, init="normal", init_scale=scale, random_state=0,
    )  # fmt: skip
    began = time.perf_counter(), time.process_time()
    try:
        model.fit(train)
        rmse = model.rmse(asked)
    except scf.DivergenceError:
        rmse = np.inf
    return rmse, time.perf_counter() - began[0], time.process_time() - began[1]


def main():
    """Print the table, what is chosen, and the test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings", help="u.data of MovieLens 100K")
    fit, valid, train, test = parts(parser.parse_args().ratings)
    print("| batch | row limit |" + "".join(f" {rate:g} |" for rate in RATES) + " seconds |")
    print("|---:|---:|" + "---:|" * (len(RATES) + 1))
    for batch_size, limit in WAYS:
        rmse, wall, own = zip(
            *(
                trained(
                    fit, valid, learning_rate=rate, batch_size=batch_size, row_limit=limit, reg=12
                )
                for rate in RATES
            ),
            strict=True,
        )
        shown = "".join(" diverged |" if error == np.inf else f" {error:.4f} |" for error in rmse)
        seconds = f"{np.median(wall):.2f} ({np.median(own):.2f})"
        print(f"| {batch_size} | {limit or 'none'} |{shown} {seconds} |", flush=True)
    print()
    found = {}
    for reg, scale, rate in product((9, 12, 15, 18), (0.03, 0.05, 0.1), (0.03, 0.04)):
        settings = {
            "rating_range": (0, 5.5),
            "reg": reg,
            "scale": scale,
            "learning_rate": rate,
            "row_limit": 32,
        }
        found[trained(fit, valid, batch_size=4096, **settings)[0]] = settings
    best = found[min(found)]
    print(f"best of {len(found)} with batches of 4096: {best}, RMSE {min(found):.4f}")
    rmse, wall, own = trained(train, test, batch_size=4096, **best)
    print(f"on the test part: RMSE {rmse:.4f} in {wall:.2f} s ({own:.2f})")
    rmse, wall, own = trained(train, test, batch_size=4096, dtype="float32", **best)
    print(f"in float32: RMSE {rmse:.4f} in {wall:.2f} s ({own:.2f})")


if __name__ == "__main__":
    main()
