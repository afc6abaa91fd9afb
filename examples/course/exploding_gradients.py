"""Exploding gradients, and what clipping does about them.

python examples/course/exploding_gradients.py --out docs/results/course/exploding-gradients.json
python examples/course/exploding_gradients.py --quick

First, scale W_hh of an untrained model until its largest |eigenvalue|, the spectral radius, has a
given value, and measure the norm of the gradient. Then train with SGD, with and without clipping,
from a W_hh that is too large, and watch the loss and the norm.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from experiment import options, summary, write
from letter_model import CHUNK, CLIP, COLUMNS, build, text

from lm.batches import batchify, get_batch
from lm.console import run_command, show
from lm.model import RNNModel
from lm.steps import train_step
from minigrad import optim
from minigrad.cells import CELLS

SEEDS = (1, 2, 3)
RADII = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
TRAINED = "RNN_RELU"


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    updates: int = 200
    radius: float = 1.25
    lr: float = 2.0


QUICK = Size(hidden=24, updates=40)


def rescale(model: RNNModel, radius: float) -> None:
    """Scale W_hh so that its spectral radius is `radius`; each gate's block by itself."""
    W, H = model.rnn.weight_hh_l0, model.nhid
    for block in W.data.reshape(-1, H, H):  # views
        block *= radius / abs(np.linalg.eigvals(block)).max()
    W.mark_changed()


def gradient_norm(cell: str, radius: float, seed: int, size: Size) -> float:
    """The norm of the gradient of W_hh on the first chunk of the text."""
    model = build(cell, seed, size.hidden)
    rescale(model, radius)
    data, target = get_batch(batchify(text()[0], COLUMNS), 0, CHUNK)
    loss, _ = model.loss(data, target, model.init_hidden(COLUMNS))
    loss.backward()
    return float(np.linalg.norm(model.rnn.weight_hh_l0.grad.astype(np.float64)))


def train(clip: float, seed: int, size: Size) -> dict[str, list[float | None]]:
    """The loss, and the norm of the gradient before clipping, of each update.

    None where a value is infinite or not a number; after such a loss, nothing else can follow.
    """
    model = build(TRAINED, seed, size.hidden)
    rescale(model, size.radius)
    source, hidden = batchify(text()[0], COLUMNS), model.init_hidden(COLUMNS)
    optimizer = optim.SGD(model.parameters(), lr=size.lr)
    found: dict[str, list[float | None]] = {"loss": [], "norm": []}
    for update in range(size.updates):
        data, target = get_batch(source, update * CHUNK, CHUNK)
        loss, norm, hidden = train_step(model, optimizer, data, target, hidden, clip)
        for key, value in (("loss", loss.item()), ("norm", float(norm))):
            found[key].append(value if math.isfinite(value) else None)
        if not math.isfinite(loss.item()):
            return {key: (values + [None] * size.updates)[: size.updates]
                    for key, values in found.items()}  # fmt: skip
    return found


# -------------------------------------------------------------------- measuring


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    numbers: dict[str, Any] = {"norm": {}, "training": {}}
    with np.errstate(over="ignore", invalid="ignore"):
        for cell in CELLS:
            numbers["norm"][cell] = {
                str(radius).replace(".", ","): summary(  # a dot would divide the keys of a path
                    [gradient_norm(cell, radius, seed, size) for seed in SEEDS]
                )
                for radius in RADII
            }
            show(f"{cell}: norm of dW_hh by spectral radius")
            show(*(f"    {r:5}: {s['min']:.2g} to {s['max']:.2g}"
                   for r, s in numbers["norm"][cell].items()))  # fmt: skip
        for name, clip in (("clipped", CLIP), ("unclipped", math.inf)):
            runs = [train(clip, seed, size) for seed in SEEDS]
            numbers["training"][name] = {
                "seeds": dict(zip(map(str, SEEDS), runs, strict=True)),
                "broken": sum(None in run["loss"] for run in runs),
                "last": [run["loss"][-1] for run in runs],
                "largest_norm": summary(
                    [max(n for n in run["norm"] if n is not None) for run in runs]
                ),
            }
            found = numbers["training"][name]
            show(f"{name}: last losses {found['last']}, "
                 f"largest norm {found['largest_norm']['max']:.3g}")  # fmt: skip
    used = {**size._asdict(), "clip": CLIP, "chunk": CHUNK, "trained": TRAINED}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("How gradients explode, and what clipping does.")


if __name__ == "__main__":
    run_command(main)
