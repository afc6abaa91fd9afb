"""How well a model predicts rare and frequent words."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import no_grad
from minigrad.backend import to_host

from .batches import count_batches, get_batch
from .corpus import UNK
from .model import RNNModel

EDGES = (1, 11, 101, 1001, 10001)  # the least occurrences of each bin
COUNTED = 1 << 20  # words that are counted at a time
NAMES = ("unseen", "1–10", "11–100", "101–1,000", "1,001–10,000", "more than 10,000")


@no_grad()
def word_losses(model: RNNModel, source: np.ndarray, bptt: int) -> tuple[np.ndarray, np.ndarray]:
    """The words that are predicted in `source` (rows, B), and the loss of each, in nats."""
    was_training = model.training
    model.eval()
    try:
        hidden = model.init_hidden(source.shape[1])
        words, losses = [], []
        for batch in range(count_batches(source, bptt)):
            data, target = get_batch(source, batch * bptt, bptt)
            output, hidden = model(data, hidden)
            logits = to_host(output.data)
            logits = logits - logits.max(axis=1, keepdims=True)
            chosen = logits[np.arange(target.size), target]
            words.append(target)
            losses.append(np.log(np.exp(logits).sum(axis=1, dtype=np.float64)) - chosen)
        return np.concatenate(words), np.concatenate(losses)
    finally:
        model.train(was_training)


def occurrences(source: np.ndarray, words: int) -> np.ndarray:
    """How often each of so many words occurs in `source` (rows, B)."""
    counts = np.zeros(words, np.int64)
    step = max(1, COUNTED // source.shape[1])
    for row in range(0, len(source), step):
        counts += np.bincount(source[row : row + step].reshape(-1), minlength=words)
    return counts


def by_frequency(
    model: RNNModel, source: np.ndarray, bptt: int, counts: np.ndarray, vocabulary: list[str]
) -> list[dict[str, Any]]:
    """The words and the mean loss of each bin that has words; `<unk>` is a bin of its own.

    `counts` has the occurrences of each word in the training text.
    """
    words, losses = word_losses(model, source, bptt)
    bins = np.digitize(counts[words], EDGES)
    names = list(NAMES)
    if UNK in vocabulary:
        bins[words == vocabulary.index(UNK)] = len(names)
        names.append(UNK)
    return [
        {"name": name, "words": int(inside.sum()), "loss": float(losses[inside].mean())}
        for i, name in enumerate(names)
        if (inside := bins == i).any()
    ]
