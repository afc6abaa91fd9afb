"""Draw what the chunk length costs, from the results.

python examples/course/draw_bptt_length.py
"""

from __future__ import annotations

from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

WAYS = {
    "same columns": ("same columns: shorter chunks,\nmore updates", 1),
    "same updates": ("same updates: only the\ntruncation differs", 0),
}


def cost() -> Any:
    """Perplexity above, time below; bands are the range of the seeds."""
    numbers = read("bptt-length")["numbers"]
    figure, axes = new_figure(2, 1, size=(4.8, 6.6))
    for axis, key in zip(axes[:, 0], ("perplexity", "us_per_letter"), strict=True):
        for way, (label, number) in WAYS.items():
            colour, marker = STYLES[number]
            lengths = [int(length) for length in numbers[way]]
            found = [f[key] for f in numbers[way].values()]
            axis.plot(lengths, [f["mean"] for f in found], color=colour, marker=marker, label=label)
            axis.fill_between(lengths, [f["min"] for f in found], [f["max"] for f in found],
                              color=colour, alpha=0.25)  # fmt: skip
        axis.set(xscale="log", xlabel="steps in a chunk (bptt)")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
    axes[0, 0].set(title="Perplexity per letter", ylim=(3.7, 6))
    axes[1, 0].set(ylim=(0, None))
    axes[1, 0].set_title("CPU time of training, µs per letter")
    axes[0, 0].legend(loc="upper left", fontsize=9)
    return figure


if __name__ == "__main__":
    with style():
        save(cost(), "bptt-length")
