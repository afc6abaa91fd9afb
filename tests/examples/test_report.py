"""The page about a run, and its numbers for TensorBoard."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lm import flow
from lm.report.data import read_runs
from lm.report.page import runs_on

Call = Callable[..., Any]


def train(call: Call, options: list[str], folder: Path, *more: str) -> str:
    metrics = str(folder / "run.jsonl")
    result = call("train_ptb", *options, "--metrics", metrics, "--log-interval", "25", *more)
    assert result.status == 0, result.err
    return metrics


def numbers(metrics: str) -> list[tuple[Any, ...]]:
    records = map(json.loads, Path(metrics).read_text().splitlines())
    names = ("loss", "grad_norm", "valid_loss", "test_loss")
    return [tuple(record.get(name) for name in names) for record in records]


class Loads(HTMLParser):
    """Everything that a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            inside = value is None or value.startswith(("#", "data:"))
            if name in ("src", "href", "data") and not inside:
                self.found.append(value)


def test_a_page_shows_the_run_and_loads_nothing(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "run.html"
    train(call, train_options, tmp_path, "--report", str(page))
    text = page.read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(text)
    assert loads.found == []
    assert not re.search(r"url\(|@import", text)
    for part in ("Loss", "Perplexity", "Learning rate", "Gradient norm", "Words per second",
                 "Temperature 0.7", "Temperature 1.3", "Perplexity by word frequency"):  # fmt: skip
        assert part in text, part
    assert "prefers-color-scheme" in text


def test_the_page_has_the_flow_chart_with_the_shares_of_this_run(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "run.html"
    train(call, train_options, tmp_path, "--report", str(page))
    (run,) = runs_on(page)
    shares = run.extras["shares"]
    assert list(shares) == flow.components(run.settings["nlayers"])
    assert sum(shares.values()) == pytest.approx(100)
    assert all(share > 0 for share in shares.values())
    chart = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page.read_text())
    assert chart is not None and base64.b64decode(chart[1]).decode() == flow.svg(shares)
    anomaly = tmp_path / "anomaly.html"  # where the tape is needed for something else
    train(call, train_options, tmp_path, "--report", str(anomaly), "--detect-anomaly")
    assert "shares" not in runs_on(anomaly)[0].extras


def test_watching_changes_no_number(call: Call, train_options: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    runs = []
    for name, more in (("plain", []), ("watched", ["--report", "--tensorboard"])):
        folder = tmp_path / name
        folder.mkdir()
        options = [*train_options, "--save", str(folder / "model.safetensors")]
        runs.append(numbers(train(call, options, folder, *(w for option in more for w in (
            option, str(folder / option.strip("-")))))))  # fmt: skip
    assert runs[0] == runs[1]


def test_a_resumed_run_keeps_its_history(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "run.html"
    train(call, train_options, tmp_path, "--report", str(page))
    latest = str(tmp_path / "model.latest.safetensors")
    result = call("train_ptb", "--resume", latest, "--epochs", "3", "--report", str(page))
    assert result.status == 0, result.err
    assert "Epoch 3 of 3" in page.read_text()
    lone = tmp_path / "lone.html"
    call("report", str(tmp_path / "run.jsonl"), "--out", str(lone))
    assert "Epoch 2 of 2" in lone.read_text()


def test_a_run_resumed_with_more_epochs_has_them_in_its_metrics(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    metrics = train(call, train_options, tmp_path)
    latest = str(tmp_path / "model.latest.safetensors")
    call("train_ptb", "--resume", latest, "--epochs", "4", "--metrics", str(metrics))
    call("report", str(metrics), "--out", str(tmp_path / "run.html"))
    assert "Epoch 4 of 4" in (tmp_path / "run.html").read_text()


def test_several_runs_on_one_page(call: Call, train_options: list[str], tmp_path: Path) -> None:
    metrics = Path(train(call, train_options, tmp_path))
    second = tmp_path / "second <b>.jsonl"
    second.write_text(metrics.read_text().replace('"run": "', '"run": "f'))
    page = tmp_path / "both.html"
    result = call("report", str(metrics), str(second), "--out", str(page))
    assert result.status == 0, result.err
    text = page.read_text()
    assert "2 runs" in text and "second &lt;b&gt;" in text and "second <b>" not in text


def test_runs_in_files_of_one_name_are_named_after_their_folders(tmp_path: Path) -> None:
    """As the trials of a sweep are."""
    paths = [tmp_path / folder / "metrics.jsonl" for folder in ("lstm", "gru")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f'{{"run": "{path.parent.name}", "epoch": 1, "batch": 9, "time": 0.0}}\n')
    assert [run.name for run in read_runs(paths)] == ["lstm", "gru"]
    assert [run.name for run in read_runs(paths[:1])] == ["metrics"]


@pytest.mark.browser
def test_the_curves_nearest_to_the_pointer_are_read_out(
    browser: Any, call: Call, tmp_path: Path
) -> None:
    """At most eight, from top to bottom, with the values at the epoch nearest to the pointer."""
    paths = [tmp_path / f"run {k} <b>.jsonl" for k in range(10)]
    for k, path in enumerate(paths):
        lines = [{"run": f"{k}", "epoch": e, "batch": 9, "time": e, "valid_loss": k + 1 / e}
                 for e in (1, 2, 3)]  # fmt: skip
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    page = tmp_path / "page.html"
    assert call("report", *map(str, paths), "--out", str(page)).status == 0
    tab, errors = browser.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    chart = tab.locator("svg.chart").first
    readout = tab.locator("figure .readout").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    tab.mouse.move(box["x"] + 0.66 * box["width"], box["y"] + 0.1 * box["height"])
    head, *rows = readout.inner_text().splitlines()
    assert head == "epoch 2"
    assert [row.strip() for row in rows] == [f"{k + 0.5:g} run {k} <b>" for k in range(9, 1, -1)]
    tab.mouse.move(0, 0)
    assert not readout.is_visible()
    assert not errors
    tab.close()


@pytest.mark.parametrize("command", ["train_ptb", "report"])
def test_another_file_is_not_overwritten(
    command: str, call: Call, train_options: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "index.html"
    other.write_text("<p>mine</p>")
    if command == "report":
        result = call("report", train(call, train_options, tmp_path), "--out", str(other))
    else:
        result = call("train_ptb", *train_options, "--report", str(other))
    assert result.status == 2 and result.err.count("\n") == 1 and "index.html" in result.err
    assert other.read_text() == "<p>mine</p>"


@pytest.mark.parametrize("text", ["", "not metrics\n"])
def test_a_file_without_metrics_is_one_line(text: str, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    result = call("report", str(path), "--out", str(tmp_path / "r.html"))
    assert result.status == 2 and result.err.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_tensorboards_own_reader_finds_the_numbers(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboardX")
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = tmp_path / "board"
    metrics = train(call, train_options, tmp_path, "--tensorboard", str(board))
    events = reader.EventAccumulator(str(board))
    events.Reload()
    records = [json.loads(line) for line in Path(metrics).read_text().splitlines()]
    for tag, name in (("train/loss", "loss"), ("valid/loss", "valid_loss"),
                      ("test/loss", "test_loss"), ("train/grad_norm", "grad_norm")):  # fmt: skip
        found = [event.value for event in events.Scalars(tag)]
        assert found == pytest.approx([r[name] for r in records if name in r], rel=1e-6), tag
    assert [event.step for event in events.Scalars("valid/loss")] == [60, 120]
    assert any("temperature" in tag for tag in events.Tags()["tensors"])
