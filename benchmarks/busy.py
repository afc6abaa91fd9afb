"""Time a training step while another program keeps one of the cores busy.

    python benchmarks/busy.py --out docs/results/busy.json

Matrix products are shared equally between the cores, so the busy core decides how long they take.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import harness
import train_step

from lm.arguments import Parser, at_least_one
from lm.console import need, run_command, show
from lm.results import this_command, write_result

BUSY = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"


@contextlib.contextmanager
def one_busy_core() -> Iterator[None]:
    """Inside `with`, a program that never pauses runs on one of the cores (Linux only)."""
    program = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        program.kill()
        program.wait()


def measure(turns: int) -> dict[str, float]:
    """Milliseconds of a step of each contestant, and PyTorch's time over ours."""
    args = harness.parser("").parse(["--turns", str(turns)])
    contestants = {"minigrad": train_step.ours, "torch": train_step.theirs}
    seconds = harness.take_turns(contestants, args, partial(harness.seconds_of, 6))
    found = {name: 1000 * statistics.median(times) for name, times in seconds.items()}
    return {**found, "ratio": harness.ratio(seconds, "torch", "minigrad")}


def main() -> None:
    args = parser().parse()
    need("torch", "torch")
    started = time.perf_counter()
    numbers = {"quiet": measure(args.turns)}
    with one_busy_core():
        numbers["busy"] = measure(args.turns)
    numbers["slower"] = {
        name: numbers["busy"][name] / numbers["quiet"][name] for name in ("minigrad", "torch")
    }
    show(harness.machine(), *(f"{name:8} {found}" for name, found in numbers.items()))
    if args.out is not None:
        settings = {"turns": args.turns, "cores": os.cpu_count()}
        seconds = time.perf_counter() - started
        write_result(args.out, this_command(), settings, [0], seconds, numbers)


def parser() -> Parser:
    p = Parser(description="Time a training step while one of the cores is busy.")
    p.add_argument("--out", type=Path, metavar="FILE.json", help="write the numbers to this file")
    p.add_argument("--turns", type=at_least_one, default=7)
    return p


if __name__ == "__main__":
    run_command(main)
