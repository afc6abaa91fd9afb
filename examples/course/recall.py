"""A task whose answer lies a known number of steps back, learned in chunks of several lengths.

python examples/course/recall.py --out docs/results/course/recall.json
python examples/course/recall.py --quick

The model reads random symbols and must say at each step which one it read `lag` steps before. The
state is carried from chunk to chunk, so the answer is never cut off from it: the state may contain
it at any step. What the chunk length decides is whether a gradient can lead from the answer back to
the symbol. All runs make equally many updates from equally many symbols.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from experiment import options, summary, write

from lm.console import run_command, show
from lm.model import RNNModel
from lm.steps import train_step
from minigrad import manual_seed, no_grad, optim

SEEDS = (1, 2, 3)
CELLS = ("RNN_TANH", "LSTM", "GRU")
SYMBOLS, LAG = 4, 6
LR, CLIP = 0.01, 0.25


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 48
    updates: int = 800
    batch: int = 512  # symbols in a batch, about
    lengths: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 8, 10, 16, 32)


QUICK = Size(updates=250, lengths=(LAG, 4 * LAG))


def accuracy(model: RNNModel, rng: np.random.Generator) -> float:
    """The share of right answers on 200 new steps in 16 columns, after the first `LAG`, in %."""
    symbols = rng.integers(0, SYMBOLS, (200 + LAG, 16))
    with no_grad():
        logits, _ = model(symbols, model.init_hidden(16))
    answers = logits.data.argmax(axis=1).reshape(symbols.shape)
    return float(100 * (answers[LAG:] == symbols[:-LAG]).mean())


def measure(cell: str, chunk: int, seed: int, size: Size) -> float:
    """The accuracy after training in chunks of this length."""
    rng, columns = np.random.default_rng(seed), size.batch // chunk
    manual_seed(seed)
    model = RNNModel(cell, SYMBOLS, size.hidden, size.hidden, 1, dropout=0.0)
    optimizer = optim.Adam(model.parameters(), lr=LR)
    symbols = rng.integers(0, SYMBOLS, (LAG + size.updates * chunk, columns))
    hidden = model.init_hidden(columns)
    for start in range(LAG, len(symbols), chunk):
        data = symbols[start : start + chunk]
        target = symbols[start - LAG : start - LAG + chunk].reshape(-1)
        _, _, hidden = train_step(model, optimizer, data, target, hidden, CLIP)
    return accuracy(model, rng)


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    numbers: dict[str, Any] = {}
    for cell in CELLS:
        numbers[cell] = {}
        for chunk in size.lengths:
            found = [measure(cell, chunk, seed, size) for seed in SEEDS]
            numbers[cell][str(chunk)] = {**summary(found), "seeds": found}
            show(f"{cell}, {chunk:2} steps: {min(found):.1f} to {max(found):.1f} % right")
    used = {**size._asdict(), "symbols": SYMBOLS, "lag": LAG, "lr": LR, "clip": CLIP}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("Recall a symbol from some steps before, trained in chunks of several lengths.")


if __name__ == "__main__":
    run_command(main)
