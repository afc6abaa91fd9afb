"""The masks of dropout on a GPU: a counter-based random generator (Salmon et al. 2011).

CuPy's generators can't save their state. So mask number n of seed s is always the same, drawn by
a kernel where it is needed, and saving (s, n) restores it: a resumed run gets the masks that it
would have got.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

_64_BITS = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


class _Counter(threading.local):
    def __init__(self) -> None:
        self.key = int.from_bytes(os.urandom(8), "little")
        self.drawn = 0


_counter = _Counter()


def get_state() -> dict[str, int]:
    """This thread's key and how many masks it has drawn, as a dict that JSON can hold."""
    return {"key": _counter.key, "drawn": _counter.drawn}


def set_state(key: int, drawn: int = 0) -> None:
    """Go on from a state that `get_state` returned, or start with a key."""
    _counter.key, _counter.drawn = key & _64_BITS, drawn


def count_mask(p: float) -> tuple[np.uint64, np.uint32]:
    """The next mask: where its SplitMix64 starts, and the threshold of 24 bits that is p."""
    _counter.drawn += 1
    start = _mixed(_counter.key + _counter.drawn * _GOLDEN & _64_BITS)
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
