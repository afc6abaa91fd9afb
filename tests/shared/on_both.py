"""Helpers for tests on both backends: move arrays to the current backend or to the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend


def here(array: Any) -> Any:
    """The same array on the current backend."""
    return backend.place(array, backend.current_module())


def host(x: Any) -> Any:
    """A device array as a NumPy array; anything else unchanged."""
    return x.get() if hasattr(x, "get") and hasattr(x, "dtype") else x


def assert_allclose(actual: Any, desired: Any, *args: Any, **kwargs: Any) -> None:
    np.testing.assert_allclose(host(actual), host(desired), *args, **kwargs)


def assert_array_equal(actual: Any, desired: Any, **kwargs: Any) -> None:
    np.testing.assert_array_equal(host(actual), host(desired), **kwargs)


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays share memory, on either backend."""
    xp = backend.array_module(a)
    return xp is backend.array_module(b) and bool(xp.shares_memory(a, b))
