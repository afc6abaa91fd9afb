"""Draw what choosing on validation text does, from the results.

python examples/course/draw_test_set.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiment import read, save

from lm.drawing import STYLES, new_figure, style

TITLES = {"seeds": "models that differ in the seed", "settings": "models that differ in settings"}
SHOWN = "5"  # blocks of validation text in the first figure
LINES = {"promised": "on validation", "kept": "on the test"}


def chosen() -> Any:
    """The best of N: dots for trained models, lines for the simulation."""
    numbers = read("test-set")["numbers"]
    figure, axes = new_figure(2, 1, (4.6, 6))
    for axis, (group, title) in zip(axes[:, 0], TITLES.items(), strict=True):
        found = numbers["groups"][group]
        for (key, label), (colour, marker) in zip(LINES.items(), STYLES, strict=False):
            dots(axis, found["trained"][SHOWN], key, color=colour, marker=marker, label=label)
            line(axis, found["simulated"][SHOWN], key, color=colour)
        axis.set(xscale="log", xlabel="N, models to choose from", title=f"Best of N {title}")
        axis.set_ylabel("better than the average, %")
        plain(axis, (1, 4, 16, 64, 256, 1024))
        axis.legend(loc="upper left")
    return figure


def sizes() -> Any:
    """How much too good the validation perplexity of the best of N is, for three sizes."""
    numbers = read("test-set")["numbers"]
    figure, axes = new_figure(size=(4.6, 3.2))
    axis, group = axes[0, 0], numbers["groups"]["seeds"]
    for size, (colour, marker) in zip(group["trained"], STYLES, strict=False):
        label = f"{int(size) * numbers['block']:,} words"
        dots(axis, group["trained"][size], "optimism", color=colour, marker=marker, label=label)
        line(axis, group["simulated"][size], "optimism", color=colour)
    axis.set(xscale="log", xlabel="N, models to choose from", ylabel="too good by, %")
    plain(axis, (1, 4, 16, 64, 256, 1024))
    axis.legend(title="validation text")
    return figure


def looks() -> Any:
    """Accuracy on labels that nothing can predict, against the number of looks at the score."""
    numbers = read("test-set")["numbers"]["looks"]
    figure, axes = new_figure(size=(4.6, 3.2))
    axis = axes[0, 0]
    labels = {"vote": "vote, same labels", "best": "best one, same labels",
              "fresh": "vote, new labels"}  # fmt: skip
    for (key, label), (colour, marker) in zip(labels.items(), STYLES, strict=False):
        dots(axis, numbers, key, color=colour, marker=marker, label=label)
        line(axis, numbers, key, color=colour)
    axis.set(xscale="log", xlabel="looks at the score", ylabel="right, %")
    plain(axis, (1, 10, 100, 1000))
    axis.legend()
    return figure


def dots(axis: Any, by_count: Mapping[str, Any], key: str, **look: Any) -> None:
    """The mean of each N, with the least and the largest seed."""
    counts = [int(n) for n in by_count]
    values = [summary[key] for summary in by_count.values()]
    means = [v["mean"] for v in values]
    bars = [[v["mean"] - v["min"] for v in values], [v["max"] - v["mean"] for v in values]]
    axis.errorbar(counts, means, bars, ls="", ms=5.5, elinewidth=1, **look)


def line(axis: Any, by_count: Mapping[str, Any], key: str, **look: Any) -> None:
    counts = [int(n) for n in by_count]
    axis.plot(counts, [summary[key]["mean"] for summary in by_count.values()], lw=1.3, **look)


def plain(axis: Any, ticks: tuple[int, ...]) -> None:
    """These ticks alone, as plain numbers."""
    axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axis.minorticks_off()


if __name__ == "__main__":
    with style():
        save(chosen(), "test-set")
        save(sizes(), "test-set-size")
        save(looks(), "test-set-looks")
