"""What `import lm` brings along, and what only its names do."""

import subprocess
import sys

import pytest

import lm


def loaded_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_what_takes_long_is_imported_where_it_is_used() -> None:
    loaded = loaded_by("import minigrad; from lm import Trainer")
    assert "lm.model" in loaded
    assert not loaded & {
        "concurrent.futures",
        "numpy.random",
        "rich",
        "safetensors",
        "urllib.request",
    }


def test_modules_come_along_with_the_names() -> None:
    assert "lm.run.trainer" in loaded_by("import lm; lm.run.trainer.Trainer")


def test_a_command_handles_ctrl_c_before_numpy_is_imported() -> None:
    loaded = loaded_by("import lm.console")
    assert "lm.signals" in loaded
    assert not loaded & {"numpy", "minigrad", "lm.model", "argparse"}


def test_the_names_of_lm_are_there_all_the_same() -> None:
    assert {"Trainer", "RNNModel", "load_corpus"} < set(dir(lm))
    names: dict[str, object] = {}
    exec("from lm import *", names)
    assert names["RNNModel"] is lm.RNNModel
    with pytest.raises(AttributeError, match="'lm' has no attribute 'Transformer'"):
        _ = lm.Transformer  # type: ignore[attr-defined]
