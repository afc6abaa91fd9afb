"""Measure where the time of a training run goes, and draw it.

python examples/profile_lm.py --out profile
python examples/profile_lm.py --model GRU --against torch --out profile

It trains for an epoch, validates, saves and tests, with the functions that training uses, and
writes into the folder --out:

    profile.json   seconds and share of each component, settings, machine, versions
    flow.svg       the components as a picture, coloured by share
    flow.mmd       the same for Mermaid, which code hosts draw
    profile.txt    the time of each line of the main functions (line_profiler)

The lines are timed in a second, shorter run, because that slows them down. In the first run a clock
is read where a component ends, so the components add up to the time of the whole run. What reading
it costs is measured too (`overhead_seconds`). To check that, compare `epoch_seconds` with the time
that `python examples/train_ptb.py --epochs 1` reports for the same epoch.

Threads that wait for each other take much longer if other programs need the cores: with
OMP_NUM_THREADS=1 in the environment, both libraries use one.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # Ctrl-C prints one line also during the slow imports
    from lm.console import leave_at_signals

    leave_at_signals()

import minigrad as mg  # before NumPy: sets how long OpenBLAS's threads busy-wait

# isort: split
import numpy as np

from lm import flow
from lm.arguments import Parser, at_least_one
from lm.batches import batchify, count_batches, get_batch
from lm.console import UserError, need, run_command, show
from lm.corpus import SPLITS
from lm.datasets import corpus_files
from lm.files import make_folder
from lm.results import this_command, write_result
from lm.run.clock import Clock
from lm.run.observer import EpochEnd, Observer, Report
from lm.run.start import start
from lm.run.trainer import Trainer
from lm.settings import Settings, choose, rules
from lm.steps import evaluate, repackage_hidden, train_step

LINE_BATCHES = 100  # of each split in the run whose lines are timed
OPTIONS = ("data", "model", "emsize", "nhid", "nlayers", "dropout", "tied", "batch-size", "bptt",
           "seed")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    settings = choose(vars(args))
    line_profiler = need("line_profiler", "'.[profile]'")
    if args.against:
        need("torch", "torch")
        if settings.data == "builtin":
            raise UserError("--against torch reads files; name another text with --data")
    out = make_folder(args.out)
    mg.use("numpy")
    mg.keep_freed_memory()

    started = time.perf_counter()
    with np.errstate(all="ignore"):  # of a run that diverges, only the time counts
        result = measure(settings, args.batches)
        if args.against:
            result["torch"] = measure_torch(settings, args.batches)
        lines = time_lines(line_profiler, settings, min(args.batches or math.inf, LINE_BATCHES))
    shares = {name: c["share"] for name, c in result["components"].items()}
    used = {**settings.as_dict(), "batches": args.batches, "threads": mg.get_num_threads()}
    seconds = time.perf_counter() - started
    write_result(out / "profile.json", this_command(), used, [settings.seed], seconds, result)
    write(out / "flow.svg", flow.svg(shares))
    write(out / "flow.mmd", flow.mermaid(shares))
    write(out / "profile.txt", lines)
    show(table(result), f"written to {out}: profile.json, flow.svg, flow.mmd, profile.txt")


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write to {path}: {error.strerror}") from None


# -------------------------------------------------------------------- the run


class Losses(Observer):
    """Keeps the losses and the seconds of each epoch."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {
            "train_losses": [], "valid_losses": [], "epoch_seconds": [], "test_losses": []
        }  # fmt: skip

    def report(self, report: Report) -> None:
        self.found["train_losses"].append(report.loss)

    def epoch_end(self, end: EpochEnd) -> None:
        self.found["valid_losses"].append(end.valid_loss)
        self.found["epoch_seconds"].append(end.seconds)

    def end(self, test_loss: float) -> None:
        self.found["test_losses"].append(test_loss)


def run(settings: Settings, limit: int | None, folder: Path) -> dict[str, Any]:
    """A whole run of at most `limit` batches of each split; returns its losses and batches."""
    trainer = start(settings, folder / "model.safetensors", log_interval=sys.maxsize, limit=limit)
    losses = Losses()
    trainer.observers.append(losses)
    trainer.fit()
    sources = (trainer.train_source, trainer.valid_source, trainer.test_source)
    batches = [count_batches(source, settings.bptt) for source in sources]
    return {**losses.found, "batches": dict(zip(SPLITS, batches, strict=True))}


def measure(settings: Settings, limit: int | None) -> dict[str, Any]:
    """Run once with the clock: the numbers of profile.json."""
    with tempfile.TemporaryDirectory() as scratch, Clock() as clock:
        done = run(settings, limit, Path(scratch))
    return {
        "wall_seconds": clock.wall,
        "overhead_seconds": clock.overhead,
        "components": clock.components(flow.components(settings.nlayers)),
        **{name: finite(value) for name, value in done.items()},
    }


def finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have."""
    if isinstance(value, list):
        return [finite(x) for x in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def measure_torch(settings: Settings, limit: int | None) -> dict[str, Any]:
    """The same run in PyTorch, by the same components."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import torch_parts

    with Clock() as clock:
        torch_parts.run(corpus_files(settings.data), settings, limit, clock)
    names = [name for name in flow.components(settings.nlayers) if " layer " not in name]
    return {
        "version": torch_parts.torch.__version__,
        "threads": torch_parts.torch.get_num_threads(),
        "wall_seconds": clock.wall,
        "components": clock.components([*names, *torch_parts.LAYERS]),
    }


# -------------------------------------------------------------------- lines


def time_lines(line_profiler: Any, settings: Settings, batches: float) -> str:
    """The line tables of the main functions, of a run of a few batches."""
    functions = [batchify, repackage_hidden, get_batch, Trainer.train_epoch, Trainer._step,
                 train_step, evaluate.__wrapped__, Trainer.fit]  # fmt: skip
    profiler = line_profiler.LineProfiler(*functions)
    with tempfile.TemporaryDirectory() as scratch, profiler:
        run(settings, int(batches), Path(scratch))
    stats, text = profiler.get_stats(), io.StringIO()
    text.write(
        f"The time of each line, in milliseconds, in a run of at most {batches} batches of each "
        "split.\nTiming lines slows them down: the shares of the whole run are in profile.json.\n\n"
    )
    for function in functions:
        for (file, line, name), timings in stats.timings.items():
            if name.rpartition(".")[2] == function.__name__:
                line_profiler.line_profiler.show_func(
                    file, line, name, timings, stats.unit, output_unit=1e-3, stream=text
                )
    root = Path(__file__).resolve().parents[1]
    return text.getvalue().replace(f"{root}{os.sep}", "")


# -------------------------------------------------------------------- the table


def table(result: Mapping[str, Any]) -> str:
    """The components with their time and share, beside PyTorch's if it was measured."""
    ours, theirs = result["components"], result.get("torch", {}).get("components")
    rows = [(name, ours[name], (theirs or {}).get(name)) for name in ours]
    if theirs:
        for name in (name for name in theirs if name not in ours):  # all layers together
            layers = [c for other, c in ours.items() if other.startswith(name.removesuffix("s"))]
            both = {key: sum(c[key] for c in layers) for key in ("seconds", "share")}
            rows.append((f"{name}, all", both, theirs[name]))
    head = f"{'component':24} {'seconds':>9} {'%':>6}"
    lines = [head + (f"   {'PyTorch':>9} {'%':>6}" if theirs else "")]
    lines += [_line(name, a, b) for name, a, b in rows]
    torch = {"seconds": result["torch"]["wall_seconds"], "share": 100} if theirs else None
    lines.append(_line("whole run", {"seconds": result["wall_seconds"], "share": 100}, torch))
    return "\n".join(lines)


def _line(name: str, ours: Mapping[str, float], theirs: Mapping[str, float] | None) -> str:
    line = f"{name:24} {ours['seconds']:9.3f} {ours['share']:6.2f}"
    return line + (f"   {theirs['seconds']:9.3f} {theirs['share']:6.2f}" if theirs else "")


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Measure where the time of a training run goes, and draw it.")
    p.add_settings({name: rules()[name] for name in OPTIONS}, Settings())
    p.add_argument("--epochs", type=at_least_one, default=1, help="passes over the text")
    p.add_argument("--out", type=Path, default=Path("profile"), metavar="DIR",
                   help="folder to write to, created if missing")  # fmt: skip
    p.add_argument("--against", choices=["torch"], help="also measure PyTorch's CPU build")
    p.add_argument("--batches", type=at_least_one,
                   help="of each split at most (default all)")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
