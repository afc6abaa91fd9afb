"""Find the operation that first gives a value that is not finite, forward or backward.

A NaN spreads: some steps after it was born every weight is NaN, and nothing says where it came
from. Inside `with detect_anomaly():` every operation on the tape is looked at as it happens, its
value and then, in `backward`, its gradients, and the first that is NaN or infinite is named with
the line that called it (as torch.autograd.detect_anomaly does for NaN in `backward`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .backend import Array, array_module
from .modes import Watch, mode
from .tensor import Node

PACKAGE = str(Path(__file__).parent)


class AnomalyError(ArithmeticError):
    """A value that is not finite; the message names the operation."""


class detect_anomaly(Watch):
    """Raise AnomalyError where the first value that is not finite comes up, in this thread.

    Costs a pass over every array; outside the block nothing is looked at.
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
            f"forward: {node.origin} was given {given}, which no operation had made "
            "(a step of the optimiser, or whoever made that tensor, did)"
        )

    def backward(
        self, node: Node, d_outputs: Sequence[Array | None], d_inputs: Sequence[Array | None]
    ) -> None:
        origin = getattr(node, "origin", "an operation recorded before detect_anomaly()")
        if (fault := _first_fault(d_outputs)) is not None:
            raise AnomalyError(f"backward: the gradients that {origin} was sent add up to {fault}")
        if (fault := _first_fault(d_inputs)) is not None:
            raise AnomalyError(f"backward: the derivative of {origin} gave {fault}")


def _first_fault(arrays: Sequence[Array | None]) -> str | None:
    """The first array that is not finite: what it holds and where, or None."""
    for array in arrays:
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
    """The function that recorded an operation, and the line that called it."""
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
