"""The benchmark's side of `worker.py`: start it, send it jobs, read its answers."""

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import shallow_cf
from methods import OURS, PEERS

#: What tells the libraries that methods are built on how many threads to start.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS",
)  # fmt: skip


class WorkerError(Exception):
    """A method could not be had, or did not come to an end; says why."""


class Worker:
    """A process with one file of methods, such as "ours" or "cornac".

    Parameters
    ----------
    name : str
        Of the file.
    python : str
        The interpreter that has what the methods need.
    threads : int
        How many threads it may use.

    Raises
    ------
    ValueError
        If there is no such file of methods.
    WorkerError
        If what it needs is not installed.
    """

    def __init__(self, name, python, threads):
        if name not in (OURS, *PEERS):
            raise ValueError(f"there is no peer {name!r}; known: {', '.join(PEERS)}")
        self.name, self.threads = name, threads
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name, "said.txt").open("w+")
        try:
            self._process = subprocess.Popen(
                [python, "-m", "methods.worker", name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env=_environment(threads), text=True,
            )  # fmt: skip
        except OSError as error:
            self._clean_up()
            raise WorkerError(f"cannot run {python}: {error.strerror}") from error
        try:
            hello = self._answer()
        except WorkerError:
            self.close()
            raise
        self.methods, self.versions = hello["methods"], hello["versions"]
        self.skipped = hello["skipped"]

    def run(self, method, settings, data, seed):
        """Predictions for a split's test part, and the answer's seconds.

        Raises
        ------
        WorkerError
            If the method raised an error, died, or predicted what is no number.
        """
        out = Path(self._folder.name, "predictions.npy")
        job = {"method": method, "settings": settings, "data": str(data), "seed": seed}
        job |= {"threads": self.threads, "out": str(out)}
        with contextlib.suppress(BrokenPipeError):  # if it died, no answer comes, which tells
            print(json.dumps(job), file=self._process.stdin, flush=True)
        answer = self._answer()
        predictions = np.load(out)
        if not np.isfinite(predictions).all():
            raise WorkerError("predicts what is no finite number")
        return predictions, answer

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._clean_up()

    def _clean_up(self):
        self._said.close()
        self._folder.cleanup()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = self._said.read().strip().rpartition("\n")[2]
            raise WorkerError(f"its process ended: {last or 'without a word'}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer


def _environment(threads):
    """Thread counts pinned, and the folders of the methods and of this package to import from."""
    folders = Path(__file__).parents[1], Path(shallow_cf.__file__).parents[1]
    path = os.pathsep.join(str(folder.resolve()) for folder in folders)
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": path}
