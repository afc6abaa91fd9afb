"""Tokens per second of training, against the sizes of the model and the batch, and the threads.

    python benchmarks/throughput.py --against torch --out docs/results/throughput.json

One size changes at a time, the others stay at the defaults of word_language_model. The contestants
of one size take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import harness
import train_step
from threadpoolctl import threadpool_limits

import minigrad as mg
from lm.console import run_command

SIZES: dict[str, Sequence[int]] = {
    "bptt": (5, 10, 20, 35, 70, 140),
    "batch_size": (1, 5, 10, 20, 40, 80, 160),
    "nhid": (50, 100, 200, 400, 650),
    "words": (1_000, 3_000, 10_000, 33_278),
    "threads": (1, 2, 4, 8),
}


def changed(
    contestant: harness.Contestant, name: str, value: int, args: argparse.Namespace
) -> harness.Work:
    """The contestant's work with another value of one size."""
    args = argparse.Namespace(**{**vars(args), name: value})
    mg.set_num_threads(args.threads)
    threadpool_limits(args.threads)  # stays, since nothing ends it
    if contestant is train_step.theirs:
        import torch

        torch.set_num_threads(args.threads)
    return contestant(args)


def measure(args: argparse.Namespace, name: str, values: Sequence[int]) -> dict[str, Any]:
    """For each contestant and value: tokens per second, the median over the turns."""
    contestants = {"minigrad": train_step.ours}
    if args.against:
        contestants[args.against] = train_step.theirs
    runs = {
        (who, value): partial(changed, contestant, name, value)
        for value in values
        for who, contestant in contestants.items()
    }
    seconds = harness.take_turns(runs, args, partial(harness.seconds_of, 5))
    found: dict[str, Any] = {who: {} for who in contestants}
    for (who, value), times in seconds.items():
        sizes = {**vars(args), name: value}
        tokens = sizes["bptt"] * sizes["batch_size"]
        found[who][str(value)] = round(tokens / statistics.median(times), 1)
    if args.against:
        found["ratio"] = {
            str(v): round(harness.ratio(seconds, (args.against, v), ("minigrad", v)), 3)
            for v in values
        }
    return found


def main() -> None:
    args = parser().parse()
    started, numbers = time.perf_counter(), {}
    print(harness.machine())
    for name, values in SIZES.items():
        values = [v for v in values if name != "threads" or v <= args.threads]
        numbers[name] = measure(args, name, values)
        heads = list(numbers[name])
        print(f"{name:>12} " + " ".join(f"{head:>12}" for head in heads))
        for value in values:
            row = (numbers[name][head][str(value)] for head in heads)
            print(f"{value:12} " + " ".join(f"{number:12,.2f}" for number in row), flush=True)
    sizes = {n: getattr(args, n) for n in ("model", "nlayers", "tied", "dropout", *SIZES)}
    harness.write(args, sizes, started, numbers)


def parser() -> harness.Parser:
    what = "Measure the speed of training against each size."
    return harness.writes(harness.parser(what, turns=5))


if __name__ == "__main__":
    run_command(main)
