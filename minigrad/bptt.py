"""Backpropagation through time: one algorithm for every cell.

Forward, the cell steps from t = 0 to T-1 and keeps what the derivative needs. Backward walks
the same steps from T-1 to 0: at each, the gradient of the state is what comes from the output
at that step plus what the later steps have sent back; the cell turns it into the gradient of
its pre-activations, and the recurrent weights send that on to the step before. The gradient of
the weights is a sum over all steps, which one matrix product forms at the end (Werbos 1990).

    forward                         backward
    zx = W_ih x + b_ih, all t       for t, from the last to the first:
    for t:                              dh += doutput[t]
        zh = W_hh h + b_hh              dzx[t], dzh[t], dh = the cell's step_backward
        h  = the cell's step            dh += W_hh.T dzh[t]
                                    dW_ih = Σ_t dzx[t] x[t].T,  dW_hh = Σ_t dzh[t] h[t-1].T

The walk ends at the first step of the chunk: the gradient of the incoming state is handed on to
whoever made that state. If it was detached, nobody did, and BPTT is truncated there (Williams &
Peng 1990).

Outside, sequences are (T, B, features). Inside, as in the equations, a state is a column per
sequence, (H, B).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import functional as F
from . import fused
from .backend import Array, array_module
from .cells import Cell
from .layout import columns, rows, side_by_side, with_bias
from .ops import stack, unbind
from .tensor import Tensor, record_joint


def through_time(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """One recurrent layer, with its derivative by hand.

    x (T, B, I), each state (B, H), W_ih (G·H, I), W_hh (G·H, H), biases (G·H,).
    Returns the output (T, B, H) and the last step's state, each (B, H).
    """
    if fused.covers(cell, x.data):  # on a GPU
        return fused.through_time(cell, x, state, W_ih, W_hh, b_ih, b_hh)
    T, B, I = x.shape
    G, H = cell.gates, W_hh.shape[1]
    xp, dtype = array_module(x.data), x.dtype
    x_rows = x.data.reshape(T * B, I)

    if cell.adds:  # only zx + zh counts: both biases can be added at once, before the walk
        b_zx, b_zh = b_ih.data + b_hh.data, None
    else:  # in full, which adds faster than a column
        b_zx, b_zh = b_ih.data, xp.repeat(b_hh.data[:, None], B, axis=1)
    # All inputs projected in one product. `step` overwrites these with the gates.
    gates = with_bias((x_rows @ W_ih.data.T).reshape(T, B, G * H), b_zx).reshape(T, G, H, B)
    extra = xp.empty((T, cell.extra, H, B), dtype)
    states = [xp.empty((T + 1, H, B), dtype) for _ in state]
    for whole, first in zip(states, state, strict=True):
        whole[0] = first.data.T

    zh = xp.empty((G, H, B), dtype)
    zh_flat = zh.reshape(G * H, B)
    at = list(zip(*states, strict=True))  # at[t] is the state before step t
    with np.errstate(over="ignore"):  # of `logistic`
        for t in range(T):
            xp.matmul(W_hh.data, at[t][0], out=zh_flat)
            if b_zh is not None:
                zh_flat += b_zh
            cell.step(gates[t], zh, at[t], at[t + 1], extra[t])

    def backward(doutput: Array, *dlast: Array) -> list[Array]:
        before, after = [s[:-1] for s in states], [s[1:] for s in states]  # each step
        local = list(zip(*cell.local_derivatives(gates, before, after, extra), strict=True))
        dzx = xp.empty((T, G, H, B), dtype)
        dzh = dzx if cell.adds else xp.empty_like(dzx)
        dout = columns(doutput)  # (T, H, B)
        dstate = [columns(d) for d in dlast]
        dh, through_weights = dstate[0], xp.empty((H, B), dtype)
        W_hh_T = W_hh.data.T.copy()  # row by row in memory, as products take it fastest
        for t in reversed(range(T)):
            dh += dout[t]
            cell.step_backward(local[t], dstate, dzx[t], dzh[t])
            dh += xp.matmul(W_hh_T, dzh[t].reshape(G * H, B), out=through_weights)

        # One product over all steps for each weight.
        dzx_wide = side_by_side(dzx.reshape(T, G * H, B))
        dzh_wide = dzx_wide if cell.adds else side_by_side(dzh.reshape(T, G * H, B))
        h_prev = side_by_side(states[0][:-1])
        db_ih = dzx_wide.sum(axis=1)
        db_hh = db_ih.copy() if cell.adds else dzh_wide.sum(axis=1)
        return [
            (dzx_wide.T @ W_ih.data).reshape(T, B, I),
            *(rows(d) for d in dstate),
            dzx_wide @ x_rows,
            dzh_wide @ h_prev.T,
            db_ih,
            db_hh,
        ]

    return record_joint(
        [rows(states[0][1:]), *(rows(s[-1]) for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
        saved=[x, W_ih, W_hh],
    )


def unrolled(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """The same layer as `through_time`, its cell's equations unrolled on the tape."""
    output = []
    for zx in unbind(F.linear(x, W_ih, b_ih)):
        zh = F.linear(state[0], W_hh, b_hh)
        state = cell.equations(zx, zh, *state)
        output.append(state[0])
    return stack(output), *state
