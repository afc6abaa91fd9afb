"""Draw how the average of thinned networks approaches the scaled network.

python examples/course/draw_dropout_ensemble.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style


def averages() -> Any:
    """Errors and loss of the average of n networks, less those of the scaled one, by seed."""
    runs = read("dropout-ensemble")["numbers"]["seeds"].values()
    figure, axes = new_figure(rows=2, size=(4.4, 5.2))
    for axis, metric, label in zip(
        axes[:, 0], ("errors", "loss"), ("errors, percentage points", "loss, nats"), strict=True
    ):
        for way, (colour, marker) in zip(("average", "geometric"), STYLES, strict=False):
            counts = [int(n) for n in next(iter(runs))[way]]
            more = np.array(
                [[run[way][str(n)][metric] - run["whole"][metric] for n in counts] for run in runs]
            )
            name = {"average": "mean of probabilities", "geometric": "geometric mean"}[way]
            axis.plot(counts, more.mean(axis=0), color=colour, marker=marker, label=name)
            axis.fill_between(counts, more.min(axis=0), more.max(axis=0), color=colour, alpha=0.18)
        axis.axhline(0, color="#444444", linewidth=1)
        axis.set(xscale="log", xticks=counts, xticklabels=counts, ylabel=label)
        axis.minorticks_off()
    axes[0, 0].set_title("More than the scaled network")
    axes[0, 0].legend()
    axes[1, 0].set_xlabel("thinned networks in the average")
    return figure


if __name__ == "__main__":
    with style():
        save(averages(), "dropout-ensemble")
