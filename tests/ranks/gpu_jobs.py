"""The jobs of jobs.py that train on GPUs: on the fake device, one for each rank.

mpiexec -n 3 python -m mpi4py tests/ranks/gpu_jobs.py FOLDER NAME
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "shared"))
import fake_cupy
from jobs import JOBS, differ, history, main, make, own_norm, sums

import minigrad as mg
from lm.run.mpi import Together
from lm.run.ranks import Alone
from lm.run.trainer import Trainer

CASES: dict[str, dict[str, Any]] = {
    "tied": {"tied": True, "dropout": 0.0},
    "dropout": {"model": "GRU", "dropout": 0.2},
    "variational": {"model": "RNN_TANH", "dropout": 0.2, "dropout_kind": "variational"},
}


def gpus(folder: Path, ranks: Alone) -> dict[str, Any]:
    """On fake GPUs, one for each rank; and without dropout, whose masks differ, on NumPy."""
    nccl = fake_cupy.nccl
    short: dict[str, Any] = {"batches": 30, "log_interval": 5}
    on_numpy = history(make(folder / "numpy", ranks, **short, **CASES["tied"]))
    nccl.world = getattr(ranks, "comm", None)
    ranks = ranks.on("cupy")
    try:
        found: dict[str, Any] = {"numpy": on_numpy}
        for name, case in CASES.items():
            trainer = make(folder / name, ranks, **short, **case)
            nccl.calls.clear()
            found[name] = history(trainer)
        found["calls"] = nccl.calls.copy()
        found["parameters"] = sum(p.size for p in trainer.state.optimizer.params)
        trainer = make(folder / "pieces", ranks, pieces=3, **short, **CASES["dropout"])
        found["pieces"] = history(trainer)
        found["counts"] = counts_of_a_step(make(folder / "counts", ranks, **short))
        found["norm"] = own_norm(folder / "norm", ranks)
        found["differ"] = differ(folder / "differ", ranks)
        found["sums"] = sums(ranks)
        found["refused"] = refused(ranks)
        return found
    finally:
        mg.use("numpy")


def counts_of_a_step(trainer: Trainer) -> dict[str, int]:
    """Of the second step, since the first one includes work that is done once."""
    trainer._step()
    with fake_cupy.counted() as counts:
        trainer._step()
    return vars(counts)


def refused(ranks: Alone) -> list[str]:
    """How MPI and NCCL refuse what is not theirs."""
    if not isinstance(ranks, Together):
        return []
    xp, array = fake_cupy.module, fake_cupy.module.zeros(8, "float32")
    host, stream = np.zeros(8, np.float32), xp.cuda.get_current_stream().ptr
    reduce: Any = ranks._nccl.allReduce  # type: ignore[attr-defined]
    at, kind, add = array.data.ptr, fake_cupy.nccl.NCCL_FLOAT32, fake_cupy.nccl.NCCL_SUM
    attempts = (
        lambda: ranks.comm.Bcast(array),
        lambda: ranks.comm.allgather(array),
        lambda: reduce(host.ctypes.data, at, 8, kind, add, stream),
        lambda: reduce(at, at, 9, kind, add, stream),
        lambda: reduce(at, at, 8, fake_cupy.nccl.NCCL_FLOAT64, add, stream),
        lambda: reduce(at, at, 8, kind, add, 0),
        lambda: reduce(at, at, 8 - ranks.rank, kind, add, stream),
    )
    found = []
    for attempt in attempts:
        try:
            attempt()
        except (TypeError, fake_cupy.Undefined) as error:
            found.append(type(error).__name__)
    return found


if __name__ == "__main__":
    os.environ["FAKE_GPUS"] = "3"
    fake_cupy.install()
    JOBS["gpus"] = gpus
    main(*sys.argv[1:])
