"""All random numbers of the library. `manual_seed` seeds them.

Each thread has its own generator, so that two models trained in two threads give the same results
as one after the other. On a GPU, dropout uses a counter-based generator (`gpu.masks`) instead. It
is seeded, saved and restored here too.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .backend import Array, current_module, get_default_dtype
from .gpu import masks

BLOCK = 1 << 20  # draws at a time


class _State(threading.local):
    generator: np.random.Generator | None = None  # made at first use: its import takes time
    columns: tuple[int, int, int] | None = None  # see `columns`; None for whole masks


_state = _State()


def manual_seed(seed: int | None) -> None:
    """Seed all random numbers of the library in this thread: dropout, initial weights, samples.

    None takes a seed from the operating system, as an unseeded thread does at first use.
    """
    _state.generator = np.random.default_rng(seed)
    masks.set_state(int(_state.generator.bit_generator.state["state"]["state"]))


def generator() -> np.random.Generator:
    """This thread's generator. It runs on the host, also with the CuPy backend."""
    if _state.generator is None:
        manual_seed(None)
    assert _state.generator is not None
    return _state.generator


def get_state() -> dict[str, Any]:
    """The state of the generator and of the dropout masks, as a dict that fits into JSON."""
    return {**generator().bit_generator.state, "masks": masks.get_state()}


def set_state(state: dict[str, Any]) -> None:
    """Restore a state from `get_state`, also on another backend."""
    stream = {name: value for name, value in state.items() if name != "masks"}
    generator().bit_generator.state = stream
    masks.set_state(**state.get("masks", {"key": stream["state"]["state"]}))


def uniform(low: float, high: float, shape: tuple[int, ...]) -> Array:
    """Numbers uniform in [low, high), in the default dtype, on the current backend."""
    return _drawn(shape, lambda n: generator().uniform(low, high, n))


def normal(shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, in the default dtype, on the current backend."""
    return _drawn(shape, lambda n: generator().standard_normal(n))


def _drawn(shape: tuple[int, ...], draw: Callable[[int], np.ndarray]) -> Array:
    """An array of draws, filled in blocks: all of them as doubles would need twice its memory."""
    drawn = np.empty(shape, get_default_dtype())
    flat = drawn.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        block[...] = draw(block.size)
    return current_module().asarray(drawn)


@contextlib.contextmanager
def columns(start: int, stop: int, total: int) -> Iterator[None]:
    """Inside `with`, every mask is columns `start` to `stop` (axis 1) of one with `total` columns.

    The generator advances as for the whole mask. So those who compute a batch together, each some
    of its columns, use the same masks and end with the same state as one who computes all of it.
    """
    before, _state.columns = _state.columns, (start, stop, total)
    try:
        yield
    finally:
        _state.columns = before


def position(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Where the elements of a mask of this shape lie in the whole one: width, stride, offset.

    Element i is element i // width * stride + i % width + offset of the whole. Raises ValueError if
    the shape does not have as many columns as `columns` says.
    """
    if _state.columns is None:
        return math.prod(shape), 0, 0
    start, stop, total = _state.columns
    if len(shape) < 2 or shape[1] != stop - start:
        raise ValueError(f"a mask of shape {shape} does not have the columns {start} to {stop}")
    size = math.prod(shape[2:])
    return (stop - start) * size, total * size, start * size


def keep_mask(shape: tuple[int, ...], p: float) -> np.ndarray:
    """A mask for dropout: each element is True (keep) with probability 1 - p.

    Raises ValueError if it does not have as many columns as `columns` says.
    """
    place = position(shape)
    bits = _bits(place[0]) if _state.columns is None else _bits_of_columns(shape[0], *place)
    return (bits >= round(p * 2**32)).reshape(shape)


def _bits(n: int) -> np.ndarray:
    """n numbers of 32 bits: two from each draw, of which the last may leave one unused."""
    return generator().bit_generator.random_raw((n + 1) // 2).view(np.uint32)[:n]


def _bits_of_columns(rows: int, width: int, stride: int, offset: int) -> np.ndarray:
    """Those of `_bits(rows * stride)` that belong to some columns, without drawing the others."""
    stream: Any = generator().bit_generator
    before, drawn = stream.state, 0
    bits = np.empty((rows, width), np.uint32)
    for row in range(rows):
        first = row * stride + offset
        end = first + width
        stream.advance(first // 2 - drawn)  # -1 if the row before used half of a draw
        drawn = (end + 1) // 2
        bits[row] = stream.random_raw(drawn - first // 2).view(np.uint32)[first % 2 :][:width]
    stream.advance((rows * stride + 1) // 2 - drawn)
    stream.state = {**before, "state": stream.state["state"]}  # `advance` clears the other fields
    return bits
