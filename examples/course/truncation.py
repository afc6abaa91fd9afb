"""What truncation removes from the gradient, and what remains.

python examples/course/truncation.py --out docs/results/course/truncation.json
python examples/course/truncation.py --quick

A letter model reads some columns of text. Its gradient is computed twice: in full, and in chunks,
each of which starts from the detached state of the one before. The cosine of the two says how far
their directions agree, the ratio of their norms how much shorter the second one is.

The same for the ledger (see bptt_ledger.py): detach removes the entries (t, s) whose steps are in
different chunks, and changes no other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import bptt_ledger
import numpy as np
from experiment import options, summary, write
from letter_model import COLUMNS, build, text, train

from lm.batches import batchify, get_batch
from lm.console import run_command, show
from lm.model import RNNModel
from lm.steps import repackage_hidden
from minigrad import no_grad
from minigrad.bptt import through_time
from minigrad.cells import CELLS

SEEDS = (1, 2, 3)
WARM_UP = 50  # letters that are read first, so that the state is an ordinary one


class Size(NamedTuple):
    """How large the experiment is."""

    hidden: int = 64
    steps: int = 128  # a power of two
    letters: int = 300_000  # of training


QUICK = Size(hidden=16, steps=16, letters=10_000)


def gradients(model: RNNModel, steps: int, chunk: int) -> dict[str, np.ndarray]:
    """The gradient of the loss of `steps` letters in each column, if the state is detached after
    every `chunk` steps: that of W_hh, and of all parameters in one vector."""
    source = batchify(text()[1][:30_000], COLUMNS)
    with no_grad():
        hidden = model.features(source[:WARM_UP], model.init_hidden(COLUMNS))[1]
    model.zero_grad()
    for start in range(WARM_UP, WARM_UP + steps, chunk):
        hidden = repackage_hidden(hidden)
        loss, hidden = model.loss(*get_batch(source, start, chunk), hidden)
        (loss * (chunk / steps)).backward()  # adds to .grad
    everything = [p.grad.ravel().astype(np.float64) for p in model.parameters()]
    return {
        "W_hh": model.rnn.weight_hh_l0.grad.ravel().astype(np.float64),
        "all": np.concatenate(everything),
    }


def compared(a: np.ndarray, full: np.ndarray) -> dict[str, float]:
    norm, norm_full = np.linalg.norm(a), np.linalg.norm(full)
    return {"cosine": float(a @ full / (norm * norm_full)), "ratio": float(norm / norm_full)}


def by_chunk(model: RNNModel, steps: int) -> dict[str, dict[str, dict[str, float]]]:
    """For W_hh and for all parameters, and each chunk length: cosine and ratio of norms."""
    full = gradients(model, steps, steps)
    result: dict[str, Any] = {name: {} for name in full}
    for chunk in (2**i for i in range(steps.bit_length())):
        found = gradients(model, steps, chunk)
        for name in full:
            result[name][str(chunk)] = compared(found[name], full[name])
    return result


# -------------------------------------------------------------------- the ledger


class Detached(bptt_ledger.Example):
    """The example of the ledger, with its state detached after every `chunk` steps."""

    chunk = 4

    def losses_by_step(self, one_layer: Any, copies: Any) -> Any:
        steps_done = 0

        def detaching(cell: Any, x: Any, state: Any, *weights: Any) -> Any:
            nonlocal steps_done
            if steps_done % self.chunk == 0:
                state = repackage_hidden(state)
            steps_done += 1
            return one_layer(cell, x, state, *weights)

        return super().losses_by_step(detaching, copies)


def removed(cell: str, seed: int) -> dict[str, float]:
    """How the ledger with detach differs from the one without, and what share it loses."""
    full = bptt_ledger.ledger(bptt_ledger.Example(cell, seed))
    cut = bptt_ledger.ledger(Detached(cell, seed), through_time)
    chunk = np.arange(len(full)) // Detached.chunk
    inside = (chunk[:, None] == chunk)[..., None, None]
    return {
        "cut_minus_kept": float(abs(cut - full * inside).max()),
        "share_removed": float(100 * bptt_ledger.shares(full)[~inside[..., 0, 0]].sum()),
    }


# -------------------------------------------------------------------- measuring


def measure(cell: str, seed: int, size: Size) -> dict[str, Any]:
    model = build(cell, seed, size.hidden)
    initial = by_chunk(model, size.steps)
    train(model, size.letters)
    return {"initial": initial, "trained": by_chunk(model, size.steps)}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    size = QUICK if args.quick else Size()
    started = time.perf_counter()
    numbers: dict[str, Any] = {}
    for cell in CELLS:
        runs = [measure(cell, seed, size) for seed in SEEDS]
        ledgers = [removed(cell, seed) for seed in SEEDS]
        numbers[cell] = {
            **{
                moment: {
                    name: {
                        chunk: {
                            key: summary([run[moment][name][chunk][key] for run in runs])
                            for key in ("cosine", "ratio")
                        }
                        for chunk in runs[0][moment][name]
                    }
                    for name in ("W_hh", "all")
                }
                for moment in ("initial", "trained")
            },
            "ledger": {key: summary([x[key] for x in ledgers]) for key in ledgers[0]},
        }
        show(f"{cell}: cosine of the gradients of W_hh; ledger {numbers[cell]['ledger']}")
        for moment in ("initial", "trained"):
            found = numbers[cell][moment]["W_hh"]
            shown = (f"{chunk}: {c['cosine']['mean']:.3f}" for chunk, c in found.items())
            show(f"    {moment:8} " + ", ".join(shown))
    used = {**size._asdict(), "columns": COLUMNS, "chunk_of_the_ledger": Detached.chunk}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("What truncation removes from the gradient.")


if __name__ == "__main__":
    run_command(main)
