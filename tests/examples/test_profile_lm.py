"""The profile of a training run: all its files, from one small run."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

import minigrad as mg
from lm import flow
from lm.console import one_line_errors
from lm.run import clock
from minigrad.modes import mode

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "profile_lm.py"
SMALL = ("--emsize=8", "--nhid=8", "--batch-size=4", "--bptt=5", "--batches=6", "--nlayers=3")


@pytest.fixture(scope="module")
def profile_lm() -> ModuleType:
    spec = importlib.util.spec_from_file_location("profile_lm", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def out(profile_lm: ModuleType, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a small run writes."""
    pytest.importorskip("line_profiler")
    folder = tmp_path_factory.mktemp("profile") / "new" / "folder"
    profile_lm.main(["--data", str(corpus), *SMALL, "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def result(out: Path) -> dict[str, Any]:
    return json.loads((out / "profile.json").read_text())["numbers"]


def test_the_components_add_up_to_the_whole_run(result: dict[str, Any]) -> None:
    components = result["components"].values()
    assert sum(c["seconds"] for c in components) == pytest.approx(result["wall_seconds"], rel=0.05)
    assert sum(c["share"] for c in components) == pytest.approx(100, abs=1)


def test_every_component_is_measured_as_often_as_it_runs(result: dict[str, Any]) -> None:
    calls = {name: c["calls"] for name, c in result["components"].items()}
    assert list(calls) == flow.components(3)
    once = {"read corpus", "build model", "validation", "test"}
    # After the epoch and at the end, the state is gathered and written; the best model once.
    often = {
        "batchify": 3,
        "init_hidden": 2,  # in the new state, and at the epoch's begin
        "saving": 5,
        "repackage_hidden": 12,
        "forward dropout": 24,
        "backward dropout": 24,
    }
    for name in set(calls) - {"other"}:
        assert calls[name] == (1 if name in once else often.get(name, 6)), name
    assert all(c["seconds"] > 0 for c in result["components"].values())


def test_settings_and_batches_are_stored(out: Path, result: dict[str, Any]) -> None:
    assert result["batches"] == {"train": 6, "valid": 1, "test": 2}
    stored = json.loads((out / "profile.json").read_text())
    assert stored["settings"]["nlayers"] == 3 and stored["settings"]["threads"] >= 1
    assert set(stored["versions"]) >= {"minigrad", "numpy", "python"}


def test_the_run_trains_as_the_command_does(
    profile_lm: ModuleType, result: dict[str, Any], corpus: Path, tmp_path: Path
) -> None:
    """Watching changes no number."""
    args = profile_lm.parser().parse(["--data", str(corpus), *SMALL])
    settings = profile_lm.choose(vars(args))
    plain = profile_lm.run(settings, 6, tmp_path)
    for name in ("train_losses", "valid_losses", "test_losses"):
        assert plain[name] == pytest.approx(result[name])


def test_nothing_stays_replaced(result: dict[str, Any]) -> None:
    for owner, name, _ in clock.FUNCTIONS:
        assert not hasattr(vars(owner)[name], "__wrapped__"), name
    assert mode.watch is None


def test_the_mermaid_text_has_every_component_once(out: Path, result: dict[str, Any]) -> None:
    text = (out / "flow.mmd").read_text(encoding="utf-8")
    assert text.startswith("flowchart")
    for name, component in result["components"].items():
        share = flow.percent(component["share"]).replace("<", "#lt;")
        assert text.count(f"<b>{name}</b> {share}<br>") == 1


def test_the_svg_needs_nothing_else(out: Path, result: dict[str, Any]) -> None:
    text = (out / "flow.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert text.count("http") == 1  # the name space
    assert not any(word in text for word in ("<script", "@import", "url(", "href"))
    titles = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    for name in result["components"]:
        assert sum(title.startswith(f"{name}: ") for title in titles) == 1


def test_lines_are_timed_in_the_order_of_the_functions(out: Path) -> None:
    text = (out / "profile.txt").read_text(encoding="utf-8")
    names = ["batchify", "repackage_hidden", "get_batch", "Trainer.train_epoch", "Trainer._step",
             "train_step", "evaluate", "Trainer.fit"]  # fmt: skip
    places = [text.index(f"Function: {name} at") for name in names]
    assert places == sorted(places)
    assert "at most 6 batches" in text
    assert "loss.backward()" in text
    assert "File: lm/steps.py" in text and str(EXAMPLE.parent) not in text


@pytest.mark.parametrize("share", [0, 0.01, 3.2, 50, 100])
def test_text_can_be_read_on_every_colour(share: float) -> None:
    """At least 4.5 to 1, as WCAG 2 asks for."""

    def luminance(colour: str) -> float:
        linear = [((int(colour[i : i + 2], 16) / 255 + 0.055) / 1.055) ** 2.4 for i in (1, 3, 5)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted(map(luminance, flow.colours(share, 100)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_missing_line_profiler_is_one_line(
    profile_lm: ModuleType,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "line_profiler", None)
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        profile_lm.main(["--data", str(corpus), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert not out and not (tmp_path / "out").exists()
    assert err.count("\n") == 1 and "pip install '.[profile]'" in err


@pytest.mark.parametrize("dropout", ["0", "0.5"])
def test_pytorch_is_measured_by_the_same_components(
    profile_lm: ModuleType, corpus: Path, dropout: str
) -> None:
    pytest.importorskip("torch")
    options = ["--data", str(corpus), *SMALL, "--dropout", dropout]
    settings = profile_lm.choose(vars(profile_lm.parser().parse(options)))
    theirs = profile_lm.measure_torch(settings, 6)
    components = theirs["components"]
    assert sum(c["share"] for c in components.values()) == pytest.approx(100, abs=1)
    dropped = 12 if dropout != "0" else 0
    calls = {"layers": 6, "dropout": dropped, "embedding": 6, "decoder + loss": 6}
    for name, often in calls.items():
        assert components[f"forward {name}"]["calls"] == often
        assert components[f"backward {name}"]["calls"] == often
    assert components["backward layers"]["seconds"] > 0
    rows = profile_lm.table({**profile_lm.measure(settings, 6), "torch": theirs}).splitlines()
    assert rows[0].split() == ["component", "seconds", "%", "PyTorch", "%"]
    both = [row.split()[0] for row in rows if len(row.split()) >= 5]
    assert {"get_batch", "forward", "backward", "update", "test", "whole"} <= set(both)


def test_pytorch_needs_a_text_in_files(
    profile_lm: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("line_profiler")
    options = ["--data", "builtin", "--against", "torch", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit), one_line_errors():
        profile_lm.main(options)
    assert "--data" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.fixture(autouse=True)
def numpy_again() -> Any:
    yield
    mg.use("numpy")
