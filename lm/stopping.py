"""Ctrl-C and SIGTERM: a wish to end well."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what `kill` and schedulers send


class StopRequest:
    """Inside `with`, these signals only set `requested`: whoever trains ends when all is whole.

    More of them change nothing, since one key press can send several and the end takes no
    longer than the test. In a thread other than the main one, where Python lets nobody handle
    signals, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._request) for s in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True
