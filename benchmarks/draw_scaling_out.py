"""Draw the predicted efficiency, and the all-reduce by size, from the results of scaling_out.py.

python benchmarks/draw_scaling_out.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scaling_model as model

from lm.drawing import STYLES, new_figure, save_figure, style
from lm.results import read_result

DOCS = Path(__file__).resolve().parent.parent / "docs"
CASES = {
    "100 GbE": "100 GbE, nodes of two cores",
    "NVLink": "NVLink, GPUs of one server",
    "10 GbE": "10 GbE, nodes of two cores",
    "faster nodes, 10 GbE": "10 GbE, nodes eight times as fast",
}
MOST = {"NVLink": 8}  # GPUs in such a server


def efficiency(numbers: dict[str, Any]) -> Any:
    """A line for the smallest model of each case, and a band from the least to the most of all."""
    figure, axes = new_figure(1, 1, (4.6, 4.4))
    axis = axes[0, 0]
    for (case, label), (colour, marker) in zip(CASES.items(), STYLES, strict=True):
        by_size = [c["efficiency"] for s in numbers["model"][case].values() for c in s.values()]
        ranks = [n for n in by_size[0] if int(n) <= MOST.get(case, int(n))]
        places = [int(n) for n in ranks]
        low, high = ([f(size[n] for size in by_size) for n in ranks] for f in (min, max))
        axis.fill_between(places, low, high, color=colour, alpha=0.2, lw=0)
        line = [by_size[0][n] for n in ranks]
        axis.plot(places, line, color=colour, marker=marker, ms=5, lw=1.4, label=label)
    axis.set(xscale="log", ylim=(0, 1.05), xlabel="ranks", ylabel="efficiency")
    axis.set_xticks(*zip(*((n, str(n)) for n in (1, 2, 4, 8, 16, 32, 64)), strict=True))
    axis.minorticks_off()
    figure.legend(loc="outside lower center")
    return figure


def messages(numbers: dict[str, Any]) -> Any:
    figure, axes = new_figure(1, 1, (4.6, 3.2))
    axis, found = axes[0, 0], {int(size): us for size, us in numbers["messages"].items()}
    calibration = numbers["calibration"]
    bandwidth, latency = calibration["gigabytes per second"], calibration["latency us"]
    network = model.Network(1e9 * bandwidth, 1e-6 * latency)
    (colour, marker), (other, _) = STYLES[:2]
    axis.plot(found.keys(), found.values(), marker, color=colour, ms=5, label="measured")
    line = [1e6 * network.all_reduce(size, 2) for size in found]
    axis.plot(found.keys(), line, color=other, lw=1.2, label="model")
    axis.set(xscale="log", yscale="log", xlabel="bytes", ylabel="microseconds")
    axis.legend()
    return figure


if __name__ == "__main__":
    numbers = read_result(DOCS / "results" / "scaling-out.json")["numbers"]
    with style():
        save_figure(efficiency(numbers), DOCS / "figures" / "scaling-out.svg")
        save_figure(messages(numbers), DOCS / "figures" / "scaling-out-messages.svg")
