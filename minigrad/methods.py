"""The operators and methods of a tensor. Most call the function of the same name in `ops`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops
from .backend import Array, array_module, to_host
from .modes import mode
from .rows import RowGradient
from .spelling import either_spelling

if TYPE_CHECKING:
    from .ops import Axis
    from .tensor import Tensor


class Methods:
    """The base class of Tensor. (`self` is a Tensor; `Any` because a base class can't say so.)"""

    __slots__ = ("_grad",)
    __array_ufunc__ = None  # so that `array * tensor` calls Tensor.__rmul__
    data: Array
    requires_grad: bool
    _grad: Array | RowGradient | None

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` computed: an array like `data`, or None."""
        if isinstance(self._grad, RowGradient):
            self._grad = self._grad.dense()
        return self._grad

    @grad.setter
    def grad(self, gradient: Array | RowGradient | None) -> None:
        self._grad = gradient

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        return int(self.data.ndim)

    @property
    def size(self) -> int:
        return int(self.data.size)

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        suffix = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({self.data!r}{suffix})"

    def item(self) -> float:
        """The single element as a Python number (ValueError if there are more)."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array; on the NumPy backend it shares memory with the tensor."""
        return to_host(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values, for np.asarray(x) and NumPy functions. TypeError on CuPy: use .numpy()."""
        if array_module(self.data) is not np:
            raise TypeError("a tensor on CuPy is not converted implicitly; use .numpy()")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __format__(self, spec: str) -> str:
        """f"{loss:.2f}" formats the number in a tensor with one element."""
        return format(self._only("format"), spec) if spec else str(self)

    def __bool__(self) -> bool:
        return bool(self._only("bool"))

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def _only(self, wanted: str) -> Any:
        if self.size != 1:
            raise ValueError(
                f"{wanted}() takes a tensor with one element, not one of shape {self.shape}; "
                "index it, or reduce it, e.g. with .any(), .all() or .sum()"
            )
        return self.data.item()

    # ------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    # ------------------------------------------------------------ arithmetic in place

    def __iadd__(self, other: Any) -> Tensor:
        return _in_place(operator.iadd, self, other)

    def __isub__(self, other: Any) -> Tensor:
        return _in_place(operator.isub, self, other)

    def __imul__(self, other: Any) -> Tensor:
        return _in_place(operator.imul, self, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return _in_place(operator.itruediv, self, other)

    def __getitem__(self: Any, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    # ------------------------------------------------------------ comparisons, without gradient

    __hash__ = object.__hash__  # a tensor can be a dict key, by identity

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _compared(operator.eq, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _compared(operator.ne, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _compared(operator.lt, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _compared(operator.le, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _compared(operator.gt, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _compared(operator.ge, self, other)

    def __and__(self, other: Any) -> Tensor:
        return _compared(operator.and_, self, other)

    def __or__(self, other: Any) -> Tensor:
        return _compared(operator.or_, self, other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self: Any) -> Tensor:
        return ops.constant(~self.data)

    def __contains__(self, item: Any) -> bool:
        """Whether any element equals `item` (for an array: the element in the same position)."""
        equal = self == item
        return bool(equal.any()) if isinstance(equal, Methods) else False

    @either_spelling
    def all(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.constant(self.data.all(axis=axis, keepdims=keepdims))

    @either_spelling
    def any(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.constant(self.data.any(axis=axis, keepdims=keepdims))

    # ------------------------------------------------------------ reductions

    @either_spelling
    def sum(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis, keepdims)

    @either_spelling
    def mean(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis, keepdims)

    @either_spelling
    def var(
        self: Any, axis: Axis = None, *, correction: float = 1, keepdims: bool = False
    ) -> Tensor:
        return ops.var(self, axis, correction=correction, keepdims=keepdims)

    @either_spelling
    def std(
        self: Any, axis: Axis = None, *, correction: float = 1, keepdims: bool = False
    ) -> Tensor:
        return ops.std(self, axis, correction=correction, keepdims=keepdims)

    @either_spelling
    def max(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.max(self, axis, keepdims)

    @either_spelling
    def min(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.min(self, axis, keepdims)

    # ------------------------------------------------------------ shape

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape[0] if isinstance(shape[0], tuple | list) else shape)

    def transpose(self: Any, dim0: int, dim1: int) -> Tensor:
        return ops.transpose(self, dim0, dim1)

    def permute(self: Any, *axes: Any) -> Tensor:
        return ops.permute(self, axes[0] if isinstance(axes[0], tuple | list) else axes)

    @either_spelling
    def squeeze(self: Any, axis: Axis = None) -> Tensor:
        return ops.squeeze(self, axis)

    @either_spelling
    def unsqueeze(self: Any, axis: int) -> Tensor:
        return ops.unsqueeze(self, axis)

    def repeat(self: Any, *sizes: Any) -> Tensor:
        return ops.repeat(self, *sizes)

    @either_spelling
    def chunk(self: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
        return ops.chunk(self, chunks, axis)

    @either_spelling
    def unbind(self: Any, axis: int = 0) -> tuple[Tensor, ...]:
        return ops.unbind(self, axis)

    @property
    def T(self: Any) -> Tensor:
        return ops.permute(self)

    # ------------------------------------------------------------ element-wise

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        return ops.relu(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def sin(self) -> Tensor:
        return ops.sin(self)

    def cos(self) -> Tensor:
        return ops.cos(self)

    def abs(self) -> Tensor:
        return ops.abs(self)

    def where(self, condition: Any, other: Any) -> Tensor:
        return ops.where(condition, self, other)

    def maximum(self, other: Any) -> Tensor:
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        return ops.minimum(self, other)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clip(self, min, max)

    clamp = clip


def _in_place(how: Callable[[Any, Any], Any], x: Any, other: Any) -> Any:
    """Change a leaf that requires a gradient, as an optimiser does: only where no tape records.

    For other tensors NotImplemented, so that x += y is x = x + y.
    """
    if not (x.requires_grad and x.is_leaf):
        return NotImplemented
    if mode.grad_enabled:
        raise RuntimeError(
            "a leaf that requires a gradient can't be changed in place while operations are "
            "recorded; do it inside `with no_grad():`, or write w = w - ..."
        )
    x.data = how(x.data, ops.raw(other))
    x.mark_changed()
    return x


def _compared(how: Callable[[Any, Any], Any], x: Any, other: Any) -> Any:
    """how(x, other), a boolean tensor; NotImplemented if `other` is not numeric.

    Python then tries the operator of `other`. If that fails too, == is False and < a TypeError.
    """
    if isinstance(other, list | tuple):
        return NotImplemented
    value = ops.raw(other)
    is_number = isinstance(value, int | float)
    if not is_number and not (hasattr(value, "dtype") and value.dtype.kind in "biuf"):
        return NotImplemented
    return ops.constant(how(x.data, value))
