"""Which settings serve alternating least squares, measured on MovieLens.

Run: python benchmarks/als_settings.py ml-100k/u.data
     python benchmarks/als_settings.py ml-latest-small/ratings.csv --lesson    (edition of 2016)

The settings are chosen on a tenth of the training part, which the others train for: RMSE,
stars, predictions clipped to the ratings' range, biases and mean in the model. The test part
(a tenth of the file, or with --lesson the fifth that the lessons keep) is looked at once, at
the end, by models of the default settings that train on the whole training part. Takes half a
minute to two minutes of a core.
"""

import argparse

import numpy as np
import pandas as pd

import shallow_cf as scf

FACTORS = 5, 10, 20
PENALTIES = {False: (5, 7, 10, 12, 15), True: (0.06, 0.08, 0.1, 0.12, 0.15)}
STARTS = {
    "normal(0, 0.01)": ("normal", 0.01),
    "normal(0, 0.1)": ("normal", 0.1),
    "normal(0, 1)": ("normal", 1.0),
    "uniform(0, 1)": ("uniform", 1.0),
}
SEEDS = 0, 1, 2


def main():
    """Print a table a start and a penalty, and the errors on the test part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ratings", help="u.data of MovieLens 100K, or a ratings.csv")
    parser.add_argument("--lesson", action="store_true", help="keep the lessons' fifth")
    args = parser.parse_args()
    ratings = scf.read_ratings(args.ratings)
    train, test = scf.lesson_split(ratings) if args.lesson else by_rows(args.ratings, ratings)
    fitted_on, valid = scf.split(train, 0.1, random_state=0)
    print(f"{len(fitted_on)} ratings to train on, {len(valid)} to choose by, {len(test)} to test")
    print(f"biases only, no factors: {clipped_rmse(scf.BiasesOnly().fit(fitted_on), valid):.4f}")
    for weighted, regs in PENALTIES.items():
        print(f"\nreg {'by count' if weighted else 'plain'}; start normal(0, 0.1)")
        print("factors" + "".join(f"{reg:>13g}" for reg in regs))
        for k in FACTORS:
            cells = [choose(fitted_on, valid, k, reg, weighted) for reg in regs]
            print(f"{k:>7}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    print("\nother starts, default settings but 50 sweeps at most")
    for start in STARTS:
        cells = [choose(fitted_on, valid, k, scf.ALSOptions().reg, False, start) for k in FACTORS]
        print(f"{start:<15}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    print("\non the test part, default settings, seeds 0 to 2")
    print(f"biases only, no factors: {clipped_rmse(scf.BiasesOnly().fit(train), test):.4f}")
    for k in FACTORS:
        models = [fit(train, k, scf.ALSOptions(), "normal(0, 0.1)", seed) for seed in SEEDS]
        errors = [clipped_rmse(model, test) for model in models]
        sweeps = [model.result_.iterations for model in models]
        print(f"{k:>7} factors: {' '.join(f'{it:.4f}' for it in errors)}, sweeps {sweeps}")


def by_rows(path, ratings, share=0.9):
    """The first nine tenths of a permutation of the file's rows, and the others."""
    table = pd.read_csv(path, sep="\t", names=["user", "item", "rating", "timestamp"])
    row = np.lexsort((table["item"], table["user"]))  # of each rating, in our order
    is_train = np.zeros(len(table), bool)
    order = np.random.default_rng(42).permutation(len(table))
    is_train[order[: int(share * len(table))]] = True
    return ratings.subset(is_train[row]), ratings.subset(~is_train[row])


def choose(fitted_on, valid, n_factors, reg, weighted, start="normal(0, 0.1)"):
    """A cell of the table: the error with these settings, and after how many sweeps."""
    options = scf.ALSOptions(n_iterations=50, reg=reg, weighted=weighted, dtype="float32")
    model = fit(fitted_on, n_factors, options, start)
    return f"{clipped_rmse(model, valid):.4f} ({model.result_.iterations})"


def fit(ratings, n_factors, options, start, seed=0):
    """A model with biases and mean."""
    init, scale = STARTS[start]
    return scf.MatrixFactorization(
        n_factors, bias=True, global_mean=True, solver="als", solver_options=options, init=init,
        init_scale=scale, random_state=seed,
    ).fit(ratings)  # fmt: skip


def clipped_rmse(model, test):
    """RMSE, stars, of predictions that stay among the ratings."""
    r_hat = model.predict(test.user_ids[test.user_idx], test.item_ids[test.item_idx])
    clipped = np.clip(r_hat, test.rating.min(), test.rating.max())
    return np.sqrt(np.mean((clipped - test.rating) ** 2))


if __name__ == "__main__":
    main()
