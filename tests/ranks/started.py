"""Start train_ptb.py with several ranks, and look at how it ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lm.checkpoint import load_checkpoint

# The Python whose MPI is tested, by default this one with MPICH. Another one, which can import
# minigrad too, tests the MPI of its environment.
PYTHON = os.environ.get("RANKS_PYTHON", sys.executable)
MPIEXEC = Path(PYTHON).with_name("mpiexec")

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "train_ptb.py"

# An epoch of 25 batches on 20 columns.
SMALL = ("--emsize=8", "--nhid=8", "--batch-size=20", "--bptt=5", "--lr=1", "--epochs=3")
STEP_TIMEOUT = 5
LIMIT = 150.0  # seconds for a whole run on a machine that is busy


def environment(**more: str) -> dict[str, str]:
    """For ranks that share few cores: one thread each, and no busy waiting."""
    mpich = {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}
    open_mpi = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
    }
    return {**os.environ, "OMP_NUM_THREADS": "1", **mpich, **open_mpi, **more}


def write_text(folder: Path, seed: int) -> Path:
    folder.mkdir()
    for split, sentences in (("train", 501), ("valid", 40), ("test", 40)):
        draw = random.Random(f"{split}{seed}")
        lines = (f"the {draw.choice('abcd')} {draw.choice('klm')} it\n" for _ in range(sentences))
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


class Run:
    """A started command and how it ended."""

    def __init__(self, command: list[Any], folder: Path, **env: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [PYTHON, *command],
            cwd=folder,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, limit: float = LIMIT) -> Run:
        self.out, self.err = self.process.communicate(timeout=limit)
        self.status = self.process.returncode
        return self

    def read_until(self, words: str) -> str:
        """Wait for a line with these words, and return it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return line
        raise AssertionError(f"no line with {words!r}")

    def error(self) -> str:
        """The one line with which it failed."""
        assert self.status == 2, (self.status, self.out, self.err)
        warnings = [line for line in self.err.splitlines() if line.startswith("warning: ")]
        (line,) = [line for line in self.err.splitlines() if line not in warnings]
        assert line.startswith("error: ")
        return line


def assert_intact(folder: Path, epoch: int) -> None:
    """The checkpoints can be loaded; the latest is of the end of this epoch."""
    assert not list(folder.glob("*.tmp"))
    load_checkpoint(folder / "model.safetensors")
    position = load_checkpoint(folder / "model.latest.safetensors").run["position"]
    assert (position["epoch"], position["batch"]) == (epoch + 1, 0)


def assert_nothing_left(folder: Path) -> None:
    """No process of the run is left, nor becomes one."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not processes(folder):
            return
        time.sleep(0.1)
    raise AssertionError(processes(folder))


def processes(folder: Path) -> list[str]:
    """The commands of all processes that work in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
