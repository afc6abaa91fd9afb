"""Any corpus and any arguments: done, or one line and status 2; never a traceback or a hang.

The quick tests try some, those marked slow thousands.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import minigrad as mg
from lm.checkpoint import load_checkpoint, save_checkpoint
from lm.commands.generate import main as generate
from lm.commands.train import main as train_command
from lm.console import one_line_errors

EXAMPLES = Path(__file__).parents[2] / "examples"
slow = pytest.mark.slow

TINY = ["--emsize=2", "--nhid=2", "--nlayers=1", "--batch-size=1", "--bptt=3"]


def attempt(main: Callable[..., None], argv: list[str]) -> int:
    """The exit status of a command, which must be 0, or 2 with one line on standard error."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with one_line_errors():
                main(argv)
        except SystemExit as exit_:
            status = exit_.code
        finally:
            mg.use("numpy")
    lines = err.getvalue().splitlines(keepends=True)
    if status == 2:
        assert [line[:7] for line in lines] == ["error: "], lines
    else:
        assert (status, lines) == (0, [])
    return status


def of_any(number: int) -> Any:
    return settings(
        max_examples=number,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


PIECES = [b"a", b"b ", b"c\n", b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xed\xa0\x80",
          b"\xff\xfe", b"\x80", "\u2028".encode(), "é ".encode(), b"<unk> ", b"<eos> ", b'"\\ ',
          b"\x1b[31m", "\U0010ffff ".encode()]  # fmt: skip
FILES = st.one_of(
    st.binary(max_size=100),
    st.text(max_size=100).map(str.encode),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=20).map(lambda p: b"".join(p) * 30),
    st.just(b"the cat sat\n" * 20),
)


@pytest.mark.parametrize("number", [60, pytest.param(5000, marks=slow)])
def test_any_corpus(tmp_path: Path, number: int) -> None:
    statuses = set()
    options = ["--data", str(tmp_path), "--save", str(tmp_path / "model"), *TINY, "--dry-run"]

    @of_any(number)
    @given(FILES, FILES, FILES)
    @example(*[b"the cat sat\n" * 20] * 3)
    def check(train: bytes, valid: bytes, test: bytes) -> None:
        for split, contents in {"train": train, "valid": valid, "test": test}.items():
            (tmp_path / f"{split}.txt").write_bytes(contents)
        statuses.add(attempt(train_command, options))

    check()
    assert statuses == {0, 2}


OPTIONS = ["--vocabulary", "--model", "--emsize", "--nhid", "--nlayers", "--dropout",
           "--dropout-kind", "--tied",
           "--init", "--init-range", "--lr", "--lr-decay", "--decay-after", "--clip", "--epochs",
           "--batch-size", "--bptt", "--seed", "--backend", "--preset", "--log-interval", "--save",
           "--save-every", "--resume", "--metrics", "--dry-run", "--detect-anomaly", "--data",
           "--help", "-h", "--", "--batch_size", "--no-such", "stray", "--dat"]  # fmt: skip
VALUES = ["", "0", "1", "2", "3", "-1", "0.5", "1.5", "1e308", "1e-320", "nan", "inf", "-inf",
          "9" * 30, "9" * 5000, "1_0", " 2 ", "１", "½", "10m", "0m", "LSTM", "GRU", "RNN_RELU",
          "numpy", "cupy", "train", "all", "standard", "variational", "zaremba-small", "nowhere",
          ".", "..",
          "good", "damaged", "corpus", "a" * 300, "\udc80", "é", "no/where", "-", "=",
          "new"]  # fmt: skip


@pytest.mark.parametrize("number", [60, pytest.param(2000, marks=slow)])
def test_any_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    for split in ("train", "valid", "test"):
        Path(f"corpus/{split}.txt").write_text("the cat sat on the mat\n" * 10)
    base = ["--data=corpus", *TINY]
    attempt(train_command, [*base, "--dry-run", "--save=kept"])
    good = Path("kept").read_bytes()
    statuses = set()

    pair = st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES), st.booleans())
    argument = pair.map(lambda p: [f"{p[0]}={p[1]}"] if p[2] else [p[0], p[1]])
    lists = st.lists(st.one_of(argument, st.sampled_from(OPTIONS).map(lambda o: [o])), max_size=4)

    @of_any(number)
    @given(lists)
    @example([])
    @example([["--resume=good", "--metrics=new"]])
    def check(arguments: list[list[str]]) -> None:
        Path("good").write_bytes(good)  # a run before may have saved to it
        Path("damaged").write_bytes(good[:-1])
        argv = [*base, *[argument for pair in arguments for argument in pair]]
        resumed = any(argument.startswith("--resume") for argument in argv)
        argv.insert(0, "--epochs=1" if resumed else "--dry-run")
        if not any(argument.startswith("--epochs") and resumed for argument in argv[1:]):
            statuses.add(attempt(train_command, argv))

    check()
    assert statuses == {0, 2}


PROMPTS = st.one_of(
    st.text(), st.lists(st.sampled_from(["the", "cat", "<unk>", "<eos>", "\udc80"])).map(" ".join)
)


@pytest.mark.parametrize("number", [30, pytest.param(1000, marks=slow)])
def test_any_prompt(trained: Path, number: int) -> None:

    @of_any(number)
    @given(PROMPTS, st.sampled_from(["1", "1e-300", "1e300", "0", "nan", "x"]))
    def check(prompt: str, temperature: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        options = ["--checkpoint", str(trained), "--words=3", f"--temperature={temperature}"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                with one_line_errors():
                    generate([*options, f"--prompt={prompt}"])
            except SystemExit as exit_:
                assert exit_.code == 2
        assert err.getvalue().count("\n") <= 1

    check()


@slow
@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("one line of 50 MB", "word " * 10_000_000),
        ("one word of 50 MB", "w" * 50_000_000),
        ("a million words", " ".join(f"w{i}" for i in range(1_000_000))),
    ],
    ids=lambda value: value if len(value) < 30 else "",
)
def test_an_extreme_corpus(tmp_path: Path, what: str, line: str) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text((line if split == "train" else "") + "\na b\n" * 10)
    options = ["--data", tmp_path, "--save", tmp_path / "m", *TINY, "--bptt=1", "--dry-run"]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "train_ptb.py", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "| End of training |" in done.stdout


@pytest.mark.parametrize("command", ["train_ptb", "generate", "convert"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("nhid", -1), ("nlayers", 10**8), ("dropout", 7), ("model", "X"), ("attention", 1),
     ("nhid", "8"), ("lr", None)],
)  # fmt: skip
def test_settings_that_no_command_line_accepts(
    call: Callable[..., Any], trained: Path, tmp_path: Path, command: str, name: str, value: Any
) -> None:
    checkpoint = load_checkpoint(trained)
    checkpoint.settings[name] = value
    path, target = tmp_path / "m", tmp_path / "target"
    save_checkpoint(path, checkpoint)
    options = {
        "train_ptb": ["--resume", str(path), "--save", str(target)],
        "generate": ["--checkpoint", str(path)],
        "convert": [str(path), str(target)],
    }
    result = call(command, *options[command])
    if name == "lr":  # which older checkpoints have
        assert result.status == 0
        return
    assert f"{path} is a damaged checkpoint" in result.error()
    assert name in result.err
    assert not target.exists()
