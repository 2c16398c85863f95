"""What the scripts of the lessons share: run, and print published numbers beside ours."""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import shallow_cf as scf


class Run(NamedTuple):
    """A row of a lesson: how to train, and what the lesson printed."""

    title: str
    train: object  #: (training ratings, validation ratings) -> fitted model
    published: tuple = ()  #: validation MSE, stars**2, after each of the last epochs


def validation_mse(run, train, valid):
    """Train; return the validation MSE (stars**2) after each epoch, and the seconds."""
    started = time.perf_counter()
    model = run.train(train, valid)
    return (model.history_.valid_rmse.iloc[1:] ** 2).tolist(), time.perf_counter() - started


def main(doc, file_name, split, runs):
    """Read the ratings, make all runs of a lesson, print them."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", metavar="DIR", type=Path, required=True, help=f"folder with {file_name}"
    )
    path = parser.parse_args().data / file_name
    try:
        ratings = scf.read_ratings(path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    train, valid = split(ratings)
    print(f"{ratings}: {len(train)} to train on, {len(valid)} for validation")
    baseline = scf.rmse(scf.BiasesOnly().fit(train), valid) ** 2
    print(
        f"validation MSE after each epoch, stars^2 (biases alone by least squares {baseline:.3f})"
    )
    for run in runs:
        found, seconds = validation_mse(run, train, valid)
        print(f"\n{run.title}, {seconds:.1f} s")
        if run.published:
            print("  published", *(f"{value:.3f}" for value in run.published))
        print("  ours     ", *(f"{value:.3f}" for value in found))
