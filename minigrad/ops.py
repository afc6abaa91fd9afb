"""The primitive operations: each one's value and, beside it, its derivative.

`record(y, (x, dx), ...)` pairs each operand x with a function that turns the upstream gradient
`dy` into the gradient of x. After the function come the operands whose values it reads. Operands
are tensors, arrays or numbers; a Python number never changes the dtype of the result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from . import creation
from .backend import Array, array_module, get_default_dtype, place
from .spelling import either_spelling
from .tensor import Tensor, record, record_joint

Axis = int | tuple[int, ...] | None  # or a list: `either_spelling` makes it a tuple


def raw(x: Any) -> Any:
    """The array of a tensor or of a list; a NumPy scalar as a number; anything else unchanged."""
    if isinstance(x, Tensor):
        return x.data
    if isinstance(x, list | tuple):
        if creation.holds_a_tensor(x):
            raise TypeError("a list of tensors is not an operand; join them with minigrad.stack")
        return creation.tensor(x).data
    return x.item() if isinstance(x, np.generic) else x


def constant(array: Array) -> Tensor:
    """A tensor without a derivative, such as the result of a comparison."""
    return Tensor(array)


def _module(*operands: Any) -> ModuleType:
    """The array module of the first array among the operands (NumPy if all are numbers)."""
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
        return dy * p * x ** (p - (p != 0))  # x⁰ is 1: its derivative is 0, also at x = 0

    return record(y, (a, d_base, a, b), (b, d_exponent, a))


def matmul(a: Any, b: Any) -> Tensor:
    """a @ b as in NumPy: the vector a is a row, the vector b a column; batch axes broadcast."""
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


# -------------------------------------------------------------------- element-wise


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

    exp(-x) may overflow to infinity; the result is then 0, which is right. The caller silences
    the warning, because entering np.errstate costs more than the arithmetic of a small array.
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


# -------------------------------------------------------------------- selection


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition is true, b elsewhere; all three broadcast.

    Raises TypeError for a condition that is not boolean.
    """
    x, z, given = raw(a), raw(b), raw(condition)
    xp = _module(x, z, given)
    holds = place(given, xp)
    if holds.dtype.kind != "b":
        raise TypeError(
            f"where: the condition must be boolean, not {holds.dtype}; compare first, e.g. x > 0"
        )
    if not hasattr(x, "dtype") and not hasattr(z, "dtype") and isinstance(x + z, float):
        x = xp.asarray(
            x, dtype=get_default_dtype()
        )  # Python floats get the default dtype, as in `tensor`
    return record(
        xp.where(holds, x, z),
        (a, lambda dy: xp.where(holds, dy, 0)),
        (b, lambda dy: xp.where(holds, 0, dy)),
    )


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, element by element; if equal, each gets half of the gradient."""
    x, z = raw(a), raw(b)
    return record(
        _module(x, z).maximum(x, z),
        (a, lambda dy: _of_winner(dy, x < z, x == z)),
        (b, lambda dy: _of_winner(dy, z < x, x == z)),
    )


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, element by element; if equal, each gets half of the gradient."""
    x, z = raw(a), raw(b)
    return record(
        _module(x, z).minimum(x, z),
        (a, lambda dy: _of_winner(dy, x > z, x == z)),
        (b, lambda dy: _of_winner(dy, z > x, x == z)),
    )


def _of_winner(dy: Array, lost: Array, tie: Array) -> Array:
    """The gradient of one operand: 0 where it lost, dy / 2 at a tie, dy elsewhere."""
    xp = array_module(dy)
    return xp.where(lost, 0, xp.where(tie, dy / 2, dy))


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; the bounds are numbers or arrays and get no gradient.

    The derivative is 1 where x is unchanged, also at the bounds, and 0 elsewhere. Raises
    ValueError if neither bound is given.
    """
    if min is None and max is None:
        raise ValueError("clip: no bound is given; give min, max, or both")
    y = array_module(raw(x)).clip(raw(x), raw(min), raw(max))
    return record(y, (x, lambda dy: dy * (raw(x) == y)))


clamp = clip  # PyTorch's name


# -------------------------------------------------------------------- reductions


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes as numbers from 0 on (IndexError for an axis that does not exist)."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise IndexError(
                f"axis {a} is out of range for {ndim} axes: they count from 0, or from -1 back"
            )
    return tuple(a % ndim for a in axes)


def _with_keepdims(reduced: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """The result of a reduction with keepdims=True, so that it broadcasts to `shape`."""
    axes = _axes(axis, len(shape))
    return reduced.reshape([1 if a in axes else n for a, n in enumerate(shape)])


@either_spelling
def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over an axis, several, or all."""
    xp = array_module(x.data)

    def backward(dy: Array) -> Array:
        return xp.broadcast_to(_with_keepdims(dy, x.shape, axis), x.shape)

    return record(x.data.sum(axis=axis, keepdims=keepdims), (x, backward))


@either_spelling
def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over an axis, several, or all."""
    return div(sum(x, axis, keepdims), _count(x, axis))


def _count(x: Tensor, axis: Axis) -> int:
    """The number of elements that a reduction combines into one."""
    return math.prod(x.shape[a] for a in _axes(axis, x.ndim))


@either_spelling
def var(x: Tensor, axis: Axis = None, *, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The variance Σ (x - mean)² / (n - correction) over an axis, several, or all.

    correction 1 gives the unbiased estimate from a sample, 0 the variance of the n elements
    themselves. The result is not finite unless n > correction.
    """
    n = _count(x, axis) - correction
    n = n if n > 0 else 0
    centred = x.data - x.data.mean(axis=axis, keepdims=True)
    y = (centred * centred).sum(axis=axis, keepdims=keepdims)
    # The mean depends on x too, but this term of the derivative is 0: Σ (x - mean) = 0.
    return div(record(y, (x, lambda dy: 2 * _with_keepdims(dy, x.shape, axis) * centred)), n)


@either_spelling
def std(x: Tensor, axis: Axis = None, *, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The standard deviation √var; its derivative is 0 where all elements are equal."""
    variance = var(x, axis, correction=correction, keepdims=keepdims)
    xp = array_module(x.data)
    y = xp.sqrt(variance.data)
    # At y = 0 the derivative of var is 0. The 1 keeps the product 0; dividing by y gives NaN.
    return record(y, (variance, lambda dy: dy / (2 * xp.where(y == 0, 1, y))))


@either_spelling
def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The maximum over an axis, several, or all; ties share the gradient equally."""
    return _extreme(x, x.data.max(axis=axis, keepdims=True), axis, keepdims)


@either_spelling
def min(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The minimum over an axis, several, or all; ties share the gradient equally."""
    return _extreme(x, x.data.min(axis=axis, keepdims=True), axis, keepdims)


def _extreme(x: Tensor, y: Array, axis: Axis, keepdims: bool) -> Tensor:
    """The maximum or minimum y of x, which was computed with keepdims=True."""

    def backward(dy: Array) -> Array:
        reached = x.data == y
        ties = reached.sum(axis=axis, keepdims=True, dtype=dy.dtype)
        return _with_keepdims(dy, x.shape, axis) / ties * reached

    return record(y if keepdims else y.squeeze(axis), (x, backward, x))


# -------------------------------------------------------------------- shape


def _view(x: Any, y: Tensor) -> Tensor:
    """y, which was computed from x. If it shows the memory of x, they change together."""
    base = y.data.base  # a view of a view has the base of the first
    if isinstance(x, Tensor) and base is not None and (base is x.data or base is x.data.base):
        y._changes = x._changes
    return y


def reshape(x: Any, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape."""
    before = raw(x).shape
    return _view(x, record(raw(x).reshape(shape), (x, lambda dy: dy.reshape(before))))


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two axes exchanged."""
    order = list(range(x.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(x, order)


@either_spelling
def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """x without its axes of size 1, all or those in `axis`; axes of another size stay."""
    gone = [a for a in _axes(axis, x.ndim) if x.shape[a] == 1]
    return reshape(x, [n for a, n in enumerate(x.shape) if a not in gone])


@either_spelling
def unsqueeze(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of size 1, at position `axis` of the result."""
    (a,) = _axes(axis, x.ndim + 1)
    return reshape(x, (*x.shape[:a], 1, *x.shape[a:]))


def repeat(x: Tensor, *sizes: Any) -> Tensor:
    """sizes[a] copies of x along each axis a, as in torch.Tensor.repeat and np.tile.

    If there are more sizes than axes, x first gets new axes in front. Raises ValueError for fewer.
    """
    times = tuple(sizes[0]) if isinstance(sizes[0], tuple | list) else sizes
    if len(times) < x.ndim:
        raise ValueError(f"repeat: {len(times)} sizes for {x.ndim} axes; give one for each axis")
    shape = (*[1] * (len(times) - x.ndim), *x.shape)
    copies_apart = [n for pair in zip(times, shape, strict=True) for n in pair]
    return record(
        array_module(x.data).tile(x.data, times),
        (x, lambda dy: dy.reshape(copies_apart).sum(axis=tuple(range(0, 2 * len(times), 2)))),
    )


def permute(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """x with its axes in another order; by default reversed."""
    order = tuple(reversed(range(x.ndim))) if axes is None else _axes(tuple(axes), x.ndim)
    inverse = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return _view(x, record(x.data.transpose(order), (x, lambda dy: dy.transpose(inverse))))


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], with slices, integers, or arrays of integers (which may repeat)."""
    xp = array_module(x.data)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(_index(i if isinstance(i, list) else raw(i), xp) for i in parts)
    index = parts if isinstance(index, tuple) else parts[0]
    may_repeat = any(hasattr(i, "dtype") and i.dtype.kind != "b" for i in parts)

    def backward(dy: Array) -> Array:
        dx = xp.zeros(x.shape, dy.dtype)
        if may_repeat:
            xp.add.at(dx, index, dy)
        else:
            dx[index] = dy
        return dx

    return _view(x, record(x.data[index], (x, backward)))


def _index(i: Any, xp: ModuleType) -> Any:
    """One part of an index; a list or array becomes an array of xp, for forward and backward."""
    if isinstance(i, int | slice | type(...) | None):
        return i
    empty = isinstance(i, list | tuple) and not len(i)  # NumPy would make it float64
    return place(i, xp, np.int64 if empty else None)


@either_spelling
def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """x cut into `chunks` equal parts along an axis (ValueError if impossible)."""
    if chunks < 1 or x.shape[axis] % chunks:
        raise ValueError(f"chunk: {x.shape[axis]} elements do not split into {chunks} equal parts")
    xp, n = array_module(x.data), x.shape[axis] // chunks
    before = [slice(None)] * (axis % x.ndim)
    parts = [x.data[(*before, slice(k * n, (k + 1) * n))] for k in range(chunks)]
    results = record_joint(parts, [x], lambda *d_parts: [xp.concatenate(d_parts, axis=axis)], ())
    return tuple(_view(x, part) for part in results)


@either_spelling
def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors joined along an existing axis."""
    arrays = _arrays("concatenate", tensors)
    xp = array_module(arrays[0])
    ends = list(itertools.accumulate(a.shape[axis] for a in arrays))
    return record_joint(
        [xp.concatenate(arrays, axis=axis)],
        tensors,
        lambda dy: xp.split(dy, ends[:-1], axis=axis),
        saved=(),
    )[0]


cat = concatenate  # PyTorch's name


def _arrays(operation: str, tensors: Sequence[Tensor]) -> list[Array]:
    if not tensors or not all(isinstance(x, Tensor) for x in tensors):
        given = "an empty list" if not tensors else "a list with something else"
        raise TypeError(f"{operation}: give a list of tensors, not {given}")
    return [x.data for x in tensors]


@either_spelling
def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors, all of the same shape, joined along a new axis."""
    arrays = _arrays("stack", tensors)
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
    """The slices of x along an axis, each without this axis."""
    xp = array_module(x.data)
    parts = list(_in_front(x.data, axis))
    results = record_joint(parts, [x], lambda *d_parts: [xp.stack(d_parts, axis=axis)], ())
    return tuple(_view(x, part) for part in results)
