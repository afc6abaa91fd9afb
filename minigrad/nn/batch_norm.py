"""Batch normalisation with running estimates."""

from __future__ import annotations

import numpy as np

from .. import functional as F
from .. import random
from ..backend import current_module, get_default_dtype
from ..checks import check_tensor
from ..tensor import Tensor
from .module import Module, Parameter


class BatchNorm(Module):
    """The base class of BatchNorm1d and BatchNorm2d: everything but the shape of the input.

    weight (gamma) is initially uniform in [0, 1), as in early PyTorch, or with init="ones" 1, as
    in PyTorch today; bias (beta) is initially 0. In training, running = momentum · running +
    (1 - momentum) · batch. Momentum 0.9 is momentum 0.1 in PyTorch.

    Raises ValueError for an unknown init or a momentum outside [0, 1].
    """

    dims: tuple[int, ...]  # the allowed numbers of input axes

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        *,
        momentum: float = 0.9,
        init: str = "uniform",
    ) -> None:
        if init not in ("uniform", "ones"):
            raise ValueError(f"batch norm: init must be 'uniform' or 'ones', not {init!r}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"batch norm: momentum must be from 0 to 1, not {momentum}")
        xp, dtype, C = current_module(), get_default_dtype(), num_features
        gamma = xp.ones(C, dtype) if init == "ones" else random.uniform(0.0, 1.0, (C,))
        self.weight = Parameter(gamma)
        self.bias = Parameter(xp.zeros(C, dtype))
        self.running_mean = Tensor(xp.zeros(C, dtype))
        self.running_var = Tensor(xp.ones(C, dtype))
        self.num_batches_tracked = Tensor(xp.zeros((), np.int64))
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"

    def forward(self, input: Tensor) -> Tensor:
        check_tensor(type(self).__name__, input)
        if input.ndim not in self.dims or input.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: the input must have {self.num_features} channels along "
                f"axis 1 of {' or '.join(map(str, self.dims))}, not shape {input.shape}"
            )
        output = F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        if self.training:
            self.num_batches_tracked.data += 1
        return output


class BatchNorm1d(BatchNorm):
    """For inputs (N, C), or (N, C, L) with statistics over N and L."""

    dims = (2, 3)


class BatchNorm2d(BatchNorm):
    """For feature maps (N, C, H, W), with statistics over N, H and W."""

    dims = (4,)
