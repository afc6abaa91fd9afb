"""What the chapter claims about exploding gradients and clipping."""

from __future__ import annotations

import math

import exploding_gradients as experiment
import numpy as np
from experiment import read
from letter_model import build

SIZE = experiment.QUICK


def test_clipping_saves_the_training_in_which_gradients_explode() -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        for seed in experiment.SEEDS:
            assert None in experiment.train(math.inf, seed, SIZE)["loss"]
            losses = experiment.train(0.25, seed, SIZE)["loss"]
            assert losses[-1] < losses[0]


def test_the_relu_rnn_explodes_more_than_the_others() -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        norms = {
            cell: [experiment.gradient_norm(cell, radius, 1, SIZE) for radius in (0.5, 2.0)]
            for cell in experiment.CELLS
        }
    assert norms["RNN_RELU"][1] > 1000 * norms["RNN_RELU"][0]
    assert norms["LSTM"][1] < 10 * norms["LSTM"][0]


def test_rescaling_sets_the_radius_of_every_block() -> None:
    model = build("LSTM", 1, 8)
    experiment.rescale(model, 1.5)
    for block in model.rnn.weight_hh_l0.data.reshape(4, 8, 8):
        assert np.isclose(abs(np.linalg.eigvals(block)).max(), 1.5, rtol=1e-5)


def test_the_chapter_describes_the_committed_result() -> None:
    numbers = read("exploding-gradients")["numbers"]
    largest = {
        cell: max(s["max"] for s in radii.values()) for cell, radii in numbers["norm"].items()
    }
    assert largest["RNN_RELU"] > 1e6 and largest["RNN_TANH"] < 20
    assert largest["GRU"] < 1 and largest["LSTM"] < 1
    unclipped, clipped = (numbers["training"][name] for name in ("unclipped", "clipped"))
    assert unclipped["broken"] == 3 and clipped["broken"] == 0
    for run in unclipped["seeds"].values():
        assert run["loss"].index(None) <= 4  # updates that were made before
    assert clipped["largest_norm"]["min"] > 10 * 0.25
    assert all(run["loss"][-1] < 0.6 * run["loss"][0] for run in clipped["seeds"].values())
