"""Half-steps on a local Dask cluster: bytes sent and seconds, with blocks sent once or always.

Run: python benchmarks/dask_map.py [--ratings ml-100k/u.data] [--solver als] [--factors 10]

Without a file, a million synthetic ratings of 6,040 users for 3,706 items. Ways to
train, all to the same bits:

one thread, two threads   n_jobs, in this process
dask_map                  `shallow_cf.dask.dask_map`: blocks sent once, the other side once a
                          half-step
client.map                ``client.gather(client.map(function, blocks))``: the other side, and
                          the block, with each task

Needs the extra: pip install "shallow_cf[dask]".

Bytes are all that client, scheduler and workers write to their sockets, heartbeats and all;
those of a sweep are what three further sweeps add, divided by three. Seconds are the median
over the sweeps after the first of all rounds. Two workers of a thread each; needs two cores.
"""

import os

# As many as Dask's workers have.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import platform
from importlib.metadata import version

import numpy as np
from distributed import Client, LocalCluster

import shallow_cf as scf
from shallow_cf.dask import dask_map

OPTIONS = {"als": scf.ALSOptions, "vb": scf.VBOptions}


def count_bytes():
    """From now on, keep count of what this process writes to its sockets."""
    from distributed.comm import tcp

    if hasattr(tcp, "bytes_written"):
        return
    tcp.bytes_written, write = 0, tcp.TCP.write

    async def counted(*args, **kwargs):
        n = await write(*args, **kwargs)
        tcp.bytes_written += n
        return n

    tcp.TCP.write = counted


def bytes_written():
    """By this process, since `count_bytes`."""
    from distributed.comm import tcp

    return tcp.bytes_written


def bytes_of_all(client):
    """By client and scheduler, which are this process, and by the workers."""
    return bytes_written() + sum(client.run(bytes_written).values())


def client_map(client):
    """Dask's own `map`, with results for futures."""
    return lambda function, blocks: client.gather(client.map(function, list(blocks), pure=False))


def fit(args, ratings, sweeps, n_jobs=1, map=None):
    """A model after so many sweeps."""
    options = OPTIONS[args.solver](n_iterations=sweeps, tol=0, dtype="float32")
    model = scf.MatrixFactorization(
        args.factors, bias=True, global_mean=True, solver=args.solver, solver_options=options,
        random_state=0, n_jobs=n_jobs,
    )  # fmt: skip
    return model.fit(ratings, map=map)


def sent(client, run):
    """MB written while something ran, and what it returned."""
    before = bytes_of_all(client)
    result = run()
    return (bytes_of_all(client) - before) / 1e6, result


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", help="a file; without one, synthetic ratings")
    parser.add_argument("--solver", choices=OPTIONS, default="als")
    parser.add_argument("--factors", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.ratings:
        ratings = scf.read_ratings(args.ratings)
    else:
        ratings = scf.synthetic_ratings(6040, 3706, 1_000_000, random_state=0)
    count_bytes()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        client.run(count_bytes)
        ways = {
            "one thread": {},
            "two threads": {"n_jobs": 2},
            "dask_map": {"map": dask_map(client)},
            "client.map": {"map": client_map(client)},
        }
        first, each = {}, {}
        seconds = {name: [] for name in ways}
        for _ in range(args.rounds):
            for name, how in ways.items():
                if name.startswith("dask"):
                    how["map"] = dask_map(client)  # one that has sent nothing yet
                first[name], _ = sent(client, lambda how=how: fit(args, ratings, 1, **how))
                if name.startswith("dask"):
                    how["map"] = dask_map(client)
                whole, model = sent(client, lambda how=how: fit(args, ratings, 4, **how))
                each[name] = (whole - first[name]) / 3
                seconds[name] += np.diff(model.history_["seconds"])[1:].tolist()
                if name == "one thread":
                    alone = model
                assert model.parameters_.equals(alone.parameters_), name
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "distributed"))
    print(f"{ratings}, {args.solver}, {args.factors} factors")
    print(f"Python {platform.python_version()}, {packages}\n")
    print(f"{'':<12}{'MB, first sweep':>16}{'MB a sweep':>12}{'s a sweep':>11}{'times':>7}")
    least = np.median(seconds["one thread"])
    for name in ways:
        median = np.median(seconds[name])
        numbers = f"{first[name]:>16.2f}{each[name]:>12.2f}{median:>11.3f}{median / least:>7.1f}"
        print(f"{name:<12}{numbers}")


if __name__ == "__main__":
    main()
