"""Graceful shutdown on Ctrl-C, SIGTERM and the closing of the terminal: the signal handlers.

Imported before anything slow, and so imports nothing slow itself. `run/stopping.py` uses it too.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType
from typing import Any

# Ctrl-C, what `kill` and schedulers send, and (not on Windows) what a closing terminal sends.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def handle_signals(how: Any) -> dict[signal.Signals, Any]:
    """Set the handler of these signals; returns the previous handlers.

    An ignored hang-up stays ignored: `nohup` means that the program must continue.
    """
    handled = [s for s in SIGNALS if not (_is_hang_up(s) and _is_ignored(s))]
    return {s: signal.signal(s, how) for s in handled}


def _is_hang_up(number: signal.Signals) -> bool:
    return number.name == "SIGHUP"


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def leave_at_signals() -> None:
    """Until `raise_at_signals`, end the program at once at any of these signals, in one line.

    For use during imports: an exception raised inside one may surface as a different error.
    """
    handle_signals(_leave)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted before there was anything to keep\n")
    os._exit(2)


def raise_at_signals() -> None:
    """From now on the first of these signals raises KeyboardInterrupt; later ones do nothing."""
    handle_signals(_raise)


def _raise(_signal: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """From now on these signals do nothing."""
    handle_signals(signal.SIG_IGN)
