"""The figures of a comparison of cells, drawn from the trials' results with matplotlib."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..drawing import STYLES, new_figure, plain_numbers, save_figure, style
from .grid import Grid, changed
from .table import Done, configurations
from .trial import Trial

NAMES = {"nhid": "hidden units", "nlayers": "layers", "bptt": "steps per chunk (bptt)"}


def draw(
    folder: Path,
    results: Sequence[Done],
    bases: Sequence[Trial],
    grid: Grid,
) -> list[str]:
    """Draw the trials into `folder`; returns the names of the files.

    The trials have trained with one thread each. `bases` has a trial for each cell, around whose
    settings `grid` varies one at a time.
    """
    found = configurations(results)
    with style():
        figures = {"epochs.svg": _epochs(found, bases), "parameters.svg": _grid(found, bases, grid)}
        for name, figure in figures.items():
            save_figure(figure, folder / name)
    return list(figures)


def _epochs(found: Mapping[str, list[Done]], bases: Sequence[Trial]) -> Any:
    figure, axes = new_figure(1, 2, (9, 3.8), share=True)
    by_epoch, by_time = axes[0]
    for base, (colour, marker) in zip(bases, STYLES, strict=False):
        for done in found.get(base.config, []):
            epochs = done.numbers["epochs"]
            losses = [e["valid_ppl"] for e in epochs]
            times = list(accumulate(e["cpu_seconds"] for e in epochs))
            style = {"color": colour, "marker": marker, "ms": 4, "lw": 1, "alpha": 0.8}
            by_epoch.plot([e["epoch"] for e in epochs], losses, **style)
            by_time.plot(times, losses, **style)
    by_epoch.set(xlabel="epoch", ylabel="validation perplexity", yscale="log")
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_time.set(xlabel="training time (CPU seconds of one thread)")
    by_time.set_xlim(left=0)
    plain_numbers(by_epoch)
    _legend(figure, bases)
    figure.suptitle("Default sizes: one line per seed", fontsize=11, x=0.01, ha="left")
    return figure


ROWS: tuple[tuple[str, Callable[[Done], float]], ...] = (
    ("validation perplexity", lambda d: float(d.numbers["best_valid_ppl"])),
    ("test perplexity", lambda d: float(d.numbers["test_ppl"])),
    ("seconds per epoch\n(CPU, one thread)", lambda d: d.seconds_per_epoch),
)


def _grid(found: Mapping[str, list[Done]], bases: Sequence[Trial], grid: Grid) -> Any:
    figure, axes = new_figure(len(ROWS), len(grid), (3.1 * len(grid), 7.6), share="row")
    for column, (parameter, values) in enumerate(grid.items()):
        for row, (label, measure) in enumerate(ROWS):
            axis = axes[row][column]
            for i, base in enumerate(bases):
                colour, marker = STYLES[i % len(STYLES)]
                # Beside each other, or the dots of two cells would cover each other.
                shift = 0.12 * (i - (len(bases) - 1) / 2)
                means = []
                for place, value in enumerate(values):
                    trials = found.get(Trial(changed(base.settings, parameter, value)).config, [])
                    if measured := [measure(done) for done in trials]:
                        means.append((place + shift, statistics.mean(measured)))
                    x = [place + shift] * len(measured)
                    axis.scatter(x, measured, s=22, color=colour, marker=marker, alpha=0.65, lw=0)
                if means:
                    axis.plot(*zip(*means, strict=True), color=colour, lw=1.2, marker="_")
            axis.set_xticks(range(len(values)), [str(v) for v in values])
            axis.set_xlim(-0.5, len(values) - 0.5)
            if row == len(ROWS) - 1:
                axis.set_xlabel(NAMES.get(parameter, parameter))
            if column == 0:
                axis.set_ylabel(label)
    axes[-1][0].set_ylim(bottom=0)  # of the whole row, when all is drawn
    _legend(figure, bases)
    figure.suptitle(
        "One parameter at a time: a dot per seed, and the mean", fontsize=11, x=0.01, ha="left"
    )
    return figure


def _legend(figure: Any, bases: Sequence[Trial]) -> None:
    """The cells, outside of the plots."""
    lines = importlib.import_module("matplotlib.lines")
    handles = [
        lines.Line2D([], [], color=colour, marker=marker, ms=5, lw=1.2, label=base.settings.model)
        for base, (colour, marker) in zip(bases, STYLES, strict=False)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
