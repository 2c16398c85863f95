"""The benchmark's side of `worker.py`: start it, send it jobs, read its answers."""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np

import shallow_cf
from methods import OURS, PEERS

#: What tells the libraries that methods are built on how many threads to start.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS",
)  # fmt: skip

#: How often a run is tried whose process ends.
ATTEMPTS = 3


class WorkerError(Exception):
    """A method could not be had, or did not come to an end; says why."""


class _EndedError(WorkerError):
    """The process is no more."""


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
    limit : float
        Seconds after which a run is ended.

    Raises
    ------
    ValueError
        If there is no such file of methods.
    WorkerError
        If what it needs is not installed.
    """

    def __init__(self, name, python, threads, limit=600.0):
        if name not in (OURS, *PEERS):
            raise ValueError(f"there is no peer {name!r}; known: {', '.join(PEERS)}")
        self._name, self._python, self._threads, self._limit = name, python, threads, limit
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name, "said.txt").open("w+")
        try:
            hello = self._start()
        except WorkerError:
            self._clean_up()
            raise
        self.methods, self.versions = hello["methods"], hello["versions"]
        self.skipped = hello["skipped"]

    def run(self, method, settings, data, seed):
        """Predictions for a split's test part, and the answer's seconds.

        A run that takes too long or kills the process is tried again in a new one: with
        several threads LIBMF now and then waits for itself for ever.

        Raises
        ------
        WorkerError
            If the method raised an error, did not end, or predicted what is no number.
        """
        out = Path(self._folder.name, "predictions.npy")
        job = {"method": method, "settings": settings, "data": str(data), "seed": seed}
        job |= {"threads": self._threads, "out": str(out)}
        for attempt in range(ATTEMPTS):
            try:
                answer = self._asked(job)
                break
            except _EndedError:
                self._stop()
                self._start()
                if attempt == ATTEMPTS - 1:
                    raise
        predictions = np.load(out)
        if not np.isfinite(predictions).all():
            raise WorkerError("predicts what is no finite number")
        return predictions, answer

    def close(self):
        """End the process."""
        self._stop()
        self._clean_up()

    def _start(self):
        """Start the process; what it says of itself."""
        try:
            self._process = subprocess.Popen(
                [self._python, "-m", "methods.worker", self._name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env=_environment(self._threads), text=True,
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(f"cannot run {self._python}: {error.strerror}") from error
        try:
            return self._answer()
        except WorkerError:
            self._stop()
            raise

    def _stop(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _clean_up(self):
        self._said.close()
        self._folder.cleanup()

    def _asked(self, job):
        """The answer to a job."""
        with contextlib.suppress(BrokenPipeError):  # if it died, no answer comes, which tells
            print(json.dumps(job), file=self._process.stdin, flush=True)
        timer = threading.Timer(self._limit, self._process.kill)
        timer.start()
        try:
            return self._answer()
        finally:
            timer.cancel()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            last = self._said.read().strip().rpartition("\n")[2]
            why = f"its process ended by itself or after {self._limit:g} s"
            raise _EndedError(f"{why}: {last}" if last else why)
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer


def _environment(threads):
    """Thread counts pinned, and the folders of the methods and of this package to import from."""
    folders = Path(__file__).parents[1], Path(shallow_cf.__file__).parents[1]
    path = os.pathsep.join(str(folder.resolve()) for folder in folders)
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONPATH": path}
