"""One network with dropout stands for many: average them, or scale one.

python examples/course/dropout_ensemble.py --out docs/results/course/dropout-ensemble.json
python examples/course/dropout_ensemble.py --quick

Train a network with dropout on handwritten digits. Then classify the test images in four ways: with
one thinned network (a random mask), with the average of many thinned networks, with the whole
network (`eval`, what minigrad does), and with the whole network without the scale 1/(1 - p), as if
one had forgotten it: each hidden unit is then 1/(1 - p) times too large for the next layer.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from digits_training import cross_entropy, mlp, probabilities, sample, train
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one, probability
from lm.console import run_command, show
from minigrad import nn

SEEDS = (1, 2, 3, 4, 5)
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)


def thinned(model: nn.Module, images: np.ndarray, count: int) -> np.ndarray:
    """The probabilities of `count` thinned networks, each with a mask for each image."""
    model.train()
    return np.stack([probabilities(model, images) for _ in range(count)])


def whole(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The probabilities of the network without dropout."""
    model.eval()
    return probabilities(model, images)


def unscaled(model: nn.Sequential, images: np.ndarray) -> np.ndarray:
    """The probabilities if training had not scaled the units that it kept, and nothing does now.

    A network trained without the scale learns weights 1/(1 - p) times as large, and so needs the
    factor 1 - p in evaluation. Without the factor, each layer gets 1/(1 - p) times too much.
    """
    model = copy.deepcopy(model)
    keep = 1.0
    for layer in model:
        if isinstance(layer, nn.Dropout):
            keep = 1 - layer.p
        elif isinstance(layer, nn.Linear):
            layer.weight.data /= keep
    return whole(model, images)


def geometric(probability: np.ndarray) -> np.ndarray:
    """The geometric mean over the first axis, normalised: the mean of the logarithms."""
    mean = np.exp(np.log(np.maximum(probability, 1e-30)).mean(axis=0))
    return mean / mean.sum(axis=-1, keepdims=True)


def measure(seed: int, p: float, images: int, steps: int, counts: Sequence[int]) -> dict[str, Any]:
    x, labels, test_x, test_labels = sample(images, seed)
    mg.manual_seed(seed)
    model = mlp(64, 256, p)
    train(model, x, labels, steps=steps, seed=seed)

    def score(probability: np.ndarray) -> dict[str, float]:
        right = (probability.argmax(axis=1) == test_labels).mean()
        return {"errors": 100 * (1 - float(right)), "loss": cross_entropy(probability, test_labels)}

    samples = thinned(model, test_x, max(counts))
    return {
        "average": {str(n): score(samples[:n].mean(axis=0)) for n in counts},
        "geometric": {str(n): score(geometric(samples[:n])) for n in counts},
        "whole": score(whole(model, test_x)),
        "unscaled": score(unscaled(model, test_x)),
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    steps, counts = (150, COUNTS[:6]) if args.quick else (args.steps, COUNTS)
    seeds = SEEDS[:3] if args.quick else SEEDS
    started = time.perf_counter()
    runs = [measure(seed, args.p, args.images, steps, counts) for seed in seeds]
    numbers: dict[str, Any] = {"seeds": {str(s): r for s, r in zip(seeds, runs, strict=True)}}
    for way in ("whole", "unscaled"):
        numbers[way] = {m: summary([run[way][m] for run in runs]) for m in ("errors", "loss")}
    for way in ("average", "geometric"):
        numbers[way] = {
            str(n): {m: summary([run[way][str(n)][m] for run in runs]) for m in ("errors", "loss")}
            for n in counts
        }
    show("                     errors, %          loss, nats     (mean, standard deviation)")
    show(*(f"average of {n:4}     {_line(numbers['average'][str(n)])}" for n in counts))
    show(*(f"geometric of {n:4}   {_line(numbers['geometric'][str(n)])}" for n in counts))
    show(*(f"{way:15}     {_line(numbers[way])}" for way in ("whole", "unscaled")))
    used = {"p": args.p, "images": args.images, "steps": steps, "hidden": 256}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def _line(row: dict[str, Any]) -> str:
    errors, loss = row["errors"], row["loss"]
    return (
        f"{errors['mean']:6.2f} ± {errors['spread']:.2f}     "
        f"{loss['mean']:7.3f} ± {loss['spread']:.3f}"
    )


def parser() -> argparse.ArgumentParser:
    p = options("Average many thinned networks, or scale one.")
    p.add_argument("--p", type=probability, default=0.5, help="probability to drop a hidden unit")
    p.add_argument("--images", type=at_least_one, default=300, help="digits to train on")
    p.add_argument("--steps", type=at_least_one, default=1500, help="batches of 64")
    return p


if __name__ == "__main__":
    run_command(main)
