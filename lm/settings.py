"""What decides a run: its settings, what each may be, the presets, and the model they describe."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minigrad.backend import BACKENDS, current_backend
from minigrad.nn.recurrent import DROPOUT_KINDS
from minigrad.random import uniform

from .arguments import at_least_one, layers, positive, probability, size, whole
from .console import UserError
from .corpus import VOCABULARIES
from .model import RNN_TYPES, RNNModel

# The learning rates at which each cell trains with the other defaults. At the LSTM's 20 the
# ReLU net diverges and the tanh net does not learn.
DEFAULT_LR = {"LSTM": 20.0, "GRU": 10.0, "RNN_TANH": 3.0, "RNN_RELU": 2.0}

EVAL_BATCH_SIZE = 10


@dataclass(frozen=True)
class Settings:
    """The settings of a training run; the defaults are word_language_model's."""

    data: str | None = None  # a folder, "builtin", or None for Penn Treebank
    vocabulary: str = "train"  # the words of the training text and <unk>, or of all three splits
    model: str = "LSTM"  # LSTM, GRU, RNN_TANH or RNN_RELU
    emsize: int = 200  # size of a word's vector
    nhid: int = 200  # hidden units per layer
    nlayers: int = 2  # recurrent layers
    dropout: float = 0.2  # probability to drop
    dropout_kind: str = "standard"  # or variational: the same mask at every step of a chunk
    tied: bool = False  # one matrix for embedding and decoder
    init_range: float | None = None  # all weights uniform in ±this; None: as word_language_model
    lr: float | None = None  # None: the cell's own, DEFAULT_LR
    lr_decay: float = 4.0  # what the learning rate is divided by
    decay_after: int | None = None  # after every epoch from this one; None: when validation stalls
    clip: float = 0.25  # the largest norm of the gradient
    epochs: int = 40
    batch_size: int = 20
    bptt: int = 35  # steps per chunk
    seed: int = 1111
    backend: str = field(default_factory=current_backend)  # MINIGRAD_BACKEND, or NumPy

    @property
    def first_lr(self) -> float:
        """The learning rate that training starts with."""
        return DEFAULT_LR[self.model] if self.lr is None else self.lr

    def resolved(self) -> Settings:
        """The same settings, each with the value that it stands for."""
        return Settings(**resolved(self.as_dict()))

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


# One line a setting: its name, what it may be, and what it means. The command line and the
# settings in a checkpoint go by these rules. One that is not given keeps the checkpoint's value,
# the preset's, or the default.
SETTINGS = {
    "data": (str, "folder with train.txt, valid.txt and test.txt, or 'builtin' "
             "(default Penn Treebank, in data/ptb)"),
    "vocabulary": (VOCABULARIES, "words of the training text and <unk>, or of all three splits, "
                   "as word_language_model has it"),
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
    "backend": (BACKENDS, "where the arrays live"),
}  # fmt: skip


PRESETS: dict[str, dict[str, Any]] = {
    # Zaremba et al. 2014, the small LSTM. The paper sums the loss over the 20 steps where ours
    # is their mean: its learning rate 1 and clip 5 are 20 and 0.25 here.
    "zaremba-small": {
        "dropout": 0.0,
        "init_range": 0.1,
        "bptt": 20,
        "lr": 20.0,
        "clip": 0.25,
        "lr_decay": 2.0,
        "decay_after": 4,
        "epochs": 13,
    },
}

# What may change when a run goes on.
FREE = ("data", "epochs", "backend")

# Settings that checkpoints of earlier versions lack, and what they stood for then.
ADDED: dict[str, Any] = {"vocabulary": "train"}


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, each with the value that it stands for."""
    values = {**ADDED, **values}
    if values.get("lr") is None:
        values["lr"] = DEFAULT_LR.get(str(values.get("model")))
    return values


def stored(values: Mapping[str, Any]) -> Settings:
    """The settings that a checkpoint holds, resolved.

    Raises ValueError where a name is missing or none of ours, or the command line would not
    accept a value: there may be no such model, or none that fits into memory.
    """
    values = resolved(values)
    names = {field.name for field in dataclasses.fields(Settings)}
    if wrong := values.keys() ^ names:
        raise ValueError(f"no such setting, or one that is missing: {', '.join(sorted(wrong))}")
    for option, (kind, _) in SETTINGS.items():
        name = option.replace("-", "_")
        _check(name, values[name], kind)
    settings = Settings(**values)
    if settings.tied and settings.emsize != settings.nhid:
        raise ValueError(f"tied, with emsize {settings.emsize} and nhid {settings.nhid}")
    return settings


def _check(name: str, value: Any, kind: Any) -> None:
    """Raise ValueError unless the option `name` could have given this value."""
    if value is None and getattr(Settings, name) is None:
        return
    if isinstance(kind, tuple):
        accepted = value in kind
    elif kind in (bool, str):
        accepted = isinstance(value, kind)
    else:
        accepted = isinstance(value, (int, float)) and not isinstance(value, bool)
        try:
            accepted = accepted and kind(repr(value)) == value
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"{name} {error}") from error
    if not accepted:
        raise ValueError(f"{name} is {value!r}")


def choose(
    given: Mapping[str, Any], preset: str | None = None, resumed: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of a run: those given, before those resumed, before the preset's, before the
    defaults. What is None is not given; names that are no setting are passed over. Each comes
    out with the value that it stands for.

    Raises UserError for settings that contradict each other or the run that is resumed, and
    ValueError for settings of that run that can't be (see `stored`).
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    wanted = dict(PRESETS[preset]) if preset else {}
    wanted |= {name: given[name] for name in names if given.get(name) is not None}
    if resumed is not None:
        run = stored(resumed).as_dict()
        for name, value in wanted.items():
            if name not in FREE and value != (before := run[name]):
                trained = "without it" if before is None else f"with {before}"
                raise UserError(
                    f"--{name.replace('_', '-')} {value} contradicts the checkpoint, which was "
                    f"trained {trained}; leave it out to go on"
                )
        wanted = {**run, **wanted}
    settings = Settings(**wanted).resolved()
    if settings.tied and settings.emsize != settings.nhid:
        raise UserError(
            f"--tied shares one matrix, so --emsize {settings.emsize} and --nhid {settings.nhid} "
            "must be equal"
        )
    return settings


def build_model(settings: Settings, ntoken: int) -> RNNModel:
    """The model that the settings describe, for a vocabulary of `ntoken` words."""
    model = RNNModel(
        settings.model,
        ntoken,
        settings.emsize,
        settings.nhid,
        settings.nlayers,
        settings.dropout,
        settings.tied,
        dropout_kind=settings.dropout_kind,
    )
    if settings.init_range is not None:
        for parameter in model.parameters():
            parameter.data[...] = uniform(
                -settings.init_range, settings.init_range, parameter.shape
            )
    return model
