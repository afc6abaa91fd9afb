"""Element-wise work on all cores.

NumPy runs matrix products on all cores, but element-wise functions on one. These release Python's
global lock (GIL) while they compute, so several threads can each work on some of the rows. The
result does not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .backend import Array, array_module

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Result = TypeVar("Result")
Rows = slice | EllipsisType  # an index: some rows of an array, or all

BLOCK = 1 << 18  # elements per block: few enough for a core's cache


def _default() -> int:
    """The number in the environment, or else one thread per core available to this process."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _default()


def set_num_threads(n: int) -> None:
    """Use n threads for element-wise work; raises ValueError for fewer than 1.

    Matrix products use OpenBLAS's own threads; `OPENBLAS_NUM_THREADS` sets their number.
    """
    global _threads
    if n < 1:
        raise ValueError(f"set_num_threads: n must be at least 1, not {n}")
    _threads = n


def get_num_threads() -> int:
    """The number of threads for element-wise work.

    Initially OMP_NUM_THREADS or OPENBLAS_NUM_THREADS, or else one per core.
    """
    return _threads


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(thread_name_prefix="minigrad")


if hasattr(os, "register_at_fork"):  # a fork copies the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def by_rows(work: Callable[[Rows], Result], array: Array) -> list[Result]:
    """[work(rows), ...] for slices that together cover the first axis of `array`, on all cores.

    For a CuPy array, or one that fits into one block, this is a single call, work(...). `work` must
    process each row independently and must not write what another call reads.
    """
    if array.size <= BLOCK or array_module(array) is not np:
        return [work(...)]
    rows = max(1, BLOCK * len(array) // array.size)
    blocks = [slice(start, start + rows) for start in range(0, len(array), rows)]
    results: list[Any] = [None] * len(blocks)
    todo = iter(range(len(blocks)))  # each free thread takes the next block

    def share() -> None:
        for i in todo:
            results[i] = work(blocks[i])

    # In a copy of this thread's context, which includes the settings of np.errstate.
    others = [_pool().submit(copy_context().run, share) for _ in range(_threads - 1)]
    share()
    for other in others:
        other.result()
    return results
