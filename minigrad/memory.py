"""Large work arrays that reuse memory.

The logits of a language model fill tens of megabytes. When memory of this size is freed, it goes
back to the operating system, which must clear every page again for the next step. Memory that is
kept needs no clearing, and much of it is still in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from .backend import Array, array_module

_spare: list[np.ndarray] = []  # blocks that are free to use


class WorkArray:
    """An uninitialised array, `array`; when it is deleted, the next WorkArray reuses its memory.

    Backend and dtype are those of `like`. On CuPy its own memory pool does the same.
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
