"""Where the time and the memory of a training step go, by operation.

    with minigrad.profile() as p:
        loss = model(x)
        loss.backward()
        optimizer.step()
    print(p.table())

The time since the last event is credited to the operation that has just ended: recorded (forward),
differentiated (backward), or done without the tape, as an optimiser's step is. So the rows add up
to the time of the whole block, and Python's own work between two operations counts for the second.
On a GPU, these are the times of the launches.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .backend import Array
from .graph import operation
from .memory import WorkArray
from .modes import Watch, mode
from .tensor import Node, Tensor


@dataclass
class Row:
    """What all calls of one operation took."""

    operation: str
    calls: int = 0
    forward_seconds: float = 0.0  # also of work that the tape does not record
    backward_seconds: float = 0.0
    bytes_kept: int = 0  # for the derivative, in arrays that no row counts already

    @property
    def seconds(self) -> float:
        return self.forward_seconds + self.backward_seconds


class profile(Watch):
    """Measure every operation of this thread inside the block; costs nothing outside of it."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._counted: dict[int, weakref.ref[Any]] = {}  # arrays whose bytes are in a row

    def __enter__(self) -> profile:
        self._previous, mode.watch = mode.watch, self
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.off_tape("(after the last operation)")
        mode.watch = self._previous

    def forward(self, node: Node, values: Sequence[Array]) -> None:
        seconds = time.perf_counter() - self._since
        row = self._row(operation(node))
        row.calls += 1
        row.forward_seconds += seconds
        row.bytes_kept += sum(array.nbytes for array in _kept_arrays(node) if self._is_new(array))
        self._since = time.perf_counter()

    def backward(self, node: Node, d_outputs: Sequence[Any], d_inputs: Sequence[Any]) -> None:
        self._row(operation(node)).backward_seconds += time.perf_counter() - self._since
        self._since = time.perf_counter()

    def off_tape(self, name: str) -> None:
        row = self._row(name)
        row.calls += 1
        row.forward_seconds += time.perf_counter() - self._since
        self._since = time.perf_counter()

    @property
    def rows(self) -> list[Row]:
        """One row for each operation, the slowest first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def table(self) -> str:
        """The rows as text, with their sum."""
        rows = self.rows
        total = Row("total", sum(row.calls for row in rows))
        for row in rows:
            total.forward_seconds += row.forward_seconds
            total.backward_seconds += row.backward_seconds
            total.bytes_kept += row.bytes_kept
        width = max(len(row.operation) for row in [*rows, total])
        head = f"{'operation':{width}}  calls  forward ms  backward ms      %   kept MB"
        return "\n".join([head, *(_line(row, width, total.seconds) for row in [*rows, total])])

    def _row(self, name: str) -> Row:
        return self._rows.setdefault(name, Row(name))

    def _is_new(self, array: Array) -> bool:
        """Whether these bytes are not counted yet. (A freed array's id may come again.)"""
        known = self._counted.get(id(array))
        if known is not None and known() is array:
            return False
        with contextlib.suppress(TypeError):  # an array type without weak references
            self._counted[id(array)] = weakref.ref(array)
        return True


def _line(row: Row, width: int, seconds: float) -> str:
    return (
        f"{row.operation:{width}}  {row.calls:5d}  {1000 * row.forward_seconds:10.2f}  "
        f"{1000 * row.backward_seconds:11.2f}  {100 * row.seconds / (seconds or 1):5.1f}  "
        f"{row.bytes_kept / 1e6:8.2f}"
    )


def _kept_arrays(node: Node) -> Iterator[Array]:
    """The arrays that a node's derivative holds in its closures, but for the leaves' data."""
    seen = {id(x.data) for x in node.inputs or () if x.is_leaf}
    to_visit: list[Any] = [node.backward]
    while to_visit:
        x = to_visit.pop()
        if isinstance(x, Tensor):
            x = x.data
        elif isinstance(x, WorkArray):
            x = x.array
        if hasattr(x, "nbytes") and hasattr(x, "base"):
            while getattr(x.base, "nbytes", None) is not None:  # a view keeps the whole array
                x = x.base
        if id(x) in seen:
            continue
        seen.add(id(x))
        if hasattr(x, "nbytes"):
            yield x
        elif isinstance(x, list | tuple):
            to_visit += x
        elif getattr(x, "__closure__", None):
            for cell in x.__closure__:
                with contextlib.suppress(ValueError):  # a variable that has no value yet
                    to_visit.append(cell.cell_contents)
