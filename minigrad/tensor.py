"""Tensor and the tape: an array that remembers which operation made it.

An operation on tensors computes its value at once and, where a gradient is wanted, leaves a
`Node` on the tape: which tensors went in, and a function that turns the gradient of what came
out into the gradients of what went in. `backward` walks these nodes from the youngest to the
oldest. A node is always younger than its inputs, so that all gradients that flow into a node
have arrived before it is visited: creation order is a topological order, and no sort and no
recursion are needed.

A tensor points to its node and a node to its inputs, never back. Without cycles, dropping the
last tensor of a graph frees all of it at once.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Array, array_module, place
from .methods import Methods
from .modes import mode

Backward = Callable[..., Sequence[Array | None]]  # from gradients of outputs to those of inputs


class Node:
    """One recorded operation.

    `inputs` are the tensors that want a gradient; `backward` takes one gradient per output and
    returns one per input (None for zero); `outputs` holds each output's shape and dtype. `saved`
    are the tensors (among other operands) whose values `backward` reads. `origin` says which
    operation it is, and is only set inside `detect_anomaly`.
    """

    __slots__ = ("age", "backward", "inputs", "origin", "outputs", "saved")
    origin: str
    clock = itertools.count()  # counts the nodes, and the changes to tensors in place

    def __init__(
        self,
        inputs: Sequence[Tensor],
        backward: Backward,
        outputs: Sequence[Array],
        saved: Sequence[Any],
    ) -> None:
        self.age = next(Node.clock)
        self.inputs: Sequence[Tensor] | None = inputs
        self.backward: Backward | None = backward
        self.outputs = [(y.shape, y.dtype) for y in outputs]
        self.saved = saved


# -------------------------------------------------------------------- recording


def record(value: Array, *operands: tuple[Any, ...]) -> Tensor:
    """The result of an operation with one output.

    Each operand comes with its derivative, a function from the gradient of the output to the
    gradient of that operand, and with the tensors whose values this function reads, if any:
    (a, lambda dy: dy * b.data, b). Only the derivatives of tensors that require a gradient are
    kept, and called. Gradients are summed back over broadcast axes by the tape, so that no
    operation has to.
    """
    if mode.grad_enabled:
        tracked = [op for op in operands if isinstance(op[0], Tensor) and op[0].requires_grad]
        if tracked:
            derivatives = [op[1] for op in tracked]
            saved = [x for op in tracked for x in op[2:]]

            def backward(dy: Array) -> list[Array]:
                return [derivative(dy) for derivative in derivatives]

            return _on_tape([value], [op[0] for op in tracked], backward, saved)[0]
    return Tensor(value)


def record_joint(
    values: Sequence[Array],
    inputs: Sequence[Tensor],
    backward: Backward,
    saved: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """The results of an operation whose gradients are best computed together.

    `backward` takes one gradient per value and returns one per input, None where it is zero.
    `saved` are the tensors whose values it reads: unless given, all inputs.
    """
    if mode.grad_enabled and any(x.requires_grad for x in inputs):
        return _on_tape(values, inputs, backward, inputs if saved is None else saved)
    return tuple(Tensor(value) for value in values)


def _on_tape(
    values: Sequence[Array],
    inputs: Sequence[Tensor],
    backward: Backward,
    saved: Sequence[Any],
) -> tuple[Tensor, ...]:
    node = Node(inputs, backward, values, saved)
    if mode.watch is not None:
        mode.watch.forward(node, values)
    results = []
    for output, value in enumerate(values):
        result = Tensor(value, requires_grad=True)
        result._node, result._output = node, output
        results.append(result)
    return tuple(results)


# -------------------------------------------------------------------- the tensor


class Tensor(Methods):
    """An array with a gradient.

    data            the array
    grad            the gradient that `backward` left: an array like `data`, or None
    requires_grad   whether `backward` computes a gradient for it

    Integer tensors can't require a gradient (TypeError).
    """

    __slots__ = ("__weakref__", "_changed", "_node", "_output", "data", "grad", "requires_grad")

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"only floating tensors can require a gradient, not {data.dtype}")
        self.data: Array = _as_array(data)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._node: Node | None = None
        self._output = 0  # which of the node's outputs this is
        self._changed = -1  # when `data` was last changed in place, on the nodes' clock

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it: `backward` leaves its gradient in `.grad`."""
        return self._node is None

    def detach(self) -> Tensor:
        """A tensor with the same data and no history: gradients stop here."""
        return Tensor(self.data)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def mark_changed(self) -> None:
        """Tell the tape that `data` was changed in place, as optimisers and `load_state_dict` do.

        The derivative of an operation that has saved this tensor is then lost: `backward` through
        it is a RuntimeError. (PyTorch: torch.autograd.graph.increment_version)
        """
        self._changed = next(Node.clock)

    def backward(self, grad: Array | None = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this tensor depends on.

        A tensor with one element needs no `grad`; any other needs the gradient of the loss with
        respect to it, an array of the same shape (ValueError otherwise). The graph is freed on
        the way: walking through it again is a RuntimeError, unless `retain_graph=True`.
        """
        if not self.requires_grad:
            raise RuntimeError("backward() on a tensor that does not require a gradient")
        grad = self._upstream(grad)
        if self._node is None:
            self.grad = _total(self.grad, grad.copy())
            return

        # For each node yet to be visited: what has reached each of its outputs so far.
        pending: dict[Node, list[Array | None]] = {self._node: [None] * len(self._node.outputs)}
        pending[self._node][self._output] = grad
        youngest_first = [(-self._node.age, self._node)]
        while youngest_first:
            _, node = heapq.heappop(youngest_first)
            d_outputs = pending.pop(node)
            for x, dx in _visit(node, d_outputs, retain_graph):
                if x._node is None:
                    x.grad = _total(x.grad, dx.copy() if _is_shared(dx, d_outputs) else dx)
                    continue
                if x._node not in pending:
                    pending[x._node] = [None] * len(x._node.outputs)
                    heapq.heappush(youngest_first, (-x._node.age, x._node))
                slots = pending[x._node]
                slots[x._output] = _total(slots[x._output], dx)

    def _upstream(self, grad: Array | Tensor | None) -> Array:
        xp = array_module(self.data)
        if grad is None:
            if self.size != 1:
                raise ValueError(
                    f"backward() needs a scalar; give a tensor of shape {self.shape} "
                    "the gradient with respect to it: backward(grad)"
                )
            return xp.ones_like(self.data)
        grad = place(grad.data if isinstance(grad, Tensor) else grad, xp, self.dtype)
        if grad.shape != self.shape:
            raise ValueError(f"backward(): grad has shape {grad.shape}, the tensor {self.shape}")
        return grad


# -------------------------------------------------------------------- walking back


def _visit(node: Node, d_outputs: list[Any], retain_graph: bool) -> list[tuple[Tensor, Array]]:
    """Run one node's backward: its inputs, each with its gradient. Frees the node."""
    if node.inputs is None or node.backward is None:
        raise RuntimeError(
            "backward() a second time through a graph that the first has freed; "
            "keep it with backward(retain_graph=True)"
        )
    for x in node.saved:
        if isinstance(x, Tensor) and x._changed > node.age:
            raise RuntimeError(
                f"backward(): a tensor of shape {x.shape} was changed in place after an operation "
                "had saved it (an optimiser's step and load_state_dict do that); call backward() "
                "before, or compute the loss again"
            )
    for output, (shape, dtype) in enumerate(node.outputs):
        if d_outputs[output] is None:  # an output that the loss does not depend on
            some = next(dy for dy in d_outputs if dy is not None)
            d_outputs[output] = array_module(some).zeros(shape, dtype)
    inputs, d_inputs = node.inputs, node.backward(*d_outputs)
    if mode.watch is not None:
        mode.watch.backward(node, d_outputs, d_inputs)
    if not retain_graph:
        node.inputs = node.backward = None
        node.saved = ()
    return [
        (x, _fit(dx, x))
        for x, dx in zip(inputs, d_inputs, strict=True)
        if dx is not None and x.requires_grad
    ]


def _fit(dx: Array, x: Tensor) -> Array:
    """The gradient in the shape and dtype of the operand: broadcasting and promotion undone."""
    if dx.dtype != x.data.dtype:
        dx = dx.astype(x.data.dtype)
    if dx.shape != x.data.shape:
        dx = unbroadcast(dx, x.shape)
    return _as_array(dx)


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an operand of this shape was broadcast."""
    new = grad.ndim - len(shape)  # axes that the operand did not have
    if new < 0 or any(n not in (1, m) for n, m in zip(shape, grad.shape[new:], strict=True)):
        raise RuntimeError(f"a gradient of shape {grad.shape} for an operand of shape {shape}")
    stretched = (new + axis for axis, n in enumerate(shape) if n == 1)
    return grad.sum(axis=(*range(new), *stretched)).reshape(shape)


def _is_shared(dx: Array, d_outputs: list[Array | None]) -> bool:
    """Whether somebody else may hold this array: it is a view, or was only passed through."""
    return dx.base is not None or any(dx is dy for dy in d_outputs)


def _total(so_far: Array | None, dx: Array) -> Array:
    """The sum of two gradients, a new array: the old one may be in use elsewhere."""
    return dx if so_far is None else _as_array(so_far + dx)


def _as_array(x: Array) -> Array:
    """NumPy returns scalars for 0-d results: wrap them."""
    return np.asarray(x) if isinstance(x, np.generic) else x
