"""Generate text with a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from minigrad import no_grad
from minigrad.backend import to_host
from minigrad.random import generator

from .corpus import EOS, Dictionary
from .model import RNNModel


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
    cumulative = weights.cumsum(dtype=np.float64)
    return int(np.searchsorted(cumulative, generator().random() * cumulative[-1], side="right"))


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
