"""Draw the two gradients of a tied matrix, how far its rows move, and a region of words.

python examples/course/draw_tying.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style
from tying import REGION


def labels_of(bins: Sequence[int]) -> list[str]:
    """The lower end of each bin of frequency, which are powers of four."""
    return [f"{edge:,}+" for edge in bins]


def lines(axis: Any, runs: Sequence[Sequence[float | None]], look: tuple[str, str], name: str,
          ls: str = "-") -> None:  # fmt: skip
    """The mean of several runs, and a small mark for each; None where a bin is empty."""
    colour, marker = look
    table = np.array([[np.nan if x is None else x for x in run] for run in runs], float)
    at = np.arange(table.shape[1])
    axis.plot(at, table.mean(axis=0), color=colour, marker=marker, ms=6, ls=ls, label=name)
    for run in table:
        axis.plot(at, run, color=colour, marker=marker, ms=3, ls="", alpha=0.7)


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
            lines(axis, runs, look, label)
        axis.set_yscale("log")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("norm of a word's row")
        axis.set_xticks(range(len(numbers["bins"])), labels_of(numbers["bins"]))
    axes[0, 0].legend(loc="upper left")
    axes[1, 0].set_xlabel("occurrences of the word in the training text")
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
        lines(axis, runs, look, label, ls)
    axis.set_yscale("log")
    axis.set_xticks(range(len(numbers["bins"])), labels_of(numbers["bins"]))
    axis.set(xlabel="occurrences of the word in the training text",
             ylabel="distance moved (row at start = 1)")  # fmt: skip
    axis.legend()
    return figure


def region(found: dict[str, Any], title: str) -> Any:
    """Words of a few kinds in the plane of their two principal components."""
    figure, axes = new_figure(size=(5.0, 4.6))
    axis = axes[0, 0]
    xy, kinds = np.array(found["xy"]), found["kinds"]
    looks = [*STYLES, ("#000000", "v")]
    for (colour, marker), kind in zip(looks, REGION, strict=True):
        inside = np.array([k == kind for k in kinds])
        axis.plot(*xy[inside].T, marker, color=colour, ms=6, label=kind)
    for (x, y), word in zip(xy, found["words"], strict=True):
        axis.annotate(word, (x, y), (4, 2), textcoords="offset points", fontsize=9)
    axis.set(title=title, xlabel="first principal component",
             ylabel="second principal component")  # fmt: skip
    axis.margins(0.12)
    axis.legend(loc="best", fontsize=9)
    return figure


if __name__ == "__main__":
    result = read("tying")
    numbers, first = result["numbers"], str(result["seeds"][0])
    with style():
        save(streams(numbers), "tying-streams")
        save(moved(numbers), "tying-moved")
        save(region(numbers["seeds"][first]["region"]["tied"], ""), "tying-region")
