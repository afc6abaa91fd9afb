"""Test a trained model on a text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import minigrad as mg
from minigrad.backend import current_backend

from ..arguments import Parser
from ..batches import columns
from ..checkpoint import load_checkpoint, must_fit
from ..console import show
from ..corpus import SPLITS, Dictionary
from ..datasets import MEMORY_MAP, load_corpus
from ..run.progress import watch
from ..settings import EVAL_BATCH_SIZE, trained_model
from ..steps import evaluate, perplexity


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    checkpoint = load_checkpoint(args.checkpoint)
    dictionary = Dictionary(checkpoint.vocabulary)
    mg.use(args.backend)
    with must_fit(args.checkpoint):
        settings, model = trained_model(checkpoint)

    data = settings.data if args.data is None else args.data
    corpus = load_corpus(data, dictionary, memory_map=args.memory_map)
    source = columns(args.split, getattr(corpus, args.split), EVAL_BATCH_SIZE)
    watcher = watch(epochs=1)
    try:
        tell = partial(watcher.evaluating, "testing")
        loss = evaluate(model, source, settings.bptt, progress=tell)
    finally:
        watcher.close()
    show(f"| {args.split} loss {loss:5.2f} | {args.split} ppl {perplexity(loss):8.2f}")


def parser() -> Parser:
    p = Parser("evaluate", description="Test a trained model on a text.")
    p.add_argument("--checkpoint", default="model.safetensors", metavar="FILE", help="the model")
    p.add_argument("--data", metavar="DIR", help="the text: a folder, or 'builtin' "
                   "(default: the text that the model was trained on)")  # fmt: skip
    p.add_argument("--split", choices=SPLITS, default="test", help="the part of the text")
    p.add_argument("--memory-map", action="store_true", help=MEMORY_MAP)
    p.add_argument("--backend", choices=mg.BACKENDS, default=current_backend(), help="the device")
    return p
