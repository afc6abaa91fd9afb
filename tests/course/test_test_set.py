"""What the chapter "Why a test set" claims."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_set as experiment
import test_set_models as models
from experiment import read
from quick import quick_numbers
from short_text import short_text, train

from lm.batches import batchify
from lm.steps import evaluate


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    found: dict[str, Any] = read("test-set")["numbers"]
    return found


def test_training_the_models_quickly(tmp_path: Path) -> None:
    found = quick_numbers(models, tmp_path)
    for group in models.GROUPS:
        rows = [row.split() for row in found[group]["losses"]]
        assert len(rows) == len(models.QUICK_SEEDS) and len(set(map(len, rows))) == 1
        assert len({tuple(row) for row in rows}) == len(rows)  # no two models are equal
    drawn = [len({str(s) for s in found[group]["settings"]}) for group in models.GROUPS]
    assert drawn[0] == 1 and drawn[1] > 1


def test_the_losses_of_the_blocks_are_those_of_the_text() -> None:
    text = short_text(quick=True)
    settings = dataclasses.replace(models.BASE, emsize=8, nhid=8, epochs=1)
    model = train(settings, text).model
    found = models.block_losses(model, text.test, 5)
    source = batchify(text.test, models.COLUMNS)
    rows = 5 * (len(found) // models.COLUMNS) + 1
    assert found.mean() == pytest.approx(evaluate(model, source[:rows], 5), rel=1e-5)
    assert not np.allclose(found, found.mean())


def test_the_held_out_text_is_not_what_the_models_learn_from() -> None:
    text, block = models.text_for(quick=True)
    whole = short_text(quick=True)
    assert np.array_equal(text.test, whole.test) and block == 5
    result = read("test-set-models")
    numbers = result["numbers"]
    assert result["seeds"] == list(models.SEEDS)
    blocks = numbers["held_out_words"] // numbers["block"]
    for group in models.GROUPS:
        rows = [row.split() for row in numbers[group]["losses"]]
        assert [len(row) for row in rows] == [blocks] * len(models.SEEDS)


# -------------------------------------------------------------------- choosing


@pytest.mark.parametrize(("true", "noise"), [(1.0, 0.5), (0.5, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_the_simulation_agrees_with_the_formulas(true: float, noise: float) -> None:
    true, noise = true / 100, noise / 100  # nats, so that percent is nearly linear
    found = experiment.simulate(true, noise, 10, 20_000, np.random.default_rng(1))
    total = math.hypot(true, noise)
    m = 1.5388  # the expected maximum of ten standard normal numbers
    assert found["promised"] == pytest.approx(100 * total * m, rel=0.03)
    assert found["kept"] == pytest.approx(100 * true**2 / total * m, rel=0.04, abs=0.01)
    assert found["optimism"] == pytest.approx(100 * noise**2 / total * m, rel=0.04, abs=0.01)


def losses(true: float, noise: float, models: int = 30, blocks: int = 200) -> np.ndarray:
    rng = np.random.default_rng(1)
    difficulty = 4 + rng.standard_normal(blocks)
    quality = true * rng.standard_normal((models, 1))
    return difficulty + quality + noise * rng.standard_normal((models, blocks))


def test_models_without_noise_keep_what_validation_promised() -> None:
    found = experiment.choose(losses(0.01, 0.0), 20, 10, 100, np.random.default_rng(1))
    assert found["kept"] == pytest.approx(found["promised"]) == pytest.approx(found["peeked"])
    assert found["promised"] > 0.5


def test_equal_models_keep_nothing() -> None:
    found = experiment.choose(losses(0.0, 0.1), 20, 10, 400, np.random.default_rng(1))
    assert abs(found["kept"]) < 0.15 * found["promised"] and found["peeked"] > 0.5


def test_one_model_is_no_choice() -> None:
    found = experiment.choose(losses(0.01, 0.1), 20, 1, 2000, np.random.default_rng(1))
    assert abs(found["promised"]) < 0.2 and abs(found["optimism"]) < 0.2


def test_the_spreads_are_found_whatever_the_difficulty_of_the_blocks() -> None:
    found = experiment.spreads(losses(0.03, 0.2, models=60))
    assert found["true"] == pytest.approx(0.03, rel=0.25)
    assert found["noise"] == pytest.approx(0.2, rel=0.05)


def test_the_analysis_in_its_quick_form(tmp_path: Path, numbers: dict[str, Any]) -> None:
    quick = quick_numbers(experiment, tmp_path)
    for group in models.GROUPS:  # the same models, with fewer draws
        for size in experiment.SIZES:
            few, many = (n["groups"][group]["trained"][str(size)]["32"] for n in (quick, numbers))
            assert few["promised"]["mean"] == pytest.approx(many["promised"]["mean"], rel=0.2)


def test_what_the_chapter_says_of_choosing(numbers: dict[str, Any]) -> None:
    for group in models.GROUPS:
        found = numbers["groups"][group]["trained"]
        for size in map(str, experiment.SIZES):
            promised = [found[size][str(n)]["promised"]["mean"] for n in experiment.COUNTS]
            optimism = [found[size][str(n)]["optimism"]["mean"] for n in experiment.COUNTS]
            assert promised == sorted(promised)
            assert optimism[-1] > 0.05
            if group == "seeds":
                assert optimism == sorted(optimism)
        by_size = [found[str(size)]["32"]["optimism"]["mean"] for size in experiment.SIZES]
        assert by_size == sorted(by_size, reverse=True)


def test_the_shares_that_the_chapter_names(numbers: dict[str, Any]) -> None:
    seeds, settings = (numbers["groups"][group]["trained"]["5"]["32"] for group in models.GROUPS)
    assert seeds["kept"]["mean"] < 0.5 * seeds["promised"]["mean"]  # most was luck
    assert settings["kept"]["mean"] > 0.8 * settings["promised"]["mean"]


def test_the_simulation_is_near_the_trained_models(numbers: dict[str, Any]) -> None:
    for group in models.GROUPS:
        for size in ("20", "100"):
            pair = (numbers["groups"][group][kind][size] for kind in ("trained", "simulated"))
            trained, simulated = pair
            for n in ("4", "16"):
                a, b = (found[n]["promised"]["mean"] for found in (trained, simulated))
                assert a == pytest.approx(b, rel=0.25)


# -------------------------------------------------------------------- looking, and our trials


def test_a_thousand_looks_find_what_is_not_there(numbers: dict[str, Any]) -> None:
    found = experiment.over_seeds(experiment.look, experiment.LABELS, 1000)
    assert found["vote"]["min"] > 75 and 53 < found["best"]["mean"] < 58
    assert 45 < found["fresh"]["mean"] < 55
    assert numbers["looks"]["1000"] == found
    votes = [numbers["looks"][str(k)]["vote"]["mean"] for k in experiment.LOOKS]
    assert votes == sorted(votes)


def test_our_own_trials_are_read(tmp_path: Path) -> None:
    trials, shared = tmp_path / "ptb", tmp_path / "cells"
    for name, valid, test in (("a_seed-1", 100, 98), ("a_seed-2", 110, 105), ("b_seed-1", 90, 88)):
        folder = trials / name
        folder.mkdir(parents=True)
        found = {"status": "done", "best_valid_ppl": valid, "test_ppl": test}
        (folder / "result.json").write_text(json.dumps({"numbers": found}), encoding="utf-8")
    (trials / "c_seed-1").mkdir()
    failed = {"numbers": {"status": "diverged", "best_valid_ppl": None, "test_ppl": None}}
    (trials / "c_seed-1" / "result.json").write_text(json.dumps(failed), encoding="utf-8")
    shutil.copytree(trials / "a_seed-1", shared / "a_seed-1")
    own = experiment.own_trials([trials, shared, tmp_path / "none"])
    assert own["trials"] == 3 and own["groups_with_seeds"] == 1
    assert own["promised"]["mean"] == pytest.approx(100 * (math.sqrt(110 / 100) - 1))
    assert own["kept"]["mean"] == pytest.approx(100 * (math.sqrt(105 / 98) - 1))
    assert experiment.own_trials([tmp_path / "none"]) == {"trials": 0}


def test_on_penn_treebank_the_test_text_is_easier(numbers: dict[str, Any]) -> None:
    assert numbers["own"]["trials"] >= 3
    assert numbers["own"]["test_over_valid"]["max"] < 0
