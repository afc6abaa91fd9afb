"""The fast form of the LSTM, compared with the plain one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import seeds
from hypothesis import example, given
from test_bptt import assert_close, gradients, layer_inputs, pull, run, sizes

import minigrad as mg
from minigrad import cells, fast_lstm, nn, threads
from minigrad.bptt import through_time


def both(flow: str, inputs: list[Any]) -> list[list[Any]]:
    """Outputs and gradients: of the plain form, and of the fast one."""
    results = []
    for one_layer in (through_time, fast_lstm.through_time):
        outputs = run(one_layer, cells.LSTM, inputs)
        pull(outputs, flow).backward()
        results.append([*(y.data for y in outputs), *gradients(inputs)])
    return results


@pytest.mark.parametrize("flow", ["output", "last state", "both"])
@given(seed=seeds, T=sizes, B=sizes, I=sizes, H=sizes)
@example(seed=0, T=40, B=3, I=3, H=5)
def test_it_computes_the_same(flow: str, seed: int, T: int, B: int, I: int, H: int) -> None:
    assert_close(*both(flow, layer_inputs(cells.LSTM, np.random.default_rng(seed), T, B, I, H)))


def test_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "BLOCK", 200)
    monkeypatch.setattr(threads, "_threads", 3)
    assert_close(*both("both", layer_inputs(cells.LSTM, np.random.default_rng(0), 9, 2, 3, 4)))


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_large_activations_overflow_nowhere(size: float) -> None:
    inputs = layer_inputs(cells.LSTM, np.random.default_rng(0), 3, 2, 2, 3)
    inputs[-1].data[...] = size
    with np.errstate(over="raise", invalid="raise"):
        results = both("both", inputs)
    assert all(np.isfinite(a).all() for a in results[1])
    assert_close(*results)


def test_small_lstms_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(
        fast_lstm, "through_time", lambda *inputs: taken.append(inputs) or through_time(*inputs)
    )
    x = mg.tensor(np.ones((fast_lstm.SHORTEST, 1, 3), np.float32))
    for layer in (nn.LSTM(3, fast_lstm.LARGEST + 1), nn.GRU(3, 4), nn.LSTM(3, 4, bptt="autograd")):
        layer(x)
    nn.LSTM(3, 4)(x[1:])
    assert not taken
    nn.LSTM(3, fast_lstm.LARGEST)(x)
    assert len(taken) == 1
