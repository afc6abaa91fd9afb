"""Describe a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..arguments import Parser
from ..checkpoint import FORMAT, Checkpoint, load_checkpoint, must_fit
from ..console import show
from ..settings import Settings, stored
from ..steps import perplexity


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    checkpoint = load_checkpoint(args.file)
    with must_fit(args.file):
        facts = {"file": f"{args.file}, {_size(args.file)}", **about(checkpoint)}
    width = max(map(len, facts))
    show(*(f"{name:{width}}  {fact}" for name, fact in facts.items()))


def about(checkpoint: Checkpoint) -> dict[str, str]:
    """The facts about a checkpoint, by name."""
    settings = stored(checkpoint.settings)
    position = checkpoint.run["position"]
    return {
        "format": FORMAT,
        "model": f"{settings.model}{', tied' * settings.tied}, "
        f"{_counted(settings.nlayers, 'layer')} of {_counted(settings.nhid, 'unit')}, "
        f"words as vectors of {settings.emsize}",
        "parameters": f"{_parameters(checkpoint, settings):,}",
        "vocabulary": _counted(len(checkpoint.vocabulary), "word")
        + (", of all splits" if settings.vocabulary == "all" else ", of the training text"),
        "trained": _place(position, settings.epochs),
        "best validation": _loss(position["best_loss"]),
        "last validation": _loss(position["valid_loss"]),
        "learning rate": f"{checkpoint.optimizer['lr']:g}, at first {settings.first_lr:g}",
        "text": settings.data or "Penn Treebank",
        **_others(settings),
    }


def _size(path: str) -> str:
    size = os.path.getsize(path)
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _parameters(checkpoint: Checkpoint, settings: Settings) -> int:
    """The number of trained values; a shared matrix counts once."""
    shared = "decoder.weight" if settings.tied else None
    return sum(w.size for name, w in checkpoint.model.items() if name != shared)


def _place(position: dict[str, int], epochs: int) -> str:
    done = f"{position['epoch'] - 1} of {_counted(epochs, 'epoch')}"
    batch = position["batch"]
    return done if batch == 0 else f"{done}, and {batch} batches of the next"


def _loss(loss: float | None) -> str:
    if loss is None:
        return "not validated yet"
    return f"loss {loss:.2f}, perplexity {perplexity(loss):.2f}"


def _others(settings: Settings) -> dict[str, str]:
    """The settings that the other lines do not show, by option name."""
    shown = ("model", "nlayers", "nhid", "emsize", "tied", "epochs", "lr", "data", "vocabulary")
    return {
        name.replace("_", "-"): str(value)
        for name, value in settings.as_dict().items()
        if name not in shown and value is not None
    }


def parser() -> Parser:
    p = Parser("info", description="Describe a checkpoint.")
    p.add_argument("file", metavar="FILE", help="the checkpoint")
    return p
