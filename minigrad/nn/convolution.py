"""Layers for images."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import random
from ..convolution import Pair, pair
from ..tensor import Tensor
from .module import Module, Parameter


class Conv2d(Module):
    """Convolution of (N, in_channels, H, W) to (N, out_channels, H', W').

    weight (out_channels, in_channels, kh, kw) and bias (out_channels,), uniform in
    ±1/√(in_channels · kh · kw). Raises ValueError for sizes below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        *,
        bias: bool = True,
    ) -> None:
        kernel = pair(kernel_size)
        if min(in_channels, out_channels, *kernel) < 1:
            raise ValueError(
                "Conv2d: all sizes must be at least 1, not "
                f"{in_channels}, {out_channels}, {kernel_size}"
            )
        bound = 1 / math.sqrt(in_channels * math.prod(kernel))
        shape = (out_channels, in_channels, *kernel)
        self.weight = Parameter(random.uniform(-bound, bound, shape))
        self.bias: Any = None
        if bias:
            self.bias = Parameter(random.uniform(-bound, bound, (out_channels,)))
        self.stride, self.padding = pair(stride), pair(padding)

    def extra_repr(self) -> str:
        O, C, *kernel = self.weight.shape
        padding = f", padding={self.padding}" if any(self.padding) else ""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{C}, {O}, kernel_size={(*kernel,)}, stride={self.stride}{padding}{bias}"

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding)


class MaxPool2d(Module):
    """The maximum of each window of (N, C, H, W); the stride is by default the kernel size."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        stride = kernel_size if stride is None else stride
        for sizes in (kernel_size, stride, padding):
            pair(sizes)  # TypeError for anything but sizes
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def extra_repr(self) -> str:
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}"
        return f"{sizes}, padding={self.padding}"

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding)
