"""The profile: time and memory are credited to the operations that use them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from helpers import leaf

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad import functional as F
from minigrad.modes import mode

PAUSE = 0.05  # seconds


def slow(x: Tensor, forward: float = PAUSE, backward: float = 2 * PAUSE) -> Tensor:
    """The identity, in time that a test can tell from that of everything else."""

    def derivative(dy: Any) -> Any:
        time.sleep(backward)
        return dy

    time.sleep(forward)
    return mg.record(x.data.copy(), (x, derivative))


def by_name(profile: mg.profile) -> dict[str, Any]:
    return {row.operation: row for row in profile.rows}


def test_time_goes_to_the_operation_that_takes_it() -> None:
    x = leaf(np.ones(3))
    started = time.perf_counter()
    with mg.profile() as profile:
        for _ in range(2):
            slow(x * 2.0).sum().backward()
    wall = time.perf_counter() - started
    rows = by_name(profile)
    assert {name: row.calls for name, row in rows.items() if name[0] != "("} == {
        "mul": 2, "slow": 2, "sum": 2,
    }  # fmt: skip
    assert 2 * PAUSE <= rows["slow"].forward_seconds <= wall
    assert 4 * PAUSE <= rows["slow"].backward_seconds <= wall
    assert profile.rows[0].operation == "slow"
    total = sum(row.seconds for row in profile.rows)
    assert 0.95 * wall <= total <= wall


def test_work_off_the_tape_has_rows_of_its_own() -> None:
    x = leaf(np.ones(3))
    optimizer = optim.Adam([x])
    (x * x).sum().backward()
    with mg.profile() as profile:
        optim.clip_grad_norm_([x], 0.1)
        optimizer.step()
        time.sleep(PAUSE)
    rows = by_name(profile)
    assert set(rows) == {"clip_grad_norm_", "Adam.step", "(after the last operation)"}
    assert rows["(after the last operation)"].seconds >= PAUSE
    assert rows["Adam.step"].seconds < PAUSE


def test_bytes_are_those_that_the_derivative_needs() -> None:
    x, w = leaf(np.ones((50, 40))), leaf(np.ones((30, 40)))
    with mg.profile() as profile:
        y = (F.linear(x * 2.0, w) + 1.0).tanh()
    kept = {name: row.bytes_kept for name, row in by_name(profile).items()}
    # mul needs the number 2 alone, linear its input (w is a leaf), add nothing, tanh its result.
    assert kept == {
        "mul": 0, "linear": 8 * 50 * 40, "add": 0, "tanh": 8 * 50 * 30,
        "(after the last operation)": 0,
    }  # fmt: skip
    assert y.shape == (50, 30)


def test_what_two_operations_keep_counts_once() -> None:
    x = leaf(np.ones(1000))
    with mg.profile() as profile:
        y = x.tanh()
        y = y * y  # keeps the tanh, as its derivative does
    assert by_name(profile)["tanh"].bytes_kept == 8000
    assert by_name(profile)["mul"].bytes_kept == 0
    assert y.shape == (1000,)


def test_a_recurrent_layer_keeps_its_gates_and_states() -> None:
    T, B, H = 5, 2, 3
    layer = nn.LSTM(4, H)
    x = mg.tensor(np.ones((T, B, 4), np.float32))
    with mg.profile() as profile:
        output, _ = layer(x)
    kept = by_name(profile)["through_time"].bytes_kept
    # Four gates and tanh(c) at each step, and T + 1 times h and c. The input is a leaf.
    expected = 4 * (5 * T * H * B + 2 * (T + 1) * H * B)
    assert expected <= kept <= 1.1 * expected
    assert output.shape == (T, B, H)


def test_the_table_has_a_line_for_each_row_and_the_sum() -> None:
    x = leaf(np.ones(3))
    with mg.profile() as profile:
        (x * x).sum().backward()
    lines = profile.table().splitlines()
    assert len(lines) == 2 + len(profile.rows)
    assert len({len(line) for line in lines}) == 1  # aligned
    assert lines[-1].startswith("total") and " 100.0 " in lines[-1]


def test_outside_the_block_nothing_is_measured() -> None:
    x = leaf(np.ones(3))
    with pytest.raises(ZeroDivisionError), mg.profile() as profile:
        1 / 0  # noqa: B018
    (x * x).sum().backward()
    assert mode.watch is None
    assert set(by_name(profile)) == {"(after the last operation)"}


def test_an_empty_block_has_a_table_too() -> None:
    assert mg.profile().table().splitlines()[-1].startswith("total")


@pytest.mark.usefixtures("backend")
def test_it_changes_no_number() -> None:
    def gradients() -> list[Any]:
        mg.manual_seed(0)
        layer = nn.GRU(3, 4, 2, dropout=0.5)
        layer(mg.tensor(np.ones((4, 2, 3), np.float32)))[0].sum().backward()
        return [np.asarray(mg.Tensor(p.grad).numpy()) for p in layer.parameters()]

    expected = gradients()
    with mg.profile() as profile:
        found = gradients()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert by_name(profile)["through_time"].calls == 2
