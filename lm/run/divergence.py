"""The watch for values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..console import UserError
from .position import Position


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array with a value that is not finite."""
    return next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)


class Diverged(UserError):
    """Training gave values that are not finite; `fault` says which and where."""

    def __init__(self, message: str, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


class DivergenceWatch:
    """Remembers the first `fault`, which ends the run at the next report or save.

    `hint` is further advice for the user.
    """

    def __init__(self, hint: str = "") -> None:
        self.fault: str | None = None
        self.hint = hint

    def check_steps(self, steps: list[tuple[float, float]], position: Position, lr: float) -> None:
        """Check the losses and gradient norms of the latest batches."""
        for batch, (loss, norm) in enumerate(steps, start=position.batch - len(steps) + 1):
            if self.fault is None and not (math.isfinite(loss) and math.isfinite(norm)):
                place = where(batch, position.epoch, lr)
                self.fault = f"the loss is {loss:g} at {place}, gradient norm {norm:g}"

    def check_arrays(self, arrays: Mapping[str, np.ndarray], position: Position, lr: float) -> None:
        """Check the arrays of a checkpoint, which must not be saved if they are broken."""
        if self.fault is None and (name := not_finite(arrays)):
            place = where(position.batch, position.epoch, lr)
            self.fault = f"{name} is not finite after {place}"

    def raise_if_found(self, last_good: Path | None) -> None:
        if self.fault is not None:
            raise self.error(self.fault, last_good)

    def error(self, fault: str, last_good: Path | None) -> Diverged:
        """The error that ends the run; `last_good` is a checkpoint to return to."""
        saved = f"the last good checkpoint is {last_good}" if last_good else "nothing was saved"
        advice = f"start again with a lower --lr or --clip{self.hint}"
        return Diverged(f"{fault}; {saved}; {advice}", fault)


def where(batch: int, epoch: int, lr: float) -> str:
    return f"batch {batch} of epoch {epoch} with lr {lr:g}"
