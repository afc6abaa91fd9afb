"""What the chunk length, `bptt`, costs in perplexity and in time.

python examples/course/bptt_length.py --out docs/results/course/bptt-length.json
python examples/course/bptt_length.py --quick

A small LSTM reads the text once, letter by letter, and carries its state from chunk to chunk. Only
the length of the chunks varies. There are two ways to vary it:

  same columns   The batch keeps its columns. A chunk half as long makes a batch half as large, and
                 twice as many updates. This is what `--bptt` does.
  same updates   A chunk half as long gets twice as many columns. All runs make equally many updates
                 from equally many letters each, so that they differ only in the truncation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiment import options, summary, write
from letter_model import build, perplexity, text, train

from lm.console import run_command, show

SEEDS = (1, 2, 3)
CELL = "LSTM"
WAYS = ("same columns", "same updates")


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    letters: int = 500_000
    columns: int = 16  # with "same columns"
    batch: int = 800  # letters in a batch with "same updates", a multiple of all lengths
    lengths: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)


QUICK = Size(hidden=16, letters=8_000, batch=200, lengths=(1, 10, 50))


def measure(way: str, chunk: int, seed: int, size: Size) -> dict[str, float]:
    """Perplexity per letter, and the CPU time of training in microseconds per letter."""
    columns = size.columns if way == "same columns" else size.batch // chunk
    model = build(CELL, seed, size.hidden)
    started = time.process_time()
    train(model, size.letters, columns, chunk)
    seconds = time.process_time() - started
    return {
        "perplexity": perplexity(model),
        "us_per_letter": 1e6 * seconds / size.letters,
        "updates": size.letters // (columns * chunk),
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    text()  # reading it is no part of the training time
    numbers: dict[str, Any] = {}
    for way in WAYS:
        found = numbers[way] = {}
        for chunk in size.lengths:
            runs = [measure(way, chunk, seed, size) for seed in SEEDS]
            found[str(chunk)] = {key: summary([run[key] for run in runs]) for key in runs[0]}
            p, us, n = (found[str(chunk)][key] for key in runs[0])
            show(f"{way}, {chunk:3} steps: perplexity {p['min']:.3f} to {p['max']:.3f}, "
                 f"{us['mean']:.1f} µs per letter, {n['mean']:.0f} updates")  # fmt: skip
    used = {**size._asdict(), "cell": CELL}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("What the chunk length costs in perplexity and in time.")


if __name__ == "__main__":
    run_command(main)
