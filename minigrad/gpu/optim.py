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


def get_total_norm(arrays: list[Array]) -> Array:
    """`optim.get_total_norm`, an array of no dimensions."""
    xp, groups = array_module(arrays[0]), list(_groups(arrays))
    threads = min(THREADS, max(a.size for a in arrays))
    sums = xp.empty((len(groups), threads), arrays[0].dtype)
    for group, row in zip(groups, sums, strict=True):
        kernel(xp, "square_sums", len(group))(*group, row)
    return xp.sqrt(sums.sum())


def clip(grads: list[Array], max_norm: float, norm: Array) -> None:
    """Scale to `max_norm`; the device decides whether to, so the host need not wait."""
    xp = array_module(grads[0])
    norm = xp.asarray(norm, dtype=grads[0].dtype)
    for group in _groups(grads):
        run = kernel(xp, "clip", len(group))
        run(norm, float(max_norm), *group, size=max(g.size for g in group))


def sgd(params: list[Array], grads: list[Array], lr: float) -> None:
    """`optim.SGD` without momentum and weight decay, for many parameters at once."""
    xp = array_module(params[0])
    for pairs in _groups(list(zip(params, grads, strict=True))):
        run = kernel(xp, "sgd", len(pairs))
        size = max(p.size for p, _ in pairs)
        run(*(g for _, g in pairs), float(lr), *(p for p, _ in pairs), size=size)


def _groups(items: list[Any]) -> Iterator[list[Any]]:
    return (items[i : i + GROUP] for i in range(0, len(items), GROUP))
