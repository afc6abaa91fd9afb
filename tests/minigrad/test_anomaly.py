"""detect_anomaly names the operation with the first non-finite value."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn


def leaf(*values: float) -> mg.Tensor:
    return mg.tensor(np.array(values), requires_grad=True)


def anomaly(function: object) -> str:
    with np.errstate(all="ignore"), pytest.raises(mg.AnomalyError) as caught, mg.detect_anomaly():
        function()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_forward() -> None:
    message = anomaly(lambda: (leaf(2.0, 0.0, 1.0) * 3).log().exp())
    assert message.startswith("forward: log (minigrad/ops.py:")
    assert "gave -inf at [1] of an array of shape (3,)" in message
    assert "called in minigrad/test_anomaly.py:" in message  # in the folder tests/minigrad


def test_backward() -> None:
    """At zero, the square root is finite but its derivative is not."""
    message = anomaly(lambda: ((leaf(0.0, 1.0) ** 0.5) * 2).sum().backward())
    assert message.startswith("backward: the derivative of pow (")
    assert "inf at [0]" in message


def test_gradients_that_only_their_sum_makes_infinite() -> None:
    def twice() -> None:
        y = leaf(1e-10) * 1.0
        (y * 1.5e308 + y * 1.5e308).sum().backward()

    assert "gradients of mul" in (message := anomaly(twice))
    assert "sum to inf" in message


def test_what_was_not_finite_before_is_told_apart() -> None:
    message = anomaly(lambda: leaf(np.nan) + 1)
    assert "add (" in message
    assert "is nan" in message and "no recorded operation computed it" in message


def test_operations_with_a_backward_of_their_own() -> None:
    layer = nn.RNN(3, 2, nonlinearity="relu")
    layer.weight_ih_l0.data.fill(1e20)
    x = mg.tensor(np.full((4, 1, 3), 1e30, np.float32))
    assert "forward: through_time (minigrad/bptt.py:" in anomaly(lambda: layer(x))

    input, weight = leaf(1.0, 2.0).reshape(1, 2), leaf(*[1.5e308] * 6).reshape(3, 2)
    assert "forward: linear_cross_entropy (" in anomaly(
        lambda: F.linear_cross_entropy(input, weight, None, np.array([1]))
    )


def test_what_is_finite_passes_with_the_same_numbers() -> None:
    def gradients() -> list[bytes]:
        mg.manual_seed(0)
        layer = nn.GRU(3, 5, 2)
        output, _ = layer(mg.tensor(np.ones((4, 2, 3), np.float32)))
        (output * output).sum().backward()
        return [p.grad.tobytes() for p in layer.parameters()]

    expected = gradients()
    with mg.detect_anomaly():
        assert gradients() == expected


def test_it_holds_inside_the_block_and_in_this_thread_only() -> None:
    passed = []

    def elsewhere() -> None:
        with np.errstate(all="ignore"):
            passed.append(leaf(-1.0).log())

    with pytest.raises(mg.AnomalyError), np.errstate(all="ignore"), mg.detect_anomaly():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with mg.detect_anomaly():
            pass
        leaf(-1.0).log()
    elsewhere()
    assert len(passed) == 2


def test_a_graph_recorded_before_the_block() -> None:
    with np.errstate(all="ignore"):
        y = (leaf(0.0) ** 0.5).sum()
    assert "recorded before" in anomaly(y.backward)
