"""Functions built from primitives, and functions with a derivative of their own.

Names and argument order are those of torch.nn.functional.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from . import chunked_loss, loss, random
from .backend import Array, array_module, place
from .batch_norm import batch_norm
from .checks import check_tensor, integers, same_dtype
from .convolution import conv2d, max_pool2d
from .gpu import functional as on_gpu
from .gpu.kernels import takes
from .loss import class_ids, cross_entropy, mse_loss
from .ops import exp, log, mul, relu, sigmoid, tanh
from .rows import RowGradient
from .spelling import either_spelling
from .tensor import Tensor, record

__all__ = [
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "embedding",
    "exp",
    "linear",
    "linear_cross_entropy",
    "log",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]


@either_spelling
def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    check_tensor("softmax", input)
    x = input.data
    y = array_module(x).exp(x - x.max(axis=dim, keepdims=True))  # the shift prevents overflow
    y /= y.sum(axis=dim, keepdims=True)

    def backward(dy: Array) -> Array:
        return y * (dy - (dy * y).sum(axis=dim, keepdims=True))

    return record(y, (input, backward))


@either_spelling
def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """x - log(sum(exp(x))) along an axis."""
    check_tensor("log_softmax", input)
    xp = array_module(input.data)
    y = input.data - input.data.max(axis=dim, keepdims=True)
    y -= xp.log(xp.exp(y).sum(axis=dim, keepdims=True))

    def backward(dy: Array) -> Array:
        return dy - xp.exp(y) * dy.sum(axis=dim, keepdims=True)

    return record(y, (input, backward))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    input (..., in), weight (out, in), bias (out,); returns (..., out). Raises ValueError for a
    wrong shape, TypeError for different dtypes.
    """
    same_dtype("linear", input, weight, bias)
    if not input.ndim or input.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: the input must be (..., {weight.shape[1]}), not {input.shape}")
    rows = math.prod(input.shape[:-1])
    x, W = input.data.reshape(rows, input.shape[-1]), weight.data
    y = x @ W.T
    if bias is not None:
        y += bias.data
    y = y.reshape(*input.shape[:-1], W.shape[0])

    def flat(dy: Array) -> Array:
        return dy.reshape(rows, W.shape[0])

    return record(
        y,
        (input, lambda dy: (flat(dy) @ W).reshape(input.shape), weight),
        (weight, lambda dy: flat(dy).T @ x, input),
        (bias, lambda dy: flat(dy).sum(axis=0)),
    )


def linear_cross_entropy(input: Tensor, weight: Tensor, bias: Tensor | None, target: Any) -> Tensor:
    """cross_entropy(linear(input, weight, bias), target), in less time and memory.

    input (N, H), weight (V, H), bias (V,), target (N,) integers; returns the mean in nats.
    Raises the errors of `cross_entropy` and `linear`.
    """
    name = "linear_cross_entropy"
    same_dtype(name, input, weight, bias)
    if input.ndim != 2:
        raise ValueError(
            f"{name}: the input must be (N, H), not {input.shape}; reshape that of sequences, "
            "(T, B, H), with input.reshape(-1, H) and target.reshape(-1)"
        )
    targets = class_ids(name, target, input.shape[0], weight.shape[0])
    here: ModuleType = loss
    if takes(input.data):
        here = on_gpu
    elif chunked_loss.takes(input, weight):
        here = chunked_loss
    return here.linear_cross_entropy(input, weight, bias, place(targets, array_module(input.data)))


def embedding(input: Tensor | Array, weight: Tensor) -> Tensor:
    """The rows of `weight` that `input` selects.

    input: integers of any shape (...), weight (V, E); returns (..., E). Raises IndexError for an
    id that is negative or not below V, TypeError for ids that are not integers.
    """
    ids = integers("embedding", input)  # check them on the host, before they go to a GPU
    V, E = weight.shape
    if ids.size and not 0 <= ids.min() <= ids.max() < V:
        raise IndexError(
            f"embedding: ids from {ids.min()} to {ids.max()}, but the weight has only {V} rows"
        )
    ids = place(ids, array_module(weight.data))

    def backward(dy: Array) -> Array | RowGradient:
        if array_module(dy) is not np:
            return on_gpu.embedding_gradient(ids, dy, V)
        gradient = RowGradient.of_embedding(ids.reshape(-1), dy.reshape(-1, E), V)
        return gradient if weight.is_leaf else gradient.dense()

    return record(weight.data[ids], (weight, backward))


def check_probability(layer: str, p: float) -> None:
    """Raise ValueError unless p is in [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(f"{layer}: p must be a probability from 0 to 1, not {p}")


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    mask: Array | None = None,
    shared: tuple[int, ...] = (),
) -> Tensor:
    """Set each element to zero with probability p and divide the others by 1 - p.

    The scaling keeps the expected value, so that evaluation (`training=False`) is the identity
    (Srivastava et al. 2014, section 10). The mask broadcasts along the axes `shared`: with the
    axes of the pixels this is spatial dropout (Tompson et al. 2015), with the time axis
    variational dropout (Gal & Ghahramani 2016). `mask` (1 keeps, 0 drops) must broadcast to the
    input; by default it is random. Raises ValueError for p outside [0, 1], TypeError for integers.
    """
    check_tensor("dropout", input)
    check_probability("dropout", p)
    if not training or (p == 0 and mask is None):
        return input
    if input.dtype.kind != "f":
        raise TypeError(f"dropout: the input must be floating point, not {input.dtype}")
    xp, scale = array_module(input.data), 1 / (1 - p) if p < 1 else 0.0
    if mask is None:
        axes = [axis % input.ndim for axis in shared]
        shape = tuple(1 if i in axes else n for i, n in enumerate(input.shape))
        if takes(input.data):
            return on_gpu.dropout(input, p, scale, shape)
        mask = random.keep_mask(shape, p)
    keep = place(mask, xp, bool)
    return mul(input, keep * input.dtype.type(scale))


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, *, mask: Array | None = None
) -> Tensor:
    """Spatial dropout of whole feature maps (N, C, L), one draw per sample and channel."""
    check_tensor("dropout1d", input)
    if input.ndim != 3:
        raise ValueError(f"dropout1d: the input must be (N, C, L), not {input.shape}")
    return dropout(input, p, training, mask=mask, shared=(2,))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, *, mask: Array | None = None
) -> Tensor:
    """Spatial dropout of whole feature maps (N, C, H, W), one draw per sample and channel."""
    check_tensor("dropout2d", input)
    if input.ndim != 4:
        raise ValueError(f"dropout2d: the input must be (N, C, H, W), not {input.shape}")
    return dropout(input, p, training, mask=mask, shared=(2, 3))
