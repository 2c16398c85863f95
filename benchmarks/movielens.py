"""This package beside its peers on MovieLens: errors and times of one run, as a Markdown table.

Run: python benchmarks/movielens.py --data ml-100k --peers surprise,cornac,myfm --out table.md

`--data` is a folder of MovieLens (ml-100k, ml-1m, ml-latest-small), a file of ratings, or
synthetic:USERSxITEMSxRATINGS, such as synthetic:6040x3706x1000209 for planted ratings of the
shape of ml-1m. The split: rows in the order of `numpy.random.default_rng(42).permutation(n)`,
the first nine tenths train; for ml-100k also the five published folds.

Nothing is tuned on a test part. Each method's settings are chosen on a tenth of the training
part, on each split anew: the most exact of its grid, "best", and the quickest of those within
0.002 stars of that, "quick". `--tune` chooses them and records them in `--settings`; without it
the recorded ones are taken, and what is not there is chosen without recording it.

Each method works in a process of its own, with the Python that `--peer-python` names for it,
and never sees the test part's stars. Seconds are wall time from arrays of users, items and
ratings to the test part's predictions, all in but imports and a first, small run that lets
just-in-time compilers do their work. Everybody's predictions are clipped to the range of the
ratings. How to install the peers: benchmarks/README.md.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path

from methods import OURS, PEERS
from methods.process import Worker, WorkerError
from movielens_data import load
from movielens_runs import KINDS, Bench, Row
from movielens_table import figures, label, markdown

import shallow_cf

SETTINGS = Path(__file__).with_name("movielens_settings.json")
HOW = (
    "Chosen by benchmarks/movielens.py --tune: data set, split, method, kind. best: the lowest "
    "RMSE of the method's grid on a tenth of the split's training part; quick: the quickest "
    "within 0.002 of it. rmse and seconds are those of the validation part."
)


def main(arguments=None):
    """Measure and print."""
    args = parsed(arguments)
    try:
        data = with_splits(load(args.data), args.splits)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    workers = started(args)
    bench = Bench(workers, data, say)
    try:
        chosen = choose(bench, args)
        measured = bench.measure(settings_of_rows(chosen), args.repeats, args.seeds)
    finally:
        bench.close()
        for worker in workers.values():
            worker.close()
    text = report(args, data, workers, chosen, measured)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    if args.json:
        args.json.write_text(json.dumps(as_json(measured), indent=1) + "\n")


def parsed(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder, file or synthetic:UxIxN")
    parser.add_argument("--peers", default=[], type=names, help=f"of {', '.join(PEERS)}")
    parser.add_argument("--splits", type=names, help="such as 90/10 or u1,u2; all if not told")
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="[PEER=]PATH",
        help="interpreter for all peers, or for one; may be given again",
    )  # fmt: skip
    parser.add_argument("--against", help="peer whose time the others' are divided by")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3, help="runs of methods without a seed")
    parser.add_argument("--seeds", type=int, default=5, help="runs of methods with a seed")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a run may take")
    parser.add_argument("--tune", action="store_true", help="choose settings and record them")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="file of recorded ones")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    args = parser.parse_args(arguments)
    try:
        check(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def names(text):
    """Names between commas."""
    return [name for name in text.split(",") if name]


def check(args):
    """Refuse what no peer is called and what is no count."""
    named = [*args.peers, *([args.against] if args.against else [])]
    unknown = [name for name in named if name not in PEERS]
    if unknown:
        raise ValueError(f"there is no peer {unknown[0]!r}; known: {', '.join(PEERS)}")
    for name in ("threads", "repeats", "seeds", "limit"):
        if getattr(args, name) < 1:
            raise ValueError(f"`--{name}` must be at least 1, got {getattr(args, name)}")


def with_splits(data, wanted):
    """The data with the splits that were asked for."""
    unknown = [name for name in wanted or () if name not in data.splits]
    if unknown:
        known = ", ".join(data.splits)
        raise ValueError(f"{data.name} has no split {unknown[0]!r}; known: {known}")
    return data._replace(splits={name: data.splits[name] for name in wanted or data.splits})


def say(line):
    """Tell what is going on, beside the table."""
    print(line, file=sys.stderr, flush=True)


def started(args):
    """Worker by name, of those whose methods are installed."""
    workers = {}
    for name in (OURS, *args.peers):
        try:
            python = python_for(name, args.peer_python)
            workers[name] = Worker(name, python, args.threads, args.limit)
        except WorkerError as error:
            say(f"{name} is left out: {error}")
            continue
        for reason in workers[name].skipped:
            say(f"left out: {reason}")
    return workers


def python_for(name, told):
    """The interpreter for a worker: the last that was named for it or for all peers."""
    if name == OURS:
        return sys.executable
    python = sys.executable
    for one in told:
        peer, _, path = one.rpartition("=")
        if peer in ("", name):
            python = path
    return python


def choose(bench, args):
    """Split -> method -> kind -> choice: recorded, or made now."""
    recorded = json.loads(args.settings.read_text()) if args.settings.exists() else {}
    known = recorded.get(bench.data.name, {})
    chosen = {}
    for split in bench.data.splits:
        of_split = known.get(split, {})
        chosen[split] = {}
        for worker, method in bench.methods():
            name = f"{worker} {method}"
            choice = None if args.tune else of_split.get(name)
            if choice := choice or bench.choose(worker, method, split):
                chosen[split][name] = choice
        if args.tune:  # after each split: on large data the next one may take an hour
            known[split] = of_split | chosen[split]
            recorded = {"how": HOW} | recorded | {bench.data.name: known}
            args.settings.write_text(nested(recorded) + "\n")
    return chosen


def nested(content, depth=0):
    """JSON with a line for each choice, which stand four levels deep."""
    if depth == 4 or not isinstance(content, dict):
        return json.dumps(content)
    lines = [f"{json.dumps(name)}: {nested(value, depth + 1)}" for name, value in content.items()]
    outside, inside = "\n" + " " * depth, "\n" + " " * (depth + 1)
    return "{" + inside + ("," + inside).join(lines) + outside + "}"


def settings_of_rows(chosen):
    """Split -> row -> settings, of the methods that have settings on every split.

    One row for a method whose best settings are its quickest everywhere.
    """
    first, *others = chosen.values()
    rows = [
        (name, kind)
        for name in first
        if all(name in of_methods for of_methods in others)
        for kind in KINDS
        if kind == "best" or not all(is_one(of_methods[name]) for of_methods in chosen.values())
    ]
    return {
        split: {
            Row(*name.split(" ", 1), kind): of_methods[name][kind]["settings"]
            for name, kind in rows
        }
        for split, of_methods in chosen.items()
    }


def is_one(choice):
    """Whether the best settings are also the quickest."""
    return choice["best"]["settings"] == choice["quick"]["settings"]


def report(args, data, workers, chosen, measured):
    """The table, and all that its figures depend on."""
    lines = [f"{data.name}: {len(data.r)} ratings, {data.n_users} users, {data.n_items} items.", ""]
    lines += markdown(figures(measured), against(args, measured))
    lines += [
        "",
        f"RMSE in stars: median of the seeds, and their range. Seconds: median of "
        f"{max(args.repeats, args.seeds)} runs ({args.repeats} of methods without a seed), from "
        "arrays to predictions. Predictions are clipped to the ratings' range for every method. "
        "Settings were chosen on a tenth of the training part, never on the test part: the best "
        "of each method's grid, and the quickest within 0.002 of it.",
        "",
        f"Machine: {cpu()}, {os.cpu_count()} cores, {platform.system()}. Threads: {args.threads} "
        "for every method, pinned.",
        f"Versions: {versions(workers)}.",
        f"Command: `{command(args, data)}`",
        "",
        f"Settings for {next(iter(chosen))}:",
        "",
    ]
    for name, choice in chosen[next(iter(chosen))].items():
        lines += [f"- {name}, {kind}: `{json.dumps(choice[kind]['settings'])}`" for kind in KINDS]
    return "\n".join(lines)


def against(args, measured):
    """The row that times are divided by: of the peer named, or else of the first one."""
    for peer in [args.against] if args.against else args.peers:
        for row in measured:
            if row.worker == peer and row.kind == "best":
                return row
    return None


def versions(workers):
    """This package and what all processes share, then what each has of its own."""
    each = {name: set(worker.versions.items()) for name, worker in workers.items()}
    shared = set.intersection(*each.values())
    told = [("shallow_cf", shallow_cf.__version__), *sorted(shared, key=str)]
    parts = [", ".join(map(" ".join, told))]
    parts += [
        f"{name}: {', '.join(map(' '.join, sorted(own - shared)))}" for name, own in each.items()
    ]
    return "; ".join(parts)


def command(args, data):
    """The command, without this machine's folders."""
    words = ["python", "benchmarks/movielens.py", "--data", data.name]
    words += ["--peers", ",".join(args.peers)] if args.peers else []
    words += ["--splits", ",".join(args.splits)] if args.splits else []
    for name in ("threads", "repeats", "seeds"):
        words += [f"--{name}", str(getattr(args, name))]
    return shlex.join(words + (["--tune"] if args.tune else []))


def cpu():
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def as_json(measured):
    """Every run: label, split, error, seconds."""
    return [
        {"method": label(row), "split": split, "run": k, **run._asdict()}
        for row, of_splits in measured.items()
        for split, runs in of_splits.items()
        for k, run in enumerate(runs)
    ]


if __name__ == "__main__":
    main()
