"""The loss with a few rows of logits at a time, compared with that of all rows at once."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from helpers import generators
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import chunked_loss, memory, no_grad
from minigrad import functional as F

LEAVES = ("input", "weight", "bias")


@pytest.fixture
def in_chunks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that limits the logits to so many bytes, and products to so many elements."""

    def limit(logits: int, block: int = 1 << 19) -> None:
        monkeypatch.setattr(chunked_loss, "LARGEST", logits)
        monkeypatch.setattr(chunked_loss, "BLOCK", block)

    return limit


def inputs(rng: Any, N: int, H: int, V: int, bias: bool, dtype: Any = np.float64) -> list[Any]:
    shapes = [(N, H), (V, H), *[(V,)] * bias]
    leaves = [mg.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]
    return leaves if bias else [*leaves, None]


def results(leaves: list[Any], target: Any, factor: float = 1.0) -> list[Any]:
    """The loss and the gradients."""
    for x in leaves:
        if x is not None:
            x.zero_grad()
    loss = F.linear_cross_entropy(*leaves, target)
    (loss * factor).backward()
    return [loss.data, *(x.grad for x in leaves if x is not None)]


@given(
    rng=generators,
    N=st.integers(1, 40),
    H=st.integers(1, 5),
    V=st.integers(1, 40),
    bias=st.booleans(),
    rows=st.integers(1, 40),
    block=st.integers(1, 60),
    factor=st.sampled_from([1.0, -0.3]),
)
def test_it_is_the_same_loss(
    rng: Any, N: int, H: int, V: int, bias: bool, rows: int, block: int, factor: float
) -> None:
    leaves, target = inputs(rng, N, H, V, bias), rng.integers(0, V, N)
    whole = results(leaves, target, factor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked_loss, "LARGEST", rows * V * 8)
        patch.setattr(chunked_loss, "BLOCK", block)
        assert chunked_loss.takes(*leaves[:2]) == (rows < N)
        parts = results(leaves, target, factor)
    for a, b in zip(parts, whole, strict=True):
        assert a.dtype == b.dtype
        assert np.allclose(a, b, rtol=0, atol=1e-13)


def test_backward_twice_also_if_the_gradient_was_changed(in_chunks: Any) -> None:
    leaves, target = inputs(np.random.default_rng(0), 6, 3, 5, True), [0, 4, 2, 2, 1, 0]
    expected = results(leaves, target)[1:]
    in_chunks(2 * 5 * 8)
    loss = F.linear_cross_entropy(*leaves, target)
    for retain in (True, False):
        for x in leaves:
            x.zero_grad()
        loss.backward(retain_graph=retain)
        for x, gradient in zip(leaves, expected, strict=True):
            assert np.allclose(x.grad, gradient, rtol=0, atol=1e-14)
            x.grad *= 100  # as clipping does


@pytest.mark.parametrize("frozen", LEAVES)
def test_what_requires_no_gradient_gets_none(frozen: str, in_chunks: Any) -> None:
    leaves, target = inputs(np.random.default_rng(0), 6, 3, 5, True), [0, 4, 2, 2, 1, 0]
    expected = results(leaves, target)[1:]
    in_chunks(2 * 5 * 8)
    leaves[LEAVES.index(frozen)].requires_grad = False
    for x in leaves:
        x.zero_grad()
    F.linear_cross_entropy(*leaves, target).backward()
    for name, x, gradient in zip(LEAVES, leaves, expected, strict=True):
        assert x.grad is None if name == frozen else np.allclose(x.grad, gradient, atol=1e-14)


def test_the_logits_are_never_all_in_memory(
    in_chunks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training step needs one chunk beside the gradients, an evaluation the chunk alone."""
    N, H, V = 64, 2, 20_000
    leaves = inputs(np.random.default_rng(0), N, H, V, True, np.float32)
    target, logits, weight = np.zeros(N, np.int64), 4 * N * V, 4 * V * H
    in_chunks(logits // 8)
    peaks = []
    for train in (True, False):
        monkeypatch.setattr(memory, "_spare", [])  # no block that is there already
        tracemalloc.start()
        if train:
            results(leaves, target)
        else:
            with no_grad():
                F.linear_cross_entropy(*leaves, target)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < logits / 8 + 3 * weight + logits / 16
    assert peaks[1] < logits / 8 + logits / 16
