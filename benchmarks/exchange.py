"""Would it pay to exchange gradients between ranks with 16 bits per number instead of 32?

    python benchmarks/exchange.py

Two ranks sum an array as large as the gradient of the 200-unit model of Penn Treebank, in several
ways that take turns. In float16 the array is scaled so that the sum can't overflow; bfloat16, the
upper half of a float32, needs no scale. MPI sums float16 itself; what is gathered, the ranks sum.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.arguments import Parser
from lm.results import this_command, write_result
from lm.run.launch import launch
from lm.run.ranks import is_rank

OUT = Path(__file__).parents[1] / "docs" / "results" / "exchange.json"
SIZE, QUICK_SIZE = 4_650_000, 50_000  # numbers: 18.6 MB
ROUNDS = 15
SPEEDS = {"1_GbE": 0.11, "10_GbE": 1.1}  # GB/s


class Exchange:
    """The ways; each leaves the sum over all ranks in `total`."""

    def __init__(self, comm: Any, size: int) -> None:
        from mpi4py import MPI

        self.mpi, self.comm = MPI, comm
        self.grad = np.random.default_rng(comm.rank).standard_normal(size).astype(np.float32)
        self.grad *= 1e-3
        self.total = np.empty_like(self.grad)
        self.part = np.empty_like(self.grad)
        self.sent = np.empty(size, np.float16)
        self.received = np.empty((comm.size, size), np.float16)

    def ways(self) -> dict[str, Callable[[], None]]:
        return {
            "float32": self.float32,
            "to float16 and back": lambda: self.from_half(self.to_half()),
            "float16, summed by MPI": self.summed_by_mpi,
            "float16, gathered": self.gathered,
            "to bfloat16 and back": lambda: (self.to_brain(), self.from_brain(self.sent))[0],
            "bfloat16, gathered": self.brains_gathered,
        }

    def float32(self) -> None:
        self.comm.Allreduce(self.mpi.IN_PLACE, self.total)

    def to_half(self) -> np.float32:
        top = np.array(max(self.grad.max(), -self.grad.min()), np.float32)
        self.comm.Allreduce(self.mpi.IN_PLACE, top, self.mpi.MAX)
        scale = np.float32(2**15 / self.comm.size) / top  # of a sum at most half of float16's range
        np.multiply(self.grad, scale, out=self.total)
        self.sent[:] = self.total
        return scale

    def from_half(self, scale: np.float32) -> None:
        self.total[:] = self.sent
        self.total *= 1 / scale

    def summed_by_mpi(self) -> None:
        scale = self.to_half()
        self.comm.Allreduce(self.mpi.IN_PLACE, [self.sent, self.mpi.FLOAT16_T])
        self.from_half(scale)

    def gathered(self) -> None:
        scale = self.to_half()
        self.gather()
        np.sum(self.received, axis=0, dtype=np.float32, out=self.total)
        self.total *= 1 / scale

    def to_brain(self) -> None:
        """The upper halves, rounded."""
        np.add(self.grad.view(np.uint32), np.uint32(1 << 15), out=self.total.view(np.uint32))
        self.sent.view(np.uint16)[:] = self.total.view(np.uint16)[1::2]

    def from_brain(self, upper: np.ndarray) -> None:
        halves = self.total.view(np.uint16)
        halves[::2], halves[1::2] = 0, upper.view(np.uint16)

    def brains_gathered(self) -> None:
        self.to_brain()
        self.gather()
        self.part[:] = 0
        for upper in self.received:
            self.from_brain(upper)
            self.part += self.total
        self.total, self.part = self.part, self.total

    def gather(self) -> None:
        self.comm.Allgather(self.sent.view(np.uint16), self.received.view(np.uint16))


def measure(comm: Any, size: int, rounds: int) -> dict[str, Any]:
    """For each way its milliseconds, its ratio to float32, and the error of its sum."""
    exchange = Exchange(comm, size)
    exchange.total[:] = exchange.grad
    exchange.float32()
    exact = exchange.total.copy()
    found: dict[str, list[float]] = {}
    errors: dict[str, float] = {}
    for round_ in range(rounds + 1):  # the first one warms up
        for name, way in exchange.ways().items():
            exchange.total[:] = exchange.grad  # float32 is summed in place
            comm.Barrier()
            started = time.perf_counter()
            way()
            seconds = max(comm.allgather(time.perf_counter() - started))
            found.setdefault(name, [])
            if round_ > 0:
                found[name].append(seconds)
            off = exchange.total - exact
            errors[name] = float(np.sqrt((off**2).mean() / (exact**2).mean()))
    numbers: dict[str, Any] = {}
    for name, seconds in found.items():
        ratios = [a / b for a, b in zip(seconds, found["float32"], strict=True)]
        numbers[name.replace(", ", " ").replace(" ", "_")] = {
            "ms": 1000 * statistics.median(seconds),
            "ratio": statistics.median(ratios),
            **({} if "back" in name else {"error": errors[name]}),
        }
    # Between two machines 16 bits save the transfer of half an array. They pay if that takes longer
    # than what they cost more.
    half, plain = exact.nbytes / 2, numbers["float32"]["ms"]
    for name in ("float16_summed_by_MPI", "float16_gathered", "bfloat16_gathered"):
        more = numbers[name]["ms"] - plain
        numbers[name]["pays_below_GB_s"] = half / more / 1e6 if more > 0 else None
    numbers["saved_ms"] = {name: half / speed / 1e6 for name, speed in SPEEDS.items()}
    return numbers


def parser() -> Parser:
    p = Parser(description="Measure 16-bit exchange of gradients.")
    p.add_argument("--quick", action="store_true", help="a small array")
    p.add_argument("--out", type=Path, default=OUT, help="file of results")
    p.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # the numbers, for a rank
    return p


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse_args(argv)
    size, rounds = (QUICK_SIZE, 3) if args.quick else (SIZE, ROUNDS)
    if is_rank():
        from mpi4py import MPI

        numbers = measure(MPI.COMM_WORLD, size, rounds)
        if MPI.COMM_WORLD.rank == 0:
            args.into.write_text(json.dumps(numbers), encoding="utf-8")
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "numbers.json"
        options = ["--into", str(into), *["--quick"] * args.quick]
        launch(2, [sys.argv[0], *options], Path(folder) / "no checkpoint", 600)
        numbers = json.loads(into.read_text(encoding="utf-8"))
    for name, found in numbers.items():
        print(name, found)
    settings = {"ranks": 2, "numbers": size, "rounds": rounds}
    write_result(args.out, this_command(), settings, [0], time.monotonic() - started, numbers)


if __name__ == "__main__":
    main()
