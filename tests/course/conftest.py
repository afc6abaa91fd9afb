"""Let the tests import the experiments of the course by their names, and share what they measure.

A file of tests imports the experiment that it is about as `experiment`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from quick import quick_numbers

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "course"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the models of `small_lm`, which tests of several chapters read."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def quick(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The numbers of this file's experiment in its quick mode."""
    experiment = request.module.experiment
    needs_models = hasattr(experiment, "add_models")
    options = ["--models", str(models)] if needs_models else []
    return quick_numbers(experiment, tmp_path_factory.mktemp("quick"), *options)


@pytest.fixture(params=["quick", "committed"])
def numbers(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The numbers of this file's experiment: measured quickly, and those that are committed."""
    if request.param == "quick":
        return request.getfixturevalue("quick")
    from experiment import read

    return read(request.module.experiment.__name__.replace("_", "-"))["numbers"]
