"""The strategies draw what their docstrings say."""

from __future__ import annotations

import numpy as np
from hypothesis import find, given, settings

from minigrad import Tensor, functional, gradcheck, ops, testing


@given(testing.tensors(testing.shapes(min_dims=1, max_dims=2, min_side=0, max_side=2)))
def test_tensors_are_ready_for_gradcheck(x: Tensor) -> None:
    assert x.dtype == np.float64
    assert x.requires_grad
    assert 1 <= x.ndim <= 2
    assert max(x.shape) <= 2
    assert gradcheck(ops.tanh, [x])


def test_shapes_include_none_one_and_empty_axes() -> None:
    for wanted in ((), (1,), (2, 1), (0,)):
        assert find(testing.shapes(min_side=0), lambda shape, w=wanted: shape == w) == wanted


def test_scale_and_dtype_can_be_chosen() -> None:
    drawn = testing.arrays((100,), dtype=np.float32, scale=1e-3)

    @given(drawn)
    def small(x: np.ndarray) -> None:
        assert x.dtype == np.float32
        assert 0 < np.abs(x).max() < 1e-2

    small()


@given(testing.kink_free())
def test_kink_free_values_keep_apart_and_clear_of_zero(x: np.ndarray) -> None:
    values = np.sort(np.append(x.ravel(), 0))
    assert (np.diff(values) >= testing.MARGIN).all()


@given(testing.kink_free_tensors(testing.shapes(min_dims=1)))
def test_kinked_operations_pass_on_kink_free_tensors(x: Tensor) -> None:
    assert gradcheck(functional.relu, [x])
    assert gradcheck(lambda x: x.max(axis=-1), [x])


@given(testing.broadcastable(3))
def test_broadcastable_shapes_broadcast(operands: tuple[Tensor, ...]) -> None:
    a, b, c = operands
    np.broadcast_shapes(a.shape, b.shape, c.shape)
    assert gradcheck(lambda a, b, c: a * b + c, operands)


def test_broadcasting_is_among_what_is_drawn() -> None:
    seen = set()

    @settings(max_examples=200)
    @given(testing.broadcastable())
    def draw(operands: tuple[Tensor, ...]) -> None:
        a, b = operands
        seen.add((a.shape == b.shape, a.ndim == b.ndim))

    draw()
    assert seen >= {(True, True), (False, True), (False, False)}
