"""What the chapter on detaching claims about the chunk length."""

from __future__ import annotations

import bptt_length as experiment
import pytest
from experiment import RESULTS, read

from lm.results import read_result


def test_quick_runs(capsys: pytest.CaptureFixture[str]) -> None:
    experiment.main(["--quick"])
    printed = capsys.readouterr().out
    assert all(printed.count(f"{way}, ") == 3 for way in experiment.WAYS)


@pytest.fixture(scope="module")
def numbers() -> dict:
    return read("bptt-length")["numbers"]


def test_truncation_alone_costs_little_from_five_steps_on(numbers: dict) -> None:
    found = {int(k): f["perplexity"] for k, f in numbers["same updates"].items()}
    assert all(found[1]["min"] > found[k]["max"] for k in (2, 5, 10, 20, 50))
    means = [found[k]["mean"] for k in (5, 10, 20, 50)]
    assert max(means) - min(means) < 0.15


def test_with_the_same_columns_the_number_of_updates_decides(numbers: dict) -> None:
    found = {int(k): f["perplexity"] for k, f in numbers["same columns"].items()}
    best = max(found[5]["max"], found[10]["max"])
    assert all(found[k]["min"] > best for k in (1, 2, 20, 50, 100))
    assert found[100]["min"] > 1.3 * best
    updates = {k: f["updates"]["mean"] for k, f in numbers["same columns"].items()}
    assert round(updates["5"] / updates["100"]) == 20
    assert len({f["updates"]["mean"] for f in numbers["same updates"].values()}) == 1


def test_short_chunks_with_few_columns_are_slow(numbers: dict) -> None:
    found = {k: f["us_per_letter"]["mean"] for k, f in numbers["same columns"].items()}
    assert found["1"] > 4 * found["50"]


def test_on_words_35_steps_are_better_than_10_or_70() -> None:
    found = read_result(RESULTS.parent / "cells" / "results.json")["numbers"]
    default = found["lstm_epochs-6"]["test_ppl"]
    for bptt in (10, 70):
        other = found[f"lstm_epochs-6_bptt-{bptt}"]["test_ppl"]
        assert other["n"] == default["n"] == 3
        assert other["mean"] - default["mean"] > 8 * max(default["spread"], other["spread"])
