"""The comparison of cells, on a tiny grid."""

from __future__ import annotations

import csv
import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lm.console import UserError
from lm.settings import Settings
from lm.sweep.grid import label, variants

PROGRAM = Path(__file__).parents[2] / "examples" / "compare_cells.py"
FILES = {"results.csv", "results.md", "results.json", "compared.md", "epochs.svg", "parameters.svg"}


def compare(*options: str) -> None:
    runpy.run_path(str(PROGRAM))["main"](options)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("compared") / "cells"
    compare("--out", str(folder), "--quick", "--epochs", "1")
    return folder


def test_it_writes_tables_and_figures(out: Path) -> None:
    assert {p.name for p in out.iterdir() if p.is_file()} == FILES
    trials = [json.loads(p.read_text()) for p in out.glob("trials/*/result.json")]
    # Two learning rates, and four settings with two seeds, one of which is among the first.
    assert len(trials) == 2 * (2 + 4 * 2 - 1)
    assert {t["numbers"]["status"] for t in trials} == {"done"}
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(r["trial"], r["epoch"]) for r in rows}) == len(rows) == len(trials)
    text = (out / "results.md").read_text()
    assert "LSTM has learning rate" in text and "GRU has learning rate" in text

    result = json.loads((out / "results.json").read_text())
    rates = result["numbers"].pop("learning_rate")
    assert set(rates) == {"lstm", "gru"}
    assert sorted(c["test_ppl"]["n"] for c in result["numbers"].values()) == [1] * 2 + [2] * 8
    for figure in ("epochs.svg", "parameters.svg"):
        ElementTree.parse(out / figure)

    head, _, *rows = (out / "compared.md").read_text().splitlines()
    assert head == "| | LSTM | GRU |"
    default = "12 units, 1 layer, 10 steps"
    assert [row.split(" | ")[0] for row in rows] == [f"| {default}", "| 6 units", "| 2 layers",
                                                     "| 5 steps"]  # fmt: skip
    assert all(row.count("(2)") == 2 and row.count(" ± ") == 2 for row in rows)


def test_a_second_start_trains_nothing(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [p for p in out.rglob("*") if p.is_file()]
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in files if "trials" in p.parts}
    tables = {p: p.read_bytes() for p in files if p.suffix in (".csv", ".md", ".svg")}
    capsys.readouterr()
    compare("--out", str(out), "--quick", "--epochs", "1")
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before}
    assert tables == {p: p.read_bytes() for p in tables}
    assert "starts" not in capsys.readouterr().out


def test_what_is_done_is_written_when_it_is_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    program = runpy.run_path(str(PROGRAM))
    sweep = program["sweep"]

    def stopped_after_two(trials: Sequence[Any], *where: Any, **options: Any) -> bool:
        done = sweep(trials[:2], *where, **options)
        return bool(done and len(trials) <= 2)

    program["main"].__globals__["sweep"] = stopped_after_two
    program["main"](("--out", str(tmp_path), "--quick", "--epochs", "1", "--cells", "GRU"))
    result = json.loads((tmp_path / "results.json").read_text())
    assert result["numbers"]["learning_rate"].keys() == {"gru"}
    assert sum(c["test_ppl"]["n"] for n, c in result["numbers"].items() if "test_ppl" in c) == 3
    assert "| 5 steps | not yet |" in (tmp_path / "compared.md").read_text()
    assert (tmp_path / "parameters.svg").exists()
    assert "the same command continues" in capsys.readouterr().out


def test_a_missing_matplotlib_is_said_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install '\.\[plot\]'"):
        compare("--out", str(tmp_path / "cells"), "--quick")
    assert not (tmp_path / "cells").exists()


def test_the_grid_is_around_the_defaults() -> None:
    grid, base = runpy.run_path(str(PROGRAM))["GRID"], Settings(seed=1112)
    settings = variants(base, grid)
    assert settings["default"] == base and len(settings) == 7
    assert all(s.seed == 1112 and s.emsize == s.nhid for s in settings.values())
    assert (settings["nhid-400"].nhid, settings["bptt-10"].bptt) == (400, 10)
    labels = [label(base.as_dict(), s.as_dict()) for s in settings.values()]
    assert labels == ["200 units, 2 layers, 35 steps", "100 units", "400 units",
                      "1 layer", "3 layers", "10 steps", "70 steps"]  # fmt: skip
