"""The choice of a learning rate: a few are tried, the lowest validation perplexity wins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..console import UserError
from ..settings import Settings
from .table import Done
from .trial import Trial


def learning_rates(settings: Settings, factors: Sequence[float]) -> list[Trial]:
    """Trials of the same settings with learning rates around theirs."""
    return [Trial(dataclasses.replace(settings, lr=settings.first_lr * f)) for f in factors]


def choose_rate(name: str, results: Sequence[Done]) -> tuple[float, str]:
    """The learning rate with the lowest validation perplexity, and a line that says so.

    Raises UserError if no trial has ended well.
    """
    well = [d for d in results if d.well]
    if not well:
        raise UserError(
            f"{name} was not trained at any learning rate: {results[0].numbers['reason']}"
        )
    best = min(well, key=lambda d: d.numbers["best_valid_ppl"])
    tried = ", ".join(
        f"{d.numbers['best_valid_ppl']:.2f} at {d.trial.settings.lr:g}"
        if d.well
        else f"{d.numbers['status']} at {d.trial.settings.lr:g}"
        for d in results
    )
    lr = best.trial.settings.first_lr
    return lr, f"{name} has learning rate {lr:g}, the best of (validation perplexity): {tried}."
