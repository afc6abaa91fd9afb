"""A small corpus that every test of lm can train on in milliseconds, and runs on it."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lm.run.trainer
import minigrad as mg
from lm.arguments import Every
from lm.corpus import Corpus
from lm.model import RNNModel
from lm.run.observer import EpochEnd, Observer, Report
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model

NOUNS = ("cat", "dog", "mouse", "bird", "cow")
VERBS = ("saw", "likes", "chased", "heard")
SENTENCES = {"train": 60, "valid": 10, "test": 12}  # of six words, `<eos>` included


def text(split: str) -> str:
    """The sentences of one split, the same every time."""
    draw = random.Random(split)
    lines = (
        f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}\n"
        for _ in range(SENTENCES[split])
    )
    return "".join(lines)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus.from_text(*(text(split) for split in SENTENCES))


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split in SENTENCES:
        (folder / f"{split}.txt").write_text(text(split))
    return folder


# Of this corpus, an epoch is 13 batches, the last of them of 5 steps.
SMALL = {"emsize": 6, "nhid": 6, "epochs": 3, "batch_size": 4, "bptt": 7, "lr": 5.0}


@pytest.fixture
def make_trainer(corpus: Corpus, tmp_path: Path) -> Callable[..., Trainer]:
    """Makes a small run from some settings; it saves to model.safetensors in `folder`."""

    def make(
        corpus: Corpus = corpus,
        folder: Path = tmp_path,
        log_interval: int = 5,
        limit: int | None = None,
        save_every: Every | None = None,
        **settings: Any,
    ) -> Trainer:
        chosen = Settings(**{**SMALL, **settings})
        mg.manual_seed(chosen.seed)
        model = build_model(chosen, len(corpus.dictionary))
        path = folder / "model.safetensors"
        return Trainer(model, corpus, chosen, path, log_interval, limit, save_every)

    return make


class Watcher(Observer):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.reports: list[Report] = []
        self.epochs: list[EpochEnd] = []
        self.test_loss: float | None = None
        self.closed = False

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        self.batches.append((epoch, batch))

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def epoch_end(self, end: EpochEnd) -> None:
        self.epochs.append(end)

    def end(self, test_loss: float) -> None:
        self.test_loss = test_loss

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def watched() -> Callable[[Trainer], Watcher]:
    """Sets a Watcher on a run."""

    def watch(trainer: Trainer) -> Watcher:
        watcher = Watcher()
        trainer.observers.append(watcher)
        return watcher

    return watch


class Interrupt(Observer):
    """Presses Ctrl-C once a batch is done."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.when = (epoch, batch)

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        if (epoch, batch) == self.when:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupt() -> type[Interrupt]:
    return Interrupt


@pytest.fixture
def script_evaluate(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], list[Any]]:
    """Lets each evaluation give the next of some losses; returns the weights each was given."""

    def script(losses: list[float]) -> list[Any]:
        given: list[Any] = []

        def scripted(model: RNNModel, source: Any, bptt: int, **_: Any) -> float:
            given.append({name: w.copy() for name, w in model.state_dict().items()})
            return losses[len(given) - 1]

        monkeypatch.setattr(lm.run.trainer, "evaluate", scripted)
        return given

    return script
