"""NumPy says axis= and keepdims=, PyTorch dim= and keepdim=: every function takes either."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

PAIRS = (("axis", "dim"), ("keepdims", "keepdim"))


def either_spelling(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let the callers of a function use the other spelling too (TypeError if they use both)."""
    own = inspect.signature(function).parameters
    names = {theirs: ours for pair in PAIRS for ours, theirs in (pair, pair[::-1]) if ours in own}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Result:
        for theirs, ours in names.items():
            if theirs in kwargs:
                if ours in kwargs:
                    raise TypeError(
                        f"{function.__name__}: {ours}= and {theirs}= mean the same, give one"
                    )
                kwargs[ours] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return call
