"""The array of the fake device: a wrapper around a NumPy array that behaves like CuPy's.

It is not a subclass of numpy.ndarray, because NumPy's functions accept those. It raises `Undefined`
where CuPy would copy implicitly or leave a result undefined.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .counts import counts
from .manifest import check_call, offers


class Undefined(Exception):
    """CuPy would silently give an unreliable result here."""


SCALARS = (bool, int, float, complex, np.generic)
# scatter_add has atomics for these dtypes only.
ADDABLE = {"float16", "float32", "float64", "int32", "uint32", "uint64"}


def host(x: Any) -> Any:
    """The operand for NumPy; TypeError for operands that CuPy rejects."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}: a NumPy array together with device arrays")
    if isinstance(x, (list, tuple)) and any(isinstance(y, (ndarray, np.ndarray)) for y in x):
        return type(x)(host(y) for y in x)
    return x


def wrap(x: Any, base: ndarray | None = None) -> Any:
    """A result of NumPy as an array of the device (also 0-d), or a tuple of them."""
    if isinstance(x, (tuple, list)):
        return type(x)(wrap(y, base) for y in x)
    if isinstance(x, (np.ndarray, np.generic)):
        return ndarray(np.asarray(x), base)
    return x


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same view of the same memory."""
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)
    )  # fmt: skip


def refuse_overlap(source: Any, target: np.ndarray) -> None:
    """Raise if memory overlaps: CuPy then copies an input, or gives a wrong result."""
    if not isinstance(source, np.ndarray) or not source.size or not target.size:
        return
    if np.may_share_memory(source, target) and not same_memory(source, target):
        raise Undefined("an input overlaps the output: CuPy copies it, or reads what it wrote")


def apply(ufunc: np.ufunc, args: tuple[Any, ...], out: Any = None, **how: Any) -> ndarray:
    """Run one element-wise kernel."""
    for x in args:
        if not isinstance(x, (ndarray, *SCALARS)):
            raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(out, tuple):
        (out,) = out
    values = [host(x) for x in args]
    counts.launches += 1
    with np.errstate(all="ignore"):
        if out is None:
            return wrap(ufunc(*values, **how))
        if not isinstance(out, ndarray):
            raise TypeError(f"out must be a device array, not {type(out)}")
        for value in values:
            refuse_overlap(value, out._host)
        ufunc(*values, out=out._host, **how)
    return out


def matmul(a: Any, b: Any, out: Any = None) -> ndarray:
    """A matrix product; counts the copies that cuBLAS needs for some layouts."""
    x, y = host(a), host(b)
    for operand in (x, y):
        if not isinstance(operand, np.ndarray):
            raise TypeError(f"Unsupported type {type(operand)}")
        matrix = operand.swapaxes(-1, -2) if operand.ndim > 1 else operand
        if not (operand.flags.c_contiguous or matrix.flags.c_contiguous):
            counts.launches += 1
    counts.launches += 1
    with np.errstate(all="ignore"):
        if out is None:
            return wrap(np.matmul(x, y))
        if not out._host.flags.c_contiguous:
            raise Undefined("a product into a non-contiguous out needs a hidden copy")
        for value in (x, y):
            if np.may_share_memory(value, out._host):
                raise Undefined("a product into one of its operands")
        np.matmul(x, y, out=out._host)
    return out


def index(key: Any) -> Any:
    """The index for NumPy; raises for lists and NumPy arrays, which CuPy would have to copy."""
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if isinstance(part, (list, np.ndarray)):
            raise Undefined("a list or NumPy array as index: a hidden copy to the device")
        if isinstance(part, ndarray) and part.dtype == bool:
            counts.syncs += 1  # the host waits for the number of elements
    return tuple(host(p) for p in parts) if isinstance(key, tuple) else host(key)


def _as_view(parts: tuple[Any, ...]) -> Any:
    """An index that gives a view even for a single element."""
    return parts if any(part is ... for part in parts) else (*parts, ...)


def refuse_duplicates(shape: tuple[int, ...], key: Any) -> None:
    """Raise for duplicate indices: which value CuPy would store is undefined."""
    places = np.arange(math.prod(shape)).reshape(shape)[key]
    if np.unique(places).size != places.size:
        raise Undefined("an element is set twice: which value it keeps is undefined")


_addresses: weakref.WeakValueDictionary[int, ndarray] = weakref.WeakValueDictionary()


def at_address(pointer: int) -> ndarray | None:
    """The array that has told this as its address, if it still exists."""
    return _addresses.get(pointer)


class ndarray:
    """Replaces cupy.ndarray."""

    __slots__ = ("__weakref__", "_host", "base")
    __array_ufunc__ = None  # NumPy's operators then call ours, which raise
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray, base: ndarray | None = None) -> None:
        self._host = array
        self.base = base

    def _view(self, array: np.ndarray) -> ndarray:
        return ndarray(array, self if self.base is None else self.base)

    def __getattr__(self, name: str) -> Any:
        if not offers(f"ndarray.{name}"):
            raise AttributeError(f"'ndarray' object of CuPy has no attribute {name!r}")
        if name in PROPERTIES:
            return getattr(self._host, name)
        if name in VIEWS or name in METHODS:
            return lambda *args, **kwargs: self._method(name, args, kwargs)
        raise NotImplementedError(f"the fake device has no ndarray.{name} yet")

    def _method(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        check_call(f"ndarray.{name}", args, kwargs)
        values = [host(x) for x in args]
        named = {key: host(x) for key, x in kwargs.items()}
        method = getattr(self._host, name)
        with np.errstate(all="ignore"):
            result = method(*values, **named)
        if name in VIEWS:
            if np.shares_memory(result, self._host) or not result.size:
                return self._view(result)
            counts.launches += 1  # a shape that needs a copy
            return wrap(result)
        counts.launches += METHODS[name] + further_launches(name, args, kwargs)
        return wrap(result)

    @property
    def T(self) -> ndarray:
        return self._view(self._host.T)

    @property
    def dtype(self) -> np.dtype:
        return self._host.dtype

    @property
    def data(self) -> Any:
        pointer = self._host.ctypes.data
        _addresses[pointer] = self
        return SimpleNamespace(ptr=pointer)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    # ---------------------------------------------------------------- to the host

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def get(self, *args: Any, **kwargs: Any) -> np.ndarray:
        check_call("ndarray.get", args, kwargs)
        counts.syncs += 1
        return self._host.copy()

    def item(self, *args: Any) -> Any:
        counts.syncs += 1
        return self._host.item(*args)

    def tolist(self) -> Any:
        counts.syncs += 1
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        counts.syncs += 1
        return self._host.tobytes(order)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        counts.syncs += 1
        return bool(self._host)

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __repr__(self) -> str:
        counts.syncs += 1
        return repr(self._host)

    def __str__(self) -> str:
        counts.syncs += 1
        return str(self._host)

    def __format__(self, spec: str) -> str:
        counts.syncs += 1
        return format(self._host if self._host.ndim else self._host[()], spec)

    def __contains__(self, _: Any) -> bool:
        raise TypeError("argument of type 'ndarray' is not iterable")  # as in CuPy

    def __reduce__(self) -> Any:
        raise TypeError("a pickle of device arrays can't be read without a GPU")

    # ---------------------------------------------------------------- parts of it

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        parts = index(key if isinstance(key, tuple) else (key,))
        if any(isinstance(part, np.ndarray) for part in parts):
            counts.launches += 1
            return wrap(self._host[parts])
        return self._view(self._host[_as_view(parts)])  # one element is a view too

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (list, np.ndarray)):
            raise TypeError(f"Unsupported type {type(value)} as the value of a set")
        key, value = index(key), host(value)
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, np.ndarray) and part.dtype != bool for part in parts):
            refuse_duplicates(self.shape, key)
        else:
            refuse_overlap(value, np.asarray(self._host[_as_view(parts)]))
        counts.launches += 1
        with np.errstate(all="ignore"):
            self._host[key] = value

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other) if isinstance(other, (ndarray, np.ndarray)) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self) if isinstance(other, (ndarray, np.ndarray)) else NotImplemented

    def __imatmul__(self, other: Any) -> Any:
        raise Undefined("a @= b makes a new array in CuPy")


PROPERTIES = {"ndim", "size", "itemsize", "nbytes", "strides", "flags"}
VIEWS = {"reshape", "transpose", "swapaxes", "squeeze", "ravel", "view", "diagonal"}
# The number of kernels for each.
METHODS = {
    "all": 1, "any": 1, "argmax": 1, "argmin": 1, "astype": 1, "clip": 1, "conj": 1, "copy": 1,
    "cumsum": 1, "dot": 1, "fill": 1, "flatten": 1, "max": 1, "mean": 1, "min": 1, "prod": 1,
    "repeat": 1, "round": 1, "std": 2, "sum": 1, "take": 1, "var": 2,
}  # fmt: skip
# CuPy passes these to CUB, which reduces a whole array in two launches.
BY_CUB = {"amax", "amin", "max", "mean", "min", "prod", "sum"}


def further_launches(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Launches of a reduction besides the first; `args` without the array."""
    whole = (args[0] if args else kwargs.get("axis")) is None
    return (name in BY_CUB and whole) + (name == "mean")  # a mean is a sum and a division


def _operators() -> None:
    """Add Python's operators to the class, each as one kernel."""

    def binary(ufunc: np.ufunc) -> Callable[[ndarray, Any], Any]:
        return lambda self, other: _operate(ufunc, self, other)

    def reflected(ufunc: np.ufunc) -> Callable[[ndarray, Any], Any]:
        return lambda self, other: _operate(ufunc, other, self)

    def in_place(ufunc: np.ufunc) -> Callable[[ndarray, Any], Any]:
        return lambda self, other: apply(ufunc, (self, other), out=self)

    arithmetic = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
        "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power,
        "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
        "lshift": np.left_shift, "rshift": np.right_shift,
    }  # fmt: skip
    for name, ufunc in arithmetic.items():
        setattr(ndarray, f"__{name}__", binary(ufunc))
        setattr(ndarray, f"__r{name}__", reflected(ufunc))
        setattr(ndarray, f"__i{name}__", in_place(ufunc))
    compared = {
        "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
        "gt": np.greater, "ge": np.greater_equal,
    }  # fmt: skip
    for name, ufunc in compared.items():
        setattr(ndarray, f"__{name}__", binary(ufunc))
    for name, ufunc in {"neg": np.negative, "abs": np.absolute, "invert": np.invert}.items():
        setattr(ndarray, f"__{name}__", lambda self, ufunc=ufunc: apply(ufunc, (self,)))


def _operate(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """NotImplemented for other types, such as Tensor; TypeError for NumPy arrays."""
    for x in (a, b):
        if isinstance(x, (list, np.ndarray)):
            raise TypeError(f"Unsupported type {type(x)}")
        if not isinstance(x, (ndarray, *SCALARS)):
            return NotImplemented
    return apply(ufunc, (a, b))


_operators()
