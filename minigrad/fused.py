"""The GPU path of what a training step does most: few launches, and no waiting for the device.

On a GPU at these sizes not arithmetic takes the time but launching: some 20 µs of the host for
each operation. So here a step of a cell is one matrix product and one kernel, forward and
backward; dropout, the loss, clipping and the update are likewise as few as they can be. Each
function does what the one of the same name does in `bptt`, `functional`, `loss` or `optim`,
where the mathematics is explained, and gives the same numbers to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import cells
from .backend import Array, array_module
from .kernels import kernel, take
from .layout import columns, rows, side_by_side, with_bias
from .tensor import Tensor, record, record_joint

CELLS = {cells.TanhRNN: "tanh", cells.ReLURNN: "relu", cells.LSTM: "lstm", cells.GRU: "gru"}
# A kernel takes at most 4 KB of arguments, and each array with its shape some 50 bytes of them.
GROUP = 16


def covers(cell: type[cells.Cell], array: Array) -> bool:
    """Whether `through_time` here can stand for that of `bptt`."""
    return cell in CELLS and take(array)


def through_time(
    cell: type[cells.Cell],
    x: Tensor,
    state: Sequence[Tensor],
    W_ih: Tensor,
    W_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
) -> tuple[Tensor, ...]:
    """`bptt.through_time`, a product and a kernel a step; shapes and results are the same."""
    T, B, I = x.shape
    G, H = cell.gates, W_hh.shape[1]
    xp, dtype = array_module(x.data), x.dtype
    step = kernel(xp, f"{CELLS[cell]}_step")

    x_rows = x.data.reshape(T * B, I)
    gates = with_bias((x_rows @ W_ih.data.T).reshape(T, B, G * H), b_ih.data)
    extra = xp.empty((T, cell.extra, H, B), dtype)
    states = [xp.empty((T + 1, H, B), dtype) for _ in state]
    for whole, first in zip(states, state, strict=True):
        whole[0] = first.data.T

    h, W, b = states[0], W_hh.data, b_hh.data
    zh = xp.empty((G * H, B), dtype)
    for t in range(T):
        xp.matmul(W, h[t], out=zh)
        step(zh, b, B, *_previous(cell, states, t), gates[t], *_written(states, extra, t))

    def backward(doutput: Array, *dlast: Array) -> list[Array | None]:
        step_backward = kernel(xp, f"{CELLS[cell]}_step_backward")
        dzx = xp.empty((T, G * H, B), dtype)
        dzh = dzx if cell.adds else xp.empty_like(dzx)
        dout = columns(doutput)
        back, *carried = (columns(d) for d in dlast)
        if cell is cells.GRU:  # its h counts for the next also directly
            carried = [xp.zeros((H, B), dtype)]
        for t in reversed(range(T)):
            written = (*carried, dzx[t]) if cell.adds else (*carried, dzx[t], dzh[t])
            step_backward(dout[t], back, *_kept(cell, gates, states, extra, t), *written)
            xp.matmul(W.T, dzh[t], out=back)
        dstate = [back + carried[0]] if cell is cells.GRU else [back, *carried]

        dzx_wide = side_by_side(dzx)
        dzh_wide = dzx_wide if cell.adds else side_by_side(dzh)
        h_prev = side_by_side(h[:-1])
        return [
            (dzx_wide.T @ W_ih.data).reshape(T, B, I) if x.requires_grad else None,
            *(rows(d) if s.requires_grad else None for d, s in zip(dstate, state, strict=True)),
            dzx_wide @ x_rows,
            dzh_wide @ h_prev.T,
            dzx_wide.sum(axis=1),
            dzh_wide.sum(axis=1),
        ]

    return record_joint(
        [rows(h[1:]), *(rows(s[-1]) for s in states)],
        [x, *state, W_ih, W_hh, b_ih, b_hh],
        backward,
    )


def _previous(cell: type[cells.Cell], states: list[Array], t: int) -> list[Array]:
    """Of the state before step t what the step's kernel takes beside the product."""
    return [states[-1][t]] if cell.extra else []


def _written(states: list[Array], extra: Array, t: int) -> list[Array]:
    """What the step's kernel writes beside the gates: the new state, and for the derivative."""
    return [*(s[t + 1] for s in states), *extra[t]]


def _kept(
    cell: type[cells.Cell], gates: Array, states: list[Array], extra: Array, t: int
) -> list[Array]:
    """What the kernel of the derivative needs of step t."""
    if not cell.extra:
        return [states[0][t + 1]]
    return [gates[t], states[-1][t], *extra[t]]


# -------------------------------------------------------------------- dropout and loss


def dropout(input: Tensor, start: np.uint64, threshold: np.uint32, scale: float) -> Tensor:
    """`functional.dropout`, its mask drawn anew for the derivative instead of being kept."""
    run = kernel(array_module(input.data), "dropout")
    return record(
        run(input.data, start, threshold, scale),
        (input, lambda dy: run(dy, start, threshold, scale)),
    )


def keep_mask(xp: Any, shape: tuple[int, ...], start: np.uint64, threshold: np.uint32) -> Array:
    """`random.keep_mask` on the device."""
    mask = xp.empty(shape, bool)
    return kernel(xp, "keep_mask")(start, threshold, mask)


def linear_cross_entropy(
    input: Tensor, weight: Tensor, bias: Tensor | None, targets: Array
) -> Tensor:
    """`loss.linear_cross_entropy` of int64 targets (N,) on the device.

    The gradient of the logits is formed whole, in one kernel. It needs no `add.at`, whose
    atomics would add in another order at every run.
    """
    x, W = input.data, weight.data
    xp, (N, V) = array_module(x), (len(x), len(W))
    z = x @ W.T  # the logits, (N, V)
    if bias is not None:
        z += bias.data
    top = z.max(axis=1)
    e = kernel(xp, "exp_shifted")(z, top[:, None])  # softmax(z) = e / total
    total = e.sum(axis=1)
    losses = kernel(xp, "row_losses")(z, top, total, targets, V)
    del z

    def backward(dy: Array) -> list[Array]:
        dz = kernel(xp, "d_logits")(e, total[:, None], targets[:, None], dy, V, N)
        dx, dW = dz @ W, dz.T @ x
        return [dx, dW] if bias is None else [dx, dW, dz.sum(axis=0)]

    inputs = [input, weight] if bias is None else [input, weight, bias]
    return record_joint([losses.mean()], inputs, backward)[0]


# -------------------------------------------------------------------- clipping and update


def clip_grad_norm_(grads: list[Array], max_norm: float) -> Array:
    """`optim.clip_grad_norm_`: whether to clip is decided on the device, which nobody waits for."""
    xp = array_module(grads[0])
    squares = [xp.vdot(g, g) for g in grads]
    norm, scale = kernel(xp, "clip_scale", len(grads))(*squares, float(max_norm))
    for group in _groups(grads):
        run = kernel(xp, "scale_all", len(group))
        run(scale, *group, size=max(g.size for g in group))
    return norm


def sgd(params: list[Array], grads: list[Array], lr: float) -> None:
    """`optim.SGD` without momentum and weight decay, for many parameters at once."""
    xp = array_module(params[0])
    for pairs in _groups(list(zip(params, grads, strict=True))):
        run = kernel(xp, "sgd", len(pairs))
        size = max(p.size for p, _ in pairs)
        run(*(g for _, g in pairs), float(lr), *(p for p, _ in pairs), size=size)


def together(arrays: Sequence[Array]) -> bool:
    """Whether one kernel can take these arrays: one dtype, contiguous, not empty, on a GPU."""
    return (
        take(arrays[0])
        and len({a.dtype for a in arrays}) == 1
        and all(a.flags.c_contiguous and a.size for a in arrays)
    )


def _groups(items: list[Any]) -> Iterator[list[Any]]:
    return (items[i : i + GROUP] for i in range(0, len(items), GROUP))
