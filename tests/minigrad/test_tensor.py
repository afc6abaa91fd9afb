"""Tensors, and the backward pass through the tape."""

from __future__ import annotations

import gc
import operator
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from helpers import arrays, leaf
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here

import minigrad as mg
from minigrad import Tensor, no_grad, ops
from minigrad import functional as F
from minigrad.backend import current_module
from minigrad.tensor import record_joint

pytestmark = pytest.mark.usefixtures("backend")

# -------------------------------------------------------------------- making one


@pytest.mark.parametrize("x", [1.5, [1.0, 2.0], [[0.5]], [1, 2.5], (1.0,), []])
def test_python_floats_give_single_precision(x: Any) -> None:
    assert mg.tensor(x).dtype == np.float32
    assert mg.tensor(x, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, bool])
def test_arrays_keep_their_dtype(dtype: Any) -> None:
    assert mg.tensor(np.ones((2, 3), dtype)).dtype == dtype
    assert mg.tensor(dtype(1)).dtype == dtype
    assert mg.tensor(mg.tensor(np.ones(2, dtype))).dtype == dtype


def test_integers_stay_integers_and_take_no_gradient() -> None:
    assert mg.tensor(3).dtype.kind == "i"
    assert mg.tensor([1, 2]).dtype.kind == "i"
    for integers in (3, [1, 2], np.ones(2, np.int32), True):
        with pytest.raises(TypeError, match="floating"):
            mg.tensor(integers, requires_grad=True)
    assert mg.tensor([1, 2], requires_grad=True, dtype=np.float32).requires_grad


def test_a_tensor_has_data_of_its_own() -> None:
    source = np.ones(3)
    made = mg.tensor(source)
    source[0] = 9
    assert made.data.tolist() == [1, 1, 1]
    again = mg.tensor(made)
    made.data[0] = 9
    assert again.data.tolist() == [1, 1, 1]


def test_what_can_be_asked_of_a_tensor() -> None:
    x = mg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float32, 2)
    assert x.requires_grad
    assert x.grad is None
    assert x.T.shape == (3, 2)
    assert x[1, 2].item() == 6
    assert type(x[1, 2].item()) is float
    assert type(x.numpy()) is np.ndarray
    assert x.numpy() is x.data or current_module() is not np
    assert "requires_grad" in repr(x)
    assert "requires_grad" not in repr(x.detach())
    with pytest.raises(ValueError, match=r"."):
        x.item()


# -------------------------------------------------------------------- dtypes of results


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x + 1,
        lambda x: 1.5 + x,
        lambda x: x - 1.5,
        lambda x: 2 - x,
        lambda x: x * 2.5,
        lambda x: 2.5 * x,
        lambda x: x / 3,
        lambda x: 1 / x,
        lambda x: x**2,
        lambda x: x**0.5,
        lambda x: 2**x,
        lambda x: 2.5**x,
        lambda x: -x,
        lambda x: x.mean() * 2.0 + 1,
        lambda x: 1 - x.max() / 2.0,
        lambda x: x.sigmoid() + x.tanh() + x.relu() + x.exp() + x.log(),
        lambda x: F.dropout(x, 0.3) * 0.5,
    ],
)
def test_python_numbers_never_change_a_dtype(
    operation: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: Any
) -> None:
    x = leaf(np.full(shape, 0.5), dtype)
    y = operation(x).sum()
    assert y.dtype == dtype
    y.backward()
    assert x.grad.dtype == dtype


def test_tensors_promote_as_numpy_does_and_gradients_do_not() -> None:
    single, double = leaf([1.0, 2.0], np.float32), leaf([3.0, 4.0], np.float64)
    y = (single * double + single / double).sum()
    assert y.dtype == np.float64
    y.backward()
    assert single.grad.dtype == np.float32
    assert double.grad.dtype == np.float64
    assert (leaf([1.0], np.float32) * mg.tensor(np.array([2], np.int8))).dtype == np.float32


# -------------------------------------------------------------------- operators and methods

A, B = np.array([[0.5, 2.0], [1.5, 0.25]]), np.array([[1.0, 3.0], [0.5, 2.0]])

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_take_tensors_and_arrays_on_either_side(name: str) -> None:
    operator, gradients = OPERATORS[name], []
    for left, right in ((leaf(A), leaf(B)), (leaf(A), here(B)), (here(A), leaf(B))):
        y = operator(left, right)
        assert isinstance(y, Tensor)
        assert_allclose(y.data, operator(A, B), rtol=1e-15)
        y.backward(B)
        gradients.append([getattr(x, "grad", None) for x in (left, right)])
    (d_left, d_right), (alone_left, _), (_, alone_right) = gradients
    assert_array_equal(d_left, alone_left)
    assert_array_equal(d_right, alone_right)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "@"])
def test_operators_take_numbers_on_either_side(name: str) -> None:
    operator = OPERATORS[name]
    for number in (3, 0.5):
        for left, right in ((leaf(A), number), (number, leaf(A))):
            y = operator(left, right)
            expected = operator(getattr(left, "data", left), getattr(right, "data", right))
            assert_allclose(y.data, expected, rtol=1e-15)


# -------------------------------------------------------------------- comparisons

COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
C = np.array([[0.5, 3.0], [1.0, 0.25]])  # against A: equal, larger and smaller ones


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_numpys_and_have_no_gradient(name: str) -> None:
    compare = COMPARISONS[name]
    for left, right in ((leaf(A), leaf(C)), (leaf(A), here(C)), (here(A), leaf(C))):
        y = compare(left, right)
        assert isinstance(y, Tensor)
        assert y.dtype == bool
        assert not y.requires_grad
        assert_array_equal(y.data, compare(A, C))
    for number in (1, 0.5, np.float64(0.5)):
        assert_array_equal(compare(leaf(A), number).data, compare(A, number))
        assert_array_equal(compare(number, leaf(A)).data, compare(number, A))


@pytest.mark.parametrize("other", [None, "a", [0.5, 2.0], {}, object(), np.array(["a", "b"])])
def test_what_is_no_number_is_not_equal_and_has_no_order(other: Any) -> None:
    x = leaf(A)
    assert (x == other) is False
    assert (x != other) is True
    assert other not in x
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(TypeError, match="not supported"):
            compare(x, other)


def test_boolean_tensors_combine_and_select() -> None:
    x = leaf(A)
    middle = (x > 0.3) & (x < 1.8)
    assert middle.data.tolist() == [[True, False], [True, False]]
    assert (~middle).data.tolist() == [[False, True], [False, True]]
    assert ((x < 0.3) | here(A > 1.8)).data.tolist() == [[False, True], [False, True]]
    assert (here(A > 1.8) | (x < 0.3)).data.tolist() == [[False, True], [False, True]]
    assert (here(A < 1.8) & (x > 0.3)).data.tolist() == middle.data.tolist()
    y = x[middle]
    assert y.data.tolist() == [0.5, 1.5]
    y.backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [[1, 0], [10, 0]]
    with pytest.raises(TypeError, match="supported"):
        operator.invert(x)


IN_PLACE = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv,
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_leaf_is_changed_in_place_where_nothing_is_recorded(name: str) -> None:
    """As in PyTorch: `with no_grad(): p -= lr * p.grad` is a step."""
    change = IN_PLACE[name]
    w = leaf([1.0, 2.0])
    memory, y = w.data, (w * w).sum()
    with mg.no_grad():
        same = change(w, mg.tensor([4.0, 8.0]))
    assert same is w and w.data is memory and w.requires_grad and w.is_leaf
    expected = change(np.array([1.0, 2.0]), np.array([4.0, 8.0]))
    assert_array_equal(memory, expected)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"`with no_grad\(\):`"):
        change(w, 1.0)
    assert_array_equal(w.data, expected)


@pytest.mark.parametrize("name", IN_PLACE)
def test_of_other_tensors_it_makes_a_new_one(name: str) -> None:
    w, constant = leaf([1.0, 2.0]), mg.tensor([1.0, 2.0], dtype=np.float64)
    for x in (w * 1.0, constant):
        assert IN_PLACE[name](x, w) is not x
    assert_array_equal(constant.data, [1.0, 2.0])


def test_one_element_is_formatted_as_a_number() -> None:
    loss = mg.tensor([[1.234]])
    assert f"{loss:.2f} {loss:6.1f}" == "1.23    1.2"
    assert f"{loss}" == str(loss)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        format(mg.tensor([1.0, 2.0]), ".2f")


def test_a_list_is_an_operand_with_the_default_dtype() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x * [3.0, 4.0] + [1.0, 1.0] - x.maximum([1.5, 1.5])
    assert y.dtype == np.float32
    assert_array_equal(y.data, np.float32([2.5, 7.0]))
    assert_array_equal((x @ [[1.0], [2.0]]).data, np.float32([5.0]))
    with pytest.raises(TypeError, match=r"minigrad\.stack"):
        x * [x.sum(), 1.0]


def test_any_and_all() -> None:
    large = leaf(A) > 1
    assert (bool(large.any()), bool(large.all())) == (True, False)
    assert large.any(dim=1).data.tolist() == [True, True]
    assert large.all(axis=0, keepdims=True).data.tolist() == [[False, False]]


def test_in_asks_for_an_equal_element() -> None:
    x = leaf(A)
    assert 2.0 in x
    assert leaf(2.0) in x
    assert 7 not in x
    assert 2 in mg.tensor([1, 2])


def test_a_tensor_is_hashed_by_identity() -> None:
    x, twin = leaf(A), leaf(A)
    found = {x: "x", twin: "twin"}
    assert (found[x], found[twin]) == ("x", "twin")
    assert hash(x) != hash(twin)
    assert len({x, x, twin}) == 2


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_is_a_number(shape: tuple[int, ...]) -> None:
    x = leaf(np.full(shape, 2.5))
    assert (float(x), int(x), bool(x)) == (2.5, 2, True)
    assert [type(convert(x)) for convert in (float, int, bool)] == [float, int, bool]
    assert not x - 2.5
    assert not leaf(np.zeros(shape))


@pytest.mark.parametrize("convert", [bool, float, int])
@pytest.mark.parametrize("shape", [(2,), (1, 3), (0,)])
def test_several_elements_are_no_number(convert: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{convert.__name__}\(\) takes.*\({shape[0]},"):
        convert(leaf(np.ones(shape)))


def test_numpy_takes_a_tensor_unless_it_is_on_a_gpu() -> None:
    x = leaf(A)
    if current_module() is not np:
        with pytest.raises(TypeError, match=r"\.numpy\(\)"):
            np.asarray(x)
        return
    assert np.asarray(x) is x.data
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    copy = np.array(x)
    copy[0] = 9
    assert x.data.tolist() == A.tolist()
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float32, copy=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_list_of_tensors_makes_a_tensor_of_their_values(dtype: Any) -> None:
    one, other = mg.tensor(np.array([1, 2], dtype)), mg.tensor(np.array([3, 4], dtype))
    made = mg.tensor([one, other])
    assert made.data.tolist() == [[1, 2], [3, 4]]
    assert made.dtype == mg.tensor(((one, one), (other, other))).dtype == dtype
    assert mg.tensor([[one[0], 5], [7, other[1]]]).data.tolist() == [[1, 5], [7, 4]]
    assert mg.tensor([one, other], dtype=np.float16).dtype == np.float16
    one.data[0] = 9
    assert made.data[0, 0] == 1
    assert not mg.tensor([leaf(1.0), leaf(2.0)]).requires_grad


# -------------------------------------------------------------------- methods

METHODS = {
    "sum": lambda x: (x.sum(), ops.sum(x)),
    "sum axis": lambda x: (x.sum(1, True), ops.sum(x, 1, True)),
    "mean": lambda x: (x.mean(axis=0), ops.mean(x, 0)),
    "max": lambda x: (x.max(axis=(0, 1), keepdims=True), ops.max(x, (0, 1), True)),
    "reshape": lambda x: (x.reshape(4, 1), ops.reshape(x, (4, 1))),
    "reshape tuple": lambda x: (x.reshape((1, -1)), ops.reshape(x, (1, 4))),
    "transpose": lambda x: (x.transpose(0, 1), ops.transpose(x, 0, 1)),
    "permute": lambda x: (x.permute(1, 0), ops.permute(x, (1, 0))),
    "permute tuple": lambda x: (x.permute((1, 0)), ops.permute(x, (1, 0))),
    "T": lambda x: (x.T, ops.permute(x)),
    "min": lambda x: (x.min(0), ops.min(x, 0)),
    "var": lambda x: (x.var(1, correction=0), ops.var(x, 1, correction=0)),
    "std": lambda x: (x.std(keepdims=True), ops.std(x, keepdims=True)),
    "squeeze": lambda x: (x[:1].squeeze(0), ops.squeeze(x[:1], 0)),
    "unsqueeze": lambda x: (x.unsqueeze(1), ops.unsqueeze(x, 1)),
    "repeat": lambda x: (x.repeat(2, 1), ops.repeat(x, 2, 1)),
    "chunk": lambda x: (x.chunk(2, 1)[1], ops.chunk(x, 2, 1)[1]),
    "unbind": lambda x: (x.unbind(1)[0], ops.unbind(x, 1)[0]),
    "index": lambda x: (x[0, 1:], ops.getitem(x, (0, slice(1, None)))),
    "tensor as index": lambda x: (x[mg.tensor([1, 1])], ops.getitem(x, np.array([1, 1]))),
    "negative": lambda x: (-x, ops.neg(x)),
    "exp": lambda x: (x.exp(), ops.exp(x)),
    "log": lambda x: (x.log(), ops.log(x)),
    "tanh": lambda x: (x.tanh(), ops.tanh(x)),
    "sigmoid": lambda x: (x.sigmoid(), ops.sigmoid(x)),
    "relu": lambda x: (x.relu(), ops.relu(x)),
    "sqrt": lambda x: (x.sqrt(), ops.sqrt(x)),
    "sin": lambda x: (x.sin(), ops.sin(x)),
    "cos": lambda x: (x.cos(), ops.cos(x)),
    "abs": lambda x: (x.abs(), ops.abs(x)),
    "absolute": lambda x: (abs(-x), ops.abs(x)),
    "where": lambda x: (x.where(A > 1, 5), ops.where(A > 1, x, 5)),
    "maximum": lambda x: (x.maximum(1), ops.maximum(x, 1)),
    "minimum": lambda x: (x.minimum(1), ops.minimum(x, 1)),
    "clip": lambda x: (x.clip(0.6, 1.8), ops.clip(x, 0.6, 1.8)),
    "clamp": lambda x: (x.clamp(max=1), ops.clip(x, None, 1)),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_primitives(name: str) -> None:
    method, primitive = METHODS[name](leaf(A))
    assert_array_equal(method.data, primitive.data)
    assert method.requires_grad


# -------------------------------------------------------------------- backward


def test_backward_needs_a_scalar_or_a_gradient() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"scalar.*\(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(ValueError, match="shape"):
        (x * 2).backward(1.0)  # no broadcasting either
    assert x.grad is None
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2, 20]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_is_a_scalar(shape: tuple[int, ...]) -> None:
    x = leaf(np.full(shape, 3.0))
    (x * x).backward()
    assert x.grad.shape == shape
    assert x.grad.item() == 6


def test_backward_without_anything_to_differentiate_says_so() -> None:
    with pytest.raises(RuntimeError, match="require"):
        mg.tensor([1.0]).sum().backward()


@pytest.mark.parametrize("wrap", [lambda g: g, mg.tensor, np.ndarray.tolist])
@pytest.mark.parametrize("depth", [0, 1])
def test_the_gradient_given_may_be_array_tensor_or_list_of_any_float(wrap: Any, depth: int) -> None:
    x = leaf([1.0, 2.0], np.float32)
    y = x * 2 if depth else x
    y.backward(wrap(np.array([1.0, 10.0])))
    assert x.grad.tolist() == [1 + depth, 10 * (1 + depth)]
    assert x.grad.dtype == np.float32


def test_a_second_walk_through_a_freed_graph_is_an_error() -> None:
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"second time.*retain_graph"):
        loss.backward()
    assert x.grad.tolist() == [2, 4]


def test_so_is_one_through_a_part_that_two_losses_share() -> None:
    x = leaf([1.0, 2.0])
    shared = x.exp()
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        (shared * 2).sum().backward()


def test_a_retained_graph_is_walked_again() -> None:
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    for walk in range(1, 4):
        loss.backward(retain_graph=walk < 3)
        assert x.grad.tolist() == [2 * walk, 4 * walk]
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradients_accumulate_in_leaves_only() -> None:
    x, constant = leaf([1.0, 2.0]), mg.tensor(np.array([3.0, 4.0]))
    middle = x * constant
    middle.sum().backward()
    (x * 10).sum().backward()
    assert x.grad.tolist() == [13, 14]
    assert middle.grad is None
    assert constant.grad is None
    x.zero_grad()
    assert x.grad is None


def test_a_leaf_is_its_own_gradient() -> None:
    x, upstream = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    x.backward(upstream)
    x.grad *= 2
    assert upstream.tolist() == [3, 4]
    x.backward(upstream)
    assert x.grad.tolist() == [9, 12]


def test_gradients_meet_where_paths_do() -> None:
    """20 diamonds in a row: 2^20 paths, but each node is visited once."""
    x = leaf([1.0])
    y = x
    for _ in range(20):
        y = y * 0.5 + y * 0.5 + y
    y.backward()
    assert x.grad.tolist() == [2.0**20]


def test_paths_of_different_length_meet_too() -> None:
    """The short path reaches the shared node first and must wait for the long one."""
    x = leaf([2.0])
    shared = x * 3
    y = shared.exp().log().exp().log() + shared
    (y + x).backward()
    assert x.grad.item() == pytest.approx(7)


@given(a=arrays(3), b=arrays(3))
def test_one_tensor_as_both_operands(a: np.ndarray, b: np.ndarray) -> None:
    x = leaf(a)
    (x + x).backward(b)
    assert_array_equal(x.grad, 2 * b)
    x = leaf(a)
    (x - x).backward(b)
    assert_array_equal(x.grad, 0 * b)
    x = leaf(a)
    (x * x).backward(b)
    assert_allclose(x.grad, 2 * a * b, atol=1e-15)


def test_outputs_that_the_loss_does_not_use_send_back_zeros() -> None:
    x = leaf([1.0, 2.0, 3.0, 4.0])
    parts = ops.chunk(x, 4)
    (parts[1] * parts[3]).sum().backward()
    assert x.grad.tolist() == [0, 4, 0, 2]


def test_an_operation_may_send_nothing_back() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    (z,) = record_joint([x.data + y.data], [x, y], lambda dz: [dz, None])
    z.backward()
    assert x.grad.tolist() == [1]
    assert y.grad is None


# -------------------------------------------------------------------- nobody else's gradient


def test_changing_a_gradient_changes_no_other() -> None:
    """Even if operations pass the gradient on unchanged, each leaf gets its own array."""
    x, y, z = leaf([[1.0, 2.0]]), leaf([[3.0, 4.0]]), leaf([[5.0], [6.0]])
    upstream = np.array([[1.0, 2.0]])
    out = (x + y).reshape(2, 1) + z
    out = out.T + ops.concatenate([x.T, y.T])[:2].T
    out.backward(upstream)
    expected = {id(t): t.grad.copy() for t in (x, y, z)}
    for changed in (x, y, z):
        changed.grad *= 100
        for other in (x, y, z):
            if other is not changed:
                assert_array_equal(other.grad, expected[id(other)])
        changed.grad /= 100
    assert upstream.tolist() == [[1, 2]]


def test_a_gradient_held_is_not_changed_by_the_next() -> None:
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    held = x.grad
    (x * 3).sum().backward()
    assert held.tolist() == [3, 3]
    assert x.grad.tolist() == [6, 6]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_have_gradients_that_are_arrays(dtype: Any) -> None:
    """NumPy returns scalars for 0-d results; `grad *= 2` would not change them in place."""
    x = leaf(3.0, dtype)
    (x * x + ops.sum(x) + x[()] / 2).backward()
    (x * x).backward()
    assert isinstance(x.grad, current_module().ndarray)
    assert (x.grad.shape, x.grad.dtype) == ((), dtype)
    held = x.grad
    held *= 2
    assert x.grad == 27


@pytest.mark.parametrize("mode", [no_grad, nullcontext])
def test_data_is_always_an_array(mode: Any) -> None:
    x, target = leaf([[1.0, 2.0]]), np.array([1])
    with mode():
        results = [x.sum(), x.max(), x.mean(), x[0, 0], x.sum() * 2, *ops.unbind(x[0])]
        results += [F.cross_entropy(x, target), F.linear_cross_entropy(x, x[[0, 0]], None, target)]
    for y in results:
        assert y.shape == ()
        assert isinstance(y.data, current_module().ndarray)
        assert isinstance(y.numpy(), np.ndarray)


# -------------------------------------------------------------------- no_grad and detach


def test_no_grad_records_nothing() -> None:
    x = leaf([1.0, 2.0])
    with no_grad():
        y = F.softmax(x * 2)
        parts = ops.chunk(x, 2)
        assert mg.tensor([1.0], requires_grad=True).requires_grad  # a leaf still may
    assert not y.requires_grad
    assert not any(part.requires_grad for part in parts)
    assert (x * 2).requires_grad


def test_no_grad_nests_and_ends_with_an_exception() -> None:
    x = leaf([1.0])
    with no_grad():
        with no_grad():
            pass
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * 2).requires_grad


def test_no_grad_decorates() -> None:
    @no_grad()
    def double(x: Tensor, *, fail: bool = False) -> Tensor:
        """Twice x."""
        if fail:
            raise ZeroDivisionError
        return x * 2 if x.size < 3 else double(x[:2])

    x = leaf([1.0, 2.0, 3.0])
    assert double(x).data.tolist() == [2, 4]
    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError):
        double(x, fail=True)
    assert (x * 2).requires_grad
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")


def test_no_grad_refuses_a_generator() -> None:
    with pytest.raises(TypeError, match=r"generator numbers; write `with no_grad\(\):` inside"):

        @mg.no_grad()
        def numbers() -> Iterator[int]:
            yield 1


def test_no_grad_holds_in_its_own_thread() -> None:
    x, inside, outside = leaf([1.0]), threading.Event(), threading.Event()
    recorded = []

    def record_meanwhile() -> None:
        inside.wait(10)
        recorded.append((x * 2).requires_grad)
        outside.set()

    thread = threading.Thread(target=record_meanwhile)
    thread.start()
    with no_grad():
        inside.set()
        assert outside.wait(10)
        assert not (x * 2).requires_grad
    thread.join()
    assert recorded == [True]


def test_backward_works_inside_no_grad() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    with no_grad():
        y.backward()
    assert x.grad.tolist() == [2, 4]


def test_detach_shares_the_data_and_drops_the_history() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    cut = y.detach()
    assert cut.data is y.data
    assert not cut.requires_grad
    (cut * x).sum().backward()
    assert x.grad.tolist() == [3, 6]


def test_only_what_requires_a_gradient_is_recorded() -> None:
    x = mg.tensor([1.0, 2.0])
    assert not (x * 2).requires_grad
    assert not ops.concatenate([x, x]).requires_grad
    row = x.reshape(1, 2)
    assert not F.linear_cross_entropy(row, row, None, np.array([0])).requires_grad


# -------------------------------------------------------------------- long graphs and memory

LENGTH = 100_000


def chain(x: Tensor, length: int = LENGTH) -> Tensor:
    for _ in range(length):
        x = x + 1.0
    return x


def test_a_long_chain_is_walked() -> None:
    x = leaf([1.0])
    chain(x).backward()
    assert x.grad.tolist() == [1]


def test_a_long_chain_is_dropped_without_a_walk() -> None:
    """Nodes are freed one by one; this must not overflow the stack."""
    x = leaf([1.0, 2.0])
    end = chain(x)
    del end
    parts = x
    for _ in range(LENGTH // 5):
        parts = ops.concatenate(ops.chunk(parts, 2))
    del parts
    assert x.grad is None


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


GRAPHS = {
    "element by element": lambda x: (x * 2 + 1).tanh(),
    "reductions": lambda x: x - x.mean(axis=0) / x.max(),
    "views": lambda x: x.T.reshape(2, 3)[1:, [0, 0]],
    "products": lambda x: x @ x.T,
    "several outputs": lambda x: ops.stack([part.exp() for part in ops.unbind(x)]),
    "softmax": lambda x: F.log_softmax(F.softmax(x)),
    "losses": lambda x: (
        F.cross_entropy(x, np.array([0, 1, 1])) + F.linear_cross_entropy(x, x, None, np.arange(3))
    ),
    "layers": lambda x: F.dropout(F.linear(F.embedding(np.array([0, 0]), x), x)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_dropped_graph_is_freed_by_reference_counting(
    name: str, no_garbage_collector: None
) -> None:
    x = leaf(np.arange(6.0).reshape(3, 2))
    inner = x * 1.0
    seen = weakref.ref(inner)
    y = GRAPHS[name](inner)
    del inner
    assert seen() is not None
    del y
    assert seen() is None


@pytest.mark.parametrize("name", GRAPHS)
def test_backward_frees_the_graph_as_it_goes(name: str, no_garbage_collector: None) -> None:
    x = leaf(np.arange(6.0).reshape(3, 2))
    inner = x * 1.0
    seen = weakref.ref(inner)
    loss = GRAPHS[name](inner).sum()
    del inner
    loss.backward()
    assert seen() is None, "held although only the loss is left"
    assert x.grad is not None


@given(data=st.data())
def test_the_same_sum_whatever_the_order_of_the_terms(data: st.DataObject) -> None:
    """A random graph of sums and products, compared with forward-mode derivatives."""
    x = leaf([0.7])
    values, slopes = [x], [1.0]
    for _ in range(data.draw(st.integers(1, 8))):
        i, j = (data.draw(st.integers(0, len(values) - 1)) for _ in range(2))
        a, b, da, db = values[i], values[j], slopes[i], slopes[j]
        if data.draw(st.booleans()):
            values.append(a + b)
            slopes.append(da + db)
        else:
            slopes.append((da * b.data + a.data * db).item())
            values.append((a * b).tanh())
            slopes[-1] *= 1 - values[-1].item() ** 2
    values[-1].backward()
    assert x.grad.item() == pytest.approx(slopes[-1], rel=1e-10)
