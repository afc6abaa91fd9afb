"""Recurrent layers and cells, with PyTorch's names and parameter layouts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from .. import cells, fast_lstm, random
from .. import functional as F
from ..backend import array_module
from ..bptt import through_time, unrolled
from ..checks import check_tensor, same_dtype
from ..gpu import bptt as on_gpu
from ..gpu.kernels import takes
from ..ops import concatenate, stack, unbind
from ..tensor import Tensor
from .module import Module, Parameter

PASSES = {"manual": through_time, "autograd": unrolled}
# The axes of (T, B, features) along which the dropout mask broadcasts: time for variational
# dropout (Gal & Ghahramani 2016).
DROPOUT_KINDS: dict[str, tuple[int, ...]] = {"standard": (), "variational": (0,)}


def _rnn_cell(nonlinearity: str) -> type[cells.Cell]:
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', not {nonlinearity!r}")
    return cells.CELLS[f"RNN_{nonlinearity.upper()}"]


class Recurrent(Module):
    """Stacked recurrent layers of any cell; the base class of RNN, LSTM and GRU.

    Parameters weight_ih_l{k} (G·H, input), weight_hh_l{k} (G·H, H), bias_ih_l{k} and
    bias_hh_l{k} (G·H,), uniform in ±1/√H; G is the cell's number of gates.

    dropout       probability; applied between the layers, not after the last
    batch_first   input and output are (B, T, ·) instead of (T, B, ·); the states do not change
    bidirectional each layer also reads the sequence backwards, with separate parameters
                  weight_ih_l{k}_reverse and so on; both outputs, concatenated to (T, B, 2·H),
                  are the input of the next layer (Schuster & Paliwal 1997)
    bptt          "manual" uses the hand-written backward pass, "autograd" unrolls the cell on
                  the tape; the results are the same
    dropout_kind  "standard", or "variational": one mask per sequence, the same at every step

    Raises ValueError for a size below 1, a dropout outside [0, 1], or an unknown kind.
    """

    def __init__(
        self,
        cell: type[cells.Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        bptt: str = "manual",
        dropout_kind: str = "standard",
        batch_first: bool = False,
        bidirectional: bool = False,
    ) -> None:
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(
                "the sizes of a recurrent layer must be at least 1, not input_size="
                f"{input_size}, hidden_size={hidden_size}, num_layers={num_layers}"
            )
        if bptt not in PASSES:
            raise ValueError(f"bptt must be 'manual' or 'autograd', not {bptt!r}")
        F.check_probability("dropout between layers", dropout)
        if dropout_kind not in DROPOUT_KINDS:
            raise ValueError(
                f"dropout_kind must be 'standard' or 'variational', not {dropout_kind!r}"
            )
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.bptt = bptt
        self.dropout_shared = DROPOUT_KINDS[dropout_kind]
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.directions = ("", "_reverse") if bidirectional else ("",)
        bound = 1 / math.sqrt(hidden_size)
        gates = cell.num_gates * hidden_size
        for layer, direction in itertools.product(range(num_layers), self.directions):
            inputs = hidden_size * len(self.directions) if layer else input_size
            for name, shape in {
                "weight_ih": (gates, inputs),
                "weight_hh": (gates, hidden_size),
                "bias_ih": (gates,),
                "bias_hh": (gates,),
            }.items():
                parameter = Parameter(random.uniform(-bound, bound, shape))
                setattr(self, f"{name}_l{layer}{direction}", parameter)

    def weights(self, layer: int, direction: str = "") -> list[Parameter]:
        """weight_ih, weight_hh, bias_ih and bias_hh of one layer; direction is "" or "_reverse"."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l{layer}{direction}") for name in names]

    def extra_repr(self) -> str:
        options = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        given = [f"{k}={getattr(self, k)}" for k, v in options.items() if getattr(self, k) != v]
        cell = [self.cell.__name__] if type(self) is Recurrent else []
        return ", ".join([*cell, f"{self.input_size}, {self.hidden_size}", *given])

    def forward(
        self, input: Tensor, hidden: Tensor | Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """input (T, B, input_size) to output (T, B, H) and the state after the last step.

        The state is a tensor (num_layers, B, H), for LSTM a pair (h, c) of them; by default it
        is zero. If bidirectional, the output is (T, B, 2·H) and the state (2·num_layers, B, H), in
        the order layer 0, layer 0 reverse, layer 1, and so on. With batch_first, input and output
        are (B, T, ...). Raises ValueError for a wrong shape, TypeError for a wrong dtype.
        """
        check_tensor(type(self).__name__, input)
        time, order = (1, "B, T") if self.batch_first else (0, "T, B")
        if input.ndim != 3 or input.shape[time] < 1 or input.shape[2] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: the input must be ({order}, {self.input_size}) with T of "
                f"at least 1, not {input.shape}"
            )
        if self.batch_first:
            input = input.transpose(0, 1)
        shape = (self.num_layers * len(self.directions), input.shape[1], self.hidden_size)
        first = _states(type(self).__name__, self.cell, hidden, input, shape)
        weights = self.weights(0)
        same_dtype(type(self).__name__, input, *weights)
        one_layer = PASSES[self.bptt]
        if one_layer is through_time:
            if takes(weights[0].data, cell=self.cell):
                one_layer = on_gpu.through_time
            elif fast_lstm.takes(self.cell, input, weights[1]):
                one_layer = fast_lstm.through_time
        last = []
        output = input
        states = zip(*(unbind(s) for s in first), strict=True)
        for layer in range(self.num_layers):
            if layer:
                output = F.dropout(output, self.dropout, self.training, shared=self.dropout_shared)
            read = []
            for d, direction in enumerate(self.directions):
                state, weights = next(states), self.weights(layer, direction)
                one, *end = one_layer(self.cell, output[::-1] if d else output, state, *weights)
                read.append(one[::-1] if d else one)
                last.append(end)
            output = concatenate(read, axis=-1) if len(read) > 1 else read[0]
        output = output.transpose(0, 1) if self.batch_first else output
        return output, _tensor_or_tuple([stack(layers) for layers in zip(*last, strict=True)])


def _states(
    layer: str,
    cell: type[cells.Cell],
    hidden: Tensor | Sequence[Tensor] | None,
    input: Tensor,
    shape: tuple[int, ...],
) -> Sequence[Tensor]:
    """The state as a list of tensors of this shape, zeros for None (ValueError for others)."""
    if hidden is None:
        zeros = array_module(input.data).zeros(shape, input.dtype)
        return [Tensor(zeros)] * cell.num_states
    states = [hidden] if isinstance(hidden, Tensor) else list(hidden)
    for state in states:
        check_tensor(f"{layer}, hidden state", state)
    if len(states) != cell.num_states or any(s.shape != shape for s in states):
        names = {1: "a tensor", 2: "a pair (h, c), each"}
        wanted = names.get(cell.num_states, f"{cell.num_states} tensors, each")
        raise ValueError(
            f"{layer}: the hidden state must be {wanted} of shape {shape}, "
            f"not {' and '.join(str(s.shape) for s in states) or 'empty'}"
        )
    same_dtype(layer, input, *states, are="hidden state is", convert="tensor(x, dtype=...)")
    return states


def _tensor_or_tuple(states: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """The state as a layer returns it: one tensor, or a tuple of several."""
    return states[0] if len(states) == 1 else tuple(states)


class RNN(Recurrent):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or max(·, 0); see `cells.TanhRNN`.

    The options are those of `Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        **options: Any,
    ) -> None:
        super().__init__(_rnn_cell(nonlinearity), input_size, hidden_size, num_layers, **options)
        self.nonlinearity = nonlinearity


class LSTM(Recurrent):
    """Long short-term memory, gates in the order i f g o; see `cells.LSTM`.

    The options are those of `Recurrent`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any
    ) -> None:
        super().__init__(cells.LSTM, input_size, hidden_size, num_layers, **options)


class GRU(Recurrent):
    """Gated recurrent unit, gates in the order r z n; see `cells.GRU`.

    The options are those of `Recurrent`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any
    ) -> None:
        super().__init__(cells.GRU, input_size, hidden_size, num_layers, **options)


class RecurrentCell(Module):
    """One step in differentiable operations; the base class of the three cells below.

    Parameters weight_ih (G·H, input), weight_hh (G·H, H), bias_ih and bias_hh (G·H,), uniform in
    ±1/√H.
    """

    def __init__(self, cell: type[cells.Cell], input_size: int, hidden_size: int) -> None:
        if min(input_size, hidden_size) < 1:
            raise ValueError(
                "the sizes of a recurrent cell must be at least 1, not "
                f"input_size={input_size}, hidden_size={hidden_size}"
            )
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        bound, gates = 1 / math.sqrt(hidden_size), cell.num_gates * hidden_size
        self.weight_ih = Parameter(random.uniform(-bound, bound, (gates, input_size)))
        self.weight_hh = Parameter(random.uniform(-bound, bound, (gates, hidden_size)))
        self.bias_ih = Parameter(random.uniform(-bound, bound, (gates,)))
        self.bias_hh = Parameter(random.uniform(-bound, bound, (gates,)))

    def extra_repr(self) -> str:
        return f"{self.weight_ih.shape[1]}, {self.hidden_size}"

    def forward(
        self, input: Tensor, hidden: Tensor | Sequence[Tensor] | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """input (B, input_size) and state (B, H), for LSTM a pair (h, c), to the next state.

        The state is zero by default. Raises ValueError for a wrong shape, TypeError for a wrong
        dtype.
        """
        name = type(self).__name__
        check_tensor(name, input)
        if input.ndim != 2 or input.shape[1] != self.input_size:
            raise ValueError(f"{name}: the input must be (B, {self.input_size}), not {input.shape}")
        state = _states(name, self.cell, hidden, input, (input.shape[0], self.hidden_size))
        same_dtype(name, input, self.weight_ih)
        zx = F.linear(input, self.weight_ih, self.bias_ih)
        zh = F.linear(state[0], self.weight_hh, self.bias_hh)
        return _tensor_or_tuple(self.cell.equations(zx, zh, *state))


class RNNCell(RecurrentCell):
    """One step of an RNN with tanh or ReLU."""

    def __init__(self, input_size: int, hidden_size: int, *, nonlinearity: str = "tanh") -> None:
        super().__init__(_rnn_cell(nonlinearity), input_size, hidden_size)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        kind = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + kind


class LSTMCell(RecurrentCell):
    """One step of an LSTM; the state is the pair (h, c)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(cells.LSTM, input_size, hidden_size)


class GRUCell(RecurrentCell):
    """One step of a GRU."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(cells.GRU, input_size, hidden_size)
