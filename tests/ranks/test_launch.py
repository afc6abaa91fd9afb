"""`--ranks N` starts processes and joins them to one run; whatever happens, all of them end.

A rank fails on purpose by means of faulty.py. On a machine that is busy, starting alone may take
several seconds, so that limits are generous; a rank that hangs is what they have to find.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from started import (
    EXAMPLE,
    LIMIT,
    MPIEXEC,
    PYTHON,
    SMALL,
    STEP_TIMEOUT,
    Run,
    assert_intact,
    assert_nothing_left,
    environment,
    write_text,
)  # fmt: skip

from lm.checkpoint import load_checkpoint
from lm.console import UserError
from lm.run.launch import Launch


def test_two_ranks_print_and_save_what_one_process_does(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    both = train("--ranks=2", "--metrics=both.jsonl", "--save=both.safetensors").wait()
    alone = train("--metrics=alone.jsonl", "--save=alone.safetensors").wait()
    assert (both.status, both.err) == (alone.status, alone.err) == (0, "")

    def lines(run: Run) -> list[str]:
        return re.sub(r"(ms/batch|time:) +[\d.]+s?", r"\1", run.out).splitlines()

    assert lines(both) == lines(alone)
    ours, theirs = (
        load_checkpoint(tmp_path / f"{n}.latest.safetensors") for n in ("both", "alone")
    )
    assert ours.run["random"] == theirs.run["random"]
    assert {n: h.shape for n, h in ours.hidden.items()} == {
        n: h.shape for n, h in theirs.hidden.items()
    }
    more = train("--resume=both.latest.safetensors", "--epochs=4").wait()
    assert more.status == 0, more.err
    assert re.search(r"end of epoch +4 ", more.out)
    assert_nothing_left(tmp_path)


def test_a_killed_rank_ends_the_run_and_the_checkpoint_goes_on(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    run = train("--ranks=2", fault="kill:1:20").wait()
    expected = "a rank was killed by SIGKILL, perhaps for lack of memory; --resume "
    assert f"{expected}model.latest.safetensors continues" in run.error()
    assert_nothing_left(tmp_path)
    assert_intact(tmp_path, epoch=1)
    more = train("--ranks=3", "--resume=model.latest.safetensors").wait()
    assert more.status == 0, more.err
    assert "| end of epoch   3 " in more.out


def test_a_frozen_rank_ends_the_run_after_the_timeout(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    run = train("--ranks=2", fault="freeze:1:20").wait()
    assert f"no step was done within --step-timeout, {STEP_TIMEOUT} seconds" in run.error()
    assert_nothing_left(tmp_path)
    assert_intact(tmp_path, epoch=1)


LINGERS = """if True:
    import os, signal, sys, time
    from mpi4py import MPI
    rank = MPI.COMM_WORLD.rank
    with open(f"{sys.argv[1]}/pid-{rank}", "w") as file:
        file.write(str(os.getpid()))
    MPI.COMM_WORLD.Barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    print("Timeout (0:00:05)!", file=sys.stderr, flush=True)
    time.sleep(1000)
"""


def test_an_mpiexec_that_waits_for_a_frozen_rank_is_ended(
    mpi: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.run.launch.PATIENCE", 1.0)
    monkeypatch.setattr("lm.run.launch.handle_signals", lambda how: {})
    command = [str(MPIEXEC), "-n", "2", PYTHON, "-c", LINGERS, str(tmp_path)]
    launch = Launch(command, environment(), tmp_path / "none", 5.0)
    with pytest.raises(UserError, match="5 seconds: a rank is frozen; nothing was saved"):
        launch.run()
    ranks = [Path("/proc", file.read_text()) for file in tmp_path.glob("pid-*")]
    assert len(ranks) == 2
    end = time.monotonic() + 30
    while any(rank.exists() for rank in ranks):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_all_ranks_and_saves(
    train: Callable[..., Run], tmp_path: Path, number: signal.Signals
) -> None:
    run = train("--ranks=2", "--epochs=5000", "--log-interval=10")
    run.read_until("batches")
    run.process.send_signal(number)
    run.wait()
    assert (run.status, run.err) == (0, "")
    assert "| stopping: " in run.out
    assert "--resume model.latest.safetensors" in run.out and "--ranks 2" in run.out
    load_checkpoint(tmp_path / "model.latest.safetensors")
    assert_nothing_left(tmp_path)


def test_a_second_ctrl_c_ends_ranks_that_hang(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train("--ranks=2", "--step-timeout=1000", fault="sleep:1:20")
    while not (tmp_path / "asleep").exists():
        assert run.process.poll() is None
        time.sleep(0.1)
    for _ in range(2):
        time.sleep(1.5)
        run.process.send_signal(signal.SIGINT)
    run.wait()
    assert "ended at once by a second Ctrl-C; --resume model.latest" in run.error()
    assert_nothing_left(tmp_path)
    assert_intact(tmp_path, epoch=1)


def test_other_words_settings_or_another_version_are_refused_before_anything_is_written(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    other = write_text(tmp_path / "other", 2)
    run = train("--ranks=2", fault="text:1:0", OTHER_TEXT=str(other)).wait()
    assert "the texts differ between the ranks: rank 1 has " in run.error()
    run = train("--ranks=2", fault="version:1:0").wait()
    assert "the versions differ between the ranks: rank 1 has minigrad 0.0.0, " in run.error()
    run = train("--ranks=2", fault="settings:1:0").wait()
    assert "settings differ between the ranks: rank 1 has seed 7, rank 0 seed 1111" in run.error()
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_number_of_ranks_must_fit(train: Callable[..., Run], tmp_path: Path) -> None:
    """More ranks than columns; a job of other size; a launcher of another MPI; none at all."""
    assert "--ranks 21 is more than the 20 columns" in train("--ranks=21").wait().error()
    wrong = (
        train("--ranks=2", OMPI_COMM_WORLD_RANK="0").wait().error()
    )  # as by another MPI's mpiexec
    assert re.search(r"--ranks 2 does not fit: MPI has a job of 1; mpi4py uses (MPICH|Open)", wrong)
    alone = train(PMI_RANK="0", PMI_SIZE="2").wait().error()
    assert "mpiexec has started 2 processes, which would each train alone" in alone
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_launcher_of_another_mpi_is_refused(mpi: None, text: Path, tmp_path: Path) -> None:
    """It starts jobs of one rank each, which would overwrite each other's files."""
    here = Path(sys.executable)
    if here == Path(PYTHON) or not here.with_name("mpiexec").exists():
        pytest.skip("needs two: set RANKS_PYTHON to the Python of an environment with Open MPI")

    def start(mpiexec: Path, python: Path) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "mpi4py", EXAMPLE, "--data", text, *SMALL, "--ranks", "2"]
        return subprocess.run(
            [mpiexec, "-n", "2", *command],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip

    done = start(here.with_name("mpiexec"), Path(PYTHON))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "--ranks 2 does not fit: MPI has a job of 1; mpi4py uses Open MPI" in line
    assert start(MPIEXEC, here).returncode > 0  # MPICH itself ends the ranks
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_job_of_mpiexec_joins_or_is_refused(mpi: None, text: Path, tmp_path: Path) -> None:
    def mpiexec(asked: int) -> subprocess.CompletedProcess[str]:
        python = [PYTHON, "-m", "mpi4py", EXAMPLE, "--data", text, *SMALL]
        return subprocess.run(
            [MPIEXEC, "-n", "2", *python, "--ranks", str(asked)],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip

    refused = mpiexec(3)
    assert refused.returncode == 2, refused.stderr
    ours = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert ours == ["error: --ranks 3 does not fit: MPI has a job of 2"]
    assert not list(tmp_path.glob("*.safetensors"))
    done = mpiexec(2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("End of training") == 1
    assert_intact(tmp_path, epoch=3)


def test_a_rank_that_ends_later_than_the_others_is_not_killed(mpi: None, tmp_path: Path) -> None:
    code = """if True:
        import atexit, pathlib, sys, time
        from mpi4py import MPI
        from lm.run.mpi import _end

        def late():
            time.sleep(0.5)
            pathlib.Path("ended").touch()

        if MPI.COMM_WORLD.rank == 1:
            atexit.register(late)
        _end(2)
    """
    command = [MPIEXEC, "-n", "2", PYTHON, "-m", "mpi4py", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 2
    if "prterun" not in done.stderr:  # Open MPI ends the others whenever a status is not 0
        assert (tmp_path / "ended").exists()


# What Open MPI's mpiexec has written to standard error.
OPEN_MPI = {
    "prterun noticed that process rank 1 with PID 27 on node vm exited on\nsignal 9 (Killed).\n": (
        "a rank was killed by SIGKILL, perhaps for lack of memory; nothing was saved"
    ),
    "Timeout (0:00:05)!\nThread 0x00007f (most recent call first):\n  File x\nprterun detected\n": (
        "no step was done within --step-timeout, 5 seconds: a rank is frozen; nothing was saved"
    ),
    "---\nMPI_ABORT was invoked on rank 1\n\0error: on rank 1: no file\nterminated by signals\n": (
        "on rank 1: no file"
    ),
    "prterun detected that one or more processes exited\n": (
        "mpiexec ended with status 2; nothing was saved"
    ),
}


@pytest.mark.parametrize("text", OPEN_MPI)
def test_open_mpis_words_become_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = Launch([], {}, tmp_path / "none", 5.0)
    for line in text.splitlines(keepends=True):
        launch._err(line)
    with pytest.raises(UserError, match=f"^{re.escape(OPEN_MPI[text])}$"):
        launch._report(2, 0.0)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("memory:1:20", "out of memory (on rank 1: Unable to allocate 8.00 EiB)"),
        ("memory:0:20", "out of memory (Unable to allocate 8.00 EiB)"),
        ("exit:1:20", "mpiexec ended with status 3"),
        ("crash:0:20", "a rank was killed by SIGSEGV"),
        ("kill:0:20", "a rank was killed by SIGKILL"),
        ("freeze:0:20", "no step was done within --step-timeout"),
    ],
)
def test_a_rank_that_fails(
    train: Callable[..., Run], tmp_path: Path, fault: str, line: str
) -> None:
    assert line in train("--ranks=2", fault=fault).wait().error()
    assert_nothing_left(tmp_path)
    assert_intact(tmp_path, epoch=1)


@pytest.mark.slow
def test_a_bug_shows_its_traceback_once(train: Callable[..., Run], tmp_path: Path) -> None:
    run = train("--ranks=2", fault="bug:1:20").wait()
    assert run.status == 1
    assert run.err.count("Traceback") == 1
    assert run.err.endswith("error: on rank 1: RuntimeError: a bug\n")
    assert_nothing_left(tmp_path)
    assert_intact(tmp_path, epoch=1)


@pytest.mark.slow
def test_a_full_disk_on_rank_0_is_a_warning_until_the_end(
    train: Callable[..., Run], tmp_path: Path
) -> None:
    run = train("--ranks=2", fault="disk:0:0").wait()
    assert "No space left on device" in run.error()
    assert "warning: can't write the checkpoint model.latest.safetensors" in run.err
    assert "End of training" in run.out
    assert_nothing_left(tmp_path)
