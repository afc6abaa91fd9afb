"""The one kind of error that the commands show to a person."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from minigrad import BackendError


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what is wrong and what to do."""


def warn(message: str) -> None:
    """Tell the person what went wrong without ending, in one line on standard error."""
    with contextlib.suppress(OSError):  # which may be on the same full disk
        print(f"warning: {message}", file=sys.stderr, flush=True)


def run_command(main: Callable[[], None]) -> None:
    """Run a command as a program: see `one_line_errors`.

    SIGTERM counts as Ctrl-C from the first moment, and after the last neither counts any more.
    Characters that the terminal can't show are escaped.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with one_line_errors():
        main()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


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
        _flush()
    except BrokenPipeError:
        _discard_output()
    except (UserError, BackendError) as error:
        _exit(str(error))
    except MemoryError as error:
        reason = " ".join(str(error).split())
        _exit(f"out of memory ({reason}); a smaller model, --batch-size or --bptt needs less")
    except KeyboardInterrupt:
        _exit("interrupted before there was anything to keep")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        raise UserError(f"can't write to standard output: {error.strerror}") from error


def _discard_output() -> None:
    """What is left to write goes nowhere, or Python would complain again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(message: str) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2) from None
