"""Carry a language model over from PyTorch's word_language_model, or back.

examples/convert.py says how to use it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from minigrad.cells import CELLS

from ..arguments import Parser
from ..batches import columns
from ..checkpoint import is_checkpoint, load_checkpoint, must_fit, save_checkpoint
from ..console import UserError, show
from ..files import same_file
from ..interchange import (
    describe,
    is_state_dict,
    matching_corpus,
    read_state_dict,
    write_state_dict,
)
from ..run.divergence import not_finite
from ..run.state import RunState
from ..settings import EVAL_BATCH_SIZE, build_model, stored
from ..steps import evaluate, perplexity


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    to_pytorch = is_checkpoint(args.source)
    keep(args.source, args.target, to_pytorch)
    if to_pytorch:
        checkpoint = load_checkpoint(args.source)
        with must_fit(args.source):
            stored(checkpoint.settings)
        write_state_dict(args.target, checkpoint)
        show(f"| {args.target} holds the state_dict")
    else:
        from_pytorch(args.source, args.target, args.data, args.model)


def keep(source: Path, target: Path, to_pytorch: bool) -> None:
    """Raise UserError if the target is a file that would be lost.

    Only the state_dict of an earlier conversion to PyTorch may be overwritten.
    """
    if same_file(source, target):
        raise UserError(f"{target} is the file {source} that is converted; name another target")
    if os.path.isfile(target) and os.path.getsize(target):
        if is_checkpoint(target):
            raise UserError(f"{target} is a checkpoint, which would be lost; name another target")
        if not (to_pytorch and is_state_dict(target)):
            raise UserError(f"{target} exists already; name another target, or remove it first")


def from_pytorch(source: Path, target: Path, data: str | None, rnn_type: str | None) -> None:
    """Write the checkpoint of a run that starts with these weights, and test them."""
    weights = read_state_dict(source)
    settings = describe(weights, source, rnn_type)
    corpus, vocabulary = matching_corpus(data, len(weights["encoder.weight"]))
    settings = dataclasses.replace(settings, data=data, vocabulary=vocabulary)
    with must_fit(source):
        model = build_model(settings, len(corpus.dictionary))
        model.load_state_dict(weights)
    if name := not_finite(weights):
        raise UserError(f"{source} holds values in {name} that are not finite; train it again")
    test_source = columns("test", corpus.test, EVAL_BATCH_SIZE)
    state = RunState(model, settings, corpus.dictionary.idx2word)
    save_checkpoint(target, state.checkpoint())
    loss = evaluate(model, test_source, settings.bptt)
    show(
        state.summary(corpus.unknown),
        f"| {target} holds the model | test loss {loss:5.2f} | test ppl {perplexity(loss):8.2f}",
    )


def parser() -> Parser:
    p = Parser("convert", description="Convert models from word_language_model, and back.")
    p.add_argument("source", type=Path, help="a state_dict as safetensors, or a checkpoint")
    p.add_argument("target", type=Path, help="the file to write, of the other kind")
    p.add_argument("--data", metavar="DIR", help="the text of a state_dict (default Penn Treebank)")
    p.add_argument("--model", choices=CELLS, help="needed only if several cells have as many "
                   "gates, as the two RNNs (default: from the weights' shapes)")  # fmt: skip
    return p
