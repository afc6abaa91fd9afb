"""Write text with a trained model."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
from collections.abc import Iterable, Sequence

import minigrad as mg
from minigrad.backend import current_backend

from ..arguments import Parser, at_least_one, positive, whole
from ..checkpoint import load_checkpoint, must_fit
from ..console import UserError, complain, show
from ..corpus import EOS, UNK, Dictionary
from ..sampling import generate, pieces
from ..settings import trained_model


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    checkpoint = load_checkpoint(args.checkpoint)
    dictionary = Dictionary(checkpoint.vocabulary)

    mg.use(args.backend)
    with must_fit(args.checkpoint):
        _, model = trained_model(checkpoint)
        dictionary.encode([EOS])  # every text begins with it

    prompt = args.prompt.split()
    note_unknown(prompt, dictionary)
    mg.manual_seed(args.seed)
    words = generate(model, dictionary, args.words, args.temperature, prompt)
    passage = pieces(itertools.chain(prompt, words))
    if sys.stdout is not None and sys.stdout.isatty():
        stream(passage)
    else:
        show("".join(passage))


def note_unknown(prompt: Sequence[str], dictionary: Dictionary) -> None:
    """Name the unknown words; raises UserError if the vocabulary has no `<unk>` for them."""
    known = dictionary.word2idx
    unknown = [word for word in prompt if word not in known]
    lower = [word.lower() for word in unknown if word.lower() in known]
    hint = f"; the vocabulary has, in lower case: {' '.join(lower)}" if lower else ""
    if unknown and UNK not in known:
        raise UserError(
            f"not in the vocabulary, which has no {UNK}: {' '.join(unknown)}{hint or '; omit'}"
        )
    if unknown:
        complain(f"not in the vocabulary, read as {UNK}: {' '.join(unknown)}{hint}")


def stream(passage: Iterable[str]) -> None:
    """Print each piece when it is generated, and break the lines of a terminal between words.

    Ctrl-C ends the text and is not an error.
    """
    width, column = shutil.get_terminal_size().columns, 0
    with contextlib.suppress(KeyboardInterrupt):
        for piece in passage:
            if column + len(piece) > width:
                piece = piece.replace(" ", "\n", 1)
            show(piece, end="")
            line = piece.rpartition("\n")
            column = len(line[2]) + (0 if line[1] else column)
    show("")


def parser() -> Parser:
    p = Parser("generate", description="Write text with a trained model.")
    p.add_argument("--checkpoint", default="model.safetensors", metavar="FILE", help="the model")
    p.add_argument("--words", type=at_least_one, default=200, help="how many to write")
    p.add_argument("--temperature", type=positive, default=1.0,
                   help="below 1 favours likely words, above 1 unlikely ones")  # fmt: skip
    p.add_argument("--seed", type=whole, default=1, help="the same seed gives the same text")
    p.add_argument("--prompt", default="", help="words to start with")
    p.add_argument("--backend", choices=mg.BACKENDS, default=current_backend(), help="the device")
    return p
