"""A process that holds one file of methods and does the jobs it is sent.

Run by `movielens.py` as: python -m methods.worker NAME

Jobs come as lines of JSON on standard input, answers go out likewise on standard output. The
ratings of a job are in a .npz file, and the predictions leave in a .npy file. A process never
sees the stars it is judged by. Only NumPy and what the method itself needs are imported.
"""

import importlib
import json
import os
import platform
import sys
import time
from importlib import metadata

import numpy as np

from methods.method import Task


def hello(module):
    """What a file of methods offers."""
    return {
        "methods": {
            name: {"grid": method.grid, "seeded": method.seeded}
            for name, method in module.METHODS.items()
        },
        "skipped": getattr(module, "SKIPPED", []),
        "versions": {"Python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", *module.PACKAGES)},
    }


def task_of(job):
    """The arrays of a job."""
    with np.load(job["data"]) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    sizes = {name: int(given.pop(name)) for name in ("n_users", "n_items")}
    return Task(**given, **sizes, threads=job["threads"], seed=job["seed"])


def do(module, job):
    """Time one run, from arrays to predictions; wall and process seconds."""
    method, task = module.METHODS[job["method"]], task_of(job)
    began, cpu_began = time.perf_counter(), time.process_time()
    predictions = method.fit_predict(task, job["settings"])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    np.save(job["out"], np.asarray(predictions, dtype=np.float64))
    return {"seconds": seconds, "cpu_seconds": cpu}


def main():
    """Say hello, then answer jobs until the input ends."""
    # Peers print what they like: only answers may reach the real standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content):
        print(json.dumps(content), file=answers, flush=True)

    try:
        module = importlib.import_module(f"methods.{sys.argv[1]}")
        answer(hello(module))
    except (ImportError, OSError) as error:  # OSError: a compiled part is not there
        answer({"error": str(error)})
        return
    for line in sys.stdin:
        try:
            answer(do(module, json.loads(line)))
        except Exception as error:  # whatever a peer raises is its result
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
