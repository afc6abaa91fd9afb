"""Draw the board of words, the value of the carried state, and where the time goes.

python examples/course/draw_language_model.py
"""

from __future__ import annotations

from typing import Any

from experiment import draw_seeds, read, save

from lm.drawing import STYLES, new_figure, style

BLUE, ORANGE = STYLES[0][0], STYLES[1][0]
GREY = "#59636e"
PARTS = ("backward decoder + loss", "forward decoder + loss", "backward layers", "forward layers",
         "backward rest", "forward rest", "update", "clipping")  # fmt: skip


def board(found: dict[str, Any]) -> Any:
    """Three columns of the training text, cut between chunks and between columns."""
    figure, axes = new_figure(size=(5.0, 5.4))
    axis = axes[0, 0]
    columns, y = len(found["words"]["first"][0]), 0.0
    for part in ("first", "seam", "last"):
        for number, words in zip(found["at"][part], found["words"][part], strict=True):
            if number == found["bptt"]:  # the first row of the second chunk
                cut, y = y - 0.4, y - 1.2
            axis.text(-0.55, y, f"row {number + 1:,}", ha="right", va="center", fontsize=9,
                      color=GREY)  # fmt: skip
            for column, word in enumerate(words):
                axis.text(column, y, word, ha="center", va="center", fontsize=10)
            y -= 1
        if part != "last":
            for column in range(columns):
                axis.text(column, y + 0.2, "⋮", ha="center", va="center", color=GREY)
            y -= 0.7
    end = y + 0.4
    axis.plot([-1.1, columns - 0.5], [cut + 0.3] * 2, color=ORANGE, lw=1.5, ls=(0, (4, 3)))
    axis.text(columns - 0.46, cut + 0.8, "chunk 1", va="center", fontsize=9, color=GREY)
    axis.text(columns - 0.46, cut - 0.2, "chunk 2", va="center", fontsize=9, color=GREY)
    for column in range(columns):
        solid = {"arrowstyle": "-|>", "color": BLUE, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", (column, cut - 0.35), (column, cut + 0.95), arrowprops=solid)
        if column < columns - 1:
            gap = column + 0.5
            axis.plot([column, column, gap, gap], [end, end - 0.4, end - 0.4, 0.8],
                      color=ORANGE, lw=1.5, ls=(0, (1, 1.5)))  # fmt: skip
            dotted = {"arrowstyle": "-|>", "color": ORANGE, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
            axis.plot([gap, column + 1], [0.8, 0.8], color=ORANGE, lw=1.5, ls=(0, (1, 1.5)))
            axis.annotate("", (column + 1, 0.35), (column + 1, 0.85), arrowprops=dotted)
    axis.text(-1.1, end - 0.9, "solid: the state goes on; its gradient stops at the dashed line\n"
              "dotted: where the text goes on; neither state nor gradient", va="top",
              fontsize=9)  # fmt: skip
    axis.set(xlim=(-1.12, columns + 0.1), ylim=(end - 2.1, 1.0))
    axis.set_axis_off()
    return figure


def state(numbers: dict[str, Any]) -> Any:
    """Validation perplexity against the length of a chunk, with and without the carried state."""
    figure, axes = new_figure(size=(4.6, 3.4))
    axis = axes[0, 0]
    looks = (("zero_by_length", "state zero in every chunk", STYLES[1]),
             ("carried_by_length", "state carried", STYLES[0]))  # fmt: skip
    for key, label, look in looks:
        runs = [run[key] for run in numbers["seeds"].values()]
        draw_seeds(axis, numbers["lengths"], runs, look, label)
    axis.set_xscale("log")
    axis.set_xticks(numbers["lengths"], [str(T) for T in numbers["lengths"]])
    axis.minorticks_off()
    axis.set(xlabel="steps in a chunk when evaluating", ylabel="validation perplexity")
    axis.legend()
    return figure


def time(profile: dict[str, Any]) -> Any:
    """Shares of the training time, here and in PyTorch, and of the multiplications."""
    figure, axes = new_figure(size=(4.8, 4.4))
    axis = axes[0, 0]
    rows = (("multiply-adds", profile["arithmetic"]["shares"], "#cccccc", "///"),
            ("PyTorch, time", profile["torch"]["shares"], ORANGE, ""),
            ("here, time", profile["ours"]["shares"], BLUE, ""))  # fmt: skip
    for i, (label, shares, colour, hatch) in enumerate(rows):
        at = [-n + 0.27 * (i - 1) for n in range(len(PARTS))]
        values = [shares.get(part, 0.0) for part in PARTS]
        axis.barh(at, values, 0.25, color=colour, hatch=hatch, edgecolor="white", label=label)
        for y, value in zip(at, values, strict=True):
            if value >= 0.05:
                axis.text(value + 0.6, y, f"{value:.1f}", va="center", fontsize=9)
    axis.set_yticks([-n for n in range(len(PARTS))], PARTS)
    axis.set(xlabel="percent", xlim=(0, 57))
    axis.grid(axis="y", visible=False)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles[::-1], labels[::-1], loc="lower right")
    return figure


if __name__ == "__main__":
    numbers = read("language-model")["numbers"]
    with style():
        save(board(numbers["board"]), "language-model-board")
        save(state(numbers), "language-model-state")
        save(time(numbers["profile"]), "language-model-time")
