"""The recurrent cells: one step of each, three times over.

`equations`      the step as textbooks write it, in differentiable operations: the tape finds
                 its derivative;
`step`           the same step on bare arrays, in place;
`step_backward`  its derivative, by hand.

`bptt` carries the last two through time. A cell knows nothing of time: a fifth one is a class
like these, and nothing else changes.

Every cell sees two projections, of its input and of its previous state, with their biases:

    zx = W_ih x + b_ih        zh = W_hh h + b_hh

In `equations`, batches are rows: zx and zh are (B, G·H), a state (B, H). In the other two they
are columns, as in the mathematics: zx and zh (G, H, B), a state (H, B), so that each of the G
gates is one contiguous block. There `d` + name is the gradient of the loss with respect to name.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ops
from .backend import Array, array_module
from .ops import chunk, logistic
from .tensor import Tensor

Arrays = Sequence[Array]


class Cell:
    """What the loop through time asks of a cell."""

    gates: int  # G, the number of blocks of pre-activations
    states: int  # how many arrays make up the state; the first, h, is also the output
    extra = 0  # how many more (H, B) arrays a step keeps for its derivative
    adds = True  # whether only zx + zh counts: then one gradient serves both

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next state, in differentiable operations."""
        raise NotImplementedError

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, extra: Array) -> None:
        """Write the next state into `state`, and what the derivative needs into zx and `extra`."""
        raise NotImplementedError

    @staticmethod
    def local_derivatives(
        gates: Array, previous: Arrays, state: Arrays, extra: Array
    ) -> tuple[Array, ...]:
        """What of the derivative does not depend on gradients, for all steps at once.

        gates (T, G, H, B) and extra (T, extra, H, B) as `step` left them; previous and state are
        (T, H, B) each. Returns arrays with time along the first axis, of which `step_backward`
        gets its step's.
        """
        raise NotImplementedError

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        """Write dzx (and dzh, unless the cell `adds`) from the gradient of the new state.

        `dstate` then becomes the gradient of the previous state, but for the path through zh.
        """
        raise NotImplementedError


class TanhRNN(Cell):
    """h = tanh(zx + zh)                                                     (Elman 1990)"""

    gates = states = 1

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (ops.tanh(zx + zh),)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, extra: Array) -> None:
        xp = array_module(zx)
        zx += zh
        xp.tanh(zx[0], out=state[0])

    @staticmethod
    def local_derivatives(
        gates: Array, previous: Arrays, state: Arrays, extra: Array
    ) -> tuple[Array, ...]:
        (h,) = state
        return (1 - h * h,)

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        (slope,), (dh,) = local, dstate
        array_module(dzx).multiply(slope, dh, out=dzx[0])
        dh.fill(0)  # the previous h counts through zh alone


class ReLURNN(TanhRNN):
    """h = max(zx + zh, 0)                                           (Le et al. 2015, section 4)"""

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (ops.relu(zx + zh),)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, extra: Array) -> None:
        xp = array_module(zx)
        zx += zh
        xp.maximum(zx[0], 0, out=state[0])

    @staticmethod
    def local_derivatives(
        gates: Array, previous: Arrays, state: Arrays, extra: Array
    ) -> tuple[Array, ...]:
        (h,) = state
        return ((h > 0).astype(h.dtype),)


class LSTM(Cell):
    """i, f, o = σ(zx + zh), g = tanh(zx + zh), one block each, in the order i f g o
    c = f · c_prev + i · g
    h = o · tanh(c)                  (Hochreiter & Schmidhuber 1997; f: Gers et al. 2000)
    """

    gates, states, extra = 4, 2, 1

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        _, c = state
        i, f, g, o = chunk(zx + zh, 4, axis=-1)
        i, f, g, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(g), ops.sigmoid(o)
        c = f * c + i * g
        h = o * ops.tanh(c)
        return h, c

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, extra: Array) -> None:
        xp = array_module(zx)
        zx += zh
        i, f, g, o = zx
        logistic(zx[:2], out=zx[:2])  # i and f
        xp.tanh(g, out=g)
        logistic(o, out=o)
        (_, c_prev), (h, c), (tanh_c,) = previous, state, extra
        xp.multiply(f, c_prev, out=c)
        c += i * g
        xp.tanh(c, out=tanh_c)
        xp.multiply(o, tanh_c, out=h)

    @staticmethod
    def local_derivatives(
        gates: Array, previous: Arrays, state: Arrays, extra: Array
    ) -> tuple[Array, ...]:
        xp = array_module(gates)
        i, f, g, o = gates.swapaxes(0, 1)  # each (T, H, B)
        (_, c_prev), tanh_c = previous, extra[:, 0]
        ifg_of_c = xp.empty_like(gates[:, :3])  # dc/dz of the gates that make up c
        ifg_of_c[:, 0] = g * i * (1 - i)
        ifg_of_c[:, 1] = c_prev * f * (1 - f)
        ifg_of_c[:, 2] = i * (1 - g * g)
        o_of_h = tanh_c * o * (1 - o)  # dh/dz of the output gate
        c_of_h = o * (1 - tanh_c * tanh_c)  # dh/dc
        return ifg_of_c, o_of_h, c_of_h, f

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        xp = array_module(dzx)
        (ifg_of_c, o_of_h, c_of_h, f), (dh, dc) = local, dstate
        dc += dh * c_of_h  # c counts through h as well as through the next step
        xp.multiply(ifg_of_c, dc, out=dzx[:3])
        xp.multiply(o_of_h, dh, out=dzx[3])
        dc *= f
        dh.fill(0)  # the previous h counts through zh alone


class GRU(Cell):
    """r, z = σ(zx + zh), one block each
    n = tanh(zx + r · zh), the third block
    h = (1 - z) · n + z · h_prev     (Cho et al. 2014; the reset after the product, as in cuDNN)
    """

    gates, states, extra, adds = 3, 1, 1, False

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        (h,) = state
        rx, zx, nx = chunk(zx, 3, axis=-1)
        rh, zh, nh = chunk(zh, 3, axis=-1)
        r, z = ops.sigmoid(rx + rh), ops.sigmoid(zx + zh)
        n = ops.tanh(nx + r * nh)
        return ((1 - z) * n + z * h,)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, extra: Array) -> None:
        xp = array_module(zx)
        (h_prev,), (h,), (nh,) = previous, state, extra
        nh[...] = zh[2]
        zx[:2] += zh[:2]
        r, z, n = zx
        logistic(zx[:2], out=zx[:2])  # r and z
        n += r * nh
        xp.tanh(n, out=n)
        xp.subtract(h_prev, n, out=h)
        h *= z
        h += n  # n + z · (h_prev - n)

    @staticmethod
    def local_derivatives(
        gates: Array, previous: Arrays, state: Arrays, extra: Array
    ) -> tuple[Array, ...]:
        xp = array_module(gates)
        r, z, n = gates.swapaxes(0, 1)  # each (T, H, B)
        (h_prev,), nh = previous, extra[:, 0]
        rzn_of_h = xp.empty_like(gates)  # dh/dz of the gates
        rzn_of_h[:, 2] = (1 - z) * (1 - n * n)
        rzn_of_h[:, 1] = (h_prev - n) * z * (1 - z)
        rzn_of_h[:, 0] = rzn_of_h[:, 2] * nh * r * (1 - r)
        return rzn_of_h, r, z

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        xp = array_module(dzx)
        (rzn_of_h, r, z), (dh,) = local, dstate
        xp.multiply(rzn_of_h, dh, out=dzx)
        dzh[:2] = dzx[:2]
        xp.multiply(dzx[2], r, out=dzh[2])
        dh *= z
