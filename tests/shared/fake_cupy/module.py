"""The module of the fake device: the NumPy functions that CuPy has, with CuPy's keywords."""

from __future__ import annotations

import os
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from . import kernel
from .array import (
    ADDABLE,
    Undefined,
    apply,
    further_launches,
    host,
    index,
    matmul,
    ndarray,
    wrap,
)
from .counts import counts
from .manifest import NAMES, check_call, offers


class Ufunc:
    """A ufunc as in CuPy: without `where=` and most methods."""

    def __init__(self, name: str) -> None:
        self.name, self._ufunc = name, getattr(np, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        check_call(self.name, args, kwargs)
        if len(args) > self._ufunc.nin:
            *args, kwargs["out"] = args  # type: ignore[assignment]
        return apply(self._ufunc, tuple(args), **kwargs)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.name not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"`{self.name}.at` is not supported by CuPy")
        for x in (a, b):
            if not isinstance(x, ndarray):
                raise TypeError(f"Unsupported type {type(x)} in {self.name}.at")
        if a.dtype.name not in ADDABLE or (self.name == "subtract" and a.dtype.kind == "f"):
            raise TypeError(f"{self.name}.at does not support {a.dtype} in CuPy")
        counts.launches += 1
        self._ufunc.at(a._host, index(indices), b._host)

    def reduce(self, array: Any, *args: Any, **kwargs: Any) -> Any:
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported by CuPy")
        counts.launches += 1
        return wrap(self._ufunc.reduce(host(array), *args, **kwargs))


def asarray(a: Any, dtype: Any = None, **_: Any) -> ndarray:
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    return _upload(a, dtype)


def array(obj: Any, dtype: Any = None, copy: bool = True, **_: Any) -> ndarray:
    if isinstance(obj, ndarray):
        return asarray(obj, dtype) if not copy else obj.astype(dtype or obj.dtype)
    return _upload(obj, dtype)


def _upload(a: Any, dtype: Any) -> ndarray:
    if isinstance(a, (list, tuple)) and any(isinstance(x, ndarray) for x in a):
        raise Undefined("an array from a list of device arrays: use stack")
    made = np.array(a, dtype=dtype)
    counts.uploads += 1
    counts.uploaded += made.nbytes
    return ndarray(made)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _poison(np.empty(host(shape), dtype, order))


def empty_like(prototype: Any, dtype: Any = None, **_: Any) -> ndarray:
    return _poison(np.empty_like(_device(prototype), dtype, order="C"))


def _poison(made: np.ndarray) -> ndarray:
    """Fill with values that no computation may use."""
    if made.dtype.kind == "f":
        made.fill(np.nan)
    elif made.dtype.kind in "iu":
        made.fill(np.iinfo(made.dtype).max)
    return ndarray(made)


def _device(x: Any) -> np.ndarray:
    if not isinstance(x, ndarray):
        raise TypeError(f"Unsupported type {type(x)}: only the device's arrays")
    return x._host


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray) and a._host.flags.c_contiguous and dtype in (None, a.dtype):
        return a
    counts.launches += 1
    return ndarray(np.ascontiguousarray(_device(a), dtype))


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    return [ary._view(part) for part in np.split(_device(ary), indices_or_sections, axis)]


def broadcast_to(array: Any, shape: Any) -> ndarray:
    return array._view(np.broadcast_to(_device(array), shape))


def _view(name: str) -> Any:
    return lambda a, *args, **kwargs: a._view(getattr(np, name)(_device(a), *args, **kwargs))


def asnumpy(a: Any, *_: Any) -> np.ndarray:
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def may_share_memory(a: Any, b: Any) -> bool:
    return np.may_share_memory(_device(a), _device(b))


def where(condition: Any, *xy: Any) -> Any:
    if not xy:
        counts.syncs += 1
    counts.launches += 1
    return wrap(np.where(host(condition), *map(host, xy)))


class Device:
    current = 0

    def __init__(self, device: int | None = None) -> None:
        self.id = Device.current if device is None else device

    def use(self) -> None:
        if self.id >= _device_count():
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        Device.current = self.id

    @property
    def pci_bus_id(self) -> str:
        # With FAKE_BUS=own, this process sees only some of the GPUs of its machine.
        first = os.getpid() if os.environ.get("FAKE_BUS") == "own" else 1
        return f"0000:{first + self.id:02X}:00.0"

    def synchronize(self) -> None:
        counts.syncs += 1


def _device_count() -> int:
    return int(os.environ.get("FAKE_GPUS", "1"))


def get_current_stream(device_id: int | None = None) -> Any:
    return SimpleNamespace(ptr=0xFA4E)  # not 0, so that a forgotten stream is noticed


class Event:
    """The fake device has done all work when a call returns, so an event is a time on the host."""

    def record(self) -> None:
        self.time = time.perf_counter()


class Pool:
    def free_all_blocks(self) -> None:
        pass


SPECIAL: dict[str, Any] = {
    f.__name__: f
    for f in (array, asarray, asnumpy, ascontiguousarray, broadcast_to, empty, empty_like,
              matmul, may_share_memory, split, where)
} | {"shares_memory": may_share_memory, "get_default_memory_pool": Pool}  # fmt: skip
SPECIAL |= {name: _view(name) for name in ("expand_dims", "moveaxis", "squeeze", "swapaxes")}

# Functions of one launch or a few. Others have not been needed yet.
ONE = (
    "all amax amin any arange argmax argmin clip concatenate copyto cumsum diag dot eye flip full "
    "full_like max mean min ones ones_like prod repeat stack sum take tile tril triu zeros "
    "zeros_like"
)
# vdot is (a.ravel() * b.ravel()).sum(), with a temporary as large as its operands.
THREE = "allclose array_equal einsum linspace std take_along_axis var vdot"
FOUR = "argsort bincount nonzero sort unique"
LAUNCHES = {name: n for n, names in ((1, ONE), (3, THREE), (4, FOUR)) for name in names.split()}
SYNCING = {"nonzero", "unique", "bincount"}
DTYPES = "bool_ int8 int16 int32 int64 uint8 uint32 uint64 float16 float32 float64"
CONSTANTS = {"inf", "nan", "pi", "e", "newaxis", "finfo", "iinfo", "dtype", *DTYPES.split()}


class FakeCupy(ModuleType):
    """Replaces the module cupy."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.ndarray = ndarray
        runtime = SimpleNamespace(getDeviceCount=_device_count)
        self.cuda = SimpleNamespace(
            runtime=runtime,
            is_available=lambda: True,
            Device=Device,
            Event=Event,
            get_current_stream=get_current_stream,
            get_elapsed_time=lambda start, end: 1000 * (end.time - start.time),
        )

    def __getattr__(self, name: str) -> Any:
        if not offers(name):
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        if name in CONSTANTS:
            return getattr(np, name)
        if name == "ElementwiseKernel" and kernel.COMPILER:
            return kernel.ElementwiseKernel
        if name in SPECIAL:
            return _checked(name, SPECIAL[name])
        if (NAMES[name] or {}).get("ufunc") and isinstance(getattr(np, name, None), np.ufunc):
            return Ufunc(name)
        if name in LAUNCHES:
            return _checked(name, _generic(name))
        raise AttributeError(f"the fake device has no {name} yet")


def _checked(name: str, function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        check_call(name, args, kwargs)
        return function(*args, **kwargs)

    return call


def _generic(name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        counts.launches += LAUNCHES[name] + further_launches(name, args[1:], kwargs)
        counts.syncs += name in SYNCING
        if "tup" in kwargs:  # CuPy's names of NumPy's positional parameters
            args = (kwargs.pop("tup"), *args)
        out = kwargs.get("out")
        with np.errstate(all="ignore"):
            result = getattr(np, name)(
                *map(host, args), **{key: host(x) for key, x in kwargs.items()}
            )
        return wrap(result) if out is None else out

    return call
