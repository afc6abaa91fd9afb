"""The loop over epochs: train, report, validate, lower the learning rate, save; then test."""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path

import numpy as np

from minigrad import AnomalyError, detect_anomaly, keep_freed_memory

from ..arguments import Every
from ..batches import columns, count_batches, get_batch
from ..checkpoint import Checkpoint, is_checkpoint
from ..corpus import Corpus, hash_of
from ..model import RNNModel, as_tuple
from ..settings import EVAL_BATCH_SIZE, Settings
from ..steps import evaluate, train_step
from .divergence import DivergenceWatch, where
from .losses import Losses
from .observer import EpochEnd, Observer, Report
from .part import part_of
from .position import Stopwatch
from .ranks import ALONE, Alone, share
from .saving import NotSaving, Saver, latest_path
from .state import RunState
from .stopping import StopRequest

FIRST_REPORT = 5.0  # seconds after which there is a report, however long the interval


class Trainer:
    """A training run.

    `best_path` receives the model with the best validation loss. `latest_path`, from which `resume`
    continues, receives the state after every epoch, within an epoch as often as `save_every` says,
    and at Ctrl-C or SIGTERM. `limit` is the most batches of each split. `detect_anomaly` finds the
    first operation whose result is not finite. Each batch is computed in so many `pieces`, with the
    columns of one in memory at a time. Several `ranks` share the columns of each batch, and decide
    together when to report, save and stop; the first of them reports and saves. Raises UserError if
    a split is too short or `best_path` can't be written to.
    """

    def __init__(
        self,
        model: RNNModel,
        corpus: Corpus,
        settings: Settings,
        best_path: str | os.PathLike[str],
        log_interval: int = 200,
        limit: int | None = None,
        save_every: Every | None = None,
        detect_anomaly: bool = False,
        pieces: int = 1,
        ranks: Alone = ALONE,
    ) -> None:
        self.ranks = ranks
        first = ranks.rank == 0
        self.saver = ranks.each(
            lambda: Saver(Path(best_path), save_every) if first else NotSaving()
        )
        self.best_path, self.latest_path = Path(best_path), latest_path(Path(best_path))
        words, text = corpus.dictionary.idx2word, hash_of(corpus.valid)
        self.state = RunState(model, settings, words, ranks, text)
        self.model, self.settings = model, self.state.settings
        self.unknown, self.words = corpus.unknown, len(corpus.train)
        self.observers: list[Observer] = []
        self.log_interval = log_interval
        self.detect_anomaly = detect_anomaly
        self.epochs = settings.epochs
        rows = None if limit is None else limit * settings.bptt + 1
        self.train_source = columns("train", corpus.train, settings.batch_size)[:rows]
        self.valid_source = columns("valid", corpus.valid, EVAL_BATCH_SIZE)[:rows]
        self.test_source = columns("test", corpus.test, EVAL_BATCH_SIZE)[:rows]
        self.batches = count_batches(self.train_source, settings.bptt)
        mine = self.state.columns
        self.own_source = self.train_source[:, mine]
        self.own_part = part_of(model, mine, settings.batch_size, pieces)
        self.divergence = DivergenceWatch(
            "" if detect_anomaly else ", or find the cause with --detect-anomaly"
        )
        self.stop = StopRequest()
        self.stopping = False  # whether a stop has been requested on any rank
        self._has_reported = self._said_stopping = False

    def resume(self, checkpoint: Checkpoint) -> None:
        """Continue from where the checkpoint was saved.

        Raises UserError unless the corpus was read with the vocabulary of the checkpoint, or if the
        best model on another validation text would be replaced.
        """
        self.state.restore(checkpoint)
        self.ranks.each(lambda: self.saver.resume(checkpoint, self.state.text))

    def fit(self) -> float:
        """Train to the last epoch, Ctrl-C or SIGTERM; returns the best model's test loss.

        Raises UserError if training diverges, or its result can't be saved.
        """
        keep_freed_memory()
        self.ranks.listen(self.stop)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.stop)
            for observer in self.observers:
                stack.callback(observer.close)
                observer.start(self.state.summary(self.unknown))
            self._note_before()
            # Divergence is reported in one line, by the watch, and not by NumPy's warnings.
            stack.enter_context(np.errstate(all="ignore"))
            if self.detect_anomaly:
                stack.enter_context(detect_anomaly())
            self.saver.begin()
            try:
                self._decide()
                while self.unfinished and not self.stopping:
                    self.train_epoch()
                    if not self.stopping:
                        self.end_epoch()
                        self._decide()
            except BrokenPipeError:  # nobody reads the lines any more: save the state
                if self.ranks.size == 1:  # others are not where they could take part
                    self.saver.latest(self.checkpoint())
                raise
            self._note_stopping()
            return self.finish()

    @property
    def unfinished(self) -> bool:
        """Whether there are more epochs to train."""
        return self.state.position.epoch <= self.epochs

    def train_epoch(self) -> None:
        """Train on the rest of this epoch, with a report after every interval."""
        state, position = self.state, self.state.position
        self.model.train()
        if position.batch == 0:
            state.reset_hidden()
        state.losses.restart_clock()
        watch = Stopwatch()
        while position.batch < self.batches and not self.stopping:
            words = self._step()
            for observer in self.observers:
                observer.batch(position.epoch, position.batch, self.batches, words)
            long = not self._has_reported and state.losses.seconds >= FIRST_REPORT
            save, early = self._decide(self.saver.due(), long)
            if position.batch % self.log_interval == 0 or position.batch == self.batches:
                self._report()
            elif early:
                self._report(early=True)
            self._note_stopping()
            wall, cpu = watch.lap()
            position.train_seconds += wall
            position.cpu_seconds += cpu
            if save:
                self.saver.latest(self.checkpoint())

    def _decide(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set on any rank. All learn of a request to stop."""
        self.ranks.alive()
        self.stopping, *decided = self.ranks.any(self.stop.requested, *flags)
        return tuple(decided)

    def _step(self) -> int:
        """Train on the next chunk; returns its number of words, of all ranks."""
        state, position, settings = self.state, self.state.position, self.settings
        data, target = get_batch(self.own_source, position.batch * settings.bptt, settings.bptt)
        try:
            loss, norm, hidden = train_step(
                self.own_part,
                state.optimizer,
                data,
                target,
                state.hidden,
                settings.clip,
                self.ranks.clip_grad_norm_,
            )
        except AnomalyError as error:
            place = where(position.batch + 1, position.epoch, state.optimizer.lr)
            fault = f"{error}; at {place}"
            raise self.divergence.error(fault, self.saver.last_good) from error
        state.hidden = as_tuple(hidden)
        words = len(data) * settings.batch_size
        state.losses.add(loss.data, norm, words)
        position.batch += 1
        return words

    def end_epoch(self) -> None:
        """Validate; lower the learning rate; save, and keep the model if it is the best."""
        state, settings, epoch = self.state, self.settings, self.state.position.epoch
        trained, cpu = state.position.train_seconds, state.position.cpu_seconds
        started = time.perf_counter()
        loss = self.validate()
        seconds = trained + time.perf_counter() - started
        words = (len(self.train_source) - 1) * settings.batch_size
        end = EpochEnd(epoch, seconds, loss, trained, cpu, words)
        for observer in self.observers:
            observer.epoch_end(end)
        if not math.isfinite(loss):
            self.divergence.fault = f"the validation loss is {loss} after epoch {epoch}"
            self._end_if_diverged()
        improved = state.position.end_epoch(loss)
        decay = not improved if settings.decay_after is None else epoch >= settings.decay_after
        if decay:
            state.optimizer.lr /= settings.lr_decay
        checkpoint = self.checkpoint()
        self.saver.best(checkpoint, loss)
        self.saver.latest(checkpoint)

    def finish(self) -> float:
        """Save the latest state for the last time; returns the test loss of the best model."""
        checkpoint = self.checkpoint()
        self.saver.latest(checkpoint, last=True)
        if self.saver.kept_loss is None:  # stopped before the first validation
            self.saver.best(checkpoint, None)
        self.model.load_state_dict(self.ranks.first(lambda: self.saver.best_model(checkpoint)))
        loss = self.test()
        for observer in self.observers:
            observer.end(loss)
        self.ranks.first(self.saver.finish)
        return loss

    def validate(self) -> float:
        return self._evaluate("validating", self.valid_source)

    def test(self) -> float:
        return self._evaluate("testing", self.test_source)

    def _evaluate(self, doing: str, source: np.ndarray) -> float:
        """The loss over a split, with its progress reported. Each rank takes some columns."""
        total = source.shape[1]
        mine = source[:, share(self.ranks.rank, self.ranks.size, total)]

        def tell(batch: int, batches: int, words: int) -> None:
            self.ranks.alive()
            for observer in self.observers:
                observer.evaluating(doing, batch, batches, words * total // mine.shape[1])
            self._note_stopping(self.stop.requested)  # no batch comes before the next decision

        part = 0.0
        if mine.shape[1]:  # all columns have the same number of words
            loss = evaluate(self.model, mine, self.settings.bptt, progress=tell)
            part = loss * (mine.shape[1] / total)
        return self.ranks.sum([part])[0]

    def checkpoint(self) -> Checkpoint:
        """The whole run as it is now. Raises UserError if it has diverged."""
        self._read_losses()
        checkpoint = self.state.checkpoint()
        for observer in self.observers:
            checkpoint.run |= observer.state()
        states = {f"the hidden state {i}": h for i, h in checkpoint.hidden.items()}
        position, lr = self.state.position, self.state.optimizer.lr
        self.divergence.check_arrays({**checkpoint.model, **states}, position, lr)
        self._end_if_diverged()
        return checkpoint

    def _read_losses(self) -> None:
        steps = self.state.losses.read(self.ranks)
        self.divergence.check_steps(steps, self.state.position, self.state.optimizer.lr)

    def _report(self, early: bool = False) -> None:
        """Tell the observers the mean loss; raises UserError if training has diverged.

        An early report is an extra one: the interval continues.
        """
        self._read_losses()
        position, losses = self.state.position, self.state.losses
        place = where(position.batch, position.epoch, self.state.optimizer.lr)
        self.ranks.must_be_equal(f"the weights after {place}", self.state.fingerprint)
        report = Report(
            epoch=position.epoch,
            batch=position.batch,
            batches=self.batches,
            lr=self.state.optimizer.lr,
            loss=losses.mean,
            grad_norm=losses.norm,
            words=losses.words,
            seconds=losses.seconds,
            count=losses.batches,
        )
        self._has_reported = True
        if not early:
            self.state.losses = Losses()
        for observer in self.observers:
            if early:
                observer.early(report)
            else:
                observer.report(report)
        self._end_if_diverged()

    def _end_if_diverged(self) -> None:
        """Raise UserError, on all ranks, if a value was not finite."""
        self.ranks.first(lambda: self.divergence.raise_if_found(self.saver.last_good))

    def _note(self, text: str) -> None:
        for observer in self.observers:
            observer.note(text)

    def _note_before(self) -> None:
        """Say what may surprise the user about the run that begins."""
        if not self.unfinished:
            self._note(
                f"nothing is left to train: {self.state.position.epoch - 1} epochs are done; "
                "a larger --epochs continues"
            )
        elif self.saver.last_good is None and is_checkpoint(self.best_path):
            self._note(
                f"{self.best_path} holds the best model of another run, which this one replaces; "
                "another --save keeps it"
            )

    def _note_stopping(self, requested: bool = False) -> None:
        """Say once that the run is stopping, if it is not at its end.

        It does not stop at a request but when that is decided, after the next batch.
        """
        if (requested or self.stopping) and self.unfinished and not self._said_stopping:
            self._said_stopping = True
            self._note("stopping: the state is saved, and the best model so far is tested")
