"""The progress of a run on standard output: plain lines, or lines above a bar."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from typing import IO, Any, cast

from ..console import SteadyOutput, printable
from ..steps import perplexity
from .observer import EpochEnd, Observer, Report

RULE = "-" * 89
LONG = 30.0  # seconds of validation or test between plain lines about it
NARROW = 60  # columns, with fewer of which a bar has no room for the speed


class Lines(Observer):
    """Plain lines, in word_language_model's form.

    If they can't be written, for example to a full disk, training continues without them. A closed
    pipe is a BrokenPipeError.
    """

    def __init__(self) -> None:
        self.output = SteadyOutput(sys.stdout)
        self._quiet_since = 0.0

    def write(self, line: str) -> None:
        self.output.write(printable(line) + "\n")
        self.output.flush()

    def note(self, text: str) -> None:
        self.write(f"| {text}")

    command = note  # a command to copy is a line that is never wrapped

    def evaluating(self, doing: str, batch: int, batches: int, words: int) -> None:
        now = time.monotonic()
        if batch == 1:
            self._quiet_since = now
        elif now - self._quiet_since > LONG:
            self._quiet_since = now
            self.note(f"{doing} | {batch:5d}/{batches:5d} batches")

    def start(self, text: str) -> None:
        self.write(text)

    def report(self, report: Report) -> None:
        milliseconds = 1000 * report.seconds / report.count
        self.write(
            f"| epoch {report.epoch:3d} | {report.batch:5d}/{report.batches:5d} batches "
            f"| lr {report.lr:02.2f} | ms/batch {milliseconds:5.2f} "
            f"| loss {report.loss:5.2f} | ppl {perplexity(report.loss):8.2f}"
        )

    early = report

    def epoch_end(self, end: EpochEnd) -> None:
        self.write(RULE)
        self.write(
            f"| end of epoch {end.epoch:3d} | time: {end.seconds:5.2f}s "
            f"| valid loss {end.valid_loss:5.2f} | valid ppl {perplexity(end.valid_loss):8.2f}"
        )
        self.write(RULE)

    def end(self, test_loss: float) -> None:
        self.write(RULE.replace("-", "="))
        self.write(
            f"| End of training | test loss {test_loss:5.2f} "
            f"| test ppl {perplexity(test_loss):8.2f}"
        )
        self.write(RULE.replace("-", "="))


def fitted(line: str, width: int) -> str:
    """A line of ours for a terminal of `width` columns.

    If it is too long, it first loses spaces, then the time per batch (the bar shows the speed),
    and is then wrapped.
    """
    if len(line) <= width:
        return line
    if not line.strip("-="):
        return line[:width]
    line = re.sub("(?<=[ /]) +", "", line)
    if len(line) > width:
        line = re.sub(r" \| ms/batch [\d.]+", "", line)
    first, *cells = line.split(" | ")
    rows = [first]
    for cell in cells:
        if len(rows[-1]) + len(f" | {cell}") <= width:
            rows[-1] += f" | {cell}"
        else:
            rows.append(f"| {cell}")
    return "\n".join(rows)


class Bar(Lines):
    """The same lines above a progress bar, for a terminal."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__()
        self.epochs = epochs
        console = Console(file=cast(IO[str], self.output))
        speed = [TextColumn("{task.fields[speed]} words/s")] if console.width >= NARROW else []
        # Leave room for the ^C that a terminal shows: on a line of its own it would stay there.
        room = console.width - (50 if speed else 33)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(room, 5)),
            TextColumn("{task.percentage:3.0f}%"),
            *speed,
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )
        self.task: Any = None  # the bar of the whole run
        self.evaluation: Any = None  # the bar in its place during validation and test
        self.words = 0

    def write(self, line: str) -> None:
        self._print(fitted(line, self.progress.console.width))

    def note(self, text: str) -> None:
        self._print("| " + "\n| ".join(textwrap.wrap(text, self.progress.console.width - 2)))

    def command(self, text: str) -> None:
        self._print(f"| {text}")

    def _print(self, text: str) -> None:
        text = "\n".join(map(printable, text.splitlines()))
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def early(self, report: Report) -> None:
        """Nothing: the bar shows the progress already."""

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        done = (epoch - 1) * batches + batch
        doing = f"epoch {epoch}/{self.epochs}"
        if self.task is None:  # a resumed run does not start at 0
            self.task = self._add(doing, self.epochs * batches, done)
            return
        self.words += words
        self._advance(self.task, done, self.words, doing)

    def evaluating(self, doing: str, batch: int, batches: int, words: int) -> None:
        if batch == 1:
            self._show_training(False)
            self.evaluation = self._add(doing, batches, 0)
        self._advance(self.evaluation, batch, words, doing)
        if batch == batches:
            self.progress.remove_task(self.evaluation)
            self._show_training(True)

    def _show_training(self, visible: bool) -> None:
        if self.task is not None:
            self.progress.update(self.task, visible=visible)

    def _add(self, doing: str, total: int, done: int) -> Any:
        self.progress.start()  # does nothing if it has started
        return self.progress.add_task(doing, total=total, completed=done, speed="-")

    def _advance(self, task: Any, done: int, words: int, doing: str) -> None:
        elapsed = next(t.elapsed for t in self.progress.tasks if t.id == task)
        speed = f"{words / elapsed:,.0f}" if elapsed else "-"
        self.progress.update(task, completed=done, description=doing, speed=speed)

    def close(self) -> None:
        self.progress.stop()


def watch(epochs: int) -> Lines:
    """A bar if standard output is a terminal, plain lines otherwise."""
    return Bar(epochs) if sys.stdout is not None and sys.stdout.isatty() else Lines()
