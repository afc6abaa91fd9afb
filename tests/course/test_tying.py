"""What the chapter on weight tying claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tying as experiment
from experiment import read

from lm.model import RNNModel

ROOT = Path(__file__).resolve().parents[2]


def test_the_tied_model_predicts_better_with_fewer_weights(numbers: Any) -> None:
    found = numbers["valid_ppl"]
    assert found["tied"]["mean"] < found["untied"]["mean"]
    for run in numbers["seeds"].values():
        assert run["parameters"]["tied"] < 0.6 * run["parameters"]["untied"]


def test_the_tied_model_is_better_with_every_seed_in_the_committed_result() -> None:
    for run in read("tying")["numbers"]["seeds"].values():
        assert run["valid_ppl"]["tied"] < run["valid_ppl"]["untied"]


def test_the_two_gradients_add_up_to_the_one(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        for found in run["streams"].values():
            assert found["worst_error"] < 1e-5


def test_one_gradient_is_sparse_and_one_is_dense(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        for found in run["streams"].values():
            assert found["rows"]["embedding"] < 0.25 * found["rows"]["decoder"]
            assert found["rows"]["embedding"] <= found["rows"]["targets"] + 1
            assert found["share_of_targets"] > 80


def test_the_embedding_has_almost_no_say_before_training(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        start, end = (run["streams"][when]["norms"] for when in ("start", "end"))
        assert start["embedding"] < 0.2 * start["decoder"]
        assert end["embedding"] / end["decoder"] > 2 * start["embedding"] / start["decoder"]


def test_the_tied_matrix_is_like_an_output_matrix(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        shared = run["overlap"]
        assert shared["tied and output"] > 1.5 * shared["tied and input"]
        assert shared["tied and output"] > 2 * shared["input and output"]


def test_rows_of_rare_words_hardly_move_in_the_input_matrix(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        moved = run["moved"]
        assert moved["input"][0] < 0.5 * moved["output"][0]


def test_tied_rows_move_farthest_in_the_committed_result() -> None:
    for run in read("tying")["numbers"]["seeds"].values():
        moved = run["moved"]
        assert moved["input"][0] < moved["output"][0] / 3
        for tied, output, other in zip(
            *(moved[n] for n in ("tied", "output", "input")), strict=True
        ):
            assert other < output < tied


def test_kinds_of_words_are_together_in_the_committed_picture() -> None:
    for found in read("tying")["numbers"]["region"].values():
        assert found["nearest_of_own_kind"]["min"] > 85


def test_the_gradients_are_nearly_orthogonal_in_the_committed_result() -> None:
    for run in read("tying")["numbers"]["seeds"].values():
        for found in run["streams"].values():
            assert abs(found["cosine"]) < 0.1
        norms = run["streams"]["end"]["norms"]
        assert 0.5 < norms["embedding"] / norms["decoder"] < 0.75
        assert np.hypot(norms["embedding"], norms["decoder"]) == pytest.approx(
            norms["sum"], rel=0.02
        )


def test_the_page_shows_the_neighbours_of_the_result() -> None:
    page = (ROOT / "docs/course/tying.md").read_text(encoding="utf-8")
    assert experiment.neighbour_table(read("tying")["numbers"]) in page


def test_overlap_of_neighbours() -> None:
    angles = np.array([0.0, 0.1, 0.3, 2.0, 2.1, 2.3])
    a = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert experiment.nearest(a, 1)[:, 0].tolist() == [1, 0, 1, 4, 3, 4]
    assert experiment.overlap(a, 5 * a, 2) == 100
    assert experiment.overlap(a, a[[0, 3, 1, 4, 2, 5]], 2) < 50


def test_the_streams_of_a_model_of_two_words() -> None:
    """A word that is not read has no gradient through the embedding."""
    model = RNNModel("LSTM", 4, 3, 3, 1, dropout=0.0, tie_weights=True)
    data, target = np.array([[1], [1]]), np.array([2, 1])
    embedding, decoder = experiment.two_streams(model, data, target, model.init_hidden(1))
    assert embedding.any(axis=1).tolist() == [False, True, False, False]
    assert decoder.any(axis=1).all()
    assert model.decoder.weight is model.encoder.weight  # the copies are elsewhere
