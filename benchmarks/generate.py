"""Time the generation of text, one word at a time.

python benchmarks/generate.py --against torch
"""

from __future__ import annotations

import argparse

import harness
import models

from lm import Dictionary, generate

WORDS = 100  # in a call


def ours(args: argparse.Namespace) -> harness.Work:
    model = models.ours(args)
    dictionary = Dictionary(["<eos>", "<unk>", *map(str, range(2, args.words))])
    return lambda: list(generate(model, dictionary, WORDS))


def theirs(args: argparse.Namespace) -> harness.Work:
    """The loop of word_language_model's generate.py."""
    import torch

    model = models.theirs(args).eval()

    @torch.no_grad()
    def write() -> None:
        hidden = model.init_hidden(1)
        word = torch.randint(args.words, (1, 1))
        for _ in range(WORDS):
            output, hidden = model(word, hidden)
            weights = output.squeeze().div(1.0).exp()
            word.fill_(torch.multinomial(weights, 1)[0])

    return write


def main() -> None:
    args = harness.parser("Time the generation of text.").parse()
    contestants: dict[str, harness.Contestant] = {"minigrad": ours}
    if args.against:
        contestants["torch"] = theirs
    harness.report(harness.take_turns(contestants, args, calls=3), WORDS)


if __name__ == "__main__":
    main()
