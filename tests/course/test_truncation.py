"""What the chapter on detaching claims about truncation."""

from __future__ import annotations

import numpy as np
import pytest
import truncation as experiment
from experiment import read
from letter_model import build

from minigrad.cells import CELLS


@pytest.mark.parametrize("cell", CELLS)
def test_detach_removes_the_entries_between_chunks_and_changes_no_other(cell: str) -> None:
    assert experiment.removed(cell, 1)["cut_minus_kept"] == 0


@pytest.mark.parametrize("cell", CELLS)
def test_longer_chunks_come_closer_to_the_full_gradient(cell: str) -> None:
    found = experiment.by_chunk(build(cell, 1, 16), 32)["W_hh"]
    cosines = [c["cosine"] for c in found.values()]
    assert cosines[0] < 0.99 and cosines[0] == min(cosines)
    assert np.isclose(cosines[-1], 1, atol=1e-6)
    assert found["16"]["cosine"] > 0.995


def test_the_chapter_describes_the_committed_result() -> None:
    numbers = read("truncation")["numbers"]
    for cell in CELLS:
        assert numbers[cell]["ledger"]["cut_minus_kept"]["max"] == 0
        for moment in ("initial", "trained"):
            found = numbers[cell][moment]["W_hh"]
            assert found["1"]["cosine"]["max"] < 0.99
            assert found["16"]["cosine"]["min"] > 0.98


def test_quick_runs(capsys: pytest.CaptureFixture[str]) -> None:
    experiment.main(["--quick"])
    printed = capsys.readouterr().out
    assert all(f"{cell}: cosine" in printed for cell in CELLS)
