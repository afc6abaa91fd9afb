"""Batch, mini-batch and single examples: the path on a loss surface, then accuracy and time.

python examples/course/batch_size.py --out docs/results/course/batch-size.json
python examples/course/batch_size.py --quick

First a problem with two weights, so that the loss is a surface one can draw: fit a line to 200
points by gradient descent, with gradients from all points, from 16, and from one. Then the network
for handwritten digits with plain SGD and batches of 1 to 512 images, for the same number of epochs.
It is trained once with the same learning rate for all sizes, and once with the best one of a few,
chosen by the accuracy on a fifth of the training images that is held out.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from digits_training import accuracy, descend, digits, mlp, shuffled
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one
from lm.console import run_command, show
from minigrad import optim

SEEDS = (1, 2, 3, 4, 5)
POINTS, STEPS = 200, 60
LINE_BATCHES = (200, 16, 1)
LINE_LR = 0.1
MEASURES = ("noise", "noise_times_root", "late_distance")
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
LR = 0.1

# -------------------------------------------------------------------- two weights


def line(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, y) with y = 1.5 x - 0.5 + noise; x as columns (x, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=POINTS)
    return np.stack([x, np.ones(POINTS)], axis=1), 1.5 * x - 0.5 + rng.normal(size=POINTS)


def gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the mean of (X w - y)² / 2."""
    return X.T @ (X @ w - y) / len(y)


def path(X: np.ndarray, y: np.ndarray, batch_size: int, steps: int, seed: int) -> np.ndarray:
    """The weights before each step of gradient descent and after the last, (steps + 1, 2)."""
    w, weights = np.array([-1.0, 1.5]), []
    batches = shuffled(len(y), batch_size, np.random.default_rng(seed))
    for batch in itertools.islice(batches, steps):
        weights.append(w)
        w = w - LINE_LR * gradient(w, X[batch], y[batch])
    return np.array([*weights, w])


def noise(X: np.ndarray, y: np.ndarray, batch_size: int, draws: int, seed: int) -> float:
    """The root mean square distance of the gradient of a batch from that of all points.

    At the starting point, with batches drawn with replacement.
    """
    rng, w = np.random.default_rng(seed), np.array([-1.0, 1.5])
    whole = gradient(w, X, y)
    batches = rng.integers(0, len(y), (draws, batch_size))
    distances = [((gradient(w, X[b], y[b]) - whole) ** 2).sum() for b in batches]
    return float(np.sqrt(np.mean(distances)))


def two_weights(seeds: Sequence[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"batches": {}}
    for seed in seeds:
        X, y = line(seed)
        best = np.linalg.lstsq(X, y, rcond=None)[0]
        for size in LINE_BATCHES:
            w = path(X, y, size, STEPS, seed)
            rows = found["batches"].setdefault(str(size), {name: [] for name in MEASURES})
            rows["noise"].append(noise(X, y, size, 4000, seed))
            rows["noise_times_root"].append(size**0.5 * rows["noise"][-1])
            late = np.linalg.norm(w[STEPS // 2 :] - best, axis=1)
            rows["late_distance"].append(float(late.mean()))
            if seed == seeds[0]:
                rows["path"] = w.round(4).tolist()
        if seed == seeds[0]:
            X_moments, Xy = X.T @ X / len(y), X.T @ y / len(y)
            found["surface"] = {
                "best": best.tolist(),
                "moments": X_moments.tolist(),
                "products": Xy.tolist(),
                "squares": float(y @ y / len(y)),
            }
    for size, rows in found["batches"].items():
        for name in MEASURES:
            rows[name] = {"runs": rows[name], **summary(rows[name])}
        show(
            f"line, batch {size:>3}: gradient noise {rows['noise']['mean']:.3f}, "
            f"distance from the best weights {rows['late_distance']['mean']:.3f}"
        )
    return found


# -------------------------------------------------------------------- digits


def run(size: int, lr: float, seed: int, epochs: int) -> dict[str, float]:
    """Accuracies after the last epoch, in percent, and the CPU seconds of one epoch."""
    x, labels, test_x, test_labels = digits(seed)
    held = len(x) // 5
    mg.manual_seed(seed)
    model = mlp(64, 128, 0.0)
    optimizer = optim.SGD(model.parameters(), lr)
    batches = shuffled(len(x) - held, size, np.random.default_rng(seed))
    steps = epochs * max(1, (len(x) - held) // size)
    started = time.process_time()
    with np.errstate(all="ignore"):  # some learning rates are too high for some sizes
        for _ in descend(
            model, optimizer, x[held:], labels[held:], itertools.islice(batches, steps)
        ):
            pass
        seconds = time.process_time() - started
        return {
            "valid": 100 * accuracy(model, x[:held], labels[:held]),
            "test": 100 * accuracy(model, test_x, test_labels),
            "seconds": seconds / epochs,
        }


def by_size(sizes: Sequence[int], seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    """For each batch size: accuracy with one learning rate and with the best, and time."""
    found: dict[str, Any] = {}
    for size in sizes:
        runs = {lr: [run(size, lr, seed, epochs) for seed in seeds] for lr in RATES}
        best = max(RATES, key=lambda lr: float(np.mean([r["valid"] for r in runs[lr]])))
        found[str(size)] = {
            "fixed": _accuracy(runs[LR]),
            "best": {"lr": best, **_accuracy(runs[best])},
            "rates": {f"{lr:g}".replace(".", ","): _accuracy(rows) for lr, rows in runs.items()},
            "ms": summary([1000 * r["seconds"] for rows in runs.values() for r in rows]),
        }
        row = found[str(size)]
        show(
            f"batch {size:3}: {row['ms']['mean']:7.1f} ms CPU per epoch, "
            f"lr {LR:g}: {row['fixed']['mean']:5.1f} ± {row['fixed']['spread']:.1f} %, "
            f"lr {best:g}: {row['best']['mean']:5.1f} ± {row['best']['spread']:.1f} %"
        )
    return found


def _accuracy(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    test = [row["test"] for row in rows]
    return {"runs": test, **summary(test)}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    seeds, sizes, epochs = SEEDS, SIZES, args.epochs
    if args.quick:
        seeds, sizes, epochs = SEEDS[:3], (16, 128, 512), 4
    started = time.perf_counter()
    numbers = {"line": two_weights(seeds), "digits": by_size(sizes, seeds, epochs)}
    used = {"epochs": epochs, "lr": LR, "rates": RATES, "line_lr": LINE_LR, "line_steps": STEPS}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("Descent with batches of every size.")
    p.add_argument("--epochs", type=at_least_one, default=10, help="passes over the digits")
    return p


if __name__ == "__main__":
    run_command(main)
