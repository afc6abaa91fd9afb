"""The hand-written derivative through time, compared with the tape and finite differences."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from helpers import assert_gradients_are_sound, generators, leaf, seeds
from hypothesis import example, given
from hypothesis import strategies as st
from minimal_gated_unit import MinimalGatedUnit
from on_both import assert_allclose, assert_array_equal, here

import minigrad as mg
from minigrad import Tensor, cells, gradcheck, nn, no_grad, ops
from minigrad.backend import Array
from minigrad.bptt import through_time, unrolled
from minigrad.cells import Cell

pytestmark = pytest.mark.usefixtures("backend")

Arrays = Sequence[Array]


CELLS = (cells.TanhRNN, cells.ReLURNN, cells.LSTM, cells.GRU, MinimalGatedUnit)
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
sizes = st.integers(1, 4)


def layer_inputs(
    cell: type[Cell], rng: Any, T: int, B: int, I: int, H: int, dtype: Any = np.float64
) -> list[Tensor]:
    """All inputs of one layer, as leaves: x, the states, W_ih, W_hh, b_ih, b_hh."""
    G = cell.num_gates
    shapes = [(T, B, I), *[(B, H)] * cell.num_states, (G * H, I), (G * H, H), (G * H,), (G * H,)]
    return [leaf(rng.uniform(-1, 1, shape), dtype) for shape in shapes]


def run(one_layer: Any, cell: type[Cell], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output and the last states of `through_time` or `unrolled`."""
    x, *state = inputs[: 1 + cell.num_states]
    return one_layer(cell, x, state, *inputs[1 + cell.num_states :])


def pull(outputs: Sequence[Tensor], flow: str, seed: int = 0) -> Tensor:
    """A loss of the output, the last states, or both, with a different weight per element."""
    chosen = {"output": outputs[:1], "last state": outputs[1:], "both": outputs}[flow]
    rng = np.random.default_rng(seed)
    return sum((y * here(rng.standard_normal(y.shape).astype(y.dtype))).sum() for y in chosen)


def gradients(inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """The gradients of the inputs, zeros where there is none; then reset them."""
    found = [np.zeros(x.shape) if x.grad is None else x.grad for x in inputs]
    for x in inputs:
        x.zero_grad()
    return found


def assert_close(mine: Sequence[Any], other: Sequence[Any], tolerance: float = 1e-12) -> None:
    for a, b in zip(mine, other, strict=True):
        assert_allclose(a, b, rtol=0, atol=tolerance)


# -------------------------------------------------------------------- against the tape


@each_cell
@pytest.mark.parametrize("flow", ["output", "last state", "both"])
@given(seed=seeds, T=sizes, B=sizes, I=sizes, H=sizes)
@example(seed=0, T=1, B=1, I=1, H=1)
@example(seed=0, T=1, B=3, I=2, H=4)
@example(seed=0, T=4, B=1, I=2, H=4)
@example(seed=0, T=4, B=3, I=2, H=1)
@example(seed=0, T=20, B=2, I=3, H=5)
def test_by_hand_and_by_the_tape(
    cell: type[Cell], flow: str, seed: int, T: int, B: int, I: int, H: int
) -> None:
    inputs = layer_inputs(cell, np.random.default_rng(seed), T, B, I, H)
    results = []
    for one_layer in (through_time, unrolled):
        outputs = run(one_layer, cell, inputs)
        pull(outputs, flow).backward()
        results.append(([y.data for y in outputs], gradients(inputs)))
    (outputs, by_hand), (expected, by_tape) = results
    assert_close(outputs, expected)
    assert_close(by_hand, by_tape)


LAYERS = {
    "RNN tanh": lambda *sizes, **how: nn.RNN(*sizes, nonlinearity="tanh", **how),
    "RNN relu": lambda *sizes, **how: nn.RNN(*sizes, nonlinearity="relu", **how),
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


def both_ways(kind: str, *sizes: int, **how: Any) -> tuple[nn.Module, nn.Module]:
    """Two stacks with the same weights: one with bptt="manual", one with bptt="autograd"."""
    by_hand = LAYERS[kind](*sizes, bptt="manual", **how).double()
    by_tape = LAYERS[kind](*sizes, bptt="autograd", **how).double()
    by_tape.load_state_dict(by_hand.state_dict())
    return by_hand, by_tape


def initial_state(kind: str, rng: Any, shape: tuple[int, ...]) -> list[Tensor]:
    return [leaf(rng.uniform(-1, 1, shape)) for _ in range(2 if kind == "LSTM" else 1)]


def step_through(layer: nn.Module, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    """Output and last states; the initial states are zero by default."""
    hidden = None if not state else state[0] if len(state) == 1 else tuple(state)
    output, last = layer(x, hidden)
    return [output, last] if isinstance(last, Tensor) else [output, *last]


@each_layer
@pytest.mark.parametrize("flow", ["output", "last state", "both"])
@given(
    rng=generators,
    T=sizes,
    B=sizes,
    H=sizes,
    layers=st.integers(1, 3),
    given_state=st.booleans(),
    dropout=st.sampled_from([0.0, 0.4]),
)
def test_stacks_by_hand_and_by_the_tape(
    kind: str,
    flow: str,
    rng: Any,
    T: int,
    B: int,
    H: int,
    layers: int,
    given_state: bool,
    dropout: float,
) -> None:
    by_hand, by_tape = both_ways(kind, 3, H, layers, dropout=dropout)
    x = leaf(rng.uniform(-1, 1, (T, B, 3)))
    state = initial_state(kind, rng, (layers, B, H)) if given_state else []
    results = []
    for layer in (by_hand, by_tape):
        mg.manual_seed(5)  # the same units dropped
        outputs = step_through(layer, x, state)
        pull(outputs, flow).backward()
        found = gradients([x, *state, *layer.parameters()])
        results.append(([y.data for y in outputs], found))
    (outputs, mine), (expected, other) = results
    assert_close(outputs, expected)
    assert_close(mine, other)


@each_cell
def test_single_precision_is_kept_and_is_close(cell: type[Cell]) -> None:
    single = layer_inputs(cell, np.random.default_rng(0), 6, 3, 4, 5, np.float32)
    double = [leaf(x.data) for x in single]
    found = []
    for inputs in (single, double):
        outputs = run(through_time, cell, inputs)
        pull(outputs, "both").backward()
        assert all(y.dtype == inputs[0].dtype for y in outputs)
        assert all(x.grad.dtype == x.dtype for x in inputs)
        found.append(gradients(inputs))
    assert_close(*found, tolerance=1e-4)


# -------------------------------------------------------------------- finite differences


@each_cell
@pytest.mark.parametrize("one_layer", [through_time, unrolled])
@given(rng=generators, T=st.integers(1, 3), B=st.integers(1, 2), I=st.integers(1, 2), H=sizes)
def test_gradient_is_the_finite_difference(
    one_layer: Any, cell: type[Cell], rng: Any, T: int, B: int, I: int, H: int
) -> None:
    inputs = layer_inputs(cell, rng, T, B, I, H)
    if cell is cells.ReLURNN:  # away from the kink: the weights are positive, so every unit is on
        for x in inputs:
            x.data = abs(x.data) + 0.1
        inputs[-1].data[::2] = -50.0  # or far off
    assert gradcheck(lambda *inputs: run(one_layer, cell, inputs), inputs)


# -------------------------------------------------------------------- the tape's rules


@each_cell
@pytest.mark.parametrize("one_layer", [through_time, unrolled])
@pytest.mark.parametrize("output", [0, 1, -1])
def test_gradients_are_sound(one_layer: Any, cell: type[Cell], output: int) -> None:
    """Also if the loss depends on one output only: the others then have zero gradients."""
    for T, B, I, H in [(3, 2, 2, 3), (1, 1, 1, 1)]:
        inputs = layer_inputs(cell, np.random.default_rng(0), T, B, I, H)
        assert_gradients_are_sound(lambda *xs: run(one_layer, cell, xs)[output], inputs)


@each_cell
@pytest.mark.parametrize("frozen", range(6))
def test_what_requires_no_gradient_gets_none(cell: type[Cell], frozen: int) -> None:
    """Also the input, as with frozen embeddings, or the state, as after repackaging."""
    inputs = layer_inputs(cell, np.random.default_rng(0), 3, 2, 2, 3)
    pull(run(through_time, cell, inputs), "both").backward()
    expected = gradients(inputs)
    inputs[frozen].requires_grad = False
    pull(run(through_time, cell, inputs), "both").backward()
    assert inputs[frozen].grad is None
    for i, (x, gradient) in enumerate(zip(inputs, expected, strict=True)):
        if i != frozen:
            assert_array_equal(x.grad, gradient)


@each_cell
def test_no_grad_gives_the_same_values_and_no_graph(cell: type[Cell]) -> None:
    inputs = layer_inputs(cell, np.random.default_rng(0), 3, 2, 2, 3)
    recorded = run(through_time, cell, inputs)
    with no_grad():
        plain = run(through_time, cell, inputs)
    assert not any(y.requires_grad for y in plain)
    assert_close([y.data for y in plain], [y.data for y in recorded], tolerance=0)


@each_cell
def test_passes_that_live_at_once_do_not_disturb_each_other(cell: type[Cell]) -> None:
    """Several forward passes, then several backward passes in any order, of different shapes."""
    rng = np.random.default_rng(0)
    sequences = [layer_inputs(cell, rng, T, 2, 3, 4) for T in (5, 5, 2)]
    expected = []
    for inputs in sequences:
        outputs = run(through_time, cell, inputs)
        values = [y.data.copy() for y in outputs]
        pull(outputs, "both").backward()
        expected.append((values, gradients(inputs)))
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        living = [run(through_time, cell, inputs) for inputs in sequences]
        for i in order:
            pull(living[i], "both").backward()
        found = [gradients(inputs) for inputs in sequences]
        for outputs, mine, (values, wanted) in zip(living, found, expected, strict=True):
            assert_close([y.data for y in outputs], values, tolerance=0)
            assert_close(mine, wanted, tolerance=0)


# -------------------------------------------------------------------- truncated


def truncated(layer: nn.Module, x: np.ndarray, state: list[Tensor], chunk: int) -> list[Any]:
    """The total gradients of truncated BPTT: x in chunks, the state detached in between."""
    for start in range(0, len(x), chunk):
        output, *state = step_through(layer, mg.tensor(x[start : start + chunk]), state)
        pull([output], "output", seed=start).backward()
        state = [s.detach() for s in state]
    return gradients(list(layer.parameters()))


@each_layer
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_a_chunk_as_long_as_the_text_is_bptt_in_full(kind: str, bptt: str) -> None:
    layer = LAYERS[kind](2, 3, 2, bptt=bptt).double()
    x = np.random.default_rng(0).standard_normal((6, 2, 2))
    (output, *_) = step_through(layer, mg.tensor(x), [])
    pull([output], "output").backward()
    full = gradients(list(layer.parameters()))
    assert_close(truncated(layer, x, [], chunk=6), full, tolerance=0)
    shorter = truncated(layer, x, [], chunk=3)
    assert max(abs(a - b).max() for a, b in zip(shorter, full, strict=True)) > 1e-3


@each_layer
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_truncation_holds_the_incoming_state_constant(kind: str, bptt: str) -> None:
    """Each chunk agrees with finite differences, where its initial state is a constant.

    The total is the sum over the chunks. Without detaching, it is the full gradient.
    """
    layer = LAYERS[kind](2, 2, 1, bptt=bptt).double()
    rng = np.random.default_rng(0)
    x, state = rng.standard_normal((4, 2, 2)), initial_state(kind, rng, (1, 2, 2))
    parameters = list(layer.parameters())

    constants, expected = [s.detach() for s in state], [0.0] * len(parameters)
    for start in (0, 2):
        chunk, at = mg.tensor(x[start : start + 2]), constants

        def loss(*_: Tensor, chunk: Tensor = chunk, at: Any = at, start: int = start) -> Tensor:
            return pull(step_through(layer, chunk, at)[:1], "output", seed=start)

        assert gradcheck(loss, parameters)
        loss().backward()
        found = gradients(parameters)
        expected = [total + g for total, g in zip(expected, found, strict=True)]
        constants = [s.detach() for s in step_through(layer, chunk, at)[1:]]
    assert_close(truncated(layer, x, [s.detach() for s in state], chunk=2), expected)


@each_layer
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_a_state_that_is_not_detached_carries_the_gradient_on(kind: str, bptt: str) -> None:
    """Two chunks then have the gradients of one sequence, back to the first input and state."""
    layer = LAYERS[kind](2, 3, 2, bptt=bptt).double()
    rng = np.random.default_rng(0)
    x, state = leaf(rng.standard_normal((5, 2, 2))), initial_state(kind, rng, (2, 2, 3))
    leaves = [x, *state, *layer.parameters()]
    pull(step_through(layer, x, state), "both").backward()
    whole = gradients(leaves)

    head, *middle = step_through(layer, x[:2], state)
    tail, *last = step_through(layer, x[2:], middle)
    pull([ops.concatenate([head, tail]), *last], "both").backward()
    assert_close(gradients(leaves), whole)


@each_layer
@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_a_detached_state_frees_the_chunk_before(kind: str, bptt: str) -> None:
    """By reference counting alone: the garbage collector may run late, or never."""
    layer = LAYERS[kind](2, 3, 2, bptt=bptt)
    x = mg.tensor(np.ones((4, 2, 2), np.float32))
    gc.collect()
    gc.disable()
    try:
        output, *state = step_through(layer, x, [])
        seen = [weakref.ref(output), *(weakref.ref(s) for s in state)]
        state = [s.detach() for s in state]
        output = step_through(layer, x, state)[0]
        assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()


# -------------------------------------------------------------------- a fifth cell


def test_a_fifth_cell_learns_through_time() -> None:
    """Needs only a new class; here it learns to output its input of four steps ago."""
    rng = np.random.default_rng(0)
    inputs = layer_inputs(MinimalGatedUnit, rng, 5, 16, 1, 4)
    x, state, *weights = inputs
    x.data = here(rng.choice([-1.0, 1.0], x.shape))
    state.data[...] = 0
    losses = []
    for _ in range(300):
        _, last = run(through_time, MinimalGatedUnit, inputs)
        error = last[:, :1] - x.data[1]
        loss = (error * error).mean()
        loss.backward()
        losses.append(loss.item())
        for weight in weights:
            weight.data -= 0.3 * weight.grad
            weight.zero_grad()
    assert losses[-1] < 0.1 * losses[0]
