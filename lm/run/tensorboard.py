"""The progress of a run for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

from ..console import UserError, need, warn
from ..steps import perplexity
from .insight import improves, samples
from .observer import EpochEnd, Observer, Report
from .trainer import Trainer


class TensorBoard(Observer):
    """Event files in a folder; a step is a batch since the start of the run.

    A resumed run hides what it had written after the batch from which it continues. Events are
    written in this thread, since the thread of tensorboardX's `SummaryWriter` would end at a full
    disk, and training wait for it for ever. Raises UserError if tensorboardX is missing or the
    folder can't be written to.
    """

    def __init__(self, folder: str | os.PathLike[str], trainer: Trainer) -> None:
        self.folder, self.trainer, self.failed = os.fspath(folder), trainer, False
        writers, self.event, self.summary = (
            need(f"tensorboardX.{name}", "'.[tensorboard]'")
            for name in ("event_file_writer", "proto.event_pb2", "summary")
        )
        try:
            os.makedirs(folder, exist_ok=True)
            unique = f".{time.time_ns()}"  # a run may be resumed within the second
            self.writer = writers.EventsWriter(os.path.join(self.folder, "events"), unique)
            self.writer.flush()
        except OSError as error:
            raise UserError(f"can't write to --tensorboard {folder}: {error.strerror}") from error

    def step(self, epoch: int, batch: int) -> int:
        return (epoch - 1) * self.trainer.batches + batch

    def start(self, text: str) -> None:
        position = self.trainer.state.position
        step = self.step(position.epoch, position.batch)
        if step:
            session = self.event.SessionLog(status=self.event.SessionLog.START)
            self._add(self.event.Event(session_log=session, step=step + 1))
        settings = json.dumps(self.trainer.settings.as_dict(), indent=2)
        self._text("settings", f"{text}\n\n{settings}", step)
        self._flush()

    def report(self, report: Report) -> None:
        self._scalars(
            self.step(report.epoch, report.batch),
            {
                "train/loss": report.loss,
                "train/perplexity": perplexity(report.loss),
                "train/lr": report.lr,
                "train/grad_norm": report.grad_norm,
                "train/words_per_second": report.words / report.seconds,
            },
        )

    def epoch_end(self, end: EpochEnd) -> None:
        step = self.step(end.epoch + 1, 0)
        loss = end.valid_loss
        self._scalars(step, {"valid/loss": loss, "valid/perplexity": perplexity(loss)})
        if improves(self.trainer.state, loss):
            for temperature, words in samples(self.trainer.state).items():
                self._text(f"samples/temperature {temperature}", words, step)
        self._flush()

    def end(self, test_loss: float) -> None:
        position = self.trainer.state.position
        step = self.step(position.epoch, position.batch)
        self._scalars(step, {"test/loss": test_loss, "test/perplexity": perplexity(test_loss)})

    def close(self) -> None:
        try:
            self.writer.close()
        except OSError as error:
            self._warn(error)

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        for tag, value in values.items():
            if not math.isnan(value):
                summary = self.summary.scalar(tag, value)
                self._add(self.event.Event(summary=summary, step=step))
        self._flush()

    def _text(self, tag: str, text: str, step: int) -> None:
        """Text as it is: TensorBoard reads Markdown, in which indented lines are code."""
        code = "".join(f"    {line}\n" for line in text.splitlines())
        self._add(self.event.Event(summary=self.summary.text(tag, code), step=step))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        try:
            self.writer.write_event(event)
        except OSError as error:
            self._warn(error)

    def _flush(self) -> None:
        try:
            self.writer.flush()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self.failed:
            warn(
                f"can't write to --tensorboard {self.folder}: {error.strerror}; training continues"
            )
        self.failed = True
