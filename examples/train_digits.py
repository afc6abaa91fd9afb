"""Train a small convolutional network on scikit-learn's handwritten digits.

python examples/train_digits.py
python examples/train_digits.py --dropout none --no-batch-norm --report digits.html
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence

if __name__ == "__main__":  # Ctrl-C prints one line also during the slow imports
    from lm.console import leave_at_signals

    leave_at_signals()

import numpy as np

import minigrad as mg
from lm.arguments import Parser, at_least_one, positive, probability, whole
from lm.console import UserError, run_command, show
from lm.report.data import Run
from lm.report.page import must_be_ours, update
from lm.results import origin
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.backend import current_backend

DROPOUT = {"none": lambda p: [], "standard": lambda p: [nn.Dropout(p)],
           "spatial": lambda p: [nn.Dropout2d(p)]}  # fmt: skip


@np.errstate(all="ignore")  # divergence is reported in one line, not by NumPy's warnings
def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    mg.use(args.backend)
    mg.manual_seed(args.seed)
    train_images, train_labels, test_images, test_labels = digits(args.seed)
    model = network(args.dropout, args.p, args.batch_norm)
    optimizer = optim.Adam(model.parameters(), args.lr)
    pieces = len(batches(np.arange(len(train_images)), args.batch_size))
    page = Page(args, model, pieces) if args.report is not None else None
    order = np.random.default_rng(args.seed)

    for epoch in range(1, args.epochs + 1):
        model.train()
        optimizer.lr = args.lr * (1 - (epoch - 1) / args.epochs)  # falls to zero, evenly
        losses = []
        shuffled = batches(order.permutation(len(train_images)), args.batch_size)
        for loss in descend(model, optimizer, train_images, train_labels, shuffled):
            losses.append(loss)
            if not math.isfinite(losses[-1]):
                raise UserError(
                    f"the loss is {losses[-1]} in epoch {epoch} with --lr {args.lr:g}; "
                    "start again with a lower one"
                )
        correct = accuracy(model, test_images, test_labels)
        show(f"| epoch {epoch:3d} | loss {np.mean(losses):6.4f} | test accuracy {correct:6.2%}")
        if page is not None:
            page.epoch_end(epoch, optimizer.lr, losses, correct)


def network(dropout: str, p: float, batch_norm: bool) -> nn.Sequential:
    """Two convolutions, each with pooling, and a linear layer: (N, 1, 8, 8) to (N, 10)."""
    layers: list[nn.Module] = []
    for channels, maps in ((1, 32), (32, 64)):
        layers.append(nn.Conv2d(channels, maps, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(maps))
        layers += [nn.ReLU(), nn.MaxPool2d(2), *DROPOUT[dropout](p)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 2 * 2, 10))


def digits(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """1,797 images of 8 by 8 pixels from 0 to 1 and their labels; a fifth is for the test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("the digits come with scikit-learn: pip install '.[digits]'") from None
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.images))
    images = (data.images[order, None] / 16).astype(np.float32)
    labels = data.target[order]
    test = len(images) // 5
    return images[test:], labels[test:], images[:test], labels[:test]


def batches(order: np.ndarray, size: int) -> list[np.ndarray]:
    """The order in pieces of `size`; a last piece of one image is added to the piece before.

    Batch norm can't train on one value per channel.
    """
    pieces = [order[i : i + size] for i in range(0, len(order), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces


def descend(
    model: nn.Module,
    optimizer: optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    batches: Iterable[np.ndarray],
) -> Iterator[float]:
    """Take one step for each batch, an array of indices; yields the loss before each step."""
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(mg.tensor(images[batch])), labels[batch])
        loss.backward()
        optimizer.step()
        yield loss.item()


@mg.no_grad()
def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of images whose label has the largest logit."""
    model.eval()
    predicted = model(mg.tensor(images)).numpy().argmax(axis=1)
    return float((predicted == labels).mean())


class Page:
    """The page about this run, written anew after every epoch."""

    def __init__(self, args: argparse.Namespace, model: nn.Module, pieces: int) -> None:
        must_be_ours(args.report, "--report")
        settings = {name: value for name, value in vars(args).items() if name != "report"}
        parameters = sum(p.size for p in model.parameters())
        header = {"settings": settings, "parameters": parameters, "batches": pieces, **origin()}
        self.path, self.run = args.report, Run("digits", header=header)

    def epoch_end(self, epoch: int, lr: float, losses: list[float], correct: float) -> None:
        for batch, loss in enumerate(losses, start=1):
            self.run.add({"epoch": epoch, "batch": batch, "lr": lr, "loss": loss})
        self.run.add({"epoch": epoch, "valid_loss": None, "valid_accuracy": correct})
        update(self.path, [self.run], "Handwritten digits")


def parser() -> Parser:
    p = Parser(description="Train a small convolutional network on handwritten digits.")
    p.add_argument("--dropout", choices=DROPOUT, default="spatial",
                   help="single units, or whole feature maps, after each pooling")  # fmt: skip
    p.add_argument("--p", type=probability, default=0.2, help="probability to drop")
    p.add_argument(
        "--batch-norm",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after each convolution",
    )
    p.add_argument("--batch-size", type=at_least_one, default=64, help="images per step")
    p.add_argument("--epochs", type=at_least_one, default=40, help="passes over the images")
    p.add_argument("--lr", type=positive, default=3e-3, help="initial learning rate of Adam")
    p.add_argument("--seed", type=whole, default=1, help="seed of the split and all random draws")
    p.add_argument("--report", metavar="FILE.html", help="a page with curves, after every epoch")
    p.add_argument("--backend", choices=mg.BACKENDS, default=current_backend(), help="the device")
    return p


if __name__ == "__main__":
    run_command(main)
