"""Batch normalisation has the properties that its theory predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import leaf
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here

import minigrad as mg
from minigrad import functional as F
from minigrad import nn

pytestmark = pytest.mark.usefixtures("backend")

SEEDS = st.integers(0, 2**32 - 1).map(np.random.default_rng)
SHAPES = st.sampled_from([(8, 3), (4, 3, 5), (3, 2, 4, 5)])


def normalised(x: Any, eps: float = 0.0) -> mg.Tensor:
    return F.batch_norm(x, None, None, training=True, eps=eps)


def axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


@given(rng=SEEDS, shape=SHAPES)
def test_mean_zero_and_variance_one_before_gamma_and_beta(rng: Any, shape: Any) -> None:
    """For maps, the statistics are per channel over N, H and W."""
    x = leaf(5 + 3 * rng.standard_normal(shape))
    y = normalised(x).data
    assert_allclose(y.mean(axis=axes(y)), 0, atol=1e-12)
    assert_allclose(y.var(axis=axes(y)), 1, rtol=1e-12)


@given(rng=SEEDS, a=st.sampled_from([0.01, 0.5, 3.0, 1000.0]))
def test_the_scale_of_the_weights_before_it_does_not_matter(rng: Any, a: float) -> None:
    """Ioffe & Szegedy 2015, section 3.3: BN((aW)u) = BN(Wu). The gradient with respect to u does
    not depend on a; the gradient with respect to aW is 1/a times the one with respect to W."""
    W, u = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    upstream = rng.standard_normal((6, 4))
    results = []
    for scale in (1.0, a):
        weight, inputs = leaf(scale * W), leaf(u)
        y = normalised(F.linear(inputs, weight))
        y.backward(upstream)
        results.append((y.data, inputs.grad, weight.grad))
    (y, du, dW), (y_a, du_a, dW_a) = results
    assert_allclose(y_a, y, atol=1e-9)
    assert_allclose(du_a, du, rtol=1e-6, atol=1e-9)
    assert_allclose(dW_a, dW / a, rtol=1e-6, atol=1e-9 / a)


@given(rng=SEEDS, shape=SHAPES)
def test_no_gradient_along_a_shift_or_a_scaling(rng: Any, shape: Any) -> None:
    """Neither changes the output, so the gradient is orthogonal to 1 and to x."""
    x = leaf(rng.standard_normal(shape))
    normalised(x).backward(rng.standard_normal(shape))
    assert_allclose(x.grad.sum(axis=axes(x.grad)), 0, atol=1e-9)
    assert_allclose((x.grad * x.data).sum(axis=axes(x.grad)), 0, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.25, 1.0])
def test_momentum_is_the_share_of_the_past(momentum: float) -> None:
    """With 0 the running estimates are the last batch's; with 1 they never change."""
    mg.set_default_dtype(np.float64)
    layer = nn.BatchNorm1d(2, momentum=momentum)
    rng = np.random.default_rng(0)
    mean, var = np.zeros(2), np.ones(2)
    for step in range(1, 4):
        x = rng.normal(3, 2, (10, 2))
        layer(mg.tensor(x))
        mean = momentum * mean + (1 - momentum) * x.mean(axis=0)
        var = momentum * var + (1 - momentum) * x.var(axis=0, ddof=1)
        assert_allclose(layer.running_mean.data, mean)
        assert_allclose(layer.running_var.data, var)
        assert layer.num_batches_tracked.item() == step


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (20, 3)), (nn.BatchNorm2d, (20, 3, 4, 4))]
)
def test_running_estimates_converge_to_the_datas_mean_and_variance(kind: Any, shape: Any) -> None:
    layer = kind(3)
    rng, spread = np.random.default_rng(0), np.array([0.5, 1.0, 2.0])
    wide = [slice(None), *[None] * (len(shape) - 2)]
    mean, std = np.array([-1.0, 0.0, 5.0])[tuple(wide)], spread[tuple(wide)]
    for _ in range(300):
        layer(mg.tensor((mean + std * rng.standard_normal(shape)).astype(np.float32)))
    assert_allclose(layer.running_mean.data, mean.ravel(), atol=0.3)
    assert_allclose(layer.running_var.data, spread**2, rtol=0.25)


def test_evaluation_uses_the_running_estimates_and_leaves_them() -> None:
    layer = nn.BatchNorm1d(2, init="ones").double()
    layer.running_mean.data[...] = here(np.array([1.0, 2.0]))
    layer.running_var.data[...] = here(np.array([4.0, 9.0]))
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    y = layer.eval()(leaf([[3.0, 5.0]]))  # one value per channel is enough here
    assert_allclose(y.data, [[1, 1]], rtol=1e-5)
    for name, array in layer.state_dict().items():
        assert_array_equal(array, before[name])


def test_gamma_starts_uniform_or_at_one_and_beta_at_zero() -> None:
    gamma = nn.BatchNorm1d(2000).weight.numpy()
    assert 0 <= gamma.min() < 0.01
    assert 0.99 < gamma.max() < 1
    assert gamma.mean() == pytest.approx(0.5, abs=0.03)
    assert (nn.BatchNorm2d(3, init="ones").weight.data == 1).all()
    assert (nn.BatchNorm2d(3).bias.data == 0).all()


def test_parameters_are_learned_and_running_estimates_are_buffers() -> None:
    layer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert {name for name, _ in layer.named_parameters()} == {
        "0.weight", "0.bias", "1.weight", "1.bias"
    }  # fmt: skip
    assert [b.shape for b in layer.buffers()] == [(3,), (3,), ()]
    assert "1.running_var" in layer.state_dict()
    assert layer.double().state_dict()["1.running_var"].dtype == np.float64
    assert layer.state_dict()["1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.BatchNorm1d(3)(leaf(np.ones((1, 3)), np.float32)),
            "one value per channel",
        ),
        (lambda: nn.BatchNorm2d(3)(leaf(np.ones((1, 3, 1, 1)), np.float32)), "more than one value"),
        (lambda: nn.BatchNorm1d(3)(leaf(np.ones((4, 2)), np.float32)), "3 channels"),
        (lambda: nn.BatchNorm1d(3)(leaf(np.ones((4, 3, 2, 2)), np.float32)), "2 or 3"),
        (lambda: nn.BatchNorm2d(3)(leaf(np.ones((4, 3)), np.float32)), "4"),
        (lambda: F.batch_norm(leaf(np.ones(3)), None, None, training=True), r"\(N, C"),
        (lambda: F.batch_norm(leaf(np.ones((4, 3))), None, None), "running"),
        (lambda: nn.BatchNorm1d(3, momentum=1.5), "1.5"),
        (lambda: nn.BatchNorm1d(3, init="twos"), "'twos'"),
    ],
)
def test_what_cannot_be_normalised_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_eps_is_added_to_the_variance() -> None:
    x = np.array([[1.0], [5.0]])  # mean 3, variance 4
    assert_allclose(normalised(leaf(x), eps=5.0).data, [[-2 / 3], [2 / 3]], rtol=1e-12)


def test_the_defaults_are_those_of_the_layer() -> None:
    x = np.array([[1.0], [5.0]])
    layer = nn.BatchNorm1d(1, init="ones").double()
    mean, var = mg.tensor(np.zeros(1)), mg.tensor(np.ones(1))
    y = F.batch_norm(leaf(x), mean, var, training=True)
    assert_array_equal(y.data, layer(leaf(x)).data)
    assert_array_equal(mean.data, layer.running_mean.data)
    assert_array_equal(var.data, layer.running_var.data)


@pytest.mark.parametrize("values", [(None, None), (0.0, None), (None, 1.0)])
def test_evaluation_needs_both_estimates(values: Any) -> None:
    estimates = [None if value is None else mg.tensor(np.full(1, value)) for value in values]
    with pytest.raises(ValueError, match="running mean and variance"):
        F.batch_norm(leaf(np.ones((2, 1))), *estimates)
