"""The commands' parser: numbers that may stand behind an option, errors of one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lm.arguments import Parser, at_least_one, positive, probability, whole

Number = Callable[[str], Any]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (at_least_one, "1", 1),
        (at_least_one, "20", 20),
        (whole, "0", 0),
        (whole, "1111", 1111),
        (positive, "20", 20.0),
        (positive, "1e-3", 0.001),
        (probability, "0", 0.0),
        (probability, "1", 1.0),
        (probability, ".25", 0.25),
    ],
)
def test_numbers(kind: Number, text: str, value: Any) -> None:
    assert kind(text) == value
    assert type(kind(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (at_least_one, ["0", "-1", "1.5", "two", "", "nan", "inf", "1e3"]),
        (whole, ["-1", "0.5", "x", "nan"]),
        (positive, ["0", "-0.1", "nan", "inf", "1e999", "fast", "", "1,5"]),
        (probability, ["-0.1", "1.1", "nan", "inf", "half", "50%"]),
    ],
)
def test_what_is_no_such_number(kind: Number, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match="must be a ") as caught:
            kind(text)
        assert repr(text) in str(caught.value)


DEFAULTS = SimpleNamespace(batch_size=20, model="LSTM", tied=False, lr=None)


def parser() -> Parser:
    p = Parser()
    p.add_settings(
        {
            "batch-size": (at_least_one, "columns"),
            "model": (("LSTM", "GRU"), "kind of net"),
            "tied": (bool, "share one matrix"),
            "lr": (positive, "learning rate"),
        },
        DEFAULTS,
    )
    p.add_argument("--save")
    return p


def test_what_is_not_given_is_none() -> None:
    expected = {"batch_size": None, "model": None, "tied": None, "lr": None, "save": None}
    assert vars(parser().parse([])) == expected


@pytest.mark.parametrize(
    "argv",
    [
        ["--batch-size", "5"],
        ["--batch_size", "5"],
        ["--batch-size=5"],
        ["--batch_size=5"],
    ],
)
def test_underscores_in_options_are_hyphens(argv: list[str]) -> None:
    assert parser().parse(argv).batch_size == 5


def test_underscores_in_values_stay() -> None:
    assert parser().parse(["--save", "a_b"]).save == "a_b"
    assert parser().parse(["--save=a_b"]).save == "a_b"


def test_the_command_line_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train_ptb.py", "--batch_size", "7", "--tied"])
    args = parser().parse()
    assert (args.batch_size, args.tied) == (7, True)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--batch-size", "0"], "--batch-size: must be a whole number of at least 1, not '0'"),
        (["--batch_size", "-3"], "--batch-size: must be a whole number of at least 1, not '-3'"),
        (["--lr", "quick"], "--lr: must be a finite number above 0, not 'quick'"),
        (["--model", "CNN"], "'CNN'"),
        (["--lr"], "--lr"),
        (["--speed", "1"], "--speed"),
        (["stray"], "stray"),
    ],
)
def test_an_error_is_one_line_and_status_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parser().parse(argv)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_help_names_the_options_and_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parser().parse(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert "--batch-size" in out
    assert "(default 20)" in out
    assert "None" not in out
