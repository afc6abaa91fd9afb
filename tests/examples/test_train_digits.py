"""The convolutional example, on the real digits."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lm.console import one_line_errors
from lm.report.page import runs_on

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def train_digits() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "examples" / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def accuracies(printed: str) -> list[float]:
    return [float(percent) for percent in re.findall(r"accuracy +([\d.]+)%", printed)]


@pytest.mark.parametrize("dropout", ["none", "standard", "spatial"])
@pytest.mark.parametrize("batch_norm", ["--batch-norm", "--no-batch-norm"])
def test_two_epochs_learn_most_digits(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str], dropout: str, batch_norm: str
) -> None:
    train_digits.main(["--epochs", "2", "--dropout", dropout, batch_norm])
    first, second = accuracies(capsys.readouterr().out)
    assert second > first > 30
    assert second > 75


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_defaults_reach_98_5_percent(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    train_digits.main(["--seed", str(seed)])
    assert accuracies(capsys.readouterr().out)[-1] >= 98.5


def test_a_report_has_the_curves(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "digits.html"
    train_digits.main(["--epochs", "2", "--batch-size", "400", "--report", str(page)])
    printed = [percent / 100 for percent in accuracies(capsys.readouterr().out)]
    (run,) = runs_on(page)
    assert [x for x, _ in run.points("loss")] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert [y for _, y in run.points("valid_accuracy")] == pytest.approx(printed, abs=1e-4)
    text = page.read_text()
    assert "Epoch 2 of 2 done" in text and "Test accuracy" in text
    assert "perplexity" not in text.partition("<script")[0]


def test_another_file_is_not_replaced_by_a_report(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "mine.html"
    page.write_text("mine")
    with pytest.raises(SystemExit), one_line_errors():
        train_digits.main(["--epochs", "1", "--report", str(page)])
    assert "is not a report" in capsys.readouterr().err and page.read_text() == "mine"


def test_training_and_test_images_are_apart_and_complete(train_digits: ModuleType) -> None:
    train_images, train_labels, test_images, test_labels = train_digits.digits(seed=1)
    assert (len(train_images), len(test_images)) == (1438, 359)
    assert (len(train_labels), len(test_labels)) == (1438, 359)
    assert train_images.shape[1:] == (1, 8, 8)
    assert 0 == train_images.min() < train_images.max() == 1


@pytest.mark.parametrize(("images", "size"), [(10, 3), (10, 5), (7, 10), (1, 4)])
def test_no_batch_has_one_image_unless_there_is_only_one(
    train_digits: ModuleType, images: int, size: int
) -> None:
    """Batch norm can't train on one value per channel."""
    pieces = train_digits.batches(np.arange(images), size)
    assert np.concatenate(pieces).tolist() == list(range(images))
    assert min(map(len, pieces)) > 1 or images == 1


def test_a_batch_size_of_nothing_is_refused(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train_digits.main(["--batch-size", "0"])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_no_number_ends_training_in_one_line(
    train_digits: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        train_digits.main(["--lr", "1e30", "--no-batch-norm", "--dropout", "none"])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert re.match(r"error: the loss is (nan|inf) in epoch 1 with --lr 1e\+30; .*lower", err)
    assert "nan" not in out
