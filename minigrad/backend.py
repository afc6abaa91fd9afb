"""NumPy or CuPy: the one place that knows there are two.

`use(name)` says where new tensors and parameters are made; until it is called, the environment
variable MINIGRAD_BACKEND, or NumPy. An operation does not ask for the current backend but for
the one its arrays live on, `array_module(array)`, so that a model stays where it was made.
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
    """The backend asked for can't be used here; the message says what is missing."""


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
    cupy = importlib.import_module("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        raise BackendError(f"backend 'cupy': CuPy finds no GPU to use ({error})") from error
    _try_out(cupy)
    return cupy


def _try_out(cupy: ModuleType) -> None:
    """One kernel and one product, so that a missing part of CUDA shows now, and by name."""
    try:
        kernel = cupy.ElementwiseKernel("T x", "T y", "y = x + 1;", "minigrad_first_kernel")
        two = kernel(cupy.ones((2, 2), dtype=np.float32))
        two.get()
    except Exception as error:
        raise _incomplete("a kernel can't be compiled and run (NVRTC)", error) from error
    try:
        (two @ two).get()
    except Exception as error:
        raise _incomplete("a matrix product can't be computed (cuBLAS)", error) from error


def _incomplete(what: str, error: Exception) -> BackendError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return BackendError(
        f"backend 'cupy': {what}: {lines[0]}; pip install 'cupy-cuda12x[ctk]' (CUDA 12) or "
        "'cupy-cuda13x[ctk]' (CUDA 13) brings the parts of CUDA that CuPy needs"
    )


def load(name: str) -> ModuleType:
    """The array module called `name` (BackendError if it can't be used)."""
    if name not in BACKENDS:
        raise BackendError(f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)}")
    return np if name == "numpy" else _load_cupy()


class use:
    """Make new tensors and parameters on the backend `name`, "numpy" or "cupy".

    Holds from the call on, in this thread; as a context manager, until the block ends. Raises
    BackendError if the backend can't be used, and says what is missing.
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
    """The name of the backend on which new arrays are made."""
    return _state.name


def current_module() -> ModuleType:
    """The array module on which new arrays are made."""
    return load(_state.name)


NUMPYS = (np.ndarray, np.generic, int, float)  # a tuple made once: every operation asks


def array_module(array: Array) -> ModuleType:
    """The module that `array` belongs to: NumPy or CuPy. Python's numbers are NumPy's.

    Raises TypeError for what is no array.
    """
    if isinstance(array, NUMPYS):
        return np
    if not (hasattr(array, "get") and hasattr(array, "dtype")):  # as a CuPy array has
        raise TypeError(f"expected a tensor, an array or a number, not a {type(array).__name__}")
    return _load_cupy()


def from_torch(x: Any) -> Any:
    """The values of a PyTorch tensor, on whatever device, as a NumPy array; all else as it is."""
    if type(x).__module__.partition(".")[0] != "torch" or not hasattr(x, "detach"):
        return x
    x = x.detach().cpu()
    return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()


def to_host(array: Array) -> np.ndarray:
    """`array` as a NumPy array; one that already is comes back itself, without a copy."""
    return np.asarray(array) if isinstance(array, np.ndarray | np.generic) else array.get()


def as_array(x: Array) -> Array:
    """NumPy returns scalars for 0-d results: wrap them."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def place(array: Any, xp: ModuleType, dtype: Any = None) -> Array:
    """`array`, a list or number as an array of the module `xp`; itself if it is one already."""
    if hasattr(array, "dtype") and array_module(array) is not xp:
        array = to_host(array)
    return xp.asarray(array, dtype=dtype)


def floats(*scalars: Any) -> list[float]:
    """Scalars, arrays or numbers, as Python's; from a GPU in one transfer, for which it waits."""
    for x in scalars:
        if hasattr(x, "dtype") and array_module(x) is not np:
            xp = array_module(x)
            return to_host(xp.stack([xp.asarray(y, dtype=np.float64) for y in scalars])).tolist()
    return [float(x) for x in scalars]


def set_default_dtype(dtype: Any) -> None:
    """Make parameters, and tensors of Python numbers, in this dtype (float32 at the start).

    Raises TypeError for a dtype that is not floating.
    """
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"the default dtype must be floating, not {np.dtype(dtype)}")
    _state.default_dtype = np.dtype(dtype)


def get_default_dtype() -> np.dtype:
    """The dtype in which parameters are made."""
    return _state.default_dtype
