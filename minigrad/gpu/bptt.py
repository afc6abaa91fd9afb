"""`bptt.through_time` on a GPU: one matrix product and one kernel per step and direction."""

from __future__ import annotations

from collections.abc import Sequence

from ..backend import Array, array_module
from ..bptt import allocate_states, gradients, project_inputs
from ..cells import GRU, Cell
from ..layout import transposed
from ..tensor import Tensor, record_joint
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
    T, B, _ = x.shape
    G, H = cell.num_gates, W_hh.shape[1]
    xp, dtype = array_module(x.data), x.dtype
    step = kernel(xp, f"{CELLS[cell]}_step")

    gates = project_inputs(x.data, W_ih.data, b_ih.data)  # the kernel adds b_hh
    saved = xp.empty((T, cell.num_saved, H, B), dtype)
    states = [allocate_states(s.data, T) for s in state]
    h, W, b = states[0], W_hh.data, b_hh.data
    zh = xp.empty((G * H, B), dtype)
    for t in range(T):
        xp.matmul(W, h[t], out=zh)
        step(zh, b, B, *_previous(cell, states, t), gates[t], *_written(states, saved, t))

    def backward(doutput: Array, *dlast: Array) -> list[Array | None]:
        step_backward = kernel(xp, f"{CELLS[cell]}_step_backward")
        dzx = xp.empty((T, G * H, B), dtype)
        dzh = dzx if cell.sums_projections else xp.empty_like(dzx)
        dout = transposed(doutput)
        back, *carried = (transposed(d) for d in dlast)
        if cell is GRU:  # its h_prev also affects h directly, through z h_prev
            carried = [xp.zeros((H, B), dtype)]
        for t in reversed(range(T)):
            written = (*carried, dzx[t]) if dzh is dzx else (*carried, dzx[t], dzh[t])
            step_backward(dout[t], back, *_needed(cell, gates, states, saved, t), *written)
            xp.matmul(W.T, dzh[t], out=back)
        dstate = [back + carried[0]] if cell is GRU else [back, *carried]
        return gradients(cell, x, state, W_ih, h[:-1], dstate, dzx, dzh)

    return record_joint(
        [transposed(h[1:]), *(transposed(s[-1]) for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
        saved=[x, W_ih, W_hh],
    )


def _previous(cell: type[Cell], states: list[Array], t: int) -> list[Array]:
    """The part of the previous state that the kernel of step t reads, besides W_hh h_prev."""
    return [states[-1][t]] if cell.num_saved else []


def _written(states: list[Array], saved: Array, t: int) -> list[Array]:
    """The arrays that the kernel of step t writes, besides the gates: new state, saved values."""
    return [*(s[t + 1] for s in states), *saved[t]]


def _needed(
    cell: type[Cell], gates: Array, states: list[Array], saved: Array, t: int
) -> list[Array]:
    """The arrays of step t that the kernel of its derivative reads."""
    if not cell.num_saved:
        return [states[0][t + 1]]
    return [gates[t], states[-1][t], *saved[t]]
