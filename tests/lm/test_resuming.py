"""A run resumed from a checkpoint goes on as if it had never stopped, to the bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from on_both import assert_array_equal

import lm.run.losses
import lm.run.saving
import lm.run.trainer
import minigrad as mg
from lm.arguments import Every
from lm.checkpoint import load_checkpoint, save_checkpoint
from lm.console import UserError
from lm.corpus import EOS, Corpus
from lm.run.observer import Observer
from lm.run.progress import Lines
from lm.run.saving import best_path_of, latest_path, same_run
from lm.run.trainer import Trainer
from lm.settings import Settings
from lm.steps import train_step
from minigrad.optim import Adam

pytestmark = pytest.mark.usefixtures("backend")

Make = Callable[..., Trainer]
Watched = Callable[[Trainer], Any]
Interrupt = Callable[[int, int], Any]

SETTINGS = Settings(batch_size=4, bptt=7)

BATCHES = 13  # of an epoch; the log interval is 5 (see conftest.py)


def outcome(trainer: Trainer, watcher: Any) -> dict[str, Any]:
    """All that a run has come to."""
    test_loss = trainer.fit()
    latest = load_checkpoint(trainer.latest_path)
    best = load_checkpoint(trainer.best_path)
    assert latest.run.pop("id") == trainer.state.id  # which is another for every run
    return {
        "reports": [(r.epoch, r.batch, r.lr, r.loss, r.grad_norm) for r in watcher.reports],
        "validation": [(end.epoch, end.valid_loss) for end in watcher.epochs],
        "test": test_loss,
        "weights": {name: w.tobytes() for name, w in latest.model.items()},
        "best weights": {name: w.tobytes() for name, w in best.model.items()},
        "hidden": {name: h.tobytes() for name, h in latest.hidden.items()},
        "run": latest.run,
    }


def assert_goes_on(resumed: dict[str, Any], whole: dict[str, Any]) -> None:
    for name, value in resumed.items():
        if name in ("reports", "validation"):  # those still to come
            assert value == whole[name][len(whole[name]) - len(value) :]
        else:
            assert value == whole[name], name


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    return tmp_path / "whole", tmp_path / "parts"


@pytest.mark.parametrize(
    "when",
    [(1, 1), (1, 5), (1, 7), (1, BATCHES), (2, 3), (3, BATCHES)],
    ids=lambda when: "epoch-{}-batch-{}".format(*when),
)
@pytest.mark.parametrize("rnn_type", ["LSTM", "GRU"])
def test_after_ctrl_c(
    make_trainer: Make,
    watched: Watched,
    interrupt: Interrupt,
    folders: tuple[Path, Path],
    rnn_type: str,
    when: tuple[int, int],
) -> None:
    settings = {"model": rnn_type, "dropout": 0.3, "lr": 50.0}  # such that lr is annealed
    trainer = make_trainer(folder=folders[0], **settings)
    whole = outcome(trainer, watched(trainer))
    assert {lr for _, _, lr, _, _ in whole["reports"]} > {50.0}

    trainer = make_trainer(folder=folders[1], **settings)
    trainer.observers.append(interrupt(*when))
    trainer.fit()
    mg.manual_seed(99)  # another process would not be where this one is
    trainer = make_trainer(folder=folders[1], **settings)
    trainer.resume(load_checkpoint(trainer.latest_path))
    resumed = outcome(trainer, watched(trainer))
    assert_goes_on(resumed, whole)
    assert len(resumed["validation"]) == 3 - when[0] + 1


def test_again_and_again(
    make_trainer: Make, watched: Watched, interrupt: Interrupt, folders: tuple[Path, Path]
) -> None:
    settings = {"dropout_kind": "variational", "dropout": 0.4}
    trainer = make_trainer(folder=folders[0], **settings)
    whole = outcome(trainer, watched(trainer))
    stops = [(1, 2), (1, 4), (1, 9), (2, BATCHES), (3, 1)]  # three of them between two reports
    for number, when in enumerate([*stops, None]):
        trainer = make_trainer(folder=folders[1], **settings)
        if number:
            trainer.resume(load_checkpoint(trainer.latest_path))
        if when is not None:
            trainer.observers.append(interrupt(*when))
            trainer.fit()
    assert_goes_on(outcome(trainer, watched(trainer)), whole)


@pytest.mark.parametrize("which", ["latest_path", "best_path"])
def test_with_more_epochs(
    make_trainer: Make, watched: Watched, folders: tuple[Path, Path], which: str
) -> None:
    trainer = make_trainer(folder=folders[0], epochs=3)
    whole = outcome(trainer, watched(trainer))
    make_trainer(folder=folders[1], epochs=1).fit()
    trainer = make_trainer(folder=folders[1], epochs=3)
    trainer.resume(load_checkpoint(getattr(trainer, which)))
    assert_goes_on(outcome(trainer, watched(trainer)), whole)


def test_a_finished_run_is_only_tested(make_trainer: Make, watched: Watched) -> None:
    first = make_trainer(epochs=2)
    test_loss = first.fit()
    trainer = make_trainer(epochs=2)
    trainer.resume(load_checkpoint(trainer.latest_path))
    watcher = watched(trainer)
    assert trainer.fit() == watcher.test_loss == test_loss
    assert watcher.batches == []


@pytest.mark.parametrize("which", ["latest_path", "best_path"])
def test_the_best_model_so_far_stays_the_best(
    make_trainer: Make, script_evaluate: Callable[..., Any], which: str
) -> None:
    given = script_evaluate([5.0, 7.0, 6.0, 5.5, 8.0])
    make_trainer(epochs=1).fit()
    trainer = make_trainer(epochs=3)
    trainer.resume(load_checkpoint(getattr(trainer, which)))
    assert trainer.fit() == 8.0
    for name, weight in given[0].items():
        assert_array_equal(given[-1][name], weight)


@pytest.mark.parametrize("given", [None, 20.0])
def test_a_learning_rate_that_was_not_given_is_the_one_it_stood_for(
    make_trainer: Make, script_evaluate: Callable[..., Any], given: float | None
) -> None:
    script_evaluate([5.0, 7.0, 9.0, 8.0])
    make_trainer(epochs=1, lr=None).fit()
    trainer = make_trainer(epochs=2, lr=given)
    for path in (trainer.best_path, trainer.latest_path):
        checkpoint = load_checkpoint(path)
        assert checkpoint.settings["lr"] == 20.0
        checkpoint.settings["lr"] = None  # as earlier versions kept it
        save_checkpoint(path, checkpoint)
    trainer.resume(load_checkpoint(trainer.latest_path))
    assert trainer.fit() == 8.0
    assert load_checkpoint(trainer.best_path).run["position"]["valid_loss"] == 5.0


@pytest.mark.parametrize("moved", [{"data": "elsewhere"}, {"epochs": 3}])
def test_it_stays_the_best_also_where_what_may_change_has_changed(
    make_trainer: Make, script_evaluate: Callable[..., Any], moved: dict[str, Any]
) -> None:
    given = script_evaluate([5.0, 9.0, 7.0, 6.0, 8.0])
    make_trainer(epochs=1).fit()
    trainer = make_trainer(**{"epochs": 3, **moved})
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.fit()
    for name, weight in given[0].items():
        assert_array_equal(given[-1][name], weight)


def test_without_the_best_model_the_next_is_the_best(
    make_trainer: Make, script_evaluate: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given = script_evaluate([5.0, 9.0, 7.0, 6.0, 5.5, 5.6, 8.0])
    make_trainer(epochs=2).fit()
    trainer = make_trainer(epochs=5)
    trainer.best_path.unlink()
    trainer.resume(load_checkpoint(trainer.latest_path))
    assert capsys.readouterr().err == ""  # until training continues: it may still be refused
    trainer.fit()
    for name, weight in given[4].items():
        assert_array_equal(given[-1][name], weight)
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the best model so far, of validation loss 5.00, is not at")
    assert warning.count("\n") == 1


def test_the_state_that_a_run_goes_on_from_may_itself_be_its_best_model(
    make_trainer: Make, script_evaluate: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given = script_evaluate([5.0, 7.0, 6.0, 8.0])
    make_trainer(epochs=1).fit()
    trainer = make_trainer(epochs=2)
    trainer.best_path.unlink()
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.fit()
    for name, weight in given[0].items():
        assert_array_equal(given[-1][name], weight)
        assert_array_equal(load_checkpoint(trainer.best_path).model[name], weight)
    assert capsys.readouterr().err == ""


def test_a_state_in_mid_epoch_is_not_the_model_that_was_validated(
    make_trainer: Make, script_evaluate: Callable[..., Any], interrupt: Interrupt
) -> None:
    given = script_evaluate([5.0, 7.0, 6.0, 8.0])
    first = make_trainer(epochs=2)
    first.observers.append(interrupt(2, 3))
    first.fit()
    trainer = make_trainer(epochs=2)
    trainer.best_path.unlink()
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.fit()
    for name, weight in given[2].items():
        assert_array_equal(given[-1][name], weight)


@pytest.mark.parametrize("which", ["model.latest.safetensors", "model.safetensors"])
def test_the_best_model_is_taken_over_to_another_place(
    make_trainer: Make,
    script_evaluate: Callable[..., Any],
    folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    which: str,
) -> None:
    given = script_evaluate([5.0, 6.0, 8.0, 7.0, 9.0, 9.0, 9.0, 9.0])
    make_trainer(folder=folders[0], epochs=2).fit()
    make_trainer(folder=folders[1], epochs=1, seed=5).fit()  # another run, which was better
    before = {path: path.read_bytes() for path in folders[0].iterdir()}
    trainer = make_trainer(folder=folders[1], epochs=3)
    trainer.resume(load_checkpoint(folders[0] / which))
    assert load_checkpoint(trainer.best_path).settings["seed"] == 5  # nothing is written yet
    trainer.fit()
    best = load_checkpoint(trainer.best_path)
    for name, weight in given[0].items():
        assert_array_equal(best.model[name], weight)
    assert best.run["id"] == load_checkpoint(trainer.latest_path).run["id"] == trainer.state.id
    assert {path: path.read_bytes() for path in folders[0].iterdir()} == before
    assert capsys.readouterr().err == ""


def test_a_best_model_that_cannot_be_taken_over_yet_waits(
    make_trainer: Make,
    script_evaluate: Callable[..., Any],
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = script_evaluate([5.0, 6.0, 8.0, 9.0, 9.0])
    make_trainer(folder=folders[0], epochs=2).fit()
    trainer = make_trainer(folder=folders[1], epochs=3)
    trainer.resume(load_checkpoint(folders[0] / "model.latest.safetensors"))
    tries = []

    def full_at_first(path: Path, checkpoint: Any) -> None:
        tries.append(path)
        if len(tries) == 1:
            raise UserError("the disk is full")
        save_checkpoint(path, checkpoint)

    monkeypatch.setattr(lm.run.saving, "save_checkpoint", full_at_first)
    trainer.fit()
    assert tries[:2] == [trainer.best_path] * 2
    assert capsys.readouterr().err.startswith("warning: the disk is full; training continues")
    for name, weight in given[0].items():
        assert_array_equal(load_checkpoint(trainer.best_path).model[name], weight)


def test_of_two_best_models_of_one_run_the_better_one_is_taken(
    make_trainer: Make, script_evaluate: Callable[..., Any], folders: tuple[Path, Path]
) -> None:
    script_evaluate([5.0, 0.1, 4.0, 0.1, 6.0, 7.0, 0.1])
    first = make_trainer(folder=folders[0], epochs=1)
    first.fit()
    older = load_checkpoint(first.latest_path)
    second = make_trainer(folder=folders[1], epochs=2)
    second.resume(older)
    second.fit()
    third = make_trainer(folder=folders[1], epochs=3)
    third.resume(older)
    third.fit()
    assert load_checkpoint(third.best_path).run["position"]["valid_loss"] == 4.0
    assert load_checkpoint(first.best_path).run["position"]["valid_loss"] == 5.0


def test_a_better_model_that_this_run_has_saved_later_is_not_written_over(
    make_trainer: Make, script_evaluate: Callable[..., Any]
) -> None:
    """Going on from an older state, as after a kill between two saves, or from a copy."""
    given = script_evaluate([9.0, 0.1, 7.0, 0.1, 8.0, 0.1])
    first = make_trainer(epochs=1)
    first.fit()
    older = load_checkpoint(first.latest_path)
    second = make_trainer(epochs=2)
    second.resume(older)
    second.fit()
    third = make_trainer(epochs=2)
    third.resume(older)
    third.fit()
    assert load_checkpoint(third.best_path).run["position"]["valid_loss"] == 7.0
    assert load_checkpoint(third.latest_path).run["position"]["best_loss"] == 8.0
    for name, weight in given[2].items():
        assert_array_equal(given[-1][name], weight)


def test_the_learning_rate_follows_the_best_loss_also_where_its_file_is_gone(
    make_trainer: Make, script_evaluate: Callable[..., Any]
) -> None:
    script_evaluate([5.0, 9.0, 9.0, 6.0, 9.0])
    make_trainer(epochs=2).fit()
    trainer = make_trainer(epochs=3)
    trainer.best_path.unlink()
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.fit()
    assert trainer.state.optimizer.lr == pytest.approx(5.0 / 16)  # 9 and 6 are no improvement on 5
    assert load_checkpoint(trainer.best_path).run["position"]["valid_loss"] == 6.0


@pytest.mark.parametrize("every", [1, 3, 100])
def test_saving_within_an_epoch_changes_nothing(
    make_trainer: Make, watched: Watched, folders: tuple[Path, Path], every: int
) -> None:
    trainer = make_trainer(folder=folders[0])
    whole = outcome(trainer, watched(trainer))
    trainer = make_trainer(folder=folders[1], save_every=Every(batches=every))
    saved = []
    latest = trainer.saver.latest
    trainer.saver.latest = lambda state, last=False: (
        saved.append(state.run["position"]) or latest(state, last)
    )
    assert outcome(trainer, watched(trainer)) == whole
    within = [p["batch"] for p in saved if p["epoch"] == 1]
    assert within == list(range(every, BATCHES + 1, every))


def test_after_so_many_seconds(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Clock(Observer):
        def batch(self, epoch: int, batch: int, batches: int, words: int) -> None:
            nonlocal now
            now += 10

    monkeypatch.setattr(lm.run.saving, "time", SimpleNamespace(monotonic=lambda: now))
    trainer = make_trainer(epochs=1, save_every=Every(seconds=35))
    trainer.observers.append(Clock())
    saved = []
    monkeypatch.setattr(
        lm.run.saving, "save_checkpoint", lambda path, state: saved.append(state.run["position"])
    )
    with pytest.raises(UserError, match="no checkpoint"):  # to test, since nothing was written
        trainer.fit()
    assert [p["batch"] for p in saved if p["epoch"] == 1] == [4, 8, 12]


def test_an_optimiser_with_a_state_goes_on_to_the_bit(
    make_trainer: Make, watched: Watched, interrupt: Interrupt, folders: tuple[Path, Path]
) -> None:
    def make(folder: Path) -> Trainer:
        trainer = make_trainer(folder=folder)
        trainer.state.optimizer = Adam(trainer.model.parameters(), 0.01)
        return trainer

    trainer = make(folders[0])
    whole = outcome(trainer, watched(trainer))
    trainer = make(folders[1])
    trainer.observers.append(interrupt(2, 4))
    trainer.fit()
    trainer = make(folders[1])
    trainer.resume(load_checkpoint(trainer.latest_path))
    assert_goes_on(outcome(trainer, watched(trainer)), whole)


def test_the_best_model_of_another_run_is_not_taken_for_ones_own(
    make_trainer: Make, folders: tuple[Path, Path]
) -> None:
    """Resuming with another --save, where some other model lies."""
    make_trainer(folder=folders[0], epochs=1, nhid=9, seed=3).fit()
    test_loss = make_trainer(folder=folders[1], epochs=1).fit()
    trainer = make_trainer(folder=folders[0], epochs=1)
    trainer.resume(load_checkpoint(folders[1] / "model.latest.safetensors"))
    assert trainer.fit() == test_loss
    assert load_checkpoint(trainer.best_path).settings["nhid"] == 6


def test_two_runs_with_equal_settings_are_two_runs(
    make_trainer: Make, folders: tuple[Path, Path]
) -> None:
    """Their texts may differ, as long as the words do not."""
    checkpoints = []
    for folder in folders:
        trainer = make_trainer(folder=folder, epochs=1)
        trainer.fit()
        checkpoints.append(load_checkpoint(trainer.best_path))
    first, second = checkpoints
    assert same_run(first, load_checkpoint(folders[0] / "model.latest.safetensors"))
    assert not same_run(first, second)
    del second.run["id"]  # as in earlier versions
    assert same_run(first, second)


def test_another_vocabulary_is_a_user_error(make_trainer: Make) -> None:
    make_trainer(epochs=1).fit()
    text = "a b c d e f g h i\n" * 10
    trainer = make_trainer(Corpus.from_text(text, text, text))
    with pytest.raises(UserError, match="another vocabulary"):
        trainer.resume(load_checkpoint(trainer.latest_path))


def test_milliseconds_per_batch_after_a_stop_between_two_reports(
    make_trainer: Make,
    interrupt: Interrupt,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0

    def one_second(*args: Any) -> Any:
        nonlocal now
        now += 1
        return train_step(*args)

    monkeypatch.setattr(lm.run.trainer, "train_step", one_second)
    monkeypatch.setattr(lm.run.losses, "time", SimpleNamespace(perf_counter=lambda: now))
    trainer = make_trainer(epochs=1)
    trainer.observers.append(interrupt(1, 3))
    trainer.fit()
    trainer = make_trainer(epochs=1)
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.observers.append(Lines())
    trainer.fit()
    shown = re.findall(r"(\d+)/ +13 batches .* ms/batch (\S+)", capsys.readouterr().out)
    assert shown == [("5", "1000.00"), ("10", "1000.00"), ("13", "1000.00")]


# ---------------------------------------------------------------- names of files


@pytest.mark.parametrize(
    "best", ["model.safetensors", "model", "a.b.safetensors", "m.latest.x", ".model", "x.latest."]
)
def test_the_best_models_name_is_seen_from_the_latest_states(best: str) -> None:
    latest = latest_path(Path("folder", best))
    assert best_path_of(latest) == Path("folder", best)
    assert latest.name.count("latest") == best.count("latest") + 1


def test_a_name_that_is_none_of_a_latest_state_is_that_of_the_best() -> None:
    for name in ("model.safetensors", "model", "latest.safetensors", "latest"):
        assert best_path_of(name) == Path(name)


def test_the_place_of_the_best_model_may_be_a_string(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer()
    path = str(tmp_path / "other.safetensors")
    other = Trainer(trainer.model, Corpus.from_text(*["the cat sat\n" * 20] * 3), SETTINGS, path)
    assert other.best_path == Path(path)
    assert other.latest_path == tmp_path / "other.latest.safetensors"


def test_the_time_of_an_epoch_includes_the_time_before_a_stop(
    make_trainer: Make, watched: Watched
) -> None:
    trainer = make_trainer(epochs=2)
    trainer.state.position.train_seconds = 1000.0
    trainer.state.position.cpu_seconds = 2000.0
    resumed = make_trainer(epochs=2)
    resumed.resume(trainer.checkpoint())
    watcher = watched(resumed)
    resumed.fit()
    first, second = watcher.epochs
    assert first.seconds > first.train_seconds > 1000 and first.cpu_seconds > 2000
    assert 0 < second.train_seconds < 1000 and second.words == first.words


def another(corpus: Corpus) -> Corpus:
    """The same training text and words, with another validation text."""
    words = corpus.dictionary.idx2word
    train, valid, test = (
        " ".join(words[i] for i in ids).replace(EOS, "\n")
        for ids in (corpus.train, corpus.valid[::-1], corpus.test)
    )
    return Corpus.from_text(train, valid, test, corpus.dictionary)


def test_losses_on_another_validation_text_are_not_compared(
    make_trainer: Make, corpus: Corpus, script_evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    """Otherwise the model of the old text stays the best, and the learning rate falls."""
    given = script_evaluate([5.0, 1.0, 7.0, 6.0, 6.5, 8.0])
    first = make_trainer(epochs=1)
    first.fit()
    other = tmp_path / "other"
    other.mkdir()
    trainer = make_trainer(another(corpus), folder=other, epochs=4)
    trainer.resume(load_checkpoint(first.latest_path))
    lr = trainer.state.optimizer.lr
    trainer.fit()
    assert trainer.state.optimizer.lr == lr / 4  # after the last epoch, the only one not better
    assert load_checkpoint(trainer.best_path).run["position"]["best_loss"] == 6.0
    for name, weight in given[3].items():
        assert_array_equal(given[-1][name], weight)
    assert load_checkpoint(first.best_path).run["position"]["best_loss"] == 5.0


def test_a_second_start_on_another_text_keeps_the_best_model_on_it(
    make_trainer: Make, corpus: Corpus, script_evaluate: Callable[..., Any], tmp_path: Path
) -> None:
    script_evaluate([5.0, 1.0, 7.0, 1.0, 9.0, 1.0])
    first = make_trainer(epochs=1)
    first.fit()
    other = tmp_path / "other"
    other.mkdir()
    for _ in range(2):
        trainer = make_trainer(another(corpus), folder=other, epochs=2)
        trainer.resume(load_checkpoint(first.latest_path))
        trainer.fit()
        assert load_checkpoint(trainer.best_path).run["position"]["valid_loss"] == 7.0


@pytest.mark.parametrize("which", ["latest_path", "best_path"])
def test_the_best_model_on_another_validation_text_is_not_replaced(
    make_trainer: Make, corpus: Corpus, which: str
) -> None:
    make_trainer(epochs=1).fit()
    trainer = make_trainer(another(corpus), epochs=2)
    before = trainer.best_path.read_bytes()
    with pytest.raises(UserError, match=r"another validation text; .*--save FILE"):
        trainer.resume(load_checkpoint(getattr(trainer, which)))
    assert trainer.best_path.read_bytes() == before


def test_a_checkpoint_of_an_earlier_version_does_not_know_its_text(
    make_trainer: Make, script_evaluate: Callable[..., Any]
) -> None:
    script_evaluate([5.0, 1.0, 7.0, 8.0])
    trainer = make_trainer(epochs=1)
    trainer.fit()
    for path in (trainer.best_path, trainer.latest_path):
        checkpoint = load_checkpoint(path)
        del checkpoint.run["text"]
        save_checkpoint(path, checkpoint)
    trainer = make_trainer(epochs=2)
    trainer.resume(load_checkpoint(trainer.latest_path))
    trainer.fit()
    assert load_checkpoint(trainer.best_path).run["position"]["best_loss"] == 5.0
