"""How long the recurrent layer alone takes: GRU against LSTM, forward and backward.

python examples/course/cell_time.py --out docs/results/course/cell-time.json
python examples/course/cell_time.py --quick

Both layers have the sizes of the language model on Penn Treebank. They take turns, and the ratio is
the median over turns of CPU times. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from experiment import options, summary, write

import minigrad as mg
from lm.console import run_command, show
from minigrad import nn

SEEDS = (1, 2, 3)
STEPS, BATCH = 35, 20
SIZES = (64, 200, 400)


def seconds(layer: nn.Recurrent, x: mg.Tensor) -> float:
    """CPU seconds of one forward and backward pass."""
    started = time.process_time()
    output, _ = layer(x)
    output.sum().backward()
    return time.process_time() - started


def compare(size: int, seed: int, turns: int) -> dict[str, float]:
    """Milliseconds of each layer, and the ratio: medians over turns."""
    mg.manual_seed(seed)
    values = np.random.default_rng(seed).standard_normal((STEPS, BATCH, size))
    x = mg.tensor(values.astype(np.float32), requires_grad=True)
    lstm, gru = nn.LSTM(size, size), nn.GRU(size, size)
    pairs = [(seconds(lstm, x), seconds(gru, x)) for _ in range(turns + 1)][1:]
    return {
        "lstm_ms": 1000 * statistics.median(a for a, _ in pairs),
        "gru_ms": 1000 * statistics.median(b for _, b in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started = time.perf_counter()
    sizes, turns = (SIZES[:1], 5) if args.quick else (SIZES, 40)
    numbers: dict[str, Any] = {}
    for size in sizes:
        runs = [compare(size, seed, turns) for seed in SEEDS]
        numbers[str(size)] = {name: summary([run[name] for run in runs]) for name in runs[0]}
        numbers[str(size)]["parameters"] = {
            name: sum(p.size for p in layer(size, size).parameters())
            for name, layer in (("lstm", nn.LSTM), ("gru", nn.GRU))
        }
        found = numbers[str(size)]
        show(
            f"{size:4} units: LSTM {found['lstm_ms']['mean']:.2f} ms, GRU "
            f"{found['gru_ms']['mean']:.2f} ms, ratio {found['ratio']['mean']:.2f}"
        )
    used = {"steps": STEPS, "batch_size": BATCH, "turns": turns}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("Time one recurrent layer, GRU against LSTM.")


if __name__ == "__main__":
    run_command(main)
