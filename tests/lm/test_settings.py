"""Which value of a setting wins, the presets, and settings that contradict each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from lm.console import UserError
from lm.settings import (
    FREE,
    PRESETS,
    Settings,
    build_model,
    choose,
    rules,
    stored,
)
from minigrad.cells import CELLS


def refusal(*args: Any) -> str:
    """The message of the UserError that choosing gives, which must be one line."""
    with pytest.raises(UserError) as caught:
        choose(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_defaults_are_word_language_models() -> None:
    settings = choose({})
    assert settings == Settings().resolved()
    expected = {
        "model": "LSTM", "emsize": 200, "nhid": 200, "nlayers": 2, "dropout": 0.2,
        "tied": False, "first_lr": 20.0, "lr_decay": 4.0, "clip": 0.25, "epochs": 40,
        "batch_size": 20, "bptt": 35, "seed": 1111, "backend": "numpy",
    }  # fmt: skip
    assert {name: getattr(settings, name) for name in expected} == expected


def test_given_beats_resumed_beats_preset_beats_default() -> None:
    assert choose({"epochs": 2}).epochs == 2
    assert choose({}, "zaremba-small").epochs == 13
    assert choose({"epochs": 2}, "zaremba-small").epochs == 2
    resumed = Settings(epochs=7, nhid=50).as_dict()
    assert choose({}, None, resumed) == Settings(epochs=7, nhid=50).resolved()
    assert choose({"epochs": 2}, None, resumed).epochs == 2
    assert choose({"epochs": 2}, None, resumed).nhid == 50


def test_what_is_none_is_not_given_and_what_is_no_setting_is_passed_over() -> None:
    given = {"epochs": None, "nhid": 0, "resume": "x", "preset": None, "tied": None}
    assert choose(given) == Settings(nhid=0).resolved()


def test_every_setting_comes_out_with_the_value_that_it_stands_for() -> None:
    assert choose({}).lr == choose({}, None, Settings(lr=None).as_dict()).lr == 20.0
    assert choose({"model": "GRU"}).lr == CELLS["GRU"].sgd_lr
    assert Settings(lr=3.0).resolved() == Settings(lr=3.0)


def test_each_cell_has_a_learning_rate_of_its_own() -> None:
    assert {name: Settings(model=name).first_lr for name in CELLS} == {
        name: cell.sgd_lr for name, cell in CELLS.items()
    }
    assert Settings(model="LSTM").first_lr == 20
    for rnn_type in ("RNN_TANH", "RNN_RELU"):
        assert choose({"model": rnn_type}).first_lr == CELLS[rnn_type].sgd_lr < 20
        assert choose({"model": rnn_type, "lr": 7.0}).first_lr == 7


def test_the_preset_is_zarembas_small_lstm() -> None:
    settings = choose({}, "zaremba-small")
    assert (settings.model, settings.nlayers, settings.nhid, settings.emsize) == (
        "LSTM",
        2,
        200,
        200,
    )
    assert (settings.batch_size, settings.bptt, settings.epochs) == (20, 20, 13)
    assert (settings.dropout, settings.init_range, settings.tied) == (0.0, 0.1, False)
    # Summed over 20 steps the learning rate 1 and clip 5; of the mean, 20 times and a 20th.
    assert (settings.first_lr, settings.clip) == (20.0, 0.25)
    # lr 1 for four epochs, then halved at every epoch.
    assert (settings.decay_after, settings.lr_decay) == (4, 2.0)


def test_the_preset_is_tensorflows_medium_lstm() -> None:
    settings = choose({}, "tensorflow-medium")
    assert (settings.nlayers, settings.nhid, settings.emsize, settings.bptt) == (2, 650, 650, 35)
    assert (settings.dropout, settings.init_range, settings.epochs) == (0.5, 0.05, 39)
    # Summed over 35 steps the learning rate 1 and clip 5; times 0.8 at every epoch after the sixth.
    assert settings.first_lr / 35 == pytest.approx(1) and settings.clip * 35 == pytest.approx(5)
    assert (settings.decay_after, 1 / settings.lr_decay) == (6, 0.8)


def test_the_preset_is_the_books_rnnlm() -> None:
    settings = choose({}, "dlfs2-rnnlm")
    assert (settings.nlayers, settings.nhid, settings.emsize, settings.bptt) == (1, 100, 100, 35)
    assert (settings.dropout, settings.init, settings.epochs, settings.lr_decay) == (
        0.0, "normal", 4, 1.0,
    )  # fmt: skip


def test_presets_hold_settings_only() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert all(preset.keys() <= names for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("model", "GRU", "--model GRU"),
        ("batch_size", 5, "--batch-size 5"),
        ("tied", True, "--tied"),
        ("dropout", 0.0, "--dropout 0.0"),
        ("seed", 1, "--seed 1"),
        ("lr", 3.0, "--lr 3"),
        ("decay_after", 3, "--decay-after 3"),
    ],
)
def test_a_contradiction_with_the_checkpoint_is_refused_by_name(
    name: str, value: Any, option: str
) -> None:
    message = refusal({name: value}, None, Settings().as_dict())
    assert option in message
    assert "None" not in message  # which is no value that a person could have given


def test_a_preset_can_contradict_the_checkpoint_too() -> None:
    assert "--" in refusal({}, "zaremba-small", Settings().as_dict())
    resumed = choose({}, "zaremba-small").as_dict()
    assert choose({"epochs": 20}, "zaremba-small", resumed).epochs == 20


def test_saying_again_what_the_checkpoint_has_is_no_contradiction() -> None:
    settings = Settings(model="GRU", nhid=50, lr=3.0)
    given = {"model": "GRU", "nhid": 50, "lr": 3.0}
    assert choose(given, None, settings.as_dict()) == settings


def test_nor_is_the_learning_rate_that_the_checkpoint_had_by_default() -> None:
    settings = choose({"lr": 20.0}, None, Settings().as_dict())
    assert settings.first_lr == 20


@pytest.mark.parametrize("name", FREE)
def test_what_may_change_when_a_run_goes_on(name: str) -> None:
    value = {"data": "elsewhere", "epochs": 99, "backend": "cupy"}[name]
    settings = choose({name: value}, None, Settings().as_dict())
    assert settings == dataclasses.replace(Settings(), **{name: value}).resolved()


# ---------------------------------------------------------------- the settings in a checkpoint


def test_every_setting_has_a_rule_and_every_rule_a_setting() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert {option.replace("-", "_") for option in rules()} == names


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        choose({}, "zaremba-small"),
        choose({}, "dlfs2-rnnlm"),
        Settings(data="a", model="GRU", emsize=9, nhid=9, tied=True, lr=3, backend="cupy"),
    ],
)
def test_what_a_run_stores_is_accepted(settings: Settings) -> None:
    assert stored(settings.as_dict()) == settings.resolved()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nhid", -1), ("nhid", 0), ("nhid", 10**8), ("nhid", "8"), ("nhid", 8.0), ("nhid", True),
        ("nhid", None), ("nhid", [8]), ("nlayers", 10**8), ("nlayers", 1001), ("emsize", 0),
        ("dropout", 7), ("dropout", float("nan")), ("dropout", "0.2"), ("dropout_kind", "some"),
        ("model", "X"), ("model", None), ("model", ["LSTM"]), ("tied", 1), ("tied", "yes"),
        ("lr", 0), ("lr", -1.0), ("lr", float("inf")), ("lr", "fast"), ("lr_decay", 0),
        ("init_range", 0), ("init", "zeros"), ("decay_after", 0), ("clip", None), ("epochs", 0),
        ("epochs", 1.5),
        ("batch_size", 0), ("bptt", -1), ("seed", -1), ("backend", "tpu"), ("data", 3),
        ("attention", True),
    ],
)  # fmt: skip
def test_what_no_command_line_accepts_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        stored({**Settings().as_dict(), name: value})


def test_a_setting_that_is_missing_is_refused_by_name() -> None:
    settings = Settings().as_dict()
    del settings["nhid"]
    with pytest.raises(ValueError, match="nhid"):
        stored(settings)
    with pytest.raises(ValueError, match="emsize 200 and nhid 100"):
        stored(Settings(nhid=100, tied=True).as_dict())


@pytest.mark.parametrize("sizes", [{"emsize": 100}, {"nhid": 300}, {"emsize": 1, "nhid": 2}])
def test_tied_weights_of_different_sizes_are_refused_by_name(sizes: dict[str, int]) -> None:
    message = refusal({"tied": True, **sizes})
    assert all(option in message for option in ("--tied", "--emsize", "--nhid"))
    assert choose({"tied": True, "emsize": 50, "nhid": 50}).tied


@pytest.mark.parametrize("rnn_type", CELLS)
@pytest.mark.parametrize("tied", [False, True])
def test_the_model_is_the_one_described(rnn_type: str, tied: bool) -> None:
    settings = Settings(model=rnn_type, emsize=6, nhid=6, nlayers=3, dropout=0.1, tied=tied)
    model = build_model(settings, 15)
    assert model.encoder.weight.shape == (15, 6)
    assert (model.decoder.weight is model.encoder.weight) == tied
    assert (model.nlayers, model.nhid) == (3, 6)
    assert model.drop.p == model.rnn.dropout == 0.1
    names = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "TanhRNN", "RNN_RELU": "ReLURNN"}
    assert model.rnn.cell.__name__ == names[rnn_type]


@pytest.mark.parametrize("kind", ["standard", "variational"])
def test_the_kind_of_dropout_is_the_one_described(kind: str) -> None:
    model = build_model(Settings(emsize=6, nhid=6, dropout=0.5, dropout_kind=kind), 15)
    features, _ = model.features(np.zeros((7, 3), int), model.init_hidden(3))
    dropped = features.data.reshape(7, 3, 6) == 0
    assert (dropped == dropped[0]).all() == (kind == "variational")


def test_normal_weights_have_the_variance_of_their_inputs() -> None:
    mg.manual_seed(0)
    model = build_model(Settings(emsize=50, nhid=200, init="normal"), 3000)
    deviations = {name: p.data.std() for name, p in model.named_parameters()}
    assert deviations["encoder.weight"] == pytest.approx(0.01, rel=0.02)
    assert deviations["rnn.weight_ih_l0"] == pytest.approx(50**-0.5, rel=0.02)
    assert deviations["rnn.weight_hh_l0"] == pytest.approx(200**-0.5, rel=0.02)
    assert deviations["decoder.weight"] == pytest.approx(200**-0.5, rel=0.02)
    assert deviations["decoder.bias"] == deviations["rnn.bias_hh_l1"] == 0


def test_normal_weights_have_no_range() -> None:
    with pytest.raises(UserError, match="--init-range is for uniform weights"):
        choose({"init": "normal", "init_range": 0.1})


def test_init_range_draws_every_weight() -> None:
    mg.manual_seed(0)
    model = build_model(Settings(emsize=20, nhid=20, init_range=0.3), 30)
    for name, p in model.named_parameters():
        assert np.abs(p.data).max() <= 0.3
        assert np.abs(p.data).max() > 0.25, name
        assert p.data.std() > 0.1, name
