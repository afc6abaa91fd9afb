"""Write text with a trained model."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import minigrad as mg
from minigrad.backend import current_backend

from ..arguments import Parser, at_least_one, positive, whole
from ..checkpoint import load_checkpoint, must_fit
from ..console import UserError, show
from ..corpus import EOS, UNK, Dictionary
from ..sampling import as_text, generate
from ..settings import build_model, stored


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    checkpoint = load_checkpoint(args.checkpoint)
    dictionary = Dictionary(checkpoint.vocabulary)

    mg.use(args.backend)
    with must_fit(args.checkpoint):
        model = build_model(stored(checkpoint.settings), len(dictionary))
        model.load_state_dict(checkpoint.model)
        dictionary.encode([EOS])  # which every text begins with

    prompt = args.prompt.split()
    unknown = [word for word in prompt if word not in dictionary.word2idx]
    if unknown and UNK not in dictionary.word2idx:
        raise UserError(f"not in the vocabulary, which has no {UNK}: {' '.join(unknown)}")
    if unknown:
        print(f"not in the vocabulary, read as <unk>: {' '.join(unknown)}", file=sys.stderr)
    mg.manual_seed(args.seed)
    show(as_text([*prompt, *generate(model, dictionary, args.words, args.temperature, prompt)]))


def parser() -> Parser:
    p = Parser(description="Write text with a trained model.")
    p.add_argument("--checkpoint", default="model.safetensors", metavar="FILE", help="the model")
    p.add_argument("--words", type=at_least_one, default=200, help="how many to write")
    p.add_argument("--temperature", type=positive, default=1.0,
                   help="below 1 favours the likely words, above 1 the others")  # fmt: skip
    p.add_argument("--seed", type=whole, default=1, help="the same seed gives the same text")
    p.add_argument("--prompt", default="", help="words to begin with")
    p.add_argument(
        "--backend", choices=mg.BACKENDS, default=current_backend(), help="where it runs"
    )
    return p
