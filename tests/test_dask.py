"""Half-steps on the workers of a Dask cluster, to the bits of one process.

What needs a cluster is slow (its processes take seconds to start), and skipped where Dask's
`distributed` is missing.
"""

import doctest
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from pathlib import Path
from types import ModuleType

import pytest
from sweeps import N_BLOCKS, SOLVERS, assert_same_bits, model, ratings_in_blocks

import shallow_cf as scf
from shallow_cf import dask
from shallow_cf.dask import dask_map

DOCS = Path(__file__).parents[1] / "docs" / "beyond_one_machine.md"
INSTALL = re.escape('pip install "shallow_cf[dask]"')


# --- without a cluster ------------------------------------------------------------------


def test_what_is_missing_is_named(monkeypatch):
    # Python raises ModuleNotFoundError for a module that stands as None.
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=f"Dask needs distributed, which is not .*: {INSTALL}"):
        dask_map(None)


class FakeFuture:
    """A result that is there at once."""

    def __init__(self, value):
        self.value, self.released = value, False

    def release(self):
        self.released = True


class FakeClient:
    """Computes in place, and remembers what it was asked to send and to compute."""

    def __init__(self, asynchronous=False):
        self.asynchronous = asynchronous
        self.scattered, self.tasks = [], []

    def scatter(self, data, hash):
        assert hash is False
        self.scattered.append(list(data))
        return [FakeFuture(thing) for thing in data]

    def map(self, function, *futures, pure):
        assert pure is False
        each = zip(*futures, strict=True)
        tasks = [FakeFuture(function(*(future.value for future in pair))) for pair in each]
        self.tasks += tasks
        return tasks

    def gather(self, futures):
        return [future.value for future in futures]


@pytest.fixture
def fake(monkeypatch):
    """`distributed` with that client, whether it is installed or not."""
    module = ModuleType("distributed")
    module.Client = FakeClient
    monkeypatch.setitem(sys.modules, "distributed", module)
    return FakeClient()


def test_other_things_are_refused(fake):
    with pytest.raises(TypeError, match=r"must be a Client of distributed, got str$"):
        dask_map("tcp://scheduler:8786")
    with pytest.raises(ValueError, match="wait for results, got one with asynchronous=True"):
        dask_map(FakeClient(asynchronous=True))


def square(x):
    return x[0] ** 2


def test_blocks_are_sent_once_and_functions_always(fake):
    users, items = [[1], [2], [3]], [[4], [5]]
    run = dask_map(fake)
    for _ in range(3):
        assert run(square, users) == [1, 4, 9]
        assert run(square, iter(items)) == [16, 25]
    assert fake.scattered == [[square], users, [square], items] + [[square]] * 4


def test_other_blocks_are_never_taken_for_those_sent(fake):
    run = dask_map(fake)
    first = [[1], [2]]
    assert run(square, first) == [1, 4]
    # Equal, but not the same; fewer; the same in another order.
    for others in ([[1], [2]], first[:1], first[::-1]):
        assert run(square, others) == [x**2 for (x,) in others]
        assert fake.scattered[-1] is not others
        assert fake.scattered[-1] == others


def test_the_blocks_of_one_fit_at_most_are_kept(fake):
    class Block(list):
        """One that can be watched."""

    run, watched = dask_map(fake), []
    for k in range(5):
        blocks = [Block([k])]
        watched.append(weakref.ref(blocks[0]))
        run(square, blocks)
        fake.scattered.clear()
    del blocks
    gc.collect()
    assert [ref() is not None for ref in watched] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("error", [CancelledError, ConnectionError])
def test_what_was_lost_is_sent_anew(error, fake, monkeypatch):
    run, blocks, gather, attempts = dask_map(fake), [[1], [2]], fake.gather, []
    monkeypatch.setattr(dask, "_PAUSES", (0, 0, 0))
    run(square, blocks)

    def unreliable(futures):
        attempts.append(None)
        if len(attempts) <= n_losses:
            raise error("lost")
        return gather(futures)

    monkeypatch.setattr(fake, "gather", unreliable)
    n_losses = 2
    assert run(square, blocks) == [1, 4]
    assert fake.scattered == [[square], blocks, [square], *[[square], blocks] * 2]
    n_losses = 99
    attempts.clear()
    with pytest.raises(error, match="lost"):
        run(square, blocks)
    assert len(attempts) == 4
    assert len(fake.tasks) == 2 * (1 + 3 + 4)
    assert all(task.released for task in fake.tasks)


# --- with a local cluster ---------------------------------------------------------------


@pytest.fixture(scope="module")
def ratings() -> scf.Ratings:
    return ratings_in_blocks()


@pytest.fixture(scope="module")
def client():
    """Of a cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_bits_of_one_process(solver, client, ratings):
    found = model(solver).fit(ratings, map=dask_map(client))
    assert_same_bits(found, model(solver).fit(ratings))


def in_worker(block):
    return (os.getpid(),)


@pytest.mark.slow
def test_both_workers_work_and_this_process_does_not(client):
    pids = {pid for (pid,) in dask_map(client)(in_worker, list(range(40)))}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.slow
def test_the_plain_map_of_the_docs(client, ratings):
    def plain(function, blocks):
        return client.gather(client.map(function, blocks, pure=False))

    found = model("als").fit(ratings, map=plain)
    assert_same_bits(found, model("als").fit(ratings))


@pytest.mark.slow
def test_dasks_own_map_gives_promises(client, ratings):
    with pytest.raises(TypeError, match="what the function returned, got Future: wait for the res"):
        model("als").fit(ratings, map=client.map)


def failing(block):
    raise ArithmeticError("in a worker")


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_callers(client, ratings):
    on_cluster = dask_map(client)
    with pytest.raises(ArithmeticError, match="in a worker"):
        model("als").fit(ratings, map=lambda function, blocks: on_cluster(failing, blocks))


@pytest.mark.slow
def test_a_worker_that_is_lost(client, ratings, caplog):
    pids = list(client.run(os.getpid).values())

    def kill_one(row):
        if row["iteration"] == 2:
            os.kill(pids[0], signal.SIGKILL)  # its nanny starts another

    on_cluster = dask_map(client)
    with caplog.at_level("CRITICAL"):
        found = model("als", n_iterations=5).fit(ratings, map=on_cluster, callback=kill_one)
    assert_same_bits(found, model("als", n_iterations=5).fit(ratings))
    client.wait_for_workers(2, timeout=60)


def waiting(block):
    time.sleep(5)


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_full_sweep(client, ratings):
    calls, on_cluster = [], dask_map(client)

    def interrupted(function, blocks):
        calls.append(None)
        if len(calls) < 6:  # in the second half of the third sweep
            return on_cluster(function, blocks)
        main = threading.main_thread().ident
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        return on_cluster(waiting, blocks)

    found = model("als", n_iterations=50).fit(ratings, map=interrupted)
    assert found.result_.message == "Interrupted after 2 sweeps."
    assert_same_bits(found, model("als", n_iterations=2).fit(ratings))


@pytest.mark.slow
def test_the_cluster_forgets_what_a_map_sent(client, ratings):
    def held():
        return set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))

    # What was interrupted on the way there is Dask's to forget, when the client closes.
    before = held()

    def settles_at(n):
        for _ in range(100):
            gc.collect()  # the frames of an error hold futures
            if len(held() - before) == n:
                return True
            time.sleep(0.1)
        pytest.fail(f"the scheduler holds {held() - before}")

    on_cluster = dask_map(client)
    model("als").fit(ratings, map=on_cluster)
    assert settles_at(N_BLOCKS)
    model("vb").fit(ratings, map=on_cluster)
    assert settles_at(N_BLOCKS)  # others
    with pytest.raises(ArithmeticError, match="in a worker"):
        on_cluster(failing, [1, 2])
    assert settles_at(3 + 2)  # one side's blocks of the fit, and these
    del on_cluster
    assert settles_at(0)


@pytest.mark.slow
def test_the_example_skipped_elsewhere():
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    (test,) = doctest.DocTestFinder().find(dask_map, "dask_map")
    assert any(example.options.pop(doctest.SKIP, False) for example in test.examples)
    for example in test.examples:
        example.options.pop(doctest.SKIP, None)
    assert doctest.DocTestRunner().run(test).failed == 0


def recipe(section):
    """The first program of a section of the docs."""
    text = re.search(rf"\n## {section}\n(.*?)(\n## |\Z)", DOCS.read_text("utf-8"), re.DOTALL)[1]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def run_as_a_program(code):
    """As a user would: a file of its own, which new processes import."""
    Path("recipe.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "recipe.py"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"HOME": str(Path.cwd())},  # Ray leaves things there
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "package"),
    [("Threads and processes", "concurrent"), ("Dask", "distributed"), ("Ray", "ray")],
)
def test_the_recipes_of_the_docs(section, package):
    pytest.importorskip(package, reason=f"{package} is not installed")
    assert run_as_a_program(recipe(section))[-1] == "True"
