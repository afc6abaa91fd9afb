"""The tape as a picture: the recorded graph of a tensor, as text that draws it.

    y = layer(x)[0].sum()
    print(graph.mermaid(y, dict(layer.named_parameters())))

A box is a leaf, a rounded node is an operation with the shape of its result. Constants are left
out: no gradient flows to them. A recurrent layer whose derivative is written by hand is one
operation; with bptt="autograd", each of its steps appears.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .tensor import Node, Tensor


class Picture(NamedTuple):
    """The parts of a graph, with a short key for each operation and each leaf."""

    operations: dict[str, str]  # key: label, in the order of recording
    leaves: dict[str, str]
    arrows: list[tuple[str, str]]  # from key to key


def dot(tensor: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    """The graph in Graphviz's DOT language; `names` says what to call the leaves.

    Raises ValueError for a tensor without a graph, or whose graph `backward` has freed.
    """
    picture = _picture(tensor, names or {})
    return "\n".join(
        [
            "digraph {",
            '    rankdir=LR; bgcolor=transparent; edge [color="#808080"];',
            '    node [fontname="sans-serif", style=filled, color="#808080"];',
            '    node [shape=box, fillcolor="#dbe9f6"];',
            *(f'    {key} [label="{label}"];' for key, label in picture.leaves.items()),
            '    node [shape=ellipse, fillcolor="#fdf3d8"];',
            *(f'    {key} [label="{label}"];' for key, label in picture.operations.items()),
            *(f"    {tail} -> {head};" for tail, head in picture.arrows),
            "}",
        ]
    )


def mermaid(tensor: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    """The graph as a Mermaid flow chart, which code hosts draw; otherwise as `dot`."""
    picture = _picture(tensor, names or {})
    return "\n".join(
        [
            "flowchart LR",
            *(f'    {key}["{label}"]:::leaf' for key, label in picture.leaves.items()),
            *(f'    {key}(["{label}"])' for key, label in picture.operations.items()),
            *(f"    {tail} --> {head}" for tail, head in picture.arrows),
            "    classDef leaf fill:#dbe9f6,stroke:#5b84ad,color:#1b1b1b",
        ]
    ).replace("\\n", "<br>")


def _picture(tensor: Tensor, names: Mapping[str, Tensor]) -> Picture:
    if tensor._node is None:
        raise ValueError("the tensor has no graph: no recorded operation made it")
    nodes = sorted(_nodes(tensor._node), key=lambda node: node.age)
    keys = {node: f"op{i}" for i, node in enumerate(nodes)}
    called = {id(x): name for name, x in names.items()}
    operations = {key: _label(operation(node), *node.outputs) for node, key in keys.items()}
    picture = Picture(operations, {}, [])
    leaf_keys: dict[int, str] = {}
    for node in nodes:
        for x in node.inputs or ():
            if x._node is not None:
                tail = keys[x._node]
            elif x.requires_grad:
                tail = leaf_keys.setdefault(id(x), f"leaf{len(leaf_keys)}")
                picture.leaves[tail] = _label(called.get(id(x), "leaf"), (x.shape, x.dtype))
            else:  # a constant
                continue
            picture.arrows.append((tail, keys[node]))
    return picture


def _nodes(root: Node) -> Iterator[Node]:
    """Every node that the root depends on, each once."""
    seen, to_visit = {root}, [root]
    while to_visit:
        node = to_visit.pop()
        if node.inputs is None:
            raise ValueError("backward() has freed the graph; draw it before, or retain_graph=True")
        yield node
        new = {x._node for x in node.inputs if x._node is not None} - seen
        seen |= new
        to_visit += new


def operation(node: Node) -> str:
    """The name of the function that recorded a node; its derivative was defined in there."""
    derivative = node.backward
    if derivative is None:
        return "freed"
    if derivative.__qualname__.startswith("record."):  # the derivatives of the operands, together
        derivative = inspect.getclosurevars(derivative).nonlocals["derivatives"][0]
    *enclosing, own = derivative.__qualname__.split(".<locals>.")
    return (enclosing or [own])[-1].split(".")[-1].strip("_")


def _label(name: str, *outputs: tuple[Sequence[int], object]) -> str:
    shapes = [" × ".join(map(str, shape)) or "scalar" for shape, _ in outputs]
    return f"{name}\\n{', '.join(dict.fromkeys(shapes))}".replace('"', "'")
