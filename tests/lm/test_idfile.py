"""A corpus whose ids stay in a file: the same numbers, a file that fits the text, flat memory."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lm.corpus
import lm.idfile
from lm.batches import batchify, columns, get_batch
from lm.console import UserError
from lm.corpus import SPLITS, UNK, Corpus, Dictionary
from lm.datasets import load_corpus
from lm.frequency import occurrences
from lm.idfile import IDS_FILE, MappedCorpus, MappedIds
from lm.run.trainer import Trainer

TEXTS = {
    "train": "the cat sat\non the mat\n",
    "valid": "the dog sat\n",
    "test": "a cat on a mat\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text)
    return tmp_path


def assert_same(mapped: Corpus, corpus: Corpus) -> None:
    assert mapped.dictionary.idx2word == corpus.dictionary.idx2word
    assert mapped.dictionary.word2idx == corpus.dictionary.word2idx
    assert mapped.unknown == corpus.unknown
    for split in SPLITS:
        ids = getattr(mapped, split)
        assert isinstance(ids, MappedIds) and ids.dtype == np.int32
        np.testing.assert_array_equal(ids, getattr(corpus, split), err_msg=split)


def version(folder: Path) -> tuple[int, int]:
    """What is another number once the file has been written again."""
    found = (folder / IDS_FILE).stat()
    return found.st_ino, found.st_mtime_ns


def the_error(folder: Path, *more: Any) -> str:
    with pytest.raises(UserError) as caught:
        MappedCorpus(folder, *more)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 18])
@pytest.mark.parametrize("vocabulary", ["train", "all"])
def test_the_ids_are_those_of_a_corpus_in_memory(
    folder: Path, vocabulary: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.corpus, "BLOCK", block)
    corpus = Corpus(folder, vocabulary=vocabulary)
    for _ in range(2):  # written, then read
        assert_same(MappedCorpus(folder, vocabulary=vocabulary), corpus)


def test_the_words_of_a_model(folder: Path) -> None:
    for words in ([UNK, "<eos>", "cat", "the"], ["the", "cat", "sat", "<eos>", "on", "mat", UNK]):
        dictionary = Dictionary(words)
        for _ in range(2):
            assert_same(MappedCorpus(folder, dictionary), Corpus(folder, dictionary))


def test_words_that_a_vocabulary_without_unk_lacks(folder: Path) -> None:
    dictionary = Dictionary(["the", "cat", "sat", "<eos>", "on", "mat"])
    with pytest.raises(UserError) as caught:
        Corpus(folder, dictionary)
    assert the_error(folder, dictionary) == str(caught.value)
    assert sorted(file.name for file in folder.iterdir()) == ["test.txt", "train.txt", "valid.txt"]


@pytest.mark.parametrize("raw", [b"", b" \n", b"one\ncaf\xe9\n"])
def test_a_text_that_is_refused(folder: Path, raw: bytes) -> None:
    (folder / "valid.txt").write_bytes(raw)
    with pytest.raises(UserError) as caught:
        Corpus(folder)
    assert the_error(folder) == str(caught.value)
    assert not (folder / IDS_FILE).exists()


def test_columns_are_views_and_their_batches_the_same(corpus_folder: Path) -> None:
    corpus, mapped = Corpus(corpus_folder), MappedCorpus(corpus_folder)
    ours, theirs = columns("train", mapped.train, 7), batchify(corpus.train, 7)
    assert np.shares_memory(ours, mapped.train)
    for i in range(0, len(theirs) - 1, 5):
        data, target = get_batch(ours[:, 2:5], i, 5)
        expected = get_batch(theirs[:, 2:5], i, 5)
        np.testing.assert_array_equal(data, expected[0])
        np.testing.assert_array_equal(target, expected[1])


def test_occurrences(corpus_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.frequency, "COUNTED", 10)
    corpus, mapped = Corpus(corpus_folder), MappedCorpus(corpus_folder)
    expected = np.bincount(batchify(corpus.train, 4).reshape(-1), minlength=20)
    for found in (corpus, mapped):
        np.testing.assert_array_equal(occurrences(batchify(found.train, 4), 20), expected)


@pytest.mark.usefixtures("backend")
def test_a_run_gives_the_same_losses(
    corpus_folder: Path, make_trainer: Callable[..., Trainer], watched: Callable[..., Any]
) -> None:
    runs = []
    for name in ("mapped", "memory"):
        corpus = load_corpus(str(corpus_folder), memory_map=name == "mapped")
        folder = corpus_folder / name
        folder.mkdir()
        trainer = make_trainer(corpus, folder, log_interval=1, dropout=0.2)
        watcher = watched(trainer)
        test = trainer.fit()
        losses = [report.loss for report in watcher.reports]
        runs.append((losses, [end.valid_loss for end in watcher.epochs], test))
    assert len(runs[0][0]) > 30
    assert runs[0] == runs[1]  # to the last bit


# ---------------------------------------------------------------- a file that fits


def test_a_file_that_fits_is_kept(folder: Path) -> None:
    first = MappedCorpus(folder)
    before = version(folder)
    again = MappedCorpus(folder)
    resumed = MappedCorpus(folder, Dictionary(first.dictionary.idx2word))
    MappedCorpus(folder)
    assert version(folder) == before
    assert first.fingerprint() == again.fingerprint() == resumed.fingerprint()


def test_the_first_run_reads_each_text_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(texts: Any) -> None:
        raise AssertionError("the texts are read again")

    monkeypatch.setattr(lm.idfile, "_hashes", again)
    MappedCorpus(folder)
    with pytest.raises(AssertionError, match="again"):
        MappedCorpus(folder)


def test_another_run_that_writes_the_file_at_the_same_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = lm.idfile._write

    def overtaken(file: Path, texts: Any, *words: Any) -> dict[str, str]:
        written = write(file, texts, *words)
        write(file, texts, Dictionary(["the", UNK]), "train")
        return written

    monkeypatch.setattr(lm.idfile, "_write", overtaken)
    assert "another run has just replaced" in the_error(folder)


@pytest.mark.parametrize("split", SPLITS)
def test_a_changed_text_is_noticed_though_size_and_time_are_the_same(
    folder: Path, split: str
) -> None:
    before = MappedCorpus(folder).fingerprint()
    text = folder / f"{split}.txt"
    times = text.stat()
    text.write_text(text.read_text().replace("mat", "cat").replace("dog", "mat"))
    os.utime(text, ns=(times.st_atime_ns, times.st_mtime_ns))
    corpus = MappedCorpus(folder)
    assert_same(corpus, Corpus(folder))
    assert corpus.fingerprint() != before


def test_other_words_are_noticed(folder: Path) -> None:
    corpora = [
        {"vocabulary": "train"},
        {"vocabulary": "all"},
        {"dictionary": Dictionary(["the", UNK])},
        {"dictionary": Dictionary(["cat", UNK])},
        {"vocabulary": "train"},
    ]
    prints = []
    for options in corpora:
        mapped = MappedCorpus(folder, **options)
        assert_same(mapped, Corpus(folder, **options))
        prints.append(mapped.fingerprint())
    assert len(set(prints)) == 4 and prints[0] == prints[-1]


def test_a_mapped_corpus_outlives_its_file(folder: Path) -> None:
    """As for a run that is training when another one writes the file again."""
    mapped = MappedCorpus(folder)
    MappedCorpus(folder, Dictionary(["the", UNK]))
    assert_same(mapped, Corpus(folder))


def test_an_incomplete_file_is_written_again(folder: Path) -> None:
    MappedCorpus(folder)
    file = folder / IDS_FILE
    raw = file.read_bytes()
    for size in {*range(len(lm.idfile.MAGIC), len(raw), 20), len(raw) - 1}:
        file.write_bytes(raw[:size])
        before = version(folder)
        MappedCorpus(folder)
        assert version(folder) != before
        assert file.read_bytes() == raw


def test_a_file_of_another_kind_is_left_alone(folder: Path) -> None:
    file = folder / IDS_FILE
    for raw in (b"", b"my notes, which are rather important"):
        file.write_bytes(raw)
        assert "corpus.ids is not a file of word ids; move it away" in the_error(folder)
        assert file.read_bytes() == raw
    file.unlink()
    file.mkdir()
    assert "can't write" in the_error(folder)


KILLED = """if True:
    import os, signal, sys
    import lm.corpus, lm.idfile
    lm.corpus.BLOCK = 8
    blocks = lm.idfile.read_words

    def read_words(file, see):
        for number, words in enumerate(blocks(file, see)):
            if number == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            yield words

    lm.idfile.read_words = read_words
    lm.idfile.MappedCorpus(sys.argv[1])
"""


@pytest.mark.parametrize("changed", [False, True])
def test_a_kill_while_it_is_written_leaves_no_broken_file(folder: Path, changed: bool) -> None:
    if changed:
        MappedCorpus(folder)
        (folder / "train.txt").write_text("the mat sat\non the cat\n")
    done = subprocess.run([sys.executable, "-c", KILLED, folder, "2"], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(folder.glob("*.tmp"))) == 1
    assert (folder / IDS_FILE).exists() == changed
    assert_same(MappedCorpus(folder), Corpus(folder))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to(
    folder: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lm.idfile, "replacing", refuse)
    message = the_error(folder)
    assert f"can't write {folder / IDS_FILE} ({os.strerror(number)})" in message
    assert "link the texts into a folder that can be written to" in message
    monkeypatch.undo()
    MappedCorpus(folder)
    monkeypatch.setattr(lm.idfile, "replacing", refuse)
    assert_same(MappedCorpus(folder), Corpus(folder))  # a file that fits is enough


def test_texts_that_are_linked(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    for split in SPLITS:
        (other / f"{split}.txt").symlink_to(folder / f"{split}.txt")
    assert_same(MappedCorpus(other), Corpus(folder))
    assert (other / IDS_FILE).exists() and not (folder / IDS_FILE).exists()


def test_no_space(folder: Path) -> None:
    """A limit on the size of files lets a write fail in the middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        message = the_error(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"can't write {folder / IDS_FILE} (File too large)" in message
    assert "4 bytes for each word" in message
    assert not list(folder.glob(f"{IDS_FILE}*"))


# ---------------------------------------------------------------- memory

PROGRAM = """if True:
    import sys
    from lm.batches import columns, count_batches, get_batch
    from lm.idfile import MappedCorpus

    def resident():  # kilobytes, those of mapped files included
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

    corpus = MappedCorpus(sys.argv[1])
    source = columns("train", corpus.train, 20)
    for batch in range(count_batches(source, 35)):
        data, target = get_batch(source, 35 * batch, 35)
        data.sum()
    print(len(corpus.train), resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_text(folder: Path) -> None:
    """To write the file, and to read a whole epoch from it: the peak counts."""
    found = []
    for lines in (40_000, 800_000):
        with open(folder / "train.txt", "w") as file:
            file.writelines(f"the w{line % 1000} is it\n" for line in range(lines))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=True
        )
        found.append([int(number) for number in done.stdout.split()])
    (few, small), (many, large) = found
    ids = 4 * (many - few) / 1024  # kilobytes: the least that would be kept
    assert ids > 14_000
    assert large - small < 3_000
