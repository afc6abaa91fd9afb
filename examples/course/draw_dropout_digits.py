"""Draw the masks of standard and spatial dropout, and the errors with each.

python examples/course/draw_dropout_digits.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style

KINDS = ("none", "standard", "spatial")


def masks() -> Any:
    """Six feature maps of one digit: as they are, and with each kind of dropout."""
    picture = read("dropout-digits")["numbers"]["picture"]
    columns = len(picture["none"])
    figure, axes = new_figure(rows=len(picture), columns=columns, size=(5.2, 3.0))
    top = np.max(picture["none"])
    for row, (kind, maps) in zip(axes, picture.items(), strict=True):
        for axis, values, whole in zip(row, maps, picture["none"], strict=True):
            shown = np.array(values)
            if kind != "none":
                shown = shown / 2  # without the scale 1/(1 - p), so that kept pixels look the same
            axis.imshow(shown, cmap="Greys", vmin=0, vmax=top)
            dropped = (shown == 0) & (np.array(whole) > 0)
            axis.plot(*np.nonzero(dropped)[::-1], "x", color=STYLES[1][0], markersize=3)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            for spine in axis.spines.values():
                spine.set_visible(True)
        row[0].set_ylabel(kind)
    return figure


def label(name: str) -> str:
    """Such as "spatial" over "p = 0.5" from "spatial 50"."""
    kind, percent = name.split()
    return f"{kind}\np = {int(percent) / 100:g}" if kind != "none" else kind


def errors() -> Any:
    """The test errors of each kind of dropout, a dot for each seed."""
    numbers = read("dropout-digits")["numbers"]["errors"]
    figure, axes = new_figure(rows=len(numbers), size=(4.4, 4.8))
    for axis, (size, rows) in zip(axes[:, 0], numbers.items(), strict=True):
        for x, (name, row) in enumerate(rows.items()):
            colour, marker = STYLES[KINDS.index(name.split()[0])]
            runs = row["runs"]
            axis.plot([x] * len(runs), runs, marker, color=colour, alpha=0.6, markersize=5)
            axis.plot([x - 0.3, x + 0.3], [row["mean"]] * 2, color=colour, linewidth=2)
        axis.set(
            xticks=range(len(rows)),
            xticklabels=[label(name) for name in rows],
            ylabel="test errors, %",
            title=f"{size} training images",
        )
    return figure


if __name__ == "__main__":
    with style():
        save(masks(), "dropout-masks")
        save(errors(), "dropout-digits")
