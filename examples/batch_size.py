"""Train with 40, 80 and 160 columns, at several learning rates, and compare with 20 columns.

python examples/batch_size.py --out docs/results/batch-size --workers 2

With k = columns / 20, each number of columns first tries the learning rates 20, 20 √k and 20 k with
one seed; the one with the lowest validation perplexity is trained with two more. The runs with 20
columns are those of reproduce_ptb.py. All have the same number of epochs, so that more columns mean
fewer steps. It writes into the folder --out:

    trials/         a folder per trial, with its settings, metrics, model and result
    results.csv     a row per trial and epoch
    results.md      means and spread over the seeds
    results.json    the same numbers for the pages
    rates.md        the perplexities of the learning rates, as a table for the page
    best.md         the best learning rate of each number of columns, likewise

Started again, it goes on where it stopped. The tables say which runs are not done yet.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lm.arguments import Parser, at_least_one, whole
from lm.console import run_command, show
from lm.files import make_folder
from lm.results import this_command
from lm.settings import Settings
from lm.sweep.progress import watch_sweep
from lm.sweep.rates import choose_rate, learning_rates
from lm.sweep.run import sweep
from lm.sweep.table import Done, gather, mean_text, summaries, write_tables
from lm.sweep.trial import Trial

COLUMNS = (40, 80, 160)
FACTORS = {"1": lambda k: 1.0, "√k": math.sqrt, "k": float}
SEEDS = (1111, 1112, 1113)
QUICK = {"emsize": 8, "nhid": 8, "nlayers": 1, "epochs": 1, "bptt": 70}  # as in reproduce_ptb.py
ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    out, seeds = make_folder(args.out), args.seeds
    base = Settings(data=args.data, **{"epochs": 6, **(QUICK if args.quick else {})})
    folder, where = out / "trials", (args.workers, None, watch_sweep())
    searches = {columns: search(base, columns, seeds[0]) for columns in COLUMNS}
    tried = [trial for trials in searches.values() for trial in trials]
    complete = not args.tables and sweep(tried, folder, *where, threads=1)
    others = [t for trial in best(searches, folder).values() for t in seeded(trial, seeds)]
    complete = complete and sweep(others, folder, *where, threads=1)
    few = seeded(Trial(base), seeds)
    done = [*gather(few, args.baseline), *gather([*tried, *others], folder)]
    if done:
        write(out, base, done, searches, best(searches, folder), len(seeds))
    if not complete:
        show("not all runs are done; the same command continues")


def search(base: Settings, columns: int, seed: int) -> list[Trial]:
    """The trials of some number of columns, one for each learning rate."""
    settings = dataclasses.replace(base, batch_size=columns, seed=seed)
    k = columns / base.batch_size
    return learning_rates(settings, [factor(k) for factor in FACTORS.values()])


def seeded(trial: Trial, seeds: Sequence[int]) -> list[Trial]:
    return [Trial(dataclasses.replace(trial.settings, seed=seed)) for seed in seeds]


def best(searches: Mapping[int, Sequence[Trial]], folder: Path) -> dict[int, Trial]:
    """The trial with the best learning rate, for each number of columns that has tried all."""
    found = {}
    for columns, trials in searches.items():
        results = gather(trials, folder)
        if len(results) == len(trials) and any(d.well for d in results):
            lr, _ = choose_rate(f"{columns} columns", results)
            found[columns] = next(t for t in trials if t.settings.first_lr == lr)
    return found


# -------------------------------------------------------------------- tables


def write(
    out: Path,
    base: Settings,
    done: Sequence[Done],
    searches: Mapping[int, Sequence[Trial]],
    chosen: Mapping[int, Trial],
    seeds: int,
) -> None:
    by_name = {d.trial.name: d for d in done}
    found, few = summaries(done), Trial(base).config
    of = {base.batch_size: Trial(base), **chosen}
    numbers = {
        str(columns): {"lr": trial.settings.first_lr, **found[trial.config]}
        for columns, trial in of.items()
        if trial.config in found
    }
    rates = ["| columns | " + " | ".join(f"20 · {name}" for name in FACTORS) + " |",
             "| --: |" + " --: |" * len(FACTORS)]  # fmt: skip
    for columns, trials in searches.items():
        cells = [rate_cell(t, by_name.get(t.name)) for t in trials]
        rates.append(f"| {columns} | {' | '.join(cells)} |")
    table = ["| columns | learning rate | seeds | validation | test |", "| --: |" + " --: |" * 4]
    for columns in (base.batch_size, *searches):
        cells = best_cells(numbers.get(str(columns)), seeds)
        table.append(f"| {columns} | {' | '.join(cells)} |")
    settings = {"columns": list(COLUMNS), "factors": list(FACTORS), "threads": 1}
    notes = [f"The runs with {base.batch_size} columns are those of reproduce_ptb.py ({few})."]
    command = [word for word in this_command() if word != "--tables"]
    tables = {"rates.md": rates, "best.md": table}
    write_tables(out, done, command, settings, notes, {"columns": numbers}, tables)
    show(f"written to {out}: results.csv, results.md, results.json, rates.md, best.md")


def rate_cell(trial: Trial, done: Done | None) -> str:
    """The validation perplexity at a learning rate, or why there is none."""
    rate = f"({trial.settings.first_lr:.1f})"
    if done is None:
        return f"not yet {rate}"
    ppl = done.numbers["best_valid_ppl"]
    return f"{ppl:.1f} {rate}" if done.well else f"{done.numbers['status']} {rate}"


def best_cells(numbers: Mapping[str, Any] | None, seeds: int) -> list[str]:
    """Learning rate, seeds, and perplexities with their standard deviation over the seeds."""
    if numbers is None:
        return ["not yet", f"0 of {seeds}", "", ""]
    means = [mean_text(numbers[name], 1) for name in ("valid_ppl", "test_ppl")]
    return [f"{numbers['lr']:.1f}", f"{numbers['valid_ppl']['n']} of {seeds}", *means]


# -------------------------------------------------------------------- the command


def parser() -> Parser:
    p = Parser(description="Compare numbers of columns and learning rates on Penn Treebank.")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    p.add_argument("--baseline", type=Path, metavar="DIR",
                   default=ROOT / "docs" / "results" / "ptb" / "trials",
                   help="the trials with 20 columns (default those of reproduce_ptb.py)"
                   )  # fmt: skip
    p.add_argument("--seeds", type=whole, nargs="+", default=list(SEEDS),
                   help="one run of each model for each of these seeds")  # fmt: skip
    p.add_argument("--data", metavar="DIR", help="the text (default Penn Treebank, in data/ptb)")
    p.add_argument("--workers", type=at_least_one, default=1, help="runs at a time")
    p.add_argument("--tables", action="store_true", help="only write the tables of what is done")
    p.add_argument("--quick", action="store_true", help="tiny models, as a test")
    return p


if __name__ == "__main__":
    run_command(main)
