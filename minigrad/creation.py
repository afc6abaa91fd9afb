"""Making tensors of numbers, lists and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import current_module, from_torch, get_default_dtype, place
from .tensor import Tensor


def tensor(x: Any, *, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A tensor on the current backend.

    Python floats and lists of them take the default dtype (float32), arrays keep theirs, PyTorch's
    too, and integers stay integers, which can't require a gradient (TypeError). Tensors, and lists
    of them, give their values alone: what keeps a list's gradients is `stack`.
    """
    x = _values(x)
    if dtype is None and not hasattr(x, "dtype") and np.asarray(x).dtype.kind == "f":
        dtype = get_default_dtype()
    # A copy, as torch.tensor makes: what happens to the source later shall not reach the tensor.
    xp = current_module()
    return Tensor(xp.array(place(x, xp), dtype=dtype), requires_grad)


def _values(x: Any) -> Any:
    """A tensor's array, also for a list of tensors; anything else as it is."""
    if isinstance(x, Tensor):
        return x.data
    if not _holds_a_tensor(x):
        return from_torch(x)
    xp = current_module()
    return xp.stack([place(tensor(part).data, xp) for part in x])


def _holds_a_tensor(x: Any) -> bool:
    return isinstance(x, list | tuple) and any(
        isinstance(part, Tensor) or _holds_a_tensor(part) for part in x
    )
