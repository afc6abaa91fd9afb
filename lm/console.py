"""The one kind of error that the commands show to a person."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from minigrad import BackendError

from .stopping import SIGNALS


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what is wrong and what to do."""


def warn(message: str) -> None:
    """Tell the person what went wrong without ending, in one line on standard error."""
    with contextlib.suppress(OSError):  # which may be on the same full disk
        print(f"warning: {message}", file=sys.stderr, flush=True)


def show(*lines: str) -> None:
    """Print lines on standard output, at once.

    Raises UserError if it can't be written to, and BrokenPipeError if the reader has gone.
    """
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"can't write to standard output: {error.strerror}") from error


def run_command(main: Callable[[], None]) -> None:
    """Run a command as a program: see `one_line_errors`.

    SIGTERM counts as Ctrl-C from the first moment. A second signal changes nothing, nor does one
    that comes when all is done. Characters that the terminal can't show are escaped.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        _handle_signals(signal.SIG_IGN)
        raise KeyboardInterrupt

    _handle_signals(interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with one_line_errors():
        main()
        _handle_signals(signal.SIG_IGN)


def _handle_signals(how: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, how)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what the user can mend on standard error and exit with status 2.

    That is a UserError, a backend that can't be used, too little memory, an output that can't
    be written, and Ctrl-C where there is nothing to keep yet (training itself ends well at
    Ctrl-C). A reader who stops reading, as `head` does, is no error. All else is a fault of ours
    and goes through.
    """
    try:
        yield
        show()
    except BrokenPipeError:
        _discard_output()
    except (UserError, BackendError) as error:
        _exit(" ".join(str(error).splitlines()))
    except MemoryError as error:
        reason = " ".join(str(error).split())
        _exit(f"out of memory ({reason}); a smaller model, --batch-size or --bptt needs less")
    except KeyboardInterrupt:
        _exit("interrupted before there was anything to keep")


def _discard_output() -> None:
    """What is left to write goes nowhere, or Python would complain again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(message: str) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)
    try:
        show()
    except (UserError, BrokenPipeError):
        _discard_output()
    raise SystemExit(2) from None
