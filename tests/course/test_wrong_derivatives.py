"""What the chapter "Find the bug" claims of wrong derivatives."""

from __future__ import annotations

from pathlib import Path

import wrong_derivatives as experiment
from experiment import read
from quick import quick_numbers


def test_gradcheck_finds_each_mistake() -> None:
    assert not experiment.found(experiment.MISTAKES["none"][1])
    wrong = [mistake for name, (_, mistake) in experiment.MISTAKES.items() if name != "none"]
    assert len(wrong) == 7 and all(experiment.found(mistake) for mistake in wrong)


def test_most_wrong_derivatives_learn_in_the_quick_form_too(tmp_path: Path) -> None:
    numbers = quick_numbers(experiment, tmp_path)
    assert numbers["mistakes"]["none"]["learned"] == 2
    assert numbers["found"] == numbers["wrong"] == 7
    assert numbers["runs_learned"] >= 12  # of 14


def test_the_committed_result() -> None:
    result = read("wrong-derivatives")
    numbers = result["numbers"]
    assert result["seeds"] == list(experiment.SEEDS)
    assert set(numbers["mistakes"]) == set(experiment.MISTAKES)
    assert numbers["runs_learned"] > 0.9 * numbers["runs"]
    assert numbers["mistakes"]["z-sign"]["learned"] < len(experiment.SEEDS)
    assert numbers["mistakes"]["none"]["loss"]["max"] < experiment.LEARNED
