"""A run of PyTorch's word_language_model, with the time of each component.

The recurrent layers are one operation in PyTorch, with the dropout between them: they can't be
told apart. Hooks on the modules read the clock in the forward pass, and hooks on the gradients of
their outputs in the backward pass; on a CPU both run in the order of the computation.
"""

from __future__ import annotations

import io
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
    """Read the clock after each module, and when the gradient of its output is complete."""

    def after(part: str, then: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            clock.credit(f"forward {part}")
            output = output[0] if isinstance(output, tuple) else output
            output.register_hook(lambda grad: clock.credit(f"backward {then}"))

        return hook

    def dropped(module: Any, inputs: Any, output: Any) -> None:
        clock.credit("forward dropout")
        before = "decoder + loss" if model.rnn_done else "layers"
        output.register_hook(lambda grad: clock.credit(f"backward {before}"))

    def note(done: bool) -> Any:
        def hook(*_: Any) -> None:
            model.rnn_done = done

        return hook

    return [
        model.encoder.register_forward_hook(after("embedding", "dropout")),
        model.drop.register_forward_hook(dropped),
        model.rnn.register_forward_hook(after("layers", "dropout")),
        model.rnn.register_forward_hook(note(True)),
        model.register_forward_pre_hook(note(False)),
    ]
