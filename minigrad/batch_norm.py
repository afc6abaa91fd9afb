"""Batch normalisation (Ioffe & Szegedy 2015, algorithm 1), forward and backward."""

from __future__ import annotations

import math

from .backend import Array, array_module
from .checks import same_dtype
from .tensor import Tensor, record_joint


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    *,
    momentum: float = 0.9,
    eps: float = 1e-5,
) -> Tensor:
    """weight · (x - mean) / √(var + eps) + bias, for each channel.

    input (N, C, ...): the statistics are over all axes but the second. All others are (C,). In
    training, mean and (biased) variance are those of the batch, and the running estimates, if
    given, become momentum · running + (1 - momentum) · batch, with the unbiased variance.
    Otherwise the running estimates are used, as constants. PyTorch's momentum is 1 minus this one.

    Raises ValueError for an input without channels, for training with one value per channel
    (which has no unbiased variance), and for evaluation without running estimates.
    """
    same_dtype("batch_norm", input, weight, bias, running_mean, running_var)
    if input.ndim < 2:
        raise ValueError(f"batch_norm: the input must be (N, C, ...), not {input.shape}")
    x, xp = input.data, array_module(input.data)
    axes = (0, *range(2, x.ndim))
    channels = (1, x.shape[1], *[1] * (x.ndim - 2))  # a (C,) array that broadcasts
    m = math.prod(x.shape[axis] for axis in axes)  # values per channel

    if training:
        if m == 1:
            raise ValueError(
                f"batch_norm: training needs more than one value per channel, not {x.shape}"
            )
        mean, var = x.mean(axis=axes), x.var(axis=axes)
        for running, batch in ((running_mean, mean), (running_var, var * (m / (m - 1)))):
            if running is not None:
                running.data[...] = momentum * running.data + (1 - momentum) * batch
                running.mark_changed()
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: evaluation needs the running mean and variance")
    else:
        mean, var = running_mean.data, running_var.data

    sigma = xp.sqrt(var + eps).reshape(channels)
    normal = (x - mean.reshape(channels)) / sigma
    scale = xp.ones(channels, x.dtype) if weight is None else weight.data.reshape(channels)
    y = scale * normal
    if bias is not None:
        y += bias.data.reshape(channels)

    # In training, mean and sigma depend on every x of the channel: d mean/dx_j = 1/m and
    # d sigma/dx_j = normal_j/m. So
    #     d normal_i/dx_j = ((i = j) - 1/m - normal_i · normal_j/m) / sigma,
    # and the sum over i, with g = d loss/d normal, is
    #     dx = (g - mean(g) - normal · mean(g · normal)) / sigma.
    # In evaluation they are constants, and only the first term remains.
    def backward(dy: Array) -> list[Array]:
        g = dy * scale
        dx = g
        if training:
            dx = dx - g.mean(axis=axes, keepdims=True)
            dx -= normal * (g * normal).mean(axis=axes, keepdims=True)
        dx = dx / sigma
        gradients = [dx]
        if weight is not None:
            gradients.append((dy * normal).sum(axis=axes))
        if bias is not None:
            gradients.append(dy.sum(axis=axes))
        return gradients

    inputs = [input, *(p for p in (weight, bias) if p is not None)]
    saved = [] if weight is None else [weight]
    return record_joint([y], inputs, backward, saved)[0]
