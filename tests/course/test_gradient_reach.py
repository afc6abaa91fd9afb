"""What the chapter claims about how far gradients reach."""

from __future__ import annotations

import gradient_reach as experiment
import numpy as np
import pytest
from experiment import read
from letter_model import build, text

from minigrad import Tensor, tensor
from minigrad.bptt import through_time
from minigrad.cells import CELLS


def test_quick_runs(capsys: pytest.CaptureFixture[str]) -> None:
    experiment.main(["--quick"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in experiment.MODELS)


@pytest.mark.parametrize("cell", CELLS)
def test_the_product_of_single_steps_is_the_derivative_over_all(cell: str) -> None:
    hidden, steps = 6, 4
    layer = experiment.Layer(build(cell, 1, hidden))
    x = text()[1][:10, None]
    (product,) = experiment.products(layer, x, steps)[-1]
    start = [tensor(part, requires_grad=True) for part in layer.states(x)[-1 - steps]]
    read_last = Tensor(layer.letters[x[-steps:]])
    _, h, *_ = through_time(layer.cell, read_last, start, *layer.weights)
    h.backward(np.eye(hidden)[2:3])
    row = np.concatenate([part.grad[0] for part in start])
    assert np.allclose(product[2], row, rtol=1e-10, atol=1e-14)


@pytest.fixture(scope="module")
def numbers() -> dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]:
    return read("gradient-reach")["numbers"]


def test_untrained_all_cells_forget(numbers: dict) -> None:
    for cell in CELLS:
        for found in numbers[cell]["initial"].values():
            assert found["20"]["max"] < 1e-3
    assert numbers["LSTM_forget"]["initial"]["c"]["20"]["min"] > 0.5


def test_training_opens_the_forget_gate_and_no_other_cell_keeps_its_gradient(
    numbers: dict,
) -> None:
    trained = numbers["LSTM"]["trained"]
    assert trained["c"]["20"]["min"] > 0.5
    others = [trained["h"], *(numbers[c]["trained"]["h"] for c in CELLS if c != "LSTM")]
    assert all(trained["c"]["20"]["min"] > 100 * other["20"]["max"] for other in others)
    for cell in ("RNN_TANH", "GRU"):
        now, before = (numbers[cell][m]["h"]["20"] for m in ("trained", "initial"))
        assert now["max"] < before["max"]
    assert (
        numbers["RNN_RELU"]["trained"]["h"]["20"]["min"]
        > numbers["RNN_RELU"]["initial"]["h"]["20"]["max"]
    )
