"""The equations of the cells, compared with the same equations for single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from helpers import generators, leaf
from hypothesis import given
from hypothesis import strategies as st
from on_both import assert_allclose, host

from minigrad import cells, gradcheck

pytestmark = pytest.mark.usefixtures("backend")

Cell = type[cells.Cell]


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def tanh_rnn(zx: list[float], zh: list[float], h: float) -> tuple[float, ...]:
    return (math.tanh(zx[0] + zh[0]),)


def relu_rnn(zx: list[float], zh: list[float], h: float) -> tuple[float, ...]:
    return (max(zx[0] + zh[0], 0),)


def lstm(zx: list[float], zh: list[float], h: float, c: float) -> tuple[float, ...]:
    i, f, o = (sigma(zx[k] + zh[k]) for k in (0, 1, 3))
    c = f * c + i * math.tanh(zx[2] + zh[2])
    return o * math.tanh(c), c


def gru(zx: list[float], zh: list[float], h: float) -> tuple[float, ...]:
    r, z = sigma(zx[0] + zh[0]), sigma(zx[1] + zh[1])
    return ((1 - z) * math.tanh(zx[2] + r * zh[2]) + z * h,)


ONE_UNIT: dict[Cell, Callable[..., tuple[float, ...]]] = {
    cells.TanhRNN: tanh_rnn,
    cells.ReLURNN: relu_rnn,
    cells.LSTM: lstm,
    cells.GRU: gru,
}

each_cell = pytest.mark.parametrize("cell", ONE_UNIT, ids=lambda cell: cell.__name__)
sizes = st.integers(1, 4)


def projections(cell: Cell, rng: np.random.Generator, B: int, H: int) -> list[np.ndarray]:
    """zx and zh (B, G·H), then the states (B, H); zx + zh is away from ReLU's kink."""
    zx, zh = (rng.uniform(-2, 2, (B, cell.num_gates * H)) for _ in range(2))
    zx += np.where(abs(zx + zh) < 0.01, 0.1, 0)
    return [zx, zh, *(rng.uniform(-1, 1, (B, H)) for _ in range(cell.num_states))]


def test_every_cell_is_here() -> None:
    def all_below(cell: Cell) -> set[Cell]:
        return {cell}.union(*(all_below(below) for below in cell.__subclasses__()))

    own = {cell for cell in all_below(cells.Cell) if cell.__module__ == cells.__name__}
    assert own - {cells.Cell} == set(ONE_UNIT)


def test_cells_are_registered_by_name_with_a_learning_rate() -> None:
    """`--model` and the default of `--lr` are these."""
    found = {name: (cell, cell.sgd_lr) for name, cell in cells.CELLS.items()}
    assert found == {
        "RNN_TANH": (cells.TanhRNN, 3.0),
        "RNN_RELU": (cells.ReLURNN, 2.0),
        "LSTM": (cells.LSTM, 20.0),
        "GRU": (cells.GRU, 10.0),
    }
    assert cells.Cell.sgd_lr == 1.0


def test_a_cell_with_a_name_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELLS", {})

    class Own(cells.TanhRNN, name="OWN"):
        pass

    class Unnamed(cells.TanhRNN):
        pass

    registered = cells.CELLS
    assert registered == {"OWN": Own}


@each_cell
@given(rng=generators, B=sizes, H=sizes)
def test_the_equations_hold_for_every_unit(
    cell: Cell, rng: np.random.Generator, B: int, H: int
) -> None:
    zx, zh, *state = projections(cell, rng, B, H)
    new = cell.equations(*(leaf(a) for a in (zx, zh, *state)))
    assert len(new) == cell.num_states
    for b in range(B):
        for unit in range(H):
            # The gates come in blocks of H.
            gates = [z[b].reshape(cell.num_gates, H)[:, unit].tolist() for z in (zx, zh)]
            expected = ONE_UNIT[cell](*gates, *(float(s[b, unit]) for s in state))
            assert_allclose([s.data[b, unit].item() for s in new], expected, atol=1e-14)


@each_cell
@given(rng=generators, B=sizes, H=sizes)
def test_the_equations_have_the_gradient_of_finite_differences(
    cell: Cell, rng: np.random.Generator, B: int, H: int
) -> None:
    assert gradcheck(cell.equations, [leaf(a) for a in projections(cell, rng, B, H)])


@each_cell
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_saturated_gates_do_not_overflow(cell: Cell, value: float) -> None:
    zx, zh, *state = (leaf(np.full(shape, value)) for shape in [(1, cell.num_gates)] * 2)
    state = [leaf(np.ones((1, 1))) for _ in range(cell.num_states)]
    with np.errstate(all="raise", under="ignore"):
        new = cell.equations(zx, zh, *state)
        sum(s.sum() for s in new).backward()
    assert all(np.isfinite(host(x.grad)).all() for x in (zx, zh, *state) if x.grad is not None)
