"""CuPy's own checks of arguments, on real CuPy arrays in host memory. Needs no GPU.

A valid call fails only because the driver or a library is missing. An invalid call fails earlier,
except for arguments of ufuncs, which access the device first. Needs pip install cupy-cuda12x, and a
machine without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad.gpu import kernels

pytestmark = pytest.mark.slow
cupy = pytest.importorskip("cupy")
if cupy.cuda.is_available():
    pytest.skip("here CuPy's arrays are on the GPU", allow_module_level=True)


class Keeper:
    """Keeps the host memory alive while an array uses it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


def array(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    made = np.zeros(shape, dtype)
    memory = cupy.cuda.UnownedMemory(made.ctypes.data, max(made.nbytes, 1), Keeper(made), 0)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))


def answer(call: Callable[[], Any]) -> str:
    """ "valid" if only the driver is missing, else CuPy's error."""
    try:
        call()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        assert "Driver" in str(error)
        return "valid"
    except ImportError as error:
        assert "libcublas" in str(error)  # a product, for which the library is missing
        return "valid"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "valid"


x, v, ids = array((3, 4)), array((4,)), array((2,), np.int64)

VALID: dict[str, Callable[[], Any]] = {
    "tanh out": lambda: cupy.tanh(x, out=x),
    "multiply out of a block": lambda: cupy.multiply(x[:2], x[:2], out=array((2, 4))),
    "maximum of a number": lambda: cupy.maximum(x, 0, out=x),
    "matmul out": lambda: cupy.matmul(x, array((4, 5)), out=array((3, 5))),
    "matmul of a transpose": lambda: cupy.matmul(x.T, x, out=array((4, 4))),
    "sum": lambda: x.sum(axis=(0, 1), keepdims=True),
    "sum with dtype": lambda: (x == x).sum(axis=0, keepdims=True, dtype=np.float32),
    "max": lambda: x.max(axis=1, keepdims=True),
    "add.at": lambda: cupy.add.at(x, ids, array((2, 4))),
    "rows and columns": lambda: x[ids, ids],
    "vdot": lambda: cupy.vdot(x, x),
    "repeat": lambda: cupy.repeat(v[:, None], 3, axis=1),
    "concatenate": lambda: cupy.concatenate([x, x], axis=1),
    "stack": lambda: cupy.stack([x, x], axis=1),
    "swapaxes and copy": lambda: x.swapaxes(-1, -2).copy(),
    "take_along_axis": lambda: cupy.take_along_axis(x, array((3, 1), np.int64), axis=1),
    "moveaxis": lambda: list(cupy.moveaxis(x, 1, 0)),
    "split": lambda: cupy.split(x, 2, axis=1),
    "a numpy scalar": lambda: x * np.float32(2),
    "astype": lambda: ids.astype(np.int32),
    "full": lambda: cupy.full((2, 2), -cupy.inf, np.float32),
}
INVALID: dict[str, Callable[[], Any]] = {
    "a product with NumPy's": lambda: x @ np.ones((4, 3)),
    "mode= of take": lambda: cupy.take(x, ids, axis=0, mode="clip"),
    "implicit conversion": lambda: np.asarray(x),
    "a parameter named i": lambda: cupy.ElementwiseKernel("T i", "T y", "y = i;", "wrong"),
}


@pytest.mark.parametrize("name", VALID)
def test_cupy_takes_what_the_source_calls(name: str) -> None:
    assert answer(VALID[name]) == "valid"


@pytest.mark.parametrize("name", INVALID)
def test_cupy_refuses_what_the_fake_refuses(name: str) -> None:
    assert answer(INVALID[name]) != "valid"


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_cupy_takes_the_declaration_of_every_kernel(name: str) -> None:
    kernel = kernels.kernel(cupy, name)
    assert kernel.nargs == kernels.KERNELS[name].given.count(",") + 2 + kernels.KERNELS[
        name
    ].written.count(",")
