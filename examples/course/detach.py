"""What happens without detaching: time, memory and size of the graph, batch by batch.

python examples/course/detach.py --out docs/results/course/detach.json
python examples/course/detach.py --quick

Both ways compute the gradient of one chunk after the other, and carry the state. One detaches it
before each chunk; the other does not, and keeps the graph of all chunks (`retain_graph`). The
weights stay as they are, since the tape refuses to go back to a value that has been changed.

Time is CPU time; the two ways take turns, and the median of the rounds counts. Memory is what NumPy
and Python hold after the batch, as `tracemalloc` counts it, in a run of its own.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiment import options, write
from letter_model import build, text

from lm.batches import batchify, get_batch
from lm.console import run_command, show
from lm.steps import repackage_hidden
from minigrad import Tensor, graph

SEEDS = (1, 2, 3)
WAYS = {"with": True, "without": False}


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    batches: int = 60
    columns: int = 16
    steps: int = 20
    rounds: int = 5


QUICK = Size(hidden=24, batches=16, columns=8, steps=5, rounds=3)


def losses(detach: bool, seed: int, size: Size) -> Iterator[Tensor]:
    """The loss of each batch; the gradient is computed when the next one is asked for."""
    model = build("LSTM", seed, size.hidden)
    letters = size.columns * (size.batches * size.steps + 1)
    source, hidden = batchify(text()[0][:letters], size.columns), model.init_hidden(size.columns)
    for batch in range(size.batches):
        if detach:
            hidden = repackage_hidden(hidden)
        model.zero_grad()
        loss, hidden = model.loss(*get_batch(source, batch * size.steps, size.steps), hidden)
        yield loss
        loss.backward(retain_graph=not detach)


def operations(detach: bool, size: Size) -> list[int]:
    """How many operations are in the graph of each batch's loss."""
    return [graph.mermaid(loss).count("([") for loss in losses(detach, SEEDS[0], size)]


def milliseconds(detach: bool, seed: int, size: Size) -> list[float]:
    """The CPU time of each batch: its backward pass, and the forward pass of the next one."""
    one_more = size._replace(batches=size.batches + 1)
    marks = [time.process_time() for _ in losses(detach, seed, one_more)]
    return [1000 * (after - before) for before, after in itertools.pairwise(marks)]


def megabytes(detach: bool, size: Size) -> list[float]:
    """What is held after each batch's forward pass, beyond what was there before the first."""
    text()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        return [
            (tracemalloc.get_traced_memory()[0] - before) / 1e6
            for _ in losses(detach, SEEDS[0], size)
        ]
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------- measuring


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    seeds = [SEEDS[i % len(SEEDS)] for i in range(size.rounds)]
    times: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way, detach in WAYS.items():  # in turns
            times[way].append(milliseconds(detach, seed, size))
    numbers: dict[str, Any] = {}
    for way, detach in WAYS.items():
        ms = [statistics.median(of_batch) for of_batch in zip(*times[way], strict=True)]
        series = {"ms": ms, "MB": megabytes(detach, size), "operations": operations(detach, size)}
        numbers[way] = {
            **series,
            "at": {
                str(batch): {name: values[batch - 1] for name, values in series.items()}
                for batch in (1, 2, 10, 20, 40, 60)
                if batch <= size.batches
            },
        }
        for batch, found in numbers[way]["at"].items():
            shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            show(f"{way:7} detach, batch {batch:2}: {shown}")
    write(args.out, size._asdict(), SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("Time, memory and graph size of each batch, with and without detaching.")


if __name__ == "__main__":
    run_command(main)
