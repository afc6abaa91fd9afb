"""Draw what is inside of a trained language model.

python examples/course/draw_inside.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from experiment import draw_seeds, read, save

from lm.drawing import STYLES, new_figure, style

FOUR = ("new york stock", "in the third", "mr. <unk>", "the company said it")
GATES = ("input", "forget", "output")


def over_text(found: dict[str, Any]) -> Any:
    """The forget gate of a few units, and the mean of each gate, at each word of a text."""
    words = found["words"]
    figure, axes = new_figure(1, 2, size=(5.2, 6.0), share=True)
    units, means = axes[0]
    table = np.array(found["forget"])
    image = units.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    units.set_yticks(range(len(words)), words)
    units.set_xticks([])
    units.set_xlabel(f"{table.shape[1]} hidden units")
    units.set_title("forget gate", fontsize=10)
    for name, (colour, marker) in zip(GATES, STYLES, strict=False):
        means.plot(found["means"][name], range(len(words)), color=colour, marker=marker, ms=4,
                   lw=1, label=name)  # fmt: skip
    means.set_title("mean of all units", fontsize=10)
    means.set_xlabel("gate")
    means.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=9, handlelength=1)
    units.grid(False)
    figure.colorbar(image, ax=units, location="bottom", label="0: forget, 1: keep", shrink=0.9)
    return figure


def saturation(numbers: dict[str, Any]) -> Any:
    """The share of gate values that are nearly closed or open, during training."""
    figure, axes = new_figure(3, 1, size=(4.6, 6.2), share=True)
    seeds = list(numbers["seeds"].values())
    done = list(seeds[0]["saturation"])
    looks = (("open", "open, above 0.9", STYLES[0]), ("closed", "closed, below 0.1", STYLES[1]))
    for axis, gate in zip(axes[:, 0], GATES, strict=True):
        for key, label, look in looks:
            runs = [[run["saturation"][at][gate][key] for at in done] for run in seeds]
            draw_seeds(axis, range(len(done)), runs, look, label)
        axis.set_title(f"{gate} gate", loc="left", fontsize=10)
        axis.set_ylabel("% of values")
        axis.set_xticks(range(len(done)), [f"{int(at):,}" for at in done])
    axes[0, 0].legend()
    axes[2, 0].set_xlabel("batches trained")
    return figure


def position(numbers: dict[str, Any]) -> Any:
    """Perplexity of each position in a chunk, with a carried state and from zero; their ratio."""
    figure, axes = new_figure(2, 1, size=(4.8, 5.4))
    upper, lower = axes[:, 0]
    seeds = list(numbers["seeds"].values())
    at = range(1, len(seeds[0]["ratio"]) + 1)
    looks = (("zero", "state zero before the chunk", STYLES[1]),
             ("carried", "state carried", STYLES[0]))  # fmt: skip
    for key, label, (colour, marker) in looks:
        table = np.array([run["position"][key] for run in seeds])
        upper.fill_between(at, table.min(axis=0), table.max(axis=0), color=colour, alpha=0.3, lw=0)
        upper.plot(at, table.mean(axis=0), color=colour, marker=marker, ms=4, lw=1, label=label)
    upper.set_ylabel("perplexity")
    upper.legend()
    table = np.array([run["ratio"] for run in seeds])
    lower.fill_between(at, table.min(axis=0), table.max(axis=0), color="#1f2328", alpha=0.3, lw=0)
    lower.plot(at, table.mean(axis=0), color="#1f2328", marker="^", ms=4, lw=1)
    lower.set(xlabel="position in the chunk", ylabel="ratio, zero / carried")
    return figure


def frequency(numbers: dict[str, Any]) -> Any:
    """Perplexity by the frequency of the word to predict, with and without context."""
    figure, axes = new_figure(size=(5.0, 3.8))
    axis = axes[0, 0]
    seeds = list(numbers["seeds"].values())
    bins = list(seeds[0]["frequency"])
    looks = (("unigram_ppl", "frequency alone", STYLES[1]), ("ppl", "the model", STYLES[0]))
    for key, label, (colour, marker) in looks:
        table = np.array([[run["frequency"][name][key] for name in bins] for run in seeds])
        axis.plot(table.mean(axis=0), range(len(bins)), marker, color=colour, ms=8, label=label)
        for run in table:
            axis.plot(run, range(len(bins)), marker, color=colour, ms=3, alpha=0.7)
    axis.set_yticks(
        range(len(bins)), [name.replace("-", "–").replace("unknown", "<unk>") for name in bins]
    )
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set(xlabel="perplexity", ylabel="occurrences in the training text")
    axis.legend()
    return figure


def guesses(following: dict[str, dict[str, list[float]]]) -> Any:
    """The most likely next words after a few prefixes: the mean of all models, and each."""
    prefixes = [prefix for prefix in FOUR if prefix in following]
    figure, axes = new_figure(len(prefixes), 1, size=(4.6, 1.6 * len(prefixes)))
    for axis, prefix in zip(axes[:, 0], prefixes, strict=True):
        words, at = following[prefix], range(len(following[prefix]))
        table = 100 * np.array(list(words.values()))  # (words, models)
        axis.barh(at, table.mean(axis=1), color=STYLES[0][0], alpha=0.45)
        for (_, marker), column in zip(STYLES, table.T, strict=False):
            axis.plot(column, at, marker, color="#1f2328", ms=4)
        axis.set_yticks(at, words)
        axis.invert_yaxis()
        axis.set_title(f"{prefix} …", loc="left", fontsize=10)
        axis.grid(axis="y", visible=False)
    axes[-1, 0].set_xlabel("probability, %")
    return figure


if __name__ == "__main__":
    result = read("inside")
    numbers, first = result["numbers"], str(result["seeds"][0])
    with style():
        save(over_text(numbers["seeds"][first]["over_text"]), "inside-gates")
        save(saturation(numbers), "inside-saturation")
        save(position(numbers), "inside-position")
        save(frequency(numbers), "inside-frequency")
        save(guesses(numbers["next"]), "inside-next")
