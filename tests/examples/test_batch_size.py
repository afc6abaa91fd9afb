"""The comparison of numbers of columns, on tiny models."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *options: str) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"](options)


def table(path: Path) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in path.read_text().splitlines()[2:]]


def test_the_best_rate_is_trained_with_every_seed(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, twenty = tmp_path / "batch", tmp_path / "ptb"
    options = ["--quick", "--data", str(corpus), "--seeds", "1", "2"]
    columns = [*options, "--out", str(out), "--baseline", str(twenty / "trials")]
    run("batch_size.py", *columns, "--tables")
    assert not list(out.glob("*.md"))  # nothing is done

    run("batch_size.py", *columns)
    trials = [json.loads(p.read_text())["numbers"] for p in out.glob("trials/*/result.json")]
    assert len(trials) == 3 * 3 + 3 and {t["status"] for t in trials} == {"done"}
    rates, best = table(out / "rates.md"), table(out / "best.md")
    assert [row[0] for row in rates] == ["40", "80", "160"]
    for row in rates:
        assert float(row[2].split("(")[1][:-1]) == pytest.approx(
            20 * (int(row[0]) / 20) ** 0.5, abs=0.05
        )
    assert best[0][:3] == ["20", "not yet", "0 of 2"]
    numbers: dict[str, Any] = json.loads((out / "results.json").read_text())["numbers"]["columns"]
    for row, (_, rate, seeds, valid, _test) in zip(rates, best[1:], strict=True):
        tried = {cell.split("(")[1][:-1]: float(cell.split()[0]) for cell in row[1:]}
        assert tried[rate] == min(tried.values()) and seeds == "2 of 2" and "±" in valid
        assert numbers[row[0]]["valid_ppl"]["n"] == 2

    run("reproduce_ptb.py", *options, "--only", "lstm", "--out", str(twenty))
    capsys.readouterr()
    run("batch_size.py", *columns)
    assert "starts" not in capsys.readouterr().out  # nothing is trained again
    assert table(out / "best.md")[0][1:3] == ["20.0", "2 of 2"]
