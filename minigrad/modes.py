"""The modes of a thread: whether operations are recorded, and who observes them."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Watch:
    """An observer of every operation: the base class of `detect_anomaly` and `profile`."""

    def forward(self, node: Any, values: Sequence[Any]) -> None:
        """Called after an operation was recorded."""

    def backward(self, node: Any, d_outputs: Sequence[Any], d_inputs: Sequence[Any]) -> None:
        """Called after the derivative of an operation was computed."""

    def off_tape(self, name: str) -> None:
        """Called after work that the tape does not record, such as an optimiser's step."""


class _Mode(threading.local):
    grad_enabled = True
    watch: Watch | None = None


mode = _Mode()


class no_grad:
    """Record no graph: inside `with no_grad():`, or in a function decorated with `@no_grad()`.

    TypeError for a generator function, whose body would run outside: use `with` inside it.
    """

    def __enter__(self) -> None:
        self._previous = mode.grad_enabled
        mode.grad_enabled = False

    def __exit__(self, *_: object) -> None:
        mode.grad_enabled = self._previous

    def __call__(self, function: Function) -> Function:
        if inspect.isgeneratorfunction(function):
            raise TypeError(
                f"@no_grad() has no effect on the generator {function.__name__}; write "
                "`with no_grad():` inside it"
            )

        @functools.wraps(function)
        def without_grad(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return function(*args, **kwargs)

        return without_grad  # type: ignore[return-value]
