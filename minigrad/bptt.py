"""Backpropagation through time: one algorithm for every cell.

A recurrent layer applies the same cell at every step, so its loss depends on the weights through
every step. `unrolled` records each step on the tape: `backward` through this long graph is
backpropagation through time. `through_time` computes the same gradients by hand.

The forward pass runs the cell from t = 0 to T-1 and saves what the derivative needs. The backward
pass runs from T-1 to 0. At each step, the gradient of the state is a sum: the gradient of this
step's output plus the gradient that comes back from the next step. The cell turns it into the
gradient of its pre-activations, and W_hh.T carries that to the previous step. The gradient of a
weight matrix is a sum over all steps, computed as one matrix product at the end (Werbos 1990).

    forward                         backward
    zx = W_ih x + b_ih, all t       for t, from the last to the first:
    for t:                              dh += doutput[t]
        zh = W_hh h + b_hh              dzx[t], dzh[t], dh = the cell's step_backward
        h  = the cell's step            dh += W_hh.T dzh[t]
                                    dW_ih = Σ_t dzx[t] x[t].T,  dW_hh = Σ_t dzh[t] h[t-1].T

The backward pass ends at the first step of the chunk. The gradient of the initial state goes to the
operation that computed this state. If the state was detached, there is no such operation: this is
truncated BPTT (Williams & Peng 1990).

For small LSTMs, `nn` takes a faster form of `through_time`, in `fast_lstm`.

The arguments and results are (T, B, features). Inside `through_time`, a state is (H, B): each
sequence is a column, as in the equations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import functional as F
from .backend import Array, array_module
from .cells import Cell
from .layout import add_bias_and_transpose, join_steps, transposed
from .ops import stack, unbind
from .tensor import Tensor, record_joint


def unrolled(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """One recurrent layer: the equations of its cell, unrolled on the tape.

    x (T, B, I), each state (B, H), W_ih (G·H, I), W_hh (G·H, H), biases (G·H,).
    Returns the output (T, B, H) and the last step's state, each (B, H).
    """
    output = []
    for zx in unbind(F.linear(x, W_ih, b_ih)):
        zh = F.linear(state[0], W_hh, b_hh)
        state = cell.equations(zx, zh, *state)
        output.append(state[0])
    return stack(output), *state


def through_time(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """The same layer with a hand-written derivative; shapes as for `unrolled`."""
    T, B, _ = x.shape
    G, H = cell.num_gates, W_hh.shape[1]
    xp, dtype = array_module(x.data), x.dtype

    b_zx, b_zh = biases_of_projections(cell, b_ih.data, b_hh.data, B)
    zx = project_inputs(x.data, W_ih.data, b_zx)  # (T, G·H, B), one product for all steps
    gates = zx.reshape(T, G, H, B)  # a view: `step` overwrites zx with the gates
    states = [allocate_states(s.data, T) for s in state]  # (T + 1, H, B) each
    at = list(zip(*states, strict=True))  # at[t] is the state before step t
    saved = xp.empty((T, cell.num_saved, H, B), dtype)
    zh = xp.empty((G * H, B), dtype)
    zh_blocks = zh.reshape(G, H, B)

    with np.errstate(over="ignore"):  # exp may overflow in `logistic`
        for t in range(T):
            xp.dot(W_hh.data, at[t][0], out=zh)
            if b_zh is not None:
                zh += b_zh
            cell.step(gates[t], zh_blocks, at[t], at[t + 1], saved[t])

    def backward(doutput: Array, *dlast: Array) -> list[Array | None]:
        before, after = [s[:-1] for s in states], [s[1:] for s in states]  # of all steps
        local = list(zip(*cell.local_derivatives(gates, before, after, saved), strict=True))
        dzx = xp.empty((T, G, H, B), dtype)
        dzh = dzx if cell.sums_projections else xp.empty_like(dzx)
        dout = transposed(doutput)  # (T, H, B)
        dstate = [transposed(d) for d in dlast]
        dh = dstate[0]  # the same array: `dh +=` changes dstate[0] too
        W_hh_T = W_hh.data.T.copy()  # a contiguous copy halves the time of the products below
        through_weights = xp.empty((H, B), dtype)
        for t in reversed(range(T)):
            dh += dout[t]
            cell.step_backward(local[t], dstate, dzx[t], dzh[t])
            dh += xp.dot(W_hh_T, dzh[t].reshape(G * H, B), out=through_weights)
        dzx, dzh = (dz.reshape(T, G * H, B) for dz in (dzx, dzh))
        return gradients(cell, x, state, W_ih, states[0][:-1], dstate, dzx, dzh)

    return record_joint(
        [transposed(states[0][1:]), *(transposed(s[-1]) for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
        saved=[x, W_ih, W_hh],
    )


# -------------------------------------------------------------------- before and after the loop


def biases_of_projections(
    cell: type[Cell], b_ih: Array, b_hh: Array, B: int
) -> tuple[Array, Array | None]:
    """The biases to add to zx, once for all steps, and to zh, at each step (None: nothing).

    If only zx + zh matters, both biases go into zx. Otherwise b_hh becomes (G·H, B), because
    adding an array of the same shape is faster than broadcasting a column.
    """
    if cell.sums_projections:
        return b_ih + b_hh, None
    return b_ih, array_module(b_hh).repeat(b_hh[:, None], B, axis=1)


def project_inputs(x: Array, W_ih: Array, bias: Array) -> Array:
    """zx = W_ih x + bias for every step: x (T, B, I) to (T, G·H, B)."""
    T, B, I = x.shape
    zx = x.reshape(T * B, I) @ W_ih.T
    return add_bias_and_transpose(zx.reshape(T, B, len(W_ih)), bias)


def allocate_states(first: Array, T: int) -> Array:
    """An array (T + 1, H, B) for the states of all steps; `first`, (B, H), is the first."""
    B, H = first.shape
    states = array_module(first).empty((T + 1, H, B), first.dtype)
    states[0] = first.T
    return states


def gradients(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    h_prev: Array,
    dstate: Sequence[Array],
    dzx: Array,
    dzh: Array,
) -> list[Array | None]:
    """The gradients of x, the states, W_ih, W_hh, b_ih and b_hh; None if not required.

    h_prev (T, H, B), dstate: each (H, B), dzx and dzh (T, G·H, B). For each weight, one product
    computes the sum over all steps: Σ_t dz[t] h[t-1].T = [dz[0] dz[1] …] [h[-1] h[0] …].T.
    """
    T, B, I = x.shape
    dzx, h_prev = join_steps(dzx), join_steps(h_prev)  # (G·H, T·B) and (H, T·B)
    dzh = dzx if cell.sums_projections else join_steps(dzh)
    db_ih = dzx.sum(axis=1)
    return [
        (dzx.T @ W_ih.data).reshape(T, B, I) if x.requires_grad else None,
        *(transposed(d) if s.requires_grad else None for d, s in zip(dstate, state, strict=True)),
        dzx @ x.data.reshape(T * B, I),
        dzh @ h_prev.T,
        db_ih,
        db_ih.copy() if cell.sums_projections else dzh.sum(axis=1),
    ]
