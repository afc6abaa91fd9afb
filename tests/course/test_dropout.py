"""What the chapter on dropout claims."""

from __future__ import annotations

import itertools
from pathlib import Path

import dropout_data
import dropout_digits
import dropout_ensemble
import dropout_rates
import numpy as np
import pytest
from experiment import read
from quick import quick_numbers

import minigrad as mg
from minigrad import functional as F

# -------------------------------------------------------------------- the ensemble


def test_many_thinned_networks_approach_the_scaled_one(tmp_path: Path) -> None:
    found = quick_numbers(dropout_ensemble, tmp_path)
    few, many = found["average"]["1"]["errors"], found["average"]["50"]["errors"]
    assert few["mean"] > many["mean"] + 1
    assert abs(many["mean"] - found["whole"]["errors"]["mean"]) < 1


@pytest.mark.parametrize("seed", dropout_ensemble.SEEDS)
def test_in_the_committed_result_the_average_is_the_scaled_network(seed: int) -> None:
    run = read("dropout-ensemble")["numbers"]["seeds"][str(seed)]
    assert run["average"]["1"]["errors"] > run["whole"]["errors"] + 1
    assert abs(run["average"]["200"]["errors"] - run["whole"]["errors"]) < 0.5
    assert abs(run["geometric"]["200"]["loss"] - run["whole"]["loss"]) < 0.02
    # Without the scale the order of the classes hardly changes, but the probabilities do.
    assert abs(run["unscaled"]["errors"] - run["whole"]["errors"]) < 0.5
    assert run["unscaled"]["loss"] > 2 * run["whole"]["loss"]


def test_the_geometric_mean_of_all_thinned_linear_models_is_the_scaled_one() -> None:
    rng = np.random.default_rng(4)
    x, p = mg.tensor(rng.normal(size=(1, 6))), 0.3
    W, b = mg.tensor(rng.normal(size=(3, 6))), mg.tensor(rng.normal(size=3))
    log_mean = np.zeros((1, 3))
    for mask in itertools.product([0, 1], repeat=6):
        weight = np.prod([1 - p if kept else p for kept in mask])
        thinned = F.linear(F.dropout(x, p, mask=np.array(mask)), W, b)
        log_mean += weight * F.log_softmax(thinned).numpy()
    mean = F.softmax(mg.tensor(log_mean)).numpy()
    assert abs(mean - F.softmax(F.linear(x, W, b)).numpy()).max() < 1e-12


# -------------------------------------------------------------------- rates


def test_high_rates_need_more_epochs(tmp_path: Path) -> None:
    curves = quick_numbers(dropout_rates, tmp_path)["curves"]
    slow, fast = curves["hidden 50"]["epochs_to_goal"], curves["hidden 0"]["epochs_to_goal"]
    assert slow["mean"] > fast["mean"]


def test_what_the_committed_rates_show() -> None:
    numbers = read("dropout-rates")["numbers"]
    grid = numbers["grid"]
    for hidden in ("hidden 0", "hidden 20", "hidden 50"):
        cell = grid["input 0"][hidden]
        assert abs(cell["mean"] - grid["input 0"]["hidden 0"]["mean"]) < cell["spread"]
        assert grid["input 20"][hidden]["mean"] > cell["mean"]
        assert grid["input 50"][hidden]["min"] > cell["max"]  # dropping half of the inputs hurts
    assert grid["input 0"]["hidden 80"]["min"] > grid["input 0"]["hidden 50"]["max"]
    epochs = {rate: curve["epochs_to_goal"]["mean"] for rate, curve in numbers["curves"].items()}
    assert 1.3 < epochs["hidden 50"] / epochs["hidden 0"] < 1.8
    assert epochs["hidden 80"] / epochs["hidden 0"] > 4


# -------------------------------------------------------------------- spatial dropout


def test_neighbours_of_a_feature_map_are_correlated(tmp_path: Path) -> None:
    found = quick_numbers(dropout_digits, tmp_path)["correlation"]["maps"]
    assert found["distance 1"]["min"] > 0.2
    assert found["distance 1"]["min"] > found["distance 2"]["max"]


def test_in_the_committed_result_spatial_dropout_does_not_help() -> None:
    numbers = read("dropout-digits")["numbers"]
    few, many = numbers["errors"]["100"], numbers["errors"]["1000"]
    assert few["standard 20"]["gain"]["min"] > 0
    assert few["spatial 20"]["gain"]["mean"] < few["standard 20"]["gain"]["mean"]
    assert all(row["gain"]["mean"] <= 0 for row in many.values())
    maps, pooled = numbers["correlation"]["maps"], numbers["correlation"]["pooled"]
    assert maps["distance 1"]["min"] > maps["other map"]["max"]
    assert pooled["distance 1"]["mean"] < pooled["other map"]["mean"]


def test_a_mask_of_spatial_dropout_covers_whole_maps() -> None:
    maps = np.random.default_rng(1).random((6, 8, 8)) + 0.1
    shown = dropout_digits.masked(maps.astype(np.float32), 0.5, seed=1)
    dropped = np.array(shown["spatial"]).reshape(6, 64) == 0
    assert set(dropped.mean(axis=1)) == {0.0, 1.0}
    dropped = np.array(shown["standard"]).reshape(6, 64) == 0
    assert ((dropped.mean(axis=1) > 0.2) & (dropped.mean(axis=1) < 0.8)).all()


# -------------------------------------------------------------------- how much data


def test_the_gain_vanishes_with_very_much_data(tmp_path: Path) -> None:
    found = quick_numbers(dropout_data, tmp_path)["teacher"]
    sizes = sorted(found, key=int)
    assert found[sizes[-1]]["gain"]["mean"] < found[sizes[0]]["gain"]["mean"]


def test_the_committed_gain_has_a_peak() -> None:
    rows = read("dropout-data")["numbers"]["teacher"]
    gain = {int(size): row["gain"] for size, row in rows.items()}
    assert max(gain, key=lambda size: gain[size]["mean"]) == 1000
    assert gain[1000]["min"] > 5
    assert max(gain[30]["mean"], gain[100]["mean"]) < 1
    assert all(gain[size]["max"] < 0 for size in (10_000, 30_000, 100_000))
    memory = {int(size): row["training"] for size, row in rows.items()}
    assert memory[100]["with"]["max"] == 0
    assert memory[1000]["without"]["max"] < 18 < memory[1000]["with"]["min"]
    # What a network that memorises nothing has, and how much less is seen.
    whole = {size: 0.8 * rows[str(size)]["without"]["mean"] + 18 for size in memory}
    assert [round(whole[size]) for size in (3_000, 10_000, 100_000)] == [41, 38, 37]
    less = [whole[size] - memory[size]["without"]["mean"] for size in (3_000, 10_000, 100_000)]
    assert less[0] > 10 and 2 < less[1] < 5 and abs(less[2]) < 1
