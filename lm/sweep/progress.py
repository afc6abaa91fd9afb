"""The progress of a sweep: a bar for each running trial, or a line when one starts or ends."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..console import show
from .trial import Trial, read_metrics


class SweepProgress:
    """Says nothing, but knows how far the running trials are; see `watch_sweep`."""

    def start(self, todo: Mapping[Trial, Path], done: Mapping[Trial, Mapping[str, Any]]) -> None:
        """The trials to run, with their folders, and those that are done, with their numbers."""
        self.todo, self.total, self.left = dict(todo), len(todo) + len(done), dict(todo)
        self._epoch: dict[str, float] = {}  # the seconds of an epoch, where a seed has been trained
        self.shares: dict[Trial, float] = {}  # of the running trials, how much is done
        self._first: dict[Trial, float] = {}  # the same when this sweep started
        self._began = time.time()
        self._looked = 0.0
        for trial in todo:
            self._first[trial] = self._share(trial)
        for trial, numbers in done.items():
            self._learn(trial, numbers)

    def look(self) -> None:
        """Read how far the trials are, once a second."""
        if time.monotonic() - self._looked < 1:
            return
        self._looked = time.monotonic()
        for trial, folder in self.left.items():
            metrics = folder / "metrics.jsonl"
            if metrics.exists() and metrics.stat().st_mtime >= self._began:
                if trial not in self.shares:
                    self.started(trial)
                self.shares[trial] = self._share(trial)
        self.looked()

    def _share(self, trial: Trial) -> float:
        batches, done = 1, 0.0
        for record in read_metrics(self.todo[trial] / "metrics.jsonl"):
            batches = record.get("batches", batches)
            if "batch" in record:
                done = record["epoch"] - 1 + min(1.0, record["batch"] / batches)
        return done / trial.settings.epochs

    def ended(self, trial: Trial, numbers: Mapping[str, Any]) -> None:
        """A trial has a result."""
        self.left.pop(trial, None)
        self.shares.pop(trial, None)
        self._learn(trial, numbers)
        self.told(trial, numbers)

    def _learn(self, trial: Trial, numbers: Mapping[str, Any]) -> None:
        if epochs := numbers["epochs"]:
            self._epoch[trial.config] = statistics.mean(e["total_seconds"] for e in epochs)

    @property
    def count(self) -> str:
        return f"{self.total - len(self.left)}/{self.total}"

    def time_left(self) -> str:
        """Estimated from the epochs that this sweep has trained and those that are left."""
        usual = statistics.mean(self._epoch.values() or [1.0])
        done = wanted = 0.0
        for trial, first in self._first.items():
            share = self.shares.get(trial, first) if trial in self.left else 1.0
            cost = trial.settings.epochs * self._epoch.get(trial.config, usual)
            done += (share - first) * cost
            wanted += (1 - share) * cost
        if not done:
            return "?"
        minutes, seconds = divmod(round((time.time() - self._began) * wanted / done), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"

    def started(self, trial: Trial) -> None: ...

    def looked(self) -> None: ...

    def told(self, trial: Trial, numbers: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class SweepLines(SweepProgress):
    """A plain line when a trial starts or ends."""

    def started(self, trial: Trial) -> None:
        self.note(f"{self.count} done | {trial.name} starts")

    def told(self, trial: Trial, numbers: Mapping[str, Any]) -> None:
        self.note(f"{self.count} done | {trial.name}: {outcome(numbers)} | {self.time_left()} left")

    def note(self, text: str) -> None:
        show(f"| {text}")


class SweepBars(SweepLines):
    """A bar for each running trial and one for all, for a terminal."""

    def start(self, todo: Mapping[Trial, Path], done: Mapping[Trial, Mapping[str, Any]]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        super().start(todo, done)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            transient=True,
        )
        self.all = self.progress.add_task("all", total=self.total)
        self.bars: dict[Trial, Any] = {}
        self.progress.start()

    def started(self, trial: Trial) -> None:
        self.bars[trial] = self.progress.add_task(trial.name, total=1.0)

    def looked(self) -> None:
        for trial, bar in self.bars.items():
            self.progress.update(bar, completed=self.shares.get(trial, 1.0))
        done = self.total - len(self.left) + sum(self.shares.values())
        said = f"{self.count} trials, {self.time_left()} left"
        self.progress.update(self.all, completed=done, description=said)

    def told(self, trial: Trial, numbers: Mapping[str, Any]) -> None:
        if (bar := self.bars.pop(trial, None)) is not None:
            self.progress.remove_task(bar)
        self.note(f"{trial.name}: {outcome(numbers)}")

    def note(self, text: str) -> None:
        self.progress.console.print(f"| {text}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.progress.stop()


def outcome(numbers: Mapping[str, Any]) -> str:
    """What has become of a trial, in a few words."""
    if numbers["status"] != "done":
        return f"{numbers['status']}: {numbers['reason']}"
    return f"valid ppl {numbers['best_valid_ppl']:.2f}, test ppl {numbers['test_ppl']:.2f}"


def watch_sweep() -> SweepProgress:
    """Bars if standard output is a terminal, plain lines otherwise."""
    return SweepBars() if sys.stdout is not None and sys.stdout.isatty() else SweepLines()
