"""Half-steps in threads, in other processes, or wherever a `map` runs them: the same bits.

A block's half-step is a pure function, and the blocks do not depend on who computes them. So
nothing here is approximate: parameters are compared bit by bit with those of one thread.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from sweeps import N_BLOCKS, SOLVERS, assert_same_bits, model, ratings_in_blocks

import shallow_cf as scf
from shallow_cf._jobs import check_jobs, mapping
from shallow_cf.solvers import als


@pytest.fixture(scope="module")
def ratings() -> scf.Ratings:
    return ratings_in_blocks()


@pytest.fixture(scope="module", params=SOLVERS)
def alone(request, ratings):
    """What one thread finds."""
    return model(request.param).fit(ratings)


# --- threads ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_any_number_of_threads_gives_the_same_bits(n_jobs, alone, ratings):
    assert_same_bits(model(alone.solver, n_jobs).fit(ratings), alone)


def test_the_model_learned_something(alone, ratings):
    # Equal bits of a run that went nowhere would be no news.
    errors = alone.history_.train_rmse
    assert len(errors) == 4
    assert errors.iloc[-1] < 0.8 * np.std(ratings.rating)


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_so_many_threads_work_at_once(n_jobs):
    together = threading.Barrier(n_jobs, timeout=10)  # breaks, where fewer than so many come

    def meet(_):
        together.wait()
        return threading.get_ident()

    with mapping(n_jobs) as threads:
        assert len(set(threads(meet, range(n_jobs)))) == n_jobs


def test_one_job_is_this_thread():
    with mapping(1) as one:
        assert set(one(lambda _: threading.get_ident(), range(5))) == {threading.get_ident()}


def test_minus_one_is_a_thread_a_core():
    assert 1 <= check_jobs(-1) <= os.cpu_count()


@pytest.mark.parametrize(
    ("n_jobs", "error", "message"),
    [
        (0, ValueError, "`n_jobs` must be >= 1, or -1 for one a core, got 0"),
        (-2, ValueError, "`n_jobs` must be >= 1, or -1 for one a core, got -2"),
        (1.5, TypeError, "`n_jobs` must be a whole number, got 1.5"),
        (-1.0, TypeError, "`n_jobs` must be a whole number, got -1.0"),
        (True, TypeError, "`n_jobs` must be a whole number, got True"),
        ("2", TypeError, "`n_jobs` must be a whole number, got '2'"),
        (None, TypeError, "`n_jobs` must be a whole number, got None"),
    ],
)
def test_numbers_of_jobs_that_are_none(n_jobs, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        scf.MatrixFactorization(solver="als", n_jobs=n_jobs)
    with pytest.raises(error, match=f"^{message}$"):
        model("als").set_params(n_jobs=n_jobs)


def test_ctrl_c_keeps_the_last_full_sweep_and_leaves_no_thread(ratings, monkeypatch):
    half_step, calls = als.half_step, []

    def interrupted(*args, **kwargs):
        calls.append(None)
        if len(calls) == 2 * N_BLOCKS + 2:  # among the users' blocks of the third sweep
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return half_step(*args, **kwargs)

    before = threading.active_count()
    monkeypatch.setattr(als, "half_step", interrupted)
    found = model("als", n_jobs=2, n_iterations=50).fit(ratings)
    assert threading.active_count() == before
    assert found.result_.message == "Interrupted after 2 sweeps."
    monkeypatch.setattr(als, "half_step", half_step)
    assert_same_bits(found, model("als", n_iterations=2).fit(ratings))


def test_an_error_in_a_thread_is_the_callers(ratings, monkeypatch):
    def broken(block, other, **_):
        raise FloatingPointError("in a thread")

    monkeypatch.setattr(als, "half_step", broken)
    before = threading.active_count()
    with pytest.raises(FloatingPointError, match="in a thread"):
        model("als", n_jobs=2).fit(ratings)
    assert threading.active_count() == before


# --- a map of one's own -----------------------------------------------------------------


def lazily(function, blocks):
    """Results that are computed when they are asked for."""
    return (function(block) for block in blocks)


def backwards(function, blocks):
    """The last block first; the results in the blocks' order."""
    return [function(block) for block in list(blocks)[::-1]][::-1]


def by_mail(function, blocks):
    """Everything there and back as bytes, as between processes or machines."""
    for block in blocks:
        there, what = pickle.loads(pickle.dumps((function, block)))
        yield pickle.loads(pickle.dumps(there(what)))


def read_only(function, blocks):
    """Arrays that nobody may write into, as in memory shared between processes."""

    def sent(thing):
        buffers = []
        data = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
        return pickle.loads(data, buffers=[bytes(buffer.raw()) for buffer in buffers])

    return [sent(function)(sent(block)) for block in blocks]


@pytest.mark.parametrize("how", [map, lazily, backwards, by_mail, read_only])
def test_any_map_gives_the_same_bits(how, alone, ratings):
    assert_same_bits(model(alone.solver).fit(ratings, map=how), alone)


def test_a_thread_pools_map(alone, ratings):
    with ThreadPoolExecutor(2) as pool:
        assert_same_bits(model(alone.solver).fit(ratings, map=pool.map), alone)


def test_the_map_replaces_the_threads(ratings):
    seen = set()

    def here(function, blocks):
        for block in blocks:
            seen.add(threading.get_ident())
            yield function(block)

    model("als", n_jobs=2).fit(ratings, map=here)
    assert seen == {threading.get_ident()}


def test_blocks_are_the_same_objects_in_every_sweep(alone, ratings):
    # What `dask_map` builds on: it sends a block once.
    sweeps = []

    def watching(function, blocks):
        sweeps.append([id(block) for block in blocks])
        return map(function, blocks)

    model(alone.solver).fit(ratings, map=watching)
    assert sweeps == sweeps[:2] * 3
    assert len({*sweeps[0], *sweeps[1]}) == N_BLOCKS


# Processes of Python take seconds to start, so what needs them is slow; `by_mail`, which is not,
# shows that everything can be pickled.


@pytest.fixture(scope="module")
def processes():
    """Two processes that have to be told everything: nothing was copied from this one."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.slow
def test_a_process_pools_map(alone, ratings, processes):
    assert_same_bits(model(alone.solver).fit(ratings, map=processes.map), alone)


@pytest.mark.slow
def test_the_map_of_a_pool_of_multiprocessing(alone, ratings):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert_same_bits(model(alone.solver).fit(ratings, map=pool.map), alone)


def failing(block):
    raise ArithmeticError(f"a worker met {len(block)} rows")


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_callers(ratings, processes):
    with pytest.raises(ArithmeticError, match="a worker met 256 rows"):
        model("als").fit(ratings, map=lambda function, blocks: processes.map(failing, blocks))


def test_a_fit_that_failed_leaves_the_model_as_it_was(ratings):
    fitted = model("als").fit(ratings)
    before = fitted.parameters_

    def broken(function, blocks):
        raise ConnectionError("no worker left")

    with pytest.raises(ConnectionError, match="no worker left"):
        fitted.fit(ratings, map=broken)
    assert fitted.parameters_ is before


def promises(function, blocks):
    """As `Client.map` of Dask does, or a list of `submit`."""
    return [Future() for _ in blocks]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        (3, TypeError, r"^`map` must be a function, got 3$"),
        ("map", TypeError, r"^`map` must be a function, got 'map'$"),
        (lambda f, blocks: None, TypeError, r"^`map` must return the .* order, got NoneType$"),
        (lambda f, blocks: [*map(f, blocks)][:-1], ValueError,
         r"^`map` must return a result for each of 5 blocks of rows, got 4$"),
        (lambda f, blocks: [*map(f, blocks)] * 2, ValueError, "each of 5 blocks of rows, got 10$"),
        (lambda f, blocks: [], ValueError, "each of 5 blocks of rows, got 0$"),
        (promises, TypeError, "must return what the function returned, got Future: wait for"),
    ],
)  # fmt: skip
def test_maps_that_are_none(solver, how, error, message, ratings):
    with pytest.raises(error, match=message):
        model(solver).fit(ratings, map=how)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_linear_algebra_starts_no_threads_of_its_own(n_jobs):
    def threads_of_blas(_):
        infos = threadpoolctl.threadpool_info()
        return [info["num_threads"] for info in infos if info["user_api"] == "blas"]

    before = threads_of_blas(None)
    with mapping(n_jobs) as threads:
        for inside in threads(threads_of_blas, range(3)):
            assert inside == [1] * len(before)
            assert inside
    assert threads_of_blas(None) == before


def test_threadpoolctl_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with mapping(2) as threads:
        assert list(threads(abs, [-1, 2])) == [1, 2]
