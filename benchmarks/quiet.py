"""Measure while other programs leave the processor alone, on Linux; elsewhere just measure."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ALLOWED = 0.05  # of all cores, for other programs
LOOKS = 5  # at the running programs, before a measurement is repeated
PAUSE = 0.2  # seconds between them
LOWEST = 19  # the priority of programs that hardly disturb


def busy_seconds() -> float | None:
    """CPU seconds of all programs since the machine has started; None if nothing can tell."""
    try:
        line = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *interrupts = map(int, line.split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


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


def somebody_runs() -> bool:
    """Whether a program runs at this moment, other than this one and those of lowest priority."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        if path.parent.name != str(os.getpid()):
            with contextlib.suppress(OSError):  # it has ended
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
                if fields[0] == "R" and int(fields[16]) < LOWEST:
                    return True
    return False


def wait_for_a_gap(end: float) -> None:
    """Wait until no program runs for a second, at most until `end`."""
    seen = 0
    while seen < LOOKS and time.perf_counter() < end:
        time.sleep(PAUSE)
        seen = 0 if somebody_runs() else seen + 1


def quietly(measure: Callable[[], T], patience: float) -> tuple[T, float]:
    """The least disturbed of some measurements, and the share of the cores that others used.

    It measures until others use almost nothing, or `patience` seconds are over.
    """
    end = time.perf_counter() + patience
    wait_for_a_gap(end)
    best = share_of_others(measure)
    while best[1] > ALLOWED and time.perf_counter() < end:
        wait_for_a_gap(end)
        best = min(best, share_of_others(measure), key=lambda found: found[1])
    return best
