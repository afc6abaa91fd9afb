"""Generate text with a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from minigrad import no_grad
from minigrad.backend import to_host
from minigrad.random import generator

from .corpus import EOS, Dictionary
from .model import RNNModel

BLOCK = 128  # weights that are summed as one


def generate(
    model: RNNModel,
    dictionary: Dictionary,
    words: int,
    temperature: float = 1.0,
    prompt: Sequence[str] = (),
) -> Iterator[str]:
    """Sample `words` words, one by one, each given all before it.

    The model first reads `<eos>`, as after the end of a sentence, and then the prompt. A
    temperature below 1 favours likely words, above 1 unlikely ones. The draws are from the
    library's generator (`mg.manual_seed`). Dropout is off and no graph is recorded.
    """
    was_training = model.training
    model.eval()
    try:
        hidden = model.init_hidden(1)
        ids = dictionary.encode(["<eos>", *prompt])
        for _ in range(words):
            with no_grad():
                logits, hidden = model(ids.reshape(-1, 1), hidden)
            ids = np.array([_draw(to_host(logits.data[-1]), temperature)])
            yield dictionary.idx2word[ids[0]]
    finally:
        model.train(was_training)


def _draw(logits: np.ndarray, temperature: float) -> int:
    """An index with probability softmax(logits / temperature)."""
    with np.errstate(over="ignore"):  # at a tiny temperature all but the largest are -inf
        z = (logits - logits.max()) / np.float64(temperature)
        weights = np.exp(z, dtype=logits.dtype)
    return _where_sum_exceeds(weights, generator().random())


def _where_sum_exceeds(weights: np.ndarray, share: float) -> int:
    """The first index at which the running sum of the weights exceeds this share of their sum.

    First the block is found, then the place in it: the running sum of all weights, in doubles,
    would take as long as a layer of the model.
    """
    starts = np.arange(0, len(weights), BLOCK)
    ends = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    target = share * ends[-1]
    block = min(int(np.searchsorted(ends, target, side="right")), len(ends) - 1)
    before = ends[block - 1] if block else 0.0
    within = weights[starts[block] :][:BLOCK].cumsum(dtype=np.float64)
    # Rounded differently, the sum within the block may end just below the target.
    place = min(int(np.searchsorted(within, target - before, side="right")), len(within) - 1)
    return int(starts[block]) + place


def pieces(words: Iterable[str]) -> Iterator[str]:
    """The pieces of a passage: each word with the space or line breaks before it.

    A line ends at each `<eos>`; the passage begins and ends with a word.
    """
    gap = ""
    begun = False
    for word in words:
        if word == EOS:
            gap = gap.strip(" ") + "\n"
        else:
            yield (gap if begun else "") + word
            gap, begun = " ", True


def as_text(words: Iterable[str]) -> str:
    """Words as one text; see `pieces`."""
    return "".join(pieces(words))
