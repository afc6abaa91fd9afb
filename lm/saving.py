"""Where a run is saved, and when: the best model and the latest state, in two files."""

from __future__ import annotations

import copy
import os
import time
from pathlib import Path

import numpy as np

from .arguments import Every
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .console import UserError, warn
from .files import try_to_write_beside
from .settings import FREE, resolved


class Saver:
    """Writes the best model to `best_path`, and the latest state beside it.

    A save that fails is a warning: training goes on and the next one tries again, while the
    best model waits in memory. Only at the end of the run is it an error (`finish`). Raises
    UserError if `best_path` can't be a file in a folder that can be written to.
    """

    def __init__(self, best_path: Path, every: Every | None = None) -> None:
        if not best_path.name or os.path.isdir(best_path):
            raise UserError(f"{best_path} is a folder; name a file to save the model in")
        if not os.path.isdir(best_path.parent):
            raise UserError(f"no folder {best_path.parent} to save the model in; make it first")
        self.best_path = best_path
        self.latest_path = best_path.with_name(f"{best_path.stem}.latest{best_path.suffix}")
        for path in (self.best_path, self.latest_path):
            if os.path.exists(path) and not os.path.isfile(path):
                raise UserError(f"{path} is not a file; name one to save the model in")
        try:
            try_to_write_beside(self.latest_path)
        except OSError as error:
            raise UserError(
                f"can't write to {best_path}: {error.strerror}; save elsewhere"
            ) from error
        self.every = every or Every()
        self.last_good: Path | None = None  # the checkpoint to go back to
        self.kept_loss: float | None = None  # of the model in `best_path`, if it is this run's
        self._waiting: Checkpoint | None = None  # a best model that could not be written yet
        self._error: UserError | None = None  # why the latest state could not be
        self._restart()

    # ---------------------------------------------------------------- when

    def _restart(self) -> None:
        self._batches, self._started = 0, time.monotonic()

    def due(self) -> bool:
        """To be asked after every batch: whether it is time to save."""
        self._batches += 1
        batches, seconds = self.every.batches, self.every.seconds
        if batches is not None:
            return self._batches >= batches
        return seconds is not None and time.monotonic() - self._started >= seconds

    # ---------------------------------------------------------------- writing

    def latest(self, checkpoint: Checkpoint, last: bool = False) -> None:
        """Save the latest state; at the `last` time nothing is said of a failure until `finish`."""
        self._restart()
        if self._waiting is not None and self._write(self.best_path, self._waiting) is None:
            self._waiting = None
        self._error = self._write(self.latest_path, checkpoint)
        if self._error is not None and not last:
            _warn(self._error)

    def best(self, checkpoint: Checkpoint, loss: float | None) -> None:
        """Save a model with this validation loss (None: not validated) if it is the best.

        It is not if this run has saved a better one, be it later: a run may go on from an older
        state, as after a kill.
        """
        if self.kept_loss is not None and (loss is None or loss >= self.kept_loss):
            return
        self.kept_loss, self._waiting = loss, None
        if (error := self._write(self.best_path, checkpoint)) is not None:
            self._waiting = copy.deepcopy(checkpoint)
            _warn(error)

    def _write(self, path: Path, checkpoint: Checkpoint) -> UserError | None:
        try:
            save_checkpoint(path, checkpoint)
        except UserError as error:
            return error
        self.last_good = path
        return None

    def finish(self) -> None:
        """Raise UserError if the best model or the latest state is still not on disk."""
        if self._waiting is not None:
            save_checkpoint(self.best_path, self._waiting)
        if self._error is not None:
            raise self._error

    # ---------------------------------------------------------------- reading

    def resume(self, checkpoint: Checkpoint) -> None:
        """Find out what lies at `best_path`, for a run that goes on from `checkpoint`."""
        self.last_good = checkpoint.path
        try:
            best = load_checkpoint(self.best_path)
        except UserError:  # none, or none that can be read: the next one is the best
            return
        if same_run(best, checkpoint):
            self.kept_loss = best.run.get("position", {}).get("valid_loss")

    def best_model(self, run: Checkpoint) -> dict[str, np.ndarray]:
        """The weights of the best model of `run`.

        Raises UserError if another run has written over it.
        """
        best = self._waiting or load_checkpoint(self.best_path)
        if not same_run(best, run):
            raise UserError(
                f"another run has saved to {self.best_path} meanwhile; give each its own --save"
            )
        return best.model


def _warn(error: UserError) -> None:
    warn(f"{error}; training goes on, and the next save tries again")


def same_run(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two checkpoints are of one run: the same words, and settings that can't change."""
    ours, others = resolved(a.settings), resolved(b.settings)
    names = (ours.keys() | others.keys()) - set(FREE)
    same = all(ours.get(name) == others.get(name) for name in names)
    return same and a.vocabulary == b.vocabulary
