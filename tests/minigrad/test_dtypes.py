"""No operation silently changes the dtype: outputs and gradients have that of the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, nn, ops
from minigrad import functional as F

pytestmark = pytest.mark.usefixtures("backend")

HALF, SINGLE, DOUBLE = np.float16, np.float32, np.float64
IDS = np.array([0, 2, 1])

# Each operation on tensors of a dtype, `t(shape)`.
OPERATIONS = {
    "add": lambda t: ops.add(t(2, 3), t(3)),
    "add a number": lambda t: t(2, 3) + 1.5,
    "sub": lambda t: 1 - t(2, 3),
    "mul": lambda t: t(2, 3) * 0.1,
    "div": lambda t: 1 / t(2, 3),
    "neg": lambda t: -t(2, 3),
    "pow": lambda t: t(2, 3) ** 2,
    "pow of tensors": lambda t: t(2, 3) ** t(3),
    "matmul": lambda t: t(2, 3) @ t(3, 2),
    "matmul of vectors": lambda t: t(3) @ t(3),
    "exp": lambda t: t(2, 3).exp(),
    "log": lambda t: t(2, 3).log(),
    "tanh": lambda t: t(2, 3).tanh(),
    "sigmoid": lambda t: t(2, 3).sigmoid(),
    "relu": lambda t: t(2, 3).relu(),
    "sqrt": lambda t: t(2, 3).sqrt(),
    "sin": lambda t: t(2, 3).sin(),
    "cos": lambda t: t(2, 3).cos(),
    "abs": lambda t: t(2, 3).abs(),
    "where": lambda t: ops.where(t(2, 3) > 1, t(2, 3), t(3)),
    "where with a number": lambda t: ops.where(t(2, 3) > 1, t(2, 3), 0.5),
    "maximum": lambda t: ops.maximum(t(2, 3), t(3)),
    "maximum with a number": lambda t: ops.maximum(t(2, 3), 1.0),
    "minimum": lambda t: ops.minimum(t(2, 3), t(3)),
    "clip": lambda t: t(2, 3).clip(0.7, 1.2),
    "sum": lambda t: t(2, 3).sum(),
    "mean": lambda t: t(2, 3).mean(axis=0),
    "var": lambda t: t(2, 3).var(axis=0),
    "std": lambda t: t(2, 3).std(),
    "max": lambda t: t(2, 3).max(axis=1),
    "min": lambda t: t(2, 3).min(axis=1),
    "squeeze": lambda t: t(1, 3).squeeze(),
    "unsqueeze": lambda t: t(2, 3).unsqueeze(1),
    "repeat": lambda t: t(2, 3).repeat(2, 1),
    "reshape": lambda t: t(2, 3).reshape(6),
    "transpose": lambda t: t(2, 3).transpose(0, 1),
    "permute": lambda t: t(2, 3).T,
    "getitem": lambda t: t(3, 3)[IDS],
    "getitem of a slice": lambda t: t(3, 3)[1:],
    "chunk": lambda t: ops.chunk(t(2, 4), 2)[0],
    "unbind": lambda t: ops.unbind(t(2, 3))[1],
    "concatenate": lambda t: ops.concatenate([t(2, 3), t(1, 3)]),
    "stack": lambda t: ops.stack([t(2, 3), t(2, 3)]),
    "softmax": lambda t: F.softmax(t(2, 3)),
    "log_softmax": lambda t: F.log_softmax(t(2, 3)),
    "linear": lambda t: F.linear(t(2, 3), t(4, 3), t(4)),
    "embedding": lambda t: F.embedding(IDS, t(3, 2)),
    "cross_entropy": lambda t: F.cross_entropy(t(3, 4), IDS),
    "cross_entropy, summed": lambda t: F.cross_entropy(t(3, 4), IDS, reduction="sum"),
    "cross_entropy, ignoring": lambda t: F.cross_entropy(t(3, 4), IDS, ignore_index=0),
    "mse_loss": lambda t: F.mse_loss(t(2, 3), t(2, 3)),
    "mse_loss of an array": lambda t: F.mse_loss(t(2, 3), np.ones((2, 3))),
    "linear_cross_entropy": lambda t: F.linear_cross_entropy(t(3, 2), t(4, 2), t(4), IDS),
    "dropout": lambda t: F.dropout(t(2, 3), 0.3),
    "dropout1d": lambda t: F.dropout1d(t(2, 3, 2), 0.3),
    "dropout2d": lambda t: F.dropout2d(t(2, 3, 2, 2), 0.3),
    "batch_norm": lambda t: F.batch_norm(t(4, 3), None, None, t(3), t(3), training=True),
    "conv2d": lambda t: F.conv2d(t(1, 2, 4, 4), t(3, 2, 2, 2), t(3), padding=1),
    "max_pool2d": lambda t: F.max_pool2d(t(1, 2, 4, 4), 2, padding=1),
}


def test_the_table_has_every_operation() -> None:
    names = {name.split(",")[0].split()[0] for name in OPERATIONS}
    assert names >= set(F.__all__)
    public = {n for n, f in vars(ops).items() if getattr(f, "__module__", "") == ops.__name__}
    helpers = {"raw", "constant", "same_dtype", "logistic", "cat", "clamp"}
    assert names >= {n for n in public if not n.startswith("_")} - helpers


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("dtype", [HALF, SINGLE, DOUBLE])
def test_an_operation_keeps_the_dtype(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    used = []

    def t(*shape: int) -> Tensor:
        used.append(mg.tensor(rng.uniform(0.5, 1.5, shape).astype(dtype), requires_grad=True))
        return used[-1]

    y = OPERATIONS[name](t)
    assert y.dtype == dtype
    y.backward(np.ones(y.shape, dtype))
    assert {x.grad.dtype for x in used if x.grad is not None} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_keep_the_dtype(kind: str, bptt: str, dtype: Any) -> None:
    mg.set_default_dtype(dtype)
    layer = getattr(nn, kind)(3, 4, 2, dropout=0.5, bptt=bptt)
    x = mg.tensor(np.ones((5, 2, 3), dtype), requires_grad=True)
    output, hidden = layer(x)
    states = hidden if isinstance(hidden, tuple) else (hidden,)
    assert {y.dtype for y in (output, *states)} == {np.dtype(dtype)}
    output.sum().backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {np.dtype(dtype)}
