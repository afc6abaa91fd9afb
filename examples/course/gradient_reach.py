"""How far gradients reach: the size of ∂h_T/∂h_{T-k} for each cell, and what clipping does.

python examples/course/gradient_reach.py --out docs/results/gradient-reach.json
python examples/course/gradient_reach.py --quick

A language model of letters, one layer, is measured at initialisation and after a short training on
the built-in text. The derivative of the last state with respect to the state k steps before is a
matrix. `through_time` computes all of it in one call: repeat the sequence H times in the batch, and
give copy i the upstream gradient e_i. The gradient of the first state is then the matrix, row by
row. Its size is its spectral norm, the most by which it can stretch a vector.

The LSTM's state is a pair (h, c), so it has two such matrices: ∂h_T/∂h_{T-k} with c_{T-k} fixed,
and ∂h_T/∂c_{T-k} with h_{T-k} fixed. It is measured twice: with the usual initial biases,
and with a bias of 2 added to the forget gate.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from lm.arguments import Parser
from lm.batches import batchify, get_batch
from lm.console import run_command, show
from lm.datasets import load_corpus
from lm.model import RNNModel, as_tuple
from lm.results import this_command, write_result
from lm.steps import evaluate, train_step
from minigrad import Tensor, no_grad, optim
from minigrad.bptt import through_time

SEEDS = (1, 2, 3)
FORGET_BIAS = 2.0
# name: cell, what is added to the forget gate's bias, and by which part of the state to derive
CURVES = {
    "RNN_TANH": ("RNN_TANH", 0.0, 0),
    "RNN_RELU": ("RNN_RELU", 0.0, 0),
    "GRU": ("GRU", 0.0, 0),
    "LSTM": ("LSTM", 0.0, 0),
    "LSTM c": ("LSTM", 0.0, 1),
    "LSTM forget": ("LSTM", FORGET_BIAS, 0),
    "LSTM forget c": ("LSTM", FORGET_BIAS, 1),
}
RADII = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
EXPLODING = ("RNN_TANH", "RNN_RELU")
CLIP = 0.25


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    steps: int = 40  # the largest k
    batches: int = 600  # of training
    places: int = 8  # in the text, where h_T is


QUICK = Size(hidden=16, steps=12, batches=40, places=2)


@functools.cache
def text() -> tuple[np.ndarray, np.ndarray, int]:
    """The built-in text letter by letter: training, validation, and how many letters there are."""
    corpus = load_corpus("builtin", None, "train")
    words = corpus.dictionary.idx2word
    train, valid = (" ".join(words[i] for i in ids) for ids in (corpus.train, corpus.valid))
    alphabet = {letter: i for i, letter in enumerate(sorted(set(train)))}
    ids = [np.array([alphabet[x] for x in part if x in alphabet]) for part in (train, valid)]
    return ids[0], ids[1], len(alphabet)


def build(cell: str, forget: float, seed: int, size: Size) -> RNNModel:
    """A model in float64 without dropout."""
    before = mg.get_default_dtype()
    mg.set_default_dtype(np.float64)
    try:
        mg.manual_seed(seed)
        model = RNNModel(cell, text()[2], size.hidden, size.hidden, 1, dropout=0.0)
    finally:
        mg.set_default_dtype(before)
    if forget:
        H = size.hidden
        model.rnn.bias_ih_l0.data[H : 2 * H] += forget  # the gates are in the order i f g o
        model.rnn.bias_ih_l0.mark_changed()
    return model


def train(model: RNNModel, size: Size) -> float:
    """Train on consecutive chunks of 50 letters; returns the validation loss in bits a letter."""
    source, hidden = batchify(text()[0], 32), model.init_hidden(32)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    for batch in range(size.batches):
        data, target = get_batch(source, batch * 50, 50)
        _, _, hidden = train_step(model, optimizer, data, target, hidden, CLIP)
    return evaluate(model, batchify(text()[1][:20_000], 32), 50) / math.log(2)


# -------------------------------------------------------------------- how far gradients reach


def jacobian(model: RNNModel, letters: np.ndarray, state: Sequence[np.ndarray], by: int = 0):
    """∂h_T/∂state[by], (H, H), where h_T is the state after `letters` (k,) are read from `state`.

    Each part of the state is (1, H).
    """
    H = model.nhid
    x = Tensor(np.repeat(model.encoder.weight.data[letters][:, None], H, axis=1))  # (k, H, E)
    states = [mg.tensor(np.repeat(part, H, axis=0), requires_grad=True) for part in state]
    _, h, *_ = through_time(model.rnn.cell, x, states, *model.rnn.weights(0))
    h.backward(np.eye(H))  # row i: the gradient of h[i]
    return states[by].grad


@no_grad()
def states_along(model: RNNModel, letters: np.ndarray) -> list[list[np.ndarray]]:
    """The state before each letter, and after the last."""
    hidden = model.init_hidden(1)
    states = []
    for letter in letters:
        states.append([part.data[0] for part in as_tuple(hidden)])
        _, hidden = model.features(np.array([[letter]]), hidden)
    return [*states, [part.data[0] for part in as_tuple(hidden)]]


def reach(model: RNNModel, size: Size, by: int = 0) -> list[float]:
    """‖∂h_T/∂h_{T-k}‖ for k = 0, 1, …: the geometric mean over some places in the text."""
    logs = []
    for place in range(size.places):
        letters = text()[1][1000 * place :][: 20 + size.steps]  # the first 20 warm up the state
        states, T = states_along(model, letters), len(letters)
        norms = [
            np.linalg.norm(jacobian(model, letters[T - k :], states[T - k], by), 2)
            for k in range(1, size.steps + 1)
        ]
        logs.append(np.log(np.maximum(norms, 1e-300)))
    return np.exp(np.mean(logs, axis=0)).tolist()


# -------------------------------------------------------------------- exploding gradients


def rescale(model: RNNModel, radius: float) -> None:
    """Scale W_hh so that its spectral radius, its largest |eigenvalue|, is `radius`."""
    W = model.rnn.weight_hh_l0
    W.data *= radius / abs(np.linalg.eigvals(W.data)).max()
    W.mark_changed()


def explode(cell: str, seed: int, radius: float, size: Size) -> dict[str, float]:
    """The norm of a gradient, and the loss after one step of SGD with and without clipping."""
    data, target = get_batch(batchify(text()[0], 32), 0, 50)
    result = {}
    for name, clip in (("unclipped", math.inf), ("clipped", CLIP)):
        model = build(cell, 0.0, seed, size)
        rescale(model, radius)
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        before, norm, _ = train_step(model, optimizer, data, target, model.init_hidden(32), clip)
        with no_grad():
            after, _ = model.loss(data, target, model.init_hidden(32))
        result |= {"norm": float(norm), "loss": before.item(), f"loss_{name}": after.item()}
    return result


# -------------------------------------------------------------------- measuring


def measure_reach(size: Size) -> dict[str, Any]:
    """By moment and curve: the norms of each seed, and the k at which they fall below 1 %."""
    norms: dict[str, dict[str, Any]] = {
        moment: {curve: {} for curve in CURVES} for moment in ("initial", "trained")
    }
    bits: dict[str, list[float]] = {}
    for cell, forget in dict.fromkeys((cell, forget) for cell, forget, _ in CURVES.values()):
        name = next(n for n, curve in CURVES.items() if curve == (cell, forget, 0))
        for seed in SEEDS:
            model = build(cell, forget, seed, size)
            for moment in norms:
                if moment == "trained":
                    bits.setdefault(name, []).append(train(model, size))
                for curve, (*of, by) in CURVES.items():
                    if of == [cell, forget]:
                        norms[moment][curve][str(seed)] = reach(model, size, by)
        show(f"{name}: {np.mean(bits[name]):.2f} bits per letter after training")
    numbers: dict[str, Any] = {
        "bits": {name: spread(values) for name, values in bits.items()},
        "norms": norms,
    }
    for k in (10, 20, 40):
        if k <= size.steps:
            numbers[f"at_{k}"] = {
                moment: {c: spread([n[k - 1] for n in seeds.values()]) for c, seeds in of.items()}
                for moment, of in norms.items()
            }
    return numbers


def measure_explosion(size: Size) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for cell in EXPLODING:
        result[cell] = {}
        for radius in RADII:
            runs = [explode(cell, seed, radius, size) for seed in SEEDS]
            name = str(radius).replace(".", ",")  # a dot separates the keys of a number in a page
            result[cell][name] = {key: spread([run[key] for run in runs]) for key in runs[0]}
    return result


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = {**measure_reach(size), "exploding": measure_explosion(size)}
    for moment in ("initial", "trained"):
        for curve, found in numbers["at_10"][moment].items():
            show(f"{moment:8} {curve:14} k = 10: {found['min']:.1e} to {found['max']:.1e}")
    for cell, radii in numbers["exploding"].items():
        for radius, found in radii.items():
            parts = (f"{key} {value['mean']:.3g}" for key, value in found.items())
            show(f"{cell} radius {radius}: {', '.join(parts)}")
    if args.out:
        used = {**size._asdict(), "forget_bias": FORGET_BIAS, "clip": CLIP, "radii": RADII}
        seconds = time.perf_counter() - started
        write_result(args.out, this_command(), used, SEEDS, seconds, numbers)


def parser() -> argparse.ArgumentParser:
    p = Parser(description="How far gradients reach, and what clipping does.")
    p.add_argument("--out", type=Path, help="write the numbers to this file")
    p.add_argument("--quick", action="store_true", help="a small model, for the tests")
    return p


if __name__ == "__main__":
    run_command(main)
