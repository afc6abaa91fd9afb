"""How long the language model takes with a GRU against an LSTM, at the sizes of the full grid.

python examples/course/model_time.py --out docs/results/course/model-time.json
python examples/course/model_time.py --quick

The settings are those of examples/compare_cells.py, whose trials may come from several machines.
Here the two models train in turns on one. An epoch's time is that of a step, the median over turns,
times the steps of an epoch; the ratio is the median over turns. All are CPU times, and the words
are random: they don't change the time. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from experiment import options, summaries, write
from lstm_gru import MODELS, QUICK

import minigrad as mg
from lm.console import run_command, show
from lm.settings import Settings, build_model
from lm.steps import train_step
from lm.sweep.grid import variants

SEEDS = (1, 2, 3)
GRID: dict[str, tuple[int, ...]] = {"nhid": (100, 400), "nlayers": (1, 3), "bptt": (10, 70)}
TEXT, VOCABULARY = 929_589, 10_000  # words of Penn Treebank: its training text, different ones


def training(settings: Settings, seed: int) -> Callable[[], float]:
    """A function that trains on one chunk and returns the CPU seconds that it took."""
    mg.manual_seed(seed)
    model = build_model(settings, VOCABULARY)
    optimizer = mg.optim.SGD(model.parameters(), settings.first_lr)
    hidden = model.init_hidden(settings.batch_size)
    shape = settings.bptt, settings.batch_size
    data, target = np.random.default_rng(seed).integers(0, VOCABULARY, (2, *shape))

    def seconds() -> float:
        started = time.process_time()
        train_step(model, optimizer, data, target.reshape(-1), hidden, settings.clip)
        return time.process_time() - started

    return seconds


def compare(settings: Settings, seed: int, turns: int) -> dict[str, float]:
    """CPU seconds per epoch of each model, and the GRU's over the LSTM's."""
    lstm, gru = (training(dataclasses.replace(settings, model=m), seed) for m in MODELS)
    pairs = [(lstm(), gru()) for _ in range(turns + 2)][2:]
    steps = TEXT / settings.batch_size / settings.bptt
    return {
        "LSTM": steps * statistics.median(a for a, _ in pairs),
        "GRU": steps * statistics.median(b for _, b in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started, turns = time.perf_counter(), 2 if args.quick else 12
    mg.keep_freed_memory()  # as in training
    base, grid = (Settings(**QUICK), {}) if args.quick else (Settings(), GRID)
    numbers: dict[str, Any] = {}
    for name, settings in variants(base, grid).items():
        runs = [compare(settings, seed, turns) for seed in SEEDS]
        found = summaries(runs)
        numbers[name] = {**found, "seeds": dict(zip(map(str, SEEDS), runs, strict=True))}
        show(
            f"{name:10} LSTM {found['LSTM']['mean']:.0f} s, GRU {found['GRU']['mean']:.0f} s, "
            f"ratio {found['ratio']['mean']:.2f}"
        )
    used = {**base.as_dict(), "turns": turns}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("Time the language model, GRU against LSTM.")


if __name__ == "__main__":
    run_command(main)
