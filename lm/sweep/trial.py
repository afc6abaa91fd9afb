"""A trial: one training run of a sweep, in a folder and a process of its own.

The folder has settings.json, metrics.jsonl, model.safetensors, model.latest.safetensors, and at the
end result.json. A trial whose process died goes on from its latest state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a signal during the slow imports ends the process in one line
    from lm.console import leave_at_signals

    leave_at_signals()

from minigrad.cells import CELLS

from ..arguments import Every
from ..checkpoint import Checkpoint, load_checkpoint
from ..console import UserError, run_command
from ..files import replace_file
from ..results import write_result
from ..run.divergence import Diverged
from ..run.metrics import MetricsFile, header, read_record
from ..run.observer import Observer
from ..run.start import start
from ..run.stopping import StopRequest
from ..run.trainer import Trainer
from ..settings import Settings, resolved
from ..steps import perplexity

SAVE_EVERY = Every(seconds=120.0)
LOG_INTERVAL = 50  # batches, after which the metrics and the progress have a new line
STOP = "stop"  # a file of this name beside the trials asks all of them to stop


@dataclass(frozen=True)
class Trial:
    """One training run of a sweep."""

    settings: Settings

    @property
    def name(self) -> str:
        """Made from the settings that are not the defaults, and the seed; fit for a folder."""
        return f"{self.config}_seed-{self.settings.seed}"

    @property
    def config(self) -> str:
        """The name without the seed: the same for all trials that differ only in it."""
        return "_".join([self.settings.model.lower(), *map(_word, _varied(self.settings).items())])

    @property
    def command(self) -> list[str]:
        """The words that train the same model alone."""
        values = {"model": self.settings.model, **_varied(self.settings)}
        values |= {"data": self.settings.data, "seed": self.settings.seed}
        given = {name.replace("_", "-"): v for name, v in values.items() if v is not None}
        words = ["python", "examples/train_ptb.py"]
        for name, value in given.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return words

    def as_dict(self) -> dict[str, Any]:
        """The settings of the trial, resolved, without the backend."""
        settings = self.settings.resolved().as_dict()
        del settings["backend"]
        return settings


def _varied(settings: Settings) -> dict[str, Any]:
    """The settings that are not the defaults, but the text, the cell, the seed and the backend."""
    defaults = Settings().as_dict()
    values = settings.as_dict()
    if values["lr"] is not None and values["lr"] == CELLS[settings.model].sgd_lr:
        values["lr"] = None
    skipped = ("data", "backend", "model", "seed")
    return {n: v for n, v in values.items() if n not in skipped and v != defaults[n]}


def _word(item: tuple[str, Any]) -> str:
    """A setting as a part of a name. No two values give the same word."""
    name, value = item[0].replace("_", "-"), item[1]
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    text = repr(value) if isinstance(value, float) else str(value)
    return f"{name}-{text.removesuffix('.0').replace('+', '')}"


# -------------------------------------------------------------------- the folder


def result_of(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The numbers of the trial in a folder, or None if it is not done.

    Raises UserError if the folder holds a trial of other settings, or can't be read.
    """
    for name in ("settings.json", "result.json"):
        path = folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            there = resolved(found["settings"])  # also of an earlier version, with fewer
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"can't read {path}: {error}; remove the folder to start anew"
            ) from None
        if there != dict(settings):
            raise UserError(
                f"{folder} holds a trial with other settings; name another folder for the trials"
            )
        if name == "result.json":
            numbers: dict[str, Any] = found["numbers"]
            return numbers
    return None


def write_trial(folder: Path, trial: Trial, **numbers: Any) -> None:
    """Write result.json, whole or not at all: what is known of the epochs, and `numbers`."""
    records = read_metrics(folder / "metrics.jsonl")
    epochs = list(_epochs(records))
    losses = [e["valid_ppl"] for e in epochs if e["valid_ppl"] is not None]
    peaks = [e["peak_memory"] for e in epochs if e["peak_memory"] is not None]
    seconds = sum(e["total_seconds"] for e in epochs)
    found = {
        "parameters": next((r["parameters"] for r in records if "parameters" in r), None),
        "epochs": epochs,
        "best_valid_ppl": min(losses, default=None),
        "peak_memory": max(peaks, default=None),
        "test_loss": None,
        "test_ppl": None,
    }
    path, settings, seed = folder / "result.json", trial.as_dict(), trial.settings.seed
    write_result(path, trial.command, settings, [seed], seconds, {**found, **numbers})


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, without one that is still being written."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    return [record for record in map(read_record, lines) if record]


def _epochs(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    lr = None
    for record in records:
        lr = record.get("lr", lr)
        if "valid_loss" in record:
            yield {
                "epoch": record["epoch"],
                "valid_loss": record["valid_loss"],
                "valid_ppl": record["valid_perplexity"],
                "lr": lr,
                "train_seconds": record["train_seconds"],
                "cpu_seconds": record["cpu_seconds"],
                "total_seconds": record["seconds"],
                "tokens_per_second": record["tokens_per_second"],
                "peak_memory": record["peak_memory"],
            }


@contextlib.contextmanager
def locked(folder: Path, stop: StopRequest) -> Iterator[bool]:
    """Keep other processes out of a folder; False if asked to stop while waiting for one.

    A worker that was given up may still be at work. The system opens the lock when a process dies.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        yield True
        return
    with open(folder / "lock", "w", encoding="utf-8") as file:
        while not stop.requested:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
        yield not stop.requested


# -------------------------------------------------------------------- training


class Stopped(Exception):
    """The trial was asked to stop, and its latest state is saved."""


class Stopping(Observer):
    """Asks a run to stop when a file exists, which it looks for once a second.

    The test of a model that is not finished, with which a run stops, is left out.
    """

    def __init__(self, path: Path, trainer: Trainer) -> None:
        self.path, self.trainer = path, trainer
        self._looked = 0.0

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        if time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            stop = self.trainer.stop
            stop.requested = stop.requested or self.path.exists()

    def evaluating(self, doing: str, batch: int, batches: int, words: int) -> None:
        if doing == "testing" and self.trainer.unfinished:
            raise Stopped


def run_trial(folder: Path, settings: Settings) -> None:
    """Train in `folder` what is not trained yet. A trial that can't end well says so in its result.

    A trial that is asked to stop has no result, and goes on the next time. Raises UserError if the
    folder holds a trial of other settings.
    """
    trial = Trial(settings)
    with StopRequest() as stop, locked(folder, stop) as ours:
        if not ours or result_of(folder, trial.as_dict()) is not None:
            return
        kept = json.dumps({"settings": trial.as_dict()}, indent=1) + "\n"
        replace_file(folder / "settings.json", kept.encode())
        notes: list[str] = []
        try:
            loss = _train(folder, settings, stop, notes)
            if loss is not None:
                done = {"status": "done", "reason": "; ".join(notes)}
                write_trial(folder, trial, **done, test_loss=loss, test_ppl=perplexity(loss))
        except Diverged as error:
            write_trial(folder, trial, status="diverged", reason=error.fault)
        except MemoryError:
            write_trial(folder, trial, status="failed", reason="out of memory")
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            reason = " ".join(f"{kind}{error}".split())
            write_trial(folder, trial, status="failed", reason=reason)


def _train(folder: Path, settings: Settings, stop: StopRequest, notes: list[str]) -> float | None:
    """Train to the end; returns the test loss, or None if asked to stop before."""
    best, metrics = folder / "model.safetensors", folder / "metrics.jsonl"

    def new() -> Trainer:
        return start(settings, best, log_interval=LOG_INTERVAL, save_every=SAVE_EVERY)

    trainer, checkpoint = new(), None
    try:
        checkpoint = _leftover(trainer)
    except (UserError, ValueError, KeyError, TypeError) as error:
        notes.append(f"started anew, since its latest state could not be used: {error}")
        trainer = new()
    if checkpoint is None:  # what a process left that died before it had saved
        for path in (metrics, best, trainer.latest_path):
            path.unlink(missing_ok=True)
    trainer.stop = stop
    kept = checkpoint.run.get("metrics") if checkpoint else None
    first = header(trainer.state, trainer.batches)
    lines = MetricsFile(metrics, kept, trainer.state.id, first)
    trainer.observers += [lines, Stopping(folder.parent / STOP, trainer)]
    try:
        return trainer.fit()
    except Stopped:
        trainer.saver.finish()
        return None


def _leftover(trainer: Trainer) -> Checkpoint | None:
    """Continue from the latest state, if there is one; UserError if it can't be used."""
    if not trainer.latest_path.exists():
        return None
    checkpoint = load_checkpoint(trainer.latest_path)
    now, then = trainer.settings.as_dict(), resolved(checkpoint.settings)
    if any(now[name] != then.get(name) for name in now if name != "backend"):
        raise UserError(f"{trainer.latest_path} is of other settings")
    trainer.resume(checkpoint)
    return checkpoint


# -------------------------------------------------------------------- the process


def main(argv: Sequence[str]) -> None:
    folder, settings = argv
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_trial(Path(folder), Settings(**json.loads(settings)))


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: a new one may start the trial."""
    os.read(0, 1)  # not `sys.stdin`, whose lock would abort the end of the interpreter
    os._exit(1)


def settings_text(settings: Settings) -> str:
    return json.dumps(dataclasses.asdict(settings))


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
