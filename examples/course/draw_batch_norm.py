"""Draw what batch normalisation changes.

python examples/course/draw_batch_norm.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import read, save

from lm.drawing import STYLES, new_figure, style

KINDS = {
    "without": "no batch norm",
    "he": "no batch norm, He's weights",
    "uniform": "batch norm, γ from 0 to 1",
    "ones": "batch norm, γ = 1",
}


def numbers() -> Any:
    return read("batch-norm")["numbers"]


def depth() -> Any:
    """The spread of the activations in each layer, at the start and after training."""
    figure, axes = new_figure(rows=2, size=(4.4, 5.8), share=True)
    for axis, moment, title in zip(
        axes[:, 0], ("start", "trained"), ("before training", "after training"), strict=True
    ):
        for (kind, label), (colour, marker) in zip(KINDS.items(), STYLES, strict=True):
            spread = np.array(numbers()["depth"][moment][kind]["spread"])
            layers = np.arange(1, spread.shape[1] + 1)
            axis.plot(layers, spread.mean(axis=0), color=colour, marker=marker, label=label)
            axis.fill_between(
                layers, spread.min(axis=0), spread.max(axis=0), color=colour, alpha=0.18
            )
        axis.set(yscale="log", ylabel="standard deviation", title=title)
    axes[1, 0].set_xlabel("layer")
    axes[0, 0].legend(loc="lower left", fontsize=9)
    return figure


def rates() -> Any:
    """The test errors over learning rates, for each kind of network."""
    figure, axes = new_figure(size=(4.6, 4.2))
    axis = axes[0, 0]
    for (kind, label), (colour, marker) in zip(KINDS.items(), STYLES, strict=True):
        rows = numbers()["rates"][kind]["rates"].values()
        lr = [row["lr"] for row in rows]
        axis.plot(lr, [row["mean"] for row in rows], color=colour, marker=marker, label=label)
        axis.fill_between(
            lr, [row["min"] for row in rows], [row["max"] for row in rows], color=colour, alpha=0.15
        )
    axis.set(xscale="log", xlabel="learning rate", ylabel="test errors, %", ylim=(0, 100))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", fontsize=9)
    return figure


def running() -> Any:
    """The mean of one unit: of each batch, of all images, and the running means."""
    curves = numbers()["running"]["curves"]
    names = {"50": "ours 0.5, PyTorch 0.5", "90": "ours 0.9, PyTorch 0.1",
             "99": "ours 0.99, PyTorch 0.01"}  # fmt: skip
    figure, axes = new_figure(rows=3, size=(4.6, 7.0), share=True)
    for axis, (name, label), (colour, _) in zip(axes[:, 0], names.items(), STYLES, strict=False):
        axis.plot(curves["batch"], color="#bbbbbb", linewidth=0.8, label="mean of each batch")
        axis.plot(curves["all"], color="black", linestyle="--", label="mean of all images")
        axis.plot(curves["running"][name], color=colour, linewidth=2, label="running mean")
        axis.set(title=f"momentum: {label}", ylabel="mean of a unit")
        axis.set_xticks(range(0, len(curves["all"]) + 1, 50))
    axes[-1, 0].set_xlabel("batches so far")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=1)
    return figure


def modes() -> Any:
    """The errors in training mode against the batch size, and in evaluation."""
    found = numbers()["modes"]
    figure, axes = new_figure(size=(4.4, 3.8))
    axis = axes[0, 0]
    for (name, label), (colour, marker) in zip(
        (("one class", "batches of one class"), ("random", "batches of random digits")),
        (STYLES[1], STYLES[0]),
        strict=True,
    ):
        x = range(len(found[name]))
        axis.plot(
            x, [r["mean"] for r in found[name].values()], color=colour, marker=marker, label=label
        )
        for at, row in zip(x, found[name].values(), strict=True):
            axis.plot([at] * len(row["runs"]), row["runs"], marker, color=colour, markersize=3)
    axis.axhline(found["evaluation"]["mean"], color="black", linestyle="--", label="evaluation")
    axis.set(xticks=list(x), xticklabels=list(found["random"]), ylim=(-3, 100))
    axis.set(xlabel="batch size in training mode", ylabel="test errors, %")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", fontsize=9)
    return figure


if __name__ == "__main__":
    with style():
        save(depth(), "batch-norm-depth")
        save(rates(), "batch-norm-rates")
        save(running(), "batch-norm-running")
        save(modes(), "batch-norm-modes")
