"""One look for all figures that matplotlib draws."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .console import UserError, need

# Okabe and Ito's colours, which colour-blind people can tell apart, and a shape for each.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
OPTIONS = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "lm",  # the same file every time
}


def need_matplotlib() -> Any:
    """matplotlib, for files; UserError if it is not installed."""
    matplotlib = need("matplotlib", "'.[plot]'")
    matplotlib.use("svg")
    return matplotlib


def style() -> AbstractContextManager[None]:
    """A context in which figures are drawn and saved."""
    context: AbstractContextManager[None] = need_matplotlib().rc_context(OPTIONS)
    return context


def new_figure(
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (6.4, 3.6),
    share: str | bool = False,
) -> Any:
    """A figure of `size` in inches, and its axes as an array (rows, columns)."""
    figure = importlib.import_module("matplotlib.figure").Figure(size, layout="constrained")
    return figure, figure.subplots(rows, columns, sharey=share, squeeze=False)


def plain_numbers(axis: Any) -> None:
    """A few plain numbers on a logarithmic axis, where powers of ten are too far apart."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.yaxis.set_minor_locator(ticker.NullLocator())


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure, the same bytes every time; UserError if that fails."""
    try:
        figure.savefig(path, metadata={"Date": None})
    except OSError as error:
        raise UserError(f"can't write to {path}: {error.strerror}") from None
