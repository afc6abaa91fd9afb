"""What the commands share as programs: what they print, how they end, and their one kind of error.

This is imported before all that takes long, and so imports nothing that does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from .signals import ignore_signals, raise_at_signals
from .signals import leave_at_signals as leave_at_signals


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what is wrong and what to do."""


# -------------------------------------------------------------------- output

# What a terminal would obey, not show: control characters but the line's end, and those that
# turn the direction of writing. Texts and file names may hold them.
_CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with its control characters escaped, as in \x1b."""
    return _CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode(), text)


def warn(message: str) -> None:
    """Tell the person what went wrong without ending, in one line on standard error."""
    complain(f"warning: {message}")


def complain(line: str) -> None:
    """Print a line on standard error, if it can be written to."""
    if sys.stderr is not None:  # None where the caller has closed it
        with contextlib.suppress(OSError):  # which may be on the same full disk
            print(printable(line), file=sys.stderr, flush=True)


def show(*lines: str, end: str = "\n") -> None:
    """Print lines on standard output, at once.

    Raises UserError if it can't be written to, and BrokenPipeError if the reader has gone.
    """
    try:
        for line in lines:
            print(printable(line), end=end)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"can't write to standard output: {error.strerror}") from error


class SteadyOutput:
    """Standard output for who shall go on where it can't be written to.

    On a full disk, or when the terminal was closed, what is written is lost, with one warning.
    Only a reader who has stopped reading is an error, BrokenPipeError.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream, self._failed = stream, False

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def _try(self, method: str, *arguments: str) -> None:
        try:
            if self._stream is not None:
                getattr(self._stream, method)(*arguments)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self._failed:
                self._failed = True
                warn(f"can't write to standard output: {error.strerror}; training goes on")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# -------------------------------------------------------------------- programs


def run_command(main: str | Callable[..., None], *arguments: Any) -> None:
    """Run a command, given by name or as a function, as a program: see `one_line_errors`.

    SIGTERM and the closing of the terminal count as Ctrl-C, from the first moment. A second
    signal changes nothing, nor does one that comes when all is done. Characters that the
    terminal can't show are escaped.
    """
    leave_at_signals()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with one_line_errors():
        command = _imported(main) if isinstance(main, str) else main
        try:
            raise_at_signals()
            command(*arguments)
        finally:
            ignore_signals()


def _imported(name: str) -> Callable[..., None]:
    return importlib.import_module(f"{__package__}.commands.{name}").main


def _open_closed_streams() -> None:
    """What is written to a stream that the caller has closed goes nowhere.

    Otherwise the next file that is opened would get its number, and what others print in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


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
    except KeyboardInterrupt:
        _exit("interrupted before there was anything to keep")
    except SystemExit:  # the parser's
        _flush_or_discard()
        raise
    except MemoryError as error:
        reason = " ".join(str(error).split())
        _exit(f"out of memory ({reason}); a smaller model, --batch-size or --bptt needs less")
    except Exception as error:
        if not _can_be_mended(error):
            raise
        _exit(" ".join(str(error).splitlines()))


def _can_be_mended(error: Exception) -> bool:
    if isinstance(error, UserError):
        return True
    from minigrad import BackendError  # here, since NumPy comes with it

    return isinstance(error, BackendError)


def _exit(message: str) -> None:
    complain(f"error: {message}")
    _flush_or_discard()
    raise SystemExit(2) from None


def _flush_or_discard() -> None:
    try:
        show()
    except (UserError, BrokenPipeError):
        _discard_output()


def _discard_output() -> None:
    """What is left to write goes nowhere, or Python would complain again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
