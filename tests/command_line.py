"""Running commands in tests, and ratings to run them on."""

import contextlib
import io
import json
import random
import re
from pathlib import Path

from shallow_cf.cli import main

N_USERS, ITEMS = 40, [*range(1, 24), 260, 589, 1196]


class Done:
    """How a command ended: exit status, what it printed, what it complained about."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        """The one JSON object on standard output."""

        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


def run(*argv):
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(part) for part in argv])
        except SystemExit as stop:  # argparse's way to end
            status = stop.code
    return Done(status, out.getvalue(), err.getvalue())


def ok(*argv):
    """Run a command that must succeed without a word of complaint."""
    done = run(*argv)
    assert (done.status, done.err) == (0, "")
    return done


def refused(*argv):
    """Run a command that must fail with status 2, one line on stderr and no new files; the line."""
    before = snapshot()
    done = run(*argv)
    assert done.status == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert re.match(r"shallow-cf( [\w-]+)?: error: \S", done.err)
    assert "Traceback" not in done.err
    assert snapshot() == before
    return done.err.rstrip("\n")


def snapshot(folder="."):
    """Name -> bytes of every file here, hidden and temporary ones included."""
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def random_ratings(n_users=18, n_items=20, seed=0):
    """Triplets (user, item, stars); some users and items have many more than others."""
    rng = random.Random(seed)
    return [
        (100 + u, 7 * i + 1, rng.randint(1, 10) / 2)
        for u in range(n_users)
        for i in range(n_items)
        if rng.random() < 0.3 + 0.65 * ((u * 7 + i * 5) % 12) / 12
    ]


def write_ratings(path, triplets):
    lines = [f"{u},{i},{r:g},{1_000_000 + k}" for k, (u, i, r) in enumerate(triplets)]
    Path(path).write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines) + "\n")


def planted(seed=0):
    """Triplets (user, item, stars); two thirds of the table, in random order."""
    rng = random.Random(seed)
    generous = {u: rng.gauss(0, 0.5) for u in range(1, N_USERS + 1)}
    good = {i: rng.gauss(0, 0.6) for i in ITEMS}
    taste = {key: rng.choice((-1, 1)) for key in [*generous, *(-i for i in ITEMS)]}
    triplets = []
    for u, b_u in generous.items():
        for i, b_i in good.items():
            stars = 3.2 + b_u + b_i + 0.8 * taste[u] * taste[-i] + rng.gauss(0, 0.2)
            if rng.random() < 0.67:
                triplets.append((u, i, min(max(round(stars * 2) / 2, 0.5), 5.0)))
    rng.shuffle(triplets)
    return triplets


def write_titles(path="movies.csv"):
    lines = [f'{i},"Film {i}, The",Drama' for i in ITEMS]
    Path(path).write_text("\n".join(["movieId,title,genres", *lines]) + "\n")
