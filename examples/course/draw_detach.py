"""Draw what happens without detaching, from the results.

python examples/course/draw_detach.py
"""

from __future__ import annotations

from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

PANELS = {
    "operations": "operations in the graph",
    "MB": "memory held, MB",
    "ms": "CPU time of the batch, ms",
}
WAYS = {"without": ("without detach", 1, "-"), "with": ("with detach", 0, "--")}


def growth() -> Any:
    """Three panels over the number of the batch."""
    numbers = read("detach")["numbers"]
    figure, axes = new_figure(3, 1, size=(4.8, 7.6))
    for axis, (name, label) in zip(axes[:, 0], PANELS.items(), strict=True):
        for way, (called, number, line) in WAYS.items():
            values = numbers[way][name]
            colour, marker = STYLES[number]
            axis.plot(range(1, len(values) + 1), values, line, color=colour, marker=marker,
                      markevery=10, label=called)  # fmt: skip
        axis.set(title=label, ylim=(0, None))
    axes[0, 0].legend(loc="upper left")
    axes[-1, 0].set_xlabel("batch")
    return figure


if __name__ == "__main__":
    with style():
        save(growth(), "detach")
