"""What the chapter on backpropagation through time claims about the ledger and the tape."""

from __future__ import annotations

import re
from pathlib import Path

import bptt_ledger as experiment
import numpy as np
import pytest
import tapes
from experiment import read

from minigrad.bptt import through_time, unrolled
from minigrad.cells import CELLS

CHAPTERS = Path(__file__).resolve().parents[2] / "docs" / "course"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", experiment.SEEDS)
def test_the_ledger_adds_up_to_the_gradient(cell: str, seed: int) -> None:
    example = experiment.Example(cell, seed, 6, 8)
    hand = experiment.gradient(example, through_time)
    entries = experiment.ledger(example)
    assert abs(entries.sum(axis=(0, 1)) - hand).max() < 1e-12
    assert abs(experiment.gradient(example, unrolled) - hand).max() < 1e-12
    assert abs(experiment.finite_differences(example) - hand).max() < 1e-7
    sizes = abs(entries).sum(axis=(2, 3))
    assert not np.triu(sizes, 1).any()  # nothing from later steps
    assert (sizes[np.tril_indices(6)] > 0).all()  # something from each earlier one
    assert np.isclose(experiment.shares(entries).sum(), 1)


def test_exercise_the_sum_over_losses_is_one_outer_product_for_each_step() -> None:
    entries = experiment.ledger(experiment.Example("RNN_TANH", 1, 6, 8))
    for term in entries.sum(axis=0):
        assert np.linalg.svd(term, compute_uv=False)[1] < 1e-12


@pytest.mark.parametrize("cell", CELLS)
def test_the_diagonal_holds_most_of_the_gradient(cell: str) -> None:
    numbers = read("bptt-ledger")["numbers"]
    assert numbers[cell]["same_step"]["min"] > 45
    assert numbers[cell]["three_or_more"]["max"] < 15


def charts(page: str) -> list[str]:
    text = (CHAPTERS / page).read_text(encoding="utf-8")
    return re.findall(r"```mermaid\n(.*?)\n```", text, re.DOTALL)


def test_the_picture_is_the_tape_of_three_steps() -> None:
    assert charts("bptt.md") == [tapes.three_steps()]
    assert tapes.three_steps().count("leaf0 --> ") == 3  # three uses of W


def test_the_pictures_of_the_chunks_are_tapes() -> None:
    assert charts("detach.md") == [tapes.three_chunks(detach=d) for d in (False, True)]
    assert [tapes.three_chunks(detach=d).count("through_time") for d in (False, True)] == [3, 1]
