"""Hypothesis strategies: random inputs to check your own operations with.

    from hypothesis import given
    from minigrad import gradcheck, testing

    @given(testing.tensors())
    def test_softplus(x):
        gradcheck(softplus, [x])

Needs hypothesis (pip install hypothesis), unlike the rest of minigrad. The tensors are float64 and
require a gradient, as `gradcheck` expects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import Tensor

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("minigrad.testing needs hypothesis: pip install hypothesis") from error

Shape = tuple[int, ...]

MARGIN = 0.1  # the least distance of kink-free values from zero and from each other


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[Shape]:
    """Shapes; they include sides of 1, and sides of 0 if min_side=0."""
    side = st.integers(min_side, max_side)
    return st.lists(side, min_size=min_dims, max_size=max_dims).map(tuple)


def arrays(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: Any = np.float64,
    scale: float | st.SearchStrategy[float] | None = None,
) -> st.SearchStrategy[np.ndarray]:
    """Normally distributed numbers of a random shape and scale (1, 0.01 or 100), unless given."""
    return _drawn(shape, scale, lambda rng, shape: rng.standard_normal(shape), dtype)


def kink_free(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: Any = np.float64,
) -> st.SearchStrategy[np.ndarray]:
    """Values at least 0.1 away from zero and from each other.

    ReLU, the absolute value, maxima and max-pooling have a derivative there.
    """

    def spread(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        size = int(np.prod(shape))
        steps = rng.permutation(size) - size // 2 + 0.5  # ..., -0.5, 0.5, 1.5, ...
        jitter = rng.uniform(-0.25, 0.25, size)
        return (4 * MARGIN * (steps + jitter)).reshape(shape)

    return _drawn(shape, 1.0, spread, dtype)


def _drawn(shape: Any, scale: Any, make: Any, dtype: Any) -> st.SearchStrategy[np.ndarray]:
    shape = shapes() if shape is None else shape
    scale = st.sampled_from([1.0, 0.01, 100.0]) if scale is None else scale
    # hypothesis draws shape, scale and one seed. To draw every value would be slow; shape and
    # scale are drawn separately so that hypothesis can shrink them.
    return st.builds(
        lambda shape, scale, seed: np.asarray(
            scale * make(np.random.default_rng(seed), shape), dtype
        ),
        shape if isinstance(shape, st.SearchStrategy) else st.just(shape),
        scale if isinstance(scale, st.SearchStrategy) else st.just(scale),
        st.integers(0, 2**32 - 1),
    )


def tensors(*args: Any, requires_grad: bool = True, **kwargs: Any) -> st.SearchStrategy[Tensor]:
    """`arrays`, as tensors that require a gradient."""
    return arrays(*args, **kwargs).map(lambda array: Tensor(array, requires_grad))


def kink_free_tensors(
    *args: Any, requires_grad: bool = True, **kwargs: Any
) -> st.SearchStrategy[Tensor]:
    """`kink_free`, as tensors that require a gradient."""
    return kink_free(*args, **kwargs).map(lambda array: Tensor(array, requires_grad))


@st.composite
def broadcastable(draw: st.DrawFn, /, count: int = 2, **kwargs: Any) -> tuple[Tensor, ...]:
    """Tensors whose shapes broadcast: some axes have size 1, some leading axes are missing."""
    common = draw(shapes(**kwargs))

    def operand() -> Tensor:
        shape = tuple(draw(st.sampled_from([n, 1])) for n in common)
        return draw(tensors(shape[draw(st.integers(0, len(shape))) :]))

    return tuple(operand() for _ in range(count))
