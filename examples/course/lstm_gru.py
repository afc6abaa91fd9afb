"""LSTM and GRU on a short text: perplexity and time over size, layers, chunk length and epochs.

python examples/course/lstm_gru.py --out docs/results/course/lstm-gru.json
python examples/course/lstm_gru.py --quick

A small form of examples/compare_cells.py, which takes many hours on the whole of Penn Treebank.
Each cell first tries three learning rates, with the first seed; the best one on validation is used
from then on. Then one parameter at a time is changed, with three seeds. In addition, the GRU gets
more units until it has as many parameters as the LSTM, in its recurrent layer or in all. The two
cells take turns, and their times are CPU times of one thread: set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import time
from collections.abc import Sequence
from typing import Any

from experiment import options, summary, write
from short_text import Text, Trained, count_parameters, perplexity_of, short_text, train

from lm.console import run_command, show
from lm.settings import Settings, build_model
from lm.sweep.grid import variants
from minigrad.cells import CELLS

SEEDS = (1, 2, 3)
MODELS = ("LSTM", "GRU")
RATES = (0.25, 0.5, 1.0)  # times the cell's default
BASE = Settings(emsize=64, nhid=64, nlayers=1, bptt=35, batch_size=10, epochs=6)
GRID: dict[str, tuple[int, ...]] = {"nhid": (32, 128), "nlayers": (2,), "bptt": (10, 70)}
QUICK = {"emsize": 8, "nhid": 8, "epochs": 2, "bptt": 10}
QUICK_GRID: dict[str, tuple[int, ...]] = {"nhid": (12,)}


def same_size(lstm: Settings, gru: Settings, text: Text, part: str) -> Settings:
    """The GRU with so many units that the parameters of `part` are nearest to the LSTM's."""
    wanted = parameters(lstm, text, part)
    sizes = range(gru.nhid, 2 * gru.nhid)
    candidates = [dataclasses.replace(gru, nhid=n) for n in sizes]
    return min(candidates, key=lambda s: abs(parameters(s, text, part) - wanted))


@functools.cache
def _counts(settings: Settings, vocabulary: int) -> dict[str, int]:
    model = build_model(settings, vocabulary)
    return {part: count_parameters(model, part) for part in ("", "rnn.")}


def parameters(settings: Settings, text: Text, part: str = "") -> int:
    """All parameters of a model, or with part="rnn." those of its recurrent layers."""
    return _counts(settings, text.vocabulary)[part]


# -------------------------------------------------------------------- measuring


def measure(settings: Settings, text: Text) -> dict[str, Any]:
    """Train one model; its test perplexity is that of the epoch that was best on validation."""
    trained: Trained = train(settings, text)
    return {
        "valid_ppl": trained.best_valid_ppl,
        "test_ppl": perplexity_of(trained.model, text.test, settings.bptt),
        "seconds_per_epoch": statistics.mean(e["cpu_seconds"] for e in trained.epochs),
        "epochs": trained.epochs,
    }


def choose_rate(start: Settings, text: Text) -> tuple[Settings, dict[str, float]]:
    """The settings with the best learning rate on validation, and what each rate gave."""
    default = CELLS[start.model].sgd_lr
    tried = [dataclasses.replace(start, lr=default * factor) for factor in RATES]
    found = {s: measure(s, text)["valid_ppl"] for s in tried}
    best = min(tried, key=lambda s: found[s])
    return best, {f"{s.first_lr:g}".replace(".", ","): ppl for s, ppl in found.items()}


def describe(settings: Settings, text: Text, runs: dict[int, Any]) -> dict[str, Any]:
    """The numbers of one variant of one cell, from its runs by seed."""
    measured = ("valid_ppl", "test_ppl", "seconds_per_epoch")
    return {
        "settings": {n: getattr(settings, n) for n in ("emsize", "nhid", "nlayers", "bptt")},
        "parameters": parameters(settings, text),
        "recurrent_parameters": parameters(settings, text, "rnn."),
        **{key: summary([run[key] for run in runs.values()]) for key in measured},
        "seeds": {str(seed): run for seed, run in runs.items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    started = time.perf_counter()
    text = short_text(args.quick)
    base = dataclasses.replace(BASE, **(QUICK if args.quick else {}))
    grid = QUICK_GRID if args.quick else GRID
    seeds = SEEDS[:2] if args.quick else SEEDS

    numbers: dict[str, Any] = {"rates": {}, "learning_rate": {}}
    tuned = {}
    for model in MODELS:
        start = dataclasses.replace(base, model=model, seed=seeds[0])
        tuned[model], numbers["rates"][model] = choose_rate(start, text)
        numbers["learning_rate"][model] = tuned[model].first_lr
        show(f"{model}: learning rate {tuned[model].first_lr:g} of {numbers['rates'][model]}")

    todo = {model: variants(tuned[model], grid) for model in MODELS}
    lstm, gru = tuned["LSTM"], tuned["GRU"]
    todo["GRU"]["same-recurrent"] = same_size(lstm, gru, text, "rnn.")
    todo["GRU"]["same-total"] = same_size(lstm, gru, text, "")
    for name in todo["GRU"]:
        runs: dict[str, dict[int, Any]] = {model: {} for model in MODELS if name in todo[model]}
        for seed in seeds:
            for model in runs:  # in turns
                settings = dataclasses.replace(todo[model][name], seed=seed)
                runs[model][seed] = measure(settings, text)
        for model, found in runs.items():
            described = describe(todo[model][name], text, found)
            numbers.setdefault(model, {})[name] = described
            show(line_of(model, name, described))
        if len(runs) == 2:
            numbers.setdefault("compared", {})[name] = compare(runs["LSTM"], runs["GRU"])
    numbers["text"] = {split: len(getattr(text, split)) for split in ("train", "valid", "test")}
    numbers["text"]["vocabulary"] = text.vocabulary
    used = {**base.as_dict(), "rates": RATES, "grid": grid, "text": numbers["text"]}
    write(args.out, used, seeds, time.perf_counter() - started, numbers)


def compare(lstm: dict[int, Any], gru: dict[int, Any]) -> dict[str, Any]:
    """The GRU against the LSTM: the difference of mean test perplexities, and the ratio of times.

    The standard error is that of the difference of two independent means. The ratio is the median
    over runs that followed each other.
    """
    a, b = ([run["test_ppl"] for run in runs.values()] for runs in (lstm, gru))
    error = sum(statistics.variance(x) / len(x) for x in (a, b)) ** 0.5
    ratios = [gru[s]["seconds_per_epoch"] / lstm[s]["seconds_per_epoch"] for s in lstm]
    difference = statistics.mean(b) - statistics.mean(a)
    return {
        "test_ppl_difference": difference,
        "standard_error": error,
        "time_ratio": statistics.median(ratios),
        "time_ratios": summary(ratios),
    }


def line_of(model: str, name: str, numbers: dict[str, Any]) -> str:
    valid, test = numbers["valid_ppl"], numbers["test_ppl"]
    return (
        f"{model:5}{name:16}{numbers['parameters']:9,} parameters  "
        f"valid {valid['mean']:7.2f} ± {valid['spread']:5.2f}  "
        f"test {test['mean']:7.2f} ± {test['spread']:5.2f}  "
        f"{numbers['seconds_per_epoch']['mean']:6.2f} s per epoch"
    )


def parser() -> argparse.ArgumentParser:
    return options("Compare LSTM and GRU on a short text.")


if __name__ == "__main__":
    run_command(main)
