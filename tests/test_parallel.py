"""Threads: results come in order, every row is treated once, and errors reach the caller."""

import os
import threading
import time

import numpy as np
import pytest

from nestvec.errors import InputError
from nestvec.parallel import (
    check_threads,
    map_all,
    map_blocks,
    map_ordered,
    overlap,
    run_in_slices,
    thread_count,
)

THREADS = [None, 1, 3]


def slow_square(number):
    time.sleep(0.001 * (number % 3))
    return number**2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process is pinned to cores")
def test_as_many_threads_as_the_process_has_cores():
    cores = os.sched_getaffinity(0)
    assert thread_count() == len(cores)
    os.sched_setaffinity(0, list(cores)[:1])
    try:
        assert thread_count() == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("threads", THREADS)
def test_results_come_in_the_order_of_the_items(threads):
    assert map_all(slow_square, range(20), threads) == [n**2 for n in range(20)]
    assert list(map_ordered(slow_square, range(20), threads)) == [(n, n**2) for n in range(20)]


def test_few_results_are_computed_ahead():
    computed = []
    results = map_ordered(computed.append, range(1000), threads=2)
    next(results)
    assert len(computed) <= 8
    results.close()


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("n", [0, 1, 10, 11])
def test_every_row_is_in_one_block(threads, n):
    counts, sizes = np.zeros(n, int), []

    def count(block):
        counts[block] += 1
        sizes.append(block.stop - block.start)

    map_blocks(count, n, 5, threads)
    assert (counts == 1).all()
    assert sum(sizes) == n
    assert all(size <= 5 for size in sizes)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_slices_cover_all_rows_of_all_arrays(threads, rows):
    values, doubled = np.arange(rows), np.full(rows, -1)

    def double(part, out):
        out[:] = 2 * part

    run_in_slices(double, (values, doubled), threads)
    assert (doubled == 2 * values).all()


def test_a_single_row_stays_on_the_thread_of_the_caller():
    threads = []
    run_in_slices(lambda _: threads.append(threading.get_ident()), (np.zeros(1),))
    assert threads == [threading.get_ident()]


def test_the_next_item_is_made_while_one_is_consumed():
    is_made = threading.Event()

    def items():
        yield "first"
        is_made.set()
        yield "second"

    def consume(item):
        assert is_made.wait(timeout=10)
        return item.upper()

    assert list(overlap(items(), consume)) == ["FIRST", "SECOND"]
    assert list(overlap([], consume)) == []


@pytest.mark.parametrize(
    "run",
    [
        lambda fail: map_all(fail, [1]),
        lambda fail: list(map_ordered(fail, [1])),
        lambda fail: map_blocks(fail, 4, 2),
        lambda fail: run_in_slices(fail, (np.zeros(4),), 2),
        lambda fail: list(overlap([1], fail)),
    ],
)
def test_an_error_of_a_thread_reaches_the_caller(run):
    def fail(_):
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        run(fail)


def test_thread_counts_are_checked():
    check_threads(None)
    check_threads(1)
    with pytest.raises(InputError, match="threads=0 is not a whole number of at least 1"):
        check_threads(0)
    assert thread_count(3) == 3
    assert thread_count() >= 1
