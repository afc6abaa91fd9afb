"""Draw the gradient ledger from its results.

python examples/course/draw_bptt_ledger.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import new_figure, style


def ledger() -> Any:
    """The triangle of the tanh RNN, first seed: percent of the gradient."""
    result = read("bptt-ledger")
    run = result["numbers"]["RNN_TANH"]["seeds"][str(result["seeds"][0])]
    percent = 100 * np.array(run["shares"])
    T = len(percent)
    figure, axes = new_figure(size=(4.2, 4.2))
    axis = axes[0, 0]
    shown = np.ma.masked_array(percent, np.triu(np.ones((T, T)), 1))
    limit = abs(percent).max()
    axis.imshow(shown, cmap="PuOr_r", vmin=-1.3 * limit, vmax=1.3 * limit)
    for t in range(T):
        for s in range(t + 1):
            axis.text(
                s, t, f"{round(percent[t, s], 1) + 0.0:.1f}", ha="center", va="center", fontsize=8.5
            )
    axis.set(xlabel="through step s", ylabel="loss of step t", title="Percent of dL/dW_hh")
    axis.set(xticks=range(T), yticks=range(T))
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    with style():
        save(ledger(), "bptt-ledger")
