"""Time a training step while another program keeps one of the cores busy.

    python benchmarks/busy.py --out docs/results/busy.json

Matrix products are shared equally between the cores, so the busy core decides how long they take.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import harness
import table
import train_step

from lm.arguments import Parser
from lm.console import need, run_command, show

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


def main() -> None:
    args = parser().parse()
    need("torch", "torch")
    started = time.perf_counter()
    step = partial(table.measure, train_step, [], args.turns, args.threads, backward=None)
    numbers = {"quiet": step()}
    with one_busy_core():
        numbers["busy"] = step()
    numbers["slower"] = {
        name: numbers["busy"][name] / numbers["quiet"][name] for name in ("minigrad", "torch")
    }
    show(harness.machine(), *(f"{name:8} {found}" for name, found in numbers.items()))
    settings = {"turns": args.turns, "threads": args.threads}
    harness.write(args, settings, started, numbers)


def parser() -> Parser:
    p = table.parser()
    p.description = "Time a training step while one of the cores is busy."
    return p


if __name__ == "__main__":
    run_command(main)
