"""One step, and the loop: averages, the state, the learning rate, the best model."""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_both import assert_allclose, assert_array_equal

import lm.run.trainer
import minigrad as mg
from lm.batches import batchify
from lm.checkpoint import load_checkpoint
from lm.console import UserError
from lm.corpus import Corpus
from lm.model import RNNModel
from lm.run.metrics import MetricsFile, header
from lm.run.progress import Lines
from lm.run.trainer import Trainer
from lm.steps import evaluate, train_step
from minigrad.cells import CELLS
from minigrad.optim import SGD

pytestmark = pytest.mark.usefixtures("backend")

Make = Callable[..., Trainer]
Watched = Callable[[Trainer], Any]

BATCHES = 13  # of an epoch; see conftest.py


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every training step that follows: the states before and after it, its loss and words."""
    seen = []

    def spy(model: Any, optimizer: Any, data: Any, target: Any, hidden: Any, *clip: Any) -> Any:
        before = [h.data.copy() for h in hidden]
        loss, norm, hidden = train_step(model, optimizer, data, target, hidden, *clip)
        after = [h.data.copy() for h in hidden]
        seen.append({"before": before, "after": after, "loss": loss.item(), "words": target.size})
        return loss, norm, hidden

    monkeypatch.setattr(lm.run.trainer, "train_step", spy)
    return seen


def summary(trainer: Trainer) -> str:
    return trainer.state.summary(trainer.unknown)


def assert_same_weights(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, weight in a.items():
        assert_array_equal(weight, b[name], err_msg=name)


def test_a_step_is_plain_gradient_descent_on_the_clipped_gradient() -> None:
    mg.manual_seed(0)
    model, other = (RNNModel("GRU", 20, 6, 6, 2, dropout=0.0).double() for _ in range(2))
    other.load_state_dict(model.state_dict())
    words = np.random.default_rng(0).integers(0, 20, (6, 3))
    data, target = words[:-1], words[1:].reshape(-1)
    lr, clip = 0.5, 0.01
    optimizer = SGD(model.parameters(), lr)
    for _ in range(2):  # twice, so that gradients left over would show
        loss, norm, _ = train_step(model, optimizer, data, target, model.init_hidden(3), clip)

        other.zero_grad()
        expected_loss, _ = other.loss(data, target, other.init_hidden(3))
        expected_loss.backward()
        expected_norm = sum((p.grad**2).sum() for p in other.parameters()) ** 0.5
        assert expected_norm > clip
        for p in other.parameters():
            p.data -= lr * p.grad * clip / (expected_norm + 1e-6)

        assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-14)
        assert not loss.requires_grad
        assert float(norm) == pytest.approx(float(expected_norm), rel=1e-12)
        for p, expected in zip(model.parameters(), other.parameters(), strict=True):
            assert_allclose(p.data, expected.data, rtol=0, atol=1e-14)


def test_a_step_ends_backpropagation_at_the_state_that_it_is_given() -> None:
    mg.manual_seed(0)
    model = RNNModel("GRU", 20, 6, 6, 2)
    words = np.random.default_rng(0).integers(0, 20, (6, 3))
    start = mg.tensor(np.ones((2, 3, 6), np.float32), requires_grad=True)
    optimizer = SGD(model.parameters(), 1.0)
    _, _, hidden = train_step(model, optimizer, words[:-1], words[1:].reshape(-1), start * 1, 1.0)
    assert start.grad is None
    assert not hidden.requires_grad


@pytest.mark.parametrize("log_interval", [1, 4, 13, 100])
def test_a_report_is_the_mean_of_exactly_the_batches_since_the_last(
    make_trainer: Make, watched: Watched, steps: list[dict[str, Any]], log_interval: int
) -> None:
    trainer = make_trainer(log_interval=log_interval, epochs=2)
    watcher = watched(trainer)
    trainer.fit()
    ends = sorted({*range(log_interval, BATCHES + 1, log_interval), BATCHES})
    assert [(r.epoch, r.batch) for r in watcher.reports] == [(e, b) for e in (1, 2) for b in ends]
    done = 0
    for report in watcher.reports:
        since = steps[done : (report.epoch - 1) * BATCHES + report.batch]
        assert report.count == len(since)
        assert report.loss == pytest.approx(np.mean([s["loss"] for s in since]), rel=1e-12)
        assert report.words == sum(s["words"] for s in since)
        assert report.batches == BATCHES
        done += len(since)
    assert done == len(steps) == 2 * BATCHES


def test_an_early_report_comes_after_5_seconds_and_changes_none_of_the_others(
    make_trainer: Make, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(early_after: float) -> tuple[list[Any], list[Any]]:
        monkeypatch.setattr(lm.run.trainer, "FIRST_REPORT", early_after)
        trainer = make_trainer(log_interval=10, epochs=2)
        watcher, early = watched(trainer), []
        monkeypatch.setattr(watcher, "early", early.append)
        trainer.fit()
        return early, [(r.epoch, r.batch, r.count, r.loss, r.words) for r in watcher.reports]

    assert lm.run.trainer.FIRST_REPORT == 5.0
    none, expected = run(1000.0)
    assert none == []
    (early,), found = run(0.0)
    assert (early.epoch, early.batch, early.count) == (1, 1, 1)
    assert found == expected


def test_an_early_report_ends_a_run_that_diverges(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.run.trainer, "FIRST_REPORT", 0.0)
    monkeypatch.setattr(
        lm.run.trainer, "train_step", lambda *a: (mg.tensor(math.nan), np.float32(1), a[4])
    )
    trainer = make_trainer(log_interval=1000)
    with pytest.raises(UserError, match="the loss is nan at batch 1 of epoch 1"):
        trainer.fit()


def test_an_early_report_is_a_plain_line_and_no_metric(
    make_trainer: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(lm.run.trainer, "FIRST_REPORT", 0.0)
    trainer = make_trainer(log_interval=10, epochs=1)
    trainer.observers += [Lines(), MetricsFile(tmp_path / "metrics")]
    trainer.fit()
    assert re.findall(r"(\d+)/   13 batches", capsys.readouterr().out) == ["1", "10", "13"]
    assert (tmp_path / "metrics").read_text().count('"batch"') == 2


def test_the_state_is_carried_through_an_epoch_and_reset_at_the_next(
    make_trainer: Make, steps: list[dict[str, Any]]
) -> None:
    make_trainer(epochs=2).fit()
    for number, step in enumerate(steps):
        begins = number % BATCHES == 0
        for h, carried in zip(step["before"], steps[number - 1]["after"], strict=True):
            assert carried.any()
            assert_array_equal(h, 0 * h if begins else carried)


def test_the_learning_rate_is_divided_by_4_exactly_when_validation_does_not_improve(
    make_trainer: Make, watched: Watched, script_evaluate: Callable[..., Any]
) -> None:
    losses = [5.0, 4.0, 4.5, 4.1, 3.0, 3.0, 2.9]
    given = script_evaluate([*losses, 7.0])
    trainer = make_trainer(epochs=len(losses), log_interval=BATCHES, lr=8.0)
    watcher = watched(trainer)
    assert trainer.fit() == watcher.test_loss == 7.0
    # Epochs 3 and 4 were no better than epoch 2, and epoch 6 than epoch 5.
    assert [r.lr for r in watcher.reports] == [8, 8, 8, 2, 0.5, 0.5, 0.125]
    assert trainer.state.optimizer.lr == 0.125
    assert [end.valid_loss for end in watcher.epochs] == losses
    assert len(given) == len(losses) + 1  # the test text once, at the very end


def test_decay_after_divides_at_every_epoch_from_then_on_and_only_then(
    make_trainer: Make, watched: Watched, script_evaluate: Callable[..., Any]
) -> None:
    script_evaluate([5.0, 6.0, 4.0, 3.0, 2.0, 7.0])
    trainer = make_trainer(log_interval=BATCHES, epochs=5, lr=8.0, decay_after=3, lr_decay=2.0)
    watcher = watched(trainer)
    trainer.fit()
    assert [r.lr for r in watcher.reports] == [8, 8, 8, 4, 2]


def test_the_best_model_is_kept_and_tested(
    make_trainer: Make, script_evaluate: Callable[..., Any]
) -> None:
    given = script_evaluate([5.0, 4.0, 4.5, 4.6, 7.0])
    trainer = make_trainer(epochs=4)
    trainer.fit()
    best, last, tested = given[1], given[3], given[4]
    assert_same_weights(tested, best)
    assert_same_weights(load_checkpoint(trainer.best_path).model, best)
    assert_same_weights(load_checkpoint(trainer.latest_path).model, last)
    assert any((best[name] != last[name]).any() for name in best)


def test_the_losses_are_those_of_the_validation_and_test_text(
    make_trainer: Make, watched: Watched, corpus: Corpus
) -> None:
    trainer = make_trainer(epochs=1, nhid=12, lr=20.0)
    watcher = watched(trainer)
    test_loss = trainer.fit()

    def loss_of(ids: np.ndarray) -> float:
        return evaluate(trainer.model, batchify(ids, 10), 7)

    assert watcher.epochs[0].valid_loss == pytest.approx(loss_of(corpus.valid), rel=1e-6)
    assert test_loss == pytest.approx(loss_of(corpus.test), rel=1e-6)
    assert abs(test_loss - watcher.epochs[0].valid_loss) > 1e-3


@pytest.mark.parametrize("rnn_type", CELLS)
def test_training_learns(make_trainer: Make, corpus: Corpus, rnn_type: str) -> None:
    shares = np.bincount(corpus.train) / len(corpus.train)
    without_context = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    trainer = make_trainer(model=rnn_type, nlayers=1, nhid=16, dropout=0.0, lr=1.0, epochs=8)
    assert trainer.fit() < without_context - 0.5


def test_training_is_with_dropout_whatever_mode_the_model_was_in(make_trainer: Make) -> None:
    expected = make_trainer().fit()
    trainer = make_trainer()
    trainer.model.eval()
    assert trainer.fit() == expected
    assert make_trainer(dropout=0.0).fit() != expected


def test_the_same_seed_gives_the_same_bits(make_trainer: Make, watched: Watched) -> None:
    def run(seed: int) -> tuple[list[float], float]:
        trainer = make_trainer(log_interval=1, seed=seed)
        watcher = watched(trainer)
        test_loss = trainer.fit()
        return [r.loss for r in watcher.reports], test_loss

    first = run(1)
    assert run(1) == first
    assert not set(run(2)[0]) & set(first[0])


FORMS = {
    "batches": r"\| epoch [ \d]{3} \| [ \d]{5}/[ \d]{5} batches \| lr \d+\.\d\d "
    r"\| ms/batch [ \d]{2,}\.\d\d \| loss [ \d]{2}\.\d\d \| ppl [ \d]{5}\.\d\d",
    "epoch": r"\| end of epoch [ \d]{3} \| time: [ \d]{2,}\.\d\ds "
    r"\| valid loss [ \d]{2}\.\d\d \| valid ppl [ \d]{5}\.\d\d",
    "end": r"\| End of training \| test loss [ \d]{2}\.\d\d \| test ppl [ \d]{5}\.\d\d",
    "-": "-{89}",
    "=": "={89}",
}


def test_the_lines_are_in_word_language_models_form(
    make_trainer: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(epochs=2)
    trainer.observers.append(Lines())
    trainer.fit()
    start, *lines = capsys.readouterr().out.splitlines()
    assert "| lr 5 |" in start
    one_epoch = ["batches"] * 3 + ["-", "epoch", "-"]
    for line, form in zip(lines, one_epoch * 2 + ["=", "end", "="], strict=True):
        assert re.fullmatch(FORMS[form], line), line


def test_the_start_line_names_the_cells_own_learning_rate(make_trainer: Make) -> None:
    for rnn_type in CELLS:
        trainer = make_trainer(model=rnn_type, lr=None)
        assert f"| lr {trainer.settings.first_lr:g} |" in summary(trainer)
        assert trainer.state.optimizer.lr == trainer.settings.first_lr
    assert "| lr 20 |" in summary(make_trainer(model="LSTM", lr=None))


def test_the_start_line_says_how_many_words_are_unknown(make_trainer: Make) -> None:
    known = "a b c d e f g h i j\n" * 10
    corpus = Corpus.from_text(known, known + "x a y\n", known + "z\n")
    assert "2 words of valid, 1 of test" in summary(make_trainer(corpus))


def test_dry_run_is_one_batch_of_everything(make_trainer: Make, watched: Watched) -> None:
    trainer = make_trainer(limit=1, epochs=1, bptt=4)
    watcher = watched(trainer)
    trainer.fit()
    assert watcher.batches == [(1, 1)]
    assert len(watcher.epochs) == 1
    assert watcher.test_loss is not None


# ---------------------------------------------------------------- what goes wrong


def short(split: str) -> Corpus:
    """A corpus of which one split has five words only."""
    texts = {s: "a b c d e f g h i\n" * 10 for s in ("train", "valid", "test")}
    return Corpus.from_text(**{**texts, split: "a b c d\n"})


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_too_few_words_is_a_user_error(make_trainer: Make, split: str) -> None:
    with pytest.raises(UserError, match=f"the {split} text has 5 words") as caught:
        make_trainer(short(split))
    message = str(caught.value)
    assert "\n" not in message
    # A validation or test text has ten columns, whatever the batch size is.
    assert ("--batch-size" in message) == (split == "train")


def test_two_rows_are_enough(make_trainer: Make, watched: Watched) -> None:
    trainer = make_trainer(Corpus.from_text("a b c d e f g\n", "a\n" * 10, "b\n" * 10), epochs=1)
    watcher = watched(trainer)
    assert np.isfinite(trainer.fit())
    assert watcher.batches == [(1, 1)]


def test_a_missing_folder_is_a_user_error_before_training(
    make_trainer: Make, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no folder .*nowhere"):
        make_trainer(folder=tmp_path / "nowhere")


def test_divergence_is_a_user_error_that_names_the_learning_rate(
    make_trainer: Make, watched: Watched
) -> None:
    trainer = make_trainer(model="RNN_RELU", lr=1e30, clip=1e30)
    watcher = watched(trainer)
    before = signal.getsignal(signal.SIGINT)
    with np.errstate(all="ignore"), pytest.raises(UserError, match=r"loss is nan.*--lr") as caught:
        trainer.fit()
    assert "\n" not in str(caught.value)
    assert watcher.closed
    assert signal.getsignal(signal.SIGINT) is before


def test_the_header_says_what_is_trained_with_what(
    make_trainer: Callable[..., Trainer], backend: str
) -> None:
    first = header(make_trainer(lr=None).state, 3)
    assert json.loads(json.dumps(first)) == first
    assert first["settings"]["lr"] == 20.0
    names = {"minigrad", "numpy", "python"} | ({"cupy"} if backend == "cupy" else set())
    assert first["versions"].keys() == names
    assert all(isinstance(version, str) for version in first["versions"].values())
