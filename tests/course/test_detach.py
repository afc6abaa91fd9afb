"""What the chapter on detaching claims about growth."""

from __future__ import annotations

import detach as experiment
import numpy as np
from experiment import read

SIZE = experiment.QUICK


def test_without_detach_the_graph_grows_by_the_same_amount_with_each_batch() -> None:
    with_detach, without = (experiment.operations(d, SIZE) for d in (True, False))
    assert set(with_detach) == {with_detach[0]}
    assert without[0] == with_detach[0]
    assert len(set(np.diff(without))) == 1 and without[1] > without[0]


def test_without_detach_memory_grows() -> None:
    with_detach, without = (experiment.megabytes(d, SIZE) for d in (True, False))
    assert without[-1] - without[1] > 3 * without[1] - 3 * without[0]
    assert with_detach[-1] < 1.2 * with_detach[1] < without[-1]


def test_without_detach_the_time_of_a_batch_grows() -> None:
    size = SIZE._replace(batches=40)
    with_detach, without = (experiment.milliseconds(d, 1, size) for d in (True, False))
    assert np.median(without[-8:]) > 3 * np.median(with_detach[-8:])


def test_the_chapter_describes_the_committed_result() -> None:
    numbers = read("detach")["numbers"]
    for name in ("operations", "MB", "ms"):
        with_detach, without = (np.array(numbers[way][name]) for way in ("with", "without"))
        assert np.median(with_detach[-10:]) < 1.3 * np.median(with_detach[1:11])
        k = np.arange(1, len(without) + 1)
        assert np.corrcoef(k, without)[0, 1] > 0.98  # a straight line
        assert without[-1] > 5 * with_detach[-1]


def test_quick_runs() -> None:
    experiment.main(["--quick"])
