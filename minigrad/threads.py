"""Element-wise work on every core.

NumPy spreads its matrix products over all cores, but runs its element-wise functions on one. They
let go of Python's lock while they work, so that other threads can take their share of the rows.
What is computed does not depend on how many there are.
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
Rows = slice | EllipsisType  # an index that selects rows of an array: some, or all

BLOCK = 1 << 18  # elements worked at together: few enough to stay in a core's cache


def _default() -> int:
    """What the environment asks for, else one thread a core that this process may use."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = _default()


def set_num_threads(n: int) -> None:
    """Use n threads for element-wise work; raises ValueError for fewer than 1.

    Matrix products have threads of their own, which `OPENBLAS_NUM_THREADS` sets.
    """
    global _threads
    if n < 1:
        raise ValueError(f"at least one thread, not {n}")
    _threads = n


def get_num_threads() -> int:
    """How many threads do element-wise work.

    At first OMP_NUM_THREADS or OPENBLAS_NUM_THREADS, or one a core.
    """
    return _threads


@cache
def _pool() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(thread_name_prefix="minigrad")


if hasattr(os, "register_at_fork"):  # a forked process inherits the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def by_rows(work: Callable[[Rows], Result], array: Array) -> list[Result]:
    """[work(rows), ...] for slices that together cover the first axis of `array`, on all cores.

    On a GPU, and for an array of one block, that is one call, work(...). `work` must treat every
    row by itself, and write nothing that another call reads.
    """
    if array.size <= BLOCK or array_module(array) is not np:
        return [work(...)]
    rows = max(1, BLOCK * len(array) // array.size)
    blocks = [slice(start, start + rows) for start in range(0, len(array), rows)]
    results: list[Any] = [None] * len(blocks)
    todo = iter(range(len(blocks)))  # whoever is free takes the next: cores differ in speed

    def share() -> None:
        for i in todo:
            results[i] = work(blocks[i])

    # In a copy of this thread's context, which holds what np.errstate has set.
    others = [_pool().submit(copy_context().run, share) for _ in range(_threads - 1)]
    share()
    for other in others:
        other.result()
    return results
