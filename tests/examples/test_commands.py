"""python -m lm: the commands that examples call too, and those that only it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minigrad as mg
from lm.batches import batchify
from lm.checkpoint import load_checkpoint, save_checkpoint
from lm.corpus import Corpus, Dictionary
from lm.settings import Settings, build_model
from lm.steps import evaluate

Call = Callable[..., Any]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def lm(tmp_path: Path) -> Call:
    """Runs `python -m lm` in a folder of its own, which is not that of the source."""

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lm", *argv],
            cwd=tmp_path,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    return run


# ---------------------------------------------------------------- the program


def test_help_lists_the_commands(lm: Call) -> None:
    done = lm()
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("train", "generate", "evaluate", "info", "convert"):
        assert re.search(rf"^  {command} +\w", done.stdout, re.MULTILINE)
    assert lm("--help").stdout == done.stdout


def test_the_version(lm: Call) -> None:
    assert lm("--version").stdout == f"minigrad-lm {mg.__version__}\n"


def test_what_is_no_command_is_one_line(lm: Call) -> None:
    done = lm("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown command 'trian'; choose one of train, ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "generate", "evaluate", "info", "convert"])
def test_usage_names_the_command_as_it_was_called(lm: Call, command: str) -> None:
    assert lm(command, "--help").stdout.startswith(f"usage: python -m lm {command} [-h]")
    wrong = lm(command, "--no-such-option")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


def test_usage_names_the_example_that_was_called() -> None:
    command = [sys.executable, EXAMPLES / "train_ptb.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("usage: train_ptb.py [-h]")


def test_it_trains_and_says_how_to_go_on(lm: Call, train_options: list[str]) -> None:
    done = lm("train", *train_options, "--epochs=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "| End of training |" in done.stdout


# ---------------------------------------------------------------- evaluate


def test_evaluate_gives_the_loss_of_training(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    trained = call("train_ptb", *train_options)
    options = ["--checkpoint", str(tmp_path / "model.safetensors")]
    result = call("evaluate", *options)
    assert (result.status, result.err) == (0, "")
    assert re.fullmatch(r"\| test loss  \d\.\d\d \| test ppl +\d+\.\d\d\n", result.out)
    assert result.out.removeprefix("|").strip() in trained.out
    valid = call("evaluate", *options, "--split=valid").out
    assert valid.removeprefix("|").strip() in trained.out


def test_evaluate_reads_another_text_with_the_checkpoints_vocabulary(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("mouse the zebra saw cat\n" * 20)
    checkpoint = load_checkpoint(trained)
    corpus = Corpus(tmp_path, Dictionary(checkpoint.vocabulary))
    model = build_model(Settings(**checkpoint.settings), len(checkpoint.vocabulary))
    model.load_state_dict(checkpoint.model)
    loss = evaluate(model, batchify(corpus.train, 10), 35)
    options = ["--checkpoint", str(trained), "--data", str(tmp_path), "--split", "train"]
    out = call("evaluate", *options).out
    assert out.startswith(f"| train loss {loss:5.2f} | train ppl ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data=nowhere"], "no folder nowhere"),
        (["--data="], "no train.txt"),
        (["--split=all"], "'all'"),
        (["--checkpoint=nowhere"], "no checkpoint nowhere"),
        (["--checkpoint", __file__], "not a checkpoint"),
        (["--data=short"], "the test text has 2 words"),
    ],
)
def test_wrong_options_of_evaluate_are_one_line(
    call: Call,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").mkdir()
    for split in ("train", "valid", "test"):
        Path(f"short/{split}.txt").write_text("cat\n")
    result = call("evaluate", "--checkpoint", str(trained), *options)
    assert said in result.error()
    assert result.out == ""


def test_evaluate_with_a_vocabulary_that_lacks_a_word_is_one_line(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(trained)
    checkpoint.vocabulary[checkpoint.vocabulary.index("<unk>")] = "okapi"
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("the zebra\n" * 20)
    options = ["--checkpoint", str(path), "--data", str(tmp_path)]
    assert "'zebra'" in call("evaluate", *options).error()


# ---------------------------------------------------------------- info


def facts(out: str) -> dict[str, str]:
    return dict(re.split("  +", line, maxsplit=1) for line in out.splitlines())


def test_info_says_what_a_checkpoint_holds(
    call: Call, train_options: list[str], tmp_path: Path
) -> None:
    trained = call("train_ptb", *train_options, "--tied", "--epochs=2", "--nlayers=1").out
    path = tmp_path / "model.latest.safetensors"
    result = call("info", str(path))
    assert (result.status, result.err) == (0, "")
    values = [re.search("  +", line).end() for line in result.out.splitlines()]
    assert len(set(values)) == 1  # aligned
    found = facts(result.out)
    assert found["file"] == f"{path}, {path.stat().st_size / 1e3:.1f} kB"
    assert found["format"].startswith("minigrad-lm-")
    assert found["model"] == "LSTM, tied, 1 layer of 8 units, words as vectors of 8"
    assert f"| {found['parameters']} parameters |" in trained
    words, of = found["vocabulary"].split(", ")
    assert f"| {words} |" in trained and of == "of the training text"
    assert found["trained"] == "2 of 2 epochs"
    best = min(re.findall(r"valid loss +(\S+)", trained))
    assert found["best validation"].startswith(f"loss {best}, perplexity ")
    assert found["learning rate"].endswith(", at first 20")
    assert found["batch-size"] == "4"
    assert "None" not in result.out


def test_info_of_a_run_in_mid_epoch(call: Call, trained: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(trained)
    checkpoint.run["position"] |= {"epoch": 3, "batch": 7, "best_loss": None}
    checkpoint.settings["data"] = None
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    found = facts(call("info", str(path)).out)
    assert found["trained"] == "2 of 6 epochs, and 7 batches of the next"
    assert found["best validation"] == "not validated yet"
    assert found["text"] == "Penn Treebank"


def test_info_of_what_is_no_checkpoint_is_one_line(call: Call, trained: Path) -> None:
    assert "no checkpoint nowhere" in call("info", "nowhere").error()
    assert "not a checkpoint" in call("info", __file__).error()
    assert "FILE" in call("info").error()


def test_info_of_a_checkpoint_that_lacks_something_is_one_line(
    call: Call, trained: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(trained)
    checkpoint.run.clear()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    assert "damaged" in call("info", str(path)).error()
