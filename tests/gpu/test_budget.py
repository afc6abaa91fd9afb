"""A training step on the device: the number of launches, and the same losses as with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_cupy
import numpy as np
import pytest
from steps import B, T, counts_of_a_step, losses, made

import minigrad as mg
from lm.corpus import Corpus
from lm.run.trainer import Trainer
from lm.settings import Settings, build_model
from minigrad import fast_lstm, random
from minigrad.gpu import kernels, masks

needs_compiler = pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")
CELLS = ("LSTM", "GRU", "RNN_TANH", "RNN_RELU")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run NumPy's code, operation by operation, without the kernels; on the host in that form."""
    monkeypatch.setattr(kernels, "ENABLED", False)
    monkeypatch.setattr(fast_lstm, "LARGEST", 0)


@needs_compiler
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rnn_type", CELLS)
@pytest.mark.parametrize(("inside", "per_step", "total"), [(0, 2, 330), (256, 1, 200)])
def test_a_step_keeps_to_the_budget(
    rnn_type: str,
    tied: bool,
    inside: int,
    per_step: int,
    total: int,
    device: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1 launch per time step, layer and direction in a small layer, 2 in a large one."""
    monkeypatch.setattr(kernels, "PRODUCT_INSIDE", inside)
    mg.use("cupy")
    whole, shorter = (counts_of_a_step(made(rnn_type, tied=tied), length) for length in (T, T - 1))
    layers, directions = 2, 2
    assert whole.launches - shorter.launches == per_step * layers * directions
    assert whole.launches <= total
    assert whole.syncs == 0
    assert whole.uploads == 2  # the ids of the input words and of the targets
    assert whole.uploaded == 2 * T * B * 8


def test_the_plain_path_costs_many_times_as_much(device: Any, plain: None) -> None:
    mg.use("cupy")
    whole, shorter = (counts_of_a_step(made(), length) for length in (T, T - 1))
    assert whole.launches - shorter.launches > 15 * 2  # per step, two layers, forward and backward
    assert whole.syncs > 0


@needs_compiler
def test_one_wait_for_each_report(device: Any, tmp_path: Path) -> None:
    """In an epoch, only the reports (and its end) read the loss."""
    mg.use("cupy")
    text = "the cat saw the dog and the dog saw the cat\n" * 60
    corpus = Corpus.from_text(text, text, text)
    settings = Settings(emsize=6, nhid=6, batch_size=4, bptt=7, epochs=1, backend="cupy")
    model = build_model(settings, len(corpus.dictionary))
    trainer = Trainer(model, corpus, settings, tmp_path / "m.safetensors", log_interval=5)
    with fake_cupy.counted() as counts:
        trainer.train_epoch()
    reports = -(-trainer.batches // 5)
    assert reports > 3
    assert counts.syncs == reports


@pytest.fixture
def same_masks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make NumPy's code use the same masks as the device."""

    def twin(shape: tuple[int, ...], p: float) -> Any:
        return masks.keep_bits(shape, *masks.count_mask(p))

    return lambda: monkeypatch.setattr(random, "keep_mask", twin)


@pytest.mark.parametrize("rnn_type", CELLS)
def test_a_run_by_the_plain_path_is_numpys_to_the_bit(
    rnn_type: str, device: Any, plain: None, same_masks: Callable[[], None]
) -> None:
    same_masks()
    steps = 200 if rnn_type == "LSTM" else 40
    on_host = [loss.item() for loss in losses(made(rnn_type), steps)]
    with mg.use("cupy"):
        on_device = [loss.item() for loss in losses(made(rnn_type), steps)]
    assert on_device == on_host
    assert np.mean(on_host[-10:]) < np.mean(on_host[:10])


@needs_compiler
@pytest.mark.parametrize("rnn_type", CELLS)
def test_a_run_by_the_kernels_is_numpys_to_rounding(
    rnn_type: str, device: Any, same_masks: Callable[[], None]
) -> None:
    steps = 200 if rnn_type == "LSTM" else 40
    with mg.use("cupy"):
        on_device = [loss.item() for loss in losses(made(rnn_type), steps)]
    same_masks()
    on_host = [loss.item() for loss in losses(made(rnn_type), steps)]
    np.testing.assert_allclose(on_device, on_host, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize(
    ("rnn_type", "name"), list(zip(CELLS, ("LSTM", "GRU", "tanh RNN", "ReLU RNN"), strict=True))
)
def test_the_counts_in_the_docs_are_these(
    rnn_type: str, name: str, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mg.use("cupy")
    cells = [name]
    for enabled, inside in ((False, 0), (True, 0), (True, 256)):
        monkeypatch.setattr(kernels, "ENABLED", enabled)
        monkeypatch.setattr(kernels, "PRODUCT_INSIDE", inside)
        whole, shorter = (counts_of_a_step(made(rnn_type), length) for length in (T, T - 1))
        step = whole.launches - shorter.launches
        rest = whole.launches - T * step
        cells += [str(n) for n in (step, rest, whole.launches)]
        assert (whole.syncs, whole.uploads) == ((0, 2) if enabled else (1, 5))
    text = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(cells)} |" in text
