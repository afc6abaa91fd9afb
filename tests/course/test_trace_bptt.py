"""The recording that docs/watch shows: current, and equal to finite differences.

The finite differences come from the cells' equations written once more, in plain NumPy, for many
perturbed nets at a time.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trace_bptt as tracing
from recorder import Recorder
from recording import Part, committed, part
from trace_bptt import CELL_NAMES, SCALES, H, T

from minigrad import Tensor

PARTS = [(cell, scale) for cell in CELL_NAMES for scale in SCALES]
every_part = pytest.mark.parametrize(("cell", "scale"), PARTS)


# -------------------------------------------------------------------- recorded again


def test_the_recorded_source_is_that_of_today() -> None:
    functions, digest = tracing.source()
    assert committed()[0]["hash"] == digest, "see CONTRIBUTING: the page to watch"
    assert committed()[0]["functions"] == json.loads(json.dumps(functions))


@pytest.mark.parametrize(
    ("cell", "scale"),
    [(c, s) if s == 1.0 else pytest.param(c, s, marks=pytest.mark.slow) for c, s in PARTS],
)
def test_recording_again_gives_the_same(cell: str, scale: float) -> None:
    shared, parts = tracing.recording([cell], [scale])
    new, old = Part(json.loads(json.dumps(shared)), parts[f"{cell} {scale}"]), part(cell, scale)
    for cut in range(T):
        for (*what, changes), (*before, then) in zip(new.events(cut), old.events(cut), strict=True):
            assert what == before
            same(changes, then)
        for (*mark, value), (*other, then) in zip(new.marks(cut), old.marks(cut), strict=True):
            assert mark == other
            near(value, then)
        new_case, case = new.part["cases"][cut], old.part["cases"][cut]
        assert new_case["bytes"] == case["bytes"]
        near(new_case["cosine"], case["cosine"])
    for key in ("weights", "reach", "far"):
        same(new.named(key), old.named(key))
    for a, b in zip(new.part["tape"], old.part["tape"], strict=True):
        assert [a["op"], a["inputs"], a["visit"]] == [b["op"], b["inputs"], b["visit"]]
        for x, y in zip(a["values"] + a["grads"], b["values"] + b["grads"], strict=True):
            near(new.array(x), old.array(y))


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name, value in a.items():
        near(value, b[name])


def near(a: Any, b: Any, tolerance: float = 1.5e-7) -> None:
    a, b = np.asarray(a, float), np.asarray(b, float)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# -------------------------------------------------------------------- finite differences


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cell_step(cell: str, zx: Any, zh: Any, h: Any, c: Any, dc: Any) -> tuple[Any, Any]:
    """The equations of the literature; blocks along the second axis. dc is added to the new c."""
    z = np.split(zx + zh, zx.shape[1] // H, axis=1)
    if cell == "RNN_TANH":
        return np.tanh(z[0]), c
    if cell == "RNN_RELU":
        return np.where(z[0] > 0, z[0], 0), c
    if cell == "LSTM":
        c = sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2]) + dc
        return sigmoid(z[3]) * np.tanh(c), c
    r, keep = sigmoid(z[0]), sigmoid(z[1])
    n = np.tanh(zx[:, 2 * H :] + r * zh[:, 2 * H :])
    return (1 - keep) * n + keep * h, c


class Oracle:
    """A chunk of the sentence, for many nets: each differs from the net in one element."""

    def __init__(self, cell: str, scale: float, start: int, end: int) -> None:
        net = tracing.Sentence(cell, scale)
        self.cell, self.start, self.steps = cell, start, end - start
        state = [s[0] for s in tracing.states(net)[start]]
        self.h0, self.c0 = state[0], state[-1]
        self.x, self.targets = net.x.data[start:end, 0], net.targets[start:end]
        self.W_out, self.b_out = net.W_out.data, net.b_out.data
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = (p.data for p in net.weights)

    def losses(self, **d: np.ndarray) -> np.ndarray:
        """(P, T): the loss of each step if these changes, each (P, T, ...), are added."""

        def at(name: str, t: int) -> Any:
            return d[name][:, t] if name in d else 0.0

        P = len(next(iter(d.values())))
        h, c = np.tile(self.h0, (P, 1)), np.tile(self.c0, (P, 1))
        found = np.empty((P, self.steps))
        for t in range(self.steps):
            h, c = h + at("dh_prev", t), c + at("dc_prev", t)
            W_ih = self.W_ih + at("dW_ih", t)
            W_hh = np.broadcast_to(self.W_hh + at("dW_hh", t), (P, *self.W_hh.shape))
            zx = W_ih @ self.x[t] + self.b_ih + at("db_ih", t) + at("dzx", t)
            zh = np.einsum("pij,pj->pi", W_hh, h) + self.b_hh + at("db_hh", t) + at("dzh", t)
            zx = np.broadcast_to(zx, zh.shape)
            h, c = cell_step(self.cell, zx, zh, h, c, at("dc", t))
            h = h + at("dh", t)
            logits = (h + at("dout", t)) @ self.W_out.T + self.b_out + at("dlogits", t)
            log_sum = np.log(np.exp(logits).sum(axis=1))
            found[:, t] = log_sum - logits[:, self.targets[t]]
        return found

    def derivative(self, name: str) -> np.ndarray:
        """[t, s, ...]: of the loss at t by what `name` says at s; central, of fourth order."""
        shapes = {"dW_ih": self.W_ih.shape, "dW_hh": self.W_hh.shape, "dlogits": self.b_out.shape}
        shapes |= dict.fromkeys(("dzx", "dzh", "db_ih", "db_hh"), self.b_ih.shape)
        shape = (self.steps, *shapes.get(name, (H,)))
        units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        h = 1e-4
        f = {k: self.losses(**{name: k * h * units}) for k in (-2, -1, 1, 2)}
        d = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
        return d.T.reshape(self.steps, *shape)


@functools.cache
def derivative(cell: str, scale: float, start: int, end: int, name: str) -> np.ndarray:
    return Oracle(cell, scale, start, end).derivative(name)


def check(recorded: np.ndarray, numeric: np.ndarray) -> None:
    """Within 1e-7, relative to the largest element if that is above 1."""
    error = abs(recorded.reshape(numeric.shape) - numeric).max()
    assert error <= 1e-7 * max(1.0, abs(numeric).max())


@every_part
@pytest.mark.parametrize("cut", range(T))
def test_every_recorded_gradient_is_the_finite_difference(
    cell: str, scale: float, cut: int
) -> None:
    seen = defaultdict(set)
    for kind, t, _, value in part(cell, scale).marks(cut):
        if not kind.startswith("d"):
            continue
        start, end = next(c for c in tracing.chunks(cut) if c[0] <= t < c[1])
        seen[kind].add(t)
        if kind == "dzh" and cell != "GRU":  # the same array
            numeric = derivative(cell, scale, start, end, "dzx")
        else:
            numeric = derivative(cell, scale, start, end, kind)
        if kind[:2] in ("dW", "db"):
            check(value, numeric.sum(axis=(0, 1)))
        else:
            check(value, numeric.sum(axis=0)[t - start])
    each_step = {"dlogits", "dout", "dh", "dzx", "dzh", "dh_prev"}
    assert each_step | ({"dc", "dc_prev"} if cell == "LSTM" else set()) <= set(seen)
    assert all(seen[kind] == set(range(T)) for kind in seen if kind[:2] not in ("dW", "db"))


@every_part
@pytest.mark.parametrize("cut", range(T))
def test_the_gradient_of_the_weights_is_the_sum_over_the_chunks(
    cell: str, scale: float, cut: int
) -> None:
    found = part(cell, scale)
    chunks = tracing.chunks(cut)
    numeric = [derivative(cell, scale, *c, "dW_hh").sum(axis=(0, 1)) for c in chunks]
    check(found.array(found.part["cases"][cut]["dW_hh"]), np.sum(numeric, axis=0))


@every_part
def test_the_ledger(cell: str, scale: float) -> None:
    found = part(cell, scale)
    W, b = (derivative(cell, scale, 0, T, name) for name in ("dW_hh", "db_hh"))
    states = [found.array(s[0]) for s in found.part["states"]]
    entries = np.zeros((T, T, *W.shape[2:]))
    for t in range(T):
        for s in range(t + 1):
            entries[t, s] = found.array(found.part["ledger"][t][s])
            dz = found.array(found.part["dz"][t][s])
            check(entries[t, s], W[t, s])
            check(dz, b[t, s])
            near(entries[t, s], np.outer(dz, states[s]), 1e-6)
    for cut in range(T):
        kept = [(t, s) for t in range(T) for s in range(t + 1) if s >= cut or t < cut]
        case = found.part["cases"][cut]
        dW = found.array(case["dW_hh"])
        near(sum(entries[t, s] for t, s in kept), dW, 2e-6)
        near(case["norm"], np.linalg.norm(dW), 1e-6)
    share = found.array(found.part["shares"])
    assert abs(share.sum() - 1) < 1e-5


@every_part
def test_the_product_of_jacobians(cell: str, scale: float) -> None:
    """From dL_t/dh_t back to dL_t/dh_s, by the recorded Jacobians of the steps."""
    found = part(cell, scale)
    J = [found.array(j) for j in found.part["jacobians"]]
    reached = found.named("reach")["h"]
    by_h = derivative(cell, scale, 0, T, "dh")
    for t in range(T):
        first = [found.array(d) for d in found.part["upstream"][t][t]]
        row = np.concatenate(first)
        product = np.eye(len(row))
        for s in range(t, -1, -1):
            upstream = np.concatenate([found.array(d) for d in found.part["upstream"][t][s]])
            near(row @ product, upstream, 1e-5)
            check(upstream[:H], by_h[t, s])
            if t == T - 1:
                assert reached[s] == pytest.approx(np.linalg.norm(product[:H, :H], 2), 2e-4)
            product = product @ J[s]


@every_part
def test_the_value_of_the_state_continues_across_the_cut(cell: str, scale: float) -> None:
    for cut in range(1, T):
        whole, cut_run = defaultdict(dict), defaultdict(dict)
        for into, k in ((whole, 0), (cut_run, cut)):
            for kind, t, _, value in part(cell, scale).marks(k):
                if kind in ("h", "c", "loss", "p"):
                    into[kind][t] = value
        assert whole.keys() == cut_run.keys()
        for kind, by_step in whole.items():
            assert sorted(by_step) == sorted(cut_run[kind]) == list(range(T))
            for t, value in by_step.items():
                near(cut_run[kind][t], value)


@every_part
def test_the_tape_has_the_same_gradients(cell: str, scale: float) -> None:
    found = part(cell, scale)
    assert found.part["tape_minus_hand"] < 1e-12
    near(found.array(found.part["tape_dW_hh"]), found.array(found.part["cases"][0]["dW_hh"]))


def test_what_the_page_says_of_the_four_cells() -> None:
    """The gradient vanishes and explodes with the scale; the forget gate's path does neither."""

    def first(cell: str, scale: float, name: str = "h") -> float:
        return float(part(cell, scale).named("reach")[name][0])

    assert first("RNN_TANH", 0.3) < 0.003 and first("RNN_RELU", 0.3) < 0.003
    assert first("RNN_TANH", 2.5) > 5 and first("RNN_RELU", 2.5) > 20
    assert all(0.4 < first("LSTM", scale, "direct") < 0.9 for scale in SCALES)
    assert all(0.4 < first("GRU", scale, "direct") < 0.9 for scale in SCALES)
    norms = [found["norm"] for found in part("RNN_TANH", 1.0).part["cases"]]
    assert norms[1] == pytest.approx(norms[0], 1e-12)  # what it cuts off is 0, as h_{-1} is
    memory = [found["bytes"] for found in part("LSTM", 1.0).part["cases"]]
    assert len({round(n, 9) for n in norms}) == T - 1
    assert min(memory) == memory[3] < memory[0] == max(memory)


# -------------------------------------------------------------------- the recorder


def outer(x: Tensor) -> np.ndarray:
    """A docstring."""
    y = np.empty(2)
    for t in range(2):
        y[t] = inner(
            x.data[t],
        )
    return y


def inner(a: float) -> float:
    b = a * 2
    return b


def test_the_recorder() -> None:
    with Recorder([outer, inner]) as recorder:
        outer(Tensor(np.array([1.0, 2.0])))
    seen = [
        (e.site.text.split("\n")[0], e.depth, e.loop.get("t"), {k: v.tolist() for k, v in
         e.changes.items()})
        for e in recorder.events
    ]  # fmt: skip
    nan = pytest.approx([np.nan, np.nan], nan_ok=True)
    assert seen == [
        ("def outer(x: Tensor) -> np.ndarray:", 0, None, {"x": [1, 2]}),
        ("y = np.empty(2)", 0, None, {"y": nan}),
        ("for t in range(2):", 0, 0, {}),
        ("y[t] = inner(", 0, 0, {}),
        ("def inner(a: float) -> float:", 1, 0, {"a": 1}),
        ("b = a * 2", 1, 0, {"b": 2}),
        ("return b", 1, 0, {"return": 2}),
        ("y[t] = inner(", 0, 0, {"y": pytest.approx([2, np.nan], nan_ok=True)}),
        ("for t in range(2):", 0, 1, {}),
        ("y[t] = inner(", 0, 1, {}),
        ("def inner(a: float) -> float:", 1, 1, {"a": 2}),
        ("b = a * 2", 1, 1, {"b": 4}),
        ("return b", 1, 1, {"return": 4}),
        ("y[t] = inner(", 0, 1, {"y": [2, 4]}),
        ("for t in range(2):", 0, 1, {}),
        ("return y", 0, None, {"return": [2, 4]}),
    ]


def test_a_quick_recording(tmp_path: Path) -> None:
    tracing.main(["--quick", "--out", str(tmp_path / "watch" / "recording.js")])
    assert len((tmp_path / "watch" / "recording.js").read_text().splitlines()) == 3 + 1
