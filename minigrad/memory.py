"""Large work arrays, in memory that is used again.

The logits of a language model fill tens of megabytes. Memory of that size goes back to the system
when it is freed, and every page of it is cleared anew at the next step; kept, much of it is still
in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from .backend import Array, array_module

_spare: list[np.ndarray] = []  # bytes that nobody uses now


class WorkArray:
    """An uninitialised array, `array`, whose memory the next one gets when this one is dropped.

    `like` says on which backend and in which dtype. CuPy's memory pool does the same by itself.
    """

    def __init__(self, shape: tuple[int, ...], like: Array) -> None:
        self._bytes = None
        xp = array_module(like)
        if xp is not np:
            self.array = xp.empty(shape, like.dtype)
            return
        size = math.prod(shape) * like.dtype.itemsize
        self._bytes = _spare.pop() if _spare else np.empty(size, np.uint8)
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        self.array = self._bytes[:size].view(like.dtype).reshape(shape)

    def __del__(self) -> None:
        if self._bytes is not None:
            _spare.append(self._bytes)
