"""Measure the table in docs/speed.md: our step, PyTorch's, and the products alone, by model.

    python benchmarks/table.py --out docs/results/speed.json

For another kernel of OpenBLAS, set OPENBLAS_CORETYPE, for example to Haswell.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import evaluate
import generate
import harness
import train_step

from lm.arguments import Parser, at_least_one
from lm.console import need, run_command, show

# The names of the rows, and the options by which each differs from the defaults.
TRAINING: dict[str, list[str]] = {
    "LSTM 200": [],
    "LSTM 200, 33278 words": ["--words", "33278"],
    "LSTM 650 tied": ["--nhid", "650", "--tied"],
    "GRU 200": ["--model", "GRU"],
    "tanh 200": ["--model", "RNN_TANH"],
    "ReLU 200": ["--model", "RNN_RELU"],
    "LSTM 32, 100 words": ["--nhid", "32", "--words", "100"],
}


def measure(
    module: Any, options: list[str], turns: int, threads: int, backward: bool | None
) -> dict[str, float]:
    """Milliseconds of each contestant, PyTorch's time over ours, and the share of the floor."""
    batch_size = 10 if module is evaluate else 20
    given = [*options, "--turns", str(turns), "--threads", str(threads)]
    args = harness.parser("", batch_size=batch_size).parse(given)
    contestants = {"minigrad": module.ours, "torch": module.theirs}
    if backward is not None:
        contestants["products"] = partial(harness.products, backward=backward)
    calls = 3 if module is generate else 6
    seconds = harness.take_turns(contestants, args, partial(harness.seconds_of, calls))
    each = generate.WORDS if module is generate else 1
    found = {name: 1000 * statistics.median(times) / each for name, times in seconds.items()}
    found["ratio"] = harness.ratio(seconds, "torch", "minigrad")
    if backward is not None:
        found["share"] = harness.ratio(seconds, "products", "minigrad")
    return found


def main() -> None:
    args = parser().parse()
    need("torch", "torch")
    rows = {name: (train_step, options, True) for name, options in TRAINING.items()}
    rows |= {"evaluation": (evaluate, [], False), "generation": (generate, [], None)}
    started, numbers = time.perf_counter(), {}
    show(harness.machine(), f"{'ms':24} {'ours':>8} {'torch':>8} {'ratio':>6} {'share':>6}")
    for name, (module, options, backward) in rows.items():
        numbers[name] = found = measure(module, options, args.turns, args.threads, backward)
        show(
            f"{name:24} {found['minigrad']:8.2f} {found['torch']:8.2f} {found['ratio']:6.2f} "
            f"{found.get('share', float('nan')):6.2f}"
        )
    settings = {"turns": args.turns, "threads": args.threads}
    harness.write(args, settings, started, numbers)


def parser() -> Parser:
    p = harness.writes(Parser(description="Measure the table in docs/speed.md."))
    p.add_argument("--turns", type=at_least_one, default=7)
    p.add_argument("--threads", type=at_least_one, default=2)
    return p


if __name__ == "__main__":
    run_command(main)
