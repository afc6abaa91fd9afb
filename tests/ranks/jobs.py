"""What the tests run under mpiexec: one job makes many runs, since starting processes takes long.

    mpiexec -n 3 python -m mpi4py tests/ranks/jobs.py NAME FOLDER

Each job is called on rank 2 alone, on ranks 0 and 1 together, and on all three together. What it
returns goes to the files alone-0.json, 2-0.json, 2-1.json and so on in FOLDER.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lm.run.mpi
import lm.run.trainer
import minigrad as mg
from lm.arguments import Every
from lm.checkpoint import load_checkpoint
from lm.console import UserError
from lm.corpus import Corpus
from lm.run.mpi import Together
from lm.run.observer import EpochEnd, Observer, Report
from lm.run.part import Part
from lm.run.ranks import ALONE, Alone
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model
from minigrad import random
from minigrad.nn import Parameter
from minigrad.optim import clip_grad_norm_

BPTT, COLUMNS, WORDS = 5, 20, 23
LIMIT = 120  # seconds for a job of one group on a machine that is busy


def corpus(batches: int) -> Corpus:
    """A text of so many batches. Three ranks have uneven shares of its columns."""
    rng = np.random.default_rng(3)

    def text(rows: int, columns: int, more: int) -> str:
        ids = rng.integers(0, WORDS, rows * columns + more)
        ids[1::2] = (3 * ids[:-1:2][: len(ids[1::2])] + 1) % WORDS  # every other word can be known
        return " ".join(f"w{i}" for i in ids)

    train = text(batches * BPTT + 1, COLUMNS, 7)
    return Corpus.from_text(train, text(23, 10, 4), text(18, 10, 0))


class History(Observer):
    """The losses and norms that a run reports."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.valid: list[float] = []

    def report(self, report: Report) -> None:
        self.losses.append(report.loss)
        self.norms.append(report.grad_norm)

    def epoch_end(self, end: EpochEnd) -> None:
        self.valid.append(end.valid_loss)


class After(Observer):
    """Calls a function once a batch is done."""

    def __init__(self, batch: int, function: Callable[[], None]) -> None:
        self.when, self.function = batch, function

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        if batch == self.when:
            self.function()


def make(
    folder: Path,
    ranks: Alone = ALONE,
    *,
    batches: int = 200,
    dtype: str = "float64",
    save_every: Every | None = None,
    pieces: int = 1,
    log_interval: int = 1,
    **settings: Any,
) -> Trainer:
    """A small run over `batches` batches, each rank with a seed and a folder of its own."""
    small = {"emsize": 6, "nhid": 6, "batch_size": COLUMNS, "bptt": BPTT, "lr": 2.0, "clip": 0.05}
    chosen = Settings(**{**small, "epochs": 1, "backend": "numpy", **settings})
    mg.set_default_dtype(np.dtype(dtype))
    mg.manual_seed(chosen.seed + ranks.rank)
    text = corpus(batches)
    folder = folder / f"rank-{ranks.rank}"
    folder.mkdir(exist_ok=True, parents=True)
    return Trainer(
        build_model(chosen, len(text.dictionary)),
        text,
        chosen,
        folder / "model.safetensors",
        log_interval=log_interval,
        save_every=save_every,
        pieces=pieces,
        ranks=ranks,
    )


def history(trainer: Trainer) -> dict[str, Any]:
    """Train to the end; what the run has reported, and how it has ended."""
    seen = History()
    trainer.observers.append(seen)
    test = trainer.fit()
    return {
        "losses": seen.losses,
        "norms": seen.norms,
        "valid": seen.valid,
        "test": test,
        "hidden": [h.tolist() for h in trainer.state.checkpoint().hidden.values()],
        "random": random.get_state(),
        "hash": trainer.state.fingerprint(),
        "files": sorted(path.name for path in trainer.best_path.parent.iterdir()),
    }


# -------------------------------------------------------------------- equality

CASES: dict[str, dict[str, Any]] = {
    f"{cell}{'-tied' * tied}-{dropout}-{kind}": {
        "model": cell, "tied": tied, "dropout": dropout, "dropout_kind": kind,
    }
    for cell in ("LSTM", "GRU", "RNN_TANH", "RNN_RELU")
    for tied in (False, True)
    for dropout, kind in ((0.0, "standard"), (0.2, "standard"), (0.2, "variational"))
}  # fmt: skip
QUICK = (  # each cell, tying, rate and kind at least once
    "LSTM-tied-0.2-standard",
    "GRU-0.2-variational",
    "RNN_TANH-tied-0.2-variational",
    "RNN_RELU-0.0-standard",
)


def quick(folder: Path, ranks: Alone) -> dict[str, Any]:
    runs = {name: history(make(folder / name, ranks, batches=60, **CASES[name])) for name in QUICK}
    # Each of several ranks also cuts its columns into pieces, as --accumulate does.
    pieces = 3 if ranks.size > 1 else 1
    trainer = make(folder / "pieces", ranks, batches=60, pieces=pieces, **CASES[QUICK[0]])
    return {**runs, "in pieces": history(trainer)}


def table(folder: Path, ranks: Alone) -> dict[str, Any]:
    return {name: history(make(folder / name, ranks, **case)) for name, case in CASES.items()}


# -------------------------------------------------------------------- rules


class ClipsFirst(Together):
    """Breaks rule 4: each rank clips its own gradient, before the sum."""

    def clip_grad_norm_(self, params: Any, max_norm: float) -> Any:
        clip_grad_norm_(params, max_norm)
        return super().clip_grad_norm_(params, np.inf)


class SumsTwice(Together):
    """Breaks rule 5: a tied weight is summed for the embedding and for the decoder."""

    def clip_grad_norm_(self, params: Any, max_norm: float) -> Any:
        params = list(params)
        self._totals([params[0].grad])
        return super().clip_grad_norm_(params, max_norm)


class Unscaled(Part):
    """Breaks rule 3: the mean over a rank's columns counts in full."""

    def _piece(self, piece: slice, *chunk: Any) -> Any:
        loss, hidden = super()._piece(piece, *chunk)
        return loss * (self.total / (piece.stop - piece.start)), hidden


class EvenlyScaled(Part):
    """Breaks rule 3 only where the columns are uneven: each rank counts for 1 / N."""

    ranks = 1

    def _piece(self, piece: slice, *chunk: Any) -> Any:
        loss, hidden = super()._piece(piece, *chunk)
        return loss * (self.total / (piece.stop - piece.start) / self.ranks), hidden


def broken(folder: Path, ranks: Alone) -> dict[str, Any]:
    """The losses of a run that is right, and of others that each break a rule."""
    case = {"batches": 12, "tied": True, "dropout": 0.2, "log_interval": 1}
    found = {"right": history(make(folder, ranks, **case))["losses"]}
    if not isinstance(ranks, Together):
        return found
    for kind in (ClipsFirst, SumsTwice):
        found[kind.__name__] = history(make(folder, kind(ranks.comm), **case))["losses"]
    for part in (Unscaled, EvenlyScaled):
        trainer = make(folder, ranks, **case)
        EvenlyScaled.ranks = ranks.size
        trainer.own_part = part(trainer.model, trainer.state.columns, COLUMNS)
        found[part.__name__] = history(trainer)["losses"]
    trainer = make(folder, ranks, **case)
    trainer.ranks = NoHashes(ranks.comm)  # the broken masks would be found at the first report
    mg.manual_seed(1111 + ranks.rank)
    found["SeededPerRank"] = history(trainer)["losses"]
    return found


class NoHashes(Together):
    def must_be_equal(self, what: str, value: Any) -> None: ...


def rules(folder: Path, ranks: Alone) -> dict[str, Any]:
    return {
        "sums": sums(ranks),
        "norm": own_norm(folder / "norm", ranks),
        "stop": stop(folder / "stop", ranks),
        "save": save(folder / "save", ranks),
        "differ": differ(folder / "differ", ranks),
        "diverge": diverge(folder / "diverge", ranks),
        "errors": errors(ranks),
    }


def sums(ranks: Alone) -> dict[str, Any]:
    """A parameter of which one rank has no gradient, one that is large, and one not contiguous."""
    shapes = {"missing": (3,), "large": (300, 200), "turned": (4, 5)}
    xp = mg.backend.current_module()
    params = {name: Parameter(xp.zeros(shape)) for name, shape in shapes.items()}
    for number, p in enumerate(params.values()):
        values = np.arange(p.size, dtype=float).reshape(p.shape)
        p.grad = xp.asarray((ranks.rank + 1.0) * (values + number))
    params["turned"].grad = xp.ascontiguousarray(params["turned"].grad.T).T
    if ranks.rank == 0 and ranks.size > 1:
        params["missing"].grad = None
    norm = ranks.clip_grad_norm_(params.values(), 1e9)
    grads = {name: mg.backend.to_host(p.grad) for name, p in params.items()}
    squares = sum((g**2).sum() for g in grads.values())
    return {
        "missing": grads["missing"].tolist(),
        "large": float(grads["large"].sum()),
        "turned": grads["turned"].tolist(),
        "norm": [float(norm), float(np.sqrt(squares))],
        "gathered": ranks.gather(np.full((2, len(range(7)[ranks.columns(7)]), 1), ranks.rank), 7)
        .squeeze(-1)
        .tolist(),
    }


def own_norm(folder: Path, ranks: Alone) -> str:
    """The hash after a run in which each rank's BLAS gives the norm another last digit."""
    right = lm.run.mpi.get_total_norm
    lm.run.mpi.get_total_norm = lambda grads: right(grads) * (1 + 1e-12 * ranks.rank)
    try:
        return history(make(folder, ranks, batches=5))["hash"]
    finally:
        lm.run.mpi.get_total_norm = right


def stop(folder: Path, ranks: Alone) -> dict[str, Any]:
    """The last rank alone is asked to stop."""
    trainer = make(folder, ranks, batches=30)
    trainer.observers.append(
        After(
            7 if ranks.rank == ranks.size - 1 else 99, lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
    )
    trainer.fit()
    return {"batch": trainer.state.position.batch, "stopping": trainer.stopping}


def save(folder: Path, ranks: Alone) -> dict[str, Any]:
    """Save and report by the clock, which only on rank 0 shows that it is time."""
    before = lm.run.trainer.FIRST_REPORT
    lm.run.trainer.FIRST_REPORT = 0.0 if ranks.rank == 0 else 1e9
    try:
        every = Every(seconds=1e-9 if ranks.rank == 0 else 1e9)
        trainer = make(folder, ranks, batches=3, save_every=every, log_interval=100)
        saved: list[int] = []
        trainer.saver.latest = lambda checkpoint, last=False: saved.append(  # type: ignore
            checkpoint.run["position"]["batch"]
        )
        trainer.fit()
        return {"saved": saved}
    finally:
        lm.run.trainer.FIRST_REPORT = before


def differ(folder: Path, ranks: Alone) -> dict[str, Any]:
    """A weight of the last rank changes after batch 6; there are reports every 4 batches."""
    trainer = make(folder, ranks, batches=30, log_interval=4)

    def change() -> None:
        if ranks.rank == ranks.size - 1:
            trainer.model.decoder.bias.data[3] += 1e-14

    trainer.observers.append(After(6, change))
    try:
        trainer.fit()
    except UserError as error:
        return {"error": str(error), "batch": trainer.state.position.batch}
    return {}


def diverge(folder: Path, ranks: Alone) -> dict[str, Any]:
    """The weights overflow after batch 6; only rank 0 knows the last checkpoint."""
    trainer = make(folder, ranks, batches=30, save_every=Every(batches=3))

    def overflow() -> None:
        trainer.state.optimizer.lr = 1e308

    trainer.observers.append(After(6, overflow))
    try:
        trainer.fit()
    except UserError as error:
        return {"error": str(error), "saved": str(trainer.latest_path)}
    return {}


LONG: dict[str, Any] = {"batches": 30, "dropout": 0.2, "save_every": Every(batches=12)}


def saved(folder: Path, ranks: Alone) -> dict[str, Any]:
    """A run without interruption; what it saves after batch 12 is kept."""
    trainer = make(folder, ranks, **LONG)

    def keep() -> None:
        if ranks.rank == 0:
            os.rename(trainer.latest_path, folder / "kept.safetensors")

    trainer.observers.append(After(13, keep))
    return history(trainer)


def resumed(folder: Path, ranks: Alone) -> dict[str, Any]:
    """Runs that continue what one process alone, and what two ranks have saved."""
    found = {}
    for group in ("alone", "2"):
        path = folder.parent.parent / "saved" / group / "kept.safetensors"
        trainer = make(folder / f"from-{group}", ranks, **LONG)
        if ranks.rank > 0:
            path = Path("not read by this rank")
        trainer.resume(ranks.first(lambda path=path: load_checkpoint(path)))
        found[group] = history(trainer)
    return found


def errors(ranks: Alone) -> list[str]:
    """The errors that all ranks raise, though only one had a reason."""

    def on(rank: int) -> None:
        if ranks.rank == rank:
            raise UserError("no such file")

    attempts = (
        lambda: ranks.first(lambda: on(0)),
        lambda: ranks.each(lambda: on(ranks.size - 1)),
        lambda: ranks.must_be_equal("the texts", lambda: f"hash {ranks.rank}"),
        lambda: ranks.columns(ranks.size - 1),
    )
    found = []
    for attempt in attempts:
        try:
            attempt()
        except UserError as error:
            found.append(str(error))
    return found


# -------------------------------------------------------------------- the job

JOBS: dict[str, Callable[[Path, Alone], dict[str, Any]]] = {
    "quick": quick,
    "table": table,
    "broken": broken,
    "rules": rules,
    "saved": saved,
    "resumed": resumed,
}


def groups() -> Iterator[tuple[str, Alone]]:
    """Rank 2 alone while the others are a pair; then all three."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    pair = world.Split(world.rank // 2)
    yield ("2", Together(pair, LIMIT)) if world.rank < 2 else ("alone", ALONE)
    world.Barrier()
    yield "3", Together(world, LIMIT)
    world.Barrier()


def main(folder: str, *names: str) -> None:
    for name in names:
        for group, ranks in groups():
            # Ranks that wait for a decision that others do not make would wait for ever.
            faulthandler.dump_traceback_later(LIMIT, exit=True)
            found = JOBS[name](Path(folder) / name / group, ranks)
            (Path(folder) / name / f"{group}-{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
