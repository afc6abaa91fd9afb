"""The watch for values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..console import UserError
from .position import Position


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array with a value that is not finite."""
    return next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)


class DivergenceWatch:
    """Remembers the first `fault`. It ends the run at the next report or save, not at once.

    `hint` is further advice for the user.
    """

    def __init__(self, hint: str = "") -> None:
        self.fault: str | None = None
        self.hint = hint

    def check_steps(
        self, steps: Sequence[tuple[float, float]], position: Position, lr: float
    ) -> None:
        """Check the loss and the gradient norm of the latest batches."""
        for batch, (loss, norm) in enumerate(steps, start=position.batch - len(steps) + 1):
            if self.fault is None and not (math.isfinite(loss) and math.isfinite(norm)):
                place = where(batch, position.epoch, lr)
                self.fault = f"the loss is {loss:g} at {place}, gradient norm {norm:g}"

    def check_state(
        self,
        model: Mapping[str, np.ndarray],
        hidden: Mapping[str, np.ndarray],
        position: Position,
        lr: float,
    ) -> None:
        """Check the weights and the hidden state, which must not be saved if they are broken."""
        name = not_finite(model) or (not_finite(hidden) and "the hidden state")
        if self.fault is None and name is not None:
            place = where(position.batch, position.epoch, lr)
            self.fault = f"{name} is not finite after {place}"

    def error(self, fault: str, last_good: object) -> UserError:
        """What to tell the user; `last_good` is the path of a checkpoint to return to, or None."""
        saved = f"the last good checkpoint is {last_good}" if last_good else "nothing was saved"
        return UserError(f"{fault}; {saved}; start again with a lower --lr or --clip{self.hint}")


def where(batch: int, epoch: int, lr: float) -> str:
    return f"batch {batch} of epoch {epoch} with lr {lr:g}"
