"""What the tests run under mpiexec: one job of three ranks makes all runs of a table.

    mpiexec -n 3 python -m mpi4py tests/ranks/jobs.py NAME FOLDER

Ranks 0 and 1 share each run first, then all three; each run's history goes to a file in FOLDER.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from lm.arguments import Every
from lm.checkpoint import load_checkpoint
from lm.corpus import Corpus
from lm.run.observer import EpochEnd, Observer, Report
from lm.run.ranks import ALONE, Alone
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model
from minigrad import random

BPTT, COLUMNS, WORDS = 5, 20, 23


def corpus(batches: int) -> Corpus:
    """A text that a model can learn, of so many batches; the other splits have uneven columns."""
    rng = np.random.default_rng(3)

    def text(rows: int, columns: int, more: int) -> str:
        ids = rng.integers(0, WORDS, rows * columns + more)
        ids[1::2] = (3 * ids[:-1:2][: len(ids[1::2])] + 1) % WORDS  # half of it follows from the rest
        return " ".join(f"w{i}" for i in ids)

    train = text(batches * BPTT + 1, COLUMNS, 7)
    return Corpus.from_text(train, text(23, 10, 4), text(18, 10, 0))


class History(Observer):
    """Everything that a run reports."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.valid: list[float] = []

    def report(self, report: Report) -> None:
        self.losses.append(report.loss)
        self.norms.append(report.grad_norm)

    def epoch_end(self, end: EpochEnd) -> None:
        self.valid.append(end.valid_loss)


def make(
    folder: Path, ranks: Alone = ALONE, batches: int = 200, dtype: str = "float64", **options: Any
) -> Trainer:
    """A small run over `batches` batches of each epoch, with a report after each."""
    kinds = {name: options.pop(name) for name in ("pieces", "save_every") if name in options}
    settings = Settings(
        **{
            "emsize": 6, "nhid": 6, "epochs": 1, "batch_size": COLUMNS, "bptt": BPTT,
            "lr": 2.0, "clip": 0.05, "backend": "numpy", **options,
        }
    )  # fmt: skip
    mg.set_default_dtype(np.dtype(dtype))
    mg.manual_seed(settings.seed + ranks.rank)  # rank 0's seed must count
    text = corpus(batches)
    model = build_model(settings, len(text.dictionary))
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "model.safetensors"
    return Trainer(model, text, settings, path, log_interval=1, ranks=ranks, **kinds)


def run(trainer: Trainer) -> dict[str, Any]:
    """Train to the end; returns the history and the end of the run, without anything measured."""
    history = History()
    trainer.observers.append(history)
    test = trainer.fit()
    state = trainer.state
    hidden = [state.ranks.gather(h.data, COLUMNS) for h in state.hidden]
    return {
        "losses": history.losses,
        "norms": history.norms,
        "valid": history.valid,
        "test": test,
        "random": random.get_state(),
        "hash": state.fingerprint(),
        "hidden": [hashlib.sha256(np.ascontiguousarray(h)).hexdigest() for h in hidden],
    }


CASES = {
    f"{cell}{'-tied' * tied}-{dropout}-{kind}": {
        "model": cell, "tied": tied, "dropout": dropout, "dropout_kind": kind,
    }
    for cell in ("LSTM", "GRU", "RNN_TANH", "RNN_RELU")
    for tied in (False, True)
    for dropout, kind in ((0.0, "standard"), (0.2, "standard"), (0.2, "variational"))
}  # fmt: skip
# Each cell, tying, rate and kind at least once.
QUICK = {
    name: CASES[name]
    for name in (
        "LSTM-tied-0.2-standard",
        "GRU-0.2-variational",
        "RNN_TANH-tied-0.2-variational",
        "RNN_RELU-0.0-standard",
    )
}


def equality(folder: Path, ranks: Alone, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: run(make(folder / name, ranks, **case)) for name, case in cases.items()}


def quick(folder: Path, ranks: Alone) -> dict[str, Any]:
    return equality(folder, ranks, QUICK)


def table(folder: Path, ranks: Alone) -> dict[str, Any]:
    return equality(folder, ranks, CASES)


JOBS: dict[str, Callable[[Path, Alone], dict[str, Any]]] = {"quick": quick, "table": table}


def groups() -> Iterator[tuple[str, Any]]:
    """The communicators: of one rank, of two, of three; a rank that is in none waits."""
    from mpi4py import MPI

    from lm.run.mpi import Together

    world = MPI.COMM_WORLD
    pair = world.Split(world.rank // 2)
    yield ("2" if world.rank < 2 else "alone"), (Together(pair) if world.rank < 2 else ALONE)
    world.Barrier()
    yield "3", Together(world)


def main(name: str, folder: str) -> None:
    for group, ranks in groups():
        found = JOBS[name](Path(folder) / group, ranks)
        text = json.dumps(found)
        assert ranks.first(lambda: text)  # noqa: B023
        (Path(folder) / f"{group}-{ranks.rank}.json").write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
