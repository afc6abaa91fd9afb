"""What a person sees of a training run, and what a file keeps of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import textwrap
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from .console import SteadyOutput, UserError, printable, warn
from .steps import perplexity

RULE = "-" * 89
LONG = 30.0  # seconds of validation or test after which plain lines say how far it is
NARROW = 60  # columns, with fewer of which a bar has no room for the speed


@dataclass(frozen=True)
class Report:
    """The batches since the last report."""

    epoch: int
    batch: int  # batches done in this epoch
    batches: int  # batches of a whole epoch
    lr: float
    loss: float  # their mean, in nats per word
    grad_norm: float  # of the last of them, before clipping
    words: int
    seconds: float
    count: int  # batches in that time


@dataclass(frozen=True)
class EpochEnd:
    """An epoch, training and validation together."""

    epoch: int
    seconds: float
    valid_loss: float


class Observer:
    """Whatever wants to know how training goes."""

    def start(self, text: str) -> None:
        """Training is about to begin; `text` says with what."""

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        """A batch is done."""

    def early(self, report: Report) -> None:
        """What the first report would say if it came now; its batches come in that one again."""

    def report(self, report: Report) -> None:
        """A log interval, or an epoch's tail, is done."""

    def evaluating(self, doing: str, batch: int, batches: int, words: int) -> None:
        """A batch of a split is done that is not trained on; `doing` says what for."""

    def epoch_end(self, end: EpochEnd) -> None:
        """An epoch is done and validated."""

    def note(self, text: str) -> None:
        """Something that a person shall know, in one line."""

    def end(self, test_loss: float) -> None:
        """Training has ended, and the best model was tested."""

    def close(self) -> None:
        """Nothing more will come, whether training ended or failed."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint shall keep of it, under a name of its own. JSON can hold it."""
        return {}


class Lines(Observer):
    """Plain lines, in word_language_model's form.

    Where they can't be written, as to a full disk, training goes on without them. A reader who
    has stopped reading is a BrokenPipeError.
    """

    def __init__(self) -> None:
        self.output = SteadyOutput(sys.stdout)
        self._quiet_since = 0.0

    def write(self, line: str) -> None:
        self.output.write(printable(line) + "\n")
        self.output.flush()

    def note(self, text: str) -> None:
        self.write(f"| {text}")

    def command(self, text: str) -> None:
        """Something to copy: a line of its own, not wrapped."""
        self.write(f"| {text}")

    def early(self, report: Report) -> None:
        self.report(report)

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
    """A line of ours for a terminal of so many columns.

    One that is too long has fewer spaces, then no time per batch, which the bar shows as its
    speed, and then goes on below.
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
    """The same lines above a progress bar, for a person at a terminal."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__()
        self.epochs = epochs
        console = Console(file=cast(IO[str], self.output))
        speed = [TextColumn("{task.fields[speed]} words/s")] if console.width >= NARROW else []
        # Room is left for the ^C that a terminal shows: on a line of its own it would stay there.
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
        """The bar has shown already that it goes on."""

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        done = (epoch - 1) * batches + batch
        doing = f"epoch {epoch}/{self.epochs}"
        if self.task is None:  # a resumed run does not begin at 0
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
        self.progress.start()  # nothing if it has started
        return self.progress.add_task(doing, total=total, completed=done, speed="-")

    def _advance(self, task: Any, done: int, words: int, doing: str) -> None:
        elapsed = next(t.elapsed for t in self.progress.tasks if t.id == task)
        speed = f"{words / elapsed:,.0f}" if elapsed else "-"
        self.progress.update(task, completed=done, description=doing, speed=speed)

    def close(self) -> None:
        self.progress.stop()


class MetricsFile(Observer):
    """One JSON object a line for every report, appended and flushed.

    Each line carries the id of its run, `run`, and a run's first line in a file, the one with
    `"event": "start"`, what `header` holds. So it is also where a run goes on in another file,
    while in its own the header that is there stays the only one.

    A checkpoint keeps how long the file was, and a checksum of it: `resumed` is what it kept, and
    lines written after that, which the resumed run will write again, are cut off. A line that
    can't be written is left out with a warning. Raises UserError if there is a file with other
    lines than ours, which stays as it is, the file can't be opened for appending, or not even
    the first line can be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resumed: Mapping[str, Any] | None = None,
        run: str | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.run, self.header = path, run, header
        self.written = self.failed = False
        try:
            headers = _headers(path) if os.path.isfile(path) else {}
            self.file = open(path, "ab")  # noqa: SIM115 (see close)
            self.length, self.checksum = self._go_on(resumed or {})
        except OSError as error:
            raise UserError(f"can't write the metrics to {path}: {error.strerror}") from error
        if run in headers and headers[run] < self.length:
            self.header = None

    def _go_on(self, resumed: Mapping[str, Any]) -> tuple[int, int]:
        """Cut the file where the resumed run left it, if it is that run's file.

        Returns its length in bytes and their checksum.
        """
        if not os.path.isfile(self.path):  # a pipe or a device can only be written to
            return 0, 0
        contents = Path(self.path).read_bytes()
        length = resumed.get("bytes")
        if length is not None and zlib.crc32(contents[:length]) == resumed.get("crc32"):
            self.file.truncate(length)
            contents = contents[:length]
        elif contents and not contents.endswith(b"\n"):  # a kill has cut the last line
            self.file.write(b"\n")
            self.file.flush()
            contents += b"\n"
        return len(contents), zlib.crc32(contents)

    def start(self, text: str) -> None:
        if self.header is not None:
            self.write({"event": "start", **self.header, "time": time.time()})

    def write(self, record: dict[str, Any]) -> None:
        if self.run is not None:
            record = {"run": self.run, **record}
        # JSON has no infinity and no NaN.
        known = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in record.items()
        }
        line = (json.dumps(known) + "\n").encode()
        try:
            self._append(line)
        except OSError as error:
            reason = f"can't write the metrics to {self.path}: {error.strerror}"
            if not self.written:
                raise UserError(reason) from error
            if not self.failed:
                warn(f"{reason}; training goes on, and the next report tries again")
            self.failed = True
        else:
            self.written, self.failed = True, False
            self.length += len(line)
            self.checksum = zlib.crc32(line, self.checksum)

    def _append(self, line: bytes) -> None:
        """Write the whole line, or nothing of it."""
        try:
            written = os.write(self.file.fileno(), line)
            while written < len(line):
                written += os.write(self.file.fileno(), line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self.file.truncate(self.length)
            raise

    def state(self) -> dict[str, Any]:
        return {"metrics": {"bytes": self.length, "crc32": self.checksum}}

    def report(self, report: Report) -> None:
        self.write(
            {
                "epoch": report.epoch,
                "batch": report.batch,
                "lr": report.lr,
                "loss": report.loss,
                "perplexity": perplexity(report.loss),
                "grad_norm": report.grad_norm,
                "tokens_per_second": report.words / report.seconds,
                "seconds": report.seconds,
                "time": time.time(),
            }
        )

    def epoch_end(self, end: EpochEnd) -> None:
        self.write(
            {
                "epoch": end.epoch,
                "valid_loss": end.valid_loss,
                "valid_perplexity": perplexity(end.valid_loss),
                "seconds": end.seconds,
                "time": time.time(),
            }
        )

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written has been reported
            self.file.close()

    def end(self, test_loss: float) -> None:
        self.write(
            {
                "test_loss": test_loss,
                "test_perplexity": perplexity(test_loss),
                "time": time.time(),
            }
        )


# One of these names is in every line that a MetricsFile writes, and the time in all; in lines of
# earlier versions, which had no run, too. A line that a kill has cut begins as ours do.
NAMES = {"event", "batch", "valid_loss", "test_loss"}
BEGINNINGS = (b'{"run": "', b'{"epoch": ', b'{"test_loss": ')


def _headers(path: str | os.PathLike[str]) -> dict[str, int]:
    """The runs that have a header in a file of metrics, and where in it; UserError if it is none.

    A file that is empty may become one.
    """
    headers: dict[str, int] = {}
    place = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            record = _record(line)
            if record is None:
                raise UserError(
                    f"{path} is there and is no file of metrics (see its line {number}); "
                    "give --metrics another file"
                )
            if record.get("event") == "start":
                headers.setdefault(str(record.get("run")), place)
            place += len(line)
    return headers


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line of metrics holds, nothing if it is cut, or None if it is not ours."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        start = line[:10].rstrip()
        cut = len(start) > 1 and any(start.startswith(b) or b.startswith(start) for b in BEGINNINGS)
        return {} if cut else None
    ours = isinstance(record, dict) and "time" in record and not NAMES.isdisjoint(record)
    return record if ours else None


def watch(epochs: int) -> Lines:
    """A bar when a person is watching a terminal, plain lines otherwise."""
    return Bar(epochs) if sys.stdout is not None and sys.stdout.isatty() else Lines()
