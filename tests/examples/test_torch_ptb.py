"""The runs of PyTorch behind the README's table, on a short text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lm.model import RNNModel
from lm.results import read_result

pytest.importorskip("torch")
PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "torch_ptb.py"


def run(corpus: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--data", str(corpus), "--out", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_pytorch_is_trained_once_with_each_seed(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "torch.json"
    options = ["--epochs", "1", "--seeds"]
    for seeds in (["1"], ["1", "2"]):
        done = run(corpus, out, *options, *seeds)
        assert done.returncode == 0, done.stderr
        new = [line for line in done.stdout.splitlines() if line.endswith(f" {seeds[-1]}")]
        assert new == [f"torch | {model} {seeds[-1]}" for model in ("lstm", "lstm-tied")]
    numbers = read_result(out)["numbers"]
    for model in ("lstm", "lstm-tied"):
        runs = [run for run in numbers["runs"].values() if run["model"] == model]
        assert [run["seed"] for run in runs] == [1, 2]
        assert runs[0]["test_ppl"] != runs[1]["test_ppl"]
        mean = sum(run["test_ppl"] for run in runs) / 2
        assert numbers[model]["test_ppl"]["mean"] == pytest.approx(mean)
        assert numbers[model]["test_ppl"]["n"] == 2
        tied = model == "lstm-tied"
        ours = RNNModel("LSTM", runs[0]["words"], 200, 200, 2, tie_weights=tied)
        assert runs[0]["parameters"] == sum(p.size for p in ours.parameters())

    other = run(corpus, out, "--epochs", "2")
    assert other.returncode == 2
    assert len(other.stderr.splitlines()) == 1 and "name another file" in other.stderr
    assert read_result(out)["numbers"] == numbers
