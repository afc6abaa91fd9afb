"""Linear, Embedding, Flatten and the activations."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import random
from ..backend import Array
from ..tensor import Tensor
from .module import Module, Parameter


class Linear(Module):
    """x @ weight.T + bias, from (..., in_features) to (..., out_features).

    weight (out_features, in_features) and bias (out_features,), uniform in ±1/√in_features.
    """

    weight: Parameter
    bias: Any  # a Parameter, or None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = Parameter(random.uniform(-bound, bound, (out_features, in_features)))
        self.bias = Parameter(random.uniform(-bound, bound, (out_features,))) if bias else None

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        bias = self.bias is not None
        return f"in_features={in_features}, out_features={out_features}, bias={bias}"

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class Embedding(Module):
    """A trainable vector for each id: integers (...) to (..., embedding_dim).

    weight (num_embeddings, embedding_dim), standard normal.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.weight = Parameter(random.normal((num_embeddings, embedding_dim)))

    def extra_repr(self) -> str:
        num_embeddings, embedding_dim = self.weight.shape
        return f"{num_embeddings}, {embedding_dim}"

    def forward(self, input: Tensor | Array) -> Tensor:
        return F.embedding(input, self.weight)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Flatten(Module):
    """(N, a, b, ...) to (N, a·b·...)."""

    def forward(self, input: Tensor) -> Tensor:
        return input.reshape(input.shape[0], math.prod(input.shape[1:]))
