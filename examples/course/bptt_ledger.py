"""The gradient ledger: what the loss at step t contributes to dW_hh through step s.

python examples/course/bptt_ledger.py --out docs/results/course/bptt-ledger.json
python examples/course/bptt_ledger.py --quick

A recurrent layer uses the matrix W_hh once at each step. To see each use apart, give each step its
own copy of it: the copies are equal, so the loss does not change, but each copy gets a gradient of
its own. Then call `backward` once for the loss of each step. The gradient of copy s for the loss of
step t is the entry (t, s). The entries add up to the gradient of W_hh.

The model reads "backprop" and predicts the letter that follows each letter. It has read "gradient"
before: the state that this left is the initial state, a constant. The model isn't trained.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one
from lm.console import run_command, show
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.bptt import through_time, unrolled
from minigrad.cells import CELLS
from minigrad.random import uniform

SEEDS = (1, 2, 3)
BEFORE, TEXT = "gradient", "backpropagationthroughtimeisthechainruleinaloop"
LETTERS, EMBED = 26, 8


class Example:
    """One layer of a cell between an embedding and a decoder, and T letters to read."""

    def __init__(self, cell: str, seed: int, steps: int = 8, hidden: int = 16) -> None:
        usual = mg.get_default_dtype()
        mg.set_default_dtype(np.float64)
        try:
            mg.manual_seed(seed)
            self.cell = CELLS[cell]
            recurrent = nn.Recurrent(self.cell, EMBED, hidden)
            self.decoder = nn.Linear(hidden, LETTERS)
            vectors = uniform(-1, 1, (LETTERS, EMBED))
        finally:
            mg.set_default_dtype(usual)
        self.W_ih, self.W_hh, self.b_ih, self.b_hh = recurrent.weights(0)
        read = np.resize(letters(TEXT), steps + 1)  # if it is too short, it starts again
        self.x, self.targets = Tensor(vectors[read[:-1], None]), read[1:]
        before, zero = Tensor(vectors[letters(BEFORE), None]), Tensor(np.zeros((1, hidden)))
        with mg.no_grad():
            weights = recurrent.weights(0)
            _, *self.state = through_time(
                self.cell, before, [zero] * self.cell.num_states, *weights
            )

    def loss(self, one_layer: Any) -> Tensor:
        """The sum of the losses of all steps, with `unrolled` or `through_time` as the layer."""
        output, *_ = one_layer(
            self.cell, self.x, self.state, self.W_ih, self.W_hh, self.b_ih, self.b_hh
        )
        return F.cross_entropy(self.decoder(output[:, 0]), self.targets, reduction="sum")

    def losses_by_step(self, one_layer: Any, copies: Sequence[Tensor]) -> list[Tensor]:
        """The loss of each step, if step s uses copies[s] in place of W_hh."""
        state, losses = self.state, []
        for s, W in enumerate(copies):
            x = self.x[s : s + 1]
            h, *state = one_layer(self.cell, x, state, self.W_ih, W, self.b_ih, self.b_hh)
            losses.append(F.cross_entropy(self.decoder(h[0]), self.targets[s : s + 1]))
        return losses


def letters(word: str) -> np.ndarray:
    return np.array([ord(letter) - ord("a") for letter in word])


def gradient(example: Example, one_layer: Any) -> np.ndarray:
    """dL/dW_hh by the tape (`unrolled`) or by hand (`through_time`)."""
    example.W_hh.zero_grad()
    example.loss(one_layer).backward()
    return example.W_hh.grad


def finite_differences(example: Example, step: float = 1e-5) -> np.ndarray:
    """dL/dW_hh by central differences: two forward passes for each element."""
    W = example.W_hh.data
    result = np.empty_like(W)
    for place in np.ndindex(*W.shape):
        value, loss = W[place], []
        for W[place] in (value - step, value + step):
            loss.append(example.loss(through_time).item())
        W[place] = value
        result[place] = (loss[1] - loss[0]) / (2 * step)
    return result


def ledger(example: Example, one_layer: Any = through_time) -> np.ndarray:
    """The entries, (T, T, G·H, H): [t, s] is dL_t/dW_hh through its use at step s."""
    T, W = len(example.targets), example.W_hh.data
    copies = [mg.tensor(W.copy(), requires_grad=True) for _ in range(T)]
    entries = np.zeros((T, T, *W.shape))
    for t, loss in enumerate(example.losses_by_step(one_layer, copies)):
        loss.backward(retain_graph=True)
        for s, copy in enumerate(copies[: t + 1]):
            if copy.grad is not None:  # None: no path leads there
                entries[t, s] = copy.grad
            copy.zero_grad()
    return entries


def shares(entries: np.ndarray) -> np.ndarray:
    """The part of each entry along the whole gradient, (T, T); they add up to 1.

    Each entry is projected on the gradient. A negative share pulls against it.
    """
    total = entries.sum(axis=(0, 1))
    return np.tensordot(entries, total, axes=2) / np.vdot(total, total)


def by_distance(table: np.ndarray) -> list[float]:
    """The sum of each diagonal: all entries with the same t - s."""
    return [float(np.trace(table, -k)) for k in range(len(table))]


# -------------------------------------------------------------------- measuring


def measure(cell: str, seed: int, steps: int, hidden: int) -> dict[str, Any]:
    example = Example(cell, seed, steps, hidden)
    hand, entries = gradient(example, through_time), ledger(example)
    table = shares(entries)
    return {
        "loss": example.loss(through_time).item(),
        "gradient_norm": float(np.linalg.norm(hand)),
        "tape_minus_hand": difference(gradient(example, unrolled), hand),
        "numeric_minus_hand": difference(finite_differences(example), hand),
        "ledger_minus_gradient": difference(entries.sum(axis=(0, 1)), hand),
        "norms": np.linalg.norm(entries, axis=(2, 3)).tolist(),
        "shares": table.tolist(),
        "by_distance": by_distance(table),
    }


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest element."""
    return float(abs(a - b).max() / abs(b).max())


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    steps, hidden = (6, 8) if args.quick else (args.steps, args.hidden)
    started = time.perf_counter()
    numbers: dict[str, Any] = {}
    for cell in CELLS:
        runs = [measure(cell, seed, steps, hidden) for seed in SEEDS]
        numbers[cell] = {
            "seeds": {str(seed): run for seed, run in zip(SEEDS, runs, strict=True)},
            "same_step": summary([100 * run["by_distance"][0] for run in runs]),
            "three_or_more": summary([100 * sum(run["by_distance"][3:]) for run in runs]),
        }
        show(table_of(cell, numbers[cell]))
    checks = ("tape_minus_hand", "numeric_minus_hand", "ledger_minus_gradient")
    numbers["worst"] = {
        check: max(numbers[cell]["seeds"][str(seed)][check] for cell in CELLS for seed in SEEDS)
        for check in checks
    }
    show(*(f"{check:22} {value:.1e}" for check, value in numbers["worst"].items()))
    used = {"steps": steps, "hidden": hidden, "embedding": EMBED, "before": BEFORE, "text": TEXT}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def table_of(cell: str, numbers: dict[str, Any]) -> str:
    """The triangle of the first seed, in percent."""
    rows = numbers["seeds"][str(SEEDS[0])]["shares"]
    lines = [f"{cell}: percent of the gradient, seed {SEEDS[0]}; row: loss of t, column: step s"]
    for t, row in enumerate(rows):
        lines.append(f"{t:3} " + "".join(f"{100 * share:7.2f}" for share in row[: t + 1]))
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    p = options("What the loss of each step contributes to dW_hh through each step.")
    p.add_argument("--steps", type=at_least_one, default=8, help="letters to read, T")
    p.add_argument("--hidden", type=at_least_one, default=16, help="hidden units, H")
    return p


if __name__ == "__main__":
    run_command(main)
