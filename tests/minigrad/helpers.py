"""Code shared by several test files: random arrays, and properties of every operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here, host, share_memory

import minigrad as mg
from minigrad import Tensor

# -------------------------------------------------------------------- drawing


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0
) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes, including axes of size 1 and 0."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=3)


def floats(low: float = -2.0, high: float = 2.0) -> st.SearchStrategy[float]:
    """Zero, and numbers that are large compared with the step of a difference quotient."""
    return st.floats(low, high).map(lambda x: round(x, 4))


# Away from a kink or a pole at zero, by more than the step.
NONZERO = floats(0.25, 2.0) | floats(-2.0, -0.25)
POSITIVE = floats(0.25, 2.0)


def arrays(
    shape: Any, elements: st.SearchStrategy[float] | None = None, unique: bool = False
) -> st.SearchStrategy[np.ndarray]:
    """Random float64 arrays, each element drawn separately."""
    elements = floats() if elements is None else elements
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing(), unique=unique)


def distinct(shape: Any) -> st.SearchStrategy[np.ndarray]:
    """Arrays whose elements differ by at least 1/8, so that no step changes the maximum."""
    return arrays(shape, st.integers(-200, 200).map(lambda n: n / 8), unique=True)


# For long computations: one draw, of a seed, for all values. An `example` needs a seed, since all
# cases of a test would share a generator.
seeds = st.integers(0, 2**32 - 1)
generators = seeds.map(np.random.default_rng)


def leaf(array: Any, dtype: Any = np.float64) -> Tensor:
    """A leaf tensor that requires a gradient, with a copy of the values."""
    return mg.tensor(np.array(host(array), dtype=dtype), requires_grad=True)


def leaves(inputs: Iterable[Any], dtype: Any = np.float64) -> list[Any]:
    """Float arrays as leaf tensors; integer arrays unchanged."""
    return [leaf(x, dtype) if np.asarray(host(x)).dtype.kind == "f" else x for x in inputs]


# -------------------------------------------------------------------- properties


def first(outputs: Any) -> Tensor:
    """The first tensor of a possibly nested output."""
    return outputs if isinstance(outputs, Tensor) else first(outputs[0])


def assert_gradients_are_sound(
    fn: Callable[..., Any], inputs: Sequence[Any], parameters: Iterable[Tensor] = ()
) -> None:
    """Check properties of the gradients of any operation, except their values.

    Each has the shape and dtype of its leaf and shares no memory with other arrays. A second
    backward pass gives the same gradients. Neither the inputs nor the upstream gradient change.
    """
    given = [x for x in [*inputs, *parameters] if isinstance(x, Tensor) and x.requires_grad]
    before = [x.data.copy() for x in given]
    y = first(fn(*inputs))
    assert all(y.dtype == x.dtype for x in given), "the result has another dtype"
    upstream = here(np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype))
    kept = upstream.copy()

    y.backward(upstream, retain_graph=True)
    gradients = [x.grad for x in given]
    for x, grad in zip(given, gradients, strict=True):
        if grad is not None:
            assert isinstance(grad, type(x.data))
            assert (grad.shape, grad.dtype) == (x.shape, x.dtype)
    everything = [g for g in gradients if g is not None]
    everything += [upstream, y.data, *(x.data for x in given)]
    for i, grad in enumerate(g for g in gradients if g is not None):
        for other in everything[i + 1 :]:
            assert not share_memory(grad, other), "a gradient is somebody else's array"

    for x in given:
        x.grad = None
    y.backward(upstream)
    for x, grad in zip(given, gradients, strict=True):
        assert_array_equal(x.grad, grad, err_msg="the second walk differs")
    for x, values in zip(given, before, strict=True):
        assert_array_equal(x.data, values, err_msg="an input was changed")
    assert_array_equal(upstream, kept, err_msg="the upstream gradient was changed")


def assert_as_torch(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Sequence[Any],
    parameters: Sequence[tuple[Any, Any]] = (),
    tolerance: float = 1e-10,
) -> None:
    """Compare the outputs, and the gradients for the same upstream gradients, with PyTorch's.

    `parameters` are further pairs of leaves, ours and PyTorch's, to compare.
    """
    import torch

    mine = leaves(inputs)
    other = [torch.tensor(x, requires_grad=np.asarray(x).dtype.kind == "f") for x in inputs]
    pairs = list(zip(_flat(ours(*mine)), _flat(theirs(*other)), strict=True))
    rng = np.random.default_rng(1)
    our_loss, their_loss = mg.tensor(0.0, dtype=np.float64), torch.tensor(0.0).double()
    for y, t in pairs:
        assert_allclose(y.data, t.detach().numpy(), rtol=0, atol=tolerance)
        v = rng.standard_normal(y.shape)
        our_loss = our_loss + (y * here(v)).sum()
        their_loss = their_loss + (t * torch.tensor(v)).sum()
    our_loss.backward()
    their_loss.backward()
    for x, t in [*zip(mine, other, strict=True), *parameters]:
        if isinstance(x, Tensor) and x.requires_grad:
            assert x.grad is not None and t.grad is not None
            assert_allclose(x.grad, t.grad.numpy(), rtol=0, atol=tolerance)


def _flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, (tuple, list)):
        return [y for part in outputs for y in _flat(part)]
    return [outputs]
