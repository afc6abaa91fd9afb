"""What the chapter on detaching claims about a task whose answer lies further back."""

from __future__ import annotations

import pytest
import recall as experiment
from experiment import read

LAG = experiment.LAG


@pytest.mark.parametrize("seed", experiment.SEEDS)
def test_a_chunk_that_is_too_short_teaches_nothing(seed: int) -> None:
    short, long = (experiment.measure("RNN_TANH", n, seed, experiment.QUICK) for n in (LAG, 24))
    assert short < 40 < 90 < long


@pytest.mark.parametrize("cell", experiment.CELLS)
def test_the_chapter_describes_the_committed_result(cell: str) -> None:
    found = {int(length): f for length, f in read("recall")["numbers"][cell].items()}
    assert all(found[length]["max"] < 40 for length in found if length <= LAG)
    assert all(found[length]["min"] > 65 for length in found if length > LAG)
    assert all(found[length]["min"] > 95 for length in found if length >= 10)
