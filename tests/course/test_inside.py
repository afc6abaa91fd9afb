"""What the chapter that looks inside of a language model claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import inside as experiment
import numpy as np
import pytest
from experiment import read
from treebank import PTB, needs_ptb

from lm.corpus import Corpus
from lm.frequency import word_losses
from lm.model import RNNModel
from minigrad import no_grad

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("layers", [1, 2])
def test_the_gates_are_those_of_the_model(layers: int) -> None:
    """h = o tanh(c) from the traced gates and cells is the output of the model's last layer."""
    model = RNNModel("LSTM", 9, 5, 4, layers, dropout=0.0)
    model.eval()
    ids = np.array([[1, 2], [3, 4], [5, 8], [0, 1]])
    gates, cells = experiment.gates(model, ids)
    with no_grad():
        h, _ = model.features(ids, model.init_hidden(2))
    output = gates[:, experiment.GATES.index("output")] * np.tanh(cells)
    assert output.transpose(0, 2, 1).reshape(8, 4) == pytest.approx(h.data, abs=1e-6)


def test_gates_saturate_during_training(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        states = list(run["saturation"].values())
        for gate in ("input", "forget", "output"):
            assert sum(states[0][gate].values()) < 1  # percent
            assert sum(states[-1][gate].values()) > sum(states[0][gate].values())


def test_the_forget_gate_closes_at_the_end_of_a_sentence() -> None:
    for run in read("inside")["numbers"]["seeds"].values():
        at_eos, elsewhere = run["by_word"]["eos"], run["by_word"]["other"]
        assert at_eos["forget"] < 0.5 * elsewhere["forget"]
        assert at_eos["state"] < elsewhere["state"]
        for gate in list(run["saturation"].values())[-1].values():
            assert gate["closed"] > gate["open"]


def test_reading_helps_every_kind_of_word_but_unk() -> None:
    for run in read("inside")["numbers"]["seeds"].values():
        for name, bin in run["frequency"].items():
            helped = bin["unigram_ppl"] / bin["ppl"]
            assert 0.8 < helped < 1.2 if name == "unknown" else 2 < helped < 5


def test_hotter_samples_are_more_varied_and_less_likely(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        coldest, *_, hottest = run["samples"].values()
        assert hottest["distinct"] > coldest["distinct"]
        assert hottest["surprise"] > coldest["surprise"]


def test_rare_words_are_hard_and_context_helps_frequent_ones(numbers: Any) -> None:
    for run in numbers["seeds"].values():
        bins = [bin for name, bin in run["frequency"].items() if name[0].isdigit()]
        ppl = [bin["ppl"] for bin in bins]
        assert ppl == sorted(ppl, reverse=True)
        assert bins[-1]["ppl"] < 0.6 * bins[-1]["unigram_ppl"]
        assert sum(bin["words"] for bin in run["frequency"].values()) == pytest.approx(100)


def test_the_first_word_of_a_chunk_is_hard_without_a_state() -> None:
    for run in read("inside")["numbers"]["seeds"].values():
        assert run["first"]["zero"] > 1.3 * run["first"]["carried"]
        assert run["second_half"]["zero"] < 1.05 * run["second_half"]["carried"]


def test_positions_average_to_the_whole(models: Path) -> None:
    """Position by position from zero equals reading each chunk alone."""
    model = RNNModel("LSTM", 9, 5, 4, 1, dropout=0.0)
    trained: Any = type("Trained", (), {"model": model})
    source = np.random.default_rng(1).integers(0, 9, (31, 2))
    found = experiment.by_position(trained, source, 5)
    _, losses = word_losses(model, source, 5)
    assert np.log(found["carried"]).mean() == pytest.approx(losses.mean())
    alone = [word_losses(model, source[i : i + 6], 5)[1].reshape(5, 2) for i in range(0, 30, 5)]
    assert np.log(found["zero"]) == pytest.approx(np.mean(alone, axis=(0, 2)), rel=1e-5)


def test_the_unigram_model_is_the_frequency_of_words() -> None:
    counts = np.array([6, 3, 1])
    base: Any = experiment.Unigram(counts)
    words, losses = word_losses(base, np.array([[0], [1], [2], [0]]), 35)
    assert words.tolist() == [1, 2, 0]
    assert np.exp(-losses) == pytest.approx([0.3, 0.1, 0.6])


def test_probabilities_add_up_to_one(quick: Any) -> None:
    for words in quick["next"].values():
        table = np.array(list(words.values()))
        assert table.shape == (5, 3)
        assert (table.sum(axis=0) <= 1).all()
        assert (np.diff(table.mean(axis=1)) <= 0).all()


def test_the_page_shows_the_samples_of_the_result() -> None:
    page = (ROOT / "docs/course/inside.md").read_text(encoding="utf-8")
    assert experiment.sample_blocks(read("inside")["numbers"]) in page


@needs_ptb
def test_after_mr_a_quarter_of_the_words_are_unknown() -> None:
    corpus = Corpus(PTB)
    ids, words = corpus.train, corpus.dictionary.word2idx
    after = ids[1:][ids[:-1] == words["mr."]]
    assert np.mean(after == words["<unk>"]) == pytest.approx(0.25, abs=0.02)
