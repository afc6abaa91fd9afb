"""The recorded graph as text that draws it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
from helpers import leaf

import minigrad as mg
from minigrad import Tensor, graph, nn
from minigrad import functional as F


def operations(text: str) -> Counter[str]:
    """How often each operation appears in a Mermaid chart."""
    return Counter(re.findall(r'op\d+\(\["(\w+)<br>', text))


def arrows(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^    (\w+) --> (\w+)$", text, re.MULTILINE)


def lstm(bptt: str, steps: int = 3) -> tuple[nn.LSTM, Tensor]:
    layer = nn.LSTM(2, 3, bptt=bptt)
    return layer, layer(mg.tensor(np.ones((steps, 1, 2), np.float32)))[0].sum()


def test_a_small_graph_in_full() -> None:
    w, b = leaf(np.ones((2, 3))), leaf(np.ones(3))
    y = (mg.tanh(w * 2.0) + b).sum()
    assert graph.mermaid(y, {"w": w}).splitlines() == [
        "flowchart LR",
        '    leaf0["w<br>2 × 3"]:::leaf',
        '    leaf1["leaf<br>3"]:::leaf',
        '    op0(["mul<br>2 × 3"])',
        '    op1(["tanh<br>2 × 3"])',
        '    op2(["add<br>2 × 3"])',
        '    op3(["sum<br>scalar"])',
        "    leaf0 --> op0",
        "    op0 --> op1",
        "    op1 --> op2",
        "    leaf1 --> op2",
        "    op2 --> op3",
        "    classDef leaf fill:#dbe9f6,stroke:#5b84ad,color:#1b1b1b",
    ]


def test_by_hand_a_recurrent_layer_is_one_operation() -> None:
    _, y = lstm("manual")
    assert operations(graph.mermaid(y)) == {"through_time": 1, "sum": 1}


def test_unrolled_each_step_appears() -> None:
    layer, y = lstm("autograd")
    text = graph.mermaid(y, dict(layer.named_parameters()))
    # One product for all inputs, one a step for the state; a tanh for g and one for c.
    assert operations(text) == {
        "linear": 4, "unbind": 1, "add": 6, "chunk": 3, "sigmoid": 9, "tanh": 6, "mul": 9,
        "stack": 1, "sum": 1,
    }  # fmt: skip
    assert 'leaf2["weight_hh_l0<br>12 × 3"]' in text
    assert sum(tail == "leaf2" for tail, _ in arrows(text)) == 3  # W_hh, once a step


def test_a_tied_weight_is_one_leaf_with_two_arrows() -> None:
    w = leaf(np.ones((3, 2)))
    y = F.linear_cross_entropy(F.embedding([0, 1], w), w, None, [1, 2])
    text = graph.mermaid(y, {"w": w})
    assert text.count(":::leaf") == 1
    assert [head for tail, head in arrows(text) if tail == "leaf0"] == ["op0", "op1"]
    assert operations(text) == {"embedding": 1, "linear_cross_entropy": 1}


def test_an_operation_of_ones_own_has_its_functions_name() -> None:
    def softplus(x: Tensor) -> Tensor:
        return mg.record(np.logaddexp(0, x.data), (x, lambda dy: dy / (1 + np.exp(-x.data)), x))

    assert operations(graph.mermaid(softplus(leaf(np.ones(3))))) == {"softplus": 1}


def test_constants_are_left_out() -> None:
    text = graph.mermaid(leaf(np.ones(3)) * mg.tensor(np.ones(3)))
    assert text.count(":::leaf") == 1


def test_dot_has_the_same_parts() -> None:
    layer, y = lstm("autograd")
    names = dict(layer.named_parameters())
    chart, text = graph.mermaid(y, names), graph.dot(y, names)
    assert re.findall(r"(\w+) -> (\w+);", text) == arrows(chart)
    assert [x.replace("\\n", "<br>") for x in re.findall(r'op\d+ \[label="(.*)"\]', text)] == (
        re.findall(r'op\d+\(\["(.*)"\]\)', chart)
    )


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_draws_it() -> None:
    name = 'a "quoted" name'
    w = leaf(np.ones(2))
    done = subprocess.run(
        ["dot", "-Tsvg"], input=graph.dot(w.sum(), {name: w}), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "<svg" in done.stdout


def test_a_long_chain_needs_no_recursion() -> None:
    y = leaf(1.0)
    for _ in range(5000):
        y = y * 1.0
    assert operations(graph.mermaid(y)) == {"mul": 5000}


def test_what_has_no_graph() -> None:
    with pytest.raises(ValueError, match="no graph: no recorded operation made it"):
        graph.dot(leaf(1.0))
    y = leaf(1.0) * 2.0
    y.backward()
    with pytest.raises(ValueError, match="has freed the graph"):
        graph.mermaid(y)
    y = leaf(1.0) * 2.0
    y.backward(retain_graph=True)
    assert operations(graph.mermaid(y)) == {"mul": 1}
