"""The training loop: chunk, loss, backward, clip, step; validate; anneal; keep the best."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import (
    AnomalyError,
    Tensor,
    detect_anomaly,
    keep_freed_memory,
    random,
)
from minigrad.backend import Array, array_module, floats, to_host
from minigrad.optim import SGD, Optimizer

from .arguments import Every
from .batches import columns, count_batches, get_batch
from .checkpoint import Checkpoint, is_checkpoint, save_checkpoint
from .console import UserError
from .corpus import Corpus
from .model import RNNModel
from .progress import EpochEnd, Observer, Report
from .saving import Saver
from .settings import EVAL_BATCH_SIZE, Settings
from .steps import evaluate, train_step
from .stopping import StopRequest
from .versions import versions

FIRST_REPORT = 5.0  # seconds after which a person is told something, however long the interval


@dataclass
class Position:
    """Where a run stands. JSON can hold it."""

    epoch: int = 1
    batch: int = 0  # batches done in this epoch
    valid_loss: float | None = None  # after the epoch before
    best_loss: float | None = None  # the lowest of them so far
    loss_sum: float = 0.0  # over the batches since the last report
    loss_count: int = 0


class Interval:
    """The batches since the last report, or since the run was resumed.

    Their losses and norms stay on the device until somebody wants to see them.
    """

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.batches = self.words = 0
        self.norm = 0.0  # of the last gradient, before clipping
        self.unseen: list[tuple[Array, Array]] = []

    def count(self, loss: Array, norm: Array, words: int) -> None:
        self.batches += 1
        self.words += words
        self.unseen.append((loss, norm))

    def seconds(self) -> float:
        return time.perf_counter() - self.started


class Trainer:
    """A training run: a model, its optimiser, and where in the text they stand.

    `best_path` receives the model with the best validation loss; `latest_path` the state after
    every epoch, as often within it as `save_every` says, and at Ctrl-C or SIGTERM, from which
    `resume` goes on, as the run of the same `run_id`. `detect_anomaly` looks for the operation
    that first gives a value that is not finite. Raises UserError if a split is too short or
    `best_path` can't be written to.
    """

    def __init__(
        self,
        model: RNNModel,
        corpus: Corpus,
        settings: Settings,
        best_path: str | os.PathLike[str],
        log_interval: int = 200,
        dry_run: bool = False,
        save_every: Every | None = None,
        detect_anomaly: bool = False,
    ) -> None:
        self.saver = Saver(Path(best_path), save_every)
        self.run_id = secrets.token_hex(8)  # not of the library's generator, which it would move
        self.best_path, self.latest_path = self.saver.best_path, self.saver.latest_path
        self.model = model
        self.settings = settings = settings.resolved()
        self.vocabulary = corpus.dictionary.idx2word
        self.unknown = corpus.unknown
        self.observers: list[Observer] = []
        self.log_interval = log_interval
        self.detect_anomaly = detect_anomaly
        self.train_source = columns("train", corpus.train, settings.batch_size)
        self.valid_source = columns("valid", corpus.valid, EVAL_BATCH_SIZE)
        self.test_source = columns("test", corpus.test, EVAL_BATCH_SIZE)
        self.epochs = settings.epochs
        if dry_run:  # one chunk of each split, once
            self.epochs = 1
            rows = settings.bptt + 1
            self.train_source = self.train_source[:rows]
            self.valid_source = self.valid_source[:rows]
            self.test_source = self.test_source[:rows]
        self.batches = count_batches(self.train_source, settings.bptt)
        self.optimizer: Optimizer = SGD(model.parameters(), settings.first_lr)
        self.position = Position()
        self.hidden = model.init_hidden(settings.batch_size)
        self.stop = StopRequest()
        self.fault: str | None = None  # the first loss or gradient that was not finite
        self._has_reported = self._said_stopping = False

    # ---------------------------------------------------------------- the loop

    def fit(self) -> float:
        """Train to the last epoch, Ctrl-C or SIGTERM; returns the best model's test loss.

        Raises UserError if training diverges, or what it came to can't be saved.
        """
        keep_freed_memory()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.stop)
            for observer in self.observers:
                stack.callback(observer.close)
                observer.start(self.summary())
            self._note_before()
            # A run that diverges is told in one line, by `_diverged`, not by NumPy's warnings.
            stack.enter_context(np.errstate(all="ignore"))
            if self.detect_anomaly:
                stack.enter_context(detect_anomaly())
            self.saver.begin()
            try:
                while self.unfinished and not self.stop.requested:
                    started = time.perf_counter()
                    self.train_epoch()
                    if not self.stop.requested:
                        self.end_epoch(started)
            except BrokenPipeError:  # nobody reads the lines any more: keep what there is
                self.saver.latest(self.checkpoint())
                raise
            self._note_stopping()
            return self.test()

    @property
    def unfinished(self) -> bool:
        """Whether there are epochs still to come."""
        return self.position.epoch <= self.epochs

    def place(self) -> str:
        """Where the run stands, as a person would say it."""
        position = self.position
        if position.batch == 0:
            before = position.epoch - 1
            return f"after epoch {before}" if before else "before the first batch"
        return f"in epoch {position.epoch} after {position.batch} of {self.batches} batches"

    def _note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)

    def _note_before(self) -> None:
        """Say what the person may not expect of the run that begins."""
        if not self.unfinished:
            self._note(
                f"nothing is left to train: all {self.epochs} epochs are done; "
                "a larger --epochs goes on"
            )
        elif self.saver.last_good is None and is_checkpoint(self.best_path):
            self._note(
                f"{self.best_path} holds the best model of another run, which this one replaces; "
                "another --save keeps it"
            )

    def _note_stopping(self) -> None:
        """Say once that the end has been asked for, when there is more to do."""
        if self.stop.requested and self.unfinished and not self._said_stopping:
            self._said_stopping = True
            self._note("stopping: the state is saved, and the best model so far is tested")

    def summary(self) -> str:
        """One line: what is trained."""
        settings = self.settings
        return (
            f"| {settings.model}{' tied' * settings.tied} | {len(self.vocabulary):,} words "
            f"| {sum(p.size for p in self.model.parameters()):,} parameters "
            f"| lr {self.optimizer.lr:g} | seed {settings.seed} "
            f"| read as <unk>: {self.unknown['valid']} words of valid, "
            f"{self.unknown['test']} of test"
        )

    def header(self) -> dict[str, Any]:
        """What is trained, with what, for the first line of the metrics. JSON can hold it."""
        parameters = list(self.model.parameters())
        return {
            "settings": self.settings.as_dict(),
            "seed": self.settings.seed,
            "versions": versions(array_module(parameters[0].data)),
            "parameters": sum(p.size for p in parameters),
            "words": len(self.vocabulary),
        }

    def train_epoch(self) -> None:
        """The chunks of this epoch that are still to come, with a report at every interval."""
        settings, position = self.settings, self.position
        self.model.train()
        if position.batch == 0:
            self.hidden = self.model.init_hidden(settings.batch_size)
        interval = Interval()
        while position.batch < self.batches and not self.stop.requested:
            start = position.batch * settings.bptt
            data, target = get_batch(self.train_source, start, settings.bptt)
            loss, norm = self._step(data, target)
            position.batch += 1
            interval.count(loss.data, norm, target.size)
            for observer in self.observers:
                observer.batch(position.epoch, position.batch, self.batches, target.size)
            if position.batch % self.log_interval == 0 or position.batch == self.batches:
                self._look_at(interval)
                self._report(interval)
                interval = Interval()
            elif not self._has_reported and interval.seconds() >= FIRST_REPORT:
                self._look_at(interval)
                self._report(interval, early=True)
            self._note_stopping()
            if self.saver.due():
                self._look_at(interval)
                self.saver.latest(self.checkpoint())
        self._look_at(interval)

    def _step(self, data: np.ndarray, target: np.ndarray) -> tuple[Tensor, Array]:
        try:
            loss, norm, self.hidden = train_step(
                self.model, self.optimizer, data, target, self.hidden, self.settings.clip
            )
        except AnomalyError as error:
            batch = self.position.batch + 1
            raise self._diverged(f"{error}; at {self._place(batch)}") from error
        return loss, norm

    def _look_at(self, interval: Interval) -> None:
        """Add the losses not seen yet to the mean of this interval; find a fault in them."""
        position = self.position
        first = position.batch - len(interval.unseen) + 1
        seen = floats(*itertools.chain(*interval.unseen))  # the one wait for a GPU
        for batch, (loss, norm) in enumerate(zip(seen[::2], seen[1::2], strict=True), start=first):
            position.loss_sum += loss
            position.loss_count += 1
            interval.norm = norm
            if self.fault is None and not (math.isfinite(loss) and math.isfinite(norm)):
                self.fault = f"the loss is {loss:g} at {self._place(batch)}, gradient norm {norm:g}"
        interval.unseen.clear()

    def _place(self, batch: int) -> str:
        return f"batch {batch} of epoch {self.position.epoch} with lr {self.optimizer.lr:g}"

    def _diverged(self, fault: str) -> UserError:
        last_good = self.saver.last_good
        return UserError(
            f"{fault}; "
            + (f"the last good checkpoint is {last_good}" if last_good else "nothing was saved")
            + "; start again with a lower --lr or --clip"
            + ("" if self.detect_anomaly else ", or find the cause with --detect-anomaly")
        )

    def _report(self, interval: Interval, early: bool = False) -> None:
        """Tell the observers; raises UserError if training has diverged.

        An early report is one more: the interval goes on as if it had not been.
        """
        position = self.position
        report = Report(
            epoch=position.epoch,
            batch=position.batch,
            batches=self.batches,
            lr=self.optimizer.lr,
            loss=position.loss_sum / position.loss_count,
            grad_norm=interval.norm,
            words=interval.words,
            seconds=interval.seconds(),
            count=interval.batches,
        )
        self._has_reported = True
        if not early:
            position.loss_sum, position.loss_count = 0.0, 0
        for observer in self.observers:
            if early:
                observer.early(report)
            else:
                observer.report(report)
        if self.fault is not None:
            raise self._diverged(self.fault)

    def _evaluate(self, doing: str, source: np.ndarray) -> float:
        """The loss over a split that is not trained on; the observers are told how far it is."""

        def tell(batch: int, batches: int, words: int) -> None:
            for observer in self.observers:
                observer.evaluating(doing, batch, batches, words)
            self._note_stopping()

        return evaluate(self.model, source, self.settings.bptt, progress=tell)

    def end_epoch(self, started: float) -> None:
        """Validate; anneal the learning rate; save, and keep the model if it is the best."""
        settings, position = self.settings, self.position
        loss = self._evaluate("validating", self.valid_source)
        for observer in self.observers:
            observer.epoch_end(EpochEnd(position.epoch, time.perf_counter() - started, loss))
        if not math.isfinite(loss):
            raise self._diverged(f"the validation loss is {loss} after epoch {position.epoch}")
        improved = position.best_loss is None or loss < position.best_loss
        if settings.decay_after is not None:
            decay = position.epoch >= settings.decay_after
        else:
            decay = not improved
        if decay:
            self.optimizer.lr /= settings.lr_decay
        position.epoch, position.batch, position.valid_loss = position.epoch + 1, 0, loss
        if improved:
            position.best_loss = loss
        state = self.checkpoint()
        self.saver.best(state, loss)
        self.saver.latest(state)

    def test(self) -> float:
        """Save the latest state for the last time; the test loss of the best model."""
        state = self.checkpoint()
        self.saver.latest(state, last=True)
        if self.saver.kept_loss is None:  # stopped before anything was validated
            self.saver.best(state, None)
        self.model.load_state_dict(self.saver.best_model(state))
        loss = self._evaluate("testing", self.test_source)
        for observer in self.observers:
            observer.end(loss)
        self.saver.finish()
        return loss

    # ---------------------------------------------------------------- checkpoints

    def checkpoint(self) -> Checkpoint:
        """The whole run as it stands.

        Raises UserError if it has diverged: what is not finite shall never be saved.
        """
        hidden = self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)
        run = {
            "id": self.run_id,
            "position": dataclasses.asdict(self.position),
            "random": random.get_state(),
        }
        for observer in self.observers:
            run |= observer.state()
        checkpoint = Checkpoint(
            settings=self.settings.as_dict(),
            vocabulary=self.vocabulary,
            model={name: to_host(w) for name, w in self.model.state_dict().items()},
            run=run,
            hidden={str(i): to_host(h.data) for i, h in enumerate(hidden)},
            optimizer=self.optimizer.state_dict(),
        )
        for name, array in [*checkpoint.model.items(), *checkpoint.hidden.items()]:
            if self.fault is None and not np.isfinite(array).all():
                where = self._place(self.position.batch)
                kind = "the state" if name in checkpoint.hidden else name
                self.fault = f"{kind} is not finite after {where}"
        if self.fault is not None:
            raise self._diverged(self.fault)
        return checkpoint

    def save(self, path: Path) -> None:
        """Write the whole run to `path` (UserError if that can't be done)."""
        save_checkpoint(path, self.checkpoint())

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where the checkpoint was saved.

        Raises UserError if the corpus has another vocabulary: it must have been read with that
        of the checkpoint.
        """
        if checkpoint.vocabulary != self.vocabulary:
            raise UserError(
                "the checkpoint was trained on a text with another vocabulary; "
                "read this text with that of the checkpoint"
            )
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        xp = array_module(self.optimizer.params[0].data)
        states = [Tensor(xp.asarray(h)) for _, h in sorted(checkpoint.hidden.items())]
        self.hidden = tuple(states) if len(states) > 1 else states[0]
        self.position = Position(**checkpoint.run["position"])
        self.run_id = str(checkpoint.run.get("id", self.run_id))
        self.saver.resume(checkpoint)
        random.set_state(checkpoint.run["random"])
