"""What the chapter on backpropagation through time claims."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from minigrad.bptt import through_time, unrolled
from minigrad.cells import CELLS

ROOT = Path(__file__).resolve().parents[2]
course = runpy.run_path(str(ROOT / "examples" / "course" / "bptt_ledger.py"))


@pytest.mark.parametrize("cell", ["RNN_TANH", "RNN_RELU", "LSTM", "GRU"])
@pytest.mark.parametrize("seed", course["SEEDS"])
def test_the_ledger_adds_up_to_the_gradient(cell: str, seed: int) -> None:
    assert cell in CELLS
    example = course["Example"](cell, seed, 6, 8)
    hand = course["gradient"](example, through_time)
    entries = course["ledger"](example)
    assert abs(entries.sum(axis=(0, 1)) - hand).max() < 1e-12
    assert abs(course["gradient"](example, unrolled) - hand).max() < 1e-12
    assert abs(course["finite_differences"](example) - hand).max() < 1e-7
    assert not np.triu(abs(entries).sum(axis=(2, 3)), 1).any()  # nothing from later steps
    assert not entries[:, 0].any()  # the initial state is zero


def test_functions_named_in_links_exist() -> None:
    page = ROOT / "docs" / "course" / "bptt.md"
    links = re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", page.read_text(encoding="utf-8"))
    assert links
    for name, file in links:
        source = (page.parent / file).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"^ *(?:class|def) {part}\b", source, re.MULTILINE), name


def test_exercise_the_sum_over_losses_is_one_outer_product_for_each_step() -> None:
    entries = course["ledger"](course["Example"]("RNN_TANH", 1, 6, 8))
    for term in entries.sum(axis=0):
        assert np.linalg.svd(term, compute_uv=False)[1] < 1e-12
