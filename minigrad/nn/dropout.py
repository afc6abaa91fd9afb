"""Dropout of single elements or of whole feature maps."""

from __future__ import annotations

from .. import functional as F
from ..backend import Array
from ..tensor import Tensor
from .module import Module


class Dropout(Module):
    """In training, zero each element with probability p and divide the others by 1 - p.

    The mask broadcasts along the axes `shared`. A call may pass its own mask (1 keeps, 0 drops).
    Raises ValueError for p outside [0, 1].
    """

    def __init__(self, p: float = 0.5, *, shared: tuple[int, ...] = ()) -> None:
        F.check_probability(type(self).__name__, p)
        self.p = p
        self.shared = shared

    def extra_repr(self) -> str:
        return f"p={self.p}" + (f", shared={self.shared}" if self.shared else "")

    def forward(self, input: Tensor, mask: Array | None = None) -> Tensor:
        return F.dropout(input, self.p, self.training, mask=mask, shared=self.shared)


class Dropout1d(Dropout):
    """Drops whole feature maps of (N, C, L)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor, mask: Array | None = None) -> Tensor:
        return F.dropout1d(input, self.p, self.training, mask=mask)


class Dropout2d(Dropout):
    """Drops whole feature maps of (N, C, H, W)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor, mask: Array | None = None) -> Tensor:
        return F.dropout2d(input, self.p, self.training, mask=mask)
