"""Every random draw of the library comes from here, and `manual_seed` seeds them all.

Each thread has a generator of its own, so that two models trained in two threads give the same
results as one after the other.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from .backend import Array, current_module, get_default_dtype


class _State(threading.local):
    def __init__(self) -> None:
        self.generator = np.random.default_rng()


_state = _State()


def manual_seed(seed: int) -> None:
    """Seed every random draw of the library (dropout, initial weights, samples) in this thread."""
    _state.generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """This thread's generator. Its draws are made on the host, whatever the backend."""
    return _state.generator


def get_state() -> dict[str, Any]:
    """The generator's state, as a dict that JSON can hold."""
    return dict(_state.generator.bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Go on drawing from where `get_state` was called."""
    _state.generator.bit_generator.state = state


def uniform(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """Numbers uniform in [low, high), in the default dtype, on the current backend."""
    return _place(generator().uniform(low, high, shape))


def normal(shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, in the default dtype, on the current backend."""
    return _place(generator().standard_normal(shape))


def _place(draws: np.ndarray) -> Array:
    return current_module().asarray(draws.astype(get_default_dtype()))


def keep_mask(shape: tuple[int, ...], p: float) -> np.ndarray:
    """Booleans, each True with probability 1 - p: the units that dropout keeps."""
    n = math.prod(shape)
    bits = generator().bit_generator.random_raw((n + 1) // 2).view(np.uint32)  # two from each draw
    return (bits[:n] >= round(p * 2**32)).reshape(shape)
