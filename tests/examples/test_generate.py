"""The sampling command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.checkpoint import load_checkpoint, save_checkpoint

Call = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_it_writes_a_passage(run: Call, trained: Path) -> None:
    result = run("generate", "--checkpoint", str(trained), "--words", "60")
    assert (result.status, result.err) == (0, "")
    words = result.out.split()
    vocabulary = set(load_checkpoint(trained).vocabulary)
    assert set(words) <= vocabulary - {"<eos>"}
    lines = len(result.out.splitlines())
    assert lines > 3
    assert len(words) + lines - 1 <= 60 <= len(words) + lines + 1  # an `<eos>` ends each line


def test_the_model_has_learnt_what_a_sentence_is(call: Call, trained: Path) -> None:
    out = call("generate", "--checkpoint", str(trained), "--words=90", "--temperature=0.01").out
    assert all(line.startswith("the ") for line in out.splitlines())


def test_the_same_seed_gives_the_same_text_and_another_another(
    call: Call, run: Call, trained: Path
) -> None:
    def text(*options: str, how: Call = call) -> str:
        return how("generate", "--checkpoint", str(trained), "--words", "40", *options).out

    first = text()
    assert text() == text("--seed", "1") == text(how=run) == first
    assert text("--seed", "2") != first
    assert text("--temperature", "3") != first


def test_it_begins_with_the_prompt(call: Call, trained: Path) -> None:
    options = ["--checkpoint", str(trained), "--words", "10", "--prompt", "the cow  heard"]
    result = call("generate", *options)
    assert result.status == 0
    assert result.err == ""
    assert result.out.split()[:3] == ["the", "cow", "heard"]
    assert len(result.out.split()) > 3


def test_unknown_words_of_the_prompt_are_noted(call: Call, trained: Path) -> None:
    options = ["--checkpoint", str(trained), "--words", "5", "--prompt", "the zebra saw okapi"]
    result = call("generate", *options)
    assert result.status == 0
    assert result.err.count("\n") == 1
    assert result.err.endswith(": zebra okapi\n")
    assert result.out.split()[:4] == ["the", "zebra", "saw", "okapi"]


def test_capital_letters_are_named_as_the_reason(call: Call, trained: Path) -> None:
    options = ["--checkpoint", str(trained), "--words", "5", "--prompt", "The Cow saw Zebra"]
    assert call("generate", *options).err == (
        "not in the vocabulary, read as <unk>: The Cow Zebra; "
        "the vocabulary has, in lower case: the cow\n"
    )


def test_control_characters_are_shown_and_not_obeyed(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(trained)
    checkpoint.vocabulary = [f"\x1b[31m{word}" for word in checkpoint.vocabulary]
    checkpoint.vocabulary[checkpoint.vocabulary.index("\x1b[31m<unk>")] = "<unk>"
    checkpoint.vocabulary[checkpoint.vocabulary.index("\x1b[31m<eos>")] = "<eos>"
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    result = call("generate", "--checkpoint", str(path), "--words=5", "--prompt", "\x9b2J the")
    assert result.out.startswith("\\x9b2J the ")
    assert "\\x1b[31m" in result.out
    assert "read as <unk>: \\x9b2J" in result.err
    error = call("generate", "--checkpoint", "\x1b]0;title\x07").error()
    assert "\\x1b]0;title\\x07" in error
    for text in (result.out, result.err, error):
        assert not set(text) & set("\x1b\x9b\x07")


def test_at_a_terminal_the_words_come_one_by_one(trained: Path, tmp_path: Path) -> None:
    """And lines end between words; Ctrl-C ends the text."""
    pty = pytest.importorskip("pty")
    seen, shown = pty.openpty()
    command = [sys.executable, EXAMPLES / "generate.py", "--checkpoint", trained]
    process = subprocess.Popen(
        [*command, "--words=1000000", "--prompt=the cow"],
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "20"},
        stdout=shown,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(shown)
    text = b""
    while len(text) < 2000:
        text += os.read(seen, 100)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the other end is closed
        while chunk := os.read(seen, 4096):
            text += chunk
    os.close(seen)
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    lines = text.decode().splitlines()
    assert lines[0].startswith("the cow ")
    assert max(map(len, lines)) <= 20
    assert set(" ".join(lines).split()) <= set(load_checkpoint(trained).vocabulary)


def test_it_needs_nothing_but_the_checkpoint(
    call: Call, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the text that it was trained on, nor the backend."""
    checkpoint = load_checkpoint(trained)
    checkpoint.settings |= {"data": "gone", "backend": "cupy"}
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    monkeypatch.chdir(tmp_path)
    assert call("generate", "--words", "5").status == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--checkpoint", "nowhere.safetensors"], "no checkpoint nowhere.safetensors"),
        (["--checkpoint", __file__], "not a checkpoint"),
        (["--checkpoint", ""], "no checkpoint"),
        (["--temperature", "0"], "--temperature"),
        (["--temperature", "-1"], "--temperature"),
        (["--temperature", "nan"], "--temperature"),
        (["--temperature", "hot"], "'hot'"),
        (["--words", "0"], "--words"),
        (["--words", "some"], "'some'"),
        (["--seed", "-1"], "--seed"),
        (["--backend", "tpu"], "'tpu'"),
        (["--loud"], "--loud"),
        (["--prompt"], "--prompt"),
    ],
)
def test_wrong_options_are_one_line(
    call: Call, trained: Path, options: list[str], said: str
) -> None:
    result = call("generate", "--checkpoint", str(trained), *options)
    assert said in result.error()
    assert result.out == ""


@pytest.mark.parametrize("options", [["--checkpoint", "nowhere"], ["--temperature", "0"]])
def test_wrong_options_are_one_line_in_a_process_of_its_own(
    run: Call, trained: Path, options: list[str]
) -> None:
    result = run("generate", "--checkpoint", str(trained), *options)
    result.error()
    assert result.out == ""


@pytest.mark.parametrize("what", ["the decoder's bias", "a setting of the future"])
def test_a_checkpoint_that_does_not_fit_is_one_line(
    call: Call, trained: Path, tmp_path: Path, what: str
) -> None:
    checkpoint = load_checkpoint(trained)
    if what == "the decoder's bias":
        del checkpoint.model["decoder.bias"]
    else:
        checkpoint.settings["attention"] = True
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    assert str(path) in call("generate", "--checkpoint", str(path)).error()


@pytest.mark.parametrize("words", ["20", "2500"])  # one buffer of output, and more than one
def test_a_reader_who_has_seen_enough_is_no_error(
    start: Call, trained: Path, tmp_path: Path, words: str
) -> None:
    """generate.py | head -1"""
    process = start("generate", "--checkpoint", str(trained), "--words", words)
    process.stdout.close()  # before anything is written
    process.wait(timeout=120)
    assert (tmp_path / "stderr").read_text() == ""


def test_a_pickled_model_is_refused_and_the_way_named(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x04\x95 a pickle")
    error = call("generate", "--checkpoint", str(path)).error()
    assert "a pickle, which is never loaded" in error and "python -m lm convert" in error
