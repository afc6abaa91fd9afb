"""Draw the test errors by rate of dropout, and by epoch.

python examples/course/draw_dropout_rates.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, plain_numbers, style


def rate(name: str) -> float:
    """0.5 from "hidden 50"."""
    return float(name.split()[1]) / 100


def rates() -> Any:
    """Above: errors against the rate of the hidden units. Below: errors by epoch."""
    numbers = read("dropout-rates")["numbers"]
    figure, axes = new_figure(rows=2, size=(4.4, 6.2))
    grid, epochs = axes[:, 0]
    for (name, row), (colour, marker) in zip(numbers["grid"].items(), STYLES, strict=False):
        x = [rate(hidden) for hidden in row]
        grid.plot(
            x, [c["mean"] for c in row.values()], color=colour, marker=marker,
            label=f"{rate(name):g}",
        )  # fmt: skip
        for at, cell in zip(x, row.values(), strict=True):
            runs = cell["runs"]
            grid.plot([at] * len(runs), runs, marker, color=colour, markersize=3, alpha=0.5)
    grid.set(xlabel="rate of the hidden units", ylabel="test errors, %", yscale="log", xticks=x)
    grid.legend(title="rate of the inputs", loc="upper left")

    for (name, curve), (colour, marker) in zip(numbers["curves"].items(), STYLES, strict=True):
        runs = np.array(curve["runs"])
        x = np.arange(1, runs.shape[1] + 1)
        epochs.plot(
            x, runs.mean(axis=0), color=colour, marker=marker, markevery=6, label=f"{rate(name):g}"
        )
        epochs.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.18)
    epochs.set(xlabel="epoch", ylabel="test errors, %", yscale="log")
    epochs.legend(title="rate of the hidden units")
    for axis in (grid, epochs):
        plain_numbers(axis)
    return figure


if __name__ == "__main__":
    with style():
        save(rates(), "dropout-rates")
