"""The primitives: values as NumPy's, gradients as finite differences'."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import NONZERO, POSITIVE, arrays, assert_gradients_are_sound, distinct, leaves, shapes
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here, host

from minigrad import Tensor, gradcheck, ops
from minigrad.backend import current_module

pytestmark = pytest.mark.usefixtures("backend")

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Case(NamedTuple):
    """An operation on drawn arrays, and NumPy's function of the same."""

    ours: Callable[..., Any]
    numpys: Callable[..., Any]
    inputs: Sequence[np.ndarray]


# Not operations on tensors, but what these are made of.
HELPERS = {"raw", "constant", "same_dtype", "logistic"}


def pairs(draw: Draw, elements: Any = None, second: Any = None) -> list[np.ndarray]:
    """Two arrays whose shapes broadcast, either of them the larger."""
    (one, other), _ = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)
    )
    return [draw(arrays(one, elements)), draw(arrays(other, second))]


def binary(ours: Any, numpys: Any, first: Any = None, second: Any = None) -> Any:
    return lambda draw: Case(ours, numpys, pairs(draw, first, second))


def unary(ours: Any, numpys: Any, elements: Any = None) -> Any:
    return lambda draw: Case(ours, numpys, [draw(arrays(shapes(), elements))])


def reduction(name: str, values: Any, min_side: int = 1) -> Any:
    """Over no axis, one or several, counted from either end, kept or not."""

    def case(draw: Draw) -> Case:
        shape = draw(shapes(min_side=min_side))
        one = st.integers(-len(shape), len(shape) - 1) if shape else st.none()
        some = hnp.valid_tuple_axes(len(shape), min_size=1) if shape else st.none()
        axis, keepdims = draw(st.none() | one | some), draw(st.booleans())
        how = {"axis": axis, "keepdims": keepdims}
        return Case(
            lambda x: getattr(ops, name)(x, **how),
            lambda x: getattr(np, name)(x, **how),
            [draw(values(shape))],
        )

    return case


def matmul(draw: Draw) -> Case:
    """Vectors, matrices, and stacks of matrices whose leading axes broadcast."""
    drawn = draw(
        hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=3)
    )
    return Case(ops.matmul, np.matmul, [draw(arrays(shape)) for shape in drawn.input_shapes])


def reshape(draw: Draw) -> Case:
    shape = draw(shapes())
    size = int(np.prod(shape))
    new = draw(st.sampled_from([(-1,), (size,), (1, size), (size, 1, 1), (*shape, 1), shape[::-1]]))
    return Case(lambda x: ops.reshape(x, new), lambda x: x.reshape(new), [draw(arrays(shape))])


def transpose(draw: Draw) -> Case:
    shape = draw(shapes(min_dims=1))
    two = axis_of(draw, len(shape)), axis_of(draw, len(shape))
    return Case(
        lambda x: ops.transpose(x, *two), lambda x: np.swapaxes(x, *two), [draw(arrays(shape))]
    )


def permute(draw: Draw) -> Case:
    shape = draw(shapes())
    order = draw(st.permutations(range(len(shape))))
    signed = [axis - draw(st.sampled_from([0, len(shape)])) for axis in order]
    axes = draw(st.none() | st.just(signed))
    return Case(
        lambda x: ops.permute(x, axes), lambda x: np.transpose(x, axes), [draw(arrays(shape))]
    )


def getitem_slices(draw: Draw) -> Case:
    """Slices with steps, integers, ellipses and new axes."""
    shape = draw(shapes(min_dims=1))
    index = draw(hnp.basic_indices(shape, allow_newaxis=True))
    return Case(lambda x: ops.getitem(x, index), lambda x: x[index], [draw(arrays(shape))])


def getitem_arrays(draw: Draw) -> Case:
    """Arrays of integers, in which one may repeat; then its gradients add up."""
    shape = draw(shapes(min_dims=1, min_side=1))
    result = hnp.array_shapes(min_dims=1, max_dims=2, max_side=4)
    indexed = shape[: draw(st.integers(1, len(shape)))]
    index = draw(hnp.integer_array_indices(indexed, result_shape=result))
    return Case(lambda x: ops.getitem(x, index), lambda x: x[index], [draw(arrays(shape))])


def getitem_mask(draw: Draw) -> Case:
    x = draw(arrays(shapes(min_dims=1)))
    mask = draw(hnp.arrays(bool, x.shape))
    return Case(lambda x: ops.getitem(x, mask), lambda x: x[mask], [x])


def getitem_mixed(draw: Draw) -> Case:
    """Rows and columns as in logits[rows, targets], a slice beside an array, a list."""
    x = draw(arrays((3, 4, 2)))
    index = draw(
        st.sampled_from(
            [
                (np.array([0, 0, 2]), np.array([1, 1, 3])),
                (slice(None), [3, 3, 0]),
                ([1, 1], slice(0, 3), 0),
                (..., np.array([[0, 1], [1, 1]])),
                [2, 0, 2],
                np.int64(1),
                (None, -1),
            ]
        )
    )
    return Case(lambda x: ops.getitem(x, index), lambda x: x[index], [x])


def axis_of(draw: Draw, ndim: int) -> int:
    return draw(st.integers(-ndim, ndim - 1))


def chunk(draw: Draw) -> Case:
    shape = draw(shapes(min_dims=1))
    axis, sections = axis_of(draw, len(shape)), draw(st.integers(1, 3))
    whole = list(shape)
    whole[axis] *= sections
    return Case(
        lambda x: ops.chunk(x, sections, axis=axis),
        lambda x: np.split(x, sections, axis=axis),
        [draw(arrays(tuple(whole)))],
    )


def concatenate(draw: Draw) -> Case:
    """Parts of different lengths along the axis."""
    shape = draw(shapes(min_dims=1))
    axis = axis_of(draw, len(shape))
    parts = []
    for length in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = length
        parts.append(draw(arrays(tuple(part))))
    return Case(
        lambda *xs: ops.concatenate(xs, axis=axis), lambda *xs: np.concatenate(xs, axis), parts
    )


def stack(draw: Draw) -> Case:
    shape = draw(shapes())
    axis = axis_of(draw, len(shape) + 1)
    parts = [draw(arrays(shape)) for _ in range(draw(st.integers(1, 3)))]
    return Case(lambda *xs: ops.stack(xs, axis=axis), lambda *xs: np.stack(xs, axis), parts)


def unbind(draw: Draw) -> Case:
    """Along an axis that is not empty: of no slices there is nothing to differentiate."""
    shape = draw(shapes(min_dims=1).filter(any))
    axis = draw(st.sampled_from([a for a in range(-len(shape), len(shape)) if shape[a]]))
    return Case(
        lambda x: ops.unbind(x, axis=axis),
        lambda x: list(np.moveaxis(x, axis, 0)),
        [draw(arrays(shape))],
    )


def power_of(number: float, elements: Any) -> Any:
    return unary(lambda x: ops.pow(x, number), lambda x: x**number, elements)


# The first word is the primitive's name; after it, which of its uses.
CASES = {
    "add": binary(ops.add, np.add),
    "add number": unary(lambda x: ops.add(x, 2), lambda x: x + 2),
    "sub": binary(ops.sub, np.subtract),
    "sub from number": unary(lambda x: ops.sub(2, x), lambda x: 2 - x),
    "mul": binary(ops.mul, np.multiply),
    "mul by itself": unary(lambda x: ops.mul(x, x), lambda x: x * x),
    "div": binary(ops.div, np.divide, None, NONZERO),
    "div of number": unary(lambda x: ops.div(3, x), lambda x: 3 / x, NONZERO),
    "neg": unary(ops.neg, np.negative),
    "pow": binary(ops.pow, np.power, POSITIVE, None),
    "pow square": power_of(2, None),
    "pow root": power_of(0.5, POSITIVE),
    "pow inverse": power_of(-1, NONZERO),
    "pow of number": unary(lambda x: ops.pow(3, x), lambda x: 3**x),
    "matmul": matmul,
    "exp": unary(ops.exp, np.exp),
    "log": unary(ops.log, np.log, POSITIVE),
    "tanh": unary(ops.tanh, np.tanh),
    "sigmoid": unary(ops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "relu": unary(ops.relu, lambda x: np.maximum(x, 0), NONZERO),
    "sum": reduction("sum", arrays, min_side=0),
    "mean": reduction("mean", arrays),
    "max": reduction("max", distinct),
    "reshape": reshape,
    "transpose": transpose,
    "permute": permute,
    "getitem slices": getitem_slices,
    "getitem arrays": getitem_arrays,
    "getitem mask": getitem_mask,
    "getitem mixed": getitem_mixed,
    "chunk": chunk,
    "concatenate": concatenate,
    "stack": stack,
    "unbind": unbind,
}

each_case = pytest.mark.parametrize("name", CASES)


def test_every_primitive_is_in_the_table() -> None:
    public = {
        name
        for name, function in vars(ops).items()
        if inspect.isfunction(function)
        and function.__module__ == ops.__name__
        and not name.startswith("_")
    }
    assert public - HELPERS == {case.split()[0] for case in CASES}


@each_case
@given(data=st.data())
def test_gradient_is_the_finite_difference(name: str, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    assert gradcheck(case.ours, leaves(case.inputs))


@each_case
@given(data=st.data())
def test_value_is_numpys(name: str, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    ours, numpys = case.ours(*leaves(case.inputs)), case.numpys(*case.inputs)
    if isinstance(ours, Tensor):
        ours, numpys = [ours], [numpys]
    for y, expected in zip(ours, numpys, strict=True):
        assert isinstance(y.data, current_module().ndarray)
        assert y.shape == np.shape(expected)
        assert_allclose(y.data, expected, rtol=1e-14, atol=1e-14)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_gradients_are_sound(name: str, dtype: Any, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    assert_gradients_are_sound(case.ours, leaves(case.inputs, dtype))


def test_the_maxima_of_no_rows_are_none() -> None:
    (x,) = leaves([np.ones((0, 3))])
    ops.max(x, axis=1).sum().backward()
    assert x.grad.shape == (0, 3)


def test_relu_has_no_slope_at_zero() -> None:
    (x,) = leaves([np.array([-1.0, 0.0, 1.0])])
    ops.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def test_ties_for_the_maximum_share_its_gradient() -> None:
    (x,) = leaves([np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])])
    ops.max(x, axis=1).backward(np.array([1.0, 4.0]))
    assert x.grad.tolist() == [[0, 0.5, 0.5], [4, 0, 0]]


@pytest.mark.parametrize(("exponent", "slope"), [(0, 0.0), (0.0, 0.0), (1, 1.0), (2, 0.0)])
def test_power_has_its_slope_at_zero(exponent: float, slope: float) -> None:
    (x,) = leaves([np.zeros(2)])
    ops.pow(x, exponent).sum().backward()
    assert x.grad.tolist() == [slope, slope]


def test_slope_of_an_exponent_is_zero_where_the_base_is() -> None:
    base, exponent = leaves([np.zeros(2), np.array([1.0, 2.0])])
    ops.pow(base, exponent).sum().backward()
    assert exponent.grad.tolist() == [0, 0]


@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_sigmoid_does_not_overflow(value: float) -> None:
    (x,) = leaves([np.array([value])])
    with np.errstate(all="raise", under="ignore"):
        y = ops.sigmoid(x)
        y.sum().backward()
    assert y.data == (value > 0)
    assert x.grad == 0


def test_chunk_refuses_parts_of_different_size() -> None:
    with pytest.raises(ValueError, match="equal"):
        ops.chunk(leaves([np.ones((2, 5))])[0], 2, axis=1)
    with pytest.raises(ValueError, match="equal"):
        ops.chunk(leaves([np.ones((2, 5))])[0], 0)


def test_a_gradient_of_a_shape_that_cannot_be_is_refused() -> None:
    """The tape sums over broadcast axes; a gradient too small for its operand is a mistake."""
    from minigrad.tensor import record

    for wrong in (lambda dy: dy.sum(), lambda dy: dy[:, :1], lambda dy: dy.T):
        (x,) = leaves([np.ones((2, 3))])
        with pytest.raises(RuntimeError, match="shape"):
            record(x.data.copy(), (x, wrong)).sum().backward()


def test_slope_of_a_zero_exponent_at_a_zero_base_is_zero() -> None:
    (p,) = leaves([np.array([0.0])])
    ops.pow(here(np.array([0.0])), p).backward(here(np.array([1.0])))
    assert_array_equal(p.grad, [0.0])


def test_a_vector_times_stacked_matrices() -> None:
    v, m = leaves([np.arange(4.0), np.arange(120.0).reshape(2, 3, 4, 5)])
    assert_array_equal((v @ m).data, host(v.data) @ host(m.data))


def test_a_sum_keeps_no_axes_unless_told() -> None:
    assert ops.sum(leaves([np.ones((2, 3))])[0]).shape == ()
