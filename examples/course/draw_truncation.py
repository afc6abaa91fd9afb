"""Draw which entries of the ledger detach removes, and the cosine, from the results.

python examples/course/draw_truncation.py
"""

from __future__ import annotations

from typing import Any

from draw_bptt_ledger import triangle
from experiment import read, save

from lm.drawing import STYLES, new_figure, style

CELLS = {"RNN_RELU": ("ReLU", 1), "RNN_TANH": ("tanh", 0), "LSTM": ("LSTM", 2), "GRU": ("GRU", 3)}
TITLES = {"initial": "Untrained", "trained": "Trained"}


def cosines() -> Any:
    """The cosine for W_hh over the chunk length, untrained and trained."""
    result = read("truncation")
    numbers = result["numbers"]
    figure, axes = new_figure(2, 1, size=(4.8, 6.6))
    for axis, (moment, title) in zip(axes[:, 0], TITLES.items(), strict=True):
        for cell, (label, number) in CELLS.items():
            colour, marker = STYLES[number]
            by_chunk = numbers[cell][moment]["W_hh"]
            lengths = [int(chunk) for chunk in by_chunk]
            found = [f["cosine"] for f in by_chunk.values()]
            axis.plot(lengths, [f["mean"] for f in found], color=colour, marker=marker, label=label)
            axis.fill_between(lengths, [f["min"] for f in found], [f["max"] for f in found],
                              color=colour, alpha=0.25)  # fmt: skip
        axis.set(
            xscale="log", ylim=(0.7, 1.01), title=title, ylabel="cosine with the full gradient"
        )
        axis.set_xticks(lengths, [str(length) for length in lengths])
        axis.minorticks_off()
    axes[-1, 0].set_xlabel("steps in a chunk")
    axes[0, 0].legend(loc="lower right")
    return figure


if __name__ == "__main__":
    with style():
        save(
            triangle(cut=read("truncation")["settings"]["chunk_of_the_ledger"]), "truncation-ledger"
        )
        save(cosines(), "truncation")
