"""The progress of a run as a page of HTML."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..console import UserError
from ..frequency import by_frequency, occurrences
from ..report.data import Run, read_runs
from ..report.page import must_be_ours, runs_on, update
from .clock import Clock
from .insight import improves, samples
from .metrics import end_record, epoch_record, finite, report_record
from .observer import EpochEnd, Observer, Report
from .trainer import Trainer


class ReportPage(Observer):
    """A page that is written anew after every epoch and at the end.

    What a resumed run had reported before is read from the page, or else from its metrics file.
    With a clock, the page also has the flow chart with the shares of this process so far. A page
    that can't be written is left out with a warning. Raises UserError if the file is not a page of
    ours (it is not changed then), or no file can be created there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        trainer: Trainer,
        header: Mapping[str, Any],
        metrics: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        must_be_ours(path, "--report")
        self.path, self.trainer, self.clock = path, trainer, clock
        words, source = len(trainer.state.vocabulary), trainer.train_source
        self.counts = occurrences(source, words)
        self.run = self._earlier(metrics)
        self.run.header = dict(header)
        position = trainer.state.position
        self.run.cut(position.epoch, position.batch)

    def _earlier(self, metrics: str | os.PathLike[str] | None) -> Run:
        """What is known of this run already."""
        id = self.trainer.state.id
        runs = [run for run in runs_on(self.path) if run.id == id]
        if not runs and metrics is not None and os.path.isfile(metrics):
            runs = [run for run in _runs_in(metrics) if run.id == id]
        return Run("", id, records=runs[0].records, extras=runs[0].extras) if runs else Run("", id)

    def report(self, report: Report) -> None:
        self.run.add(finite(report_record(report)))

    def epoch_end(self, end: EpochEnd) -> None:
        self.run.add(finite(epoch_record(end)))
        with self._unmeasured():
            if improves(self.trainer.state, end.valid_loss):
                self._look(end.epoch)
            self._write()

    def end(self, test_loss: float) -> None:
        self.run.add(end_record(test_loss))
        with self._unmeasured():
            if "epoch" not in self.run.extras:  # a page that was lost, or no epoch was completed
                best = self.run.best()
                self._look(int(best[1]) if best else self.trainer.state.position.epoch)
            self._write()

    def _unmeasured(self) -> AbstractContextManager[None]:
        return self.clock.paused() if self.clock else nullcontext()

    def _look(self, epoch: int) -> None:
        """See what the model of this epoch, the best so far, has learnt."""
        trainer, state = self.trainer, self.trainer.state
        source, bptt = trainer.valid_source, trainer.settings.bptt
        self.run.extras = {
            "epoch": epoch,
            "samples": samples(state),
            "words": by_frequency(state.model, source, bptt, self.counts, state.vocabulary),
        }

    def _write(self) -> None:
        if self.clock:
            self.run.extras["shares"] = self.clock.shares(self.trainer.settings.nlayers)
        update(self.path, [self.run])


def _runs_in(metrics: str | os.PathLike[str]) -> Sequence[Run]:
    try:
        return read_runs([metrics])
    except UserError:  # it is empty
        return []
