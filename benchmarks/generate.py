"""Time the generation of text, one word at a time.

    python benchmarks/generate.py --against torch

For PyTorch, this is the loop of generate.py in its word_language_model example.
"""

from __future__ import annotations

import argparse

import harness
import models

from lm import Dictionary, generate

WORDS = 100  # per call


def ours(args: argparse.Namespace) -> harness.Work:
    model = models.ours(args)
    dictionary = Dictionary(["<eos>", "<unk>", *map(str, range(2, args.words))])
    return lambda: list(generate(model, dictionary, WORDS))


def theirs(args: argparse.Namespace) -> harness.Work:
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
    harness.compare(args, ours, theirs, tokens=WORDS, calls=3)


if __name__ == "__main__":
    main()
