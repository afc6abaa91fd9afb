"""What the chapter on backpropagation through time claims."""

from __future__ import annotations

import bptt_ledger as experiment
import numpy as np
import pytest

from minigrad.bptt import through_time, unrolled
from minigrad.cells import CELLS


@pytest.mark.parametrize("cell", ["RNN_TANH", "RNN_RELU", "LSTM", "GRU"])
@pytest.mark.parametrize("seed", experiment.SEEDS)
def test_the_ledger_adds_up_to_the_gradient(cell: str, seed: int) -> None:
    assert cell in CELLS
    example = experiment.Example(cell, seed, 6, 8)
    hand = experiment.gradient(example, through_time)
    entries = experiment.ledger(example)
    assert abs(entries.sum(axis=(0, 1)) - hand).max() < 1e-12
    assert abs(experiment.gradient(example, unrolled) - hand).max() < 1e-12
    assert abs(experiment.finite_differences(example) - hand).max() < 1e-7
    assert not np.triu(abs(entries).sum(axis=(2, 3)), 1).any()  # nothing from later steps
    assert not entries[:, 0].any()  # the initial state is zero


def test_exercise_the_sum_over_losses_is_one_outer_product_for_each_step() -> None:
    entries = experiment.ledger(experiment.Example("RNN_TANH", 1, 6, 8))
    for term in entries.sum(axis=0):
        assert np.linalg.svd(term, compute_uv=False)[1] < 1e-12
