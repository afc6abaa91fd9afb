"""The losses of an interval: the batches since the last report."""

from __future__ import annotations

import itertools
import time

from minigrad.backend import Array, floats

from .ranks import ALONE, Alone


class Losses:
    """Sums the losses since the last report; a checkpoint keeps `total` and `count`.

    A new loss and its gradient norm stay on the device until `read`, which waits for a GPU.
    """

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self.total, self.count = total, count  # of the losses that were read
        self.norm = 0.0  # of the last gradient that was read, before clipping
        self._unread: list[tuple[Array, Array]] = []
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count time, batches and words from now on. (A resumed interval has no time before.)"""
        self._started = time.perf_counter()
        self.batches = self.words = 0

    def add(self, loss: Array, norm: Array, words: int) -> None:
        self.batches += 1
        self.words += words
        self._unread.append((loss, norm))

    def read(self, ranks: Alone = ALONE) -> list[tuple[float, float]]:
        """Read and sum what was added since the last call: each loss and gradient norm.

        Each rank has added its part of the loss of a batch.
        """
        values = floats(*itertools.chain(*self._unread))  # the only wait for a GPU
        self._unread.clear()
        losses = ranks.sum(values[::2])
        steps = list(zip(losses, values[1::2], strict=True))
        for loss, self.norm in steps:
            self.total += loss
            self.count += 1
        return steps

    @property
    def mean(self) -> float:
        """In nats per word, of the losses that were read."""
        return self.total / self.count

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started
