"""What the chapter on the flow and the profile of the language model claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import language_model as experiment
import numpy as np
import pytest
import small_lm
from experiment import read

from lm.batches import batchify, get_batch
from lm.console import UserError
from lm.steps import evaluate

ROOT = Path(__file__).resolve().parents[2]


def test_the_wrong_layout_runs_but_predicts_badly(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        assert run["row_by_row"] > 2 * run["carried"]


def test_the_length_of_a_chunk_does_not_matter_if_the_state_is_carried(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        assert np.ptp(run["carried_by_length"]) < 1e-3 * run["carried"]


def test_a_state_of_zero_costs_more_in_short_chunks(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        assert run["zero_by_length"][0] > run["carried_by_length"][0]
        assert run["zero_by_length"][0] > run["zero_by_length"][-1]


def test_zero_wrong_and_short_memories_are_worse_in_the_committed_result() -> None:
    for run in read("language-model")["numbers"]["seeds"].values():
        assert run["carried"] < run["sentence"] < run["zero"] < run["neighbour"]
        zero = run["zero_by_length"]
        assert zero == sorted(zero, reverse=True)


def test_a_carried_state_is_what_evaluate_measures(models: Path) -> None:
    corpus = small_lm.corpus_of(quick=True)
    model = small_lm.trained(small_lm.settings_of(1, True, quick=True), corpus, models)
    source = batchify(corpus.valid, 10)
    ours = experiment.mean_loss(model, source, 35, experiment.carried)
    assert ours == pytest.approx(evaluate(model.model, source, 35), rel=1e-5)


def test_what_is_done_to_the_state_between_chunks() -> None:
    from minigrad import tensor

    state = (tensor(np.arange(6.0).reshape(1, 3, 2)),)  # (layers, B, H)
    read_words = np.array([[7, 9, 7]])
    (rolled,) = experiment.neighbour(state, read_words)
    assert rolled.data[0].tolist() == [[4, 5], [0, 1], [2, 3]]
    (zero,) = experiment.zero(state, read_words)
    assert not zero.data.any()
    (reset,) = experiment.reset_at(9)(state, read_words)
    assert reset.data[0].tolist() == [[0, 1], [0, 0], [4, 5]]


def test_the_board_counts_what_is_cut(quick: Any) -> None:
    board = quick["board"]
    ids = np.arange(board["rows"] * board["columns"] + board["dropped"])
    source = batchify(ids, board["columns"])
    pairs = 0
    for i in range(0, len(source) - 1, board["bptt"]):
        data, target = get_batch(source, i, board["bptt"])
        assert (target == data.reshape(-1) + 1).all()
        pairs += target.size
    assert len(ids) - 1 - pairs == board["seams_of_columns"] + board["dropped"]


def test_the_shares_of_the_profile_add_up() -> None:
    profile = experiment.profile()
    for library in ("ours", "torch"):
        shares = profile[library]["shares"]
        parts = {name: x for name, x in shares.items() if name not in ("forward", "backward")}
        assert sum(parts.values()) == pytest.approx(100)
        assert shares["forward"] + shares["backward"] > 90
    ours = profile["ours"]["shares"]
    for way in ("forward", "backward"):
        assert ours[f"{way} decoder + loss"] > ours[f"{way} layers"]
    assert ours["backward"] > ours["forward"]


def test_the_result_is_that_of_the_committed_profile() -> None:
    assert read("language-model")["numbers"]["profile"] == experiment.profile()


def test_the_line_tables_of_the_page_have_the_lines_of_the_profile() -> None:
    page = (ROOT / "docs/course/language-model.md").read_text(encoding="utf-8")
    for line in experiment.profile()["lines"]["train_step"].values():
        source = line["source"].split("  #")[0]
        assert f"| `{source}` |" in page


def test_a_model_is_trained_once_and_others_in_its_folder_are_not_used(tmp_path: Path) -> None:
    corpus = small_lm.corpus_of(quick=True)
    settings = small_lm.settings_of(1, True, quick=True)
    first = small_lm.trained(settings, corpus, tmp_path)
    assert list(sorted(first.snapshots))[:3] == [0, 10, 30]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    again = small_lm.trained(settings, corpus, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written
    assert (again.model.decoder.weight.data == first.model.decoder.weight.data).all()
    other = small_lm.Settings(**{**settings.as_dict(), "lr": 1.0})
    with pytest.raises(UserError, match="other settings"):
        small_lm.trained(other, corpus, tmp_path)
