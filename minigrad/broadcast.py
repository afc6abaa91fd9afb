"""Broadcasting, undone."""

from __future__ import annotations

from .backend import Array


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an operand of this shape was broadcast."""
    new = grad.ndim - len(shape)  # axes that the operand did not have
    if new < 0 or any(n not in (1, m) for n, m in zip(shape, grad.shape[new:], strict=True)):
        raise RuntimeError(f"a gradient of shape {grad.shape} for an operand of shape {shape}")
    stretched = (new + axis for axis, n in enumerate(shape) if n == 1)
    return grad.sum(axis=(*range(new), *stretched)).reshape(shape)
