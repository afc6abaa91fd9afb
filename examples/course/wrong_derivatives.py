"""Does training notice a wrong derivative? A cell with one gate, trained with seven of them.

python examples/course/wrong_derivatives.py --out docs/results/course/wrong-derivatives.json
python examples/course/wrong_derivatives.py --quick

The cell and its task are those of bugs/1_gate.py: read a sign, then random numbers, and tell the
sign. Its derivative has three parts, one for each input. Each mistake changes one of them.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from experiment import options, summary, write

import minigrad as mg
from lm.arguments import at_least_one
from lm.console import run_command, show
from minigrad import functional as F
from minigrad import nn, optim

SEEDS = (1, 2, 3, 4, 5)
HIDDEN, BATCH = 16, 32
LEARNED = 0.1  # a loss below this one counts as learned; guessing gives log 2 = 0.69

# What replaces a part of the derivative; each takes dh, z, n and h_prev.
Part = Callable[..., np.ndarray]
RIGHT: dict[str, Part] = {
    "a_z": lambda dh, z, n, h_prev: dh * (h_prev - n) * z * (1 - z),
    "a_n": lambda dh, z, n, h_prev: dh * (1 - z) * (1 - n * n),
    "h_prev": lambda dh, z, n, h_prev: dh * z,
}
# For each mistake, what it says about the derivative, and the parts that it replaces.
MISTAKES: dict[str, tuple[str, dict[str, Part]]] = {
    "none": ("right", {}),
    "n-sign": (
        "a_n: 1 + n² for 1 - n²",
        {"a_n": lambda dh, z, n, h_prev: dh * (1 - z) * (1 + n * n)},
    ),
    "n-tanh": ("a_n: without 1 - n²", {"a_n": lambda dh, z, n, h_prev: dh * (1 - z)}),
    "n-gate": ("a_n: without 1 - z", {"a_n": lambda dh, z, n, h_prev: dh * (1 - n * n)}),
    "z-sigmoid": ("a_z: without z (1 - z)", {"a_z": lambda dh, z, n, h_prev: dh * (h_prev - n)}),
    "z-sign": (
        "a_z: wrong sign",
        {"a_z": lambda dh, z, n, h_prev: dh * (n - h_prev) * z * (1 - z)},
    ),
    "h-gate": ("h_prev: without z", {"h_prev": lambda dh, z, n, h_prev: dh}),
    "h-zero": ("h_prev: zero", {"h_prev": lambda dh, z, n, h_prev: 0 * dh}),
}


def gate(
    mistake: Mapping[str, Part], a_z: mg.Tensor, a_n: mg.Tensor, h_prev: mg.Tensor
) -> mg.Tensor:
    """One step of the cell, (B, H) each; `mistake` replaces parts of its derivative."""
    z, n = 1 / (1 + np.exp(-a_z.data)), np.tanh(a_n.data)
    parts = {**RIGHT, **mistake}

    def backward(dh: np.ndarray) -> list[np.ndarray]:
        return [parts[name](dh, z, n, h_prev.data) for name in RIGHT]

    h = (1 - z) * n + z * h_prev.data
    return mg.record_joint([h], [a_z, a_n, h_prev], backward)[0]


def found(mistake: Mapping[str, Part]) -> bool:
    """Whether gradcheck rejects this derivative."""
    rng = np.random.default_rng(0)
    inputs = [mg.tensor(rng.standard_normal((3, 4)), requires_grad=True) for _ in range(3)]
    try:
        mg.gradcheck(functools.partial(gate, mistake), inputs)
    except mg.GradcheckError:
        return True
    return False


def train(mistake: Mapping[str, Part], seed: int, length: int, steps: int) -> float:
    """The mean loss of the last 20 steps of training."""
    mg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    read, decode = nn.Linear(1 + HIDDEN, 2 * HIDDEN), nn.Linear(HIDDEN, 2)
    optimizer = optim.Adam([*read.parameters(), *decode.parameters()], lr=0.02)
    losses = []
    for _ in range(steps):
        sign = rng.integers(0, 2, BATCH)
        x = rng.normal(size=(length, BATCH, 1)).astype(np.float32)
        x[0, :, 0] = 2 * sign - 1
        h = mg.tensor(np.zeros((BATCH, HIDDEN), np.float32))
        for x_t in x:
            a_z, a_n = read(mg.concatenate([mg.tensor(x_t), h], axis=1)).chunk(2, axis=1)
            h = gate(mistake, a_z, a_n, h)
        loss = F.cross_entropy(decode(h), sign)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-20:]))


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    length, steps = (4, 100) if args.quick else (args.length, args.steps)
    seeds = SEEDS[:2] if args.quick else SEEDS
    started = time.perf_counter()
    numbers: dict[str, Any] = {"mistakes": {}}
    for name, (label, mistake) in MISTAKES.items():
        losses = [train(mistake, seed, length, steps) for seed in seeds]
        learned = sum(loss < LEARNED for loss in losses)
        numbers["mistakes"][name] = {
            "label": label,
            "losses": losses,
            "loss": summary(losses),
            "learned": learned,
            "found_by_gradcheck": found(mistake),
        }
        shown = " ".join(f"{loss:.3f}" for loss in losses)
        show(f"{label:24} loss {shown}   gradcheck: {'wrong' if found(mistake) else 'right'}")
    wrong = [m for name, m in numbers["mistakes"].items() if name != "none"]
    numbers["wrong"] = len(wrong)
    numbers["found"] = sum(m["found_by_gradcheck"] for m in wrong)
    numbers["always_learned"] = sum(m["learned"] == len(seeds) for m in wrong)
    numbers["runs"] = sum(len(m["losses"]) for m in wrong)
    numbers["runs_learned"] = sum(m["learned"] for m in wrong)
    used = {"length": length, "steps": steps, "hidden": HIDDEN, "batch": BATCH, "learned": LEARNED}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    p = options("Train a cell whose derivative has one of several mistakes.")
    p.add_argument("--length", type=at_least_one, default=8, help="numbers to read, T")
    p.add_argument("--steps", type=at_least_one, default=300, help="steps of training")
    return p


if __name__ == "__main__":
    run_command(main)
