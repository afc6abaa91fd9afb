"""The tape of a small layer, as text for Graphviz, and the figure made of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("bptt", "steps"), [("autograd", 4), ("manual", 0)])
def test_each_step_is_drawn_or_none(
    bptt: str, steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "examples" / "draw_tape.py"))["main"]
    main(["--steps", "4", "--bptt", bptt])
    out = capsys.readouterr().out
    assert out.startswith("digraph {") and out.endswith("}\n")
    assert out.count('[label="chunk') == steps
    assert "weight_hh\\n12 × 3" in out


def test_the_figure_in_the_readme_is_of_three_steps() -> None:
    svg = (ROOT / "docs" / "figures" / "lstm-tape.svg").read_text(encoding="utf-8")
    assert svg.count(">chunk<") == 3 and svg.count(">tanh<") == 6
