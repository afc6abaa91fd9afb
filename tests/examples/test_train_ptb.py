"""The training command: what it writes, Ctrl-C, resuming, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lm.run.metrics import versions

Call = Callable[..., Any]

BATCHES = 60  # of an epoch; see conftest.py

FORMS = [
    r"\| LSTM \| 12 words \| [\d,]+ parameters \| lr 20 \| seed 1111 \| .*",
    r"\| epoch   1 \|    25/   60 batches \| lr 20\.00 \| ms/batch {1,2}\d+\.\d\d "
    r"\| loss  \d\.\d\d \| ppl +\d+\.\d\d",
    r"\| epoch   1 \|    50/   60 batches \|.*",
    r"\| epoch   1 \|    60/   60 batches \|.*",
    r"-{89}",
    r"\| end of epoch   1 \| time: {1,2}\d+\.\d\ds \| valid loss  \d\.\d\d \| valid ppl +\d+\.\d\d",
    r"-{89}",
    r"={89}",
    r"\| End of training \| test loss  \d\.\d\d \| test ppl +\d+\.\d\d",
    r"={89}",
]


def same_weights(a: Path, b: Path) -> bool:
    first, second = load_checkpoint(a).model, load_checkpoint(b).model
    return all(np.array_equal(weight, second[name]) for name, weight in first.items())


# ---------------------------------------------------------------- a run


def test_a_run(run: Call, train_options: list[str], tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    result = run(
        "train_ptb", *train_options, "--epochs=1", "--log_interval=25", "--metrics", str(metrics)
    )
    assert (result.status, result.err) == (0, "")
    for line, form in zip(result.out.splitlines(), FORMS, strict=True):
        assert re.fullmatch(form, line), line

    names = {"model.safetensors", "model.latest.safetensors", "metrics.jsonl"}
    assert {file.name for file in tmp_path.iterdir()} == names
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    assert (checkpoint.settings["nhid"], checkpoint.settings["batch_size"]) == (8, 4)
    assert len(checkpoint.vocabulary) == 12

    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [record.get("batch") for record in records] == [None, 25, 50, 60, None, None]
    header = records[0]
    assert header.pop("time") < records[1]["time"]
    assert header.pop("machine")["cores"] >= 1 and {"blas", "commit"} <= header.keys()
    del header["blas"], header["commit"]
    assert header == {
        "batches": 60,
        "run": checkpoint.run["id"],
        "event": "start",
        "settings": checkpoint.settings,
        "seed": 1111,
        "versions": versions(),
        "parameters": sum(weight.size for weight in checkpoint.model.values()),
        "words": 12,
    }
    assert header["settings"]["lr"] == 20.0  # which was not given
    assert {record["run"] for record in records} == {header["run"]}
    assert f"test ppl {records[-1]['test_perplexity']:8.2f}" in result.out


@pytest.mark.parametrize("rnn_type", ["LSTM", "GRU", "RNN_TANH", "RNN_RELU"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_model_trains(
    call: Call, train_options: list[str], rnn_type: str, tied: bool
) -> None:
    options = ["--model", rnn_type, "--nlayers", "1", "--epochs", "4", *["--tied"] * tied]
    result = call("train_ptb", *train_options, *options)
    assert result.status == 0
    first_line, *_ = result.out.splitlines()
    assert first_line.startswith(f"| {rnn_type}{' tied' * tied} |")
    assert "| lr " in first_line
    perplexity = float(re.search(r"test ppl +(\S+)", result.out)[1])
    assert perplexity < 6  # 8.1 for who knows how often each word occurs, and no more


def test_the_same_seed_gives_the_same_model(
    call: Call, run: Call, train_options: list[str], tmp_path: Path
) -> None:
    def train(name: str, *options: str, how: Call = call) -> Path:
        path = tmp_path / name
        assert how("train_ptb", *train_options, "--save", str(path), *options).status == 0
        return path

    first = train("first")
    assert same_weights(first, train("in another process", how=run))
    assert same_weights(first, train("the default seed", "--seed", "1111"))
    assert not same_weights(first, train("another seed", "--seed", "1"))


def test_the_preset(call: Call, train_options: list[str], tmp_path: Path) -> None:
    options = ["--preset", "zaremba-small", "--dropout-kind", "variational", "--dry-run"]
    assert call("train_ptb", *train_options, *options).status == 0
    settings = load_checkpoint(tmp_path / "model.safetensors").settings
    assert (settings["decay_after"], settings["init_range"]) == (4, 0.1)
    assert (settings["nhid"], settings["dropout_kind"]) == (8, "variational")  # given


def test_dry_run_is_one_batch(call: Call, train_options: list[str]) -> None:
    result = call("train_ptb", *train_options, "--epochs", "40", "--dry-run")
    assert result.status == 0
    assert "|     1/    1 batches |" in result.out
    assert result.out.count("batches |") == 1
    assert "End of training" in result.out


def test_underscores_are_hyphens(call: Call, train_options: list[str], tmp_path: Path) -> None:
    options = ["--batch_size", "3", "--dry_run"]
    assert call("train_ptb", *train_options, *options).status == 0
    assert load_checkpoint(tmp_path / "model.safetensors").settings["batch_size"] == 3


def test_metrics_are_appended(call: Call, train_options: list[str], tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    for _ in range(2):
        call("train_ptb", *train_options, "--dry-run", "--metrics", str(metrics))
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [record.get("event") for record in records] == ["start", None, None, None] * 2
    assert len({record["run"] for record in records}) == 2


def test_metrics_of_a_run_that_goes_on_are_of_one_run(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    """With one header a file, where it goes on in its own and where it does in another."""
    first, other = tmp_path / "first.jsonl", tmp_path / "other.jsonl"
    call("train_ptb", *train_options, "--epochs=1", "--metrics", str(first))
    resume = ["--resume", str(tmp_path / "model.latest.safetensors")]
    for metrics, epochs in ((first, 2), (other, 3), (other, 4)):
        options = ["--metrics", str(metrics), f"--epochs={epochs}"]
        assert call("train_ptb", *resume, *options).status == 0
    for metrics in (first, other):
        records = [json.loads(line) for line in metrics.read_text().splitlines()]
        assert [record.get("event") for record in records[:2]] == ["start", None]
        assert sum("event" in record for record in records) == 1
        run = load_checkpoint(tmp_path / "model.latest.safetensors").run["id"]
        assert {record["run"] for record in records} == {run}


@pytest.mark.parametrize("name", ["train.txt", "model.safetensors", "model.latest.safetensors"])
@pytest.mark.parametrize("link", [False, True])
def test_metrics_damage_no_other_file(
    call: Call, train_options: list[str], corpus: Path, tmp_path: Path, name: str, link: bool
) -> None:
    """Neither one that is there, nor one that only training will make."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for file in corpus.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = (folder if name == "train.txt" else tmp_path) / name
    metrics = tmp_path / "link" if link else path
    if link:
        metrics.symlink_to(path)
    options = [*train_options, "--data", str(folder), "--epochs=1"]
    for there in (False, True):
        before = path.read_bytes() if path.exists() else None
        result = call("train_ptb", *options, "--metrics", str(metrics))
        assert f"--metrics {metrics} is the same file as {path}" in result.error()
        assert result.out == ""
        assert (path.read_bytes() if path.exists() else None) == before
        if not there:
            assert call("train_ptb", *options).status == 0


def test_save_overwrites_no_file_that_is_not_a_checkpoint(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("a year of notes")
    assert "is not a checkpoint" in call("train_ptb", *train_options, "--save", str(notes)).error()
    assert notes.read_text() == "a year of notes"
    notes.write_text("")  # as a shell or mktemp leaves it
    assert call("train_ptb", *train_options, "--save", str(notes), "--epochs=1").status == 0
    assert call("train_ptb", *train_options, "--save", str(notes), "--epochs=1").status == 0


def test_save_does_not_write_over_the_text(
    call: Call, train_options: list[str], corpus: Path, tmp_path: Path
) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "valid.txt"
    before = path.read_bytes()
    error = call("train_ptb", *train_options, "--data", str(tmp_path), "--save", str(path)).error()
    assert "give --save another file" in error
    assert path.read_bytes() == before


def test_how_many_words_are_unknown_is_reported(
    call: Call, train_options: list[str], corpus: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for file in corpus.iterdir():
        more = {"valid.txt": "the zebra saw\n", "test.txt": "okapi okapi\n"}.get(file.name, "")
        (folder / file.name).write_text(file.read_text() + more)
    result = call("train_ptb", *train_options, "--data", str(folder), "--dry-run")
    assert "read as <unk>: 1 words of valid, 2 of test" in result.out


def test_help(call: Call) -> None:
    result = call("train_ptb", "--help")
    assert result.status == 0
    options = """--data --model --emsize --nhid --nlayers --lr --clip --epochs --batch-size --bptt
        --dropout --tied --seed --log-interval --save --resume --backend --metrics --dry-run"""
    assert all(f"{option} " in result.out for option in options.split())
    about = re.split(r"\n +(?=--)", " ".join(result.out.partition("options:")[2:]))[1:]
    assert len(about) > 20
    assert [option for option in about if "default" not in option] == []
    assert "20 for LSTM" in result.out


# ---------------------------------------------------------------- at a terminal


def read_all(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # which is how Linux says that the other end is closed
                raise
            return
        if not chunk:
            return
        yield chunk


def test_a_person_at_a_terminal_sees_a_bar(start: Call, train_options: list[str]) -> None:
    pty = pytest.importorskip("pty")
    seen, shown = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "OPENBLAS_NUM_THREADS": "1"}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        environment.pop(name, None)
    process = start("train_ptb", *train_options, stdout=shown, env=environment, pipesize=-1)
    os.close(shown)
    raw = b"".join(read_all(seen)).decode()
    os.close(seen)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", raw)
    assert re.search(r"epoch \d/2 .* [\d,]+ words/s \d+:\d\d:\d\d left", text)
    assert re.search(r"\| epoch   1 \|    60/   60 batches \|", text)
    assert "| End of training |" in text


# ---------------------------------------------------------------- Ctrl-C


def interrupt_at(process: subprocess.Popen[str], line: str) -> str:
    """Presses Ctrl-C as soon as a line begins with `line`; returns all that is written."""
    out = ""
    for text in process.stdout:
        out += text
        if text.startswith(line):
            process.send_signal(signal.SIGINT)
            break
    else:
        pytest.fail(f"no line {line!r} in\n{out}")
    out += process.stdout.read()  # not `communicate`, which loses what the loop has read ahead
    process.wait(timeout=120)
    return out


@pytest.fixture
def long_epochs(train_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """400 batches an epoch and a line for each, many more than fit into the pipe."""
    draw = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("long")
    for split, lines in {"train": 1600, "valid": 10, "test": 12}.items():
        words = draw.choice(["the", "cat", "dog", "saw", "likes"], (lines, 4))
        (folder / f"{split}.txt").write_text("".join(" ".join(line) + "\n" for line in words))
    return [*train_options, "--data", str(folder), "--log-interval", "1"]


def position(checkpoint: Checkpoint) -> tuple[int, int]:
    where = checkpoint.run["position"]
    return where["epoch"], where["batch"]


def test_ctrl_c_in_mid_epoch_and_resuming_to_the_bit(
    start: Call, call: Call, long_epochs: list[str], tmp_path: Path
) -> None:
    process = start("train_ptb", *long_epochs)
    out = interrupt_at(process, "| epoch   2 |     5/")
    assert process.returncode == 0
    assert (tmp_path / "stderr").read_text() == ""
    assert out.count("end of epoch") == 1
    test_line = re.search(r"\| End of training \| test loss +\S+ \| test ppl +(\S+)\n={89}\n", out)

    best, latest = tmp_path / "model.safetensors", tmp_path / "model.latest.safetensors"
    epoch, batch = position(load_checkpoint(latest))
    assert epoch == 2
    assert 5 <= batch < 400
    assert position(load_checkpoint(best)) == (2, 0)  # kept when epoch 1 was validated
    assert test_line

    whole = tmp_path / "whole.safetensors"
    assert call("train_ptb", *long_epochs, "--save", str(whole)).status == 0
    resumed = call("train_ptb", "--resume", str(latest), "--save", str(best), "--log-interval=1")
    assert resumed.status == 0
    assert f"| epoch   2 |   {batch + 1:3d}/  400 batches" in resumed.out.splitlines()[1]
    assert same_weights(latest, tmp_path / "whole.latest.safetensors")
    assert same_weights(best, whole)


def test_ctrl_c_before_the_first_validation(
    start: Call, run: Call, long_epochs: list[str], tmp_path: Path
) -> None:
    process = start("train_ptb", *long_epochs)
    out = interrupt_at(process, "| epoch   1 |     3/")
    assert process.returncode == 0
    assert (tmp_path / "stderr").read_text() == ""
    assert "end of epoch" not in out
    assert "| End of training |" in out
    best, latest = tmp_path / "model.safetensors", tmp_path / "model.latest.safetensors"
    assert same_weights(best, latest)
    assert position(load_checkpoint(latest))[0] == 1
    assert run("generate", "--words", "5").status == 0  # from model.safetensors here


def test_ctrl_c_is_answered_and_the_command_that_goes_on_is_printed(
    start: Call, long_epochs: list[str], tmp_path: Path
) -> None:
    options = [*long_epochs, "--metrics=run of mine.jsonl", "--save-every=0.5m"]
    process = start("train_ptb", *options)
    out = interrupt_at(process, "| epoch   1 |     3/").splitlines()
    answer = next(i for i, line in enumerate(out) if line.startswith("| stopping: "))
    assert "batches |" not in "".join(out[answer:])
    latest = tmp_path / "model.latest.safetensors"
    batch = load_checkpoint(latest).run["position"]["batch"]
    state, command = out[-2:]
    where = f"in epoch 1 after {batch} of 400 batches; the state is in {latest}"
    assert state == f"| stopped {where}; to continue:"
    words = shlex.split(command.removeprefix("| "))
    assert words[0] == "python" and words[1].endswith("train_ptb.py")
    options = ["--log-interval", "1", "--save-every", "0.5m", "--metrics", "run of mine.jsonl"]
    assert words[2:] == ["--resume", str(latest), *options]
    done = subprocess.run(
        [sys.executable, *words[1:], "--epochs=1"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"| epoch   1 |   {batch + 1:3d}/  400 batches" in done.stdout


def test_a_run_that_ends_by_itself_says_nothing_of_going_on(
    call: Call, train_options: list[str]
) -> None:
    out = call("train_ptb", *train_options).out
    assert "stopped" not in out and "stopping" not in out and "--resume" not in out


def test_a_run_with_nothing_left_to_do_says_so(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    call("train_ptb", *train_options)
    save = ["--save", str(tmp_path / "model.safetensors")]
    out = call("train_ptb", "--resume", str(tmp_path / "model.latest.safetensors"), *save).out
    assert "| nothing is left to train: 2 epochs are done" in out
    assert "--epochs" in out
    assert "| End of training |" in out
    assert "batches |" not in out


def test_a_run_says_at_the_start_that_it_replaces_the_model_of_another(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    best = tmp_path / "model.safetensors"
    warning = f"| {best} holds the best model of another run"
    assert warning not in call("train_ptb", *train_options).out
    first, second, *_ = call("train_ptb", *train_options).out.splitlines()
    assert first.startswith("| LSTM |")
    assert second.startswith(warning) and "--save" in second
    more = ["--resume", str(tmp_path / "model.latest.safetensors"), "--save", str(best)]
    assert warning not in call("train_ptb", *more, "--epochs=3").out
    best.write_text("no checkpoint")
    assert warning not in call("train_ptb", *train_options).out


def test_ctrl_c_before_training_is_one_line(
    call: Call, train_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lm.run.start.load_corpus", interrupted)
    assert "interrupted" in call("train_ptb", *train_options).error()


# ---------------------------------------------------------------- resuming


def test_resuming_at_an_epochs_end_gives_the_same_bits(
    run: Call, call: Call, train_options: list[str], tmp_path: Path
) -> None:
    whole = tmp_path / "whole.safetensors"
    call("train_ptb", *train_options, "--save", str(whole), "--epochs", "3")
    call("train_ptb", *train_options, "--epochs", "1")
    latest = tmp_path / "model.latest.safetensors"
    result = run("train_ptb", "--resume", latest.name, "--epochs", "3")
    assert result.status == 0
    assert result.out.count("end of epoch") == 2
    assert same_weights(latest, tmp_path / "whole.latest.safetensors")
    assert same_weights(tmp_path / "model.safetensors", whole)


@pytest.mark.parametrize(
    "option", [["--nhid", "9"], ["--model", "GRU"], ["--batch_size=5"], ["--preset=zaremba-small"]]
)
def test_a_contradiction_with_the_checkpoint_is_refused_by_name(
    call: Call, trained: Path, option: list[str]
) -> None:
    error = call("train_ptb", "--resume", str(trained), *option).error()
    named = option[0].replace("_", "-").split("=")[0]
    assert named in error or named == "--preset"
    assert "conflicts with the checkpoint" in error


def test_saying_the_default_learning_rate_when_a_run_goes_on(
    call: Call, train_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own best model stays, is tested, and the next resume finds it again."""
    losses = iter([2.0, 2.5, 3.0, 2.5, 4.0, 2.5])  # validation and test in turn
    monkeypatch.setattr("lm.run.trainer.evaluate", lambda *args, **kwargs: next(losses))
    call("train_ptb", *train_options, "--epochs=1")
    best, latest = tmp_path / "model.safetensors", tmp_path / "model.latest.safetensors"
    before = best.read_bytes()
    for epochs in ("2", "3"):
        more = ["--resume", str(latest), "--save", str(best), "--lr=20", f"--epochs={epochs}"]
        result = call("train_ptb", *more)
        assert (result.status, result.err) == (0, "")
        assert "| End of training |" in result.out
        assert best.read_bytes() == before


@pytest.mark.parametrize("resumed", ["a.latest.safetensors", "a.safetensors"])
def test_without_save_a_run_goes_on_in_its_own_files(
    call: Call,
    train_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resumed: str,
) -> None:
    losses = iter([2.0, 2.5, 3.0, 2.25])  # validation and test in turn
    monkeypatch.setattr("lm.run.trainer.evaluate", lambda *args, **kwargs: next(losses))
    monkeypatch.chdir(tmp_path)
    call("train_ptb", *train_options, "--save", "a.safetensors", "--epochs=1")
    best = Path("a.safetensors").read_bytes()
    assert call("train_ptb", "--resume", resumed, "--epochs=2").status == 0
    assert {file.name for file in tmp_path.iterdir()} == {"a.safetensors", "a.latest.safetensors"}
    assert Path("a.safetensors").read_bytes() == best
    assert position(load_checkpoint(Path("a.latest.safetensors"))) == (3, 0)


def test_with_another_save_the_best_model_goes_along(
    call: Call, train_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([2.0, 2.5, 3.0, 2.25])
    monkeypatch.setattr("lm.run.trainer.evaluate", lambda *args, **kwargs: next(losses))
    monkeypatch.chdir(tmp_path)
    call("train_ptb", *train_options, "--save", "a.safetensors", "--epochs=1")
    more = ["--resume", "a.latest.safetensors", "--save", "b.safetensors", "--epochs=2"]
    result = call("train_ptb", *more)
    assert (result.status, result.err) == (0, "")
    assert same_weights(Path("a.safetensors"), Path("b.safetensors"))
    assert not same_weights(Path("a.safetensors"), Path("b.latest.safetensors"))


def test_a_resume_that_is_refused_or_fails_changes_no_file(
    call: Call, train_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.jsonl").touch()
    call("train_ptb", *train_options, "--save", "a.safetensors", "--metrics", "m.jsonl")
    call("train_ptb", *train_options, "--save", "b.safetensors", "--nhid=9")
    damaged = load_checkpoint(Path("a.latest.safetensors"))
    damaged.run["position"]["speed"] = 3
    save_checkpoint("damaged.latest.safetensors", damaged)
    Path("text").write_text("the cat sat\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    resume = ["--resume", "a.latest.safetensors", "--metrics", "m.jsonl", "--epochs=3"]
    for options in (
        ["--nhid=9"], ["--data=nowhere"], ["--save=nowhere/m"], ["--dry-run"], ["--resume=text"],
        ["--resume=damaged.latest.safetensors"], ["--batch-size=5"], ["--resume="],
        ["--save=b.safetensors", "--metrics=nowhere/m"], ["--metrics="], ["--metrics=text"],
        ["--metrics=a.safetensors"], ["--metrics=b.safetensors"],
    ):  # fmt: skip
        call("train_ptb", *resume, *options).error()
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before, options


def test_resuming_on_another_text(call: Call, trained: Path, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("other words\n" * 20)
    options = ["--data", str(tmp_path), "--save", str(tmp_path / "model.safetensors")]
    result = call("train_ptb", "--resume", str(trained), *options, "--epochs=7")
    assert result.status == 0
    assert result.err.startswith("warning: 40 of the training text's 60 words are not in")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("what", ["the decoder's bias", "a setting", "the run"])
def test_resuming_from_a_checkpoint_that_lacks_something(
    call: Call, trained: Path, tmp_path: Path, what: str
) -> None:
    checkpoint = load_checkpoint(trained)
    if what == "the decoder's bias":
        del checkpoint.model["decoder.bias"]
    elif what == "a setting":
        del checkpoint.settings["nhid"]
    else:
        checkpoint.run.clear()
    path = tmp_path / "damaged.safetensors"
    save_checkpoint(path, checkpoint)
    options = ["--nhid", "8", "--save", str(tmp_path / "model.safetensors")]
    assert str(path) in call("train_ptb", "--resume", str(path), *options).error()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--model", "TRANSFORMER"], "TRANSFORMER"),
        (["--tied", "--emsize", "9"], "--emsize 9"),
        (["--bptt", "0"], "--bptt"),
        (["--nhid", "-8"], "--nhid"),
        (["--emsize=-8"], "--emsize"),
        (["--nlayers", "0"], "--nlayers"),
        (["--batch-size", "-1"], "--batch-size"),
        (["--batch_size", "0"], "--batch-size"),
        (["--batch-size", "601"], "fewer than the 1202"),
        (["--epochs", "0"], "--epochs"),
        (["--seed", "-1"], "--seed"),
        (["--log-interval", "0"], "--log-interval"),
        (["--dropout", "1.01"], "--dropout"),
        (["--dropout", "-0.5"], "--dropout"),
        (["--dropout", "nan"], "--dropout"),
        (["--lr", "0"], "--lr"),
        (["--lr", "nan"], "--lr"),
        (["--lr", "fast"], "'fast'"),
        (["--clip", "inf"], "--clip"),
        (["--epochs", "1.5"], "'1.5'"),
        (["--nhid", "many"], "'many'"),
        (["--preset", "huge"], "'huge'"),
        (["--backend", "tpu"], "'tpu'"),
        (["--speed", "9"], "--speed"),
        (["stray"], "stray"),
        (["--lr"], "--lr"),
        (["--resume", "nowhere.safetensors"], "no checkpoint nowhere.safetensors"),
        (["--resume", __file__], "not a checkpoint"),
        (["--save", "nowhere/model.safetensors"], "no folder nowhere"),
        (["--metrics", "nowhere/metrics.jsonl"], "nowhere/metrics.jsonl"),
        (["--metrics", "."], "Is a directory"),
    ],
)
def test_wrong_options_are_one_line(
    call: Call,
    train_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train_ptb", *train_options, *options)
    assert said in result.error()
    assert "batches |" not in result.out  # refused before a moment was spent on training
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".", "", "folder", "m" * 300])
def test_a_model_that_cannot_be_saved_is_one_line(
    call: Call,
    train_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert name in call("train_ptb", *train_options, "--dry-run", "--save", name).error()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
@pytest.mark.parametrize("name", ["model.safetensors", "model.latest.safetensors"])
def test_a_link_into_a_folder_that_is_missing_is_noticed_before_training(
    call: Call, train_options: list[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / name).symlink_to(tmp_path / "missing" / "model")
    result = call("train_ptb", *train_options)
    assert f"no folder {tmp_path / 'missing'}, where {tmp_path / name} leads to" in result.error()
    assert result.out == ""
    (tmp_path / "missing").mkdir()
    assert call("train_ptb", *train_options).status == 0
    assert (tmp_path / "missing" / "model").is_file()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_best_and_latest_in_one_file_are_refused(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "model.latest.safetensors").symlink_to(tmp_path / "model.safetensors")
    assert "are one file" in call("train_ptb", *train_options).error()


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (None, "no {split}.txt"),
        (b"", "{split}.txt has no words"),
        (b" \n\n", "{split}.txt has no words"),
        (b"caf\xe9\n", "{split}.txt is not UTF-8"),
        (b"a b c\n", "the {split} text has 4 words"),
    ],
)
def test_wrong_texts_are_one_line(
    call: Call,
    train_options: list[str],
    corpus: Path,
    tmp_path: Path,
    split: str,
    contents: bytes | None,
    said: str,
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for file in corpus.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / f"{split}.txt").unlink()
    if contents is not None:
        (folder / f"{split}.txt").write_bytes(contents)
    result = call("train_ptb", *train_options, "--data", str(folder))
    assert said.format(split=split) in result.error()


def test_cupy_without_cupy(
    call: Call, train_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "cupy" else find_spec(name, *a)
    )
    error = call("train_ptb", *train_options, "--backend", "cupy").error()
    assert "CuPy is not installed" in error
    assert "pip install cupy-cuda" in error


@pytest.mark.parametrize(
    "options",
    [["--data", "nowhere"], ["--bptt", "0"], ["--resume", "train_ptb"], ["--no-such-option"]],
)
def test_wrong_options_are_one_line_in_a_process_of_its_own(
    run: Call, train_options: list[str], options: list[str]
) -> None:
    result = run("train_ptb", *train_options, *options)
    result.error()
    assert result.out == ""


def test_a_loss_that_is_no_number_is_one_line(run: Call, train_options: list[str]) -> None:
    result = run("train_ptb", *train_options, "--model=RNN_RELU", "--lr=1e30", "--clip=1e30")
    assert re.search(r"loss is (nan|inf).*lower --lr", result.error())
    assert "| loss   nan |" in result.out or "| loss   inf |" in result.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(run: Call, train_options: list[str]) -> None:
    assert "No space left" in run("train_ptb", *train_options, "--metrics", "/dev/full").error()
