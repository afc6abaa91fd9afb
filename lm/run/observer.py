"""What a run reports, and the base class of those who receive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """The batches since the last report."""

    epoch: int
    batch: int  # batches done in this epoch
    batches: int  # batches of a whole epoch
    lr: float
    loss: float  # the mean, in nats per word
    grad_norm: float  # of the last batch, before clipping
    words: int
    seconds: float
    count: int  # batches in that time


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch."""

    epoch: int
    seconds: float  # including validation
    valid_loss: float
    train_seconds: float = 0.0  # without validation
    cpu_seconds: float = 0.0  # of training, on all cores
    words: int = 0  # trained on


class Observer:
    """Receives the progress of a run. Each method does nothing unless a subclass defines it."""

    def start(self, text: str) -> None:
        """Training begins; `text` says what is trained."""

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        """A batch is done."""

    def early(self, report: Report) -> None:
        """An extra report before the first; its batches are also part of the next one."""

    def report(self, report: Report) -> None:
        """A log interval is done, or the rest of an epoch."""

    def evaluating(self, doing: str, batch: int, batches: int, words: int) -> None:
        """A batch of validation or test is done, as `doing` says; `words` counts from the start."""

    def epoch_end(self, end: EpochEnd) -> None:
        """An epoch is done and validated."""

    def note(self, text: str) -> None:
        """One line that the user should know."""

    def end(self, test_loss: float) -> None:
        """Training has ended, and the best model was tested."""

    def close(self) -> None:
        """Nothing more will come, whether training ended or failed."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this observer, under a name of its own; must fit JSON."""
        return {}
