"""How far gradients reach: the size of ∂h_T/∂h_{T-k} for each cell, untrained and trained.

python examples/course/gradient_reach.py --out docs/results/course/gradient-reach.json
python examples/course/gradient_reach.py --quick

The derivative of one step, ∂h_t/∂h_{t-1}, is a matrix J_t, and by the chain rule the derivative
over k steps is the product J_T J_{T-1} … J_{T-k+1}. `through_time` computes all of J_t in one call:
repeat the state in the batch, once for each of its elements, and give copy i the upstream
gradient e_i. The gradient of copy i is then row i of J_t.

The size of a matrix is its spectral norm, the most by which it can stretch a vector. The state of
the LSTM is a pair (h, c); its J_t maps the pair. Two blocks of the product are measured: h_T by
h_{T-k}, and c_T by c_{T-k}.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from experiment import options, summary, write
from letter_model import build, perplexity, text, train

import minigrad as mg
from lm.console import run_command, show
from lm.model import RNNModel
from minigrad import Tensor, no_grad
from minigrad.bptt import through_time

SEEDS = (1, 2, 3)
FORGET_BIAS = 2.0
# name: the cell, and what is added to the bias of its forget gate
MODELS = {
    "RNN_TANH": ("RNN_TANH", 0.0),
    "RNN_RELU": ("RNN_RELU", 0.0),
    "LSTM": ("LSTM", 0.0),
    "GRU": ("GRU", 0.0),
    "LSTM_forget": ("LSTM", FORGET_BIAS),
}
AT = (5, 10, 20, 40)  # the values of k in the table
WARM_UP = 20  # letters that are read before the first state


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    steps: int = 40  # the largest k
    places: int = 16  # in the text, where h_T is
    letters: int = 1_000_000  # of training, more than the text has


QUICK = Size(hidden=24, steps=20, places=4, letters=60_000)


class Layer:
    """The recurrent layer of a model in float64, and what it reads."""

    def __init__(self, model: RNNModel) -> None:
        self.cell, self.hidden = model.rnn.cell, model.nhid
        self.weights = [Tensor(w.data.astype(np.float64)) for w in model.rnn.weights(0)]
        self.letters = model.encoder.weight.data.astype(np.float64)

    def step(self, x: np.ndarray, state: Sequence[Tensor]) -> list[Tensor]:
        """The next state, each part (B, H), after the letters x (B,)."""
        read = Tensor(self.letters[x][None])
        return list(through_time(self.cell, read, state, *self.weights)[1:])

    def jacobians(self, x: np.ndarray, state: Sequence[np.ndarray]) -> np.ndarray:
        """∂(next state)/∂state for each of B sequences, (B, S, S); x (B,), each part (B, H)."""
        S = self.cell.num_states * self.hidden
        parts = [mg.tensor(np.repeat(part, S, axis=0), requires_grad=True) for part in state]
        after = mg.concatenate(self.step(np.repeat(x, S), parts), axis=1)  # (B·S, S)
        after.backward(np.tile(np.eye(S), (len(x), 1)))
        return np.concatenate([part.grad for part in parts], axis=1).reshape(len(x), S, S)

    @no_grad()
    def states(self, x: np.ndarray) -> list[list[np.ndarray]]:
        """The state before each step and after the last; x (T, B), from zero."""
        state = [Tensor(np.zeros((x.shape[1], self.hidden)))] * self.cell.num_states
        states = [state]
        for letters in x:
            state = self.step(letters, state)
            states.append(state)
        return [[part.data for part in state] for state in states]


def products(layer: Layer, x: np.ndarray, steps: int) -> list[np.ndarray]:
    """∂(state T)/∂(state T-k), (B, S, S), for k = 1 … steps; x (T, B)."""
    states, T, total, found = layer.states(x), len(x), None, []
    for t in reversed(range(T - steps, T)):
        J = layer.jacobians(x[t], states[t])
        total = J if total is None else total @ J
        found.append(total)
    return found


def reach(model: RNNModel, size: Size) -> dict[str, list[float]]:
    """‖∂h_T/∂h_{T-k}‖ for k = 1, 2, …, and of c for the LSTM: geometric means over the places."""
    layer, length = Layer(model), WARM_UP + size.steps
    x = np.stack([text()[1][1000 * place :][:length] for place in range(size.places)], axis=1)
    found, H = products(layer, x, size.steps), size.hidden
    blocks = {"h": slice(0, H), "c": slice(H, 2 * H)}
    result = {}
    for part in ("h", "c")[: layer.cell.num_states]:
        norms = [np.linalg.norm(p[:, blocks[part], blocks[part]], 2, axis=(1, 2)) for p in found]
        result[part] = np.exp(np.log(np.maximum(norms, 1e-300)).mean(axis=1)).tolist()
    return result


# -------------------------------------------------------------------- measuring


def measure(name: str, seed: int, size: Size) -> dict[str, Any]:
    cell, forget = MODELS[name]
    model = build(cell, seed, size.hidden)
    if forget:
        model.rnn.bias_ih_l0.data[size.hidden : 2 * size.hidden] += forget  # gates: i f g o
        model.rnn.bias_ih_l0.mark_changed()
    initial = reach(model, size)
    train(model, size.letters)
    return {"initial": initial, "trained": reach(model, size), "perplexity": perplexity(model)}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    numbers: dict[str, Any] = {}
    for name in MODELS:
        runs = [measure(name, seed, size) for seed in SEEDS]
        numbers[name] = {
            "seeds": {str(seed): run for seed, run in zip(SEEDS, runs, strict=True)},
            "perplexity": summary([run["perplexity"] for run in runs]),
        }
        show(f"{name}: perplexity {numbers[name]['perplexity']['mean']:.2f} per letter")
        for moment in ("initial", "trained"):
            numbers[name][moment] = {
                part: {
                    str(k): summary([run[moment][part][k - 1] for run in runs])
                    for k in AT
                    if k <= size.steps
                }
                for part in runs[0][moment]
            }
            for part, found in numbers[name][moment].items():
                norms = (f"k={k} {s['min']:.1e} to {s['max']:.1e}" for k, s in found.items())
                show(f"    {moment:8} {part}: " + ", ".join(norms))
    used = {**size._asdict(), "forget_bias": FORGET_BIAS, "warm_up": WARM_UP}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("How far gradients reach in each of the cells.")


if __name__ == "__main__":
    run_command(main)
