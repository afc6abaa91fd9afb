"""Optimisers and gradient clipping, compared with PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import generators, leaf
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here, host

from minigrad import Tensor, optim

pytestmark = pytest.mark.usefixtures("backend")

SHAPES = [(), (3,), (2, 3), (1, 2, 2)]

OPTIMISERS = {
    "SGD": ("SGD", {"lr": 0.3}),
    "SGD momentum": ("SGD", {"lr": 0.3, "momentum": 0.9}),
    "SGD weight decay": ("SGD", {"lr": 0.3, "weight_decay": 0.1}),
    "SGD both": ("SGD", {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1}),
    "Adam": ("Adam", {}),
    "Adam settings": ("Adam", {"lr": 0.3, "betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.1}),
}
each_optimiser = pytest.mark.parametrize("name", OPTIMISERS)


def make(name: str, params: list[Tensor]) -> Any:
    kind, settings = OPTIMISERS[name]
    return getattr(optim, kind)(params, **settings)


def parameters(rng: Any, dtype: Any = np.float64) -> list[Tensor]:
    return [leaf(rng.standard_normal(shape), dtype) for shape in SHAPES]


def pulled(params: list[Tensor], rng: Any) -> None:
    """Give every parameter a gradient of its own."""
    for p in params:
        p.grad = here(np.asarray(rng.standard_normal(p.shape), p.dtype))


@each_optimiser
@given(rng=generators)
def test_steps_are_pytorchs(name: str, rng: Any) -> None:
    torch = pytest.importorskip("torch")
    params = parameters(rng)
    theirs = [torch.tensor(host(p.data), requires_grad=True) for p in params]
    kind, settings = OPTIMISERS[name]
    mine, other = make(name, params), getattr(torch.optim, kind)(theirs, **settings)
    for step in range(6):
        pulled(params, rng)
        for p, t in zip(params, theirs, strict=True):
            t.grad = torch.tensor(host(p.grad))
        if step == 3:
            mine.lr /= 4
            other.param_groups[0]["lr"] /= 4
        mine.step()
        other.step()
        for p, t in zip(params, theirs, strict=True):
            assert_allclose(p.data, t.detach().numpy(), rtol=0, atol=1e-12)


@each_optimiser
def test_a_parameter_without_a_gradient_stays_as_it_is_and_so_does_its_history(name: str) -> None:
    """As in PyTorch: each parameter has its own step count."""
    torch = pytest.importorskip("torch")
    params, rng = [leaf(1.0), leaf(1.0)], np.random.default_rng(0)
    theirs = [torch.tensor(1.0, dtype=torch.float64, requires_grad=True) for _ in params]
    kind, settings = OPTIMISERS[name]
    mine, other = make(name, params), getattr(torch.optim, kind)(theirs, **settings)
    for step in range(6):
        pulled(params, rng)
        for p, t in zip(params, theirs, strict=True):
            t.grad = torch.tensor(host(p.grad))
        if step in (0, 1, 4):
            params[1].grad = theirs[1].grad = None
        mine.step()
        other.step()
        for p, t in zip(params, theirs, strict=True):
            assert host(p.data) == pytest.approx(t.item(), abs=1e-12)


@each_optimiser
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_changes_the_parameters_arrays_and_nothing_else(name: str, dtype: Any) -> None:
    """In place, so that tied weights and state dicts change too; gradients do not change."""
    rng = np.random.default_rng(0)
    params = parameters(rng, dtype)
    optimiser = make(name, params)
    for _ in range(3):
        pulled(params, rng)
        arrays, gradients = [p.data for p in params], [p.grad for p in params]
        values, kept = [p.data.copy() for p in params], [g.copy() for g in gradients]
        optimiser.step()
        for p, array, value, gradient, g in zip(
            params, arrays, values, gradients, kept, strict=True
        ):
            assert p.data is array
            assert array.dtype == dtype
            assert (array != value).all()
            assert p.grad is gradient
            assert_array_equal(gradient, g)


@each_optimiser
def test_a_shared_parameter_is_stepped_once(name: str) -> None:
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    for params in ([x, x, x], [y]):
        params[0].grad = here(np.ones(2))
        make(name, params).step()
    assert_array_equal(x.data, y.data)


@each_optimiser
def test_zero_grad_forgets_all_gradients(name: str) -> None:
    params = parameters(np.random.default_rng(0))
    pulled(params, np.random.default_rng(0))
    make(name, params).zero_grad()
    assert all(p.grad is None for p in params)


@each_optimiser
def test_parameters_may_come_from_a_generator(name: str) -> None:
    x = leaf([1.0])
    optimiser = make(name, (p for p in [x]))
    for _ in range(2):
        x.grad = here(np.ones(1))
        before = x.data.copy()
        optimiser.step()
        assert x.data < before
        optimiser.zero_grad()
        assert x.grad is None


@each_optimiser
def test_a_state_that_is_saved_and_loaded_goes_on_as_if_nothing_had_been(name: str) -> None:
    def train(interrupted: bool) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        params = parameters(rng)
        optimiser = make(name, params)
        optimiser.lr *= 0.7
        for step in range(6):
            if interrupted and step == 3:
                state = optimiser.state_dict()
                optimiser = make(name, params)
                optimiser.load_state_dict(state)
            pulled(params, rng)
            optimiser.step()
        return [p.data for p in params]

    for mine, other in zip(train(True), train(False), strict=True):
        assert_array_equal(mine, other)


@pytest.mark.parametrize("name", ["SGD momentum", "Adam"])
def test_a_state_of_another_model_is_refused(name: str) -> None:
    state = make(name, [leaf([1.0])]).state_dict()
    with pytest.raises(ValueError, match=r"2 parameters|, not 2"):
        make(name, [leaf([1.0]), leaf([2.0])]).load_state_dict(state)


# -------------------------------------------------------------------- clipping


def clipped(gradients: list[Any], max_norm: float, dtype: Any = np.float64) -> Any:
    """The norm returned and the gradients after clipping; None stays None."""
    params = [leaf(np.zeros(np.shape(g)), dtype) for g in gradients]
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else here(np.array(g, dtype))
    norm = optim.clip_grad_norm_(params, max_norm)
    return norm, [p.grad for p in params]


@given(rng=generators, max_norm=st.sampled_from([0.0, 0.1, 1.0, 100.0]))
def test_clipping_is_pytorchs(rng: Any, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = [rng.standard_normal(shape) for shape in SHAPES]
    theirs = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    for t, g in zip(theirs, gradients, strict=True):
        t.grad = torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    norm, after = clipped(gradients, max_norm)
    assert host(norm) == pytest.approx(expected.item(), abs=1e-12)
    for mine, t in zip(after, theirs, strict=True):
        assert_allclose(mine, t.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_is_that_of_all_gradients_together(dtype: Any) -> None:
    norm, after = clipped([[3.0], None, [[0.0, 4.0]], 12.0], 6.5, dtype)
    assert norm == 13
    assert [None if g is None else g.dtype for g in after] == [dtype, None, dtype, dtype]
    assert float(sum((g**2).sum() for g in after if g is not None)) ** 0.5 == pytest.approx(6.5)
    assert_allclose(after[2], [[0, 2]], rtol=1e-6)


def test_gradients_below_the_norm_are_not_touched() -> None:
    norm, after = clipped([[3.0], [4.0]], 5.1)
    assert norm == 5
    assert [g.tolist() for g in after] == [[3], [4]]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_norm_that_is_no_number_is_returned_and_changes_nothing(value: float) -> None:
    norm, after = clipped([[1.0, value], [100.0]], 0.5)
    norm = host(norm)
    assert not np.isfinite(norm)
    assert np.isnan(norm) == np.isnan(value)
    assert_array_equal(after[0], [1, value])
    assert after[1].tolist() == [100]


def test_clipping_scales_in_place_and_counts_a_shared_parameter_once() -> None:
    x = leaf([0.0, 0.0])
    x.grad = gradient = here(np.array([3.0, 4.0]))
    norm = optim.clip_grad_norm_((p for p in [x, x]), 1.0)
    assert norm == 5
    assert x.grad is gradient
    assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)


def test_scalars_are_clipped_too() -> None:
    x = leaf(3.0)
    (x * x).backward()
    assert optim.clip_grad_norm_([x], 0.5) == 6
    assert float(x.grad) == pytest.approx(0.5, rel=1e-6)


def test_no_gradients_have_no_norm() -> None:
    assert optim.clip_grad_norm_([leaf([1.0])], 1.0) == 0
    assert optim.clip_grad_norm_([], 1.0) == 0


def test_clipping_takes_a_single_tensor_too() -> None:
    """Iterating over the tensor gave its rows, which have no gradient."""
    w = leaf([3.0, 4.0])
    w.grad = w.data.copy()
    assert float(optim.clip_grad_norm_(w, 1.0)) == 5.0
    assert_allclose(w.grad, [0.6, 0.8], rtol=1e-5)


def test_a_norm_computed_before_clips_like_clip_grad_norm_() -> None:
    for max_norm in (0.5, 100.0):
        params = [leaf([1.0, 2.0]), leaf([[3.0], [-4.0]])]
        others = [leaf([1.0, 2.0]), leaf([[3.0], [-4.0]])]
        for p in (*params, *others):
            (p * p).sum().backward()
        expected = optim.clip_grad_norm_(params, max_norm)
        norm = optim.get_total_norm(p.grad for p in others)
        assert float(norm) == float(expected) == pytest.approx(float(np.sqrt(4 * 30)))
        optim.clip_grads_with_norm_(others, max_norm, norm)
        for p, other in zip(params, others, strict=True):
            assert_array_equal(other.grad, p.grad)
