"""Ctrl-C, SIGTERM and a terminal that closes: a wish to end well.

This is imported before all that takes long, and so imports nothing that does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

# Ctrl-C, what `kill` and schedulers send, and (not on Windows) what a closing terminal sends.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


def handle_signals(how: Any) -> dict[signal.Signals, Any]:
    """Set the handler of these signals; returns those from before.

    A hang-up that is ignored stays so: `nohup` means that the program shall go on.
    """
    handled = [s for s in SIGNALS if not (_is_hang_up(s) and _is_ignored(s))]
    return {s: signal.signal(s, how) for s in handled}


def _is_hang_up(number: signal.Signals) -> bool:
    return number.name == "SIGHUP"


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def leave_at_signals() -> None:
    """Until `raise_at_signals`, end the program at once at any of these signals, in one line.

    For the time of the imports: an exception raised in the midst of one may come out as another.
    """
    handle_signals(_leave)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted before there was anything to keep\n")
    os._exit(2)


def raise_at_signals() -> None:
    """From now on the first of these signals raises KeyboardInterrupt; the others do nothing."""
    handle_signals(_raise)


def _raise(_signal: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """From now on these signals do nothing."""
    handle_signals(signal.SIG_IGN)


class StopRequest:
    """Inside `with`, these signals only set `requested`: whoever trains ends when all is whole.

    More of them change nothing, since one key press can send several and the end takes no
    longer than the test. One `with` may stand in another. In a thread other than the main one,
    where Python lets nobody handle signals, it does nothing.
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
