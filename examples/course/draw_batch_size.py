"""Draw descent with batches of every size: paths on a loss surface, then accuracy and time.

python examples/course/draw_batch_size.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style

TITLES = {"200": "all 200 points", "16": "16 points", "1": "one point"}


def paths() -> Any:
    """The loss surface of a line's two weights, and the path with each batch size."""
    numbers = read("batch-size")["numbers"]["line"]
    surface = numbers["surface"]
    a, b = np.meshgrid(np.linspace(-1.6, 3.4, 30), np.linspace(-2.2, 2.2, 30))
    w = np.stack([a, b])
    loss = np.einsum("ixy,ij,jxy->xy", w, surface["moments"], w) / 2
    loss += surface["squares"] / 2 - np.tensordot(surface["products"], w, axes=1)
    figure, axes = new_figure(rows=3, size=(4.4, 8.0))
    for axis, (size, rows), (colour, marker) in zip(
        axes[:, 0], numbers["batches"].items(), STYLES, strict=False
    ):
        axis.contour(a, b, loss, levels=loss.min() + 0.12 * 1.7 ** np.arange(8), colors="#bbbbbb")
        way = np.array(rows["path"])
        axis.plot(*way.T, color=colour, marker=marker, markersize=3.5, linewidth=1)
        axis.plot(*surface["best"], "*", color="black", markersize=11)
        axis.set(title=f"each step from {TITLES[size]}", ylabel="intercept")
        axis.grid(False)
    axes[-1, 0].set_xlabel("slope")
    return figure


def sizes() -> Any:
    """Test accuracy after ten epochs, and CPU time of an epoch, against the batch size."""
    result = read("batch-size")
    rows = result["numbers"]["digits"]
    size = [int(n) for n in rows]
    figure, axes = new_figure(rows=2, size=(4.4, 5.6))
    accuracy, seconds = axes[:, 0]
    labels = {"fixed": f"learning rate {result['settings']['lr']:g}", "best": "best of five"}
    for (key, label), (colour, marker) in zip(labels.items(), STYLES, strict=False):
        accuracy.plot(
            size, [row[key]["mean"] for row in rows.values()], color=colour, marker=marker,
            label=label,
        )  # fmt: skip
        for n, row in zip(size, rows.values(), strict=True):
            runs = row[key]["runs"]
            accuracy.plot([n] * len(runs), runs, marker, color=colour, markersize=3, alpha=0.4)
    accuracy.set(xscale="log", ylabel="test accuracy, %", ylim=(None, 100))
    accuracy.legend(loc="lower left")
    colour, marker = STYLES[2]
    seconds.plot(size, [row["ms"]["mean"] for row in rows.values()], color=colour, marker=marker)
    seconds.set(xscale="log", yscale="log", xlabel="batch size", ylabel="CPU time per epoch, ms")
    for axis in (accuracy, seconds):
        axis.set_xticks(size[::2], [str(n) for n in size[::2]])
        axis.minorticks_off()
    return figure


if __name__ == "__main__":
    with style():
        save(paths(), "batch-paths")
        save(sizes(), "batch-size")
