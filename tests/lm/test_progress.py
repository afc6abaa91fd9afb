"""What a person sees: lines, or a bar at a terminal; and the file of metrics."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lm.console import UserError
from lm.run.metrics import MetricsFile
from lm.run.observer import EpochEnd, Report
from lm.run.progress import Bar, Lines, fitted, watch
from lm.steps import perplexity


def report(**changes: float) -> Report:
    values = {
        "epoch": 1,
        "batch": 200,
        "batches": 1327,
        "lr": 20.0,
        "loss": 6.8503,
        "grad_norm": 0.5,
        "words": 140_000,
        "seconds": 19.25,
        "count": 200,
    }
    return Report(**{**values, **changes})


def test_lines_are_word_language_models(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.start("| LSTM")
    lines.batch(1, 1, 1327, 700)
    lines.report(report())
    lines.epoch_end(EpochEnd(1, 131.4211, 5.4415))
    lines.end(4.7674)
    lines.close()
    assert capsys.readouterr().out == (
        "| LSTM\n"
        "| epoch   1 |   200/ 1327 batches | lr 20.00 | ms/batch 96.25 "
        "| loss  6.85 | ppl   944.16\n"
        + "-" * 89
        + "\n| end of epoch   1 | time: 131.42s | valid loss  5.44 | valid ppl   230.79\n"
        + "-" * 89
        + "\n"
        + "=" * 89
        + "\n| End of training | test loss  4.77 | test ppl   117.61\n"
        + "=" * 89
        + "\n"
    )


def test_lines_of_large_and_small_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.report(report(epoch=40, batch=1327, lr=0.078125, loss=math.nan, seconds=0.9, count=127))
    lines.report(report(loss=1000.0, count=1))
    lines.end(math.inf)
    nan, large, end = (line for line in capsys.readouterr().out.splitlines() if line[0] == "|")
    assert nan == (
        "| epoch  40 |  1327/ 1327 batches | lr 0.08 | ms/batch  7.09 | loss   nan | ppl      nan"
    )
    assert large.endswith("| ms/batch 19250.00 | loss 1000.00 | ppl      inf")
    assert end.endswith("| test loss   inf | test ppl      inf")


def test_a_line_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone may follow the output through a pipe."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw), "utf-8"))
    Lines().start("| LSTM")
    assert raw.getvalue().decode().splitlines() == ["| LSTM"]


@pytest.mark.parametrize(
    ("loss", "expected"), [(0.0, 1.0), (math.log(117.61), 117.61), (1e6, math.inf)]
)
def test_perplexity(loss: float, expected: float) -> None:
    assert perplexity(loss) == pytest.approx(expected)


# ---------------------------------------------------------------- at a terminal


class Screen:
    """What a terminal shows, without colours."""

    def __init__(self, seen: int) -> None:
        self.raw = b""
        self.thread = threading.Thread(target=self.read, args=[seen])
        self.thread.start()

    def read(self, seen: int) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(seen, 4096):
                self.raw += chunk
        os.close(seen)

    def text(self) -> str:
        return re.sub(r"\x1b\[[\d;]*m", "", self.raw.decode())


@contextmanager
def terminal() -> Iterator[Screen]:
    """Standard output is a terminal of 120 columns."""
    pty = pytest.importorskip("pty")
    seen, shown = pty.openpty()
    screen = Screen(seen)
    with pytest.MonkeyPatch.context() as patch, open(shown, "w") as file:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        patch.setattr(sys, "stdout", file)
        yield screen
    screen.thread.join()


def test_a_bar_with_words_per_second_and_the_time_left() -> None:
    with terminal() as screen:
        bar = watch(epochs=3)
        assert isinstance(bar, Bar)
        bar.start("| LSTM")
        for batch in range(1, 6):
            bar.batch(1, batch, 10, 700)
        bar.report(report())
        bar.progress.refresh()
        bar.end(4.7674)
        bar.close()
    shown = screen.text()
    assert "epoch 1/3" in shown
    assert "17%" in shown  # 5 of 30 batches
    assert re.search(r"\d words/s", shown)
    assert re.search(r"[-\d]+:[-\d]{2}:[-\d]{2} left", shown)
    # The ^C that a terminal shows must fit behind it, or it would push the bar up and leave it.
    assert max(map(len, re.findall(r"epoch 1/3[^\n\r]*? left", shown))) < 120 - len("^C")
    assert "| epoch   1 |   200/ 1327 batches | lr 20.00 |" in shown
    assert "| End of training | test loss  4.77 | test ppl   117.61" in shown


def test_the_bar_of_a_resumed_run_begins_where_the_run_does() -> None:
    with terminal() as screen:
        bar = watch(epochs=4)
        bar.batch(3, 1, 10, 700)
        bar.progress.refresh()
        bar.close()
    assert "52%" in screen.text()  # 21 of 40


def test_a_bar_that_never_began_can_be_closed() -> None:
    with terminal():
        watch(epochs=1).close()


def test_validation_has_a_bar_of_its_own() -> None:
    with terminal() as screen:
        bar = watch(epochs=2)
        bar.batch(1, 10, 10, 700)
        for batch in (1, 2, 3):
            bar.evaluating("validating", batch, 4, 700 * batch)
            bar.progress.refresh()
        bar.evaluating("validating", 4, 4, 2800)
        bar.batch(2, 1, 10, 700)
        bar.progress.refresh()
        bar.close()
    shown = screen.text()
    assert re.search(r"validating .* 75%", shown)
    *_, last = re.findall(r"(?:epoch|validating) .*?%", shown)
    assert last.startswith("epoch 2/2") and "55%" in last


def test_a_test_without_training_has_a_bar_too() -> None:
    with terminal() as screen:
        bar = watch(epochs=1)
        bar.evaluating("testing", 1, 2, 700)
        bar.progress.refresh()
        bar.evaluating("testing", 2, 2, 1400)
        bar.close()
    assert re.search(r"testing .* 50%", screen.text())


def test_a_bar_outlives_its_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the thread that draws it; and it is said once."""
    pty = pytest.importorskip("pty")
    faults: list[object] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    seen, shown = pty.openpty()
    file = open(shown, "w")  # noqa: SIM115 (closing it fails)
    monkeypatch.setattr(sys, "stdout", file)
    bar = watch(epochs=2)
    bar.batch(1, 1, 10, 700)
    os.close(seen)
    bar.report(report())
    bar.note("stopping")
    time.sleep(0.3)  # it is drawn ten times a second
    bar.evaluating("testing", 1, 1, 700)
    bar.end(4.7674)
    bar.close()
    with contextlib.suppress(OSError):
        file.close()
    assert faults == []
    assert capsys.readouterr().err == (
        "warning: can't write to standard output: Input/output error; training continues\n"
    )


ROW = "| epoch   1 |   200/ 1327 batches | lr 20.00 | ms/batch 96.25 | loss  6.85 | ppl   944.16"


@pytest.mark.parametrize(
    ("line", "width", "rows"),
    [
        (ROW, 120, [ROW]),
        (ROW, len(ROW), [ROW]),
        (
            ROW,
            85,
            ["| epoch 1 | 200/1327 batches | lr 20.00 | ms/batch 96.25 | loss 6.85 | ppl 944.16"],
        ),
        (ROW, 80, ["| epoch 1 | 200/1327 batches | lr 20.00 | loss 6.85 | ppl 944.16"]),
        (ROW, 40, ["| epoch 1 | 200/1327 batches | lr 20.00", "| loss 6.85 | ppl 944.16"]),
        ("=" * 89, 80, ["=" * 80]),
        ("| a cell that is too long for it", 10, ["| a cell that is too long for it"]),
    ],
)  # fmt: skip
def test_lines_fit_into_a_narrow_terminal(line: str, width: int, rows: list[str]) -> None:
    assert fitted(line, width).splitlines() == rows


def test_a_command_to_copy_is_not_broken_and_a_note_is() -> None:
    with terminal() as screen:
        bar = watch(epochs=1)
        bar.note("word " * 40)
        bar.command("x" * 200)
        bar.close()
    lines = screen.text().splitlines()
    assert lines[0] == ("| " + "word " * 24)[:117].strip()
    assert lines[1].startswith("| word")
    assert lines[2] == "| " + "x" * 200


def test_plain_lines_say_how_far_it_is_only_where_that_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0, 20, 31, 50, 62, 100, 101])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = Lines()
    for batch in range(1, 6):
        lines.evaluating("validating", batch, 210, 700)
    lines.evaluating("testing", 1, 210, 700)
    lines.evaluating("testing", 2, 210, 700)
    assert capsys.readouterr().out == (
        "| validating |     3/  210 batches\n| validating |     5/  210 batches\n"
    )


def test_no_output_at_all_is_plain_lines_that_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    lines = watch(epochs=1)
    assert type(lines) is Lines
    lines.report(report())


def test_plain_lines_where_nobody_is_watching(capsys: pytest.CaptureFixture[str]) -> None:
    assert type(watch(epochs=3)) is Lines


# ---------------------------------------------------------------- metrics


def strictly(text: str) -> dict[str, object]:
    """What is in a line of JSON; NaN and Infinity, which Python writes there, are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_metrics_are_a_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.start("| LSTM")
    metrics.batch(1, 1, 1327, 700)
    metrics.report(report())
    assert len(path.read_text().splitlines()) == 1  # at once
    metrics.epoch_end(EpochEnd(1, 131.5, 5.4415, 120.5, 241.0, 929_580))
    metrics.end(4.7674)
    metrics.close()
    first, epoch, end = map(strictly, path.read_text().splitlines())
    times = [line.pop("time") for line in (first, epoch, end)]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 3600  # seconds since 1970
    assert first == {
        "epoch": 1,
        "batch": 200,
        "lr": 20.0,
        "loss": 6.8503,
        "perplexity": math.exp(6.8503),
        "grad_norm": 0.5,
        "tokens_per_second": 140_000 / 19.25,
        "seconds": 19.25,
    }
    assert epoch.pop("peak_memory") > 10**7  # bytes
    assert epoch == {
        "epoch": 1,
        "valid_loss": 5.4415,
        "valid_perplexity": math.exp(5.4415),
        "seconds": 131.5,
        "train_seconds": 120.5,
        "cpu_seconds": 241.0,
        "tokens_per_second": 929_580 / 120.5,
    }
    assert end == {"test_loss": 4.7674, "test_perplexity": math.exp(4.7674)}


def test_metrics_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for loss in (2.0, 1.0):
        metrics = MetricsFile(path)
        metrics.end(loss)
        metrics.close()
    assert [strictly(line)["test_loss"] for line in path.read_text().splitlines()] == [2.0, 1.0]


OLDER = [  # what the version before wrote
    {"epoch": 1, "batch": 2, "lr": 20.0, "loss": 6.8, "perplexity": None, "time": 1.5},
    {"epoch": 1, "valid_loss": 5.4, "valid_perplexity": 230.8, "seconds": 2.0, "time": 2.5},
    {"test_loss": 4.8, "test_perplexity": 117.6, "time": 3.5},
]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [strictly(line) for line in path.read_text().splitlines()]


def test_a_run_has_an_id_in_every_line_and_one_header_in_each_file(tmp_path: Path) -> None:
    path, other = tmp_path / "metrics.jsonl", tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in OLDER))

    def write(path: Path, run: str, resumed: object = None) -> object:
        metrics = MetricsFile(path, resumed, run, {"seed": 3})
        metrics.start("| LSTM")
        metrics.report(report())
        metrics.close()
        return metrics.state()["metrics"]

    kept = write(path, "a")
    kept = write(path, "a", kept)
    write(path, "b")
    write(path, "a")  # its checksum is lost, its header is not
    write(other, "a", kept)
    runs = [(line.get("run"), line.get("event")) for line in lines_of(path)]
    assert runs == [
        *[(None, None)] * 3,
        *[("a", "start"), ("a", None), ("a", None)],
        *[("b", "start"), ("b", None)],
        ("a", None),
    ]
    header, line = lines_of(other)
    assert header.pop("time") <= line["time"]
    assert header == {"run": "a", "event": "start", "seed": 3}


def test_a_header_that_is_cut_off_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = written(path, 1).state()["metrics"]  # by an earlier version
    for _ in range(2):
        metrics = MetricsFile(path, kept, "a", {"seed": 3})
        metrics.start("| LSTM")
        metrics.close()
    assert [line.get("event") for line in lines_of(path)] == [None, "start"]


@pytest.mark.parametrize(
    "contents",
    [
        b"the cat sat\n",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"{\n",
        b'{"epoch": 1}\n',
        b'{"time": 1}\n',
        b'{"lr": 0.1, "ti',
        b"[" * 100_000,
        b"\xff\xfe{",
        json.dumps(OLDER[0]).encode() + b"\nthe cat sat\n",
        json.dumps(OLDER).encode(),
    ],
)
def test_a_file_with_other_lines_is_refused_and_stays(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(contents)
    with pytest.raises(UserError) as caught:
        MetricsFile(path)
    message = str(caught.value)
    assert f"{path} exists and is not a metrics file" in message
    assert "--metrics" in message
    assert "\n" not in message
    assert path.read_bytes() == contents


@pytest.mark.parametrize("record", OLDER)
def test_a_line_of_ours_may_be_cut_anywhere_after_its_beginning(
    tmp_path: Path, record: dict[str, object]
) -> None:
    path = tmp_path / "metrics.jsonl"
    for record_ in (record, {"run": "a", **record}):
        line = json.dumps(record_)
        for cut in range(2, len(line)):
            path.write_text(line + "\n" + line[:cut])
            written(path, 3).close()
            written(path, 4).close()
            assert path.read_text().startswith(f"{line}\n{line[:cut]}\n")
            assert len(path.read_text().splitlines()) == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_may_take_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    metrics = MetricsFile(path, None, "a", {"seed": 3})
    metrics.start("| LSTM")
    metrics.close()
    assert strictly(os.read(reader, 1000).decode())["event"] == "start"
    os.close(reader)


def test_metrics_of_a_run_that_diverged_are_still_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.report(report(loss=math.nan, grad_norm=math.inf))
    metrics.report(report(loss=1000.0))  # whose perplexity no float can hold
    metrics.close()
    nan, large = map(strictly, path.read_text().splitlines())
    assert (nan["epoch"], nan["batch"]) == (1, 200)
    assert large["loss"] == 1000.0


@pytest.mark.parametrize("name", ["", "nowhere/metrics.jsonl"])
def test_a_file_that_cannot_be_written_is_a_user_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        MetricsFile(tmp_path / name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    assert "\n" not in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_user_error() -> None:
    metrics = MetricsFile("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        metrics.report(report())
    metrics.close()


# ---------------------------------------------------------------- metrics of a run that goes on


def epochs_of(path: Path) -> list[object]:
    return [strictly(line).get("epoch") for line in path.read_text().splitlines()]


def written(path: Path, *epochs: int, resumed: object = None) -> MetricsFile:
    metrics = MetricsFile(path, resumed)
    for epoch in epochs:
        metrics.report(report(epoch=epoch))
    return metrics


def test_what_was_reported_after_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path, 1).close()  # another run, which is left alone
    metrics = written(path, 1, 2)
    kept = metrics.state()["metrics"]
    metrics.report(report(epoch=3))
    metrics.end(4.0)
    metrics.close()
    with open(path, "a") as file:
        file.write('{"epoch": 3, "ba')  # the kill
    written(path, 3, 4, resumed=kept).close()
    assert epochs_of(path) == [1, 1, 2, 3, 4]
    written(path, 5, resumed=kept).close()  # once more, from the same checkpoint
    assert epochs_of(path) == [1, 1, 2, 5]


def test_the_file_of_another_run_is_not_cut(tmp_path: Path) -> None:
    kept = written(tmp_path / "a", 1, 2).state()["metrics"]
    written(tmp_path / "b", 5, 6, 7).close()
    written(tmp_path / "b", 8, resumed=kept).close()
    assert epochs_of(tmp_path / "b") == [5, 6, 7, 8]
    (tmp_path / "a").unlink()
    written(tmp_path / "a", 8, resumed=kept).close()
    assert epochs_of(tmp_path / "a") == [8]


def test_a_line_that_a_kill_has_cut_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "ba')
    written(path, 2).close()
    assert strictly(path.read_text().splitlines()[1])["epoch"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_is_full_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    path = tmp_path / "metrics.jsonl"
    metrics = written(path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        metrics.report(report(epoch=2))
        metrics.report(report(epoch=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    metrics.report(report(epoch=4))
    assert epochs_of(path) == [1, 4]
    assert metrics.state()["metrics"]["bytes"] == path.stat().st_size
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert warning.startswith(f"warning: can't write the metrics to {path}: File too large")
