"""Compare the gradients of the tape with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .backend import Array, array_module, to_host
from .tensor import Tensor

DIRECTIONS = 5  # per input, in fast mode


class GradcheckError(AssertionError):
    """A gradient differs from its finite difference."""


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
    *,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradients of fn(*inputs) with central differences, in float64.

    The upstream gradient v is random: with ones, a gradient that is right only for ones would
    pass. Let f = Σ v·output. For each element x of each input that requires a gradient, df/dx from
    the tape is compared with (f(x + eps) - f(x - eps)) / (2 eps). The two agree if they differ by
    at most

        rtol · |numeric|  +  atol · (largest |numeric| of this input)  +  rounding

    where rounding bounds the rounding error of the difference quotient, about 4e-9 · Σ |v·output|
    at the default eps. No term is absolute: a tiny but wrong gradient fails.

    `fast_mode` checks the derivative along a few random directions per input instead of every
    element. It needs two evaluations per direction, also for a large input, but can't say which
    element is wrong.

    `fn` must return the same outputs at every call; with dropout, pass a fixed mask. Returns True.
    Raises GradcheckError, which gives the input, index, analytic and numeric value and step, and
    tells if the function has a kink there; TypeError for inputs that are not float64 or outputs
    that are not tensors; ValueError if no input requires a gradient or the outputs change.
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
    outputs, again = _as_list(fn(*inputs)), _as_list(fn(*inputs))
    if any(_differ(y, z) for y, z in zip(outputs, again, strict=True)):
        raise ValueError(
            "gradcheck: fn gives other outputs when called again with the same inputs; make it "
            "deterministic, e.g. pass a fixed mask to dropout"
        )
    upstream = [array_module(y.data).asarray(rng.standard_normal(y.shape)) for y in outputs]

    magnitude = 0.0  # the largest Σ |v·output| so far

    def f() -> float:
        nonlocal magnitude
        terms = [y.data * v for y, v in zip(_as_list(fn(*inputs)), upstream, strict=True)]
        magnitude = max(magnitude, float(sum(abs(term).sum() for term in terms)))
        return float(sum(term.sum() for term in terms))

    gradients = _gradients(outputs, upstream, [inputs[i] for i in checked])
    for i, gradient in zip(checked, gradients, strict=True):
        x = inputs[i].data
        directions = _random_directions(x.shape, rng) if fast_mode else _axes(x.shape)
        analytic = [float((gradient * d).sum()) for _, d in directions()]
        numeric = [_slope(f, x, d, eps) for _, d in directions()]
        rounding = 16 * np.finfo(np.float64).eps * magnitude / eps
        floor = atol * max(map(abs, numeric), default=0.0) + rounding
        for (place, d), a, n in zip(directions(), analytic, numeric, strict=True):
            if not abs(a - n) <= rtol * abs(n) + floor:
                raise GradcheckError(
                    f"gradcheck: input {i} {place}: analytic {a:.9g}, numeric {n:.9g} "
                    f"(step {eps:g}){_kink(f, x, d, eps, rounding)}"
                )
    return True


def _as_list(outputs: Any) -> list[Tensor]:
    """The tensors of a possibly nested output, in order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if not isinstance(outputs, tuple | list):
        raise TypeError(
            f"gradcheck: fn must return a tensor, or a tuple of them, not a "
            f"{type(outputs).__name__}; do not convert to arrays inside fn"
        )
    return [y for part in outputs for y in _as_list(part)]


def _differ(y: Tensor, z: Tensor) -> bool:
    return not np.array_equal(to_host(y.data), to_host(z.data), equal_nan=True)


def _gradients(
    outputs: list[Tensor], upstream: list[Array], inputs: list[Tensor]
) -> list[np.ndarray]:
    """The gradients from the tape; the `.grad` of the inputs is restored."""
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


# A direction is an array like the input, with its description for the error message.
Directions = Callable[[], Iterable[tuple[str, np.ndarray]]]


def _axes(shape: tuple[int, ...]) -> Directions:
    """One direction for each element."""

    def directions() -> Iterator[tuple[str, np.ndarray]]:
        for index in np.ndindex(shape):
            d = np.zeros(shape)
            d[index] = 1
            yield f"at {index}", d

    return directions


def _random_directions(shape: tuple[int, ...], rng: np.random.Generator) -> Directions:
    drawn = [(f"along random direction {k}", rng.standard_normal(shape)) for k in range(DIRECTIONS)]
    return lambda: drawn


def _at(f: Callable[[], float], x: Array, step: np.ndarray) -> float:
    """f with `step` added to x; x is then restored exactly."""
    value = x.copy()
    x += array_module(x).asarray(step)
    try:
        return f()
    finally:
        x[...] = value


def _slope(f: Callable[[], float], x: Array, d: np.ndarray, eps: float) -> float:
    """The central difference of f along d."""
    return (_at(f, x, eps * d) - _at(f, x, -eps * d)) / (2 * eps)


def _kink(f: Callable[[], float], x: Array, d: np.ndarray, eps: float, rounding: float) -> str:
    """Text for the error if f has a kink at x, such as ReLU at 0 or a maximum at a tie.

    At a kink, the slopes to the left and right differ by an amount that does not depend on the
    step. For a smooth function, the difference is proportional to the step. So f has a kink if
    ten times the step makes the difference less than three times as large.
    """

    def one_sided(step: float) -> tuple[float, float]:
        here = f()
        return (here - _at(f, x, -step * d)) / step, (_at(f, x, step * d) - here) / step

    left, right = one_sided(eps)
    far_left, far_right = one_sided(10 * eps)
    gap, far_gap = abs(right - left), abs(far_right - far_left)
    if gap <= 100 * rounding or far_gap >= 3 * gap:
        return ""
    return (
        f"; the function has a kink here (slope {left:.9g} to the left, {right:.9g} to the "
        "right) and therefore no derivative; move the input"
    )
