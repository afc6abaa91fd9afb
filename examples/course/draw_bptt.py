"""Draw the gradient ledger from its results.

python examples/course/draw_bptt.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]


def ledger() -> Figure:
    """The triangle of the tanh RNN, first seed: percent of the gradient."""
    result = json.loads((ROOT / "docs/results/bptt-ledger.json").read_text(encoding="utf-8"))
    run = result["numbers"]["RNN_TANH"]["seeds"][str(result["seeds"][0])]
    percent = 100 * np.array(run["shares"])
    T = len(percent)
    figure = Figure(figsize=(4.2, 4.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_array(percent, np.triu(np.ones((T, T)), 1))
    limit = abs(percent).max()
    axes.imshow(shown, cmap="PuOr_r", vmin=-1.3 * limit, vmax=1.3 * limit)
    for t in range(T):
        for s in range(t + 1):
            axes.text(
                s, t, f"{round(percent[t, s], 1) + 0.0:.1f}", ha="center", va="center", fontsize=8.5
            )
    axes.set(xlabel="through step s", ylabel="loss of step t", title="Percent of dL/dW_hh")
    axes.set(xticks=range(T), yticks=range(T))
    axes.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "bptt"
    target = ROOT / "docs" / "figures" / "course" / "bptt-ledger.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    ledger().savefig(target, metadata={"Date": None})
