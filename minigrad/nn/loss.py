"""The losses as modules, for code that stores its loss function in a variable."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class CrossEntropyLoss(Module):
    """`functional.cross_entropy` of logits (N, V) and targets (N,)."""

    def __init__(self, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return F.cross_entropy(
            input, target, ignore_index=self.ignore_index, reduction=self.reduction
        )


class MSELoss(Module):
    """`functional.mse_loss` of an input and a target of the same shape."""

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)
