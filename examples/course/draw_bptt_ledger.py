"""Draw the gradient ledger from its results.

python examples/course/draw_bptt_ledger.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import new_figure, style


def triangle(cut: int | None = None) -> Any:
    """The shares of the tanh RNN, first seed, in percent of the gradient.

    With `cut`, the entries that detaching after every `cut` steps removes are crossed out.
    """
    result = read("bptt-ledger")
    run = result["numbers"]["RNN_TANH"]["seeds"][str(result["seeds"][0])]
    percent = 100 * np.array(run["shares"])
    T = len(percent)
    figure, axes = new_figure(size=(4.2, 4.2))
    axis = axes[0, 0]
    shown = np.ma.masked_array(percent, np.triu(np.ones((T, T)), 1))
    if cut is not None:
        chunk = np.arange(T) // cut
        shown = np.ma.masked_where(chunk[:, None] != chunk, shown)
    limit = 1.3 * abs(percent).max()  # black numbers stay readable on the darkest colour
    axis.imshow(shown, cmap="PuOr_r", vmin=-limit, vmax=limit)
    for t in range(T):
        for s in range(t + 1):
            value = f"{round(percent[t, s], 1) + 0.0:.1f}"  # no "-0.0"
            kept = not np.ma.getmaskarray(shown)[t, s]
            axis.text(s, t, value, ha="center", va="center", fontsize=9,
                      color="black" if kept else "#6a6a6a")  # fmt: skip
            if not kept:
                axis.plot([s - 0.4, s + 0.4], [t + 0.4, t - 0.4], color="#6a6a6a", linewidth=0.8)
    for border in range(cut, T, cut) if cut is not None else ():
        axis.plot([border - 0.5] * 2, [border - 0.5, T - 0.5], "--", color="black")
        axis.plot([-0.5, border - 0.5], [border - 0.5] * 2, "--", color="black")
    letters = [f"{t + 1} {letter}" for t, letter in enumerate(result["settings"]["text"][:T])]
    axis.set(xlabel="through step s", ylabel="loss of step t", title="Percent of dL/dW_hh")
    axis.set_xticks(range(T), [label.replace(" ", "\n") for label in letters])
    axis.set_yticks(range(T), letters)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    with style():
        save(triangle(), "bptt-ledger")
