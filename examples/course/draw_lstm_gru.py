"""Draw the comparison of LSTM and GRU, on the short text and on the whole one.

python examples/course/draw_lstm_gru.py
python examples/course/draw_lstm_gru.py --grid cells    # a grid of your own

The grid on the whole text is what examples/compare_cells.py has written.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiment import ROOT, read, save

from lm.arguments import Parser
from lm.console import UserError, run_command
from lm.drawing import STYLES, new_figure, plain_numbers, style
from lm.results import read_result
from lm.sweep.grid import NOUNS, label, name_of

MODELS = ("LSTM", "GRU")
GRID = ROOT / "docs" / "results" / "cells"


class Measured(NamedTuple):
    """What was measured of one cell with one setting, a value for each seed."""

    test_ppl: list[float]
    curves: list[list[float]]  # validation perplexity after each epoch
    seconds: list[float]  # per epoch


# By the label of the setting, the default first; then by cell.
Runs = Mapping[str, Mapping[str, Measured]]


def small_runs() -> Runs:
    """The runs on the short text."""
    numbers = read("lstm-gru")["numbers"]
    base, runs = numbers["LSTM"]["default"]["settings"], {}
    for name, variant in numbers["GRU"].items():
        row = label(base, variant["settings"])
        if name.startswith("same"):
            row = f"GRU with {variant['settings']['nhid']} units"
        runs[row] = {m: _small(numbers[m][name]) for m in MODELS if name in numbers[m]}
    return runs


def _small(variant: Mapping[str, Any]) -> Measured:
    runs = variant["seeds"].values()
    curves = [[epoch["valid_ppl"] for epoch in run["epochs"]] for run in runs]
    return Measured([r["test_ppl"] for r in runs], curves, [r["seconds_per_epoch"] for r in runs])


def grid_runs(folder: Path) -> Runs:
    """The runs of examples/compare_cells.py; UserError if they are not there.

    They may come from several machines, so the times are those that model_time.py has measured.
    """
    result = read_result(folder / "results.json")
    trials = [read_result(path) for path in sorted(folder.glob("trials/*/result.json"))]
    base, rates = result["settings"], result["numbers"]["learning_rate"]
    timed = read("model-time")
    same_base = all(base[n] == timed["settings"][n] for n in NOUNS)
    runs: dict[str, dict[str, Measured]] = {}
    labels = {}
    for trial in trials:
        settings, numbers = trial["settings"], trial["numbers"]
        model = settings["model"]
        if model not in MODELS or settings["lr"] != rates[model.lower()]:
            continue  # of the search for a learning rate
        if numbers["status"] == "done":
            name = name_of(base, settings)
            if not same_base or name not in timed["numbers"]:
                default = label(timed["settings"], timed["settings"])
                raise UserError(f"model_time.py does not measure {name}; its default is {default}")
            seconds = [turn[model] for turn in timed["numbers"][name]["seeds"].values()]
            labels[name] = label(base, settings)
            found = runs.setdefault(name, {}).setdefault(model, Measured([], [], seconds))
            found.test_ppl.append(numbers["test_ppl"])
            found.curves.append([epoch["valid_ppl"] for epoch in numbers["epochs"]])
    return {labels[name]: runs[name] for name in timed["numbers"] if name in runs}


def by_variant(runs: Runs) -> Any:
    """A row for each variant: the test perplexity of each seed, and the time of an epoch."""
    figure, axes = new_figure(2, 1, (4.8, 1.5 + 0.5 * len(runs) + 0.5), share=True)
    measures = ("test_ppl", "test perplexity"), ("seconds", "CPU seconds per epoch")
    for axis, (key, measure) in zip(axes[:, 0], measures, strict=True):
        for row, cells in enumerate(runs.values()):
            for i, model in enumerate(MODELS):
                values = getattr(cells[model], key) if model in cells else []
                colour, marker = STYLES[i]
                height = [row + 0.32 * (i - 0.5)] * len(values)
                axis.scatter(values, height, color=colour, marker=marker, s=26, alpha=0.75, lw=0,
                             label=model if row == 0 else None)  # fmt: skip
        axis.set_xlabel(measure)
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
        if model not in default:
            continue
        colour, marker = STYLES[i]
        seconds = statistics.mean(default[model].seconds)
        for n, losses in enumerate(default[model].curves):
            epochs = range(1, len(losses) + 1)
            look = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1, "alpha": 0.8}
            axes[0, 0].plot(epochs, losses, label=model if n == 0 else None, **look)
            axes[1, 0].plot([seconds * epoch for epoch in epochs], losses, **look)
    for axis, x in zip(axes[:, 0], ("epoch", "CPU seconds of training"), strict=True):
        axis.set(xlabel=x, ylabel="validation perplexity", yscale="log")
        plain_numbers(axis)
    axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
    axes[1, 0].set_xlim(left=0)
    axes[0, 0].legend()
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    for name, runs in (("lstm-gru", small_runs()), ("lstm-gru-ptb", grid_runs(args.grid))):
        with style():
            save(by_variant(runs), name)
            save(by_epoch(runs), f"{name}-epochs")


def parser() -> argparse.ArgumentParser:
    p = Parser(description="Draw the comparison of LSTM and GRU.")
    p.add_argument("--grid", type=Path, metavar="DIR", default=GRID,
                   help="what examples/compare_cells.py has written (default "
                   "docs/results/cells)")  # fmt: skip
    return p


if __name__ == "__main__":
    run_command(main)
