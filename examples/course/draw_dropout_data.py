"""Draw the gain of dropout against the number of training examples.

python examples/course/draw_dropout_data.py
"""

from __future__ import annotations

from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

TITLES = {"digits": "handwritten digits", "teacher": "a teacher's classes, a fifth mislabelled"}


def gains() -> Any:
    """One panel for each task: errors without less errors with dropout, a dot for each seed."""
    numbers = read("dropout-data")["numbers"]
    figure, axes = new_figure(rows=2, size=(4.4, 5.4))
    for axis, (task, rows), (colour, marker) in zip(
        axes[:, 0], numbers.items(), STYLES, strict=False
    ):
        sizes = [int(size) for size in rows]
        axis.plot(
            sizes, [row["gain"]["mean"] for row in rows.values()], color=colour, marker=marker
        )
        for size, row in zip(sizes, rows.values(), strict=True):
            runs = row["gain"]["runs"]
            axis.plot([size] * len(runs), runs, ".", color=colour, alpha=0.5)
        axis.axhline(0, color="#444444", linewidth=1)
        axis.set(xscale="log", title=TITLES[task], ylabel="gain, percentage points")
    axes[-1, 0].set_xlabel("training examples")
    return figure


if __name__ == "__main__":
    with style():
        save(gains(), "dropout-data")
