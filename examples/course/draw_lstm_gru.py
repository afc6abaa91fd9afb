"""Draw the comparison of LSTM and GRU, on the short text and, if it is there, on the whole one.

python examples/course/draw_lstm_gru.py
python examples/course/draw_lstm_gru.py --grid docs/results/cells    # of examples/compare_cells.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from experiment import read, save

from lm.arguments import Parser
from lm.console import UserError, run_command
from lm.drawing import STYLES, new_figure, plain_numbers, style

MODELS = ("LSTM", "GRU")
NAMES = {"nhid": "units", "nlayers": "layers", "bptt": "steps"}

# For each variant, for each cell, the runs: dicts with test_ppl, seconds_per_epoch and epochs.
Runs = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def small_runs() -> Runs:
    """The runs on the short text, by the label of their variant."""
    numbers = read("lstm-gru")["numbers"]
    base, runs = numbers["LSTM"]["default"]["settings"], {}
    for name, variant in numbers["GRU"].items():
        label = label_of(base, variant["settings"])
        if name.startswith("same"):
            label = f"GRU with {variant['settings']['nhid']} units"
        runs[label] = {
            model: list(numbers[model][name]["seeds"].values())
            for model in MODELS
            if name in numbers[model]
        }
    return runs


def grid_runs(folder: Path) -> Runs:
    """The runs of examples/compare_cells.py; UserError if they are not there."""
    try:
        result = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        trials = [
            json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("trials/*/result.json"))
        ]
    except OSError as error:
        raise UserError(f"can't read {error.filename}: {error.strerror}") from None
    base, rates = result["settings"], result["numbers"]["learning_rate"]
    runs: dict[str, dict[str, list[Any]]] = {}
    for trial in trials:
        settings, numbers = trial["settings"], trial["numbers"]
        model = settings["model"]
        if model not in MODELS or settings["lr"] != rates[model.lower()]:
            continue  # of the search for a learning rate
        if numbers["status"] == "done":
            seconds = [e["cpu_seconds"] for e in numbers["epochs"]]
            run = {**numbers, "seconds_per_epoch": sum(seconds) / len(seconds)}
            variant = runs.setdefault(label_of(base, settings), {})
            variant.setdefault(model, []).append(run)
    return runs


def label_of(base: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """How the settings differ from the base."""
    changed = [n for n in NAMES if settings[n] != base[n]]
    return ", ".join(f"{settings[n]} {NAMES[n]}" for n in changed) or default_label(base)


def default_label(base: Mapping[str, Any]) -> str:
    layers = "layer" if base["nlayers"] == 1 else "layers"
    return f"{base['nhid']} units, {base['nlayers']} {layers}, {base['bptt']} steps"


def by_variant(runs: Runs) -> Any:
    """A row for each variant: the test perplexity of each seed, and the time of an epoch."""
    figure, axes = new_figure(2, 1, (4.8, 1.5 + 0.5 * len(runs) + 0.5), share=True)
    measures = ("test_ppl", "test perplexity"), ("seconds_per_epoch", "CPU seconds per epoch")
    for axis, (key, label) in zip(axes[:, 0], measures, strict=True):
        for row, cells in enumerate(runs.values()):
            for i, model in enumerate(MODELS):
                values = [run[key] for run in cells.get(model, ())]
                colour, marker = STYLES[i]
                height = [row + 0.32 * (i - 0.5)] * len(values)
                axis.scatter(values, height, color=colour, marker=marker, s=26, alpha=0.75, lw=0,
                             label=model if row == 0 else None)  # fmt: skip
        axis.set_xlabel(label)
        axis.set_yticks(range(len(runs)), list(runs))
        axis.set_ylim(len(runs) - 0.4, -0.6)
    axes[1, 0].set_xlim(left=0)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def by_epoch(runs: Runs) -> Any:
    """Validation perplexity against epochs and against time, at the default settings."""
    figure, axes = new_figure(2, 1, (4.6, 5.6))
    default = next(iter(runs.values()))
    for i, model in enumerate(MODELS):
        colour, marker = STYLES[i]
        for n, run in enumerate(default[model]):
            losses = [e["valid_ppl"] for e in run["epochs"]]
            times = list(accumulate(e["cpu_seconds"] for e in run["epochs"]))
            look = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1, "alpha": 0.8}
            label = model if n == 0 else None
            axes[0, 0].plot(range(1, len(losses) + 1), losses, label=label, **look)
            axes[1, 0].plot(times, losses, **look)
    for axis, label in zip(axes[:, 0], ("epoch", "CPU seconds of training"), strict=True):
        axis.set(xlabel=label, ylabel="validation perplexity", yscale="log")
        plain_numbers(axis)
    axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
    axes[1, 0].set_xlim(left=0)
    axes[0, 0].legend()
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    name = "lstm-gru" if args.grid is None else "lstm-gru-ptb"
    runs = small_runs() if args.grid is None else grid_runs(args.grid)
    first = max(runs, key=lambda label: label.count(","))  # the default comes first
    runs = {first: runs[first], **runs}
    with style():
        save(by_variant(runs), name)
        save(by_epoch(runs), f"{name}-epochs")


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Draw the comparison of LSTM and GRU.")
    p.add_argument("--grid", type=Path, metavar="DIR",
                   help="draw what examples/compare_cells.py has written into DIR")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
