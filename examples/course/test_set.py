"""Why a test set: the best of many models on validation text, and the same model on new text.

python examples/course/test_set.py --out docs/results/course/test-set.json
python examples/course/test_set.py --quick

The models are those that `test_set_models.py` has trained. Thousands of times, some blocks of the
held-out text are drawn for validation and others for the test: of N models, the best on validation
is chosen and tested. Two simulations go beyond the number of trained models. The trials of
docs/results, on the whole of Penn Treebank, are compared too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import ROOT, options, read, summary, write

from lm.console import run_command, show
from lm.results import read_result

SEEDS = (1, 2, 3)
SIZES = (5, 20, 100)  # blocks of validation text
WHOLE = 700  # as many as the validation text of Penn Treebank has; only simulated
TEST = 150  # blocks of test text
COUNTS = (1, 2, 4, 8, 16, 32)  # models to choose from
MORE = (64, 128, 256, 512, 1024)  # in the simulation also these
DRAWS = 1000  # choices for each seed
LABELS = 1000  # of the test set in the game of looking often
LOOKS = (1, 3, 10, 30, 100, 300, 1000)


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
    means = {"promised": promised, "kept": kept, "peeked": peeked}
    found = {name: percent(float(np.mean(x))) for name, x in means.items()}
    return found | {"optimism": percent(float(np.mean(promised) - np.mean(kept)))}


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
    # A trial that two experiments share, and so is in two folders, counts once.
    trials = {path.parent.name: path for f in folders for path in sorted(f.glob("*/result.json"))}
    groups: dict[str, list[tuple[float, float]]] = {}
    for trial, path in trials.items():
        found = read_result(path)["numbers"]
        if found["status"] == "done":
            pair = (found["best_valid_ppl"], found["test_ppl"])
            groups.setdefault(trial.rpartition("_seed-")[0], []).append(pair)
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
    draws = 50 if args.quick else DRAWS
    models = read("test-set-models")
    numbers: dict[str, Any] = {"groups": {}, "block": models["numbers"]["block"]}
    for group in ("seeds", "settings"):
        rows = models["numbers"][group]["losses"]
        numbers["groups"][group] = describe(np.array([row.split() for row in rows], float), draws)
    numbers["looks"] = {str(k): over_seeds(look, LABELS, k) for k in LOOKS}
    results = ROOT / "docs" / "results"
    numbers["own"] = own_trials([results / "ptb" / "trials", results / "cells" / "trials"])
    own = numbers["own"]
    show(f"{own['trials']} trials on Penn Treebank")
    used = {"sizes": SIZES, "test_blocks": TEST, "draws": draws, "labels": LABELS}
    write(args.out, used, SEEDS, time.perf_counter() - started, numbers)


def describe(losses: np.ndarray, draws: int) -> dict[str, Any]:
    """What choosing does to one group of models, for each size of the validation text."""
    found = spreads(losses)
    described: dict[str, Any] = {
        "models": len(losses),
        "blocks": losses.shape[1],
        "spread": {name: percent(x) for name, x in found.items()},
        "trained": {},
        "simulated": {},
    }
    for size in (*SIZES, WHOLE):
        noise = found["noise"] / math.sqrt(size)
        described["simulated"][str(size)] = {
            str(n): over_seeds(simulate, found["true"], noise, n, draws) for n in (*COUNTS, *MORE)
        }
    for size in SIZES:
        described["trained"][str(size)] = {
            str(n): over_seeds(choose, losses, size, n, draws) for n in COUNTS
        }
        best = described["trained"][str(size)][str(COUNTS[-1])]
        show(
            f"{size:3} blocks, best of {COUNTS[-1]}: promised {best['promised']['mean']:.2f} %, "
            f"kept {best['kept']['mean']:.2f} %"
        )
    return described


def over_seeds(measure: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, Any]:
    """What `measure` returns, as a summary over the seeds of its generator."""
    runs = [measure(*arguments, np.random.default_rng(seed)) for seed in SEEDS]
    return {name: summary([run[name] for run in runs]) for name in runs[0]}


def parser() -> argparse.ArgumentParser:
    return options("Choose the best of N models on validation text, and test it.")


if __name__ == "__main__":
    run_command(main)
