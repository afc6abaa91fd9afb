"""gradcheck: which gradients it accepts and, more important, which it rejects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import leaf

import minigrad as mg
from minigrad import GradcheckError, Tensor, gradcheck, ops
from minigrad.tensor import record, record_joint

X = np.array([[0.3, -0.7, 1.1], [0.9, 0.2, -0.4], [-1.3, 0.5, 0.8]])


def wrong(value: Callable[[Any], Any], derivative: Callable[..., Any]) -> Callable[..., Tensor]:
    """An operation with one input and the given derivative, a function of x, y and dy."""

    def operation(x: Tensor) -> Tensor:
        y = value(x.data)
        return record(y, (x, lambda dy: derivative(x.data, y, dy)))

    return operation


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


WRONG = {
    "zero": wrong(np.tanh, lambda x, y, dy: 0 * dy),
    "zero, which is right for ones": wrong(softmax, lambda x, y, dy: 0 * dy),
    "right only for ones": wrong(np.exp, lambda x, y, dy: y),
    "of the wrong sign": wrong(np.sin, lambda x, y, dy: -np.cos(x) * dy),
    "twice what it is": wrong(np.sin, lambda x, y, dy: 2 * np.cos(x) * dy),
    "transposed": wrong(lambda x: x @ X, lambda x, y, dy: (dy @ X.T).T),
    "of another place": wrong(np.sin, lambda x, y, dy: np.cos(y) * dy),
    "tiny, and of the wrong sign": wrong(lambda x: 1e-8 * np.tanh(x), lambda x, y, dy: -dy * 1e-8),
    "wrong by 0.05 %": wrong(np.sin, lambda x, y, dy: 1.0005 * np.cos(x) * dy),
    "wrong by 0.05 % in one element": wrong(
        np.sin, lambda x, y, dy: np.cos(x) * dy * np.where(x == 0.2, 1.0005, 1)
    ),
    "tiny, and zero": wrong(lambda x: 1e-8 * x, lambda x, y, dy: 0 * dy),
    "not a number": wrong(np.sin, lambda x, y, dy: np.nan * dy),
    "infinite": wrong(np.sin, lambda x, y, dy: np.inf * dy),
    "wrong in one element": wrong(np.sin, lambda x, y, dy: np.cos(x) * dy * (x != 0.2)),
    "missing": lambda x: Tensor(np.sin(x.data)),
}


@pytest.mark.filterwarnings("ignore:invalid value")  # of the infinite one
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_rejected(name: str) -> None:
    with pytest.raises(GradcheckError):
        gradcheck(WRONG[name], [leaf(X)])


RIGHT = {
    "tanh": ops.tanh,
    "tiny": lambda x: ops.tanh(x) * 1e-8,
    "huge": lambda x: ops.tanh(x) * 1e8,
    "zero": lambda x: x * 0.0,
    "scalar": lambda x: x.sum(),
    "nested outputs": lambda x: (x * 2, [x.sum(), (ops.exp(x),)]),
    "an output without gradient": lambda x: (x * 2, mg.tensor(np.ones(2))),
    "the input itself": lambda x: x,
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_passes(name: str) -> None:
    assert gradcheck(RIGHT[name], [leaf(X)]) is True


@pytest.mark.parametrize("value", [0.0, 1e-20])
def test_a_point_at_or_next_to_zero_passes(value: float) -> None:
    """There, x² is dominated by the step: rounding must not count as an error."""
    assert gradcheck(lambda x: x * x, [leaf([value])])


def test_a_gradient_of_a_shape_that_cannot_be_is_an_error_of_the_tape() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        gradcheck(wrong(np.sum, lambda x, y, dy: dy), [leaf(X)])


def test_every_output_is_checked() -> None:
    """Right for the first output, but the gradient of the second one is missing."""

    def two(x: Tensor) -> tuple[Tensor, ...]:
        return record_joint([x.data * 2, x.data * 3], [x], lambda d2, d3: [2 * d2])

    with pytest.raises(GradcheckError):
        gradcheck(two, [leaf(X)])


def test_the_error_names_input_index_and_both_values() -> None:
    """d(Σ v·a·b)/db should be v·a = v·4 but is v·5 at one index."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        slope = np.where(np.arange(6).reshape(2, 3) == 5, 5, a.data)
        return record(a.data * b.data, (a, lambda dy: dy * b.data), (b, lambda dy: dy * slope))

    with pytest.raises(GradcheckError) as caught:
        gradcheck(product, [leaf(np.full((2, 3), 4.0)), leaf(np.ones((2, 3)))])
    message = str(caught.value)
    assert "input 1" in message
    assert "(1, 2)" in message
    analytic, numeric = (
        float(re.search(rf"{word} (-?[\d.e-]+)", message).group(1))
        for word in ("analytic", "numeric")
    )
    assert analytic / numeric == pytest.approx(5 / 4)


def test_the_error_is_an_assertion() -> None:
    assert issubclass(GradcheckError, AssertionError)


def test_single_precision_is_refused() -> None:
    with pytest.raises(TypeError, match=r"input 1 is float32.*float64"):
        gradcheck(ops.add, [leaf(X), leaf(X, np.float32)])


def test_something_has_to_require_a_gradient() -> None:
    with pytest.raises(ValueError, match="requires a gradient"):
        gradcheck(ops.tanh, [mg.tensor(X)])


def test_inputs_without_gradient_are_handed_on() -> None:
    index = np.array([0, 2, 2])
    assert gradcheck(lambda x, i, scale: x[i] * scale, [leaf(X), index, mg.tensor(X)])


def test_one_tensor_needs_no_list() -> None:
    assert gradcheck(ops.tanh, leaf(X))


def test_inputs_are_left_as_they_were() -> None:
    x, y = leaf(X), leaf(X)
    x.grad = np.full((3, 3), 7.0)
    before = x.grad
    gradcheck(lambda x, y: ops.tanh(x * y), [x, y])
    assert x.data.tobytes() == y.data.tobytes() == X.tobytes()
    assert x.grad is before
    assert (x.grad == 7).all()
    assert y.grad is None


def test_the_step_and_the_tolerances_are_those_asked_for() -> None:
    """max(x, 0) at 0.5 passes with a small step, and fails with a step across the kink."""
    x = leaf([0.5])
    assert gradcheck(ops.relu, [x], eps=0.1)
    with pytest.raises(GradcheckError):
        gradcheck(ops.relu, [x], eps=1.0)  # 1 against (1.5 - 0) / 2
    assert gradcheck(ops.relu, [x], eps=1.0, rtol=0.5)
    assert gradcheck(ops.relu, [x], eps=1.0, atol=0.5)


def test_inputs_need_not_lie_in_order_in_memory() -> None:
    x = Tensor(X.copy().T[::2], requires_grad=True)
    assert gradcheck(lambda x: ops.tanh(x) @ mg.tensor(X), [x])


def test_a_missing_broadcast_sum_is_rejected() -> None:
    """The gradient is that of one row, instead of the sum over all."""

    def add_row(x: Tensor, row: Tensor) -> Tensor:
        return record(x.data + row.data, (x, lambda dy: dy), (row, lambda dy: dy[0]))

    with pytest.raises(GradcheckError, match="input 1"):
        gradcheck(add_row, [leaf(X), leaf(X[0])])


# -------------------------------------------------------------------- kinks


@pytest.mark.parametrize(
    ("fn", "point"),
    [
        (ops.relu, [0.7, 0.0]),
        (lambda x: 1e-6 * ops.relu(x), [0.7, 0.0]),
        (lambda x: x.max(), [2.0, 2.0, 2.0]),
        (lambda x: ops.relu(x - 3) * ops.exp(x), [3.0]),
    ],
)
def test_at_a_kink_the_error_says_so(fn: Callable[..., Tensor], point: list[float]) -> None:
    with pytest.raises(GradcheckError, match=r"kink.*to the left.*to the right.*move the input"):
        gradcheck(lambda x: fn(x) * 1.0, [leaf(point)])


def test_beside_a_kink_all_is_well() -> None:
    assert gradcheck(ops.relu, [leaf([1e-4, -1e-4])])
    assert gradcheck(lambda x: x.max(), [leaf([2.0, 2.0001])])


@pytest.mark.parametrize("name", ["of the wrong sign", "wrong by 0.05 %", "zero", "transposed"])
def test_a_wrong_derivative_of_a_smooth_function_is_no_kink(name: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(WRONG[name], [leaf(X)])
    assert "kink" not in str(caught.value)


# -------------------------------------------------------------------- the fast mode


@pytest.mark.parametrize("name", RIGHT)
def test_the_fast_mode_passes_what_is_right(name: str) -> None:
    assert gradcheck(RIGHT[name], [leaf(X)], fast_mode=True)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", WRONG)
def test_the_fast_mode_rejects_what_is_wrong(name: str) -> None:
    """An error of 0.05 % in one of nine elements is too small to be seen along a direction."""
    if name == "wrong by 0.05 % in one element":
        return
    with pytest.raises(GradcheckError, match="along random direction"):
        gradcheck(WRONG[name], [leaf(X)], fast_mode=True)


def test_the_fast_mode_takes_the_same_time_for_a_large_input() -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return ops.tanh(x)

    assert gradcheck(counted, [leaf(np.linspace(-1, 1, 100_000))], fast_mode=True)
    assert calls <= 12
