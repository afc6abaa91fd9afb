"""The commands with --memory-map do what they do without."""

from __future__ import annotations

import itertools
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.checkpoint import load_checkpoint
from lm.corpus import Corpus
from lm.idfile import IDS_FILE

Call = Callable[..., Any]

SMALL = ("--emsize", "8", "--nhid", "8", "--batch-size", "4", "--bptt", "5", "--lr", "2")


@pytest.fixture
def folder(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus, for a file of ids of its own."""
    folder = tmp_path / "text"
    folder.mkdir()
    for file in corpus.glob("*.txt"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def lines(output: str) -> list[str]:
    return re.sub(r"(ms/batch|time:) +[\d.]+s?", r"\1", output).splitlines()


def test_training_resuming_and_testing(call: Call, folder: Path, tmp_path: Path) -> None:
    """Two epochs, a third one resumed, and a test: each once in memory and once mapped."""
    printed, saved = [], []
    for name in ("memory", "mapped"):
        options = [] if name == "memory" else ["--memory-map"]
        model = tmp_path / f"{name}.safetensors"
        latest = tmp_path / f"{name}.latest.safetensors"
        report = ["--report", str(tmp_path / f"{name}.html")]
        data = ["--data", str(folder)]
        first = call("train", *data, *SMALL, "--epochs=2", "--save", str(model), *report, *options)
        more = call("train", "--resume", str(latest), "--epochs=3", *options)
        test = call("evaluate", "--checkpoint", str(model), *options)
        assert [r.status for r in (first, more, test)] == [0, 0, 0], (first, more, test)
        assert [r.err for r in (first, more, test)] == ["", "", ""]
        printed.append(lines(first.out + more.out + test.out))
        saved.append(load_checkpoint(latest))
        assert (folder / IDS_FILE).exists() == (name == "mapped")
    assert printed[0] == printed[1]
    for name, weight in saved[0].model.items():
        np.testing.assert_array_equal(weight, saved[1].model[name])
    assert saved[0].settings == saved[1].settings


def test_the_command_that_continues_has_the_option(folder: Path, tmp_path: Path) -> None:
    program = """if True:
        import os, signal
        from lm.commands.train import main
        from lm.run.trainer import Trainer
        step = Trainer._step
        def stop(self):
            os.kill(os.getpid(), signal.SIGINT)
            return step(self)
        Trainer._step = stop
        import sys
        main(sys.argv[1:])
    """
    done = subprocess.run(
        [sys.executable, "-c", program, "--data", folder, *SMALL, "--memory-map"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--resume model.latest.safetensors --memory-map" in done.stdout


def test_the_file_of_ids_is_not_overwritten(call: Call, folder: Path, tmp_path: Path) -> None:
    ids, model = folder / IDS_FILE, tmp_path / "m.safetensors"
    data = ["--data", str(folder), *SMALL, "--memory-map"]
    saves = call("train", *data, "--save", str(ids), "--dry-run").error()
    assert "give --save another file" in saves
    metrics = call("train", *data, "--save", str(model), "--metrics", str(ids)).error()
    assert f"--metrics {ids} is the same file as {ids}" in metrics
    assert ids.read_bytes().startswith(b"lm-ids")


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_file_that_cannot_be_written_is_one_line(
    call: Call, command: str, folder: Path, trained: Path, tmp_path: Path
) -> None:
    options = {
        "train": [*SMALL, "--save", str(tmp_path / "m.safetensors")],
        "evaluate": ["--checkpoint", str(trained)],
    }
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        result = call(command, *options[command], "--data", str(folder), "--memory-map")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"can't write {folder / IDS_FILE} (File too large)" in result.error()
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_a_large_text_is_noted_unless_it_is_mapped(
    call: Call, folder: Path, train_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm.commands.train.LARGE", 4000)
    options = [*train_options, "--data", str(folder), "--dry-run"]
    assert call("train", *options, "--memory-map").err == ""
    assert call("train", *options).err == (
        "warning: the text has 0 MB and needs about 15 times as much memory; --memory-map keeps it "
        "on disk\n"
    )
    size = sum(file.stat().st_size for file in folder.glob("*.txt"))
    monkeypatch.setattr("lm.commands.train.LARGE", size)  # the file of ids does not count
    assert call("train", *options).err == ""


def test_the_built_in_text_stays_in_memory(call: Call, tmp_path: Path) -> None:
    result = call(
        "train", "--data", "builtin", *SMALL, "--memory-map", "--dry-run",
        "--save", str(tmp_path / "m.safetensors"),
    )  # fmt: skip
    assert result.status == 0, result


def test_a_long_text_has_the_words_and_the_statistics_of_the_short_one(
    corpus: Path, tmp_path: Path
) -> None:
    program = Path(__file__).parents[2] / "benchmarks" / "big_text.py"

    def write(name: str, *options: str) -> Corpus:
        command = [sys.executable, program, "--data", corpus, "--out", tmp_path / name]
        subprocess.run([*command, "--words", "30000", *options], check=True)
        return Corpus(tmp_path / name)

    short, long, again = Corpus(corpus), write("a"), write("b")
    assert (len(long.train), len(long.valid), len(long.test)) == (30_000, 3_000, 3_000)
    np.testing.assert_array_equal(long.train, again.train)
    assert not np.array_equal(long.train, write("c", "--seed=2").train)

    def pairs(corpus: Corpus) -> dict[str, float]:
        words = [corpus.dictionary.idx2word[i] for i in corpus.train]
        found, counts = np.unique(
            [f"{a} {b}" for a, b in itertools.pairwise(words)], return_counts=True
        )
        return dict(zip(found.tolist(), (counts / counts.sum()).tolist(), strict=True))

    ours, theirs = pairs(long), pairs(short)
    for pair, share in theirs.items():
        assert abs(ours.get(pair, 0.0) - share) < 0.015, pair
