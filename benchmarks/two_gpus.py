"""Find out in a few minutes whether several GPUs compute what one does, and how fast.

    pip install 'minigrad-lm[mpi]' nvidia-nccl-cu12          # or nvidia-nccl-cu13
    python benchmarks/two_gpus.py
    python benchmarks/two_gpus.py --ranks 4

Starts one process for each GPU and prints each finding as soon as it is there; at the end come all
of them as one block of text that you can paste into an issue, also if something has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gpu_times
import numpy as np

import minigrad as mg
from lm.arguments import Parser
from lm.console import UserError
from lm.model import RNNModel
from lm.results import this_command, write_result
from lm.run.launch import launch
from lm.run.part import part_of
from lm.run.ranks import ALONE, Alone, is_rank
from lm.steps import train_step
from minigrad import random, selftest
from minigrad.backend import current_module, floats, to_host
from minigrad.optim import SGD

Finding = tuple[str, str, dict[str, Any]]  # stage, a line to print, its numbers for the file
TOLERANCE = 1e-3  # as in the self-test
TIMEOUT = 120.0  # seconds without a step after which a rank ends
ROUNDS = 5


class Training:
    """Train an LSTM on some columns of a text; call it for one step. Its losses are parts."""

    def __init__(self, ranks: Alone, units: int, words: int, columns: int, dropout: float) -> None:
        random.manual_seed(1)
        self.ranks, mine = ranks, ranks.columns(columns)
        self.model = RNNModel("LSTM", words, units, units, gpu_times.LAYERS, dropout)
        self.part = part_of(self.model, mine, columns)
        self.optimizer = SGD(self.model.parameters(), gpu_times.LR)
        self.hidden = self.model.init_hidden(mine.stop - mine.start)
        rows = 8 * gpu_times.T + 1
        self.text = np.random.default_rng(1).integers(0, words, (rows, columns))[:, mine]
        self.losses: list[Any] = []

    def __call__(self) -> None:
        data, target = gpu_times.chunk(self.text, len(self.losses))
        loss, _, self.hidden = train_step(
            self.part, self.optimizer, data, target, self.hidden, gpu_times.CLIP,
            self.ranks.clip_grad_norm_,
        )  # fmt: skip
        self.losses.append(loss.data)
        self.ranks.alive()

    def after(self, steps: int) -> list[float]:
        """The losses of the whole batch, of as many steps, always with the same masks."""
        random.manual_seed(2)
        for _ in range(steps):
            self()
        return self.ranks.sum(floats(*self.losses))


# -------------------------------------------------------------------- what the ranks do


def check(ranks: Alone, quick: bool) -> Iterator[Finding]:
    """All ranks together run these stages; the findings of the first one count."""
    yield from versions(ranks)
    yield from agreement(ranks, *((20, 8, 50) if quick else (200, 200, 10_000)))
    for units, words in [(8, 50)] if quick else [(200, 10_000), (650, 10_000), (1500, 10_000)]:
        yield from times(ranks, units, words, 2 if quick else 20)


def versions(ranks: Any) -> Iterator[Finding]:
    stage, nccl = "versions", importlib.import_module("cupy.cuda.nccl").get_version()
    for line in selftest.machine("cupy"):
        yield stage, line, {}
    library = ranks.mpi.Get_library_version().strip("\0").splitlines()[0].strip()
    lines = [
        f"NCCL {nccl // 10000}.{nccl // 100 % 100}.{nccl % 100}",
        f"mpi4py {importlib.import_module('mpi4py').__version__}, {library}",
    ]
    place = ranks.mpi.Get_processor_name(), current_module().cuda.Device().pci_bus_id
    places = ranks.comm.allgather(place)
    lines += [f"rank {r} on {host}, GPU {bus}" for r, (host, bus) in enumerate(places)]
    for line in lines:
        yield stage, line, {line.split()[0]: line}


def agreement(ranks: Alone, steps: int, units: int, words: int) -> Iterator[Finding]:
    """The same training on one GPU, and on all with a part of each batch."""
    stage = f"{steps} steps on {ranks.size} GPUs and on one"
    for dropout in (0.0, gpu_times.DROPOUT):
        one, all_ = (Training(r, units, words, gpu_times.B, dropout) for r in (ALONE, ranks))
        apart = float(np.max(np.abs(np.subtract(one.after(steps), all_.after(steps)))))
        ranks.must_be_equal("the weights", partial(checksum, all_.model))
        ranks.first(partial(must_be_small, apart, f"with dropout {dropout}"))
        line = f"dropout {dropout}: losses within {apart:.1e}; weights equal on all GPUs"
        yield stage, line, {f"dropout {dropout}": apart}


def must_be_small(apart: float, case: str) -> None:
    if not apart <= TOLERANCE:  # also for NaN
        raise UserError(f"the losses {case} differ by up to {apart:.2g}")


def checksum(model: RNNModel) -> float:
    return float(sum(np.abs(to_host(p.data).astype(np.float64)).sum() for p in model.parameters()))


def times(ranks: Any, units: int, words: int, steps: int) -> Iterator[Finding]:
    """A step with as many columns for each GPU, alone and together, and the sum of its gradients.

    The three take turns, so that all of them see the same clocks and neighbours.
    """
    B, stage = gpu_times.B, f"LSTM, {units} units, {words:,} words, {gpu_times.B} columns each"
    alone = Training(ALONE, units, words, B, gpu_times.DROPOUT)
    together = Training(ranks, units, words, ranks.size * B, gpu_times.DROPOUT)
    grads = [current_module().zeros_like(p.data) for p in together.optimizer.params]
    size = sum(g.nbytes for g in grads)
    work: dict[str, Callable[[], Any]] = {
        "alone": alone, "together": together, "sum": lambda: ranks._totals(grads),
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(1 + ROUNDS):
        for name, call in work.items():
            seconds = timed(ranks, call, steps)
            if round_ > 0:  # the first one compiles kernels
                found[name].append(1000 * seconds)
    ms = {name: statistics.median(values) for name, values in found.items()}
    bandwidth = 2 * (ranks.size - 1) / ranks.size * size / ms["sum"] / 1e6
    yield (
        stage,
        f"{ms['alone']:.3f} ms a step alone, {ms['together']:.3f} together: "
        f"{ranks.size * ms['alone'] / ms['together']:.2f} times the words per second",
        {f"{units} units": {**ms, "bytes": size}},
    )
    yield stage, f"{ms['sum']:.3f} ms to sum {size / 1e6:.1f} MB, {bandwidth:.1f} GB/s of bus", {}


def timed(ranks: Any, call: Callable[[], Any], count: int) -> float:
    """Seconds of one call, on the slowest rank."""
    wait = current_module().cuda.Device().synchronize
    wait()
    ranks.comm.Barrier()
    started = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return max(ranks.comm.allgather(time.perf_counter() - started)) / count


def run_as_rank(size: int, quick: bool, into: Path) -> None:
    from lm.run.mpi import joined

    with joined(size, TIMEOUT) as ranks, into.open("a", encoding="utf-8") as file:
        stage = ""
        for finding in check(ranks.on("cupy"), quick):
            if ranks.rank == 0:
                lines = [finding[0]] * (finding[0] != stage) + [f"    {finding[1]}"]
                print("\n".join(lines), flush=True)
                file.write(json.dumps(finding) + "\n")
                file.flush()
            stage = finding[0]


# -------------------------------------------------------------------- the command


def topology() -> list[str]:
    """How the GPUs are connected, as nvidia-smi says."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["nvidia-smi", "topo", "-m"], capture_output=True, text=True, check=True, timeout=20
        )
        return [line.rstrip() for line in done.stdout.splitlines() if line.strip()]
    return ["nvidia-smi topo -m gives no answer"]


def parser() -> Parser:
    p = Parser(description="Check and time minigrad on several GPUs.")
    p.add_argument("--ranks", type=int, default=2, help="GPUs (2)")
    p.add_argument("--out", type=Path, default=Path("two_gpus.json"),
                   help="file of results (two_gpus.json)")  # fmt: skip
    p.add_argument("--quick", action="store_true", help="small sizes")
    p.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # the findings, for a rank
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 if everything succeeded, else 2."""
    args = parser().parse_args(argv)
    if is_rank():
        run_as_rank(args.ranks, args.quick, args.into)
        return 0
    started, failure = time.monotonic(), None
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "findings"
        into.touch()
        options = ["--ranks", str(args.ranks), "--into", str(into), *["--quick"] * args.quick]
        try:
            launch(args.ranks, [sys.argv[0], *options], Path(folder) / "no checkpoint", TIMEOUT)
        except UserError as error:
            failure = str(error)
            print(f"error: {failure}", file=sys.stderr)
        findings = [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]
    numbers: dict[str, dict[str, Any]] = {"topology": {"lines": topology()}}
    print(f"\n```\nminigrad {mg.__version__} on {args.ranks} GPUs{', quick' * args.quick}")
    for stage, line, found in findings:
        if stage not in numbers:
            print(stage)
        print(f"    {line}")
        numbers.setdefault(stage, {}).update(found)
    print("\n".join(["topology", *(f"    {line}" for line in numbers["topology"]["lines"])]))
    print(f"FAILED: {failure}\n```" if failure else "all stages succeeded\n```")
    settings = {"ranks": args.ranks, "quick": args.quick, "failure": failure}
    write_result(args.out, this_command(), settings, [1], time.monotonic() - started, numbers)
    print(f"\nThe numbers are in {args.out}.")
    return 2 if failure else 0


if __name__ == "__main__":
    raise SystemExit(main())
