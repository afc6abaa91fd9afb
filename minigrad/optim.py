"""Optimisers, and clipping of the gradient's norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .backend import Array, array_module
from .tensor import Tensor


def _unique(params: Iterable[Tensor]) -> list[Tensor]:
    """Each parameter once: a shared one must not be stepped or counted twice."""
    return list({id(p): p for p in params}.values())


class SGD:
    """Gradient descent: v = momentum · v + g and p -= lr · v, with g = grad + weight_decay · p.

    `lr` may be changed between steps. Parameters without a gradient are left alone.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.params = _unique(params)
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._velocity: list[Array | None] = [None] * len(self.params)

    def step(self) -> None:
        """Move every parameter against its gradient."""
        for i, p in enumerate(self.params):
            if p.grad is None:
                continue
            g = p.grad
            if self.weight_decay:
                g = g + self.weight_decay * p.data
            if self.momentum:
                v = self._velocity[i]
                g = self._velocity[i] = g.copy() if v is None else self.momentum * v + g
            p.data -= self.lr * g

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The settings, and the velocities in the order of the parameters."""
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "velocity": list(self._velocity),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called.

        Raises ValueError if that was for another number of parameters.
        """
        if len(state["velocity"]) != len(self.params):
            raise ValueError(
                f"SGD: a state for {len(state['velocity'])} parameters, not {len(self.params)}"
            )
        self.lr = state["lr"]
        self.momentum = state["momentum"]
        self.weight_decay = state["weight_decay"]
        self._velocity = list(state["velocity"])


def clip_grad_norm_(params: Iterable[Tensor], max_norm: float) -> Array:
    """Scale all gradients, in place, so that together their norm is at most max_norm.

    Returns the total norm before clipping, a scalar array. Where it is infinite or NaN no scale
    can mend it: the gradients stay as they are, and the norm returned says so. (Pascanu et al.
    2013, algorithm 1)
    """
    grads = [p.grad for p in _unique(params) if p.grad is not None]
    if not grads:
        return 0.0
    xp = array_module(grads[0])
    # A dot product: BLAS sums the squares on every core, without an array of squares.
    norm = xp.sqrt(sum(xp.vdot(g, g) for g in grads))
    scale = max_norm / (norm + 1e-6)  # PyTorch's formula, so that the numbers agree
    if scale < 1 and xp.isfinite(norm):
        for g in grads:
            g *= scale
    return norm
