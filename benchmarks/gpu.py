"""Find out in ten minutes whether minigrad is correct on this GPU, and how fast.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --minutes 3 --out gpu.json

Prints each finding as soon as it is there, and at the end all of them as one block of text that you
can paste into an issue. Each stage runs in a process of its own: if one fails, hangs or breaks the
GPU's context, one line says so, and the next stage starts afresh. A stage may take its share of the
time and what earlier stages have left. Install PyTorch with CUDA first for a comparison with cuDNN,
and compute-sanitizer (a part of the CUDA toolkit) for a check of every memory access.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gpu_checks
import gpu_times

import minigrad as mg
from lm.arguments import Parser
from lm.console import UserError
from lm.results import this_command, write_result

# A line to print and its numbers for the file. A stage yields them, so that those before a failure
# are kept.
Finding = tuple[str, dict[str, Any]]
Stage = Callable[[], Iterable[Finding]]


def stages(quick: bool) -> list[tuple[str, Stage, float]]:
    """Name, work, and share of the time of every stage; with the most useful ones first."""
    steps = 20 if quick else 200
    listed: list[tuple[str, Stage, float]] = [
        ("versions", gpu_checks.versions, 0.03),
        ("self-test", partial(gpu_checks.self_test, quick), 0.15),
        ("agreement with NumPy", partial(gpu_checks.agreement, steps), 0.15),
        ("gradients of a large step", partial(gpu_checks.large_step, quick), 0.05),
        ("resume and masks", partial(gpu_checks.resume_and_masks, quick), 0.05),
        ("cost on the host", partial(gpu_times.host_costs, quick), 0.05),
    ]
    sizes = [(8, 50)] if quick else [(n, v) for v in (10_000, 33_278) for n in (200, 650, 1500)]
    for units, words in sizes:
        for tf32 in (False, True):
            name = f"LSTM, {units} units, {words:,} words{', TF32' * tf32}"
            listed.append((name, partial(gpu_times.steps, units, words, tf32, quick), 0.05))
    for tool in ("memcheck", "racecheck"):
        listed.append((tool, partial(gpu_checks.sanitizer, tool), 0.12))
    return listed


def show(finding: Finding) -> None:
    print("   ", finding[0], flush=True)


def run_stage(
    stage: Stage, seconds: float, show: Callable[[Finding], None] = show
) -> list[Finding]:
    """The findings of a stage, shown as they come; the last one says if it failed."""
    sys.stdout.flush()
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_send_findings, args=(stage, sender))
    process.start()
    sender.close()
    findings, failure, end = [], None, time.monotonic() + seconds
    try:
        while receiver.poll(max(0, end - time.monotonic())):
            findings.append(receiver.recv())
            show(findings[-1])
        failure = f"stopped after {seconds:.0f} s"
    except EOFError:  # the process has closed its end
        process.join(10)
        if process.exitcode:
            failure = f"its process ended with status {process.exitcode}"
    finally:
        if process.is_alive():  # with the programs that it has started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.join()
    if failure:
        findings.append((f"FAILED: {failure}", {"failed": failure}))
        show(findings[-1])
    return findings


def _send_findings(stage: Stage, sender: Connection) -> None:
    os.setsid()
    try:
        for finding in stage():
            sender.send(finding)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        failure = f"{type(error).__name__}: {first}"
        sender.send((f"FAILED: {failure}", {"failed": failure}))


def run(todo: list[tuple[str, Stage, float]], minutes: float) -> dict[str, list[Finding]]:
    """Run the stages one after the other; returns the findings of each."""
    started, planned, done = time.monotonic(), 0.0, {}
    for name, stage, share in todo:
        print(name, flush=True)
        planned += share * 60 * minutes  # a stage may also use what earlier ones have left
        left = min(planned, 60 * minutes) - (time.monotonic() - started)
        if left < 1:
            done[name] = [("left out: the time is up", {"failed": "the time is up"})]
            show(done[name][0])
        else:
            done[name] = run_stage(stage, left)
    return done


def parser() -> Parser:
    p = Parser(description="Check and time minigrad on a GPU.")
    p.add_argument("--minutes", type=float, default=10, help="time in all (10)")
    p.add_argument("--out", type=Path, default=Path("gpu.json"), help="file of results (gpu.json)")
    p.add_argument("--quick", action="store_true", help="small sizes")
    # What compute-sanitizer runs.
    p.add_argument("--small-steps", action="store_true", help=argparse.SUPPRESS)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 if every stage succeeded, 1 if one failed, 2 without a GPU."""
    args = parser().parse_args(argv)
    if args.small_steps:
        gpu_checks.small_steps()
        return 0
    # In another process: a process that has used CUDA can't fork.
    for problem, _ in run_stage(gpu_checks.available, 60, show=lambda _: None):
        print(problem, file=sys.stderr)
        return 2
    started = time.monotonic()
    done = run(stages(args.quick), args.minutes)
    numbers: dict[str, dict[str, Any]] = {}
    for name, findings in done.items():
        numbers[name] = {}
        for _, found in findings:
            numbers[name] |= found
    failed = [name for name, found in numbers.items() if "failed" in found]
    print(f"\n```\nminigrad {mg.__version__} on a GPU{', quick' * args.quick}")
    for name, findings in done.items():
        print("\n".join([name, *(f"    {line}" for line, _ in findings)]))
    print(f"{len(done) - len(failed)} of {len(done)} stages succeeded\n```")
    settings = {"minutes": args.minutes, "quick": args.quick}
    try:
        write_result(args.out, this_command(), settings, [1], time.monotonic() - started, numbers)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\nThe numbers are in {args.out}.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
