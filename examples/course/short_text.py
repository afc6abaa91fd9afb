"""Small language models on a short text, for experiments that train many of them.

The text is the beginning of Penn Treebank with the most frequent words only; all others are
`<unk>`. So a model trains in seconds, and its perplexities can't be compared with those of the
whole text, whose vocabulary is five times as large.
"""

from __future__ import annotations

import functools
import math
import time
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from lm.batches import batchify, get_batch
from lm.corpus import UNK, Corpus
from lm.datasets import load_corpus
from lm.model import RNNModel
from lm.settings import EVAL_BATCH_SIZE, Settings, build_model
from lm.steps import evaluate, perplexity, train_step
from minigrad.optim import SGD

# Of each split, the words that are read from its beginning; and the size of the vocabulary.
PTB = {"train": 60_000, "valid": 10_000, "test": 10_000}
VOCABULARY = 2000
# What --quick reads instead, from the built-in text.
QUICK = {"train": 1500, "valid": 500, "test": 500}
QUICK_VOCABULARY = 60


class Text(NamedTuple):
    """Word ids below `vocabulary`, in three splits."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: int


class Trained(NamedTuple):
    """A model with the weights of its best epoch, and a dict of numbers for each epoch."""

    model: RNNModel
    epochs: list[dict[str, float]]

    @property
    def best_valid_ppl(self) -> float:
        return min(epoch["valid_ppl"] for epoch in self.epochs)


def short_text(quick: bool = False, **words: int) -> Text:
    """The beginning of each split; `words` are other lengths than those of `PTB`."""
    lengths = {**(QUICK if quick else PTB), **words}
    corpus = _corpus("builtin" if quick else None)
    starts = {split: getattr(corpus, split)[:length] for split, length in lengths.items()}
    counts = np.bincount(starts["train"], minlength=len(corpus.dictionary))
    unknown = corpus.dictionary.word2idx[UNK]
    counts[unknown] = counts.sum() + 1  # keep it whatever its count, as the first
    kept = np.argsort(-counts, kind="stable")[: QUICK_VOCABULARY if quick else VOCABULARY]
    new_ids = np.zeros(len(counts), np.int64)
    new_ids[kept] = np.arange(len(kept))
    return Text(**{split: new_ids[ids] for split, ids in starts.items()}, vocabulary=len(kept))


@functools.cache
def _corpus(data: str | None) -> Corpus:
    return load_corpus(data)


def train(settings: Settings, text: Text) -> Trained:
    """Train as `lm` does: validate after each epoch, and lower the rate if that is no better."""
    mg.manual_seed(settings.seed)
    model = build_model(settings, text.vocabulary)
    optimizer = SGD(model.parameters(), settings.first_lr)
    source = batchify(text.train, settings.batch_size)
    valid = batchify(text.valid, EVAL_BATCH_SIZE)
    best, weights, epochs = math.inf, model.state_dict(), []
    for epoch in range(1, settings.epochs + 1):
        started = time.process_time()
        hidden = model.init_hidden(settings.batch_size)
        for i in range(0, len(source) - 1, settings.bptt):
            chunk = get_batch(source, i, settings.bptt)
            _, _, hidden = train_step(model, optimizer, *chunk, hidden, settings.clip)
        seconds = time.process_time() - started
        loss = evaluate(model, valid, settings.bptt)
        epochs.append({"valid_ppl": perplexity(loss), "cpu_seconds": seconds})
        decay_after = settings.decay_after
        if loss >= best if decay_after is None else epoch >= decay_after:
            optimizer.lr /= settings.lr_decay
        if loss < best:
            best, weights = loss, {name: x.copy() for name, x in model.state_dict().items()}
    model.load_state_dict(weights)
    return Trained(model, epochs)


def perplexity_of(model: RNNModel, ids: np.ndarray, bptt: int) -> float:
    """The perplexity of a model over a text that it reads from the beginning."""
    return perplexity(evaluate(model, batchify(ids, EVAL_BATCH_SIZE), bptt))


def count_parameters(model: RNNModel, part: str = "") -> int:
    """The numbers in the parameters whose names begin with `part`."""
    named: Any = model.named_parameters()
    return sum(p.size for name, p in named if name.startswith(part))
