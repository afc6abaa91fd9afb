"""Find the operation that computes the first NaN or infinity, forward or backward.

A NaN spreads: some steps later every weight is NaN, and nothing shows where it came from. Inside
`with detect_anomaly():` every recorded operation is checked, its value in the forward pass and its
gradients in `backward`. The error names the first operation with a non-finite result and the line
that called it. (torch.autograd.detect_anomaly does this for NaN in `backward`.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .backend import Array, array_module
from .modes import Watch, mode
from .rows import dense
from .tensor import Node

PACKAGE = str(Path(__file__).parent)


class AnomalyError(ArithmeticError):
    """A value is not finite; the message names the operation."""


class detect_anomaly(Watch):
    """Raise AnomalyError at the first non-finite value or gradient, in this thread.

    Costs one pass over every array inside the block, and nothing outside.
    """

    def __enter__(self) -> None:
        self._previous = mode.watch
        mode.watch = self

    def __exit__(self, *_: object) -> None:
        mode.watch = self._previous

    def forward(self, node: Node, values: Sequence[Array]) -> None:
        node.origin = _origin()
        fault = _first_fault(values)
        if fault is None:
            return
        inputs = [x.data for x in node.inputs or ()]
        given = _first_fault(inputs)
        if given is None:
            raise AnomalyError(f"forward: {node.origin} gave {fault}")
        raise AnomalyError(
            f"forward: an input of {node.origin} is {given}, but no recorded operation computed "
            "it; check the data and the last step of the optimiser"
        )

    def backward(
        self, node: Node, d_outputs: Sequence[Array | None], d_inputs: Sequence[Array | None]
    ) -> None:
        origin = getattr(node, "origin", "an operation recorded before detect_anomaly()")
        if (fault := _first_fault(d_outputs)) is not None:
            raise AnomalyError(f"backward: the upstream gradients of {origin} sum to {fault}")
        if (fault := _first_fault(d_inputs)) is not None:
            raise AnomalyError(f"backward: the derivative of {origin} gave {fault}")


def _first_fault(arrays: Sequence[Array | None]) -> str | None:
    """The first non-finite value in these arrays and its index, as text; None if all are finite."""
    for array in map(dense, arrays):
        if array is None or array.dtype.kind != "f":
            continue
        xp = array_module(array)
        finite = xp.isfinite(array)
        if not bool(finite.all()):
            at = int(xp.argmin(finite.reshape(-1)))
            shape = tuple(array.shape)
            index = tuple(int(i) for i in xp.unravel_index(at, shape)) if shape else ()
            return f"{float(array[index])} at {list(index)} of an array of shape {shape}"
    return None


def _origin() -> str:
    """The function that recorded an operation, and the line outside minigrad that called it."""
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename.endswith("tensor.py"):
        frame = frame.f_back
    operation = f"{frame.f_code.co_name} ({_line(frame)})"
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return operation if frame is None else f"{operation}, called in {_line(frame)}"


def _line(frame: Any) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
