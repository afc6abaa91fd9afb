"""How far a run has got."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Position:
    """The next batch to train on, and the validation losses so far."""

    epoch: int = 1
    batch: int = 0  # batches done in this epoch
    valid_loss: float | None = None  # after the previous epoch
    best_loss: float | None = None  # the lowest so far
    train_seconds: float = 0.0  # spent on this epoch's batches, also before a resumed run's stop
    cpu_seconds: float = 0.0  # the same on all cores, without what other programs took

    def place(self, batches: int) -> str:
        """The position in words, for epochs of so many batches."""
        if self.batch == 0:
            before = self.epoch - 1
            return f"after epoch {before}" if before else "before the first batch"
        return f"in epoch {self.epoch} after {self.batch} of {batches} batches"

    def end_epoch(self, loss: float) -> bool:
        """Move to the start of the next epoch; whether this validation loss is the lowest."""
        improved = self.best_loss is None or loss < self.best_loss
        self.epoch, self.batch, self.valid_loss = self.epoch + 1, 0, loss
        self.train_seconds = self.cpu_seconds = 0.0
        if improved:
            self.best_loss = loss
        return improved


class Stopwatch:
    """Measures wall time, and CPU time on all cores, in seconds."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """The time since the last call, or since the start."""
        before = self._wall, self._cpu
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self._wall - before[0], self._cpu - before[1]
