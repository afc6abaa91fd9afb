"""Gradient clipping and SGD on a GPU: one kernel for many arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backend import Array, array_module
from .kernels import kernel

# The arguments of a kernel may fill 4 KB; an array with its shape takes about 50 bytes.
GROUP = 16
# Threads that sum squares: enough to use the memory's bandwidth, few enough for one short sum of
# their results. It is a constant, so that the order of the sum is the same on every GPU.
THREADS = 1 << 16


def clip_grad_norm_(grads: list[Array], max_norm: float) -> Array:
    """`optim.clip_grad_norm_`; the device decides whether to clip, so the host need not wait."""
    xp, groups = array_module(grads[0]), list(_groups(grads))
    threads = min(THREADS, max(g.size for g in grads))
    sums = xp.empty((len(groups), threads), grads[0].dtype)
    for group, row in zip(groups, sums, strict=True):
        kernel(xp, "square_sums", len(group))(*group, row)
    norm = xp.sqrt(sums.sum())
    for group in groups:
        run = kernel(xp, "clip", len(group))
        run(norm, float(max_norm), *group, size=max(g.size for g in group))
    return norm


def sgd(params: list[Array], grads: list[Array], lr: float) -> None:
    """`optim.SGD` without momentum and weight decay, for many parameters at once."""
    xp = array_module(params[0])
    for pairs in _groups(list(zip(params, grads, strict=True))):
        run = kernel(xp, "sgd", len(pairs))
        size = max(p.size for p, _ in pairs)
        run(*(g for _, g in pairs), float(lr), *(p for p, _ in pairs), size=size)


def _groups(items: list[Any]) -> Iterator[list[Any]]:
    return (items[i : i + GROUP] for i in range(0, len(items), GROUP))
