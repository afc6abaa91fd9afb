"""Dropout and loss on a GPU, with few launches and without synchronization."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import Array, array_module
from ..ops import mul
from ..random import position
from ..tensor import Tensor, record, record_joint
from .kernels import kernel
from .masks import count_mask


def dropout(input: Tensor, p: float, scale: float, mask_shape: tuple[int, ...]) -> Tensor:
    """`functional.dropout` with a counter-based mask of this shape.

    A mask of the input's shape is not saved: the backward kernel computes it again.
    """
    xp, drawn = array_module(input.data), count_mask(p)
    place = position(mask_shape)
    if mask_shape != input.shape:
        return mul(input, keep_mask(xp, mask_shape, *drawn) * input.dtype.type(scale))
    run = kernel(xp, "dropout")
    return record(
        run(input.data, *drawn, *place, scale),
        (input, lambda dy: run(dy, *drawn, *place, scale)),
    )


def keep_mask(xp: Any, shape: tuple[int, ...], start: np.uint64, threshold: np.uint32) -> Array:
    """`masks.keep_bits`, computed on the device, or some columns of it; see `random.columns`."""
    mask = xp.empty(shape, bool)
    return kernel(xp, "keep_mask")(start, threshold, *position(shape), mask)


def embedding_gradient(ids: Array, dy: Array, V: int) -> Array:
    """The gradient of the weight of `functional.embedding`, (V, E): rows of dy summed by id.

    The additions are atomic: their order, and so the last bits, may change from run to run.
    """
    xp = array_module(dy)
    dW = xp.zeros((V, dy.shape[-1]), dy.dtype)
    xp.add.at(dW, ids, dy)
    return dW


def linear_cross_entropy(
    input: Tensor, weight: Tensor, bias: Tensor | None, targets: Array
) -> Tensor:
    """`loss.linear_cross_entropy`, for targets (N,) on the device.

    One kernel computes the whole gradient of the logits. It needs no atomic additions (`add.at`),
    whose order changes from run to run.
    """
    x, W = input.data, weight.data
    xp, (N, V) = array_module(x), (len(x), len(W))
    targets = targets.astype(np.int64) if targets.dtype != np.int64 else targets
    z = x @ W.T  # the logits, (N, V)
    if bias is not None:
        z += bias.data
    top = z.max(axis=1)
    e = kernel(xp, "exp_shifted")(z, top, V)  # softmax(z) = e / total
    total = e.sum(axis=1)
    losses = kernel(xp, "row_losses")(z, top, total, targets, V)
    del z

    def backward(dy: Array) -> list[Array]:
        dz = kernel(xp, "d_logits")(e, total, targets, dy, V, N)
        dx, dW = dz @ W, dz.T @ x
        return [dx, dW] if bias is None else [dx, dW, dz.sum(axis=0)]

    inputs = [input, weight] if bias is None else [input, weight, bias]
    return record_joint([losses.mean()], inputs, backward, saved=[input, weight])[0]
