"""The one kind of error that the commands show to a person."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user gave is wrong; the message is one line: what is wrong and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a `UserError` on standard error and exit with status 2; let all else through."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
