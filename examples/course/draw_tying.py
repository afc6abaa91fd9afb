"""Draw the two gradients of a tied matrix, how far its rows move, and a region of words.

python examples/course/draw_tying.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from experiment import draw_seeds, read, save
from tying import REGION

from lm.drawing import STYLES, new_figure, style


def labels_of(bins: Sequence[int]) -> list[str]:
    """The lower end of each bin of frequency, which are powers of four."""
    return [f"{edge}" if edge < 1024 else f"{edge // 1024}k" for edge in bins]


def streams(numbers: dict[str, Any]) -> Any:
    """The mean norm of a word's row in each gradient, by the word's frequency."""
    figure, axes = new_figure(2, 1, size=(4.8, 5.4))
    looks = (("decoder", "through the decoder", STYLES[1]),
             ("embedding", "through the embedding", STYLES[0]))  # fmt: skip
    for axis, (when, title) in zip(
        axes[:, 0], (("start", "Before training"), ("end", "After training")), strict=True
    ):
        for key, label, look in looks:
            runs = [run["streams"][when]["by_frequency"][key]
                    for run in numbers["seeds"].values()]  # fmt: skip
            draw_seeds(axis, range(len(numbers["bins"])), runs, look, label)
        axis.set_yscale("log")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("norm of a word's row")
        axis.set_xticks(range(len(numbers["bins"])), labels_of(numbers["bins"]))
    axes[0, 0].legend(loc="upper left")
    axes[1, 0].set_xlabel("occurrences in the training text, at least")
    return figure


def moved(numbers: dict[str, Any]) -> Any:
    """How far a word's row has moved, by the word's frequency, in each matrix."""
    figure, axes = new_figure(size=(4.8, 3.6))
    axis = axes[0, 0]
    looks = (("output", "output matrix, untied", STYLES[1], "--"),
             ("tied", "tied matrix", STYLES[2], "-"),
             ("input", "input matrix, untied", STYLES[0], "--"))  # fmt: skip
    for key, label, look, ls in looks:
        runs = [run["moved"][key] for run in numbers["seeds"].values()]
        draw_seeds(axis, range(len(numbers["bins"])), runs, look, label, ls=ls)
    axis.set_yscale("log")
    axis.set_xticks(range(len(numbers["bins"])), labels_of(numbers["bins"]))
    axis.set(xlabel="occurrences in the training text, at least",
             ylabel="distance moved (row at start = 1)")  # fmt: skip
    axis.legend()
    return figure


def region(found: dict[str, Any]) -> Any:
    """Words of a few kinds in the plane of their two principal components."""
    figure, axes = new_figure(size=(5.2, 5.4))
    axis = axes[0, 0]
    xy, kinds = np.array(found["xy"]), np.array(found["kinds"])
    line = 0.062 * np.ptp(xy[:, 1]) * 0.62  # from one label to the next
    sides = {"months": -1, "days": 1, "places": 1, "movement": -1, "modal verbs": -1}
    looks = [*STYLES, ("#000000", "v")]
    for (colour, marker), kind in zip(looks, REGION, strict=True):
        inside = np.flatnonzero(kinds == kind)
        points, side = xy[inside], sides[kind]
        axis.plot(*points.T, marker, color=colour, ms=6, label=kind)
        edge = points[:, 0].max() if side > 0 else points[:, 0].min()
        order = inside[np.argsort(-points[:, 1])]
        top = points[:, 1].mean() + line * (len(order) - 1) / 2
        for i, word in enumerate(order):
            place = (edge + 0.12 * side, top - i * line)
            axis.annotate(found["words"][word], xy[word], place, fontsize=9, va="center",
                          ha="left" if side > 0 else "right",
                          arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5,
                                      "shrinkA": 0, "shrinkB": 3})  # fmt: skip
    axis.set(xlabel="first principal component", ylabel="second principal component")
    left, wide = xy[:, 0].min(), np.ptp(xy[:, 0])
    axis.set_xlim(left - 0.4 * wide, left + 1.1 * wide)
    axis.margins(y=0.12)
    axis.grid(False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9, columnspacing=1)
    return figure


if __name__ == "__main__":
    result = read("tying")
    numbers, first = result["numbers"], str(result["seeds"][0])
    with style():
        save(streams(numbers), "tying-streams")
        save(moved(numbers), "tying-moved")
        save(region(numbers["seeds"][first]["region"]["tied"]), "tying-region")
