"""Count what a real device would have to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Counts:
    """launches: kernels, products, fills and copies on the device. syncs: how often the host waits
    for it. uploads: copies from the host to it, `uploaded` bytes in all."""

    launches: int = 0
    syncs: int = 0
    uploads: int = 0
    uploaded: int = 0


counts = Counts()


@contextmanager
def counted() -> Iterator[Counts]:
    """The counts of the block, available when it ends."""
    before = Counts(**vars(counts))
    inside = Counts()
    try:
        yield inside
    finally:
        for name, value in vars(counts).items():
            setattr(inside, name, value - getattr(before, name))
