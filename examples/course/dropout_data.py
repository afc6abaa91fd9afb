"""Where dropout helps less: very little data, and very much.

python examples/course/dropout_data.py --out docs/results/course/dropout-data.json
python examples/course/dropout_data.py --quick

The same network is trained with and without dropout on more and more examples. Handwritten digits
end at 1,797, so a second task has as many examples as one wants: a fixed random network, the
teacher, gives each random input its class, and a fifth of the training labels is replaced by
random ones. The test labels are the teacher's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from digits_training import accuracy, mlp, sample, train
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one, probability
from lm.console import run_command, show

SEEDS = (1, 2, 3, 4, 5)
DIGITS = (20, 50, 100, 200, 500, 1300)
TEACHER = (30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
INPUTS, TEST, NOISE = 20, 4000, 0.2
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def teacher(count: int, seed: int) -> Data:
    """`count` inputs, a fifth of them with random labels, and 4,000 right ones for the test."""
    rng = np.random.default_rng(seed)
    W, V = 0.3 * rng.normal(size=(INPUTS, 30)), rng.normal(size=(30, 10))
    test_x, x = rng.normal(size=(TEST, INPUTS)), rng.normal(size=(count, INPUTS))
    labels = (np.tanh(x @ W) @ V).argmax(axis=1)
    noisy = np.where(rng.random(count) < NOISE, rng.integers(0, 10, count), labels)
    test_labels = (np.tanh(test_x @ W) @ V).argmax(axis=1)
    return x.astype(np.float32), noisy, test_x.astype(np.float32), test_labels


def errors(data: Data, p: float, seed: int, steps: int, batch_size: int) -> tuple[float, float]:
    """Percent of the test examples and of the training examples that the network gets wrong."""
    x, labels, test_x, test_labels = data
    mg.manual_seed(seed)
    model = mlp(x[0].size, 128, p)
    train(model, x, labels, steps=steps, seed=seed, batch_size=batch_size)
    return (
        100 * (1 - accuracy(model, test_x, test_labels)),
        100 * (1 - accuracy(model, x, labels)),
    )


def compare(
    task: Callable[[int, int], Data],
    sizes: Sequence[int],
    seeds: Sequence[int],
    p: float,
    steps: int,
    batch_size: int,
) -> dict[str, Any]:
    """For each size: the errors without dropout, with it, and what it gains."""
    found = {}
    for size in sizes:
        runs, memory = {}, {}
        for name, rate in (("without", 0.0), ("with", p)):
            pairs = [errors(task(size, seed), rate, seed, steps, batch_size) for seed in seeds]
            runs[name] = [test for test, _ in pairs]
            memory[name] = summary([training for _, training in pairs])
        gains = [a - b for a, b in zip(runs["without"], runs["with"], strict=True)]
        found[str(size)] = {
            **{name: {"runs": values, **summary(values)} for name, values in runs.items()},
            "gain": {"runs": gains, **summary(gains)},
            "training": memory,
        }
        row = found[str(size)]
        show(
            f"{size:7} examples   without {row['without']['mean']:6.2f}   "
            f"with {row['with']['mean']:6.2f}   "
            f"gain {row['gain']['mean']:6.2f} ± {row['gain']['spread']:.2f}   "
            f"(training: {memory['without']['mean']:.1f}, {memory['with']['mean']:.1f})"
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    seeds, steps, digits, taught = SEEDS, args.steps, DIGITS, TEACHER
    if args.quick:
        seeds, steps, digits, taught = SEEDS[:3], 300, DIGITS[::5], TEACHER[2:8:5]
    started = time.perf_counter()
    show("test errors in percent: handwritten digits")
    numbers = {"digits": compare(sample, digits, seeds, args.p, steps, 32)}
    show("test errors in percent: the teacher's classes")
    numbers["teacher"] = compare(teacher, taught, seeds, args.p, steps, 128)
    used = {"p": args.p, "steps": steps, "hidden": 128, "noise": NOISE}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("The gain of dropout against the number of training examples.")
    p.add_argument("--p", type=probability, default=0.5, help="probability to drop a hidden unit")
    p.add_argument("--steps", type=at_least_one, default=1000, help="batches")
    return p


if __name__ == "__main__":
    run_command(main)
