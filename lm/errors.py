"""The one kind of error that the commands show to a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minigrad import BackendError


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what is wrong and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what the user can mend on standard error and exit with status 2.

    That is a UserError, a backend that can't be used, and Ctrl-C where there is nothing to keep
    yet (training itself ends well at Ctrl-C). A reader who stops reading, as `head` does, is no
    error. All else is a fault of ours and goes through.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left to write goes nowhere, or Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, BackendError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("error: interrupted before there was anything to keep", file=sys.stderr)
        raise SystemExit(2) from None
