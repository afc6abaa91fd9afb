"""What the commands share as programs: their output, their exit status, and errors for the user.

Imported before anything slow, and so imports nothing slow itself.
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
    """A mistake of the user's; the message is one line: what is wrong and what to do."""


def need(module: str, install: str) -> Any:
    """Import an optional module; UserError with the command that installs it if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UserError(
            f"{package} is not installed; install it with: pip install {install}"
        ) from None


# -------------------------------------------------------------------- output

# What a terminal would act on instead of showing it: control characters except newline, and those
# that change the direction of writing. Texts and file names may contain them.
_CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with its control characters escaped, as in \x1b."""
    return _CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode(), text)


def warn(message: str) -> None:
    """Print a warning, in one line on standard error."""
    complain(f"warning: {message}")


def complain(line: str) -> None:
    """Print a line on standard error, if that is possible."""
    if sys.stderr is not None:  # None if the caller has closed it
        with contextlib.suppress(OSError):  # for example on a full disk
            print(printable(line), file=sys.stderr, flush=True)


def show(*lines: str, end: str = "\n") -> None:
    """Print lines on standard output and flush it.

    Raises UserError if they can't be written, and BrokenPipeError for a closed pipe.
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
    """Standard output for a program that must continue if writing fails.

    On a full disk or a closed terminal the text is lost, with one warning. Only a closed pipe is
    an error, BrokenPipeError.
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
                warn(f"can't write to standard output: {error.strerror}; training continues")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


# -------------------------------------------------------------------- programs


def run_command(main: str | Callable[..., None], *arguments: Any) -> None:
    """Run a command, given by name or as a function, as a program: see `one_line_errors`.

    SIGTERM and the closing of the terminal are treated as Ctrl-C, from the start. A second signal
    is ignored, and so is one after the end. Characters that the terminal can't show are escaped.
    """
    leave_at_signals()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with one_line_errors():
        module = f"{__package__}.commands.{main}"
        command = main if callable(main) else importlib.import_module(module).main
        try:
            raise_at_signals()
            command(*arguments)
        finally:
            ignore_signals()


def _open_closed_streams() -> None:
    """Redirect the standard streams that the caller has closed to the null device.

    Otherwise the next opened file would get such a stream's number, and receive its output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that the user can fix on standard error and exit with status 2.

    These are UserError, an unavailable backend, too little memory, output that can't be written,
    and Ctrl-C before there is anything to keep (training itself stops gracefully). A closed pipe,
    as with `head`, is not an error. All other exceptions are bugs and propagate.
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
        if not _can_be_fixed(error):
            raise
        _exit(" ".join(str(error).splitlines()))


def _can_be_fixed(error: Exception) -> bool:
    if isinstance(error, UserError):
        return True
    from minigrad import BackendError  # here, since it imports NumPy

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
    """Discard what is left to write, or Python would report it again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
