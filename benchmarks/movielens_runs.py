"""What `movielens.py` does with the methods: choose settings, then measure.

Settings are chosen on a tenth of the training part, kept back from training; each split has
its own choice, because the training part of one holds ratings of another's test part. Then
each choice learns from the whole training part and is judged by the test part, run after run,
all methods in turn, so that a busy moment of the machine does not fall on one of them alone.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from methods.process import WorkerError
from movielens_data import arrays, random_split

#: RMSE, stars, by which the quick choice may be worse than the best, on the validation part.
QUICK = 0.002
KINDS = ("best", "quick")
#: Ratings of the first, untimed run of each method.
WARM_UP = 2000


class Row(NamedTuple):
    """A method of a worker, with the settings that are best or quick."""

    worker: str
    method: str
    kind: str


class Run(NamedTuple):
    """One run's error on the test part, stars, and what it took."""

    rmse: float
    seconds: float
    cpu_seconds: float


class Bench:
    """Workers, data and the splits in files that workers read.

    Parameters
    ----------
    workers : dict of str to Worker
    data : Data
    say : callable
        Told what is going on, a line at a time.
    """

    def __init__(self, workers, data, say):
        self.workers, self.data, self.say = workers, data, say
        self._clip = float(data.r.min()), float(data.r.max())
        self._folder = tempfile.TemporaryDirectory()
        for worker, method in self.methods():
            self._warm_up(worker, method)

    def close(self):
        """Remove the files."""
        self._folder.cleanup()

    def methods(self):
        """(worker, method) of all there are."""
        return [
            (name, method) for name, worker in self.workers.items() for method in worker.methods
        ]

    def choose(self, worker, method, split):
        """Best and quick settings for a split, by a tenth of its training part.

        Returns
        -------
        dict or None
            For each kind ``settings``, ``rmse`` and ``seconds`` on the validation part; None
            if no settings came through.
        """
        rows = self.data.splits[split][0]
        train, valid = (rows[part] for part in random_split(len(rows), seed=43))
        tried = []
        for settings in self.workers[worker].methods[method]["grid"]:
            try:
                run = self._run(worker, method, settings, 0, f"{split}, to choose", train, valid)
            except WorkerError as error:
                self.say(f"{split} {worker} {method} {settings}: {error}")
                continue
            self.say(f"{split} {worker} {method} {settings}: {run.rmse:.4f}, {run.seconds:.2f} s")
            tried.append({"settings": settings, "rmse": run.rmse, "seconds": run.seconds})
        return best_and_quick(tried) if tried else None

    def measure(self, choices, repeats, seeds):
        """Runs by row and split.

        Parameters
        ----------
        choices : dict
            Split -> row -> settings.
        repeats, seeds : int
            Runs of a method that has no seed; and of one that has, each with another, and
            no fewer than `repeats`.

        Returns
        -------
        dict
            Row -> split -> list of Run, a row being left out if one of its runs failed.
        """
        runs, failed = {}, set()
        for k, split, row, settings in self._turns(choices, repeats, seeds):
            if row in failed:
                continue
            parts = self.data.splits[split]
            try:
                run = self._run(row.worker, row.method, settings, k, split, *parts)
            except WorkerError as error:
                self.say(f"{split} {' '.join(row)}: {error}")
                failed.add(row)
                continue
            self.say(f"{split} {' '.join(row)} run {k}: {run.rmse:.4f}, {run.seconds:.2f} s")
            runs.setdefault(row, {}).setdefault(split, []).append(run)
        return {row: done for row, done in runs.items() if row not in failed}

    def _turns(self, choices, repeats, seeds):
        """(number of the run, which is its seed, split, row, settings), all methods in turn."""
        for k in range(max(repeats, seeds)):
            for split, rows in choices.items():
                for row, settings in rows.items():
                    method = self.workers[row.worker].methods[row.method]
                    if k < repeats or method["seeded"]:
                        yield k, split, row, settings

    def _warm_up(self, worker, method):
        """A run whose time counts nowhere, so that just-in-time compilers have done their work."""
        train, test = (rows[:WARM_UP] for rows in next(iter(self.data.splits.values())))
        settings = self.workers[worker].methods[method]["grid"][0]
        with contextlib.suppress(WorkerError):  # if it fails, the runs that count will tell
            self._run(worker, method, settings, 0, "warm-up", train, test)

    def _run(self, worker, method, settings, seed, part, train, test):
        path = Path(self._folder.name, f"{part.replace('/', '-')}.npz")
        if not path.exists():
            np.savez(path, **arrays(self.data, train, test))
        predictions, took = self.workers[worker].run(method, settings, path, seed)
        rmse = rmse_clipped(predictions, self.data.r[test], *self._clip)
        return Run(rmse, took["seconds"], took["cpu_seconds"])


def rmse_clipped(predictions, rating, lowest, highest):
    """RMSE, stars, of predictions after clipping them to the range of the ratings."""
    e = np.clip(predictions, lowest, highest) - rating
    return float(np.sqrt(e @ e / len(e)))


def best_and_quick(tried):
    """Of settings with their ``rmse`` and ``seconds``, the most exact, and the quickest near it."""
    best = min(tried, key=lambda one: one["rmse"])
    near = [one for one in tried if one["rmse"] <= best["rmse"] + QUICK]
    return {"best": best, "quick": min(near, key=lambda one: one["seconds"])}
