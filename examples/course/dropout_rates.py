"""How much to drop, of the inputs and of the hidden units, and what it costs in epochs.

python examples/course/dropout_rates.py --out docs/results/course/dropout-rates.json
python examples/course/dropout_rates.py --quick

Two measurements with a fully connected network on handwritten digits. A grid: the test errors for
each pair of rates. And a curve: the test errors after each epoch, at a constant learning rate, for
a few rates of the hidden units.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from digits_training import accuracy, mlp, sample, train, training
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one, positive
from lm.console import run_command, show

SEEDS = (1, 2, 3, 4, 5)
INPUT_RATES = (0.0, 0.2, 0.5)
HIDDEN_RATES = (0.0, 0.2, 0.5, 0.8)
BATCH = 32


def errors(seed: int, images: int, p_input: float, p: float, steps: int) -> float:
    """Percent of the test images that the trained network gets wrong."""
    x, labels, test_x, test_labels = sample(images, seed)
    mg.manual_seed(seed)
    model = mlp(64, 256, p, p_input)
    train(model, x, labels, steps=steps, seed=seed, batch_size=BATCH)
    return 100 * (1 - accuracy(model, test_x, test_labels))


def curve(seed: int, images: int, p: float, epochs: int) -> list[float]:
    """Percent of the test images that the network gets wrong after each epoch."""
    x, labels, test_x, test_labels = sample(images, seed)
    mg.manual_seed(seed)
    model = mlp(64, 256, p)
    epoch = images // BATCH
    settings = {"steps": epochs * epoch, "seed": seed, "batch_size": BATCH, "decay": False}
    return [
        100 * (1 - accuracy(model, test_x, test_labels))
        for step in training(model, x, labels, **settings)
        if step % epoch == 0
    ]


def epochs_to(errors_by_epoch: Sequence[float], goal: float) -> int | None:
    """The first epoch with at most this percentage of errors; None if there is none."""
    return next((i for i, e in enumerate(errors_by_epoch, start=1) if e <= goal), None)


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    seeds, images, steps, epochs = SEEDS, args.images, args.steps, args.epochs
    input_rates, hidden_rates = INPUT_RATES, HIDDEN_RATES
    if args.quick:
        seeds, images, steps, epochs = SEEDS[:3], 200, 150, 20
        input_rates, hidden_rates = (0.0, 0.5), (0.0, 0.5)
    goal = 20.0 if args.quick else args.goal
    started = time.perf_counter()

    grid: dict[str, Any] = {}
    show("errors in percent; row: dropped inputs, column: dropped hidden units")
    for p_input in input_rates:
        row = grid[_key("input", p_input)] = {
            _key("hidden", p): _all(seeds, errors, images, p_input, p, steps) for p in hidden_rates
        }
        cells = [f"{c['mean']:6.2f} ± {c['spread']:.2f}" for c in row.values()]
        show(f"{p_input:4} " + "  ".join(cells))

    curves: dict[str, Any] = {}
    for p in hidden_rates:
        runs = [curve(seed, images, p, epochs) for seed in seeds]
        reached = [epochs_to(run, goal) for run in runs]
        curves[_key("hidden", p)] = {
            "runs": runs,
            "epochs_to_goal": None if None in reached else summary(reached),  # type: ignore[arg-type]
        }
        show(f"p = {p:g}: epochs until at most {goal:g} % errors: {reached}")

    used = {"images": images, "steps": steps, "epochs": epochs, "goal": goal, "batch": BATCH}
    numbers = {"grid": grid, "curves": curves}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def _key(units: str, p: float) -> str:
    """As "hidden 50" for a rate of 0.5: a page names a number by a path with dots."""
    return f"{units} {100 * p:.0f}"


def _all(seeds: Sequence[int], measure: Any, *settings: Any) -> dict[str, Any]:
    runs = [measure(seed, *settings) for seed in seeds]
    return {"runs": runs, **summary(runs)}


def parser() -> argparse.ArgumentParser:
    p = options("Test errors by rate of dropout, and by epoch.")
    p.add_argument("--images", type=at_least_one, default=500, help="digits to train on")
    p.add_argument("--steps", type=at_least_one, default=1000, help="batches for the grid")
    p.add_argument("--epochs", type=at_least_one, default=60, help="epochs for the curves")
    p.add_argument("--goal", type=positive, default=6.0, help="percent of errors to reach")
    return p


if __name__ == "__main__":
    run_command(main)
