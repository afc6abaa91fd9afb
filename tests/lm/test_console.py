"""What is printed: control characters, streams that can't be written to, signals."""

from __future__ import annotations

import errno
import io
import signal
import sys

import pytest

from lm.console import SteadyOutput, UserError, complain, one_line_errors, printable, show, warn
from lm.run.stopping import StopRequest
from lm.signals import SIGNALS, handle_signals


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a line\nand another", "a line\nand another"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J\x07\r\t\0\x7f", "\\x9b2J\\x07\\r\\t\\x00\\x7f"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("größer \u200d 語 🎉", "größer \u200d 語 🎉"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_way_out_escapes_them(capsys: pytest.CaptureFixture[str]) -> None:
    show("out\x1b")
    warn("warned\x1b")
    with pytest.raises(SystemExit), one_line_errors():
        raise UserError("wrong\x1b")
    out, err = capsys.readouterr()
    assert out == "out\\x1b\n"
    assert err == "warning: warned\\x1b\nerror: wrong\\x1b\n"


def test_without_streams_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    show("out")
    warn("err")
    SteadyOutput(None).write("line")
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise UserError("wrong")
    assert ended.value.code == 2


class Full(io.StringIO):
    error = OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise self.error


def test_steady_output_warns_once(capsys: pytest.CaptureFixture[str]) -> None:
    output = SteadyOutput(Full())
    for _ in range(3):
        output.write("line")
        output.flush()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_who_has_gone_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Full, "error", BrokenPipeError())
    with pytest.raises(BrokenPipeError):
        SteadyOutput(Full()).flush()


def test_a_complaint_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    complain("line")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
def test_a_hang_up_that_is_ignored_stays_so() -> None:
    assert signal.SIGHUP in SIGNALS
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_one_wish_may_stand_in_another() -> None:
    before = handle_signals(signal.SIG_DFL)
    try:
        stop = StopRequest()
        with stop:
            with stop:
                pass
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
