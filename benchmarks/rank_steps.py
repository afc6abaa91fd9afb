"""One of the ranks of scaling_out.py: it times training steps, or the all-reduce by size.

    python benchmarks/rank_steps.py --columns 20
    mpiexec -n 2 python -m mpi4py benchmarks/rank_steps.py --ranks 2 --columns 40
    mpiexec -n 2 python -m mpi4py benchmarks/rank_steps.py --ranks 2 --messages 1000 1000000

Rank 0 prints the seconds as a line of JSON: of each step, and per step those that the all-reduce
took, without and with the waiting for the last rank.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np

from lm import RNNModel, train_step
from lm.arguments import Parser, at_least_one
from lm.console import run_command
from lm.run.mpi import Together, joined
from lm.run.part import part_of
from lm.run.ranks import ALONE, Alone
from minigrad.optim import SGD

WARM_UP = 3
STEPS = 35  # of a chunk
REPEATS = 9  # of each size of message


class Timed:
    """A communicator that keeps the seconds of each of its all-reduces."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.seconds = comm, list[float]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comm, name)

    def Allreduce(self, *arguments: Any) -> None:
        start = time.perf_counter()
        self.comm.Allreduce(*arguments)
        self.seconds.append(time.perf_counter() - start)


def steps(ranks: Alone, args: argparse.Namespace) -> dict[str, Any]:
    """Train on random words, as lm.run.trainer does between two reports."""
    mg.keep_freed_memory()
    mg.manual_seed(0)
    model = RNNModel("LSTM", args.words, args.units, args.units, 2, 0.2)
    mine = ranks.columns(args.columns)
    part = part_of(model, mine, args.columns)
    optimizer = SGD(model.parameters(), 1.0)
    hidden = model.init_hidden(mine.stop - mine.start)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(WARM_UP + args.steps):
        text = rng.integers(0, args.words, (STEPS + 1, args.columns))[:, mine]
        start = time.perf_counter()
        _, _, hidden = train_step(
            part, optimizer, text[:-1], text[1:].reshape(-1), hidden, 0.25, ranks.clip_grad_norm_
        )
        ranks.any(False, False, False)
        seconds.append(time.perf_counter() - start)
    return {"step": seconds[WARM_UP:]}


def steps_together(ranks: Together, args: argparse.Namespace) -> dict[str, Any]:
    """The same, with the time in the all-reduce."""
    ranks.comm = comm = Timed(ranks.comm)
    found = steps(ranks, args)
    calls = len(comm.seconds) // (WARM_UP + args.steps)
    by_rank = np.array(comm.allgather(comm.seconds[calls * WARM_UP :]))
    exchange = by_rank.min(0)  # of the last rank to arrive, which waits for no other
    per_step = {"exchange": exchange, "waiting": by_rank.mean(0) - exchange}
    return found | {name: s.reshape(-1, calls).sum(1).tolist() for name, s in per_step.items()}


def messages(ranks: Together, sizes: list[int]) -> dict[str, Any]:
    """For each size in bytes, the times of a few all-reduces in place, on the slower rank."""
    found = {}
    for size in sizes:
        numbers, times = np.zeros(size // 4, np.float32), []
        for _ in range(REPEATS):
            ranks.comm.Barrier()
            start = time.perf_counter()
            ranks.comm.Allreduce(ranks.mpi.IN_PLACE, numbers)
            times.append(time.perf_counter() - start)
        found[str(size)] = np.max(ranks.comm.allgather(times), axis=0).tolist()
    return found


def main() -> None:
    args = parser().parse()
    if args.ranks == 1:
        print(json.dumps(steps(ALONE, args)))
        return
    with joined(args.ranks, timeout=600.0) as ranks:
        found = messages(ranks, args.messages) if args.messages else steps_together(ranks, args)
        if ranks.rank == 0:
            print(json.dumps(found), flush=True)


def parser() -> Parser:
    p = Parser(description="Time training steps, or all-reduces, as one of several ranks.")
    p.add_argument("--ranks", type=at_least_one, default=1)
    p.add_argument("--columns", type=at_least_one, default=20, help="of all ranks together")
    p.add_argument("--units", type=at_least_one, default=200)
    p.add_argument("--words", type=at_least_one, default=10_000)
    p.add_argument("--steps", type=at_least_one, default=10, help="training steps to time")
    p.add_argument("--messages", type=at_least_one, nargs="+", metavar="BYTES",
                   help="time all-reduces of these sizes instead")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
