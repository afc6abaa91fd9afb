"""Convolution and max-pooling of images.

Both first copy all windows into one array (im2col, Chellapilla et al. 2006). Then convolution is a
matrix product, and pooling is a maximum along an axis. `scatter` is the transpose of `windows`, so
each computes the gradient of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .backend import Array, array_module
from .checks import check_tensor, same_dtype
from .tensor import Tensor, record, record_joint

Pair = int | tuple[int, int]


def pair(value: Pair) -> tuple[int, int]:
    """A pair of integers, from a pair or one integer for both (TypeError for anything else)."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(n, int | np.integer) for n in both):
        raise TypeError(
            f"kernel size, stride and padding must be an integer or a pair of them, not {value!r}"
        )
    return both


def _offsets(
    image: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """For each position (i, j) in the kernel: the pixels under it in all windows."""
    (H, W), (kh, kw), (sh, sw) = image[-2:], kernel, stride
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + H - kh + 1, sh)
            yield i, j, (..., rows, slice(j, j + W - kw + 1, sw))


def windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int]) -> Array:
    """(N, C, H, W) to (N, C, kh, kw, H', W'): the window at each of H'·W' positions."""
    (N, C, H, W), (kh, kw), (sh, sw) = x.shape, kernel, stride
    shape = (N, C, kh, kw, (H - kh) // sh + 1, (W - kw) // sw + 1)
    out = array_module(x).empty(shape, x.dtype)
    for i, j, pixels in _offsets(x.shape, kernel, stride):
        out[:, :, i, j] = x[pixels]
    return out


def scatter(
    dwindows: Array, image: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> Array:
    """The transpose of `windows`: each pixel of (N, C, H, W) is the sum over all its windows."""
    out = array_module(dwindows).zeros(image, dwindows.dtype)
    for i, j, pixels in _offsets(image, kernel, stride):
        out[pixels] += dwindows[:, :, i, j]
    return out


def _padded(x: Array, padding: tuple[int, int], value: float) -> Array:
    (N, C, H, W), (ph, pw) = x.shape, padding
    out = array_module(x).full((N, C, H + 2 * ph, W + 2 * pw), value, x.dtype)
    out[:, :, ph : ph + H, pw : pw + W] = x
    return out


def _cropped(x: Array, padding: tuple[int, int]) -> Array:
    """The transpose of `_padded`: without the border."""
    ph, pw = padding
    return x[:, :, ph : x.shape[2] - ph, pw : x.shape[3] - pw]


def _check(layer: str, input: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> None:
    check_tensor(layer, input)
    if input.ndim != 4:
        raise ValueError(f"{layer}: the input must be (N, C, H, W), not {input.shape}")
    for side, k, s, p in zip(
        input.shape[2:], pair(kernel), pair(stride), pair(padding), strict=True
    ):
        if k < 1 or s < 1 or p < 0:
            raise ValueError(
                f"{layer}: kernel and stride must be at least 1, padding at least 0, "
                f"not {kernel}, {stride} and {padding}"
            )
        if side + 2 * p < k:
            raise ValueError(
                f"{layer}: a kernel of {kernel} does not fit into {input.shape} padded by {padding}"
            )


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
) -> Tensor:
    """Cross-correlation, called convolution in deep learning.

    y[n, o, p, q] = bias[o] + Σ_{c,i,j} weight[o, c, i, j] · x[n, c, p·stride + i, q·stride + j]

    input (N, C, H, W), padded with zeros, weight (O, C, kh, kw), bias (O,); returns
    (N, O, H', W') with H' = (H + 2·padding - kh) // stride + 1. Raises ValueError for shapes
    that do not fit.
    """
    same_dtype("conv2d", input, weight, bias)
    O, C, kh, kw = weight.shape
    _check("conv2d", input, (kh, kw), stride, padding)
    if input.shape[1] != C:
        raise ValueError(f"conv2d: the weight is for {C} channels, the input is {input.shape}")
    kernel, stride, padding = (kh, kw), pair(stride), pair(padding)
    x = _padded(input.data, padding, 0)
    columns = windows(x, kernel, stride)
    N, *_, H, W = columns.shape
    columns = columns.reshape(N, C * kh * kw, H * W)
    kernels = weight.data.reshape(O, C * kh * kw)
    y = kernels @ columns  # (N, O, H'·W')
    if bias is not None:
        y += bias.data[:, None]

    def backward(dy: Array) -> list[Array]:
        dy = dy.reshape(N, O, H * W)
        dcolumns = (kernels.T @ dy).reshape(N, C, kh, kw, H, W)
        dx = _cropped(scatter(dcolumns, x.shape, kernel, stride), padding)
        dW = (dy @ columns.swapaxes(1, 2)).sum(axis=0).reshape(weight.shape)
        return [dx, dW] if bias is None else [dx, dW, dy.sum(axis=(0, 2))]

    inputs = [input, weight] if bias is None else [input, weight, bias]
    return record_joint([y.reshape(N, O, H, W)], inputs, backward, saved=[weight])[0]


def max_pool2d(
    input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Tensor:
    """The maximum of each window; the gradient goes to its first position in the window.

    input (N, C, H, W), padded with -∞; the stride is by default the kernel size. Returns
    (N, C, H', W'), with H' and W' as for `conv2d`. Raises ValueError for shapes that do not fit.
    """
    stride = kernel_size if stride is None else stride
    _check("max_pool2d", input, kernel_size, stride, padding)
    kernel, stride, padding = pair(kernel_size), pair(stride), pair(padding)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"max_pool2d: padding {padding} is more than half of kernel {kernel}")
    xp = array_module(input.data)
    x = _padded(input.data, padding, -xp.inf)
    columns = windows(x, kernel, stride)
    N, C, kh, kw, H, W = columns.shape
    columns = columns.reshape(N, C, kh * kw, H, W)
    winner = columns.argmax(axis=2)[:, :, None]
    y = xp.take_along_axis(columns, winner, axis=2)[:, :, 0]
    places = xp.arange(kh * kw)[:, None, None]

    def backward(dy: Array) -> Array:
        dcolumns = dy[:, :, None] * (places == winner)
        dcolumns = dcolumns.reshape(N, C, kh, kw, H, W)
        return _cropped(scatter(dcolumns, x.shape, kernel, stride), padding)

    return record(y, (input, backward))
