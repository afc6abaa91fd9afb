"""What a real device would be asked to do, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Counts:
    """launches: kernels, products, fills and copies on the device. syncs: times the host waits
    for it. uploads: copies from the host to it, `uploaded` bytes in all."""

    launches: int = 0
    syncs: int = 0
    uploads: int = 0
    uploaded: int = 0


counts = Counts()


@contextmanager
def counted() -> Iterator[Counts]:
    """What happens inside the block, once it has ended."""
    before = Counts(**vars(counts))
    inside = Counts()
    try:
        yield inside
    finally:
        for name, value in vars(counts).items():
            setattr(inside, name, value - getattr(before, name))
