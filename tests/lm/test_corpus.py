"""Text to ids: the vocabulary, the three splits, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lm.corpus
from lm.console import UserError, one_line_errors
from lm.corpus import EOS, UNK, Corpus, Dictionary, read_words, tokenise
from minigrad import BackendError

TEXTS = {
    "train": "the cat sat\non the mat\n",
    "valid": "the dog sat\n",
    "test": "a cat on a mat\n",
}


def write(folder: Path, prefix: str = "", **texts: str | bytes) -> Path:
    """The three splits as files in `folder`; an argument replaces a text."""
    for split, text in {**TEXTS, **texts}.items():
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / f"{prefix}{split}.txt").write_bytes(raw)
    return folder


def words(corpus: Corpus, split: str) -> str:
    return " ".join(corpus.dictionary.idx2word[i] for i in getattr(corpus, split))


@pytest.mark.parametrize("prefix", ["", "ptb."])
def test_ids_follow_first_appearance_and_lines_end(tmp_path: Path, prefix: str) -> None:
    corpus = Corpus(write(tmp_path, prefix))
    assert corpus.dictionary.idx2word == ["the", "cat", "sat", EOS, "on", "mat", UNK]
    assert corpus.train.tolist() == [0, 1, 2, 3, 4, 0, 5, 3]
    assert all(ids.dtype == np.int64 for ids in (corpus.train, corpus.valid, corpus.test))


def test_vocabulary_is_the_training_text_only(tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path))
    assert words(corpus, "valid") == "the <unk> sat <eos>"
    assert words(corpus, "test") == "<unk> cat on <unk> mat <eos>"
    assert corpus.unknown == {"train": 0, "valid": 1, "test": 2}


def test_unk_of_the_training_text_keeps_its_place_and_is_no_unknown_word(tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path, train="the <unk> sat", valid="a <unk>", test="<unk> sat"))
    assert corpus.dictionary.idx2word == ["the", UNK, "sat", EOS]
    assert corpus.unknown == {"train": 0, "valid": 1, "test": 0}


def test_the_vocabulary_of_all_splits(tmp_path: Path) -> None:
    corpus = Corpus(write(tmp_path), vocabulary="all")
    assert corpus.dictionary.idx2word == ["the", "cat", "sat", EOS, "on", "mat", "dog", "a"]
    assert words(corpus, "test") == "a cat on a mat <eos>"
    assert corpus.unknown == {"train": 0, "valid": 0, "test": 0}
    text = Corpus.from_text(**TEXTS, vocabulary="all")
    assert text.dictionary.idx2word == corpus.dictionary.idx2word


def test_the_vocabulary_of_a_model(tmp_path: Path) -> None:
    """Also the training text may have words that it lacks."""
    corpus = Corpus(write(tmp_path), Dictionary([UNK, EOS, "cat", "the"]))
    assert words(corpus, "train") == "the cat <unk> <eos> <unk> the <unk> <eos>"
    assert corpus.unknown == {"train": 3, "valid": 2, "test": 4}
    assert Corpus.from_text(**TEXTS, dictionary=corpus.dictionary).unknown == corpus.unknown


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("the cat sat <eos> on mat a", "lacks 'dog', which the text has"),
        ("the cat sat <eos> mat", "lacks 'on', 'dog', 'a', which"),
        ("the", "lacks 'cat', 'sat', '<eos>' and 4 more, which"),
    ],
)
def test_words_that_a_vocabulary_without_unk_lacks(tmp_path: Path, known: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Corpus(write(tmp_path), Dictionary(known.split()))
    message = str(caught.value)
    assert said in message
    assert "--data" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "a b\nc\n",
        "a b\nc",  # no newline at the end
        "a b\r\nc\r\n",
        "\ufeffa b\nc\n",
        "  a \t b  \nc\u00a0\n",
    ],
)
def test_ways_to_write_the_same_text(tmp_path: Path, text: str) -> None:
    assert words(Corpus(write(tmp_path, train=text)), "train") == "a b <eos> c <eos>"


def test_only_newlines_end_lines() -> None:
    assert tokenise("a\rb\x0cc\u2028d\x85e\n\nf") == [*"abcde", EOS, EOS, "f", EOS]
    assert tokenise("") == []


@given(st.lists(st.lists(st.text("ab<>é", min_size=1), max_size=4), max_size=5))
def test_tokenise_as_word_language_model_does(lines: list[list[str]]) -> None:
    text = "".join(" ".join(line) + "\n" for line in lines)
    assert tokenise(text) == [word for line in lines for word in [*line, EOS]]


@given(st.text("ab<é€😀 \n\r\t\u2028\xa0", max_size=12), st.integers(1, 7), st.booleans())
def test_a_file_is_read_in_blocks_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, text: str, block: int, bom: bool
) -> None:
    """Also if a block ends within a word, or within a character."""
    text = "é" + text
    file = tmp_path_factory.mktemp("text") / "text"
    file.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    seen: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm.corpus, "BLOCK", block)
        words = [word for words in read_words(file, seen.append) for word in words]
    assert words == tokenise(text)
    assert b"".join(seen) == file.read_bytes()


@pytest.mark.parametrize("block", [1, 4, 1 << 18])
@pytest.mark.parametrize("end", [b"caf\xe9\n", b"caf\xc3"])
def test_the_line_that_is_not_utf_8(
    tmp_path: Path, block: int, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm.corpus, "BLOCK", block)
    raw = b"\xef\xbb\xbfone\n" + "é\n".encode() * 3 + end
    assert "is not UTF-8 (line 5)" in the_error(write(tmp_path, train=raw))


def test_from_text_reads_as_files_do(tmp_path: Path) -> None:
    ours, files = Corpus.from_text(**TEXTS), Corpus(write(tmp_path))
    assert ours.dictionary.word2idx == files.dictionary.word2idx
    assert ours.unknown == files.unknown
    for split in TEXTS:
        np.testing.assert_array_equal(getattr(ours, split), getattr(files, split))


def test_dictionary() -> None:
    dictionary = Dictionary(["a", "b", "a", UNK])
    assert len(dictionary) == 3
    assert dictionary.add_word("b") == 1
    assert dictionary.add_word("c") == 3
    assert dictionary.word2idx == {word: i for i, word in enumerate(dictionary.idx2word)}
    assert dictionary.encode(["c", "nowhere", "a"]).tolist() == [3, 2, 0]
    assert dictionary.encode([]).dtype == np.int64
    assert Dictionary(["a"]).encode(["a"]).tolist() == [0]
    with pytest.raises(KeyError):
        Dictionary(["a"]).encode(["b"])


def the_error(path: Path) -> str:
    """The message of the UserError that `path` gives, which must be one line."""
    with pytest.raises(UserError) as caught:
        Corpus(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in the_error(tmp_path / "no")
    file = tmp_path / "file"
    file.touch()
    assert str(file) in the_error(file)
    assert "no folder" in the_error(tmp_path / ("long" * 100))


@pytest.mark.parametrize("split", TEXTS)
def test_missing_split(tmp_path: Path, split: str) -> None:
    (write(tmp_path) / f"{split}.txt").unlink()
    message = the_error(tmp_path)
    assert str(tmp_path) in message
    assert f"{split}.txt" in message


@pytest.mark.parametrize("split", TEXTS)
@pytest.mark.parametrize("text", ["", " \n\n", "\ufeff"])
def test_empty_split(tmp_path: Path, split: str, text: str) -> None:
    message = the_error(write(tmp_path, **{split: text}))
    assert f"{tmp_path / split}.txt has no words" in message


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_not_utf_8(tmp_path: Path, bom: bytes) -> None:
    message = the_error(write(tmp_path, valid=bom + b"one\ntwo\ncaf\xe9\n"))
    assert f"{tmp_path / 'valid.txt'} is not UTF-8 (line 3)" in message


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such thing; give another"), "error: no such thing; give another\n"),
        (BackendError("no CuPy"), "error: no CuPy\n"),
        (KeyboardInterrupt(), "error: interrupted before there was anything to keep\n"),
    ],
)
def test_one_line_errors(
    capsys: pytest.CaptureFixture[str], error: BaseException, line: str
) -> None:
    with pytest.raises(SystemExit) as exit_, one_line_errors():
        raise error
    assert exit_.value.code == 2
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("other", [ValueError, SystemExit])
def test_one_line_errors_lets_all_else_through(other: type[BaseException]) -> None:
    with pytest.raises(other), one_line_errors():
        raise other
