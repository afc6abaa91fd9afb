"""Primitives: values agree with NumPy, gradients with finite differences."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import (
    NONZERO,
    POSITIVE,
    arrays,
    assert_as_torch,
    assert_gradients_are_sound,
    distinct,
    leaves,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here, host

import minigrad as mg
from minigrad import Tensor, gradcheck, ops
from minigrad import functional as F
from minigrad.backend import current_module

pytestmark = pytest.mark.usefixtures("backend")

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Case(NamedTuple):
    """An operation, random inputs for it, and the same function in NumPy."""

    ours: Callable[..., Any]
    numpys: Callable[..., Any]
    inputs: Sequence[np.ndarray]


# Helpers, not operations on tensors.
HELPERS = {"raw", "constant", "logistic"}


def pairs(draw: Draw, elements: Any = None, second: Any = None) -> list[np.ndarray]:
    """Two arrays whose shapes broadcast; either may be the larger."""
    (one, other), _ = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)
    )
    return [draw(arrays(one, elements)), draw(arrays(other, second))]


def binary(ours: Any, numpys: Any, first: Any = None, second: Any = None) -> Any:
    return lambda draw: Case(ours, numpys, pairs(draw, first, second))


def unary(ours: Any, numpys: Any, elements: Any = None) -> Any:
    return lambda draw: Case(ours, numpys, [draw(arrays(shapes(), elements))])


def reduction(name: str, values: Any, min_side: int = 1, corrected: bool = False) -> Any:
    """Over no axis, one or several, positive or negative, with and without keepdims.

    `corrected` is for the variance: NumPy's name of correction is ddof.
    """

    def case(draw: Draw) -> Case:
        shape = draw(shapes(min_side=min_side))
        one = st.integers(-len(shape), len(shape) - 1) if shape else st.none()
        some = hnp.valid_tuple_axes(len(shape), min_size=1) if shape else st.none()
        axis, keepdims = draw(st.none() | one | some), draw(st.booleans())
        how = {"axis": axis, "keepdims": keepdims}
        ours, numpys = dict(how), dict(how)
        if corrected:
            several = bool(shape) and min(shape) > 1
            ours["correction"] = numpys["ddof"] = draw(st.sampled_from([0, 0.5, 1][: 1 + several]))
        return Case(
            lambda x: getattr(ops, name)(x, **ours),
            lambda x: getattr(np, name)(x, **numpys),
            [draw(values(shape))],
        )

    return case


# Two sets of numbers; their distance is larger than a step.
EIGHTHS = st.integers(-8, 8).map(lambda n: n / 8)
BETWEEN = st.integers(-8, 8).map(lambda n: (n + 0.5) / 8)


def where(draw: Draw) -> Case:
    """A condition and two operands; any may be the largest, or an operand a number."""
    shapes, _ = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=2, min_side=0, max_side=3)
    )
    condition = draw(hnp.arrays(bool, shapes[0]))
    x = draw(arrays(shapes[1]))
    if draw(st.booleans()):
        return Case(
            lambda x: ops.where(condition, 2, x), lambda x: np.where(condition, 2.0, x), [x]
        )
    return Case(
        lambda x, z: ops.where(condition, x, z),
        lambda x, z: np.where(condition, x, z),
        [x, draw(arrays(shapes[2]))],
    )


def clip(draw: Draw) -> Case:
    low, high = draw(st.tuples(st.none() | BETWEEN, st.none() | BETWEEN).filter(any))
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    return Case(
        lambda x: ops.clip(x, low, high),
        lambda x: np.clip(x, low, high),
        [draw(arrays(shapes(), EIGHTHS))],
    )


def squeeze(draw: Draw) -> Case:
    """Axes of size 1, and larger axes, which stay."""
    shape = draw(shapes())
    one = st.integers(-len(shape), len(shape) - 1) if shape else st.none()
    some = hnp.valid_tuple_axes(len(shape)) if shape else st.none()
    axis = draw(st.none() | one | some)
    named = (axis,) if isinstance(axis, int) else axis

    def numpys(x: np.ndarray) -> np.ndarray:
        return np.squeeze(x, named if named is None else tuple(a for a in named if shape[a] == 1))

    return Case(lambda x: ops.squeeze(x, axis), numpys, [draw(arrays(shape))])


def unsqueeze(draw: Draw) -> Case:
    shape = draw(shapes())
    axis = axis_of(draw, len(shape) + 1)
    return Case(
        lambda x: ops.unsqueeze(x, axis), lambda x: np.expand_dims(x, axis), [draw(arrays(shape))]
    )


def repeat(draw: Draw) -> Case:
    """As many sizes as axes, or more."""
    shape = draw(shapes(max_dims=2))
    sizes = draw(st.lists(st.integers(0, 3), min_size=max(1, len(shape)), max_size=3))
    return Case(lambda x: ops.repeat(x, *sizes), lambda x: np.tile(x, sizes), [draw(arrays(shape))])


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
    """Integer arrays; if an index occurs several times, the gradients add up."""
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
    """Rows and columns as in logits[rows, targets], a slice with an array, a list."""
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
    """Along an axis that is not empty: without slices there is nothing to differentiate."""
    shape = draw(shapes(min_dims=1).filter(any))
    axis = draw(st.sampled_from([a for a in range(-len(shape), len(shape)) if shape[a]]))
    return Case(
        lambda x: ops.unbind(x, axis=axis),
        lambda x: list(np.moveaxis(x, axis, 0)),
        [draw(arrays(shape))],
    )


def power_of(number: float, elements: Any) -> Any:
    return unary(lambda x: ops.pow(x, number), lambda x: x**number, elements)


# The first word is the primitive's name, the rest distinguishes its cases.
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
    "sqrt": unary(ops.sqrt, np.sqrt, POSITIVE),
    "sin": unary(ops.sin, np.sin),
    "cos": unary(ops.cos, np.cos),
    "abs": unary(ops.abs, np.abs, NONZERO),
    "where": where,
    "maximum": binary(ops.maximum, np.maximum, EIGHTHS, BETWEEN),
    "maximum with number": unary(lambda x: ops.maximum(0, x), lambda x: np.maximum(0, x), NONZERO),
    "minimum": binary(ops.minimum, np.minimum, EIGHTHS, BETWEEN),
    "clip": clip,
    "sum": reduction("sum", arrays, min_side=0),
    "mean": reduction("mean", arrays),
    "var": reduction("var", distinct, corrected=True),
    "std": reduction("std", distinct, corrected=True),
    "max": reduction("max", distinct),
    "min": reduction("min", distinct),
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    "repeat": repeat,
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
        function.__name__  # of `cat`, a second name, "concatenate"
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


@pytest.mark.parametrize(("extreme", "sign"), [(ops.max, 1), (ops.min, -1)])
def test_ties_for_an_extreme_share_its_gradient(extreme: Any, sign: int) -> None:
    (x,) = leaves([sign * np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])])
    extreme(x, axis=1).backward(np.array([1.0, 4.0]))
    assert x.grad.tolist() == [[0, 0.5, 0.5], [4, 0, 0]]


def test_a_condition_must_be_boolean() -> None:
    (x,) = leaves([np.ones(2)])
    with pytest.raises(TypeError, match=r"boolean.*float64"):
        ops.where(x, x, 0)


@pytest.mark.parametrize(("a", "dtype"), [(1.0, np.float32), (1, np.int64)])
def test_where_of_two_numbers_has_the_dtype_of_a_tensor_of_them(a: float, dtype: Any) -> None:
    y = ops.where(leaves([np.array([-1.0, 1.0])])[0] > 0, a, 0)
    assert y.dtype == dtype
    assert y.data.tolist() == [0, 1]


def test_where_keeps_an_infinite_gradient_from_what_was_not_chosen() -> None:
    (x,) = leaves([np.array([1.0, 4.0])])
    ops.where(np.array([False, True]), x, 0.0).backward(np.array([np.inf, 1.0]))
    assert x.grad.tolist() == [0, 1]


def test_clip_without_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="min, max"):
        ops.clip(leaves([np.ones(2)])[0])


def test_repeat_needs_a_size_for_each_axis() -> None:
    with pytest.raises(ValueError, match=r"1 sizes.*2 axes"):
        ops.repeat(leaves([np.ones((2, 3))])[0], 2)


@pytest.mark.parametrize("axis", [2, -3])
@pytest.mark.parametrize("function", [ops.mean, ops.var, ops.squeeze])
def test_an_axis_that_is_not_there_is_refused(function: Any, axis: int) -> None:
    with pytest.raises(IndexError, match=f"{axis}"):
        function(leaves([np.ones((2, 3))])[0], axis)


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
    """The tape sums over broadcast axes, but a gradient smaller than its operand is an error."""
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


# -------------------------------------------------------------------- two spellings of an axis


def with_an_axis() -> dict[str, Any]:
    """Every function and method with an axis argument, found from its signature."""
    found = {}
    for owner in (ops, F, Tensor):
        for name in dir(owner):
            function = getattr(owner, name)
            if inspect.isfunction(function) and not name.startswith("_"):
                parameters = inspect.signature(function).parameters
                if {"axis", "dim", "keepdims", "keepdim"} & set(parameters):
                    found[f"{owner.__name__.split('.')[-1]}.{name}"] = function
    return found


WITH_AN_AXIS = with_an_axis()


def test_the_search_for_axes_finds_them() -> None:
    assert len(WITH_AN_AXIS) > 20
    assert {"ops.sum", "ops.cat", "functional.softmax", "Tensor.unbind"} <= set(WITH_AN_AXIS)


@pytest.mark.parametrize("name", WITH_AN_AXIS)
def test_an_axis_may_be_named_as_numpy_or_as_pytorch_does(name: str) -> None:
    function = WITH_AN_AXIS[name]
    shape = (8, 1) if name.endswith(".squeeze") else (2, 4)
    (x,) = leaves([np.arange(8.0).reshape(shape)])
    args: list[Any] = [[x, x * x] if name in ("ops.stack", "ops.cat", "ops.concatenate") else x]
    args += [2] if "chunk" in name else []

    def results(**how: Any) -> list[Any]:
        outputs = function(*args, **how)
        tensors = [outputs] if isinstance(outputs, Tensor) else outputs
        return [(y.shape, y.data.tolist()) for y in tensors]

    assert results(axis=1) == results(dim=1)
    assert results(axis=1) != results(dim=0)
    with pytest.raises(TypeError, match=r"axis= .*dim=|dim= .*axis="):
        function(*args, axis=1, dim=1)
    if "keepdims" in inspect.signature(function).parameters:
        assert results(dim=1, keepdim=True) == results(axis=1, keepdims=True)
        assert results(dim=1, keepdim=True) != results(dim=1)
        with pytest.raises(TypeError, match=r"keepdims= .*keepdim="):
            function(*args, axis=1, keepdim=True, keepdims=True)


def test_an_axis_by_place_and_by_name_is_one_too_many() -> None:
    (x,) = leaves([np.ones((2, 3))])
    with pytest.raises(TypeError, match="axis"):
        ops.sum(x, 0, dim=0)


# -------------------------------------------------------------------- the same line in PyTorch

# `m` is minigrad or torch, `c` a condition; the values include ties, zeros and bounds.
LINES = {
    "sqrt": lambda m, x, z, c: m.sqrt(x * x + 1) + (z * z).sqrt(),
    "sin": lambda m, x, z, c: m.sin(x) * z.sin(),
    "cos": lambda m, x, z, c: m.cos(x) * z.cos(),
    "abs": lambda m, x, z, c: m.abs(x) * z.abs() + abs(z),
    "where": lambda m, x, z, c: m.where(c, x, z) * x.where(c, z),
    "where number": lambda m, x, z, c: m.where(c, x * z, 1.0) + m.where(x > z, 1.0, 0.0) * x,
    "maximum": lambda m, x, z, c: m.maximum(x, z) * x.maximum(z),
    "minimum": lambda m, x, z, c: m.minimum(x, z) * x.minimum(z),
    "clip": lambda m, x, z, c: m.clip(x, -1, 0.5) * z.clip(max=1) + z.clip(min=0),
    "clamp": lambda m, x, z, c: m.clamp(x, min=-1) * z.clamp(0, 1),
    "sum": lambda m, x, z, c: m.sum(x * z, dim=1, keepdim=True) + z.sum(dim=(0, 1)),
    "mean": lambda m, x, z, c: m.mean(x * z, dim=1) + z.mean(dim=0).sum(),
    "max": lambda m, x, z, c: m.max(x) * z.max(),
    "min": lambda m, x, z, c: m.min(x) * z.min(),
    "var": lambda m, x, z, c: m.var(x) * z.var(dim=1, keepdim=True),
    "var corrected": lambda m, x, z, c: m.var(x, dim=0, correction=0) * z.var(0, correction=2),
    "std": lambda m, x, z, c: m.std(x * z, dim=1) + z.std(),
    "std corrected": lambda m, x, z, c: m.std(x, correction=0) * z.std(1, correction=0),
    "squeeze": lambda m, x, z, c: m.squeeze(x[:1]) * z[:1].squeeze(0) + z[:1].squeeze(1),
    "squeeze several": lambda m, x, z, c: x[:1, :1].squeeze(dim=(0, 1)) * z,
    "unsqueeze": lambda m, x, z, c: m.unsqueeze(x, 1) * z.unsqueeze(-1).unsqueeze(dim=1),
    "repeat": lambda m, x, z, c: x.repeat(2, 3) * z.repeat((5, 2, 3)),
    "cat": lambda m, x, z, c: m.cat([x, x, z], dim=1) * m.concatenate([z, z, x], dim=-1),
    "stack": lambda m, x, z, c: m.stack([x, z], dim=-1),
    "chunk": lambda m, x, z, c: [a * b for a, b in zip(m.chunk(x, 2), z.chunk(2), strict=True)],
    "unbind": lambda m, x, z, c: [a * a for a in (*m.unbind(x, dim=1), *z.unbind(0))],
    "exp": lambda m, x, z, c: m.exp(x) * z.exp(),
    "log": lambda m, x, z, c: m.log(x * x + 1) * (z * z + 1).log(),
    "tanh": lambda m, x, z, c: m.tanh(x) * z.tanh(),
    "sigmoid": lambda m, x, z, c: m.sigmoid(x) * z.sigmoid(),
    "relu": lambda m, x, z, c: m.relu(x) * z.relu(),
    "softmax": lambda m, x, z, c: m.softmax(x, dim=1) * z,
    "log_softmax": lambda m, x, z, c: m.log_softmax(x, dim=0) * z,
    "matmul": lambda m, x, z, c: m.matmul(x, z.transpose(0, 1)),
    "reshape": lambda m, x, z, c: m.reshape(x, (4, 3)) * z.reshape(4, 3),
    "transpose": lambda m, x, z, c: m.transpose(x, 0, 1) * z.transpose(1, 0),
    "permute": lambda m, x, z, c: m.permute(x, (1, 0)) * z.permute(1, 0),
    "boolean index": lambda m, x, z, c: (x * z)[(x > 0) & ~(z == 1) | c],
}


def test_every_function_of_the_package_is_in_the_table() -> None:
    functions = {n for n in mg.__all__ if inspect.isfunction(getattr(ops, n, getattr(F, n, None)))}
    others = {"concatenate", "record", "record_joint", "get_default_dtype"}
    assert functions - others == {line.split()[0] for line in LINES} - {"boolean"}


@pytest.mark.parametrize("line", LINES)
@given(data=st.data())
def test_the_same_line_in_pytorch_gives_the_same(line: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    few = st.integers(-2, 3).map(lambda n: n / 2) if line != "sqrt" else NONZERO
    x, z = (data.draw(arrays((4, 3), few)) for _ in range(2))
    c = data.draw(hnp.arrays(bool, (4, 3)))
    assert_as_torch(
        lambda x, z: LINES[line](mg, x, z, mg.tensor(c)),
        lambda x, z: LINES[line](torch, x, z, torch.tensor(c)),
        [x, z],
    )
