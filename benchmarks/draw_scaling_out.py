"""Draw the predicted efficiency, and the all-reduce by size, from the results of scaling_out.py.

python benchmarks/draw_scaling_out.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import scaling_model as model

from lm.drawing import STYLES, new_figure, save_figure, style

ROOT = Path(__file__).resolve().parent.parent
CASES = {
    "10 GbE": "10 GbE, nodes of two cores",
    "faster nodes, 10 GbE": "10 GbE, nodes eight times as fast",
    "100 GbE": "100 GbE, nodes of two cores",
    "NVLink": "NVLink, GPUs of one server",
}
MOST = {"NVLink": 8}  # GPUs in such a server
WORDS = {"10000": "-", "267735": "--"}


def efficiency(numbers: dict[str, Any]) -> Any:
    figure, axes = new_figure(len(CASES), 1, (4.6, 8.6))
    for axis, (case, title) in zip(axes[:, 0], CASES.items(), strict=True):
        for (units, by_words), (colour, marker) in zip(
            numbers["model"][case].items(), STYLES, strict=False
        ):
            for words, line in WORDS.items():
                found = by_words[words]["efficiency"]
                places = [n for n in map(int, found) if n <= MOST.get(case, n)]
                axis.plot(
                    places, [found[str(n)] for n in places], line, color=colour, marker=marker,
                    ms=4, lw=1.2, label=f"{units} units" if line == "-" else None,
                )  # fmt: skip
        axis.set_title(title, fontsize=10, loc="left")
        axis.set(xscale="log", xlim=(0.9, 72), ylim=(0, 1.05), ylabel="efficiency")
        axis.set_xticks(*zip(*((n, str(n)) for n in (1, 2, 4, 8, 16, 32, 64)), strict=True))
        axis.minorticks_off()
    axes[0, 0].plot([], [], "-", color="#555555", label="10,000 words")
    axes[0, 0].plot([], [], "--", color="#555555", label="267,735 words")
    axes[-1, 0].set_xlabel("ranks")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
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
    result = json.loads((ROOT / "docs" / "results" / "scaling-out.json").read_text("utf-8"))
    figures = ROOT / "docs" / "figures"
    with style():
        save_figure(efficiency(result["numbers"]), figures / "scaling-out.svg")
        save_figure(messages(result["numbers"]), figures / "scaling-out-messages.svg")
