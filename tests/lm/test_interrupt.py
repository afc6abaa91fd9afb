"""Ctrl-C ends training early and well."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lm.run.trainer
from lm.batches import batchify
from lm.checkpoint import load_checkpoint
from lm.console import UserError
from lm.corpus import Corpus
from lm.run.observer import Observer, Report
from lm.run.progress import Lines
from lm.run.trainer import Trainer
from lm.steps import evaluate

Make = Callable[..., Trainer]
Watched = Callable[[Trainer], Any]
Interrupt = Callable[[int, int], Any]


@pytest.fixture(autouse=True)
def before() -> Iterator[None]:
    """Ctrl-C as it is in a program of its own, also where the tests run in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def assert_same_weights(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, weight in a.items():
        np.testing.assert_array_equal(weight, b[name], err_msg=name)


def test_it_ends_after_the_batch_and_tests_the_best_model(
    make_trainer: Make,
    watched: Watched,
    interrupt: Interrupt,
    script_evaluate: Callable[..., Any],
) -> None:
    given = script_evaluate([5.0, 6.0, 7.0])
    trainer = make_trainer(epochs=100)
    watcher = watched(trainer)
    trainer.observers.append(interrupt(3, 4))
    assert trainer.fit() == watcher.test_loss == 7.0
    assert watcher.batches[-1] == (3, 4)
    assert_same_weights(given[-1], given[0])  # of the first epoch, the best
    assert_same_weights(load_checkpoint(trainer.best_path).model, given[0])
    latest = load_checkpoint(trainer.latest_path)
    position = latest.run["position"]
    assert (position["epoch"], position["batch"], position["best_loss"]) == (3, 4, 5.0)
    assert any((latest.model[name] != given[1][name]).any() for name in latest.model)


class StopsAtReport(Observer):
    """Asks for a stop while a batch is reported, when it is decided already that the next comes."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.seen: list[str] = []

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        self.seen.append("batch")

    def report(self, report: Report) -> None:
        self.trainer.stop.requested = True

    def note(self, text: str) -> None:
        self.seen.append(text.partition(":")[0])


def test_no_batch_follows_the_note_that_says_it_stops(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=100, log_interval=1)
    observer = StopsAtReport(trainer)
    trainer.observers.append(observer)
    trainer.fit()
    assert observer.seen == ["batch", "batch", "stopping"]


def test_before_the_first_validation_what_there_is_is_kept_and_tested(
    make_trainer: Make, watched: Watched, interrupt: Interrupt, corpus: Corpus
) -> None:
    trainer = make_trainer()
    watcher = watched(trainer)
    trainer.observers.append(interrupt(1, 2))
    test_loss = trainer.fit()
    assert watcher.epochs == []
    assert watcher.test_loss == test_loss
    best, latest = load_checkpoint(trainer.best_path), load_checkpoint(trainer.latest_path)
    assert_same_weights(best.model, latest.model)
    assert test_loss == evaluate(trainer.model, batchify(corpus.test, 10), 7)


def test_before_the_first_validation_the_model_of_an_older_run_is_replaced(
    make_trainer: Make, interrupt: Interrupt
) -> None:
    make_trainer(epochs=1, seed=1).fit()
    trainer = make_trainer(seed=2)
    trainer.observers.append(interrupt(1, 2))
    trainer.fit()
    latest = load_checkpoint(trainer.latest_path)
    assert_same_weights(load_checkpoint(trainer.best_path).model, latest.model)


def test_before_the_first_batch_is_a_state_too(
    make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer()
    trainer.observers.append(Lines())
    with trainer.stop:
        os.kill(os.getpid(), signal.SIGINT)
        trainer.fit()
    assert trainer.state.position.place(trainer.batches) == "before the first batch"
    assert "| stopping: " in capsys.readouterr().out
    load_checkpoint(trainer.latest_path)


def test_during_validation_the_epoch_still_counts(
    make_trainer: Make, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **named: Any) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*args, **named)

    monkeypatch.setattr(lm.run.trainer, "evaluate", interrupted)
    trainer = make_trainer()
    watcher = watched(trainer)
    trainer.fit()
    assert len(watcher.epochs) == 1
    assert watcher.test_loss is not None
    position = load_checkpoint(trainer.latest_path).run["position"]
    assert (position["epoch"], position["batch"]) == (2, 0)


def test_afterwards_it_means_what_it_did_before(make_trainer: Make, interrupt: Interrupt) -> None:
    trainer = make_trainer(epochs=1)
    trainer.observers.append(interrupt(1, 2))
    trainer.fit()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)


def test_a_broken_model_is_not_saved(
    make_trainer: Make, interrupt: Interrupt, tmp_path: Path
) -> None:
    trainer = make_trainer(model="RNN_RELU", lr=1e30, clip=1e30, log_interval=1000)
    trainer.observers.append(interrupt(1, 4))
    with pytest.raises(UserError, match=r"the loss is \S+ at batch \d of epoch 1 .* nothing was"):
        trainer.fit()
    assert list(tmp_path.iterdir()) == []


def test_sigterm_is_the_same(
    make_trainer: Make, watched: Watched, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    trainer = make_trainer()
    watcher = watched(trainer)
    monkeypatch.setattr(signal, "SIGINT", signal.SIGTERM)  # what `interrupt` sends
    trainer.observers.append(interrupt(2, 4))
    trainer.fit()
    assert watcher.batches[-1] == (2, 4)
    assert watcher.test_loss is not None
    assert load_checkpoint(trainer.latest_path).run["position"]["batch"] == 4
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("rnn_types", [("LSTM", "LSTM"), ("GRU", "RNN_TANH")])
def test_two_models_in_two_threads_are_as_one_after_the_other(
    make_trainer: Make, tmp_path: Path, rnn_types: tuple[str, str]
) -> None:
    def run(number: int, where: str) -> tuple[float, dict[str, bytes]]:
        folder = tmp_path / f"{where}{number}"
        folder.mkdir()
        trainer = make_trainer(folder=folder, model=rnn_types[number], seed=number, dropout=0.4)
        loss = trainer.fit()
        latest = load_checkpoint(trainer.latest_path)
        return loss, {name: w.tobytes() for name, w in latest.model.items()}

    expected = [run(number, "alone") for number in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(run, (0, 1), ("together", "together")))
    assert found == expected
    assert expected[0] != expected[1]


def test_training_works_in_a_thread_where_signals_cannot_be_handled(
    make_trainer: Make, tmp_path: Path
) -> None:
    losses: list[float] = []

    def run(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        losses.append(make_trainer(folder=folder, epochs=1).fit())

    run("main")
    thread = threading.Thread(target=run, args=["thread"])
    thread.start()
    thread.join()
    assert len(losses) == 2
    assert losses[0] == losses[1]
