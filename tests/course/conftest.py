"""Let the tests import the experiments of the course by their names, and share tiny models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "course"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the models of `small_lm`, which tests of several chapters read."""
    return tmp_path_factory.mktemp("models")
