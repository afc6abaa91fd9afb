"""From text to ids: the dictionary and the three splits of a corpus.

By default the dictionary has the words of the training text, since the other splits should be new
to the model. The vocabulary "all" has those of all three, as in PyTorch's word_language_model, so
that models can be exchanged with it on any text.
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .console import UserError

SPLITS = ("train", "valid", "test")
EOS = "<eos>"  # ends every line
UNK = "<unk>"  # replaces every word that the dictionary lacks
VOCABULARIES = ("train", "all")
BLOCK = 1 << 18  # bytes of a text that are read at a time

Ids = NDArray[np.integer]


class Dictionary:
    """The vocabulary: `word2idx` maps a word to its id, `idx2word` an id to its word."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.word2idx: dict[str, int] = {}
        self.idx2word: list[str] = []
        for word in words:
            self.add_word(word)

    def add_word(self, word: str) -> int:
        """The id of `word`, which is added at the end if it is new."""
        if word not in self.word2idx:
            self.word2idx[word] = len(self.idx2word)
            self.idx2word.append(word)
        return self.word2idx[word]

    def __len__(self) -> int:
        return len(self.idx2word)

    def encode(self, words: Iterable[str]) -> Ids:
        """The ids of `words`, 1-d; a word that the dictionary lacks has the id of `<unk>`.

        Raises KeyError for such a word if the dictionary has no `<unk>` either.
        """
        known, unk = self.word2idx, self.word2idx.get(UNK)
        if unk is None:
            return np.array([known[word] for word in words], dtype=np.int64)
        return np.array([known.get(word, unk) for word in words], dtype=np.int64)


class Corpus:
    """A text in three splits, `train`, `valid` and `test`, each a 1-d array of int64 word ids.

    The `dictionary` holds the words of the training text in order of appearance, and `<unk>` at
    the end if the text lacks it; with the vocabulary "all", just the words of the three splits.
    `unknown` counts the words of each split that `<unk>` replaces.
    """

    dictionary: Dictionary
    train: Ids
    valid: Ids
    test: Ids
    unknown: dict[str, int]

    def __init__(
        self,
        path: str | os.PathLike[str],
        dictionary: Dictionary | None = None,
        vocabulary: str = "train",
    ) -> None:
        """Read the folder `path`: train.txt, valid.txt and test.txt, or ptb.train.txt and so on.

        The ids are those of `dictionary` if given. Raises UserError for a missing folder or file,
        one that has no words or is not UTF-8, or words missing from a `dictionary` without `<unk>`.
        """
        blocks = {split: read_words(file) for split, file in text_files(path).items()}
        words = {split: list(itertools.chain.from_iterable(blocks[split])) for split in SPLITS}
        self._index(words, dictionary, vocabulary)

    @classmethod
    def from_text(
        cls,
        train: str,
        valid: str,
        test: str,
        dictionary: Dictionary | None = None,
        vocabulary: str = "train",
    ) -> Corpus:
        """A corpus from three texts in memory, by the same rules as for files."""
        corpus = cls.__new__(cls)
        words = {"train": tokenise(train), "valid": tokenise(valid), "test": tokenise(test)}
        corpus._index(words, dictionary, vocabulary)
        return corpus

    def _index(
        self, words: Mapping[str, list[str]], dictionary: Dictionary | None, vocabulary: str
    ) -> None:
        if dictionary is None:
            dictionary = _dictionary(words, vocabulary)
        self.dictionary = dictionary
        lacking = {s: [w for w in words[s] if w not in dictionary.word2idx] for s in SPLITS}
        self.unknown = {split: len(lacking[split]) for split in SPLITS}
        if UNK not in dictionary.word2idx:
            reject(word for split in SPLITS for word in lacking[split])
        self.train, self.valid, self.test = (dictionary.encode(words[s]) for s in SPLITS)

    def fingerprint(self) -> str:
        """A hash of the text and its words, by which several processes compare them."""
        found = hashlib.sha256("\n".join(self.dictionary.idx2word).encode())
        for ids in (self.train, self.valid, self.test):
            found.update(np.ascontiguousarray(ids).data)
        return found.hexdigest()[:16]


def hash_of(ids: Ids) -> str:
    """A hash of word ids, the same for every integer type; a few MB are read at a time."""
    found, block = hashlib.sha256(), 1 << 20
    for start in range(0, len(ids), block):
        found.update(np.ascontiguousarray(ids[start : start + block], dtype=np.int64).data)
    return found.hexdigest()[:16]


def _dictionary(words: Mapping[str, list[str]], vocabulary: str) -> Dictionary:
    """The words of the training text and `<unk>`, or of all splits."""
    if vocabulary == "all":
        return Dictionary(word for split in SPLITS for word in dict.fromkeys(words[split]))
    dictionary = Dictionary(dict.fromkeys(words["train"]))
    dictionary.add_word(UNK)
    return dictionary


def reject(lacking: Iterable[str]) -> None:
    """Raise UserError with a few of the missing words, if there are any."""
    words = list(dict.fromkeys(lacking))
    if words:
        few = ", ".join(repr(word[:40]) for word in words[:3])
        more = f" and {len(words) - 3} more" if len(words) > 3 else ""
        raise UserError(
            f"the model's vocabulary has no {UNK} and lacks {few}{more}, which the text has; "
            "give the text that the model was trained on with --data"
        )


def tokenise(text: str) -> list[str]:
    """The words of every line, split on white space, with `<eos>` at the end of each line."""
    if text and not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", f" {EOS} ").split()


def find_split(folder: Path, split: str) -> Path | None:
    """The file of a split, with or without the `ptb.` prefix, or None."""
    candidates = (folder / f"{split}.txt", folder / f"ptb.{split}.txt")
    return next((file for file in candidates if os.path.isfile(file)), None)


def text_files(path: str | os.PathLike[str]) -> dict[str, Path]:
    """The file of each split in the folder `path`; UserError if one is missing."""
    folder, files = Path(path), {}
    if not os.path.isdir(folder):
        raise UserError(f"no folder {folder}; give one with train.txt, valid.txt and test.txt")
    for split in SPLITS:
        file = find_split(folder, split)
        if file is None:
            raise UserError(f"{folder} has no {split}.txt (nor ptb.{split}.txt); add the file")
        files[split] = file
    return files


def read_words(file: Path, see: Callable[[bytes], Any] = len) -> Iterator[list[str]]:
    """The words of a text file as `tokenise` gives them, one block of the file at a time.

    A byte order mark is left out. `see` is called with the bytes of each block. Raises UserError
    if the file can't be read, is not UTF-8 or has no words.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line, empty = 1, True
    rest = last = ""  # of the text so far: a word that may go on, and its last character
    try:
        with open(file, "rb") as stream:
            while block := stream.read(BLOCK):
                see(block)
                text = rest + decoder.decode(block)
                line += block.count(b"\n")
                empty = empty and not text.strip()
                words = text.replace("\n", f" {EOS} ").split()
                last = text[-1:]
                rest = words.pop() if last.strip() else ""
                yield words
            decoder.decode(b"", final=True)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise UserError(f"{file} is not UTF-8 (line {line}); save it as UTF-8") from None
    if empty:
        raise UserError(f"{file} has no words; a split needs some text")
    if last != "\n":
        yield [rest, EOS] if rest else [EOS]
