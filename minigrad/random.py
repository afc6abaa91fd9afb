"""Every random draw of the library comes from here, and `manual_seed` seeds them all.

Each thread has a generator of its own, so that two models trained in two threads give the same
results as one after the other.

On a GPU the masks of dropout come from no stream, whose place could not be saved there, but from
a count: mask number n of seed s is always the same, drawn where it is needed (`keep_bits` says
how, in NumPy). So a run that is resumed gets the masks that it would have got.
"""

from __future__ import annotations

import math
import threading
from types import ModuleType
from typing import Any

import numpy as np

from . import fused
from .backend import Array, current_module, get_default_dtype
from .kernels import available

_64_BITS = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


class _State(threading.local):
    def seed(self, seed: int | None) -> None:
        self.generator = np.random.default_rng(seed)
        self.mask_key = _key(self.generator.bit_generator.state)
        self.masks = 0  # how many have been drawn by count


def _key(state: Any) -> int:
    """A key for the masks, from the state of a generator that has just been seeded."""
    return int(state["state"]["state"]) & _64_BITS


_state = _State()


def _here() -> _State:
    """This thread's state, seeded at its first draw: NumPy imports its generators only then."""
    if not hasattr(_state, "generator"):
        _state.seed(None)
    return _state


def manual_seed(seed: int) -> None:
    """Seed every random draw of the library (dropout, initial weights, samples) in this thread."""
    _state.seed(seed)


def generator() -> np.random.Generator:
    """This thread's generator. Its draws are made on the host, whatever the backend."""
    return _here().generator


def get_state() -> dict[str, Any]:
    """The generator's state and the masks' count, as a dict that JSON can hold."""
    here = _here()
    masks = {"key": here.mask_key, "drawn": here.masks}
    return {**here.generator.bit_generator.state, "masks": masks}


def set_state(state: dict[str, Any]) -> None:
    """Go on drawing from where `get_state` was called, on the same backend or another."""
    stream = {name: value for name, value in state.items() if name != "masks"}
    here = _here()
    here.generator.bit_generator.state = stream
    masks = state.get("masks", {"key": _key(stream), "drawn": 0})
    here.mask_key, here.masks = masks["key"], masks["drawn"]


def uniform(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """Numbers uniform in [low, high), in the default dtype, on the current backend."""
    return _place(generator().uniform(low, high, shape))


def normal(shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, in the default dtype, on the current backend."""
    return _place(generator().standard_normal(shape))


def _place(draws: np.ndarray) -> Array:
    return current_module().asarray(draws.astype(get_default_dtype()))


def keep_mask(shape: tuple[int, ...], p: float, xp: ModuleType = np) -> Array:
    """Booleans, each True with probability 1 - p: the units that dropout keeps, drawn for xp."""
    if available(xp):  # on a GPU
        return fused.keep_mask(xp, shape, *counted_mask(p))
    n = math.prod(shape)
    bits = generator().bit_generator.random_raw((n + 1) // 2).view(np.uint32)  # two from each draw
    return (bits[:n] >= round(p * 2**32)).reshape(shape)


def counted_mask(p: float) -> tuple[np.uint64, np.uint32]:
    """Count one mask: where its SplitMix64 starts, and the threshold of 24 bits that is p."""
    here = _here()
    here.masks += 1
    start = _mixed(here.mask_key + here.masks * _GOLDEN & _64_BITS)
    return np.uint64(start), np.uint32(round(p * 2**24))


def _mixed(z: Any) -> Any:
    """SplitMix64's output function (Steele et al. 2014), of an integer or an array of uint64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _64_BITS
    return z ^ (z >> 31)


def keep_bits(shape: tuple[int, ...], start: np.uint64, threshold: np.uint32) -> np.ndarray:
    """The mask that the device's kernel draws, in NumPy: output k of SplitMix64 for element k."""
    k = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64)
    z = _mixed(start + k * np.uint64(_GOLDEN))
    return (z >> np.uint64(40) >= threshold).reshape(shape)
