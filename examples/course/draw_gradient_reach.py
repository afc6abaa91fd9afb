"""Draw how far gradients reach, from the results.

python examples/course/draw_gradient_reach.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style

# name, part of the state, label, which of STYLES, line
CURVES = (
    ("LSTM", "c", "LSTM, cell c", 2, "--"),
    ("GRU", "h", "GRU", 3, "-"),
    ("RNN_RELU", "h", "ReLU", 1, "-"),
    ("RNN_TANH", "h", "tanh", 0, "-"),
    ("LSTM", "h", "LSTM, output h", 2, "-"),
)
TITLES = {"initial": "Untrained", "trained": "After one pass over the text"}


def reach() -> Any:
    """Two panels: each cell's norms against k, the band from the least to the most of the seeds."""
    numbers = read("gradient-reach")["numbers"]
    figure, axes = new_figure(2, 1, size=(4.8, 7.4))
    for axis, (moment, title) in zip(axes[:, 0], TITLES.items(), strict=True):
        for name, part, label, number, line in CURVES:
            runs = np.array([run[moment][part] for run in numbers[name]["seeds"].values()])
            k = np.arange(1, runs.shape[1] + 1, 2)  # every second is enough for a smooth line
            runs = runs[:, k - 1]
            colour, marker = STYLES[number]
            axis.plot(k, np.exp(np.log(runs).mean(axis=0)), line, color=colour, marker=marker,
                      markevery=3, markersize=5, label=label,
                      markerfacecolor="white" if line == "--" else colour)  # fmt: skip
            axis.fill_between(k, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.25)
        axis.set(yscale="log", ylim=(1e-12, 10), title=title)
        axis.set(xlabel="k, steps back", ylabel="size of the derivative")
        axis.minorticks_off()
    axes[0, 0].legend(loc="lower left", fontsize=9)
    return figure


if __name__ == "__main__":
    with style():
        save(reach(), "gradient-reach")
