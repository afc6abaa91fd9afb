"""Train many small LSTMs, and keep how well each predicts every block of a held-out text.

python examples/course/test_set_models.py --out docs/results/course/test-set-models.json
python examples/course/test_set_models.py --quick

The models of one group differ in the seed alone, those of the other also in their settings. No
model has seen the held-out text, not even to choose its best epoch. `test_set.py` chooses among
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from experiment import options, summary, write
from short_text import Text, short_text, train

from lm.batches import batchify
from lm.console import run_command, show
from lm.frequency import word_losses
from lm.model import RNNModel
from lm.settings import Settings

SEEDS = tuple(range(1, 33))  # one for each model of a group
QUICK_SEEDS = SEEDS[:6]
BLOCK, COLUMNS = 100, 30  # words in a block of the held-out text, columns that it is read in
BASE = Settings(
    emsize=32, nhid=32, nlayers=1, bptt=20, batch_size=10, epochs=4, lr=20.0, decay_after=2
)
CHOICES: dict[str, tuple[Any, ...]] = {
    "nhid": (16, 24, 32, 48),
    "lr": (10.0, 20.0, 30.0),
    "dropout": (0.0, 0.1, 0.2, 0.3),
    "bptt": (10, 20, 35),
}
GROUPS = ("seeds", "settings")


def text_for(quick: bool) -> tuple[Text, int]:
    """The text, whose `test` is the held-out text, and the length of a block."""
    if quick:
        return short_text(quick=True), 5
    words = BLOCK * COLUMNS * 5 + COLUMNS
    text = short_text(train=35_000, valid=words, test=words)
    held_out = np.concatenate([text.valid, text.test])
    # No model is chosen by the held-out text, not even its best epoch.
    return text._replace(train=text.train[:30_000], valid=text.train[30_000:], test=held_out), BLOCK


def settings_of(group: str, model: int) -> Settings:
    """The settings of a model: its seed, and in the group "settings" also a random choice."""
    settings = dataclasses.replace(BASE, seed=model)
    if group == "seeds":
        return settings
    rng = np.random.default_rng(model)
    drawn = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
    return dataclasses.replace(settings, emsize=drawn["nhid"], **drawn)


def block_losses(model: RNNModel, ids: np.ndarray, block: int) -> np.ndarray:
    """The mean loss in nats per word of each block of a text, read in columns."""
    source = batchify(ids, COLUMNS)
    source = source[: (len(source) - 1) // block * block + 1]  # whole blocks
    _, losses = word_losses(model, source, block)
    return losses.reshape(-1, block, COLUMNS).mean(axis=1).reshape(-1)


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started = time.perf_counter()
    seeds = QUICK_SEEDS if args.quick else SEEDS
    text, block = text_for(args.quick)
    numbers: dict[str, Any] = {}
    for group in GROUPS:
        rows, drawn = [], []
        for seed in seeds:
            settings = settings_of(group, seed)
            if args.quick:
                settings = dataclasses.replace(settings, emsize=8, nhid=8, epochs=1)
            rows.append(block_losses(train(settings, text).model, text.test, block))
            drawn.append({name: getattr(settings, name) for name in CHOICES})
        numbers[group] = {
            "ppl": summary([math.exp(row.mean()) for row in rows]),
            "settings": drawn,
            # A line for each model, its loss in nats per word for each block.
            "losses": [" ".join(f"{loss:.4f}" for loss in row) for row in rows],
        }
        ppl = numbers[group]["ppl"]
        show(f"{group}: perplexity {ppl['mean']:.1f}, from {ppl['min']:.1f} to {ppl['max']:.1f}")
    used = {
        **BASE.as_dict(),
        "choices": CHOICES,
        "block": block,
        "train_words": len(text.train),
        "held_out_words": rows[0].size * block,
    }
    numbers |= {name: used[name] for name in ("block", "train_words", "held_out_words")}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def parser() -> argparse.ArgumentParser:
    return options("Train many small models, and test each on many blocks of text.")


if __name__ == "__main__":
    run_command(main)
