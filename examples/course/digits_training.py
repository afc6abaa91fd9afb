"""What the experiments on handwritten digits share: data, networks and one training loop."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from experiment import ROOT

sys.path.append(str(ROOT / "examples"))

from train_digits import accuracy, descend, digits, network

import minigrad as mg
from minigrad import nn, optim

__all__ = [
    "accuracy",
    "cross_entropy",
    "descend",
    "digits",
    "mlp",
    "network",
    "probabilities",
    "sample",
    "shuffled",
    "train",
    "training",
]


def sample(train: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`train` random digits to learn from, and all the others for the test."""
    images, labels, more_images, more_labels = digits(seed)
    images, labels = np.concatenate([images, more_images]), np.concatenate([labels, more_labels])
    return images[:train], labels[:train], images[train:], labels[train:]


def mlp(
    inputs: int, hidden: int, p: float, p_input: float = 0.0, classes: int = 10
) -> nn.Sequential:
    """A fully connected network: inputs, two ReLU layers with dropout after each, classes."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(p_input),
        *[nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(p)],
        *[nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(p)],
        nn.Linear(hidden, classes),
    )


def shuffled(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of indices without end: one random order after another, cut into pieces.

    A last piece that is too small is left out, unless it is the only one.
    """
    size = min(size, count)
    while True:
        order = rng.permutation(count)
        for i in range(0, count - size + 1, size):
            yield order[i : i + size]


def training(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    steps: int,
    seed: int,
    lr: float = 1e-3,
    batch_size: int = 64,
    decay: bool = True,
) -> Iterator[int]:
    """Train with Adam; yields the number of steps after each. The caller may evaluate the model.

    With `decay`, the learning rate falls to zero, evenly.
    """
    optimizer = optim.Adam(model.parameters(), lr)
    batches = shuffled(len(images), batch_size, np.random.default_rng(seed))
    model.train()
    losses = descend(model, optimizer, images, labels, itertools.islice(batches, steps))
    for step, _ in enumerate(losses, start=1):
        if decay:
            optimizer.lr = lr * (1 - step / steps)
        yield step
        model.train()


def train(model: nn.Module, images: np.ndarray, labels: np.ndarray, **settings: Any) -> None:
    """Train to the end; the settings are those of `training`."""
    for _ in training(model, images, labels, **settings):
        pass


@mg.no_grad()
def probabilities(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The probability of each class, (N, classes), in training mode or in evaluation."""
    return mg.softmax(model(mg.tensor(images))).numpy()


def cross_entropy(probability: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log of the probability of the right class, in nats."""
    right = probability[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, 1e-30)).mean())
