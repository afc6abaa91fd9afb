"""A run of PyTorch's word_language_model, with the time of each component.

The recurrent layers are one operation in PyTorch, with the dropout between them: they can't be
told apart. Hooks on the modules read the clock in the forward pass, and hooks on the gradients of
their outputs in the backward pass; on a CPU both run in the order of the computation.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch_main
import torch_model

from lm.settings import EVAL_BATCH_SIZE, Settings

LAYERS = ["forward layers", "backward layers"]


def run(files: Sequence[Path], settings: Settings, limit: int | None, clock: Any) -> None:
    """The run of `examples/profile_lm.py`, whose clock is credited with the same components."""
    torch_main.BPTT = settings.bptt
    torch.manual_seed(settings.seed)
    timed = clock.timed
    corpus = timed("read corpus", torch_main.Corpus)(files)
    rows = None if limit is None else limit * settings.bptt + 1
    cut = timed("batchify", torch_main.batchify)
    source = cut(corpus.train, settings.batch_size)[:rows]
    valid, test = (cut(split, EVAL_BATCH_SIZE)[:rows] for split in (corpus.valid, corpus.test))
    model = timed("build model", torch_model.RNNModel)(
        settings.model, len(corpus.word2idx), settings.emsize, settings.nhid, settings.nlayers,
        settings.dropout, settings.tied,
    )  # fmt: skip
    hooks = _listen(model, clock)
    lr = settings.first_lr
    for _ in range(settings.epochs):
        train_epoch(model, source, lr, settings, clock)
        for hook in hooks:  # evaluation is timed as a whole
            hook.remove()
        timed("validation", torch_main.evaluate)(model, valid)
        timed("saving", torch.save)(model.state_dict(), io.BytesIO())
        hooks = _listen(model, clock)
    for hook in hooks:
        hook.remove()
    timed("test", torch_main.evaluate)(model, test)


def train_epoch(model: Any, source: Any, lr: float, settings: Settings, clock: Any) -> None:
    """`torch_model.train_step` for every chunk, with the clock read between its lines."""
    get_batch = clock.timed("get_batch", torch_main.get_batch)
    repackage_hidden = clock.timed("repackage_hidden", torch_model.repackage_hidden)
    zero_grad = clock.timed("zero_grad", model.zero_grad)
    model.train()
    hidden = clock.timed("init_hidden", model.init_hidden)(settings.batch_size)
    for i in range(0, len(source) - 1, settings.bptt):
        data, target = get_batch(source, i)
        zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = torch.nn.functional.nll_loss(output, target)
        clock.credit("forward decoder + loss")
        loss.backward()
        clock.credit("backward embedding")
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        clock.credit("clipping")
        with torch.no_grad():
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-lr)
        clock.credit("update")
        loss.item()


def _listen(model: Any, clock: Any) -> list[Any]:
    """Read the clock after each module, and when the gradient of its output is complete.

    What is complete then is the backward pass of the module that follows.
    """
    drops = model.drop.p > 0  # otherwise it returns its input: one tensor, whose hook runs twice
    hooks = [
        _hook(model.encoder, clock, "embedding", ["dropout" if drops else "layers"]),
        _hook(model.rnn, clock, "layers", ["dropout" if drops else "decoder + loss"]),
    ]
    if drops:
        hooks.append(_hook(model.drop, clock, "dropout", ["layers", "decoder + loss"]))
    return hooks


def _hook(module: Any, clock: Any, part: str, following: Sequence[str]) -> Any:
    """`following` are the parts that use the module's output, one for each of its calls."""
    follows = itertools.cycle(following)

    def hook(_: Any, inputs: Any, output: Any) -> None:
        clock.credit(f"forward {part}")
        output, name = output[0] if isinstance(output, tuple) else output, next(follows)
        output.register_hook(lambda grad: clock.credit(f"backward {name}"))

    return module.register_forward_hook(hook)
