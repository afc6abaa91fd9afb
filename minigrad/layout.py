"""The memory layout of the arrays of a recurrent layer, and the copies that change it.

The arguments of a layer are (T, B, features): each sequence is a row of a step. Inside `bptt`, as
in the equations, it is a column: a step is (features, B).
"""

from __future__ import annotations

from .backend import Array, array_module
from .threads import Rows, by_rows


def transposed(x: Array) -> Array:
    """(..., B, F) to (..., F, B), or back: a copy with the last two axes exchanged."""
    return x.swapaxes(-1, -2).copy()


def add_bias_and_transpose(z: Array, bias: Array) -> Array:
    """transposed(z + bias) in one pass: z (T, B, F) and bias (F,) to (T, F, B)."""
    xp = array_module(z)
    T, B, F = z.shape
    y = xp.empty((T, F, B), z.dtype)
    by_rows(lambda t: xp.add(z[t].swapaxes(1, 2), bias[:, None], out=y[t]), y)
    return y


def join_steps(x: Array) -> Array:
    """The columns of all steps side by side in one matrix: (T, F, B) to (F, T·B)."""
    T, F, B = x.shape
    y = array_module(x).empty((F, T, B), x.dtype)

    def copy(f: Rows) -> None:
        y[f] = x.swapaxes(0, 1)[f]

    by_rows(copy, y)
    return y.reshape(F, T * B)
