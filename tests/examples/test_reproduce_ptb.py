"""The runs behind the README's table, on a short text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def main(example: Any) -> Any:
    return example("reproduce_ptb").main


def test_a_model_has_its_mean_and_its_trials(main: Any, tmp_path: Path, capsys: Any) -> None:
    options = ["--quick", "--only", "dlfs2-rnnlm", "--seeds", "1", "--out", str(tmp_path)]
    main(options)
    numbers = json.loads((tmp_path / "results.json").read_text())["numbers"]
    found = numbers["dlfs2-rnnlm"]["test_ppl"]
    assert 50 < found["mean"] < 1000 and found["n"] == 1 and found["spread"] is None
    capsys.readouterr()
    main(options)
    assert "starts" not in capsys.readouterr().out  # nothing is trained again
    assert json.loads((tmp_path / "results.json").read_text())["numbers"] == numbers
