"""How the recording of trace_bptt.py is kept small: each array and each part of one once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


class Index:
    """Things numbered in the order in which they first come."""

    def __init__(self) -> None:
        self.items: dict[Any, int] = {}

    def __call__(self, item: Any) -> int:
        return self.items.setdefault(item, len(self.items))


class Pool:
    """Arrays, each once. Most statements change a few elements only, so arrays share their parts.

    An array is [shape, part, part, …], all numbers: shape is that of `shapes`, a part is H elements
    (or V, for arrays with one row per word; or all, if H does not divide the size), and -n after a
    part means the n that follow it.
    """

    def __init__(self, shapes: Index, H: int, V: int) -> None:
        self.arrays, self.parts = Index(), Index()
        self.shapes, self.H, self.V = shapes, H, V

    def __call__(self, value: Any) -> int:
        array = np.asarray(value)
        size = self.H if array.size % self.H == 0 else array.size
        size = self.V if array.shape[-1:] == (self.V,) else max(size, 1)
        flat = [plain(x) for x in array.reshape(-1)]
        parts = [self.parts(",".join(flat[i : i + size])) for i in range(0, len(flat), size)]
        return self.arrays((self.shapes(array.shape), *runs(parts)))


def runs(numbers: Sequence[int]) -> Iterator[int]:
    """The numbers, but n numbers that continue the one before, counting up, as -n."""
    last, follow = None, 0
    for number in [*numbers, None]:
        if number is not None and last is not None and number == last + 1:
            follow += 1
        else:
            if follow:
                yield -follow
            follow = 0
            if number is not None:
                yield number
        last = number


def plain(number: Any) -> str:
    """A number in units of 1e-7, rounded; below 1e-3 four digits, with an e. NaN is nothing."""
    value = float(number)
    if value != value:
        return ""
    return f"{value:.3e}" if 0 < abs(value) < 1e-3 else str(round(value * 1e7))
