"""What the chapter on mini-batches and batch normalisation claims."""

from __future__ import annotations

from typing import Any

import batch_norm
import batch_size
import numpy as np
import pytest
from experiment import read
from quick import quick_numbers

import minigrad as mg
from minigrad import functional as F


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return quick_numbers(batch_size, tmp_path_factory.mktemp("batch_size"))


@pytest.fixture(scope="module")
def norm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return quick_numbers(batch_norm, tmp_path_factory.mktemp("batch_norm"))


# -------------------------------------------------------------------- batch size


def test_the_noise_of_the_gradient_falls_with_the_root_of_the_batch(sizes: Any) -> None:
    scaled = [row["noise_times_root"]["mean"] for row in sizes["line"]["batches"].values()]
    assert max(scaled) / min(scaled) < 1.1


def test_single_examples_wander_and_the_whole_batch_converges(sizes: Any) -> None:
    late = {size: row["late_distance"] for size, row in sizes["line"]["batches"].items()}
    assert late["1"]["min"] > 2 * late["200"]["max"]


def test_at_one_learning_rate_large_batches_learn_less_per_epoch(sizes: Any) -> None:
    fixed = {int(size): row["fixed"] for size, row in sizes["digits"].items()}
    assert fixed[16]["min"] > fixed[128]["max"] > fixed[512]["mean"]


# -------------------------------------------------------------------- batch norm


def test_batch_norm_keeps_the_scale_of_activations_by_depth(norm: Any) -> None:
    start = norm["depth"]["start"]
    assert start["without"]["last"]["max"] < start["without"]["first"]["min"] / 100
    for kind in ("uniform", "ones"):
        assert start[kind]["last"]["min"] > 0.7 * start[kind]["first"]["max"]


def test_the_scale_of_the_weights_cancels(norm: Any) -> None:
    for percent, row in norm["scale"]["ones"].items():
        factor = int(percent) / 100
        assert abs(row["loss"]["mean"] - 1) < 1e-3
        assert row["gradient"]["mean"] * factor == pytest.approx(1, rel=0.01)
    assert norm["scale"]["he"]["1600"]["loss"]["mean"] > 2


def test_in_training_mode_the_answer_depends_on_the_batch(norm: Any) -> None:
    modes = norm["modes"]
    assert modes["evaluation"]["max"] < 15
    assert modes["random"]["2"]["min"] > 50
    assert modes["random"]["64"]["mean"] < modes["random"]["4"]["mean"]
    assert modes["one class"]["64"]["min"] > modes["random"]["64"]["max"] + 20


def test_only_the_networks_with_batch_norm_learn_at_a_rate_of_1(norm: Any) -> None:
    rates = norm["rates"]
    assert rates["ones"]["rates"]["1"]["mean"] < 30
    assert rates["without"]["rates"]["1"]["min"] > 80
    assert rates["he"]["rates"]["1"]["mean"] > 60


def test_momentum_weighs_the_past(norm: Any) -> None:
    off = norm["running"]["off"]
    assert off["90"]["mean"] < off["batch"]["mean"]


@pytest.mark.parametrize("ours", batch_norm.MOMENTA)
def test_our_momentum_is_one_minus_the_other_convention(ours: float) -> None:
    rng, theirs = np.random.default_rng(1), 1 - ours
    mean, var = mg.tensor(np.zeros(2)), mg.tensor(np.ones(2))
    expected = np.zeros(2)
    for k in range(5):
        x = rng.normal(size=(4, 2))
        F.batch_norm(mg.tensor(x), mean, var, training=True, momentum=ours)
        expected = (1 - theirs) * expected + theirs * x.mean(axis=0)
        assert np.allclose(mean.data, expected), k


def test_the_gradient_of_batch_norm_can_neither_shift_nor_stretch() -> None:
    rng = np.random.default_rng(2)
    x = mg.tensor(rng.normal(3, 2, (16, 3)), requires_grad=True)
    y = F.batch_norm(x, None, None, training=True)
    y.backward(rng.normal(size=(16, 3)))
    assert abs(x.grad.sum(axis=0)).max() < 1e-12
    assert abs((x.grad * y.numpy()).sum(axis=0)).max() < 1e-4  # zero but for eps


# -------------------------------------------------------------------- the committed results


def test_the_committed_learning_rates() -> None:
    rates = read("batch-norm")["numbers"]["rates"]
    assert rates["without"]["best"]["min"] > 80  # learns nothing
    assert rates["he"]["usable"]["least"] == rates["he"]["usable"]["most"]
    assert rates["ones"]["usable"]["most"] / rates["ones"]["usable"]["least"] >= 100
    for name, row in rates["he"]["rates"].items():
        if row["lr"] <= 1:
            assert rates["ones"]["rates"][name]["mean"] < row["mean"]


def test_the_committed_running_means() -> None:
    off = read("batch-norm")["numbers"]["running"]["off"]
    assert max(off["50"]["mean"], off["90"]["mean"]) < off["batch"]["mean"] < off["99"]["mean"]


def test_the_committed_batch_sizes() -> None:
    rows = read("batch-size")["numbers"]["digits"]
    assert rows["512"]["fixed"]["max"] < rows["8"]["fixed"]["min"]
    assert rows["1"]["ms"]["mean"] > 10 * rows["64"]["ms"]["mean"]
    rates = [rows[size]["best"]["lr"] for size in ("1", "16", "256")]
    assert rates == sorted(rates) and rates[0] < rates[-1]  # larger batches, larger steps
