"""Jobs of three ranks, and what they return."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MPIEXEC = Path(sys.executable).with_name("mpiexec")
TIMEOUT = 900  # seconds; on a machine that is busy, ranks wait for each other

Found = dict[str, list[dict[str, Any]]]  # for each group, what each of its ranks has returned


@pytest.fixture(scope="session")
def mpi() -> None:
    """Skips the test where MPI is not installed."""
    if importlib.util.find_spec("mpi4py") is None or not MPIEXEC.exists():
        pytest.skip("needs mpi4py and mpich: pip install '.[mpi]'")


def environment(**more: str) -> dict[str, str]:
    """For ranks that share few cores: one thread each, and no busy waiting."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", **more}


@pytest.fixture
def job(mpi: None, tmp_path: Path) -> Callable[..., dict[str, Found]]:
    """Runs jobs of jobs.py or gpu_jobs.py, all of them in one start of mpiexec."""

    def job(*names: str, program: str = "jobs.py") -> dict[str, Found]:
        jobs = Path(__file__).with_name(program)
        command = [MPIEXEC, "-n", "3", sys.executable, "-m", "mpi4py", jobs, tmp_path, *names]
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
