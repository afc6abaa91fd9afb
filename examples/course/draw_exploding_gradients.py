"""Draw exploding gradients, from the results.

python examples/course/draw_exploding_gradients.py
"""

from __future__ import annotations

from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

CELLS = {"RNN_RELU": ("ReLU", 1), "RNN_TANH": ("tanh", 0), "GRU": ("GRU", 3), "LSTM": ("LSTM", 2)}


def explosion() -> Any:
    """The norm by spectral radius, and the loss with and without clipping, a line per seed."""
    result = read("exploding-gradients")
    numbers, used = result["numbers"], result["settings"]
    figure, axes = new_figure(2, 1, size=(4.8, 7.0))
    above, below = axes[:, 0]
    for cell, (label, number) in CELLS.items():
        colour, marker = STYLES[number]
        radii = [float(radius.replace(",", ".")) for radius in numbers["norm"][cell]]
        found = list(numbers["norm"][cell].values())
        # the middle of the three seeds
        middle = [3 * s["mean"] - s["min"] - s["max"] for s in found]
        above.plot(radii, middle, color=colour, marker=marker, label=label)
        above.fill_between(radii, [s["min"] for s in found], [s["max"] for s in found],
                           color=colour, alpha=0.25)  # fmt: skip
    above.set(yscale="log", xlabel="spectral radius of W_hh", ylabel="norm of dL/dW_hh")
    above.set_title("One gradient, untrained, 50 steps")
    above.legend(loc="upper left")
    above.minorticks_off()

    for name, label, number, line in (
        ("unclipped", "without clipping", 1, ":"),
        ("clipped", f"clipped at {used['clip']}", 0, "-"),
    ):
        colour, marker = STYLES[number]
        for i, run in enumerate(numbers["training"][name]["seeds"].values()):
            losses = [loss for loss in run["loss"] if loss is not None]
            below.plot(range(1, len(losses) + 1), losses, line, color=colour,
                       label=label if i == 0 else None)  # fmt: skip
            if len(losses) < len(run["loss"]):
                below.plot(len(losses), losses[-1], "X", color=colour, markersize=9)
    below.set(yscale="log", xscale="log", xlabel="update", ylabel="loss, nats per letter")
    below.set_xticks([1, 10, 100], ["1", "10", "100"])
    below.set_title("Training a ReLU RNN, three seeds")
    below.legend(loc="upper right")
    return figure


if __name__ == "__main__":
    with style():
        save(explosion(), "exploding-gradients")
