"""Saving a run: the best model and the latest state, in two files."""

from __future__ import annotations

import copy
import math
import os
import time
from pathlib import Path

import numpy as np

from ..arguments import Every
from ..checkpoint import Checkpoint, is_checkpoint, load_checkpoint, save_checkpoint
from ..console import UserError, warn
from ..files import same_file, try_to_write
from ..settings import FREE, resolved


def latest_path(best_path: Path) -> Path:
    """The file of the latest state: model.latest.safetensors beside model.safetensors."""
    return best_path.with_name(f"{best_path.stem}.latest{best_path.suffix}")


def best_path_of(resumed: str | os.PathLike[str]) -> Path:
    """The file of the best model of the run whose latest state, or best model, is `resumed`."""
    path = Path(resumed)
    stem = path.name.removesuffix(".latest") if path.suffix == ".latest" else path.stem
    suffix = "" if path.suffix == ".latest" else path.suffix
    best = path.with_name(stem.removesuffix(".latest") + suffix)
    return best if latest_path(best) == path else path


class Saver:
    """Writes the best model to `best_path`, and the latest state beside it.

    A failed save is a warning: training continues and the next save tries again, while the best
    model waits in memory. It is an error only at the end of the run (`finish`). Raises UserError
    if the two paths can't be files in writable folders.
    """

    def __init__(self, best_path: Path, every: Every | None = None) -> None:
        if not best_path.name:
            raise UserError(f"{best_path} is a folder; name a file to save the model in")
        self.best_path, self.latest_path = best_path, latest_path(best_path)
        for path in (self.best_path, self.latest_path):
            _must_be_writable(path)
        if same_file(self.best_path, self.latest_path):
            raise UserError(
                f"{self.best_path} and {self.latest_path} are one file; save elsewhere, or remove "
                "the link"
            )
        self.every = every or Every()
        self.last_good: Path | None = None  # the checkpoint to go back to
        self.kept_loss: float | None = None  # of the model at `best_path`, if it is of this run
        self._waiting: Checkpoint | None = None  # a best model that is not at `best_path` yet
        self._missing: str | None = None  # a warning if the best model so far was not found
        self._error: UserError | None = None  # of the last attempt to save the latest state
        self._restart()

    def _restart(self) -> None:
        self._batches, self._started = 0, time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save. To be called after every batch."""
        self._batches += 1
        batches, seconds = self.every.batches, self.every.seconds
        if batches is not None:
            return self._batches >= batches
        return seconds is not None and time.monotonic() - self._started >= seconds

    def begin(self) -> None:
        """Before training, write the best model of a resumed run to `best_path`."""
        if self._missing is not None:
            warn(self._missing)
        if self._waiting is not None and (error := self._write_waiting()) is not None:
            _warn(error)

    def latest(self, checkpoint: Checkpoint, last: bool = False) -> None:
        """Save the latest state. The `last` time, a failure is reported by `finish` alone."""
        self._restart()
        if self._waiting is not None:
            self._write_waiting()
        self._error = self._write(self.latest_path, checkpoint)
        if self._error is not None and not last:
            _warn(self._error)

    def best(self, checkpoint: Checkpoint, loss: float | None) -> None:
        """Save a model with this validation loss (None: not validated) if it is the best.

        A better one may come from a later epoch, if the run was resumed from an older state.
        """
        if self.kept_loss is not None and (loss is None or loss >= self.kept_loss):
            return
        self.kept_loss, self._waiting = loss, None
        if (error := self._write(self.best_path, checkpoint)) is not None:
            self._waiting = copy.deepcopy(checkpoint)
            _warn(error)

    def _write_waiting(self) -> UserError | None:
        assert self._waiting is not None
        error = self._write(self.best_path, self._waiting)
        if error is None:
            self._waiting = None
        return error

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

    def resume(self, checkpoint: Checkpoint, text: str) -> None:
        """Find the best model so far of a run that is resumed from `checkpoint`.

        It is at `best_path`, or where the run saved before, or is the checkpoint itself. Nothing
        is written until `begin`. `text` identifies the validation text (see `RunState`): losses on
        another one can't be compared. Raises UserError if `best_path` holds the best model of this
        run on another text.
        """
        self.last_good = checkpoint.path
        paths = {self.best_path: None}
        if checkpoint.path is not None:
            paths[best_path_of(checkpoint.path)] = None
        found = [c for c in (*map(_read, paths), checkpoint) if c and same_run(c, checkpoint)]
        if any(c.path == self.best_path and not same_text(c, text) for c in found):
            raise UserError(
                f"{self.best_path} holds the best model on another validation text; keep that of "
                "this text in a file of its own: --save FILE"
            )
        found = [c for c in found if same_text(c, text) and _loss(c) < math.inf]
        best = min(found, key=_loss, default=None)
        if best is not None:
            self.kept_loss = _loss(best)
            if best.path != self.best_path:
                self._waiting = best
        lowest = checkpoint.run["position"]["best_loss"] if same_text(checkpoint, text) else None
        if lowest is not None and (self.kept_loss is None or self.kept_loss > lowest):
            places = " nor ".join(map(str, paths))
            self._missing = (
                f"the best model so far, of validation loss {lowest:.2f}, is not at {places}; "
                "training continues without it"
            )

    def best_model(self, run: Checkpoint) -> dict[str, np.ndarray]:
        """The weights of the best model of `run`.

        Raises UserError if another run has overwritten it.
        """
        best = self._waiting or load_checkpoint(self.best_path)
        if not same_run(best, run):
            raise UserError(
                f"another run has saved to {self.best_path} meanwhile; give each its own --save"
            )
        return best.model


class NotSaving(Saver):
    """Stands for `Saver` on the ranks that save nothing."""

    def __init__(self) -> None:
        self.last_good = self.kept_loss = None

    def due(self) -> bool:
        return False

    def begin(self) -> None: ...

    def latest(self, checkpoint: Checkpoint, last: bool = False) -> None: ...

    def best(self, checkpoint: Checkpoint, loss: float | None) -> None: ...

    def finish(self) -> None: ...

    def resume(self, checkpoint: Checkpoint, text: str) -> None: ...


def _must_be_writable(path: Path) -> None:
    """Raise UserError if no file can be created or replaced at `path` or the target of a link."""
    link = os.path.islink(path)
    folder = Path(os.path.realpath(path)).parent if link else path.parent
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; name a file to save the model in")
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path} is not a file; name one to save the model in")
    # A damaged checkpoint may be replaced, if its name says that it is one.
    filled = os.path.exists(path) and os.path.getsize(path) > 0
    if filled and path.suffix != ".safetensors" and not is_checkpoint(path):
        raise UserError(f"{path} exists and is not a checkpoint; give --save another file")
    if not os.path.isdir(folder):
        leads = f", where {path} leads to," if link else ""
        raise UserError(f"no folder {folder}{leads} to save the model in; create it first")
    try:
        try_to_write(path)
    except OSError as error:
        raise UserError(f"can't write to {path}: {error.strerror}; save elsewhere") from error


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None if it can't be read."""
    try:
        return load_checkpoint(path)
    except UserError:
        return None


def _loss(checkpoint: Checkpoint) -> float:
    """The validation loss of the model in a checkpoint; infinity if it was not validated."""
    position = checkpoint.run.get("position", {})
    loss = position.get("valid_loss") if position.get("batch") == 0 else None
    return math.inf if loss is None else float(loss)


def _warn(error: UserError) -> None:
    warn(f"{error}; training continues, and the next save tries again")


def same_text(checkpoint: Checkpoint, text: str) -> bool:
    """Whether its losses are on this validation text; checkpoints of earlier versions don't say."""
    return checkpoint.run.get("text", text) == text


def same_run(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two checkpoints are of one run: the same id, words and settings but `FREE`.

    Checkpoints of earlier versions have no id.
    """
    ids = {a.run.get("id"), b.run.get("id")} - {None}
    if len(ids) > 1:
        return False
    ours, others = resolved(a.settings), resolved(b.settings)
    names = (ours.keys() | others.keys()) - set(FREE)
    same = all(ours.get(name) == others.get(name) for name in names)
    return same and a.vocabulary == b.vocabulary
