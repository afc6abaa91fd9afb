"""Draw the accuracy at recalling a symbol over the chunk length, from the results.

python examples/course/draw_recall.py
"""

from __future__ import annotations

from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

CELLS = {"RNN_TANH": ("tanh", 0), "LSTM": ("LSTM", 2), "GRU": ("GRU", 3)}


def cliff() -> Any:
    """A dot for each seed, and a line through the means."""
    result = read("recall")
    numbers, used = result["numbers"], result["settings"]
    figure, axes = new_figure(size=(4.8, 3.8))
    axis = axes[0, 0]
    for cell, (label, number) in CELLS.items():
        colour, marker = STYLES[number]
        lengths = [int(length) for length in numbers[cell]]
        found = list(numbers[cell].values())
        axis.plot(lengths, [f["mean"] for f in found], color=colour, marker=marker, label=label)
        for length, f in zip(lengths, found, strict=True):
            axis.plot([length] * len(f["seeds"]), f["seeds"], marker, color=colour, alpha=0.4,
                      markersize=4)  # fmt: skip
    axis.axvline(used["lag"] + 0.5, color="#555555", linestyle=":")
    axis.text(used["lag"] + 0.2, 72, "the gradient\nreaches the\nsymbol  →", ha="right", fontsize=9)
    axis.axhline(100 / used["symbols"], color="#555555", linewidth=0.8)
    axis.text(32, 100 / used["symbols"] + 1.5, "guessing", ha="right", fontsize=9)
    axis.set(xscale="log", xlabel="steps in a chunk", ylabel="right answers, %", ylim=(0, 103))
    axis.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axis.minorticks_off()
    axis.set_title(f"Recall the symbol {used['lag']} steps back")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.3))
    return figure


if __name__ == "__main__":
    with style():
        save(cliff(), "recall")
