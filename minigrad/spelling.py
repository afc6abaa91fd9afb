"""Functions accept axis= and keepdims= as in NumPy, and dim= and keepdim= as in PyTorch.

Several axes may be a tuple, as in NumPy, or a list.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

PAIRS = (("axis", "dim"), ("keepdims", "keepdim"))


def either_spelling(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let a function accept the other spelling too (TypeError if a call uses both)."""
    own = inspect.signature(function).parameters
    axis = next(name for name in PAIRS[0] if name in own)
    position = list(own).index(axis)
    names = {theirs: ours for pair in PAIRS for ours, theirs in (pair, pair[::-1]) if ours in own}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Result:
        for theirs, ours in names.items():
            if theirs in kwargs:
                if ours in kwargs:
                    raise TypeError(
                        f"{function.__name__}: {ours}= and {theirs}= mean the same; give only one"
                    )
                kwargs[ours] = kwargs.pop(theirs)
        if isinstance(kwargs.get(axis), list):
            kwargs[axis] = tuple(kwargs[axis])
        elif len(args) > position and isinstance(args[position], list):
            args = (*args[:position], tuple(args[position]), *args[position + 1 :])
        return function(*args, **kwargs)

    return call
