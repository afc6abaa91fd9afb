"""Accumulated over pieces of a batch, losses and weights are those of the whole batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_both import assert_allclose, assert_array_equal, host

import minigrad as mg
from lm.batches import batchify, get_batch
from lm.model import RNNModel, as_tuple
from lm.run.part import Part, part_of
from lm.run.trainer import Trainer
from lm.settings import choose
from lm.steps import train_step
from minigrad import random
from minigrad.optim import SGD

pytestmark = pytest.mark.usefixtures("backend")

B = 7


def train(pieces: int, **options: Any) -> tuple[list[float], list[Any], Any]:
    """Losses, weights and final state of five steps on 7 columns."""
    mg.manual_seed(1)
    options = {"dropout": 0.3, "rnn_type": "LSTM", **options}
    model = RNNModel(ntoken=15, ninp=6, nhid=6, nlayers=2, **options).double()
    source = batchify(np.random.default_rng(0).integers(0, 15, B * 21), B)
    part = part_of(model, slice(0, B), B, pieces)
    optimizer, hidden, losses = SGD(model.parameters(), 5.0), model.init_hidden(B), []
    for step in range(5):
        data, target = get_batch(source, 4 * step, 4)
        loss, norm, hidden = train_step(part, optimizer, data, target, hidden, 0.05)
        assert float(norm) > 0.05
        losses.append(loss.item())
    arrays = [p.data for p in optimizer.params] + [h.data for h in as_tuple(hidden)]
    return losses, arrays, random.get_state()


@pytest.mark.parametrize("options", [
    {}, {"tie_weights": True}, {"rnn_type": "GRU", "dropout_kind": "variational"},
    {"rnn_type": "RNN_TANH", "dropout": 0.0}, {"rnn_type": "RNN_RELU"},
])  # fmt: skip
def test_pieces_are_as_good_as_the_whole(options: dict[str, Any]) -> None:
    losses, arrays, state = train(1, **options)
    for pieces in (2, 3, 7, 9):
        found, others, end = train(pieces, **options)
        assert_allclose(found, losses, rtol=0, atol=1e-12)
        for a, b in zip(others, arrays, strict=True):
            assert_allclose(a, b, rtol=0, atol=1e-12)
        assert end == state


def test_gradients_from_before_stay_and_the_upstream_gradient_counts() -> None:
    model = RNNModel("GRU", 15, 6, 6, 1, dropout=0.0).double()
    source = np.random.default_rng(0).integers(0, 15, (5, B))
    batch = (source[:-1], source[1:].reshape(-1))
    model.loss(*batch, model.init_hidden(B))[0].backward()
    once = [host(p.grad) for p in model.parameters()]
    loss, _ = Part(model, slice(0, B), B, 3).loss(*batch, model.init_hidden(B))
    for p, grad in zip(model.parameters(), once, strict=True):
        assert_array_equal(p.grad, grad)
    (loss * 2).backward()
    for p, grad in zip(model.parameters(), once, strict=True):
        assert_allclose(p.grad, 3 * grad, rtol=0, atol=1e-12)


def test_only_one_piece_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RNNModel("GRU", 15, 6, 6, 1)
    alive: list[Any] = []
    loss = RNNModel.loss

    def watched(self: Any, *batch: Any) -> Any:
        assert all(reference() is None for reference in alive)
        features = RNNModel.features

        def seen(*args: Any) -> Any:
            result = features(*args)
            alive.append(weakref.ref(result[0]))
            return result

        monkeypatch.setattr(RNNModel, "features", seen)
        result = loss(self, *batch)
        monkeypatch.setattr(RNNModel, "features", features)
        return result

    monkeypatch.setattr(RNNModel, "loss", watched)
    source = np.random.default_rng(0).integers(0, 15, (5, B))
    Part(model, slice(0, B), B, 3).loss(source[:-1], source[1:].reshape(-1), model.init_hidden(B))
    assert len(alive) == 3


def test_the_batch_size_counts_the_columns_of_one_piece() -> None:
    assert choose({}, accumulate=3).batch_size == 60
    assert choose({"batch_size": 5}, accumulate=4).batch_size == 20
    run = choose({"batch_size": 5}, accumulate=4).as_dict()
    assert choose({}, resumed=run).batch_size == 20  # as many columns, in one piece
    assert choose({}, resumed=run, accumulate=4).batch_size == 20
    assert choose({"batch_size": 10}, resumed=run, accumulate=2).batch_size == 20


def test_a_run_in_pieces_reports_and_saves_the_same(
    make_trainer: Callable[..., Trainer], watched: Callable[..., Any], tmp_path: Path
) -> None:
    def run(pieces: int) -> tuple[Any, Any]:
        folder = tmp_path / str(pieces)
        folder.mkdir()
        trainer = make_trainer(folder=folder, epochs=2, lr=1.0, log_interval=1)
        trainer.own_part = part_of(trainer.model, slice(0, 4), 4, pieces)
        watcher = watched(trainer)
        return trainer.fit(), watcher.reports

    (test, reports), (expected, others) = run(3), run(1)
    assert test == pytest.approx(expected, rel=1e-5)
    for a, b in zip(reports, others, strict=True):
        assert (a.words, a.count) == (b.words, b.count)
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
