"""Results as data: the numbers of an experiment, and how to get them again.

Pages quote such a file with a comment behind the number, and `docs/update.py` keeps them equal.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad

from .console import UserError
from .files import replace_file


def write_result(
    path: str | os.PathLike[str],
    command: Sequence[str],
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    seconds: float,
    numbers: Mapping[str, Any],
) -> None:
    """Write one experiment: its numbers, a nested dict, and where they come from.

    command   the words that a person types to repeat it, such as ["python", "examples/x.py"]
    seconds   how long it took

    Raises UserError if the file can't be written.
    """
    result = {
        "command": shlex.join(command),
        "settings": dict(settings),
        "seeds": list(seeds),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        **origin(),
        "numbers": dict(numbers),
    }
    try:
        replace_file(path, (json.dumps(result, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"can't write the results to {path}: {error.strerror}") from error


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_result` has written; UserError if the file is missing or something else."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    except ValueError:
        result = None
    if not isinstance(result, dict) or "numbers" not in result:
        raise UserError(f"{path} is not a result of an experiment; name another file")
    return result


def origin() -> dict[str, Any]:
    """The machine, the BLAS with its kernel, the versions and the commit of this process."""
    return {
        "machine": {"processor": _processor(), "cores": cores(), "system": platform.platform()},
        "blas": _blas(),
        "versions": {
            "minigrad": minigrad.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas() -> list[str]:
    """Each BLAS in this process: name, version, kernel and threads; empty if nothing can tell."""
    try:
        libraries = importlib.import_module("threadpoolctl").threadpool_info()
    except ImportError:
        return []
    return [
        f"{i['internal_api']} {i['version']}, {i.get('architecture')}, threads: {i['num_threads']}"
        for i in libraries
        if i["user_api"] == "blas"
    ]


def _commit() -> str | None:
    """The commit of this checkout, with "+changes" if it is not clean; None outside of one."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + "+changes" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return None


def this_command() -> list[str]:
    """The words with which this program was started, its path relative to the project."""
    root = Path(__file__).resolve().parent.parent
    program = Path(sys.argv[0]).resolve()
    name = program.relative_to(root).as_posix() if program.is_relative_to(root) else program.name
    return ["python", name, *sys.argv[1:]]
