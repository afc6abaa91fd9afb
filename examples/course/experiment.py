"""What the experiments of the course share: their options, their results and their figures.

An experiment has two programs. `NAME.py` measures and writes docs/results/course/NAME.json;
`draw_NAME.py` draws that file into docs/figures/course, so that a figure can be changed without
measuring again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lm.arguments import Parser
from lm.drawing import save_figure
from lm.files import make_folder
from lm.results import read_result, this_command, write_result
from lm.sweep import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results" / "course"
FIGURES = ROOT / "docs" / "figures" / "course"


def options(description: str) -> argparse.ArgumentParser:
    """A parser with --out and --quick."""
    p = Parser(description=description)
    p.add_argument("--out", type=Path, metavar="FILE.json", help="write the numbers to this file")
    p.add_argument("--quick", action="store_true", help="a smaller experiment, in seconds")
    return p


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for one value), least, most, and how many."""
    return {**table.summary(values), "min": min(values), "max": max(values)}


def summaries(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of each number that all runs have, in nested dicts like theirs."""
    found: dict[str, Any] = {}
    for key, value in runs[0].items():
        column = [run[key] for run in runs if key in run]
        if isinstance(value, Mapping):
            found[key] = summaries(column)
        elif isinstance(value, (int, float)):
            found[key] = summary(column)
    return {key: value for key, value in found.items() if value}


def write(
    out: Path | None,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    seconds: float,
    numbers: Mapping[str, Any],
) -> None:
    """Write the result if the user named a file for it."""
    if out is not None:
        make_folder(out.parent)
        write_result(out, this_command(), settings, seeds, seconds, numbers)


def read(name: str) -> dict[str, Any]:
    """The committed result of an experiment."""
    return read_result(RESULTS / f"{name}.json")


def save(figure: Any, name: str) -> None:
    """Write a figure of the course as NAME.svg. Call it inside of `lm.drawing.style()`."""
    save_figure(figure, make_folder(FIGURES) / f"{name}.svg")


def draw_seeds(
    axis: Any,
    at: Sequence[float],
    runs: Sequence[Sequence[float | None]],
    look: tuple[str, str],
    label: str,
    **line: Any,
) -> None:
    """The mean of the runs as a line, and a small mark for each; `look` is one of STYLES.

    A run may have None where it has no value.
    """
    colour, marker = look
    rows = np.array([[np.nan if x is None else x for x in run] for run in runs], float)
    axis.plot(at, rows.mean(axis=0), color=colour, marker=marker, ms=6, label=label, **line)
    for run in rows:
        axis.plot(at, run, color=colour, marker=marker, ms=3, ls="", alpha=0.7)
