"""A source whose entropy is known: the loss of a model that has learned it can't hide an error."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from lm import RNNModel, batchify, evaluate, get_batch, train_step
from minigrad.optim import Adam

WORDS = 6
COLUMNS, STEPS, EPOCHS, LR = 20, 20, 3, 0.01


def sample(chain: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A text in which each word depends on the two before it: chain[a, b] follows a b."""
    cumulative, draws = chain.cumsum(axis=-1), rng.random(length)
    text = np.zeros(length, np.int64)
    for i in range(2, length):
        row = cumulative[text[i - 2], text[i - 1]]
        text[i] = min(np.searchsorted(row, draws[i]), WORDS - 1)
    return text


def entropy_rate(chain: np.ndarray) -> float:
    """The mean of -log p in nats, over the pairs of words that the chain visits in the long run."""
    step = np.zeros((WORDS, WORDS, WORDS, WORDS))  # from a pair (a, b) to the pair (b, c)
    for b in range(WORDS):
        step[:, b, b, :] = chain[:, b, :]
    pairs = np.full(WORDS**2, 1 / WORDS**2)
    for _ in range(2000):
        pairs = pairs @ step.reshape(WORDS**2, WORDS**2)
    surprise = -(chain * np.log(np.maximum(chain, 1e-300))).sum(axis=-1)
    return float((pairs.reshape(WORDS, WORDS) * surprise).sum())


def test_a_trained_lstm_comes_within_2_percent_of_the_entropy_and_never_below() -> None:
    rng = np.random.default_rng(0)
    chain = rng.dirichlet(np.full(WORDS, 0.5), (WORDS, WORDS))
    source = batchify(sample(chain, 100_000, rng), COLUMNS)
    fresh = batchify(sample(chain, 60_000, rng), COLUMNS)

    mg.manual_seed(0)
    model = RNNModel("LSTM", WORDS, 16, 32, nlayers=1, dropout=0.0)
    optimizer = Adam(model.parameters(), LR)
    for epoch in range(EPOCHS):
        optimizer.lr = LR * (1 - epoch / EPOCHS)
        hidden = model.init_hidden(COLUMNS)
        for i in range(0, len(source) - 1, STEPS):
            data, target = get_batch(source, i, STEPS)
            _, _, hidden = train_step(model, optimizer, data, target, hidden, clip=1.0)
    loss = evaluate(model, fresh, STEPS)

    assert loss < 1.02 * entropy_rate(chain)
    # On a finite text the source itself may do a little better than its entropy; a model can't
    # do better than the source.
    assert loss > -np.log(chain[fresh[:-2], fresh[1:-1], fresh[2:]]).mean()
