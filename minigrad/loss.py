"""The cross-entropy of softmax(logits): the loss of every classifier and language model.

For one row of logits z with target k, loss = log Σ_j exp(z_j) - z_k, and its gradient is
softmax(z) minus one at k. `cross_entropy` takes the logits. `linear_cross_entropy` computes them
itself, decoder and loss in one: with a large vocabulary the (N, V) logits are by far the largest
array of a training step, and a pass over them costs as much as a layer. So they are never
normalised: exp(z - max z) is kept, and the division by its sum goes into the small arrays that
it is multiplied with.
"""

from __future__ import annotations

from .backend import Array, array_module, place
from .checks import same_dtype
from .gpu import functional as on_gpu
from .gpu.kernels import takes
from .memory import WorkArray
from .ops import raw
from .tensor import Tensor, record, record_joint
from .threads import Rows, by_rows


def _check_targets(targets: Array, rows: int, classes: int) -> None:
    if targets.shape != (rows,):
        raise ValueError(f"cross_entropy: {rows} rows of logits, targets of shape {targets.shape}")
    if rows and not 0 <= targets.min() <= targets.max() < classes:
        raise IndexError(
            f"cross_entropy: targets from {targets.min()} to {targets.max()}, "
            f"but there are {classes} classes"
        )


def cross_entropy(input: Tensor, target: Tensor | Array, reduction: str = "mean") -> Tensor:
    """-log softmax(input)[target], the mean or the sum over the rows, in nats.

    input (N, V), target (N,) integers; returns a scalar. Raises IndexError for a target that is
    not a class, ValueError for a shape or a reduction ("mean" or "sum") that can't be.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"cross_entropy: reduction is 'mean' or 'sum', not {reduction!r}")
    N, V = input.shape
    targets = raw(target)
    _check_targets(targets, N, V)
    xp = array_module(input.data)
    rows, targets = xp.arange(N), place(targets, xp)
    count = N if reduction == "mean" else 1

    log_p = input.data - input.data.max(axis=1, keepdims=True)
    log_p -= xp.log(xp.exp(log_p).sum(axis=1, keepdims=True))

    def backward(dy: Array) -> Array:
        d_logits = xp.exp(log_p)
        d_logits[rows, targets] -= 1
        d_logits *= dy / count
        return d_logits

    return record(-log_p[rows, targets].sum() / count, (input, backward))


def linear_cross_entropy(
    input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor | Array
) -> Tensor:
    """cross_entropy(linear(input, weight, bias), target), in less time and memory.

    input (N, H), weight (V, H), bias (V,), target (N,) integers; returns the mean in nats.
    Raises as `cross_entropy` and `linear` do.
    """
    same_dtype("linear_cross_entropy", input, weight, bias)
    N, V = input.shape[0], weight.shape[0]
    x, W, targets = input.data, weight.data, raw(target)
    _check_targets(targets, N, V)
    xp = array_module(x)
    targets = place(targets, xp)
    if takes(x):
        return on_gpu.linear_cross_entropy(input, weight, bias, targets)
    work = WorkArray((N, V), like=x)
    z = xp.matmul(x, W.T, out=work.array)  # the logits
    z_target, total = xp.empty(N, x.dtype), xp.empty(N, x.dtype)

    def exponentials(block: Rows) -> None:
        """Turn rows of z into exp(z - max z), and keep each one's target and sum."""
        e = z[block]
        k = xp.arange(len(e)), targets[block]
        if bias is not None:
            e += bias.data
        e -= e.max(axis=1, keepdims=True)
        z_target[block] = e[k]
        xp.exp(e, out=e)
        e.sum(axis=1, out=total[block])
        e[k] -= total[block]

    by_rows(exponentials, z)
    # Now z is the gradient of N · loss, each row times its total: e - total · onehot.

    def backward(dy: Array) -> list[Array]:
        dz = work.array
        scale = dy / N / total  # (N,)
        dx = (dz @ W) * scale[:, None]
        dW = dz.T @ (x * scale[:, None])
        return [dx, dW] if bias is None else [dx, dW, scale @ dz]

    inputs = [input, weight] if bias is None else [input, weight, bias]
    loss = (xp.log(total) - z_target).mean()
    return record_joint([loss], inputs, backward, saved=[input, weight])[0]
