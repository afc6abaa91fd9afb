"""The training loop: chunk, loss, backward, clip, step; validate; anneal; keep the best."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from minigrad import Tensor, no_grad, random
from minigrad.backend import Array, array_module, floats, to_host
from minigrad.optim import SGD, Optimizer, clip_grad_norm_

from .batches import batchify, count_batches, get_batch
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .corpus import Corpus
from .errors import UserError
from .model import Hidden, RNNModel, repackage_hidden
from .progress import EpochEnd, Observer, Report
from .settings import EVAL_BATCH_SIZE, FREE, Settings


def train_step(
    model: RNNModel,
    optimizer: Optimizer,
    data: np.ndarray,
    target: np.ndarray,
    hidden: Hidden,
    clip: float,
) -> tuple[Tensor, Array, Hidden]:
    """One chunk: returns its loss, the gradient's norm before clipping, and the state after it."""
    hidden = repackage_hidden(hidden)  # here BPTT is truncated
    optimizer.zero_grad()
    loss, hidden = model.loss(data, target, hidden)
    loss.backward()
    norm = clip_grad_norm_(optimizer.params, clip)
    optimizer.step()
    return loss.detach(), norm, repackage_hidden(hidden)


@no_grad()
def evaluate(model: RNNModel, source: np.ndarray, bptt: int) -> float:
    """The exact mean loss in nats per predicted word over `source` (rows, B).

    Each chunk counts by its words and the state is carried across chunks, so that `bptt`, which
    only sets how much is computed at a time, does not change the result. Dropout is off.
    """
    was_training = model.training
    model.eval()
    hidden = model.init_hidden(source.shape[1])
    total, words = 0.0, 0
    for batch in range(count_batches(source, bptt)):
        data, target = get_batch(source, batch * bptt, bptt)
        loss, hidden = model.loss(data, target, hidden)
        total = total + loss.data * np.float64(target.size)
        words += target.size
    model.train(was_training)
    return float(total) / words


@dataclass
class Position:
    """Where a run stands. JSON can hold it."""

    epoch: int = 1
    batch: int = 0  # batches done in this epoch
    best_loss: float | None = None  # the best validation loss so far
    loss_sum: float = 0.0  # over the batches since the last report
    loss_count: int = 0


class Stopwatch:
    """The speed since it was made. A resumed run starts with a new one."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.batches = self.words = 0

    def count(self, words: int) -> None:
        self.batches += 1
        self.words += words

    def seconds(self) -> float:
        return time.perf_counter() - self.started


class Trainer:
    """A training run: a model, its optimiser, and where in the text they stand.

    `best_path` receives the model with the best validation loss, `latest_path` the state after
    every epoch and at Ctrl-C, from which `resume` goes on. Raises UserError if a split is too
    short or `best_path` can't be written to.
    """

    def __init__(
        self,
        model: RNNModel,
        corpus: Corpus,
        settings: Settings,
        best_path: Path,
        log_interval: int = 200,
        dry_run: bool = False,
    ) -> None:
        if not best_path.name or os.path.isdir(best_path):
            raise UserError(f"{best_path} is a folder; name a file to save the model in")
        if not os.path.isdir(best_path.parent):
            raise UserError(f"no folder {best_path.parent} to save the model in; make it first")
        if not os.access(best_path.parent, os.W_OK):
            raise UserError(f"the folder {best_path.parent} can't be written to; save elsewhere")
        self.model = model
        self.settings = settings
        self.vocabulary = corpus.dictionary.idx2word
        self.unknown = corpus.unknown
        self.best_path = best_path
        self.latest_path = best_path.with_name(f"{best_path.stem}.latest{best_path.suffix}")
        self.observers: list[Observer] = []
        self.log_interval = log_interval
        self.train_source = _columns("train", corpus.train, settings.batch_size)
        self.valid_source = _columns("valid", corpus.valid, EVAL_BATCH_SIZE)
        self.test_source = _columns("test", corpus.test, EVAL_BATCH_SIZE)
        self.epochs = settings.epochs
        if dry_run:  # one chunk of each split, once
            self.epochs = 1
            rows = settings.bptt + 1
            self.train_source = self.train_source[:rows]
            self.valid_source = self.valid_source[:rows]
            self.test_source = self.test_source[:rows]
        self.batches = count_batches(self.train_source, settings.bptt)
        self.optimizer = SGD(model.parameters(), settings.first_lr)
        self.position = Position()
        self.hidden = model.init_hidden(settings.batch_size)
        self._stop = False

    # ---------------------------------------------------------------- the loop

    def fit(self) -> float:
        """Train to the last epoch or Ctrl-C; returns the best model's loss on the test set."""
        with contextlib.ExitStack() as stack:
            for observer in self.observers:
                stack.callback(observer.close)
                observer.start(self.summary())
            stack.enter_context(self._stopping_at_interrupt())
            # A run that diverges is told in one line, by `_report`, and not by NumPy's warnings.
            stack.enter_context(np.errstate(all="ignore"))
            while self.position.epoch <= self.epochs and not self._stop:
                started = time.perf_counter()
                self.train_epoch()
                if not self._stop:
                    self._end_epoch(started)
            self.save(self.latest_path)
            if self.position.best_loss is None:  # stopped before anything was validated
                self.save(self.best_path)
            self.model.load_state_dict(load_checkpoint(self.best_path).model)
            loss = evaluate(self.model, self.test_source, self.settings.bptt)
            for observer in self.observers:
                observer.end(loss)
        return loss

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

    def train_epoch(self) -> None:
        """The chunks of this epoch that are still to come, with a report at every interval."""
        settings, position = self.settings, self.position
        self.model.train()
        if position.batch == 0:
            self.hidden = self.model.init_hidden(settings.batch_size)
        loss_sum: Any = np.float64(position.loss_sum)
        watch = Stopwatch()
        while position.batch < self.batches and not self._stop:
            start = position.batch * settings.bptt
            data, target = get_batch(self.train_source, start, settings.bptt)
            loss, norm, self.hidden = train_step(
                self.model, self.optimizer, data, target, self.hidden, settings.clip
            )
            loss_sum = loss_sum + loss.data  # stays on the device until the report
            position.batch += 1
            position.loss_count += 1
            watch.count(target.size)
            for observer in self.observers:
                observer.batch(position.epoch, position.batch, self.batches, target.size)
            if position.batch % self.log_interval == 0 or position.batch == self.batches:
                total, last_norm = floats(loss_sum, norm)  # the one wait for a GPU
                self._report(total / position.loss_count, last_norm, watch)
                loss_sum, position.loss_count = np.float64(0), 0
                watch = Stopwatch()
        position.loss_sum = float(loss_sum)

    def _report(self, loss: float, norm: float, watch: Stopwatch) -> None:
        """Tell the observers; raises UserError if training has diverged."""
        position, lr = self.position, self.optimizer.lr
        report = Report(
            epoch=position.epoch,
            batch=position.batch,
            batches=self.batches,
            lr=lr,
            loss=loss,
            grad_norm=norm,
            words=watch.words,
            seconds=watch.seconds(),
            count=watch.batches,
        )
        for observer in self.observers:
            observer.report(report)
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at batch {position.batch} of epoch {position.epoch} with "
                f"lr {lr:g}; start again with a lower --lr"
            )

    def _end_epoch(self, started: float) -> None:
        """Validate; keep the model if it is the best; anneal the learning rate; save."""
        settings, position = self.settings, self.position
        loss = evaluate(self.model, self.valid_source, settings.bptt)
        for observer in self.observers:
            observer.epoch_end(EpochEnd(position.epoch, time.perf_counter() - started, loss))
        improved = position.best_loss is None or loss < position.best_loss
        if settings.decay_after is not None:
            decay = position.epoch >= settings.decay_after
        else:
            decay = not improved
        if decay:
            self.optimizer.lr /= settings.lr_decay
        position.epoch, position.batch = position.epoch + 1, 0
        if improved:
            position.best_loss = loss
            self.save(self.best_path)
        self.save(self.latest_path)

    @contextlib.contextmanager
    def _stopping_at_interrupt(self) -> Iterator[None]:
        """Ctrl-C ends training after the batch in progress, when the weights are whole."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python lets no other thread handle signals
            return

        def stop(_signal: int, _frame: FrameType | None) -> None:
            self._stop = True

        previous = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    # ---------------------------------------------------------------- checkpoints

    def save(self, path: Path) -> None:
        """Write the whole run to `path` (UserError if that can't be done)."""
        hidden = self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)
        save_checkpoint(
            path,
            Checkpoint(
                settings=self.settings.as_dict(),
                vocabulary=self.vocabulary,
                model={name: to_host(w) for name, w in self.model.state_dict().items()},
                run={
                    "position": dataclasses.asdict(self.position),
                    "lr": self.optimizer.lr,
                    "random": random.get_state(),
                },
                hidden={str(i): to_host(h.data) for i, h in enumerate(hidden)},
            ),
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where the checkpoint was saved (UserError if its vocabulary is another)."""
        if checkpoint.vocabulary != self.vocabulary:
            raise UserError("the checkpoint was trained on a text with another vocabulary")
        self.model.load_state_dict(checkpoint.model)
        self.optimizer.lr = checkpoint.run["lr"]
        xp = array_module(self.optimizer.params[0].data)
        states = [Tensor(xp.asarray(h)) for _, h in sorted(checkpoint.hidden.items())]
        self.hidden = tuple(states) if len(states) > 1 else states[0]
        self.position = Position(**checkpoint.run["position"])
        if not self._best_is_ours():  # then the next one is the best
            self.position.best_loss = None
        random.set_state(checkpoint.run["random"])

    def _best_is_ours(self) -> bool:
        """Whether the file at `best_path` is the best model of the run that is resumed."""
        if not self.best_path.exists():
            return False
        best = load_checkpoint(self.best_path)
        ours = self.settings.as_dict()
        same_run = all(best.settings.get(n) == ours[n] for n in ours if n not in FREE)
        best_loss = best.run.get("position", {}).get("best_loss")
        return same_run and best_loss == self.position.best_loss


def _columns(split: str, ids: np.ndarray, batch_size: int) -> np.ndarray:
    """The split as columns, at least two rows of them: a word and the one that follows."""
    if len(ids) < 2 * batch_size:
        smaller = " or a smaller --batch-size" if split == "train" else ""
        raise UserError(
            f"the {split} text has {len(ids)} words, fewer than the {2 * batch_size} that "
            f"{batch_size} columns need; give more text{smaller}"
        )
    return batchify(ids, batch_size)
