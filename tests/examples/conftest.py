"""A small corpus in files, and two ways to run a command on it: in this process, and really."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from lm.console import one_line_errors

EXAMPLES = Path(__file__).parents[2] / "examples"

NOUNS = ("cat", "dog", "mouse", "bird", "cow")
VERBS = ("saw", "likes", "chased", "heard")
SENTENCES = {"train": 200, "valid": 10, "test": 12}  # of six words, `<eos>` included

# An epoch of 60 batches, the last of 4 steps.
SMALL = ("--emsize", "8", "--nhid", "8", "--batch-size", "4", "--bptt", "5", "--epochs", "2")


def write_corpus(folder: Path, **sentences: int) -> Path:
    """A folder with three splits of some sentences, the same every time."""
    folder.mkdir()
    for split, number in {**SENTENCES, **sentences}.items():
        draw = random.Random(split)
        lines = (
            f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} the {draw.choice(NOUNS)}\n"
            for _ in range(number)
        )
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


# The commands that the examples call.
COMMANDS = {"train_ptb": "train", "generate": "generate", "convert": "convert"}


def load(name: str) -> Callable[..., None]:
    """What an example runs, or a command that has no example."""
    return importlib.import_module(f"lm.commands.{COMMANDS.get(name, name)}").main


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture
def train_options(corpus: Path, tmp_path: Path) -> list[str]:
    """Of a small run that saves into this test's own folder."""
    return ["--data", str(corpus), "--save", str(tmp_path / "model.safetensors"), *SMALL]


@pytest.fixture(scope="session")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that a small run has saved."""
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    options = ["--nlayers=1", "--dropout=0", "--lr=2", "--epochs=6"]
    load("train_ptb")(["--data", str(corpus), "--save", str(path), *SMALL, *options])
    return path


class Result:
    """How a command ended: its exit status, and what it wrote."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def error(self) -> str:
        """The one line with which a command refuses what it was given."""
        assert self.status == 2, self
        assert self.err.startswith("error: "), self
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self
        return self.err

    def __repr__(self) -> str:
        return f"exit status {self.status}, stdout:\n{self.out}\nstderr:\n{self.err}"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    """Runs a command in this process, which saves the time to start another."""

    def call(name: str, *argv: str) -> Result:
        capsys.readouterr()
        status = 0
        try:
            with one_line_errors():
                load(name)(argv)
        except SystemExit as exit_:
            status = exit_.code
        return Result(status, *capsys.readouterr())

    yield call
    mg.use("numpy")


def environment() -> dict[str, str]:
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in a process of its own, as a person does, in this test's folder."""

    def run(name: str, *argv: str) -> Result:
        done = subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py", *argv],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command and does not wait for it; its errors go to the file `stderr`.

    The pipe of its output holds 40 lines: it can't run far ahead of who reads them.
    """
    started = []

    def start(name: str, *argv: str, **options: Any) -> subprocess.Popen[str]:
        settings = {"stdout": subprocess.PIPE, "pipesize": 4096, "env": environment(), **options}
        with open(tmp_path / "stderr", "w") as stderr:
            process = subprocess.Popen(
                [sys.executable, EXAMPLES / f"{name}.py", *argv],
                cwd=tmp_path,
                stderr=stderr,
                text=True,
                **settings,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
