"""The backend of new arrays, and the errors if it is not available."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import minigrad as mg
from minigrad import BackendError, backend, nn


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine where CuPy is not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "cupy" else found(name)
    )
    monkeypatch.delitem(sys.modules, "cupy", raising=False)


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine with CuPy but without GPU: the first call of the driver raises."""

    def no_device() -> int:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    cupy = ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=no_device))
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def test_cupy_that_is_not_installed_is_named_with_the_way_to_get_it(without_cupy: None) -> None:
    with pytest.raises(BackendError, match=r"not installed.*pip install cupy-cuda12x"):
        mg.use("cupy")


def test_a_gpu_that_is_missing_is_named(without_gpu: None) -> None:
    with pytest.raises(BackendError, match=r"no GPU.*cudaErrorNoDevice"):
        mg.use("cupy")


def test_a_backend_that_cannot_be_used_changes_nothing(without_cupy: None) -> None:
    with pytest.raises(BackendError), mg.use("cupy"):
        raise AssertionError("the block was entered")
    assert type(mg.tensor(1.0).data) is np.ndarray


@pytest.mark.parametrize("name", ["torch", "", "NumPy"])
def test_an_unknown_backend_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(BackendError, match="numpy, cupy"):
        mg.use(name)


def test_a_block_ends_where_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second backend is also NumPy, under another name."""
    other = ModuleType("other")
    other.__dict__.update(vars(np))
    monkeypatch.setattr(backend, "_load_cupy", lambda: other)
    assert backend.current_module() is np
    with mg.use("cupy"):
        assert backend.current_module() is other
        with mg.use("numpy"):
            assert backend.current_module() is np
        assert backend.current_module() is other
    with pytest.raises(ZeroDivisionError), mg.use("cupy"):
        raise ZeroDivisionError
    assert backend.current_module() is np
    mg.use("cupy")
    assert backend.current_module() is other
    mg.use("numpy")
    assert backend.current_module() is np


def in_a_thread(function: Callable[[], object]) -> object:
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def test_the_choice_is_the_threads_own(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("other")
    monkeypatch.setattr(backend, "_load_cupy", lambda: other)
    with mg.use("cupy"):
        assert in_a_thread(backend.current_module) is np
        assert backend.current_module() is other


def test_an_array_belongs_to_the_module_that_made_it() -> None:
    assert backend.array_module(np.ones(2)) is np
    assert backend.array_module(np.float32(1)) is np
    x = np.ones(2)
    assert backend.to_host(x) is x


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype(np.float64)])
def test_the_default_dtype_holds_for_numbers_and_parameters(dtype: object) -> None:
    assert mg.get_default_dtype() == np.float32
    mg.set_default_dtype(dtype)
    assert mg.get_default_dtype() == np.float64
    assert mg.tensor([1.0]).dtype == np.float64
    assert nn.Linear(2, 3).weight.dtype == np.float64
    assert mg.tensor(np.ones(1, np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, bool, complex])
def test_the_default_dtype_must_be_floating(dtype: object) -> None:
    with pytest.raises(TypeError, match="floating point"):
        mg.set_default_dtype(dtype)
    assert mg.get_default_dtype() == np.float32
