"""Standard and spatial dropout in a convolutional network, and why they differ.

python examples/course/dropout_digits.py --out docs/results/course/dropout-digits.json
python examples/course/dropout_digits.py --quick

First: how strongly the pixels of a feature map depend on their neighbours, in a network trained on
handwritten digits without dropout. Second: the test errors of that network with no dropout, with
standard dropout and with spatial dropout, on few images and on many.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from digits_training import accuracy, network, sample, train
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one
from lm.console import run_command, show
from minigrad import functional as F
from minigrad import nn

SEEDS = (1, 2, 3, 4, 5)
SIZES = (100, 1000)
KINDS = (("none", 0.0), ("standard", 0.2), ("spatial", 0.2), ("standard", 0.5), ("spatial", 0.5))
LR, BATCH = 3e-3, 32


def trained(kind: str, p: float, size: int, seed: int, steps: int) -> tuple[nn.Sequential, float]:
    """A network, and the percentage of the other images that it gets wrong."""
    x, labels, test_x, test_labels = sample(size, seed)
    mg.manual_seed(seed)
    model = network(kind, p, batch_norm=False)
    train(model, x, labels, steps=steps, seed=seed, lr=LR, batch_size=BATCH)
    return model, 100 * (1 - accuracy(model, test_x, test_labels))


@mg.no_grad()
def feature_maps(model: nn.Sequential, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first feature maps after their ReLU, (N, 32, 8, 8), and after pooling, (N, 32, 4, 4)."""
    convolution, relu, pool, *_ = model
    maps = relu(convolution(mg.tensor(images)))
    return maps.numpy(), pool(maps).numpy()


def standardised(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each unit with mean 0 and variance 1 over the images, and which units vary at all."""
    deviation = maps.std(axis=0)
    varies = deviation > 1e-3
    return (maps - maps.mean(axis=0)) / np.where(varies, deviation, 1), varies


def correlation_by_distance(maps: np.ndarray) -> dict[str, float]:
    """The correlation of two units of one map, a number of pixels apart in a row or a column.

    Each pair of units is correlated over the images; the result is the mean over all pairs. The
    last entry is for two units at the same pixel of two maps, each with the next one.
    """
    z, varies = standardised(maps)
    found = {}
    for d in range(1, 1 + maps.shape[-1] // 2):
        pairs = []
        for a, b in ((np.s_[..., d:], np.s_[..., :-d]), (np.s_[..., d:, :], np.s_[..., :-d, :])):
            both = varies[a] & varies[b]
            pairs.append((z[a] * z[b]).mean(axis=0)[both])
        found[f"distance {d}"] = float(np.concatenate(pairs).mean())
    both = varies & np.roll(varies, 1, axis=0)
    found["other map"] = float((z * np.roll(z, 1, axis=1)).mean(axis=0)[both].mean())
    return found


def masked(maps: np.ndarray, p: float, seed: int) -> dict[str, Any]:
    """A few maps of one image without dropout, with standard and with spatial dropout."""
    mg.manual_seed(seed)
    x = mg.tensor(maps[None])
    shown = {"none": x, "standard": F.dropout(x, p), "spatial": F.dropout2d(x, p)}
    return {kind: y.numpy()[0].round(3).tolist() for kind, y in shown.items()}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    seeds, steps, sizes, kinds = SEEDS, args.steps, SIZES, KINDS
    if args.quick:
        seeds, steps, sizes, kinds = SEEDS[:3], 40, SIZES[:1], KINDS[:3]
    started = time.perf_counter()

    numbers: dict[str, Any] = {"errors": {}}
    correlations = []
    for size in sizes:
        rows = numbers["errors"][str(size)] = {}
        for kind, p in kinds:
            runs = []
            for seed in seeds:
                model, errors = trained(kind, p, size, seed, steps)
                runs.append(errors)
                if kind == "none" and size == sizes[-1]:
                    maps, pooled = feature_maps(model, sample(size, seed)[2])
                    correlations.append(
                        {
                            "maps": correlation_by_distance(maps),
                            "pooled": correlation_by_distance(pooled),
                        }
                    )
                    if seed == seeds[0]:
                        busiest = np.argsort(-maps[0].sum(axis=(1, 2)))[:6]
                        numbers["picture"] = masked(maps[0, busiest], 0.5, seed)
            base = rows["none 0"]["runs"] if rows else runs
            gains = [a - b for a, b in zip(base, runs, strict=True)]
            name = f"{kind} {100 * p:.0f}"  # a page names a number by a path with dots
            rows[name] = {"runs": runs, **summary(runs), "gain": summary(gains)}
            show(
                f"{size:5} images, {kind:8} p = {p:g}: {np.mean(runs):5.2f} % errors, "
                f"gain {np.mean(gains):5.2f} ± {np.std(gains, ddof=1):.2f}"
            )
    numbers["correlation"] = {}
    for place in ("maps", "pooled"):
        found = [run[place] for run in correlations]
        rows = {name: summary([run[name] for run in found]) for name in found[0]}
        numbers["correlation"][place] = rows
        show(f"correlation of two units of the first feature maps ({place})")
        show(*(f"{name:12} {c['mean']:5.2f} ± {c['spread']:.2f}" for name, c in rows.items()))
    used = {"steps": steps, "lr": LR, "batch": BATCH}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("No, standard and spatial dropout on handwritten digits.")
    p.add_argument("--steps", type=at_least_one, default=400, help=f"batches of {BATCH}")
    return p


if __name__ == "__main__":
    run_command(main)
