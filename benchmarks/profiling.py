"""What profiling costs, and whether its times add up.

    python benchmarks/profiling.py --out docs/results/profiling.json

Training steps take turns: plain, inside of `minigrad.profile()`, and with the clock that
`examples/profile_lm.py` and `train --report` read. `covered` is the part of the time of the
profiled steps that the rows of the profile add up to.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import harness
import train_step

import minigrad as mg
from lm.console import run_command, show
from lm.run.clock import Clock

STEPS = 5  # in a turn


def seconds(step: Callable[[], Any], watched: AbstractContextManager[Any]) -> float:
    started = time.perf_counter()
    with watched:
        for _ in range(STEPS):
            step()
    return time.perf_counter() - started


def main() -> None:
    args, started = parser().parse(), time.perf_counter()
    mg.set_num_threads(args.threads)
    step = train_step.ours(args)
    seconds(step, nullcontext())
    ways: dict[str, list[float]] = {"plain": [], "profile": [], "clock": []}
    covered = []
    for _ in range(args.turns):
        ways["plain"].append(seconds(step, nullcontext()))
        profile = mg.profile()
        ways["profile"].append(seconds(step, profile))
        rows = sum(row.forward_seconds + row.backward_seconds for row in profile.rows)
        covered.append(rows / ways["profile"][-1])
        ways["clock"].append(seconds(step, Clock()))
    numbers = {
        "covered": statistics.median(covered),
        **{way: harness.ratio(ways, way, "plain") for way in ("profile", "clock")},
        "ms_per_step": 1000 * statistics.median(ways["plain"]) / STEPS,
    }
    show(harness.machine(), *(f"{name:12} {value:.4f}" for name, value in numbers.items()))
    settings = {"turns": args.turns, "steps": STEPS, "threads": args.threads}
    harness.write(args, settings, started, numbers)


def parser() -> harness.Parser:
    return harness.writes(harness.parser("Measure what profiling costs."))


if __name__ == "__main__":
    run_command(main)
