"""Train PyTorch's word_language_model with several seeds, for the table in the README.

    python benchmarks/torch_ptb.py --out docs/results/ptb-torch.json

The LSTM, untied and tied, with default options. The file is written again after every run; started
again, the program goes on with the runs that are not in it. Several can run at once, with different
`--seeds`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.arguments import Parser, at_least_one, whole
from lm.console import UserError, need, run_command, show
from lm.datasets import corpus_files
from lm.results import read_result, this_command, write_result
from lm.sweep.table import summary

MODELS = {"lstm": False, "lstm-tied": True}  # and whether they are tied


def main() -> None:
    args = parser().parse()
    torch = need("torch", "torch")
    import torch_main

    files = corpus_files(args.data)
    if len(files) != 3:
        raise UserError("the text is missing; examples/train_ptb.py downloads it, or name --data")
    torch.set_num_threads(args.threads)
    settings = {"epochs": args.epochs, "threads": args.threads, "torch": torch.__version__}
    for seed in args.seeds:
        for model, tied in MODELS.items():
            name = f"{model} {seed}"
            if name in earlier(args.out, settings)["numbers"]["runs"]:
                continue
            show(f"torch | {name}")
            started = time.perf_counter()
            parts = list(torch_main.train(files, "LSTM", tied, args.epochs, seed))
            run = {"model": model, "seed": seed, **parts[0], **parts[-1],
                   "valid_ppl": [part["valid_ppl"] for part in parts[1:-1]],
                   "epoch_seconds": [part["seconds"] for part in parts[1:-1]]}  # fmt: skip
            write(args.out, settings, {name: run}, time.perf_counter() - started)
    write(args.out, settings, {}, 0.0)


def write(path: Path, settings: Mapping[str, Any], new: Mapping[str, Any], seconds: float) -> None:
    """Add runs to those in the file, to which another process may have added others meanwhile."""
    before = earlier(path, settings)
    runs = {**before["numbers"]["runs"], **new}
    seeds = sorted({run["seed"] for run in runs.values()})
    numbers = {**{m: summary_of(runs, m) for m in MODELS}, "runs": runs}
    write_result(path, this_command(), settings, seeds, before["seconds"] + seconds, numbers)


def earlier(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The result of an earlier start, or an empty one. UserError if its settings differ."""
    if not path.exists():
        return {"numbers": {"runs": {}}, "seconds": 0.0}
    result = read_result(path)
    if result.get("settings") != settings:
        raise UserError(f"{path} has other settings than {settings}; name another file with --out")
    return result


def summary_of(runs: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Mean and spread over the seeds of one model."""
    of = [run for run in runs.values() if run["model"] == model]
    return {
        "test_ppl": summary([run["test_ppl"] for run in of]),
        "valid_ppl": summary([min(run["valid_ppl"]) for run in of]),
    }


def parser() -> Parser:
    p = Parser(description="Train PyTorch's word_language_model with several seeds.")
    p.add_argument("--data", metavar="DIR", help="the text (default Penn Treebank, in data/ptb)")
    p.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="the results")
    p.add_argument("--seeds", type=whole, nargs="+", default=[1111, 1112, 1113])
    p.add_argument("--epochs", type=at_least_one, default=6)
    p.add_argument("--threads", type=at_least_one, default=1)
    return p


if __name__ == "__main__":
    run_command(main)
