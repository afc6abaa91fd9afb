"""The gradient of an embedding: zero in all rows but those of the words in the batch.

With 10,000 words, a dense gradient is 8 MB, of which a batch of 700 words fills at most 7 %. To
clear, measure, scale and apply all of it would cost as much as a layer. `Tensor.grad` is an array
all the same: it becomes one when somebody reads it.
"""

from __future__ import annotations

from typing import Any

from .backend import Array, array_module


class RowGradient:
    """A gradient (V, E) with the given values (n, E) in the given rows (n,), each row once."""

    __array_ufunc__ = None  # an array + a RowGradient is what __radd__ says
    base = None  # as of an array that owns its memory

    def __init__(self, rows: Array, values: Array, size: int) -> None:
        self.rows, self.values = rows, values
        self.shape = size, values.shape[1]
        self.dtype = values.dtype

    @classmethod
    def of_embedding(cls, ids: Array, dy: Array, size: int) -> RowGradient:
        """From ids (n,) and the gradients of the rows they select, dy (n, E): sums equal ids."""
        xp = array_module(dy)
        rows, place = xp.unique(ids, return_inverse=True)
        values = xp.zeros((len(rows), dy.shape[1]), dy.dtype)
        # `add.at` is fastest on single elements.
        elements = place.reshape(-1, 1) * dy.shape[1] + xp.arange(dy.shape[1])
        xp.add.at(values.reshape(-1), elements.reshape(-1), dy.reshape(-1))
        return cls(rows, values, size)

    def dense(self) -> Array:
        """The same as an array."""
        dense = array_module(self.values).zeros(self.shape, self.dtype)
        dense[self.rows] = self.values
        return dense

    def __radd__(self, other: Array) -> Array:
        total = other.copy()
        total[self.rows] += self.values
        return total

    def __add__(self, other: Any) -> Array:
        return dense(other) + self


def dense(gradient: Any) -> Any:
    """An array, or None, for an array, a RowGradient or None."""
    return gradient.dense() if isinstance(gradient, RowGradient) else gradient


def numbers(gradient: Any) -> Array:
    """The array that holds all numbers of a gradient that are not zero: changes in it count."""
    return gradient.values if isinstance(gradient, RowGradient) else gradient
