"""Jobs of three ranks, and runs of train_ptb.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))
from started import (
    EXAMPLE,
    HERE,
    MPIEXEC,
    PYTHON,
    SMALL,
    STEP_TIMEOUT,
    Run,
    environment,
    write_text,
)

TIMEOUT = 900  # seconds; on a machine that is busy, ranks wait for each other

Found = dict[str, list[dict[str, Any]]]  # for each group, what each of its ranks has returned


@pytest.fixture(scope="session")
def mpi() -> None:
    """Skips the test where MPI is not installed."""
    imports = subprocess.run([PYTHON, "-c", "import mpi4py, minigrad"], capture_output=True)
    if imports.returncode or not MPIEXEC.exists():
        pytest.skip(f"{PYTHON} needs mpi4py and mpich: pip install '.[mpi]'")


@pytest.fixture
def job(mpi: None, tmp_path: Path) -> Callable[..., dict[str, Found]]:
    """Runs jobs of jobs.py or gpu_jobs.py, all of them in one start of mpiexec."""

    def job(*names: str, program: str = "jobs.py") -> dict[str, Found]:
        jobs = Path(__file__).with_name(program)
        command = [MPIEXEC, "-n", "3", PYTHON, "-m", "mpi4py", jobs, tmp_path, *names]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, done.stderr + done.stdout

        def read(name: str, group: str, size: int) -> list[dict[str, Any]]:
            files = (tmp_path / name / f"{group}-{rank}.json" for rank in range(size))
            return [json.loads(file.read_text()) for file in files]

        groups = {"alone": 1, "2": 2, "3": 3}
        return {name: {g: read(name, g, size) for g, size in groups.items()} for name in names}

    return job


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text", 1)


@pytest.fixture
def train(mpi: None, text: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts train_ptb.py, faulty.py or another such program on the small text."""
    started: list[subprocess.Popen[str]] = []

    def train(*options: str, fault: str = "", program: Path | None = None, **env: str) -> Run:
        program = program or (HERE / "faulty.py" if fault else EXAMPLE)
        command = [program, "--data", text, *SMALL, f"--step-timeout={STEP_TIMEOUT}"]
        run = Run([*command, *options], tmp_path, FAULT=fault, **env)
        started.append(run.process)
        return run

    yield train
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
