"""The settings of a run: their rules, the presets, and the model that they describe."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minigrad.backend import BACKENDS, current_backend
from minigrad.cells import CELLS
from minigrad.nn.recurrent import DROPOUT_KINDS
from minigrad.random import normal, uniform

from .arguments import at_least_one, divisor, layers, positive, probability, size, whole
from .checkpoint import Checkpoint
from .console import UserError
from .corpus import VOCABULARIES
from .model import RNNModel

EVAL_BATCH_SIZE = 10
INITS = ("uniform", "normal")


@dataclass(frozen=True)
class Settings:
    """The settings of a training run; the defaults are word_language_model's."""

    data: str | None = None  # a folder, "builtin", or None for Penn Treebank
    vocabulary: str = "train"  # the words of the training text and <unk>, or of all three splits
    model: str = "LSTM"  # the name of a cell in `minigrad.cells.CELLS`
    emsize: int = 200  # size of a word's vector
    nhid: int = 200  # hidden units per layer
    nlayers: int = 2  # recurrent layers
    dropout: float = 0.2  # probability to drop
    dropout_kind: str = "standard"  # or variational: the same mask at every step of a chunk
    tied: bool = False  # one matrix for embedding and decoder
    init: str = "uniform"  # or normal: N(0, 1/fan-in), the embedding N(0, 0.01²), biases 0
    init_range: float | None = None  # all weights uniform in ±this; None: as word_language_model
    lr: float | None = None  # None: the cell's own, `Cell.sgd_lr`
    lr_decay: float = 4.0  # divisor of the learning rate
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
        return CELLS[self.model].sgd_lr if self.lr is None else self.lr

    def resolved(self) -> Settings:
        """The same settings with defaults that depend on others, as `lr`, filled in."""
        return Settings(**resolved(self.as_dict()))

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def rules() -> dict[str, tuple[Any, str]]:
    """Each setting's name as an option, its type or choices, and its meaning.

    The command line and the settings in a checkpoint follow these rules. Computed when they are
    needed, since a cell may be registered at any time.
    """
    rates = ", ".join(f"{cell.sgd_lr:g} for {name}" for name, cell in CELLS.items())
    return {
        "data": (str, "folder with train.txt, valid.txt and test.txt, or 'builtin' "
                 "(default Penn Treebank, in data/ptb)"),
        "vocabulary": (VOCABULARIES, "words of the training text and <unk>, or of all three "
                       "splits, as in word_language_model"),
        "model": (tuple(CELLS), "kind of recurrent net"),
        "emsize": (size, "size of a word's vector"),
        "nhid": (size, "hidden units per layer"),
        "nlayers": (layers, "recurrent layers"),
        "dropout": (probability, "probability to drop a unit"),
        "dropout-kind": (tuple(DROPOUT_KINDS), "variational: the same mask at every step"),
        "tied": (bool, "share one matrix between embedding and decoder"),
        "init": (INITS, "distribution of the initial weights; normal: variance 1/fan-in, "
                 "embedding 0.01², biases 0"),
        "init-range": (positive, "draw all weights uniform in ± this (default 0.1 for embedding "
                       "and decoder, 1/√nhid for the recurrent layers)"),
        "lr": (positive, f"initial learning rate (default {rates})"),
        "lr-decay": (divisor, "divisor of the learning rate at each decay"),
        "decay-after": (at_least_one, "decay after every epoch from this one on "
                        "(default: when validation does not improve)"),
        "clip": (positive, "largest norm of the gradient"),
        "epochs": (at_least_one, "passes over the text"),
        "batch-size": (at_least_one, "columns the text is cut into"),
        "bptt": (at_least_one, "steps per chunk"),
        "seed": (whole, "seed of all random draws"),
        "backend": (BACKENDS, "where the arrays live"),
    }  # fmt: skip


PRESETS: dict[str, dict[str, Any]] = {
    # Zaremba et al. 2014, the small LSTM. The paper sums the loss over the 20 steps where ours
    # is their mean, so its learning rate 1 and clip 5 are 20 and 0.25 here.
    "zaremba-small": {
        "dropout": 0.0, "init_range": 0.1, "bptt": 20, "lr": 20.0, "clip": 0.25, "lr_decay": 2.0,
        "decay_after": 4, "epochs": 13,
    },
    # TensorFlow's ptb_word_lm, which is Zaremba's medium LSTM; the loss is summed over 35 steps.
    "tensorflow-medium": {
        "emsize": 650, "nhid": 650, "dropout": 0.5, "init_range": 0.05, "lr": 35.0, "clip": 5 / 35,
        "lr_decay": 1.25, "decay_after": 6, "epochs": 39,
    },
    # "Deep Learning from Scratch 2" (Saito 2018), chapter 6: ch06/train_rnnlm.py. Its learning rate
    # is constant.
    "dlfs2-rnnlm": {
        "emsize": 100, "nhid": 100, "nlayers": 1, "dropout": 0.0, "init": "normal", "lr": 20.0,
        "clip": 0.25, "lr_decay": 1.0, "epochs": 4,
    },
}  # fmt: skip

# Settings that may change when a run is resumed.
FREE = ("data", "epochs", "backend")

# Settings that older checkpoints lack, and the values that they imply.
ADDED: dict[str, Any] = {"vocabulary": "train", "init": "uniform"}


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with `lr`, and those that an older checkpoint lacks, filled in."""
    values = {**ADDED, **values}
    if values.get("lr") is None and (cell := CELLS.get(str(values.get("model")))):
        values["lr"] = cell.sgd_lr
    return values


def stored(values: Mapping[str, Any]) -> Settings:
    """The settings that a checkpoint holds, resolved.

    Raises ValueError for a missing or unknown name, or a value that the command line would reject:
    such a model may not exist, or not fit into memory.
    """
    values = resolved(values)
    names = {field.name for field in dataclasses.fields(Settings)}
    if wrong := values.keys() ^ names:
        raise ValueError(f"unknown or missing settings: {', '.join(sorted(wrong))}")
    for option, (kind, _) in rules().items():
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
    given: Mapping[str, Any],
    preset: str | None = None,
    resumed: Mapping[str, Any] | None = None,
    accumulate: int = 1,
) -> Settings:
    """The settings of a run, resolved.

    `given` overrides the preset, which overrides `resumed`, which overrides the defaults. None
    means unset; names in `given` that are not settings are ignored. A batch size counts the columns
    of one of `accumulate` pieces; that of the result and of `resumed`, the columns of all of them.
    Raises UserError for settings that conflict with each other or, unless `FREE`, with `resumed`,
    and ValueError for invalid settings in `resumed` (see `stored`).
    """
    names = [field.name for field in dataclasses.fields(Settings)]
    wanted = dict(PRESETS[preset]) if preset else {}
    wanted |= {name: given[name] for name in names if given.get(name) is not None}
    if resumed is None:
        wanted.setdefault("batch_size", Settings.batch_size)
    if "batch_size" in wanted:
        wanted["batch_size"] *= accumulate
    if resumed is not None:
        run = stored(resumed).as_dict()
        for name, value in wanted.items():
            if name not in FREE and value != (before := run[name]):
                trained = "without it" if before is None else f"with {before}"
                raise UserError(
                    f"--{name.replace('_', '-')} {value} conflicts with the checkpoint, which was "
                    f"trained {trained}; leave it out to continue"
                )
        wanted = {**run, **wanted}
    settings = Settings(**wanted).resolved()
    if settings.tied and settings.emsize != settings.nhid:
        raise UserError(
            f"--tied shares one matrix, so --emsize {settings.emsize} and --nhid {settings.nhid} "
            "must be equal"
        )
    if settings.init == "normal" and settings.init_range is not None:
        raise UserError("--init-range is for uniform weights; leave it or --init normal out")
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
        bound = settings.init_range
        for parameter in model.parameters():
            parameter.data[...] = uniform(-bound, bound, parameter.shape)
            parameter.mark_changed()
    if settings.init == "normal":
        _draw_normal(model)
    return model


def _draw_normal(model: RNNModel) -> None:
    """Weights (out, in) from N(0, 1/in), the embedding from N(0, 0.01²), and biases of zero."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.data[...] = 0.0
        else:
            deviation = 0.01 if name.startswith("encoder.") else parameter.shape[1] ** -0.5
            parameter.data[...] = deviation * normal(parameter.shape)
        parameter.mark_changed()


def trained_model(checkpoint: Checkpoint) -> tuple[Settings, RNNModel]:
    """The settings and the model of a checkpoint; use it inside `must_fit`."""
    settings = stored(checkpoint.settings)
    model = build_model(settings, len(checkpoint.vocabulary))
    model.load_state_dict(checkpoint.model)
    return settings, model
