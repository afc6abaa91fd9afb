"""Sweeps end with the same numbers whatever is killed, and bad trials don't stop the others."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from lm import drawing
from lm.commands import train
from lm.console import UserError
from lm.settings import ADDED, Settings, choose
from lm.sweep import run
from lm.sweep.progress import SweepProgress
from lm.sweep.run import launch, sweep
from lm.sweep.table import gather, side_by_side, write_tables
from lm.sweep.trial import Trial, read_metrics, result_of, settings_text

TINY = {"emsize": 8, "nhid": 8, "batch_size": 4, "bptt": 5}
LONG = 25  # epochs of a trial that is killed in the middle

# A sweep as a program of its own, whose arguments are the folder, the scheduler or "", and the
# settings of its trials.
PROGRAM = """
import json, sys
from pathlib import Path
from lm.console import run_command
from lm.settings import Settings
from lm.sweep.progress import watch_sweep
from lm.sweep.run import sweep
from lm.sweep.trial import Trial

def main():
    trials = [Trial(Settings(**json.loads(s))) for s in sys.argv[3:]]
    sweep(trials, Path(sys.argv[1]), 2, sys.argv[2] or None, watch_sweep())

run_command(main)
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("text")
    for split, lines in {"train": 200, "valid": 20, "test": 20}.items():
        draw = random.Random(split)
        words = (f"the {draw.choice('abcd')} saw the {draw.choice('efgh')}\n" for _ in range(lines))
        (folder / f"{split}.txt").write_text("".join(words))
    return str(folder)


@pytest.fixture
def tiny(text: str) -> Callable[..., Trial]:
    return lambda **settings: Trial(Settings(**{"data": text, "epochs": 2, **TINY, **settings}))


@pytest.fixture(scope="module")
def undisturbed(text: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The losses of the long trials of a sweep that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert sweep(long_trials(text), folder, 2)
    return losses(long_trials(text), folder)


def long_trials(text: str) -> list[Trial]:
    settings = {"data": text, "epochs": LONG, "lr": 1.0, **TINY}
    return [Trial(Settings(model=model, **settings)) for model in ("LSTM", "GRU")]


def losses(trials: list[Trial], folder: Path) -> dict[str, Any]:
    found = {}
    for done in gather(trials, folder):
        assert done.well, done.numbers["reason"]
        epochs = done.numbers["epochs"]
        assert [e["epoch"] for e in epochs] == list(range(1, done.trial.settings.epochs + 1))
        assert all(0 < e["train_seconds"] <= e["total_seconds"] for e in epochs)
        found[done.trial.name] = [e["valid_loss"] for e in epochs], done.numbers["test_loss"]
    assert len(found) == len(trials)
    return found


# -------------------------------------------------------------------- names


def test_names() -> None:
    assert Trial(Settings(tied=True, epochs=6)).name == "lstm_tied_epochs-6_seed-1111"
    assert Trial(Settings(model="GRU", nhid=400, epochs=6, seed=1112)).name == (
        "gru_nhid-400_epochs-6_seed-1112"
    )
    assert Trial(Settings(model="GRU", lr=10, data="x")).name == "gru_seed-1111"
    assert Trial(Settings(lr=22.5)).name == "lstm_lr-22.5_seed-1111"


def test_names_differ_where_settings_do() -> None:
    choices = {
        "model": ("LSTM", "GRU", "RNN_TANH", "RNN_RELU"), "nhid": (100, 200), "tied": (False, True),
        "dropout": (0.2, 0.0, 1e-5), "dropout_kind": ("standard", "variational"),
        "lr": (10.0, 20.0, 1e20, 1e-20), "clip": (0.25, 1.0), "seed": (1, 11),
        "decay_after": (None, 1), "init_range": (None, 0.1),
    }  # fmt: skip
    names: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*choices.values()):
        trial = Trial(Settings(**dict(zip(choices, values, strict=True))))
        assert names.setdefault(trial.name, trial.as_dict()) == trial.as_dict()
        assert trial.name.replace("_", "").replace("-", "").replace(".", "").isalnum()


def test_the_command_of_a_trial_trains_the_same_model() -> None:
    trial = Trial(Settings(model="GRU", tied=True, lr=7.5, dropout_kind="variational", seed=7))
    python, program, *options = trial.command
    assert (python, program) == ("python", "examples/train_ptb.py")
    given = vars(train.parser().parse(options))
    assert Trial(choose(given)).as_dict() == trial.as_dict()


# -------------------------------------------------------------------- rows


def test_bad_trials_are_rows_and_the_others_finish(
    tiny: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tiny(model="RNN_RELU", lr=1e30, clip=1e30), tiny(data="nowhere", seed=3)
    trials = [bad[0], tiny(seed=1), bad[1], tiny(seed=2)]
    assert sweep(trials, tmp_path / "trials", 2)
    results = gather(trials, tmp_path / "trials")
    assert [d.numbers["status"] for d in results] == ["diverged", "done", "failed", "done"]
    assert "batch" in results[0].numbers["reason"] and "nowhere" in results[2].numbers["reason"]
    assert str(tmp_path) not in results[0].numbers["reason"]

    write_tables(tmp_path, results, ["python", "x.py"], {})
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + 2 + 1 + 2
    assert [r["test_ppl"] != "" for r in rows] == [False, False, True, False, False, True]
    table = (tmp_path / "results.md").read_text()
    assert "| diverged: " in table and "| failed: no folder nowhere" in table and " ± " in table
    numbers = json.loads((tmp_path / "results.json").read_text())["numbers"]
    assert numbers[trials[1].config]["valid_ppl"]["n"] == 2
    last = side_by_side(results, [trials[1], bad[0]], {})[-1]
    assert last.endswith(" (2) | diverged |") and " ± " in last

    monkeypatch.setattr(run, "launch", None)  # all are done: nothing is run again
    assert sweep(trials, tmp_path / "trials", 2)
    other = tiny(seed=1, data="elsewhere")
    with pytest.raises(UserError, match=rf"{other.name} holds a trial with other settings"):
        sweep([other], tmp_path / "trials")


def test_a_text_that_no_trial_has_is_an_error_of_the_sweep(
    tiny: Callable[..., Trial], tmp_path: Path
) -> None:
    trials = [tiny(data="nowhere", seed=1), tiny(data="nowhere", seed=2)]
    with pytest.raises(UserError, match="no folder nowhere"):
        sweep(trials, tmp_path / "trials", 2)
    assert gather(trials, tmp_path / "trials") == []


def test_a_result_of_an_earlier_version_without_a_new_setting_counts(
    tiny: Callable[..., Trial], tmp_path: Path
) -> None:
    settings = tiny().as_dict()
    older = {name: value for name, value in settings.items() if name not in ADDED}
    assert older != settings
    text = json.dumps({"settings": older, "numbers": {"status": "done"}})
    (tmp_path / "result.json").write_text(text)
    assert result_of(tmp_path, settings) == {"status": "done"}


def test_an_unusable_latest_state_is_a_note_in_the_row(
    tiny: Callable[..., Trial], tmp_path: Path
) -> None:
    trial = tiny(epochs=1)
    folder = tmp_path / trial.name
    folder.mkdir()
    (folder / "model.latest.safetensors").write_bytes(b"not a checkpoint")
    (folder / "metrics.jsonl").write_bytes(b"left behind")
    assert sweep([trial], tmp_path)
    numbers = result_of(folder, trial.as_dict())
    assert numbers is not None and numbers["status"] == "done"
    assert "started anew" in numbers["reason"] and len(numbers["epochs"]) == 1


def test_the_time_left_knows_how_long_each_kind_of_trial_takes(
    tiny: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers(seconds: float) -> dict[str, Any]:
        return {"status": "done", "epochs": [{"total_seconds": seconds}]}

    small, large = {"nhid": 5}, {"nhid": 50}
    done = {tiny(**small, seed=1): numbers(10.0), tiny(**large, seed=1): numbers(90.0)}
    todo = [tiny(**size, seed=2) for size in (large, small)] + [tiny(nhid=20)]
    now = 1000.0
    monkeypatch.setattr("lm.sweep.progress.time.time", lambda: now)
    progress = SweepProgress()
    progress.start({trial: tmp_path / trial.name for trial in todo}, done)
    assert (progress.count, progress.time_left()) == ("2/5", "?")
    now += 45  # twice as fast as the first time, since two run side by side
    progress.ended(todo[0], numbers(90.0))
    assert progress.time_left() == "0:00:30"  # 5 for the small one, 25 for one of unknown size


def test_a_process_that_always_dies_is_a_row(
    tiny: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    trial = tiny()
    launch(str(tmp_path / trial.name), settings_text(trial.settings), 1, str(tmp_path))
    numbers = result_of(tmp_path / trial.name, trial.as_dict())
    assert numbers is not None
    assert (numbers["status"], numbers["reason"]) == ("failed", "its worker was killed 3 times")


# -------------------------------------------------------------------- kills


@contextlib.contextmanager
def program(
    trials: list[Trial], folder: Path, scheduler: str = ""
) -> Iterator[subprocess.Popen[str]]:
    settings = [settings_text(trial.settings) for trial in trials]
    command = [sys.executable, "-c", PROGRAM, str(folder), scheduler, *settings]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def epochs(folder: Path) -> int:
    return sum("valid_loss" in r for r in read_metrics(folder / "metrics.jsonl"))


def in_the_middle(trials: list[Trial], folder: Path) -> None:
    for trial in trials:
        wait_until(lambda t=trial: epochs(folder / t.name) >= 2)
        assert not (folder / trial.name / "result.json").exists()


def process_of(trial: Trial) -> int:
    """The id of the process that runs a trial."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"lm.sweep.trial" in words and trial.name in words[3].decode():
                    return int(entry.name)
    raise AssertionError(trial.name)


linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@linux
def test_a_killed_worker(text: str, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path) as process:
        in_the_middle(trials[:1], tmp_path)
        os.kill(process_of(trials[0]), signal.SIGKILL)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), out
    assert losses(trials, tmp_path) == undisturbed


@pytest.mark.parametrize("killed", ["group", "only the sweep"])
def test_a_killed_sweep(
    killed: str, text: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path) as process:
        in_the_middle(trials, tmp_path)
        (os.killpg if killed == "group" else os.kill)(process.pid, signal.SIGKILL)
    assert sweep(trials, tmp_path, 2)
    assert losses(trials, tmp_path) == undisturbed


def test_ctrl_c_saves_and_the_sweep_goes_on(
    text: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path) as process:
        in_the_middle(trials, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert out.splitlines()[-1] == "| stopped; the same command continues"
    assert not list(tmp_path.glob("*/result.json"))
    for trial in trials:  # a test would only take time
        metrics = read_metrics(tmp_path / trial.name / "metrics.jsonl")
        assert not any("test_loss" in record for record in metrics)
    assert sweep(trials, tmp_path, 2)
    assert losses(trials, tmp_path) == undisturbed


# -------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0}
    with distributed.LocalCluster(
        **options, dashboard_address=":0", local_directory=str(tmp_path_factory.mktemp("dask"))
    ) as found:
        yield found


def test_a_killed_dask_worker(
    cluster: Any, text: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path, cluster.scheduler_address) as process:
        in_the_middle(trials, tmp_path)
        os.kill(cluster.workers[0].pid, signal.SIGKILL)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), out
    assert losses(trials, tmp_path) == undisturbed


def test_a_killed_sweep_on_dask(
    cluster: Any, text: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path, cluster.scheduler_address) as process:
        in_the_middle(trials, tmp_path)
        os.killpg(process.pid, signal.SIGKILL)
    assert sweep(trials, tmp_path, scheduler=cluster.scheduler_address)
    assert losses(trials, tmp_path) == undisturbed


def test_ctrl_c_on_dask(
    cluster: Any, text: str, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    trials = long_trials(text)
    with program(trials, tmp_path, cluster.scheduler_address) as process:
        in_the_middle(trials, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert out.splitlines()[-1] == "| stopped; the same command continues"
    assert sweep(trials, tmp_path, scheduler=cluster.scheduler_address)
    assert losses(trials, tmp_path) == undisturbed


def test_a_trial_that_dask_gives_up_is_a_row(tiny: Callable[..., Trial], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")

    class Pool(Executor):
        def submit(self, *_: Any) -> Any:
            future: Future[None] = Future()
            future.set_exception(distributed.KilledWorker("a trial", None, 3))
            return future

    trial = tiny()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "executor", lambda *_: contextlib.nullcontext(Pool()))
        assert sweep([trial], tmp_path, scheduler="tcp://127.0.0.1:1")
    numbers = result_of(tmp_path / trial.name, trial.as_dict())
    assert numbers is not None
    assert (numbers["status"], numbers["reason"]) == ("failed", "its worker was killed 3 times")


# -------------------------------------------------------------------- what is missing


def test_what_is_missing_is_said_in_one_line(
    tiny: Callable[..., Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install '\.\[sweep\]'"):
        sweep([tiny()], tmp_path, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install '\.\[plot\]'"):
        drawing.need_matplotlib()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", "can't reach the scheduler tcp://127.0.0.1:1"),
        ("no address", "no address is no address of a scheduler"),
        ("tcp://no host:1", "tcp://no host:1 is no address of a scheduler"),
    ],
)
def test_a_scheduler_that_can_not_be_reached(
    address: str,
    message: str,
    tiny: Callable[..., Trial],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(run, "PATIENCE", 1)
    with pytest.raises(UserError, match=message) as error:
        sweep([tiny()], tmp_path, scheduler=address)
    assert "\n" not in str(error.value)
