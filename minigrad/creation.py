"""Create tensors from numbers, lists and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import current_module, from_torch, get_default_dtype, place
from .tensor import Tensor


def tensor(x: Any, *, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A new tensor on the current backend, with a copy of the values of x.

    Python floats, and lists of them, get the default dtype (float32). Arrays, also PyTorch's, keep
    their dtype. Integers stay integers, and can't require a gradient (TypeError). From a tensor, or
    a list of tensors, only the values are copied; to keep the gradients of a list, use `stack`.
    """
    x = _values(x)
    if dtype is None and not hasattr(x, "dtype") and np.asarray(x).dtype.kind == "f":
        dtype = get_default_dtype()
    # A copy, as in torch.tensor: later changes of the source do not change the tensor.
    xp = current_module()
    return Tensor(xp.array(place(x, xp), dtype=dtype), requires_grad)


def _values(x: Any) -> Any:
    """The array of a tensor or of a list of tensors; anything else unchanged."""
    if isinstance(x, Tensor):
        return x.data
    if not holds_a_tensor(x):
        return from_torch(x)
    xp = current_module()
    return xp.stack([place(tensor(part).data, xp) for part in x])


def holds_a_tensor(x: Any) -> bool:
    """Whether a list or tuple, or one inside it, has a tensor."""
    return isinstance(x, list | tuple) and any(
        isinstance(part, Tensor) or holds_a_tensor(part) for part in x
    )
