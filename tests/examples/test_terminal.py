"""Terminals that close, streams that are closed, and Ctrl-C at any moment of a start."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lm.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX terminals")

Call = Callable[..., Any]
slow = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


# ---------------------------------------------------------------- a terminal that closes


class Terminal:
    """A command in a terminal of its own, which a person may close."""

    def __init__(self, folder: Path, *command: str, nohup: bool = False) -> None:
        self.seen, shown = os.openpty()
        variables = {k: v for k, v in ENVIRONMENT.items() if k not in ("NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, str(int(nohup)), *command],
            cwd=folder,
            env={**variables, "TERM": "xterm"},
            stdin=shown,
            stdout=shown,
            stderr=shown,
            start_new_session=True,
        )
        os.close(shown)
        self.text = ""

    def read_until(self, what: str) -> None:
        while what not in self.text:
            try:
                self.text += os.read(self.seen, 4096).decode(errors="replace")
            except OSError:  # which is how Linux says that the other end is closed
                pytest.fail(f"no {what!r} in\n{self.text[-2000:]!r}")

    def close(self) -> int:
        """Close it; the exit status of the command."""
        os.close(self.seen)
        return self.process.wait(120)


# Makes the terminal on standard input that of the session, as a login does, so that the kernel
# sends SIGHUP when it closes; then becomes the command.
LOGIN = """if True:
    import fcntl, os, signal, sys, termios
    nohup, *command = sys.argv[1:]
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if int(nohup) else signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *command])
"""


@pytest.fixture
def in_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*command: str, **options: bool) -> Terminal:
        opened.append(Terminal(tmp_path, *command, **options))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        with contextlib.suppress(OSError):
            os.close(terminal.seen)


def test_closing_the_terminal_saves_and_the_run_can_go_on(
    in_terminal: Call, call: Call, train_options: list[str], tmp_path: Path
) -> None:
    command = [str(EXAMPLES / "train_ptb.py"), *train_options, "--epochs=1000"]
    terminal = in_terminal(*command)
    terminal.read_until("| epoch 2 |")
    assert terminal.close() == 0
    latest, best = tmp_path / "model.latest.safetensors", tmp_path / "model.safetensors"
    position = load_checkpoint(latest).run["position"]
    assert 2 <= position["epoch"] < 1000
    load_checkpoint(best)
    more = ["--resume", str(latest), "--save", str(best), f"--epochs={position['epoch']}"]
    result = call("train_ptb", *more)
    assert result.status == 0
    assert "| End of training |" in result.out


def test_without_the_hang_up_training_goes_on_to_its_end(
    in_terminal: Call, train_options: list[str], tmp_path: Path
) -> None:
    """As under nohup: the bar, and all other output, have nowhere to go."""
    metrics = tmp_path / "metrics.jsonl"
    options = [*train_options, "--epochs=6", "--metrics", str(metrics)]
    terminal = in_terminal(str(EXAMPLES / "train_ptb.py"), *options, nohup=True)
    terminal.read_until("| epoch 1 |")
    assert terminal.close() == 0
    position = load_checkpoint(tmp_path / "model.latest.safetensors").run["position"]
    assert position["epoch"] == 7  # all six are done
    assert "test_loss" in metrics.read_text().splitlines()[-1]


def test_a_hang_up_is_a_wish_to_end_well(
    start: Call, train_options: list[str], tmp_path: Path
) -> None:
    process = start("train_ptb", *train_options, "--epochs=1000")
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    out = process.stdout.read()
    assert process.wait(120) == 0
    assert "| End of training |" in out
    assert (tmp_path / "stderr").read_text() == ""
    load_checkpoint(tmp_path / "model.latest.safetensors")


# ---------------------------------------------------------------- closed streams


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(train_options: list[str], tmp_path: Path, closed: str) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EXAMPLES / "train_ptb.py"), *train_options, *options]
        return subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *command],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )

    done = run("--epochs=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("| End of training |" in done.stdout) == (closed == "2>&-")
    load_checkpoint(tmp_path / "model.latest.safetensors")
    failed = run("--data=nowhere")
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: no folder") == (closed == ">&-")
    assert failed.stderr.count("\n") == (closed == ">&-")
    told = run("--help")
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--help", "--nhid=0"])
def test_nothing_more_is_said_of_output_that_cannot_be_written(
    start: Call, tmp_path: Path, option: str
) -> None:
    with open("/dev/full", "w") as full:
        process = start("train_ptb", option, stdout=full, pipesize=-1)
        assert process.wait(120) == {"--help": 0, "--nhid=0": 2}[option]
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert "Exception" not in (tmp_path / "stderr").read_text()


# ---------------------------------------------------------------- Ctrl-C at any moment


def handles_sigterm(process: subprocess.Popen[str]) -> bool:
    """Whether the program has begun, and not only Python, which leaves this signal alone."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


PROGRAMS = {
    "train": ["-m", "lm", "train"],
    "train_ptb": [str(EXAMPLES / "train_ptb.py")],
    "train_digits": [str(EXAMPLES / "train_digits.py"), "--epochs=1"],
    "generate": [str(EXAMPLES / "generate.py"), "--words=20"],
    "wrong": ["-m", "lm", "generate", "--checkpoint=nowhere"],
    "help": ["-m", "lm", "train", "--help"],
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [1, pytest.param(10, marks=slow)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_at_any_moment_is_one_line_at_most(
    train_options: list[str], trained: Path, tmp_path: Path, name: str, number: int
) -> None:
    options = [*train_options, "--epochs=2"] if name in ("train", "train_ptb") else []
    if name == "generate":
        options = ["--checkpoint", str(trained)]
    command = [sys.executable, *PROGRAMS[name], *options]
    draw = random.Random(name)

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and not handles_sigterm(process):
            time.sleep(0.0005)
        return process

    began = time.perf_counter()
    start().communicate()
    seconds = time.perf_counter() - began
    for i in range(number):
        process = start()
        time.sleep(draw.random() * seconds)
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        process.send_signal(signals[i % 3])
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 2), err
        assert err == "" if process.returncode == 0 else err.startswith("error: "), err
        assert err.count("\n") <= 1, err
