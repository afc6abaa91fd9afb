"""Tensor and the tape: an array that remembers which operation made it.

An operation on tensors computes its value at once. If one of its operands requires a gradient, it
also leaves a `Node` on the tape: the tensors that went in, and a function from the gradient of the
output to the gradients of the inputs. `backward` visits these nodes from the youngest to the
oldest. A node is always younger than its inputs, so when it is visited, all gradients that flow
into it have arrived: creation order is a topological order, without a sort and without recursion.

A tensor points to its node and a node to its inputs, never back. There are no reference cycles, so
dropping the last tensor of a graph frees the whole graph at once.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .backend import Array, array_module, as_array, place
from .broadcast import unbroadcast
from .methods import Methods
from .modes import mode

Arrays = Sequence[Array]
Backward = Callable[..., Sequence[Array | None]]  # from gradients of outputs to those of inputs


class Node:
    """One recorded operation.

    inputs    the tensors that require a gradient
    backward  takes one gradient per output and returns one per input (None for zero)
    outputs   the shape and dtype of each output
    saved     the operands whose values `backward` reads
    origin    which operation it is and who called it; set only inside `detect_anomaly`
    """

    __slots__ = ("age", "backward", "inputs", "origin", "outputs", "saved")
    origin: str
    clock = itertools.count(1)  # ticks for every node and for every change in place

    def __init__(
        self, inputs: Sequence[Tensor], backward: Backward, outputs: Arrays, saved: Sequence[Any]
    ) -> None:
        self.age = next(Node.clock)
        self.inputs: Sequence[Tensor] | None = inputs
        self.backward: Backward | None = backward
        self.outputs = [(y.shape, y.dtype) for y in outputs]
        self.saved = saved


# -------------------------------------------------------------------- recording


def record(value: Array, *operands: tuple[Any, ...]) -> Tensor:
    """The result of an operation with one output.

    Each operand is a tuple: the tensor, its derivative (a function from the gradient of the output
    to the gradient of this operand), and the tensors whose values the derivative reads, as in
    (a, lambda dy: dy * b.data, b). Derivatives of operands that require no gradient are dropped.
    The tape sums gradients over broadcast axes, so that no operation has to.
    """
    if mode.grad_enabled:
        inputs, derivatives, saved = [], [], []
        for x, derivative, *reads in operands:
            if isinstance(x, Tensor) and x.requires_grad:
                inputs.append(x)
                derivatives.append(derivative)
                saved += reads
        if inputs:
            return _on_tape([value], inputs, lambda dy: [d(dy) for d in derivatives], saved)[0]
    return Tensor(value)


def record_joint(
    values: Arrays,
    inputs: Sequence[Tensor],
    backward: Backward,
    saved: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """The results of an operation with several outputs, or with gradients computed together.

    `backward` takes one gradient per value and returns one per input, None for zero. `saved` are
    the tensors whose values it reads; by default, all inputs.
    """
    if mode.grad_enabled and any(x.requires_grad for x in inputs):
        return _on_tape(values, inputs, backward, inputs if saved is None else saved)
    return tuple(Tensor(value) for value in values)


def _on_tape(
    values: Arrays, inputs: Sequence[Tensor], backward: Backward, saved: Sequence[Any]
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
    grad            the gradient that `backward` computed: an array like `data`, or None
    requires_grad   whether `backward` computes a gradient for it (TypeError for integers)

    `changes` is that of a tensor with the same memory; both then notice a change in place.
    """

    __slots__ = ("__weakref__", "_changes", "_node", "_output", "data", "requires_grad")

    def __init__(
        self, data: Array, requires_grad: bool = False, *, changes: list[int] | None = None
    ) -> None:
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"only floating tensors can require a gradient, not {data.dtype}")
        self.data: Array = as_array(data)
        self.grad = None
        self.requires_grad = requires_grad
        self._node: Node | None = None
        self._output = 0  # which of the node's outputs this is
        self._changes = changes or [0]  # the tick of the last change in place; shared with views

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it. `backward` fills `.grad` of leaves only."""
        return self._node is None

    def detach(self) -> Tensor:
        """A tensor with the same data and no node: gradients stop here."""
        return Tensor(self.data, changes=self._changes)

    def zero_grad(self) -> None:
        """Set `.grad` to None."""
        self.grad = None

    def mark_changed(self) -> None:
        """Tell the tape that `data` was changed in place, as optimisers and `load_state_dict` do.

        `backward` through an operation that had saved it or a view of it then raises RuntimeError.
        (PyTorch: torch.autograd.graph.increment_version)
        """
        self._changes[0] = next(Node.clock)

    def backward(self, grad: Array | None = None, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this tensor depends on.

        `grad` is the gradient of the loss with respect to this tensor, an array of its shape; a
        tensor with one element needs none (ValueError otherwise). The graph is freed on the way: a
        second walk through it raises RuntimeError, unless `retain_graph=True`.
        """
        if not self.requires_grad:
            raise RuntimeError("backward() on a tensor that does not require a gradient")
        grad = self._upstream(grad)
        if self._node is None:
            self.grad = _total(self.grad, grad.copy())
            return

        # For each node still to be visited: the gradient of each output, summed so far.
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
                    f"backward() needs a scalar, not a tensor of shape {self.shape}; pass the "
                    "upstream gradient: backward(grad)"
                )
            return xp.ones_like(self.data)
        grad = place(grad.data if isinstance(grad, Tensor) else grad, xp, self.dtype)
        if grad.shape != self.shape:
            raise ValueError(f"backward(): grad has shape {grad.shape}, the tensor {self.shape}")
        return grad


# -------------------------------------------------------------------- walking back


def _visit(node: Node, d_outputs: list[Any], retain_graph: bool) -> list[tuple[Tensor, Array]]:
    """Call one node's backward and free it; returns its inputs, each with its gradient."""
    if node.inputs is None or node.backward is None:
        raise RuntimeError(
            "backward() was called a second time, but the first call freed the graph; "
            "keep it with backward(retain_graph=True)"
        )
    for x in node.saved:
        if isinstance(x, Tensor) and x._changes[0] > node.age:
            raise RuntimeError(
                f"backward(): a tensor of shape {x.shape} was changed in place after an operation "
                "had saved it (an optimiser's step and load_state_dict do that); call backward() "
                "before that, or compute the loss again"
            )
    for output, dy in enumerate(d_outputs):
        if dy is None:  # an output that the loss does not depend on
            xp = array_module(next(dy for dy in d_outputs if dy is not None))
            d_outputs[output] = xp.zeros(*node.outputs[output])
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
    """The gradient in the operand's shape and dtype: undo broadcasting and type promotion."""
    if dx.dtype != x.data.dtype:
        dx = dx.astype(x.data.dtype)
    if dx.shape != x.data.shape:
        dx = unbroadcast(dx, x.shape)
    return as_array(dx)


def _is_shared(dx: Array, d_outputs: list[Array | None]) -> bool:
    """Whether others may hold this array: it is a view, or the derivative passed it through."""
    return dx.base is not None or any(dx is dy for dy in d_outputs)


def _total(so_far: Array | None, dx: Array) -> Array:
    """The sum of two gradients, as a new array: the old one may be in use elsewhere."""
    return dx if so_far is None else as_array(so_far + dx)
