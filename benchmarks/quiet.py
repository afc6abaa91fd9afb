"""Measure while other programs leave the processor alone, on Linux; elsewhere just measure."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ALLOWED = 0.05  # of all cores, for other programs
PAUSE = 1.0  # seconds between looks at a processor that is busy


def busy_seconds() -> float | None:
    """CPU seconds of all programs but those of low priority (nice), since the machine has started.

    None if nothing can tell.
    """
    try:
        line = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return None
    user, _nice, system, _idle, _waiting, *interrupts = map(int, line.split()[1:9])
    return (user + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def ours() -> float:
    """CPU seconds of this process and of those that it has started and waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usages)


def share_of_others(measure: Callable[[], T]) -> tuple[T, float]:
    """What the function returns, and the share of all cores that others used meanwhile."""
    start, before, mine = time.perf_counter(), busy_seconds(), ours()
    result = measure()
    after, wall = busy_seconds(), time.perf_counter() - start
    if before is None or after is None:
        return result, 0.0
    others = after - before - (ours() - mine)
    return result, max(0.0, others) / (wall * (os.cpu_count() or 1))


def quietly(measure: Callable[[], T], patience: float) -> tuple[T, float]:
    """The least disturbed of some measurements, and the share of the cores that others used.

    It measures until others use almost nothing, or `patience` seconds are over.
    """
    end = time.perf_counter() + patience
    best = share_of_others(measure)
    while best[1] > ALLOWED and time.perf_counter() < end:
        _, busy = share_of_others(lambda: time.sleep(PAUSE))
        if busy <= ALLOWED:
            best = min(best, share_of_others(measure), key=lambda found: found[1])
    return best
