"""Checks of the arguments of layers and losses; each error is one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, from_torch, place
from .tensor import Tensor


def integers(layer: str, x: Any) -> Array:
    """Ids (a tensor, array or list) as an int64 array; TypeError if they are not integers.

    int64, because index arithmetic in a smaller type could overflow.
    """
    ids = x.data if isinstance(x, Tensor) else from_torch(x)
    if not hasattr(ids, "dtype"):
        ids = place(ids, np)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"{layer}: ids must be integers, not {ids.dtype}")
    return ids.astype(np.int64, copy=False)


def check_tensor(layer: str, input: Any) -> None:
    """TypeError for an input that is not a tensor."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{layer}: the input must be a tensor, not a {type(input).__module__}."
            f"{type(input).__name__}; make one with minigrad.tensor(x)"
        )


def same_dtype(
    layer: str,
    input: Tensor,
    *others: Tensor | None,
    are: str = "parameters are",
    convert: str = "model.float() or model.double()",
) -> None:
    """TypeError if another dtype differs from the input's, instead of a silent upcast."""
    check_tensor(layer, input)
    for other in others:
        if other is not None and other.dtype != input.dtype:
            raise TypeError(
                f"{layer}: the input is {input.dtype} and the {are} {other.dtype}; "
                f"convert one of them, e.g. with {convert}"
            )
