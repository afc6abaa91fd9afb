"""Time the evaluation of one chunk: forward pass and loss, without dropout or recording.

    python benchmarks/evaluate.py --against torch

`products` computes only its matrix products, as in train_step.py.
"""

from __future__ import annotations

import argparse
from functools import partial

import harness
import models

import minigrad as mg


def ours(args: argparse.Namespace) -> harness.Work:
    model, batch = models.ours(args).eval(), harness.chunks(args)
    hidden = model.init_hidden(args.batch_size)

    @mg.no_grad()
    def evaluate() -> None:
        nonlocal hidden
        loss, hidden = model.loss(*batch(), hidden)
        loss.item()

    return evaluate


def theirs(args: argparse.Namespace) -> harness.Work:
    import torch
    from torch.nn.functional import nll_loss

    model, batch = models.theirs(args).eval(), harness.chunks(args)
    hidden = model.init_hidden(args.batch_size)

    @torch.no_grad()
    def evaluate() -> None:
        nonlocal hidden
        data, target = map(torch.from_numpy, batch())
        output, hidden = model(data, hidden)
        nll_loss(output, target).item()

    return evaluate


def main() -> None:
    args = harness.parser("Time the evaluation of one chunk.", batch_size=10, turns=30).parse()
    harness.compare(args, ours, theirs, partial(harness.products, backward=False))


if __name__ == "__main__":
    main()
