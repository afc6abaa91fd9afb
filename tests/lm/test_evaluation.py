"""The loss on a text: exact, without dropout, without a graph."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from lm.batches import batchify, count_batches, get_batch
from lm.model import RNNModel
from lm.steps import evaluate
from minigrad import random
from minigrad.cells import CELLS

pytestmark = pytest.mark.usefixtures("backend")


def make_model(rnn_type: str = "LSTM", dropout: float = 0.5) -> RNNModel:
    mg.manual_seed(0)
    model = RNNModel(rnn_type, 20, 6, 6, 2, dropout).double()
    for p in model.parameters():
        p.data *= 5  # so that what came before matters
    return model


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return batchify(np.random.default_rng(1).integers(0, 20, 100), 4)  # 25 rows


@pytest.mark.parametrize("rnn_type", CELLS)
def test_evaluation_is_the_exact_mean_whatever_bptt(rnn_type: str, source: np.ndarray) -> None:
    model = make_model(rnn_type, dropout=0.0)
    logits, _ = model(source[:-1], model.init_hidden(4))
    z = logits.numpy() - logits.numpy().max(axis=1, keepdims=True)
    target = source[1:].reshape(-1)
    exact = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), target])
    for bptt in (1, 5, 7, 23, 24, 100):
        assert evaluate(model, source, bptt) == pytest.approx(exact, rel=1e-13)


def test_evaluation_counts_a_short_chunk_by_its_words_and_carries_the_state(
    source: np.ndarray,
) -> None:
    """The two mistakes that the test above is there to find would be seen by it."""
    model = make_model(dropout=0.0)
    hidden = model.init_hidden(4)
    carried, fresh = [], []
    for batch in range(count_batches(source, 7)):
        data, target = get_batch(source, 7 * batch, 7)
        fresh.append(model.loss(data, target, model.init_hidden(4))[0].item())
        loss, hidden = model.loss(data, target, hidden)
        carried.append(loss.item())
    lengths = [7, 7, 7, 3]
    exact = evaluate(model, source, 7)
    assert exact == pytest.approx(np.average(carried, weights=lengths), rel=1e-13)
    assert abs(exact - np.mean(carried)) > 1e-4
    assert abs(exact - np.average(fresh, weights=lengths)) > 1e-4


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_without_dropout_and_restores_the_mode(
    training: bool, source: np.ndarray
) -> None:
    model = make_model(dropout=0.5).train(training)
    loss = evaluate(model, source, 7)
    assert loss == evaluate(make_model(dropout=0.0), source, 7)
    assert all(module.training is training for module in model.modules())


def test_evaluation_records_no_graph_and_draws_nothing(source: np.ndarray) -> None:
    model = make_model()
    seen = []
    model.loss, loss = lambda *args: seen.append(loss(*args)) or seen[-1], model.loss
    mg.manual_seed(7)
    state = random.get_state()
    evaluate(model, source, 7)
    assert random.get_state() == state
    assert len(seen) == 4
    for loss_, hidden in seen:
        assert not loss_.requires_grad
        assert not any(h.requires_grad for h in hidden)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(("rows", "bptt"), [(1, 5), (0, 5), (4, 0)])
def test_what_has_nothing_to_predict_is_refused(rows: int, bptt: int) -> None:
    model = RNNModel("LSTM", 5, 3, 3, 1, dropout=0.0)
    with pytest.raises(ValueError, match=f"not {rows} and {bptt}"):
        evaluate(model, np.zeros((rows, 2), np.int64), bptt)
