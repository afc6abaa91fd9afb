"""`bptt.through_time` on a GPU: one matrix product and one kernel per step and direction.

In a small layer, the kernel computes the product too.

A sequence is a row here, as in the arguments: gates are (B, G, H) at each step, a state is (B, H).
So the arrays of all steps are used as they are, without transposing copies. A kernel gets the
arrays of all steps and the number of its step, because a slice takes the host about a microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..backend import Array, array_module
from ..cells import GRU, Cell
from ..tensor import Tensor, record_joint
from . import kernels
from .kernels import CELLS, kernel


def through_time(
    cell: type[Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """One recurrent layer; shapes and results are those of `bptt.through_time`."""
    T, B, I = x.shape
    G, H = cell.num_gates, W_hh.shape[1]
    xp, dtype, W = array_module(x.data), x.dtype, W_hh.data
    inside = H <= kernels.PRODUCT_INSIDE  # the kernels compute the product with W
    suffix = "_with_product" if inside else ""
    step, rows = kernel(xp, f"{CELLS[cell]}_step{suffix}"), x.data.reshape(T * B, I)

    gates = rows @ W_ih.data.T  # (T·B, G·H); the kernel adds the biases
    states = [_all_steps(s.data, T) for s in state]
    saved = [xp.empty((T, B, H), dtype) for _ in range(cell.num_saved)]
    h, weighted = states[0], W.T.copy() if inside else xp.empty((B, G * H), dtype)
    for t in range(T):
        if not inside:
            xp.matmul(h[t], W.T, out=weighted)
        step(weighted, b_ih.data, b_hh.data, H, t, gates, *states, *saved, size=B * H)

    def backward(doutput: Array, *dlast: Array) -> list[Array | None]:
        step_backward = kernel(xp, f"{CELLS[cell]}_step_backward{suffix}")
        dout, (back, *carried) = xp.ascontiguousarray(doutput), dlast
        if cell is GRU:  # its h_prev also affects h directly, through z h_prev
            carried = [xp.zeros((B, H), dtype)]
        to_carry = [xp.empty((B, H), dtype) for _ in carried]
        dzx = xp.empty((T, B, G * H), dtype)
        dzh = dzx if cell.sums_projections else xp.empty_like(dzx)
        dz, through_weights = (dzx,) if dzh is dzx else (dzx, dzh), xp.empty((B, H), dtype)
        for t in reversed(range(T)):
            step_backward(dout, back, *carried, W, gates, *states, *saved, H, t, *to_carry, *dz)
            carried = to_carry
            # A first state without a gradient, as in truncated BPTT, needs no product.
            if state[0].requires_grad if t == 0 else not inside:
                back = xp.matmul(dzh[t], W, out=through_weights)
        dstate = [back + carried[0]] if cell is GRU else [back, *carried]
        dzx, dzh = dzx.reshape(T * B, G * H), dzh.reshape(T * B, G * H)
        db_ih = dzx.sum(axis=0)
        return [
            (dzx @ W_ih.data).reshape(T, B, I) if x.requires_grad else None,
            *(d if s.requires_grad else None for d, s in zip(dstate, state, strict=True)),
            dzx.T @ rows,
            dzh.T @ h[:-1].reshape(T * B, H),
            db_ih,
            db_ih.copy() if cell.sums_projections else dzh.sum(axis=0),
        ]

    return record_joint(
        [h[1:], *(s[-1] for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
        saved=[x, W_ih, W_hh],
    )


def _all_steps(first: Array, T: int) -> Array:
    """An array (T + 1, B, H) for the states of all steps; `first`, (B, H), is the first."""
    states = array_module(first).empty((T + 1, *first.shape), first.dtype)
    states[0] = first
    return states
