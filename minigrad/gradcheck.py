"""Finite differences against the tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Array, array_module, to_host
from .tensor import Tensor


class GradcheckError(AssertionError):
    """A gradient that differs from its finite difference."""


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """Compare the gradients of fn(*inputs) with central differences, in float64.

    All outputs are weighted with one random upstream gradient v, and for every element x of
    every input that requires a gradient, the tape's d(Σ v·output)/dx is held against
    (f(x + eps) - f(x - eps)) / 2 eps. They agree if they differ by at most rtol times the
    numeric value plus atol times the largest numeric value of that input: both relative, so
    that a gradient that is tiny but wrong does not pass.

    `fn` must give the same outputs every time it is called: fix a dropout mask's seed inside it.
    Returns True. Raises GradcheckError that names the input, the index, and both values;
    TypeError for inputs that are not float64; ValueError if none requires a gradient.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(
                f"gradcheck: input {i} is {inputs[i].dtype}; finite differences need float64"
            )

    rng = np.random.default_rng(0)
    outputs = _as_list(fn(*inputs))
    upstream = [array_module(y.data).asarray(rng.standard_normal(y.shape)) for y in outputs]

    def weighted_sum() -> float:
        pairs = zip(_as_list(fn(*inputs)), upstream, strict=True)
        return float(sum((y.data * v).sum() for y, v in pairs))

    analytic = _gradients(outputs, upstream, [inputs[i] for i in checked])
    # What rounding alone makes of a difference quotient.
    magnitude = sum(float(abs(y.data * v).sum()) for y, v in zip(outputs, upstream, strict=True))
    noise = 16 * np.finfo(np.float64).eps * magnitude / eps
    for i, gradient in zip(checked, analytic, strict=True):
        numeric = _central_differences(weighted_sum, inputs[i].data, eps)
        scale = np.abs(numeric).max(initial=0.0)
        for index in np.ndindex(numeric.shape):
            a, n = float(gradient[index]), float(numeric[index])
            if not abs(a - n) <= rtol * abs(n) + atol * scale + noise:
                raise GradcheckError(
                    f"gradcheck: input {i} at {index}: analytic {a:.9g}, numeric {n:.9g} "
                    f"(step {eps:g})"
                )
    return True


def _as_list(outputs: Any) -> list[Tensor]:
    """The tensors of a possibly nested output, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return [y for part in outputs for y in _as_list(part)]


def _gradients(
    outputs: list[Tensor], upstream: list[Array], inputs: list[Tensor]
) -> list[np.ndarray]:
    kept = [x.grad for x in inputs]
    for x in inputs:
        x.grad = None
    total = sum((y * v).sum() for y, v in zip(outputs, upstream, strict=True) if y.requires_grad)
    if isinstance(total, Tensor):
        total.backward()
    gradients = [np.zeros(x.shape) if x.grad is None else to_host(x.grad) for x in inputs]
    for x, grad in zip(inputs, kept, strict=True):
        x.grad = grad
    return gradients


def _central_differences(f: Callable[[], float], x: Array, eps: float) -> np.ndarray:
    """d f / d x, moving one element of x at a time, in place."""
    differences = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        value = x[index].copy()
        x[index] = value + eps
        above = f()
        x[index] = value - eps
        below = f()
        x[index] = value
        differences[index] = (above - below) / (2 * eps)
    return differences
