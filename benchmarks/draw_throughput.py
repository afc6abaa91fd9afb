"""Draw tokens per second against each size, from the results of throughput.py.

python benchmarks/draw_throughput.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm.drawing import STYLES, new_figure, save_figure, style
from lm.results import read_result

DOCS = Path(__file__).resolve().parent.parent / "docs"
LABELS = {
    "bptt": "steps per chunk, T",
    "batch_size": "columns, B",
    "nhid": "units, H",
    "words": "words in the vocabulary, V",
}


def curves(numbers: dict[str, Any]) -> Any:
    figure, axes = new_figure(2, 2, (6.4, 5.4))
    for axis, (name, label) in zip(axes.flat, LABELS.items(), strict=True):
        for (who, found), (colour, marker) in zip(numbers[name].items(), STYLES, strict=False):
            if who != "ratio":
                places = [int(value) for value in found]
                axis.plot(places, found.values(), color=colour, marker=marker, ms=4, label=who)
        axis.set(xlabel=label, xscale="log", ylim=(0, None))
        axis.set_xticks(places, [f"{place:,}" for place in places])
        axis.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("tokens per second")
    axes[0, 0].legend(loc="lower right")
    return figure


if __name__ == "__main__":
    numbers = read_result(DOCS / "results" / "throughput.json")["numbers"]
    with style():
        save_figure(curves(numbers), DOCS / "figures" / "throughput.svg")
