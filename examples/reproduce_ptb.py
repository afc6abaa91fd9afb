"""Train the models of the README's tables on Penn Treebank, with three seeds each.

python examples/reproduce_ptb.py --out docs/results/ptb --workers 2
python examples/reproduce_ptb.py --out docs/results/ptb --only lstm lstm-tied

Each run has a folder in --out; started again, the program goes on where it stopped. The tables are
of all runs that are done, also of earlier starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm.arguments import Parser, at_least_one, whole
from lm.console import run_command, show
from lm.results import this_command
from lm.settings import PRESETS, Settings
from lm.sweep.progress import watch_sweep
from lm.sweep.run import sweep
from lm.sweep.table import gather, summaries, write_tables
from lm.sweep.trial import Trial

MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"epochs": 6},
    "lstm-tied": {"tied": True, "epochs": 6},
    "gru": {"model": "GRU", "epochs": 6},
    "rnn-tanh": {"model": "RNN_TANH", "epochs": 6},
    "rnn-relu": {"model": "RNN_RELU", "epochs": 6},
    "lstm-tied-40": {"tied": True, "epochs": 40},
    **PRESETS,
    "tensorflow-medium-10": {**PRESETS["tensorflow-medium"], "epochs": 10},  # of 39
}
QUICK = {"emsize": 8, "nhid": 8, "nlayers": 1, "epochs": 1, "bptt": 70}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    changed = {"data": args.data, **(QUICK if args.quick else {})}
    trials = {
        name: [Trial(Settings(**{**MODELS[name], **changed, "seed": seed})) for seed in args.seeds]
        for name in MODELS
    }
    wanted = [trial for name in args.only for trial in trials[name]]
    folder = args.out / "trials"
    complete = sweep(wanted, folder, args.workers, args.scheduler, watch_sweep())
    if done := gather([trial for group in trials.values() for trial in group], folder):
        found = summaries(done)
        named = {n: found[g[0].config] for n, g in trials.items() if g[0].config in found}
        write_tables(args.out, done, this_command(), {"models": list(MODELS)}, extra=named)
        show(f"written to {args.out}: results.csv, results.md, results.json")
    if not complete:
        show("not all runs are done; the same command continues")


def parser() -> Parser:
    p = Parser(description="Train the models of the README's tables on Penn Treebank.")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    p.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL",
                   help=f"some of {', '.join(MODELS)} (default all)")  # fmt: skip
    p.add_argument("--seeds", type=whole, nargs="+", default=[1111, 1112, 1113],
                   help="one run of each model for each of these seeds")  # fmt: skip
    p.add_argument("--data", metavar="DIR", help="the text (default Penn Treebank, in data/ptb)")
    p.add_argument("--workers", type=at_least_one, default=1,
                   help="runs at a time, each with its share of the cores")  # fmt: skip
    p.add_argument("--scheduler", metavar="ADDRESS",
                   help="a Dask cluster, as tcp://host:8786, that sees the folders")  # fmt: skip
    p.add_argument("--quick", action="store_true", help="tiny models, as a test")
    return p


if __name__ == "__main__":
    run_command(main)
