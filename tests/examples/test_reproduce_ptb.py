"""The runs behind the README's table, on a short text."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "reproduce_ptb.py"


def test_a_model_has_its_mean_and_its_trials(corpus: Path, tmp_path: Path, capsys: Any) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    options = ["--quick", "--data", str(corpus), "--only", "dlfs2-rnnlm", "--seeds", "1",
               "--out", str(tmp_path)]  # fmt: skip
    main(options)
    numbers = json.loads((tmp_path / "results.json").read_text())["numbers"]
    found = numbers["dlfs2-rnnlm"]["test_ppl"]
    assert 1 < found["mean"] < 1000 and found["n"] == 1 and found["spread"] is None
    capsys.readouterr()
    main(options)
    assert "starts" not in capsys.readouterr().out  # nothing is trained again
    assert json.loads((tmp_path / "results.json").read_text())["numbers"] == numbers
