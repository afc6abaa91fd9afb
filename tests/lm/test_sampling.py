"""Sampling: what is drawn, from where it starts, and what it leaves untouched."""

from __future__ import annotations

import numpy as np
import pytest
from on_both import here

import minigrad as mg
from lm import sampling
from lm.corpus import EOS, UNK, Dictionary
from lm.model import RNNModel
from lm.sampling import as_text, generate, pieces
from minigrad.cells import CELLS

pytestmark = pytest.mark.usefixtures("backend")

WORDS = Dictionary(["the", "cat", "sat", EOS, "on", "mat", UNK])
V = len(WORDS)


def make(rnn_type: str = "LSTM", dropout: float = 0.5) -> RNNModel:
    """A model whose predictions depend on what came before."""
    mg.manual_seed(0)
    model = RNNModel(rnn_type, V, 8, 8, 2, dropout)
    for p in model.parameters():
        p.data *= 5
    return model


def make_uneven() -> RNNModel:
    """A model whose likeliest word leads clearly; the rarest has a share of some 3 %."""
    model = make()
    model.decoder.bias.data[...] = here(np.linspace(-1, 1, V))
    return model


def sample(model: RNNModel, seed: int, words: int = 40, **options: object) -> list[str]:
    mg.manual_seed(seed)
    return list(generate(model, WORDS, words, **options))


def logits_after(model: RNNModel, words: list[str]) -> np.ndarray:
    """Logits (V,) for the word after `words`, the text beginning with `<eos>`."""
    model.eval()
    ids = WORDS.encode([EOS, *words]).reshape(-1, 1)
    logits, _ = model(ids, model.init_hidden(1))
    return logits.numpy()[-1].astype(np.float64)


def test_the_same_seed_gives_the_same_text_and_another_another() -> None:
    model = make()
    text = sample(model, 1)
    assert len(text) == 40
    assert set(text) <= set(WORDS.idx2word)
    assert sample(model, 1) == text
    assert sample(model, 2) != text


@pytest.mark.parametrize("rnn_type", CELLS)
def test_each_word_is_drawn_given_all_before_it(rnn_type: str) -> None:
    """All but greedy, the text is the one that the model finds likeliest, word by word."""
    model = make(rnn_type)
    prompt = ["cat", "on"]
    text = sample(model, 1, words=12, temperature=1e-6, prompt=prompt)
    for n, word in enumerate(text):
        logits = logits_after(model, prompt + text[:n])
        assert word == WORDS.idx2word[logits.argmax()]


def test_the_prompt_counts() -> None:
    model = make()
    after = {
        (*prompt,): tuple(sample(model, 1, words=6, temperature=1e-6, prompt=prompt))
        for prompt in ([], ["the"], ["sat"], ["the", "sat"], ["cat"], ["mat"])
    }
    assert len(set(after.values())) > 2


def test_an_unknown_word_of_the_prompt_is_read_as_unk() -> None:
    model = make()
    assert sample(model, 1, prompt=["zebra"]) == sample(model, 1, prompt=[UNK])


def test_a_low_temperature_is_all_but_greedy() -> None:
    model = make_uneven()
    cold = {tuple(sample(model, seed, words=6, temperature=0.01)) for seed in range(5)}
    warm = {tuple(sample(model, seed, words=6)) for seed in range(5)}
    assert len(cold) == 1
    assert len(warm) == 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [1e-30, 1e-310, 1e300])
def test_extreme_temperatures(temperature: float) -> None:
    model = make()
    text = sample(model, 1, words=200, temperature=temperature)
    assert len(text) == 200
    if temperature < 1:
        assert text[0] == WORDS.idx2word[logits_after(model, []).argmax()]
    else:
        assert set(text) == set(WORDS.idx2word)


@pytest.mark.parametrize("size", [1, 5, sampling.BLOCK, 3 * sampling.BLOCK + 7])
def test_the_running_sum_in_two_steps(size: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.random(size, np.float32) * (rng.random(size) < 0.5)
    weights[size // 2] = 1.0
    plain = weights.cumsum(dtype=np.float64)
    for share in [*rng.random(200), 0.0, np.nextafter(1.0, 0.0)]:
        drawn = sampling._where_sum_exceeds(weights, share)
        assert weights[drawn] > 0
        assert drawn == np.searchsorted(plain, share * plain[-1], side="right")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    model = make_uneven()
    prompt, draws = ["the"], 1500
    z = logits_after(model, prompt) / temperature
    expected = draws * np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    mg.manual_seed(1)
    drawn = [
        WORDS.word2idx[word]
        for _ in range(draws)
        for word in generate(model, WORDS, 1, temperature, prompt)
    ]
    counts = np.bincount(drawn, minlength=V)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 24  # six degrees of freedom: 0.05 % lie beyond
    if temperature == 1.0:  # so that the bound means something
        assert ((counts - draws / V) ** 2 / (draws / V)).sum() > 24


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_restored(training: bool) -> None:
    model = make(dropout=0.9).train(training)
    text = sample(model, 1)
    assert text == sample(make(dropout=0.0), 1)
    assert all(module.training is training for module in model.modules())


def test_the_mode_is_restored_when_sampling_is_broken_off() -> None:
    model = make().train()
    for _ in generate(model, WORDS, 10):
        break
    assert model.training


def test_no_graph_is_recorded() -> None:
    model = make()
    seen = []
    model.forward, forward = lambda *a: seen.append(forward(*a)) or seen[-1], model.forward
    sample(model, 1, words=3)
    assert len(seen) == 3
    for logits, hidden in seen:
        assert not logits.requires_grad
        assert not any(h.requires_grad for h in hidden)


def test_a_graph_can_be_recorded_between_two_words() -> None:
    model = make()
    for _ in generate(model, WORDS, 2):
        loss, _ = model.loss(np.zeros((2, 1), int), np.zeros(2, int), model.init_hidden(1))
        assert loss.requires_grad


def test_as_text_ends_a_line_at_each_eos() -> None:
    assert as_text(["the", "cat", EOS, "sat", "on", EOS]) == "the cat\nsat on"
    assert as_text([EOS, "the", EOS, EOS, "mat"]) == "the\n\nmat"
    assert as_text([]) == ""


def test_pieces_are_the_text_word_by_word() -> None:
    words = [EOS, "the", "cat", EOS, EOS, "sat", EOS]
    assert list(pieces(words)) == ["the", " cat", "\n\nsat"]
    assert "".join(pieces(words)) == as_text(words)
