"""The backend, NumPy or CuPy.

`use(name)` selects the backend of new tensors and parameters. The default is the value of the
environment variable MINIGRAD_BACKEND, else NumPy. An operation does not use the current backend,
but that of its arrays, `array_module(array)`: a model stays where it was created.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import threading
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray

BACKENDS = ("numpy", "cupy")


class BackendError(RuntimeError):
    """The requested backend is not available; the message says what is missing."""


class _State(threading.local):
    name = os.environ.get("MINIGRAD_BACKEND") or "numpy"
    default_dtype = np.dtype(np.float32)


_state = _State()


@functools.cache
def _load_cupy() -> ModuleType:
    if importlib.util.find_spec("cupy") is None:
        raise BackendError(
            "backend 'cupy': CuPy is not installed; "
            "pip install cupy-cuda12x (CUDA 12) or cupy-cuda13x (CUDA 13)"
        )
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:  # its message has many lines; its cause names the library
        cause = _first_line(error.__cause__ or error)
        raise BackendError(
            f"backend 'cupy': CuPy is installed, but can't be imported ({cause})"
        ) from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        raise BackendError(f"backend 'cupy': CuPy finds no GPU to use ({error})") from error
    _try_out(cupy)
    return cupy


def _try_out(cupy: ModuleType) -> None:
    """Run a kernel and a matrix product: a missing part of CUDA is an error now, not later."""
    try:
        kernel = cupy.ElementwiseKernel("T x", "T y", "y = x + 1;", "minigrad_first_kernel")
        two = kernel(cupy.ones((2, 2), dtype=np.float32))
        two.get()
    except Exception as error:
        raise _incomplete("cannot compile and run a kernel (NVRTC)", error) from error
    try:
        (two @ two).get()
    except Exception as error:
        raise _incomplete("cannot compute a matrix product (cuBLAS)", error) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _incomplete(what: str, error: Exception) -> BackendError:
    return BackendError(
        f"backend 'cupy': {what}: {_first_line(error)}; pip install 'cupy-cuda12x[ctk]' "
        "(CUDA 12) or 'cupy-cuda13x[ctk]' (CUDA 13) installs the parts of CUDA that CuPy needs"
    )


def load(name: str) -> ModuleType:
    """The array module called `name` (BackendError if it is not available)."""
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    return np if name == "numpy" else _load_cupy()


class use:
    """Create new tensors and parameters on the backend `name`, "numpy" or "cupy".

    Takes effect at the call, in this thread; as a context manager, until the end of the block.
    Raises BackendError, which says what is missing, if the backend is not available.
    """

    def __init__(self, name: str) -> None:
        load(name)
        self._previous = _state.name
        _state.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _state.name = self._previous


def current_backend() -> str:
    """The name of the backend of new arrays."""
    return _state.name


def current_module() -> ModuleType:
    """The array module of new arrays."""
    return load(_state.name)


NUMPY_TYPES = (np.ndarray, np.generic, int, float)  # a constant: every operation checks it


def array_module(array: Array) -> ModuleType:
    """The module of `array`: NumPy or CuPy; for a Python number NumPy.

    Raises TypeError for anything else.
    """
    if isinstance(array, NUMPY_TYPES):
        return np
    if not (hasattr(array, "get") and hasattr(array, "dtype")):  # as a CuPy array has
        raise TypeError(f"expected a tensor, an array or a number, not a {type(array).__name__}")
    return _load_cupy()


def from_torch(x: Any) -> Any:
    """The values of a PyTorch tensor, on any device, as a NumPy array; anything else unchanged."""
    if type(x).__module__.partition(".")[0] != "torch" or not hasattr(x, "detach"):
        return x
    x = x.detach().cpu()
    return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()


def to_host(array: Array) -> np.ndarray:
    """`array` as a NumPy array, without a copy if it already is one."""
    return np.asarray(array) if isinstance(array, np.ndarray | np.generic) else array.get()


def as_array(x: Array) -> Array:
    """NumPy returns scalars for 0-d results: wrap them."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def place(array: Any, xp: ModuleType, dtype: Any = None) -> Array:
    """An array, list or number as an array of `xp`, without a copy if it already is one."""
    if hasattr(array, "dtype") and array_module(array) is not xp:
        array = to_host(array)
    return xp.asarray(array, dtype=dtype)


def floats(*scalars: Any) -> list[float]:
    """Scalars, arrays or numbers, as Python floats; from a GPU in one synchronizing transfer."""
    for x in scalars:
        if hasattr(x, "dtype") and array_module(x) is not np:
            xp = array_module(x)
            return to_host(xp.stack([xp.asarray(y, dtype=np.float64) for y in scalars])).tolist()
    return [float(x) for x in scalars]


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of new parameters and of tensors from Python floats (initially float32).

    Raises TypeError for a dtype that is not floating point.
    """
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"the default dtype must be floating point, not {np.dtype(dtype)}")
    _state.default_dtype = np.dtype(dtype)


def get_default_dtype() -> np.dtype:
    """The dtype of new parameters."""
    return _state.default_dtype
