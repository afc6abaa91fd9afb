"""Training steps of a language model, as in `lm.training`."""

from __future__ import annotations

from typing import Any

import numpy as np
from fake_cupy import Counts, counted

import minigrad as mg
from lm.model import RNNModel
from lm.training import train_step
from minigrad import optim

B, T, V = 4, 35, 50


def made(rnn_type: str = "LSTM", dropout: float = 0.2, tied: bool = False) -> RNNModel:
    mg.manual_seed(1)
    return RNNModel(rnn_type, V, 8, 8, 2, dropout, tied)


def chunks(count: int, steps: int = T) -> list[tuple[np.ndarray, np.ndarray]]:
    """Text that is easy to learn: each word almost determines the next."""
    rng = np.random.default_rng(0)
    text = (np.cumsum(rng.integers(1, 4, (count * steps + 1, B)), axis=0) % V).astype(np.int64)
    starts = range(0, count * steps, steps)
    return [(text[i : i + steps], text[i + 1 : i + 1 + steps].reshape(-1)) for i in starts]


def losses(model: RNNModel, steps: int, length: int = 5, lr: float = 2.0) -> list[Any]:
    """The loss arrays of some steps, without synchronization."""
    optimizer = optim.SGD(model.parameters(), lr)
    hidden, found = model.init_hidden(B), []
    for data, target in chunks(steps, length):
        loss, _, hidden = train_step(model, optimizer, data, target, hidden, 0.25)
        found.append(loss)
    return found


def counts_of_a_step(model: RNNModel, length: int = T) -> Counts:
    """The counts of one training step: the second, because the first includes one-time work."""
    optimizer = optim.SGD(model.parameters(), 2.0)
    hidden = model.init_hidden(B)
    first, second = chunks(2, length)
    _, _, hidden = train_step(model, optimizer, *first, hidden, 0.25)
    with counted() as counts:
        train_step(model, optimizer, *second, hidden, 0.25)
    return counts
