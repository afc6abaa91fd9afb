"""`loss.linear_cross_entropy` for very large vocabularies: the logits of a few rows at a time.

With 267,735 words, the logits of 700 predictions take 715 MB, more than all weights of the model.
When `backward` runs, most of them are gone. So the gradients are computed with the loss, chunk by
chunk, as if its upstream gradient was 1.
"""

from __future__ import annotations

import numpy as np

from .loss import exponentials
from .memory import WorkArray
from .modes import mode
from .tensor import Tensor, record_joint

LARGEST = 1 << 28  # bytes of logits: more are computed in chunks of at most this size
BLOCK = 1 << 23  # elements of a product: smaller ones take longer in BLAS, larger ones more memory


def takes(input: Tensor, weight: Tensor) -> bool:
    """Whether the logits of these are too many for one array."""
    size = len(input) * len(weight) * input.dtype.itemsize
    return isinstance(input.data, np.ndarray) and size > LARGEST


def linear_cross_entropy(
    input: Tensor, weight: Tensor, bias: Tensor | None, targets: np.ndarray
) -> Tensor:
    """`functional.linear_cross_entropy`, for targets that `class_ids` has checked."""
    inputs = [input, weight] if bias is None else [input, weight, bias]
    needed = mode.grad_enabled and any(x.requires_grad for x in inputs)
    arrays = [x.data for x in inputs]
    loss, gradients = _loss_and_gradients(arrays, targets, needed)
    ready = [gradients]

    def backward(dy: np.ndarray) -> list[np.ndarray]:
        # These arrays are given away; after `backward(retain_graph=True)` they are computed again.
        found = ready.pop() if ready else _loss_and_gradients(arrays, targets, True)[1]
        if dy != 1:
            for gradient in found:
                gradient *= dy
        return found

    return record_joint([loss], inputs, backward)[0]


def _loss_and_gradients(
    arrays: list[np.ndarray], targets: np.ndarray, gradients: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The mean loss, and, if wanted, its gradients: of x (N, H), W (V, H) and b (V,), if given."""
    x, W, *bias = arrays
    N, V = len(x), len(W)
    chunks = -(-N * V * x.itemsize // LARGEST)
    rows = -(-N // chunks)
    work = WorkArray((rows, V), like=x)
    found = [np.empty_like(a) for a in arrays] if gradients else []
    total = x.dtype.type(0)
    for start in range(0, N, rows):
        at = slice(start, start + rows)
        z = np.matmul(x[at], W.T, out=work.array[: len(x[at])])
        z_target, sums = exponentials(z, bias[0] if bias else None, targets[at])
        total += (np.log(sums) - z_target).sum()
        if gradients:
            scale = 1 / x.dtype.type(N) / sums
            np.multiply(z @ W, scale[:, None], out=found[0][at])
            _add_product(z.T, x[at] * scale[:, None], found[1], first=start == 0)
            if bias:
                _add_product(z.T, scale, found[2], first=start == 0)
    return np.asarray(total / x.dtype.type(N)), found


def _add_product(a: np.ndarray, b: np.ndarray, out: np.ndarray, first: bool) -> None:
    """out += a @ b, or out = a @ b if it is the first, without another array as large as `out`."""
    if first:
        np.matmul(a, b, out=out)
        return
    rows = max(1, BLOCK * len(out) // out.size)
    for start in range(0, len(out), rows):
        at = slice(start, start + rows)
        out[at] += a[at] @ b
