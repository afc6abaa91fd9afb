"""Cross-entropy, alone and fused with the decoder."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import arrays, leaf, seeds
from hypothesis import example, given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.backend import current_backend

pytestmark = pytest.mark.usefixtures("backend")


def losses(logits: np.ndarray, target: np.ndarray, dtype: Any = np.float64) -> list[Any]:
    """Both losses of the same logits, each with the leaf that gets the logits' gradient."""
    z, x = leaf(logits, dtype), leaf(logits, dtype)
    identity = mg.tensor(np.eye(logits.shape[1], dtype=dtype))
    return [
        (F.cross_entropy(z, target), z),
        (F.linear_cross_entropy(x, identity, None, target), x),
    ]


@given(logits=arrays((4, 3)), target=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_the_loss_is_minus_log_p(logits: np.ndarray, target: list[int]) -> None:
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for loss, z in losses(logits, np.array(target)):
        assert loss.shape == ()
        assert loss.item() == pytest.approx(-np.log(p[range(4), target]).mean(), abs=1e-12)
        loss.backward()
        assert_allclose(z.grad, (p - np.eye(3)[target]) / 4, rtol=0, atol=1e-12)


@given(logits=arrays((4, 3)), shift=st.integers(-100, 100))
def test_the_loss_does_not_see_a_shift(logits: np.ndarray, shift: int) -> None:
    target = np.array([0, 1, 2, 2])
    shifted = losses(logits + shift, target)
    for (loss, z), (other, other_z) in zip(losses(logits, target), shifted, strict=True):
        assert other.item() == pytest.approx(loss.item(), abs=1e-12)
        loss.backward()
        other.backward()
        assert_allclose(other_z.grad, z.grad, rtol=0, atol=1e-12)
        assert_allclose(z.grad.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loss_does_not_overflow(dtype: Any) -> None:
    logits = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [-1e4, -1e4, -1e4]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for loss, z in losses(logits, np.array([0, 1, 2]), dtype):
            loss.backward()
            assert loss.dtype == z.grad.dtype == dtype
            assert loss.item() == pytest.approx((0 + 2e4 + np.log(3)) / 3)
            expected = np.array([[0, 0, 0], [1, -1, 0], [1 / 3, 1 / 3, -2 / 3]]) / 3
            assert_allclose(z.grad, expected, atol=1e-6)


def test_a_class_of_probability_zero_counts_for_nothing() -> None:
    z = leaf([[0.0, -np.inf, 0.0]])
    loss = F.cross_entropy(z, np.array([2]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2))
    assert z.grad.tolist() == [[0.5, 0.0, -0.5]]


def test_one_class_has_nothing_to_lose() -> None:
    for loss, z in losses(np.ones((3, 1)), np.zeros(3, int)):
        loss.backward()
        assert loss.item() == 0
        assert_allclose(z.grad, 0, atol=1e-15)


def test_the_gradient_scales_with_what_the_loss_counts() -> None:
    target = np.array([1, 0])
    for (loss, z), (thrice, other) in zip(
        losses(np.eye(2), target), losses(np.eye(2), target), strict=True
    ):
        loss.backward()
        (thrice * 3).backward()
        assert_allclose(other.grad, 3 * z.grad, rtol=1e-15)


# -------------------------------------------------------------------- decoder and loss in one


def decoder(rng: Any, N: int, H: int, V: int, bias: bool, dtype: Any = np.float64) -> list[Any]:
    """Input, weight and bias (or None) as leaves."""
    b = leaf(rng.standard_normal(V), dtype) if bias else None
    return [leaf(rng.standard_normal((N, H)), dtype), leaf(rng.standard_normal((V, H)), dtype), b]


def gradients(*inputs: Tensor | None) -> list[np.ndarray | None]:
    return [None if x is None else x.grad for x in inputs]


@given(
    seed=seeds,
    N=st.integers(1, 80),
    H=st.integers(1, 5),
    V=st.integers(1, 60),
    bias=st.booleans(),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
@example(0, 701, 3, 5, True, 1.0)  # more rows than one block has
@example(0, 5, 3, 1200, True, 1.0)
def test_in_one_or_in_two(seed: int, N: int, H: int, V: int, bias: bool, scale: float) -> None:
    """The fused loss has the same value and gradients, also for repeated and unused targets."""
    rng = np.random.default_rng(seed)
    one = decoder(rng, N, H, V, bias)
    one[1].data *= scale
    two = [None if x is None else leaf(x.data) for x in one]
    target = rng.integers(0, V, N)
    loss = F.linear_cross_entropy(*one, target)
    expected = F.cross_entropy(F.linear(*two), target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    loss.backward()
    expected.backward()
    for mine, other in zip(gradients(*one), gradients(*two), strict=True):
        if other is not None:
            assert_allclose(mine, other, rtol=0, atol=1e-12 * scale)


def test_single_precision_is_kept_and_is_close() -> None:
    rng = np.random.default_rng(0)
    double = decoder(rng, 60, 8, 300, True)
    single = [leaf(x.data, np.float32) for x in double]
    target = rng.integers(0, 300, 60)
    for inputs in (double, single):
        F.linear_cross_entropy(*inputs, target).backward()
    for mine, exact in zip(gradients(*single), gradients(*double), strict=True):
        assert mine.dtype == np.float32
        assert_allclose(mine, exact, atol=1e-6)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_requires_no_gradient_gets_none(frozen: int) -> None:
    rng, target = np.random.default_rng(0), np.array([1, 3, 0])
    inputs = decoder(rng, 3, 2, 4, True)
    F.linear_cross_entropy(*inputs, target).backward()
    others = [mg.tensor(x.data, requires_grad=i != frozen) for i, x in enumerate(inputs)]
    F.linear_cross_entropy(*others, target).backward()
    for i, (x, other) in enumerate(zip(inputs, others, strict=True)):
        if i == frozen:
            assert other.grad is None
        else:
            assert_array_equal(x.grad, other.grad)


def test_losses_that_live_at_once_do_not_disturb_each_other() -> None:
    """Two forward passes, then two backward passes in either order; gradients stay valid."""
    rng, target = np.random.default_rng(0), np.arange(30) % 7
    batches = [decoder(rng, 30, 4, 7, True) for _ in range(3)]
    expected = []
    for inputs in batches:
        F.linear_cross_entropy(*inputs, target).backward()
        expected.append([g.copy() for g in gradients(*inputs)])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        for inputs in batches:
            for x in inputs:
                x.zero_grad()
        living = [F.linear_cross_entropy(*inputs, target) for inputs in batches]
        for i in order:
            living[i].backward()
        for inputs, wanted in zip(batches, expected, strict=True):
            for mine, gradient in zip(gradients(*inputs), wanted, strict=True):
                assert_array_equal(mine, gradient)


def test_losses_in_two_threads_do_not_disturb_each_other() -> None:
    name = current_backend()  # the backend is per thread

    def train(seed: int) -> list[np.ndarray | None]:
        mg.use(name)
        rng = np.random.default_rng(seed)
        inputs = decoder(rng, 120, 16, 200, True)
        for _ in range(20):
            F.linear_cross_entropy(*inputs, np.arange(120)).backward()
        return gradients(*inputs)

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, range(4)))
    for one, other in zip(alone, together, strict=True):
        for mine, gradient in zip(one, other, strict=True):
            assert_array_equal(mine, gradient)


def test_dtypes_that_differ_are_refused() -> None:
    x, weight, bias = decoder(np.random.default_rng(0), 2, 3, 4, True)
    with pytest.raises(TypeError, match=r"float32.*float64"):
        F.linear_cross_entropy(leaf(x.data, np.float32), weight, bias, np.array([0, 1]))
    with pytest.raises(TypeError, match=r"float64.*float32"):
        F.linear_cross_entropy(x, weight, leaf(bias.data, np.float32), np.array([0, 1]))


# -------------------------------------------------------------------- targets


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
def test_targets_are_any_integers_as_array_tensor_or_list(dtype: Any) -> None:
    target = np.array([2, 0], dtype)
    for wrapped in (target, mg.tensor(target), [2, 0], (2, 0)):
        for loss, _ in losses(np.eye(2, 3), wrapped):
            assert loss.item() == pytest.approx(np.log(np.e + 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_small_integers_name_large_classes(dtype: Any) -> None:
    """Row · classes + target would overflow in the targets' own dtype."""
    N, V = 40, 250
    logits = np.random.default_rng(0).standard_normal((N, V))
    target = np.arange(N)[::-1] + 210
    for (loss, z), (expected, other) in zip(
        losses(logits, target.astype(dtype)), losses(logits, target), strict=True
    ):
        loss.backward()
        expected.backward()
        assert loss.item() == expected.item()
        assert_array_equal(z.grad, other.grad)


@pytest.mark.parametrize("target", [np.array([0.0, 1.0]), [0.0, 1.0], np.array([True, False])])
def test_targets_that_are_no_integers_are_refused(target: Any) -> None:
    for function in range(2):
        with pytest.raises(TypeError, match=r"must be integers, not (float64|bool)"):
            losses_of(function, np.eye(2, 3), target)


@pytest.mark.parametrize("shape", [(2, 3, 4), (4,), ()])
def test_logits_that_are_no_matrix_are_refused_with_what_to_do(shape: tuple[int, ...]) -> None:
    target, x = np.zeros(shape[:-1], int), mg.tensor(np.ones(shape))
    given = re.escape(str(shape))
    with pytest.raises(ValueError, match=rf"^cross_entropy.*\(N, V\).*{given}.*reshape"):
        F.cross_entropy(x, target)
    with pytest.raises(ValueError, match=rf"^linear_cross_entropy.*\(N, H\).*{given}.*reshape"):
        F.linear_cross_entropy(x, mg.tensor(np.ones((5, 4))), None, target)


@pytest.mark.parametrize("target", [[0, 3], [-1, 0]])
def test_a_target_that_is_no_class_is_refused(target: list[int]) -> None:
    wrong = next(str(t) for t in target if not 0 <= t < 3)
    for function in range(2):
        with pytest.raises(IndexError, match=rf"{wrong}\b.*3 classes"):
            losses_of(function, np.eye(2, 3), np.array(target))


def test_a_target_to_ignore_is_no_class_of_the_others() -> None:
    with pytest.raises(IndexError, match=r"-1 to 2.*3 classes"):
        F.cross_entropy(leaf(np.eye(3)), [-100, -1, 2])
    with pytest.raises(IndexError, match=r"-100 to 2"):
        F.cross_entropy(leaf(np.eye(2, 3)), [-100, 2], ignore_index=0)
    with pytest.raises(IndexError, match=r"-100 to 2"):  # this one ignores nothing
        losses_of(1, np.eye(2, 3), np.array([-100, 2]))


def test_the_rows_that_are_ignored_might_as_well_not_be_there() -> None:
    """Even if their loss, or the loss of class 0 that replaces it, is infinite."""
    rows = np.array([[0.0, 1.0, 2.0], [-np.inf, 0.0, 0.0], [3.0, 0.0, 0.0]])
    z, alone = leaf(rows), leaf(rows[::2])
    loss = F.cross_entropy(z, np.array([2, 7, 1], np.uint8), ignore_index=7)
    expected = F.cross_entropy(alone, [2, 1])
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-15)
    assert_allclose(z.grad[::2], alone.grad, rtol=1e-15)
    assert not z.grad[1].any()


@pytest.mark.parametrize("rows", [0, 2])
def test_the_mean_of_no_rows_is_nan_and_their_sum_zero(rows: int) -> None:
    target = np.full(rows, -100)
    with np.errstate(all="raise"):
        z = leaf(np.ones((rows, 3)))
        loss = F.cross_entropy(z, target)
        loss.backward()
        assert math.isnan(loss.item())
        assert z.grad.tolist() == [[0.0] * 3] * rows
        assert F.cross_entropy(z, target, reduction="sum").item() == 0


def test_what_pytorch_puts_elsewhere_goes_by_name() -> None:
    z, target = leaf(np.eye(2)), np.array([0, 1])
    with pytest.raises(TypeError, match="positional"):
        F.cross_entropy(z, target, "sum")
    with pytest.raises(TypeError, match="positional"):
        F.mse_loss(z, np.eye(2), "sum")


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (), (4,)])
def test_the_squared_error_does_not_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(3,\)"):
        F.mse_loss(leaf(np.ones(3)), np.ones(shape))


def test_the_squared_error_takes_lists_and_unknown_reductions_not() -> None:
    x = leaf([1.0, 2.0, 4.0], np.float32)
    assert F.mse_loss(x, [1, 0, 1]).item() == pytest.approx(13 / 3)
    assert F.mse_loss(x, [1, 0, 1], reduction="sum").item() == 13
    with pytest.raises(ValueError, match="'none'"):
        F.mse_loss(x, [1, 0, 1], reduction="none")
    assert math.isnan(F.mse_loss(leaf([]), []).item())


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()])
def test_targets_must_be_one_a_row(shape: tuple[int, ...]) -> None:
    for function in range(2):
        with pytest.raises(ValueError, match="2 rows"):
            losses_of(function, np.eye(2, 3), np.zeros(shape, int))


def losses_of(function: int, logits: np.ndarray, target: np.ndarray) -> Tensor:
    """One of the two losses, so that each must raise the error itself."""
    if function == 0:
        return F.cross_entropy(mg.tensor(logits), target)
    identity = mg.tensor(np.eye(logits.shape[1]))
    return F.linear_cross_entropy(mg.tensor(logits), identity, None, target)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="'none'"):
        F.cross_entropy(leaf(np.eye(2)), np.array([0, 1]), reduction="none")


def test_the_sum_is_as_many_means_as_there_are_rows() -> None:
    logits, targets = leaf(np.eye(3, 4)), np.array([0, 3, 1])
    mean = F.cross_entropy(logits, targets).item()
    assert F.cross_entropy(logits, targets, reduction="sum").item() == pytest.approx(3 * mean)
