"""What a model has learnt, looked at during a run without changing it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import minigrad as mg
from minigrad import random

from ..corpus import EOS, Dictionary
from ..sampling import as_text, generate
from .state import RunState

TEMPERATURES = (0.7, 1.0, 1.3)
WORDS = 60  # of each sample


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The random numbers after the block are those that would have been without it."""
    before = random.get_state()
    try:
        yield
    finally:
        random.set_state(before)


def samples(state: RunState) -> dict[str, str]:
    """A text of the model at each temperature; always from the same draws."""
    dictionary = Dictionary(state.vocabulary)
    if EOS not in dictionary.word2idx:  # every text begins with it
        return {}
    texts = {}
    with undisturbed():
        for temperature in TEMPERATURES:
            mg.manual_seed(state.settings.seed)
            words = generate(state.model, dictionary, WORDS, temperature)
            texts[f"{temperature:g}"] = as_text(words)
    return texts


def improves(state: RunState, loss: float) -> bool:
    """Whether a model that was just validated is the best so far; an observer is told before."""
    best = state.position.best_loss
    return math.isfinite(loss) and (best is None or loss < best)
