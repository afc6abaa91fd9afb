"""The recurrent cells: one step of each, as equations and with a hand-written derivative.

A cell is a class with four methods:

`equations`          the step in differentiable operations
`step`               the same step on arrays, in place
`local_derivatives`  the factors of the derivative that do not depend on upstream gradients
`step_backward`      the derivative of one step: these factors times the upstream gradients

`bptt` runs the last three through time. The factors, such as 1 - h², are known for all steps when
the forward pass ends. One call computes them all: a call per step would be slower.

The input of every cell is two projections, one of x and one of the previous h:

    zx = W_ih x + b_ih        zh = W_hh h_prev + b_hh

In `equations`, a sequence is a row: zx and zh are (B, G·H), a state is (B, H). Elsewhere it is a
column: zx and zh are (G, H, B), a state is (H, B), so that each of the G gates is one contiguous
block. dy is the gradient of the loss with respect to y, dy_dx the derivative of y by x.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ops
from .backend import Array, array_module
from .ops import chunk, logistic
from .tensor import Tensor

Arrays = Sequence[Array]

CELLS: dict[str, type[Cell]] = {}  # every cell by its name


class Cell:
    """The interface of a cell. `class MyCell(Cell, name="MY")` registers one in `CELLS`."""

    num_gates: int  # G, the number of blocks of pre-activations
    num_states: int  # how many arrays make up the state; the first, h, is also the output
    num_saved = 0  # how many (H, B) arrays a step saves for its derivative, besides the gates
    sums_projections = True  # whether the step depends on zx + zh only, so that dzx = dzh
    sgd_lr = 1.0  # a good learning rate for SGD with gradient clipping

    def __init_subclass__(cls, name: str | None = None) -> None:
        if name is not None:
            CELLS[name] = cls

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next state, in differentiable operations."""
        raise NotImplementedError

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        """Write the next state into `state`, the gates into zx, and other values into `saved`."""
        raise NotImplementedError

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        """The factors of all T steps, each (T, ...); `step_backward` gets the slices of its step.

        gates (T, G, H, B), saved (T, num_saved, H, B); previous and state: each (T, H, B).
        """
        raise NotImplementedError

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        """From the gradient of the new state, compute dzx (and dzh, unless `sums_projections`).

        In place, `dstate` becomes the gradient of the previous state, without the path through zh.
        """
        raise NotImplementedError


class TanhRNN(Cell, name="RNN_TANH"):
    """The simple recurrent network (Elman 1990).

    h = tanh(z)         with z = zx + zh
    dz = dh (1 - h²)    dh_prev = W_hh.T dz    (added by bptt)
    """

    num_gates, num_states, sgd_lr = 1, 1, 3.0

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (ops.tanh(zx + zh),)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        z, (h,) = zx, state
        z += zh  # in place: zx becomes z
        array_module(z).tanh(z[0], out=h)

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        (h,) = state
        return (1 - h * h,)

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        (dh_dz,), (dh,) = local, dstate
        array_module(dh).multiply(dh, dh_dz, out=dzx[0])
        dh.fill(0)  # h_prev affects h only through zh


class ReLURNN(TanhRNN, name="RNN_RELU"):
    """The same with h = max(z, 0) (Le et al. 2015, section 4): dz = dh if h > 0, else 0."""

    sgd_lr = 2.0

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (ops.relu(zx + zh),)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        z, (h,) = zx, state
        z += zh  # in place: zx becomes z
        array_module(z).maximum(z[0], 0, out=h)

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        (h,) = state
        return ((h > 0).astype(h.dtype),)


class LSTM(Cell, name="LSTM"):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

        i = σ(z_i)    f = σ(z_f)    g = tanh(z_g)    o = σ(z_o)
        c = f c_prev + i g
        h = o tanh(c)

    where z = zx + zh has four blocks, in the order i f g o. The state is (h, c). Backward:

        dc  += dh o (1 - tanh²(c))    (c affects the loss through h and through the next step)
        dz_i = dc g i(1 - i)          dz_f = dc c_prev f(1 - f)
        dz_g = dc i (1 - g²)          dz_o = dh tanh(c) o(1 - o)
        dc_prev = dc f                dh_prev = W_hh.T dz    (added by bptt)
    """

    num_gates, num_states, num_saved, sgd_lr = 4, 2, 1, 20.0

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        _, c_prev = state
        z_i, z_f, z_g, z_o = chunk(zx + zh, 4, axis=-1)
        i, f, g, o = ops.sigmoid(z_i), ops.sigmoid(z_f), ops.tanh(z_g), ops.sigmoid(z_o)
        c = f * c_prev + i * g
        h = o * ops.tanh(c)
        return h, c

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        (_, c_prev), (h, c), (tanh_c,) = previous, state, saved
        xp, z = array_module(zx), zx
        z += zh  # in place: zx becomes z, then the gates
        i, f, g, o = z
        logistic(z[:2], out=z[:2])  # i and f
        xp.tanh(g, out=g)
        logistic(o, out=o)
        xp.multiply(f, c_prev, out=c)
        c += i * g
        xp.tanh(c, out=tanh_c)
        xp.multiply(o, tanh_c, out=h)

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        (_, c_prev), tanh_c = previous, saved[:, 0]
        i, f, g, o = gates.swapaxes(0, 1)  # each (T, H, B)
        dc_dz = array_module(gates).empty_like(gates[:, :3])  # c depends on three of the gates
        dc_dz[:, 0] = g * i * (1 - i)
        dc_dz[:, 1] = c_prev * f * (1 - f)
        dc_dz[:, 2] = i * (1 - g * g)
        dh_dz_o = tanh_c * o * (1 - o)
        dh_dc = o * (1 - tanh_c * tanh_c)
        return dc_dz, dh_dz_o, dh_dc, f

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        (dc_dz, dh_dz_o, dh_dc, f), (dh, dc) = local, dstate
        xp = array_module(dh)
        dc += dh * dh_dc
        xp.multiply(dc, dc_dz, out=dzx[:3])
        xp.multiply(dh, dh_dz_o, out=dzx[3])
        dc *= f
        dh.fill(0)  # h_prev affects h only through zh


class GRU(Cell, name="GRU"):
    """Gated recurrent unit (Cho et al. 2014; r is applied after W_hh, as in PyTorch).

        r = σ(zx_r + zh_r)    z = σ(zx_z + zh_z)    n = tanh(zx_n + r zh_n)
        h = (1 - z) n + z h_prev

    zx and zh have blocks in the order r z n. Backward (dz_r: gradient of zx_r + zh_r, and so on):

        dz_n = dh (1 - z) (1 - n²)    dz_z = dh (h_prev - n) z(1 - z)
        dz_r = dz_n zh_n r(1 - r)
        dzx  = dz_r, dz_z, dz_n       dzh = dz_r, dz_z, r dz_n
        dh_prev = dh z + W_hh.T dzh   (the second term added by bptt)

    r scales the third block of b_hh but not that of b_ih: their gradients differ.
    """

    num_gates, num_states, num_saved, sgd_lr = 3, 1, 1, 10.0
    sums_projections = False

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        (h_prev,) = state
        zx_r, zx_z, zx_n = chunk(zx, 3, axis=-1)
        zh_r, zh_z, zh_n = chunk(zh, 3, axis=-1)
        r, z = ops.sigmoid(zx_r + zh_r), ops.sigmoid(zx_z + zh_z)
        n = ops.tanh(zx_n + r * zh_n)
        return ((1 - z) * n + z * h_prev,)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        (h_prev,), (h,), (zh_n,) = previous, state, saved
        xp, gates = array_module(zx), zx  # in place: zx becomes the gates
        zh_n[...] = zh[2]
        gates[:2] += zh[:2]
        r, z, n = gates
        logistic(gates[:2], out=gates[:2])  # r and z
        n += r * zh_n
        xp.tanh(n, out=n)
        xp.subtract(h_prev, n, out=h)
        h *= z
        h += n  # n + z (h_prev - n)

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        (h_prev,), zh_n = previous, saved[:, 0]
        r, z, n = gates.swapaxes(0, 1)  # each (T, H, B)
        dh_dz = array_module(gates).empty_like(gates)
        dh_dz[:, 2] = (1 - z) * (1 - n * n)
        dh_dz[:, 1] = (h_prev - n) * z * (1 - z)
        dh_dz[:, 0] = dh_dz[:, 2] * zh_n * r * (1 - r)
        return dh_dz, r, z

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        (dh_dz, r, z), (dh,) = local, dstate
        xp = array_module(dh)
        xp.multiply(dh, dh_dz, out=dzx)
        dzh[:2] = dzx[:2]
        xp.multiply(dzx[2], r, out=dzh[2])
        dh *= z
