"""How much memory a rank needs for a text of so many words, with --memory-map and without.

    python benchmarks/big_corpus.py --out docs/results/big-corpus.json

The texts come from big_text.py. Each run starts without a file of ids, writes it, trains some
batches of the default model, saves and tests; then it reads the batches of a whole epoch. Linux
only. 10^8 words need 1 GB of disk, and 12 GB of memory without --memory-map.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import big_text
import numpy as np

from lm.arguments import Parser, at_least_one
from lm.batches import get_batch
from lm.console import run_command, show
from lm.idfile import IDS_FILE, MappedCorpus
from lm.results import this_command, write_result
from lm.run.launch import launch
from lm.run.observer import Observer
from lm.run.ranks import ALONE, Alone, is_rank
from lm.run.start import start
from lm.run.trainer import Trainer
from lm.settings import Settings

SEED = 1
STEP_TIMEOUT = 600.0  # seconds
FIELDS = {"VmRSS": "resident", "RssAnon": "anonymous", "RssFile": "mapped", "VmHWM": "peak"}


def memory() -> dict[str, float]:
    """The memory of this process in MB: all of it, its two kinds, and the peak so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[field].split()[0]) * 1024 / 1e6 for field, name in FIELDS.items()}


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a function returns, and its seconds: on the wall, and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


class StopAfter(Observer):
    """Stops the run after so many batches, as Ctrl-C would."""

    def __init__(self, trainer: Trainer, batches: int) -> None:
        self.trainer, self.batches = trainer, batches

    def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
        self.trainer.stop.requested = batch >= self.batches


def measure(folder: Path, batches: int, mapped: bool, ranks: Alone) -> None:
    """Be one rank, and write what it needs to a file in `folder`."""
    settings = Settings(data=str(folder), epochs=1, seed=SEED)
    numbers: dict[str, Any] = {"imported": memory()}
    trainer, numbers["start_seconds"] = timed(
        lambda: start(settings, folder / "model", None, ranks, mapped)
    )
    numbers["started"] = memory()
    trainer.observers.append(StopAfter(trainer, batches))
    trainer.fit()
    numbers["trained"] = memory()

    def read() -> None:
        for batch in range(trainer.batches):
            data, _ = get_batch(trainer.own_source, batch * settings.bptt, settings.bptt)
            data.astype(np.int64)  # as the embedding does

    _, seconds = timed(read)
    numbers["batch_microseconds"] = 1e6 * seconds["cpu"] / trainer.batches
    numbers["read"] = memory()
    numbers["ids"] = trainer.own_source.nbytes / 1e6
    numbers["weights"] = sum(p.data.nbytes for p in trainer.model.parameters()) / 1e6
    (folder / f"rank-{ranks.rank}.json").write_text(json.dumps(numbers), encoding="utf-8")


def be_a_rank(args: argparse.Namespace) -> None:
    folder, batches, mapped = args.rank_in, args.batches, not args.in_memory
    if not is_rank():
        measure(folder, batches, mapped, ALONE)
        return
    from lm.run.mpi import joined

    with joined(args.ranks[0], STEP_TIMEOUT) as ranks:
        measure(folder, batches, mapped, ranks)


def run(folder: Path, batches: int, ranks: int, mapped: bool = True) -> dict[str, Any]:
    """The numbers of a run: of each, the largest over the ranks."""
    (folder / IDS_FILE).unlink(missing_ok=True)
    program = [__file__, "--rank-in", str(folder), "--batches", str(batches)]
    program += ["--ranks", str(ranks), *([] if mapped else ["--in-memory"])]
    if ranks == 1:
        subprocess.run([sys.executable, *program], check=True)
    else:
        launch(ranks, program, folder / "model", STEP_TIMEOUT)
    files = [folder / f"rank-{rank}.json" for rank in range(ranks)]
    found = largest([json.loads(file.read_text(encoding="utf-8")) for file in files])
    for file in files:
        file.unlink()
    show(f"{ranks} ranks, {'mapped' if mapped else 'in memory'}: {found['read']['peak']:.0f} MB")
    return found


def largest(values: list[Any]) -> Any:
    """The largest of some numbers, or of each number in some dicts of the same form."""
    if isinstance(values[0], dict):
        return {name: largest([value[name] for value in values]) for name in values[0]}
    return max(values)


def measure_text(args: argparse.Namespace, words: int) -> dict[str, Any]:
    """All runs on a text of so many words."""
    with tempfile.TemporaryDirectory(dir=args.tmp) as name:
        folder = Path(name)
        _, seconds = timed(lambda: big_text.write_text(folder, words, args.data, SEED))
        show(f"{words:,} words, written in {seconds['wall']:.0f} s")
        found: dict[str, Any] = {"in_memory": run(folder, args.batches, 1, mapped=False)}
        found["mapped"] = {str(n): run(folder, args.batches, n) for n in args.ranks}
        _, found["open_seconds"] = timed(lambda: MappedCorpus(folder))
        found["text"] = (folder / "train.txt").stat().st_size / 1e6
        found["file"] = (folder / IDS_FILE).stat().st_size / 1e6
        return found


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.rank_in is not None:
        be_a_rank(args)
        return
    began = time.monotonic()
    numbers = {str(words): measure_text(args, words) for words in args.words}
    settings = {"batches": args.batches, "words": args.words, "ranks": args.ranks}
    if args.out is not None:
        write_result(args.out, this_command(), settings, [SEED], time.monotonic() - began, numbers)


def parser() -> Parser:
    p = Parser(description="Measure the memory that a long text needs.")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the numbers to this file")
    p.add_argument("--words", type=at_least_one, nargs="+", default=[10**6, 10**7, 10**8],
                   help="lengths of the text (default 10^6, 10^7, 10^8)")  # fmt: skip
    p.add_argument("--ranks", type=at_least_one, nargs="+", default=[1, 2],
                   help="numbers of ranks (default 1 and 2)")  # fmt: skip
    p.add_argument("--batches", type=at_least_one, default=50, help="batches to train")
    p.add_argument("--data", metavar="DIR", help="the text with the statistics "
                   "(default Penn Treebank, in data/ptb)")  # fmt: skip
    p.add_argument("--tmp", type=Path, metavar="DIR", help="a folder with space for the texts")
    # With these the program starts itself again, as a rank of a run.
    p.add_argument("--rank-in", type=Path, help=argparse.SUPPRESS)
    p.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    return p


if __name__ == "__main__":
    run_command(main)
