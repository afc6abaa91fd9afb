"""The scripts for schedulers: their text is right, and their body trains, and goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import fake_cupy
import pytest
from started import EXAMPLE, HERE, LIMIT, MPIEXEC, PYTHON, SMALL, environment

from lm.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "cluster").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_shell_accepts_it(script: Path) -> None:
    assert os.access(script, os.X_OK)
    checks = [["bash", "-n", script]]
    if shellcheck := shutil.which("shellcheck"):
        checks.append([shellcheck, script])
    for check in checks:
        done = subprocess.run(check, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# What the scheduler sets.
SLURM = {"SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "1"}
VARIABLES = {"slurm.sh": SLURM, "slurm_gpus.sh": SLURM, "pbs.sh": {"PBS_NODEFILE": "nodes"}}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_its_body_trains_and_goes_on(mpi: None, script: Path, text: Path, tmp_path: Path) -> None:
    """With mpiexec as srun, in a folder where it finds the program; on GPUs, that of the tests."""
    gpus = "--backend cupy" in script.read_text()
    if gpus and not fake_cupy.COMPILER:
        pytest.skip("needs g++")
    bin_ = tmp_path / "bin"
    for folder in (bin_, tmp_path / "examples"):
        folder.mkdir()
    programs = {
        bin_ / "python": f'exec {PYTHON} "$@"',
        bin_ / "mpiexec": f'exec {MPIEXEC} "$@"',
        bin_ / "srun": f'exec {MPIEXEC} -n $SLURM_NTASKS "$@"',
    }
    for file, body in programs.items():
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    program = str(HERE / "fake_gpus.py" if gpus else EXAMPLE)
    (tmp_path / "examples" / "train_ptb.py").write_text(
        f"import runpy\n\nrunpy.run_path({program!r}, run_name='__main__')\n"
    )
    (tmp_path / "nodes").write_text("localhost\nlocalhost\n")
    env = environment(
        **{"PBS_O_WORKDIR": str(tmp_path), "FAKE_GPUS": "2"},
        **VARIABLES[script.name],
        PATH=f"{bin_}{os.pathsep}{os.environ['PATH']}",
    )

    def run(epochs: int) -> str:
        done = subprocess.run(
            [script, "--data", text, *SMALL, f"--epochs={epochs}"],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert len(re.findall(r"end of epoch", run(1))) == 1
    assert len(re.findall(r"end of epoch", run(2))) == 1  # only the second one
    saved = load_checkpoint(tmp_path / "model.latest.safetensors")
    assert saved.run["position"]["epoch"] == 3
    assert saved.settings["backend"] == ("cupy" if gpus else "numpy")
