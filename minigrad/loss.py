"""The losses: squared error, and cross-entropy for classifiers and language models.

For one row of logits z with target k, loss = log Σ_j exp(z_j) - z_k. Its gradient is softmax(z)
with 1 subtracted at k. `cross_entropy` takes the logits. `linear_cross_entropy` fuses decoder and
loss: it computes the logits itself. With a large vocabulary, the (N, V) logits are by far the
largest array of a training step, and each pass over them costs as much as a layer. So the softmax
is never normalised: exp(z - max z) is saved, and the division by its sum is applied to the small
arrays that it is multiplied with.
"""

from __future__ import annotations

import math
from typing import Any

from .backend import Array, array_module, place
from .checks import check_tensor, integers
from .memory import WorkArray
from .ops import raw
from .tensor import Tensor, record, record_joint
from .threads import Rows, by_rows


def class_ids(
    loss: str, target: Any, rows: int, classes: int, ignore_index: int | None = None
) -> Array:
    """The targets, a tensor, array or list, as a checked int64 array."""
    ids = integers(loss, target)
    if ids.shape != (rows,):
        raise ValueError(
            f"{loss}: {rows} rows of logits need targets of shape ({rows},), not {ids.shape}"
        )
    counted = ids if ignore_index is None else ids[ids != ignore_index]
    if counted.size and not 0 <= counted.min() <= counted.max() < classes:
        raise IndexError(
            f"{loss}: targets from {counted.min()} to {counted.max()}, "
            f"but there are only {classes} classes"
        )
    return ids


def _divisor(loss: str, reduction: str, count: int) -> float:
    """The divisor of the sum of `count` losses. The mean of no losses is NaN, as in PyTorch."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{loss}: reduction must be 'mean' or 'sum', not {reduction!r}")
    return 1 if reduction == "sum" else count or math.nan


def cross_entropy(
    input: Tensor, target: Any, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """-log softmax(input)[target], the mean or the sum over the rows, in nats.

    input (N, V), target (N,) integers; returns a scalar. Rows with target ignore_index are left
    out: the mean is over the others. Raises IndexError for a target that is not a class, TypeError
    for targets that are not integers, ValueError for a wrong shape or a reduction other than
    "mean" and "sum".
    """
    check_tensor("cross_entropy", input)
    if input.ndim != 2:
        raise ValueError(
            f"cross_entropy: the logits must be (N, V), not {input.shape}; reshape those of "
            "sequences, (T, B, V), with logits.reshape(-1, V) and target.reshape(-1)"
        )
    N, V = input.shape
    ids = class_ids("cross_entropy", target, N, V, ignore_index)
    counts = ids != ignore_index
    divisor = _divisor("cross_entropy", reduction, int(counts.sum()))
    xp = array_module(input.data)
    at = xp.arange(N), place(ids * counts, xp)  # a valid index for ignored rows too
    counts = place(counts, xp)

    log_p = input.data - input.data.max(axis=1, keepdims=True)
    log_p -= xp.log(xp.exp(log_p).sum(axis=1, keepdims=True))

    def backward(dy: Array) -> Array:
        d_logits = xp.exp(log_p)
        d_logits[at] -= 1
        d_logits *= xp.where(counts, dy / divisor, 0)[:, None]
        return d_logits

    return record(-xp.where(counts, log_p[at], 0).sum() / divisor, (input, backward))


def mse_loss(input: Tensor, target: Any, *, reduction: str = "mean") -> Tensor:
    """(input - target)², the mean or the sum over all elements.

    The target is a tensor, array or list of the input's shape; it is cast to the input's dtype.
    Raises ValueError for another shape: broadcasting (N,) with (N, 1) would give N² differences.
    """
    check_tensor("mse_loss", input)
    given, x = raw(target), input.data
    t = place(given, array_module(x), x.dtype)
    if t.shape != x.shape:
        raise ValueError(f"mse_loss: target must have shape {x.shape}, as the input, not {t.shape}")
    divisor = _divisor("mse_loss", reduction, x.size)
    difference = x - t

    def backward(dy: Array) -> Array:
        return dy * 2 / divisor * difference

    y = (difference * difference).sum() / divisor
    return record(y, (input, backward), (target, lambda dy: -backward(dy)))


def linear_cross_entropy(
    input: Tensor, weight: Tensor, bias: Tensor | None, targets: Array
) -> Tensor:
    """`functional.linear_cross_entropy`, for targets that `class_ids` has checked."""
    N, V = input.shape[0], weight.shape[0]
    x, W, xp = input.data, weight.data, array_module(input.data)
    work = WorkArray((N, V), like=x)
    z = xp.matmul(x, W.T, out=work.array)  # the logits
    z_target, total = exponentials(z, None if bias is None else bias.data, targets)

    def backward(dy: Array) -> list[Array]:
        dz = work.array  # the gradient of the loss, times N · total
        scale = dy / N / total  # (N,)
        dx = (dz @ W) * scale[:, None]
        dW = dz.T @ (x * scale[:, None])
        return [dx, dW] if bias is None else [dx, dW, scale @ dz]

    inputs = [input, weight] if bias is None else [input, weight, bias]
    loss = (xp.log(total) - z_target).mean()
    return record_joint([loss], inputs, backward, saved=[input, weight])[0]


def exponentials(z: Array, bias: Array | None, targets: Array) -> tuple[Array, Array]:
    """From logits z (N, V) without their bias: z - max z at the target, and Σ exp(z - max z).

    In place, z becomes exp(z - max z) with that sum subtracted at the target: the gradient of the
    row's loss, times the sum.
    """
    xp, N = array_module(z), len(z)
    z_target, total = xp.empty(N, z.dtype), xp.empty(N, z.dtype)

    def some_rows(block: Rows) -> None:
        e = z[block]
        k = xp.arange(len(e)), targets[block]
        if bias is not None:
            e += bias
        e -= e.max(axis=1, keepdims=True)
        z_target[block] = e[k]
        xp.exp(e, out=e)
        e.sum(axis=1, out=total[block])
        e[k] -= total[block]

    by_rows(some_rows, z)
    return z_target, total
