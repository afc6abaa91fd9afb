"""by_rows gives the same results and errors on one thread and on several."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.memory import WorkArray
from minigrad.threads import BLOCK, Rows, by_rows


@pytest.fixture(autouse=True)
def _same_number_afterwards() -> Iterator[None]:
    n = mg.get_num_threads()
    yield
    mg.set_num_threads(n)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(5, 3), (1, 3 * BLOCK), (700, 2000), (2 * BLOCK + 1,)])
def test_every_row_once_and_in_order(threads: int, shape: tuple[int, ...]) -> None:
    mg.set_num_threads(threads)
    array = np.zeros(shape, np.float32)
    numbers = np.arange(len(array))

    def work(rows: Rows) -> np.ndarray:
        array[rows] += 1
        return numbers[rows]

    seen = by_rows(work, array)
    assert np.all(array == 1)
    assert np.array_equal(np.concatenate(seen), numbers)


def test_no_rows_and_no_axes() -> None:
    assert by_rows(lambda rows: np.zeros((0, 3))[rows].shape, np.zeros((0, 3))) == [(0, 3)]
    assert by_rows(lambda rows: np.array(2.0)[rows], np.array(2.0)) == [2.0]


def test_an_error_in_any_thread_comes_out() -> None:
    mg.set_num_threads(2)
    array = np.zeros((4, BLOCK))

    def work(rows: Rows) -> None:
        if isinstance(rows, slice) and rows.stop == 4:
            raise KeyError("the last block")

    with pytest.raises(KeyError, match="the last block"):
        by_rows(work, array)


def test_what_errstate_says_holds_in_every_thread() -> None:
    mg.set_num_threads(2)
    array = np.full((4, BLOCK), 1e30, np.float32)
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error")
        by_rows(lambda rows: array[rows] * array[rows], array)


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_thread(n: int) -> None:
    with pytest.raises(ValueError, match="at least 1, not"):
        mg.set_num_threads(n)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork() -> None:
    mg.set_num_threads(2)
    array = np.zeros((4, BLOCK), np.float32)
    by_rows(lambda rows: array[rows], array)  # the pool is there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        by_rows(lambda rows: array[rows], array)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_the_loss_does_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x, W, b = (rng.standard_normal(s) for s in [(60, 4), (20_000, 4), (20_000,)])
    targets = rng.integers(0, 20_000, 60)
    results = []
    for n in (1, 2, 5):
        mg.set_num_threads(n)
        leaves = [mg.tensor(a, requires_grad=True) for a in (x, W, b)]
        loss = F.linear_cross_entropy(*leaves, targets)
        loss.backward()
        results.append([loss.data, *(leaf.grad for leaf in leaves)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


def test_a_work_array_in_use_is_nobody_elses() -> None:
    like = np.zeros(1)
    first = WorkArray((3, 4), like)
    first.array[...] = 1
    second = WorkArray((3, 4), like)
    second.array[...] = 2
    assert np.all(first.array == 1)
    assert not np.shares_memory(first.array, second.array)


def test_a_work_array_gets_the_memory_of_the_last() -> None:
    first = WorkArray((100, 100), np.zeros(1, np.float32))
    before = first.array.ctypes.data
    del first
    smaller = WorkArray((10, 10), np.zeros(1))
    assert smaller.array.ctypes.data == before
    assert smaller.array.shape == (10, 10)
    assert smaller.array.dtype == np.float64


def test_two_losses_before_one_backward() -> None:
    rng = np.random.default_rng(1)
    x, W = (mg.tensor(rng.standard_normal(s), requires_grad=True) for s in [(6, 3), (9, 3)])
    targets = [rng.integers(0, 9, 6), rng.integers(0, 9, 6)]
    total = sum(F.linear_cross_entropy(x, W, None, t) for t in targets)
    total.backward()
    plain = [mg.tensor(a.data, requires_grad=True) for a in (x, W)]
    sum(F.cross_entropy(F.linear(*plain), t) for t in targets).backward()
    for a, b in zip((x, W), plain, strict=True):
        assert np.allclose(a.grad, b.grad, rtol=1e-12, atol=1e-14)
