"""Time one training step: forward pass, loss, backward pass, clipping and update.

    python benchmarks/train_step.py --against torch

`products` computes only the matrix products of the step: a lower bound for any NumPy program.
"""

from __future__ import annotations

import argparse
from functools import partial

import harness
import models

from lm import train_step
from minigrad.optim import SGD

LR, CLIP = 1.0, 0.25


def ours(args: argparse.Namespace) -> harness.Work:
    model, batch = models.ours(args), harness.chunks(args)
    optimizer = SGD(model.parameters(), LR)
    hidden = model.init_hidden(args.batch_size)

    def step() -> None:
        nonlocal hidden
        data, target = batch()
        _, _, hidden = train_step(model, optimizer, data, target, hidden, CLIP)

    return step


def theirs(args: argparse.Namespace) -> harness.Work:
    import torch
    import torch_model

    model, batch = models.theirs(args), harness.chunks(args)
    hidden = model.init_hidden(args.batch_size)

    def step() -> None:
        nonlocal hidden
        data, target = map(torch.from_numpy, batch())
        _, hidden = torch_model.train_step(model, LR, data, target, hidden, CLIP)

    return step


def main() -> None:
    args = harness.parser("Time one training step.").parse()
    harness.compare(args, ours, theirs, partial(harness.products, backward=True))


if __name__ == "__main__":
    main()
