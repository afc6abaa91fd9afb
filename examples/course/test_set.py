"""Why a test set: the best of many models on validation text, and the same model on new text.

python examples/course/test_set.py --out docs/results/course/test-set.json
python examples/course/test_set.py --quick

Many small LSTMs are trained on a short text: those of one group differ in the seed alone, those of
the other also in their settings. Each reads the same held-out text, and its loss on every block of
100 words is kept. Then, thousands of times, some blocks are drawn for validation and others for the
test: of N models, the best on validation is chosen and tested. Two simulations go beyond the number
of trained models. The trials of docs/results, on the whole of Penn Treebank, are compared too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import ROOT, options, summary, write
from small import Text, short_text, train

import minigrad as mg
from lm.batches import batchify
from lm.console import run_command, show
from lm.model import RNNModel
from lm.settings import Settings

BLOCK, COLUMNS = 100, 30
MODELS = 40  # in each group
SIZES = (5, 20, 100)  # blocks of validation text
COUNTS = (1, 2, 5, 10, 20, 40)  # models to choose from
SIMULATED_COUNTS = (1, 2, 5, 10, 20, 40, 100, 300, 1000)
TEST = 150  # blocks of test text
DRAWS = 2000
SEEDS = (1, 2, 3)  # of the simulations; the models have seeds of their own
BASE = Settings(
    emsize=32, nhid=32, nlayers=1, bptt=20, batch_size=10, epochs=4, lr=20.0, decay_after=2
)
CHOICES: dict[str, tuple[Any, ...]] = {
    "nhid": (16, 24, 32, 48),
    "lr": (10.0, 20.0, 30.0),
    "dropout": (0.0, 0.1, 0.2, 0.3),
    "bptt": (10, 20, 35),
}
LABELS = 1000  # of the test set in the game of looking often
LOOKS = (1, 3, 10, 30, 100, 300, 1000)


# -------------------------------------------------------------------- trained models


def text_for(quick: bool) -> tuple[Text, int]:
    """The text, whose `test` is the held-out text, and the length of a block."""
    if quick:
        return short_text(quick=True), 5
    words = BLOCK * COLUMNS * 5 + COLUMNS
    text = short_text(train=45_000, valid=words, test=words)
    held_out = np.concatenate([text.valid, text.test])
    # No model is chosen by the held-out text, not even its best epoch.
    return text._replace(train=text.train[:40_000], valid=text.train[40_000:], test=held_out), BLOCK


def settings_of(group: str, model: int) -> Settings:
    """The settings of a model: its seed, and in the group "settings" also a random choice."""
    settings = dataclasses.replace(BASE, seed=model)
    if group == "seeds":
        return settings
    rng = np.random.default_rng(model)
    drawn = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
    return dataclasses.replace(settings, emsize=drawn["nhid"], **drawn)


@mg.no_grad()
def block_losses(model: RNNModel, ids: np.ndarray, block: int) -> np.ndarray:
    """The mean loss in nats per word of each block of a text, read in columns."""
    source = batchify(ids, COLUMNS)
    model.eval()
    hidden = model.init_hidden(COLUMNS)
    found: list[np.ndarray] = []
    for i in range(0, len(source) - block, block):
        data, target = source[i : i + block], source[i + 1 : i + 1 + block].reshape(-1)
        logits, hidden = model(data, hidden)
        chosen = mg.log_softmax(logits).data[np.arange(target.size), target]
        found.append(-chosen.reshape(block, COLUMNS).mean(axis=0))
    return np.concatenate(found)


def losses_of(group: str, models: int, quick: bool) -> np.ndarray:
    """Train the models of a group; returns their losses, (models, blocks)."""
    text, block = text_for(quick)
    rows = []
    for model in range(1, models + 1):
        settings = settings_of(group, model)
        if quick:
            settings = dataclasses.replace(settings, emsize=8, nhid=8, epochs=1)
        rows.append(block_losses(train(settings, text).model, text.test, block))
        if model % 10 == 0:
            show(f"{group}: {model} of {models} models")
    return np.array(rows)


# -------------------------------------------------------------------- choosing


def choose(
    losses: np.ndarray, size: int, count: int, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """The best of `count` models on `size` blocks, and the same model on other blocks.

    Means over `draws` random choices of the models and the blocks, in percent of perplexity below
    the average model on the same text: what validation promised, what the test kept, and what
    choosing by the test itself would have seemed to give.
    """
    models, blocks = losses.shape
    test_size = min(TEST, blocks - size)
    promised, kept, peeked = [], [], []
    for _ in range(draws):
        order = rng.permutation(blocks)
        valid = losses[:, order[:size]].mean(axis=1)
        test = losses[:, order[size : size + test_size]].mean(axis=1)
        those = rng.permutation(models)[:count]
        best = those[np.argmin(valid[those])]
        promised.append(valid.mean() - valid[best])
        kept.append(test.mean() - test[best])
        peeked.append(test.mean() - test[those].min())
    names = ("promised", "kept", "peeked")
    means = [float(np.mean(x)) for x in (promised, kept, peeked)]
    return {name: percent(x) for name, x in zip(names, means, strict=True)} | {
        "optimism": percent(means[0] - means[1])
    }


def percent(nats: float) -> float:
    """A difference of losses as a difference of perplexities in percent."""
    return 100 * math.expm1(nats)


def spreads(losses: np.ndarray) -> dict[str, float]:
    """The standard deviation of the models' true losses, and the noise of one block.

    In nats, after the difficulty of each block, which is the same for all models, is removed.
    """
    models, blocks = losses.shape
    deviations = losses - losses.mean(axis=0)
    of_models = deviations.mean(axis=1)
    rest = deviations - of_models[:, None]
    noise = (rest**2).sum() / ((models - 1) * (blocks - 1))
    true = max(0.0, of_models.var(ddof=1) - noise / blocks)
    return {"true": math.sqrt(true), "noise": math.sqrt(noise)}


def simulate(
    true: float, noise: float, count: int, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """The same choice among models with normal true losses and normal noise of validation."""
    quality = true * rng.standard_normal((draws, count))
    valid = quality + noise * rng.standard_normal((draws, count))
    best = np.argmin(valid, axis=1)[:, None]
    promised = -np.take_along_axis(valid, best, 1).mean()
    kept = -np.take_along_axis(quality, best, 1).mean()
    names = {"promised": promised, "kept": kept, "optimism": promised - kept}
    return {name: percent(float(x)) for name, x in names.items()}


# -------------------------------------------------------------------- looking


def look(labels: int, looks: int, rng: np.random.Generator) -> dict[str, float]:
    """Accuracy, in percent, on labels that nothing can predict, after looking at scores.

    best   the best of `looks` random predictions
    vote   the majority of all random predictions, each turned round if it scored below half
    fresh  the same vote on new labels
    """
    truth, new = rng.integers(0, 2, labels), rng.integers(0, 2, labels)
    guesses = rng.integers(0, 2, (looks, labels))
    scores = (guesses == truth).mean(axis=1)
    turned = np.where((scores >= 0.5)[:, None], guesses, 1 - guesses)
    vote = turned.mean(axis=0) + 1e-9 * rng.standard_normal(labels) > 0.5  # ties at random
    hits = {"best": scores.max(), "vote": (vote == truth).mean(), "fresh": (vote == new).mean()}
    return {name: 100 * float(value) for name, value in hits.items()}


# -------------------------------------------------------------------- our own trials


def own_trials(folders: Sequence[Path]) -> dict[str, Any]:
    """Validation and test perplexity of the finished trials, and of the best seed of each group."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/result.json")):
            found = json.loads(path.read_text(encoding="utf-8"))["numbers"]
            if found["status"] == "done":
                group = path.parent.name.rpartition("_seed-")[0]
                pair = (found["best_valid_ppl"], found["test_ppl"])
                groups.setdefault(group, []).append(pair)
    pairs = [pair for group in groups.values() for pair in group]
    if not pairs:
        return {"trials": 0}
    several = [np.log(group) for group in groups.values() if len(group) > 1]
    best = [group[group[:, 0].argmin()] for group in several]
    gains = [group.mean(axis=0) - chosen for group, chosen in zip(several, best, strict=True)]
    return {
        "trials": len(pairs),
        "groups": {name: [list(pair) for pair in group] for name, group in groups.items()},
        "test_over_valid": summary([100 * (test / valid - 1) for valid, test in pairs]),
        "groups_with_seeds": len(several),
        "promised": summary([percent(gain[0]) for gain in gains]) if gains else None,
        "kept": summary([percent(gain[1]) for gain in gains]) if gains else None,
    }


# -------------------------------------------------------------------- the program


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started = time.perf_counter()
    models, draws = (6, 200) if args.quick else (MODELS, DRAWS)
    counts = [n for n in COUNTS if n <= models]
    numbers: dict[str, Any] = {"groups": {}}
    for group in ("seeds", "settings"):
        losses = losses_of(group, models, args.quick)
        sizes = [size for size in SIZES if size < losses.shape[1]]
        numbers["groups"][group] = describe(losses, sizes, counts, draws)
    numbers["looks"] = {
        str(k): {name: summary([run[name] for run in runs]) for name in runs[0]}
        for k in LOOKS
        for runs in [[look(LABELS, k, np.random.default_rng(seed)) for seed in range(1, 11)]]
    }
    results = ROOT / "docs" / "results"
    numbers["own"] = own_trials([results / "ptb" / "trials", results / "cells" / "trials"])
    used = {**BASE.as_dict(), "models": models, "choices": CHOICES, "block": BLOCK, "draws": draws,
            "test_blocks": TEST, "labels": LABELS}  # fmt: skip
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def describe(
    losses: np.ndarray, sizes: Sequence[int], counts: Sequence[int], draws: int
) -> dict[str, Any]:
    """What choosing does to one group of models, for each size of the validation text."""
    found = spreads(losses)
    described: dict[str, Any] = {
        "ppl": summary([math.exp(loss) for loss in losses.mean(axis=1)]),
        "spread": {name: percent(x) for name, x in found.items()},
        "trained": {},
        "simulated": {},
        "losses": [" ".join(f"{loss:.3f}" for loss in row) for row in losses],  # a line per model
    }
    for size in sizes:
        rng = np.random.default_rng(size)
        described["trained"][str(size)] = {
            str(n): choose(losses, size, n, draws, rng) for n in counts
        }
        noise = found["noise"] / math.sqrt(size)
        described["simulated"][str(size)] = {
            str(n): over_seeds(found["true"], noise, n) for n in SIMULATED_COUNTS
        }
        show(f"{size} blocks: {described['trained'][str(size)][str(counts[-1])]}")
    return described


def over_seeds(true: float, noise: float, count: int) -> dict[str, Any]:
    runs = [simulate(true, noise, count, 500, np.random.default_rng(seed)) for seed in SEEDS]
    return {name: summary([run[name] for run in runs]) for name in runs[0]}


def parser() -> argparse.ArgumentParser:
    return options("Choose the best of N models on validation text, and test it.")


if __name__ == "__main__":
    run_command(main)
