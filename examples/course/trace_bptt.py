"""Record backpropagation through time, for the page that lets one watch it (docs/watch).

python examples/course/trace_bptt.py --out docs/watch/built/recording.js
python examples/course/trace_bptt.py --quick

A net reads the first six words of "the keys on the table are lost" and predicts the word that
follows each. The net isn't trained. The recording has one part for each cell and each scale of
W_hh, whose blocks are the same rotations times the scale. Each part contains

- the statements that `read` below executes and the arrays that they change, for each position of
  `detach`: before step 1, 2, … or nowhere (0: the initial state has no history to cut off);
- the ledger: what the loss at step t contributes to dW_hh through step s;
- the Jacobians from each step to the next, and how far they reach together;
- the tape of the same steps: its operations with their values and gradients.

The file is a script that defines `recording`, because a page opened from disk may not read data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bptt_ledger import Example, gradient, ledger, shares
from experiment import options
from pool import Index, Pool
from recorder import Event, Recorder

import minigrad as mg
from lm.console import run_command, show
from lm.files import make_folder, replace_file
from lm.steps import repackage_hidden
from minigrad import Tensor, bptt, graph, loss
from minigrad import functional as F
from minigrad.backend import Array
from minigrad.bptt import through_time, unrolled
from minigrad.cells import CELLS
from minigrad.modes import Watch, mode
from minigrad.random import generator

SEEDS = (47,)  # a seed with which no ReLU net dies and the largest tanh nets explode
CELL_NAMES = ("RNN_TANH", "RNN_RELU", "LSTM", "GRU")
SCALES = (0.3, 0.6, 1.0, 1.6, 2.5)
WORDS = "the key keys on in table door is are was lost found"
VOCABULARY = tuple(WORDS.split())
SENTENCE = ("the", "keys", "on", "the", "table", "are", "lost")
T, H, EMBED = 6, 3, 3
LONG = 24  # steps, for how far the gradient reaches
KEEP_BIAS = 2.0  # of the gates that keep the old state: f of the LSTM, z of the GRU


class Sentence(Example):
    """One layer of a cell that reads the sentence, small enough to look at."""

    def __init__(self, cell: str, scale: float, seed: int = SEEDS[0], steps: int = T) -> None:
        mg.manual_seed(seed)
        self.cell = CELLS[cell]
        G = self.cell.num_gates
        words = [VOCABULARY.index(word) for word in SENTENCE]
        ids = [words[t % T] for t in range(steps)]
        self.targets = np.array([words[t % T + 1] for t in range(steps)])
        # Drawn in this order, so that all cells have the same words and the same decoder.
        self.x = Tensor(draw(1.0, (len(VOCABULARY), EMBED))[ids, None])
        self.W_out = Tensor(draw(1.5, (len(VOCABULARY), H)))
        self.b_out = Tensor(draw(0.5, (len(VOCABULARY),)))
        self.W_hh = parameter(np.concatenate([scale * rotation() for _ in range(G)]))
        self.W_ih = parameter(np.concatenate([draw(1.0, (H, EMBED)) for _ in range(G)]))
        self.b_ih = parameter(draw(0.3, (G * H,)))
        self.b_hh = parameter(np.zeros(G * H))
        if cell in ("LSTM", "GRU"):  # the second block: f of the LSTM, z of the GRU
            self.b_hh.data[H : 2 * H] = KEEP_BIAS
        self.state = [Tensor(np.zeros((1, H))) for _ in range(self.cell.num_states)]

    @property
    def weights(self) -> list[Tensor]:
        return [self.W_ih, self.W_hh, self.b_ih, self.b_hh]

    def decoder(self, h: Tensor) -> Tensor:
        """The logits. Its weights are constants here: the page is about the recurrent layer's."""
        return F.linear(h, self.W_out, self.b_out)


class ThroughBias(Sentence):
    """The same net with b_hh in the place of W_hh: its ledger contains dzh instead of dW_hh."""

    def __init__(self, cell: str, scale: float) -> None:
        super().__init__(cell, scale)
        self.W, self.W_hh = self.W_hh, self.b_hh

    def losses_by_step(self, one_layer: Any, copies: Sequence[Tensor]) -> list[Tensor]:
        state, losses = self.state, []
        for s, b in enumerate(copies):
            x = self.x[s : s + 1]
            h, *state = one_layer(self.cell, x, state, self.W_ih, self.W, self.b_ih, b)
            losses.append(F.cross_entropy(self.decoder(h[0]), self.targets[s : s + 1]))
        return losses


def draw(bound: float, shape: tuple[int, ...]) -> Array:
    return generator().uniform(-bound, bound, shape)


def parameter(data: Array) -> Tensor:
    return mg.tensor(data, requires_grad=True)


def rotation() -> Array:
    """A random rotation: the Cayley transform of a skew-symmetric matrix."""
    A = draw(0.4, (H, H))
    A = A - A.T
    return np.linalg.solve(np.eye(H) - A, np.eye(H) + A)


# -------------------------------------------------------------------- what is recorded


def read(net: Sentence, cut: int) -> None:
    """Read the sentence in one chunk, or in two with the state detached before step `cut`."""
    state = net.state
    for start, end in chunks(cut):
        state = repackage_hidden(state)
        x, targets = net.x[start:end], net.targets[start:end]
        output, *state = through_time(net.cell, x, state, net.W_ih, net.W_hh, net.b_ih, net.b_hh)
        logits = F.linear(output[:, 0], net.W_out, net.b_out)
        loss = F.cross_entropy(logits, targets, reduction="sum")
        loss.backward()


def chunks(cut: int) -> list[tuple[int, int]]:
    """First step and the step after the last, of each chunk."""
    return [(0, cut), (cut, T)] if cut else [(0, T)]


def functions(cell: str) -> list[Callable[..., Any]]:
    """What is traced."""
    kind = CELLS[cell]
    return [
        read,
        repackage_hidden,
        Tensor.detach,
        through_time,
        bptt.project_inputs,
        bptt.gradients,
        kind.step,
        kind.local_derivatives,
        kind.step_backward,
        F.linear,
        loss.cross_entropy,
    ]


def record(net: Sentence, cut: int, cell: str) -> Recorder:
    """Run `read` under the recorder; the gradients are in the net's parameters."""
    zero_grad(net)
    recorder = Recorder(functions(cell))
    with recorder:
        read(net, cut)
    return recorder


def parameters(net: Sentence) -> dict[str, Tensor]:
    return {
        "W_ih": net.W_ih,
        "W_hh": net.W_hh,
        "b_ih": net.b_ih,
        "b_hh": net.b_hh,
    }


def zero_grad(net: Sentence) -> None:
    for p in parameters(net).values():
        p.zero_grad()


def bytes_kept(net: Sentence, cut: int) -> int:
    """The most that a chunk's graph keeps for its derivative, as `minigrad.profile` counts it.

    `backward` frees the graph of a chunk before the next one begins.
    """
    most, state = 0, net.state
    for start, end in chunks(cut):
        with mg.profile() as profile:
            output, *state = through_time(
                net.cell, net.x[start:end], repackage_hidden(state), *net.weights
            )
            F.cross_entropy(net.decoder(output[:, 0]), net.targets[start:end], reduction="sum")
        most = max(most, sum(row.bytes_kept for row in profile.rows))
    return most


# -------------------------------------------------------------------- how far a gradient reaches


def states(net: Sentence) -> list[list[Array]]:
    """The state before each step and after the last; each array (1, H)."""
    state, found = net.state, [[s.data for s in net.state]]
    for t in range(len(net.targets)):
        _, *state = through_time(net.cell, net.x[t : t + 1], state, *net.weights)
        found.append([s.data for s in state])
    return found


def jacobian(net: Sentence, before: Sequence[Array], start: int, end: int) -> Array:
    """The derivative of the state after step end-1 by that before step `start`.

    Row by row, `backward` from one element of the later state. An LSTM's state is h and c, one
    after the other.
    """
    leaves = [parameter(s.copy()) for s in before]
    _, *after = through_time(net.cell, net.x[start:end], leaves, *net.weights)
    rows = []
    for state in after:
        for unit in range(H):
            for leaf in leaves:
                leaf.zero_grad()
            state[0, unit].backward(retain_graph=True)
            rows.append(np.concatenate([leaf.grad[0] for leaf in leaves]))
    return np.array(rows)


def reach(net: Sentence) -> dict[str, list[float]]:
    """The spectral norms of dh_T/dh_t for t = 1, …, T, and of dc_T/dc_t for an LSTM."""
    before, steps = states(net), len(net.targets)
    found: dict[str, list[float]] = {"h": []}
    for t in range(1, steps + 1):
        J = jacobian(net, before[t], t, steps) if t < steps else np.eye(H * net.cell.num_states)
        found["h"].append(float(np.linalg.norm(J[:H, :H], 2)))
        if net.cell.num_states == 2:
            found.setdefault("c", []).append(float(np.linalg.norm(J[H:, H:], 2)))
    return found


def direct(net: Sentence, events: Sequence[Event]) -> list[float]:
    """How much of h or c the gates that keep the old state let through from step t to the last.

    The largest element of the product of these gates, f or z, over the steps after t.
    """
    gates = [value[1, :, 0] for kind, *_, value in marks(events, net) if kind == "gates"]
    return [float(np.prod([np.ones(H), *gates[t:]], axis=0).max()) for t in range(1, T + 1)]


def upstream(net: Sentence, before: Sequence[Array], s: int, t: int) -> list[Array]:
    """The gradient of the loss at t with respect to the state after step s; each (1, H)."""
    leaves = [parameter(state.copy()) for state in before]
    h = leaves[0]
    if s < t:
        _, h, *_ = through_time(net.cell, net.x[s + 1 : t + 1], leaves, *net.weights)
    F.cross_entropy(net.decoder(h), net.targets[t : t + 1]).backward()
    return [np.zeros((1, H)) if leaf.grad is None else leaf.grad for leaf in leaves]


# -------------------------------------------------------------------- the tape


class Tape(Watch):
    """The operations that `unrolled` records, in order, and the gradients in order of the visit."""

    def __init__(self, leaves: dict[str, Tensor]) -> None:
        self.operations: list[dict[str, Any]] = []
        self._leaves = {id(x): name for name, x in leaves.items()}
        self._number: dict[Any, int] = {}
        self._visited = 0

    def forward(self, node: Any, values: Sequence[Array]) -> None:
        self._number[node] = len(self.operations)
        inputs: list[Any] = []
        for x in node.inputs:
            name = self._leaves.get(id(x), "leaf")
            inputs.append(name if x._node is None else self._number[x._node])
        self.operations.append(
            {"op": graph.operation(node), "inputs": inputs, "values": [v.copy() for v in values]}
        )

    def backward(self, node: Any, d_outputs: Sequence[Array], d_inputs: Sequence[Any]) -> None:
        operation = self.operations[self._number[node]]
        operation["visit"] = self._visited
        operation["grads"] = [d.copy() for d in d_outputs]
        self._visited += 1


def tape(net: Sentence) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """The tape of the whole sentence with `unrolled`, and the gradients of the parameters.

    The operations of a step begin with the product with W_hh; step -1 is before the first, and
    step T after the last.
    """
    zero_grad(net)
    mode.watch = watch = Tape(parameters(net))
    try:
        net.loss(unrolled).backward()
    finally:
        mode.watch = None
    step = -1
    for operation in watch.operations:
        if operation["op"] == "stack":
            step = T
        elif "W_hh" in operation["inputs"]:
            step += 1
        operation["step"] = step
    return watch.operations, {name: p.grad for name, p in parameters(net).items()}


# -------------------------------------------------------------------- what the picture shows


def marks(events: Sequence[Event], net: Sentence) -> Iterator[tuple[str, int, int, Array]]:
    """What the picture shows of each step, and from which event on: kind, step, event, value.

    The kinds are named as in the source. `dh` is the whole gradient of h_t, `dh_prev` the part of
    step t that goes to the step before; so are `dc` and `dc_prev`.
    """
    chunk, ends = -1, chunks_of(events)
    now: dict[str, Array] = {}
    for index, event in enumerate(events):
        text, where = event.site.text, f"{event.site.function}/{event.site.inner}"
        if where == "read/" and text.startswith("for start"):
            chunk += 1
        if chunk >= len(ends):
            return
        start, end = ends[chunk]
        local = event.loop.get("t", -1)
        t = start + local
        now.update({f"{where}:{name}": value for name, value in event.changes.items()})

        def get(name: str, here: dict[str, Array] = now, where: str = where) -> Array:
            return here[f"{where}:{name}"]

        if where == "read/" and text.startswith("x, targets"):
            yield "start", start, index, get("state[0]")
        elif where == "through_time/":
            if text.startswith("zx =") and "zx" in event.changes:
                for k in range(end - start):
                    yield "zx", start + k, index, get("zx")[k]
            elif text.startswith(("xp.dot(W_hh", "zh += b_zh")):
                yield "zh", t, index, get("zh")
            elif text.startswith("cell.step(") and "states[0]" in event.changes:
                yield "gates", t, index, get("gates")[local]
                for name, states in zip("hc", ("states[0]", "states[1]"), strict=True):
                    if f"{where}:{states}" in now:
                        yield name, t, index, get(states)[local + 1]
                if net.cell.num_saved:
                    yield "saved", t, index, get("saved")[local]
        elif where == "cross_entropy/" and text.startswith("log_p -="):
            for k in range(end - start):
                yield "p", start + k, index, np.exp(get("log_p")[k])
                yield "loss", start + k, index, -get("log_p")[k, net.targets[start + k]]
        elif where == "cross_entropy/backward" and text.startswith("return"):
            for k in range(end - start):
                yield "dlogits", start + k, index, get("return")[k]
        elif where == "through_time/backward":
            if text.startswith("dout ="):
                for k in range(end - start):
                    yield "dout", start + k, index, get("dout")[k]
            elif text.startswith("dh += dout"):
                yield "dh", t, index, get("dh")
            elif text.startswith("cell.step_backward(") and "dzx" in event.changes:
                yield "dzx", t, index, get("dzx")[local]
                yield "dzh", t, index, get("dzh")[local]
                if net.cell.num_states == 2:
                    yield "dc_prev", t, index, get("dstate[1]")
            elif text.startswith("dh += xp.dot"):
                yield "dh_prev", t, index, get("dh")
        elif where == "LSTM.step_backward/" and text.startswith("dc +="):
            yield "dc", t, index, get("dc")
        elif where == "gradients/" and text.startswith("return"):
            names = ("dW_ih", "dW_hh", "db_ih", "db_hh")
            for k, name in enumerate(names, 1 + net.cell.num_states):
                yield name, start, index, get(f"return[{k}]")


def chunks_of(events: Sequence[Event]) -> list[tuple[int, int]]:
    """The chunks of a run, from the lengths of their inputs."""
    found, start = [], 0
    for event in events:
        if event.site.function == "read" and event.site.text.startswith("x, targets"):
            end = start + len(event.changes["targets"])
            found.append((start, end))
            start = end
    return found


# -------------------------------------------------------------------- writing


@dataclass
class Tables:
    """What all parts refer to by number."""

    names: Index = field(default_factory=Index)
    sites: Index = field(default_factory=Index)
    courses: Index = field(default_factory=Index)
    shapes: Index = field(default_factory=Index)


def part(cell: str, scale: float, tables: Tables) -> dict[str, Any]:
    """The recording of one cell at one scale."""
    net, pool = Sentence(cell, scale), Pool(tables.shapes, H, len(VOCABULARY))
    entries, dz = ledger(net), ledger(ThroughBias(cell, scale))
    before = states(net)
    whole = gradient(net, through_time)
    cases = [case(net, cut, cell, pool, tables, whole) for cut in range(T)]
    operations, by_tape = tape(net)
    zero_grad(net)
    read(net, 0)
    by_hand = {name: p.grad for name, p in parameters(net).items()}
    reached = reach(net)
    if net.cell.num_gates > 1:
        reached["direct"] = direct(net, record(net, 0, cell).events)
    lower = [(t, s) for t in range(T) for s in range(t + 1)]
    upstreams = {(t, s): upstream(net, before[s + 1], s, t) for t, s in lower}
    return {
        "cell": cell,
        "scale": scale,
        "weights": {name: pool(p.data) for name, p in parameters(net).items()},
        "decoder": [pool(net.W_out.data), pool(net.b_out.data)],
        "x": pool(net.x.data),
        "cases": cases,
        "ledger": [[pool(entries[t, s]) for s in range(t + 1)] for t in range(T)],
        "shares": pool(shares(entries)),
        "norms": pool(np.linalg.norm(entries, axis=(2, 3))),
        "dz": [[pool(dz[t, s]) for s in range(t + 1)] for t in range(T)],
        "upstream": [
            [[pool(d[0]) for d in upstreams[t, s]] for s in range(t + 1)] for t in range(T)
        ],
        "states": [[pool(s[0]) for s in state] for state in before],
        "jacobians": [pool(jacobian(net, before[t], t, t + 1)) for t in range(T)],
        "reach": {name: pool(v) for name, v in reached.items()},
        "far": {name: pool(v) for name, v in reach(Sentence(cell, scale, steps=LONG)).items()},
        "tape": [
            {
                "op": o["op"],
                "step": o["step"],
                "inputs": o["inputs"],
                "visit": o.get("visit", -1),
                "values": [pool(v) for v in o["values"]],
                "grads": [pool(d) for d in o.get("grads", [])],
            }
            for o in operations
        ],
        "tape_dW_hh": pool(by_tape["W_hh"]),
        "tape_minus_hand": max(float(abs(by_tape[k] - by_hand[k]).max()) for k in by_hand),
        "arrays": list(pool.arrays.items),
        "parts": " ".join(pool.parts.items),
    }


def case(
    net: Sentence, cut: int, cell: str, pool: Pool, tables: Tables, whole: Array
) -> dict[str, Any]:
    """One run of `read`.

    Its course, the same at most scales, has a list of events [site, depth, t, name, name, …] and
    one of marks [kind, t, event]. The values of all names and marks are apart. The t of an event
    is the loop variable of `through_time`, -1 outside of its loops; it counts from the start of
    the chunk, as in the source. The t of a mark counts from the start of the sentence.
    """
    events = record(net, cut, cell).events
    dW = net.W_hh.grad.copy()
    found_marks = list(marks(events, net))
    course = (
        tuple(
            (tables.sites(e.site), e.depth, e.loop.get("t", -1), *map(tables.names, e.changes))
            for e in events
        ),
        tuple((kind, t, at) for kind, t, at, _ in found_marks),
    )
    return {
        "cut": cut,
        "chunks": chunks(cut),
        "course": tables.courses(course),
        "values": [pool(value) for e in events for value in e.changes.values()],
        "marks": [pool(value) for *_, value in found_marks],
        "dW_hh": pool(dW),
        "norm": float(np.linalg.norm(dW)),
        "cosine": float(np.vdot(dW, whole) / np.linalg.norm(dW) / np.linalg.norm(whole)),
        "bytes": bytes_kept(net, cut),
    }


def source() -> tuple[list[dict[str, Any]], str]:
    """The traced functions as text, and a hash of it."""
    traced = {f.name: f for cell in CELL_NAMES for f in Recorder(functions(cell)).functions}
    table = [
        {
            "name": f.name,
            "file": f.file,
            "first": f.first,
            "lines": f.lines,
            "docstring": f.docstring,
        }
        for f in traced.values()
    ]
    return table, hashlib.sha256(json.dumps(table).encode()).hexdigest()


def recording(
    cells: Sequence[str] = CELL_NAMES, scales: Sequence[float] = SCALES
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What all parts share, and the parts by "CELL scale"."""
    tables = Tables()
    parts = {f"{c} {scale}": part(c, scale, tables) for c in cells for scale in scales}
    functions_table, digest = source()
    shared = {
        "hash": digest,
        "seed": SEEDS[0],
        "sentence": SENTENCE,
        "vocabulary": VOCABULARY,
        "cells": CELL_NAMES,
        "scales": list(scales),
        "T": T,
        "H": H,
        "long": LONG,
        "keep_bias": KEEP_BIAS,
        "functions": functions_table,
        "sites": [
            [s.function, s.inner, s.first, s.last, s.text.strip().split("\n")[0]]
            for s in tables.sites.items
        ],
        "names": list(tables.names.items),
        "courses": list(tables.courses.items),
        "shapes": list(tables.shapes.items),
    }
    return shared, parts


def script(shared: dict[str, Any], parts: dict[str, Any]) -> str:
    """The recording as JavaScript; each part is a string, parsed when it is needed."""

    def text(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    lines = [
        "// Written by examples/course/trace_bptt.py.",
        f"globalThis.recording = {text(shared)};",
        "recording.nets = {};",
    ]
    for name, value in parts.items():
        assert "'" not in text(value) and "\\" not in text(value)
        lines.append(f"recording.nets[{text(name)}] = '{text(value)}';")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    shared, parts = recording(*((CELL_NAMES[:1], (1.0,)) if args.quick else ()))
    for name, value in parts.items():
        net = value["cases"][0]
        show(f"{name:14} {len(net['values']):4} changes, norm of dW_hh {net['norm']:.4f}")
    if args.out is not None:
        make_folder(args.out.parent)
        replace_file(args.out, script(shared, parts).encode())


def parser() -> argparse.ArgumentParser:
    return options("Record backpropagation through time, for the page that shows it.")


if __name__ == "__main__":
    run_command(main)
