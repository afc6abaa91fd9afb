"""The package and its Makefile."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad as mg

ROOT = Path(__file__).resolve().parent.parent


def test_there_is_one_version() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert config["metadata"]["version"] == "attr: minigrad.version.__version__"
    assert mg.__version__ == importlib.metadata.version("minigrad-lm")


def test_its_version_is_found_without_importing_numpy() -> None:
    """So that it can be built with only setuptools installed."""
    text = (ROOT / "minigrad" / "version.py").read_text(encoding="utf-8")
    assert "import" not in text.split('"""')[2]


def test_what_the_packages_read_is_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = config["options"]["packages"].split()
    found = {
        (package, file.name)
        for package in packages
        for file in (ROOT / package.replace(".", "/")).iterdir()
        if file.is_file() and file.suffix != ".py"
    }
    data = config["options.package_data"].items()
    assert found == {(package, name) for package, names in data for name in names.split(", ")}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_another_python_makes_a_new_environment(tmp_path: Path) -> None:
    """`make test PYTHON=python3.12` beside a .venv that python3.11 made."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    other = tmp_path / "python3.99"
    other.write_text("#!/bin/sh\necho 3-99-0-/opt/python\n")
    other.chmod(0o755)

    def make(python: str, *options: str) -> str:
        command = ["make", "train", f"PYTHON={python}", *options]
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    assert "-m venv" in make(sys.executable, "--dry-run")
    (tmp_path / ".venv").mkdir()
    make(sys.executable, "--touch")  # as if it had been made
    assert "-m venv" not in make(sys.executable, "--dry-run")
    assert "-m venv" in make(str(other), "--dry-run")
