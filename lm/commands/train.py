"""Train a word-level language model, on Penn Treebank unless another text is given."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import minigrad as mg
from minigrad.nn.recurrent import DROPOUT_KINDS

from ..arguments import (
    Parser,
    at_least_one,
    called_as,
    every,
    layers,
    positive,
    probability,
    size,
    whole,
)
from ..checkpoint import load_checkpoint, must_fit
from ..console import UserError
from ..datasets import load_corpus
from ..model import RNN_TYPES
from ..progress import MetricsFile, watch
from ..saving import Every
from ..settings import DEFAULT_LR, PRESETS, Settings, build_model, choose
from ..training import Trainer

# One line a setting: its name, what it may be, and what it means. One that is not given keeps
# the checkpoint's value, the preset's, or the default.
SETTINGS = {
    "data": (str, "folder with train.txt, valid.txt and test.txt, or 'builtin' "
             "(default Penn Treebank, in data/ptb)"),
    "model": (RNN_TYPES, "kind of recurrent net"),
    "emsize": (size, "size of a word's vector"),
    "nhid": (size, "hidden units per layer"),
    "nlayers": (layers, "recurrent layers"),
    "dropout": (probability, "probability to drop a unit"),
    "dropout-kind": (tuple(DROPOUT_KINDS), "variational: the same mask at every step"),
    "tied": (bool, "share one matrix between embedding and decoder"),
    "init-range": (positive, "draw all weights uniform in ± this (default 0.1 for embedding and "
                   "decoder, 1/√nhid for the recurrent layers)"),
    "lr": (positive, "learning rate to start with (default "
           + ", ".join(f"{lr:g} for {cell}" for cell, lr in DEFAULT_LR.items()) + ")"),
    "lr-decay": (positive, "what the learning rate is divided by"),
    "decay-after": (at_least_one, "divide after every epoch from this one on "
                    "(default: when validation does not improve)"),
    "clip": (positive, "largest norm of the gradient"),
    "epochs": (at_least_one, "passes over the text"),
    "batch-size": (at_least_one, "columns the text is cut into"),
    "bptt": (at_least_one, "steps per chunk"),
    "seed": (whole, "of all random draws"),
    "backend": (mg.BACKENDS, "where the arrays live"),
}  # fmt: skip

# Options that say nothing of the run itself, and their defaults.
NOT_KEPT = {"log-interval": 200, "save-every": None, "metrics": None, "detect-anomaly": False}


def main(argv: Sequence[str] | None = None) -> None:
    args = parser().parse(argv)
    if args.resume and args.dry_run:
        raise UserError(
            "--dry-run would write over the run that --resume goes on with; leave one out"
        )
    checkpoint = load_checkpoint(args.resume) if args.resume else None
    with must_fit(args.resume):
        settings = choose(vars(args), args.preset, checkpoint.settings if checkpoint else None)

    mg.use(settings.backend)
    mg.manual_seed(settings.seed)
    corpus = load_corpus(settings.data)
    model = build_model(settings, len(corpus.dictionary))

    trainer = Trainer(
        model,
        corpus,
        settings,
        args.save,
        args.log_interval,
        args.dry_run,
        args.save_every,
        args.detect_anomaly,
    )
    if checkpoint:
        with must_fit(args.resume):
            trainer.resume(checkpoint)
    lines = watch(settings.epochs)
    trainer.observers.append(lines)
    if args.metrics:
        kept = checkpoint.run.get("metrics") if checkpoint else None
        trainer.observers.append(MetricsFile(args.metrics, kept))
    with trainer.stop:  # to the last line, which a second Ctrl-C shall not take away
        trainer.fit()
        if trainer.stop.requested and trainer.unfinished:
            where = f"stopped {trainer.place()}; the state is in {trainer.latest_path}"
            lines.note(f"{where}; to go on:")
            lines.command(to_go_on(args, trainer.latest_path))


def to_go_on(args: argparse.Namespace, latest: Path) -> str:
    """The command that resumes a run: what its checkpoint does not keep is said again."""
    words = [*called_as("train"), "--resume", str(latest)]
    for option, value in NOT_KEPT.items():
        given = getattr(args, option.replace("-", "_"))
        if given != value:
            words += [f"--{option}"] if given is True else [f"--{option}", _text(given)]
    return shlex.join(words)


def _text(value: object) -> str:
    if isinstance(value, Every):
        return f"{value.seconds / 60:g}m" if value.seconds else str(value.batches)
    return str(value)


def parser() -> Parser:
    p = Parser("train", description="Train a word-level language model.")
    p.add_settings(SETTINGS, Settings())
    p.add_argument("--preset", choices=PRESETS, help="the settings of a published result")
    p.add_argument("--log-interval", type=at_least_one, default=NOT_KEPT["log-interval"],
                   help="batches per report")  # fmt: skip
    p.add_argument("--save", type=Path, default=Path("model.safetensors"), metavar="FILE",
                   help="where the best model goes; the latest state goes beside it")  # fmt: skip
    p.add_argument("--save-every", type=every, metavar="N",
                   help="save the latest state within an epoch too: every N batches, as in 500, "
                   "or N minutes, as in 10m (default only after each epoch)")  # fmt: skip
    p.add_argument("--resume", metavar="FILE", help="go on from this checkpoint")
    p.add_argument("--metrics", metavar="FILE", help="append every report as a line of JSON")
    p.add_argument("--detect-anomaly", action="store_true",
                   help="find the operation that first gives NaN or infinity; slower")  # fmt: skip
    p.add_argument("--dry-run", action="store_true", help="one batch of everything, as a test")
    return p
