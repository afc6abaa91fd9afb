"""Ctrl-C, SIGTERM and a closing terminal as a request to stop when the state is consistent."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ..signals import handle_signals


class StopRequest:
    """Inside `with`, the signals only set `requested`, which the training loop checks.

    Further signals change nothing: one key press can send several, and stopping takes no longer
    than the test. The `with` may be nested. Outside the main thread, where Python allows no signal
    handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: list[dict[signal.Signals, Any]] = []

    def __enter__(self) -> StopRequest:
        main = threading.current_thread() is threading.main_thread()
        self._previous.append(handle_signals(self._request) if main else {})
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.pop().items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
