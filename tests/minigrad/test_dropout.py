"""Dropout has the predicted mean and variance, and drops the right elements together."""

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
from minigrad import gradcheck, nn

pytestmark = pytest.mark.usefixtures("backend")

MASKS = 20_000
RATES = st.sampled_from([0.1, 0.3, 0.5, 0.8])
VALUES = st.sampled_from([-2.0, 0.5, 3.0])


@given(p=RATES, x=VALUES, seed=st.integers(0, 99))
def test_mean_over_masks_is_the_input_and_variance_as_in_theory(
    p: float, x: float, seed: int
) -> None:
    """Over many masks, each element has mean x and variance x² p/(1 - p)."""
    mg.manual_seed(seed)
    y = F.dropout(leaf(np.full(MASKS, x)), p).numpy()
    variance = x * x * p / (1 - p)
    assert abs(y.mean() - x) < 5 * np.sqrt(variance / MASKS)
    assert y.var() == pytest.approx(variance, rel=0.1)


@given(p=RATES, seed=st.integers(0, 99))
def test_scaling_in_training_equals_smaller_weights_in_the_test(p: float, seed: int) -> None:
    """Srivastava et al. drop in training without scaling and multiply the weights by the keep
    probability afterwards; dividing in training instead gives every unit the same expectation."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, W = rng.standard_normal(3), rng.standard_normal((2, 3))
    inverted = F.dropout(leaf(np.tile(x, (MASKS, 1))), p).numpy() @ W.T
    unscaled = inverted * (1 - p)
    at_test = x @ (W * (1 - p)).T
    error = 5 * np.abs(x).sum() * np.abs(W).max() * np.sqrt(1 / MASKS / (1 - p))
    assert_allclose(unscaled.mean(axis=0), at_test, rtol=0, atol=error)
    assert_allclose(inverted.mean(axis=0), x @ W.T, rtol=0, atol=error / (1 - p))


def test_a_dropped_unit_passes_no_gradient_and_a_kept_one_its_share() -> None:
    x = leaf(np.ones((50, 40)))
    y = F.dropout(x, 0.3)
    y.backward(np.full(x.shape, 2.0))
    assert (x.grad[y.data == 0] == 0).all()
    assert_allclose(x.grad[y.data != 0], 2 / 0.7)


@pytest.mark.parametrize(
    ("layer", "shape", "maps"),
    [
        (nn.Dropout1d(0.4), (60, 50, 5), (2,)),
        (nn.Dropout2d(0.4), (60, 50, 4, 3), (2, 3)),
        (nn.Dropout(0.4, shared=(0,)), (35, 60, 50), (0,)),  # variational, along time
    ],
)
def test_what_shares_a_draw_falls_together_and_the_rest_apart(
    layer: nn.Module, shape: tuple[int, ...], maps: tuple[int, ...]
) -> None:
    dropped = layer(leaf(np.ones(shape))).numpy() == 0
    whole = dropped.all(axis=maps)
    assert_array_equal(whole, dropped.any(axis=maps))
    assert whole.shape == tuple(n for axis, n in enumerate(shape) if axis not in maps)
    assert whole.mean() == pytest.approx(0.4, abs=0.05)
    # Neighbours along both other axes are dropped independently: both with p².
    for pairs in (whole[1:] & whole[:-1], whole[:, 1:] & whole[:, :-1]):
        assert pairs.mean() == pytest.approx(0.16, abs=0.04)


def test_every_layer_and_every_call_draws_its_own_mask() -> None:
    x = leaf(np.ones((30, 30)))
    layers = nn.Dropout(0.5), nn.Dropout(0.5)
    masks = [layer(x).data for layer in layers for _ in range(2)]
    assert len({mask.tobytes() for mask in masks}) == 4


@pytest.mark.parametrize(
    ("layer", "shape", "mask_shape"),
    [
        (nn.Dropout(0.25), (3, 4), (3, 4)),
        (nn.Dropout(0.25), (3, 4), (1, 4)),
        (nn.Dropout1d(0.25), (2, 3, 4), (2, 3, 1)),
        (nn.Dropout2d(0.25), (2, 3, 2, 2), (2, 3, 1, 1)),
    ],
)
def test_a_mask_can_be_passed_in(layer: Any, shape: Any, mask_shape: Any) -> None:
    rng = np.random.default_rng(0)
    mask, x = rng.random(mask_shape) < 0.5, leaf(rng.standard_normal(shape))
    assert_allclose(layer(x, mask).data, x.numpy() * mask / 0.75)
    assert gradcheck(lambda x: layer(x, mask), [x])
    layer.eval()
    assert layer(x, mask).data is x.data
    layer.train()


def test_a_mask_holds_even_where_nothing_would_be_drawn() -> None:
    x, mask = leaf([1.0, 2.0]), np.array([True, False])
    assert F.dropout(x, 0.0, mask=mask).data.tolist() == [1.0, 0.0]
    assert F.dropout(x, 1.0, mask=mask).data.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("function", "dims"), [(F.dropout1d, 3), (F.dropout2d, 4)])
def test_feature_dropout_says_which_input_it_takes(function: Any, dims: int) -> None:
    for wrong in (dims - 1, dims + 1):
        with pytest.raises(ValueError, match=r"\(N, C, "):
            function(leaf(np.ones([2] * wrong)))


@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_variational_dropout_between_recurrent_layers_is_the_same_at_every_step(bptt: str) -> None:
    """The second layer copies its input: a unit dropped at one step is dropped at all steps."""
    layer = nn.RNN(4, 4, 2, "relu", dropout=0.5, dropout_kind="variational", bptt=bptt)
    for name, parameter in layer.named_parameters():
        parameter.data[...] = here(np.eye(4)) if name.startswith("weight_ih") else 0
    output, _ = layer(mg.tensor(np.ones((20, 30, 4), np.float32)))
    dropped = output.numpy() == 0
    assert 0.3 < dropped.mean() < 0.7
    assert (dropped == dropped[:1]).all()


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'sometimes'"):
        nn.LSTM(2, 3, dropout_kind="sometimes")


@pytest.mark.parametrize("fn, shape", [(F.dropout1d, (20, 30, 2)), (F.dropout2d, (20, 30, 2, 2))])
def test_maps_are_dropped_by_default_and_half_of_them(fn: Any, shape: Any) -> None:
    mg.manual_seed(0)
    y = fn(leaf(np.ones(shape))).numpy()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert 0.4 < (y == 0).mean() < 0.6


def test_shared_axes_may_be_counted_from_the_end() -> None:
    mg.manual_seed(0)
    y = F.dropout(leaf(np.ones((40, 3))), 0.5, shared=(-1,)).numpy()
    assert_array_equal(y, np.repeat(y[:, :1], 3, axis=1))
    assert set(np.unique(y)) == {0.0, 2.0}
