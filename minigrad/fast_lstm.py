"""`bptt.through_time` for the LSTM on NumPy, in a form that takes less time.

In a small layer most of the time goes into Python: calls, indices, views. So whatever can be
prepared once per sequence is not done at each step. The arithmetic is that of `cells.LSTM`, with
these differences:

- A logistic function is a scaled tanh, σ(z) = ½ + ½ tanh(½ z), so one call computes all gates. The
  inner ½ is multiplied into copies of the weights.
- The order of the gates is i f o g: those with σ are one block. Their gradients are in the order
  of the weights, i f g o.
- h_prev affects h only through W_hh, so `backward` writes W_hh.T dz over the old dh.

The tests compare the two. `through_time` in bptt.py, with `cells.LSTM`, is the one to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bptt import allocate_states, gradients, project_inputs
from .cells import LSTM, Cell
from .layout import transposed
from .tensor import Tensor, record_joint
from .threads import Rows, by_rows

LARGEST = 64  # units: in larger layers the arithmetic takes most of the time
SHORTEST = 8  # steps: in shorter sequences the preparation does


def takes(cell: type[Cell], x: Tensor, W_hh: Tensor) -> bool:
    """Whether this form is the faster one for this cell, x (T, B, I) and W_hh (G·H, H)."""
    small = W_hh.shape[1] <= LARGEST and len(x) >= SHORTEST
    return small and cell is LSTM and isinstance(x.data, np.ndarray)


def through_time(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """One LSTM layer; shapes and results are those of `bptt.through_time`."""
    T, B, _ = x.shape
    H, dtype = W_hh.shape[1], x.dtype
    dot, add, multiply, tanh = np.dot, np.add, np.multiply, np.tanh

    bias = _arranged(b_ih.data + b_hh.data)
    zs = project_inputs(x.data, _arranged(W_ih.data), bias)  # (T, 4·H, B), to become the gates
    gates = zs.reshape(T, 4, H, B)
    hs, cs = states = [allocate_states(s.data, T) for s in state]  # (T + 1, H, B) each
    tanh_cs = np.empty((T, H, B), dtype)
    W, zh, ig = _arranged(W_hh.data), np.empty((4 * H, B), dtype), np.empty((H, B), dtype)
    blocks = gates[:, :3], *gates.swapaxes(0, 1)
    steps = zip(zs, *blocks, hs[:-1], hs[1:], cs[:-1], cs[1:], tanh_cs, strict=True)
    for z, sigmoids, i, f, o, g, h_prev, h, c_prev, c, tanh_c in steps:
        dot(W, h_prev, out=zh)
        add(z, zh, out=z)
        tanh(z, out=z)
        multiply(sigmoids, 0.5, out=sigmoids)
        add(sigmoids, 0.5, out=sigmoids)
        multiply(f, c_prev, out=c)
        multiply(i, g, out=ig)
        add(c, ig, out=c)
        tanh(c, out=tanh_c)
        multiply(o, tanh_c, out=h)

    def backward(doutput: np.ndarray, *dlast: np.ndarray) -> list[np.ndarray | None]:
        dc_dz = np.empty((T, 3, H, B), dtype)  # c depends on i, f and g
        dh_dz_o, dh_dc = np.empty((2, T, H, B), dtype)

        def local_derivatives(t: Rows) -> None:
            (i, f, o, g), c_prev, tanh_c = gates[t].swapaxes(0, 1), cs[:-1][t], tanh_cs[t]
            dc_dz[t][:, 0] = g * i * (1 - i)
            dc_dz[t][:, 1] = c_prev * f * (1 - f)
            dc_dz[t][:, 2] = i * (1 - g * g)
            dh_dz_o[t] = tanh_c * o * (1 - o)
            dh_dc[t] = o * (1 - tanh_c * tanh_c)

        by_rows(local_derivatives, gates)
        dzs = np.empty((T, 4 * H, B), dtype)
        dgates, fs = dzs.reshape(T, 4, H, B), gates[:, 1]
        dh, dc = dstate = [transposed(d) for d in dlast]
        W_T, through_h = W_hh.data.T.copy(), np.empty_like(dh)
        arrays = transposed(doutput), dzs, dgates[:, :3], dgates[:, 3], dc_dz, dh_dz_o, dh_dc, fs
        for dout, dz, dz_c, dz_o, *local in zip(*(a[::-1] for a in arrays), strict=True):
            dc_dz_t, dh_dz_o_t, dh_dc_t, f = local
            add(dh, dout, out=dh)
            multiply(dh, dh_dc_t, out=through_h)
            add(dc, through_h, out=dc)
            multiply(dc, dc_dz_t, out=dz_c)
            multiply(dh, dh_dz_o_t, out=dz_o)
            multiply(dc, f, out=dc)
            dot(W_T, dz, out=dh)
        return gradients(cell, x, state, W_ih, hs[:-1], dstate, dzs, dzs)

    return record_joint(
        [transposed(hs[1:]), *(transposed(s[-1]) for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
        saved=[x, W_ih, W_hh],
    )


def _arranged(w: np.ndarray) -> np.ndarray:
    """The blocks i f g o of a weight or bias as ½i ½f ½o g, in a copy."""
    i, f, g, o = w.reshape(4, -1)
    return np.stack([i / 2, f / 2, o / 2, g]).reshape(w.shape)
