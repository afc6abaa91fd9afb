"""All random numbers of the library. `manual_seed` seeds them.

Each thread has its own generator, so that two models trained in two threads give the same results
as one after the other. On a GPU, dropout uses a counter-based generator (`gpu.masks`) instead. It
is seeded, saved and restored here too.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from .backend import Array, current_module, get_default_dtype
from .gpu import masks


class _State(threading.local):
    generator: np.random.Generator | None = None  # made at first use: its import takes time


_state = _State()


def manual_seed(seed: int | None) -> None:
    """Seed all random numbers of the library in this thread: dropout, initial weights, samples.

    None takes a seed from the operating system, as an unseeded thread does at first use.
    """
    _state.generator = np.random.default_rng(seed)
    masks.set_state(int(_state.generator.bit_generator.state["state"]["state"]))


def generator() -> np.random.Generator:
    """This thread's generator. It runs on the host, also with the CuPy backend."""
    if _state.generator is None:
        manual_seed(None)
    assert _state.generator is not None
    return _state.generator


def get_state() -> dict[str, Any]:
    """The state of the generator and of the dropout masks, as a dict that fits into JSON."""
    return {**generator().bit_generator.state, "masks": masks.get_state()}


def set_state(state: dict[str, Any]) -> None:
    """Restore a state from `get_state`, also on another backend."""
    stream = {name: value for name, value in state.items() if name != "masks"}
    generator().bit_generator.state = stream
    masks.set_state(**state.get("masks", {"key": stream["state"]["state"]}))


def uniform(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """Numbers uniform in [low, high), in the default dtype, on the current backend."""
    return _place(generator().uniform(low, high, shape))


def normal(shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, in the default dtype, on the current backend."""
    return _place(generator().standard_normal(shape))


def _place(draws: np.ndarray) -> Array:
    return current_module().asarray(draws.astype(get_default_dtype()))


def keep_mask(shape: tuple[int, ...], p: float) -> np.ndarray:
    """A mask for dropout: each element is True (keep) with probability 1 - p."""
    n = math.prod(shape)
    bits = generator().bit_generator.random_raw((n + 1) // 2).view(np.uint32)  # two from each draw
    return (bits[:n] >= round(p * 2**32)).reshape(shape)
