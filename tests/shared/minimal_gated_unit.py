"""A fifth cell, as a reader would write it; only tests use it."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import Tensor, ops
from minigrad.backend import Array, array_module
from minigrad.cells import Cell
from minigrad.ops import chunk, logistic

Arrays = Sequence[Array]


class MinimalGatedUnit(Cell):
    """A gated unit with one gate (Zhou et al. 2016).

        f = σ(z_f)    n = tanh(z_n)    where z = zx + zh has two blocks
        h = (1 - f) h_prev + f n

    Backward:

        dz_f = dh (n - h_prev) f(1 - f)    dz_n = dh f (1 - n²)
        dh_prev = dh (1 - f) + W_hh.T dz
    """

    num_gates, num_states = 2, 1

    @staticmethod
    def equations(zx: Tensor, zh: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        (h_prev,) = state
        z_f, z_n = chunk(zx + zh, 2, axis=-1)
        f, n = ops.sigmoid(z_f), ops.tanh(z_n)
        return ((1 - f) * h_prev + f * n,)

    @staticmethod
    def step(zx: Array, zh: Array, previous: Arrays, state: Arrays, saved: Array) -> None:
        z, (h_prev,), (h,) = zx, previous, state
        z += zh
        f, n = z
        logistic(f, out=f)
        array_module(n).tanh(n, out=n)
        h[...] = (1 - f) * h_prev + f * n

    @staticmethod
    def local_derivatives(gates: Array, previous: Arrays, state: Arrays, saved: Array) -> Arrays:
        (h_prev,) = previous
        f, n = gates.swapaxes(0, 1)  # each (T, H, B)
        dh_dz = array_module(gates).empty_like(gates)
        dh_dz[:, 0] = (n - h_prev) * f * (1 - f)
        dh_dz[:, 1] = f * (1 - n * n)
        return dh_dz, 1 - f

    @staticmethod
    def step_backward(local: Arrays, dstate: Arrays, dzx: Array, dzh: Array) -> None:
        (dh_dz, keep), (dh,) = local, dstate
        array_module(dh).multiply(dh, dh_dz, out=dzx)
        dh *= keep
