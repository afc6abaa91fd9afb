"""The primitives: each operation's value with its derivative beside it.

`record(y, (x, dx), ...)` pairs every operand with the function that turns the gradient of the
output, `dy`, into the gradient of that operand; behind it stand the operands whose values that
function reads. Operands may be tensors, arrays or numbers; a number never changes a dtype.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from .backend import Array, array_module, get_default_dtype, place
from .spelling import either_spelling
from .tensor import Tensor, record, record_joint

Axis = int | tuple[int, ...] | None


def raw(x: Any) -> Any:
    """The array of a tensor; a NumPy scalar as Python's number; anything else as it is."""
    if isinstance(x, Tensor):
        return x.data
    return x.item() if isinstance(x, np.generic) else x


def constant(array: Array) -> Tensor:
    """A tensor of a result that has no derivative, such as a comparison's."""
    return Tensor(array)


def _module(*operands: Any) -> ModuleType:
    """The module of the first array among arrays and numbers."""
    return array_module(next((x for x in operands if hasattr(x, "dtype")), 0))


# -------------------------------------------------------------------- arithmetic


def add(a: Any, b: Any) -> Tensor:
    """a + b."""
    return record(raw(a) + raw(b), (a, lambda dy: dy), (b, lambda dy: dy))


def sub(a: Any, b: Any) -> Tensor:
    """a - b."""
    return record(raw(a) - raw(b), (a, lambda dy: dy), (b, lambda dy: -dy))


def mul(a: Any, b: Any) -> Tensor:
    """a · b, element by element."""
    x, z = raw(a), raw(b)
    return record(x * z, (a, lambda dy: dy * z, b), (b, lambda dy: dy * x, a))


def div(a: Any, b: Any) -> Tensor:
    """a / b, element by element."""
    x, z = raw(a), raw(b)
    y = x / z
    return record(y, (a, lambda dy: dy / z, b), (b, lambda dy: -dy * y / z, b))


def neg(x: Any) -> Tensor:
    """-x."""
    return record(-raw(x), (x, lambda dy: -dy))


def pow(a: Any, b: Any) -> Tensor:
    """a ** b, element by element.

    The derivative with respect to b is y·log(a), taken as 0 where a is 0.
    """
    x, p = raw(a), raw(b)
    y = x**p

    def d_exponent(dy: Array) -> Array:
        xp = array_module(dy)
        return dy * y * xp.log(xp.where(xp.asarray(x) == 0, 1, x))

    def d_base(dy: Array) -> Array:
        return dy * p * x ** (p - (p != 0))  # x⁰ is 1 everywhere: no slope, at 0 neither

    return record(y, (a, d_base, a, b), (b, d_exponent, a))


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b, with NumPy's rules: vectors count as a row or a column, leading axes broadcast."""
    x, w = raw(a), raw(b)
    if w.ndim == 1:
        column = matmul(a, reshape(b, (w.size, 1)))
        return reshape(column, column.shape[:-1])
    if x.ndim == 1:
        row = matmul(reshape(a, (1, x.size)), b)
        return reshape(row, (*row.shape[:-2], row.shape[-1]))
    return record(
        x @ w,
        (a, lambda dy: dy @ w.swapaxes(-1, -2), b),
        (b, lambda dy: x.swapaxes(-1, -2) @ dy, a),
    )


# -------------------------------------------------------------------- element by element


def exp(x: Any) -> Tensor:
    """e to the power of x."""
    y = array_module(raw(x)).exp(raw(x))
    return record(y, (x, lambda dy: dy * y))


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return record(array_module(raw(x)).log(raw(x)), (x, lambda dy: dy / raw(x), x))


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    y = array_module(raw(x)).tanh(raw(x))
    return record(y, (x, lambda dy: dy * (1 - y * y)))


def logistic(x: Array, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x)) of an array.

    exp(-x) may become infinite, and 1/inf is 0, as it should: the caller silences the warning,
    which costs more than a small array's arithmetic.
    """
    xp = array_module(x)
    y = xp.exp(xp.negative(x, out=out), out=out)
    y += 1
    return xp.reciprocal(y, out=out)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    with np.errstate(over="ignore"):
        y = logistic(raw(x))
    return record(y, (x, lambda dy: dy * y * (1 - y)))


def relu(x: Any) -> Tensor:
    """max(x, 0); the derivative at 0 is 0."""
    y = array_module(raw(x)).maximum(raw(x), 0)
    return record(y, (x, lambda dy: dy * (y > 0)))


def sqrt(x: Any) -> Tensor:
    """The square root; its derivative at 0 is infinite."""
    y = array_module(raw(x)).sqrt(raw(x))
    return record(y, (x, lambda dy: dy / (2 * y)))


def sin(x: Any) -> Tensor:
    """The sine, of radians."""
    xp = array_module(raw(x))
    return record(xp.sin(raw(x)), (x, lambda dy: dy * xp.cos(raw(x))))


def cos(x: Any) -> Tensor:
    """The cosine, of radians."""
    xp = array_module(raw(x))
    return record(xp.cos(raw(x)), (x, lambda dy: -dy * xp.sin(raw(x))))


def abs(x: Any) -> Tensor:
    """The absolute value; the derivative at 0 is 0."""
    xp = array_module(raw(x))
    return record(xp.abs(raw(x)), (x, lambda dy: dy * xp.sign(raw(x))))


# -------------------------------------------------------------------- one or the other


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition holds, b elsewhere; the three broadcast.

    Raises TypeError for a condition that is not boolean.
    """
    x, z, given = raw(a), raw(b), raw(condition)
    xp = _module(x, z, given)
    holds = place(given, xp)
    if holds.dtype.kind != "b":
        raise TypeError(f"where: the condition must be boolean, not {holds.dtype}; e.g. x > 0")
    if not hasattr(x, "dtype") and not hasattr(z, "dtype") and isinstance(x + z, float):
        x = xp.asarray(x, dtype=get_default_dtype())  # as `tensor` does with Python's floats
    return record(
        xp.where(holds, x, z),
        (a, lambda dy: xp.where(holds, dy, 0)),
        (b, lambda dy: xp.where(holds, 0, dy)),
    )


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; equal ones get half of the gradient each."""
    x, z = raw(a), raw(b)
    return record(
        _module(x, z).maximum(x, z),
        (a, lambda dy: _unless_lost(dy, x < z, x == z)),
        (b, lambda dy: _unless_lost(dy, z < x, x == z)),
    )


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; equal ones get half of the gradient each."""
    x, z = raw(a), raw(b)
    return record(
        _module(x, z).minimum(x, z),
        (a, lambda dy: _unless_lost(dy, x > z, x == z)),
        (b, lambda dy: _unless_lost(dy, z > x, x == z)),
    )


def _unless_lost(dy: Array, lost: Array, tie: Array) -> Array:
    """The gradient of an operand that was chosen, unless it lost against the other."""
    xp = array_module(dy)
    return xp.where(lost, 0, xp.where(tie, dy / 2, dy))


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x, but at least min and at most max: numbers or arrays, which get no gradient.

    The derivative is 1 where x stays as it is, also at the bounds, and 0 elsewhere. Raises
    ValueError if neither bound is given.
    """
    if min is None and max is None:
        raise ValueError("clip: give min, max, or both")
    y = array_module(raw(x)).clip(raw(x), raw(min), raw(max))
    return record(y, (x, lambda dy: dy * (raw(x) == y)))


clamp = clip  # as PyTorch calls it


# -------------------------------------------------------------------- reductions


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes meant, counted from the front (IndexError for one that is not there)."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise IndexError(f"there is no axis {a} among {ndim}, counted from 0, or from -1 back")
    return tuple(a % ndim for a in axes)


def _as_kept(reduced: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """A reduction's result with the reduced axes back as 1, so that it broadcasts to `shape`."""
    axes = _axes(axis, len(shape))
    return reduced.reshape([1 if a in axes else n for a, n in enumerate(shape)])


@either_spelling
def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over an axis, several, or all."""
    xp = array_module(x.data)

    def backward(dy: Array) -> Array:
        return xp.broadcast_to(_as_kept(dy, x.shape, axis), x.shape)

    return record(x.data.sum(axis=axis, keepdims=keepdims), (x, backward))


@either_spelling
def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over an axis, several, or all."""
    return div(sum(x, axis, keepdims), _count(x, axis))


def _count(x: Tensor, axis: Axis) -> int:
    """How many elements a reduction makes one of."""
    return math.prod(x.shape[a] for a in _axes(axis, x.ndim))


@either_spelling
def var(x: Tensor, axis: Axis = None, *, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The variance Σ (x - mean)² / (n - correction) over an axis, several, or all.

    correction 1 estimates without bias the variance of what the n elements are a sample of;
    0 gives their own. Not finite unless n is larger.
    """
    n = _count(x, axis) - correction
    n = n if n > 0 else 0
    centred = x.data - x.data.mean(axis=axis, keepdims=True)
    y = (centred * centred).sum(axis=axis, keepdims=keepdims)
    # The mean depends on x too, but moving it changes nothing: Σ (x - mean) is 0.
    return div(record(y, (x, lambda dy: 2 * _as_kept(dy, x.shape, axis) * centred)), n)


@either_spelling
def std(x: Tensor, axis: Axis = None, *, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The standard deviation √var; its derivative is 0 where all elements are equal."""
    variance = var(x, axis, correction=correction, keepdims=keepdims)
    xp = array_module(x.data)
    y = xp.sqrt(variance.data)
    # Where y is 0, var's own derivative is 0; the 1 keeps it so, instead of 0 / 0.
    return record(y, (variance, lambda dy: dy / (2 * xp.where(y == 0, 1, y))))


@either_spelling
def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element along an axis, several, or all; ties share the gradient equally."""
    return _extreme(x, x.data.max(axis=axis, keepdims=True), axis, keepdims)


@either_spelling
def min(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element along an axis, several, or all; ties share the gradient equally."""
    return _extreme(x, x.data.min(axis=axis, keepdims=True), axis, keepdims)


def _extreme(x: Tensor, y: Array, axis: Axis, keepdims: bool) -> Tensor:
    """A maximum or minimum y, given with its axes kept."""

    def backward(dy: Array) -> Array:
        reached = x.data == y
        ties = reached.sum(axis=axis, keepdims=True, dtype=dy.dtype)
        return _as_kept(dy, x.shape, axis) / ties * reached

    return record(y if keepdims else y.squeeze(axis), (x, backward, x))


# -------------------------------------------------------------------- shape


def reshape(x: Any, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape."""
    before = raw(x).shape
    return record(raw(x).reshape(shape), (x, lambda dy: dy.reshape(before)))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    order = list(range(x.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(x, order)


@either_spelling
def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """Without those of the axes (all, unless given) that have one element; others stay."""
    gone = [a for a in _axes(axis, x.ndim) if x.shape[a] == 1]
    return reshape(x, [n for a, n in enumerate(x.shape) if a not in gone])


@either_spelling
def unsqueeze(x: Tensor, axis: int) -> Tensor:
    """With a new axis of one element, the one that `axis` names in the result."""
    (a,) = _axes(axis, x.ndim + 1)
    return reshape(x, (*x.shape[:a], 1, *x.shape[a:]))


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """Copies of x side by side, sizes[a] of them along axis a: torch.Tensor.repeat, np.tile.

    There may be more sizes than axes, which x then gets in front. Raises ValueError for fewer.
    """
    times = tuple(sizes[0]) if isinstance(sizes[0], tuple | list) else sizes
    if len(times) < x.ndim:
        raise ValueError(f"repeat: {len(times)} sizes for a tensor with {x.ndim} axes")
    shape = (*[1] * (len(times) - x.ndim), *x.shape)
    copies_apart = [n for pair in zip(times, shape, strict=True) for n in pair]
    return record(
        array_module(x.data).tile(x.data, times),
        (x, lambda dy: dy.reshape(copies_apart).sum(axis=tuple(range(0, 2 * len(times), 2)))),
    )


def permute(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order; without `axes`, reversed."""
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(a % x.ndim for a in axes)
    inverse = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return record(x.data.transpose(order), (x, lambda dy: dy.transpose(inverse)))


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], with slices, integers, or arrays of integers (which may repeat)."""
    xp = array_module(x.data)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(_index(raw(i), xp) for i in parts)
    index = parts if isinstance(index, tuple) else parts[0]
    may_repeat = any(hasattr(i, "dtype") and i.dtype.kind != "b" for i in parts)

    def backward(dy: Array) -> Array:
        dx = xp.zeros(x.shape, dy.dtype)
        if may_repeat:
            xp.add.at(dx, index, dy)
        else:
            dx[index] = dy
        return dx

    return record(x.data[index], (x, backward))


def _index(i: Any, xp: ModuleType) -> Any:
    """One part of an index; lists and arrays where x lives, moved there once for both ways."""
    if isinstance(i, int | slice | type(...) | None):
        return i
    empty = isinstance(i, list | tuple) and not len(i)  # which NumPy takes for floats
    return place(i, xp, np.int64 if empty else None)


@either_spelling
def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut into `chunks` equal parts along an axis (ValueError if it can't be)."""
    if chunks < 1 or x.shape[axis] % chunks:
        raise ValueError(f"chunk: {chunks} equal parts can't be had of {x.shape[axis]} elements")
    xp, n = array_module(x.data), x.shape[axis] // chunks
    before = [slice(None)] * (axis % x.ndim)
    parts = [x.data[(*before, slice(k * n, (k + 1) * n))] for k in range(chunks)]
    return record_joint(parts, [x], lambda *d_parts: [xp.concatenate(d_parts, axis=axis)], ())


@either_spelling
def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors joined along an axis that they have."""
    arrays = [x.data for x in tensors]
    xp = array_module(arrays[0])
    ends = list(itertools.accumulate(a.shape[axis] for a in arrays))
    return record_joint(
        [xp.concatenate(arrays, axis=axis)],
        tensors,
        lambda dy: xp.split(dy, ends[:-1], axis=axis),
        saved=(),
    )[0]


cat = concatenate  # as PyTorch calls it


@either_spelling
def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, joined along a new axis."""
    arrays = [x.data for x in tensors]
    xp = array_module(arrays[0])
    return record_joint(
        [xp.stack(arrays, axis=axis)],
        tensors,
        lambda dy: list(_in_front(dy, axis)),
        saved=(),
    )[0]


def _in_front(x: Array, axis: int) -> Array:
    """x with one axis moved to the front."""
    return x if axis == 0 else array_module(x).moveaxis(x, axis, 0)


@either_spelling
def unbind(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, which they lose."""
    xp = array_module(x.data)
    parts = list(_in_front(x.data, axis))
    return record_joint(parts, [x], lambda *d_parts: [xp.stack(d_parts, axis=axis)], ())
