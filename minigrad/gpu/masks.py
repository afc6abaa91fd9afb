"""The masks of dropout on a GPU: a counter-based random generator (Salmon et al. 2011).

The state of CuPy's generators can't be saved. Here, mask number n of seed s is always the same, and
a kernel computes it where it is needed. Saving (s, n) is enough: a resumed run gets the same masks
as a run without interruption.
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
    """This thread's key and the number of masks drawn so far, as a dict that fits into JSON."""
    return {"key": _counter.key, "drawn": _counter.drawn}


def set_state(key: int, drawn: int = 0) -> None:
    """Restore a state from `get_state`, or start with a new key."""
    _counter.key, _counter.drawn = key & _64_BITS, drawn


def count_mask(p: float) -> tuple[np.uint64, np.uint32]:
    """The next mask: the seed of its SplitMix64, and p as a threshold of 24 bits."""
    _counter.drawn += 1
    start = _mixed(_counter.key + _counter.drawn * _GOLDEN & _64_BITS)
    return np.uint64(start), np.uint32(round(p * 2**24))


def _mixed(z: Any) -> Any:
    """The output function of SplitMix64 (Steele et al. 2014), of an int or a uint64 array."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _64_BITS
    return z ^ (z >> 31)


def keep_bits(shape: tuple[int, ...], start: np.uint64, threshold: np.uint32) -> np.ndarray:
    """The mask as the kernel computes it, in NumPy: element k is output k of SplitMix64."""
    k = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64)
    z = _mixed(start + k * np.uint64(_GOLDEN))
    return (z >> np.uint64(40) >= threshold).reshape(shape)
