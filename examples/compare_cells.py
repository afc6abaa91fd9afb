"""Compare the recurrent cells over hidden size, number of layers and length of the chunks.

python examples/compare_cells.py --out cells --workers 2
python examples/compare_cells.py --out cells --quick

First each cell tries three learning rates at the default settings, with the first seed; the one
with the lowest validation perplexity is used from then on. Then one parameter at a time is varied
around the defaults, with the same number of epochs: all settings with the first seed, then with the
next. Every trial trains with one thread, and its time is CPU time, so that a busy machine does not
favour a cell. It writes into the folder --out:

    trials/         a folder per trial, with its settings, metrics, model and result
    results.csv     a row per trial and epoch
    results.md      means and spread over the seeds
    results.json    the same numbers for the pages
    compared.md     test perplexity, a column per cell
    epochs.svg      validation perplexity against epochs and against training time
    parameters.svg  perplexity and seconds per epoch against each parameter

Stopped with Ctrl-C during the second part, it writes what it has; started again, it goes on where
it was. When all trials are done it only draws. A trial that has failed is tried again if its folder
is removed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # Ctrl-C prints one line also during the slow imports
    from lm.console import leave_at_signals

    leave_at_signals()

from lm import builtin
from lm.arguments import Parser, at_least_one, whole
from lm.console import run_command, show
from lm.drawing import need_matplotlib
from lm.files import make_folder
from lm.results import cores, this_command
from lm.settings import Settings
from lm.sweep.figures import draw
from lm.sweep.grid import variants
from lm.sweep.progress import watch_sweep
from lm.sweep.rates import choose_rate, learning_rates
from lm.sweep.run import sweep
from lm.sweep.table import gather, side_by_side, write_tables
from lm.sweep.trial import Trial
from minigrad.cells import CELLS

GRID = {"nhid": (100, 200, 400), "nlayers": (1, 2, 3), "bptt": (10, 35, 70)}
RATES = (0.5, 1.0, 1.5)  # times the cell's default
SEEDS = (1111, 1112, 1113)
EPOCHS = 6

# What --quick trains instead, on the first lines of the built-in text.
QUICK_GRID = {"nhid": (6, 12), "nlayers": (1, 2), "bptt": (5, 10)}
QUICK = {"emsize": 12, "nhid": 12, "nlayers": 1, "bptt": 10, "batch_size": 4}
QUICK_LINES = {"train": 150, "valid": 30, "test": 30}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    need_matplotlib()  # before hours of training
    out = make_folder(args.out)
    trials_folder = args.trials or out / "trials"
    grid, rates, seeds = GRID, RATES, args.seeds or SEEDS
    base = Settings(data=args.data, epochs=args.epochs or EPOCHS)
    if args.quick:
        grid, rates, seeds = QUICK_GRID, RATES[:2], args.seeds or SEEDS[:2]
        data = args.data or str(quick_text(out / "text"))
        base = dataclasses.replace(base, data=data, epochs=args.epochs or 2, **QUICK)
    cells = [dataclasses.replace(base, model=model, seed=seeds[0]) for model in args.cells]

    searches = {s.model: learning_rates(s, rates) for s in cells}
    first = [trial for trials in searches.values() for trial in trials]
    where = trials_folder, args.workers, args.scheduler
    if not sweep(first, *where, watch_sweep(), threads=1):
        return
    chosen, notes = {}, []
    for model, trials in searches.items():
        chosen[model], note = choose_rate(model, gather(trials, trials_folder))
        notes.append(note)
        show(note)
    tuned = [dataclasses.replace(s, lr=chosen[s.model]) for s in cells]
    around = [variants(settings, grid) for settings in tuned]
    trials = [
        Trial(dataclasses.replace(cell[name], seed=seed))
        for seed in seeds
        for name in around[0]
        for cell in around
    ]
    complete = sweep(trials, *where, watch_sweep(), threads=1)
    results = gather([*first, *trials], trials_folder)
    rates_chosen = {"learning_rate": {model.lower(): lr for model, lr in chosen.items()}}
    settings = {
        **base.as_dict(),
        "threads": 1,
        "grid": {name: list(values) for name, values in grid.items()},
    }
    compared, bases = gather(trials, trials_folder), [Trial(s) for s in tuned]
    tables = {"compared.md": side_by_side(compared, bases, grid)}
    write_tables(out, results, this_command(), settings, notes, rates_chosen, tables)
    drawn = draw(out, compared, bases, grid)
    files = ["results.csv", "results.md", "results.json", *tables, *drawn]
    show(f"written to {out}: {', '.join(files)}")
    if not complete:
        show("not all trials are done; the same command continues")


def quick_text(folder: Path) -> Path:
    """The first lines of each split of the built-in text, written as files."""
    if not all((folder / f"{split}.txt").exists() for split in QUICK_LINES):
        folder.mkdir(parents=True, exist_ok=True)
        splits = builtin.divide(builtin.documentation())
        for (split, count), lines in zip(QUICK_LINES.items(), splits, strict=True):
            text = "".join(f"{' '.join(line)}\n" for line in lines[:count])
            (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Compare the recurrent cells over sizes, layers and chunk lengths.")
    p.add_argument("--out", type=Path, required=True, metavar="DIR",
                   help="folder to write to, created if missing")  # fmt: skip
    p.add_argument("--trials", type=Path, metavar="DIR",
                   help="folder of the trials (default OUT/trials)")  # fmt: skip
    p.add_argument("--data", help="folder with train.txt, valid.txt and test.txt, or 'builtin' "
                   "(default Penn Treebank, in data/ptb)")  # fmt: skip
    p.add_argument("--cells", nargs="+", choices=tuple(CELLS), default=["LSTM", "GRU"],
                   help="the cells to compare")  # fmt: skip
    p.add_argument("--seeds", nargs="+", type=whole,
                   help="one trial of each setting for each of these seeds (default 1111 1112 "
                   "1113; with --quick 1111 1112)")  # fmt: skip
    p.add_argument("--epochs", type=at_least_one,
                   help=f"epochs of each trial (default {EPOCHS}; with --quick 2)")  # fmt: skip
    p.add_argument("--workers", type=at_least_one, default=cores(),
                   help="trials at a time on this machine (default its cores)")  # fmt: skip
    p.add_argument("--scheduler", metavar="ADDRESS",
                   help="a Dask cluster that runs the trials instead, such as tcp://host:8786; "
                   "its workers must see the folder of the trials, and the text, under the same "
                   "paths")  # fmt: skip
    p.add_argument("--quick", action="store_true", help="tiny models and text, as a test")
    return p


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
