"""Kills, signals and full disks at random moments of real runs: nothing is lost.

The quick tests try a few moments, those marked slow as many as would show a rare fault.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.checkpoint import load_checkpoint
from lm.console import UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

Call = Callable[..., Any]
slow = pytest.mark.slow

# A checkpoint after every batch: a good part of the time is spent in writing one.
OPTIONS = ["--save-every", "1", "--log-interval", "7", "--dropout", "0.3", "--epochs", "2"]


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Of the quick tests, in memory where the system has such a folder.

    On a disk most of a run is waiting for it: slow, but just what a kill shall find.
    """
    memory = Path("/dev/shm")
    on_disk = request.node.get_closest_marker("slow") is not None
    if on_disk or not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


class Reference:
    """A run that nobody interrupted: how long it took from its first line on, and its outcome."""

    def __init__(self, seconds: float, latest: Path, best: Path, metrics: Path) -> None:
        self.seconds = min(seconds, 2.0)  # usually a half; the machine may have stood still
        self.latest, self.best = load_checkpoint(latest), load_checkpoint(best)
        self.metrics = reports(metrics)


def reports(metrics: Path) -> list[dict[str, Any]]:
    """The lines of a file of metrics, without what the machine measures and the id of the run."""
    clock = ("time", "seconds", "train_seconds", "cpu_seconds", "tokens_per_second",
             "peak_memory", "run")  # fmt: skip
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(w.tobytes() == b[n].tobytes() for n, w in a.items())


@pytest.fixture
def options(train_options: list[str], tmp_path: Path) -> list[str]:
    return [*train_options, *OPTIONS, "--metrics", str(tmp_path / "metrics.jsonl")]


@pytest.fixture
def reference(start: Call, options: list[str], tmp_path: Path) -> Reference:
    process = start("train_ptb", *options, pipesize=-1)
    process.stdout.readline()
    began = time.perf_counter()
    process.communicate()
    seconds = time.perf_counter() - began
    assert process.returncode == 0
    latest, best = tmp_path / "model.latest.safetensors", tmp_path / "model.safetensors"
    done = Reference(seconds, latest, best, tmp_path / "metrics.jsonl")
    for file in tmp_path.glob("m*"):
        file.unlink()
    return done


def moments(number: int, seconds: float) -> Iterator[float]:
    """So many moments, in random order but spread evenly over a run of this length."""
    draw = random.Random(number)
    spread = [(i + draw.random()) * seconds / number for i in range(number)]
    draw.shuffle(spread)
    return iter(spread)


@pytest.mark.parametrize("number", [2, pytest.param(100, marks=slow)])
def test_kill_9_and_resume(
    start: Call, call: Call, options: list[str], reference: Reference, tmp_path: Path, number: int
) -> None:
    latest, best = tmp_path / "model.latest.safetensors", tmp_path / "model.safetensors"
    metrics = tmp_path / "metrics.jsonl"
    resumed = in_mid_write = 0
    for moment in moments(number, reference.seconds):
        for file in tmp_path.glob("m*"):
            file.unlink()
        process = start("train_ptb", *options, pipesize=-1)
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        process.communicate()
        in_mid_write += any(tmp_path.glob("*.tmp"))
        if latest.exists():
            assert load_checkpoint(latest).path == latest
            resumed += 1
            more = ["--resume", str(latest), "--save", str(best), "--metrics", str(metrics)]
            assert call("train_ptb", *more, "--log-interval=7").status == 0
        else:  # the kill came before the first batch: another run, but perhaps after the header
            metrics.unlink(missing_ok=True)
            # In a process of its own, as the reference: the header has the threads of BLAS.
            again = start("train_ptb", *options, pipesize=-1)
            again.communicate()
            assert again.returncode == 0
        assert same(load_checkpoint(latest).model, reference.latest.model)
        assert same(load_checkpoint(best).model, reference.best.model)
        assert load_checkpoint(latest).run["position"] == reference.latest.run["position"]
        assert reports(metrics) == reference.metrics
    print(f"{number} kills, {resumed} resumed, {in_mid_write} in the middle of a write")
    assert number < 100 or (resumed > 50 and in_mid_write)


@pytest.mark.parametrize("number", [2, pytest.param(20, marks=slow)])
def test_sigterm_and_ctrl_c(
    start: Call, options: list[str], reference: Reference, tmp_path: Path, number: int
) -> None:
    early = 0
    for i, moment in enumerate(moments(number, reference.seconds)):
        for file in tmp_path.glob("m*"):
            file.unlink()
        process = start("train_ptb", *options, pipesize=-1)
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal((signal.SIGTERM, signal.SIGINT)[i % 2])
        out = process.stdout.read()  # not communicate(), which forgets what readline() has read
        process.wait(120)
        assert process.returncode == 0
        assert (tmp_path / "stderr").read_text() == ""
        tested = re.search(r"\| End of training \| test loss +\S+ \| test ppl +\S+\n={89}\n", out)
        assert tested, out
        position = load_checkpoint(tmp_path / "model.latest.safetensors").run["position"]
        early += position["epoch"] < 3
        load_checkpoint(tmp_path / "model.safetensors")
        assert not list(tmp_path.glob("*.tmp"))
    print(f"{number} signals, {early} of them before the last epoch's end")
    assert number < 20 or early


def test_a_second_signal_changes_nothing(start: Call, options: list[str], tmp_path: Path) -> None:
    process = start("train_ptb", *options, "--epochs=1000", pipesize=-1)
    process.stdout.readline()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.01)
    out = process.stdout.read()
    process.wait(120)
    # 0 also where the last of them came when all was done.
    assert process.returncode == 0
    assert "| End of training |" in out
    assert (tmp_path / "stderr").read_text() == ""


def test_sigterm_before_training_is_one_line(tmp_path: Path) -> None:
    program = (
        "import os, signal, lm.datasets, runpy, sys\n"
        "lm.datasets.load_corpus = lambda *args: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.argv[0] = sys.argv.pop(1)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    script = Path(__file__).parents[2] / "examples" / "train_ptb.py"
    done = subprocess.run(
        [sys.executable, "-c", program, script], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: interrupted before there was anything to keep\n"


# ---------------------------------------------------------------- full disks


def limited(bytes_: int) -> Callable[[], None]:
    """No file may grow beyond so many bytes."""
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))


@pytest.mark.parametrize("places", [1, pytest.param(10, marks=slow)])
def test_a_disk_that_fills_up(
    start: Call, call: Call, train_options: list[str], tmp_path: Path, places: int
) -> None:
    """Training goes on and is tested; the files are those from before; resuming works."""
    options = [*train_options, "--dropout", "0.3"]
    latest, best = tmp_path / "model.latest.safetensors", tmp_path / "model.safetensors"
    assert call("train_ptb", *options, "--epochs", "1").status == 0
    before = latest.read_bytes(), best.read_bytes()
    whole = call("train_ptb", *options, "--save", str(tmp_path / "whole.safetensors"))
    test_line = [line for line in whole.out.splitlines() if "End of training" in line]
    resume = ["--resume", str(latest), "--save", str(best), "--epochs", "2"]
    size = len(before[0])
    for place in range(places):
        allowed = size * place // places
        # Standard output is a pipe and standard error nearly empty: the limit is on checkpoints.
        process = start(
            "train_ptb", *resume, "--save-every=20", pipesize=-1,
            preexec_fn=limited(max(allowed, 4000)),
        )  # fmt: skip
        out, _ = process.communicate(timeout=120)
        err = (tmp_path / "stderr").read_text().splitlines()
        assert process.returncode == 2
        assert [line for line in out.splitlines() if "End of training" in line] == test_line
        assert all(
            line.startswith(f"warning: can't write the checkpoint {tmp_path}") for line in err[:-1]
        )
        assert "training continues" in err[0]
        assert err[-1].startswith(f"error: can't write the checkpoint {tmp_path}")
        assert "File too large" in err[-1]
        assert (latest.read_bytes(), best.read_bytes()) == before
        assert not list(tmp_path.glob("*.tmp"))
    assert call("train_ptb", *resume).status == 0
    assert same(
        load_checkpoint(latest).model,
        load_checkpoint(tmp_path / "whole.latest.safetensors").model,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk(start: Call, options: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        process = start("train_ptb", *options, "--epochs=1", stdout=full, pipesize=-1)
        assert process.wait(120) == 0
    assert (tmp_path / "stderr").read_text() == (
        "warning: can't write to standard output: No space left on device; training continues\n"
    )
    assert load_checkpoint(tmp_path / "model.latest.safetensors").run["position"]["epoch"] == 2


def test_a_reader_that_goes_away_does_not_lose_the_run(
    start: Call, options: list[str], tmp_path: Path
) -> None:
    process = start("train_ptb", *options, "--epochs=1000", "--save-every=100000")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 2
    error = (tmp_path / "stderr").read_text()
    assert error.startswith("error: nobody reads the output any more; stopped ")
    assert error.count("\n") == 1
    assert re.search(
        r"to continue: .*--resume \S+model\.latest\.safetensors .*--save-every 100000", error
    )
    assert load_checkpoint(tmp_path / "model.latest.safetensors").run["position"]["epoch"] < 1000


def test_a_reader_that_was_never_there(start: Call, options: list[str], tmp_path: Path) -> None:
    process = start("train_ptb", *options, "--epochs=1")
    process.stdout.close()
    assert process.wait(120) == 2
    assert (tmp_path / "stderr").read_text() == (
        "error: nobody reads the output any more; nothing has been saved yet\n"
    )


# ---------------------------------------------------------------- two runs at once


def test_two_runs_saving_to_one_path(start: Call, train_options: list[str], tmp_path: Path) -> None:
    sizes = (8, 9)
    runs = [
        start("train_ptb", *train_options, "--save-every=1", f"--nhid={n}", "--epochs=1",
              stdout=subprocess.DEVNULL, pipesize=-1)
        for n in sizes
    ]  # fmt: skip
    files = [tmp_path / "model.latest.safetensors", tmp_path / "model.safetensors"]
    seen = set()
    while any(run.poll() is None for run in runs):
        for file in files:
            if file.exists():
                checkpoint = load_checkpoint(file)  # whole, or this raises
                nhid = checkpoint.settings["nhid"]
                assert checkpoint.model["rnn.weight_hh_l0"].shape == (4 * nhid, nhid)
                seen.add(nhid)
    assert seen <= set(sizes)
    # The one that ends first may find the other's model in place of its own, and says so.
    assert {run.returncode for run in runs} <= {0, 2}
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    for file in files:
        load_checkpoint(file)


def test_a_model_that_another_run_has_written_over_is_one_line(
    call: Call, train_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.safetensors"
    call("train_ptb", *train_options, "--nhid=9", "--save", str(other), "--epochs=1")

    import lm.run.trainer

    def replaced(*args: Any, **named: Any) -> float:
        (tmp_path / "model.safetensors").write_bytes(other.read_bytes())
        return 1.0

    monkeypatch.setattr(lm.run.trainer, "evaluate", replaced)
    options = [*train_options, "--epochs=2"]
    assert "another run has saved to" in call("train_ptb", *options).error()
    with pytest.raises(UserError):
        load_checkpoint(tmp_path / "nowhere")


# ---------------------------------------------------------------- numerical faults


def test_the_file_on_disk_is_never_the_broken_one(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    options = [*train_options, "--model=RNN_RELU", "--lr=1e6", "--clip=1e6", "--dropout=0"]
    result = call("train_ptb", *options, "--save-every=1", "--log-interval=1000")
    error = result.error()
    latest = tmp_path / "model.latest.safetensors"
    assert re.search(r"at batch \d+ of epoch 1 with lr 1e\+06", error)
    assert f"the last good checkpoint is {latest}" in error
    assert "gradient norm" in error or "is not finite after" in error
    assert "--lr" in error and "--detect-anomaly" in error
    checkpoint = load_checkpoint(latest)
    assert all(np.isfinite(w).all() for w in checkpoint.model.values())
    assert np.isfinite(checkpoint.run["position"]["loss_sum"])


def test_detect_anomaly_names_the_operation(call: Call, train_options: list[str]) -> None:
    options = [*train_options, "--model=RNN_RELU", "--lr=1e30", "--clip=1e30", "--detect-anomaly"]
    error = call("train_ptb", *options).error()
    assert re.search(r"(for|back)ward: .*\w+ \(minigrad/\w+\.py:\d+\)", error)
    assert re.search(r"at batch \d+ of epoch 1 with lr 1e\+30", error)
    healthy = call("train_ptb", *train_options, "--epochs=1")
    looked_at = call("train_ptb", *train_options, "--epochs=1", "--detect-anomaly")
    assert looked_at.out.splitlines()[-2] == healthy.out.splitlines()[-2]


def test_a_dry_run_does_not_write_over_the_run_that_goes_on(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    before = trained.read_bytes()
    options = ["--resume", str(trained), "--save", str(trained), "--dry-run"]
    assert "--dry-run" in call("train_ptb", *options).error()
    assert trained.read_bytes() == before


def test_every_so_many_minutes(call: Call, train_options: list[str], tmp_path: Path) -> None:
    assert call("train_ptb", *train_options, "--save-every", "0.00001m").status == 0
    for wrong in ("0", "-5", "0m", "m", "nanm", "infm", "10h", "1.5", ""):
        assert "--save-every" in call("train_ptb", *train_options, f"--save-every={wrong}").error()
