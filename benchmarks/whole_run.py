"""Time a whole training run, from reading the text to the test perplexity.

    python benchmarks/whole_run.py --data data/ptb --against torch

minigrad and PyTorch take turns, epoch by epoch. PyTorch runs main.py of word_language_model.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import harness
import numpy as np

import minigrad as mg
from lm.arguments import Parser, at_least_one
from lm.console import run_command
from lm.corpus import SPLITS, find_split
from lm.datasets import load_corpus
from lm.run.progress import Lines
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model
from minigrad.cells import CELLS


def ours(args: argparse.Namespace) -> harness.Work:
    return partial(next, _train(args))


def _train(args: argparse.Namespace) -> Iterator[None]:
    """The run of examples/train_ptb.py; yields after each part."""
    settings = Settings(model=args.model, tied=args.tied, data=args.data, epochs=args.epochs)
    mg.keep_freed_memory()
    mg.manual_seed(settings.seed)
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        corpus = load_corpus(settings.data)
        model = build_model(settings, len(corpus.dictionary))
        trainer = Trainer(model, corpus, settings, Path(folder, "model.safetensors"))
        trainer.observers.append(Lines())
        yield
        for _ in range(args.epochs):
            trainer.train_epoch()
            trainer.end_epoch()
            yield
        trainer.test()
        yield


def theirs(args: argparse.Namespace) -> harness.Work:
    import torch
    import torch_main

    torch.set_num_threads(args.threads)
    return partial(next, torch_main.train(args.files, args.model, args.tied, args.epochs))


def main() -> None:
    p = Parser(description="Time a whole training run.")
    p.add_argument("--data", required=True, metavar="DIR", help="train.txt, valid.txt, test.txt")
    p.add_argument("--against", choices=["torch"], help="take turns with PyTorch's CPU build")
    p.add_argument("--model", choices=CELLS, default="LSTM")
    p.add_argument("--tied", action="store_true")
    p.add_argument("--epochs", type=at_least_one, default=6)
    p.add_argument("--threads", type=at_least_one, default=2, help="of each contestant")
    args = p.parse()
    load_corpus(args.data)  # reports errors in the data at the start
    args.files = [find_split(Path(args.data), split) for split in SPLITS]
    args.turns = args.epochs + 2  # one turn more to read the text, and one to test
    contestants = {"minigrad": ours} | ({"torch": theirs} if args.against else {})
    seconds = harness.take_turns(contestants, args, partial(harness.seconds_of, 1), warm_up=0)
    print(harness.machine())
    for name, (reading, *epochs, test) in seconds.items():
        print(
            f"{name:9} {sum(seconds[name]):7.1f} s: reading {reading:.1f}, "
            f"epochs {', '.join(f'{t:.1f}' for t in epochs)}, test {test:.1f}"
        )
    for name in set(seconds) - {"minigrad"}:
        whole = sum(seconds[name]) / sum(seconds["minigrad"])
        print(f"{name}'s time / minigrad's: {whole:.2f}")


if __name__ == "__main__":
    run_command(main)
