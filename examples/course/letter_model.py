"""A small language model of letters, which several experiments of the course train in seconds.

It reads the built-in text, the documentation of Python, one letter at a time. Letters rather than
words keep the decoder small, so that nearly all of the time goes into the recurrent layer.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from lm.batches import batchify, count_batches, get_batch
from lm.datasets import load_corpus
from lm.model import RNNModel
from lm.steps import evaluate, train_step
from minigrad import manual_seed, optim

COLUMNS, CHUNK = 32, 50  # letters in a batch: 32 columns of 50 steps
LR, CLIP = 0.005, 0.25


@functools.cache
def text() -> tuple[np.ndarray, np.ndarray, int]:
    """Ids of the training and validation letters, and how many different letters there are."""
    corpus = load_corpus("builtin")
    words = corpus.dictionary.idx2word
    train, valid = (" ".join(words[i] for i in ids) for ids in (corpus.train, corpus.valid))
    alphabet = {letter: i for i, letter in enumerate(sorted(set(train)))}
    ids = [np.array([alphabet[x] for x in part if x in alphabet]) for part in (train, valid)]
    return ids[0], ids[1], len(alphabet)


def build(cell: str, seed: int, hidden: int) -> RNNModel:
    """One layer without dropout."""
    manual_seed(seed)
    return RNNModel(cell, text()[2], hidden, hidden, 1, dropout=0.0)


def train(
    model: RNNModel,
    letters: int,
    columns: int = COLUMNS,
    chunk: int = CHUNK,
    clip: float = CLIP,
) -> None:
    """Train with Adam on the first `letters` of the text, once, in chunks of `chunk` steps."""
    source, hidden = batchify(text()[0][:letters], columns), model.init_hidden(columns)
    optimizer = optim.Adam(model.parameters(), lr=LR)
    for batch in range(count_batches(source, chunk)):
        data, target = get_batch(source, batch * chunk, chunk)
        _, _, hidden = train_step(model, optimizer, data, target, hidden, clip)


def perplexity(model: RNNModel, letters: int = 30_000) -> float:
    """Per letter, on the first `letters` of the validation text."""
    return math.exp(evaluate(model, batchify(text()[1][:letters], COLUMNS), CHUNK))
