"""Draw what training shows of a wrong derivative, from the results.

python examples/course/draw_wrong_derivatives.py
"""

from __future__ import annotations

import math
from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

LEAST = 1e-4  # losses below this one are drawn here


def losses() -> Any:
    """A row for each derivative, a dot for each seed."""
    result = read("wrong-derivatives")
    mistakes = list(result["numbers"]["mistakes"].values())
    figure, axes = new_figure(size=(4.6, 3.4))
    axis = axes[0, 0]
    for row, mistake in enumerate(mistakes):
        colour, marker = STYLES[1 if mistake["found_by_gradcheck"] else 0]
        found = [max(loss, LEAST) for loss in mistake["losses"]]
        axis.scatter(found, [row] * len(found), color=colour, marker=marker, s=32, alpha=0.7, lw=0)
    axis.axvline(math.log(2), color="#555555", lw=1, ls="--")
    axis.text(math.log(2), -0.75, "guessing", ha="right", va="center", fontsize=9)
    axis.set(xscale="log", xlim=(0.8 * LEAST, 1.5), xlabel="loss after training")
    axis.set_yticks(range(len(mistakes)), [mistake["label"] for mistake in mistakes])
    axis.set_ylim(len(mistakes) - 0.5, -1.1)
    return figure


if __name__ == "__main__":
    with style():
        save(losses(), "wrong-derivatives")
